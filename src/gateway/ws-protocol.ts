/**
 * What a WebSocket client says (spec/gateway.md): one JSON object a message, read into the requests that the broker knows. It is one file because it is the table of the
 * specification, row by row.
 */

import { OVERFLOW_NAMES } from '../pubsub/command.ts';
import { CREDENTIALS_BYTES_MAX } from '../pubsub/credentials.ts';
import { DELIVERY_CLASS_NAMES } from '../pubsub/properties.ts';
import { SESSION_NAME_BYTES_MAX } from '../pubsub/session-commands.ts';
import { BACKOFFS_MAX, DURABLE_NAME_BYTES_MAX } from '../pubsub/subscribe-options.ts';
import { TOPIC_BYTES_MAX } from '../pubsub/topic.ts';
import { itemOf, type PublishItem } from './item.ts';
import {
  isCount,
  type Members,
  type Name,
  optionalFlag,
  optionalName,
  optionalOneOf,
  optionalText,
  optionalWhole,
  RequestFault,
} from './members.ts';
import { Problem } from './problem.ts';
import {
  FILTERS_MAX,
  RESETS,
  RETAINED,
  type SubscriptionRequest,
  subscriptionRequest,
} from './subscription-request.ts';

/** The subprotocol of such a WebSocket. [GW-50] */
export const WS_SUBPROTOCOL = 'jsp.v1.json';

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
    reset: optionalOneOf(members, 'reset', RESETS),
    ackWaitMs: optionalWhole(members, 'ackWaitMs', 10, U32_MAX),
    backoffMs: backoffOf(members),
    maxDeliveries: optionalWhole(members, 'maxDeliveries', 0, U16_MAX),
    deadLetter: optionalName(members, 'deadLetter', TOPIC_BYTES_MAX),
    expiryMs: optionalWhole(members, 'expiryMs', 0, U32_MAX),
    keyOrder: optionalFlag(members, 'keyOrder'),
    class: optionalOneOf(members, 'class', DELIVERY_CLASS_NAMES),
    maxRate: optionalWhole(members, 'maxRate', 1, U32_MAX),
    retained: optionalOneOf(members, 'retained', RETAINED),
    noLocal: optionalFlag(members, 'noLocal'),
    overflow: optionalOneOf(members, 'overflow', OVERFLOW_NAMES),
    queueMessages: optionalWhole(members, 'queueMessages', 0, U32_MAX),
    queueBytes: optionalWhole(members, 'queueBytes', 0, U32_MAX),
  });
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
const U16_MAX = 0xffff;
const U32_MAX = 0xffff_ffff;
/** Two delays above it mean something else to the broker. */
const DELAY_MS_MAX = U32_MAX - 2;
const TIMEOUT_MS_MAX = 10 * 60_000;
const REQUEST_TIMEOUT_MS = 5_000;
const NAME_LENGTH_MAX = 64;
const TOPIC_LENGTH_MAX = 1_024;
const REASON_LENGTH_MAX = 256;
const OFFSETS_MAX = 1_024;
