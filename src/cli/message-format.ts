import { isUtf8 } from 'node:buffer';
import { mayBeUnprintable, printable, printableJson } from '../base/errors.ts';

/** How `jsp sub` shows a message. */
export interface MessageFormat {
  topics?: boolean;
  json?: boolean;
}

/** A message as a line, without the newline behind it: one message stays one line, and sends no commands to the terminal. */
export function messageLine(topic: string, payload: Buffer, format: MessageFormat): Uint8Array {
  if (format.json) return Buffer.from(printableJson(JSON.stringify(jsonMessage(topic, payload))));
  // Most payloads have nothing to escape, and stay as they are.
  const text = mayBeUnprintable(payload) ? escapedBytes(payload) : payload;
  return format.topics ? Buffer.concat([Buffer.from(`${printable(topic)}\t`), text]) : text;
}

/** Text as `payload`; bytes that are no UTF-8 as `base64`, so that nothing is lost. */
function jsonMessage(topic: string, payload: Buffer): object {
  if (isUtf8(payload)) return { topic, payload: payload.toString() };
  return { topic, base64: payload.toString('base64') };
}

function escapedBytes(payload: Buffer): Buffer {
  const text = payload.toString();
  const shown = printable(text);
  return shown === text ? payload : Buffer.from(shown);
}
