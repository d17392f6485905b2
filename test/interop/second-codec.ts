/**
 * Varints, frames and lists of a second implementation, written from spec/frames.md alone: it shares no code with `src/`. It is slow and
 * plain: a frame is an object, a payload a list of them.
 */

export class Malformed extends Error {
  override readonly name = 'Malformed';
}

// ---- integers and bytes ----

export function varint(value: number | bigint): Buffer {
  const n = BigInt(value);
  if (n < 64n) return Buffer.of(Number(n));
  if (n < 1n << 14n) return Buffer.of(0x40 | Number(n >> 8n), Number(n & 0xffn));
  if (n < 1n << 30n) {
    const four = Buffer.alloc(4);
    four.writeUInt32BE(Number(n) + 2 ** 31);
    return four;
  }
  const eight = Buffer.alloc(8);
  eight.writeBigUInt64BE(n | (3n << 62n));
  return eight;
}

export function u8(value: number): Buffer {
  return Buffer.of(value);
}

export function u16(value: number): Buffer {
  return Buffer.of(value >> 8, value & 0xff);
}

export function u32(value: number): Buffer {
  const four = Buffer.alloc(4);
  four.writeUInt32BE(value);
  return four;
}

/** With its length in front, as a varint. */
export function counted(bytes: Uint8Array): Buffer {
  return Buffer.concat([varint(bytes.length), bytes]);
}

/** With its length in front, as a u16. */
export function vector(bytes: Uint8Array): Buffer {
  return Buffer.concat([u16(bytes.length), bytes]);
}

/** Reads fields one after the other. */
export class Fields {
  at = 0;
  private readonly bytes: Buffer;

  constructor(bytes: Uint8Array) {
    this.bytes = Buffer.from(bytes);
  }

  get left(): number {
    return this.bytes.length - this.at;
  }

  u8(): number {
    return this.take(1)[0];
  }

  u16(): number {
    return this.take(2).readUInt16BE();
  }

  u32(): number {
    return this.take(4).readUInt32BE();
  }

  /** A varint; one above 2^53 - 1 is malformed. [FRM-1] */
  varint(): number {
    if (this.left === 0) throw new Malformed('a varint is missing');
    const bytes = Buffer.from(this.take(1 << (this.bytes[this.at] >> 6)));
    bytes[0] &= 0x3f;
    const value = BigInt(`0x${bytes.toString('hex')}`);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new Malformed('a varint is too large');
    return Number(value);
  }

  take(length: number): Buffer {
    if (length > this.left) throw new Malformed('a field runs over the end');
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  rest(): Buffer {
    return this.take(this.left);
  }
}

// ---- frames ----

/** A frame that came. Numbers by the names of the spec's table; `data` where it has bytes. */
export interface Frame {
  readonly type: number;
  readonly [field: string]: number | Buffer | readonly number[] | readonly Buffer[] | undefined;
}

/** All frames of a payload. */
export function decodeFrames(payload: Uint8Array): Frame[] {
  const fields = new Fields(payload);
  const frames: Frame[] = [];
  while (fields.left > 0) frames.push(decodeFrame(fields));
  return frames;
}

/** The symbol of a packet: from the first frame on that is none of DROPPED, ACK and REPAIR. [FEC-42] */
export function symbolIn(payload: Uint8Array): Buffer {
  const fields = new Fields(payload);
  for (;;) {
    const start = fields.at;
    const { type } = decodeFrame(fields);
    if (type !== 0x0f && type !== 0x16 && !(type >= 0x02 && type <= 0x05))
      return Buffer.from(payload.subarray(start));
  }
}

function decodeFrame(f: Fields): Frame {
  const type = f.u8();
  if (type >= 0x20 && type <= 0x2f) return decodeMessage(type, f);
  if (type >= 0x30 && type <= 0x33) return decodeRun(type, f);
  if (type >= 0x38 && type <= 0x3f) return { type, data: f.take(f.varint()) };
  switch (type) {
    case 0x00:
    case 0x01:
    case 0x07:
      return { type };
    case 0x02:
    case 0x03:
    case 0x04:
    case 0x05:
      return decodeAck(type, f);
    case 0x06:
      return { type, offset: f.varint(), total: f.varint(), data: f.take(f.varint()) };
    case 0x08:
      return { type, data: f.take(f.varint()) };
    case 0x09:
      return { type, lifetime: f.varint(), nonce: f.take(16), data: f.take(f.varint()) };
    case 0x0a: {
      const [stream, flags, data] = [f.varint(), f.u8(), f.take(f.u8())];
      // [FRM-10]
      demand(
        (flags & 0xe0) === 0 && (flags & 0x18) !== 0x18 && data.length <= 64 && isUtf8(data),
        'STREAM_OPEN',
      );
      return { type, stream, flags, data };
    }
    case 0x0b:
      return { type, stream: f.varint(), end: f.varint() };
    case 0x0c:
      return { type, stream: f.varint(), code: f.varint(), end: f.varint() };
    case 0x0d:
      return { type, stream: f.varint(), code: f.varint() };
    case 0x0e: {
      const [stream, first, count] = [f.varint(), f.varint(), f.varint()];
      demandSequences(first, count);
      demand(count <= f.left, 'more lengths than bytes');
      return { type, stream, first, lengths: Array.from({ length: count }, () => f.varint()) };
    }
    case 0x0f: {
      const [stream, space, first, count] = [f.varint(), f.u8(), f.varint(), f.varint()];
      demandSequences(first, count);
      demand(space <= 1, 'a third space');
      return { type, stream, space, first, count };
    }
    case 0x10:
    case 0x12:
    case 0x13:
    case 0x15:
      return { type, limit: f.varint() };
    case 0x11:
    case 0x14:
      return { type, stream: f.varint(), limit: f.varint() };
    case 0x16: {
      const [code, group, row, span, maskBytes, data] = [
        f.u8(),
        f.varint(),
        f.u8(),
        f.u8(),
        f.u8(),
        f.take(f.varint()),
      ];
      if (code === 1) demandRepair(group, row, span, maskBytes, data);
      return { type, code, group, row, span, maskBytes, data };
    }
    case 0x17:
      return { type, number: f.varint(), interval: f.varint() };
    case 0x18:
    case 0x19:
      return { type, data: f.take(8) };
    case 0x1a: {
      const [sequence, retirePriorTo, id] = [f.varint(), f.varint(), f.take(f.u8())];
      demand(id.length >= 1 && id.length <= 20 && retirePriorTo <= sequence, 'NEW_CONNECTION_ID');
      return { type, sequence, retirePriorTo, id, token: f.take(16) };
    }
    case 0x1b:
      return { type, sequence: f.varint() };
    case 0x1c: {
      const scope = f.u8();
      demand(scope <= 2, 'another scope');
      return { type, scope, code: f.varint(), frameType: f.u8(), data: f.take(f.varint()) };
    }
    case 0x1d:
      return { type, number: f.varint(), threshold: f.varint(), delay: f.varint() };
    case 0x1e: {
      const [offset, total, data] = [f.varint(), f.varint(), f.take(f.varint())];
      demand(total >= 1 && total <= 1_025 && offset + data.length <= total, 'ADMITTED'); // [FRM-18]
      return { type, offset, total, data };
    }
    case 0x1f: {
      const [delay, data] = [f.varint(), f.take(f.varint())];
      demand(data.length <= 1_024, 'GOAWAY'); // [FRM-22]
      return { type, delay, data };
    }
    default:
      throw new Malformed(`nobody knows frames of type ${type}`);
  }
}

/** `ranges`: lowest and largest number of each, newest first. [FRM-9] */
function decodeAck(type: number, f: Fields): Frame {
  const [largest, delay, count, first] = [f.varint(), f.varint(), f.varint(), f.varint()];
  const ranges = [largest - first, largest];
  for (let i = 0; i < count; i++) {
    const top = ranges[2 * i] - f.varint() - 2; // one less than the numbers between that are not acknowledged
    ranges.push(top - f.varint(), top);
    demand(ranges[2 * i + 2] >= 0, 'a range below 0');
  }
  demand(largest >= first, 'a range below 0');
  const counts = type === 0x03 || type === 0x05 ? [f.varint(), f.varint(), f.varint()] : [];
  const recoveredCount = type >= 0x04 ? f.varint() : 0;
  demand(recoveredCount <= f.left, 'more recovered numbers than bytes');
  const recovered = Array.from({ length: recoveredCount }, () => largest - f.varint());
  demand(
    recovered.every((number) => number >= 0),
    'a recovered number below 0',
  );
  return { type, delay, ranges, counts, recovered };
}

function decodeMessage(type: number, f: Fields): Frame {
  const [stream, sequence] = [f.varint(), f.varint()];
  const isFragment = (type & 0x2) !== 0;
  const [offset, total, oldest] = isFragment ? [f.varint(), f.varint(), f.varint()] : [0, -1, 0];
  const remaining = (type & 0x4) !== 0 ? f.varint() : -1;
  const data = f.take(f.varint());
  // [FRM-6]
  if (isFragment)
    demand(data.length > 0 && offset + data.length <= total && oldest <= sequence, 'a fragment');
  return { type, stream, sequence, offset, total: isFragment ? total : data.length, oldest, remaining, data };
}

function decodeRun(type: number, f: Fields): Frame {
  const [stream, first, count] = [f.varint(), f.varint(), f.varint()];
  demandSequences(first, count); // [FRM-8]
  demand(count <= f.left, 'more messages than bytes');
  return { type, stream, first, messages: Array.from({ length: count }, () => f.take(f.varint())) };
}

/** [FRM-8] [FRM-12] */
function demandSequences(first: number, count: number): void {
  demand(count >= 1 && first + count <= Number.MAX_SAFE_INTEGER, 'sequences');
}

/** [FEC-21] */
function demandRepair(group: number, row: number, span: number, maskBytes: number, data: Buffer): void {
  demand(group >= 1 && (row <= 127 || row === 255) && span >= 1 && span <= 64, 'a REPAIR');
  demand(data.length - maskBytes >= 3 && data.length - maskBytes <= 1_502, 'parity');
  if (maskBytes === 0) return;
  const last = (span - 1) % 8;
  const isWhole =
    maskBytes === Math.ceil(span / 8) && (data[0] & 1) === 1 && data[maskBytes - 1] >> last === 1;
  demand(isWhole, 'a mask');
}

function demand(holds: boolean, what: string): void {
  if (!holds) throw new Malformed(`${what} cannot be like that`);
}

function isUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}

// ---- what a client says ----

/** An ACK frame of these numbers, which need no order. @param recovered - numbers that did not come, and are known all the same [FRM-17] */
export function ackFrame(received: Iterable<number>, recovered: readonly number[] = []): Buffer {
  const numbers = [...new Set(received)].sort((a, b) => b - a);
  const ranges: { top: number; bottom: number }[] = [];
  for (const number of numbers) {
    const last = ranges.at(-1);
    if (last !== undefined && last.bottom === number + 1) last.bottom = number;
    else ranges.push({ top: number, bottom: number });
  }
  const told = ranges.slice(0, 32);
  const parts = [
    varint(told[0].top),
    varint(0),
    varint(told.length - 1),
    varint(told[0].top - told[0].bottom),
  ];
  for (let i = 1; i < told.length; i++) {
    parts.push(varint(told[i - 1].bottom - told[i].top - 2), varint(told[i].top - told[i].bottom));
  }
  const told0 = told[0].top;
  const below = recovered.filter((number) => number < told0).map((number) => varint(told0 - number));
  if (below.length === 0) return Buffer.concat([u8(0x02), ...parts]);
  return Buffer.concat([u8(0x04), ...parts, varint(below.length), ...below]);
}

export function cryptoFrame(string: Uint8Array, offset: number, length: number): Buffer {
  const data = string.subarray(offset, offset + length);
  return Buffer.concat([u8(0x06), varint(offset), varint(string.length), counted(data)]);
}

export function streamOpenFrame(stream: number, flags: number, label: string): Buffer {
  const bytes = Buffer.from(label);
  return Buffer.concat([u8(0x0a), varint(stream), u8(flags), u8(bytes.length), bytes]);
}

export function messageFrame(
  stream: number,
  sequence: number,
  data: Uint8Array,
  isEnveloped = false,
): Buffer {
  return Buffer.concat([u8(isEnveloped ? 0x28 : 0x20), varint(stream), varint(sequence), counted(data)]);
}

export function fragmentFrame(
  stream: number,
  sequence: number,
  message: Uint8Array,
  offset: number,
  length: number,
): Buffer {
  const fields = [stream, sequence, offset, message.length, 0].map(varint);
  return Buffer.concat([u8(0x22), ...fields, counted(message.subarray(offset, offset + length))]);
}

/** A frame of numbers only. */
export function numbersFrame(type: number, ...numbers: number[]): Buffer {
  return Buffer.concat([u8(type), ...numbers.map(varint)]);
}

export function closeFrame(scope: number, code: number): Buffer {
  return Buffer.concat([u8(0x1c), u8(scope), varint(code), u8(0), counted(Buffer.alloc(0))]);
}
