/** Messages of a subscription between their stream and the application, which may be slow. */

import { Ring } from '../base/ring.ts';
import { Overflow, overflowNamed } from '../pubsub/command.ts';
import type { Message } from './message.ts';
import { qosOf, type SubscribeOptions } from './subscribe-options.ts';

/** Keys of which a message is being handled, so that others with them have to wait. */
export type BusyKeys = ReadonlySet<string>;

/** A message, as far as it is to wait. */
export interface Buffered {
  readonly topic: string;
  readonly payload: { readonly length: number };
}

/** Whose messages wait. */
export interface MessageKeys<M extends Buffered = Message> {
  keyOf(message: M): string;
}

/** What waits at most, before the stream is paused or something is dropped. */
export interface BufferBounds {
  readonly messages: number;
  /** Of their payloads. */
  readonly bytes: number;
}

/** Messages that wait for a handler or a loop. */
export interface MessageBuffer<M extends Buffered = Message> {
  /** Messages dropped here. */
  readonly dropped: number;
  /** Of the payloads of those that wait. */
  readonly bytes: number;
  readonly empty: boolean;
  /** At a bound, and the stream should pause. */
  readonly blocked: boolean;
  /** Drained to half. */
  readonly low: boolean;
  push(message: M): void;
  /** Takes the oldest. */
  shift(): M | undefined;
  /** Takes the oldest whose key is not busy. [CLT-25] */
  shiftFree(busy: BusyKeys, keys: MessageKeys<M>): M | undefined;
  /** Forgets those that `isOut` says. */
  discard(isOut: (message: M) => boolean): void;
  clear(): void;
}

/** What the messages of a subscription with these options wait in. What the broker counts as delivered, with QoS 1, is never dropped. */
export function bufferFor<M extends Buffered = Message>(
  options: Pick<SubscribeOptions, 'qos' | 'durable' | 'overflow' | 'class'>,
  bounds: BufferBounds = BOUNDS,
): MessageBuffer<M> {
  if (qosOf(options) === 1) return new OrderedBuffer(Overflow.BLOCK, bounds);
  const overflow = overflowNamed(options.overflow ?? 'block');
  return overflow === Overflow.LATEST || options.class === 'latest'
    ? new LatestBuffer(bounds)
    : new OrderedBuffer(overflow, bounds);
}

/**
 * All that comes, in order. Under `block` it says when the stream should pause; under a drop policy it
 * drops, as the broker's queue does, so that reading never stops. [BRK-19]
 */
class OrderedBuffer<M extends Buffered> implements MessageBuffer<M> {
  dropped = 0;
  bytes = 0;
  private readonly overflow: Overflow;
  private readonly bounds: BufferBounds;
  private readonly messages = new Ring<M>();
  /** Taken from the front of {@link messages}, for something behind them could go first; in order. */
  private aside: M[] = [];

  constructor(overflow: Overflow, bounds: BufferBounds) {
    this.overflow = overflow;
    this.bounds = bounds;
  }

  get empty(): boolean {
    return this.messages.length === 0 && this.aside.length === 0;
  }

  /** Never true under a drop policy. */
  get blocked(): boolean {
    return this.overflow === Overflow.BLOCK && this.full;
  }

  get low(): boolean {
    return this.length * 2 <= this.bounds.messages && this.bytes * 2 <= this.bounds.bytes;
  }

  push(message: M): void {
    if (this.full && this.overflow !== Overflow.BLOCK) {
      this.dropped++;
      if (this.overflow === Overflow.DROP_NEWEST) return;
      this.shift();
    }
    this.messages.push(message);
    this.bytes += message.payload.length;
  }

  shift(): M | undefined {
    const message = this.aside.length > 0 ? this.aside.shift() : this.messages.shift();
    if (message !== undefined) this.bytes -= message.payload.length;
    return message;
  }

  shiftFree(busy: BusyKeys, keys: MessageKeys<M>): M | undefined {
    if (busy.size === 0) return this.shift();
    const index = this.aside.findIndex((message) => !busy.has(keys.keyOf(message)));
    if (index >= 0) {
      const [message] = this.aside.splice(index, 1);
      this.bytes -= message.payload.length;
      return message;
    }
    for (;;) {
      const message = this.messages.shift();
      if (message === undefined) return undefined;
      if (!busy.has(keys.keyOf(message))) {
        this.bytes -= message.payload.length;
        return message;
      }
      this.aside.push(message);
    }
  }

  discard(isOut: (message: M) => boolean): void {
    const all = this.aside;
    for (let next = this.messages.shift(); next !== undefined; next = this.messages.shift()) all.push(next);
    this.aside = all.filter((message) => !isOut(message));
    this.bytes = this.aside.reduce((sum, { payload }) => sum + payload.length, 0);
  }

  clear(): void {
    this.messages.clear();
    this.aside = [];
    this.bytes = 0;
  }

  private get length(): number {
    return this.messages.length + this.aside.length;
  }

  private get full(): boolean {
    return this.length >= this.bounds.messages || this.bytes >= this.bounds.bytes;
  }
}

/** Of each topic the last message, in the place of the one before it. [BRK-32] */
class LatestBuffer<M extends Buffered> implements MessageBuffer<M> {
  dropped = 0;
  bytes = 0;
  /** By topic; a topic keeps its place. */
  private readonly messages = new Map<string, M>();
  private readonly bounds: BufferBounds;

  constructor(bounds: BufferBounds) {
    this.bounds = bounds;
  }

  get empty(): boolean {
    return this.messages.size === 0;
  }

  get blocked(): boolean {
    return this.messages.size >= this.bounds.messages || this.bytes >= this.bounds.bytes;
  }

  get low(): boolean {
    return this.messages.size * 2 <= this.bounds.messages && this.bytes * 2 <= this.bounds.bytes;
  }

  push(message: M): void {
    const old = this.messages.get(message.topic);
    if (old !== undefined) this.dropped++;
    this.bytes += message.payload.length - (old?.payload.length ?? 0);
    this.messages.set(message.topic, message);
  }

  shift(): M | undefined {
    for (const message of this.messages.values()) return this.take(message);
    return undefined;
  }

  shiftFree(busy: BusyKeys, keys: MessageKeys<M>): M | undefined {
    for (const message of this.messages.values()) {
      if (!busy.has(keys.keyOf(message))) return this.take(message);
    }
    return undefined;
  }

  discard(isOut: (message: M) => boolean): void {
    for (const message of [...this.messages.values()]) if (isOut(message)) this.take(message);
  }

  clear(): void {
    this.messages.clear();
    this.bytes = 0;
  }

  private take(message: M): M {
    this.messages.delete(message.topic);
    this.bytes -= message.payload.length;
    return message;
  }
}

const BOUNDS: BufferBounds = { messages: 256, bytes: 1024 * 1024 };
