/**
 * A server that is to be replaced:
 *
 *     GOAWAY  0x1f  delay varint (milliseconds until the server closes), length varint, url (UTF-8; empty: the same address)
 */

import { type FrameKind, type FrameReader, InPackets } from '../frame-reader.ts';
import { FrameType } from '../frame-type.ts';
import type { FrameWriter } from '../frame-writer.ts';
import { varintSize } from '../varint.ts';

export function goAwaySize(delayMs: number, url: Uint8Array): number {
  return 1 + varintSize(delayMs) + varintSize(url.length) + url.length;
}

/** @param url - UTF-8, at most {@link GO_AWAY_URL_BYTES_MAX} */
export function writeGoAway(w: FrameWriter, delayMs: number, url: Uint8Array): void {
  w.u8(FrameType.GOAWAY);
  w.varint(delayMs);
  w.data(url);
  w.sent.plain(FrameType.GOAWAY);
}

const goAway: FrameKind = {
  type: FrameType.GOAWAY,
  read: readGoAway,
  packets: InPackets.ONE_RTT,
  isAckEliciting: true,
  json: (r) => `{"frame_type":"goaway","delay":${r.delay},"length":${r.dataLength}}`,
};

export const GO_AWAY_FRAMES: readonly FrameKind[] = [goAway];

function readGoAway(r: FrameReader): void {
  r.delay = r.varint();
  r.data();
  if (r.dataLength > GO_AWAY_URL_BYTES_MAX) r.fail(); // [FRM-22]
}

/** Of a URL in GOAWAY. */
const GO_AWAY_URL_BYTES_MAX = 1_024;
