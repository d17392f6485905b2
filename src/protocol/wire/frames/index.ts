/**
 * The table of frames: what is read how, in which packets it may stand, whether it elicits an acknowledgement, and how a log says it. Each family is a file
 * beside this one (layouts, readers, writers, sizes). A new frame has its type in `frame-type.ts`, its place in one of them, and what acts on it and
 * sends it: CONTRIBUTING.md tells the way.
 */

import { CloseCode } from '../close-code.ts';
import type { FrameKind, FrameReader } from '../frame-reader.ts';
import { FrameType, MessageFlag } from '../frame-type.ts';
import { ACK_FRAMES } from './ack.ts';
import { ADMITTED_FRAMES } from './admitted.ts';
import { CLOSE_FRAMES } from './connection-close.ts';
import { CRYPTO_FRAMES } from './crypto.ts';
import { EXTENSION_FRAMES } from './extension.ts';
import { FLOW_CONTROL_FRAMES } from './flow-control.ts';
import { GO_AWAY_FRAMES } from './go-away.ts';
import { MESSAGE_FRAMES } from './message.ts';
import { PATH_FRAMES } from './path.ts';
import { PING_FRAMES } from './ping.ts';
import { REPAIR_FRAMES } from './repair.ts';
import { STREAM_FRAMES } from './stream.ts';

const FRAMES: readonly FrameKind[] = [
  ...PING_FRAMES,
  ...ACK_FRAMES,
  ...CRYPTO_FRAMES,
  ...STREAM_FRAMES,
  ...MESSAGE_FRAMES,
  ...FLOW_CONTROL_FRAMES,
  ...REPAIR_FRAMES,
  ...PATH_FRAMES,
  ...CLOSE_FRAMES,
  ...ADMITTED_FRAMES,
  ...GO_AWAY_FRAMES,
  ...EXTENSION_FRAMES,
];

/** Reads the next frame. False at the end of the payload, or when {@link FrameReader.error} says that it is malformed. */
export function nextFrame(reader: FrameReader): boolean {
  if (reader.error !== 0 || reader.at >= reader.bound) return false;
  const type = reader.buffer[reader.at++];
  reader.type = type;
  READERS[type](reader);
  if (!reader.failed) return true;
  reader.error = CloseCode.FRAME_ENCODING_ERROR;
  return false;
}

/** The reader's frame as qlog says it; empty where that has no room for it. @param bytes - length of the frame */
export function frameJson(reader: FrameReader, bytes: number): string {
  return JSON_WRITERS[reader.type](reader, bytes);
}

/** True when a packet with this frame must be acknowledged. [FRM-3] */
export function isAckEliciting(type: number): boolean {
  return ELICITING[type] !== 0;
}

/** True for messages that are sent once, whole or in parts. */
export function isBestEffortMessage(type: number): boolean {
  return type >= FrameType.MESSAGE && type < FrameType.EXTENSION && (type & MessageFlag.BEST_EFFORT) !== 0;
}

/** True when a packet of this `PacketType` may carry the frame; else the connection closes with PROTOCOL_VIOLATION. [FRM-4] */
export function isAllowedIn(type: number, packetType: number): boolean {
  return (PACKETS[type] & (1 << packetType)) !== 0;
}

/** True for the frames that go ahead of the symbol of a packet: where another begins, so does the symbol. [FEC-42] */
export function isAheadOfSymbol(type: number): boolean {
  return (
    type === FrameType.DROPPED ||
    type === FrameType.REPAIR ||
    (type >= FrameType.ACK && type <= FrameType.ACK_ECN_RECOVERED)
  );
}

/** [FRM-1] A type that nobody knows. */
function readUnknown(reader: FrameReader): void {
  reader.fail();
}

// The table by type byte, dense, as reading wants it.
const READERS: ((reader: FrameReader) => void)[] = new Array(256).fill(readUnknown);
const PACKETS = new Uint8Array(256);
const ELICITING = new Uint8Array(256);
const JSON_WRITERS: FrameKind['json'][] = new Array(256).fill(() => '');
for (const { type, last = type, read, packets, isAckEliciting, json } of FRAMES) {
  READERS.fill(read, type, last + 1);
  PACKETS.fill(packets, type, last + 1);
  ELICITING.fill(isAckEliciting ? 1 : 0, type, last + 1);
  JSON_WRITERS.fill(json, type, last + 1);
}
