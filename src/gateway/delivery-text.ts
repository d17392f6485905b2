/**
 * A delivery as those who speak JSON get it [GW-41]: made once of a command, however many get it, for it is the same object to all of them [GW-46].
 *
 * What is kept is kept for a turn of the event loop, within bounds; beyond them it is made again.
 */

import { isUtf8 } from 'node:buffer';
import { HEADER_BYTES, PublishFlag } from '../pubsub/command.ts';
import { DELIVERY_CLASS_NAMES, decodeProperties, type Properties } from '../pubsub/properties.ts';
import { type Delivered, payloadIn } from './delivered.ts';
import type { Name } from './members.ts';
import { eventOf, TEXT_FRAME, wholeFrame } from './wire-form.ts';

/** Where the parts of a delivery are, as a reader of commands has found them. */
export interface DeliveryParts {
  readonly flags: number;
  readonly topicEnd: number;
  readonly payloadStart: number;
}

/** What was made of one command. */
interface Made {
  readonly offset: number;
  /** The members of the JSON object, without braces; null: its payload is in an envelope that cannot be opened. */
  readonly members: string | null;
  /** The frame for subscriptions of this name, which as a rule is that of all. */
  sub: Name | null;
  frame: Buffer | null;
  epoch: number;
  event: Buffer | null;
}

export class DeliveryTexts {
  private readonly made = new Map<Uint8Array, Made>();
  private bytes = 0;
  private willForget = false;
  private readonly forget = () => {
    this.willForget = false;
    this.clear();
  };

  /** The frame of a WebSocket that has the message of the subscription `sub`; null: its payload cannot be opened. */
  frame(command: Buffer, parts: DeliveryParts, offset: number, sub: Name): Buffer | null {
    const made = this.madeOf(command, parts, offset);
    if (made.members === null) return null;
    if (made.frame !== null && made.sub === sub) return made.frame;
    const frame = wholeFrame(TEXT_FRAME, `{"type":"message","sub":${JSON.stringify(sub)},${made.members}}`);
    if (made.frame === null) {
      made.sub = sub;
      made.frame = frame;
      this.bytes += frame.length;
    }
    return frame;
  }

  /** The same as a server-sent event. */
  event(command: Buffer, parts: DeliveryParts, epoch: number, offset: number): Buffer | null {
    const made = this.madeOf(command, parts, offset);
    if (made.members === null) return null;
    if (made.event !== null && made.epoch === epoch) return made.event;
    const event = Buffer.from(eventOf('message', `{${made.members}}`, offset < 0 ? null : { epoch, offset }));
    if (made.event === null) {
      made.epoch = epoch;
      made.event = event;
      this.bytes += event.length;
    }
    return event;
  }

  private madeOf(command: Buffer, parts: DeliveryParts, offset: number): Made {
    const known = this.made.get(command);
    if (known !== undefined && known.offset === offset) return known;
    if (this.made.size >= KEPT_MAX || this.bytes > KEPT_BYTES_MAX) this.clear();
    if (!this.willForget) {
      this.willForget = true;
      setImmediate(this.forget);
    }
    const members = deliveryMembers(command, parts, offset);
    const made: Made = { offset, members, sub: null, frame: null, epoch: 0, event: null };
    this.bytes += (members?.length ?? 0) + command.length;
    this.made.set(command, made);
    return made;
  }

  private clear(): void {
    this.made.clear();
    this.bytes = 0;
  }
}

/** The members of the JSON object that a delivery is. It has no line breaks. Null: its payload is in an envelope that cannot be opened. */
export function deliveryMembers(command: Buffer, parts: DeliveryParts, offset: number): string | null {
  const { flags, topicEnd, payloadStart } = parts;
  const payload = payloadIn(command, flags, payloadStart);
  if (payload === null) return null;
  let out = `"topic":${JSON.stringify(command.toString('utf8', HEADER_BYTES, topicEnd))}`;
  if (offset >= 0) out += `,"offset":${offset}`;
  if ((flags & PublishFlag.REDELIVERED) !== 0) out += ',"redelivered":true';
  if ((flags & PublishFlag.RETAIN) !== 0) out += ',"retained":true';
  if ((flags & PublishFlag.PROPERTIES) === 0) return `${out},${payloadMember(payload, undefined)}`;
  const properties = decodeProperties(command, topicEnd);
  return `${out}${propertyMembers(properties)},${payloadMember(payload, properties.contentType)}`;
}

/** The members of the JSON object that an answer to a request is. It has no line breaks. */
export function answerMembers({ payload, properties }: Delivered): string {
  return `${payloadMember(payload, properties.contentType)}${propertyMembers(properties)}`;
}

function propertyMembers(properties: Properties): string {
  const { deliveryClass, correlation, headers, origin, replyTopic, owned } = properties;
  let out = '';
  for (const name of COPIED) {
    const value = properties[name];
    if (value !== undefined) out += `,"${name}":${JSON.stringify(value)}`;
  }
  if (replyTopic !== undefined) out += `,"replyTo":${JSON.stringify(replyTopic)}`;
  if (deliveryClass !== undefined) out += `,"class":"${DELIVERY_CLASS_NAMES[deliveryClass]}"`;
  if (correlation !== undefined) out += `,"correlation":"${Buffer.from(correlation).toString('base64')}"`;
  if (owned !== undefined) out += `,"ownedMs":${owned}`;
  if (headers !== undefined) out += `,"headers":${JSON.stringify(headers)}`;
  if (origin !== undefined) out += `,"origin":${JSON.stringify(origin)}`;
  return out;
}

/** The payload as JSON, as text or in base64. [GW-41] */
function payloadMember(payload: Buffer, contentType: string | undefined): string {
  if (!isUtf8(payload)) return `"base64":"${payload.toString('base64')}"`;
  const text = payload.toString();
  if (contentType !== undefined && isJsonType(contentType) && isJson(text) && !isDeep(text)) {
    // A line break in JSON stands between its tokens, where a space is as good.
    return `"json":${text.replace(LINE_BREAKS, ' ')}`;
  }
  return `"text":${JSON.stringify(text)}`;
}

function isJsonType(contentType: string): boolean {
  const [type] = contentType.split(';', 1);
  return JSON_TYPE.test(type);
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Whether JSON is nested more deeply than all readers take it: the frame that it would be a part of could not be read at all. */
function isDeep(json: string): boolean {
  if (json.length < 2 * DEPTH_MAX) return false;
  let depth = 0;
  for (let i = 0; i < json.length; i++) {
    const unit = json.charCodeAt(i);
    if (unit === QUOTE) i = endOfString(json, i);
    else if (unit === OPEN_LIST || unit === OPEN_OBJECT) {
      if (++depth > DEPTH_MAX) return true;
    } else if (unit === CLOSE_LIST || unit === CLOSE_OBJECT) depth--;
  }
  return false;
}

/** Where the string ends that begins at `start`, in JSON. */
function endOfString(json: string, start: number): number {
  let end = start + 1;
  while (json.charCodeAt(end) !== QUOTE) end += json.charCodeAt(end) === BACKSLASH ? 2 : 1;
  return end;
}

/** [GW-41] .NET takes 64 levels by default, of which the frame is one, Rust's serde 128, a browser some thousands. */
const DEPTH_MAX = 60;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const COPIED = [
  'attempt',
  'contentType',
  'ttlMs',
  'key',
  'messageId',
  'publishedAt',
  'status',
  'traceparent',
] as const;
const JSON_TYPE = /^\s*application\/(?:[\w.!#$&^-]+\+)?json\s*$/i;
const LINE_BREAKS = /[\r\n]/g;
/** Commands that are remembered at once, and what was made of them. */
const KEPT_MAX = 4_096;
const KEPT_BYTES_MAX = 8 * 1024 * 1024;
