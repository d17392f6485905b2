/** What the system has for keys: random bytes, the identities made of them, and ML-KEM where Node brings it. */

import * as nodeCrypto from 'node:crypto';
import { type KeyObject, randomFillSync } from 'node:crypto';
import { checkOptions, flag, type OptionTable } from '../base/options.ts';
import type { RandomSource } from '../base/random.ts';
import {
  type Encapsulation,
  Identity,
  type MlDsa,
  type MlDsaKeyPair,
  type MlKem,
  type MlKemKeyPair,
  type RawKeys,
  rawKeys,
} from '../protocol/crypto/index.ts';

export interface IdentityOptions {
  /**
   * Also with a key of ML-DSA-65 (FIPS 204), beside that of Ed25519: both have to be forged. A handshake then carries 5.3 KB more, and where Node has
   * no ML-DSA of its own (before 24.6) 10 ms of computing. Default false.
   */
  hybrid?: boolean | undefined;
}

/**
 * A new identity, of a server or a client, from the system's secure random bytes. Keep what its `exportSecret()` gives.
 * @throws JspError ERR_JSP_OPTION_INVALID
 */
export function generateIdentity(options: IdentityOptions = {}): Identity {
  checkOptions('generateIdentity', options, IDENTITY_OPTIONS);
  return Identity.generate(systemRandom, options);
}

/** What the options of {@link generateIdentity} may be. */
export const IDENTITY_OPTIONS: OptionTable<IdentityOptions> = { hybrid: flag };

/** The operating system's secure random bytes, fetched some at a time: a call takes 2 us, and a handshake wants a dozen small pieces. */
export const systemRandom: RandomSource = {
  fill(target: Uint8Array): void {
    const { length } = target;
    if (length > RANDOM_POOL.length / 4) {
      randomFillSync(target);
      return;
    }
    if (randomUsed + length > RANDOM_POOL.length) {
      randomFillSync(RANDOM_POOL);
      randomUsed = 0;
    }
    const end = randomUsed + length;
    target.set(RANDOM_POOL.subarray(randomUsed, end));
    RANDOM_POOL.fill(0, randomUsed, end); // what was given away is not to be found here
    randomUsed = end;
  },
};

/**
 * ML-KEM-768 of OpenSSL 3.5, which Node has from 24.7 on; null where it has not. It draws the random bytes of a fresh key pair, and of an
 * encapsulation, from the system itself, which is why it stands above the sans-IO line and is no choice for seeded runs.
 */
export function loadNodeMlKem(): MlKem | null {
  if (loaded === undefined) loaded = works() ? nodeMlKem : null;
  return loaded;
}

/** ML-DSA-65 of OpenSSL 3.5, which Node has from 24.6 on; null where it has not. It is hedged: its signatures take random bytes of the system. */
export function loadNodeMlDsa(): MlDsa | null {
  if (loadedMlDsa === undefined) loadedMlDsa = signs() ? nodeMlDsa : null;
  return loadedMlDsa;
}

const nodeMlDsa: MlDsa = {
  name: 'node',
  keyPair(seed: Uint8Array): MlDsaKeyPair {
    const der = Buffer.concat([ML_DSA_PKCS8_PREFIX, seed]);
    const privateKey = withoutStackTraces(() =>
      nodeCrypto.createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }),
    );
    der.fill(0);
    const spki = nodeCrypto.createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
    return {
      publicKey: new Uint8Array(spki.subarray(ML_DSA_SPKI_PREFIX.length)),
      sign: (message) => nodeCrypto.sign(null, message, privateKey),
    };
  },
  verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
    try {
      const key = Buffer.concat([ML_DSA_SPKI_PREFIX, publicKey]);
      const verifier = withoutStackTraces(() =>
        nodeCrypto.createPublicKey({ key, format: 'der', type: 'spki' }),
      );
      return nodeCrypto.verify(null, message, verifier, signature);
    } catch {
      return false;
    }
  },
};

/** True when this Node has it, and its halves agree. */
function signs(): boolean {
  try {
    const pair = nodeMlDsa.keyPair(new Uint8Array(32).fill(1));
    const signature = pair.sign(NO_BYTES);
    return (
      signature.length === ML_DSA_SIGNATURE_BYTES && nodeMlDsa.verify(pair.publicKey, NO_BYTES, signature)
    );
  } catch {
    return false;
  }
}

const nodeMlKem: MlKem = {
  name: 'node',
  keyPair(seed: Uint8Array): MlKemKeyPair {
    const der = Buffer.concat([PKCS8_PREFIX, seed]);
    const privateKey = withoutStackTraces(() =>
      nodeCrypto.createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }),
    );
    der.fill(0);
    return keyPairOf(privateKey, nodeCrypto.createPublicKey(privateKey));
  },
  /** 85 us, where the key of a seed that is given takes 180: OpenSSL makes that by way of its decoders. */
  freshKeyPair(): MlKemKeyPair {
    const { privateKey, publicKey } = kem.generateKeyPairSync('ml-kem-768');
    return keyPairOf(privateKey, publicKey);
  },
  encapsulate(key: Uint8Array): Encapsulation | null {
    try {
      const { ciphertext, sharedKey } = kem.encapsulate(withoutStackTraces(() => publicKeyOf(key)));
      return { ciphertext, secret: sharedKey };
    } catch {
      return null; // OpenSSL makes the modulus check of FIPS 203 section 7.2 when it takes the key in
    }
  },
};

function keyPairOf(secret: KeyObject, publicKey: KeyObject): MlKemKeyPair {
  let privateKey: KeyObject | null = secret;
  return {
    encapsulationKey: bytesOf(publicKey),
    decapsulate(ciphertext: Uint8Array): Uint8Array {
      if (privateKey === null) throw new Error('the key pair was wiped');
      return kem.decapsulate(privateKey, ciphertext);
    },
    // OpenSSL clears the key when its object is collected.
    wipe(): void {
      privateKey = null;
    },
  };
}

/** Node 24 learns by four exceptions that what it is given is no key yet: with the stack traces, which nobody sees, they take twice the time of the key itself. */
function withoutStackTraces<T>(make: () => T): T {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return make();
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

function publicKeyOf(bytes: Uint8Array): KeyObject {
  if (raw !== null) return raw.publicKey('ml-kem-768', bytes);
  const key = Buffer.concat([SPKI_PREFIX, bytes]);
  return nodeCrypto.createPublicKey({ key, format: 'der', type: 'spki' });
}

function bytesOf(publicKey: KeyObject): Uint8Array {
  if (raw !== null) return raw.bytesOf(publicKey);
  const spki = publicKey.export({ format: 'der', type: 'spki' });
  return new Uint8Array(spki.subarray(SPKI_PREFIX.length));
}

function takesRaw(): boolean {
  try {
    rawKeys?.publicKey('ml-kem-768', new Uint8Array(1184));
    return rawKeys !== null;
  } catch {
    return false;
  }
}

/** True when this Node has it, and its halves agree. */
function works(): boolean {
  if (kem.encapsulate === undefined || kem.decapsulate === undefined) return false;
  try {
    return [nodeMlKem.keyPair(new Uint8Array(64).fill(1)), nodeMlKem.freshKeyPair?.()].every((pair) => {
      const made = pair === undefined ? null : nodeMlKem.encapsulate(pair.encapsulationKey, NO_BYTES);
      return made !== null && Buffer.from(made.secret).equals(pair?.decapsulate(made.ciphertext) ?? NO_BYTES);
    });
  } catch {
    return false;
  }
}

/** The part of `node:crypto` that the types of the Node floor do not know. */
interface Kem {
  generateKeyPairSync(type: 'ml-kem-768'): { privateKey: KeyObject; publicKey: KeyObject };
  encapsulate(key: KeyObject): { ciphertext: Buffer; sharedKey: Buffer };
  decapsulate(key: KeyObject, ciphertext: Uint8Array): Buffer;
}

/** Raw keys of this type came later than ML-KEM itself. */
const raw: RawKeys | null = takesRaw() ? rawKeys : null;
let loaded: MlKem | null | undefined;
let loadedMlDsa: MlDsa | null | undefined;
const ML_DSA_SIGNATURE_BYTES = 3_309;
/** PrivateKeyInfo with the seed alone (RFC 9881 section 6), up to its 32 bytes. */
const ML_DSA_PKCS8_PREFIX = Buffer.from('3034020100300b060960864801650304031204228020', 'hex');
/** SubjectPublicKeyInfo (RFC 9881 section 4), up to the 1,952 bytes of the key. */
const ML_DSA_SPKI_PREFIX = Buffer.from('308207b2300b0609608648016503040312038207a100', 'hex');
const RANDOM_POOL = new Uint8Array(4_096);
let randomUsed: number = RANDOM_POOL.length;
const kem = nodeCrypto as unknown as Kem;
const NO_BYTES = new Uint8Array(0);
/** PrivateKeyInfo with the seed alone (RFC 9935 section 6), up to its 64 bytes. */
const PKCS8_PREFIX = Buffer.from('3054020100300b060960864801650304040204428040', 'hex');
/** SubjectPublicKeyInfo (RFC 9935 section 4), up to the 1,184 bytes of the key. */
const SPKI_PREFIX = Buffer.from('308204b2300b0609608648016503040402038204a100', 'hex');
