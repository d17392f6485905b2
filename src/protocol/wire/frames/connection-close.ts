/**
 * The end of a connection (RFC 9000 section 19.19):
 *
 *     CONNECTION_CLOSE  0x1c  scope u8, code varint, frame type u8, reason length varint, reason (UTF-8)
 */

import { type FrameKind, type FrameReader, InPackets } from '../frame-reader.ts';
import { FrameType } from '../frame-type.ts';
import type { FrameWriter } from '../frame-writer.ts';
import { applicationCodeJson, textJson, transportErrorName, UINT32_MAX } from '../qlog-values.ts';
import { varintSize } from '../varint.ts';

export function connectionCloseSize(code: number, reason: Uint8Array): number {
  return 1 + 1 + varintSize(code) + 1 + varintSize(reason.length) + reason.length;
}

/**
 * @param scope - 0 transport, 1 application, 2 application before all was delivered
 * @param frameType - the type at fault, 0 when none is
 * @param reason - UTF-8
 */
export function writeConnectionClose(
  w: FrameWriter,
  scope: number,
  code: number,
  frameType: number,
  reason: Uint8Array,
): void {
  w.u8(FrameType.CONNECTION_CLOSE);
  w.u8(scope);
  w.varint(code);
  w.u8(frameType);
  w.data(reason);
}

const connectionClose: FrameKind = {
  type: FrameType.CONNECTION_CLOSE,
  read: readConnectionClose,
  packets: InPackets.ALL,
  isAckEliciting: false,
  json: closeJson,
};

export const CLOSE_FRAMES: readonly FrameKind[] = [connectionClose];

function readConnectionClose(r: FrameReader): void {
  r.scope = r.u8();
  r.code = r.varint();
  r.frameType = r.u8();
  r.data();
  if (r.scope > 2) r.fail(); // [FRM-12]
}

function closeJson(r: FrameReader): string {
  const isTransport = r.scope === 0;
  const name = isTransport ? transportErrorName(r.code) : null;
  const code = name === null ? applicationCodeJson(r.code) : `"${name}"`;
  let json = `{"frame_type":"connection_close","error_space":"${isTransport ? 'transport' : 'application'}","error_code":${code}`;
  if (r.code <= UINT32_MAX) json += `,"raw_error_code":${r.code}`;
  json += `,"reason":${textJson(r.bytes)}`;
  return r.frameType === 0 ? `${json}}` : `${json},"trigger_frame_type":${r.frameType}}`;
}
