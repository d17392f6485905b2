import { describe, expect, test } from 'vitest';
import { NEVER } from '../../../../src/base/time.ts';
import { Outcome } from '../../../../src/protocol/stream/send/send-context.ts';
import { SendResult } from '../../../../src/protocol/stream/send/send-stream.ts';
import { CloseCode } from '../../../../src/protocol/wire/close-code.ts';
import { Delivery, FrameType, Space } from '../../../../src/protocol/wire/frame-type.ts';
import { PacketRecord } from '../../wire/recorded.ts';
import { bytesOf, framesOf, Link, writerOn } from '../link.ts';

const { RELIABLE, PARTIAL, BEST_EFFORT } = Delivery;

function linkWith(count: number, length: number, delivery: Delivery = RELIABLE, mtu = 1_200): Link {
  const link = new Link({ mtu });
  for (let i = 0; i < count; i++) link.send.send(bytesOf(length, i), delivery, NEVER, false);
  return link;
}

describe('SendStream', () => {
  test('packs small messages of a space into one run, numbered as they are sent [STR-2]', () => {
    const link = linkWith(30, 64);
    expect(link.packAll(0).map((p) => framesOf(p.bytes))).toEqual([
      ['OPEN', 'MESSAGES 0+18'],
      ['OPEN', 'MESSAGES 18+12'],
    ]);
  });

  test('fills packets: the next message would not have fitted', () => {
    const link = linkWith(100, 100);
    for (const packet of link.packAll(0).slice(0, -1))
      expect(packet.bytes.length).toBeGreaterThan(1_200 - 103);
  });

  test('keeps the spaces apart and lets neither starve the other [STR-1]', () => {
    const link = linkWith(40, 400);
    for (let i = 0; i < 40; i++) link.send.send(bytesOf(400, i), BEST_EFFORT, NEVER, false);
    const frames = link
      .packAll(0)
      .slice(0, 8)
      .flatMap((p) => framesOf(p.bytes));
    expect(frames).toContain('MESSAGES 0+2');
    expect(frames).toContain('MESSAGES_BEST_EFFORT 0+2');
  });

  test('puts STREAM_OPEN into every packet until one was acknowledged, and never again [STR-3]', () => {
    const link = linkWith(40, 64);
    const first = link.pack(0)!;
    const second = link.pack(0)!;
    expect(framesOf(first.bytes)[0]).toBe('OPEN');
    expect(framesOf(second.bytes)[0]).toBe('OPEN');
    link.acked(second);
    link.lost(first, 0);
    for (const packet of link.packAll(0)) expect(framesOf(packet.bytes)).not.toContain('OPEN');
  });

  test('opens a stream that has nothing to say, and again when that is lost [STR-3]', () => {
    const link = new Link();
    expect(link.send.sendable).toBe(true);
    const packet = link.pack(0)!;
    expect(framesOf(packet.bytes)).toEqual(['OPEN']);
    expect(link.pack(0)).toBeNull();
    expect(link.send.isOpenAtPeer).toBe(false);
    link.lost(packet, 0);
    const again = link.pack(0)!;
    expect(framesOf(again.bytes)).toEqual(['OPEN']);
    link.acked(again);
    expect(link.send.isOpenAtPeer).toBe(true);
    expect(link.send.sendable).toBe(false);
  });

  test('writes nothing, and no STREAM_OPEN either, when there is no room [STR-3]', () => {
    const link = linkWith(1, 64);
    const record = new PacketRecord();
    expect(written(link, new Uint8Array(10), 3, record)).toBe(0);
    expect(record.isEmpty).toBe(true);
  });

  test('sends a message that fits into a packet whole when less than 256 bytes are left [STR-20]', () => {
    const link = linkWith(1, 1_000);
    link.send.send(bytesOf(1_000), RELIABLE, NEVER, false);
    expect(link.packAll(0).map((p) => framesOf(p.bytes))).toEqual([
      ['OPEN', 'MESSAGES 0+1'],
      ['OPEN', 'MESSAGES 1+1'],
    ]);
  });

  test('cuts a reliable message when at least 256 bytes are left [STR-20]', () => {
    const link = linkWith(1, 800);
    link.send.send(bytesOf(800), RELIABLE, NEVER, false);
    const [first, second] = link.packAll(0).map((p) => framesOf(p.bytes));
    expect(first[2]).toMatch(/^MESSAGE 1 \[0,3\d\d\) of 800$/);
    expect(second[1]).toMatch(/^MESSAGE 1 \[3\d\d,800\) of 800$/);
  });

  test('never cuts a best-effort message that fits into an empty packet [STR-20]', () => {
    const link = linkWith(3, 800, BEST_EFFORT);
    expect(link.packAll(0).map((p) => framesOf(p.bytes)[1])).toEqual([
      'MESSAGES_BEST_EFFORT 0+1',
      'MESSAGES_BEST_EFFORT 1+1',
      'MESSAGES_BEST_EFFORT 2+1',
    ]);
  });

  test('cuts a message after all when packet after packet has too little room for it [STR-20]', () => {
    const link = linkWith(1, 1_150, BEST_EFFORT);
    const out = new Uint8Array(1_200);
    link.acked({ bytes: out, record: opening() });
    const sizes = Array.from({ length: 10 }, () => written(link, out, 1_100));
    expect(sizes.slice(0, 8)).toEqual(new Array(8).fill(0));
    expect(sizes[8]).toBeGreaterThan(1_000);
    expect(sizes[9]).toBeGreaterThan(0);
  });

  test('makes no fragment shorter than 64 bytes unless it ends the message [STR-20]', () => {
    const link = linkWith(1, 5_000);
    link.acked({ bytes: new Uint8Array(0), record: opening() });
    const out = new Uint8Array(1_200);
    expect(written(link, out, 70)).toBe(0);
    const end = written(link, out, 80);
    expect(framesOf(out.subarray(0, end))).toEqual([
      expect.stringMatching(/^MESSAGE 0 \[0,(6[4-9]|7\d)\) of 5000$/),
    ]);
  });

  test('sends lost messages again, lowest first, ahead of new ones [STR-28]', () => {
    const link = linkWith(40, 64);
    const [first, second, third] = link.packAll(0);
    link.acked(second);
    link.lost(third, 0);
    link.lost(first, 0);
    link.send.send(bytesOf(64), RELIABLE, NEVER, false);
    expect(link.packAll(0).map((p) => framesOf(p.bytes))).toEqual([
      ['MESSAGES 0+18'],
      ['MESSAGES 36+4', 'MESSAGES 40+1'],
    ]);
  });

  test('cuts what is lost anew when the packets have become smaller, or larger [STR-28]', () => {
    const link = linkWith(1, 3_000);
    const packets = link.packAll(0);
    for (const packet of packets) link.lost(packet, 0);
    link.mtu = 512;
    const small = link.packAll(0);
    expect(small.length).toBeGreaterThan(6);
    for (const packet of small) link.lost(packet, 0);
    link.mtu = 4_000;
    expect(framesOf(link.pack(0)!.bytes)).toEqual(['OPEN', 'MESSAGE 0 [0,3000) of 3000']);
  });

  test('cuts a message that was lost whole and fits no packet any more [STR-28]', () => {
    const link = linkWith(1, 1_000);
    const whole = link.pack(0)!;
    link.lost(whole, 0);
    link.mtu = 512;
    const parts = link.packAll(0);
    expect(parts.length).toBe(3);
    for (const packet of parts) expect(link.deliver(packet, 0)).toBe(0);
    expect(link.readAll(0)).toEqual([bytesOf(1_000, 0)]);
    // the acknowledgement of the packet that was not lost after all settles it
    link.acked(whole);
    expect(link.slabs.inUse).toBe(0);
  });

  test('takes losses and acknowledgements in any order, twice, and of what is settled', () => {
    const link = linkWith(20, 64);
    link.send.send(bytesOf(9_000), RELIABLE, NEVER, false);
    const packets = link.packAll(0);
    for (const packet of packets) link.lost(packet, 0);
    for (const packet of packets) link.acked(packet);
    for (const packet of packets) link.acked(packet);
    for (const packet of packets) link.lost(packet, 0);
    expect(link.send.sendable).toBe(false);
    expect(link.pack(0)).toBeNull();
    expect(link.slabs.inUse).toBe(0);
  });

  test('copies what it is given, unless it is given away', () => {
    const link = new Link();
    const kept = bytesOf(64);
    link.send.send(kept, RELIABLE, NEVER, false);
    kept.fill(0);
    const given = bytesOf(20_000, 2);
    link.send.send(given, RELIABLE, NEVER, true);
    link.exchange(0);
    expect(link.readAll(0)).toEqual([bytesOf(64), given]);
  });

  test('says when the queue is full, refuses beyond its limit, and says when it has drained', () => {
    const link = new Link({ highWaterBytes: 1_000, queueBytesMax: 2_000 });
    const send = () => link.send.send(bytesOf(372), RELIABLE, NEVER, false);
    expect(send()).toBe(SendResult.ACCEPTED);
    expect(send()).toBe(SendResult.ACCEPTED);
    expect(send()).toBe(SendResult.FULL);
    expect(send()).toBe(SendResult.FULL);
    expect(link.send.queue.bytes).toBe(2_000);
    expect(send()).toBe(SendResult.REFUSED);
    expect(link.send.queue.takeDrained()).toBe(false);
    link.pack(0);
    expect(link.send.queue.takeDrained()).toBe(false);
    link.packAll(0);
    expect(link.send.queue.bytes).toBe(0);
    expect(link.send.queue.takeDrained()).toBe(true);
    expect(link.send.queue.takeDrained()).toBe(false);
  });

  test('takes a message that is larger than the queue limit when nothing else is queued', () => {
    const link = new Link({ queueBytesMax: 1_000 });
    expect(link.send.send(bytesOf(5_000), RELIABLE, NEVER, false)).toBe(SendResult.FULL);
    expect(link.send.send(bytesOf(1), RELIABLE, NEVER, false)).toBe(SendResult.REFUSED);
  });

  test('ends the stream behind its last message, and says so again when that is lost [STR-6] [STR-30]', () => {
    const link = linkWith(2, 64);
    link.send.close();
    expect(() => link.send.send(bytesOf(1), RELIABLE, NEVER, false)).toThrow(
      expect.objectContaining({ code: 'ERR_JSP_STREAM_CLOSED' }),
    );
    const packet = link.pack(0)!;
    expect(framesOf(packet.bytes)).toEqual(['OPEN', 'MESSAGES 0+2', 'FIN 2']);
    link.lost(packet, 0);
    const again = link.pack(0)!;
    expect(framesOf(again.bytes)).toEqual(['OPEN', 'MESSAGES 0+2', 'FIN 2']);
    expect(link.send.finished).toBe(false);
    link.acked(again);
    expect(link.send.finished).toBe(true);
  });

  test('does not end the stream while a message waits for credit [STR-6] [STR-10]', () => {
    const link = new Link({ windowBytes: 300 });
    link.send.send(bytesOf(100), RELIABLE, NEVER, false);
    link.send.send(bytesOf(100), RELIABLE, NEVER, false);
    link.send.close();
    expect(framesOf(link.pack(0)!.bytes)).toEqual(['OPEN', 'MESSAGES 0+1', 'BLOCKED 456']);
    link.maxStreamData(600);
    expect(framesOf(link.pack(0)!.bytes)).toEqual(['OPEN', 'MESSAGES 1+1', 'FIN 2']);
  });

  test('abandons what is not acknowledged when it is reset, and throws the rest away [STR-24] [STR-27]', () => {
    const link = new Link();
    for (let i = 0; i < 5; i++) link.send.send(bytesOf(550, i), RELIABLE, NEVER, false, i + 1);
    const [first] = [link.pack(0)!, link.pack(0)!];
    link.acked(first);
    expect(link.outcomes()).toEqual([
      [1, Outcome.ACKNOWLEDGED],
      [2, Outcome.ACKNOWLEDGED],
    ]);
    link.send.reset(9);
    expect(link.outcomes()).toEqual([[5, Outcome.DROPPED]]);
    expect(link.slabs.inUse).toBe(0);
    const reset = link.pack(0)!;
    expect(framesOf(reset.bytes)).toEqual(['RESET 9 4', 'ABANDON 2+2']);
    expect(link.pack(0)).toBeNull();
    link.lost(reset, 0);
    link.acked(link.pack(0)!);
    expect(link.send.finished).toBe(true);
    expect(link.outcomes()).toEqual([
      [3, Outcome.DROPPED],
      [4, Outcome.DROPPED],
    ]);
  });

  test('resets when the peer asks it to stop, and tells the application [STR-25]', () => {
    const link = linkWith(2, 64);
    link.pack(0);
    link.stopSending(5);
    expect(link.send.stopCode).toBe(5);
    expect(framesOf(link.pack(0)!.bytes)).toEqual(['OPEN', 'RESET 5 2', 'ABANDON 0+2']);
    expect(() => link.send.send(bytesOf(1), RELIABLE, NEVER, false)).toThrow(
      expect.objectContaining({ code: 'ERR_JSP_STREAM_RESET' }),
    );
  });

  test('does not reset a finished stream when the peer asks it to stop [STR-25]', () => {
    const link = linkWith(1, 64);
    link.send.close();
    link.exchange(0);
    link.stopSending(5);
    expect(link.pack(0)).toBeNull();
    expect(link.send.finished).toBe(true);
  });

  test('that was reset when all of it has arrived still tells so, and what is unread is thrown away [STR-24]', () => {
    const link = linkWith(2, 64);
    link.send.close();
    link.exchange(0);
    expect(link.send.finished).toBe(true);
    expect(link.receive.readable).toBe(2);
    link.send.reset(5);
    expect(link.send.finished).toBe(false);
    link.exchange(0);
    expect(link.send.finished).toBe(true);
    expect([link.receive.resetCode, link.receive.readable, link.receive.ended]).toEqual([5, 0, true]);
  });

  test('that is reset while its STREAM_FIN is under way minds no more what becomes of that [STR-30]', () => {
    const link = linkWith(1, 64);
    link.send.close();
    const packet = link.pack(0)!;
    link.send.reset(5);
    link.acked(packet);
    expect(link.send.finished).toBe(false);
    const reset = link.pack(0)!;
    expect(framesOf(reset.bytes)).toEqual(['RESET 5 1']);
    link.lost(packet, 0);
    expect(link.pack(0)).toBeNull();
    link.acked(reset);
    expect(link.send.finished).toBe(true);
  });

  test('tells each tracked outcome once [STR-27]', () => {
    const link = new Link();
    link.send.send(bytesOf(10), RELIABLE, NEVER, false, 11);
    link.send.send(bytesOf(10), BEST_EFFORT, NEVER, false, 12);
    link.send.send(bytesOf(10), PARTIAL, 500, false, 13);
    const first = link.pack(0)!;
    link.send.send(bytesOf(10), PARTIAL, 500, false, 14);
    link.send.send(bytesOf(10), RELIABLE, NEVER, false, 15);
    const second = link.pack(600)!;
    expect(link.outcomes()).toEqual([[14, Outcome.EXPIRED]]);
    link.lost(first, 700);
    expect(link.outcomes()).toEqual([[12, Outcome.LOST]]);
    for (const packet of link.packAll(700)) link.acked(packet);
    link.acked(second);
    link.acked(first);
    expect(link.outcomes()).toEqual([
      [11, Outcome.ACKNOWLEDGED],
      [13, Outcome.EXPIRED],
      [15, Outcome.ACKNOWLEDGED],
    ]);
  });

  test('ends its work for what the peer dropped, and knows what the peer cannot have dropped [STR-18] [STR-27]', () => {
    const link = new Link();
    for (let i = 0; i < 3; i++) link.send.send(bytesOf(10), RELIABLE, NEVER, false, i + 1);
    const packet = link.pack(0)!;
    expect(link.dropped(Space.RELIABLE, 1, 1)).toBe(0);
    expect(link.outcomes()).toEqual([[2, Outcome.DROPPED]]);
    link.lost(packet, 0);
    expect(framesOf(link.pack(0)!.bytes)).toEqual(['OPEN', 'MESSAGES 0+1', 'MESSAGES 2+1']);
    expect(link.dropped(Space.RELIABLE, 2, 2)).toBe(CloseCode.PROTOCOL_VIOLATION);
    expect(link.dropped(Space.BEST_EFFORT, 0, 1)).toBe(CloseCode.PROTOCOL_VIOLATION);
  });

  test('does not let a peer make work by reporting the same drops again and again [STR-18]', () => {
    const link = linkWith(100, 10);
    link.packAll(0);
    let reports = 1;
    while (link.dropped(Space.RELIABLE, 1, 99) === 0) reports++;
    expect(reports).toBe(Math.floor((65_536 + 800) / 99) + 1);
  });

  test('grows with its load and gives the memory back', () => {
    const link = new Link({ windowBytes: 1 << 24 });
    for (let i = 0; i < 5_000; i++) link.send.send(bytesOf(100, i), RELIABLE, NEVER, false);
    expect(link.slabs.inUse).toBeGreaterThan(10);
    const packets = link.packAll(0);
    for (const packet of packets.reverse()) link.acked(packet);
    expect(link.slabs.inUse).toBe(0);
    expect(link.slabs.freeBytes).toBeLessThanOrEqual(262_144);
    link.slabs.trim(0);
    expect(link.slabs.freeBytes).toBe(0);
  });
});

/** Bytes that the sender writes into a packet with this much room. */
function written(link: Link, out: Uint8Array, room: number, record = new PacketRecord()): number {
  const w = writerOn(out, room, 0, record);
  link.send.write(w);
  return w.at;
}

/** A record as of a packet with STREAM_OPEN alone. */
function opening(): PacketRecord {
  const record = new PacketRecord();
  record.ofStream(FrameType.STREAM_OPEN, 4);
  return record;
}
