/**
 * What a client in a browser publishes, over all its connections. A message with QoS 0 goes out at once where there is a connection; one with QoS 1 is held until
 * the broker has answered, and goes out again after a lost connection, with a message id by which the broker knows that it had it. What cannot go out waits,
 * in order and within the bounds of a {@link Backlog}. [WEB-5]
 */

import { JspError } from '../base/errors.ts';
import { MILLISECOND, type Micros, NEVER } from '../base/time.ts';
import { Backlog, type BufferOptions, expiredError, type Lane, Outgoing } from '../client/backlog.ts';
import { type Breaker, circuitOpenError } from '../client/breaker.ts';
import type { LinkUser } from '../client/link.ts';
import type { OutboxOwner } from '../client/outbox.ts';
import type { PublishReceipt } from '../client/sequence.ts';
import { PUBLISH_RESULT_NAMES } from '../pubsub/acknowledgement.ts';
import { assertTopic } from '../pubsub/topic.ts';
import { abortError, onAbort, unlessAborted } from '../transport/abort.ts';
import type { Clock, TimerHandle } from '../udp/clock.ts';
import { countIn, type Frame, type Saying, textIn } from './frames.ts';
import type { WebLink } from './link.ts';
import { messageMembers, type PublishOptions } from './publish-options.ts';

export class Outbox implements LinkUser<WebLink> {
  /** Messages with QoS 0 of which nobody knows whether the broker has them: their connection ended. */
  lost = 0;
  /** Messages with QoS 1 that are stored, and that are not and will not be. */
  acknowledged = 0;
  refused = 0;
  private readonly clock: Clock;
  private readonly owner: OutboxOwner;
  private readonly breaker: Breaker | null;
  private readonly backlog: Backlog;
  /** Of messages that wait, by QoS. */
  private readonly lanes: readonly [Lane, Lane];
  /** With QoS 1, sent and not answered, in order. */
  private readonly sent = new Set<WebOutgoing>();
  /** Of an earlier connection, to be sent again before all else, in order. */
  private again: WebOutgoing[] = [];
  /** What message ids of this client begin with. */
  private readonly prefix: string;
  private lastNumber = 0;
  private lastOrder = 0;
  private link: WebLink | null = null;
  private failure: JspError | null = null;
  /** With QoS 0 on this connection; and of these, those that the gateway has confirmed to have read. */
  private said = 0;
  private read = 0;
  private isAsking = false;
  private mustTellDrain = false;
  private lookTimer: TimerHandle | null = null;
  private syncTimer: TimerHandle | null = null;
  private drainWaits: ((error: JspError | null) => void)[] = [];
  private waits: { readonly upTo: number; settle(error: JspError | null): void }[] = [];

  /** @param prefix - a text that no other client has */
  constructor(
    buffer: BufferOptions,
    breaker: Breaker | null,
    clock: Clock,
    prefix: string,
    owner: OutboxOwner,
  ) {
    this.breaker = breaker;
    if (breaker !== null) breaker.onFree = () => this.goOn();
    this.clock = clock;
    this.prefix = prefix;
    this.owner = owner;
    this.backlog = new Backlog(buffer, clock);
    this.lanes = [this.backlog.newLane(), this.backlog.newLane()];
  }

  /**
   * With QoS 0. False: it is enough for now.
   *
   * @param options - checked before, as those of {@link publishAcknowledged}
   */
  publish(topic: string, payload: Uint8Array | string, options: PublishOptions): boolean {
    assertTopic(topic);
    if (this.failure !== null) throw this.failure;
    const { link } = this;
    if (link !== null && this.lanes[0].first === null && link.bufferedBytes <= HIGH_BYTES) {
      link.send({ type: 'publish', ...messageMembers(topic, payload, options), ttlMs: options.ttlMs });
      this.lastOrder++;
      this.said++;
      this.syncLater();
      if (link.bufferedBytes <= HIGH_BYTES) return true;
      this.lookLater();
    } else {
      const message = this.newMessage(topic, payload, options, null);
      this.backlog.admit(message, this.lanes[0]);
      this.enqueue(message);
      if (link === null && !this.backlog.isFilling) return true;
    }
    this.mustTellDrain = true;
    return false;
  }

  /** With QoS 1. It does not throw. */
  publishAcknowledged(
    topic: string,
    payload: Uint8Array | string,
    options: PublishOptions,
  ): Promise<PublishReceipt> {
    const { signal } = options;
    let message: WebOutgoing;
    try {
      assertTopic(topic);
      if (signal?.aborted) throw abortError(signal);
      if (this.failure !== null) throw this.failure;
      if (this.breaker?.state === 'open' && !this.breaker.buffers) throw circuitOpenError();
      const messageId = options.messageId ?? `${this.prefix}.${++this.lastNumber}`;
      message = this.newMessage(topic, payload, { ...options, messageId }, new Receipt());
      this.backlog.admit(message, this.lanes[1]);
    } catch (error) {
      return this.reject(topic, error);
    }
    const { promise } = message.receipt as Receipt;
    if (signal !== undefined) {
      const forget = onAbort(signal, () => this.abandon(message, abortError(signal)));
      promise.then(forget, forget);
    }
    this.enqueue(message);
    this.pump();
    return promise;
  }

  /** A message that is not taken: its promise, and the event, tell. */
  reject(topic: string, error: unknown): Promise<PublishReceipt> {
    const rejected = Promise.reject(error);
    rejected.catch(() => {}); // the event tells
    if (error instanceof JspError) {
      this.refused++;
      this.owner.onUnpublished({ topic, qos: 1 }, error);
    }
    return rejected;
  }

  /** Published messages that the broker has not confirmed. */
  get unconfirmed(): number {
    return this.backlog.messages + this.unread;
  }

  /** Their topics. */
  get unsettledTopics(): readonly string[] {
    const topics = [...this.again, ...this.sent].map(({ topic }) => topic);
    for (const { first } of this.lanes) {
      for (let each = first; each !== null; each = each.next) topics.push(each.topic);
    }
    return topics;
  }

  /** Bytes that were handed to the connection and have not left. */
  get queuedBytes(): number {
    return this.link?.bufferedBytes ?? 0;
  }

  get metrics() {
    const { messages, bytes, waiting, dropped, expired } = this.backlog;
    const { acknowledged, refused, lost } = this;
    const buffered = { messages, bytes, waiting: waiting + this.again.length, dropped, expired };
    return { buffered, acknowledged, refused, lost };
  }

  /** Resolves when {@link publish} may go on. */
  async drained(signal: AbortSignal | undefined): Promise<void> {
    if (this.failure !== null) throw this.failure;
    if (!this.mustTellDrain) return;
    const drained = new Promise<void>((resolve, reject) => {
      this.drainWaits.push((error) => (error === null ? resolve() : reject(error)));
    });
    await unlessAborted(drained, signal);
  }

  /** Resolves when the broker has what was published so far: with QoS 0 when the gateway has read it. Rejects when a connection takes messages with QoS 0 with it. */
  async flush(signal: AbortSignal | undefined): Promise<void> {
    const { lost } = this;
    await this.until(this.lastOrder, signal);
    if (this.lost > lost) throw lostError(this.lost - lost);
    while (this.unread > 0) {
      const { link, said } = this;
      if (link === null) return;
      await unlessAborted(link.answer({ type: 'ping' }), signal);
      this.confirm(link, said);
    }
  }

  /** The breaker lets something through. */
  goOn(): void {
    this.pump();
  }

  online(link: WebLink): void {
    this.link = link;
    if (this.again.length > 0) this.breaker?.forgetTrial();
    this.pump();
  }

  offline(): void {
    this.link = null;
    this.lost += this.unread;
    this.said = 0;
    this.read = 0;
    this.isAsking = false;
    this.stopTimers();
    this.again = [...this.sent, ...this.again];
    this.sent.clear();
  }

  closed(reason: JspError | null): void {
    this.offline();
    this.failure = reason ?? new JspError('ERR_JSP_CLOSED', 'The client is closed.');
    const { again, failure } = this;
    this.again = [];
    for (const message of again) {
      this.backlog.release(message);
      message.fail(failure);
    }
    this.backlog.failAll(failure);
    this.tellDrained(failure);
    this.tellWaits();
  }

  private newMessage(
    topic: string,
    payload: Uint8Array | string,
    options: PublishOptions,
    receipt: Receipt | null,
  ): WebOutgoing {
    const expiresAt = options.ttlMs === undefined ? NEVER : this.clock.now() + options.ttlMs * MILLISECOND;
    // What was handed over is the caller's again.
    const kept = typeof payload === 'string' ? payload : payload.slice();
    const members = messageMembers(topic, kept, options);
    return new WebOutgoing(topic, payload.length, expiresAt, members, receipt, (message, error) =>
      this.onFailed(message, error),
    );
  }

  private onFailed(message: WebOutgoing, error: JspError): void {
    const { topic, qos, receipt } = message;
    if (qos === 1) this.refused++;
    receipt?.reject(error);
    this.owner.onUnpublished({ topic, qos }, error);
    this.tellWaits();
  }

  private enqueue(message: WebOutgoing): void {
    this.backlog.enqueue(message, this.lanes[message.qos]);
    message.number = ++this.lastOrder;
    if (this.link !== null) this.lookLater();
  }

  private get unread(): number {
    return this.said - this.read;
  }

  private get isWaiting(): boolean {
    return this.next !== null;
  }

  /** What goes out next: what went out before, then what is to be answered, as far as that may begin. */
  private get next(): WebOutgoing | null {
    const [plain, acknowledged] = this.lanes;
    const first = this.again[0] ?? acknowledged.first;
    return (first !== null && this.mayBegin ? first : plain.first) as WebOutgoing | null;
  }

  /** Sends what waits, as far as there is room. */
  private pump(): void {
    const { link } = this;
    while (link !== null && this.link === link && link.bufferedBytes <= HIGH_BYTES) {
      const message = this.next;
      if (message === null) break;
      const isLate = message.expiresAt <= this.clock.now();
      if (!isLate && message.qos === 1 && this.breaker?.admits() === false) break;
      if (message === this.again[0]) this.again.shift();
      else this.backlog.dequeue(message);
      if (isLate) this.expire(message);
      else this.sendMessage(link, message);
    }
    if (link !== null && this.isWaiting) this.lookLater();
    this.tellWaits();
    if (!this.mustTellDrain || this.isFull) return;
    this.mustTellDrain = false;
    this.tellDrained(null);
    this.owner.onDrain();
  }

  private tellDrained(error: JspError | null): void {
    const waits = this.drainWaits;
    this.drainWaits = [];
    for (const settle of waits) settle(error);
  }

  private get isFull(): boolean {
    return this.backlog.isFilling || (this.link !== null && this.isWaiting) || this.queuedBytes > LOW_BYTES;
  }

  /** One more may wait for its answer. */
  private get mayBegin(): boolean {
    return this.sent.size < UNANSWERED_MAX && this.breaker?.state !== 'open';
  }

  private sendMessage(link: WebLink, message: WebOutgoing): void {
    const saying: Saying = { type: 'publish', ...message.members, ttlMs: this.leftMs(message) };
    if (message.receipt === null) {
      this.backlog.release(message);
      try {
        link.send(saying);
      } catch (error) {
        return message.fail(error as JspError);
      }
      this.said++;
      this.syncLater();
      return;
    }
    this.sent.add(message);
    link.ask(saying, (answer, error) => this.onAnswered(message, answer, error));
  }

  /** Its time to live was over before it could go, and it is nobody's trial. */
  private expire(message: WebOutgoing): void {
    this.backlog.release(message);
    this.backlog.expired++;
    message.fail(expiredError());
  }

  private leftMs({ expiresAt }: WebOutgoing): number | undefined {
    if (expiresAt === NEVER) return undefined;
    return Math.max(1, Math.ceil((expiresAt - this.clock.now()) / MILLISECOND)); // time goes on since it was looked at
  }

  private onAnswered(message: WebOutgoing, answer: Frame | null, error: JspError | null): void {
    // The connection is over: it goes out by the next.
    if (answer === null && (error === null || this.link === null || this.link.failure !== null)) return;
    if (!this.sent.delete(message)) return;
    this.backlog.release(message);
    this.breaker?.settled(error);
    if (error !== null) message.fail(error);
    else {
      this.acknowledged++;
      message.receipt?.resolve(receiptOf(answer as Frame));
    }
    this.pump();
  }

  private abandon(message: WebOutgoing, error: JspError): void {
    if (message.lane !== null) {
      this.backlog.release(message);
      message.fail(error);
    } else message.receipt?.reject(error);
  }

  /** Resolves when nothing that was published up to there waits any more, or for its answer. */
  private async until(upTo: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.failure !== null) throw this.failure;
    if (this.oldest > upTo) return;
    const reached = new Promise<void>((resolve, reject) => {
      this.waits.push({ upTo, settle: (error) => (error === null ? resolve() : reject(error)) });
    });
    await unlessAborted(reached, signal);
  }

  /** The number of the first message that waits, or for its answer. */
  private get oldest(): number {
    const [first = null] = this.sent;
    const waiting = this.lanes.map((lane) => lane.first as WebOutgoing | null);
    const numbers = [first, this.again[0], ...waiting].map(
      (message) => message?.number ?? Number.POSITIVE_INFINITY,
    );
    return Math.min(...numbers);
  }

  private tellWaits(): void {
    if (this.waits.length === 0) return;
    const { oldest, failure } = this;
    const over = this.waits.filter(({ upTo }) => failure !== null || upTo < oldest);
    this.waits = this.waits.filter((wait) => !over.includes(wait));
    for (const { settle } of over) settle(failure);
  }

  /** A browser tells nobody that what it was given has left. */
  private lookLater(): void {
    this.lookTimer ??= this.after(LOOK_MS, () => {
      this.lookTimer = null;
      this.pump();
      if (this.mustTellDrain && this.link !== null) this.lookLater();
    });
  }

  /** Asks now and then whether everything was read. */
  private syncLater(): void {
    if (this.isAsking) return;
    this.syncTimer ??= this.after(SYNC_MS, () => {
      this.syncTimer = null;
      const { link, said } = this;
      if (link === null || this.unread === 0) return;
      this.isAsking = true;
      link.ask({ type: 'ping' }, (answer) => {
        if (answer === null || this.link !== link) return;
        this.isAsking = false;
        this.confirm(link, said);
        if (this.unread > 0) this.syncLater();
      });
    });
  }

  private confirm(link: WebLink, said: number): void {
    if (this.link === link) this.read = Math.max(this.read, said);
  }

  private after(ms: number, callback: () => void): TimerHandle {
    return this.clock.setTimer(this.clock.now() + ms * MILLISECOND, callback);
  }

  private stopTimers(): void {
    for (const timer of [this.lookTimer, this.syncTimer]) if (timer !== null) this.clock.clearTimer(timer);
    this.lookTimer = null;
    this.syncTimer = null;
  }
}

/** A published message that is held. */
class WebOutgoing extends Outgoing {
  /** Its place among all that were published. */
  number = 0;
  readonly members: Omit<Saying, 'type'>;
  /** Null: with QoS 0. */
  readonly receipt: Receipt | null;
  private readonly onFailed: (message: WebOutgoing, error: JspError) => void;

  constructor(
    topic: string,
    bytes: number,
    expiresAt: Micros,
    members: Omit<Saying, 'type'>,
    receipt: Receipt | null,
    onFailed: (message: WebOutgoing, error: JspError) => void,
  ) {
    super(topic, bytes, expiresAt);
    this.members = members;
    this.receipt = receipt;
    this.onFailed = onFailed;
  }

  get qos(): 0 | 1 {
    return this.receipt === null ? 0 : 1;
  }

  fail(error: JspError): void {
    this.onFailed(this, error);
  }
}

/** A promise of a receipt. One that nobody awaits does no harm. */
class Receipt {
  resolve: (receipt: PublishReceipt) => void = () => {};
  reject: (error: JspError) => void = () => {};
  readonly promise = new Promise<PublishReceipt>((resolve, reject) => {
    this.resolve = resolve;
    this.reject = reject;
  });

  constructor() {
    this.promise.catch(() => {});
  }
}

function lostError(count: number): JspError {
  return new JspError(
    'ERR_JSP_OFFLINE',
    `The connection was lost, and nobody knows whether the broker has ${count} messages that were published with QoS 0.`,
  );
}

function receiptOf(answer: Frame): PublishReceipt {
  const said = textIn(answer, 'result');
  const result = PUBLISH_RESULT_NAMES.find((each) => each === said) ?? 'inMemory';
  return { offset: countIn(answer, 'offset'), duplicate: result === 'duplicate', result };
}

/** Bytes that the socket holds at which it is given no more, and at which it is told that there is room. */
const HIGH_BYTES = 1024 * 1024;
const LOW_BYTES = 256 * 1024;
const UNANSWERED_MAX = 1_000;
const LOOK_MS = 20;
const SYNC_MS = 500;
