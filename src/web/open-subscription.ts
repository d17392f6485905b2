/**
 * A subscription in a browser over its connections, which come and go: what comes by them, and what is said on them. Its life, and the way of its messages to the application, are those of
 * the native client. [WEB-6]
 */

import type { JspError } from '../base/errors.ts';
import { textOfThrown } from '../client/codec.ts';
import { type ConsumedSubscription, Consuming } from '../client/consuming.ts';
import type { LinkUser } from '../client/link.ts';
import type { RespondOptions, Settlement } from '../client/message.ts';
import { bufferFor } from '../client/message-buffer.ts';
import type { Acknowledger } from '../client/settling.ts';
import { keptTerms, type SubscribeOptions as NativeOptions } from '../client/subscribe-options.ts';
import type { Gap, MissedReason, Resumed } from '../client/subscription.ts';
import { Phase, SubscriptionLife } from '../client/subscription-life.ts';
import { DROP_REASON_NAMES } from '../pubsub/command.ts';
import { STATUS_NO_RESPONDERS } from '../pubsub/properties.ts';
import { isShared } from '../pubsub/topic.ts';
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

/** It, on one connection. */
interface Place {
  readonly link: WebLink;
  /** What it is called there. */
  sub: number;
  isConfirmed: boolean;
}

export class OpenSubscription
  extends Emitter<SubscriptionEvents>
  implements Subscription, ConsumedSubscription<Message>, MessageSource
{
  readonly filters: readonly string[];
  readonly life = new SubscriptionLife(closedError);
  /** Nothing here waits for its turn to be opened. */
  readonly opening = null;
  missed = 0;
  undecodable = 0;
  /** Null without a connection. */
  place: Place | null = null;
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
  private readonly consuming: Consuming<Message>;
  private droppedForRoom = 0;

  constructor(
    filters: readonly string[],
    handler: MessageHandler | null,
    options: SubscribeOptions,
    { codec, clock }: { readonly codec: Codec<unknown> | null; readonly clock: Clock },
    owner: SubscriptionOwner,
  ) {
    super();
    this.filters = filters;
    this.options = keptTerms(options as NativeOptions) as SubscribeOptions;
    this.codec = codec;
    this.clock = clock;
    this.owner = owner;
    const native = { ...options, overflow: options.overflow ?? 'dropOldest' } as NativeOptions;
    const buffer = bufferFor<Message>(native, BUFFER);
    this.consuming = new Consuming<Message>(handler, native, buffer, clock, this);
  }

  get closed(): Promise<Error | null> {
    return this.life.closed;
  }

  get dropped(): number {
    return this.consuming.buffer.dropped + this.droppedForRoom;
  }

  get unsettled(): number {
    return this.consuming.settling?.count ?? 0;
  }

  // ---- what the application and its client ask for ----

  /** Resolves when the gateway has confirmed all filters for the first time. */
  opened(signal: AbortSignal | undefined): Promise<void> {
    return this.life.opened(signal, () => this.close());
  }

  unsubscribe(signal?: AbortSignal): Promise<void> {
    return this.life.unsubscribe(signal, () => this.takeBack());
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
    if (status === STATUS_NO_RESPONDERS) {
      throw new RangeError('status must not be 503, which says that nobody is there');
    }
    const codec = status ? null : this.codec;
    const answer = payloadOf(codec === null ? (payload ?? '') : payload, codec);
    const contentType = options.contentType ?? codec?.contentType;
    try {
      return this.owner.publish(replyTo, answer, { ...options, correlation, contentType });
    } catch (error) {
      if ((error as JspError).code === 'ERR_JSP_TOPIC_INVALID') return false; // that of who asked, not of who answers
      throw error;
    }
  }

  // ---- its messages, on their way to the application ----

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

  onHandlerError(error: unknown, message: Message): boolean {
    const isHeard = this.tell('handlerError', error, message);
    return this.owner.onHandlerError(this, error, message) || isHeard;
  }

  reasonOf(error: unknown): string {
    return textOfThrown(error).slice(0, REASON_LENGTH_MAX);
  }

  warn(text: string): void {
    console.warn(text);
  }

  /** The gateway sends on in any case. */
  onRoom(): void {}

  // ---- its connections ----

  get isConfirmed(): boolean {
    return this.place?.isConfirmed ?? false;
  }

  async ping(): Promise<void> {
    if (this.place === null) return;
    const { link, sub } = this.place;
    try {
      await link.answer({ type: 'ack', sub, upTo: 0 });
    } catch (error) {
      if (link.failure !== null) throw error;
    }
  }

  private online(link: WebLink): void | Promise<void> {
    if (this.life.phase > Phase.OPEN && !this.isNeededAgain) return;
    const isAgain = this.life.phase !== Phase.OPENING;
    const place: Place = { link, sub: 0, isConfirmed: false };
    this.place = place;
    return new Promise((resolve) => {
      const saying = subscribeSaying(
        this.filters,
        this.options,
        isAgain ? (this.consuming.settling?.resumption ?? null) : null,
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
    if (this.life.phase === Phase.LEAVING) return this.options.durable !== undefined;
    return (
      this.life.phase === Phase.DRAINING &&
      (this.consuming.settling?.handedOver.length !== 0 || this.consuming.settling.owesAnswers)
    );
  }

  private offline(): void {
    this.place = null;
    this.consuming.breakOff();
    this.life.onChanged();
    if (this.life.phase === Phase.LEAVING && this.options.durable === undefined) this.finish(null);
    else this.consuming.onIdle();
  }

  private async takeBack(): Promise<void> {
    const { place } = this;
    if (place !== null) await this.leave(place);
    else if (this.options.durable === undefined) this.finish(null);
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
    const { place, consuming } = this;
    const wasTakenBack = this.life.phase === Phase.LEAVING;
    if (!this.life.end(error)) return;
    consuming.end(error);
    this.place = null;
    if (place !== null) {
      place.link.forget(place.sub);
      if (!wasTakenBack && error === null) place.link.send({ type: 'close', sub: place.sub });
    }
    this.owner.onClosed(this, error);
    consuming.onIdle();
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
        if (epoch !== null && offset !== null) this.consuming.settling?.onPosition(epoch, offset + 1);
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
    const { settling, handling, buffer } = this.consuming;
    const offset = settling === null ? null : countIn(frame, 'offset');
    let settlement: Settlement | null = null;
    if (settling !== null && offset !== null) {
      settlement = settling.receive(offset, frame.redelivered === true, textIn(frame, 'topic'));
      if (settlement === null || this.life.phase === Phase.DRAINING) return;
    }
    const message = new Message(frame, settlement, this, this.codec);
    if (handling !== null && buffer.empty && handling.isFreeFor(message)) return handling.handle(message);
    if (buffer.blocked && settlement === null && !this.makeRoom()) return;
    const { dropped } = buffer;
    buffer.push(message);
    if (buffer.dropped > dropped && !this.keepsLatest) this.onMissed(buffer.dropped - dropped, 'policy');
    if (handling === null) this.consuming.loops.wakeOne();
    else handling.goOn();
  }

  /** What no log has may be dropped where it cannot be stopped: the oldest, but for what is to be acknowledged. */
  private makeRoom(): boolean {
    this.droppedForRoom++;
    if (this.consuming.settling === null) this.consuming.buffer.shift();
    this.onMissed(1, 'policy');
    return this.consuming.settling === null;
  }

  private get keepsLatest(): boolean {
    return this.options.overflow === 'latest' || this.options.class === 'latest';
  }

  private onSubscribed(place: Place, frame: Frame): void {
    if (place.isConfirmed) return;
    place.isConfirmed = true;
    const { settling } = this.consuming;
    const isAgain = this.life.phase !== Phase.OPENING;
    const epoch = countIn(frame, 'epoch');
    const offset = countIn(frame, 'offset');
    let recovered = false;
    if (settling !== null && epoch !== null && offset !== null) {
      recovered = isAgain && frame.recovered === true && settling.resumption?.epoch === epoch;
      const next = { epoch, next: offset + 1 };
      settling.begin(acknowledger(place), next, recovered, this.isAlone, this.filters.some(isShared));
    }
    this.life.onChanged();
    if (isAgain && !recovered) this.tellGap('unknown');
    else if (settling !== null && epoch !== null) {
      const missed = countIn(frame, 'missed');
      if (missed !== 0) this.tellGap(missed ?? 'unknown');
    }
    if (this.life.phase === Phase.LEAVING) void this.leave(place);
    else this.life.onOpened();
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
    if (this.life.phase === Phase.OPENING) this.clock.soon(() => this.tell('gap', { missed }));
    else this.tell('gap', { missed });
    this.owner.onGap(this, { missed });
  }

  private onUndecodable(undecodable: UndecodableMessage): void {
    const { message, reason } = undecodable;
    this.undecodable++;
    this.consuming.refuse(message, reason);
    this.tell('undecodable', undecodable);
    this.owner.onUndecodable(this, undecodable);
  }

  /** Nobody else settles what it reads, not even the broker's memory: where it goes on is what it says itself. */
  private get isAlone(): boolean {
    return this.options.durable === undefined && !this.filters.some(isShared);
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

/** Of one message to the gateway. */
const OFFSETS_MAX = 1_024;
/** For whoever looks at the dead letter: at most 256 bytes, however many a character has. */
const REASON_LENGTH_MAX = 64;
/** What may wait for a handler with QoS 0, before something is dropped: a page cannot make the gateway wait for it. */
const BUFFER = { messages: 10_000, bytes: 16 * 1024 * 1024 };
