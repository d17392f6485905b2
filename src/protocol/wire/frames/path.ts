/**
 * Frames about paths and the connection ids that are used on them (RFC 9000 sections 5.1 and 8.2):
 *
 *     PATH_CHALLENGE        0x18  bytes[8]
 *     PATH_RESPONSE         0x19  bytes[8]
 *     NEW_CONNECTION_ID     0x1a  sequence varint, retire prior to varint, length u8, id bytes[length], reset token bytes[16]
 *     RETIRE_CONNECTION_ID  0x1b  sequence varint
 */

import { hexOf } from '../../../base/bytes.ts';
import { type FrameKind, type FrameReader, InPackets } from '../frame-reader.ts';
import { FrameType } from '../frame-type.ts';
import type { FrameWriter } from '../frame-writer.ts';
import { CONNECTION_ID_BYTES_MAX, RESET_TOKEN_BYTES } from '../packet-header.ts';
import { UINT32_MAX } from '../qlog-values.ts';

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

const pathChallenge: FrameKind = {
  type: FrameType.PATH_CHALLENGE,
  read: readChallenge,
  packets: InPackets.APPLICATION,
  isAckEliciting: true,
  json: (r) => `{"frame_type":"path_challenge","data":"${hexOf(r.bytes)}"}`,
};

const pathResponse: FrameKind = {
  type: FrameType.PATH_RESPONSE,
  read: readChallenge,
  packets: InPackets.ONE_RTT,
  isAckEliciting: true,
  json: (r) => `{"frame_type":"path_response","data":"${hexOf(r.bytes)}"}`,
};

const newConnectionId: FrameKind = {
  type: FrameType.NEW_CONNECTION_ID,
  read: readNewConnectionId,
  packets: InPackets.APPLICATION,
  isAckEliciting: true,
  json: newConnectionIdJson,
};

const retireConnectionId: FrameKind = {
  type: FrameType.RETIRE_CONNECTION_ID,
  read: readRetireConnectionId,
  packets: InPackets.ONE_RTT,
  isAckEliciting: true,
  json: (r) =>
    r.sequence > UINT32_MAX ? '' : `{"frame_type":"retire_connection_id","sequence_number":${r.sequence}}`,
};

export const PATH_FRAMES: readonly FrameKind[] = [
  pathChallenge,
  pathResponse,
  newConnectionId,
  retireConnectionId,
];

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

/** qlog has no room for larger sequences. */
function newConnectionIdJson(r: FrameReader): string {
  if (r.sequence > UINT32_MAX) return '';
  return `{"frame_type":"new_connection_id","sequence_number":${r.sequence},"retire_prior_to":${r.retirePriorTo},"connection_id_length":${r.dataLength},"connection_id":"${hexOf(r.bytes)}"}`;
}

const CHALLENGE_BYTES = 8;
