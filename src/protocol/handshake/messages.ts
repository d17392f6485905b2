import { ByteCursor } from '../wire/byte-cursor.ts';

/** Handshake messages: `type u8, length u16, body bytes[length]`. [HS-1] */
export const MessageType = {
  CLIENT_HELLO: 0x01,
  SERVER_HELLO: 0x02,
  PARAMETERS: 0x03,
  IDENTITY: 0x04,
  SIGNATURE: 0x05,
  FINISHED: 0x06,
} as const;
export type MessageType = (typeof MessageType)[keyof typeof MessageType];

/** Most bytes that the messages of one packet number space take together. [FRM-11] */
export const MESSAGES_BYTES_MAX = 16_384;

/** A message as it came: views of the received bytes. */
export interface Message {
  /** Type, length and body: what the transcript takes in. */
  readonly whole: Uint8Array;
  readonly body: Uint8Array;
}

/** Takes the bytes of one space apart. Null unless they are exactly messages of these types, in this order. [HS-2] */
export function splitMessages(bytes: Uint8Array, types: readonly MessageType[]): Message[] | null {
  if (bytes.length > MESSAGES_BYTES_MAX) return null;
  const cursor = new ByteCursor();
  cursor.reset(bytes, 0, bytes.length);
  const messages: Message[] = [];
  for (const type of types) {
    const start = cursor.at;
    const actualType = cursor.u8();
    const body = readVector(cursor);
    if (cursor.failed || actualType !== type) return null;
    messages.push({ whole: bytes.subarray(start, cursor.at), body });
  }
  return cursor.left === 0 ? messages : null;
}

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

export function readU16(cursor: ByteCursor): number {
  return cursor.u8() * 2 ** 8 + cursor.u8();
}

export function readU32(cursor: ByteCursor): number {
  return readU16(cursor) * 2 ** 16 + readU16(cursor);
}

/** The next `length` bytes, a view; empty when they are not there, and the cursor has failed. */
export function readBytes(cursor: ByteCursor, length: number): Uint8Array {
  const start = cursor.skip(length);
  return cursor.failed ? NOTHING : cursor.buffer.subarray(start, start + length);
}

/** `length u16`, then as many bytes. */
export function readVector(cursor: ByteCursor): Uint8Array {
  return readBytes(cursor, readU16(cursor));
}

/**
 * Reads the extensions up to the end of a message: `id u16, length u16, bytes`. No extension is known yet, so all are passed
 * over. False when one is cut short or an id comes twice. [HS-3]
 */
export function skipExtensions(cursor: ByteCursor): boolean {
  const seen = new Set<number>();
  while (cursor.left > 0) {
    const id = readU16(cursor);
    readVector(cursor);
    if (cursor.failed || seen.has(id)) return false;
    seen.add(id);
  }
  return !cursor.failed;
}

const MESSAGE_HEADER_BYTES = 3;
const NOTHING = new Uint8Array(0);
