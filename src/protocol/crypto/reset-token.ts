import { expandLabel, extract, HASH_BYTES, hmac } from './hkdf.ts';

/**
 * The key of stateless resets: who has the server's identity has it, so that a server that is started anew can end what its
 * predecessor began. [PKT-22]
 * @param secret - the identity's secret, in the form of `Identity`
 */
export function resetKeyOf(secret: Uint8Array): Uint8Array {
  const extracted = extract(ZEROS, secret);
  const key = expandLabel(extracted, 'stateless reset', NOTHING, HASH_BYTES);
  extracted.fill(0);
  return key;
}

/** The token that ends the connection whose server gave it this id. [PKT-22] */
export function resetToken(resetKey: Uint8Array, id: Uint8Array): Uint8Array {
  return hmac(resetKey, id).subarray(0, RESET_TOKEN_BYTES);
}

export const RESET_KEY_BYTES = 32;
export const RESET_TOKEN_BYTES = 16;
const ZEROS = new Uint8Array(HASH_BYTES);
const NOTHING = new Uint8Array(0);
