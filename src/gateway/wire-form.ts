/**
 * The bytes in which live messages go out: frames of a WebSocket (RFC 6455, section 5.2), whole and not masked as those of a server are, and server-sent events (WHATWG HTML,
 * section 9.2).
 */

import { type Position, positionText } from './subscription-request.ts';

/** FIN, and the opcode of text. */
export const TEXT_FRAME = 0x81;

export function wholeFrame(head: number, text: string): Buffer {
  const length = Buffer.byteLength(text);
  const start = length < 126 ? 2 : length < 0x1_0000 ? 4 : 10;
  const frame = Buffer.allocUnsafe(start + length);
  frame[0] = head;
  if (start === 2) frame[1] = length;
  else if (start === 4) {
    frame[1] = 126;
    frame.writeUInt16BE(length, 2);
  } else {
    frame[1] = 127;
    frame.writeUInt32BE(0, 2);
    frame.writeUInt32BE(length, 6);
  }
  frame.write(text, start);
  return frame;
}

/** @param data - one line */
export function eventOf(event: string, data: string, position: Position | null): string {
  const id = position === null ? '' : `id: ${positionText(position.epoch, position.offset)}\n`;
  return `event: ${event}\n${id}data: ${data}\n\n`;
}

/** A position without an event: who reads the stream keeps it as his last, and is told nothing. [GW-61] */
export function positionOnly({ epoch, offset }: Position): string {
  return `id: ${positionText(epoch, offset)}\n\n`;
}

/** How long to wait before the stream is asked for again. [GW-63] */
export function retryAfter(ms: number): string {
  return `retry: ${ms}\n\n`;
}

/** What keeps those in between from taking a quiet stream for a dead one. [GW-63] */
export const COMMENT = ':\n\n';
