import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';

/**
 * Keys of OpenSSL from and to their raw bytes, where this Node knows such formats (24 and newer, which the types of the Node floor do not
 * know). The detours that older ones need cost more than the raw way: 30 us to write a key as DER, 20 us and an exception for a JWK.
 */
export interface RawKeys {
  privateKey(type: 'x25519', bytes: Uint8Array): KeyObject;
  publicKey(type: 'x25519' | 'ed25519' | 'ml-kem-768', bytes: Uint8Array): KeyObject;
  /** The raw bytes of a public key. */
  bytesOf(publicKey: KeyObject): Uint8Array;
}

/** Null where Node takes no raw keys. */
export const rawKeys: RawKeys | null = works() ? makeRawKeys() : null;

function makeRawKeys(): RawKeys {
  return {
    privateKey: (type, key) =>
      createPrivateKey({ key, format: 'raw-private', asymmetricKeyType: type } as never),
    publicKey: (type, key) =>
      createPublicKey({ key, format: 'raw-public', asymmetricKeyType: type } as never),
    bytesOf: (publicKey) => new Uint8Array(publicKey.export({ format: 'raw-public' } as never) as Buffer),
  };
}

/** Tried once, with the first of the calls that a later Node might take away. */
function works(): boolean {
  try {
    const raw = makeRawKeys();
    const key = raw.privateKey('x25519', new Uint8Array(32).fill(1));
    const bytes = raw.bytesOf(createPublicKey(key));
    return Buffer.from(raw.bytesOf(raw.publicKey('x25519', bytes))).equals(bytes);
  } catch {
    return false;
  }
}
