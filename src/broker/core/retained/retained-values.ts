/**
 * The last values of topics: what a publisher wants to be there for whoever subscribes later. Each is kept until an empty message or another one takes its place, its time
 * to live is over, or, where a session owns it, that is gone. [BRK-104]
 */

import { NEVER } from '../../../base/time.ts';
import { HEADER_BYTES, PublishFlag, publishPrefix, topicEndOf, topicOf } from '../../../pubsub/command.ts';
import { STREAM_PRIORITIES } from '../../../pubsub/message-stream.ts';
import { findNumber, PropertyType, payloadStartOf } from '../../../pubsub/properties.ts';
import { comparePlaces, type LogPlace } from '../backplane/value-port.ts';
import type { Expiring, Expiry } from '../delivery/expiry.ts';
import { Ownership, Presence } from '../presence/presence.ts';
import type { RestoredSessions, Session } from '../session/session.ts';
import type { Time } from '../timers.ts';
import { type Retained, RetainedIndex, type RetainedWalk } from './retained-index.ts';
import type { KeptValue, ValueKeeper } from './value-keeper.ts';

export class RetainedValue implements Retained, KeptValue, Expiring {
  readonly topic: string;
  /** As it is kept in the store; the rest of it is {@link command}. */
  readonly record: Uint8Array;
  /** The PUBLISH as it is delivered, and its class. */
  readonly command: Uint8Array;
  readonly priority: number;
  /** Whose it is; null: it stays. */
  readonly ownership: Ownership | null;
  /** Rises with each value, and with each message of a topic while values are being replayed. */
  newestAt: number;
  /** In a cluster: that of the change by which it came to be; 0: that is not known yet. */
  revision = 0;
  /** In a cluster: where its message is; null: in no log, or nobody knows any more. */
  place: LogPlace | null = null;
  /** When its time to live is over. */
  deadline = NEVER;
  heapIndex = -1;
  private readonly values: RetainedValues;

  constructor(
    values: RetainedValues,
    topic: string,
    record: Uint8Array,
    ownership: Ownership | null,
    newestAt: number,
  ) {
    this.values = values;
    this.topic = topic;
    this.record = record;
    this.command = record.subarray(RECORD_HEAD_BYTES);
    this.priority = record[PRIORITY_AT];
    this.ownership = ownership;
    this.newestAt = newestAt;
  }

  /** It was published with QoS 1. */
  get isQoS1(): boolean {
    return (this.record[FLAGS_AT] & Flag.QOS1) !== 0;
  }

  expire(): void {
    this.values.expire(this);
  }
}

export interface RetainedLimits {
  /** Most bytes that all values together take. */
  readonly retainedBytesMax: number;
}

export class RetainedValues {
  /** Told of the life of sessions. */
  readonly presence: Presence;
  /** Values of other nodes for which there was no room. */
  refused = 0;
  /** How many replays are under way. While there are any, {@link onLive} is to be told of each message. */
  replays = 0;
  /** Hears of topics that messages go out on, each with the number of the message among values; null: nobody wants to know. */
  onMessage: ((topic: string, newestAt: number) => void) | null = null;
  private readonly keeper: ValueKeeper;
  private readonly time: Time;
  private readonly expiry: Expiry;
  private readonly limits: RetainedLimits;
  private readonly publish: (message: Uint8Array) => void;
  private readonly index = new RetainedIndex<RetainedValue>();
  private valueBytes = 0;
  private newest = 0;

  /** @param publish - a message that the broker itself publishes */
  constructor(
    keeper: ValueKeeper,
    time: Time & { readonly expiry: Expiry },
    limits: RetainedLimits,
    publish: (message: Uint8Array) => void,
  ) {
    this.keeper = keeper;
    this.time = time;
    this.expiry = time.expiry;
    this.limits = limits;
    this.publish = publish;
    this.presence = new Presence(time, {
      leave: (topic) => this.leave(topic),
      hasNode: (node) => keeper.hasNode(node),
      adopted: (ownership) => this.adopted(ownership),
    });
  }

  /** The value of a topic; null: it has none. */
  get(topic: string): RetainedValue | null {
    return this.index.get(topic);
  }

  get count(): number {
    return this.index.size;
  }

  /** What all values take, in memory and in the store, their places in the index with them. */
  get bytes(): number {
    return this.valueBytes + this.index.nodeCount * NODE_CHARGE_BYTES;
  }

  /** The number of the newest value, or message that stands for one. */
  get newestAt(): number {
    return this.newest;
  }

  /** Whether the value of a PUBLISH with RETAIN can be kept: always where it is less than what it replaces. [BRK-105] */
  hasRoomFor(message: Uint8Array): boolean {
    const topicEnd = topicEndOf(message);
    if (payloadStartOf(message, topicEnd) === message.length) return true;
    const recordBytes = RECORD_HEAD_BYTES + message.length;
    return recordBytes <= this.keeper.recordBytesMax && this.hasRoom(topicOf(message), recordBytes);
  }

  /** Whether a PUBLISH is what its topic has, be that nothing. */
  isKept(message: Uint8Array): boolean {
    const value = this.index.get(topicOf(message));
    const isEmpty = payloadStartOf(message, topicEndOf(message)) === message.length;
    if (isEmpty || value === null) return isEmpty && value === null;
    return Buffer.compare(value.command.subarray(HEADER_BYTES), message.subarray(HEADER_BYTES)) === 0;
  }

  /**
   * Keeps a PUBLISH with RETAIN, for which there is room, as the value of its topic; an empty one takes that away.
   *
   * @param place - in the log of a cluster. One that is behind it there has been kept already where its node was slow, or cut off: that stays. [CLU-45]
   */
  keep(session: Session, message: Uint8Array, priority: number, place: LogPlace | null = null): void {
    const topicEnd = topicEndOf(message);
    const topic = topicOf(message);
    const ttlMs = findNumber(message, topicEnd, PropertyType.TTL) ?? NEVER;
    const earlier = this.index.get(topic);
    if (earlier !== null && (comparePlaces(place, earlier.place) ?? 0) < 0) return;
    const { revision = 0 } = earlier ?? {};
    if (earlier !== null) this.forget(earlier);
    if (payloadStartOf(message, topicEnd) === message.length || ttlMs === 0) {
      if (earlier !== null) this.index.delete(topic);
      if (earlier !== null || !this.keeper.isComplete) this.keeper.remove(topic, place, revision);
      return;
    }
    // Nobody owns what the broker itself publishes, a will for one.
    const isOwnable = session.client?.closed === false;
    const graceMs = isOwnable ? findNumber(message, topicEnd, PropertyType.OWNED) : undefined;
    const ownership = graceMs === undefined ? null : this.presence.own(session, topic, graceMs);
    const expiresAt = ttlMs === NEVER ? 0 : Math.ceil(this.time.wallMs + ttlMs);
    const record = encodeRecord(message, expiresAt, ownership);
    record[PRIORITY_AT] = priority;
    const value = new RetainedValue(this, topic, record, ownership, ++this.newest);
    value.place = place;
    this.add(value, ttlMs);
    this.keeper.put(topic, record, place, revision);
  }

  /**
   * Another node has kept this for a topic, or an earlier life of this one has.
   *
   * @returns null: it is over, or there is no room for it
   */
  take(
    topic: string,
    record: Uint8Array,
    { revision, place }: Pick<KeptValue, 'revision' | 'place'>,
    node: string,
  ): RetainedValue | null {
    this.remove(topic);
    const head = decodeHead(record);
    const leftMs = head === null ? 0 : this.leftOf(head.expiresAt);
    if (head === null || leftMs <= 0) return null;
    if (!this.hasRoom(topic, record.length)) {
      this.refused++;
      return null;
    }
    const { owner, graceMs } = head;
    const ownership = graceMs === null ? null : new Ownership(topic, graceMs, owner, null);
    const value = new RetainedValue(this, topic, record, ownership, ++this.newest);
    value.revision = revision;
    value.place = place;
    this.add(value, leftMs);
    if (ownership !== null) this.presence.takeForeign(ownership, node);
    return value;
  }

  /** Of all values. */
  topics(): Iterable<string> {
    return this.index.topics();
  }

  /** The topic has no value any more: that is known already to whoever keeps it. */
  remove(topic: string): void {
    const value = this.index.get(topic);
    if (value === null) return;
    this.forget(value);
    this.index.delete(topic);
  }

  /** Whoever owned it is gone, and that is so for everybody: it is published once. [BRK-108] */
  left(topic: string): void {
    this.remove(topic);
    this.publish(publishPrefix(topic));
  }

  /** What has replaced it by mistake is told to everybody by the value itself. */
  publishAgain({ command }: RetainedValue): void {
    const message = Buffer.from(command);
    message[1] &= ~PublishFlag.RETAIN;
    this.publish(message);
  }

  /** A message of a topic goes out while values are being replayed: whoever gets it does not need the value any more. [BRK-106] */
  onLive(message: Uint8Array): void {
    const topic = topicOf(message);
    const value = this.index.get(topic);
    this.newest++;
    if (value !== null) value.newestAt = this.newest;
    this.onMessage?.(topic, this.newest);
  }

  walk(filter: string): RetainedWalk<RetainedValue> {
    return this.index.walk(filter);
  }

  /** Its time to live is over. */
  expire(value: RetainedValue): void {
    this.forget(value);
    this.index.delete(value.topic);
    this.keeper.expire(value);
  }

  /** Takes up what the store has kept. */
  restore(sessions: RestoredSessions): void {
    for (const [topic, record] of this.keeper.entries()) {
      const head = decodeHead(record);
      const leftMs = head === null ? 0 : this.leftOf(head.expiresAt);
      if (head === null || leftMs <= 0) {
        this.keeper.remove(topic, null, 0);
        continue;
      }
      const owner = sessions.get(head.owner);
      const ownership =
        head.graceMs === null ? null : new Ownership(topic, head.graceMs, head.owner, owner?.session ?? null);
      this.add(new RetainedValue(this, topic, record, ownership, ++this.newest), leftMs);
      if (ownership !== null) this.presence.restore(ownership, owner?.awayMs ?? 0);
    }
  }

  /** Whoever owned the value is gone. */
  private leave(topic: string): void {
    const value = this.index.get(topic);
    if (value !== null && this.keeper.leave(value)) this.left(topic);
  }

  /** The session of a value that another node has kept goes on here: by that all know that it is this node which looks after it. [CLU-43] */
  private adopted({ topic }: Ownership): void {
    const value = this.index.get(topic);
    if (value !== null) this.keeper.put(topic, value.record, value.place, value.revision);
  }

  private hasRoom(topic: string, recordBytes: number): boolean {
    const earlier = this.index.get(topic);
    const grownBytes =
      chargeOf(recordBytes, topic) - (earlier === null ? 0 : chargeOf(earlier.record.length, topic));
    return (
      grownBytes <= 0 ||
      this.bytes + grownBytes + NODE_CHARGE_BYTES * this.index.missing(topic) <= this.limits.retainedBytesMax
    );
  }

  private leftOf(expiresAt: number): number {
    return expiresAt === 0 ? NEVER : expiresAt - this.time.wallMs;
  }

  private add(value: RetainedValue, ttlMs: number): void {
    this.index.set(value);
    this.valueBytes += chargeOf(value.record.length, value.topic);
    if (ttlMs !== NEVER) this.expiry.add(value, this.time.nowMs + ttlMs);
  }

  /** The value does not count any more, and nobody gets it who was about to. */
  private forget(value: RetainedValue): void {
    value.newestAt = Number.POSITIVE_INFINITY;
    this.valueBytes -= chargeOf(value.record.length, value.topic);
    this.expiry.remove(value);
    if (value.ownership !== null) this.presence.release(value.ownership);
  }
}

/** version u8, expires at u48 (wall clock, ms; 0: never), is owned u8, grace u32, owner u48, priority u8, PUBLISH */
function encodeRecord(message: Uint8Array, expiresAt: number, ownership: Ownership | null): Uint8Array {
  const record = new Uint8Array(RECORD_HEAD_BYTES + message.length);
  const view = Buffer.from(record.buffer);
  view[0] = VERSION;
  view.writeUIntBE(expiresAt, 1, 6);
  view[FLAGS_AT] =
    (ownership === null ? 0 : Flag.OWNED) | ((message[1] & PublishFlag.QOS) !== 0 ? Flag.QOS1 : 0);
  view.writeUInt32BE(ownership?.graceMs ?? 0, 8);
  view.writeUIntBE(ownership?.session ?? 0, 12, 6);
  record.set(message, RECORD_HEAD_BYTES);
  const command = record.subarray(RECORD_HEAD_BYTES);
  command[1] = (message[1] & KEPT_FLAGS) | PublishFlag.RETAIN;
  command.fill(0, 4, HEADER_BYTES); // no id
  return record;
}

/** Null: it is none that this version can read. */
function decodeHead(record: Uint8Array): { expiresAt: number; graceMs: number | null; owner: number } | null {
  if (record.length <= RECORD_HEAD_BYTES + HEADER_BYTES || record[0] !== VERSION) return null;
  if (record[PRIORITY_AT] >= STREAM_PRIORITIES.length) return null;
  const view = Buffer.from(record.buffer, record.byteOffset, record.length);
  return {
    expiresAt: view.readUIntBE(1, 6),
    graceMs: (view[FLAGS_AT] & Flag.OWNED) === 0 ? null : view.readUInt32BE(8),
    owner: view.readUIntBE(12, 6),
  };
}

function chargeOf(recordBytes: number, topic: string): number {
  return recordBytes + 2 * topic.length + VALUE_CHARGE_BYTES;
}

const VERSION = 1;
const PRIORITY_AT = 18;
const RECORD_HEAD_BYTES = 19;
/** In the head of a record. */
const FLAGS_AT = 7;
const Flag = { OWNED: 0x01, QOS1: 0x02 } as const;
const KEPT_FLAGS = PublishFlag.PROPERTIES | PublishFlag.COMPRESSED;
/** What a value costs beside its bytes and its topic, which is there and in the store's keys; an owned one costs some more. */
const VALUE_CHARGE_BYTES = 576;
/** What a level of a topic costs in the index. */
const NODE_CHARGE_BYTES = 256;
