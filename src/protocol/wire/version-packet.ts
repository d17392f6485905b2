/**
 * Versions: what a server answers a client of a version that it does not know, and what a client makes of such an answer. Nobody signs it, so
 * it can only end what would fail in any case; that nobody talked both sides into an older version than they have in common follows from
 * the list in the client's hello, which the handshake authenticates. [INV-5]
 */

import { equalBytes } from '../../base/bytes.ts';
import {
  CONNECTION_ID_BYTES_MAX,
  FIXED_BIT,
  invariantHeaderSize,
  LONG_FORM,
  VERSION,
  writeInvariantHeader,
} from './packet-header.ts';

/** The version of a version packet. */
export const VERSION_NEGOTIATION = 0;

/**
 * The version packet that answers a packet with these ids.
 * @param grease - 5 random bytes: of a version that does not exist, of where it stands in the list, and of bits that say nothing
 */
export function versionPacket(dcid: Uint8Array, scid: Uint8Array, grease: Uint8Array): Uint8Array {
  const packet = new Uint8Array(invariantHeaderSize(scid.length, dcid.length) + 2 * VERSION_BYTES);
  const firstByte = LONG_FORM | FIXED_BIT | (grease[4] & 0x3f);
  const list = writeInvariantHeader(packet, 0, firstByte, VERSION_NEGOTIATION, scid, dcid);
  const versions = [VERSION, greasedVersion(grease)];
  if ((grease[4] & 0x40) !== 0) versions.reverse();
  for (let i = 0, at = list; i < 2; i++, at += VERSION_BYTES)
    for (let k = 0; k < VERSION_BYTES; k++) packet[at + k] = versions[i] >>> (24 - 8 * k);
  return packet;
}

/**
 * What a version packet offers; null when it is malformed, or no answer to a packet with these ids: to who does not see the client's
 * packets they are unknown.
 */
export function offeredVersions(packet: Uint8Array, dcid: Uint8Array, scid: Uint8Array): number[] | null {
  const scidLength = packet[5];
  const second = 6 + scidLength;
  if (scidLength > CONNECTION_ID_BYTES_MAX || second >= packet.length) return null;
  const dcidLength = packet[second];
  const list = second + 1 + dcidLength;
  const bytes = packet.length - list;
  if (dcidLength > CONNECTION_ID_BYTES_MAX || bytes < VERSION_BYTES || bytes % VERSION_BYTES !== 0)
    return null;
  const isAnswer =
    equalBytes(packet.subarray(6, second), scid) && equalBytes(packet.subarray(second + 1, list), dcid);
  if (!isAnswer) return null;
  const versions: number[] = [];
  for (let at = list; at < packet.length; at += VERSION_BYTES)
    versions.push(
      ((packet[at] << 24) | (packet[at + 1] << 16) | (packet[at + 2] << 8) | packet[at + 3]) >>> 0,
    );
  return versions;
}

/** A version that there will never be. [HS-5] */
function greasedVersion(random: Uint8Array): number {
  let version = 0;
  for (let i = 0; i < VERSION_BYTES; i++) version = version * 256 + ((random[i] & 0xf0) | 0x0a);
  return version;
}

const VERSION_BYTES = 4;
