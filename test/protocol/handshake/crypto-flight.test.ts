import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { IncomingFlight, OutgoingFlight } from '../../../src/protocol/handshake/crypto-flight.ts';
import { CloseCode } from '../../../src/protocol/wire/close-code.ts';
import { FrameReader } from '../../../src/protocol/wire/frame-reader.ts';
import { FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { FrameWriter } from '../../../src/protocol/wire/frame-writer.ts';
import { nextFrame } from '../../../src/protocol/wire/frames/index.ts';
import { bytesOf } from '../connection/pair.ts';
import { integers } from '../connection/rogue.ts';
import { PacketRecord } from '../wire/recorded.ts';

/** The parts of the message that a packet carried. */
function partsOf(record: PacketRecord): { offset: number; length: number }[] {
  return Array.from(record.frames(), ({ type, offset, length }) => {
    expect(type).toBe(FrameType.CRYPTO);
    return { offset, length };
  });
}

describe('a flight that is sent', () => {
  test('goes out in frames that fit, each byte once until it is lost', () => {
    const flight = new OutgoingFlight();
    expect(flight).toMatchObject({ isEmpty: true, pending: false, settled: true });
    flight.start(bytesOf(1_000));
    expect(flight).toMatchObject({ isEmpty: false, pending: true, settled: false });
    const notes = new PacketRecord();
    while (flight.pending) writePacket(flight, 300, notes);
    const parts = partsOf(notes);
    expect(parts.reduce((sum, { length }) => sum + length, 0)).toBe(1_000);
    expect(parts).toHaveLength(4);
    flight.onFrameAcked(parts[0]);
    flight.onFrameLost(parts[1]);
    const again = new PacketRecord();
    writePacket(flight, 300, again);
    expect(partsOf(again)).toEqual([parts[1]]);
    expect(flight.pending).toBe(false);
  });

  test('is not sent again where it was acknowledged meanwhile', () => {
    const flight = new OutgoingFlight();
    flight.start(bytesOf(500));
    writePacket(flight, 2_000, new PacketRecord());
    flight.onFrameAcked({ offset: 100, length: 200 });
    flight.onFrameLost({ offset: 0, length: 500 });
    const notes = new PacketRecord();
    while (flight.pending) writePacket(flight, 2_000, notes);
    expect(partsOf(notes)).toEqual([
      { offset: 0, length: 100 },
      { offset: 300, length: 200 },
    ]);
    flight.onFrameAcked({ offset: 0, length: 500 });
    flight.resend();
    expect(flight).toMatchObject({ pending: false, settled: true });
  });

  test('writes nothing where nothing fits', () => {
    const flight = new OutgoingFlight();
    flight.start(bytesOf(100));
    for (let room = 0; room <= 4; room++)
      expect(writePacket(flight, room, new PacketRecord())).toHaveLength(0);
    expect(flight.pending).toBe(true);
  });

  test('is put together at the other end, however it is cut, lost, doubled and mixed', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 3_000 }),
        fc.array(fc.record({ room: fc.integer({ min: 10, max: 700 }), fate: fc.nat(3) }), {
          minLength: 1,
          maxLength: 60,
        }),
        fc.nat(),
        (size, packets, tag) => {
          const message = bytesOf(size, tag);
          const [outgoing, incoming] = [new OutgoingFlight(), new IncomingFlight()];
          outgoing.start(message);
          const late: { bytes: Uint8Array; notes: PacketRecord }[] = [];
          const arrive = ({ bytes, notes }: { bytes: Uint8Array; notes: PacketRecord }) => {
            receive(incoming, bytes);
            for (const part of partsOf(notes)) outgoing.onFrameAcked(part);
          };
          for (const { room, fate } of packets) {
            const notes = new PacketRecord();
            const packet = { bytes: writePacket(outgoing, room, notes), notes };
            if (fate === 0) for (const part of partsOf(notes)) outgoing.onFrameLost(part);
            else if (fate === 1) late.push(packet);
            else arrive(packet);
            if (fate === 3) arrive(packet);
          }
          for (const packet of late.reverse()) arrive(packet);
          while (!outgoing.settled) {
            if (!outgoing.pending) outgoing.resend();
            const notes = new PacketRecord();
            arrive({ bytes: writePacket(outgoing, 400, notes), notes });
          }
          expect(incoming.take()).toEqual(message);
          expect(incoming.take()).toBeNull();
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe('a flight that comes', () => {
  test('is handed over once, when it is complete, and what comes after that is ignored', () => {
    const flight = new IncomingFlight();
    expect(flight.take()).toBeNull();
    receive(flight, crypto(0, 4, [1, 2]));
    expect(flight.take()).toBeNull();
    receive(flight, crypto(2, 4, [3, 4]));
    expect(flight.take()).toEqual(Uint8Array.of(1, 2, 3, 4));
    receive(flight, crypto(2, 4, [9, 9]));
    expect(flight.take()).toBeNull();
  });

  test.each([
    ['a total of 0', [crypto(0, 0, [])]],
    ['a total above 16,384', [crypto(0, 16_385, [1])]],
    ['bytes beyond its total', [crypto(3, 4, [1, 2])]],
    ['an offset beyond its total', [crypto(9, 4, [])]],
    ['another total than before', [crypto(0, 4, [1]), crypto(1, 5, [2])]],
    ['another total after it was complete', [crypto(0, 1, [1]), crypto(0, 2, [2])]],
    ['a byte that was another', [crypto(0, 4, [1, 2]), crypto(1, 4, [9, 3])]],
    ['a byte that was another, in a frame with nothing new', [crypto(0, 4, [1, 2]), crypto(0, 4, [1, 3])]],
    [
      'a byte between others that was another',
      [crypto(0, 9, [1]), crypto(5, 9, [6]), crypto(0, 9, [1, 2, 3, 4, 5, 7, 8])],
    ],
  ])('is a CRYPTO_ERROR with %s [FRM-11]', (_, frames) => {
    const flight = new IncomingFlight();
    const codes = frames.map((bytes) => feed(flight, bytes));
    expect(codes.at(-1)).toBe(CloseCode.CRYPTO_ERROR);
    for (const code of codes.slice(0, -1)) expect(code).toBe(0);
  });

  test('may come overlapping, doubled and with empty frames, as long as no byte is said to be another [FRM-11]', () => {
    const message = bytesOf(1_400, 5);
    const flight = new IncomingFlight();
    const part = (start: number, end: number) => crypto(start, 1_400, [...message.subarray(start, end)]);
    const frames = [
      part(600, 900),
      part(0, 0),
      part(500, 1_000),
      part(600, 900),
      part(1_400, 1_400),
      part(0, 1_400),
    ];
    expect(frames.map((frame) => feed(flight, frame))).toEqual([0, 0, 0, 0, 0, 0]);
    expect(flight.take()).toEqual(message);
    // Nothing is kept of it to compare with.
    expect(feed(flight, crypto(0, 1_400, [message[0] ^ 1]))).toBe(0);
  });

  test('in one-byte pieces with gaps is refused at the 65th piece, whatever their order [FRM-16]', () => {
    for (const order of ['highest first', 'lowest first', 'from the middle out'] as const) {
      const flight = new IncomingFlight();
      const codes = Array.from({ length: 65 }, (_, i) => {
        const n = order === 'highest first' ? 64 - i : order === 'lowest first' ? i : (i * 32) % 65;
        return feed(flight, crypto(2 * n, 16_384, [n]));
      });
      expect(codes.slice(0, -1).every((code) => code === 0)).toBe(true);
      expect(codes.at(-1)).toBe(CloseCode.CRYPTO_ERROR);
    }
  });

  test('of the largest size in the smallest datagrams is taken however those are ordered [FRM-16]', () => {
    const message = bytesOf(16_384, 3);
    const flight = new IncomingFlight();
    const offsets = Array.from({ length: Math.ceil(16_384 / 400) }, (_, i) => i * 400);
    const even = offsets.filter((_, i) => i % 2 === 0).reverse();
    for (const offset of [...even, ...offsets.filter((_, i) => i % 2 === 1)])
      receive(flight, crypto(offset, 16_384, [...message.subarray(offset, offset + 400)]));
    expect(flight.take()).toEqual(message);
  });

  test('takes memory for what arrived of it, not for what it says it will be', () => {
    const flight = new IncomingFlight();
    receive(flight, crypto(16_383, 16_384, [1]));
    expect(flight.bytesHeld).toBeLessThanOrEqual(512);
    receive(flight, crypto(0, 16_384, [...bytesOf(1_000)]));
    expect(flight.bytesHeld).toBeLessThanOrEqual(1_536);
    for (let offset = 1_000; offset < 16_383; offset += 1_000) {
      const length = Math.min(1_000, 16_383 - offset);
      receive(flight, crypto(offset, 16_384, [...bytesOf(length)]));
    }
    expect(flight.take()).toHaveLength(16_384);
    expect(flight.bytesHeld).toBe(0);
  });

  test('may have 16,384 bytes', () => {
    const flight = new IncomingFlight();
    for (let offset = 0; offset < 16_384; offset += 1_024) {
      receive(flight, crypto(offset, 16_384, [...bytesOf(1_024, offset)]));
    }
    expect(flight.take()).toHaveLength(16_384);
  });
});

function crypto(offset: number, total: number, data: number[]): Uint8Array {
  return Buffer.concat([integers(FrameType.CRYPTO, offset, total, data.length), Uint8Array.from(data)]);
}

/** The frames of a packet with this much room. */
function writePacket(flight: OutgoingFlight, room: number, notes: PacketRecord): Uint8Array {
  const w = new FrameWriter();
  w.begin(new Uint8Array(room), 0, room);
  w.sent = notes;
  flight.write(w);
  return w.out.slice(0, w.at);
}

function feed(flight: IncomingFlight, bytes: Uint8Array): number {
  const reader = new FrameReader();
  reader.reset(bytes, 0, bytes.length);
  while (nextFrame(reader)) {
    const code = flight.onFrame(reader);
    if (code !== 0) return code;
  }
  return reader.error;
}

function receive(flight: IncomingFlight, bytes: Uint8Array): void {
  if (bytes.length > 0) expect(feed(flight, bytes)).toBe(0);
}
