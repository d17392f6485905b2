import { describe, expect, test } from 'vitest';
import { NEVER } from '../../../src/base/time.ts';
import { Outcome } from '../../../src/protocol/stream/send/send-context.ts';
import { Delivery, Space } from '../../../src/protocol/wire/frame-type.ts';
import { bytesOf, framesOf, Link } from './link.ts';

const { RELIABLE, PARTIAL, BEST_EFFORT } = Delivery;

describe('A lifetime', () => {
  test('travels as what remains of it [STR-16]', () => {
    const link = new Link();
    link.send.send(bytesOf(10), PARTIAL, 5_000, false);
    expect(framesOf(link.pack(1_200)!.bytes)).toEqual(['OPEN', 'MESSAGE 0 for 3800']);
  });

  test('ends in the queue without a trace in the sequences [STR-2] [STR-16]', () => {
    const link = new Link();
    link.send.send(bytesOf(10, 0), RELIABLE, NEVER, false);
    link.send.send(bytesOf(10, 1), PARTIAL, 500, false, 1);
    link.send.send(bytesOf(10, 2), RELIABLE, NEVER, false);
    link.send.send(bytesOf(10, 3), PARTIAL, 900, false, 2);
    link.send.send(bytesOf(10, 4), RELIABLE, NEVER, false);
    expect(framesOf(link.pack(500)!.bytes)).toEqual([
      'OPEN',
      'MESSAGES 0+1',
      'MESSAGES 1+1',
      'MESSAGE 2 for 400',
      'MESSAGES 3+1',
    ]);
    expect(link.outcomes()).toEqual([[1, Outcome.EXPIRED]]);
    expect(link.sendContext.expired).toBe(1);
  });

  test('ends in the queue on time, also when nothing can be sent [STR-16]', () => {
    const link = new Link();
    link.send.send(bytesOf(10), RELIABLE, NEVER, false);
    link.send.send(bytesOf(10), PARTIAL, 700, false, 1);
    link.send.send(bytesOf(10), BEST_EFFORT, 600, false, 2);
    expect(link.send.nextTimeout()).toBe(600);
    link.send.onTimeout(599);
    expect(link.outcomes()).toEqual([]);
    link.send.onTimeout(600);
    expect(link.outcomes()).toEqual([[2, Outcome.EXPIRED]]);
    expect(link.send.nextTimeout()).toBe(700);
    link.send.onTimeout(700);
    expect(link.send.nextTimeout()).toBe(NEVER);
    expect(link.send.queue.bytes).toBe(138);
  });

  test('forbids to send a message again after its deadline; the peer is told not to wait [STR-17] [STR-28]', () => {
    const link = new Link();
    link.send.send(bytesOf(100), PARTIAL, 1_000, false, 1);
    const packet = link.pack(0)!;
    link.lost(packet, 500);
    const again = link.pack(600)!;
    expect(framesOf(again.bytes)).toEqual(['OPEN', 'MESSAGE 0 for 400']);
    link.lost(again, 1_000);
    const abandon = link.pack(1_000)!;
    expect(framesOf(abandon.bytes)).toEqual(['OPEN', 'ABANDON 0+1']);
    link.lost(abandon, 1_100);
    const abandonAgain = link.pack(1_200)!;
    expect(framesOf(abandonAgain.bytes)).toEqual(['OPEN', 'ABANDON 0+1']);
    expect(link.outcomes()).toEqual([]);
    link.acked(abandonAgain);
    expect(link.outcomes()).toEqual([[1, Outcome.EXPIRED]]);
    expect(link.send.settled).toBe(true);
  });

  test('that ends between loss and packing abandons the message [STR-16] [STR-17]', () => {
    const link = new Link();
    link.send.send(bytesOf(100), PARTIAL, 1_000, false);
    link.lost(link.pack(0)!, 500);
    expect(framesOf(link.pack(1_000)!.bytes)).toEqual(['OPEN', 'ABANDON 0+1']);
  });

  test('stops a message that is partly sent [STR-16] [STR-17]', () => {
    const link = new Link();
    link.send.send(bytesOf(5_000), PARTIAL, 1_000, false);
    link.send.send(bytesOf(10), RELIABLE, NEVER, false);
    link.pack(0);
    expect(framesOf(link.pack(1_000)!.bytes)).toEqual(['OPEN', 'MESSAGES 1+1', 'ABANDON 0+1']);
    expect(link.send.queue.bytes).toBe(0);
    expect(link.send.credit.used).toBe(5_128 + 138);
  });

  test('counts a message that proves to have arrived as acknowledged, although it was abandoned [STR-17] [STR-27]', () => {
    const link = new Link();
    link.send.send(bytesOf(100), PARTIAL, 1_000, false, 1);
    const packet = link.pack(0)!;
    link.send.onTimeout(1_000);
    const abandon = link.pack(1_000)!;
    link.acked(packet);
    link.acked(abandon);
    expect(link.outcomes()).toEqual([[1, Outcome.ACKNOWLEDGED]]);
  });

  test('is why the peer dropped a message, when it was over by then [STR-27]', () => {
    const link = new Link();
    link.send.send(bytesOf(10, 0), PARTIAL, 5_000, false, 1);
    link.send.send(bytesOf(10, 1), PARTIAL, 9_000, false, 2);
    link.pack(0);
    link.dropped(Space.RELIABLE, 0, 2, 5_000);
    expect(link.outcomes()).toEqual([
      [1, Outcome.EXPIRED],
      [2, Outcome.DROPPED],
    ]);
    expect(link.sendContext).toMatchObject({ expired: 1, dropped: 1 });
  });

  test('travels less the one-way delay, and ends a message that would come too late before it is sent [STR-16]', () => {
    const link = new Link();
    link.sendContext.deadlines.onMeasured(
      { min: 1_000, adjusted: 2_000, probeTimeout: 3_000 },
      Number.POSITIVE_INFINITY,
      0,
    );
    link.send.send(bytesOf(10, 0), PARTIAL, 5_000, false, 1);
    link.send.send(bytesOf(10, 1), PARTIAL, 1_000, false, 2);
    link.send.send(bytesOf(10, 2), PARTIAL, 1_001, false, 3);
    expect(framesOf(link.pack(0)!.bytes)).toEqual(['OPEN', 'MESSAGE 0 for 4000', 'MESSAGE 1 for 1']);
    expect(link.outcomes()).toEqual([[2, Outcome.EXPIRED]]);
    // The measure is old: the least that was seen counts.
    link.send.send(bytesOf(10, 3), PARTIAL, 9_000, false, 4);
    expect(framesOf(link.pack(2_001)!.bytes)).toEqual(['OPEN', 'MESSAGE 2 for 6499']);
  });

  test('of a message that is too large for what the path carries until then ends before a byte of it is sent [STR-40]', () => {
    const link = new Link();
    link.sendContext.deadlines.onMeasured({ min: 2_000, adjusted: 2_000, probeTimeout: 3_000 }, 0.5, 0);
    link.send.send(bytesOf(5_701, 0), PARTIAL, 10_000, false, 1);
    link.send.send(bytesOf(5_701, 1), BEST_EFFORT, 10_000, false, 2);
    link.send.send(bytesOf(5_699, 2), PARTIAL, 10_000, false, 3);
    expect(link.packAll(0).flatMap(({ bytes }) => framesOf(bytes))).toContain(
      'MESSAGE 0 [0,1185) of 5699 for 9000',
    );
    expect(link.outcomes()).toEqual([
      [1, Outcome.EXPIRED],
      [2, Outcome.EXPIRED],
    ]);
    expect(link.send.queue.bytes).toBe(0);
  });

  test('of a message ends when the rest of it, or what is lost of it, cannot arrive any more: the peer is told [STR-17] [STR-40]', () => {
    for (const isLost of [false, true]) {
      const link = new Link();
      link.sendContext.deadlines.onMeasured({ min: 2_000, adjusted: 2_000, probeTimeout: 3_000 }, 1, 0);
      link.send.send(bytesOf(3_000), PARTIAL, 4_500, false, 1);
      const first = link.pack(0)!;
      if (isLost) {
        const [second] = link.packAll(0);
        link.lost(first, 3_000);
        link.lost(second, 3_000);
      }
      expect(framesOf(link.pack(3_000)!.bytes)).toEqual(['OPEN', 'ABANDON 0+1']);
      expect(link.packAll(3_000)).toEqual([]);
    }
  });

  test('that leaves time for one more try only has the lost message go out twice [STR-41]', () => {
    for (const [deadline, copies] of [
      [7_900, 1],
      [8_000, 0],
    ]) {
      const link = new Link();
      link.send.send(bytesOf(1_000), PARTIAL, deadline, false);
      const packet = link.pack(0)!;
      link.sendContext.deadlines.onMeasured(
        { min: 2_000, adjusted: 2_000, probeTimeout: 3_000 },
        Number.POSITIVE_INFINITY,
        4_000,
      );
      link.lost(packet, 4_000);
      expect(framesOf(link.pack(4_000)!.bytes)).toEqual(['OPEN', `MESSAGE 0 for ${deadline - 5_000}`]);
      expect(link.sendContext.copies.count).toBe(copies);
      expect(link.sendContext.copies.nextTimeout).toBe(copies === 1 ? 6_000 : NEVER);
    }
  });

  test('is long enough for what was lost of a large message while that can still arrive [STR-40]', () => {
    const link = new Link();
    link.sendContext.deadlines.onMeasured({ min: 2_000, adjusted: 2_000, probeTimeout: 3_000 }, 1, 0);
    link.send.send(bytesOf(3_000), PARTIAL, 6_000, false, 1);
    const [first, ...others] = link.packAll(0);
    for (const packet of others) link.acked(packet);
    link.lost(first, 3_000);
    expect(framesOf(link.pack(3_000)!.bytes)).toEqual(['MESSAGE 0 [0,1185) of 3000 for 2000']);
  });

  test('names consecutive abandoned messages in one frame [STR-17]', () => {
    const link = new Link();
    for (let i = 0; i < 20; i++) link.send.send(bytesOf(10), PARTIAL, i === 10 ? 9_000 : 1_000, false);
    link.packAll(0);
    link.send.onTimeout(1_000);
    expect(framesOf(link.pack(1_000)!.bytes)).toEqual(['OPEN', 'ABANDON 0+10', 'ABANDON 11+9']);
  });

  test('ends waiting on an ordered stream when the peer abandons the gap, and frees its credit [STR-17]', () => {
    const link = new Link();
    link.send.send(bytesOf(100, 0), PARTIAL, 1_000, false);
    link.pack(0);
    link.send.send(bytesOf(100, 1), RELIABLE, NEVER, false);
    link.deliver(link.pack(0)!, 0);
    expect(link.receive.readable).toBe(0);
    link.send.onTimeout(1_000);
    link.deliver(link.pack(1_000)!, 1_000);
    expect(link.readAll(1_000)).toEqual([bytesOf(100, 1)]);
    expect(link.receive.window.used).toBe(2 * 228);
    expect(link.receive.window.freed).toBe(2 * 228);
  });

  test('gives up on ABANDON what is incomplete, and keeps what is complete [STR-17]', () => {
    const link = new Link();
    link.send.send(bytesOf(100, 0), PARTIAL, 1_000, false);
    link.pack(0);
    link.send.send(bytesOf(2_000, 1), PARTIAL, 1_000, false);
    link.send.send(bytesOf(100, 2), PARTIAL, 1_000, false);
    for (const packet of link.packAll(0).slice(1)) link.deliver(packet, 0);
    link.send.onTimeout(1_000);
    const abandon = link.packAll(1_000);
    expect(framesOf(abandon[0].bytes)).toEqual(['OPEN', 'ABANDON 0+3']);
    link.deliver(abandon[0], 900);
    expect(link.readAll(900)).toEqual([bytesOf(100, 2)]);
    expect(link.receive.window.freed).toBe(link.receive.window.used);
  });

  test.each([true, false])(
    'ends while a message waits to be read, ordered %s [STR-26] [STR-18]',
    (ordered) => {
      const link = new Link({ ordered });
      link.send.send(bytesOf(100, 0), PARTIAL, 1_000, false);
      link.send.send(bytesOf(100, 1), RELIABLE, NEVER, false);
      const packet = link.pack(0)!;
      link.deliver(packet, 5_000);
      expect(link.receive.nextTimeout()).toBe(6_000);
      expect(link.readAll(6_000)).toEqual([bytesOf(100, 1)]);
      expect(link.receiveContext.expired).toBe(1);
      expect(link.receive.window.freed).toBe(2 * 228);
      expect(framesOf(link.reply()!.bytes)).toEqual(['DROPPED 0 0+1']);
    },
  );

  test('ends on time when nobody reads [STR-26] [STR-18]', () => {
    const link = new Link({ ordered: true });
    link.send.send(bytesOf(100, 0), PARTIAL, 1_000, false, 1);
    link.send.send(bytesOf(2_000, 1), PARTIAL, 1_000, false, 2);
    const [first, second, ...rest] = link.packAll(0);
    expect(rest).toEqual([]);
    link.send.send(bytesOf(100, 2), PARTIAL, 1_500, false, 3);
    link.send.send(bytesOf(100, 3), RELIABLE, NEVER, false);
    const third = link.pack(0)!;
    for (const packet of [first, third]) link.deliver(packet, 0);
    expect(link.receive.readable).toBe(1);
    link.receive.onTimeout(1_000);
    // the unread message 0 and the incomplete 1 are gone, and what waited behind it can be read
    expect(link.receive.readable).toBe(2);
    expect(link.receive.nextTimeout()).toBe(1_500);
    const dropped = link.reply()!;
    expect(framesOf(dropped.bytes)).toEqual(['DROPPED 0 0+2']);
    link.receive.onTimeout(1_500);
    expect(link.readAll(1_500)).toEqual([bytesOf(100, 3)]);
    expect(link.receive.window.freed).toBe(link.receive.window.used);
    // late parts of what was dropped change nothing
    link.deliver(second, 1_600);
    expect(link.receive.window.freed).toBe(link.receive.window.used);
    expect(link.deliverReply(dropped)).toBe(0);
    expect(link.outcomes()).toEqual([
      [1, Outcome.DROPPED],
      [2, Outcome.DROPPED],
    ]);
  });

  test('ends while a message is held behind a gap [STR-26] [STR-18]', () => {
    const link = new Link({ ordered: true });
    link.send.send(bytesOf(100, 0), RELIABLE, NEVER, false);
    const first = link.pack(0)!;
    link.send.send(bytesOf(100, 1), PARTIAL, 1_000, false);
    link.send.send(bytesOf(100, 2), RELIABLE, NEVER, false);
    link.deliver(link.pack(0)!, 0);
    link.receive.onTimeout(1_000);
    expect(framesOf(link.reply()!.bytes)).toEqual(['DROPPED 0 1+1']);
    link.deliver(first, 1_000);
    expect(link.readAll(1_000)).toEqual([bytesOf(100, 0), bytesOf(100, 2)]);
  });

  test('counts from the part that came last [STR-26]', () => {
    const link = new Link();
    link.send.send(bytesOf(2_000), PARTIAL, 10_000, false);
    const [first, second] = link.packAll(0);
    link.deliver(first, 1_000);
    expect(link.receive.nextTimeout()).toBe(11_000);
    link.deliver(second, 4_000);
    link.receive.onTimeout(11_000);
    expect(link.receive.nextTimeout()).toBe(14_000);
    expect(link.receive.read(13_999)).toEqual(bytesOf(2_000));
  });

  test('of the next message is what the scheduler hears', () => {
    const link = new Link();
    expect(link.send.headDeadline).toBe(NEVER);
    link.send.send(bytesOf(3_000), PARTIAL, 900, false);
    link.send.send(bytesOf(10), PARTIAL, 700, false);
    expect(link.send.headDeadline).toBe(900);
    link.pack(0);
    expect(link.send.headDeadline).toBe(900);
    link.packAll(0);
    expect(link.send.headDeadline).toBe(NEVER);
    link.send.send(bytesOf(10), BEST_EFFORT, 600, false);
    expect(link.send.headDeadline).toBe(600);
  });
});
