/**
 * The way in, from a datagram to the parts of a connection:
 *
 *   1. {@link receiveDatagram} takes a datagram apart into packets and opens each with the keys of its space; a packet whose key is
 *      not there yet waits. Short packets of established connections come opened already, by the endpoint's batch.
 *   2. {@link receivePayload} reads the frames of an opened packet, one after the other;
 *   3. {@link receiveFrame} hands each to its part: recovery, streams, handshake, closing.
 */

import type { Micros } from '../../base/time.ts';
import { openPacket, UnprotectedHeader } from '../crypto/packet-protection.ts';
import { CloseCode } from '../wire/close-code.ts';
import { FrameReader } from '../wire/frame-reader.ts';
import { FrameType } from '../wire/frame-type.ts';
import { isAckEliciting, isAllowedIn, nextFrame } from '../wire/frames/index.ts';
import {
  PacketHeader,
  PacketSpace,
  PacketType,
  packetSpaceOf,
  packetTypeOf,
  parsePacketHeader,
  VERSION,
} from '../wire/packet-header.ts';
import type { Connection } from './connection.ts';
import { advanceHandshake, confirmHandshake } from './handshake-progress.ts';
import type { NumberSpace } from './packet-number-space.ts';
import { settle } from './settle.ts';

export const OpenResult = { OPENED: 0, FAILED: 1, REPLAYED: 2 } as const;
export type OpenResult = (typeof OpenResult)[keyof typeof OpenResult];

/** What {@link openInto} found; one object, used again for every packet. */
export class OpenedPacket {
  number = 0;
  payloadStart = 0;
  payloadEnd = 0;
  reserved = 0;
  /** All of it was taken in, and nobody keeps a view of it. Set by {@link receivePayload}. */
  isSpent = false;
}

/**
 * Takes every packet of a datagram, from `start` on.
 *
 * @param arrivedAt - when it came, which is earlier than now when it had to wait for a key
 */
export function receiveDatagram(
  connection: Connection,
  data: Uint8Array,
  start: number,
  now: Micros,
  arrivedAt: Micros = now,
): void {
  let at = start;
  while (at < data.length && connection.isReceiving) {
    if (
      !parsePacketHeader(HEADER, data, at, data.length, connection.localId.length) ||
      HEADER.version !== VERSION
    ) {
      connection.counters.packetsUnopened++; // [PKT-3]
      return;
    }
    const { end, type } = HEADER;
    if (type === PacketType.RETRY || type === PacketType.ZERO_RTT || !connection.owns(data, HEADER)) {
      connection.counters.packetsUnopened++; // [PKT-6]
    } else {
      receivePacket(connection, data, at, now, arrivedAt);
    }
    at = end;
  }
}

/** Takes the packet at `at`, whose header {@link HEADER} describes. */
function receivePacket(
  connection: Connection,
  data: Uint8Array,
  at: number,
  now: Micros,
  arrivedAt: Micros,
): void {
  const { end, type, numberStart } = HEADER;
  const space = packetSpaceOf(type);
  const state = connection.spaces[space];
  if (state === null) {
    connection.counters.packetsUnopened++; // [CON-14] the keys of this space are gone
    return;
  }
  const scidLength = HEADER.scidLength;
  const isLong = type !== PacketType.ONE_RTT;
  if (isLong) {
    copyBytes(REMOTE_ID, data, HEADER.scidStart, scidLength);
    if (!connection.mayComeFrom(REMOTE_ID.subarray(0, scidLength))) {
      connection.counters.packetsUnopened++; // [CON-1]
      return;
    }
  }
  if (connection.keys.toOpen(type) === null) {
    connection.keepForLater(data.subarray(at, end), arrivedAt); // [CON-13] [PKT-17]
    return;
  }
  const result = openInto(OPENED, state, data, at, numberStart, end);
  connection.onOpened(result, now);
  if (result !== OpenResult.OPENED) return;
  if (isLong) connection.acceptRemoteId(REMOTE_ID.subarray(0, scidLength));
  receivePayload(connection, type, OPENED, data, now, arrivedAt);
}

/**
 * Opens the packet at `at` of a space in place, and marks its number as seen.
 *
 * @param numberStart - where its packet number begins
 * @param end - where it ends, tag included
 */
export function openInto(
  opened: OpenedPacket,
  state: NumberSpace,
  data: Uint8Array,
  at: number,
  numberStart: number,
  end: number,
): OpenResult {
  const type = packetTypeOf(data[at]);
  const headerKeys = state.keys.toOpen(type);
  if (headerKeys === null) return OpenResult.FAILED;
  if (!UNPROTECTED.unprotect(headerKeys, data, at, numberStart, end, state.replay.largest))
    return OpenResult.FAILED;
  const { number, phase } = UNPROTECTED;
  const keys = phase === 0 ? headerKeys : state.keys.toOpen(type, phase);
  if (keys === null) return OpenResult.FAILED;
  const payloadEnd = openPacket(keys, data, at, end, UNPROTECTED);
  if (payloadEnd < 0) return OpenResult.FAILED;
  if (state.replay.seen(number)) return OpenResult.REPLAYED; // [PKT-9]
  state.replay.mark(number);
  opened.number = number;
  opened.payloadStart = UNPROTECTED.payloadStart;
  opened.payloadEnd = payloadEnd;
  opened.reserved = UNPROTECTED.reserved | UNPROTECTED.phase;
  return OpenResult.OPENED;
}

/** Takes the frames of an opened packet. */
export function receivePayload(
  connection: Connection,
  type: number,
  opened: OpenedPacket,
  data: Uint8Array,
  now: Micros,
  arrivedAt: Micros = now,
): void {
  const { number, reserved } = opened;
  opened.isSpent = false;
  // [PKT-16] The phase counts as reserved until key updates exist.
  if (reserved !== 0) return connection.fail(CloseCode.PROTOCOL_VIOLATION, 0, 'reserved bits are set', now);
  const space = packetSpaceOf(type);
  connection.onPacketOpened(space, now);
  READER.reset(data, opened.payloadStart, opened.payloadEnd);
  let ackEliciting = false;
  while (nextFrame(READER)) {
    const frameType = READER.type;
    const code = isAllowedIn(frameType, type)
      ? receiveFrame(connection, space, READER, now, arrivedAt)
      : CloseCode.PROTOCOL_VIOLATION; // [FRM-4]
    if (code !== 0) return connection.fail(code, frameType, '', now);
    if (!connection.isReceiving) return;
    if (!ackEliciting) ackEliciting = isAckEliciting(frameType);
  }
  if (READER.error !== 0) return connection.fail(READER.error, READER.type, 'a frame cannot be decoded', now);
  opened.isSpent = !READER.isKept;
  if (space === PacketSpace.APPLICATION) connection.streams.onPacketEnd();
  connection.spaces[space]?.acks.onPacket(number, ackEliciting, now);
  if (space === PacketSpace.APPLICATION) return;
  if (space === PacketSpace.INITIAL && connection.role === 'server') connection.onHelloBytes();
  else if (advanceHandshake(connection, now)) receiveWaiting(connection, now);
}

/** Answers the client's hello, which asked for it by {@link Connection.onHelloBytes}: the one costly step of a handshake. [CON-35] */
export function answerHello(connection: Connection, now: Micros): void {
  connection.isAnswerDue = false;
  if (connection.isReceiving && advanceHandshake(connection, now)) receiveWaiting(connection, now);
}

/** Keys may be there now that packets wait for. [PKT-17] */
function receiveWaiting(connection: Connection, now: Micros): void {
  for (const { packet, arrivedAt } of connection.waiting.take())
    receiveDatagram(connection, packet, 0, now, arrivedAt);
}

/** Hands a frame to the part it is for. Returns 0 or a close code. */
function receiveFrame(
  connection: Connection,
  space: PacketSpace,
  frame: FrameReader,
  now: Micros,
  arrivedAt: Micros,
): number {
  const { type } = frame;
  if (type >= FrameType.MESSAGE && type <= FrameType.MESSAGES_BEST_EFFORT)
    return connection.streams.onMessageFrame(frame, arrivedAt);
  switch (type) {
    case FrameType.PADDING:
    case FrameType.PING:
    case FrameType.ACK_FREQUENCY:
      return type === FrameType.ACK_FREQUENCY ? ackFrequency(connection, frame) : 0;
    case FrameType.ACK:
    case FrameType.ACK_ECN:
    case FrameType.ACK_RECOVERED:
    case FrameType.ACK_ECN_RECOVERED:
      return receiveAck(connection, space, frame, now);
    case FrameType.CRYPTO:
      return connection.spaces[space]?.incoming?.onFrame(frame) ?? CloseCode.PROTOCOL_VIOLATION;
    case FrameType.HANDSHAKE_DONE:
      if (connection.role === 'server') return CloseCode.PROTOCOL_VIOLATION;
      confirmHandshake(connection, now);
      return 0;
    case FrameType.HEARTBEAT:
      connection.counters.heartbeatsReceived++;
      return 0;
    case FrameType.CONNECTION_CLOSE:
      connection.onClose(frame, now);
      return 0;
    case FrameType.PATH_CHALLENGE:
      connection.onPathChallenge(frame);
      return 0;
    case FrameType.STREAM_OPEN:
    case FrameType.STREAM_FIN:
    case FrameType.RESET_STREAM:
    case FrameType.STOP_SENDING:
    case FrameType.ABANDON:
    case FrameType.DROPPED:
    case FrameType.MAX_DATA:
    case FrameType.MAX_STREAM_DATA:
    case FrameType.MAX_STREAMS:
    case FrameType.DATA_BLOCKED:
    case FrameType.STREAM_DATA_BLOCKED:
    case FrameType.STREAMS_BLOCKED:
      return connection.streams.onControlFrame(frame, now);
    case FrameType.NEW_TOKEN:
    case FrameType.TICKET:
      // Only a server gives these out; a client that has no use for them yet ignores them.
      return connection.role === 'client' ? 0 : CloseCode.PROTOCOL_VIOLATION;
    default:
      // [FRM-2] extensions; and frames of features that neither side has advertised: REPAIR, connection ids, PATH_RESPONSE
      return type >= FrameType.EXTENSION || type === FrameType.NEW_CONNECTION_ID
        ? 0
        : CloseCode.PROTOCOL_VIOLATION;
  }
}

function receiveAck(connection: Connection, space: PacketSpace, frame: FrameReader, now: Micros): number {
  const { recovery, counters } = connection;
  if (recovery.isDiscarded(space)) return 0;
  counters.acksReceived++;
  const code = recovery.onAck(space, frame.ackRanges, frame.rangeCount, frame.delay, now);
  if (code !== 0) return code;
  settle(connection, now);
  connection.onLossPass(now);
  const { rtt } = connection.path;
  connection.spaces[space]?.acks.onRtt(rtt.smoothed);
  if (rtt.hasSample) connection.streams.packer.onRtt(rtt.min, rtt.adjusted, now);
  return 0;
}

function ackFrequency(connection: Connection, frame: FrameReader): number {
  const acks = connection.spaces[PacketSpace.APPLICATION]?.acks;
  return acks?.onAckFrequency(frame.number, frame.threshold, frame.delay) ?? 0;
}

function copyBytes(out: Uint8Array, from: Uint8Array, start: number, length: number): void {
  for (let i = 0; i < length; i++) out[i] = from[start + i];
}

const HEADER = new PacketHeader();
const READER = new FrameReader();
const UNPROTECTED = new UnprotectedHeader();
const OPENED = new OpenedPacket();
const REMOTE_ID = new Uint8Array(20);
