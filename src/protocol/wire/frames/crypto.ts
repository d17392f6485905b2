/**
 * Frames around the handshake:
 *
 *     CRYPTO          0x06  offset varint, total varint, length varint, bytes[length]
 *     HANDSHAKE_DONE  0x07
 *     NEW_TOKEN       0x08  length varint, bytes[length]
 *     TICKET          0x09  lifetime varint (seconds), nonce bytes[16], length varint, bytes[length]
 */

import { type FrameKind, type FrameReader, InPackets } from '../frame-reader.ts';
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
  w.data(token);
  w.sent.plain(FrameType.NEW_TOKEN);
}

export function ticketSize(lifetimeSeconds: number, ticket: Uint8Array): number {
  return 1 + varintSize(lifetimeSeconds) + NONCE_BYTES + varintSize(ticket.length) + ticket.length;
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
  w.data(ticket);
  w.sent.plain(FrameType.TICKET);
}

const crypto: FrameKind = {
  type: FrameType.CRYPTO,
  read: readCrypto,
  packets: InPackets.ALL_BUT_0RTT,
  isAckEliciting: true,
  json: (r) => `{"frame_type":"crypto","offset":${r.offset},"length":${r.dataLength}}`,
};

const handshakeDone: FrameKind = {
  type: FrameType.HANDSHAKE_DONE,
  read: readNothing,
  packets: InPackets.ONE_RTT,
  isAckEliciting: true,
  json: () => '{"frame_type":"handshake_done"}',
};

const newToken: FrameKind = {
  type: FrameType.NEW_TOKEN,
  read: readToken,
  packets: InPackets.ONE_RTT,
  isAckEliciting: true,
  json: (r) => `{"frame_type":"new_token","token":{"length":${r.dataLength}}}`,
};

const ticket: FrameKind = {
  type: FrameType.TICKET,
  read: readTicket,
  packets: InPackets.APPLICATION,
  isAckEliciting: true,
  json: (r) => `{"frame_type":"ticket","lifetime":${r.lifetime},"length":${r.dataLength}}`,
};

export const CRYPTO_FRAMES: readonly FrameKind[] = [crypto, handshakeDone, newToken, ticket];

function readCrypto(r: FrameReader): void {
  r.offset = r.varint();
  r.total = r.varint();
  r.data();
}

function readNothing(): void {}

function readToken(r: FrameReader): void {
  r.data();
}

function readTicket(r: FrameReader): void {
  r.lifetime = r.varint();
  r.nonceStart = r.skip(NONCE_BYTES);
  r.data();
}

const NONCE_BYTES = 16;
