/** How an application's values become payloads, and payloads values: by the codec of a publish, of a subscription, or of the client. */

import { isDetached } from '../base/bytes.ts';
import { JspError } from '../base/errors.ts';
import type { OptionCheck } from '../base/options.ts';

/**
 * Makes payloads of values and values of payloads. Both may throw: who publishes hears of it at once, and a message that cannot be decoded is told
 * by the event `undecodable` and handed to nobody. [CLT-21]
 *
 * @example
 * const celsius: Codec<number> = {
 *   encode: (value) => value.toFixed(1),
 *   decode: (payload) => Number.parseFloat(payload.toString()),
 * };
 */
export interface Codec<T> {
  /** Goes with each message that is published with this codec, as its content type. */
  readonly contentType?: string | undefined;
  encode(value: T): Uint8Array | string;
  /** @param payload - what came; it belongs to the receiver */
  decode(payload: Buffer): T;
}

/**
 * JSON. What is no JSON in UTF-8 cannot be decoded. An empty payload, which removes a last value, stands for undefined.
 *
 * @param check - what makes a `T` of what was parsed, or throws; default: taken as it is
 * @example
 * const readings = jsonCodec((value) => readingSchema.parse(value));
 */
export function jsonCodec<T = unknown>(check?: (value: unknown) => T): Codec<T> {
  return {
    contentType: 'application/json',
    encode: encodeJson,
    decode: (payload) => {
      if (payload.length === 0) return undefined as T;
      const value: unknown = JSON.parse(UTF8.decode(payload));
      return check === undefined ? (value as T) : check(value);
    },
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

export function encodeJson(value: unknown): string {
  if (value === undefined) return '';
  const json: string | undefined = JSON.stringify(value);
  if (json === undefined) throw new TypeError(`JSON has nothing for ${typeof value}`);
  return json;
}

export function encodeText(value: string): string {
  if (typeof value !== 'string') throw new TypeError(`text must be a string, not ${typeof value}`);
  return value;
}

/** What an option `codec` may be. */
export const codecOption: OptionCheck = (value) => {
  const { encode, decode } = (value ?? {}) as Partial<Codec<unknown>>;
  return typeof encode === 'function' && typeof decode === 'function'
    ? null
    : 'a codec: an object with encode and decode';
};

/**
 * The payload that `codec` makes of `value`.
 *
 * @throws {JspError} `ERR_JSP_PAYLOAD_INVALID`
 */
export function encodeWith<T>(codec: Pick<Codec<T>, 'encode'>, value: T): Uint8Array | string {
  let payload: unknown;
  try {
    payload = codec.encode(value);
  } catch (error) {
    throw payloadInvalid(`The value cannot be encoded: ${textOfThrown(error)}`, error);
  }
  if (typeof payload === 'string' || (payload instanceof Uint8Array && !isDetached(payload))) return payload;
  const what =
    payload instanceof Uint8Array
      ? 'the ArrayBuffer of what the codec made of it is detached'
      : 'the codec made neither a Uint8Array nor a string of it';
  throw payloadInvalid(`The value cannot be encoded: ${what}`);
}

/**
 * Refuses what is no payload, and bytes that are gone: as an empty message they would take a last value away.
 *
 * @param hint - what there is for other values
 */
export function assertPayload(payload: unknown, hint = ''): asserts payload is Uint8Array | string {
  if (typeof payload === 'string') return;
  if (!(payload instanceof Uint8Array))
    throw new TypeError(`payload must be a Uint8Array or a string${hint}`);
  if (isDetached(payload)) throw new TypeError('the ArrayBuffer of payload is detached: its bytes are gone');
}

/**
 * What `decode` makes of a payload.
 *
 * @throws {JspError} `ERR_JSP_PAYLOAD_INVALID`
 */
export function decodeWith<P, T>(decode: (payload: P) => T, payload: P): T {
  try {
    return decode(payload);
  } catch (error) {
    throw payloadInvalid(`The payload cannot be decoded: ${textOfThrown(error)}`, error);
  }
}

function payloadInvalid(message: string, cause?: unknown): JspError {
  return new JspError('ERR_JSP_PAYLOAD_INVALID', message, { cause });
}

/** What can be said of something thrown, which may be anything. */
export function textOfThrown(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message : error); // which need not be a text either
  } catch {
    return 'something that cannot be printed';
  }
}

/** Refuses what is no UTF-8, rather than to replace it. */
const UTF8 = new TextDecoder('utf-8', { fatal: true });
