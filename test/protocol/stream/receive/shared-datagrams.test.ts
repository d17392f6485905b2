import { describe, expect, test } from 'vitest';
import { Prng } from '../../../../src/base/random.ts';
import { NEVER } from '../../../../src/base/time.ts';
import { ReadFault } from '../../../../src/protocol/stream/receive/receive-stream.ts';
import { Delivery } from '../../../../src/protocol/wire/frame-type.ts';
import { bytesOf, Link, type Packet } from '../link.ts';

/** The packets of messages of these lengths. */
function packetsOf(link: Link, lengths: readonly number[], delivery: Delivery = Delivery.RELIABLE): Packet[] {
  for (const [i, length] of lengths.entries()) link.send.send(bytesOf(length, i), delivery, NEVER, false);
  return link.packAll(0);
}

const equal = (count: number, length: number) => Array.from({ length: count }, () => length);

describe('Messages of datagrams that lie in one memory, which is used again', () => {
  test('are copied together with those of the datagrams behind, up to 16 KiB [STR-32]', () => {
    const link = new Link({ mtu: 1_440 });
    link.deliverTogether(packetsOf(link, equal(30, 1_400)), 0);
    const messages = link.readAll(0);
    expect(messages.map((message) => [...message])).toEqual(
      equal(30, 1_400).map((n, i) => [...bytesOf(n, i)]),
    );
    const memories = new Set(messages.map(({ buffer }) => buffer));
    expect(memories.size).toBe(3);
    for (const { byteLength } of memories) expect(byteLength).toBeLessThanOrEqual(16_384);
  });

  test('have memory of their own where one datagram came by itself [STR-32]', () => {
    const link = new Link({ mtu: 1_440 });
    link.deliverTogether(packetsOf(link, [1_400]), 0);
    expect(link.receive.read(0)!.buffer.byteLength).toBeLessThan(1_410);
  });

  test('have memory of their own where they are less than a quarter of their datagram [STR-32]', () => {
    const link = new Link({ mtu: 1_440 });
    const packets = [0, 1, 2, 3].map((i) => {
      link.send.send(bytesOf(200, i), Delivery.RELIABLE, NEVER, false);
      link.send.send(bytesOf(1_000, i), Delivery.BEST_EFFORT, NEVER, false);
      return link.pack(0)!;
    });
    link.deliverTogether(packets, 0);
    const small = link.readAll(0).filter(({ length }) => length === 200);
    expect(small.length).toBe(4);
    for (const { buffer } of small) expect(buffer.byteLength).toBeLessThan(210);
  });

  test('share a copy with no other receiver: what is written over it does no harm there [STR-32]', () => {
    const link = new Link({ mtu: 1_440 });
    const packets = [
      ...packetsOf(link, equal(4, 1_300)),
      ...packetsOf(link, equal(4, 1_301), Delivery.BEST_EFFORT),
    ];
    const mixed = [0, 4, 1, 5, 2, 6, 3, 7].map((i) => packets[i]);
    link.deliverTogether(mixed, 0);
    const first = link.receive.read(0)!;
    const own = new Uint8Array(first.buffer);
    const others: Uint8Array[] = link.readAll(0);
    own.fill(0);
    const foreign = others.filter((message) => message.length !== first.length);
    expect(foreign.length).toBe(4);
    for (const [i, message] of foreign.entries()) expect([...message]).toEqual([...bytesOf(1_301, i)]);
  });

  test('of another connection are none of a copy', () => {
    const link = new Link({ mtu: 1_440 });
    const packets = packetsOf(link, equal(6, 1_400));
    const other = {};
    link.deliverTogether(packets, 0, [link, link, link, other, link, link]);
    const sizes = link.readAll(0).map(({ buffer }) => buffer.byteLength);
    expect(sizes[0]).toBe(sizes[2]);
    expect(sizes[0]).toBeLessThan(3 * 1_440);
    expect(sizes[3]).toBeLessThan(1_410);
    expect(sizes[4]).toBeLessThan(2 * 1_440);
  });

  test('that are written over in memory with unread ones end their stream, and no more [STR-32]', () => {
    const link = new Link({ mtu: 1_440 });
    link.deliverTogether(packetsOf(link, equal(5, 1_400)), 0);
    new Uint8Array(link.receive.read(0)!.buffer).fill(255);
    while (link.receive.read(0) !== null);
    expect(link.receive.fault).toBe(ReadFault.DETACHED);
    link.receive.forget();
    expect(link.receive.window.used).toBe(link.receive.window.freed);
    expect(link.receiveContext.kept.wasteBytes).toBe(0);
    expect(link.receiveContext.kept.bytes).toBe(0);
  });

  test('count what they keep alive beyond their charge once, within the bound, and not any more when they are read [STR-14]', () => {
    const link = new Link({ ordered: false, mtu: 1_440 });
    const { receiveContext } = link;
    link.deliverTogether(packetsOf(link, equal(11, 1_400)), 0);
    expect(receiveContext.kept.wasteBytes).toBe(0);
    expect(receiveContext.kept.bytes).toBeLessThan(11 * (1_440 + 320));
    for (let i = 0; i < 10; i++) link.receive.read(0);
    expect(receiveContext.kept.wasteBytes).toBeGreaterThan(10_000);
    expect(receiveContext.kept.bytes).toBeGreaterThan(11 * 1_400);
    link.readAll(0);
    expect(receiveContext.kept.wasteBytes).toBe(0);
    expect(receiveContext.kept.bytes).toBe(0);
  });

  test('are copied out one by one where copies keep too much alive that nobody is charged for [STR-14]', () => {
    const link = new Link({ ordered: false, mtu: 1_440, windowBytes: 1 << 22 });
    const { receiveContext } = link;
    // Of each batch all but one message are read.
    for (let round = 0; round < 60; round++) {
      link.deliverTogether(packetsOf(link, equal(11, 1_400)), 0);
      expect(receiveContext.kept.wasteBytes).toBeLessThanOrEqual(receiveContext.kept.wasteBytesMax);
    }
    link.readAll(0);
    expect(receiveContext.kept.wasteBytes).toBe(0);
    expect(receiveContext.kept.bytes).toBe(0);
  });

  test('are the same whether datagrams have their own memory or share one', () => {
    const random = new Prng(14);
    for (let round = 0; round < 12; round++) {
      const lengths = Array.from({ length: 1 + random.below(120) }, () =>
        random.below(3) === 0 ? random.below(40) : random.below(round % 2 === 0 ? 900 : 6_000),
      );
      const delivery = round % 3 === 0 ? Delivery.BEST_EFFORT : Delivery.RELIABLE;
      const [apart, together] = [new Link({ mtu: 1_440 }), new Link({ mtu: 1_440 })];
      const packets = packetsOf(apart, lengths, delivery);
      for (const packet of packets) apart.deliver(packet, 0);
      const order = random.below(2) === 0 ? packets : packetsOf(together, lengths, delivery);
      together.deliverTogether(order, 0);
      const [one, other] = [together, apart].map((link) => Buffer.concat(link.readAll(0)));
      expect(Buffer.compare(one, other)).toBe(0);
      expect(together.receiveContext.kept.wasteBytes).toBe(0);
      expect(together.receiveContext.kept.bytes).toBe(0);
    }
  });
});
