/** What a subscription may be asked for, and how that is said to the broker. */

import { JspError } from '../base/errors.ts';
import { flag, number, type OptionCheck, type OptionTable, oneOf, whole } from '../base/options.ts';
import { OVERFLOW_NAMES, overflowNamed, SubscribeFlag } from '../pubsub/command.ts';
import { STREAM_PRIORITIES, type StreamPriority } from '../pubsub/message-stream.ts';
import { DELIVERY_CLASS_NAMES, deliveryClassNamed } from '../pubsub/properties.ts';
import {
  BACKOFFS_MAX,
  DURABLE_NAME_BYTES_MAX,
  encodeSubscribeOptions,
  NAMED_STARTS,
  RetainedHandling,
  StartKind,
  type SubscribeOptionValues,
} from '../pubsub/subscribe-options.ts';
import { isName, topicFault } from '../pubsub/topic.ts';
import { abortSignal } from '../transport/abort.ts';
import { type Codec, codecOption } from './codec.ts';
import type { Resumption } from './settling.ts';

/**
 * Where a subscription with QoS 1 begins in its log: with what comes from now on; with the first message that the log has; with the last one that matches; with the
 * last one of each topic; with an offset, of the epoch where that is given; with what was stored at a time or after it (ms since 1970).
 */
export type StartPosition =
  | 'new'
  | 'earliest'
  | 'last'
  | 'lastPerTopic'
  | { readonly offset: number; readonly epoch?: number | undefined }
  | { readonly time: Date | number };

export interface SubscribeOptions<T = unknown> {
  /**
   * 0 (default): messages are delivered at most once, and while the client is connected. 1: they come from a log, are acknowledged, and delivered again until
   * they are; what is not in a log comes with QoS 0.
   */
  qos?: 0 | 1 | undefined;
  /** With QoS 1: a name under which the broker keeps where the subscription is, while its subscriber is away, too. Whoever subscribes with it last has it. */
  durable?: string | undefined;
  /** With QoS 1: where it begins. Default `new`. A durable one that the broker knows goes on where it was. */
  from?: StartPosition | undefined;
  /** With QoS 1: most messages that are delivered and not settled. Default 1,000. */
  maxUnacked?: number | undefined;
  /** With QoS 1: after so long without an acknowledgement or a sign of progress a message is delivered again, in ms. Default 30,000. */
  ackWaitMs?: number | undefined;
  /** With QoS 1: how long a message that was not acknowledged waits, in ms: after the first delivery, after the second, and so on; the last for all later ones. At most 16. */
  backoffMs?: readonly number[] | undefined;
  /** With QoS 1: a message is not delivered more often than this. 0 to 65,535; 0: without end. Default: as the broker has it. */
  maxDeliveries?: number | undefined;
  /** With QoS 1: topic on which messages are published that were delivered as often as is allowed, or that {@link Message.terminate} gave up. */
  deadLetter?: string | undefined;
  /** With `durable`: how long the broker keeps it without a subscriber, in ms; Infinity: for ever. Default: as the broker has it. */
  expiryMs?: number | undefined;
  /** `auto` (default): a message is acknowledged when its handler is done, or its loop asks for the next one. `manual`: when the application says so. */
  ack?: 'auto' | 'manual' | undefined;
  /** How many messages the handler has at once. Those of one topic, with `keyOrder` those of one key, still come one after the other. Default 1; 1 to 65,536. */
  concurrency?: number | undefined;
  /** Order is kept by key rather than by topic: over `concurrency`, and over the members of a shared group. */
  keyOrder?: boolean | undefined;
  /** What makes a value of each payload. Default: that of the client. */
  codec?: Codec<T> | undefined;
  /** With QoS 1: a message that the codec cannot decode is given up (`terminate`, the default), or comes again (`nack`). The event `undecodable` tells. */
  undecodable?: 'terminate' | 'nack' | undefined;
  /** The best class that it asks for: `latest` has a newer message of a topic take the place of one that waits. Default: the class of each message. */
  class?: (typeof DELIVERY_CLASS_NAMES)[number] | undefined;
  /** Most messages a second and topic; between them only the latest counts. */
  maxRate?: number | undefined;
  /** Last values of topics: `send` (default) with each subscription, also after a reconnect; `ifNew` with the first one; `none`. */
  retained?: 'send' | 'ifNew' | 'none' | undefined;
  /** Not what this client publishes. */
  noLocal?: boolean | undefined;
  /**
   * What the queues of this subscription do when they are full. `block` (default): its publishers wait, nothing is lost. `dropOldest`,
   * `dropNewest`: messages are dropped and counted, and nobody waits. `latest`: a newer message of a topic takes the place of the one that waits.
   */
  overflow?: 'block' | 'dropOldest' | 'dropNewest' | 'latest' | undefined;
  /** Most messages in its queue in the broker, within the broker's own bound, which is the default. */
  queueMessages?: number | undefined;
  /** The same in bytes. */
  queueBytes?: number | undefined;
  /** Class of the stream that carries what was published as `chat`. Default `chat`. */
  priority?: StreamPriority | undefined;
  /** Takes messages that their publishers have compressed. Default: true where the client has the option `compression`. */
  compression?: boolean | undefined;
  /** Ends the wait for the broker's answer. */
  signal?: AbortSignal | undefined;
}

/** Refuses what goes together with QoS 1 alone where that was not asked for. */
export function checkTogether(options: SubscribeOptions): void {
  const { qos, durable } = options;
  if (qos === 0 && durable !== undefined) throw invalid('a durable subscription has qos 1');
  if (qosOf(options) === 1) {
    if (options.expiryMs !== undefined && durable === undefined) {
      throw invalid('expiryMs is of a durable subscription');
    }
    return;
  }
  const lone = ONLY_QOS_1.find((name) => options[name] !== undefined);
  if (lone !== undefined) throw invalid(`${lone} goes with qos: 1`);
}

/** Options as they are now, for a subscription that asks for the same on each connection: their objects are the caller's, who may change them for the next one. */
export function keptTerms<O extends Pick<SubscribeOptions, 'from' | 'backoffMs'>>(options: O): O {
  const { from, backoffMs } = options;
  return {
    ...options,
    from: typeof from !== 'object' ? from : 'time' in from ? { time: Number(from.time) } : { ...from },
    backoffMs: backoffMs && [...backoffMs],
  };
}

/** Of a call whose second argument is no handler, though there is a third: the one behind the options would never be called. */
export function misplacedHandler(): TypeError {
  return new TypeError('handler must be a function, and stand before the options');
}

export function qosOf({ qos, durable }: Pick<SubscribeOptions, 'qos' | 'durable'>): 0 | 1 {
  return qos ?? (durable === undefined ? 0 : 1);
}

/** The flags and options of a SUBSCRIBE. */
export interface SubscribeRequest {
  readonly flags: number;
  readonly options: Buffer;
}

/**
 * What SUBSCRIBE says.
 *
 * @param resumption - where to go on, of a subscription that has lost its connection; null the first time, and where nothing is known
 * @param isAgain - it is not the first time
 */
export function subscribeRequest(
  options: SubscribeOptions,
  extraFlags: number,
  resumption: Resumption | null,
  isAgain: boolean,
): SubscribeRequest {
  const { retained = 'send' } = options;
  let flags = overflowNamed(options.overflow ?? 'block') | extraFlags;
  if (options.noLocal) flags |= SubscribeFlag.NO_LOCAL;
  if (retained === 'none' || (retained === 'ifNew' && isAgain)) flags |= SubscribeFlag.NO_RETAINED;
  const values: SubscribeOptionValues = {
    rateMax: options.maxRate,
    deliveryClass: options.class === undefined ? undefined : deliveryClassNamed(options.class),
    keyOrder: options.keyOrder,
    retained: retained === 'ifNew' && !isAgain ? RetainedHandling.IF_NEW : undefined,
  };
  if (qosOf(options) === 1) {
    flags |= SubscribeFlag.QOS1;
    Object.assign(values, readerOptions(options), startOf(options.from ?? 'new', resumption, isAgain));
  }
  return { flags, options: encodeSubscribeOptions(values) };
}

function readerOptions(options: SubscribeOptions): SubscribeOptionValues {
  const { expiryMs } = options;
  return {
    name: options.durable,
    unackedMax: options.maxUnacked ?? UNACKED_MAX,
    ackWaitMs: options.ackWaitMs ?? ACK_WAIT_MS,
    backoffMs: options.backoffMs,
    deliveriesMax: options.maxDeliveries,
    deadLetter: options.deadLetter,
    expiryMs: expiryMs === undefined ? undefined : Math.min(Math.ceil(expiryMs), U32_MAX),
  };
}

/** After a reconnect from where it was; where that is not known any more, from the first message there is: what is new to the log was not seen. [CLT-28] */
function startOf(
  from: StartPosition,
  resumption: Resumption | null,
  isAgain: boolean,
): SubscribeOptionValues {
  if (resumption !== null) {
    return { start: StartKind.OFFSET, startValue: resumption.offset, epoch: resumption.epoch };
  }
  if (isAgain) return { start: StartKind.EARLIEST };
  if (typeof from === 'string') return { start: NAMED_STARTS[from] };
  if ('time' in from) return { start: StartKind.TIME, startValue: Math.floor(Number(from.time)) };
  return { start: StartKind.OFFSET, startValue: from.offset, epoch: from.epoch };
}

function invalid(message: string): JspError {
  return new JspError('ERR_JSP_OPTION_INVALID', `subscribe: ${message}`);
}

const U32_MAX = 2 ** 32 - 1;
export const UNACKED_MAX = 1_000;
export const ACK_WAIT_MS = 30_000;
const ONLY_QOS_1 = [
  'from',
  'maxUnacked',
  'ackWaitMs',
  'backoffMs',
  'maxDeliveries',
  'deadLetter',
  'expiryMs',
  'undecodable',
] as const;

const startPosition: OptionCheck = (value) => {
  if (typeof value === 'string' && Object.hasOwn(NAMED_STARTS, value)) return null;
  const { offset, epoch, time } = (value ?? {}) as { offset?: unknown; epoch?: unknown; time?: unknown };
  const isOffset = isCount(offset) && (epoch === undefined || isCount(epoch));
  const isTime = offset === undefined && time !== undefined && isCount(Math.floor(Number(time)));
  return isOffset || isTime
    ? null
    : `one of ${Object.keys(NAMED_STARTS).join(', ')}, { offset, epoch } or { time }`;
};
function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
const topicOption: OptionCheck = (value) =>
  typeof value === 'string' && topicFault(value) === null ? null : 'a topic';
const durableName: OptionCheck = (value) =>
  isName(value, DURABLE_NAME_BYTES_MAX)
    ? null
    : `a well-formed name of 1 to ${DURABLE_NAME_BYTES_MAX} bytes without control characters`;
const delays: OptionCheck = (value) =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.length <= BACKOFFS_MAX &&
  value.every((ms) => whole(0, U32_MAX)(ms) === null)
    ? null
    : `a list of 1 to ${BACKOFFS_MAX} whole numbers of ms`;

export const SUBSCRIBE_OPTIONS: OptionTable<SubscribeOptions> = {
  qos: (value) => (value === 0 || value === 1 ? null : '0 or 1'),
  durable: durableName,
  from: startPosition,
  maxUnacked: whole(1, U32_MAX),
  ackWaitMs: whole(1, U32_MAX),
  backoffMs: delays,
  maxDeliveries: whole(0, 0xffff),
  deadLetter: topicOption,
  expiryMs: number(0, Number.POSITIVE_INFINITY),
  ack: oneOf(['auto', 'manual']),
  concurrency: whole(1, 65_536),
  keyOrder: flag,
  codec: codecOption,
  undecodable: oneOf(['terminate', 'nack']),
  class: oneOf(DELIVERY_CLASS_NAMES),
  maxRate: whole(1, U32_MAX),
  retained: oneOf(['send', 'ifNew', 'none']),
  noLocal: flag,
  overflow: oneOf(OVERFLOW_NAMES),
  queueMessages: whole(0, U32_MAX),
  queueBytes: whole(0, U32_MAX),
  priority: oneOf(STREAM_PRIORITIES),
  compression: flag,
  signal: abortSignal,
};
