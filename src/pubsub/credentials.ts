/** What is in the credentials of a HELLO or RENEW beside text: the proof that a client has the key of an identity. [AUT-4] */

/** The use for which client and broker derive a secret of their connection, which the client signs; its context is the client's public key. */
export const IDENTITY_PROOF = { name: 'jsp broker identity', length: 32 } as const;

export interface IdentityProof {
  /** In the form of an identity: algorithm, length, key. */
  readonly publicKey: Uint8Array;
  /** Algorithm, length, signature. */
  readonly signature: Uint8Array;
}

/** key length u16, key, signature */
export function encodeIdentityProof({ publicKey, signature }: IdentityProof): Buffer {
  const out = Buffer.alloc(LENGTH_BYTES + publicKey.length + signature.length);
  out.writeUInt16BE(publicKey.length);
  out.set(publicKey, LENGTH_BYTES);
  out.set(signature, LENGTH_BYTES + publicKey.length);
  return out;
}

/** Null when it is too short for what it says. */
export function decodeIdentityProof(credentials: Uint8Array): IdentityProof | null {
  if (credentials.length < LENGTH_BYTES) return null;
  const keyEnd = LENGTH_BYTES + ((credentials[0] << 8) | credentials[1]);
  if (keyEnd > credentials.length) return null;
  return { publicKey: credentials.subarray(LENGTH_BYTES, keyEnd), signature: credentials.subarray(keyEnd) };
}

/** A token, and where it is bound to an identity a zero byte and its proof. [AUT-12] */
export function encodeToken(token: string, proof: Uint8Array | null): Buffer {
  const text = Buffer.from(token);
  return proof === null ? text : Buffer.concat([text, Buffer.of(0), proof]);
}

export function decodeToken(credentials: Uint8Array): {
  readonly token: string;
  readonly proof: Uint8Array | null;
} {
  const end = credentials.indexOf(0);
  const text = end < 0 ? credentials : credentials.subarray(0, end);
  const token = Buffer.from(text.buffer, text.byteOffset, text.length).toString('latin1');
  return { token, proof: end < 0 ? null : credentials.subarray(end + 1) };
}

/** Of a HELLO or RENEW, and so of each secret. */
export const CREDENTIALS_BYTES_MAX = 8_192;
const LENGTH_BYTES = 2;
