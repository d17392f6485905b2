/**
 * The table of frames: what is read how, in which packets it may stand, and whether it elicits an acknowledgement. A new frame is a file
 * beside this one (layout, reader, writer, size), its type in `frame-type.ts`, a line here, and what acts on it and
 * sends it: CONTRIBUTING.md tells the way.
 */

import { CloseCode } from '../close-code.ts';
import type { FrameKind, FrameReader } from '../frame-reader.ts';
import { FrameType, MessageFlag } from '../frame-type.ts';
import { ack, ackFrequency } from './ack.ts';
import { admitted } from './admitted.ts';
import { connectionClose } from './connection-close.ts';
import { crypto, handshakeDone, newToken, ticket } from './crypto.ts';
import { extension } from './extension.ts';
import { limitOfConnection, limitOfStream } from './flow-control.ts';
import { goAway } from './go-away.ts';
import { abandon, dropped, message, messages } from './message.ts';
import { newConnectionId, pathChallenge, pathResponse, retireConnectionId } from './path.ts';
import { heartbeat, padding, ping } from './ping.ts';
import { repair } from './repair.ts';
import { resetStream, stopSending, streamFin, streamOpen } from './stream.ts';

const FRAMES: readonly (readonly [first: number, last: number, kind: FrameKind])[] = [
  one(FrameType.PADDING, padding),
  one(FrameType.PING, ping),
  [FrameType.ACK, FrameType.ACK_ECN_RECOVERED, ack],
  one(FrameType.CRYPTO, crypto),
  one(FrameType.HANDSHAKE_DONE, handshakeDone),
  one(FrameType.NEW_TOKEN, newToken),
  one(FrameType.TICKET, ticket),
  one(FrameType.STREAM_OPEN, streamOpen),
  one(FrameType.STREAM_FIN, streamFin),
  one(FrameType.RESET_STREAM, resetStream),
  one(FrameType.STOP_SENDING, stopSending),
  one(FrameType.ABANDON, abandon),
  one(FrameType.DROPPED, dropped),
  one(FrameType.MAX_DATA, limitOfConnection),
  one(FrameType.MAX_STREAM_DATA, limitOfStream),
  one(FrameType.MAX_STREAMS, limitOfConnection),
  one(FrameType.DATA_BLOCKED, limitOfConnection),
  one(FrameType.STREAM_DATA_BLOCKED, limitOfStream),
  one(FrameType.STREAMS_BLOCKED, limitOfConnection),
  one(FrameType.REPAIR, repair),
  one(FrameType.HEARTBEAT, heartbeat),
  one(FrameType.PATH_CHALLENGE, pathChallenge),
  one(FrameType.PATH_RESPONSE, pathResponse),
  one(FrameType.NEW_CONNECTION_ID, newConnectionId),
  one(FrameType.RETIRE_CONNECTION_ID, retireConnectionId),
  one(FrameType.CONNECTION_CLOSE, connectionClose),
  one(FrameType.ACK_FREQUENCY, ackFrequency),
  one(FrameType.ADMITTED, admitted),
  one(FrameType.GOAWAY, goAway),
  [FrameType.MESSAGE, FrameType.MESSAGE | 0xf, message],
  [FrameType.MESSAGES, FrameType.MESSAGES_ENVELOPED_BEST_EFFORT, messages],
  [FrameType.EXTENSION, FrameType.EXTENSION | 0x7, extension], // [FRM-2] what can be skipped
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

function one(type: number, kind: FrameKind): [number, number, FrameKind] {
  return [type, type, kind];
}

/** [FRM-1] A type that nobody knows. */
function readUnknown(reader: FrameReader): void {
  reader.fail();
}

// The table by type byte, dense, as reading wants it.
const READERS: ((reader: FrameReader) => void)[] = new Array(256).fill(readUnknown);
const PACKETS = new Uint8Array(256);
const ELICITING = new Uint8Array(256);
for (const [first, last, kind] of FRAMES) {
  READERS.fill(kind.read, first, last + 1);
  PACKETS.fill(kind.packets, first, last + 1);
  ELICITING.fill(kind.isAckEliciting ? 1 : 0, first, last + 1);
}
