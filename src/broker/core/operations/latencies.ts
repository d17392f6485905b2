/**
 * How long messages take through the broker, without a clock and without a look at each message. [OPS-6]
 *
 *     waiting     A queue follows one message at a time: what that has waited stands for all that have left since the one before.
 *     at once     What goes out in the turn in which it came is only counted. The driver times the turn of a message now and then, which stands for those.
 *     storing     A log has one record followed at a time, which stands for all that were stored since the one before. Of a log that is kept elsewhere each is told when it is there.
 *     reading     Who reads a log is given what was published a known time ago, since it reads.
 */

import { Histogram } from '../../../base/histogram.ts';
import type { LogPort } from '../store-port.ts';

/** The record of a log that is followed. */
interface Followed {
  /** Negative: none is. */
  offset: number;
  sinceMs: number;
  /** All below were stored when it was looked at last. */
  storedBelow: number;
  storedAt: number | null;
}

/** What a span of time has brought. Of all three the histogram is used again for the next. */
export interface LatencySpan {
  /** From taking a message to handing it to a transport, µs. */
  readonly deliver: Histogram;
  /** From taking a message to its being on the disk, µs. */
  readonly commit: Histogram;
  /** Messages that got there together. */
  readonly group: Histogram;
}

export class Latencies {
  private readonly span: LatencySpan = {
    deliver: new Histogram(),
    commit: new Histogram(),
    group: new Histogram(),
  };
  private readonly turns = new Histogram();
  /** Messages that went out in this span and that {@link turns} do not stand for. */
  private others = 0;
  private sentBefore = 0;
  private readonly logs = new Map<LogPort, Followed>();
  /** When the last record of this broker has come to a log that is kept elsewhere. */
  private readonly placedAt = new Map<LogPort, number>();

  constructor(logs: readonly LogPort[]) {
    for (const log of logs) {
      const followed = { offset: -1, sinceMs: 0, storedBelow: log.synced, storedAt: null };
      if (log.isDurable && log.elsewhere === undefined) this.logs.set(log, followed);
    }
  }

  /** So many messages have waited for about so long before they went out. */
  waited(ms: number, messages = 1): void {
    this.span.deliver.record(ms * MICROS, messages);
    this.others += messages;
  }

  /** A message has gone out that was published long ago. */
  replayed(): void {
    this.others++;
  }

  /** The turn of a message took so long, at the end of which it had gone out. */
  turned(ms: number): void {
    this.turns.record(ms * MICROS);
  }

  /** A log has taken a record. */
  appended(log: LogPort, offset: number, nowMs: number): void {
    const followed = this.logs.get(log);
    if (followed === undefined || followed.offset >= 0) return;
    followed.offset = offset;
    followed.sinceMs = nowMs;
  }

  /** A log has stored more. */
  stored(log: LogPort, nowMs: number, wallMs: number): void {
    const followed = this.logs.get(log);
    if (followed === undefined || log.synced <= followed.storedBelow) return;
    const messages = log.synced - followed.storedBelow;
    followed.storedBelow = log.synced;
    followed.storedAt = wallMs;
    this.span.group.record(messages);
    if (followed.offset < 0 || log.synced <= followed.offset) return;
    this.span.commit.record((nowMs - followed.sinceMs) * MICROS, messages);
    followed.offset = -1;
  }

  /** A log that is kept elsewhere has a record, which took so long. */
  placed(log: LogPort, ms: number, wallMs: number): void {
    this.span.commit.record(ms * MICROS);
    this.placedAt.set(log, wallMs);
  }

  /** A log has lost what it had not stored. */
  lost(log: LogPort): void {
    const followed = this.logs.get(log);
    if (followed !== undefined) followed.offset = -1;
  }

  /** When a log has stored something last, on the wall clock; null: not since the start. */
  storedAt(log: LogPort): number | null {
    return this.logs.get(log)?.storedAt ?? this.placedAt.get(log) ?? null;
  }

  /**
   * What `look` finds in what came since the last time.
   *
   * @param messagesOut - that have gone out since the start
   */
  take<T>(messagesOut: number, look: (span: LatencySpan) => T): T {
    const { span, turns } = this;
    const atOnce = messagesOut - this.sentBefore - this.others;
    if (turns.count > 0 && atOnce > 0) span.deliver.add(turns.counted, atOnce / turns.count);
    const found = look(span);
    this.sentBefore = messagesOut;
    this.others = 0;
    for (const histogram of [span.deliver, span.commit, span.group, turns]) histogram.clear();
    return found;
  }
}

const MICROS = 1_000;
