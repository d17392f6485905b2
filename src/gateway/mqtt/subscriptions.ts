/**
 * The subscriptions of one MQTT client, as streams to the broker: those of the same kind share one, so that a message that several of them match comes once, with the
 * identifiers of all [MQT-15]. One of QoS 1 reads a log, with a cursor that outlives the connection where the session does [MQT-14]; one that is shared has a stream of its own.
 */

import { hash } from 'node:crypto';
import type { JspError } from '../../base/errors.ts';
import type { CommandStream } from '../../client/command-stream.ts';
import { decodeSubscribed, offsetOf } from '../../pubsub/acknowledgement.ts';
import {
  type CommandReader,
  encodeSubscribe,
  encodeUnsubscribe,
  Overflow,
  PublishFlag,
  SubscribeFlag,
  topicOf,
} from '../../pubsub/command.ts';
import { SubscriptionTrie } from '../../pubsub/router.ts';
import {
  AsPublished,
  encodeSubscribeOptions,
  RetainedHandling,
  type SubscribeOptionValues,
} from '../../pubsub/subscribe-options.ts';
import { isShared, sharedFilter } from '../../pubsub/topic.ts';
import { payloadIn } from '../delivered.ts';
import type { Session } from '../session.ts';
import { acksOf } from '../settling.ts';
import { MqttReason, subscribeReasonOf } from './codes.ts';

/** What a client asks for with one filter. */
export interface MqttSubscription {
  readonly filter: string;
  readonly qos: 0 | 1;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  /** 0: none. */
  readonly id: number;
}

/** A message for the client. */
export interface MqttDelivery {
  readonly message: Buffer;
  readonly topicEnd: number;
  readonly payload: Buffer;
  readonly qos: 0 | 1;
  readonly isRetained: boolean;
  readonly isRedelivered: boolean;
  readonly subscriptionIds: readonly number[];
  /** What is told that it was acknowledged; null: nobody has to be. */
  readonly source: SettledSource | null;
  /** In its log. */
  readonly offset: number;
}

export interface SettledSource {
  settle(offset: number): void;
}

/** Who has the subscriptions. */
export interface SubscriptionsOwner {
  /** Takes a message; it says by {@link Subscriptions.setPaused} that it takes no more. */
  deliver(delivery: MqttDelivery): void;
  /** The broker has ended subscriptions by itself. */
  onEnded(error: JspError): void;
}

/** What holds for all of them. */
export interface SubscriptionTerms {
  /** Messages that the client takes before it acknowledges the first. */
  readonly receiveMaximum: number;
  /** The session outlives connections, or has done so: what is subscribed with QoS 1 does, too. */
  readonly isKept: boolean;
  /** How long it outlives this one. */
  readonly expiryMs: number;
  /** Names of the logs that have what a filter matches. */
  logsOf(filter: string): readonly string[];
}

/** When the client gets the last values that a filter matches. */
export const RetainHandling = { SEND: 0, IF_NEW: 1, NONE: 2 } as const;

export class Subscriptions {
  private readonly session: Session;
  private readonly owner: SubscriptionsOwner;
  private readonly terms: SubscriptionTerms;
  private readonly byFilter = new Map<string, Held>();
  private readonly groups = new Map<string, Group>();
  private isSlow = false;
  private isWindowFull = false;

  constructor(session: Session, owner: SubscriptionsOwner, terms: SubscriptionTerms) {
    this.session = session;
    this.owner = owner;
    this.terms = terms;
  }

  get size(): number {
    return this.byFilter.size;
  }

  all(): MqttSubscription[] {
    return [...this.byFilter.values()].map(({ subscription }) => subscription);
  }

  /**
   * Subscribes, or changes what is asked for with a filter.
   *
   * @param done - called with the QoS that is granted, or why there is none, before anything comes for it
   */
  subscribe(subscription: MqttSubscription, handling: number, done: (reason: number) => void): void {
    const { filter } = subscription;
    const before = this.byFilter.get(filter);
    const groups = this.groupsOf(subscription);
    const held = new Held(subscription, groups);
    this.byFilter.set(filter, held);
    const isWanted =
      !isShared(filter) &&
      (handling === RetainHandling.SEND || (handling === RetainHandling.IF_NEW && before === undefined));
    let awaited = groups.length;
    let refusal = 0;
    const answered = (reason: number): void => {
      if (reason >= MqttReason.UNSPECIFIED) refusal = reason;
      if (--awaited > 0) return;
      if (refusal > 0 && this.byFilter.get(filter) === held) {
        this.byFilter.delete(filter);
        this.leave(held, held.groups);
      }
      done(refusal > 0 ? refusal : subscription.qos);
    };
    // Last values come by one of them, which is also the one that brings what no log has.
    for (const group of groups) group.subscribe(held, isWanted && group === groups.at(-1), answered);
    if (before !== undefined)
      this.leave(
        before,
        before.groups.filter((group) => !groups.includes(group)),
      );
  }

  /** @param done - called behind the last message for it */
  unsubscribe(filter: string, done: (reason: number) => void): void {
    const held = this.byFilter.get(filter);
    if (held === undefined) {
      done(MqttReason.NO_SUBSCRIPTION_EXISTED);
      return;
    }
    this.byFilter.delete(filter);
    this.leave(held, held.groups, () => done(MqttReason.SUCCESS));
  }

  /** The broker lets the client have this no more. */
  revoked(filter: string): void {
    const held = this.byFilter.get(filter);
    if (held === undefined) return;
    this.byFilter.delete(filter);
    for (const group of held.groups) group.forget(held);
  }

  /** The client's socket has enough. */
  setSlow(isSlow: boolean): void {
    this.isSlow = isSlow;
    for (const group of this.groups.values()) group.setPaused(this.isPaused(group));
  }

  /** The client has as many messages unacknowledged as it takes. */
  setWindowFull(isFull: boolean): void {
    this.isWindowFull = isFull;
    for (const group of this.groups.values()) group.setPaused(this.isPaused(group));
  }

  private isPaused(group: Group): boolean {
    return this.isSlow || (this.isWindowFull && group.mayBeAcknowledged);
  }

  private leave(held: Held, groups: readonly Group[], done: () => void = () => {}): void {
    let awaited = groups.length;
    for (const group of groups) {
      group.unsubscribe(held, () => {
        if (group.isEmpty && this.groups.get(group.key) === group) {
          this.groups.delete(group.key);
          group.close();
        }
        if (--awaited === 0) done();
      });
    }
  }

  /** The streams that bring what a filter matches: one, and where it reads several logs one for each of them. */
  private groupsOf(subscription: MqttSubscription): Group[] {
    const { filter, qos, noLocal } = subscription;
    // A log does not know whose messages are those of a session that it need not remember.
    const readsLog = qos === 1 && !(noLocal && !this.terms.isKept);
    if (!readsLog) return [this.groupOf(subscription, null)];
    const logs = this.terms.logsOf(isShared(filter) ? sharedFilter(filter) : filter);
    return logs.map((log) => this.groupOf(subscription, log));
  }

  private groupOf({ filter, qos, noLocal, retainAsPublished }: MqttSubscription, log: string | null): Group {
    const kind = `${qos}${noLocal ? 'n' : ''}${retainAsPublished ? 'p' : ''}${log === null ? '' : ` ${log}`}`;
    const key = isShared(filter) ? `${kind} ${filter}` : kind;
    let group = this.groups.get(key);
    if (group === undefined) {
      const told = (retainAsPublished ? AsPublished.RETAIN : 0) | (qos === 1 ? AsPublished.QOS : 0);
      group = new Group(this.session, this.owner, key, {
        qos,
        noLocal,
        log,
        options: this.optionsOf(log, told, isShared(filter) ? null : kind),
      });
      group.setPaused(this.isPaused(group));
      this.groups.set(key, group);
    }
    return group;
  }

  /** @param kind - of a subscription that is to outlive the connection, where the session does: by that it is known; null: it is shared, and known by that */
  private optionsOf(log: string | null, told: number, kind: string | null): SubscribeOptionValues {
    const asPublished = told === 0 ? undefined : told;
    if (log === null) return { asPublished };
    const { receiveMaximum: unackedMax, expiryMs, isKept } = this.terms;
    const ackWaitMs = ACK_WAIT_MS;
    if (!isKept) return { asPublished, log, unackedMax, ackWaitMs };
    // A group waits for its members as long as they may be away.
    if (kind === null)
      return { asPublished, log, unackedMax, ackWaitMs, expiryMs: Math.max(GROUP_EXPIRY_MS, expiryMs) };
    const { name, welcome } = this.session;
    const durable = `mqtt/${name.length > NAME_CHARACTERS_MAX ? shortened(name) : name}/${welcome.epoch}/${kind}`;
    return { asPublished, log, unackedMax, ackWaitMs, expiryMs, name: durable, ofSession: true };
  }
}

/** A filter that is subscribed. */
class Held {
  readonly subscription: MqttSubscription;
  readonly groups: readonly Group[];

  constructor(subscription: MqttSubscription, groups: readonly Group[]) {
    this.subscription = subscription;
    this.groups = groups;
  }
}

interface GroupTerms {
  readonly qos: 0 | 1;
  readonly noLocal: boolean;
  /** Name of the log that it reads; null: none. */
  readonly log: string | null;
  readonly options: SubscribeOptionValues;
}

/** Subscriptions of one kind: a stream. */
class Group implements SettledSource {
  readonly key: string;
  private readonly session: Session;
  private readonly owner: SubscriptionsOwner;
  private readonly terms: GroupTerms;
  private stream: CommandStream | null = null;
  private readonly held = new Map<string, Held>();
  /** How many of them have an identifier; only then is it of interest which of them match. */
  private identified = 0;
  /** Where that is of interest: which of them match what; null: it never was. */
  private trie: SubscriptionTrie<Held> | null = null;
  /** How many of them read further logs behind this one, and have from there what no log has. */
  private secondary = 0;
  /** By the id of their request: who waits for SUBSCRIBED; null: nobody does. */
  private awaiting: Map<number, () => void> | null = null;
  private isPaused = false;
  /** The next offset that may come for the first time. */
  private next = 0;
  /** What was acknowledged since the last ACK. */
  private settled: number[] = [];
  private readonly flush = () => this.acknowledge();

  constructor(session: Session, owner: SubscriptionsOwner, key: string, terms: GroupTerms) {
    this.session = session;
    this.owner = owner;
    this.key = key;
    this.terms = terms;
  }

  get isEmpty(): boolean {
    return this.held.size === 0;
  }

  /** What comes of it takes room in the client's window. */
  get mayBeAcknowledged(): boolean {
    return this.terms.qos === 1;
  }

  setPaused(isPaused: boolean): void {
    if (this.isPaused === isPaused) return;
    this.isPaused = isPaused;
    if (isPaused) this.stream?.stream.pause();
    else this.stream?.stream.resume();
  }

  subscribe(held: Held, wantsValues: boolean, done: (reason: number) => void): void {
    const { filter } = held.subscription;
    const { qos, noLocal, log, options: values } = this.terms;
    values.retained = wantsValues ? RetainedHandling.AGAIN : RetainedHandling.NONE;
    const options = encodeSubscribeOptions(values);
    const flags =
      Overflow.DROP_OLDEST |
      SubscribeFlag.COMPRESSED |
      (log !== null ? SubscribeFlag.QOS1 : 0) |
      (noLocal ? SubscribeFlag.NO_LOCAL : 0);
    this.remember(held);
    let request = 0;
    let isAnswered = false;
    const answer = (reason: number): void => {
      if (isAnswered) return;
      isAnswered = true;
      if (this.awaiting?.delete(request) === true && this.awaiting.size === 0) this.awaiting = null;
      done(reason);
    };
    let stream: CommandStream;
    try {
      stream = this.open();
    } catch {
      this.forget(held);
      answer(MqttReason.QUOTA_EXCEEDED); // the connection has as many streams as it may have
      return;
    }
    stream
      .ask((id) => {
        request = id;
        this.awaiting ??= new Map();
        this.awaiting.set(id, () => answer(qos));
        return encodeSubscribe(id, filter, flags, 0, 0, options);
      })
      .catch((error: JspError) => {
        if (this.held.get(filter) === held) this.forget(held);
        answer(subscribeReasonOf(error.applicationCode));
      });
  }

  unsubscribe(held: Held, done: () => void): void {
    const { filter } = held.subscription;
    if (!this.forget(held)) {
      done();
      return;
    }
    if (this.stream === null) done();
    else this.stream.ask((id) => encodeUnsubscribe(id, filter)).then(done, done); // it is gone, whoever has ended it
  }

  /** It is subscribed no more. False: it was not, or is by another. */
  forget(held: Held): boolean {
    const { filter, id } = held.subscription;
    if (this.held.get(filter) !== held) return false;
    this.held.delete(filter);
    this.trie?.remove(filter, held);
    if (id > 0) this.identified--;
    if (held.groups.at(-1) !== this) this.secondary--;
    return true;
  }

  close(): void {
    this.acknowledge();
    this.stream?.end();
    this.stream = null;
  }

  settle(offset: number): void {
    if (this.settled.push(offset) === 1) queueMicrotask(this.flush);
  }

  private remember(held: Held): void {
    const { filter, id } = held.subscription;
    const before = this.held.get(filter);
    if (before !== undefined) this.forget(before);
    this.held.set(filter, held);
    this.trie?.add(filter, held);
    if (id > 0) this.identified++;
    if (held.groups.at(-1) !== this) this.secondary++;
  }

  private open(): CommandStream {
    if (this.stream !== null) return this.stream;
    this.stream = this.session.openStream('chat', {
      onDelivery: (message, reader) => this.onDelivery(message, reader),
      onSubscribed: (answer) => this.onSubscribed(answer),
      onPosition: (_, offset) => {
        this.next = offset;
      },
      onClosed: (error) => this.onClosed(error),
    });
    if (this.isPaused) this.stream.stream.pause();
    return this.stream;
  }

  /** Before anything comes that follows it. */
  private onSubscribed(answer: Buffer): void {
    if (this.terms.log !== null && this.next === 0)
      this.next = Math.max(1, decodeSubscribed(answer)?.next ?? 1);
    this.awaiting?.get(answer.readUInt32BE(REQUEST_AT))?.();
  }

  private onDelivery(message: Buffer, { flags, id, topicEnd, payloadStart }: CommandReader): void {
    const isOfLog = (flags & PublishFlag.QOS1) !== 0 && id !== 0;
    const isQoS1 = (flags & PublishFlag.QOS1) !== 0 && this.terms.qos === 1;
    let offset = -1;
    if (isOfLog) {
      offset = offsetOf(id, this.next);
      if (offset >= this.next) this.next = offset + 1;
    }
    if (!isOfLog && this.secondary > 0 && !this.isPrimaryFor(message)) return;
    const payload = payloadIn(message, flags, payloadStart);
    if (payload === null) {
      if (isOfLog) this.settle(offset); // nobody can open it, however often it comes
      return;
    }
    this.owner.deliver({
      // Each named: an object that begins with members that are spread is slow to make, and to read.
      message,
      topicEnd,
      payload,
      offset,
      qos: isQoS1 ? 1 : 0,
      isRetained: (flags & PublishFlag.RETAIN) !== 0,
      isRedelivered: (flags & PublishFlag.REDELIVERED) !== 0,
      subscriptionIds: this.identified === 0 ? NO_IDS : this.idsFor(message),
      source: isOfLog ? this : null,
    });
  }

  /** Of several streams that bring a message because it is in no log, the last one counts. [BRK-132] */
  private isPrimaryFor(message: Buffer): boolean {
    return this.routes()
      .match(topicOf(message))
      .some(({ subscribers }) => subscribers.some(({ groups }) => groups.at(-1) === this));
  }

  private idsFor(message: Buffer): readonly number[] {
    const ids: number[] = [];
    for (const { subscribers } of this.routes().match(topicOf(message))) {
      for (const { subscription } of subscribers) if (subscription.id > 0) ids.push(subscription.id);
    }
    return ids;
  }

  private routes(): SubscriptionTrie<Held> {
    if (this.trie === null) {
      this.trie = new SubscriptionTrie();
      for (const [filter, held] of this.held) this.trie.add(filter, held);
    }
    return this.trie;
  }

  private onClosed(error: Error | null): void {
    this.stream = null;
    this.settled = [];
    if ((error as JspError | null)?.code === 'ERR_JSP_STREAM_RESET') this.owner.onEnded(error as JspError);
  }

  private acknowledge(): void {
    const { settled, stream } = this;
    if (settled.length === 0) return;
    this.settled = [];
    try {
      for (const ack of acksOf(settled, 0)) stream?.stream.send(ack);
    } catch {
      // The connection is over, which is told.
    }
  }
}

/** A long name takes too much of that of its subscriptions. */
function shortened(name: string): string {
  return hash('sha256', name, 'base64url');
}

const NO_IDS: readonly number[] = [];
/** In a command. */
const REQUEST_AT = 4;
/** A client of MQTT acknowledges when it likes; nothing is sent twice on one connection. [MQT-16] */
const ACK_WAIT_MS = 0xffff_ffff;
/** Of a shared group that nobody holds: what it is where nothing is said. [BRK-74] */
const GROUP_EXPIRY_MS = 3_600_000;
/** A character is up to four bytes, and the name of a durable subscription at most 256. */
const NAME_CHARACTERS_MAX = 40;
