import { isUtf8 } from 'node:buffer';

/** How `jsp sub` shows a message. */
export interface MessageFormat {
  topics?: boolean;
  json?: boolean;
}

/** A message as a line, without the newline behind it. */
export function messageLine(topic: string, payload: Buffer, format: MessageFormat): Uint8Array {
  if (format.json) return Buffer.from(JSON.stringify(jsonMessage(topic, payload)));
  const text = onOneLine(payload);
  return format.topics ? Buffer.concat([Buffer.from(`${topic}\t`), text]) : text;
}

/** Text as `payload`; bytes that are no UTF-8 as `base64`, so that nothing is lost. */
function jsonMessage(topic: string, payload: Buffer): object {
  if (isUtf8(payload)) return { topic, payload: payload.toString() };
  return { topic, base64: payload.toString('base64') };
}

/**
 * The payload with its control characters written as escapes: one message stays one line, and cannot send commands to the terminal it is
 * printed on. Most payloads have none, and stay as they are.
 */
function onOneLine(payload: Buffer): Uint8Array {
  if (!hasControls(payload)) return payload;
  return Buffer.from(payload.toString().replace(CONTROLS, escaped));
}

function hasControls(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte < 0x20 ? byte !== TAB : byte === DELETE) return true;
    if (byte === C1_LEAD && bytes[i + 1] < 0xa0) return true;
  }
  return false;
}

function escaped(character: string): string {
  return NAMED[character] ?? `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
}

const TAB = 0x09;
const DELETE = 0x7f;
/** The first of the two bytes of U+0080 to U+00BF in UTF-8. */
const C1_LEAD = 0xc2;
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters to be found
const CONTROLS = /[\x00-\x08\x0a-\x1f\x7f-\x9f]/g;
const NAMED: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r' };
