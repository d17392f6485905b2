/** The slow twin of the frame writers: written from spec/frames.md, shares no code with src. */
import type { SlowAck, SlowFrame, SlowMessage } from './slow-frames.ts';

/** Says in how many bytes to write a varint that needs `least`; 1, 2, 4 or 8, and not less. */
export type VarintForm = (least: number) => number;

export const shortest: VarintForm = (least) => least;

/** The bytes of one frame, in the shortest form unless told otherwise. */
export function slowEncode(frame: SlowFrame, form: VarintForm = shortest): Uint8Array {
  const output = new Output(form);
  encodeFrame(output, frame);
  return Buffer.from(output.hex, 'hex');
}

export function slowVarint(value: number, bytes: number): string {
  const prefix = { 1: 0n, 2: 1n, 4: 2n, 8: 3n }[bytes];
  if (prefix === undefined) throw new RangeError(`no varint of ${bytes} bytes`);
  const bits = BigInt(bytes * 8);
  return (BigInt(value) | (prefix << (bits - 2n))).toString(16).padStart(bytes * 2, '0');
}

class Output {
  hex = '';
  private readonly form: VarintForm;

  constructor(form: VarintForm) {
    this.form = form;
  }

  u8(...values: number[]): this {
    for (const value of values) this.hex += value.toString(16).padStart(2, '0');
    return this;
  }

  varint(...values: number[]): this {
    for (const value of values) {
      const least = value < 2 ** 6 ? 1 : value < 2 ** 14 ? 2 : value < 2 ** 30 ? 4 : 8;
      this.hex += slowVarint(value, this.form(least));
    }
    return this;
  }

  bytes(hex: string): this {
    this.hex += hex;
    return this;
  }

  sized(hex: string): this {
    return this.varint(hex.length / 2).bytes(hex);
  }
}

const LIMITS = { MAX_DATA: 0x10, MAX_STREAMS: 0x12, DATA_BLOCKED: 0x13, STREAMS_BLOCKED: 0x15 };
const STREAM_LIMITS = { MAX_STREAM_DATA: 0x11, STREAM_DATA_BLOCKED: 0x14 };

function encodeFrame(output: Output, frame: SlowFrame): void {
  switch (frame.type) {
    case 'PADDING':
      output.bytes('00'.repeat(frame.count));
      break;
    case 'PING':
      output.u8(0x01);
      break;
    case 'ACK':
      encodeAck(output, frame);
      break;
    case 'CRYPTO':
      output.u8(0x06).varint(frame.offset, frame.total).sized(frame.data);
      break;
    case 'ADMITTED':
      output.u8(0x1e).varint(frame.offset, frame.total).sized(frame.data);
      break;
    case 'HANDSHAKE_DONE':
      output.u8(0x07);
      break;
    case 'NEW_TOKEN':
      output.u8(0x08).sized(frame.data);
      break;
    case 'TICKET':
      output.u8(0x09).varint(frame.lifetime).bytes(frame.nonce).sized(frame.data);
      break;
    case 'STREAM_OPEN':
      output.u8(0x0a).varint(frame.stream);
      output.u8(frame.priority + (frame.ordered ? 4 : 0) + frame.delivery * 8);
      output.u8(frame.label.length / 2).bytes(frame.label);
      break;
    case 'STREAM_FIN':
      output.u8(0x0b).varint(frame.stream, frame.end);
      break;
    case 'RESET_STREAM':
      output.u8(0x0c).varint(frame.stream, frame.code, frame.end);
      break;
    case 'STOP_SENDING':
      output.u8(0x0d).varint(frame.stream, frame.code);
      break;
    case 'ABANDON':
      output.u8(0x0e).varint(frame.stream, frame.first, frame.lengths.length, ...frame.lengths);
      break;
    case 'DROPPED':
      output.u8(0x0f).varint(frame.stream).u8(frame.space).varint(frame.first, frame.count);
      break;
    case 'MAX_DATA':
    case 'MAX_STREAMS':
    case 'DATA_BLOCKED':
    case 'STREAMS_BLOCKED':
      output.u8(LIMITS[frame.type]).varint(frame.limit);
      break;
    case 'MAX_STREAM_DATA':
    case 'STREAM_DATA_BLOCKED':
      output.u8(STREAM_LIMITS[frame.type]).varint(frame.stream, frame.limit);
      break;
    case 'REPAIR':
      output.u8(0x16, frame.code).varint(frame.group).u8(frame.index, frame.k, frame.r).sized(frame.data);
      break;
    case 'HEARTBEAT':
      output.u8(0x17).varint(frame.number, frame.interval);
      break;
    case 'PATH_CHALLENGE':
      output.u8(0x18).bytes(frame.data);
      break;
    case 'PATH_RESPONSE':
      output.u8(0x19).bytes(frame.data);
      break;
    case 'NEW_CONNECTION_ID':
      output.u8(0x1a).varint(frame.sequence, frame.retirePriorTo);
      output
        .u8(frame.id.length / 2)
        .bytes(frame.id)
        .bytes(frame.resetToken);
      break;
    case 'RETIRE_CONNECTION_ID':
      output.u8(0x1b).varint(frame.sequence);
      break;
    case 'CONNECTION_CLOSE':
      output.u8(0x1c, frame.scope).varint(frame.code).u8(frame.frameType).sized(frame.reason);
      break;
    case 'GOAWAY':
      output.u8(0x1f).varint(frame.delay).sized(frame.url);
      break;
    case 'ACK_FREQUENCY':
      output.u8(0x1d).varint(frame.number, frame.threshold, frame.delay);
      break;
    case 'MESSAGE':
      encodeMessage(output, frame);
      break;
    case 'MESSAGES':
      output.u8(0x30 + (frame.bestEffort ? 1 : 0) + (frame.enveloped ? 2 : 0));
      output.varint(frame.stream, frame.first, frame.messages.length);
      for (const message of frame.messages) output.sized(message);
      break;
    case 'EXTENSION':
      output.u8(frame.id).sized(frame.data);
      break;
    default:
      frame satisfies never;
  }
}

function encodeAck(output: Output, frame: SlowAck): void {
  const [first, ...rest] = frame.ranges;
  output.u8(2 + (frame.ecn === undefined ? 0 : 1) + (frame.recovered === undefined ? 0 : 2));
  output.varint(first[1], frame.delay, rest.length, first[1] - first[0]);
  let lowest = first[0];
  for (const [low, top] of rest) {
    const unacknowledged = lowest - top - 1;
    output.varint(unacknowledged - 1, top - low);
    lowest = low;
  }
  if (frame.ecn !== undefined) output.varint(frame.ecn.ect0, frame.ecn.ect1, frame.ecn.ce);
  if (frame.recovered !== undefined) {
    output.varint(frame.recovered.length, ...frame.recovered.map((number) => first[1] - number));
  }
}

function encodeMessage(output: Output, frame: SlowMessage): void {
  const { fragment, remaining } = frame;
  let type = 0x20;
  if (frame.bestEffort) type += 1;
  if (fragment !== undefined) type += 2;
  if (remaining !== undefined) type += 4;
  if (frame.enveloped) type += 8;
  output.u8(type).varint(frame.stream, frame.sequence);
  if (fragment !== undefined) {
    output.varint(fragment.offset, fragment.total, frame.sequence - fragment.oldest);
  }
  if (remaining !== undefined) output.varint(remaining);
  output.sized(frame.data);
}
