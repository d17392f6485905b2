/**
 * How an application consumes the messages of a subscription, whatever connection they come by: those that wait go to its handler (handling.ts) or to its loops (looping.ts), and with
 * QoS 1 it says what became of them (settling.ts).
 */

import { printable } from '../base/errors.ts';
import type { Clock } from '../udp/clock.ts';
import { textOfThrown } from './codec.ts';
import { type Handled, type HandledMessages, Handling } from './handling.ts';
import { type LoopedMessages, Loops } from './looping.ts';
import type { NackOptions, Settlement } from './message.ts';
import type { Buffered, BusyKeys, MessageBuffer } from './message-buffer.ts';
import { Settling } from './settling.ts';
import { ACK_WAIT_MS, qosOf, type SubscribeOptions } from './subscribe-options.ts';
import { Phase, type SubscriptionLife } from './subscription-life.ts';

/** A message, as far as it is to be consumed. */
export interface ConsumedMessage extends Handled, Buffered {
  readonly key: string | undefined;
  /** Undefined with QoS 0. */
  readonly offset: number | undefined;
  ack(): boolean;
  nack(options: NackOptions): boolean;
  terminate(reason?: string): boolean;
}

/** The subscription that is consumed from. */
export interface ConsumedSubscription<M extends ConsumedMessage>
  extends Pick<HandledMessages<M>, 'open' | 'opening'> {
  readonly filters: readonly string[];
  readonly life: SubscriptionLife;
  /** What it is on its present connection; null without one. */
  readonly place: object | null;
  /** The broker has acknowledged it there. */
  readonly isConfirmed: boolean;
  /** Resolves when the broker has what was said there. */
  ping(): Promise<void>;
  /** Less waits, or is unsettled, than before. */
  onRoom(): void;
  /** What the broker is told of a message whose handler failed. */
  reasonOf(error: unknown): string;
  /** False: nobody listens. */
  onHandlerError(error: unknown, message: M): boolean;
  /** Tells whoever looks after the process. */
  warn(text: string): void;
  unsubscribe(): Promise<void>;
  close(): void;
}

type ConsumingOptions = Pick<
  SubscribeOptions,
  'qos' | 'durable' | 'ack' | 'ackWaitMs' | 'concurrency' | 'keyOrder' | 'undecodable'
>;

export class Consuming<M extends ConsumedMessage> implements HandledMessages<M>, LoopedMessages<M> {
  /** Null: loops get the messages. */
  readonly handling: Handling<M> | null;
  readonly loops = new Loops<M>(this);
  readonly buffer: MessageBuffer<M>;
  /** Null with QoS 0. */
  readonly settling: Settling | null;
  private readonly subscription: ConsumedSubscription<M>;
  private readonly options: ConsumingOptions;
  private readonly isAutomatic: boolean;
  private hasWarned = false;
  private whenIdle: (() => void) | null = null;

  constructor(
    handler: ((message: M) => unknown) | null,
    options: ConsumingOptions,
    buffer: MessageBuffer<M>,
    clock: Clock,
    subscription: ConsumedSubscription<M>,
  ) {
    this.subscription = subscription;
    this.options = options;
    this.buffer = buffer;
    this.isAutomatic = options.ack !== 'manual';
    const { concurrency = 1, ackWaitMs = ACK_WAIT_MS } = options;
    this.handling = handler === null ? null : new Handling(handler, concurrency, this, clock);
    this.settling =
      qosOf(options) === 0
        ? null
        : new Settling(ackWaitMs, this.isAutomatic, clock, () => subscription.onRoom());
  }

  /**
   * Waits until the application is done with what it has, and closes. With QoS 0 what has arrived is handed over first; with QoS 1 no more is, and the
   * broker has got the acknowledgements. [CLT-31]
   *
   * @returns the messages that the application has and did not settle
   */
  async drain(): Promise<readonly Settlement[]> {
    const { settling, subscription } = this;
    if (subscription.life.phase === Phase.OVER) return [];
    if (settling === null) {
      await subscription.unsubscribe();
      await this.idle();
      return [];
    }
    subscription.life.beginDraining();
    this.forgetUnsettled();
    this.loops.wakeAll();
    await this.idle();
    await this.confirmed(settling);
    const left = settling.handedOver;
    subscription.close();
    return left;
  }

  /** Its connection is lost: the broker delivers again what was not settled. */
  breakOff(): void {
    this.settling?.breakOff();
    this.forgetUnsettled();
  }

  /** The subscription is over. What was acknowledged goes out; without an error what waits is still handed over. */
  end(error: Error | null): void {
    this.settling?.end();
    if (error !== null) this.forgetUnsettled();
    this.loops.wakeAll();
  }

  /** Nobody gets this message. */
  refuse(message: M, reason: string): void {
    if (this.options.undecodable === 'nack') message.nack({ reason });
    else message.terminate(reason);
  }

  // ---- to loops ----

  get isAtEnd(): boolean {
    return this.subscription.life.phase >= Phase.DRAINING && this.buffer.empty;
  }

  get failure(): Error | null {
    return this.subscription.life.failure;
  }

  beginLoop(): void {
    if (this.handling !== null) throw new TypeError('This subscription gives its messages to a handler.');
  }

  endLoop(): void {
    if (this.subscription.life.phase !== Phase.DRAINING) this.subscription.close();
  }

  shift(): M | undefined {
    const message = this.buffer.shift();
    this.subscription.onRoom();
    return message;
  }

  // ---- to the handler ----

  take(busy: BusyKeys): M | undefined {
    return this.buffer.shiftFree(busy, this);
  }

  /** Messages of one key are handled one after the other. [CLT-25] */
  keyOf(message: M): string {
    return this.options.keyOrder ? (message.key ?? message.topic) : message.topic;
  }

  // ---- to both ----

  get opening(): HandledMessages['opening'] {
    return this.subscription.opening;
  }

  open(message: M): M | null {
    return this.subscription.open(message);
  }

  onHandled(message: M): void {
    if (this.isAutomatic && message.delivery !== null) message.ack();
  }

  /** [CLT-24] with QoS 1 it comes again, with QoS 0 the error goes where nobody catches it, unless somebody listens */
  onFailed(message: M, error: unknown, throwAgain: (error: unknown) => void): void {
    const hasQos1 = message.offset !== undefined;
    if (hasQos1) message.nack({ reason: this.subscription.reasonOf(error) });
    if (this.subscription.onHandlerError(error, message)) return;
    if (!hasQos1) throwAgain(error);
    else this.warn(error);
  }

  onIdle(): void {
    this.subscription.onRoom();
    if (this.whenIdle === null || !this.isIdle) return;
    this.whenIdle();
    this.whenIdle = null;
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
    const { subscription } = this;
    const { life } = subscription;
    while (life.phase === Phase.DRAINING) {
      const { place } = subscription;
      if (place !== null && subscription.isConfirmed) {
        settling.flush();
        try {
          return await subscription.ping();
        } catch {
          // its connection has ended: what it did not bring goes by the next
        }
      } else if (place === null && !settling.owesAnswers) return;
      if (subscription.place === place) await life.change();
    }
  }

  /** The broker delivers them again, here or elsewhere. */
  private forgetUnsettled(): void {
    if (this.settling !== null) this.buffer.discard(({ offset }) => offset !== undefined);
  }

  /** The first time: an error of a handler is no secret, even where nobody listens. */
  private warn(error: unknown): void {
    if (this.hasWarned) return;
    this.hasWarned = true;
    this.subscription.warn(
      `The handler of ${this.subscription.filters.join(', ')} failed: ${printable(textOfThrown(error))}. Its messages are delivered again; listen for 'handlerError' to hear of each.`,
    );
  }
}
