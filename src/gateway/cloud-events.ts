/**
 * CloudEvents 1.0 in their three modes over HTTP: structured, binary and in batches. Inside there is one: the payload is the event's data, and its attributes are user
 * properties `ce-…`, as in the binary mode of other protocols. [GW-26]
 */

import type { IncomingHttpHeaders } from 'node:http';
import {
  assertTopic,
  bytesOfBase64,
  itemOfTerms,
  jsonText,
  type PublishItem,
  withProperties,
} from './item.ts';
import { Problem } from './problem.ts';

/** The media types of events that are JSON as a whole. */
const EVENT_TYPE = 'application/cloudevents+json';
export const EVENTS_TYPE = 'application/cloudevents-batch+json';

/** The message, if its request is an event, as that has to be published; else as it is. */
export function eventOfRequest(headers: IncomingHttpHeaders, item: PublishItem): PublishItem {
  if (mediaTypeOf(headers['content-type']) === EVENT_TYPE) {
    return withEvent(item, parsed(Buffer.from(item.payload as Uint8Array).toString()));
  }
  return headers['ce-specversion'] === undefined ? item : withAttributes(item, attributesIn(headers));
}

/** A message for the event of a batch. Its topic is the attribute `topic`, else its subject. */
export function itemOfEvent(value: unknown): PublishItem {
  const event = eventOf(value);
  const topic = event.topic ?? event.subject;
  if (typeof topic !== 'string') {
    throw new Problem(
      'REQUEST_INVALID',
      'An event of a batch needs an attribute topic, or a subject, to be published to.',
    );
  }
  assertTopic(topic);
  return withEvent({ topic, payload: '', qos: 1, retain: false, priority: 'chat', properties: null }, event);
}

/** The type of a body, without its parameters. */
export function mediaTypeOf(contentType: string | undefined): string {
  if (contentType === undefined) return '';
  if (contentType !== lastContentType) {
    lastMediaType = contentType.split(';', 1)[0].trim().toLowerCase();
    lastContentType = contentType;
  }
  return lastMediaType;
}

/** What it was asked about last: most requests have the same. */
let lastContentType = '';
let lastMediaType = '';

function parsed(text: string): Readonly<Record<string, unknown>> {
  try {
    return eventOf(JSON.parse(text));
  } catch (error) {
    throw error instanceof Problem
      ? error
      : new Problem('REQUEST_INVALID', `The event is no JSON: ${(error as Error).message}`);
  }
}

function eventOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Problem('REQUEST_INVALID', 'An event must be an object.');
  }
  const event = value as Readonly<Record<string, unknown>>;
  assertContext(event);
  return event;
}

function withEvent(item: PublishItem, event: Readonly<Record<string, unknown>>): PublishItem {
  const { data, data_base64: base64, datacontenttype, ...context } = event;
  if (data !== undefined && base64 !== undefined) {
    throw new Problem('REQUEST_INVALID', 'An event has data or data_base64, not both.');
  }
  const contentType = datacontenttype ?? (data === undefined ? undefined : 'application/json');
  if (contentType !== undefined && typeof contentType !== 'string') {
    throw new Problem('REQUEST_INVALID', 'datacontenttype must be a string.');
  }
  // A text of another type than JSON is that text.
  const isText = typeof data === 'string' && !JSON_TYPE.test(contentType ?? '');
  const payload =
    base64 !== undefined
      ? bytesOfBase64('data_base64', base64)
      : data === undefined
        ? ''
        : isText
          ? data
          : jsonText('data', data);
  const properties = Object.assign({}, item.properties, { contentType });
  return withAttributes(
    withProperties(itemOfTerms(item, item.topic, payload), properties),
    new Map(Object.entries(context)),
  );
}

function withAttributes(item: PublishItem, attributes: ReadonlyMap<string, unknown>): PublishItem {
  const headers: Record<string, string> = { ...item.properties?.headers };
  for (const [name, value] of attributes) {
    if (value === null) continue;
    if (!ATTRIBUTE.test(name) || typeof value === 'object') {
      throw new Problem('REQUEST_INVALID', `${JSON.stringify(name)} is no attribute of an event.`);
    }
    headers[`ce-${name}`] = String(value);
  }
  return withProperties(item, Object.assign({}, item.properties, { headers }));
}

/** In binary mode each attribute is a header, percent-encoded. */
function attributesIn(headers: IncomingHttpHeaders): Map<string, unknown> {
  const attributes = new Map<string, unknown>();
  for (const [name, value] of Object.entries(headers)) {
    if (name.startsWith('ce-') && typeof value === 'string') attributes.set(name.slice(3), decoded(value));
  }
  assertContext(Object.fromEntries(attributes));
  return attributes;
}

function decoded(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

function assertContext(event: Readonly<Record<string, unknown>>): void {
  if (event.specversion !== '1.0')
    throw new Problem('REQUEST_INVALID', 'An event must have specversion 1.0.');
  for (const name of ['id', 'source', 'type']) {
    const value = event[name];
    if (typeof value !== 'string' || value === '') {
      throw new Problem('REQUEST_INVALID', `An event must have ${name}, a string that is not empty.`);
    }
  }
}

const ATTRIBUTE = /^[a-z0-9]{1,64}$/;
const JSON_TYPE = /^application\/(json|[^;]*\+json)/i;
