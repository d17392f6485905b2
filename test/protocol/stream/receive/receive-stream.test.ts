import { describe, expect, test } from 'vitest';
import { NEVER } from '../../../../src/base/time.ts';
import { CloseCode } from '../../../../src/protocol/wire/close-code.ts';
import {
  Delivery,
  FrameType,
  MessageFlag,
  RunFlag,
  Space,
} from '../../../../src/protocol/wire/frame-type.ts';
import { FrameWriter, type MessageHeader } from '../../../../src/protocol/wire/frame-writer.ts';
import {
  writeAbandonHeader,
  writeDropped,
  writeMessageHeader,
  writeMessagesHeader,
} from '../../../../src/protocol/wire/frames/message.ts';
import { writeResetStream, writeStreamFin } from '../../../../src/protocol/wire/frames/stream.ts';
import { PacketRecord, recorded } from '../../wire/recorded.ts';
import { bytesOf, framesOf, Link, type Packet } from '../link.ts';

const { RELIABLE, BEST_EFFORT } = Delivery;

/** The packets of `count` messages of `length` bytes, about `perPacket` in each. */
function packetsOf(link: Link, count: number, length: number, perPacket: number): Packet[] {
  const packets: Packet[] = [];
  for (let i = 0; i < count; i++) {
    link.send.send(bytesOf(length, i), RELIABLE, NEVER, false);
    if (i % perPacket === perPacket - 1) packets.push(link.pack(0)!);
  }
  return packets;
}

describe('ReceiveStream', () => {
  test('delivers what comes in order at once, as views of the packet', () => {
    const link = new Link();
    const [packet] = packetsOf(link, 4, 100, 4);
    link.deliver(packet, 0);
    const messages = link.readAll(0);
    expect(messages).toEqual([0, 1, 2, 3].map((i) => bytesOf(100, i)));
    expect(messages[0].buffer).toBe(packet.bytes.buffer);
  });

  test('holds back on an ordered stream what came early [STR-7]', () => {
    const link = new Link({ ordered: true });
    const packets = packetsOf(link, 12, 100, 3);
    for (const i of [1, 3, 2]) link.deliver(packets[i], 0);
    expect(link.receive.readable).toBe(0);
    link.deliver(packets[0], 0);
    expect(link.readAll(0)).toEqual(Array.from({ length: 12 }, (_, i) => bytesOf(100, i)));
  });

  test('holds nothing any more of what came early once it was read [STR-7]', () => {
    const link = new Link({ ordered: true });
    const [first, ...early] = packetsOf(link, 12, 100, 3);
    for (const packet of early) link.deliver(packet, 0);
    const { reliable } = link.receive as unknown as { reliable: { held: Map<number, unknown> | null } };
    expect(reliable.held?.size).toBe(3);
    link.deliver(first, 0);
    expect(link.readAll(0)).toHaveLength(12);
    expect(reliable.held).toBeNull();
  });

  test('delivers on an unordered stream as it comes [STR-7]', () => {
    const link = new Link({ ordered: false });
    const packets = packetsOf(link, 6, 100, 3);
    link.deliver(packets[1], 0);
    expect(link.readAll(0)).toEqual([3, 4, 5].map((i) => bytesOf(100, i)));
    link.deliver(packets[0], 0);
    expect(link.readAll(0)).toEqual([0, 1, 2].map((i) => bytesOf(100, i)));
  });

  test.each([true, false])('delivers nothing twice, ordered %s [STR-7]', (ordered) => {
    const link = new Link({ ordered });
    const packets = packetsOf(link, 12, 100, 3);
    for (const i of [0, 2, 2, 0, 1, 1, 3, 0, 3]) link.deliver(packets[i], 0);
    expect(link.readAll(0).length).toBe(12);
    expect(link.receiveContext.duplicates).toBe(15);
    expect(link.receive.window.used).toBe(12 * 228);
  });

  test('takes from a run only what is new [STR-7] [STR-15]', () => {
    const link = new Link({ ordered: true });
    link.deliver(run(2, [20, 20]), 0);
    link.deliver(run(0, [20, 20, 20, 20, 20, 20]), 0);
    link.deliver(run(5, [20, 20]), 0);
    expect(link.readAll(0).length).toBe(7);
    expect(link.receive.window.used).toBe(7 * 148);
  });

  test('puts a message together whatever the order and overlap of its parts [STR-15]', () => {
    const link = new Link();
    for (const [from, to] of [
      [500, 900],
      [0, 300],
      [250, 600],
      [880, 1000],
    ]) {
      expect(link.deliver(fragment(0, from, to, 1_000), 0)).toBe(0);
    }
    expect(link.readAll(0)).toEqual([bytesOf(1_000)]);
    expect(link.receive.window.used).toBe(1_128);
  });

  test('takes a whole message in place of its parts, and parts in place of the whole [STR-15]', () => {
    const link = new Link();
    link.deliver(fragment(0, 0, 500, 1_000), 0);
    expect(link.deliver(run(0, [1_000]), 0)).toBe(0);
    expect(link.deliver(fragment(0, 500, 1_000, 1_000), 0)).toBe(0);
    expect(link.readAll(0).length).toBe(1);
    expect(link.receive.window.used).toBe(1_128);
  });

  test('closes when parts of a message disagree [STR-15]', () => {
    const parts = () => {
      const link = new Link();
      link.deliver(fragment(0, 0, 500, 1_000), 0);
      return link;
    };
    expect(parts().deliver(fragment(0, 500, 900, 900), 0)).toBe(CloseCode.FRAME_ENCODING_ERROR);
    expect(parts().deliver(fragment(0, 500, 900, 1_000, MessageFlag.LIFETIME), 0)).toBe(
      CloseCode.FRAME_ENCODING_ERROR,
    );
    expect(parts().deliver(run(0, [999]), 0)).toBe(CloseCode.FRAME_ENCODING_ERROR);
    expect(parts().deliver(abandon(0, [999]), 0)).toBe(CloseCode.FRAME_ENCODING_ERROR);
  });

  test('closes on a message above the limit that it advertised [FRM-7]', () => {
    const link = () => new Link({ messageBytesMax: 500 });
    expect(link().deliver(run(0, [501]), 0)).toBe(CloseCode.MESSAGE_TOO_LARGE);
    expect(link().deliver(run(3, [20, 501]), 0)).toBe(CloseCode.MESSAGE_TOO_LARGE);
    expect(link().deliver(run(0, [501], true), 0)).toBe(CloseCode.MESSAGE_TOO_LARGE);
    expect(link().deliver(fragment(0, 0, 100, 501), 0)).toBe(CloseCode.MESSAGE_TOO_LARGE);
    expect(link().deliver(fragment(0, 0, 100, 501, MessageFlag.BEST_EFFORT), 0)).toBe(
      CloseCode.MESSAGE_TOO_LARGE,
    );
    expect(link().deliver(run(0, [500]), 0)).toBe(0);
  });

  test.each([0, MessageFlag.BEST_EFFORT])(
    'closes on an envelope that nobody has agreed to [CMP-6]',
    (flag) => {
      const inEnvelope = message({ flags: MessageFlag.ENVELOPE | flag }, bytesOf(10));
      expect(new Link().deliver(inEnvelope, 0)).toBe(CloseCode.PROTOCOL_VIOLATION);
      const runInEnvelopes = packet((w) => {
        writeMessagesHeader(w, RunFlag.ENVELOPE | flag, 4, 0, 1);
        w.varint(0);
      });
      expect(new Link().deliver(runInEnvelopes, 0)).toBe(CloseCode.PROTOCOL_VIOLATION);
    },
  );

  test('ends when all before the end was read [STR-6]', () => {
    const link = new Link();
    link.deliver(control(writeStreamFin, 2), 0);
    expect(link.receive.ended).toBe(false);
    link.deliver(run(0, [10, 10]), 0);
    expect(link.receive.ended).toBe(false);
    link.readAll(0);
    expect(link.receive.ended).toBe(true);
    expect(link.receive.finished).toBe(true);
  });

  test('closes when the end of the stream moves, or something lies beyond it [STR-6]', () => {
    const ended = () => {
      const link = new Link();
      link.deliver(run(0, [10, 10]), 0);
      expect(link.deliver(control(writeStreamFin, 2), 0)).toBe(0);
      return link;
    };
    expect(ended().deliver(control(writeStreamFin, 2), 0)).toBe(0);
    expect(ended().deliver(control(writeStreamFin, 3), 0)).toBe(CloseCode.FINAL_SIZE_ERROR);
    expect(ended().deliver(run(2, [10]), 0)).toBe(CloseCode.FINAL_SIZE_ERROR);
    expect(ended().deliver(fragment(2, 0, 10, 100), 0)).toBe(CloseCode.FINAL_SIZE_ERROR);
    expect(ended().deliver(abandon(1, [10, 10]), 0)).toBe(CloseCode.FINAL_SIZE_ERROR);
    const link = new Link();
    link.deliver(run(3, [10]), 0);
    link.deliver(fragment(5, 0, 10, 100), 0);
    expect(link.deliver(control(writeStreamFin, 3), 0)).toBe(CloseCode.FINAL_SIZE_ERROR);
    expect(link.deliver(control(writeStreamFin, 5), 0)).toBe(CloseCode.FINAL_SIZE_ERROR);
    expect(link.deliver(control(writeStreamFin, 6), 0)).toBe(0);
  });

  test('throws away what is unread when the stream is reset, and keeps count until all is seen [STR-24]', () => {
    const link = new Link();
    link.deliver(run(0, [10, 10]), 0);
    link.deliver(run(4, [10]), 0);
    link.deliver(fragment(5, 0, 50, 100), 0);
    expect(
      link.deliver(
        packet((w) => writeResetStream(w, 4, 77, 8)),
        0,
      ),
    ).toBe(0);
    expect(link.receive.resetCode).toBe(77);
    expect(link.receive.read(0)).toBeNull();
    expect(link.receive.window.freed).toBe(link.receive.window.used);
    expect(link.receive.finished).toBe(false);
    link.deliver(run(2, [10]), 0);
    link.deliver(abandon(2, [10, 20]), 0);
    link.deliver(fragment(6, 0, 10, 100), 0);
    link.deliver(abandon(6, [100, 20]), 0);
    expect(link.receive.finished).toBe(true);
    expect(link.receive.window.used).toBe(3 * 138 + 138 + 148 + 228 + 228 + 148);
    expect(link.receive.window.freed).toBe(link.receive.window.used);
  });

  test('asks the sender to stop, again when that is lost, and throws away what still comes [STR-25] [STR-30]', () => {
    const link = new Link();
    link.deliver(run(0, [10, 10]), 0);
    link.receive.stop(3);
    expect(link.receive.controlDue).toBe(true);
    const stop = link.reply()!;
    expect(framesOf(stop.bytes)).toEqual(['STOP 3']);
    expect(link.receive.controlDue).toBe(false);
    link.receive.onFrameLost(recorded((sent) => sent.ofStream(FrameType.STOP_SENDING, 4)));
    expect(framesOf(link.reply()!.bytes)).toEqual(['STOP 3']);
    link.receive.onFrameAcked(recorded((sent) => sent.ofStream(FrameType.STOP_SENDING, 4)));
    link.deliver(run(2, [10]), 0);
    link.deliver(run(0, [10], true), 0);
    expect(link.receive.read(0)).toBeNull();
    expect(link.receive.window.freed).toBe(3 * 138);
    expect(link.receiveContext.budget.used).toBe(0);
    link.deliver(control(writeStreamFin, 3), 0);
    expect(link.receive.finished).toBe(true);
  });

  test('keeps a datagram alive for small unread messages only within a bound [STR-14]', () => {
    const link = new Link({ ordered: false });
    const datagram = () => {
      const bytes = new Uint8Array(60_000);
      const small = run(next++, [10]).bytes;
      bytes.set(small);
      return { bytes: bytes.subarray(0, small.length), record: new PacketRecord() };
    };
    let next = 0;
    const packets = Array.from({ length: 10 }, datagram);
    for (const each of packets) link.deliver(each, 0);
    expect(link.receiveContext.kept.wasteBytes).toBeGreaterThan(200_000);
    expect(link.receiveContext.kept.wasteBytes).toBeLessThan(link.receiveContext.kept.wasteBytesMax);
    link.readAll(0);
    expect(link.receiveContext.kept.wasteBytes).toBe(0);
  });

  test('lets go of everything when it is forgotten', () => {
    const link = new Link();
    link.deliver(run(0, [10]), 0);
    link.deliver(run(2, [10]), 0);
    link.deliver(fragment(0, 0, 10, 100, MessageFlag.BEST_EFFORT), 0);
    link.deliver(run(1, [10], true), 0);
    link.receive.forget();
    expect(link.receive.window.freed).toBe(link.receive.window.used);
    expect(link.receiveContext.budget.used).toBe(0);
    expect(link.receiveContext.kept.wasteBytes).toBe(0);
  });

  test('reports at most 256 ranges of dropped messages at once [STR-18]', () => {
    const link = new Link({ ordered: false });
    for (let i = 0; i < 600; i += 2) link.deliver(withLifetime(i, 10), 0);
    link.receive.onTimeout(11);
    const { sent, ranges } = drainDropped(link);
    expect(ranges).toBe(256);
    // what is lost is reported again
    link.receive.onFrameLost(
      recorded((record) => record.run(FrameType.DROPPED, 4, ...sent[0], Space.RELIABLE)),
    );
    expect(drainDropped(link).ranges).toBe(1);
  });

  test('writes DROPPED as the wire has it [FRM-12]', () => {
    expect(framesOf(packet((w) => writeDropped(w, 4, 1, 7, 2)).bytes)).toEqual(['DROPPED 1 7+2']);
  });

  test('has no space for best-effort messages until one comes', () => {
    const link = new Link();
    link.send.send(bytesOf(20), BEST_EFFORT, NEVER, false);
    link.exchange(0);
    expect(link.readAll(0)).toEqual([bytesOf(20)]);
    expect(link.receive.window.used).toBe(0);
  });
});

function packet(write: (w: FrameWriter) => void): Packet {
  const w = new FrameWriter();
  w.begin(new Uint8Array(10_000), 0, 10_000);
  write(w);
  return { bytes: w.out.slice(0, w.at), record: new PacketRecord() };
}

function run(first: number, lengths: number[], bestEffort = false): Packet {
  return packet((w) => {
    writeMessagesHeader(w, bestEffort ? RunFlag.BEST_EFFORT : 0, 4, first, lengths.length);
    for (const length of lengths) {
      w.varint(length);
      w.bytes(new Uint8Array(length));
    }
  });
}

function message(header: Partial<MessageHeader>, data: Uint8Array): Packet {
  return packet((w) => {
    Object.assign(w.message, { stream: 4, length: data.length }, header);
    writeMessageHeader(w);
    w.bytes(data);
  });
}

function fragment(sequence: number, from: number, to: number, total: number, flags = 0): Packet {
  const header = { sequence, offset: from, total, oldest: sequence, remaining: 10 };
  return message({ ...header, flags: flags | MessageFlag.FRAGMENT }, bytesOf(total).subarray(from, to));
}

function withLifetime(sequence: number, remaining: number): Packet {
  return message({ flags: MessageFlag.LIFETIME, sequence, remaining }, new Uint8Array(10));
}

function abandon(first: number, lengths: number[]): Packet {
  return packet((w) => {
    writeAbandonHeader(w, 4, first, lengths.length);
    for (const length of lengths) w.varint(length);
  });
}

function control(write: (w: FrameWriter, stream: number, value: number) => void, value: number): Packet {
  return packet((w) => write(w, 4, value));
}

/** Takes all DROPPED frames that are due. */
function drainDropped(link: Link): { sent: [number, number][]; ranges: number } {
  const sent: [number, number][] = [];
  while (link.receive.droppedDue) {
    const reply = link.reply()!;
    for (const { type, sequence, count } of reply.record.frames()) {
      if (type === FrameType.DROPPED) sent.push([sequence, count]);
    }
  }
  return { sent, ranges: sent.length };
}
