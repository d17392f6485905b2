import { hash } from 'node:crypto';
import { NO_BYTES } from '../../base/bytes.ts';
import { PacketType } from '../wire/packet-header.ts';
import type { AeadProvider } from './aead.ts';
import { loadSodium } from './native.ts';
import { NONCE_BYTES, PacketKeys } from './packet-keys.ts';
import { KEY_BYTES } from './packet-protection.ts';
import { KeyRow } from './packet-table.ts';

/**
 * The key schedule after TLS 1.3 (RFC 8446 section 7.1): which secret comes from which, and what keys a secret gives. All of it is HKDF
 * (RFC 5869) with SHA-256.
 */

/** One secret a direction, named after the sender. */
export interface TrafficSecrets {
  readonly client: Uint8Array;
  readonly server: Uint8Array;
}

/**
 * [HS-20] What both directions of the Initial packets follow from: what the client's first packet shows, and the fingerprint it pins.
 * @param destinationId - the destination id of the client's first Initial
 * @param fingerprint - 32 bytes; null when the client does not pin
 */
export function initialSecret(destinationId: Uint8Array, fingerprint: Uint8Array | null): Uint8Array {
  return hmac(VERSION_SALT, destinationId, fingerprint ?? NO_BYTES);
}

/** [HS-20] The secret of a client's Initial packets. */
export function clientInitialSecret(initial: Uint8Array): Uint8Array {
  return expandLabel(initial, 'client in', NO_BYTES, HASH_BYTES);
}

/**
 * [HS-20] The secret of a server's Initial packets. Each answer to one and the same first packet has a source id of its own, and so
 * keys of its own: no two are sealed under one nonce.
 * @param serverId - the source id of the packets
 */
export function serverInitialSecret(initial: Uint8Array, serverId: Uint8Array): Uint8Array {
  return expandLabel(initial, 'server in', serverId, HASH_BYTES);
}

/**
 * [PKT-21] What the tag of a Retry is made with: only who knows the packet that is answered, and the fingerprint that its client pins, has it.
 * @param sourceId - of the Retry
 */
export function retryKey(initial: Uint8Array, sourceId: Uint8Array): Uint8Array {
  return expandLabel(initial, 'retry', sourceId, HASH_BYTES);
}

/** [HS-33] The early secret of a handshake with a ticket, from the ticket's key. */
export function earlySecret(ticketKey: Uint8Array): Uint8Array {
  return extract(ZEROS, ticketKey);
}

/**
 * [HS-33] What proves that whoever offers a ticket has its key.
 * @param transcriptHash - of prologue and CLIENT_HELLO, up to where this value begins
 */
export function binderValue(early: Uint8Array, transcriptHash: Uint8Array): Uint8Array {
  const binder = expandLabel(early, 'res binder', EMPTY_HASH, HASH_BYTES);
  const value = finishedValue(binder, transcriptHash);
  binder.fill(0);
  return value;
}

/** [HS-34] The secret of a client's 0-RTT packets. `transcriptHash` ends with the CLIENT_HELLO. */
export function earlyTraffic(early: Uint8Array, transcriptHash: Uint8Array): Uint8Array {
  return expandLabel(early, 'c e traffic', transcriptHash, HASH_BYTES);
}

/** [HS-32] What the keys of a connection's tickets come from. `transcriptHash` ends with the client's FINISHED. */
export function resumptionSecret(master: Uint8Array, transcriptHash: Uint8Array): Uint8Array {
  return expandLabel(master, 'res master', transcriptHash, HASH_BYTES);
}

/** [HS-32] The key of the ticket that came with this nonce. */
export function ticketKey(resumption: Uint8Array, nonce: Uint8Array): Uint8Array {
  return expandLabel(resumption, 'resumption', nonce, HASH_BYTES);
}

/** [HS-52] What a client adds to the age of a ticket, so that it tells nobody else anything: a number below 2^32. */
export function ticketAgeMask(key: Uint8Array): number {
  const [a, b, c, d] = expandLabel(key, 'ticket age', NO_BYTES, 4);
  return a * 2 ** 24 + b * 2 ** 16 + c * 2 ** 8 + d;
}

/**
 * [HS-21] The handshake secret, from the secret of the KEM.
 * @param early - of a handshake with a ticket; null without one
 */
export function handshakeSecret(sharedSecret: Uint8Array, early: Uint8Array | null = null): Uint8Array {
  if (early === null) return extract(EARLY_DERIVED, sharedSecret);
  const derived = expandLabel(early, 'derived', EMPTY_HASH, HASH_BYTES);
  const secret = extract(derived, sharedSecret);
  derived.fill(0);
  return secret;
}

/** [HS-22] The secrets of the Handshake packets. `transcriptHash` ends with the server's hello. */
export function handshakeTraffic(handshake: Uint8Array, transcriptHash: Uint8Array): TrafficSecrets {
  return deriveTraffic(handshake, 'c hs traffic', 's hs traffic', transcriptHash);
}

/** [HS-21] The master secret, from the handshake secret. */
export function masterSecret(handshake: Uint8Array): Uint8Array {
  const derived = expandLabel(handshake, 'derived', EMPTY_HASH, HASH_BYTES);
  const master = extract(derived, ZEROS);
  derived.fill(0);
  return master;
}

/** [HS-22] The secrets of the first application phase. `transcriptHash` ends with the server's FINISHED. */
export function applicationTraffic(master: Uint8Array, transcriptHash: Uint8Array): TrafficSecrets {
  return deriveTraffic(master, 'c ap traffic', 's ap traffic', transcriptHash);
}

/** [HS-29] The secret of all that is exported. `transcriptHash` ends with the server's FINISHED. */
export function exporterSecret(master: Uint8Array, transcriptHash: Uint8Array): Uint8Array {
  return expandLabel(master, 'exp master', transcriptHash, HASH_BYTES);
}

/**
 * [HS-29] A value that both ends can derive, and nobody else, for a use of its own.
 * @param name - of the use: ASCII
 * @param length - at most {@link EXPORTED_BYTES_MAX}
 */
export function exportedValue(
  exporter: Uint8Array,
  name: string,
  context: Uint8Array,
  length: number,
): Uint8Array {
  const derived = expandLabel(exporter, name, EMPTY_HASH, HASH_BYTES);
  const info = labelInfo('exporter', hash('sha256', context, 'buffer'), length).slice();
  const value = new Uint8Array(length);
  let block: Uint8Array = NO_BYTES;
  for (let counter = 1, at = 0; at < length; counter++, at += HASH_BYTES) {
    info[info.length - 1] = counter;
    block = hmac(derived, block, info);
    value.set(block.subarray(0, Math.min(HASH_BYTES, length - at)), at);
  }
  derived.fill(0);
  return value;
}

/** [HS-24] The value of a FINISHED message of the sender whose handshake traffic secret this is. */
export function finishedValue(trafficSecret: Uint8Array, transcriptHash: Uint8Array): Uint8Array {
  const key = expandLabel(trafficSecret, 'finished', NO_BYTES, HASH_BYTES);
  const value = hmac(key, transcriptHash);
  key.fill(0);
  return value;
}

/** [HS-23] The packet keys of a traffic secret, for the packets of this epoch. */
export function packetKeys(
  provider: AeadProvider,
  trafficSecret: Uint8Array,
  epoch: PacketType = PacketType.ONE_RTT,
): PacketKeys {
  const key = expandLabel(trafficSecret, 'key', NO_BYTES, KEY_BYTES);
  const headerKey = expandLabel(trafficSecret, 'hp', NO_BYTES, KEY_BYTES);
  const iv = expandLabel(trafficSecret, 'iv', NO_BYTES, NONCE_BYTES);
  const keys = provider.isNative
    ? PacketKeys.ofRow(provider, new KeyRow(provider.suite, key, headerKey, iv, 0), epoch, 0)
    : new PacketKeys(provider.createKey(key), new Uint8Array(iv), provider.createHeaderKey(headerKey), epoch);
  key.fill(0);
  headerKey.fill(0);
  iv.fill(0);
  return keys;
}

/** [HS-28] What the secret of a direction becomes with a key update. */
export function nextTrafficSecret(trafficSecret: Uint8Array): Uint8Array {
  return expandLabel(trafficSecret, 'ku', NO_BYTES, HASH_BYTES);
}

/** [HS-28] The packet keys of the generation after `keys`, from its secret: with the other phase, and with the same header key. */
export function updatedKeys(provider: AeadProvider, trafficSecret: Uint8Array, keys: PacketKeys): PacketKeys {
  const key = expandLabel(trafficSecret, 'key', NO_BYTES, KEY_BYTES);
  const iv = expandLabel(trafficSecret, 'iv', NO_BYTES, NONCE_BYTES);
  const next = keys.updated(provider, key, iv);
  key.fill(0);
  iv.fill(0);
  return next;
}

/** Zeroes both secrets. */
export function wipeTraffic(secrets: TrafficSecrets): void {
  secrets.client.fill(0);
  secrets.server.fill(0);
}

function deriveTraffic(
  secret: Uint8Array,
  clientLabel: string,
  serverLabel: string,
  transcriptHash: Uint8Array,
): TrafficSecrets {
  return {
    client: expandLabel(secret, clientLabel, transcriptHash, HASH_BYTES),
    server: expandLabel(secret, serverLabel, transcriptHash, HASH_BYTES),
  };
}

// ---- HKDF ----

/** HMAC-SHA256 (RFC 2104) over all of `data`. A handshake takes some 80 of them, so what they need is there already. */
export function hmac(key: Uint8Array, ...data: Uint8Array[]): Uint8Array {
  if (key.length > BLOCK_BYTES) return hmac(hash('sha256', key, 'buffer'), ...data);
  let end = BLOCK_BYTES;
  for (const part of data) end += part.length;
  const inner = end <= INNER.length ? INNER.subarray(0, end) : new Uint8Array(end);
  for (let i = 0; i < BLOCK_BYTES; i++) {
    const byte = i < key.length ? key[i] : 0;
    inner[i] = byte ^ 0x36;
    OUTER[i] = byte ^ 0x5c;
  }
  let at = BLOCK_BYTES;
  for (const part of data) {
    inner.set(part, at);
    at += part.length;
  }
  sha256(DIGEST, inner);
  OUTER.set(DIGEST, BLOCK_BYTES);
  sha256(DIGEST, OUTER);
  // A copy: what libsodium has seen of a small array is no longer small, and the collector sweeps it on its own.
  const mac = new Uint8Array(DIGEST);
  inner.fill(0);
  OUTER.fill(0);
  DIGEST.fill(0);
  return mac;
}

/**
 * 0.6 us by libsodium. Node's one-shot hash takes 1.4, and `createHmac` in place of all this 4.5 on Node 20 and 17 to 24 on Node 24, which
 * learns by exceptions of what kind a key is.
 */
function sha256(out: Uint8Array, data: Uint8Array): void {
  const sodium = loadSodium();
  if (sodium !== null) sodium.crypto_hash_sha256(out, data);
  else out.set(hash('sha256', data, 'buffer'));
}

/** HKDF-Extract: a pseudorandom key of 32 bytes. */
export function extract(salt: Uint8Array, inputKey: Uint8Array): Uint8Array {
  return hmac(salt, inputKey);
}

/**
 * [HS-19] HKDF-Expand-Label with one block of output.
 * @param length - at most 32
 */
export function expandLabel(
  secret: Uint8Array,
  label: string,
  context: Uint8Array,
  length: number,
): Uint8Array {
  const output = hmac(secret, labelInfo(label, context, length));
  return length === HASH_BYTES ? output : output.subarray(0, length);
}

/** HkdfLabel: length u16, label with its length u8, context with its length u8; then HKDF's block counter, which is 1. Good until the next call. */
function labelInfo(label: string, context: Uint8Array, length: number): Uint8Array {
  const labelBytes = LABEL_PREFIX.length + label.length;
  const end = 5 + labelBytes + context.length;
  INFO[0] = length >>> 8;
  INFO[1] = length;
  INFO[2] = labelBytes;
  for (let i = 0; i < LABEL_PREFIX.length; i++) INFO[3 + i] = LABEL_PREFIX.charCodeAt(i);
  for (let i = 0; i < label.length; i++) INFO[3 + LABEL_PREFIX.length + i] = label.charCodeAt(i);
  INFO[3 + labelBytes] = context.length;
  INFO.set(context, 4 + labelBytes);
  INFO[end - 1] = 1;
  return INFO.subarray(0, end);
}

export const HASH_BYTES = 32;
/** HKDF makes no more than 255 blocks. */
export const EXPORTED_BYTES_MAX = 255 * HASH_BYTES;
/** Longest name of a use of what is exported. */
export const EXPORT_NAME_MAX = 64;
/** Of SHA-256. */
const BLOCK_BYTES = 64;
const INNER = new Uint8Array(256);
const OUTER = new Uint8Array(BLOCK_BYTES + HASH_BYTES);
const INFO = new Uint8Array(128);
const DIGEST = new Uint8Array(HASH_BYTES);
const LABEL_PREFIX = 'jsp1 ';
const ZEROS = new Uint8Array(HASH_BYTES);
/** The first 20 bytes of SHA-256("JetStreamProto version 1 initial salt"). */
const VERSION_SALT = Uint8Array.from(Buffer.from('1e4736bb8041defc19b57e95ae9468047b2dd0f3', 'hex'));
/** SHA-256 of nothing, the context of "derived". */
const EMPTY_HASH = Uint8Array.from(
  Buffer.from('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', 'hex'),
);
/** "derived" of the early secret without a ticket, which is the same for all. */
const EARLY_DERIVED = Uint8Array.from(
  Buffer.from('f5b18e38c8cfc2030959f2030821a842854c2b3cd4e8f5874cd26aa6042871d6', 'hex'),
);
