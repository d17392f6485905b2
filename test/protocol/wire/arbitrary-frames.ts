import fc from 'fast-check';
import { toHex } from './hex.ts';
import type { VarintForm } from './slow-encoder.ts';
import type { SlowAck, SlowFragment, SlowFrame, SlowMessage } from './slow-frames.ts';

/** Whole numbers of every varint length, with a liking for the bounds between them. */
export const integer: fc.Arbitrary<number> = fc.oneof(
  fc.nat(63),
  fc.nat(2 ** 14),
  fc.nat(2 ** 30),
  fc.maxSafeNat(),
  fc.constantFrom(63, 64, 2 ** 14 - 1, 2 ** 14, 2 ** 30 - 1, 2 ** 30, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1),
);

const u8 = fc.nat(255);

function bytes(minLength: number, maxLength: number): fc.Arbitrary<string> {
  return fc.uint8Array({ minLength, maxLength }).map(toHex);
}

/** A REPAIR with the values that code 1 has; its parity is any. */
const repairOfCode1: fc.Arbitrary<SlowFrame> = fc
  .record({
    group: integer.map((number) => Math.max(1, number)),
    index: fc.oneof(fc.nat(127), fc.constant(255)),
    covered: fc.array(fc.boolean(), { maxLength: 62 }),
    parity: bytes(3, 100),
  })
  .map(({ group, index, covered, parity }) => {
    const bits = covered.length === 0 ? [true] : [true, ...covered, true];
    const mask = new Uint8Array(bits.includes(false) ? Math.ceil(bits.length / 8) : 0);
    for (let i = 0; i < mask.length * 8; i++) if (bits[i]) mask[i >> 3] |= 1 << (i & 7);
    const data = toHex(mask) + parity;
    return { type: 'REPAIR' as const, code: 1, group, index, k: bits.length, r: mask.length, data };
  });

const label = fc
  .string({ unit: 'grapheme', maxLength: 16 })
  .map((text) => Buffer.from(text))
  .filter((encoded) => encoded.length <= 64)
  .map(toHex);

const ack: fc.Arbitrary<SlowAck> = fc
  .record(
    {
      delay: integer,
      lowest: integer,
      /** From the oldest range up: its length, and the gap above it. */
      steps: fc.array(fc.tuple(fc.nat(300), fc.integer({ min: 1, max: 300 })), { maxLength: 80 }),
      last: fc.nat(20_000),
      ecn: fc.record({ ect0: integer, ect1: integer, ce: integer }),
      recovered: fc.array(fc.nat(1000), { minLength: 1, maxLength: 20 }),
    },
    { requiredKeys: ['delay', 'lowest', 'steps', 'last'] },
  )
  .map(({ delay, lowest, steps, last, ecn, recovered }) => {
    const ranges: [number, number][] = [];
    let low = Math.min(lowest, 2 ** 53 - 1 - 80 * 600 - 20_000);
    for (const [length, gap] of steps) {
      ranges.unshift([low, low + length]);
      low += length + 1 + gap;
    }
    ranges.unshift([low, low + last]);
    const frame: SlowAck = { type: 'ACK', delay, ranges };
    if (ecn !== undefined) frame.ecn = ecn;
    if (recovered !== undefined) frame.recovered = recovered.map((d) => Math.max(0, low + last - d));
    return frame;
  });

const fragment: fc.Arbitrary<SlowFragment> = fc.record({ offset: integer, total: integer, oldest: integer });

const message: fc.Arbitrary<SlowMessage> = fc
  .record(
    {
      type: fc.constant('MESSAGE' as const),
      bestEffort: fc.boolean(),
      stream: integer,
      sequence: integer,
      fragment,
      remaining: integer,
      enveloped: fc.constant(true as const),
      data: bytes(0, 100),
    },
    { requiredKeys: ['type', 'bestEffort', 'stream', 'sequence', 'data'] },
  )
  .map((frame) => {
    if (frame.fragment === undefined) return frame;
    const data = frame.data === '' ? '00' : frame.data;
    const length = data.length / 2;
    const offset = Math.min(frame.fragment.offset, 2 ** 53 - 1 - length);
    const total = Math.max(frame.fragment.total, offset + length);
    return {
      ...frame,
      data,
      fragment: { offset, total, oldest: Math.min(frame.fragment.oldest, frame.sequence) },
    };
  });

const first = integer.map((value) => Math.min(value, 2 ** 53 - 1000));

function plain<Type extends SlowFrame['type'], Fields extends object>(
  type: Type,
  fields: { [Key in keyof Fields]: fc.Arbitrary<Fields[Key]> },
) {
  return fc.record(fields).map((values) => ({ type, ...values }));
}

/** Any frame that the writers can write: what it says is valid. */
export const frame: fc.Arbitrary<SlowFrame> = fc.oneof(
  { arbitrary: ack, weight: 5 },
  { arbitrary: message, weight: 8 },
  {
    arbitrary: fc.record(
      {
        type: fc.constant('MESSAGES' as const),
        bestEffort: fc.boolean(),
        enveloped: fc.constant(true as const),
        stream: integer,
        first,
        messages: fc.array(bytes(0, 80), { minLength: 1, maxLength: 30 }),
      },
      { requiredKeys: ['type', 'bestEffort', 'stream', 'first', 'messages'] },
    ),
    weight: 8,
  },
  plain('PADDING', { count: fc.integer({ min: 1, max: 50 }) }),
  fc.constantFrom<SlowFrame>({ type: 'PING' }, { type: 'HANDSHAKE_DONE' }),
  fc.tuple(bytes(0, 100), fc.nat(500), fc.nat(400)).map(
    ([data, offset, rest]): SlowFrame => ({
      type: 'ADMITTED',
      offset,
      total: Math.max(1, offset + data.length / 2 + rest),
      data,
    }),
  ),
  plain('CRYPTO', { offset: integer, total: integer, data: bytes(0, 100) }),
  plain('NEW_TOKEN', { data: bytes(0, 100) }),
  plain('TICKET', { lifetime: integer, nonce: bytes(16, 16), data: bytes(0, 100) }),
  plain('STREAM_OPEN', {
    stream: integer,
    priority: fc.nat(3),
    ordered: fc.boolean(),
    delivery: fc.nat(2),
    label,
  }),
  plain('STREAM_FIN', { stream: integer, end: integer }),
  plain('RESET_STREAM', { stream: integer, code: integer, end: integer }),
  plain('STOP_SENDING', { stream: integer, code: integer }),
  plain('ABANDON', { stream: integer, first, lengths: fc.array(integer, { minLength: 1, maxLength: 100 }) }),
  plain('DROPPED', { stream: integer, space: fc.nat(1), first, count: fc.integer({ min: 1, max: 999 }) }),
  plain('MAX_DATA', { limit: integer }),
  plain('MAX_STREAM_DATA', { stream: integer, limit: integer }),
  plain('MAX_STREAMS', { limit: integer }),
  plain('DATA_BLOCKED', { limit: integer }),
  plain('STREAM_DATA_BLOCKED', { stream: integer, limit: integer }),
  plain('STREAMS_BLOCKED', { limit: integer }),
  plain('REPAIR', {
    code: u8.filter((code) => code !== 1),
    group: integer,
    index: u8,
    k: u8,
    r: u8,
    data: bytes(0, 100),
  }),
  repairOfCode1,
  plain('HEARTBEAT', { number: integer, interval: integer }),
  plain('PATH_CHALLENGE', { data: bytes(8, 8) }),
  plain('PATH_RESPONSE', { data: bytes(8, 8) }),
  fc
    .record({ a: integer, b: integer, id: bytes(1, 20), resetToken: bytes(16, 16) })
    .map(({ a, b, id, resetToken }) => {
      const [retirePriorTo, sequence] = [Math.min(a, b), Math.max(a, b)];
      return { type: 'NEW_CONNECTION_ID' as const, sequence, retirePriorTo, id, resetToken };
    }),
  plain('RETIRE_CONNECTION_ID', { sequence: integer }),
  plain('CONNECTION_CLOSE', { scope: fc.nat(2), code: integer, frameType: u8, reason: bytes(0, 100) }),
  plain('ACK_FREQUENCY', { number: integer, threshold: integer, delay: integer }),
  plain('GOAWAY', { delay: integer, url: bytes(0, 100) }),
  plain('EXTENSION', { id: fc.integer({ min: 0x38, max: 0x3f }), data: bytes(0, 100) }),
);

/** Writes some varints longer than they have to be, as `extra` says. */
export function widened(extra: readonly number[]): VarintForm {
  let i = 0;
  return (least) => Math.min(8, least << (extra.length === 0 ? 0 : extra[i++ % extra.length]));
}

export const widening: fc.Arbitrary<number[]> = fc.array(fc.nat(3), { maxLength: 20 });
