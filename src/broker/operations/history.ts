/** The figures of the last 15 minutes, a set each second, in columns of fixed length. [OPS-4] */

import { HISTORY_FIGURES, type History, type HistoryFigure, type Snapshot } from './snapshot.ts';

export class HistoryRing {
  private readonly times = new Float64Array(SECONDS);
  private readonly columns = new Map<HistoryFigure, Float64Array>(
    HISTORY_FIGURES.map((figure) => [figure, new Float64Array(SECONDS)]),
  );
  /** Sets ever taken. */
  private taken = 0;
  private before: Snapshot | null = null;

  /** Takes the figures of a second; rates are differences to the one before. */
  add(now: Snapshot): void {
    const { before } = this;
    this.before = now;
    if (before === null) return;
    const seconds = (now.at - before.at) / 1_000;
    if (seconds <= 0) return; // the clock was set back: it goes on from there
    const place = this.taken++ % SECONDS;
    this.times[place] = now.at;
    for (const [figure, column] of this.columns) {
      column[place] = FIGURES[figure](now, before, seconds) ?? Number.NaN;
    }
  }

  /** The sets of the last `seconds`. Where the process slept there is a set of nulls, so that no plot draws a line across. */
  of(seconds: number): History {
    const at: number[] = [];
    const columns = Object.fromEntries(
      HISTORY_FIGURES.map((figure) => [figure, [] as (number | null)[]]),
    ) as Record<HistoryFigure, (number | null)[]>;
    const count = Math.min(this.taken, SECONDS, Math.max(1, Math.floor(seconds)));
    for (let i = this.taken - count; i < this.taken; i++) {
      const place = i % SECONDS;
      const time = this.times[place];
      const last = at[at.length - 1];
      if (last !== undefined && time - last > GAP_MS) {
        at.push(last + PERIOD_MS);
        for (const figure of HISTORY_FIGURES) columns[figure].push(null);
      }
      at.push(time);
      for (const [figure, column] of this.columns) {
        columns[figure].push(Number.isNaN(column[place]) ? null : Number(column[place].toPrecision(6)));
      }
    }
    return { periodMs: PERIOD_MS, at, columns };
  }
}

/** All deliveries that did not happen, whyever. */
function dropsOf({ drops }: Snapshot): number {
  const {
    oldest,
    newest,
    superseded,
    expired,
    retention,
    tooLarge,
    compressed,
    rejected,
    discarded,
    unauthorized,
  } = drops;
  return (
    oldest +
    newest +
    superseded +
    expired +
    retention +
    tooLarge +
    compressed +
    rejected +
    discarded +
    unauthorized
  );
}

/** A rate of something that only grows; after a start anew it is counted from 0. */
function rateOf(count: (snapshot: Snapshot) => number) {
  return (now: Snapshot, before: Snapshot, seconds: number) =>
    Math.max(0, count(now) - count(before)) / seconds;
}

const PERIOD_MS = 1_000;
const SECONDS = 15 * 60;
const GAP_MS = 2_500;
const FIGURES: Readonly<
  Record<HistoryFigure, (now: Snapshot, before: Snapshot, seconds: number) => number | null>
> = {
  in: rateOf((each) => each.in.messages),
  out: rateOf((each) => each.out.messages),
  bytesIn: rateOf((each) => each.in.bytes),
  bytesOut: rateOf((each) => each.out.bytes),
  drops: rateOf(dropsOf),
  expired: rateOf((each) => each.expired),
  deadLetters: rateOf((each) => each.deadLetters),
  redelivered: rateOf((each) => each.redelivered),
  refused: rateOf((each) => each.refused),
  deliverP50: ({ latency }) => latency.deliver.p50,
  deliverP99: ({ latency }) => latency.deliver.p99,
  commitP50: ({ latency }) => latency.commit.p50,
  commitP99: ({ latency }) => latency.commit.p99,
  group: ({ latency }) => latency.group.p50,
  queuedMessages: ({ queues }) => queues.messages,
  queuedBytes: ({ queues }) => queues.bytes,
  stopped: ({ queues }) => queues.stopped,
  clients: ({ clients }) => clients,
  sessionsAway: ({ sessionsAway }) => sessionsAway,
  subscriptions: ({ subscriptions }) => subscriptions,
  unsettled: ({ unsettled }) => unsettled,
  rss: ({ memory }) => memory.rss,
  heap: ({ memory }) => memory.heap,
  cpu: ({ cpu }) => cpu,
  loopDelayP99: ({ loopDelay }) => loopDelay.p99,
  httpRequests: (now, before, seconds) =>
    now.http === null ? null : Math.max(0, now.http.requests - (before.http?.requests ?? 0)) / seconds,
  webSockets: ({ http }) => http?.webSockets ?? null,
};
