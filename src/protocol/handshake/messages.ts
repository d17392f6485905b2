import { createHash, type Hash } from 'node:crypto';
import { NO_BYTES } from '../../base/bytes.ts';
import { type RandomSource, randomBytes } from '../../base/random.ts';
import type { Identity, Signer } from '../crypto/identity.ts';
import type { MlDsa } from '../crypto/ml-dsa.ts';
import { CloseCode } from '../wire/close-code.ts';
import {
  DATAGRAM_BYTES_MAX,
  DATAGRAM_BYTES_MIN,
  decodeParameters,
  encodeParameters,
  type GreasedParameter,
  type TransportParameters,
} from '../wire/transport-parameters.ts';
import { ByteCursor } from '../wire/varint.ts';

/**
 * The messages of the handshake, from bytes and to bytes: CLIENT_HELLO and SERVER_HELLO in the Initial space; PARAMETERS, IDENTITY, SIGNATURE,
 * PAYLOAD and FINISHED in the Handshake space. Each is `type u8, length u16, body bytes[length]` [HS-1]. What both sides must have seen alike is
 * the {@link Transcript} of them.
 */

export const MessageType = {
  CLIENT_HELLO: 0x01,
  SERVER_HELLO: 0x02,
  PARAMETERS: 0x03,
  IDENTITY: 0x04,
  SIGNATURE: 0x05,
  FINISHED: 0x06,
  PAYLOAD: 0x07,
} as const;
export type MessageType = (typeof MessageType)[keyof typeof MessageType];

/** A message as it came: views of the received bytes. */
export interface Message {
  /** Type, length and body: what the transcript takes in. */
  readonly whole: Uint8Array;
  readonly body: Uint8Array;
}

/**
 * Takes the bytes of one space apart. Null unless they are exactly messages of these types, in this order, each once. [HS-2]
 *
 * @param optional - which of `types` may be missing; {@link ABSENT} stands in their place
 */
export function splitMessages(
  bytes: Uint8Array,
  types: readonly MessageType[],
  optional: readonly MessageType[] = [],
): Message[] | null {
  if (bytes.length > MESSAGES_BYTES_MAX) return null;
  const cursor = cursorOver(bytes);
  const messages: Message[] = [];
  for (const type of types) {
    if (bytes[cursor.at] !== type && optional.includes(type)) {
      messages.push(ABSENT);
      continue;
    }
    const start = cursor.at;
    const actualType = cursor.u8();
    const body = readVector(cursor);
    if (cursor.failed || actualType !== type) return null;
    messages.push({ whole: bytes.subarray(start, cursor.at), body });
  }
  return cursor.left === 0 ? messages : null;
}

/** A message that its side left out: nothing, for the transcript, too. */
export const ABSENT: Message = { whole: NO_BYTES, body: NO_BYTES };

/** A message whose body is this and nothing else: IDENTITY, SIGNATURE, FINISHED. */
export function encodeMessage(type: MessageType, body: Uint8Array): Uint8Array {
  return new MessageWriter().bytes(body).finish(type);
}

// ---- hellos ----

/** What a client offers. [HS-4] */
export interface ClientHello {
  readonly random: Uint8Array;
  readonly versions: readonly number[];
  readonly suites: readonly number[];
  /** The share for {@link KEM_X25519_ML_KEM_768}; null when the client offers none. */
  readonly share: Uint8Array | null;
  /** The share for {@link KEM_X25519}, which is of use with a ticket only; null when the client offers none. [HS-50] */
  readonly ticketShare: Uint8Array | null;
  /** Largest datagram the client sends, in bytes. */
  readonly largestDatagram: number;
  /** Encoded transport parameters. */
  readonly parameters: Uint8Array;
  readonly extensions: Extensions;
}

/** Values by id, in the order in which they stand in the message. */
export type Extensions = ReadonlyMap<number, Uint8Array>;

/** What a server chose of it. [HS-6] */
export interface ServerHello {
  readonly random: Uint8Array;
  readonly version: number;
  readonly suite: number;
  readonly kem: number;
  readonly ciphertext: Uint8Array;
  readonly extensions: Extensions;
}

/**
 * A CLIENT_HELLO that also offers a version, a suite, a KEM and an extension that do not exist. [HS-5]
 * @param grease - {@link GREASE_BYTES} random bytes
 */
export function encodeClientHello(hello: ClientHello, grease: Uint8Array): Uint8Array {
  const writer = new MessageWriter().bytes(hello.random);
  writer.u8(1 + hello.versions.length).bytes(grease.subarray(0, 4).map(greased));
  for (const version of hello.versions) writer.u32(version);
  writer.u8(1 + hello.suites.length).u8(greased(grease[4]));
  for (const suite of hello.suites) writer.u8(suite);
  const { share, ticketShare } = hello;
  writer.u8(1 + (share === null ? 0 : 1) + (ticketShare === null ? 0 : 1));
  writer.u8(greased(grease[5])).vector(grease.subarray(6, 7));
  if (share !== null) writer.u8(KEM_X25519_ML_KEM_768).vector(share);
  if (ticketShare !== null) writer.u8(KEM_X25519).vector(ticketShare);
  writer.u16(hello.largestDatagram).vector(hello.parameters);
  writer.bytes(grease.subarray(8, 10).map(greased)).vector(grease.subarray(10, 10 + (grease[7] & 0x3)));
  writer.extensions(hello.extensions);
  return writer.finish(MessageType.CLIENT_HELLO);
}

/** Reads the body of a CLIENT_HELLO. Null when it is malformed. [HS-2] */
export function decodeClientHello(body: Uint8Array): ClientHello | null {
  const cursor = cursorOver(body);
  const random = readBytes(cursor, RANDOM_BYTES);
  const versions = readList(cursor, readU32);
  const suites = readList(cursor, (from) => from.u8());
  const shares = readShares(cursor);
  const largestDatagram = readU16(cursor);
  const parameters = readVector(cursor);
  const extensions = readExtensions(cursor);
  if (extensions === null || versions === null || suites === null || shares === null) return null;
  if (largestDatagram < DATAGRAM_BYTES_MIN || largestDatagram > DATAGRAM_BYTES_MAX) return null; // [HS-7] 512 to 65,507 bytes
  const share = shares.get(KEM_X25519_ML_KEM_768) ?? null;
  const ticketShare = shares.get(KEM_X25519) ?? null;
  return { random, versions, suites, share, ticketShare, largestDatagram, parameters, extensions };
}

export function encodeServerHello(hello: ServerHello): Uint8Array {
  return new MessageWriter()
    .bytes(hello.random)
    .u32(hello.version)
    .u8(hello.suite)
    .u8(hello.kem)
    .vector(hello.ciphertext)
    .extensions(hello.extensions)
    .finish(MessageType.SERVER_HELLO);
}

/** Reads the body of a SERVER_HELLO. Null when it is malformed. [HS-2] */
export function decodeServerHello(body: Uint8Array): ServerHello | null {
  const cursor = cursorOver(body);
  const random = readBytes(cursor, RANDOM_BYTES);
  const version = readU32(cursor);
  const suite = cursor.u8();
  const kem = cursor.u8();
  const ciphertext = readVector(cursor);
  const extensions = readExtensions(cursor);
  return extensions === null ? null : { random, version, suite, kem, ciphertext, extensions };
}

// ---- parameters ----

/** An endpoint's parameters, with one that does not exist among them. [FRM-14] */
export function encodeGreasedParameters(parameters: TransportParameters, random: RandomSource): Uint8Array {
  const bytes = randomBytes(random, 2 + GREASE_VALUE_BYTES_MAX);
  const grease: GreasedParameter = {
    id: 0x1f + 0x20 * bytes[0],
    value: bytes.subarray(2, 2 + (bytes[1] % (GREASE_VALUE_BYTES_MAX + 1))),
  };
  return encodeParameters(parameters, grease);
}

/** What the server's PARAMETERS says. */
export interface ParametersMessage {
  readonly parameters: TransportParameters;
  readonly extensions: Extensions;
}

/** The server's PARAMETERS message. */
export function encodeParametersMessage(
  { parameters, extensions }: ParametersMessage,
  random: RandomSource,
): Uint8Array {
  return new MessageWriter()
    .vector(encodeGreasedParameters(parameters, random))
    .extensions(extensions)
    .finish(MessageType.PARAMETERS);
}

/** Reads the body of the server's PARAMETERS; a close code when it is malformed. */
export function decodeParametersMessage(body: Uint8Array): ParametersMessage | CloseCode {
  const cursor = cursorOver(body);
  const bytes = readVector(cursor);
  const extensions = readExtensions(cursor);
  if (extensions === null) return CloseCode.CRYPTO_ERROR;
  const parameters = decodeParameters(bytes, 'server');
  return typeof parameters === 'number' ? parameters : { parameters, extensions };
}

// ---- transcript ----

/**
 * The running SHA-256 over all that both sides must have seen alike: how the client's first packet looked, then every message,
 * with its type and length, in the order in which the handshake sends them. [HS-8]
 */
export class Transcript {
  private readonly running: Hash;

  /**
   * @param pinned - whether the client pins the server's identity
   * @param firstDestinationId - destination id of the client's first packet
   * @param retrySourceId - source id of the Retry that the client followed; null without one
   */
  constructor(pinned: boolean, firstDestinationId: Uint8Array, retrySourceId: Uint8Array | null = null) {
    this.running = createHash('sha256').update(LABEL);
    this.running.update(Uint8Array.of(pinned ? 1 : 0, firstDestinationId.length)).update(firstDestinationId);
    const retry = retrySourceId ?? NO_BYTES;
    this.running.update(Uint8Array.of(retry.length)).update(retry);
  }

  /** Takes in a whole message. */
  add(message: Uint8Array): this {
    this.running.update(message);
    return this;
  }

  /** The hash up to here. */
  hash(): Uint8Array {
    return this.running.copy().digest();
  }
}

/**
 * IDENTITY and SIGNATURE of an identity, which the transcript takes in: what is signed is the transcript up to the former. [HS-11]
 * @param mlDsa - what a hybrid identity's second signature is computed by
 */
export function proveIdentity(
  identity: Identity,
  signer: Signer,
  transcript: Transcript,
  mlDsa: MlDsa,
): Uint8Array[] {
  const shown = encodeMessage(MessageType.IDENTITY, identity.publicKey);
  const value = identity.sign(signer, transcript.add(shown).hash(), mlDsa);
  const signature = encodeMessage(MessageType.SIGNATURE, value);
  transcript.add(signature);
  return [shown, signature];
}

// ---- fields ----

/** Collects the fields of a message. */
export class MessageWriter {
  private readonly parts: Uint8Array[] = [];
  private length = 0;

  u8(value: number): this {
    return this.bytes(Uint8Array.of(value));
  }

  u16(value: number): this {
    return this.bytes(Uint8Array.of(value >> 8, value));
  }

  u32(value: number): this {
    return this.bytes(Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value));
  }

  bytes(value: Uint8Array): this {
    this.parts.push(value);
    this.length += value.length;
    return this;
  }

  /** `length u16`, then the bytes. */
  vector(value: Uint8Array): this {
    return this.u16(value.length).bytes(value);
  }

  /** One after the other: `id u16, length u16, bytes`. */
  extensions(extensions: Extensions): this {
    for (const [id, value] of extensions) this.u16(id).vector(value);
    return this;
  }

  /** The message, with its type and length in front. */
  finish(type: MessageType): Uint8Array {
    const message = new Uint8Array(MESSAGE_HEADER_BYTES + this.length);
    message[0] = type;
    message[1] = this.length >> 8;
    message[2] = this.length;
    let at = MESSAGE_HEADER_BYTES;
    for (const part of this.parts) {
      message.set(part, at);
      at += part.length;
    }
    return message;
  }
}

function cursorOver(bytes: Uint8Array): ByteCursor {
  const cursor = new ByteCursor();
  cursor.reset(bytes, 0, bytes.length);
  return cursor;
}

function readU16(cursor: ByteCursor): number {
  return cursor.u8() * 2 ** 8 + cursor.u8();
}

function readU32(cursor: ByteCursor): number {
  return readU16(cursor) * 2 ** 16 + readU16(cursor);
}

/** The next `length` bytes, a view; empty when they are not there, and the cursor has failed. */
function readBytes(cursor: ByteCursor, length: number): Uint8Array {
  const start = cursor.skip(length);
  return cursor.failed ? NO_BYTES : cursor.buffer.subarray(start, start + length);
}

/** `length u16`, then as many bytes. */
function readVector(cursor: ByteCursor): Uint8Array {
  return readBytes(cursor, readU16(cursor));
}

/** Reads the extensions up to the end of a message, those that nobody knows too. Null when one is cut short or an id comes twice. [HS-3] */
function readExtensions(cursor: ByteCursor): Extensions | null {
  if (cursor.left === 0) return cursor.failed ? null : NO_EXTENSIONS;
  const extensions = new Map<number, Uint8Array>();
  while (cursor.left > 0) {
    const id = readU16(cursor);
    const value = readVector(cursor);
    if (cursor.failed || extensions.has(id)) return null;
    extensions.set(id, value);
  }
  return cursor.failed ? null : extensions;
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

export const NO_EXTENSIONS: Extensions = new Map();
export const ExtensionId = {
  /** In CLIENT_HELLO a ticket; in SERVER_HELLO, empty: it is taken. [HS-33] */
  TICKET: 0x0001,
  /** In CLIENT_HELLO, its last: what proves that the client has the ticket's key. [HS-33] */
  BINDER: 0x0002,
  /** In CLIENT_HELLO, empty: there is early data; in PARAMETERS: it is taken. [HS-34] */
  EARLY_DATA: 0x0003,
  /** In PARAMETERS: the server asks for the client's identity. [HS-27] */
  CLIENT_IDENTITY: 0x0004,
  /** In PARAMETERS: the server's application decides whether the client is let in. [HS-44] */
  ADMISSION: 0x0005,
  /** In CLIENT_HELLO: what each suite costs the client. [HS-61] */
  SUITE_COSTS: 0x0006,
} as const;
/** Most bytes that the messages of one packet number space take together. [FRM-11] */
export const MESSAGES_BYTES_MAX = 16_384;
/** Most bytes of a PAYLOAD. */
export const PAYLOAD_BYTES_MAX = 8_192;
/** X25519 with ML-KEM-768. */
export const KEM_X25519_ML_KEM_768 = 0x01;
/** X25519, with a ticket only. [HS-50] */
export const KEM_X25519 = 0x02;
export const RANDOM_BYTES = 32;
/** Random bytes that greasing takes. */
export const GREASE_BYTES = 16;
/** Most items of a list in a hello. */
const LIST_ITEMS_MAX = 16;
const GREASE_VALUE_BYTES_MAX = 7;
const MESSAGE_HEADER_BYTES = 3;
const LABEL = Buffer.from('jsp1 handshake');
