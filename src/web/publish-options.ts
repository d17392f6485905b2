/** What a publish may say beside topic and payload, and the will of a client: as the native client has it, as far as a browser can. */

import { JspError } from '../base/errors.ts';
import { anything, checkOptions, type OptionTable, text, whole } from '../base/options.ts';
import {
  GRACE_MS,
  PUBLISH_OPTIONS as NATIVE_PUBLISH_OPTIONS,
  type PublishOptions as NativePublishOptions,
} from '../client/publish-options.ts';
import { HEADER_KEY_BYTES_MAX, PROPERTIES_BYTES_MAX, SHORT_BYTES_MAX } from '../pubsub/properties.ts';
import { TOPIC_BYTES_MAX, utf8Bytes } from '../pubsub/topic.ts';
import type { Saying } from './frames.ts';
import { type Codec, fieldsOf, toBase64, toBytes } from './payload.ts';

export interface PublishOptions<T = unknown>
  extends Omit<NativePublishOptions, 'priority' | 'compression' | 'codec'> {
  /** What makes the payload. Default: that of the client. */
  codec?: Codec<T> | undefined;
}

/** A message that the broker publishes when the session of this client ends without a goodbye, or is without a connection for long enough. */
export interface Will<T = unknown>
  extends Omit<PublishOptions<T>, 'signal' | 'owned' | 'messageId' | 'status'> {
  readonly topic: string;
  readonly payload: T | Uint8Array | string;
  /** How long after the end of the connection, in ms, if the client is not back by then. Default 0. The end of the session does not wait for it. */
  readonly delayMs?: number | undefined;
}

/** @throws {JspError} `ERR_JSP_OPTION_INVALID` */
export function checkPublishOptions(options: PublishOptions): void {
  checkOptions('publish', options, PUBLISH_OPTIONS);
  checkLengths('publish', options);
}

/** @throws {JspError} `ERR_JSP_OPTION_INVALID` */
export function checkWill(will: Will): void {
  checkOptions('setWill', will, WILL_OPTIONS);
  checkLengths('setWill', will);
}

/**
 * Refuses what the gateway would, of which a publish with QoS 0 would never hear.
 *
 * @param caller - the function whose options these are, for the message
 * @throws {JspError} `ERR_JSP_OPTION_INVALID`
 */
export function checkLengths(caller: string, options: PublishOptions): void {
  let total = NUMBERS_BYTES_MAX;
  for (const name of TEXTS) {
    const value = options[name];
    if (value === undefined) continue;
    const bytes = value instanceof Uint8Array ? value.length : utf8Bytes(value);
    const least = name === 'replyTo' || name === 'messageId' ? 1 : 0;
    const most = name === 'replyTo' ? TOPIC_BYTES_MAX : SHORT_BYTES_MAX;
    if (bytes < least || bytes > most) {
      throw invalid(caller, `${name} must have ${least} to ${most} bytes, not ${bytes}`);
    }
    total += PROPERTY_BYTES + bytes;
  }
  for (const [name, value] of Object.entries(options.headers ?? {})) {
    const bytes = utf8Bytes(name);
    if (bytes > HEADER_KEY_BYTES_MAX)
      throw invalid(caller, `a header's name is at most ${HEADER_KEY_BYTES_MAX} bytes`);
    total += PROPERTY_BYTES + 1 + bytes + utf8Bytes(value);
  }
  if (total > PROPERTIES_BYTES_MAX) {
    throw invalid(
      caller,
      `the properties of a message are at most ${PROPERTIES_BYTES_MAX} bytes, headers included`,
    );
  }
}

/** A message as the gateway is told it: all but its type, and the time that it has left. */
export function messageMembers(
  topic: string,
  payload: Uint8Array | string,
  options: PublishOptions,
): Omit<Saying, 'type'> {
  const { correlation, owned, headers, signal: _, codec: __, ttlMs: ___, ...said } = options;
  const bytes = typeof correlation === 'string' ? toBytes(correlation) : correlation;
  return {
    topic,
    ...fieldsOf(payload),
    qos: 0,
    ...said,
    // It may wait, and the object is the caller's.
    headers: headers && { ...headers },
    correlation: bytes === undefined ? undefined : toBase64(bytes),
    ownedMs: owned === undefined ? undefined : (owned.graceMs ?? GRACE_MS),
  };
}

const { priority: _priority, compression: _compression, ...KEPT } = NATIVE_PUBLISH_OPTIONS;
export const PUBLISH_OPTIONS: OptionTable<PublishOptions> = KEPT;
const {
  signal: _signal,
  owned: _owned,
  messageId: _messageId,
  status: _status,
  ...OF_WILL
} = PUBLISH_OPTIONS;
const WILL_OPTIONS: OptionTable<Will> = {
  ...OF_WILL,
  topic: text,
  payload: anything,
  delayMs: whole(0, 2 ** 32 - 1),
};
const TEXTS = ['replyTo', 'correlation', 'contentType', 'messageId', 'traceparent', 'key'] as const;
/** Type and length of one. */
const PROPERTY_BYTES = 3;
/** Of all that are numbers: time to live, class, status, how long it is owned. */
const NUMBERS_BYTES_MAX = 7 + 4 + 5 + 7;

function invalid(caller: string, what: string): JspError {
  return new JspError('ERR_JSP_OPTION_INVALID', `${caller}: ${what}`);
}
