/** What a publish may say beside topic and payload, and the will of a client: as the native client has it, as far as a browser can. */

import { checkOptions, type OptionTable } from '../base/options.ts';
import {
  GRACE_MS,
  PUBLISH_OPTIONS as NATIVE_PUBLISH_OPTIONS,
  type PublishOptions as NativePublishOptions,
} from '../client/publish-options.ts';
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
}

/** A message as the gateway is told it: all but its type, and the time that it has left. */
export function messageMembers(
  topic: string,
  payload: Uint8Array | string,
  options: PublishOptions,
): Omit<Saying, 'type'> {
  const { correlation, owned, signal: _, codec: __, ttlMs: ___, ...said } = options;
  const bytes = typeof correlation === 'string' ? toBytes(correlation) : correlation;
  return {
    topic,
    ...fieldsOf(payload),
    qos: 0,
    ...said,
    correlation: bytes === undefined ? undefined : toBase64(bytes),
    ownedMs: owned === undefined ? undefined : (owned.graceMs ?? GRACE_MS),
  };
}

const { priority: _priority, compression: _compression, ...KEPT } = NATIVE_PUBLISH_OPTIONS;
export const PUBLISH_OPTIONS: OptionTable<PublishOptions> = KEPT;
