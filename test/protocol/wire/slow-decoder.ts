/**
 * The slow twin of src/protocol/wire/frame-reader.ts: written from spec/frames.md for the reader's eye, with big integers and exceptions.
 * Shares no code with src.
 */
import { Malformed, type SlowFrame, type SlowMessage } from './slow-frames.ts';

/** All frames of a payload; a row of PADDING is one. Throws {@link Malformed}. */
export function slowDecode(payload: Uint8Array): SlowFrame[] {
  if (payload.length === 0) throw new Malformed('PROTOCOL_VIOLATION', 'a payload without frames');
  const input = new Input(payload);
  const frames: SlowFrame[] = [];
  while (input.left > 0) {
    const frame = decodeFrame(input);
    const last = frames.at(-1);
    if (frame.type === 'PADDING' && last?.type === 'PADDING') last.count++;
    else frames.push(frame);
  }
  return frames;
}

class Input {
  readonly bytes: Uint8Array;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  get left(): number {
    return this.bytes.length - this.at;
  }

  take(length: number): Uint8Array {
    must(length <= this.left, 'a field over the end');
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  u8(): number {
    return this.take(1)[0];
  }

  varint(): number {
    must(this.left > 0, 'a varint over the end');
    const length = [1, 2, 4, 8][this.bytes[this.at] >> 6];
    let value = 0n;
    for (const byte of this.take(length)) value = value * 256n + BigInt(byte);
    value &= (1n << BigInt(length * 8 - 2)) - 1n;
    must(value < 2n ** 53n, 'a varint above 2^53 - 1');
    return Number(value);
  }

  hex(length: number): string {
    return Buffer.from(this.take(length)).toString('hex');
  }

  /** length varint, bytes[length] */
  sized(): string {
    return this.hex(this.varint());
  }
}

function must(condition: boolean, why: string): asserts condition {
  if (!condition) throw new Malformed('FRAME_ENCODING_ERROR', why);
}

function decodeFrame(input: Input): SlowFrame {
  const type = input.u8();
  if (type >= 0x20 && type <= 0x2f) return decodeMessage(input, type - 0x20);
  if (type >= 0x38 && type <= 0x3f) return { type: 'EXTENSION', id: type, data: input.sized() };
  switch (type) {
    case 0x00:
      return { type: 'PADDING', count: 1 };
    case 0x01:
      return { type: 'PING' };
    case 0x02:
      return decodeAck(input, false, false);
    case 0x03:
      return decodeAck(input, true, false);
    case 0x04:
      return decodeAck(input, false, true);
    case 0x05:
      return decodeAck(input, true, true);
    case 0x06:
      return { type: 'CRYPTO', offset: input.varint(), total: input.varint(), data: input.sized() };
    case 0x1e: {
      const [offset, total, data] = [input.varint(), input.varint(), input.sized()];
      must(total >= 1 && total <= 1025 && offset + data.length / 2 <= total, 'ADMITTED beyond its total');
      return { type: 'ADMITTED', offset, total, data };
    }
    case 0x07:
      return { type: 'HANDSHAKE_DONE' };
    case 0x08:
      return { type: 'NEW_TOKEN', data: input.sized() };
    case 0x09:
      return { type: 'TICKET', lifetime: input.varint(), nonce: input.hex(16), data: input.sized() };
    case 0x0a:
      return decodeStreamOpen(input);
    case 0x0b:
      return { type: 'STREAM_FIN', stream: input.varint(), end: input.varint() };
    case 0x0c:
      return { type: 'RESET_STREAM', stream: input.varint(), code: input.varint(), end: input.varint() };
    case 0x0d:
      return { type: 'STOP_SENDING', stream: input.varint(), code: input.varint() };
    case 0x0e:
      return decodeAbandon(input);
    case 0x0f:
      return decodeDropped(input);
    case 0x10:
      return { type: 'MAX_DATA', limit: input.varint() };
    case 0x11:
      return { type: 'MAX_STREAM_DATA', stream: input.varint(), limit: input.varint() };
    case 0x12:
      return { type: 'MAX_STREAMS', limit: input.varint() };
    case 0x13:
      return { type: 'DATA_BLOCKED', limit: input.varint() };
    case 0x14:
      return { type: 'STREAM_DATA_BLOCKED', stream: input.varint(), limit: input.varint() };
    case 0x15:
      return { type: 'STREAMS_BLOCKED', limit: input.varint() };
    case 0x16:
      return decodeRepair(input);
    case 0x17:
      return { type: 'HEARTBEAT', number: input.varint(), interval: input.varint() };
    case 0x18:
      return { type: 'PATH_CHALLENGE', data: input.hex(8) };
    case 0x19:
      return { type: 'PATH_RESPONSE', data: input.hex(8) };
    case 0x1a:
      return decodeNewConnectionId(input);
    case 0x1b:
      return { type: 'RETIRE_CONNECTION_ID', sequence: input.varint() };
    case 0x1c:
      return decodeClose(input);
    case 0x1d:
      return {
        type: 'ACK_FREQUENCY',
        number: input.varint(),
        threshold: input.varint(),
        delay: input.varint(),
      };
    case 0x1f: {
      const goAway = { type: 'GOAWAY' as const, delay: input.varint(), url: input.hex(input.varint()) };
      must(goAway.url.length <= 2 * 1_024, 'a URL above 1,024 bytes');
      return goAway;
    }
    case 0x30:
    case 0x32:
      return decodeMessages(input, false, type === 0x32);
    case 0x31:
    case 0x33:
      return decodeMessages(input, true, type === 0x33);
    default:
      throw new Malformed('FRAME_ENCODING_ERROR', `unknown type ${type}`);
  }
}

function decodeAck(input: Input, withEcn: boolean, withRecovered: boolean): SlowFrame {
  const largest = BigInt(input.varint());
  const delay = input.varint();
  let count = input.varint();
  let lowest = largest - BigInt(input.varint());
  const ranges: [number, number][] = [[Number(lowest), Number(largest)]];
  must(lowest >= 0n, 'a range below 0');
  for (; count > 0; count--) {
    const top = lowest - BigInt(input.varint()) - 2n;
    lowest = top - BigInt(input.varint());
    must(lowest >= 0n, 'a range below 0');
    ranges.push([Number(lowest), Number(top)]);
  }
  const frame: SlowFrame = { type: 'ACK', delay, ranges };
  if (withEcn) frame.ecn = { ect0: input.varint(), ect1: input.varint(), ce: input.varint() };
  if (withRecovered) {
    frame.recovered = [];
    for (let more = input.varint(); more > 0; more--) {
      const number = largest - BigInt(input.varint());
      must(number >= 0n, 'a recovered number below 0');
      frame.recovered.push(Number(number));
    }
  }
  return frame;
}

function decodeStreamOpen(input: Input): SlowFrame {
  const stream = input.varint();
  const flags = input.u8();
  const label = input.hex(input.u8());
  must((flags & 0xe0) === 0, 'a reserved flag');
  must((flags & 0x18) !== 0x18, 'a delivery of 3');
  must(label.length <= 2 * 64, 'a label above 64 bytes');
  try {
    new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(label, 'hex'));
  } catch {
    must(false, 'a label that is not UTF-8');
  }
  const priority = flags & 0x03;
  return {
    type: 'STREAM_OPEN',
    stream,
    priority,
    ordered: (flags & 0x04) !== 0,
    delivery: (flags & 0x18) / 8,
    label,
  };
}

function mustBeCountable(first: number, count: number): void {
  must(count >= 1, 'a count of 0');
  must(BigInt(first) + BigInt(count) < 2n ** 53n, 'first + count above 2^53 - 1');
}

function decodeAbandon(input: Input): SlowFrame {
  const stream = input.varint();
  const first = input.varint();
  const count = input.varint();
  mustBeCountable(first, count);
  const lengths: number[] = [];
  while (lengths.length < count) lengths.push(input.varint());
  return { type: 'ABANDON', stream, first, lengths };
}

function decodeDropped(input: Input): SlowFrame {
  const stream = input.varint();
  const space = input.u8();
  const first = input.varint();
  const count = input.varint();
  must(space === 0 || space === 1, 'an unknown space');
  mustBeCountable(first, count);
  return { type: 'DROPPED', stream, space, first, count };
}

function decodeNewConnectionId(input: Input): SlowFrame {
  const sequence = input.varint();
  const retirePriorTo = input.varint();
  const length = input.u8();
  const id = input.hex(length);
  const resetToken = input.hex(16);
  must(length >= 1 && length <= 20, 'an id that is empty or too long');
  must(retirePriorTo <= sequence, 'an id that retires itself');
  return { type: 'NEW_CONNECTION_ID', sequence, retirePriorTo, id, resetToken };
}

function decodeRepair(input: Input): SlowFrame {
  const code = input.u8();
  const group = input.varint();
  const index = input.u8();
  const k = input.u8();
  const r = input.u8();
  const data = input.sized();
  if (code === 1) {
    must(group > 0, 'a repair of what is to come');
    must(index < 128 || index === 255, 'a row that the code does not have');
    must(k >= 1 && k <= 64, 'a span of none or of more than 64');
    must(r === 0 || r === Math.ceil(k / 8), 'a mask of another length than the span');
    must(data.length / 2 >= r + 3 && data.length / 2 <= r + 1502, 'parity that is no sum of symbols');
    const mask = [...Buffer.from(data, 'hex').subarray(0, r)].flatMap((byte) =>
      Array.from({ length: 8 }, (_, bit) => (byte >> bit) % 2),
    );
    must(r === 0 || mask[0] === 1, 'a span that begins with what is not covered');
    must(
      r === 0 || mask.lastIndexOf(1) === k - 1,
      'a span that ends with what is not covered, or does not end',
    );
  }
  return { type: 'REPAIR', code, group, index, k, r, data };
}

function decodeClose(input: Input): SlowFrame {
  const scope = input.u8();
  const code = input.varint();
  const frameType = input.u8();
  const reason = input.sized();
  must(scope <= 2, 'an unknown scope');
  return { type: 'CONNECTION_CLOSE', scope, code, frameType, reason };
}

function decodeMessage(input: Input, flags: number): SlowFrame {
  const message: SlowMessage = {
    type: 'MESSAGE',
    bestEffort: (flags & 1) !== 0,
    stream: input.varint(),
    sequence: input.varint(),
    data: '',
  };
  if ((flags & 2) !== 0) {
    const offset = input.varint();
    const total = input.varint();
    message.fragment = { offset, total, oldest: message.sequence - input.varint() };
    must(message.fragment.oldest >= 0, 'oldest above sequence');
  }
  if ((flags & 4) !== 0) message.remaining = input.varint();
  if ((flags & 8) !== 0) message.enveloped = true;
  message.data = input.sized();
  if (message.fragment !== undefined) {
    const length = BigInt(message.data.length / 2);
    must(length > 0n, 'an empty fragment');
    must(BigInt(message.fragment.offset) + length <= BigInt(message.fragment.total), 'a fragment over total');
  }
  return message;
}

function decodeMessages(input: Input, bestEffort: boolean, enveloped: boolean): SlowFrame {
  const stream = input.varint();
  const first = input.varint();
  const count = input.varint();
  mustBeCountable(first, count);
  const messages: string[] = [];
  while (messages.length < count) messages.push(input.sized());
  return { type: 'MESSAGES', bestEffort, ...(enveloped ? { enveloped } : {}), stream, first, messages };
}
