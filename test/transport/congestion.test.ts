import { describe, expect, test } from 'vitest';
import type { TransportOptions } from '../../src/transport/options.ts';
import { labPair } from './lab-pair.ts';

/** Mbit/s of messages over 20 Mbit/s and 40 ms with losses both ways, from second 2 on, and the sender's metrics. */
async function transfer(
  congestion: TransportOptions['congestion'],
  loss: number,
  change: TransportOptions['congestion'] = undefined,
) {
  const path = { delayMs: 20, bitsPerSecond: 20e6, queueBytesMax: 100_000 };
  const { lab, client, accepted } = await labPair(path, { congestion });
  let bytes = 0;
  accepted.on('stream', (stream) => {
    stream.on('message', (message) => {
      bytes += message.length;
    });
  });
  lab.network.connect('client', 'server', { loss });
  const stream = client.openStream({ priority: 'bulk' });
  const message = new Uint8Array(8_192);
  const fill = (): void => {
    while (stream.send(message));
  };
  stream.on('drain', fill);
  fill();
  if (change !== undefined) {
    await lab.run(1_000);
    expect(client.metrics().bytesInFlight).toBeGreaterThan(0);
    client.setCongestion(change);
  }
  await lab.run(2_000);
  const before = bytes;
  await lab.run(4_000);
  return { megabits: ((bytes - before) * 8) / 4e6, metrics: client.metrics() };
}

const CUBIC_STATES = /^(recovery|congestion-avoidance)$/;

describe('a transfer with the option congestion', () => {
  test('goes on at the rate of the path with bbr where every tenth datagram is lost, and crawls with cubic [REC-71] [REC-74]', async () => {
    const bbr = await transfer('bbr', 0.1);
    expect(bbr.megabits).toBeGreaterThan(14);
    expect(bbr.metrics.lossFloor).toBeGreaterThan(0.06);
    expect(bbr.metrics.lossFloor).toBeLessThan(0.14);
    expect(bbr.metrics.pacingRate).toBeGreaterThan(2e6);
    expect(bbr.metrics.congestionState).toMatch(/^probe-/);
    const cubic = await transfer('cubic', 0.1);
    expect(cubic.megabits).toBeLessThan(4);
    expect(cubic.metrics).toMatchObject({
      congestionState: expect.stringMatching(CUBIC_STATES),
      lossFloor: 0,
    });
  });

  test('fills the path with bbr and with cubic where nothing is lost but to the queue [REC-27] [REC-74]', async () => {
    for (const congestion of ['bbr', 'cubic'] as const) {
      const { megabits } = await transfer(congestion, 0);
      expect(megabits, congestion).toBeGreaterThan(18);
    }
  });

  test('goes on as another controller has it from when that was asked for [REC-96]', async () => {
    const bbr = await transfer('cubic', 0.1, 'bbr');
    expect(bbr.megabits).toBeGreaterThan(14);
    expect(bbr.metrics.congestionState).toMatch(/^probe-/);
    const cubic = await transfer('bbr', 0.1, 'cubic');
    expect(cubic.megabits).toBeLessThan(4);
    expect(cubic.metrics.congestionState).toMatch(CUBIC_STATES);
  });

  test('has a new controller that begins with its own window, in which what was sent before has its place [REC-96]', async () => {
    const { lab, client, accepted } = await labPair(
      { delayMs: 20, bitsPerSecond: 20e6 },
      { congestion: 'cubic' },
    );
    let bytes = 0;
    accepted.on('stream', (stream) => {
      stream.on('message', (message) => {
        bytes += message.length;
      });
    });
    client.openStream({ highWaterMark: 4e6 }).send(new Uint8Array(2e6));
    await lab.run(300);
    const { bytesInFlight, packetsSent } = client.metrics();
    expect(bytesInFlight).toBeGreaterThan(50_000);
    client.setCongestion('bbr');
    expect(client.metrics()).toMatchObject({
      congestionState: 'startup',
      congestionWindowBytes: 10 * client.metrics().mtu,
      bytesInFlight,
    });
    await lab.run(5);
    expect(client.metrics().packetsSent, 'nothing while more than the window is in flight').toBe(packetsSent);
    await lab.run(3_000);
    expect(bytes).toBe(2e6);
    expect(client.metrics()).toMatchObject({ bytesInFlight: 0, packetsLost: 0 });
    expect(client.metrics().congestionState).not.toBe('slow-start');
  });

  test('has no other controller once it is closed', async () => {
    const { lab, client } = await labPair({ delayMs: 20 }, { congestion: 'cubic' });
    const closed = client.close();
    await lab.run(1_000);
    await closed;
    client.setCongestion('bbr');
    expect(client.metrics().congestionState).toBe('slow-start');
  });

  test('refuses a controller that is none', async () => {
    const { client } = await labPair({ delayMs: 20 }, { congestion: 'cubic' });
    expect(() => client.setCongestion('vegas' as 'bbr')).toThrow('congestion must be');
    expect(() => client.setCongestion(undefined as unknown as 'bbr')).toThrow('congestion must be');
  });
});
