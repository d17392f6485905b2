/**
 * How many clients come in a second. Where more come at once, as all do when a broker starts anew, they are let in one after the other: until its turn nothing is read of a
 * client, which costs nobody anything. Who would have to wait for too long is sent away, and comes back after a while. [BRK-122]
 */

import type { Client } from '../delivery/client.ts';
import { type Time, Timer } from '../timers.ts';
import { TokenBucket } from './rates.ts';

export class Turnstile {
  private readonly time: Time;
  private readonly limits: { readonly connectRate: number };
  /** Those whose turn has not come, the first one first. */
  private readonly waiting = new Set<Client>();
  private readonly timer = new Timer(() => this.letIn());
  /** Null: as many as come. */
  private bucket: TokenBucket | null = null;
  private rate = 0;

  constructor(time: Time, limits: { readonly connectRate: number }) {
    this.time = time;
    this.limits = limits;
  }

  /** A client comes. False: too many wait already. */
  enter(client: Client): boolean {
    const { nowMs } = this.time;
    const { connectRate } = this.limits;
    if (connectRate !== this.rate) {
      this.rate = connectRate;
      this.bucket = connectRate === 0 ? null : new TokenBucket(connectRate, connectRate, nowMs);
    }
    const { bucket } = this;
    if (bucket === null) {
      if (this.waiting.size > 0) this.letIn(); // there was a rate when they came
      return true;
    }
    if (this.waiting.size === 0 && bucket.waitMs(1, nowMs) === 0) {
      bucket.take(1);
      return true;
    }
    if (this.waiting.size >= this.rate * WAIT_S_MAX) return false;
    client.hasTurn = false;
    this.waiting.add(client);
    if (this.timer.heapIndex < 0) this.letInLater();
    return true;
  }

  leave(client: Client): void {
    this.waiting.delete(client);
  }

  private letIn(): void {
    for (const client of this.waiting) {
      if (this.bucket !== null && this.bucket.waitMs(1, this.time.nowMs) > 0) break;
      this.bucket?.take(1);
      this.waiting.delete(client);
      client.hasTurn = true;
      for (const channel of client.channels) channel.release();
    }
    if (this.waiting.size > 0) this.letInLater();
  }

  private letInLater(): void {
    const { nowMs, timers } = this.time;
    timers.set(this.timer, nowMs + (this.bucket?.waitMs(1, nowMs) ?? 0));
  }
}

/** Clients wait for so long at most: they give up an attempt that takes 10 s. */
const WAIT_S_MAX = 5;
