/** Topics and filters: what is one, in text and in bytes, and a table of those seen lately. */

import { isUtf8 } from 'node:buffer';
import { JspError } from '../base/errors.ts';

/** Longest topic or filter in bytes of UTF-8. */
export const TOPIC_BYTES_MAX = 1_024;
/** Most levels of a topic or filter. */
export const TOPIC_LEVELS_MAX = 32;

/** What is wrong with `topic` as the topic of a message that a client publishes, or null. [BRK-9] */
export function topicFault(topic: string): string | null {
  if (topic.startsWith('$') && !isInbox(topic) && !isAdministration(topic))
    return 'begins with $, which belongs to the broker';
  return nameFault(topic, false);
}

/** What is wrong with `filter`, or null. [BRK-10] */
export function filterFault(filter: string): string | null {
  return nameFault(filter, true) ?? shareFault(filter);
}

/** True for the filter of a shared subscription. [BRK-13] */
export function isShared(filter: string): boolean {
  return filter === SHARE || filter.startsWith(`${SHARE}/`);
}

/** What the topics of a session's inbox begin with. Everyone may publish to them, and nobody else may subscribe to them: replies go there. [BRK-12] */
export function inboxOf(session: string): string {
  return `${INBOX}/${encodeURIComponent(session)}/`; // a name may have characters that part topics, or mean more in filters
}

/** True for the topic of some inbox. */
export function isInbox(topic: string): boolean {
  return INBOX_TOPIC.test(topic);
}

/** True for the topic of a request to the broker itself. [BRK-117] */
export function isAdministration(topic: string): boolean {
  return topic.startsWith(ADMIN_TOPICS) && topic.length > ADMIN_TOPICS.length;
}

/** True for a topic, or a filter for topics, on which the broker itself speaks and listens. */
export function isSystem(name: string): boolean {
  return name === SYSTEM || name.startsWith(`${SYSTEM}/`);
}

/** True for a filter that could match topics of inboxes. */
export function asksForInbox(filter: string): boolean {
  return filter === INBOX || filter.startsWith(`${INBOX}/`);
}

/** The filter that a shared subscription's members share. [BRK-13] */
export function sharedFilter(shared: string): string {
  return shared.slice(shared.indexOf('/', SHARE.length + 1) + 1);
}

/** Throws `ERR_JSP_TOPIC_INVALID` when nothing can be published to `topic`, and a TypeError when it is no text. */
export function assertTopic(topic: string): void {
  assertText('topic', topic);
  const fault = topicFault(topic);
  if (fault !== null) throw new JspError('ERR_JSP_TOPIC_INVALID', `The topic ${quote(topic)} ${fault}.`);
}

/** Throws `ERR_JSP_FILTER_INVALID` when nothing can be subscribed to with `filter`, and a TypeError when it is no text. */
export function assertFilter(filter: string): void {
  assertText('filter', filter);
  const fault = filterFault(filter);
  if (fault !== null) throw new JspError('ERR_JSP_FILTER_INVALID', `The filter ${quote(filter)} ${fault}.`);
}

/** True when `filter` can match more than the one topic that is spelled like it. */
export function hasWildcard(filter: string): boolean {
  return filter.includes('+') || filter.endsWith('#');
}

/** Whether `text` can name something at the broker, a session say: not empty, not longer as UTF-8, well-formed, without control characters. */
export function isName(text: unknown, bytesMax: number): boolean {
  if (typeof text !== 'string' || text === '' || utf8Bytes(text) > bytesMax) return false;
  return isWellFormed(text) && !CONTROL.test(text);
}

/** Half a surrogate pair becomes U+FFFD as UTF-8: two texts that differ would be one. */
export function isWellFormed(text: string): boolean {
  return !LONE_SURROGATE.test(text);
}

/** How many bytes `text` has in UTF-8, in a browser, too. */
export function utf8Bytes(text: string): number {
  return UTF8.encode(text).length;
}

/** The text in bytes[start, end), or null when it is not UTF-8. */
export function decodeName(bytes: Uint8Array, start: number, end: number): string | null {
  const part = Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start);
  return isUtf8(part) ? part.toString() : null;
}

/**
 * A bounded cache from the bytes of a topic to a value, so that a message whose topic was seen before costs a hash and a comparison,
 * and no string. It is set-associative: a topic has eight places; when all are taken, they are reused in turn. So neither many
 * topics nor topics chosen to collide make it grow or slow; they only miss.
 */
export class TopicTable<T> {
  private readonly hashes: Int32Array;
  private readonly keys: (Uint8Array | null)[];
  private readonly values: (T | undefined)[];
  private readonly setMask: number;
  private turn = 0;
  private hasStored = false;
  /** Hashes of topics that came lately, in sets as well; null: nobody asks. */
  private seen: Int32Array | null = null;
  /** Where the topic is that was looked up last, and is likely to be next; -1: nowhere. */
  private last = -1;

  /** @param capacity - most topics held, a power of two of at least 8 */
  constructor(capacity: number) {
    this.hashes = new Int32Array(capacity);
    this.keys = new Array<Uint8Array | null>(capacity).fill(null);
    this.values = new Array<T | undefined>(capacity).fill(undefined);
    this.setMask = capacity / WAYS - 1;
  }

  /** Nothing was ever stored. */
  get isEmpty(): boolean {
    return !this.hasStored;
  }

  /** The value of the topic in bytes[start, end), or undefined. */
  lookup(bytes: Uint8Array, start: number, end: number): T | undefined {
    const { last } = this;
    if (last >= 0 && sameBytes(this.keys[last] as Uint8Array, bytes, start, end)) return this.values[last];
    const hash = topicHash(bytes, start, end);
    const first = (hash & this.setMask) * WAYS;
    for (let i = first; i < first + WAYS; i++) {
      if (this.hashes[i] !== hash) continue;
      const key = this.keys[i];
      if (key === null || !sameBytes(key, bytes, start, end)) continue;
      this.last = i;
      return this.values[i];
    }
    return undefined;
  }

  /** Remembers `value` for the topic in bytes[start, end), in the place of its earlier value or of another topic. */
  store(bytes: Uint8Array, start: number, end: number, value: T): void {
    const hash = topicHash(bytes, start, end);
    const first = (hash & this.setMask) * WAYS;
    let place = -1;
    for (let i = first; i < first + WAYS; i++) {
      const key = this.keys[i];
      if (key === null) {
        if (place < 0) place = i;
      } else if (this.hashes[i] === hash && sameBytes(key, bytes, start, end)) {
        this.values[i] = value;
        return;
      }
    }
    if (place < 0) place = first + (this.turn++ & (WAYS - 1));
    this.hasStored = true;
    this.hashes[place] = hash;
    this.keys[place] = Uint8Array.prototype.slice.call(bytes, start, end); // Buffer's own slice would be a view
    this.values[place] = value;
  }

  /** Does that as soon as the topic has come before, not long ago: one that comes once, as that of an answer does, takes no other's place. */
  storeIfSeen(bytes: Uint8Array, start: number, end: number, value: T): void {
    this.seen ??= new Int32Array(this.hashes.length);
    const hash = topicHash(bytes, start, end);
    const first = (hash & this.setMask) * WAYS;
    for (let i = first; i < first + WAYS; i++) {
      if (this.seen[i] === hash) return this.store(bytes, start, end, value);
    }
    this.seen[first + (this.turn++ & (WAYS - 1))] = hash;
  }
}

function assertText(what: string, name: unknown): void {
  if (typeof name !== 'string') throw new TypeError(`${what} must be a string, not ${typeof name}`);
}

/** Goes over it once, without making strings of its levels: all who come subscribe, and many at once. */
function nameFault(name: string, wildcards: boolean): string | null {
  if (name.length === 0) return 'is empty';
  if (isTooLong(name)) return `is longer than ${TOPIC_BYTES_MAX} bytes`;
  let levels = 1;
  let fault: string | null = null;
  let isAscii = true;
  for (let i = 0, start = 0; i < name.length; i++) {
    const unit = name.charCodeAt(i);
    if (unit === SLASH) {
      levels++;
      start = i + 1;
    } else if (unit >= 0x80) {
      isAscii = false;
      if (unit <= 0x9f) fault ??= 'has a control character';
    } else if (unit < 0x20 || unit === 0x7f) fault ??= 'has a control character';
    else if (unit === PLUS || unit === HASH) {
      const isWhole = i === start && (i + 1 === name.length || name.charCodeAt(i + 1) === SLASH);
      if (!wildcards) fault ??= 'has a + or #, which only filters may have';
      else if (!isWhole) fault ??= 'has a + or # beside other characters';
      else if (unit === HASH && i + 1 < name.length) fault ??= 'has a # before its last level';
    }
  }
  if (!isAscii && !isWellFormed(name)) return 'is not well-formed Unicode';
  return levels > TOPIC_LEVELS_MAX ? `has more than ${TOPIC_LEVELS_MAX} levels` : fault;
}

/** Counts bytes where there may be too many: a UTF-16 unit is at most three. */
function isTooLong(name: string): boolean {
  return name.length * 3 > TOPIC_BYTES_MAX && utf8Bytes(name) > TOPIC_BYTES_MAX;
}

/** What a filter that begins with `$share` lacks to be `$share/group/filter`. [BRK-13] */
function shareFault(filter: string): string | null {
  if (!isShared(filter)) return null;
  const [, group, ...inner] = filter.split('/');
  if (group === undefined || group === '' || inner.join('/') === '') return 'is not $share/group/filter';
  return group === '+' || group === '#' ? 'has a wildcard as its group' : null;
}

function quote(name: string): string {
  return JSON.stringify(name.length <= 80 ? name : `${name.slice(0, 80)}…`);
}

/** FNV-1a, finished so that every bit of the topic reaches the low bits that choose the set. */
function topicHash(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5 | 0;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i], 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return hash ^ (hash >>> 13);
}

function sameBytes(key: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  const length = key.length;
  // Topics of one kind often differ at their end only.
  if (length !== end - start || key[length - 1] !== bytes[end - 1]) return false;
  for (let i = 0; i < length; i++) if (key[i] !== bytes[start + i]) return false;
  return true;
}

const UTF8 = new TextEncoder();
const WAYS = 8;
const SHARE = '$share';
/** What the topics of requests to the broker itself begin with. */
export const ADMIN_TOPICS = '$sys/admin/';
const SYSTEM = '$sys';
const INBOX = '$inbox';
const INBOX_TOPIC = /^\$inbox\/[^/]+\//;
const LONE_SURROGATE = /\p{Surrogate}/u;
const CONTROL = /\p{Cc}/u;
const SLASH = 0x2f;
const PLUS = 0x2b;
const HASH = 0x23;
