/**
 * Keys and packets of a second implementation, written from spec/handshake.md and spec/packets.md alone, with the primitives of `node:crypto`
 * and `@noble/post-quantum`: it shares no code with `src/`.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  verify,
} from 'node:crypto';
import { ml_dsa65 } from '@noble/post-quantum/ml-dsa.js';
import { ml_kem768 } from '@noble/post-quantum/ml-kem.js';
import { counted, Fields, Malformed, u8, u16, u32, varint, vector } from './second-codec.ts';

export const VERSION = 0x4a535031;
const INITIAL_SALT = Buffer.from('1e4736bb8041defc19b57e95ae9468047b2dd0f3', 'hex');
const NOTHING = Buffer.alloc(0);

export function sha256(...parts: readonly Uint8Array[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

export function hmac(key: Uint8Array, data: Uint8Array): Buffer {
  return createHmac('sha256', key).update(data).digest();
}

// ---- key schedule [HS-19] to [HS-24] ----

export const extract = hmac;

function expand(secret: Uint8Array, info: Uint8Array, length: number): Buffer {
  let block = NOTHING as Buffer;
  let all = NOTHING as Buffer;
  for (let i = 1; all.length < length; i++) {
    block = hmac(secret, Buffer.concat([block, info, u8(i)]));
    all = Buffer.concat([all, block]);
  }
  return all.subarray(0, length);
}

export function label(secret: Uint8Array, name: string, context: Uint8Array, length: number): Buffer {
  const full = Buffer.from(`jsp1 ${name}`);
  const info = Buffer.concat([u16(length), u8(full.length), full, u8(context.length), context]);
  return expand(secret, info, length);
}

export function initialSecret(firstId: Uint8Array, pin: Uint8Array | null): Buffer {
  return extract(INITIAL_SALT, Buffer.concat([firstId, pin ?? NOTHING]));
}

export interface Secrets {
  readonly clientHandshake: Buffer;
  readonly serverHandshake: Buffer;
  readonly master: Buffer;
}

/** [HS-21] [HS-33] @param ticketKey - of the ticket that the server took; null without one */
export function earlySecret(ticketKey: Uint8Array | null): Buffer {
  const zeros = Buffer.alloc(32);
  return extract(zeros, ticketKey ?? zeros);
}

/** [HS-32] */
export function ticketKey(resumptionSecret: Uint8Array, nonce: Uint8Array): Buffer {
  return label(resumptionSecret, 'resumption', nonce, 32);
}

/** [HS-33] @param hash - of prologue and hello, up to the binder's value */
export function binderOf(key: Uint8Array, hash: Uint8Array): Buffer {
  const secret = label(earlySecret(key), 'res binder', sha256(), 32);
  return hmac(label(secret, 'finished', NOTHING, 32), hash);
}

/** [HS-34] @param hash - of prologue and hello */
export function earlyTraffic(key: Uint8Array, hash: Uint8Array): Buffer {
  return label(earlySecret(key), 'c e traffic', hash, 32);
}

export function handshakeSecrets(early: Buffer, kemSecret: Uint8Array, helloHash: Uint8Array): Secrets {
  const zeros = Buffer.alloc(32);
  const handshake = extract(label(early, 'derived', sha256(), 32), kemSecret);
  return {
    clientHandshake: label(handshake, 'c hs traffic', helloHash, 32),
    serverHandshake: label(handshake, 's hs traffic', helloHash, 32),
    master: extract(label(handshake, 'derived', sha256(), 32), zeros),
  };
}

export function finishedOf(secret: Uint8Array, transcriptHash: Uint8Array): Buffer {
  return hmac(label(secret, 'finished', NOTHING, 32), transcriptHash);
}

/** 1 ChaCha20-Poly1305, 2 AES-256-GCM. [PKT-10] */
export type Suite = 1 | 2;

/** Keys of one direction and phase. */
export class Keys {
  readonly suite: Suite;
  readonly key: Buffer;
  readonly iv: Buffer;
  readonly headerKey: Buffer;

  constructor(suite: Suite, key: Buffer, iv: Buffer, headerKey: Buffer) {
    this.suite = suite;
    this.key = key;
    this.iv = iv;
    this.headerKey = headerKey;
  }

  /** [HS-23] */
  static of(secret: Uint8Array, suite: Suite = 1): Keys {
    const derived = (name: string, length: number): Buffer => label(secret, name, NOTHING, length);
    return new Keys(suite, derived('key', 32), derived('iv', 12), derived('hp', 32));
  }

  /** Of the next generation: header protection stays. [HS-28] @param secret - of that generation */
  next(secret: Uint8Array): Keys {
    const { key, iv } = Keys.of(secret, this.suite);
    return new Keys(this.suite, key, iv, this.headerKey);
  }

  /** Payload and tag. */
  seal(header: Buffer, number: number, payload: Buffer): Buffer {
    const nonce = this.nonce(number);
    const cipher =
      this.suite === 1
        ? createCipheriv('chacha20-poly1305', this.key, nonce, { authTagLength: 16 })
        : createCipheriv('aes-256-gcm', this.key, nonce);
    cipher.setAAD(header, { plaintextLength: payload.length });
    return Buffer.concat([cipher.update(payload), cipher.final(), cipher.getAuthTag()]);
  }

  /** Null when it does not open. */
  open(header: Buffer, number: number, sealed: Buffer): Buffer | null {
    const nonce = this.nonce(number);
    const payload = sealed.subarray(0, sealed.length - 16);
    const decipher =
      this.suite === 1
        ? createDecipheriv('chacha20-poly1305', this.key, nonce, { authTagLength: 16 })
        : createDecipheriv('aes-256-gcm', this.key, nonce);
    decipher.setAAD(header, { plaintextLength: payload.length });
    decipher.setAuthTag(sealed.subarray(sealed.length - 16));
    try {
      return Buffer.concat([decipher.update(payload), decipher.final()]);
    } catch {
      return null;
    }
  }

  /** [PKT-11] The path number is 0. */
  nonce(number: number): Buffer {
    const nonce = Buffer.from(this.iv);
    const counter = Buffer.alloc(12);
    counter.writeBigUInt64BE(BigInt(number), 4);
    for (let i = 0; i < 12; i++) nonce[i] ^= counter[i];
    return nonce;
  }

  /** [PKT-13] */
  mask(sample: Uint8Array): Buffer {
    if (this.suite === 2) return createCipheriv('aes-256-ecb', this.headerKey, null).update(sample);
    // OpenSSL takes counter and nonce as one string of 16 bytes, which is what the sample is.
    return createCipheriv('chacha20', this.headerKey, sample).update(Buffer.alloc(5));
  }
}

// ---- key agreement [HS-16] ----

/** Numbers of the KEMs: X25519 with ML-KEM-768, and X25519 alone, which goes with a ticket. [HS-50] */
export type Kem = 1 | 2;

export class KemKeys {
  readonly kem: Kem;
  readonly share: Buffer;
  private readonly x25519: KeyObject;
  private readonly mlKem = ml_kem768.keygen();

  constructor(kem: Kem) {
    this.kem = kem;
    const { publicKey, privateKey } = generateKeyPairSync('x25519');
    this.x25519 = privateKey;
    const raw = Buffer.from(publicKey.export({ format: 'jwk' }).x as string, 'base64url');
    this.share = kem === 2 ? raw : Buffer.concat([raw, this.mlKem.publicKey]);
  }

  secret(ciphertext: Buffer): Buffer {
    if (ciphertext.length !== (this.kem === 2 ? 32 : 32 + 1088))
      throw new Malformed('a ciphertext of another length');
    const publicKey = rawKey('X25519', ciphertext.subarray(0, 32));
    const classical = diffieHellman({ privateKey: this.x25519, publicKey });
    if (this.kem === 2) return classical;
    const lattice = ml_kem768.decapsulate(new Uint8Array(ciphertext.subarray(32)), this.mlKem.secretKey);
    return Buffer.concat([classical, lattice]);
  }
}

function rawKey(crv: 'X25519' | 'Ed25519', bytes: Buffer): KeyObject {
  return createPublicKey({ key: { kty: 'OKP', crv, x: bytes.toString('base64url') }, format: 'jwk' });
}

/** What is signed. [HS-11] */
function signedText(role: 'server' | 'client', transcriptHash: Buffer): Buffer {
  const text = Buffer.from(`JetStreamProto 1 ${role} identity`);
  return Buffer.concat([Buffer.alloc(64, 0x20), text, u8(0), transcriptHash]);
}

/** The identity of a client, of one algorithm or of both. [HS-9] [HS-26] [HS-27] */
export class SecondIdentity {
  /** The body of IDENTITY. */
  readonly key: Buffer;
  private readonly classical: KeyObject;
  private readonly lattice: Uint8Array | null;

  constructor({ isHybrid = false } = {}) {
    const seed = randomBytes(32);
    const pkcs8 = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed]); // RFC 8410 section 7
    this.classical = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
    const raw = createPublicKey(this.classical).export({ format: 'jwk' }).x as string;
    const pair = isHybrid ? ml_dsa65.keygen(new Uint8Array(randomBytes(32))) : null;
    this.lattice = pair?.secretKey ?? null;
    this.key = Buffer.concat([
      entry(1, Buffer.from(raw, 'base64url')),
      ...(pair === null ? [] : [entry(2, pair.publicKey)]),
    ]);
  }

  get fingerprint(): Buffer {
    return sha256(this.key);
  }

  /** The body of SIGNATURE. @param transcriptHash - up to and including IDENTITY */
  sign(transcriptHash: Buffer): Buffer {
    const text = signedText('client', transcriptHash);
    const entries = [entry(1, sign(null, text, this.classical))];
    if (this.lattice !== null) entries.push(entry(2, ml_dsa65.sign(new Uint8Array(text), this.lattice)));
    return Buffer.concat(entries);
  }
}

function entry(algorithm: number, value: Uint8Array): Buffer {
  return Buffer.concat([u8(algorithm), vector(value)]);
}

/** Whether a signature over the transcript is the server's, by every key of its identity. [HS-11] [HS-12] [HS-26] */
export function verifiesServer(identity: Buffer, signature: Buffer, transcriptHash: Buffer): boolean {
  const [keys, signatures] = [entriesOf(identity), entriesOf(signature)];
  const algorithms = [...keys.keys()].join();
  if ((algorithms !== '1' && algorithms !== '1,2') || [...signatures.keys()].join() !== algorithms)
    return false;
  const text = signedText('server', transcriptHash);
  const classical = verify(
    null,
    text,
    rawKey('Ed25519', keys.get(1) ?? NOTHING),
    signatures.get(1) ?? NOTHING,
  );
  const [latticeKey, latticeSignature] = [keys.get(2), signatures.get(2)];
  if (latticeKey === undefined || latticeSignature === undefined) return classical;
  const [key, signed, message] = [latticeKey, latticeSignature, text].map((bytes) => new Uint8Array(bytes));
  return classical && ml_dsa65.verify(signed, message, key);
}

/** The entries of an identity's key or signature, by algorithm, in their order. */
function entriesOf(bytes: Buffer): Map<number, Buffer> {
  const fields = new Fields(bytes);
  const entries = new Map<number, Buffer>();
  while (fields.left > 0) entries.set(fields.u8(), fields.take(fields.u16()));
  return entries;
}

export function random(length: number): Buffer {
  return randomBytes(length);
}

// ---- packets ----

export type PacketKind = 'initial' | 'zeroRtt' | 'handshake' | 'short';

export interface Addressing {
  readonly destinationId: Buffer;
  readonly sourceId: Buffer;
  readonly token: Buffer;
  readonly isUnpinned: boolean;
}

const TYPE_BITS = { initial: 0x00, zeroRtt: 0x10, handshake: 0x20 } as const;
/** Packet numbers go in so many bytes: more than it takes is allowed. [PKT-8] */
const NUMBER_BYTES = 4;

/** A sealed packet. `paddedTo`: a datagram of this length, which the packet fills with PADDING; `phase`: of a short packet. */
export function sealPacket(
  kind: PacketKind,
  keys: Keys,
  { destinationId, sourceId, token, isUnpinned }: Addressing,
  number: number,
  frames: Buffer,
  { paddedTo = 0, phase = 0 }: { paddedTo?: number; phase?: number } = {},
): Buffer {
  const numberBytes = u32(number);
  const headOf = (length: number): Buffer => {
    if (kind === 'short')
      return Buffer.concat([u8(0x40 | (phase << 2) | (NUMBER_BYTES - 1)), destinationId, numberBytes]);
    const first = 0xc0 | TYPE_BITS[kind] | (kind === 'initial' && isUnpinned ? 0x08 : 0) | (NUMBER_BYTES - 1);
    const ids = [u8(destinationId.length), destinationId, u8(sourceId.length), sourceId];
    const tokenField = kind === 'initial' ? [counted(token)] : [];
    return Buffer.concat([u8(first), u32(VERSION), ...ids, ...tokenField, u16(0x4000 | length), numberBytes]);
  };
  const size = headOf(0).length + frames.length + 16;
  const payload = Buffer.concat([frames, Buffer.alloc(Math.max(0, paddedTo - size))]);
  return protect(headOf(NUMBER_BYTES + payload.length + 16), NUMBER_BYTES, keys, number, payload);
}

/** [PKT-12] [PKT-13] @param header - in the clear, up to and with the packet number */
export function protect(
  header: Buffer,
  numberBytes: number,
  keys: Keys,
  number: number,
  payload: Buffer,
): Buffer {
  const packet = Buffer.concat([header, keys.seal(header, number, payload)]);
  const numberAt = header.length - numberBytes;
  const mask = keys.mask(packet.subarray(numberAt + 4, numberAt + 20));
  packet[0] ^= mask[0] & ((packet[0] & 0x80) === 0 ? 0x1f : 0x07);
  for (let i = 0; i < numberBytes; i++) packet[numberAt + i] ^= mask[1 + i];
  return packet;
}

/** A packet as it came, before its protection is removed. */
export interface Packet {
  readonly kind: PacketKind | 'retry';
  readonly bytes: Buffer;
  readonly destinationId: Buffer;
  readonly sourceId: Buffer;
  readonly numberAt: number;
}

/** The packets of a datagram. @param ownIdBytes - length of the ids that the receiver chose */
export function splitDatagram(datagram: Buffer, ownIdBytes: number): Packet[] {
  const packets: Packet[] = [];
  for (let at = 0; at < datagram.length; ) {
    const bytes = datagram.subarray(at);
    const fields = new Fields(bytes);
    const first = fields.u8();
    if ((first & 0x40) === 0) throw new Malformed('the fixed bit is 0');
    if ((first & 0x80) === 0) {
      const destinationId = fields.take(ownIdBytes);
      packets.push({ kind: 'short', bytes, destinationId, sourceId: NOTHING, numberAt: fields.at });
      return packets;
    }
    if (fields.u32() !== VERSION) throw new Malformed('another version');
    const destinationId = fields.take(fields.u8());
    const sourceId = fields.take(fields.u8());
    const kind = (['initial', 'zeroRtt', 'handshake', 'retry'] as const)[(first >> 4) & 3];
    if (kind === 'retry') {
      packets.push({ kind, bytes, destinationId, sourceId, numberAt: fields.at });
      return packets;
    }
    if (kind === 'initial') fields.take(fields.varint());
    const length = fields.u16();
    if (length >> 14 !== 1) throw new Malformed('Length is not in 2 bytes');
    const numberAt = fields.at;
    fields.take(length & 0x3fff);
    packets.push({ kind, bytes: bytes.subarray(0, fields.at), destinationId, sourceId, numberAt });
    at += fields.at;
  }
  return packets;
}

/**
 * Number and payload of a packet; null when it does not open.
 *
 * @param keys - of the generation in use, whose header protection all have
 * @param largest - number that was received, -1 for none
 * @param keysOf - those of the packet's generation, by its phase and number
 */
export function openPacket(
  { bytes, kind, numberAt }: Packet,
  keys: Keys,
  largest: number,
  keysOf: (phase: number, number: number) => Keys | null = () => keys,
): { number: number; payload: Buffer; firstByte: number } | null {
  const mask = keys.mask(bytes.subarray(numberAt + 4, numberAt + 20));
  const head = Buffer.from(bytes.subarray(0, numberAt + 4));
  head[0] ^= mask[0] & (kind === 'short' ? 0x1f : 0x07);
  const numberBytes = (head[0] & 3) + 1;
  for (let i = 0; i < numberBytes; i++) head[numberAt + i] ^= mask[1 + i];
  const number = wholeNumber(head.readUIntBE(numberAt, numberBytes), 2 ** (8 * numberBytes), largest);
  const start = numberAt + numberBytes;
  const payload = keysOf((head[0] >> 2) & 1, number)?.open(
    head.subarray(0, start),
    number,
    bytes.subarray(start),
  );
  return payload === null || payload === undefined ? null : { number, firstByte: head[0], payload };
}

/** RFC 9000 appendix A.3. */
function wholeNumber(truncated: number, window: number, largest: number): number {
  const expected = largest + 1;
  const candidate = Math.floor(expected / window) * window + truncated;
  if (candidate <= expected - window / 2) return candidate + window;
  if (candidate > expected + window / 2 && candidate >= window) return candidate - window;
  return candidate;
}

export function parametersOf(list: readonly (readonly [id: number, value: Uint8Array])[]): Buffer {
  return Buffer.concat(list.map(([id, value]) => Buffer.concat([varint(id), counted(value)])));
}
