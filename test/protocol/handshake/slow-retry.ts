import { sha256 } from '@noble/hashes/sha2.js';
import { hex, joined, toHex } from '../crypto/bytes.ts';
import { slowSeal } from '../crypto/slow-chacha20-poly1305.ts';
import { slowExpandLabel, slowExtract, slowHmac } from '../crypto/slow-hkdf.ts';

/** Retry, address tokens and version packets read off spec/packets.md, handshake.md and invariants.md, hex in and hex out. */

export interface SlowRetryInput {
  /** Destination and source id of the Initial that is answered. */
  originalDestinationId: string;
  clientSourceId: string;
  /** Null when its U bit says that the client does not pin. */
  fingerprint: string | null;
  /** Source id of the Retry. */
  retrySourceId: string;
  token: string;
}

/** [PKT-21] The whole Retry. */
export function slowRetry(input: SlowRetryInput): string {
  const scid = hex(input.retrySourceId);
  const packet = joined(
    hex('f0 4a535031'),
    withLength(hex(input.clientSourceId)),
    withLength(scid),
    hex(input.token),
  );
  const initial = slowExtract(SALT, hex(input.originalDestinationId + (input.fingerprint ?? '')));
  const tag = slowHmac(slowExpandLabel(initial, 'retry', scid, 32), packet).slice(0, 16);
  return toHex(joined(packet, tag));
}

export interface SlowTokenInput {
  kind: number;
  secret: string;
  issuedMs: number;
  expiresMs: number;
  nonce: string;
  address: string;
  /** Behind the address. */
  rest: string;
}

/** [HS-31] The whole token. */
export function slowToken(input: SlowTokenInput): string {
  const day = Math.floor(input.issuedMs / 86_400_000);
  const key = slowExpandLabel(hex(input.secret), 'token', number(day, 4), 32);
  const head = joined(Uint8Array.of(input.kind, day % 256), hex(input.nonce));
  const body = joined(number(input.expiresMs, 8), hex(input.address), hex(input.rest));
  return toHex(joined(head, slowSeal(key, hex(input.nonce), head, body)));
}

export interface SlowVersionInput {
  /** Those of the packet that is answered. */
  destinationId: string;
  sourceId: string;
  firstByte: string;
  versions: string[];
}

/** [INV-5] */
export function slowVersionPacket(input: SlowVersionInput): string {
  const ids = joined(withLength(hex(input.sourceId)), withLength(hex(input.destinationId)));
  return `${input.firstByte}00000000${toHex(ids)}${input.versions.join('')}`;
}

function withLength(bytes: Uint8Array): Uint8Array {
  return joined(Uint8Array.of(bytes.length), bytes);
}

function number(value: number, bytes: number): Uint8Array {
  return hex(
    BigInt(value)
      .toString(16)
      .padStart(2 * bytes, '0'),
  );
}

const SALT = sha256(new TextEncoder().encode('JetStreamProto version 1 initial salt')).slice(0, 20);
