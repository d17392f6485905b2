import { FrameType } from '../frame-type.ts';
import type { FrameWriter } from '../frame-writer.ts';
import { varintSize } from '../varint.ts';

export function cryptoHeaderSize(offset: number, total: number, length: number): number {
  return 1 + varintSize(offset) + varintSize(total) + varintSize(length);
}

export function writeCryptoHeader(w: FrameWriter, offset: number, total: number, length: number): void {
  w.u8(FrameType.CRYPTO);
  w.varint(offset);
  w.varint(total);
  w.varint(length);
  w.sent.part(FrameType.CRYPTO, 0, 0, offset, length);
}

export function writeHandshakeDone(w: FrameWriter): void {
  w.u8(FrameType.HANDSHAKE_DONE);
  w.sent.plain(FrameType.HANDSHAKE_DONE);
}

export function newTokenSize(token: Uint8Array): number {
  return 1 + varintSize(token.length) + token.length;
}

export function writeNewToken(w: FrameWriter, token: Uint8Array): void {
  w.u8(FrameType.NEW_TOKEN);
  w.varint(token.length);
  w.bytes(token);
}

export function ticketSize(lifetimeSeconds: number, ticket: Uint8Array): number {
  return 1 + varintSize(lifetimeSeconds) + 16 + varintSize(ticket.length) + ticket.length;
}

/** @param nonce - 16 bytes */
export function writeTicket(
  w: FrameWriter,
  lifetimeSeconds: number,
  nonce: Uint8Array,
  ticket: Uint8Array,
): void {
  w.u8(FrameType.TICKET);
  w.varint(lifetimeSeconds);
  w.bytes(nonce);
  w.varint(ticket.length);
  w.bytes(ticket);
}
