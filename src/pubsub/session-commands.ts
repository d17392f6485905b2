/** The commands by which a client says who it is, and what a broker tells a whole connection: HELLO, WELCOME, RENEW, RENEWED [BRK-46], and NOTICE [BRK-47]. */

import { isUtf8 } from 'node:buffer';
import {
  Command,
  encodeBare,
  encodePlain,
  HEADER_BYTES,
  HELLO_BYTES_MIN,
  NOTICE_TEXT_BYTES_MAX,
  WELCOME_BYTES,
} from './command.ts';

/** The version of these commands. */
export const BROKER_PROTOCOL_VERSION = 1;
export const SESSION_NAME_BYTES_MAX = 255;
/** An expiry that never comes. */
export const EXPIRY_NEVER = 0xffff_ffff;

/** How a client proves who it is. */
export const AuthMethod = { NONE: 0, IDENTITY: 1, API_KEY: 2, JWT: 3 } as const;
export type AuthMethod = (typeof AuthMethod)[keyof typeof AuthMethod];

export interface Hello {
  readonly version: number;
  /** What an earlier session of that name held is not wanted. */
  readonly cleanStart: boolean;
  /** Topic aliases that the client would like to use on a stream. */
  readonly aliases: number;
  /** Reserved: bits that both have to have; 0. */
  readonly capabilities: number;
  /** How long the session outlives its connection, in ms; {@link EXPIRY_NEVER}. */
  readonly expiryMs: number;
  readonly method: AuthMethod;
  /** Empty: the session ends with the connection. */
  readonly session: string;
  readonly credentials: Uint8Array;
}

export interface Welcome {
  readonly version: number;
  /** The broker still had the session. */
  readonly isPresent: boolean;
  /** Another number each time a session of this name begins. */
  readonly epoch: number;
  /** The last id that the broker has taken in the sequence of each class; 0: none. */
  readonly lastIds: readonly number[];
  /** What the session's expiry is: what was asked for, or the most that the broker allows. */
  readonly expiryMs: number;
  readonly aliases: number;
  readonly messageBytesMax: number;
  readonly filtersMax: number;
  /** Wall clock of the broker, ms since 1970. */
  readonly serverTimeMs: number;
  /** How long the credentials are good for, in ms; 0: without end. */
  readonly credentialsMs: number;
}

/** What a broker tells without having been asked. */
export const NoticeCode = {
  /** It closes in so many ms; text: other URLs, one a line. */
  SHUTTING_DOWN: 1,
  /** The credentials are good for so many ms more. */
  CREDENTIALS_EXPIRE: 2,
  /** A subscription is not allowed any more; text: its filter. */
  REVOKED: 3,
  /** So many messages of the client were not taken; text: for which limit. */
  LIMITED: 4,
  /** Nothing is stored at present. */
  STORE_READ_ONLY: 5,
  /** So many messages were not taken because the client may not publish them; text: the last topic. */
  NOT_AUTHORIZED: 6,
} as const;
export type NoticeCode = (typeof NoticeCode)[keyof typeof NoticeCode];

export interface Notice {
  readonly code: number;
  readonly value: number;
  readonly text: string;
}

/** version u8, flags u8, aliases u16, capabilities u32, expiry u32, method u8, name length u8, credentials length u16, name, credentials */
export function encodeHello(id: number, hello: Hello): Buffer {
  const name = Buffer.from(hello.session);
  if (name.length > SESSION_NAME_BYTES_MAX) {
    throw new RangeError(`the name of a session is at most ${SESSION_NAME_BYTES_MAX} bytes`);
  }
  const out = encodeBare(Command.HELLO, id, HELLO_BYTES_MIN + name.length + hello.credentials.length);
  out[8] = hello.version;
  out[9] = hello.cleanStart ? CLEAN_START : 0;
  out.writeUInt16BE(hello.aliases, 10);
  out.writeUInt32BE(hello.capabilities, 12);
  out.writeUInt32BE(hello.expiryMs, 16);
  out[20] = hello.method;
  out[21] = name.length;
  out.writeUInt16BE(hello.credentials.length, 22);
  out.set(name, HELLO_END);
  out.set(hello.credentials, HELLO_END + name.length);
  return out;
}

/** The HELLO that a reader found to be one; null when its body is malformed. */
export function decodeHello(command: Uint8Array): Hello | null {
  const bytes = viewOf(command);
  const nameEnd = HELLO_END + bytes[21];
  const end = nameEnd + bytes.readUInt16BE(22);
  const name = bytes.subarray(HELLO_END, nameEnd);
  if (end !== bytes.length || (bytes[9] & ~CLEAN_START) !== 0 || bytes[20] > AuthMethod.JWT) return null;
  if (!isUtf8(name) || CONTROL.test(name.toString())) return null;
  return {
    version: bytes[8],
    cleanStart: bytes[9] === CLEAN_START,
    aliases: bytes.readUInt16BE(10),
    capabilities: bytes.readUInt32BE(12),
    expiryMs: bytes.readUInt32BE(16),
    method: bytes[20] as AuthMethod,
    session: name.toString(),
    credentials: bytes.subarray(nameEnd, end),
  };
}

/**
 * version u8, flags u8, aliases u16, epoch u64, four last ids u32, expiry u32, message bytes u32, filters u32, server time u64,
 * credentials ms u32
 */
export function encodeWelcome(id: number, welcome: Welcome): Buffer {
  const out = encodeBare(Command.WELCOME, id, WELCOME_BYTES);
  out[8] = welcome.version;
  out[9] = welcome.isPresent ? SESSION_PRESENT : 0;
  out.writeUInt16BE(welcome.aliases, 10);
  out.writeBigUInt64BE(BigInt(welcome.epoch), 12);
  for (let i = 0; i < SEQUENCES; i++) out.writeUInt32BE(welcome.lastIds[i], 20 + 4 * i);
  out.writeUInt32BE(welcome.expiryMs, 36);
  out.writeUInt32BE(welcome.messageBytesMax, 40);
  out.writeUInt32BE(welcome.filtersMax, 44);
  out.writeBigUInt64BE(BigInt(Math.floor(welcome.serverTimeMs)), 48);
  out.writeUInt32BE(welcome.credentialsMs, 56);
  return out;
}

export function decodeWelcome(command: Uint8Array): Welcome | null {
  const bytes = viewOf(command);
  const epoch = Number(bytes.readBigUInt64BE(12));
  const serverTimeMs = Number(bytes.readBigUInt64BE(48));
  if ((bytes[9] & ~SESSION_PRESENT) !== 0) return null;
  if (!Number.isSafeInteger(epoch) || !Number.isSafeInteger(serverTimeMs)) return null;
  return {
    version: bytes[8],
    isPresent: bytes[9] === SESSION_PRESENT,
    aliases: bytes.readUInt16BE(10),
    epoch,
    lastIds: [20, 24, 28, 32].map((at) => bytes.readUInt32BE(at)),
    expiryMs: bytes.readUInt32BE(36),
    messageBytesMax: bytes.readUInt32BE(40),
    filtersMax: bytes.readUInt32BE(44),
    serverTimeMs,
    credentialsMs: bytes.readUInt32BE(56),
  };
}

/** method u8, credentials */
export function encodeRenew(id: number, method: AuthMethod, credentials: Uint8Array): Buffer {
  return encodePlain(Command.RENEW, id, Buffer.concat([Buffer.of(method), credentials]));
}

export function decodeRenew(command: Uint8Array): { method: AuthMethod; credentials: Uint8Array } | null {
  const method = command[HEADER_BYTES];
  if (method > AuthMethod.JWT) return null;
  return { method: method as AuthMethod, credentials: command.subarray(HEADER_BYTES + 1) };
}

/** @param credentialsMs - how long they are good for; 0: without end */
export function encodeRenewed(id: number, credentialsMs: number): Buffer {
  const out = encodeBare(Command.RENEWED, id, 4);
  out.writeUInt32BE(credentialsMs, HEADER_BYTES);
  return out;
}

export function decodeRenewed(command: Uint8Array): number {
  return viewOf(command).readUInt32BE(HEADER_BYTES);
}

/** LEAVE: the session outlives its connection for so long and no longer; 0: it is over with it. */
export function encodeLeave(expiryMs: number): Buffer {
  if (expiryMs === 0) return encodePlain(Command.LEAVE, 0);
  const out = encodeBare(Command.LEAVE, 0, 4);
  out.writeUInt32BE(expiryMs, HEADER_BYTES);
  return out;
}

/** How long the session is to outlive its connection. */
export function decodeLeave(command: Uint8Array): number {
  return command.length === HEADER_BYTES ? 0 : viewOf(command).readUInt32BE(HEADER_BYTES);
}

/** code u16, value u64, text; a text that is too long is cut */
export function encodeNotice({ code, value, text }: Notice): Buffer {
  const out = encodeBare(Command.NOTICE, 0, NOTICE_HEAD_BYTES + NOTICE_TEXT_BYTES_MAX);
  out.writeUInt16BE(code, HEADER_BYTES);
  out.writeBigUInt64BE(BigInt(Math.min(Math.ceil(value), Number.MAX_SAFE_INTEGER)), HEADER_BYTES + 2);
  const textAt = HEADER_BYTES + NOTICE_HEAD_BYTES;
  return out.subarray(0, textAt + out.write(text, textAt)); // never cuts a character in two
}

export function decodeNotice(command: Uint8Array): Notice {
  const bytes = viewOf(command);
  return {
    code: bytes.readUInt16BE(HEADER_BYTES),
    value: Number(bytes.readBigUInt64BE(HEADER_BYTES + 2)),
    text: bytes.toString('utf8', HEADER_BYTES + NOTICE_HEAD_BYTES),
  };
}

function viewOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** A session has a sequence of ids for each class of streams. */
export const SEQUENCES = 4;
const HELLO_END = HEADER_BYTES + HELLO_BYTES_MIN;
const NOTICE_HEAD_BYTES = 10;
const CLEAN_START = 0x01;
const SESSION_PRESENT = 0x01;
/** A name is shown to people. */
const CONTROL = /\p{Cc}/u;
