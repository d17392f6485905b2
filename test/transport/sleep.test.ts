import { describe, expect, test } from 'vitest';
import {
  type Connection,
  connect,
  generateIdentity,
  listen,
  type TransportOptions,
} from '../../src/index.ts';
import { Lab } from '../../src/testing/index.ts';
import type { LabClock } from '../../src/testing/lab.ts';
import { next } from './served.ts';

describe('a machine that sleeps, or a process that stands still', () => {
  test('asks at once when it goes on, and keeps a connection that the peer still has [CON-16]', async () => {
    for (const how of ['sleep', 'stop'] as const) {
      const { lab, client, accepted, clock } = await labPair(
        { idleTimeoutMs: 600_000 },
        { heartbeatMs: 0, idleTimeoutMs: 600_000 },
      );
      await lab.run(10_000);
      const before = client.metrics().heartbeatsSent;
      if (how === 'sleep') lab.sleep(clock, 60_000, 'client');
      else clock.sleep(60_000, false);
      await lab.run(60_050);
      expect(client.metrics().heartbeatsSent).toBe(before + 1);
      await lab.run(60_000);
      expect(client.isOpen && accepted.isOpen).toBe(true);
      client.openStream().send('good morning');
      await lab.settle(next(accepted, 'stream'), 1_000);
    }
  });

  test('asks at once also when nothing was due yet [CON-16]', async () => {
    const { lab, client, clock } = await labPair(
      { heartbeatMs: 30_000, idleTimeoutMs: 600_000 },
      { heartbeatMs: 0, idleTimeoutMs: 600_000 },
    );
    await lab.run(1_000);
    lab.sleep(clock, 3_000, 'client');
    await lab.run(3_020);
    expect(client.metrics().heartbeatsSent).toBe(1);
  });

  test('asks without heartbeats, too [CON-16]', async () => {
    const off = { heartbeatMs: 0, idleTimeoutMs: 300_000 };
    const { lab, client, accepted, clock } = await labPair(off, off);
    lab.sleep(clock, 200_000, 'client');
    await lab.run(200_050);
    expect(client.metrics().heartbeatsSent).toBe(1);
    await lab.run(250_000);
    expect(client.isOpen && accepted.isOpen).toBe(true);
  });

  test('finds a peer that is gone after the usual heartbeats, counted from when it woke [CON-16]', async () => {
    const { lab, client, clock } = await labPair({ heartbeatMs: 1_000 }, {});
    await lab.run(2_000);
    lab.sleep(clock, 3_600_000, 'client');
    lab.network.cut('server');
    await lab.run(3_600_000);
    lab.network.cut('server');
    const woke = lab.now;
    expect(await lab.settle(client.closed, 10_000)).toMatchObject({ code: 'ERR_JSP_HEARTBEAT_TIMEOUT' });
    expect(lab.now - woke).toBeGreaterThan(2_500_000);
    expect(lab.now - woke).toBeLessThan(3_500_000);
  });

  test('takes no round-trip time from what it sent before [REC-54]', async () => {
    const { lab, client, accepted, clock } = await labPair(
      { idleTimeoutMs: 600_000 },
      { heartbeatMs: 0, idleTimeoutMs: 600_000 },
    );
    accepted.on('stream', (stream) => stream.on('message', () => {}));
    const stream = client.openStream();
    for (let i = 0; i < 50; i++) {
      stream.send('x');
      await lab.run(100);
    }
    const before = client.metrics().rttMs;
    stream.send('just before');
    await lab.run(1);
    clock.sleep(60_000, false);
    await lab.run(60_500);
    expect(client.metrics().rttMs).toBeLessThan(before + 5);
    stream.send('after');
    await lab.run(500);
    expect(client.metrics().rttMs).toBeLessThan(before + 5);
  });

  test('ends messages whose lifetime ended meanwhile', async () => {
    const { lab, client, accepted, clock } = await labPair(
      { idleTimeoutMs: 600_000 },
      { heartbeatMs: 0, idleTimeoutMs: 600_000 },
    );
    const got: string[] = [];
    accepted.on('stream', (stream) => stream.on('message', (message) => got.push(message.toString())));
    const stream = client.openStream();
    stream.send('first');
    await lab.run(100);
    lab.network.cut('client');
    const outcome = stream.sendTracked('for a second', { lifetimeMs: 1_000 });
    await lab.run(1);
    lab.sleep(clock, 5_000, 'client');
    await lab.run(5_000);
    expect(await lab.settle(outcome, 2_000)).toBe('expired');
    expect(got).toEqual(['first']);
  });
});

async function labPair(
  clientOptions: Partial<TransportOptions>,
  serverOptions: Partial<TransportOptions>,
): Promise<{ lab: Lab; client: Connection; accepted: Connection; clock: LabClock }> {
  const lab = new Lab({ seed: 11, link: { delayMs: 5 } });
  const identity = generateIdentity();
  const listener = await listen({
    identity,
    socket: lab.socket({ host: 'server', port: 4_577 }),
    clock: lab.clock,
    random: lab.random,
    ...serverOptions,
  });
  const accepted = next<Connection>(listener, 'connection');
  const clock = lab.machineClock();
  const client = await lab.settle(
    connect(`jsp://${identity.fingerprintText}@server:4577`, {
      socket: lab.socket({ host: 'client', connectTo: { host: 'server', port: 4_577 } }),
      clock,
      random: lab.random,
      ...clientOptions,
    }),
  );
  return { lab, client, accepted: await lab.settle(accepted), clock };
}
