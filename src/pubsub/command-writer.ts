import { Command, DROPPED_BODY_BYTES, HEADER_BYTES, LANE_BODY_BYTES, REASON_BYTES_MAX } from './command.ts';

/** Header and topic of every PUBLISH to `topic`: put a payload behind them and the command is complete. */
export function publishPrefix(topic: string): Buffer {
  const prefix = Buffer.allocUnsafe(HEADER_BYTES + Buffer.byteLength(topic));
  writeHeader(prefix, Command.PUBLISH, 0, prefix.length - HEADER_BYTES, 0);
  prefix.write(topic, HEADER_BYTES);
  return prefix;
}

/** SUBSCRIBE, with its flags; bounds of 0 leave the choice to the broker. */
export function encodeSubscribe(
  id: number,
  filter: string,
  flags: number,
  queueMessages: number,
  queueBytes: number,
): Buffer {
  const bounded = queueMessages !== 0 || queueBytes !== 0;
  const out = encodeWithTopic(Command.SUBSCRIBE, flags, id, filter, bounded ? 8 : 0);
  if (bounded) {
    out.writeUInt32BE(queueMessages, out.length - 8);
    out.writeUInt32BE(queueBytes, out.length - 4);
  }
  return out;
}

export function encodeUnsubscribe(id: number, filter: string): Buffer {
  return encodeWithTopic(Command.UNSUBSCRIBE, 0, id, filter, 0);
}

/** A command that is nothing but its header and, for PING and PONG, a body. */
export function encodePlain(command: Command, id: number, body: Uint8Array = EMPTY): Buffer {
  const out = Buffer.allocUnsafe(HEADER_BYTES + body.length);
  writeHeader(out, command, 0, 0, id);
  out.set(body, HEADER_BYTES);
  return out;
}

/** LANE: this stream carries deliveries of the subscribing stream with that number. */
export function encodeLane(streamId: number): Buffer {
  const body = Buffer.alloc(LANE_BODY_BYTES);
  body.writeUInt32BE(streamId);
  return encodePlain(Command.LANE, 0, body);
}

/** DROPPED: so many messages are missing here. */
export function encodeDropped(count: number, reason: number): Buffer {
  const body = Buffer.alloc(DROPPED_BODY_BYTES);
  body.writeBigUInt64BE(BigInt(count), 0);
  body[8] = reason;
  return encodePlain(Command.DROPPED, 0, body);
}

/** REFUSED; a reason that is too long, for the protocol or for a command of `bytesMax`, is cut. */
export function encodeRefused(
  id: number,
  code: number,
  reason: string,
  bytesMax = Number.POSITIVE_INFINITY,
): Buffer {
  const reasonBytesMax = Math.min(REASON_BYTES_MAX, Math.max(0, bytesMax - HEADER_BYTES - 2));
  const body = Buffer.alloc(2 + reasonBytesMax);
  body.writeUInt16BE(code, 0);
  const written = body.write(reason, 2); // never cuts a character in two
  return encodePlain(Command.REFUSED, id, body.subarray(0, 2 + written));
}

function encodeWithTopic(
  command: Command,
  flags: number,
  id: number,
  topic: string,
  bodyBytes: number,
): Buffer {
  const topicBytes = Buffer.byteLength(topic);
  const out = Buffer.alloc(HEADER_BYTES + topicBytes + bodyBytes);
  writeHeader(out, command, flags, topicBytes, id);
  out.write(topic, HEADER_BYTES);
  return out;
}

function writeHeader(out: Buffer, command: Command, flags: number, topicBytes: number, id: number): void {
  out[0] = command;
  out[1] = flags;
  out.writeUInt16BE(topicBytes, 2);
  out.writeUInt32BE(id, 4);
}

const EMPTY = new Uint8Array(0);
