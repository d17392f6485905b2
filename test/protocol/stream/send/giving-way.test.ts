import { describe, expect, test } from 'vitest';
import { MILLISECOND, NEVER } from '../../../../src/base/time.ts';
import type { ConnectionStream } from '../../../../src/protocol/stream/connection-stream.ts';
import { Outcome } from '../../../../src/protocol/stream/send/send-context.ts';
import { SendResult } from '../../../../src/protocol/stream/send/send-stream.ts';
import { Delivery } from '../../../../src/protocol/wire/frame-type.ts';
import { Pair } from '../../connection/pair.ts';
import { bytesOf, framesOf, Link } from '../link.ts';

const { RELIABLE, PARTIAL, BEST_EFFORT } = Delivery;

describe('While the queue of the path is long', () => {
  test('the newest best-effort messages of a stream are sent, as many as may be; the others give way [STR-42] [STR-27]', () => {
    const link = new Link();
    for (let i = 0; i < 6; i++) link.send.send(bytesOf(100, i), BEST_EFFORT, NEVER, false, 10 + i);
    link.sendContext.thinRoom = 250;
    const packet = link.pack(0)!;
    expect(framesOf(packet.bytes)).toEqual(['OPEN', 'MESSAGES_BEST_EFFORT 0+2']);
    link.deliver(packet, 0);
    expect(link.readAll(0)).toEqual([bytesOf(100, 4), bytesOf(100, 5)]);
    expect(link.outcomes()).toEqual([10, 11, 12, 13].map((id) => [id, Outcome.DROPPED]));
    expect(link.sendContext.thinned).toBe(4);
    expect(link.sendContext.thinRoom).toBeLessThan(50);
    expect(link.send.queue.bytes).toBe(0);
  });

  test('the newest best-effort message goes, whatever its length, and all of it [STR-42]', () => {
    const link = new Link();
    link.send.send(bytesOf(50, 0), BEST_EFFORT, NEVER, false);
    link.send.send(bytesOf(3_000, 1), BEST_EFFORT, NEVER, false);
    link.sendContext.thinRoom = 1;
    link.deliver(link.pack(0)!, 0);
    expect(link.pack(0)).toBeNull();
    link.send.send(bytesOf(50, 2), BEST_EFFORT, NEVER, false);
    link.sendContext.thinRoom = 5_000;
    for (const packet of link.packAll(0)) link.deliver(packet, 0);
    expect(link.readAll(0)).toEqual([bytesOf(3_000, 1), bytesOf(50, 2)]);
  });

  test('partial messages wait, reliable ones ahead of them do not, and what is lost goes again [STR-42]', () => {
    const link = new Link();
    link.send.send(bytesOf(10, 0), PARTIAL, 9_000, false, 1);
    const packet = link.pack(0)!;
    link.lost(packet, 1_000);
    link.send.send(bytesOf(10, 1), RELIABLE, NEVER, false, 2);
    link.send.send(bytesOf(10, 2), PARTIAL, 5_000, false, 3);
    link.sendContext.thinRoom = 0;
    expect(framesOf(link.pack(1_000)!.bytes)).toEqual(['OPEN', 'MESSAGE 0 for 8000', 'MESSAGES 1+1']);
    expect(link.pack(2_000)).toBeNull();
    link.send.onTimeout(5_000);
    expect(link.outcomes()).toEqual([[3, Outcome.EXPIRED]]);
  });
});

describe('While nothing can be sent', () => {
  test('best-effort messages give way to newer ones once they have waited too long [STR-43]', () => {
    const link = new Link();
    for (let time = 0; time < 100; time += 10) {
      link.send.send(bytesOf(10, time), BEST_EFFORT, NEVER, false, time + 1);
      link.send.queue.bestEffort!.thin(40, time);
    }
    expect(link.outcomes()).toEqual([1, 11, 21, 31, 41, 51].map((id) => [id, Outcome.DROPPED]));
    link.deliver(link.pack(100)!, 100);
    expect(link.readAll(100)).toEqual([60, 70, 80, 90].map((time) => bytesOf(10, time)));
  });

  test('they stay when nothing newer has come, however long they wait [STR-43]', () => {
    const link = new Link();
    for (let i = 0; i < 100; i++) link.send.send(bytesOf(100, i), BEST_EFFORT, NEVER, false, i + 1);
    for (let time = 0; time < 1_000; time += 10) link.send.queue.bestEffort!.thin(40, time);
    expect(link.outcomes()).toEqual([]);
    for (const packet of link.packAll(1_000)) link.deliver(packet, 1_000);
    expect(link.readAll(1_000).length).toBe(100);
  });

  test('one that is partly sent goes on, and reliable and partial ones do not give way [STR-43]', () => {
    const link = new Link();
    link.send.send(bytesOf(3_000), BEST_EFFORT, NEVER, false, 1);
    link.send.send(bytesOf(10), RELIABLE, NEVER, false, 2);
    link.send.send(bytesOf(10), PARTIAL, 9_000, false, 3);
    const first = link.pack(0)!;
    link.send.queue.bestEffort!.thin(40, 0);
    link.send.send(bytesOf(10), BEST_EFFORT, NEVER, false, 4);
    link.send.queue.bestEffort!.thin(40, 100);
    for (const packet of [first, ...link.packAll(200)]) link.deliver(packet, 200);
    expect(
      link
        .readAll(200)
        .map(({ length }) => length)
        .sort(),
    ).toEqual([10, 10, 10, 3_000]);
    expect(link.outcomes()).toEqual([]);
  });
});

describe('A connection that congestion control lets send nothing', () => {
  const EACH = 2.5 * MILLISECOND;

  /** Sends more than a stream holds at once, and then a message each 2.5 ms, each time that it may send nothing. Tells how many wait then, and what its application hears. */
  function blocked(thinningDelayMs: number) {
    const pair = new Pair({ client: { thinningDelayMs } }).connected();
    const streams = [0, 1].map(() => pair.client.open({ delivery: BEST_EFFORT }));
    pair.world.network.cut('server');
    pair.run(10);
    pair.client.open().send(bytesOf(1_000), RELIABLE, NEVER, false);
    const told: string[] = [];
    const hear = (): void => {
      const event = pair.client.endpoint.pollEvent();
      if (event === null) return;
      const isDropped = event.type === 'outcome' && event.outcome === Outcome.DROPPED;
      told.push(isDropped ? 'dropped' : event.type);
      hear();
    };
    const send = (stream: ConnectionStream) =>
      stream.send(bytesOf(2_000), BEST_EFFORT, NEVER, false, stream.track());
    let { now } = pair;
    for (const stream of streams) send(stream);
    const each = streams[0].sender.queue.bytes;
    const held = ({ sender }: ConnectionStream) => sender.queue.bytes / each;
    for (const stream of streams) while (send(stream) === SendResult.ACCEPTED);
    const most = held(streams[0]);
    const waiting: number[] = [];
    for (let i = 0; i < 120; i++) {
      pair.client.core.streams.packer.onBlocked(now);
      for (const stream of streams) send(stream);
      waiting.push(held(streams[0]));
      expect(held(streams[1])).toBe(held(streams[0]));
      now += EACH;
    }
    hear();
    return { told, most, waiting };
  }

  test('lets what has waited for the bound give way to what is newer, at most a quarter later, and tells of it and of the room [STR-43]', () => {
    const { told, most, waiting } = blocked(50);
    expect(waiting[19]).toBe(most + 20);
    // Those of 50 ms wait, and of another 12.5 ms, in which it is not looked for them.
    const later = waiting.slice(25);
    expect(Math.min(...later)).toBe(21);
    expect(Math.max(...later)).toBe(25);
    expect(told.filter((what) => what === 'dropped').length).toBe(2 * (most + 120 - waiting[119]));
    expect(told.filter((what) => what === 'writable').length).toBe(2);
    expect(new Set(told).size).toBe(2);
  });

  test('lets none give way where there is no bound', () => {
    const { told, most, waiting } = blocked(0);
    expect([told, waiting[119]]).toEqual([[], most + 120]);
  });
});
