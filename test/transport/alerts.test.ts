import { describe, expect, test } from 'vitest';
import type { Alert } from '../../src/index.ts';
import type { LinkOptions } from '../../src/testing/index.ts';
import { bytesOf } from '../protocol/connection/pair.ts';
import { labPair } from './lab-pair.ts';

/** What a client is told while it sends messages of 200 bytes every 10 ms over links that change. */
async function watched(link: LinkOptions = {}, options = {}) {
  const pair = await labPair({ delayMs: 20, ...link }, options);
  const { client, accepted, lab } = pair;
  accepted.on('stream', (stream) => stream.on('message', () => {}));
  const told: Alert[] = [];
  client.on('alert', (alert) => told.push(alert));
  const stream = client.openStream({ ordered: false });
  const talk = async (seconds: number) => {
    for (let i = 0; i < seconds * 100; i++) {
      stream.send(bytesOf(200, i));
      await lab.run(10);
    }
  };
  const change = (changed: LinkOptions) =>
    lab.network.connect('client', 'server', { delayMs: 20, ...changed });
  const story = () => told.map(({ kind, state }) => `${kind} ${state}`);
  return { ...pair, told, talk, change, story };
}

describe('the event alert [CON-71]', () => {
  test('tells of loss that comes and goes, once each, in virtual time', async () => {
    const { change, client, lab, listener, story, talk, told } = await watched();
    await talk(12);
    expect(story()).toEqual([]);
    change({ loss: 0.12 });
    await talk(20);
    expect(story().filter((line) => line.startsWith('highLoss'))).toEqual(['highLoss raised']);
    expect(told[0].value).toBeGreaterThan(0.05);
    change({ loss: 0 });
    await talk(20);
    expect(story().filter((line) => line.startsWith('highLoss'))).toEqual([
      'highLoss raised',
      'highLoss cleared',
    ]);
    expect(told[0].sinceMs).toBeLessThan(client.metrics().ageMs);
    const raised = told.filter(({ state }) => state === 'raised').length;
    expect(told).toHaveLength(2 * raised); // whatever else the loss brought is over, too
    await lab.settle(client.close());
    await lab.settle(listener.close());
  });

  test('tells of latency, and clears where the connection goes quiet', async () => {
    const { change, lab, story, talk } = await watched(
      {},
      { alerts: { highLatencyMs: 150 }, heartbeatMs: 0 },
    );
    await talk(5);
    change({ delayMs: 100 });
    await talk(15);
    expect(story()).toEqual(['highLatency raised']);
    await lab.run(12_000);
    expect(story()).toEqual(['highLatency raised', 'highLatency cleared']);
  });

  test('tells of streams that get nothing through, of a peer that does not read', async () => {
    const { accepted, client, lab, story, told } = await watched(
      {},
      { connectionWindowBytes: 65_536, messageBytesMax: 8_192 },
    );
    accepted.removeAllListeners('stream');
    const stream = client.openStream();
    for (let i = 0; i < 50; i++) stream.send(bytesOf(4_000, i));
    await lab.run(8_000);
    expect(story()).toEqual(['streamsStalled raised']);
    expect(told[0].value).toBeGreaterThanOrEqual(5_000);
    accepted.on('stream', (other) => other.on('message', () => {}));
    await lab.run(3_000);
    expect(story()).toEqual(['streamsStalled raised', 'streamsStalled cleared']);
  });

  test('tells of datagrams that became smaller', async () => {
    const { change, client, lab, story, told } = await watched({}, { mtu: 1_400 });
    await lab.run(2_000);
    change({ mtu: 1_250 });
    const stream = client.openStream();
    for (let i = 0; i < 20; i++) stream.send(bytesOf(5_000, i));
    await lab.run(5_000);
    expect(story()).toContain('mtuChanged raised');
    expect(told.find(({ kind }) => kind === 'mtuChanged')).toMatchObject({ value: 1_200, threshold: 1_400 });
    await lab.run(62_000);
    expect(story().filter((line) => line.startsWith('mtuChanged'))).toHaveLength(2);
  });

  test('is looked for only while somebody listens', async () => {
    const { client, lab } = await labPair({}, { heartbeatMs: 0, idleTimeoutMs: 0 });
    await lab.run(2_000);
    const timers: number[] = [];
    const { clock } = lab;
    const setTimer = clock.setTimer.bind(clock);
    clock.setTimer = (at, callback) => {
      timers.push(at);
      return setTimer(at, callback);
    };
    await lab.run(5_000);
    expect(timers).toHaveLength(0);
    const listener = () => {};
    client.on('alert', listener);
    client.on('alert', () => {});
    await lab.run(4_500);
    expect(timers).toHaveLength(5);
    client.off('alert', listener);
    await lab.run(1_000);
    expect(timers).toHaveLength(6);
    client.removeAllListeners('alert');
    await lab.run(5_000);
    expect(timers).toHaveLength(6);
  });

  test('comes of no connection that is over', async () => {
    const { change, client, lab, talk, told } = await watched();
    await talk(2);
    change({ loss: 0.5 });
    await talk(4);
    client.destroy();
    await lab.run(100);
    const count = told.length;
    expect(count).toBeGreaterThan(0);
    client.on('alert', (alert: Alert) => told.push(alert));
    await lab.run(30_000);
    expect(told).toHaveLength(count);
  });

  test('is the last when a listener ends the connection, though more was found in the same look', async () => {
    const alerts = { highLossRate: 0.01, retransmissionRate: 0.01 };
    const { client, change, talk, lab, told } = await watched({}, { alerts });
    await talk(2);
    client.on('alert', () => client.destroy());
    change({ loss: 0.5 });
    for (const stream of [1, 2, 3].map(() => client.openStream()))
      for (let i = 0; i < 10; i++) stream.send(bytesOf(20_000, i));
    await lab.run(20_000);
    expect(told).toHaveLength(1);
  });

  test.each([
    [{ highLatency: 5 }, 'alerts has no option "highLatency"; the nearest it has is "highLatencyMs"'],
    [{ highLossRate: -1 }, 'alerts: highLossRate must be a number from 0 on, not -1'],
    [{ windowMs: 10 }, 'alerts: windowMs must be a number from 1000 to 600000, not 10'],
    [7, 'connect: alerts must be an object, not 7'],
  ])('refuses the options %o', async (alerts, message) => {
    const { connect } = await import('../../src/index.ts');
    await expect(connect('jsp://x', { alerts: alerts as object })).rejects.toMatchObject({
      code: 'ERR_JSP_OPTION_INVALID',
      message,
    });
  });
});
