import { describe, expect, test } from 'vitest';
import { NEVER } from '../../../src/base/time.ts';
import { ReceiveStream } from '../../../src/protocol/stream/receive/receive-stream.ts';
import { Outcome } from '../../../src/protocol/stream/send/send-context.ts';
import { FrameReader } from '../../../src/protocol/wire/frame-reader.ts';
import { Delivery, FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { nextFrame } from '../../../src/protocol/wire/frames/index.ts';
import { bytesOf, framesOf, Link, type Packet } from './link.ts';

const { BEST_EFFORT } = Delivery;

/** A packet for each message. */
function packetsOf(link: Link, lengths: number[], deadline = NEVER): Packet[] {
  return lengths.flatMap((length, i) => {
    link.send.send(bytesOf(length, i), BEST_EFFORT, deadline, false, i + 1);
    return link.packAll(0);
  });
}

describe('Best-effort messages', () => {
  test('are never sent again [STR-29] [STR-27]', () => {
    const link = new Link();
    const [first, second] = packetsOf(link, [100, 100]);
    expect(link.slabs.inUse).toBe(0);
    link.acked(second);
    link.lost(first, 0);
    expect(link.pack(0)).toBeNull();
    expect(link.outcomes()).toEqual([
      [2, Outcome.ACKNOWLEDGED],
      [1, Outcome.LOST],
    ]);
    expect(link.sendContext.lost).toBe(1);
  });

  test('end with their first lost part [STR-29]', () => {
    const link = new Link();
    link.send.send(bytesOf(5_000), BEST_EFFORT, NEVER, false, 1);
    const first = link.pack(0)!;
    const second = link.pack(0)!;
    link.lost(first, 0);
    expect(framesOf(link.pack(0)!.bytes)).toEqual(['OPEN']);
    expect(link.send.queue.bytes).toBe(0);
    expect(link.slabs.inUse).toBe(0);
    link.acked(second);
    link.lost(second, 0);
    expect(link.outcomes()).toEqual([[1, Outcome.LOST]]);
    expect(link.send.settled).toBe(true);
  });

  test('end with their deadline, the rest unsent [STR-29] [STR-27]', () => {
    const link = new Link();
    link.send.send(bytesOf(3_000), BEST_EFFORT, 1_000, false, 1);
    const first = link.pack(0)!;
    expect(link.pack(1_000)).toBeNull();
    expect(link.outcomes()).toEqual([[1, Outcome.EXPIRED]]);
    link.acked(first);
    expect(link.send.settled).toBe(true);
    expect(link.outcomes()).toEqual([]);
  });

  test('may prove to have arrived after their deadline when all of them was sent [STR-27]', () => {
    const link = new Link();
    const [packet] = packetsOf(link, [100], 1_000);
    link.send.onTimeout(1_000);
    expect(link.send.nextTimeout()).toBe(NEVER);
    link.acked(packet);
    expect(link.outcomes()).toEqual([[1, Outcome.ACKNOWLEDGED]]);
  });

  test('are delivered at once on an unordered stream, at most once [STR-22]', () => {
    const link = new Link({ ordered: false });
    const packets = packetsOf(link, [10, 20, 30, 40]);
    const order: number[] = [];
    for (const i of [2, 0, 2, 3, 0, 1, 1]) {
      link.deliver(packets[i], 0);
      order.push(...link.readAll(0).map((message) => message.length));
    }
    expect(order).toEqual([30, 10, 40, 20]);
    expect(link.receiveContext.late).toBe(3);
  });

  test('are delivered on an ordered stream only when newer than all before [STR-22]', () => {
    const link = new Link({ ordered: true });
    const packets = packetsOf(link, [10, 20, 30, 40]);
    for (const i of [1, 0, 3, 2]) link.deliver(packets[i], 0);
    expect(link.readAll(0).map((message) => message.length)).toEqual([20, 40]);
    expect(link.receiveContext.late).toBe(2);
  });

  test('in a run are taken as far as they are new [STR-22]', () => {
    const link = new Link({ ordered: false });
    for (let i = 0; i < 3; i++) link.send.send(bytesOf(10, i), BEST_EFFORT, NEVER, false);
    const run = link.pack(0)!;
    const other = new Link({ ordered: false });
    const [first, second] = packetsOf(other, [10, 10]);
    link.deliver(second, 0);
    link.deliver(run, 0);
    link.deliver(first, 0);
    expect(link.readAll(0).length).toBe(3);
    expect(link.receiveContext.late).toBe(2);
  });

  test('are forgotten when very many newer ones have come [STR-22]', () => {
    const link = new Link({ ordered: false });
    const [old, ...packets] = packetsOf(link, new Array(16_386).fill(4));
    const [, second] = packets;
    for (const packet of packets) {
      if (packet !== second) link.deliver(packet, 0);
      link.readAll(0);
    }
    link.deliver(old, 0);
    expect(link.readAll(0)).toEqual([]);
    link.deliver(second, 0);
    expect(link.readAll(0).length).toBe(1);
    expect(link.receiveContext.late).toBe(1);
  });

  test('are put together from parts in any order [STR-22]', () => {
    const link = new Link({ ordered: false });
    const packets = packetsOf(link, [4_000]);
    expect(packets.length).toBe(4);
    for (const i of [3, 1, 0, 1, 2]) link.deliver(packets[i], 0);
    expect(link.readAll(0)).toEqual([bytesOf(4_000, 0)]);
    link.deliver(packets[0], 0);
    expect(link.receiveContext.budget.used).toBe(0);
  });

  test('that are incomplete end when the sender has settled them [STR-19]', () => {
    const link = new Link({ ordered: false });
    const first = packetsOf(link, [2_000]);
    link.deliver(first[0], 0);
    expect(link.receiveContext.budget.used).toBe(2_128);
    link.lost(first[1], 0);
    const second = packetsOf(link, [2_000]);
    link.deliver(second[0], 0);
    expect(link.receiveContext.budget.used).toBe(2_128);
    // the part that was believed lost comes after all, to no avail
    link.deliver(first[1], 0);
    expect(link.receiveContext.budget.used).toBe(2_128);
    link.deliver(second[1], 0);
    expect(link.readAll(0)).toEqual([bytesOf(2_000, 0)]);
  });

  test('that are incomplete end on an ordered stream when a newer one is delivered [STR-22]', () => {
    const link = new Link({ ordered: true });
    const [first, second, third] = packetsOf(link, [2_000, 100]);
    link.deliver(first, 0);
    link.deliver(third, 0);
    link.deliver(second, 0);
    expect(link.readAll(0)).toEqual([bytesOf(100, 1)]);
    expect(link.receiveContext.budget.used).toBe(0);
  });

  test('that are incomplete give way to the budget, oldest first, and that is reported [STR-21] [STR-18]', () => {
    const link = new Link({ ordered: false, budgetBytes: 5_000 });
    const packets = packetsOf(link, [2_000, 2_000, 2_000]);
    for (const i of [0, 2, 4]) link.deliver(packets[i], 0);
    expect(link.receiveContext.evicted).toBe(1);
    const reply = link.reply()!;
    expect(framesOf(reply.bytes)).toEqual(['DROPPED 1 0+1']);
    for (const i of [1, 3, 5]) link.deliver(packets[i], 0);
    expect(link.readAll(0)).toEqual([bytesOf(2_000, 1), bytesOf(2_000, 2)]);
    link.deliverReply(reply);
    expect(link.outcomes()).toEqual([[1, Outcome.DROPPED]]);
    expect(link.receiveContext.budget.used).toBe(0);
  });

  test('that are unread give way to the budget, oldest first, and leave nothing in the queue [STR-21]', () => {
    const link = new Link({ ordered: false, budgetBytes: 1_000 });
    const packets = packetsOf(link, new Array(50).fill(72));
    for (const packet of packets) link.deliver(packet, 0);
    expect(link.receiveContext.evicted).toBe(45);
    expect(link.receive.readable).toBe(5);
    expect(link.readAll(0).length).toBe(5);
    expect(framesOf(link.reply()!.bytes)).toEqual(['DROPPED 1 0+45']);
    expect(link.receiveContext.budget.used).toBe(0);
  });

  test('that give way to a newer one of their stream do not end it before that is read [STR-6] [STR-21]', () => {
    const link = new Link({ budgetBytes: 300 });
    const [first, second] = packetsOf(link, [100, 100]);
    link.send.close();
    const fin = link.pack(0)!;
    for (const packet of [first, fin, second]) link.deliver(packet, 0);
    expect([link.receive.readable, link.receive.ended]).toEqual([1, false]);
    expect(link.readAll(0)).toEqual([bytesOf(100, 1)]);
    expect(link.receive.ended).toBe(true);
  });

  test('that give way to those of another stream end theirs, when nothing else was to be read [STR-6] [STR-21]', () => {
    const link = new Link({ budgetBytes: 300 });
    const [first, second] = packetsOf(link, [100, 100]);
    link.send.close();
    for (const packet of [first, link.pack(0)!]) link.deliver(packet, 0);
    expect([link.receive.readable, link.receive.ended]).toEqual([1, false]);
    const other = new ReceiveStream(link.receiveContext, { id: 8, ordered: true, windowBytes: 1_000 });
    const frame = new FrameReader();
    frame.reset(second.bytes, 0, second.bytes.length);
    while (nextFrame(frame)) if (frame.type !== FrameType.STREAM_OPEN) other.onFrame(frame, 0);
    expect([link.receive.readable, link.receive.ended]).toEqual([0, true]);
    expect(other.readable).toBe(1);
  });

  test('that are incomplete give way when a stream has too many of them [STR-21]', () => {
    const link = new Link({ ordered: false });
    const packets = packetsOf(link, new Array(300).fill(1_300));
    for (let i = 0; i < packets.length; i += 2) link.deliver(packets[i], 0);
    expect(link.receiveContext.evicted).toBe(44);
    for (let i = 1; i < packets.length; i += 2) link.deliver(packets[i], 0);
    expect(link.readAll(0).length).toBe(256);
  });

  test('that are larger than the budget are not kept [STR-21]', () => {
    const link = new Link({ ordered: false, budgetBytes: 1_000 });
    for (const packet of packetsOf(link, [900, 2_000, 100])) link.deliver(packet, 0);
    expect(link.readAll(0)).toEqual([bytesOf(100, 2)]);
    expect(framesOf(link.reply()!.bytes)).toEqual(['DROPPED 1 0+2']);
  });

  test('that are incomplete or unread end with their deadline [STR-26]', () => {
    const link = new Link({ ordered: false });
    const [first, , third] = packetsOf(link, [2_000, 100], 1_000);
    link.deliver(first, 0);
    link.deliver(third, 0);
    expect(link.receive.nextTimeout()).toBe(1_000);
    link.receive.onTimeout(1_000);
    expect(link.receive.readable).toBe(0);
    expect(link.receiveContext.expired).toBe(2);
    expect(link.receiveContext.budget.used).toBe(0);
    expect(framesOf(link.reply()!.bytes)).toEqual(['DROPPED 1 0+2']);
  });

  test('are cut with a hint at the oldest that is alive [STR-19]', () => {
    const link = new Link();
    const packets = packetsOf(link, [100, 2_000]);
    expect(framesOf(packets[1].bytes)[1]).toMatch(/^MESSAGE_BEST_EFFORT 1 \[0,/);
    link.acked(packets[0]);
    for (const packet of packets.slice(1)) link.acked(packet);
    expect(link.send.settled).toBe(true);
  });
});
