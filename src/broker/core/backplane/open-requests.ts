/**
 * Requests that nobody on this node answers, and that other nodes were asked for: what their senders are told when nobody anywhere wants the topic. [CLU-12] Who is subscribed spreads among the
 * engine's servers in its own time; so within {@link YOUNG_MS} after this node was connected a request is tried once again before its sender is told.
 */

import { type Time, Timer } from '../timers.ts';
import type { BackplaneEvents } from './backplane-port.ts';

interface OpenRequest {
  readonly message: Uint8Array;
  readonly priority: number;
  readonly deadlineMs: number;
  readonly openedMs: number;
  readonly tell: () => void;
  isRepeated: boolean;
}

/** Sends a request once more. */
export type Repeat = (message: Uint8Array, priority: number, deadlineMs: number, number: number) => void;

export class OpenRequests implements Partial<BackplaneEvents> {
  private readonly time: Time;
  private readonly repeat: Repeat;
  /** The oldest first. */
  private readonly open = new Map<number, OpenRequest>();
  private bytes = 0;
  private last = 0;
  private connectedMs = Number.NEGATIVE_INFINITY;
  private toRepeat: number[] = [];
  private readonly timer = new Timer(() => this.repeatAll());

  constructor(time: Time, repeat: Repeat) {
    this.time = time;
    this.repeat = repeat;
  }

  /** Returns the number of a request; 0: so many are open that its sender will have to wait in vain. */
  add(message: Uint8Array, priority: number, deadlineMs: number, tell: () => void): number {
    this.forgetOld();
    if (this.open.size >= REQUESTS_MAX || this.bytes + message.length > BYTES_MAX) return 0;
    const openedMs = this.time.nowMs;
    this.last = this.last === NUMBER_MAX ? 1 : this.last + 1;
    this.open.set(this.last, { message, priority, deadlineMs, openedMs, tell, isRepeated: false });
    this.bytes += message.length;
    return this.last;
  }

  connected(): void {
    this.connectedMs = this.time.nowMs;
  }

  unanswered(number: number): void {
    const request = this.open.get(number);
    if (request === undefined) return;
    const { nowMs, timers } = this.time;
    if (!request.isRepeated && nowMs - this.connectedMs < YOUNG_MS) {
      request.isRepeated = true;
      this.toRepeat.push(number);
      timers.set(this.timer, this.connectedMs + YOUNG_MS);
      return;
    }
    this.forget(number, request);
    request.tell();
  }

  private repeatAll(): void {
    const numbers = this.toRepeat;
    this.toRepeat = [];
    for (const number of numbers) {
      const request = this.open.get(number);
      if (request !== undefined) this.repeat(request.message, request.priority, request.deadlineMs, number);
    }
  }

  /** Those that somebody wanted, it seems: nothing is heard of them. */
  private forgetOld(): void {
    for (const [number, request] of this.open) {
      if (this.time.nowMs - request.openedMs < OPEN_MS && this.open.size < REQUESTS_MAX) return;
      this.forget(number, request);
    }
  }

  private forget(number: number, { message }: OpenRequest): void {
    this.open.delete(number);
    this.bytes -= message.length;
  }
}

const YOUNG_MS = 250;
/** After so long nothing is heard of a request any more. */
const OPEN_MS = 2_000;
const REQUESTS_MAX = 8_192;
const BYTES_MAX = 16 * 1_024 * 1_024;
const NUMBER_MAX = 0xffff_ffff;
