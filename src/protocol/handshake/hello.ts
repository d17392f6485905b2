import { ByteCursor } from '../wire/byte-cursor.ts';
import {
  MessageType,
  MessageWriter,
  readBytes,
  readU16,
  readU32,
  readVector,
  skipExtensions,
} from './messages.ts';

/** ChaCha20-Poly1305 with SHA-256. */
export const SUITE_CHACHA20_POLY1305 = 0x01;
/** X25519 with ML-KEM-768. */
export const KEM_X25519_ML_KEM_768 = 0x01;
export const RANDOM_BYTES = 32;

/** What a client offers. [HS-4] */
export interface ClientHello {
  readonly random: Uint8Array;
  readonly versions: readonly number[];
  readonly suites: readonly number[];
  /** The share for {@link KEM_X25519_ML_KEM_768}; null when the client offers none. */
  readonly share: Uint8Array | null;
  /** Largest datagram the client sends, in bytes. */
  readonly largestDatagram: number;
  /** Encoded transport parameters. */
  readonly parameters: Uint8Array;
}

/** What a server chose of it. [HS-6] */
export interface ServerHello {
  readonly random: Uint8Array;
  readonly version: number;
  readonly suite: number;
  readonly kem: number;
  readonly ciphertext: Uint8Array;
}

/**
 * A CLIENT_HELLO that also offers a version, a suite, a KEM and an extension that do not exist. [HS-5]
 * @param grease - {@link GREASE_BYTES} random bytes
 */
export function encodeClientHello(
  hello: ClientHello & { share: Uint8Array },
  grease: Uint8Array,
): Uint8Array {
  const writer = new MessageWriter().bytes(hello.random);
  writer.u8(1 + hello.versions.length).bytes(grease.subarray(0, 4).map(greased));
  for (const version of hello.versions) writer.u32(version);
  writer.u8(1 + hello.suites.length).u8(greased(grease[4]));
  for (const suite of hello.suites) writer.u8(suite);
  writer.u8(2).u8(greased(grease[5])).vector(grease.subarray(6, 7));
  writer.u8(KEM_X25519_ML_KEM_768).vector(hello.share);
  writer.u16(hello.largestDatagram).vector(hello.parameters);
  writer.bytes(grease.subarray(8, 10).map(greased)).vector(grease.subarray(10, 10 + (grease[7] & 0x3)));
  return writer.finish(MessageType.CLIENT_HELLO);
}

/** Reads the body of a CLIENT_HELLO. Null when it is malformed. [HS-2] */
export function decodeClientHello(body: Uint8Array): ClientHello | null {
  const cursor = new ByteCursor();
  cursor.reset(body, 0, body.length);
  const random = readBytes(cursor, RANDOM_BYTES);
  const versions = readList(cursor, readU32);
  const suites = readList(cursor, (from) => from.u8());
  const shares = readShares(cursor);
  const largestDatagram = readU16(cursor);
  const parameters = readVector(cursor);
  if (!skipExtensions(cursor) || versions === null || suites === null || shares === null) return null;
  if (largestDatagram < DATAGRAM_BYTES_MIN || largestDatagram > DATAGRAM_BYTES_MAX) return null; // [HS-7]
  const share = shares.get(KEM_X25519_ML_KEM_768) ?? null;
  return { random, versions, suites, share, largestDatagram, parameters };
}

export function encodeServerHello(hello: ServerHello): Uint8Array {
  return new MessageWriter()
    .bytes(hello.random)
    .u32(hello.version)
    .u8(hello.suite)
    .u8(hello.kem)
    .vector(hello.ciphertext)
    .finish(MessageType.SERVER_HELLO);
}

/** Reads the body of a SERVER_HELLO. Null when it is malformed. [HS-2] */
export function decodeServerHello(body: Uint8Array): ServerHello | null {
  const cursor = new ByteCursor();
  cursor.reset(body, 0, body.length);
  const random = readBytes(cursor, RANDOM_BYTES);
  const version = readU32(cursor);
  const suite = cursor.u8();
  const kem = cursor.u8();
  const ciphertext = readVector(cursor);
  return skipExtensions(cursor) ? { random, version, suite, kem, ciphertext } : null;
}

/** `count u8`, then as many items. */
function readList(cursor: ByteCursor, readItem: (cursor: ByteCursor) => number): number[] | null {
  const count = cursor.u8();
  if (count < 1 || count > LIST_ITEMS_MAX) return null;
  const items: number[] = [];
  for (let i = 0; i < count; i++) items.push(readItem(cursor));
  return cursor.failed ? null : items;
}

/** `count u8`, then as many `kem u8, length u16, share`. */
function readShares(cursor: ByteCursor): Map<number, Uint8Array> | null {
  const count = cursor.u8();
  if (count < 1 || count > LIST_ITEMS_MAX) return null;
  const shares = new Map<number, Uint8Array>();
  for (let i = 0; i < count; i++) {
    const kem = cursor.u8();
    const share = readVector(cursor);
    if (cursor.failed || shares.has(kem)) return null;
    shares.set(kem, share);
  }
  return shares;
}

/** [HS-5] A value that no version, suite, KEM or extension will ever have. */
function greased(byte: number): number {
  return (byte & 0xf0) | 0x0a;
}

/** Random bytes that greasing takes. */
export const GREASE_BYTES = 16;
/** Most items of a list in a hello. */
const LIST_ITEMS_MAX = 16;
const DATAGRAM_BYTES_MIN = 512;
const DATAGRAM_BYTES_MAX = 65_507;
