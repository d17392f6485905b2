/** What a subscription may be asked for, and how that is said to the gateway. The names are those of the native client. */

import { JspError } from '../base/errors.ts';
import { checkOptions, type OptionTable, oneOf } from '../base/options.ts';
import type { Resumption } from '../client/settling.ts';
import {
  ACK_WAIT_MS,
  checkTogether,
  SUBSCRIBE_OPTIONS as NATIVE_SUBSCRIBE_OPTIONS,
  type SubscribeOptions as NativeSubscribeOptions,
  qosOf,
  UNACKED_MAX,
} from '../client/subscribe-options.ts';
import type { Saying } from './frames.ts';
import type { Codec } from './payload.ts';

/**
 * Where a subscription with QoS 1 begins in its log: with what comes from now on; with the first message that the log has; with the last one that matches; with the
 * last one of each topic; with the message at an offset of an epoch; with what was stored at a time or after it (ms since 1970).
 */
export type StartPosition =
  | 'new'
  | 'earliest'
  | 'last'
  | 'lastPerTopic'
  | { readonly offset: number; readonly epoch: number }
  | { readonly time: Date | number };

export interface SubscribeOptions<T = unknown>
  extends Omit<NativeSubscribeOptions, 'priority' | 'compression' | 'codec' | 'overflow' | 'from'> {
  /** With QoS 1: where it begins. Default `new`. A durable one that the broker knows goes on where it was. */
  from?: StartPosition | undefined;
  /** What makes a value of each payload. Default: that of the client. */
  codec?: Codec<T> | undefined;
  /**
   * What a full queue does, at the broker and here: `dropOldest` (default) or `dropNewest`, messages are dropped and counted; `latest`: a newer message of a topic takes the place
   * of the one that waits. A browser cannot make publishers wait. With QoS 1 nothing that a log has is dropped.
   */
  overflow?: 'dropOldest' | 'dropNewest' | 'latest' | undefined;
}

/** @throws {JspError} `ERR_JSP_OPTION_INVALID` */
export function checkSubscribeOptions(options: SubscribeOptions): void {
  checkOptions('subscribe', options, SUBSCRIBE_OPTIONS);
  checkTogether(options as NativeSubscribeOptions);
  const { from } = options;
  if (typeof from === 'object' && 'offset' in from && from.epoch === undefined) {
    throw new JspError('ERR_JSP_OPTION_INVALID', 'subscribe: from an offset goes with its epoch');
  }
}

/**
 * What `subscribe` says.
 *
 * @param resumption - where to go on, of a subscription that has lost its connection; null the first time, and where nothing is known
 * @param isAgain - it is not the first time
 */
export function subscribeSaying(
  filters: readonly string[],
  options: SubscribeOptions,
  resumption: Resumption | null,
  isAgain: boolean,
): Saying {
  const { retained = 'send', overflow, noLocal, maxRate, queueMessages, queueBytes } = options;
  const plain = {
    type: 'subscribe',
    filters,
    qos: qosOf(options as NativeSubscribeOptions),
    ...{
      overflow,
      noLocal,
      maxRate,
      queueMessages,
      queueBytes,
      class: options.class,
      keyOrder: options.keyOrder,
    },
    retained: retained === 'ifNew' && isAgain ? 'none' : retained,
  };
  if (plain.qos === 0) return plain;
  const { durable, expiryMs, backoffMs, maxDeliveries, deadLetter } = options;
  return {
    ...plain,
    ...{ durable, backoffMs, maxDeliveries, deadLetter },
    expiryMs: expiryMs === undefined ? undefined : Math.min(Math.ceil(expiryMs), U32_MAX),
    ack: 'explicit',
    window: options.maxUnacked ?? UNACKED_MAX,
    ackWaitMs: options.ackWaitMs ?? ACK_WAIT_MS,
    since: since(options.from ?? 'new', resumption, isAgain),
    // [CLT-28] what is in a log that took the place of the one that it was in, it has not seen
    reset: isAgain ? 'earliest' : undefined,
  };
}

/** A position is that of the last message that is behind it. */
function since(
  from: SubscribeOptions['from'] & {},
  resumption: Resumption | null,
  isAgain: boolean,
): unknown {
  if (resumption !== null) return { epoch: resumption.epoch, offset: Math.max(0, resumption.offset - 1) };
  if (isAgain) return 'earliest';
  if (typeof from === 'string') return from;
  if ('time' in from) return { time: Math.floor(Number(from.time)) };
  return { epoch: from.epoch, offset: Math.max(0, from.offset - 1) };
}

const U32_MAX = 2 ** 32 - 1;
const { priority: _priority, compression: _compression, ...KEPT } = NATIVE_SUBSCRIBE_OPTIONS;
export const SUBSCRIBE_OPTIONS: OptionTable<SubscribeOptions> = {
  ...KEPT,
  overflow: oneOf(['dropOldest', 'dropNewest', 'latest']),
};
