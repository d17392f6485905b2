/**
 * How often something may happen: token buckets, and who waits for them. One counts for all connections of a principal, whatever door they came by, and lets through not one
 * message more than it says. [BRK-121]
 */

import type { Awaited, Stoppable } from '../delivery/delivery.ts';
import { type Time, Timer } from '../timers.ts';
import type { ClientLimits } from './principal.ts';

/** So many a second, and so many at once: it fills as time passes, and everything that happens takes something out. */
export class TokenBucket {
  private readonly perMs: number;
  private readonly burst: number;
  private tokens: number;
  private filledMs: number;

  /** @param burst - what it holds when it is full, as it is now */
  constructor(perSecond: number, burst: number, nowMs: number) {
    this.perMs = perSecond / 1_000;
    this.burst = burst;
    this.tokens = burst;
    this.filledMs = nowMs;
  }

  /** How long until `take` takes so many; 0: it does now. More than it holds are taken when it is full, and have to be made up for. */
  waitMs(count: number, nowMs: number): number {
    this.fill(nowMs);
    const missing = Math.min(count, this.burst) - this.tokens;
    return missing <= ROUNDING ? 0 : missing / this.perMs;
  }

  take(count: number): void {
    this.tokens -= count;
  }

  /** It holds no more than the one in whose place it is. */
  follow(earlier: TokenBucket, nowMs: number): this {
    earlier.fill(nowMs);
    this.tokens = Math.min(this.tokens, earlier.tokens);
    return this;
  }

  isFull(nowMs: number): boolean {
    this.fill(nowMs);
    return this.tokens >= this.burst;
  }

  private fill(nowMs: number): void {
    this.tokens = Math.min(this.burst, this.tokens + (nowMs - this.filledMs) * this.perMs);
    this.filledMs = nowMs;
  }
}

/** Publishes a message whose turn has come. */
export type PublishNow = (publisher: Stoppable, message: Uint8Array) => void;

/** A message as it came, and as how much it counts. */
interface Waiting {
  readonly message: Uint8Array;
  readonly bytes: number;
}

/** What the connections of a principal publish together. Who publishes too much waits, as for a full queue: its stream is not read, and nothing is lost. */
export class Meter implements Awaited {
  private readonly time: Time;
  private readonly publishNow: PublishNow;
  private messages: TokenBucket | null = null;
  private bytes: TokenBucket | null = null;
  /** Those that wait, each with its message, the first one first. */
  private readonly waiting = new Map<Stoppable, Waiting>();
  private readonly timer = new Timer(() => this.goOn());
  /** The message at hand has waited, and has been counted. */
  private isCounted = false;

  constructor(time: Time, publishNow: PublishNow) {
    this.time = time;
    this.publishNow = publishNow;
  }

  /** The limits are these from now on. */
  configure({ publishesPerSecond, publishesBurst, bytesPerSecond, bytesBurst }: ClientLimits): void {
    const { nowMs } = this.time;
    this.messages = bucketOf(publishesPerSecond, publishesBurst, this.messages, nowMs);
    this.bytes = bucketOf(bytesPerSecond, bytesBurst, this.bytes, nowMs);
    if (this.waiting.size > 0) this.time.timers.set(this.timer, nowMs);
  }

  /** Counts a message of so many bytes. Not 0: it does not, and may come again in so many ms. */
  take(bytes: number): number {
    if (this.isCounted) {
      this.isCounted = false;
      return 0;
    }
    const waitMs = this.waiting.size > 0 ? this.waitMs(this.firstBytes) : 0;
    return waitMs > 0 ? waitMs : this.takeNow(bytes);
  }

  /** Stops `publisher`, whose message, which counts as so many bytes, comes behind those that wait. */
  wait(publisher: Stoppable, message: Uint8Array, bytes: number): void {
    this.waiting.set(publisher, { message, bytes });
    publisher.waitFor(this, message.length);
    if (this.timer.heapIndex < 0) this.goOnLater();
  }

  forget(publisher: Stoppable): void {
    this.waiting.delete(publisher);
  }

  /** Nothing has been published for so long that nothing has to be remembered. */
  isIdle(nowMs: number): boolean {
    return (this.messages?.isFull(nowMs) ?? true) && (this.bytes?.isFull(nowMs) ?? true);
  }

  private takeNow(bytes: number): number {
    const waitMs = this.waitMs(bytes);
    if (waitMs > 0) return waitMs;
    this.messages?.take(1);
    this.bytes?.take(bytes);
    return 0;
  }

  private waitMs(bytes: number): number {
    const { nowMs } = this.time;
    return Math.max(this.messages?.waitMs(1, nowMs) ?? 0, this.bytes?.waitMs(bytes, nowMs) ?? 0);
  }

  private goOn(): void {
    for (const [publisher, { message, bytes }] of this.waiting) {
      if (this.takeNow(bytes) > 0) break;
      this.waiting.delete(publisher);
      publisher.goOn(this);
      this.isCounted = true;
      this.publishNow(publisher, message);
      this.isCounted = false;
    }
    this.goOnLater();
  }

  private goOnLater(): void {
    if (this.waiting.size === 0) return;
    this.time.timers.set(this.timer, this.time.nowMs + this.waitMs(this.firstBytes));
  }

  private get firstBytes(): number {
    return (this.waiting.values().next().value as Waiting).bytes;
  }
}

function bucketOf(
  perSecond: number | undefined,
  burst: number | undefined,
  earlier: TokenBucket | null,
  nowMs: number,
): TokenBucket | null {
  if (perSecond === undefined) return null;
  const bucket = new TokenBucket(perSecond, Math.max(1, burst ?? perSecond), nowMs);
  return earlier === null ? bucket : bucket.follow(earlier, nowMs);
}

/** What sums of times and rates may be off by. */
const ROUNDING = 1e-6;
