/**
 * What an operator can look at in the core, and do there: one face, so that nothing else of it has to be shown. It costs nothing as long as nobody asks. [OPS-1]
 */

import type { Properties } from '../../../pubsub/properties.ts';
import type { Administration } from '../administration/administration.ts';
import type { Client } from '../delivery/client.ts';
import type { Subscription } from '../delivery/subscription.ts';
import type { DurableMetrics } from '../durable/consumers.ts';
import type { Member } from '../durable/member.ts';
import { offerStored } from '../handlers/publish.ts';
import { logsOfFilter } from '../publishing/log-routing.ts';
import type { Session } from '../session/session.ts';
import type { BrokerState } from '../state.ts';
import type { LogPort } from '../store-port.ts';
import { DeadLetterBox } from './dead-letter-box.ts';
import type { LatencySpan } from './latencies.ts';
import { LogReadings } from './log-readings.ts';
import { type TopicRate, TopicSketch } from './topic-sketch.ts';

export class Inspection {
  readonly readings = new LogReadings();
  readonly deadLetters: DeadLetterBox;
  private readonly state: BrokerState;

  constructor(state: BrokerState) {
    this.state = state;
    this.deadLetters = new DeadLetterBox(
      {
        get wallMs() {
          return state.wallMs;
        },
        store: state.store,
        routing: state.routing,
        offerStored: (command) => offerStored(state, state.own.channel, command),
      },
      this.readings,
    );
    state.storeListeners.push(this.readings, this.deadLetters);
  }

  /** Answers to operators, and connections that they close. */
  get administration(): Administration {
    return this.state.administration;
  }

  /** Closes the connection of a session on another node of the cluster; `done` is told whether there was one. [CLU-53] */
  kickElsewhere(session: string, by: string, reason: string, done: (kicked: boolean) => void): void {
    const { neighbours } = this.state;
    if (neighbours === null) done(false);
    else neighbours.orders.kick(session, by, reason, done);
  }

  /** Who may do what was read anew: other nodes do the same. */
  tellAccessRead(): void {
    this.state.neighbours?.orders.readAccess();
  }

  get nowMs(): number {
    return this.state.nowMs;
  }

  get wallMs(): number {
    return this.state.wallMs;
  }

  get logs(): readonly LogPort[] {
    return this.state.store.logs;
  }

  get limits(): { readonly [name: string]: number } {
    return this.state.limits;
  }

  /** Who is connected, each with its session. */
  get clients(): ReadonlyMap<Client, Session> {
    return this.state.clients;
  }

  /** All sessions that have a name. */
  sessions(): Iterable<Session> {
    return this.state.sessions.all();
  }

  /** Names of the logs that have what `filter` matches, of which a subscription reads one. [BRK-132] */
  logsOf(filter: string): string[] {
    return logsOfFilter(this.state.store.logs, filter).map(({ name }) => name);
  }

  /** What a door remembers of the session of this name. [BRK-130] */
  noteOf(name: string): Uint8Array | null {
    const session = this.state.sessions.find(name);
    return session === undefined ? null : this.state.notes.of(session);
  }

  /** Takes the note of a session, and calls `settled` when that is safe; with false when there is no such session, or no room. */
  setNote(name: string, note: Uint8Array, settled: (isKept: boolean) => void): void {
    const session = this.state.sessions.find(name);
    if (session === undefined || !this.state.notes.set(session, note)) settled(false);
    else
      this.state.storedAnswers.whenSafe(
        () => settled(true),
        () => settled(false),
      );
  }

  sessionOverAt(session: Session): number | null {
    return this.state.sessions.overAt(session);
  }

  /** What has a name and reads a log. */
  durables(): Iterable<DurableMetrics> {
    return this.state.consumers.metrics();
  }

  /** The subscriptions of a client, with what takes messages of a log for them. */
  *subscriptionsOf(client: Client): Iterable<readonly [Subscription, Member | null]> {
    for (const channel of client.channels) {
      const subscription = this.state.subscriptionOf(channel);
      if (subscription?.main === channel) yield [subscription, this.state.consumers.memberOf(subscription)];
    }
  }

  get messagesOut(): number {
    return this.state.counters.messagesOut;
  }

  /** The turn of a message that went out took so long. */
  turned(ms: number): void {
    this.state.latencies.turned(ms);
  }

  /** What `look` finds in what came since the last time. */
  takeLatencies<T>(look: (span: LatencySpan) => T): T {
    return this.state.latencies.take(this.state.counters.messagesOut, look);
  }

  /** When the log has stored something last. */
  storedAt(log: LogPort): number | null {
    return this.state.latencies.storedAt(log);
  }

  /** Begins or ceases to count messages by topic. */
  countTopics(counts: boolean): void {
    if (!counts) this.state.topicSketch = null;
    else this.state.topicSketch ??= new TopicSketch();
  }

  /** So many seconds are over. */
  fadeTopics(seconds: number): void {
    this.state.topicSketch?.fade(seconds);
  }

  /** The topics of the most messages, each with how many subscriptions it has. */
  topTopics(limit: number): (TopicRate & { readonly subscribers: number })[] {
    const { topicSketch, router } = this.state;
    return (topicSketch?.top(limit) ?? []).map((rate) => {
      let subscribers = 0;
      for (const entry of router.matching(rate.topic)) subscribers += entry.subscribers.length;
      return { ...rate, subscribers };
    });
  }

  /** Whether anybody is subscribed to a topic. */
  isHeard(topic: string): boolean {
    return this.state.router.matching(topic).length > 0;
  }

  /** Publishes to a topic of the broker's own, at QoS 0: to those who are subscribed now. */
  tell(topic: string, payload: Uint8Array, properties: Properties): void {
    this.state.own.tell(topic, payload, properties);
  }
}
