/**
 * Frames about paths and the connection ids that are used on them (RFC 9000 sections 5.1 and 8.2):
 *
 *     PATH_CHALLENGE        0x18  bytes[8]
 *     PATH_RESPONSE         0x19  bytes[8]
 *     NEW_CONNECTION_ID     0x1a  sequence varint, retire prior to varint, length u8, id bytes[length], reset token bytes[16]
 *     RETIRE_CONNECTION_ID  0x1b  sequence varint
 */

import { type FrameKind, type FrameReader, InPackets } from '../frame-reader.ts';
import { FrameType } from '../frame-type.ts';
import type { FrameWriter } from '../frame-writer.ts';
import { CONNECTION_ID_BYTES_MAX, RESET_TOKEN_BYTES } from '../packet-header.ts';

/** No NEW_CONNECTION_ID is longer than this. */
export const NEW_CONNECTION_ID_BYTES_MAX = 1 + 8 + 8 + 1 + CONNECTION_ID_BYTES_MAX + 16;

/** @param challenge - 8 bytes */
export function writePathChallenge(w: FrameWriter, challenge: Uint8Array): void {
  w.u8(FrameType.PATH_CHALLENGE);
  w.bytes(challenge);
}

/** @param challenge - the 8 bytes of the PATH_CHALLENGE */
export function writePathResponse(w: FrameWriter, challenge: Uint8Array): void {
  w.u8(FrameType.PATH_RESPONSE);
  w.bytes(challenge);
}

/**
 * @param id - 1 to 20 bytes
 * @param resetToken - 16 bytes
 */
export function writeNewConnectionId(
  w: FrameWriter,
  sequence: number,
  retirePriorTo: number,
  id: Uint8Array,
  resetToken: Uint8Array,
): void {
  w.sent.limit(FrameType.NEW_CONNECTION_ID, 0, sequence);
  w.u8(FrameType.NEW_CONNECTION_ID);
  w.varint(sequence);
  w.varint(retirePriorTo);
  w.u8(id.length);
  w.bytes(id);
  w.bytes(resetToken);
}

export function writeRetireConnectionId(w: FrameWriter, sequence: number): void {
  w.sent.limit(FrameType.RETIRE_CONNECTION_ID, 0, sequence);
  w.u8(FrameType.RETIRE_CONNECTION_ID);
  w.varint(sequence);
}

export const pathChallenge: FrameKind = {
  read: readChallenge,
  packets: InPackets.APPLICATION,
  isAckEliciting: true,
};

export const pathResponse: FrameKind = {
  read: readChallenge,
  packets: InPackets.ONE_RTT,
  isAckEliciting: true,
};

export const newConnectionId: FrameKind = {
  read: readNewConnectionId,
  packets: InPackets.APPLICATION,
  isAckEliciting: true,
};

export const retireConnectionId: FrameKind = {
  read: readRetireConnectionId,
  packets: InPackets.ONE_RTT,
  isAckEliciting: true,
};

function readChallenge(r: FrameReader): void {
  r.opaque(CHALLENGE_BYTES);
}

function readNewConnectionId(r: FrameReader): void {
  r.sequence = r.varint();
  r.retirePriorTo = r.varint();
  r.opaque(r.u8());
  r.resetTokenStart = r.skip(RESET_TOKEN_BYTES);
  // [FRM-12]
  if (r.dataLength < 1 || r.dataLength > CONNECTION_ID_BYTES_MAX) r.fail();
  else if (r.retirePriorTo > r.sequence) r.fail();
}

function readRetireConnectionId(r: FrameReader): void {
  r.sequence = r.varint();
}

const CHALLENGE_BYTES = 8;
