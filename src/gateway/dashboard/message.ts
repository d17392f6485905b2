/** A message as the gateway tells of it in an event, and as it is shown. */
import { printable } from '../../base/errors.ts';
import type { ServerEvent } from './event-stream.ts';

export interface LiveMessage {
  readonly topic: string;
  readonly at: number;
  readonly data: Uint8Array;
  readonly retained: boolean;
  /** All else that it has, as text. */
  readonly properties: Readonly<Record<string, string>>;
}

/** Null when the event is none that can be understood. */
export function messageOf({ data }: ServerEvent): LiveMessage | null {
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(data) as Record<string, unknown>;
  } catch {
    return null;
  }
  const { base64, json, retained, text, topic, ...others } = value;
  if (typeof topic !== 'string') return null;
  const properties = Object.fromEntries(
    Object.entries(others).map(([name, each]) => [
      name,
      typeof each === 'string' ? each : JSON.stringify(each),
    ]),
  );
  return {
    topic,
    at: Date.now(),
    data: payloadOf(text, json, base64),
    retained: retained === true,
    properties,
  };
}

function payloadOf(text: unknown, json: unknown, base64: unknown): Uint8Array {
  if (typeof base64 === 'string') {
    try {
      return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    } catch {
      return new Uint8Array();
    }
  }
  if (json !== undefined) return encoder.encode(JSON.stringify(json));
  return encoder.encode(typeof text === 'string' ? text : '');
}

/** What the broker itself has said, whole and as it is: what strangers have named in it is made harmless where it is shown. */
export function jsonOf({ data }: LiveMessage): unknown {
  return JSON.parse(new TextDecoder().decode(data));
}

/** A topic as the path of a URL: its levels, each escaped. Null: it has a level that means another path in a URL, however it is written. */
export function topicPath(topic: string): string | null {
  const levels = topic.split('/');
  return levels.includes('.') || levels.includes('..') ? null : levels.map(encodeURIComponent).join('/');
}

/** A payload on one line: text where it is some, else its first bytes in hex. */
export function preview({ data }: LiveMessage): string {
  const start = data.subarray(0, PREVIEW_BYTES);
  const more = data.length > PREVIEW_BYTES ? '…' : '';
  const text = decoded(start, data.length > PREVIEW_BYTES);
  if (text !== null) return printable(text) + more;
  const hex = Array.from(start.subarray(0, PREVIEW_HEX_BYTES), (byte) => byte.toString(16).padStart(2, '0'));
  return hex.join(' ') + (data.length > PREVIEW_HEX_BYTES ? ' …' : '');
}

/** A payload as text of several lines, JSON laid out; null where it is none. */
export function textOf({ data }: LiveMessage): string | null {
  const text = decoded(data.subarray(0, TEXT_BYTES_MAX), data.length > TEXT_BYTES_MAX);
  if (text === null) return null;
  if (data.length <= TEXT_BYTES_MAX && /^\s*[{[]/.test(text)) {
    try {
      return lines(JSON.stringify(JSON.parse(text), null, 2));
    } catch {
      // It only begins like JSON.
    }
  }
  return lines(text) + (data.length > TEXT_BYTES_MAX ? '\n…' : '');
}

function lines(text: string): string {
  return text.split('\n').map(printable).join('\n');
}

/** UTF-8 as text, or null; the end of a piece may be within a character. */
function decoded(data: Uint8Array, isPiece: boolean): string | null {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(data, { stream: isPiece });
    return text.includes('\0') ? null : text;
  } catch {
    return null;
  }
}

const encoder = new TextEncoder();
const PREVIEW_BYTES = 200;
const PREVIEW_HEX_BYTES = 32;
const TEXT_BYTES_MAX = 65_536;
