/**
 * How a subscription lives (spec/client.md): its connections, which come and go, and the way of its messages to a handler (handling.ts) or to loops (looping.ts). It is one file because
 * it is one life: whatever comes, from the broker, the application or the connection, is looked at in the light of where that life is.
 */

import { type JspError, printable } from '../base/errors.ts';
import { checkOptions } from '../base/options.ts';
import { decodeSubscribed, MISSED_UNKNOWN, offsetOf, type ReaderStart } from '../pubsub/acknowledgement.ts';
import {
  type CommandReader,
  encodeSubscribe,
  encodeUnsubscribe,
  PublishFlag,
  ReasonCode,
  SubscribeFlag,
} from '../pubsub/command.ts';
import { STATUS_NO_RESPONDERS } from '../pubsub/properties.ts';
import { isShared } from '../pubsub/topic.ts';
import { abortError, abortSignal, onAbort, unlessAborted } from '../transport/abort.ts';
import { IsolatedEmitter } from '../transport/listeners.ts';
import { CommandAcknowledger } from './acknowledging.ts';
import { encodeWith, textOfThrown } from './codec.ts';
import { closedError } from './command-stream.ts';
import type { UnopenedMessage } from './compression.ts';
import { type HandledMessages, Handling } from './handling.ts';
import type { Link, LinkUser } from './link.ts';
import { type LoopedMessages, Loops } from './looping.ts';
import {
  Message,
  type MessageHandler,
  type MessageSource,
  type RespondOptions,
  type Settlement,
} from './message.ts';
import { type BusyKeys, bufferFor, type MessageBuffer } from './message-buffer.ts';
import type { PublishOptions } from './publish-options.ts';
import {
  isCompressedMessage,
  type MessageReading,
  messageOf,
  openedMessage,
  type UndecodableMessage,
} from './reading.ts';
import { refusalCode, resetError } from './refusal.ts';
import { type Resumption, Settling } from './settling.ts';
import {
  ACK_WAIT_MS,
  qosOf,
  type SubscribeOptions,
  subscribeRequest,
  UNACKED_MAX,
} from './subscribe-options.ts';
import {
  type Gap,
  type MissedReason,
  missedReasonOf,
  type Resumed,
  type Subscription,
  type SubscriptionEvents,
} from './subscription.ts';
import { SubscriptionStreams } from './subscription-streams.ts';
import { undertake } from './undertaking.ts';

/** What a subscription tells its client, and asks of it. */
export interface SubscriptionOwner {
  onClosed(subscription: OpenSubscription, error: Error | null): void;
  onMissed(subscription: OpenSubscription, count: number, reason: MissedReason): void;
  onUnopened(subscription: OpenSubscription, message: UnopenedMessage): void;
  onGap(subscription: OpenSubscription, gap: Gap): void;
  onResumed(subscription: OpenSubscription, resumed: Resumed): void;
  /** False: nobody listens. */
  onHandlerError(subscription: OpenSubscription, error: unknown, message: Message): boolean;
  onUndecodable(subscription: OpenSubscription, message: UndecodableMessage): void;
  /** Publishes an answer. */
  publish(topic: string, payload: Uint8Array | string, options: PublishOptions | undefined): boolean;
}

/** Where a subscription is in its life. */
const Phase = {
  /** The broker has not acknowledged it yet. */
  OPENING: 0,
  /** It was acknowledged, and is there again whenever the client is. */
  OPEN: 1,
  /** It is being taken back: what the broker still has is read to the end, so that its answer comes. */
  LEAVING: 2,
  /** What was handed over is finished, and with QoS 1 no more handed over. */
  DRAINING: 3,
  OVER: 4,
} as const;
type Phase = (typeof Phase)[keyof typeof Phase];

export class OpenSubscription
  extends IsolatedEmitter<SubscriptionEvents>
  implements Subscription, HandledMessages, LoopedMessages, MessageSource
{
  readonly filters: readonly string[];
  readonly closed: Promise<Error | null>;
  missed = 0;
  unopened = 0;
  undecodable = 0;
  /** What ended it, where that was not asked for. */
  failure: Error | null = null;
  /** What the client tells of its connections. */
  readonly linkUser: LinkUser = {
    online: (link) => this.online(link),
    offline: () => this.offline(),
    closed: (reason) => this.finish(reason),
  };
  private readonly options: SubscribeOptions;
  private readonly reading: MessageReading;
  private readonly owner: SubscriptionOwner;
  private readonly handling: Handling | null;
  private readonly buffer: MessageBuffer;
  /** Null with QoS 0. */
  private readonly settling: Settling | null;
  private readonly isAutomatic: boolean;
  private readonly unackedMax: number;
  private phase: Phase = Phase.OPENING;
  /** Null without a connection. */
  private streams: SubscriptionStreams | null = null;
  /** The broker has acknowledged it on these streams. */
  private isConfirmed = false;
  /** Settles when it is taken back; null until that is asked for. */
  private takenBack: Promise<void> | null = null;
  private readonly loops = new Loops(this);
  private hasWarned = false;
  private whenIdle: (() => void) | null = null;
  private whenChanged: (() => void) | null = null;
  private resolveClosed: (error: Error | null) => void = () => {};
  private settleOpened: ((error: Error | null) => void) | null = null;

  constructor(
    filters: readonly string[],
    handler: MessageHandler | null,
    options: SubscribeOptions,
    reading: MessageReading,
    owner: SubscriptionOwner,
  ) {
    super();
    this.filters = filters;
    this.options = options;
    this.reading = reading;
    this.owner = owner;
    this.isAutomatic = options.ack !== 'manual';
    this.unackedMax = options.maxUnacked ?? UNACKED_MAX;
    const { concurrency = 1, ackWaitMs = ACK_WAIT_MS } = options;
    this.handling = handler === null ? null : new Handling(handler, concurrency, this, reading.clock);
    this.settling =
      qosOf(options) === 0
        ? null
        : new Settling(ackWaitMs, this.isAutomatic, reading.clock, () => this.readOn());
    this.buffer = bufferFor(options);
    this.closed = new Promise((resolve) => {
      this.resolveClosed = resolve;
    });
  }

  get dropped(): number {
    return this.buffer.dropped;
  }

  get unsettled(): number {
    return this.settling?.count ?? 0;
  }

  // ---- what the application and its client ask for ----

  /** Resolves when the broker has acknowledged all filters for the first time. */
  async opened(signal: AbortSignal | undefined): Promise<void> {
    if (this.phase === Phase.OVER) throw this.failure ?? closedError();
    if (this.phase !== Phase.OPENING) return;
    const answer = new Promise<Error | null>((resolve) => {
      this.settleOpened = resolve;
    });
    const giveUp = () => {
      this.settleOpened?.(abortError(signal as AbortSignal));
      this.close();
    };
    if (signal?.aborted) giveUp();
    const forget = onAbort(signal, giveUp);
    const error = await answer;
    forget();
    if (error !== null) throw error;
  }

  unsubscribe(signal?: AbortSignal): Promise<void> {
    return undertake(
      () => checkOptions('unsubscribe', { signal }, UNSUBSCRIBE_OPTIONS),
      async () => {
        if (this.takenBack === null) {
          this.takenBack = this.takeBack();
          this.takenBack.catch(() => {}); // whoever waits hears of it
          this.readOn();
        }
        if (signal?.aborted) throw abortError(signal);
        await unlessAborted(this.takenBack, signal);
      },
    );
  }

  close(): void {
    this.buffer.clear();
    this.finish(null);
  }

  /**
   * Waits until the application is done with what it has, and closes. With QoS 0 what has arrived is handed over first; with QoS 1 no more is, and the
   * broker has got the acknowledgements. [CLT-31]
   *
   * @returns the messages that the application has and did not settle
   */
  async drain(): Promise<readonly Settlement[]> {
    const { settling } = this;
    if (this.phase === Phase.OVER) return [];
    if (settling === null) {
      await this.unsubscribe();
      await this.idle();
      return [];
    }
    this.phase = Phase.DRAINING;
    this.forgetUnsettled();
    this.loops.wakeAll();
    await this.idle();
    await this.confirmed(settling);
    const left = this.handedOver;
    this.close();
    return left;
  }

  /** Messages that the application has and has not settled. */
  get handedOver(): readonly Settlement[] {
    return this.settling?.handedOver ?? [];
  }

  /** Resolves when the broker has the acknowledgements, on this connection or the next. */
  private async confirmed(settling: Settling): Promise<void> {
    while (this.phase === Phase.DRAINING) {
      const { streams } = this;
      if (streams !== null && this.isConfirmed) {
        settling.flush();
        try {
          return await streams.ping();
        } catch {
          // its connection has ended: what it did not bring goes by the next
        }
      } else if (streams === null && !settling.owesAnswers) return;
      if (this.streams === streams) await this.change();
    }
  }

  /** The broker has acknowledged it on another connection, or it is over. */
  private change(): Promise<void> {
    return new Promise((resolve) => {
      this.whenChanged = resolve;
    });
  }

  [Symbol.asyncIterator](): AsyncGenerator<Message, void, undefined> {
    return this.loops.iterate();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  respond(message: Message, payload: unknown, options: RespondOptions): boolean {
    const { replyTo, correlation } = message;
    if (replyTo === undefined) return false;
    const { status } = options;
    if (status === STATUS_NO_RESPONDERS)
      throw new RangeError('status must not be 503, which says that nobody is there');
    const codec = status ? null : this.reading.codec;
    const answer = codec === null ? ((payload ?? '') as Uint8Array | string) : encodeWith(codec, payload);
    const contentType = options.contentType ?? codec?.contentType;
    const isBare = !status && (correlation ?? contentType ?? options.headers) === undefined;
    const said = isBare ? undefined : { ...options, correlation, contentType };
    try {
      return this.owner.publish(replyTo, answer, said);
    } catch (error) {
      if ((error as JspError).code === 'ERR_JSP_TOPIC_INVALID') return false; // that of who asked, not of who answers
      throw error;
    }
  }

  // ---- its messages, on their way to loops ----

  get isAtEnd(): boolean {
    return this.phase >= Phase.DRAINING && this.buffer.empty;
  }

  beginLoop(): void {
    if (this.handling !== null) throw new TypeError('This subscription gives its messages to a handler.');
  }

  endLoop(): void {
    if (this.phase !== Phase.DRAINING) this.close();
  }

  shift(): Message | undefined {
    const message = this.buffer.shift();
    this.readOn();
    return message;
  }

  // ---- its messages, on their way to the handler ----

  /** What may be opened in this turn of the event loop. */
  get opening(): HandledMessages['opening'] {
    return this.reading.inflater?.turn ?? null;
  }

  take(busy: BusyKeys): Message | undefined {
    return this.buffer.shiftFree(busy, this);
  }

  /** Messages of one key are handled one after the other. [CLT-25] */
  keyOf(message: Message): string {
    return this.options.keyOrder ? (message.key ?? message.topic) : message.topic;
  }

  /** The message as the application gets it. Null: it was told that nobody does, or it was settled while it waited. */
  open(message: Message): Message | null {
    const settlement = message.delivery?.settlement;
    if (settlement?.isSettled) return null;
    const opened = openedMessage(message, this.reading, this, this);
    if (settlement && opened !== null) settlement.isHandedOver = true;
    return opened;
  }

  onHandled(message: Message): void {
    if (this.isAutomatic && message.delivery !== null) message.ack();
  }

  /** [CLT-24] */
  onFailed(message: Message, error: unknown, throwAgain: (error: unknown) => void): void {
    const hasQos1 = message.offset !== undefined;
    if (hasQos1) message.nack({ reason: reasonOf(error) });
    const isHeard = this.tell('handlerError', error, message);
    if (this.owner.onHandlerError(this, error, message) || isHeard) return;
    if (!hasQos1) throwAgain(error);
    else this.warn(error);
  }

  onIdle(): void {
    this.readOn();
    if (this.whenIdle === null || !this.isIdle) return;
    this.whenIdle();
    this.whenIdle = null;
  }

  onUnopened(unopened: UnopenedMessage, message: Message): void {
    this.unopened++;
    this.refuse(message, `cannot be opened: ${unopened.reason}`);
    this.owner.onUnopened(this, unopened);
  }

  onUndecodable(undecodable: UndecodableMessage): void {
    this.undecodable++;
    this.refuse(undecodable.message, undecodable.reason);
    this.tell('undecodable', undecodable);
    this.owner.onUndecodable(this, undecodable);
  }

  // ---- its connections ----

  private online(link: Link): void | Promise<void> {
    if (this.phase > Phase.OPEN && !this.isNeededAgain) return;
    let streams: SubscriptionStreams;
    try {
      streams = new SubscriptionStreams(link, this.options.priority ?? 'chat', {
        onDelivery: (command, reader) => this.receive(command, reader),
        onDropped: (count, reason) => this.onMissed(count, missedReasonOf(reason)),
        onSubscribed: (answer) => this.onSubscribed(answer),
        onPosition: (epoch, offset) => this.onPosition(epoch, offset),
        onClosed: (error) => this.onStreamsClosed(streams, error),
      });
    } catch {
      return; // it is over already, which is told
    }
    this.streams = streams;
    this.isConfirmed = false;
    return this.subscribeOn(streams);
  }

  /** There is something left to tell the broker. */
  private get isNeededAgain(): boolean {
    if (this.phase === Phase.LEAVING) return this.isDurable;
    return (
      this.phase === Phase.DRAINING && (this.settling?.handedOver.length !== 0 || this.settling.owesAnswers)
    );
  }

  /** Asks for all filters. It rejects never: what was refused ends the subscription. */
  private async subscribeOn(streams: SubscriptionStreams): Promise<void> {
    const isAgain = this.phase !== Phase.OPENING;
    try {
      await this.ask(streams, isAgain ? (this.settling?.resumption ?? null) : null);
    } catch (error) {
      const isOtherLog = isAgain && refusalCode(error) === ReasonCode.EPOCH_MISMATCH;
      if (isOtherLog && this.streams === streams) return this.subscribeAnew(streams);
      this.onRefused(streams, error as Error);
      return;
    }
    if (this.phase === Phase.LEAVING) await this.leave(streams);
    else this.onOpened();
  }

  /** The log in which it was is not there any more. [CLT-28] */
  private async subscribeAnew(streams: SubscriptionStreams): Promise<void> {
    try {
      await this.ask(streams, null);
    } catch (error) {
      this.onRefused(streams, error as Error);
    }
  }

  private async ask(streams: SubscriptionStreams, resumption: Resumption | null): Promise<void> {
    const { queueMessages = 0, queueBytes = 0 } = this.options;
    const lanes = streams.takesLanes ? SubscribeFlag.LANES : 0;
    const compressed = this.reading.inflater === null ? 0 : SubscribeFlag.COMPRESSED;
    const isAgain = this.phase !== Phase.OPENING;
    const { flags, options } = subscribeRequest(this.options, lanes | compressed, resumption, isAgain);
    const answers = this.filters.map((filter) =>
      streams.request((id) => encodeSubscribe(id, filter, flags, queueMessages, queueBytes, options)),
    );
    const outcomes = await Promise.allSettled(answers);
    const refused = outcomes.find(({ status }) => status === 'rejected');
    if (refused !== undefined) throw (refused as PromiseRejectedResult).reason;
  }

  private onOpened(): void {
    if (this.phase !== Phase.OPENING) return;
    this.phase = Phase.OPEN;
    this.settleOpened?.(null);
    this.settleOpened = null;
  }

  private onRefused(streams: SubscriptionStreams, error: Error): void {
    // What the connection has failed is asked for again on the next. [CLT-30]
    if (this.streams !== streams || refusalCode(error) === null) return;
    this.finish(error);
  }

  /** The first answer on these streams says where it goes on; deliveries may come right behind it. */
  private onSubscribed(answer: Buffer): void {
    const { streams, settling } = this;
    if (this.isConfirmed || streams === null) return;
    this.isConfirmed = true;
    const isAgain = this.phase !== Phase.OPENING;
    const start = settling === null ? null : decodeSubscribed(answer);
    let recovered = false;
    if (settling !== null && start !== null) {
      if (!isExact(start)) return streams.fail();
      recovered = isAgain && start.isRecovered && settling.resumption?.epoch === start.epoch;
      const broker = new CommandAcknowledger((command) => streams.send(command));
      settling.begin(broker, start, recovered, this.isAlone);
    }
    this.whenChanged?.();
    const missed = start?.missed ?? 0;
    if (missed === MISSED_UNKNOWN || (isAgain && !recovered)) this.tellGap('unknown');
    else if (missed > 0) this.tellGap(missed);
    if (!isAgain) return;
    this.tell('resumed', { recovered });
    this.owner.onResumed(this, { recovered });
  }

  private onPosition(epoch: number, offset: number): void {
    if (!Number.isSafeInteger(epoch) || !Number.isSafeInteger(offset)) return this.streams?.fail();
    if (this.settling?.onPosition(epoch, offset)) this.tellGap('unknown');
  }

  private offline(): void {
    this.streams?.reset();
    this.streams = null;
    this.settling?.breakOff();
    this.forgetUnsettled();
    this.whenChanged?.();
    if (this.phase === Phase.LEAVING)
      this.finish(null); // it went with its stream [BRK-5]
    else this.onIdle();
  }

  /** A stream was reset, or is over with its connection, which is told next. */
  private onStreamsClosed(streams: SubscriptionStreams, error: Error | null): void {
    if (error !== null && (error as JspError).code === 'ERR_JSP_STREAM_RESET') {
      if (this.streams === streams) this.finish(resetError(error));
      return;
    }
    this.reading.clock.soon(() => {
      if (this.streams === streams) this.finish(error);
    });
  }

  private async takeBack(): Promise<void> {
    if (this.phase === Phase.OVER) {
      if (this.failure !== null) throw this.failure;
      return;
    }
    const { streams } = this;
    this.phase = Phase.LEAVING;
    if (streams !== null) await this.leave(streams);
    else if (!this.isDurable) this.finish(null);
    await this.closed; // a durable one is taken back when the client is back
    if (this.failure !== null) throw this.failure;
  }

  private async leave(streams: SubscriptionStreams): Promise<void> {
    try {
      await Promise.all(this.filters.map((filter) => streams.request((id) => encodeUnsubscribe(id, filter))));
    } catch (error) {
      this.onRefused(streams, error as Error);
      return;
    }
    this.finish(null);
  }

  private finish(error: Error | null): void {
    if (this.phase === Phase.OVER) return;
    this.phase = Phase.OVER;
    this.failure = error;
    this.settling?.end();
    if (error !== null) this.forgetUnsettled();
    // What was acknowledged goes before the end of the stream.
    if (this.settling === null && this.takenBack === null) this.streams?.reset();
    else this.streams?.end();
    this.streams = null;
    this.settleOpened?.(error ?? closedError());
    this.settleOpened = null;
    this.loops.wakeAll();
    this.resolveClosed(error);
    this.whenChanged?.();
    this.owner.onClosed(this, error);
    this.onIdle();
  }

  // ---- what comes ----

  private receive(command: Buffer, reader: CommandReader): void {
    if (this.phase === Phase.OVER) return;
    const { settling, handling } = this;
    const { flags, topicEnd } = reader;
    if (
      flags === 0 &&
      handling?.isFree &&
      this.reading.codec === null &&
      this.buffer.empty &&
      !this.isPaused
    ) {
      // The common message: topic and payload, and a handler that waits for it.
      const topic = this.reading.topics.textOf(command, topicEnd);
      handling.run(new Message(topic, command.subarray(topicEnd), null, this));
      return;
    }
    const hasQos1 = settling !== null && (flags & PublishFlag.QOS1) !== 0;
    const topic = this.reading.topics.textOf(command, topicEnd);
    const isRedelivered = (flags & PublishFlag.REDELIVERED) !== 0;
    const settlement = hasQos1
      ? settling.receive(offsetOf(reader.id, settling.expected), isRedelivered, topic)
      : null;
    if (hasQos1 && (settlement === null || this.phase === Phase.DRAINING)) return;
    const message = messageOf(command, reader, topic, settlement, this);
    if (handling !== null && this.buffer.empty && !this.isPaused && this.isFreeFor(message, handling)) {
      handling.handle(message);
      if (!hasQos1) return;
    } else {
      this.buffer.push(message);
      if (handling === null) this.loops.wakeOne();
      else handling.goOn();
    }
    if (this.mustPause && !this.isPaused) this.streams?.pause();
  }

  private isFreeFor(message: Message, handling: Handling): boolean {
    return handling.isFreeFor(message) && !(isCompressedMessage(message) && this.opening?.isSpent);
  }

  private get isDurable(): boolean {
    return this.options.durable !== undefined;
  }

  /** Nobody else settles what it reads, not even the broker's memory: where it goes on is what it says itself. */
  private get isAlone(): boolean {
    return !this.isDurable && !this.filters.some(isShared);
  }

  private get isPaused(): boolean {
    return this.streams?.isPaused ?? false;
  }

  /** While it is being taken back, what the broker still holds is taken in; that has its bounds, too. */
  private get mustPause(): boolean {
    if (this.phase === Phase.LEAVING) return this.buffer.bytes >= LAST_BYTES_MAX;
    return this.buffer.blocked || this.hasTooMany;
  }

  /** A broker does not send so many. [CLT-26] */
  private get hasTooMany(): boolean {
    return this.settling !== null && this.settling.inFlight > this.unackedMax;
  }

  private get mayReadOn(): boolean {
    if (this.phase === Phase.LEAVING) return !this.mustPause;
    return this.buffer.low && !this.hasTooMany;
  }

  private readOn(): void {
    if (this.isPaused && this.mayReadOn) this.streams?.resume();
  }

  private get isIdle(): boolean {
    const { handling } = this;
    return this.loops.active === 0 && (handling === null || (handling.active === 0 && this.buffer.empty));
  }

  private idle(): Promise<void> {
    if (this.isIdle) return Promise.resolve();
    return new Promise((resolve) => {
      this.whenIdle = resolve;
    });
  }

  /** The broker delivers them again, here or elsewhere. */
  private forgetUnsettled(): void {
    if (this.settling !== null) this.buffer.discard(({ offset }) => offset !== undefined);
  }

  /** Nobody gets this message. */
  private refuse(message: Message, reason: string): void {
    if (this.options.undecodable === 'nack') message.nack({ reason });
    else message.terminate(reason);
  }

  private onMissed(count: number, reason: MissedReason): void {
    this.missed += count;
    if (reason === 'retention') return this.tellGap(count);
    this.tell('missed', count, reason);
    this.owner.onMissed(this, count, reason);
  }

  private tellGap(missed: number | 'unknown'): void {
    if (typeof missed === 'number') this.missed += missed;
    // Whoever awaits the subscription listens only when he has it.
    if (this.phase === Phase.OPENING) this.reading.clock.soon(() => this.tell('gap', { missed }));
    else this.tell('gap', { missed });
    this.owner.onGap(this, { missed });
  }

  /** The first time: an error of a handler is no secret, even where nobody listens. */
  private warn(error: unknown): void {
    if (this.hasWarned) return;
    this.hasWarned = true;
    process.emitWarning(
      `The handler of ${this.filters.join(', ')} failed: ${printable(textOfThrown(error))}. Its messages are delivered again; listen for 'handlerError' to hear of each.`,
      { code: 'JSP_HANDLER_ERROR' },
    );
  }
}

/** Numbers of 64 bits that the broker sent are such that a number holds. [CLT-36] */
function isExact({ epoch, next, missed }: ReaderStart): boolean {
  const isCount = missed === MISSED_UNKNOWN || Number.isSafeInteger(missed);
  return Number.isSafeInteger(epoch) && Number.isSafeInteger(next) && isCount;
}

const UNSUBSCRIBE_OPTIONS = { signal: abortSignal };
/** Unread bytes of a subscription that is being taken back at which reading stops. */
const LAST_BYTES_MAX = 64 * 1024 * 1024;

/** For whoever looks at the dead letter. */
function reasonOf(error: unknown): string {
  if (error instanceof Error) return error.message;
  return typeof error === 'string' ? error : '';
}
