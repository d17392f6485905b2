/**
 * What a WebSocket client says (spec/gateway.md): one JSON object a message, read into the requests that the broker knows. It is one file because it is the table of the
 * specification, row by row.
 */

import { OVERFLOW_NAMES, overflowNamed, SubscribeFlag } from '../pubsub/command.ts';
import { CREDENTIALS_BYTES_MAX } from '../pubsub/credentials.ts';
import { DELIVERY_CLASS_NAMES, deliveryClassNamed } from '../pubsub/properties.ts';
import { SESSION_NAME_BYTES_MAX } from '../pubsub/session-commands.ts';
import {
  BACKOFFS_MAX,
  DURABLE_NAME_BYTES_MAX,
  NAMED_STARTS,
  RetainedHandling,
  StartKind,
  type SubscribeOptionValues,
} from '../pubsub/subscribe-options.ts';
import { isShared, TOPIC_BYTES_MAX } from '../pubsub/topic.ts';
import { itemOf, type PublishItem } from './item.ts';
import { Problem } from './problem.ts';

/** The subprotocol of such a WebSocket. [GW-50] */
export const WS_SUBPROTOCOL = 'jsp.v1.json';

/** What a client calls a request, or a subscription. [GW-51] */
export type Name = string | number;

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
export interface Start {
  readonly kind: StartKind;
  /** The first offset that is wanted, or a time. */
  readonly value: number;
  readonly epoch: number | undefined;
}

/** A subscription as it is asked for, through whichever door. */
export interface SubscriptionRequest {
  readonly filters: readonly string[];
  /** Flags and options of its SUBSCRIBEs, but for where it begins. */
  readonly flags: number;
  readonly options: SubscribeOptionValues;
  readonly queueMessages: number;
  readonly queueBytes: number;
  /** QoS 1. */
  readonly readsLog: boolean;
  readonly start: Start;
  /** Where it begins when the position that it was to go on behind is not known any more. */
  readonly reset: 'new' | 'earliest';
  /** Its caller settles each message. */
  readonly isExplicit: boolean;
}

export type ClientMessage =
  | {
      type: 'auth';
      id: Name | null;
      token: string | null;
      session: string;
      expiryMs: number;
      cleanStart: boolean;
    }
  | { type: 'subscribe'; id: Name | null; sub: Name; request: SubscriptionRequest }
  | { type: 'unsubscribe' | 'close'; id: Name | null; sub: Name }
  | { type: 'ack'; id: Name | null; sub: Name; offsets: readonly number[] | null; upTo: number }
  | { type: 'progress'; id: Name | null; sub: Name; offsets: readonly number[] }
  | {
      type: 'nack';
      id: Name | null;
      sub: Name;
      offsets: readonly number[];
      delayMs: number | null;
      reason: string;
    }
  | { type: 'terminate'; id: Name | null; sub: Name; offsets: readonly number[]; reason: string }
  | { type: 'publish'; id: Name | null; message: PublishItem }
  | { type: 'request'; id: Name; message: PublishItem; timeoutMs: number }
  | { type: 'will'; id: Name | null; message: PublishItem | null; delayMs: number }
  | { type: 'refresh'; id: Name | null; token: string }
  | { type: 'ping'; id: Name | null };

/** A message of the client is not as it has to be: it is told, and stays. */
export class RequestFault extends Error {
  readonly code: string;
  /** Of the message. */
  readonly id: Name | null;

  constructor(message: string, code = 'BAD_REQUEST', id: Name | null = null) {
    super(message);
    this.code = code;
    this.id = id;
  }
}

/** The text is no JSON object: the client is no client of this protocol. */
export class NoObjectFault extends Error {}

/**
 * Reads what a client said.
 *
 * @throws {NoObjectFault} [GW-50]
 * @throws {RequestFault}
 */
export function parseClientMessage(text: string): ClientMessage {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new NoObjectFault('a message is one JSON object');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new NoObjectFault('a message is one JSON object');
  }
  const members = value as Members;
  const id = nameOf(members, 'id');
  try {
    return readMessage(members, id);
  } catch (error) {
    if (error instanceof RequestFault) throw new RequestFault(error.message, error.code, id);
    throw error;
  }
}

type Members = Readonly<Record<string, unknown>>;

function readMessage(members: Members, id: Name | null): ClientMessage {
  const { type } = members;
  switch (type) {
    case 'publish':
      return { type, id, message: readPublish(members) };
    case 'ack': {
      const upTo = optionalWhole(members, 'upTo', 0, Number.MAX_SAFE_INTEGER) ?? -1;
      if (upTo >= 0 && members.offsets !== undefined)
        throw new RequestFault('offsets and upTo exclude each other');
      return { type, id, sub: subOf(members), offsets: upTo >= 0 ? null : offsetsOf(members), upTo };
    }
    case 'nack': {
      const delayMs = optionalWhole(members, 'delayMs', 0, DELAY_MS_MAX) ?? null;
      return {
        type,
        id,
        sub: subOf(members),
        offsets: offsetsOf(members),
        delayMs,
        reason: reasonOf(members),
      };
    }
    case 'terminate':
      return { type, id, sub: subOf(members), offsets: offsetsOf(members), reason: reasonOf(members) };
    case 'progress':
      return { type, id, sub: subOf(members), offsets: offsetsOf(members) };
    case 'subscribe': {
      const sub = nameOf(members, 'sub') ?? id;
      if (sub === null) throw new RequestFault('sub, or an id, must be there');
      return { type, id, sub, request: readSubscription(members) };
    }
    case 'unsubscribe':
    case 'close':
      return { type, id, sub: subOf(members) };
    case 'request': {
      if (id === null) throw new RequestFault('id must be there');
      const timeoutMs = optionalWhole(members, 'timeoutMs', 1, TIMEOUT_MS_MAX) ?? REQUEST_TIMEOUT_MS;
      return { type, id, message: readPublish(members), timeoutMs };
    }
    case 'will': {
      const delayMs = optionalWhole(members, 'delayMs', 0, U32_MAX) ?? 0;
      return { type, id, message: members.topic === undefined ? null : readPublish(members), delayMs };
    }
    case 'auth':
      return {
        type,
        id,
        token: optionalText(members, 'token', CREDENTIALS_BYTES_MAX) ?? null,
        session:
          members.session === '' ? '' : (optionalName(members, 'session', SESSION_NAME_BYTES_MAX) ?? ''),
        expiryMs: optionalWhole(members, 'expiryMs', 0, U32_MAX) ?? 0,
        cleanStart: optionalFlag(members, 'cleanStart') ?? false,
      };
    case 'refresh': {
      const token = optionalText(members, 'token', CREDENTIALS_BYTES_MAX);
      if (token === undefined) throw new RequestFault('token must be there');
      return { type, id, token };
    }
    case 'ping':
      return { type, id };
    default:
      throw new RequestFault(`type must be one of ${TYPES.join(', ')}`);
  }
}

// ---- subscriptions ----

function readSubscription(members: Members): SubscriptionRequest {
  const filters = filtersOf(members);
  const durable = optionalName(members, 'durable', DURABLE_NAME_BYTES_MAX);
  const qos = optionalWhole(members, 'qos', 0, 1) ?? 1;
  const acks = optionalOneOf(members, 'ack', ['none', 'explicit']);
  return subscriptionRequest({
    filters,
    qos,
    durable,
    ack: acks,
    window: optionalWhole(members, 'window', 1, U32_MAX),
    since: members.since,
    reset: optionalOneOf(members, 'reset', ['new', 'earliest']),
    ackWaitMs: optionalWhole(members, 'ackWaitMs', 10, U32_MAX),
    backoffMs: backoffOf(members),
    maxDeliveries: optionalWhole(members, 'maxDeliveries', 0, U16_MAX),
    deadLetter: optionalName(members, 'deadLetter', TOPIC_BYTES_MAX),
    expiryMs: optionalWhole(members, 'expiryMs', 0, U32_MAX),
    keyOrder: optionalFlag(members, 'keyOrder'),
    class: optionalOneOf(members, 'class', DELIVERY_CLASS_NAMES),
    maxRate: optionalWhole(members, 'maxRate', 1, U32_MAX),
    retained: optionalOneOf(members, 'retained', ['send', 'ifNew', 'none']),
    noLocal: optionalFlag(members, 'noLocal'),
    overflow: optionalOneOf(members, 'overflow', OVERFLOW_NAMES),
    queueMessages: optionalWhole(members, 'queueMessages', 0, U32_MAX),
    queueBytes: optionalWhole(members, 'queueBytes', 0, U32_MAX),
  });
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
  readonly reset?: 'new' | 'earliest' | undefined;
  readonly ackWaitMs?: number | undefined;
  readonly backoffMs?: readonly number[] | undefined;
  readonly maxDeliveries?: number | undefined;
  readonly deadLetter?: string | undefined;
  readonly expiryMs?: number | undefined;
  readonly keyOrder?: boolean | undefined;
  readonly class?: (typeof DELIVERY_CLASS_NAMES)[number] | undefined;
  readonly maxRate?: number | undefined;
  readonly retained?: 'send' | 'ifNew' | 'none' | undefined;
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
  const options: SubscribeOptionValues = {
    rateMax: wishes.maxRate,
    deliveryClass: wishes.class === undefined ? undefined : deliveryClassNamed(wishes.class),
    keyOrder: wishes.keyOrder === true ? true : undefined,
    retained: retained === 'ifNew' ? RetainedHandling.IF_NEW : undefined,
  };
  if (readsLog) {
    options.name = durable;
    options.expiryMs = wishes.expiryMs;
    options.unackedMax = isExplicit ? (wishes.window ?? WINDOW) : GIVEN_AT_ONCE_MAX;
    // What is given to the socket is settled then: until then nothing is late. [GW-53]
    options.ackWaitMs = isExplicit ? wishes.ackWaitMs : U32_MAX;
    options.backoffMs = wishes.backoffMs;
    options.deliveriesMax = wishes.maxDeliveries;
    options.deadLetter = wishes.deadLetter;
  }
  return {
    filters,
    flags,
    options,
    queueMessages: wishes.queueMessages ?? 0,
    queueBytes: wishes.queueBytes ?? 0,
    readsLog,
    start,
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

function filtersOf(members: Members): readonly string[] {
  const { filters } = members;
  const isList = Array.isArray(filters) && filters.length > 0 && filters.length <= FILTERS_MAX;
  if (
    !isList ||
    !filters.every((filter) => typeof filter === 'string' && filter.length <= TOPIC_LENGTH_MAX)
  ) {
    throw new RequestFault(`filters must be a list of 1 to ${FILTERS_MAX} filters`);
  }
  return filters.length === 1 ? filters : [...new Set<string>(filters)];
}

function backoffOf(members: Members): readonly number[] | undefined {
  const { backoffMs } = members;
  if (backoffMs === undefined || backoffMs === null) return undefined;
  const isList = Array.isArray(backoffMs) && backoffMs.length > 0 && backoffMs.length <= BACKOFFS_MAX;
  if (!isList || !backoffMs.every((ms) => isCount(ms) && ms <= DELAY_MS_MAX)) {
    throw new RequestFault(`backoffMs must be a list of 1 to ${BACKOFFS_MAX} whole numbers`);
  }
  return backoffMs;
}

/** A message to be published, which is an item of a bulk. */
function readPublish(members: Members): PublishItem {
  try {
    return itemOf(members);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    throw new RequestFault(error.message, error.code === 'REQUEST_INVALID' ? 'BAD_REQUEST' : error.code);
  }
}

// ---- members ----

function subOf(members: Members): Name {
  const sub = nameOf(members, 'sub');
  if (sub === null) throw new RequestFault('sub must be there');
  return sub;
}

function nameOf(members: Members, member: 'id' | 'sub'): Name | null {
  const value = members[member];
  if (value === undefined || value === null || isCount(value)) return value ?? null;
  if (typeof value === 'string' && value.length > 0 && value.length <= NAME_LENGTH_MAX) return value;
  throw new RequestFault(
    `${member} must be a number from 0, or a text of 1 to ${NAME_LENGTH_MAX} characters`,
  );
}

function offsetsOf(members: Members): readonly number[] {
  const { offsets } = members;
  const isList = Array.isArray(offsets) && offsets.length > 0 && offsets.length <= OFFSETS_MAX;
  if (!isList || !offsets.every(isCount)) {
    throw new RequestFault(`offsets must be a list of 1 to ${OFFSETS_MAX} offsets`);
  }
  return offsets;
}

function reasonOf(members: Members): string {
  return optionalText(members, 'reason', REASON_LENGTH_MAX) ?? '';
}

function optionalWhole(members: Members, name: string, low: number, high: number): number | undefined {
  const value = members[name];
  if (value === undefined || value === null) return undefined;
  if (!Number.isInteger(value) || (value as number) < low || (value as number) > high) {
    throw new RequestFault(`${name} must be a whole number from ${low} to ${high}`);
  }
  return value as number;
}

function optionalText(members: Members, name: string, lengthMax: number): string | undefined {
  const value = members[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string' || value.length > lengthMax) {
    throw new RequestFault(`${name} must be a text of at most ${lengthMax} characters`);
  }
  return value;
}

/** What the broker would end the whole connection for is told of the request. */
function optionalName(members: Members, name: string, bytesMax: number): string | undefined {
  const value = members[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string' || !isName(value, bytesMax)) {
    throw new RequestFault(`${name} must be a text of 1 to ${bytesMax} bytes without control characters`);
  }
  return value;
}

/** Whether it can be the name of something: of a session, a durable subscription. */
export function isName(text: string, bytesMax: number): boolean {
  return isText(text, bytesMax) && !CONTROL.test(text);
}

/** Whether it is not empty, and fits as UTF-8. */
function isText(text: string, bytesMax: number): boolean {
  return text !== '' && Buffer.byteLength(text) <= bytesMax && !LONE_SURROGATE.test(text);
}

function optionalFlag(members: Members, name: string): boolean | undefined {
  const value = members[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'boolean') throw new RequestFault(`${name} must be true or false`);
  return value;
}

function optionalOneOf<const T extends string>(
  members: Members,
  name: string,
  known: readonly T[],
): T | undefined {
  const value = members[name];
  if (value === undefined || value === null) return undefined;
  const found = known.find((each) => each === value);
  if (found === undefined) throw new RequestFault(`${name} must be one of ${known.join(', ')}`);
  return found;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

const TYPES = [
  'auth',
  'subscribe',
  'unsubscribe',
  'close',
  'ack',
  'nack',
  'progress',
  'terminate',
  'publish',
  'request',
  'will',
  'refresh',
  'ping',
] as const;
const FROM_NOW: Start = { kind: StartKind.NEW, value: 0, epoch: undefined };

const ONLY_QOS_1 = ['durable', 'ack', 'since', 'reset'] as const;
const ONLY_EXPLICIT = ['window', 'ackWaitMs', 'backoffMs', 'maxDeliveries', 'deadLetter'] as const;
/** RFC 3339, as far as `Date.parse` reads it. */
const TIME = /^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;
const U16_MAX = 0xffff;
const U32_MAX = 0xffff_ffff;
/** Two delays above it mean something else to the broker. */
const DELAY_MS_MAX = U32_MAX - 2;
const TIMEOUT_MS_MAX = 10 * 60_000;
const REQUEST_TIMEOUT_MS = 5_000;
const NAME_LENGTH_MAX = 64;
const TOPIC_LENGTH_MAX = 1_024;
const REASON_LENGTH_MAX = 256;
export const FILTERS_MAX = 64;
const CONTROL = /\p{Cc}/u;
const LONE_SURROGATE = /\p{Cs}/u;
const OFFSETS_MAX = 1_024;
const WINDOW = 1_000;
/** Messages on their way to the socket of who acknowledges nothing. */
const GIVEN_AT_ONCE_MAX = 4_096;
const POSITION = /^(\d{1,16}):(\d{1,16})$/;
