/** What a caller says of a message beside topic and payload, in a query or in headers, and what he is told became of it. */

import { PublishResult } from '../pubsub/acknowledgement.ts';
import { PublishFlag, publishPrefix } from '../pubsub/command.ts';
import { STREAM_PRIORITIES, type StreamPriority } from '../pubsub/message-stream.ts';
import { DeliveryClass, encodeProperties, type Properties } from '../pubsub/properties.ts';
import type { Exchange } from './exchange.ts';
import { Problem, problemOfError, problemOfReason } from './problem.ts';
import { type PendingPublish, PublishState } from './publishing.ts';
import type { Session } from './session.ts';

/** How a message is to be published. */
export interface PublishTerms {
  readonly qos: 0 | 1;
  readonly retain: boolean;
  readonly priority: StreamPriority;
  readonly properties: Properties | null;
}

/** The PUBLISH that they ask for. */
export function publishCommand(topic: string, terms: PublishTerms, payload: Uint8Array): Buffer {
  const { qos, retain, properties } = terms;
  const flags =
    (qos === 1 ? PublishFlag.QOS1 : 0) |
    (retain ? PublishFlag.RETAIN : 0) |
    (properties === null ? 0 : PublishFlag.PROPERTIES);
  const prefix = publishPrefix(topic, flags);
  if (properties === null) return Buffer.concat([prefix, payload]);
  try {
    return Buffer.concat([prefix, encodeProperties(properties), payload]);
  } catch (error) {
    throw new Problem('REQUEST_INVALID', `${(error as Error).message}.`);
  }
}

/** The terms in the query and the headers of a request. [GW-21] */
export function termsOfRequest(exchange: Exchange): PublishTerms {
  const value = (name: string): string | undefined =>
    exchange.query.get(name) ?? exchange.header(`jsp-${name}`);
  const properties: Properties = {};
  let hasProperties = false;
  const set = (given: Properties): void => {
    Object.assign(properties, given);
    hasProperties = true;
  };
  const contentType = exchange.header('content-type');
  if (contentType !== undefined) set({ contentType });
  const ttl = value('ttl');
  if (ttl !== undefined) set({ ttlMs: durationMs('ttl', ttl) });
  const key = value('key');
  if (key !== undefined) set({ key });
  const deliveryClass = value('class');
  if (deliveryClass !== undefined) set({ deliveryClass: classNamed(deliveryClass) });
  const traceparent = exchange.header('traceparent');
  if (traceparent !== undefined) set({ traceparent });
  return {
    qos: qosOf(value('qos') ?? '1'),
    retain: flagOf('retain', value('retain') ?? 'false'),
    priority: priorityNamed(value('priority') ?? 'chat'),
    properties: hasProperties ? properties : null,
  };
}

/** What a caller is answered. */
export type Outcome = { readonly status: number; readonly body: object } | Problem;

/** What became of a message, as its caller is told. [GW-22] */
export function outcomeOf(publish: PendingPublish, { qos }: PublishTerms, session: Session): Outcome {
  switch (publish.state) {
    case PublishState.TAKEN:
      return qos === 0 ? { status: 202, body: TAKEN } : { status: 200, body: receiptOf(publish) };
    case PublishState.REFUSED:
      return problemOfReason(publish.code, publish.reason);
    case PublishState.LOST:
      return session.endedBy === null
        ? new Problem('OUTCOME_UNKNOWN', 'Publish it again with an Idempotency-Key.', { retryAfterMs: 1_000 })
        : problemOfError(session.endedBy);
    default:
      return new Problem('SUBSCRIBERS_SLOW', 'It was not published: try again.', { retryAfterMs: 1_000 });
  }
}

/** The answer of QoS 1. */
export function receiptOf({ result, offset }: PendingPublish): object {
  const isDuplicate = result === PublishResult.DUPLICATE;
  return offset < 0
    ? { result: RESULTS[result], duplicate: isDuplicate }
    : { result: RESULTS[result], duplicate: isDuplicate, offset };
}

export function qosOf(text: string): 0 | 1 {
  if (text === '0' || text === '1') return text === '0' ? 0 : 1;
  throw new Problem('REQUEST_INVALID', 'qos must be 0 (at most once) or 1 (at least once).');
}

export function flagOf(name: string, text: string): boolean {
  if (text === 'true' || text === '1' || text === '') return true;
  if (text === 'false' || text === '0') return false;
  throw new Problem('REQUEST_INVALID', `${name} must be true or false.`);
}

export function classNamed(name: string): DeliveryClass {
  const known = CLASSES[name];
  if (known !== undefined) return known;
  throw new Problem('REQUEST_INVALID', `class must be one of ${Object.keys(CLASSES).join(', ')}.`);
}

export function priorityNamed(name: string): StreamPriority {
  const known = STREAM_PRIORITIES.find((each) => each === name);
  if (known !== undefined) return known;
  throw new Problem('REQUEST_INVALID', `priority must be one of ${STREAM_PRIORITIES.join(', ')}.`);
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

const TAKEN = { result: 'taken' };
const RESULTS: Readonly<Record<number, string>> = {
  [PublishResult.STORED]: 'stored',
  [PublishResult.DUPLICATE]: 'duplicate',
  [PublishResult.NO_SUBSCRIBER]: 'noSubscriber',
  [PublishResult.IN_MEMORY]: 'inMemory',
};
const CLASSES: Readonly<Record<string, DeliveryClass>> = {
  latest: DeliveryClass.LATEST,
  unreliable: DeliveryClass.UNRELIABLE,
  reliable: DeliveryClass.RELIABLE,
  durable: DeliveryClass.DURABLE,
};
const UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  '': 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};
