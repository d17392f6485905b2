import { createHmac } from 'node:crypto';

/** HKDF (RFC 5869) with SHA-256, and the labelled expansion of TLS 1.3 (RFC 8446 section 7.1). */

export const HASH_BYTES = 32;

export function hmac(key: Uint8Array, ...data: Uint8Array[]): Uint8Array {
  const mac = createHmac('sha256', key);
  for (const part of data) mac.update(part);
  return mac.digest();
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
  // HkdfLabel: length u16, label with its length u8, context with its length u8; then HKDF's block counter.
  const labelBytes = LABEL_PREFIX.length + label.length;
  const info = new Uint8Array(5 + labelBytes + context.length);
  info[1] = length;
  info[2] = labelBytes;
  for (let i = 0; i < LABEL_PREFIX.length; i++) info[3 + i] = LABEL_PREFIX.charCodeAt(i);
  for (let i = 0; i < label.length; i++) info[3 + LABEL_PREFIX.length + i] = label.charCodeAt(i);
  info[3 + labelBytes] = context.length;
  info.set(context, 4 + labelBytes);
  info[info.length - 1] = 1;
  return hmac(secret, info).subarray(0, length);
}

const LABEL_PREFIX = 'jsp1 ';
