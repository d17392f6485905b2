/** A subscription as a caller wishes it, through whichever door, and what the broker is asked for then. [GW-42, GW-43] */

import { type OVERFLOW_NAMES, overflowNamed, SubscribeFlag } from '../pubsub/command.ts';
import { type DELIVERY_CLASS_NAMES, deliveryClassNamed } from '../pubsub/properties.ts';
import {
  NAMED_STARTS,
  RetainedHandling,
  StartKind,
  type SubscribeOptionValues,
} from '../pubsub/subscribe-options.ts';
import { isShared, TOPIC_BYTES_MAX } from '../pubsub/topic.ts';
import { isCount, isText, type Members, RequestFault } from './members.ts';

/** Where somebody is in a log: the last message that is behind him. [GW-40] */
export interface Position {
  readonly epoch: number;
  readonly offset: number;
}

/** As the id of an event, and in a query. */
export function positionText(epoch: number, offset: number): string {
  return `${epoch}:${offset}`;
}

/** Null: it is none. */
export function parsePosition(text: string): Position | null {
  const parts = POSITION.exec(text);
  if (parts === null) return null;
  const [epoch, offset] = [Number(parts[1]), Number(parts[2])];
  return Number.isSafeInteger(epoch) && Number.isSafeInteger(offset) ? { epoch, offset } : null;
}

/** Where a subscription begins that reads a log. */
interface Start {
  readonly kind: StartKind;
  /** The first offset that is wanted, or a time. */
  readonly value: number;
  readonly epoch: number | undefined;
}

/** A subscription as it is asked for, through whichever door. */
export interface SubscriptionRequest {
  readonly filters: readonly string[];
  /** Flags and options of its SUBSCRIBEs. */
  readonly flags: number;
  readonly options: SubscribeOptionValues;
  readonly queueMessages: number;
  readonly queueBytes: number;
  /** QoS 1. */
  readonly readsLog: boolean;
  /** Where it begins when the position that it was to go on behind is not known any more. */
  readonly reset: (typeof RESETS)[number];
  /** Its caller settles each message. */
  readonly isExplicit: boolean;
}

/** What is undefined is as spec/gateway.md has it. */
export interface SubscriptionWishes {
  readonly filters: readonly string[];
  readonly qos?: number | undefined;
  readonly durable?: string | undefined;
  readonly ack?: 'none' | 'explicit' | undefined;
  readonly window?: number | undefined;
  /** Not looked at yet. */
  readonly since?: unknown;
  readonly reset?: (typeof RESETS)[number] | undefined;
  readonly ackWaitMs?: number | undefined;
  readonly backoffMs?: readonly number[] | undefined;
  readonly maxDeliveries?: number | undefined;
  readonly deadLetter?: string | undefined;
  readonly expiryMs?: number | undefined;
  readonly keyOrder?: boolean | undefined;
  readonly class?: (typeof DELIVERY_CLASS_NAMES)[number] | undefined;
  readonly maxRate?: number | undefined;
  readonly retained?: (typeof RETAINED)[number] | undefined;
  readonly noLocal?: boolean | undefined;
  readonly overflow?: (typeof OVERFLOW_NAMES)[number] | undefined;
  readonly queueMessages?: number | undefined;
  readonly queueBytes?: number | undefined;
}

/**
 * What the broker is asked for. [GW-42, GW-43]
 *
 * @throws {RequestFault} where the wishes do not go together
 */
export function subscriptionRequest(wishes: SubscriptionWishes): SubscriptionRequest {
  const { filters, qos = 1, durable } = wishes;
  if (!filters.every((filter) => isText(filter, TOPIC_BYTES_MAX))) {
    throw new RequestFault(`a filter must be a text of 1 to ${TOPIC_BYTES_MAX} bytes`, 'FILTER_INVALID');
  }
  const readsLog = qos === 1;
  if (!readsLog) {
    const lone = ONLY_QOS_1.find((name) => wishes[name] !== undefined);
    if (lone !== undefined) throw new RequestFault(`${lone} goes with qos 1`);
  }
  if (wishes.expiryMs !== undefined && durable === undefined) {
    throw new RequestFault('expiryMs is of a durable subscription');
  }
  const isLasting = durable !== undefined || filters.some(isShared);
  const isExplicit = readsLog && (wishes.ack === 'explicit' || (wishes.ack === undefined && isLasting));
  if (!isExplicit) {
    const lone = ONLY_EXPLICIT.find((name) => wishes[name] !== undefined);
    if (lone !== undefined) throw new RequestFault(`${lone} goes with ack "explicit"`);
  }
  const start = startOf(wishes.since);
  let flags = overflowNamed(wishes.overflow ?? 'dropOldest') | SubscribeFlag.COMPRESSED;
  if (readsLog) flags |= SubscribeFlag.QOS1;
  if (wishes.noLocal === true) flags |= SubscribeFlag.NO_LOCAL;
  // Who goes on, or reads history, has had the last values, or gets them in their place.
  const retained = wishes.retained ?? (start.kind === StartKind.NEW ? 'send' : 'none');
  if (retained === 'none') flags |= SubscribeFlag.NO_RETAINED;
  const rateMax = wishes.maxRate;
  const deliveryClass = wishes.class === undefined ? undefined : deliveryClassNamed(wishes.class);
  const keyOrder = wishes.keyOrder === true ? true : undefined;
  const handling = retained === 'ifNew' ? RetainedHandling.IF_NEW : undefined;
  const options: SubscribeOptionValues = !readsLog
    ? { rateMax, deliveryClass, keyOrder, retained: handling }
    : {
        name: durable,
        start: start.kind,
        startValue: start.value,
        epoch: start.epoch,
        unackedMax: isExplicit ? (wishes.window ?? WINDOW) : GIVEN_AT_ONCE_MAX,
        // What is given to the socket is settled then: until then nothing is late. [GW-53]
        ackWaitMs: isExplicit ? wishes.ackWaitMs : U32_MAX,
        backoffMs: wishes.backoffMs,
        deliveriesMax: wishes.maxDeliveries,
        deadLetter: wishes.deadLetter,
        rateMax,
        expiryMs: wishes.expiryMs,
        keyOrder,
        retained: handling,
        deliveryClass,
      };
  return {
    filters,
    flags,
    options,
    queueMessages: wishes.queueMessages ?? 0,
    queueBytes: wishes.queueBytes ?? 0,
    readsLog,
    reset: wishes.reset ?? 'new',
    isExplicit,
  };
}

/** @throws {RequestFault} */
function startOf(since: unknown): Start {
  if (since === undefined || since === null) return FROM_NOW;
  if (typeof since === 'string') {
    if (Object.hasOwn(NAMED_STARTS, since)) {
      return { kind: NAMED_STARTS[since as keyof typeof NAMED_STARTS], value: 0, epoch: undefined };
    }
    const position = parsePosition(since);
    if (position !== null) return behind(position.epoch, position.offset);
    const time = TIME.test(since) ? Date.parse(since) : Number.NaN;
    if (isCount(time)) return { kind: StartKind.TIME, value: time, epoch: undefined };
  } else if (typeof since === 'object') {
    const { epoch, offset, time } = since as Members;
    if (isCount(epoch) && isCount(offset) && time === undefined) return behind(epoch, offset);
    if (epoch === undefined && offset === undefined && time !== undefined) {
      const ms = typeof time === 'string' && TIME.test(time) ? Date.parse(time) : time;
      if (isCount(ms)) return { kind: StartKind.TIME, value: ms, epoch: undefined };
    }
  }
  throw new RequestFault(
    `since must be one of ${Object.keys(NAMED_STARTS).join(', ')}, a position, or a time`,
  );
}

/** Behind the message at this place. [GW-40] */
function behind(epoch: number, offset: number): Start {
  return { kind: StartKind.OFFSET, value: Math.min(offset + 1, Number.MAX_SAFE_INTEGER), epoch };
}

/** Where it begins when the position that it was to go on behind is not known any more. */
export const RESETS = ['new', 'earliest'] as const;
/** When last values come. */
export const RETAINED = ['send', 'ifNew', 'none'] as const;
export const FILTERS_MAX = 64;
const FROM_NOW: Start = { kind: StartKind.NEW, value: 0, epoch: undefined };
const ONLY_QOS_1 = ['durable', 'ack', 'since', 'reset'] as const;
const ONLY_EXPLICIT = ['window', 'ackWaitMs', 'backoffMs', 'maxDeliveries', 'deadLetter'] as const;
/** RFC 3339, as far as `Date.parse` reads it. */
const TIME = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;
const U32_MAX = 0xffff_ffff;
const WINDOW = 1_000;
/** Messages on their way to the socket of who acknowledges nothing. */
const GIVEN_AT_ONCE_MAX = 4_096;
const POSITION = /^(\d{1,16}):(\d{1,16})$/;
