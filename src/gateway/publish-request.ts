/** What a caller says of a message beside topic and payload, in a query or in headers, and what he is told became of it. */

import { PUBLISH_RESULT_NAMES, PublishResult } from '../pubsub/acknowledgement.ts';
import { ReasonCode } from '../pubsub/command.ts';
import { STREAM_PRIORITIES, type StreamPriority } from '../pubsub/message-stream.ts';
import type { Properties } from '../pubsub/properties.ts';
import type { Exchange } from './exchange.ts';
import { type PublishTerms, setMember } from './item.ts';
import { Problem, problemOfEntry, problemOfReason } from './problem.ts';
import { type PendingPublish, PublishState } from './publishing.ts';
import type { Session } from './session.ts';

/**
 * The terms in the query and the headers of a request. [GW-21]
 *
 * @param others - what else the query may say there
 * @throws {Problem} REQUEST_INVALID
 */
export function termsOfRequest(exchange: Exchange, others: readonly string[] = []): PublishTerms {
  const { query, request } = exchange;
  if (exchange.hasQuery) assertTerms(query, others);
  const properties: Properties = {};
  let headers: Record<string, string> | null = null;
  let hasTerms = exchange.hasQuery;
  for (const name in request.headers) {
    if (!name.startsWith(PREFIX)) continue;
    hasTerms = true;
    const term = name.slice(PREFIX.length);
    if (!term.startsWith(USER)) setTerm(properties, term, exchange.textHeader(name) as string);
    else {
      headers ??= Object.create(null) as Record<string, string>; // with any name, `__proto__` as well
      headers[term.slice(USER.length)] = exchange.textHeader(name) as string;
    }
  }
  if (exchange.hasQuery) for (const [name, value] of query) setTerm(properties, name, value);
  if (headers !== null) properties.headers = headers;
  const { 'content-type': contentType, traceparent } = request.headers;
  if (contentType !== undefined) properties.contentType = contentType;
  if (typeof traceparent === 'string') properties.traceparent = traceparent;
  const hasProperties = contentType !== undefined || Object.keys(properties).length > 0;
  const given = hasProperties ? properties : null;
  if (!hasTerms) return { qos: 1, retain: false, priority: 'chat', properties: given };
  return {
    qos: qosOf(exchange.term('qos') ?? '1'),
    retain: flagOf('retain', exchange.term('retain') ?? 'false'),
    priority: priorityNamed(exchange.term('priority') ?? 'chat'),
    properties: given,
  };
}

function assertTerms(query: URLSearchParams, others: readonly string[]): void {
  for (const name of query.keys()) {
    if (!TERMS.includes(name) && !others.includes(name)) {
      throw new Problem(
        'REQUEST_INVALID',
        `There is no term "${name}": it must be one of ${TERMS.join(', ')}.`,
      );
    }
  }
}

/** What a caller is answered: `members` is the text of those of a JSON object, for there may be many in an answer. */
export type Outcome = { readonly status: number; readonly members: string } | Problem;

/** What became of a message, as its caller is told. [GW-22] */
export function outcomeOf(publish: PendingPublish, qos: 0 | 1, session: Session): Outcome {
  switch (publish.state) {
    case PublishState.TAKEN:
      return qos === 0 ? TAKEN_OUTCOME : { status: 200, members: receiptText(publish) };
    case PublishState.REFUSED:
      if (publish.code === ReasonCode.CONTRADICTION) {
        return new Problem('KEY_REUSED', 'Its Idempotency-Key, or message id, was used for another message.');
      }
      return problemOfReason(publish.code, publish.reason);
    case PublishState.LOST:
      return session.endedBy === null
        ? new Problem('OUTCOME_UNKNOWN', 'The broker has gone: publish it again with an Idempotency-Key.', {
            retryAfterMs: 1_000,
          })
        : problemOfEntry(session.endedBy, false);
    default:
      return new Problem('SUBSCRIBERS_SLOW', 'The broker reads no more at present; it was not published.', {
        retryAfterMs: 1_000,
      });
  }
}

/** The answer of QoS 0. */
export const TAKEN = { result: 'taken' };

/** The answer of QoS 1. */
export function receiptOf({ result, offset }: PendingPublish): object {
  const isDuplicate = result === PublishResult.DUPLICATE;
  return offset < 0
    ? { result: PUBLISH_RESULT_NAMES[result], duplicate: isDuplicate }
    : { result: PUBLISH_RESULT_NAMES[result], duplicate: isDuplicate, offset };
}

/** The same as the text of its members. */
function receiptText({ result, offset }: PendingPublish): string {
  const text = RECEIPTS[result];
  return offset < 0 ? text : `${text},"offset":${offset}`;
}

/** `true`, `false`, `1` or `0`; a name alone is true. */
export function flagOf(name: string, text: string): boolean {
  if (text === 'true' || text === '1' || text === '') return true;
  if (text === 'false' || text === '0') return false;
  throw new Problem('REQUEST_INVALID', `${name} must be true or false.`);
}

/** `500ms`, `10s`, `5m`, `2h`, `7d`; a number alone is of seconds. */
export function durationMs(name: string, text: string): number {
  const match = /^(\d{1,15}(?:\.\d{1,6})?)(ms|s|m|h|d|)$/.exec(text);
  const ms = match === null ? 0 : Math.ceil(Number(match[1]) * UNITS_MS[match[2]]);
  if (ms >= 1 && ms <= 0xffff_ffff) return ms;
  throw new Problem(
    'REQUEST_INVALID',
    `${name} must be a time such as 500ms, 10s, 5m, 2h or 7d, of at most 49 days.`,
  );
}

/** What is no property is left alone. */
function setTerm(properties: Properties, name: string, value: string): void {
  if (name === 'ttl') properties.ttlMs = durationMs(name, value);
  else if (Object.hasOwn(MEMBERS_OF_TERMS, name)) setMember(properties, MEMBERS_OF_TERMS[name], value);
}

function qosOf(text: string): 0 | 1 {
  if (text === '0' || text === '1') return text === '0' ? 0 : 1;
  throw new Problem('REQUEST_INVALID', 'qos must be 0 (at most once) or 1 (at least once).');
}

function priorityNamed(name: string): StreamPriority {
  const known = STREAM_PRIORITIES.find((each) => each === name);
  if (known !== undefined) return known;
  throw new Problem('REQUEST_INVALID', `priority must be one of ${STREAM_PRIORITIES.join(', ')}.`);
}

const PREFIX = 'jsp-';
/** Behind it comes the name of a user property. */
const USER = 'header-';
/** The terms that are a member of an item under a name of JSON. */
const MEMBERS_OF_TERMS: Readonly<Record<string, string>> = {
  key: 'key',
  class: 'class',
  'reply-to': 'replyTo',
  correlation: 'correlation',
  'message-id': 'messageId',
};
const TERMS: readonly string[] = [
  ...['qos', 'retain', 'ttl', 'key', 'class', 'priority'],
  ...['reply-to', 'correlation', 'message-id'],
];
const TAKEN_OUTCOME: Outcome = { status: 202, members: '"result":"taken"' };
const RECEIPTS: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(PUBLISH_RESULT_NAMES).map(([result, name]) => [
    result,
    `"result":"${name}","duplicate":${Number(result) === PublishResult.DUPLICATE}`,
  ]),
);
const UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  '': 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
