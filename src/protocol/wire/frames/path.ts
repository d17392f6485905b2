import { FrameType } from '../frame-type.ts';
import type { FrameWriter } from '../frame-writer.ts';

/** No NEW_CONNECTION_ID is longer than this. */
export const NEW_CONNECTION_ID_BYTES_MAX = 1 + 8 + 8 + 1 + 20 + 16;

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
  w.u8(FrameType.NEW_CONNECTION_ID);
  w.varint(sequence);
  w.varint(retirePriorTo);
  w.u8(id.length);
  w.bytes(id);
  w.bytes(resetToken);
}

export function writeRetireConnectionId(w: FrameWriter, sequence: number): void {
  w.u8(FrameType.RETIRE_CONNECTION_ID);
  w.varint(sequence);
}
