import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/random.ts';
import { bytesOf } from '../protocol/connection/pair.ts';
import { firstFlights } from '../protocol/endpoint/first-flights.ts';
import { dropsOf, Lockstep, stateOf } from './lockstep.ts';
import { Middle } from './middle.ts';

interface Report {
  rss: number;
  sent: number;
  echoed: number;
  isInOrder: boolean;
  client: { packetsUnopened: number; packetsReplayed: number; datagramsReceived: number; ptoCount: number };
  server: Record<string, number>;
}

describe('100,000 datagrams of garbage and of damaged, cut and repeated real packets', () => {
  test('on real sockets neither disturb a running connection nor grow the process by more than 16 MB', async () => {
    const child = fork(fileURLToPath(new URL('./survivor-process.js', import.meta.url)), {
      execArgv: ['--expose-gc'],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const [{ port }] = (await once(child, 'message')) as [{ port: number }];
    const middle = await Middle.open(port, SEED);
    await ask(child, { name: 'connect', port: middle.port });
    await ask(child, { name: 'say', count: 300, bytes: 500 });
    await pour(child, middle, 10_000);
    const before = await ask<Report>(child, { name: 'report' });
    let after = before;
    // How much of it the system passes on, and to which side, depends on how busy the machine is.
    while (received(after) - received(before) < 100_000 || !isEnough(after)) {
      await pour(child, middle, 10_000);
      after = await ask<Report>(child, { name: 'report' });
    }
    child.send({ name: 'close' });
    await once(child, 'exit');
    middle.close();

    expect(after).toMatchObject({ echoed: after.sent, isInOrder: true });
    expect(after.rss - before.rss).toBeLessThan(16 * 1024 * 1024);
    expect(isEnough(after)).toBe(true);
    expect(after.server).toMatchObject({ connectionsOpen: 1, handshakesCompleted: 1 });
  });

  test('change nothing of two endpoints but their counters', () => {
    const random = new Prng(SEED);
    const pair = new Lockstep();
    pair.run();
    for (let i = 0; i < 20; i++) {
      const core = i % 2 === 0 ? pair.clientCore : pair.serverCore;
      const stream = core.streams.open({ priority: 2, delivery: 0, ordered: true, label: '' });
      stream.send(bytesOf(i * 100, i), 0, Number.POSITIVE_INFINITY, false);
      pair.pass(30_000);
      pair.run();
    }
    pair.pass(30_000);
    pair.run();
    const packets = { client: [] as Uint8Array[], server: [] as Uint8Array[] };
    for (const { data, from } of pair.record) packets[from === 'client' ? 'server' : 'client'].push(data);
    // Half-open handshakes do not count: the first flights of others may come to that.
    packets.server.push(...firstFlights(3).flat());
    for (const side of ['server', 'client'] as const) {
      const endpoint = pair[side];
      const before = JSON.stringify(stateOf(endpoint)[0]);
      const { datagramsReceived } = endpoint.counters;
      const drops = dropsOf(endpoint);
      for (let i = 0; i < 50_000; i++) pair.deliver(mutate(random, packets[side]), endpoint);
      expect(endpoint.counters.datagramsReceived - datagramsReceived).toBe(50_000);
      expect(dropsOf(endpoint) - drops).toBeGreaterThan(49_900);
      expect(JSON.stringify(stateOf(endpoint)[0]), `seed ${SEED}`).toBe(before);
      expect(endpoint.counters.connectionsOpen).toBeLessThanOrEqual(1 + 16);
    }
    pair.collect();
    pair.toClient.length = 0;
    pair.toServer.length = 0;
    const stream = pair.clientCore.streams.open({
      priority: 2,
      delivery: 0,
      ordered: true,
      label: 'still here',
    });
    stream.send(bytesOf(100), 0, Number.POSITIVE_INFINITY, false);
    pair.run();
    expect(
      [...pair.serverCore.streams.values()].find(({ label }) => label === 'still here')?.receiver.readable,
    ).toBe(1);
  });
});

/** Sends so much garbage, with messages now and then. */
async function pour(child: ChildProcess, middle: Middle, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    middle.sendGarbage();
    // The answer comes when what was sent before has been read, more or less: else the sockets would overflow.
    if (i % 100 === 0) await ask(child, { name: 'say', count: 1, bytes: (i * 7) % 1_500 });
  }
}

async function ask<T>(child: ChildProcess, order: { name: string } & Record<string, unknown>): Promise<T> {
  child.send(order);
  const [answer] = await once(child, 'message');
  return answer as T;
}

/** Every kind of it has come, and often. */
function isEnough({ server, client }: Report): boolean {
  return (
    server.droppedMalformed > 5_000 &&
    server.droppedUnknownId > 1_000 &&
    client.packetsUnopened > 5_000 &&
    client.packetsReplayed > 100
  );
}

function received({ client, server }: Report): number {
  return client.datagramsReceived + server.datagramsReceived;
}

/** Some packet with something wrong. */
function mutate(random: Prng, packets: readonly Uint8Array[]): Uint8Array {
  const packet = packets[random.below(packets.length)].slice();
  switch (random.below(4)) {
    case 0:
      return packet.slice(0, random.below(packet.length));
    case 1: {
      const noise = new Uint8Array(random.below(200));
      random.fill(noise);
      if (noise.length > 9) noise.set(packet.subarray(0, random.between(1, 9)));
      return noise;
    }
    case 2:
      for (let k = random.below(3); k >= 0; k--) packet[random.below(packet.length)] ^= 1 << random.below(8);
      return packet;
    default:
      return packet;
  }
}

const SEED = 2_026;
