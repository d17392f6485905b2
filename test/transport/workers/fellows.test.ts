import { MessageChannel, type MessagePort } from 'node:worker_threads';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import { ServerIdSource } from '../../../src/protocol/crypto/index.ts';
import { type EcnCodepoint, ReceiveBatch } from '../../../src/protocol/datagram/index.ts';
import type { ForeignPackets } from '../../../src/protocol/endpoint/index.ts';
import { FairShare, SHARE_BYTES_MAX, WAITING_BYTES_MAX } from '../../../src/transport/workers/fair-share.ts';
import { type Channel, Fellows, NO_SEAT } from '../../../src/transport/workers/fellows.ts';
import type { DatagramSocket } from '../../../src/udp/datagram-socket.ts';

interface Arrived {
  data: number[];
  host: string;
  port: number;
  ecn: number;
  local: number;
}

/** Two workers with a channel between them, both in this thread. */
function pair(): { one: Fellows; other: Fellows; seats: Int32Array } {
  const common = {
    secret: new Uint8Array(32).fill(3),
    connections: new SharedArrayBuffer(8),
    seats: new SharedArrayBuffer(8),
  };
  const seats = new Int32Array(common.seats).fill(NO_SEAT);
  const one = new Fellows(0, 10, common, new Prng(1));
  const other = new Fellows(1, 11, common, new Prng(2));
  const { port1, port2 } = new MessageChannel();
  const there = new SharedArrayBuffer(4);
  const back = new SharedArrayBuffer(4);
  const ends: Channel[] = [
    { seat: 11, port: port1, outgoing: there, incoming: back },
    { seat: 10, port: port2, outgoing: back, incoming: there },
  ];
  one.meet(ends[0]);
  other.meet(ends[1]);
  onTestFinished(() => {
    one.leave();
    other.leave();
  });
  return { one, other, seats };
}

/** Resolves with what comes until so many datagrams have. */
function taken(fellows: Fellows, count: number): Promise<Arrived[]> {
  const all: Arrived[] = [];
  return new Promise((resolve) => {
    fellows.onBatch = (batch) => {
      for (let i = 0; i < batch.count; i++) {
        all.push({
          data: [...batch.data[i]],
          host: batch.host[i],
          port: batch.port[i],
          ecn: batch.ecnOf(i),
          local: batch.local[i],
        });
      }
      if (all.length >= count) resolve(all);
    };
  });
}

function allForeign(count: number, seat: number): ForeignPackets {
  const all = Array.from({ length: count }, (_, i) => i);
  return { count, index: all, seat: all.map(() => seat), idAt: all.map(() => 1), push: () => {} };
}

/** A packet to a connection id of this number. */
function datagramTo(id: number, bytes: number): Uint8Array {
  const data = new Uint8Array(bytes);
  new DataView(data.buffer).setUint32(4, id);
  return data;
}

/** A socket with numbers of its own for its addresses. */
function socketAt(...hosts: string[]): DatagramSocket {
  return {
    hostOfLocal: (local: number) => hosts[local],
    localOfHost: (host: string) => hosts.indexOf(host),
  } as unknown as DatagramSocket;
}

test('ids of a worker are known to the others as its own, and to itself as nobody else’s [WRK-2]', () => {
  const { one, other } = pair();
  for (let i = 0; i < 100; i++) {
    const id = one.ids.next();
    expect(other.fellowOf(id, 0)).toBe(10);
    expect(one.fellowOf(id, 0)).toBe(-1);
  }
});

test('datagrams are handed over as they came, with addresses, ECN and the own address that they came to [WRK-3]', async () => {
  const datagram = fc.record({
    data: fc.uint8Array({ minLength: 0, maxLength: 1_500 }),
    host: fc.constantFrom('192.0.2.1', '2001:db8::1', 'fe80::1%eth0', '127.0.0.1'),
    port: fc.integer({ min: 1, max: 65_535 }),
    ecn: fc.constantFrom(0, 1, 2, 3),
    local: fc.constantFrom(0, 1, 2),
  });
  const { one, other } = pair();
  one.socket = socketAt('0.0.0.0', '192.0.2.7', '192.0.2.8');
  other.socket = socketAt('0.0.0.0', '192.0.2.8', '192.0.2.7');
  const LOCALS = [0, 2, 1];
  await fc.assert(
    fc.asyncProperty(fc.array(datagram, { minLength: 1, maxLength: 60 }), async (datagrams) => {
      const arrived = taken(other, datagrams.length);
      const batch = new ReceiveBatch();
      for (const { data, host, port, ecn, local } of datagrams) {
        batch.push(data, host, port, local);
        if (ecn !== 0) batch.mark(ecn as EcnCodepoint);
      }
      one.handOver(batch, allForeign(datagrams.length, 11));
      expect(await arrived).toEqual(
        datagrams.map(({ data, local, ...rest }) => ({ ...rest, data: [...data], local: LOCALS[local] })),
      );
    }),
  );
  expect(other.counters.takenOver).toBe(one.counters.handedOver);
});

test('what waits for another worker is bounded, what comes beyond is counted, and there is room again when it was taken [WRK-4]', async () => {
  const { one, other } = pair();
  const batch = new ReceiveBatch();
  for (let i = 0; i < 100; i++) batch.push(datagramTo(i, 16_384), `192.0.${i}.1`, 1);
  const arrived = taken(other, Math.floor(WAITING_BYTES_MAX / 16_400));
  one.handOver(batch, allForeign(100, 11));
  const { handedOver } = one.counters;
  expect(handedOver).toBe(Math.floor(WAITING_BYTES_MAX / 16_400));
  expect(one.counters.handOversDropped).toBe(100 - handedOver);
  one.handOver(batch, allForeign(1, 11));
  expect(one.counters).toMatchObject({ handedOver, handOversDropped: 101 - handedOver });
  await arrived;
  const another = taken(other, 1);
  one.handOver(batch, allForeign(1, 11));
  expect(await another).toHaveLength(1);
});

test('who fills what waits for a worker, from whatever addresses, leaves room for the others, and has room again when it was taken [WRK-4]', async () => {
  const { one, other } = pair();
  const hand = (id: number, host: (i: number) => string, count: number): number => {
    const batch = new ReceiveBatch();
    for (let i = 0; i < count; i++) batch.push(datagramTo(id, 1_008), host(i), 1 + i);
    const before = one.counters.handedOver;
    one.handOver(batch, allForeign(count, 11));
    return one.counters.handedOver - before;
  };
  const half = WAITING_BYTES_MAX / 2 / 1_024;
  const share = SHARE_BYTES_MAX / 1_024;
  // One connection, from an address of its own for each datagram.
  expect(hand(1, (i) => `198.18.${i % 256}.${i >> 8}`, 4_000)).toBe(half);
  // As many connections as it likes, from one network.
  let ofNetwork = 0;
  for (let id = 2; id < 40; id++) ofNetwork += hand(id, (i) => `203.0.113.${i}`, 100);
  expect(ofNetwork).toBe(share);
  expect(hand(50, () => '2001:db8:0:100::1', 100)).toBe(share);
  expect(hand(51, (i) => `2001:db8:0:10${i}::1`, 10)).toBe(0);
  // Somebody else.
  expect(hand(60, () => '192.0.2.1', 10)).toBe(10);
  const settled = half + 2 * share + 10;
  await taken(other, settled);
  expect(other.counters.takenOver).toBe(settled);
  expect(hand(1, (i) => `198.18.${i % 256}.${i >> 8}`, 4_000)).toBe(half);
});

test('what waits is counted as by one that looks through all of it [WRK-4]', () => {
  const step = fc.oneof(
    fc.record({ id: fc.nat(12), network: fc.nat(12), bytes: fc.integer({ min: 1, max: 40_000 }) }),
    fc.record({ take: fc.nat(400_000) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const share = new FairShare();
      let waiting: { id: number; network: number; bytes: number }[] = [];
      const sum = (of: typeof waiting): number => of.reduce((total, { bytes }) => total + bytes, 0);
      for (const each of steps) {
        if ('take' in each) {
          let left = each.take;
          waiting = waiting.filter(({ bytes }) => {
            left -= bytes;
            return left < 0;
          });
          share.settle(sum(waiting));
          continue;
        }
        const all = sum(waiting) + each.bytes;
        const ofNetwork = sum(waiting.filter(({ network }) => network === each.network)) + each.bytes;
        const ofId = sum(waiting.filter(({ id }) => id === each.id)) + each.bytes;
        const isScarce = all > WAITING_BYTES_MAX / 2;
        const isGranted =
          all <= WAITING_BYTES_MAX &&
          (!isScarce || (ofNetwork <= SHARE_BYTES_MAX && ofId <= SHARE_BYTES_MAX));
        expect(share.take(each.bytes, `10.0.${each.network}.9`, datagramTo(each.id, 40), 1)).toBe(isGranted);
        if (isGranted) waiting.push(each);
      }
    }),
  );
});

test('one that is gone has no packets any more [WRK-3]', async () => {
  const { one, other } = pair();
  const id = other.ids.next();
  expect(one.fellowOf(id, 0)).toBe(11);
  const { port } = (one as unknown as { bySeat: Map<number, { port: MessagePort }> }).bySeat.get(11) as {
    port: MessagePort;
  };
  const closed = new Promise((resolve) => port.once('close', resolve));
  other.leave();
  await closed;
  expect(one.fellowOf(id, 0)).toBe(-1);
});

test('what comes for one that has a seat already, and was not met yet, is dropped and counted, and not taken for nobody’s [WRK-3]', () => {
  const { one, seats } = pair();
  const late = new ServerIdSource(new Uint8Array(32).fill(3), 12, new Prng(4)).next();
  expect(one.fellowOf(late, 0)).toBe(-1);
  seats.set([10, 12]);
  expect(one.fellowOf(late, 0)).toBe(12);
  expect(one.fellowOf(one.ids.next(), 0)).toBe(-1);
  const batch = new ReceiveBatch();
  batch.push(new Uint8Array(40), '192.0.2.1', 1);
  one.handOver(batch, allForeign(1, 12));
  expect(one.counters).toMatchObject({ handedOver: 0, handOversDropped: 1 });
  seats[1] = NO_SEAT;
  expect(one.fellowOf(late, 0)).toBe(-1);
});

test('connections of all others are counted [WRK-7]', () => {
  const { one, other } = pair();
  one.tellConnections(3);
  other.tellConnections(4);
  expect([one.connectionsElsewhere, other.connectionsElsewhere]).toEqual([4, 3]);
});
