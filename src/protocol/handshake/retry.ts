/**
 * A Retry: the packet with which a server that keeps nothing asks a client to come again, with a token that shows where it is [HS-30]. Its
 * tag covers the packet and, by its key, the id of the packet that it answers and the fingerprint that its client pins: nobody who does not
 * know both makes one. [PKT-21]
 */

import { equalSecrets } from '../crypto/identity.ts';
import { hmac, retryKey } from '../crypto/key-schedule.ts';
import { invariantHeaderSize, TAG_BYTES, writeRetryHeader } from '../wire/packet-header.ts';

/**
 * A whole Retry.
 *
 * @param initial - what the keys of the Initial packet follow from that is answered [HS-20]
 * @param dcid - the client's source id
 * @param scid - where the client is to send its next Initial to
 */
export function retryPacket(
  initial: Uint8Array,
  dcid: Uint8Array,
  scid: Uint8Array,
  token: Uint8Array,
): Uint8Array {
  const headerBytes = invariantHeaderSize(dcid.length, scid.length);
  const packet = new Uint8Array(headerBytes + token.length + TAG_BYTES);
  const end = writeRetryHeader(packet, 0, dcid, scid, token);
  packet.set(retryTag(retryKey(initial, scid), packet.subarray(0, end)), end);
  return packet;
}

/**
 * Whether the tag at the end of a Retry was made with this key.
 * @param key - that of {@link retryKey} for its source id
 */
export function isRetryGenuine(key: Uint8Array, packet: Uint8Array): boolean {
  const end = packet.length - TAG_BYTES;
  return equalSecrets(retryTag(key, packet.subarray(0, end)), packet.subarray(end));
}

/** [PKT-21] The tag over a Retry without it. */
function retryTag(key: Uint8Array, packet: Uint8Array): Uint8Array {
  return hmac(key, packet).subarray(0, TAG_BYTES);
}
