/**
 * The subscriptions of one MQTT client, as streams to the broker: those of the same kind share one, so that a message that several of them match comes once, with the
 * identifiers of all [MQT-15]. One of QoS 1 reads a log, with a cursor that outlives the connection where the session does [MQT-14]; one that is shared has a stream of its own.
 */

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
import { encodeSubscribeOptions, type SubscribeOptionValues } from '../../pubsub/subscribe-options.ts';
import { isShared } from '../../pubsub/topic.ts';
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
  /** How long the session outlives its connection; 0: it does not. */
  readonly expiryMs: number;
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
    const held = this.byFilter.get(filter);
    const group = this.groupOf(subscription);
    const wantsValues =
      !isShared(filter) &&
      (handling === RetainHandling.SEND || (handling === RetainHandling.IF_NEW && held === undefined));
    if (held !== undefined && held.group !== group) this.leave(held);
    const now = new Held(subscription, group);
    this.byFilter.set(filter, now);
    group.subscribe(now, wantsValues, (reason) => {
      if (reason >= MqttReason.UNSPECIFIED && this.byFilter.get(filter) === now) this.byFilter.delete(filter);
      done(reason);
    });
  }

  /** @param done - called behind the last message for it */
  unsubscribe(filter: string, done: (reason: number) => void): void {
    const held = this.byFilter.get(filter);
    if (held === undefined) {
      done(MqttReason.NO_SUBSCRIPTION_EXISTED);
      return;
    }
    this.byFilter.delete(filter);
    this.leave(held, done);
  }

  /** The broker lets the client have this no more. */
  revoked(filter: string): void {
    const held = this.byFilter.get(filter);
    if (held === undefined) return;
    this.byFilter.delete(filter);
    held.group.forget(held);
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

  private leave(held: Held, done: (reason: number) => void = () => {}): void {
    const { group } = held;
    group.unsubscribe(held, (reason) => {
      if (group.isEmpty && this.groups.get(group.key) === group) {
        this.groups.delete(group.key);
        group.close();
      }
      done(reason);
    });
  }

  private groupOf({ filter, qos, noLocal, retainAsPublished }: MqttSubscription): Group {
    const kind = `${qos}${noLocal ? 'n' : ''}${retainAsPublished ? 'p' : ''}`;
    const key = isShared(filter) ? `${kind} ${filter}` : kind;
    let group = this.groups.get(key);
    if (group === undefined) {
      // A log does not know whose messages are those of a session that it need not remember.
      const readsLog = qos === 1 && !(noLocal && this.terms.expiryMs === 0);
      group = new Group(this.session, this.owner, key, {
        ...{ qos, noLocal, retainAsPublished, readsLog },
        options: this.optionsOf(readsLog),
      });
      group.setPaused(this.isPaused(group));
      this.groups.set(key, group);
    }
    return group;
  }

  private optionsOf(readsLog: boolean): SubscribeOptionValues {
    if (!readsLog) return {};
    return { unackedMax: this.terms.receiveMaximum, ackWaitMs: ACK_WAIT_MS };
  }
}

/** A filter that is subscribed. */
class Held {
  readonly subscription: MqttSubscription;
  readonly group: Group;

  constructor(subscription: MqttSubscription, group: Group) {
    this.subscription = subscription;
    this.group = group;
  }
}

interface GroupTerms {
  readonly qos: 0 | 1;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly readsLog: boolean;
  readonly options: SubscribeOptionValues;
}

/** Subscriptions of one kind: a stream. */
class Group implements SettledSource {
  readonly key: string;
  private readonly session: Session;
  private readonly owner: SubscriptionsOwner;
  private readonly terms: GroupTerms;
  private readonly options: Uint8Array;
  private stream: CommandStream | null = null;
  private readonly held = new Map<string, Held>();
  /** How many of them have an identifier; only then is it of interest which of them match. */
  private identified = 0;
  private readonly trie = new SubscriptionTrie<Held>();
  /** By the id of their request: who waits for SUBSCRIBED. */
  private readonly awaiting = new Map<number, () => void>();
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
    this.options = encodeSubscribeOptions(terms.options);
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
    const { qos, noLocal, readsLog } = this.terms;
    const flags =
      Overflow.DROP_OLDEST |
      SubscribeFlag.COMPRESSED |
      (readsLog ? SubscribeFlag.QOS1 : 0) |
      (noLocal ? SubscribeFlag.NO_LOCAL : 0) |
      (wantsValues ? 0 : SubscribeFlag.NO_RETAINED);
    this.remember(held);
    let request = 0;
    let isAnswered = false;
    const answer = (reason: number): void => {
      if (isAnswered) return;
      isAnswered = true;
      this.awaiting.delete(request);
      done(reason);
    };
    this.open()
      .ask((id) => {
        request = id;
        this.awaiting.set(id, () => answer(qos));
        return encodeSubscribe(id, filter, flags, 0, 0, this.options);
      })
      .catch((error: JspError) => {
        if (this.held.get(filter) === held) this.forget(held);
        answer(subscribeReasonOf(error.applicationCode));
      });
  }

  unsubscribe(held: Held, done: (reason: number) => void): void {
    const { filter } = held.subscription;
    this.forget(held);
    this.open()
      .ask((id) => encodeUnsubscribe(id, filter))
      .then(
        () => done(MqttReason.SUCCESS),
        () => done(MqttReason.SUCCESS), // it is gone, whoever has ended it
      );
  }

  /** It is subscribed no more. */
  forget(held: Held): void {
    const { filter, id } = held.subscription;
    if (this.held.get(filter) !== held) return;
    this.held.delete(filter);
    this.trie.remove(filter, held);
    if (id > 0) this.identified--;
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
    this.trie.add(filter, held);
    if (id > 0) this.identified++;
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
    if (this.terms.readsLog && this.next === 0) this.next = Math.max(1, decodeSubscribed(answer)?.next ?? 1);
    this.awaiting.get(answer.readUInt32BE(REQUEST_AT))?.();
  }

  private onDelivery(message: Buffer, { flags, id, topicEnd, payloadStart }: CommandReader): void {
    const isOfLog = (flags & PublishFlag.QOS1) !== 0 && id !== 0;
    let offset = -1;
    if (isOfLog) {
      offset = offsetOf(id, this.next);
      if (offset >= this.next) this.next = offset + 1;
    }
    const payload = payloadIn(message, flags, payloadStart);
    if (payload === null) {
      if (isOfLog) this.settle(offset); // nobody can open it, however often it comes
      return;
    }
    this.owner.deliver({
      ...{ message, topicEnd, payload, offset },
      qos: isOfLog ? 1 : 0,
      isRetained: (flags & PublishFlag.RETAIN) !== 0,
      isRedelivered: (flags & PublishFlag.REDELIVERED) !== 0,
      subscriptionIds: this.identified === 0 ? NO_IDS : this.idsFor(message),
      source: isOfLog ? this : null,
    });
  }

  private idsFor(message: Buffer): readonly number[] {
    const ids: number[] = [];
    for (const { subscribers } of this.trie.match(topicOf(message))) {
      for (const { subscription } of subscribers) if (subscription.id > 0) ids.push(subscription.id);
    }
    return ids;
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

const NO_IDS: readonly number[] = [];
/** In a command. */
const REQUEST_AT = 4;
/** A client of MQTT acknowledges when it likes; nothing is sent twice on one connection. [MQT-16] */
const ACK_WAIT_MS = 0xffff_ffff;
