/**
 * How a subscription in a browser lives: its connections, which come and go, and the way of its messages to a handler or to loops, which are those of the native client. It is one file
 * because it is one life, as there: whatever comes is looked at in the light of where that life is. [WEB-6]
 */

import { type JspError, printable } from '../base/errors.ts';
import { checkOptions } from '../base/options.ts';
import { textOfThrown } from '../client/codec.ts';
import { type HandledMessages, Handling } from '../client/handling.ts';
import type { LinkUser } from '../client/link.ts';
import { type LoopedMessages, Loops } from '../client/looping.ts';
import type { RespondOptions, Settlement } from '../client/message.ts';
import { type BusyKeys, bufferFor, type MessageBuffer } from '../client/message-buffer.ts';
import { type Acknowledger, Settling } from '../client/settling.ts';
import { ACK_WAIT_MS, type SubscribeOptions as NativeOptions, qosOf } from '../client/subscribe-options.ts';
import type { Gap, MissedReason, Resumed } from '../client/subscription.ts';
import { undertake } from '../client/undertaking.ts';
import { DROP_REASON_NAMES } from '../pubsub/command.ts';
import { STATUS_NO_RESPONDERS } from '../pubsub/properties.ts';
import { isShared } from '../pubsub/topic.ts';
import { abortError, abortSignal, onAbort, unlessAborted } from '../transport/abort.ts';
import type { Clock } from '../udp/clock.ts';
import { closedError } from './closing.ts';
import { Emitter } from './emitter.ts';
import { countIn, errorOf, type Frame, textIn } from './frames.ts';
import type { WebLink } from './link.ts';
import { Message, type MessageHandler, type MessageSource } from './message.ts';
import { type Codec, payloadOf } from './payload.ts';
import type { PublishOptions } from './publish-options.ts';
import { type SubscribeOptions, subscribeSaying } from './subscribe-options.ts';
import type { Subscription, SubscriptionEvents, UndecodableMessage } from './subscription.ts';

/** What a subscription tells its client, and asks of it. */
export interface SubscriptionOwner {
  onClosed(subscription: OpenSubscription, error: Error | null): void;
  onMissed(subscription: OpenSubscription, count: number, reason: MissedReason): void;
  onGap(subscription: OpenSubscription, gap: Gap): void;
  onResumed(subscription: OpenSubscription, resumed: Resumed): void;
  /** False: nobody listens. */
  onHandlerError(subscription: OpenSubscription, error: unknown, message: Message): boolean;
  onUndecodable(subscription: OpenSubscription, message: UndecodableMessage): void;
  /** Publishes an answer. */
  publish(topic: string, payload: Uint8Array | string, options: PublishOptions): boolean;
}

/** Where a subscription is in its life. */
const Phase = {
  /** The gateway has not answered yet. */
  OPENING: 0,
  OPEN: 1,
  /** It is being taken back. */
  LEAVING: 2,
  /** What was handed over is finished, and with QoS 1 no more handed over. */
  DRAINING: 3,
  OVER: 4,
} as const;
type Phase = (typeof Phase)[keyof typeof Phase];

/** It, on one connection. */
interface Place {
  readonly link: WebLink;
  /** What it is called there. */
  sub: number;
  isConfirmed: boolean;
}

export class OpenSubscription
  extends Emitter<SubscriptionEvents>
  implements Subscription, HandledMessages<Message>, LoopedMessages<Message>, MessageSource
{
  readonly filters: readonly string[];
  readonly closed: Promise<Error | null>;
  /** Nothing here waits for its turn to be opened. */
  readonly opening = null;
  missed = 0;
  undecodable = 0;
  failure: Error | null = null;
  /** What the client tells of its connections. */
  readonly linkUser: LinkUser<WebLink> = {
    online: (link) => this.online(link),
    offline: () => this.offline(),
    closed: (reason) => this.finish(reason),
  };
  private readonly options: SubscribeOptions;
  private readonly codec: Codec<unknown> | null;
  private readonly clock: Clock;
  private readonly owner: SubscriptionOwner;
  private readonly handling: Handling<Message> | null;
  private readonly buffer: MessageBuffer<Message>;
  /** Null with QoS 0. */
  private readonly settling: Settling | null;
  private readonly isAutomatic: boolean;
  private readonly loops = new Loops<Message>(this);
  private phase: Phase = Phase.OPENING;
  /** Null without a connection. */
  private place: Place | null = null;
  private takenBack: Promise<void> | null = null;
  private droppedForRoom = 0;
  private hasWarned = false;
  private whenIdle: (() => void) | null = null;
  private whenChanged: (() => void) | null = null;
  private resolveClosed: (error: Error | null) => void = () => {};
  private settleOpened: ((error: Error | null) => void) | null = null;

  constructor(
    filters: readonly string[],
    handler: MessageHandler | null,
    options: SubscribeOptions,
    { codec, clock }: { readonly codec: Codec<unknown> | null; readonly clock: Clock },
    owner: SubscriptionOwner,
  ) {
    super();
    this.filters = filters;
    this.options = options;
    this.codec = codec;
    this.clock = clock;
    this.owner = owner;
    this.isAutomatic = options.ack !== 'manual';
    const { concurrency = 1, ackWaitMs = ACK_WAIT_MS } = options;
    this.handling = handler === null ? null : new Handling(handler, concurrency, this, clock);
    const native = { ...options, overflow: options.overflow ?? 'dropOldest' } as NativeOptions;
    this.settling =
      qosOf(native) === 0 ? null : new Settling(ackWaitMs, this.isAutomatic, clock, () => this.onIdle());
    this.buffer = bufferFor<Message>(native, BUFFER);
    this.closed = new Promise((resolve) => {
      this.resolveClosed = resolve;
    });
  }

  get dropped(): number {
    return this.buffer.dropped + this.droppedForRoom;
  }

  get unsettled(): number {
    return this.settling?.count ?? 0;
  }

  // ---- what the application and its client ask for ----

  /** Resolves when the gateway has confirmed all filters for the first time. */
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
   * broker has got the acknowledgements.
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
    if (status === STATUS_NO_RESPONDERS) {
      throw new RangeError('status must not be 503, which says that nobody is there');
    }
    const codec = status ? null : this.codec;
    const answer = codec === null ? ((payload ?? '') as Uint8Array | string) : payloadOf(payload, codec);
    const contentType = options.contentType ?? codec?.contentType;
    try {
      return this.owner.publish(replyTo, answer, { ...options, correlation, contentType });
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
    return this.buffer.shift();
  }

  // ---- its messages, on their way to the handler ----

  take(busy: BusyKeys): Message | undefined {
    return this.buffer.shiftFree(busy, this);
  }

  /** Messages of one key are handled one after the other. */
  keyOf(message: Message): string {
    return this.options.keyOrder ? (message.key ?? message.topic) : message.topic;
  }

  /** Null: it was told that nobody gets it, or it was settled while it waited. */
  open(message: Message): Message | null {
    const { delivery } = message;
    if (delivery?.isSettled) return null;
    try {
      void message.value; // decoded here, rather than in the handler
    } catch (error) {
      this.onUndecodable({
        topic: message.topic,
        reason: textOfThrown((error as JspError).cause ?? error),
        message,
      });
      return null;
    }
    if (delivery !== null) delivery.isHandedOver = true;
    return message;
  }

  onHandled(message: Message): void {
    if (this.isAutomatic) message.ack();
  }

  onFailed(message: Message, error: unknown, throwAgain: (error: unknown) => void): void {
    const hasQos1 = message.delivery !== null;
    if (hasQos1) message.nack({ reason: textOfThrown(error).slice(0, REASON_LENGTH_MAX) });
    const isHeard = this.tell('handlerError', error, message);
    if (this.owner.onHandlerError(this, error, message) || isHeard) return;
    if (!hasQos1) throwAgain(error);
    else this.warn(error);
  }

  onIdle(): void {
    if (this.whenIdle === null || !this.isIdle) return;
    this.whenIdle();
    this.whenIdle = null;
  }

  // ---- its connections ----

  private online(link: WebLink): void | Promise<void> {
    if (this.phase > Phase.OPEN && !this.isNeededAgain) return;
    const isAgain = this.phase !== Phase.OPENING;
    const place: Place = { link, sub: 0, isConfirmed: false };
    this.place = place;
    return new Promise((resolve) => {
      const saying = subscribeSaying(
        this.filters,
        this.options,
        isAgain ? (this.settling?.resumption ?? null) : null,
        isAgain,
      );
      place.sub = link.subscribe(saying, (frame) => {
        if (this.place === place) this.receive(place, frame);
        resolve();
      });
    });
  }

  /** There is something left to tell the broker. */
  private get isNeededAgain(): boolean {
    if (this.phase === Phase.LEAVING) return this.options.durable !== undefined;
    return (
      this.phase === Phase.DRAINING && (this.settling?.handedOver.length !== 0 || this.settling.owesAnswers)
    );
  }

  private offline(): void {
    this.place = null;
    this.settling?.breakOff();
    this.forgetUnsettled();
    this.whenChanged?.();
    if (this.phase === Phase.LEAVING && this.options.durable === undefined) this.finish(null);
    else this.onIdle();
  }

  private async takeBack(): Promise<void> {
    if (this.phase === Phase.OVER) {
      if (this.failure !== null) throw this.failure;
      return;
    }
    this.phase = Phase.LEAVING;
    const { place } = this;
    if (place !== null) await this.leave(place);
    else if (this.options.durable === undefined) this.finish(null);
    await this.closed; // a durable one is taken back when the client is back
    if (this.failure !== null) throw this.failure;
  }

  private async leave({ link, sub }: Place): Promise<void> {
    try {
      await link.answer({ type: 'unsubscribe', sub });
    } catch (error) {
      if (link.failure === null) this.finish(error as Error);
      return;
    }
    this.finish(null);
  }

  private finish(error: Error | null): void {
    if (this.phase === Phase.OVER) return;
    const { place } = this;
    const wasTakenBack = this.phase === Phase.LEAVING;
    this.phase = Phase.OVER;
    this.failure = error;
    this.settling?.end();
    if (error !== null) this.forgetUnsettled();
    this.place = null;
    if (place !== null) {
      place.link.forget(place.sub);
      if (!wasTakenBack && error === null) place.link.send({ type: 'close', sub: place.sub });
    }
    this.settleOpened?.(error ?? closedError());
    this.settleOpened = null;
    this.loops.wakeAll();
    this.resolveClosed(error);
    this.whenChanged?.();
    this.owner.onClosed(this, error);
    this.onIdle();
  }

  // ---- what comes ----

  private receive(place: Place, frame: Frame): void {
    switch (frame.type) {
      case 'message':
        return this.onMessage(frame);
      case 'subscribed':
        return this.onSubscribed(place, frame);
      case 'position': {
        const [epoch, offset] = [countIn(frame, 'epoch'), countIn(frame, 'offset')];
        if (epoch !== null && offset !== null) this.settling?.onPosition(epoch, offset + 1);
        return;
      }
      case 'gap':
        return this.onGap(countIn(frame, 'missed'), textIn(frame, 'reason'));
      case 'refused':
        return this.finish(frame.error as Error);
      case 'ended':
        return this.finish(errorOf(frame));
    }
  }

  private onMessage(frame: Frame): void {
    const { settling, handling } = this;
    const offset = settling === null ? null : countIn(frame, 'offset');
    let settlement: Settlement | null = null;
    if (settling !== null && offset !== null) {
      settlement = settling.receive(offset, frame.redelivered === true, textIn(frame, 'topic'));
      if (settlement === null || this.phase === Phase.DRAINING) return;
    }
    const message = new Message(frame, settlement, this, this.codec);
    if (handling !== null && this.buffer.empty && handling.isFreeFor(message))
      return handling.handle(message);
    if (this.buffer.blocked && settlement === null && !this.makeRoom()) return;
    const { dropped } = this.buffer;
    this.buffer.push(message);
    if (this.buffer.dropped > dropped && !this.keepsLatest)
      this.onMissed(this.buffer.dropped - dropped, 'policy');
    if (handling === null) this.loops.wakeOne();
    else handling.goOn();
  }

  /** What no log has may be dropped where it cannot be stopped: the oldest, but for what is to be acknowledged. */
  private makeRoom(): boolean {
    this.droppedForRoom++;
    if (this.settling === null) this.buffer.shift();
    this.onMissed(1, 'policy');
    return this.settling === null;
  }

  private get keepsLatest(): boolean {
    return this.options.overflow === 'latest' || this.options.class === 'latest';
  }

  private onSubscribed(place: Place, frame: Frame): void {
    if (place.isConfirmed) return;
    place.isConfirmed = true;
    const { settling } = this;
    const isAgain = this.phase !== Phase.OPENING;
    const epoch = countIn(frame, 'epoch');
    const offset = countIn(frame, 'offset');
    let recovered = false;
    if (settling !== null && epoch !== null && offset !== null) {
      recovered = isAgain && frame.recovered === true && settling.resumption?.epoch === epoch;
      settling.begin(acknowledger(place), { epoch, next: offset + 1 }, recovered, this.isAlone);
    }
    this.whenChanged?.();
    if (isAgain && !recovered) this.tellGap('unknown');
    else if (settling !== null && epoch !== null) {
      const missed = countIn(frame, 'missed');
      if (missed !== 0) this.tellGap(missed ?? 'unknown');
    }
    if (this.phase === Phase.OPENING) {
      this.phase = Phase.OPEN;
      this.settleOpened?.(null);
      this.settleOpened = null;
    } else if (this.phase === Phase.LEAVING) void this.leave(place);
    if (!isAgain) return;
    this.tell('resumed', { recovered });
    this.owner.onResumed(this, { recovered });
  }

  private onGap(missed: number | null, reason: string): void {
    if (reason === 'retention' || reason === 'reset') this.tellGap(missed ?? 'unknown');
    else this.onMissed(missed ?? 0, DROP_REASON_NAMES.find((each) => each === reason) ?? 'unknown');
  }

  private onMissed(count: number, reason: MissedReason): void {
    this.missed += count;
    this.tell('missed', count, reason);
    this.owner.onMissed(this, count, reason);
  }

  private tellGap(missed: number | 'unknown'): void {
    if (typeof missed === 'number') this.missed += missed;
    // Whoever awaits the subscription listens only when he has it.
    if (this.phase === Phase.OPENING) this.clock.soon(() => this.tell('gap', { missed }));
    else this.tell('gap', { missed });
    this.owner.onGap(this, { missed });
  }

  private onUndecodable(undecodable: UndecodableMessage): void {
    const { message, reason } = undecodable;
    this.undecodable++;
    if (this.options.undecodable === 'nack') message.nack({ reason });
    else message.terminate(reason);
    this.tell('undecodable', undecodable);
    this.owner.onUndecodable(this, undecodable);
  }

  /** Nobody else settles what it reads, not even the broker's memory: where it goes on is what it says itself. */
  private get isAlone(): boolean {
    return this.options.durable === undefined && !this.filters.some(isShared);
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

  /** Resolves when the broker has the acknowledgements, on this connection or the next. */
  private async confirmed(settling: Settling): Promise<void> {
    while (this.phase === Phase.DRAINING) {
      const { place } = this;
      if (place?.isConfirmed) {
        settling.flush();
        try {
          await place.link.answer({ type: 'ack', sub: place.sub, upTo: 0 });
          return;
        } catch {
          if (place.link.failure === null) return;
          // its connection has ended: what it did not bring goes by the next
        }
      } else if (place === null && !settling.owesAnswers) return;
      if (this.place === place) {
        await new Promise<void>((resolve) => {
          this.whenChanged = resolve;
        });
      }
    }
  }

  /** The broker delivers them again, here or elsewhere. */
  private forgetUnsettled(): void {
    if (this.settling !== null) this.buffer.discard(({ delivery }) => delivery !== null);
  }

  /** The first time: an error of a handler is no secret, even where nobody listens. */
  private warn(error: unknown): void {
    if (this.hasWarned) return;
    this.hasWarned = true;
    console.warn(
      `The handler of ${this.filters.join(', ')} failed: ${printable(textOfThrown(error))}. Its messages are delivered again; listen for 'handlerError' to hear of each.`,
    );
  }
}

function acknowledger({ link, sub }: Place): Acknowledger {
  const sayInParts = (type: string, offsets: readonly number[]): void => {
    for (let i = 0; i < offsets.length; i += OFFSETS_MAX) {
      link.send({ type, sub, offsets: offsets.slice(i, i + OFFSETS_MAX) });
    }
  };
  return {
    ack: (offsets) => sayInParts('ack', offsets),
    progress: (offsets) => sayInParts('progress', offsets),
    nack: (offset, delayMs, reason) =>
      link.send({
        type: 'nack',
        sub,
        offsets: [offset],
        delayMs,
        reason: reason === '' ? undefined : reason,
      }),
    terminate: (offset, reason) => link.send({ type: 'terminate', sub, offsets: [offset], reason }),
  };
}

const UNSUBSCRIBE_OPTIONS = { signal: abortSignal };
/** Of one message to the gateway. */
const OFFSETS_MAX = 1_024;
/** For whoever looks at the dead letter: at most 256 bytes, however many a character has. */
const REASON_LENGTH_MAX = 64;
/** What may wait for a handler with QoS 0, before something is dropped: a page cannot make the gateway wait for it. */
const BUFFER = { messages: 10_000, bytes: 16 * 1024 * 1024 };
