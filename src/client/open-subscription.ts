/**
 * A subscription over its connections, which come and go (spec/client.md): what comes by them, and what is said on them. Where it is in its life is known by subscription-life.ts, and
 * how its messages get to the application by consuming.ts.
 */

import type { JspError } from '../base/errors.ts';
import { MILLISECOND } from '../base/time.ts';
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
import { IsolatedEmitter } from '../transport/listeners.ts';
import { CommandAcknowledger } from './acknowledging.ts';
import { encodeWith, textOfThrown } from './codec.ts';
import { closedError } from './command-stream.ts';
import type { UnopenedMessage } from './compression.ts';
import { type ConsumedSubscription, Consuming } from './consuming.ts';
import type { HandledMessages, Handling } from './handling.ts';
import type { Link, LinkUser } from './link.ts';
import {
  Message,
  type MessageHandler,
  type MessageSource,
  type RespondOptions,
  type Settlement,
} from './message.ts';
import { bufferFor } from './message-buffer.ts';
import type { PublishOptions } from './publish-options.ts';
import {
  isCompressedMessage,
  type MessageReading,
  messageOf,
  openedMessage,
  type UndecodableMessage,
} from './reading.ts';
import { refusalCode, resetError } from './refusal.ts';
import type { Resumption } from './settling.ts';
import { keptTerms, type SubscribeOptions, subscribeRequest, UNACKED_MAX } from './subscribe-options.ts';
import {
  type Gap,
  type MissedReason,
  missedReasonOf,
  type Resumed,
  type Subscription,
  type SubscriptionEvents,
} from './subscription.ts';
import { Phase, SubscriptionLife } from './subscription-life.ts';
import { SubscriptionStreams } from './subscription-streams.ts';

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

export class OpenSubscription
  extends IsolatedEmitter<SubscriptionEvents>
  implements Subscription, ConsumedSubscription<Message>, MessageSource
{
  readonly filters: readonly string[];
  readonly life = new SubscriptionLife(closedError);
  missed = 0;
  unopened = 0;
  undecodable = 0;
  /** The broker has acknowledged it on its present streams. */
  isConfirmed = false;
  /** What the client tells of its connections. */
  readonly linkUser: LinkUser = {
    online: (link) => this.online(link),
    offline: () => this.offline(),
    closed: (reason) => this.finish(reason),
  };
  private readonly options: SubscribeOptions;
  private readonly reading: MessageReading;
  private readonly owner: SubscriptionOwner;
  private readonly consuming: Consuming<Message>;
  private readonly unackedMax: number;
  /** Null without a connection. */
  private streams: SubscriptionStreams | null = null;
  /** How often in a row the broker has said that it cannot be had now. */
  private timesBusy = 0;

  constructor(
    filters: readonly string[],
    handler: MessageHandler | null,
    options: SubscribeOptions,
    reading: MessageReading,
    owner: SubscriptionOwner,
  ) {
    super();
    this.filters = filters;
    this.options = keptTerms(options);
    this.reading = reading;
    this.owner = owner;
    this.unackedMax = options.maxUnacked ?? UNACKED_MAX;
    this.consuming = new Consuming<Message>(handler, this.options, bufferFor(options), reading.clock, this);
  }

  get closed(): Promise<Error | null> {
    return this.life.closed;
  }

  get dropped(): number {
    return this.consuming.buffer.dropped;
  }

  get unsettled(): number {
    return this.consuming.settling?.count ?? 0;
  }

  // ---- what the application and its client ask for ----

  /** Resolves when the broker has acknowledged all filters for the first time. */
  opened(signal: AbortSignal | undefined): Promise<void> {
    return this.life.opened(signal, () => this.close());
  }

  unsubscribe(signal?: AbortSignal): Promise<void> {
    return this.life.unsubscribe(signal, () => {
      const left = this.takeBack();
      this.readOn();
      return left;
    });
  }

  close(): void {
    this.consuming.buffer.clear();
    this.finish(null);
  }

  drain(): Promise<readonly Settlement[]> {
    return this.consuming.drain();
  }

  /** Messages that the application has and has not settled. */
  get handedOver(): readonly Settlement[] {
    return this.consuming.settling?.handedOver ?? [];
  }

  [Symbol.asyncIterator](): AsyncGenerator<Message, void, undefined> {
    return this.consuming.loops.iterate();
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
    const said = isBare ? undefined : Object.assign({}, options, { correlation, contentType });
    try {
      return this.owner.publish(replyTo, answer, said);
    } catch (error) {
      if ((error as JspError).code === 'ERR_JSP_TOPIC_INVALID') return false; // that of who asked, not of who answers
      throw error;
    }
  }

  // ---- its messages, on their way to the application ----

  /** What may be opened in this turn of the event loop. */
  get opening(): HandledMessages['opening'] {
    return this.reading.inflater?.turn ?? null;
  }

  /** The message as the application gets it. Null: it was told that nobody does, or it was settled while it waited. */
  open(message: Message): Message | null {
    const settlement = message.delivery?.settlement;
    if (settlement?.isSettled) return null;
    const opened = openedMessage(message, this.reading, this, this);
    if (settlement && opened !== null) settlement.isHandedOver = true;
    return opened;
  }

  onHandlerError(error: unknown, message: Message): boolean {
    const isHeard = this.tell('handlerError', error, message);
    return this.owner.onHandlerError(this, error, message) || isHeard;
  }

  /** For whoever looks at the dead letter. */
  reasonOf(error: unknown): string {
    if (error instanceof Error) return textOfThrown(error);
    return typeof error === 'string' ? error : '';
  }

  warn(text: string): void {
    process.emitWarning(text, { code: 'JSP_HANDLER_ERROR' });
  }

  onRoom(): void {
    this.readOn();
  }

  onUnopened(unopened: UnopenedMessage, message: Message): void {
    this.unopened++;
    this.consuming.refuse(message, `cannot be opened: ${unopened.reason}`);
    this.owner.onUnopened(this, unopened);
  }

  onUndecodable(undecodable: UndecodableMessage): void {
    this.undecodable++;
    this.consuming.refuse(undecodable.message, undecodable.reason);
    this.tell('undecodable', undecodable);
    this.owner.onUndecodable(this, undecodable);
  }

  // ---- its connections ----

  get place(): SubscriptionStreams | null {
    return this.streams;
  }

  async ping(): Promise<void> {
    await this.streams?.ping();
  }

  private online(link: Link): void | Promise<void> {
    if (this.life.phase > Phase.OPEN && !this.isNeededAgain) return;
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
    if (this.life.phase === Phase.LEAVING) return this.isDurable;
    return (
      this.life.phase === Phase.DRAINING &&
      (this.consuming.settling?.handedOver.length !== 0 || this.consuming.settling.owesAnswers)
    );
  }

  /** Asks for all filters. It rejects never: what was refused ends the subscription. */
  private async subscribeOn(streams: SubscriptionStreams): Promise<void> {
    const isAgain = this.life.phase !== Phase.OPENING;
    try {
      await this.ask(streams, isAgain ? (this.consuming.settling?.resumption ?? null) : null);
    } catch (error) {
      const isOtherLog = isAgain && refusalCode(error) === ReasonCode.EPOCH_MISMATCH;
      if (isOtherLog && this.streams === streams) return this.subscribeAnew(streams);
      this.onRefused(streams, error as Error);
      return;
    }
    if (this.life.phase === Phase.LEAVING) await this.leave(streams);
    else this.life.onOpened();
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
    const isAgain = this.life.phase !== Phase.OPENING;
    const { flags, options } = subscribeRequest(this.options, lanes | compressed, resumption, isAgain);
    const answers = this.filters.map((filter) =>
      streams.request((id) => encodeSubscribe(id, filter, flags, queueMessages, queueBytes, options)),
    );
    const outcomes = await Promise.allSettled(answers);
    const refused = outcomes.find(({ status }) => status === 'rejected');
    if (refused !== undefined) throw (refused as PromiseRejectedResult).reason;
  }

  private onRefused(streams: SubscriptionStreams, error: Error): void {
    if (this.streams !== streams) return;
    // The broker takes smaller commands than this one: it would never be there, and nobody know why. [CLT-42]
    if ((error as JspError).code === 'ERR_JSP_MESSAGE_TOO_LARGE') return this.finish(error);
    if (refusalCode(error) === null) return; // what the connection has failed is asked for again on the next [CLT-30]
    if (refusalCode(error) === ReasonCode.BUSY) this.askLater(streams);
    else this.finish(error);
  }

  /** It cannot be had now: it is asked for again, ever more rarely, as long as there is this connection. [CLT-41] */
  private askLater(streams: SubscriptionStreams): void {
    const { clock } = this.reading;
    const waitMs = Math.min(BUSY_MS_MAX, BUSY_MS_MIN * 2 ** this.timesBusy++);
    clock.setTimer(clock.now() + waitMs * MILLISECOND, () => {
      if (this.streams === streams) void this.subscribeOn(streams);
    });
  }

  /** The first answer on these streams says where it goes on; deliveries may come right behind it. */
  private onSubscribed(answer: Buffer): void {
    const { streams } = this;
    const { settling } = this.consuming;
    if (this.isConfirmed || streams === null) return;
    this.isConfirmed = true;
    this.timesBusy = 0;
    const isAgain = this.life.phase !== Phase.OPENING;
    const start = settling === null ? null : decodeSubscribed(answer);
    let recovered = false;
    if (settling !== null && start !== null) {
      if (!isExact(start)) return streams.fail();
      recovered = isAgain && start.isRecovered && settling.resumption?.epoch === start.epoch;
      const broker = new CommandAcknowledger((command) => streams.send(command), streams.commandBytesMax);
      settling.begin(broker, start, recovered, this.isAlone, this.filters.some(isShared));
    }
    this.life.onChanged();
    const missed = start?.missed ?? 0;
    if (missed === MISSED_UNKNOWN || (isAgain && !recovered)) this.tellGap('unknown');
    else if (missed > 0) this.tellGap(missed);
    if (!isAgain) return;
    this.tell('resumed', { recovered });
    this.owner.onResumed(this, { recovered });
  }

  private onPosition(epoch: number, offset: number): void {
    if (!Number.isSafeInteger(epoch) || !Number.isSafeInteger(offset)) return this.streams?.fail();
    if (this.consuming.settling?.onPosition(epoch, offset)) this.tellGap('unknown');
  }

  private offline(): void {
    this.streams?.reset();
    this.streams = null;
    this.consuming.breakOff();
    this.life.onChanged();
    if (this.life.phase === Phase.LEAVING && !this.isDurable)
      this.finish(null); // it went with its stream [BRK-5]
    else this.consuming.onIdle();
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
    const { streams } = this;
    if (streams !== null) await this.leave(streams);
    else if (!this.isDurable) this.finish(null);
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
    const { streams, consuming } = this;
    const wasTakenBack = this.life.phase === Phase.LEAVING;
    if (!this.life.end(error)) return;
    // What was acknowledged goes before the end of the stream.
    consuming.end(error);
    this.streams = null;
    if (consuming.settling === null && !wasTakenBack) streams?.reset();
    else streams?.end();
    this.owner.onClosed(this, error);
    consuming.onIdle();
  }

  // ---- what comes ----

  private receive(command: Buffer, reader: CommandReader): void {
    if (this.life.phase === Phase.OVER) return;
    const { settling, handling, buffer } = this.consuming;
    const { flags, topicEnd } = reader;
    if (flags === 0 && handling?.isFree && this.reading.codec === null && buffer.empty && !this.isPaused) {
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
    if (hasQos1 && (settlement === null || this.life.phase === Phase.DRAINING)) return;
    const message = messageOf(command, reader, topic, settlement, this);
    if (handling !== null && buffer.empty && !this.isPaused && this.isFreeFor(message, handling)) {
      handling.handle(message);
      if (!hasQos1) return;
    } else {
      buffer.push(message);
      if (handling === null) this.consuming.loops.wakeOne();
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
    if (this.life.phase === Phase.LEAVING) return this.consuming.buffer.bytes >= LAST_BYTES_MAX;
    return this.consuming.buffer.blocked || this.hasTooMany;
  }

  /** A broker does not send so many. [CLT-26] */
  private get hasTooMany(): boolean {
    return this.consuming.settling !== null && this.consuming.settling.inFlight > this.unackedMax;
  }

  private get mayReadOn(): boolean {
    if (this.life.phase === Phase.LEAVING) return !this.mustPause;
    return this.consuming.buffer.low && !this.hasTooMany;
  }

  private readOn(): void {
    if (this.isPaused && this.mayReadOn) this.streams?.resume();
  }

  private onMissed(count: number, reason: MissedReason): void {
    if (reason === 'retention') return this.tellGap(count);
    this.missed += count;
    this.tell('missed', count, reason);
    this.owner.onMissed(this, count, reason);
  }

  private tellGap(missed: number | 'unknown'): void {
    if (typeof missed === 'number') this.missed += missed;
    // Whoever awaits the subscription listens only when he has it.
    if (this.life.phase === Phase.OPENING) this.reading.clock.soon(() => this.tell('gap', { missed }));
    else this.tell('gap', { missed });
    this.owner.onGap(this, { missed });
  }
}

/** Numbers of 64 bits that the broker sent are such that a number holds. [CLT-36] */
function isExact({ epoch, next, missed }: ReaderStart): boolean {
  const isCount = missed === MISSED_UNKNOWN || Number.isSafeInteger(missed);
  return Number.isSafeInteger(epoch) && Number.isSafeInteger(next) && isCount;
}

/** Unread bytes of a subscription that is being taken back at which reading stops. */
const LAST_BYTES_MAX = 64 * 1024 * 1024;
const BUSY_MS_MIN = 200;
const BUSY_MS_MAX = 5_000;
