/** Payloads, which are bytes, in JSON: as text where they are text in UTF-8, else in base64. And how an application's values become payloads. */

import { assertPayload, encodeJson, encodeText, encodeWith } from '../client/codec.ts';

/**
 * Makes payloads of values and values of payloads. Both may throw: who publishes hears of it at once, and a message that cannot be decoded is told
 * by the event `undecodable` and handed to nobody.
 *
 * @example
 * const celsius: Codec<number> = {
 *   encode: (value) => value.toFixed(1),
 *   decode: (payload) => Number.parseFloat(new TextDecoder().decode(payload)),
 * };
 */
export interface Codec<T> {
  /** Goes with each message that is published with this codec, as its content type. */
  readonly contentType?: string | undefined;
  encode(value: T): Uint8Array | string;
  decode(payload: Uint8Array): T;
  /** The same of JSON that is parsed already, as JSON comes; without this it is written anew for {@link decode}. */
  decodeJson?(value: unknown): T;
}

/**
 * JSON. What is no JSON in UTF-8 cannot be decoded. An empty payload, which removes a last value, stands for undefined.
 *
 * @param check - what makes a `T` of what was parsed, or throws; default: taken as it is
 */
export function jsonCodec<T = unknown>(check?: (value: unknown) => T): Codec<T> {
  const checked = (value: unknown): T => (check === undefined ? (value as T) : check(value));
  return {
    contentType: 'application/json',
    encode: encodeJson,
    decode: (payload) => {
      if (payload.length === 0) return undefined as T;
      return checked(JSON.parse(UTF8.decode(payload)));
    },
    decodeJson: checked,
  };
}

/** Text in UTF-8. What is no UTF-8 cannot be decoded. */
export const textCodec: Codec<string> = {
  contentType: 'text/plain; charset=utf-8',
  encode: encodeText,
  decode: (payload) => UTF8.decode(payload),
};

/** The bytes themselves: for one subscription, or one publish, of a client that has another codec. */
export const bytesCodec: Codec<Uint8Array> = {
  encode: (value) => {
    if (!(value instanceof Uint8Array)) throw new TypeError('bytes must be a Uint8Array');
    return value;
  },
  decode: (payload) => payload,
};

/** A payload as a frame has it: one of these. */
export interface PayloadFields {
  readonly text?: string | undefined;
  readonly base64?: string | undefined;
}

/**
 * What `codec` makes of a value; without one a value that is a payload already.
 *
 * @throws {JspError} `ERR_JSP_PAYLOAD_INVALID`; a TypeError where there is no codec and it is no payload
 */
export function payloadOf(value: unknown, codec: Codec<unknown> | null): Uint8Array | string {
  if (codec === null) {
    assertPayload(value, '; for other values there are codecs');
    return value;
  }
  return encodeWith(codec, value);
}

export function fieldsOf(payload: Uint8Array | string): PayloadFields {
  return typeof payload === 'string' ? { text: payload } : { base64: toBase64(payload) };
}

export function toBytes(text: string): Uint8Array {
  return ENCODER.encode(text);
}

/** Bytes that are no UTF-8 become U+FFFD. */
export function toText(bytes: Uint8Array): string {
  return LENIENT.decode(bytes);
}

export function toBase64(bytes: Uint8Array): string {
  let binary = '';
  // So many arguments every engine takes.
  for (let i = 0; i < bytes.length; i += 8_192)
    binary += String.fromCharCode(...bytes.subarray(i, i + 8_192));
  return btoa(binary);
}

/** JSON of a value that came as JSON, however deeply it is nested: `JSON.stringify` gives up where the stack ends. */
export function toJson(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch {
    return toJsonByParts(value);
  }
}

function toJsonByParts(whole: unknown): string {
  const parts: string[] = [];
  /** What is still to be written, the next last: text as it is, or a value. */
  const rest: (string | { readonly value: unknown })[] = [{ value: whole }];
  for (let next = rest.pop(); next !== undefined; next = rest.pop()) {
    if (typeof next === 'string') {
      parts.push(next);
      continue;
    }
    const { value } = next;
    if (typeof value !== 'object' || value === null) {
      parts.push(JSON.stringify(value));
      continue;
    }
    const isList = Array.isArray(value);
    parts.push(isList ? '[' : '{');
    rest.push(isList ? ']' : '}');
    const members = Object.entries(value);
    for (let i = members.length - 1; i >= 0; i--) {
      const [name, member] = members[i];
      rest.push({ value: member }, `${i > 0 ? ',' : ''}${isList ? '' : `${JSON.stringify(name)}:`}`);
    }
  }
  return parts.join('');
}

/** @throws what `atob` does */
export function fromBase64(base64: string): Uint8Array {
  const binary = atob(base64);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

const ENCODER = new TextEncoder();
/** Refuses what is no UTF-8, rather than to replace it. A mark of the order of bytes is part of the text. */
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const LENIENT = new TextDecoder('utf-8', { ignoreBOM: true });
