/**
 * Published messages that a client holds: those that wait, because there is no connection or the way is full, and those with QoS 1 that the broker has not
 * answered. It has bounds in messages, bytes and age, and a policy for what does not fit. [CLT-10]
 *
 * What waits is kept in lanes, each a list in the order of its publishes, so that a message is taken out of the middle at no cost.
 */

import { JspError } from '../base/errors.ts';
import { checkOptions, number, type OptionTable, oneOf, whole } from '../base/options.ts';
import { MILLISECOND, type Micros, NEVER } from '../base/time.ts';
import type { Clock, TimerHandle } from '../udp/clock.ts';

export interface BufferOptions {
  /** Messages that are held at most. Default 65,536. */
  messages?: number | undefined;
  /** Their bytes, with some for each message. Default 64 MiB. */
  bytes?: number | undefined;
  /** A message that has waited so long is dropped, in ms. Default: none is. */
  ageMs?: number | undefined;
  /**
   * What happens to a message that does not fit: `reject` (default), its publish fails; `dropOldest`, those that have waited longest make room; `latestPerTopic`, of each
   * topic only the newest waits, and the oldest of all make room.
   */
  policy?: BufferPolicy | undefined;
}

export type BufferPolicy = 'reject' | 'dropOldest' | 'latestPerTopic';

/** A published message that is held. */
export abstract class Outgoing {
  readonly topic: string;
  readonly bytes: number;
  /** When its time to live is over. */
  readonly expiresAt: Micros;
  /** Its place among all that wait. */
  order = 0;
  /** When it is dropped where it waits. */
  waitsUntil: Micros = NEVER;
  lane: Lane | null = null;
  next: Outgoing | null = null;
  previous: Outgoing | null = null;

  constructor(topic: string, bytes: number, expiresAt: Micros) {
    this.topic = topic;
    this.bytes = bytes + OVERHEAD_BYTES;
    this.expiresAt = expiresAt;
  }

  /** It will not be sent, because of `error`. */
  abstract fail(error: JspError): void;
}

/** Messages that wait one for the other. */
export class Lane {
  first: Outgoing | null = null;
  last: Outgoing | null = null;
  length = 0;
  /** The newest of each topic; null where nobody asks. */
  readonly byTopic: Map<string, Outgoing> | null;

  constructor(keepsLatest: boolean) {
    this.byTopic = keepsLatest ? new Map() : null;
  }

  push(message: Outgoing): void {
    message.lane = this;
    message.previous = this.last;
    if (this.last === null) this.first = message;
    else this.last.next = message;
    this.last = message;
    this.length++;
    this.byTopic?.set(message.topic, message);
  }

  remove(message: Outgoing): void {
    const { previous, next } = message;
    if (previous === null) this.first = next;
    else previous.next = next;
    if (next === null) this.last = previous;
    else next.previous = previous;
    message.lane = null;
    message.previous = null;
    message.next = null;
    this.length--;
    if (this.byTopic?.get(message.topic) === message) this.byTopic.delete(message.topic);
  }
}

export class Backlog {
  /** Held, whether they wait or not. */
  messages = 0;
  bytes = 0;
  /** Dropped where they waited: because of the policy, and of their age or time to live. */
  dropped = 0;
  expired = 0;
  private readonly messagesMax: number;
  private readonly bytesMax: number;
  private readonly age: Micros;
  private readonly policy: BufferPolicy;
  private readonly clock: Clock;
  private readonly lanes: Lane[] = [];
  private lastOrder = 0;
  private timer: TimerHandle | null = null;
  private timerAt: Micros = NEVER;

  constructor(options: BufferOptions, clock: Clock) {
    this.messagesMax = options.messages ?? MESSAGES_MAX;
    this.bytesMax = options.bytes ?? BYTES_MAX;
    this.age = (options.ageMs ?? NEVER) * MILLISECOND;
    this.policy = options.policy ?? 'reject';
    this.clock = clock;
  }

  /** Another list of messages that wait one for the other. */
  newLane(): Lane {
    const lane = new Lane(this.policy === 'latestPerTopic');
    this.lanes.push(lane);
    return lane;
  }

  /** More than half of what it holds at most. */
  get isFilling(): boolean {
    return this.messages * 2 > this.messagesMax || this.bytes * 2 > this.bytesMax;
  }

  /** How long the oldest has waited would be guessed from this: its messages that wait. */
  get waiting(): number {
    let count = 0;
    for (const lane of this.lanes) count += lane.length;
    return count;
  }

  /**
   * Takes responsibility for a message that may have to wait in `lane`, and makes room for it where the policy allows: first in the place of one of its own topic.
   *
   * @throws {JspError} `ERR_JSP_BUFFER_FULL`
   */
  admit(message: Outgoing, lane: Lane): void {
    if (message.bytes > this.bytesMax) throw this.full();
    const older = lane.byTopic?.get(message.topic);
    if (older !== undefined) this.drop(older, superseded());
    while (!this.hasRoomFor(message)) {
      const oldest = this.policy === 'reject' ? null : this.oldest();
      if (oldest === null) throw this.full();
      this.drop(oldest, droppedForNewer());
    }
    this.messages++;
    this.bytes += message.bytes;
  }

  /** The message waits, behind those of its lane. */
  enqueue(message: Outgoing, lane: Lane): void {
    message.order = ++this.lastOrder;
    message.waitsUntil = Math.min(message.expiresAt, this.clock.now() + this.age);
    lane.push(message);
    if (message.waitsUntil < this.timerAt) this.expireAt(message.waitsUntil);
  }

  /** The message waits no more; it is still held. */
  dequeue(message: Outgoing): void {
    message.lane?.remove(message);
  }

  /** The message is no more its matter. */
  release(message: Outgoing): void {
    message.lane?.remove(message);
    this.messages--;
    this.bytes -= message.bytes;
  }

  /** Nothing will be sent any more. */
  failAll(error: JspError): void {
    this.stopTimer();
    for (const lane of this.lanes) {
      for (let message = lane.first; message !== null; message = lane.first) {
        this.release(message);
        message.fail(error);
      }
    }
  }

  private hasRoomFor({ bytes }: Outgoing): boolean {
    return this.messages < this.messagesMax && this.bytes + bytes <= this.bytesMax;
  }

  private oldest(): Outgoing | null {
    let oldest: Outgoing | null = null;
    for (const { first } of this.lanes) {
      if (first !== null && (oldest === null || first.order < oldest.order)) oldest = first;
    }
    return oldest;
  }

  private drop(message: Outgoing, error: JspError): void {
    this.dropped++;
    this.release(message);
    message.fail(error);
  }

  private expireAt(at: Micros): void {
    this.stopTimer();
    this.timerAt = at;
    this.timer = this.clock.setTimer(at, () => this.expire());
  }

  /** Drops what has waited too long; looks at most every 50 ms. */
  private expire(): void {
    this.stopTimer();
    const now = this.clock.now();
    const late: Outgoing[] = [];
    for (const { first } of this.lanes) {
      for (let message = first; message !== null; message = message.next)
        if (message.waitsUntil <= now) late.push(message);
    }
    for (const message of late) {
      if (message.lane === null) continue; // who heard of one before it has taken it back, or out for another
      this.expired++;
      this.release(message);
      message.fail(expiredError());
    }
    let nextAt = NEVER;
    for (const { first } of this.lanes) {
      for (let message = first; message !== null; message = message.next)
        if (message.waitsUntil < nextAt) nextAt = message.waitsUntil;
    }
    if (nextAt !== NEVER) this.expireAt(Math.max(nextAt, now + LOOK_EVERY));
  }

  private stopTimer(): void {
    if (this.timer !== null) this.clock.clearTimer(this.timer);
    this.timer = null;
    this.timerAt = NEVER;
  }

  private full(): JspError {
    return new JspError(
      'ERR_JSP_BUFFER_FULL',
      `${this.messages} published messages wait for the broker, ${this.bytes} bytes, which is all that the client holds: wait for drained(), await the promises of publishes with QoS 1, give the option buffer more room, or choose its policy dropOldest or latestPerTopic`,
    );
  }
}

/** A message whose time to live, or the age that the buffer allows, is over. */
export function expiredError(): JspError {
  return new JspError(
    'ERR_JSP_EXPIRED',
    'The message waited longer than its ttlMs, or the buffer, allows and was not published.',
  );
}

function droppedForNewer(): JspError {
  return new JspError(
    'ERR_JSP_BUFFER_FULL',
    'The message was dropped for a newer one: the buffer of the client is full, and its policy says so. Give the option buffer more room, or choose its policy reject.',
  );
}

function superseded(): JspError {
  return new JspError(
    'ERR_JSP_BUFFER_FULL',
    'The message was dropped for a newer one of its topic, as the policy latestPerTopic of the buffer says.',
  );
}

/** What the option `buffer` may be. */
export function bufferOption(value: unknown): string | null {
  checkOptions('connectClient', value as BufferOptions, BUFFER_OPTIONS);
  return null;
}

const BUFFER_OPTIONS: OptionTable<BufferOptions> = {
  messages: whole(1, Number.MAX_SAFE_INTEGER),
  bytes: whole(1, Number.MAX_SAFE_INTEGER),
  ageMs: number(1, Number.POSITIVE_INFINITY),
  policy: oneOf(['reject', 'dropOldest', 'latestPerTopic']),
};

const MESSAGES_MAX = 65_536;
const BYTES_MAX = 64 * 1024 * 1024;
/** What a message costs beside its bytes. */
const OVERHEAD_BYTES = 64;
const LOOK_EVERY: Micros = 50 * MILLISECOND;
