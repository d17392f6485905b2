/**
 * The last 15 minutes of a broker, a column for each figure. It begins with what the broker remembers, and grows by what it tells each second;
 * where the page or the broker was away there is a gap and not a line across it.
 */
import {
  HISTORY_FIGURES,
  type History,
  type HistoryFigure,
  type Snapshot,
} from '../../broker/operations/snapshot.ts';

export type Column = (number | null)[];

export class Timeline {
  /** When each sample was taken, s since 1970 as the plots want it. */
  readonly at: number[] = [];
  private readonly columns: Record<HistoryFigure, Column>;
  private latest: Snapshot | null = null;

  constructor() {
    this.columns = Object.fromEntries(HISTORY_FIGURES.map((figure) => [figure, []])) as unknown as Record<
      HistoryFigure,
      Column
    >;
  }

  column(figure: HistoryFigure): Column {
    return this.columns[figure];
  }

  /** The last value of a figure, null where it is not known. */
  last(figure: HistoryFigure): number | null {
    return this.columns[figure][this.at.length - 1] ?? null;
  }

  /** Index of the first sample that is not older than `seconds` before the last one. */
  since(seconds: number): number {
    const from = (this.at[this.at.length - 1] ?? 0) - seconds;
    let low = 0;
    let high = this.at.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.at[middle] < from) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Takes what the broker remembers: it stands in place of what was known of the same time. */
  merge(history: History): void {
    this.latest = null; // the next difference would be over the time between
    if (history.at.length === 0) return;
    this.forgetFrom(history.at[0] / 1_000);
    for (let i = 0; i < history.at.length; i++) {
      this.append(history.at[i] / 1_000, (figure) => history.columns[figure]?.[i] ?? null);
    }
  }

  /** Takes what the broker has just told. The first one after a gap has levels, but no rates yet. */
  push(snapshot: Snapshot): void {
    const { latest } = this;
    if (latest !== null && snapshot.at <= latest.at) {
      if (latest.at - snapshot.at < CLOCK_BACK_MS) return;
      this.forgetFrom(snapshot.at / 1_000);
      this.latest = null;
      return;
    }
    const isSame = latest !== null && latest.startedAt === snapshot.startedAt;
    const seconds = isSame ? (snapshot.at - latest.at) / 1_000 : 0;
    const rate = (pick: (of: Snapshot) => number | undefined): number | null => {
      if (!isSame) return null;
      const now = pick(snapshot);
      const before = pick(latest);
      return now === undefined || before === undefined ? null : Math.max(0, now - before) / seconds;
    };
    this.latest = snapshot;
    const sample: Record<HistoryFigure, number | null> = {
      in: rate((of) => of.in.messages),
      out: rate((of) => of.out.messages),
      bytesIn: rate((of) => of.in.bytes),
      bytesOut: rate((of) => of.out.bytes),
      drops: rate((of) => dropped(of)),
      expired: rate((of) => of.expired),
      deadLetters: rate((of) => of.deadLetters),
      redelivered: rate((of) => of.redelivered),
      refused: rate((of) => of.refused),
      deliverP50: snapshot.latency.deliver.p50,
      deliverP99: snapshot.latency.deliver.p99,
      commitP50: snapshot.latency.commit.p50,
      commitP99: snapshot.latency.commit.p99,
      group: snapshot.latency.group.p50,
      queuedMessages: snapshot.queues.messages,
      queuedBytes: snapshot.queues.bytes,
      stopped: snapshot.queues.stopped,
      clients: snapshot.clients,
      sessionsAway: snapshot.sessionsAway,
      subscriptions: snapshot.subscriptions,
      unsettled: snapshot.unsettled,
      rss: snapshot.memory.rss,
      heap: snapshot.memory.heap,
      cpu: snapshot.cpu,
      loopDelayP99: snapshot.loopDelay.p99,
      httpRequests: rate((of) => of.http?.requests),
      webSockets: snapshot.http?.webSockets ?? null,
    };
    this.append(snapshot.at / 1_000, (figure) => sample[figure]);
  }

  private forgetFrom(at: number): void {
    let kept = this.at.length;
    while (kept > 0 && this.at[kept - 1] >= at) kept--;
    this.at.length = kept;
    for (const figure of HISTORY_FIGURES) this.columns[figure].length = kept;
  }

  private append(at: number, value: (figure: HistoryFigure) => number | null): void {
    const last = this.at[this.at.length - 1];
    if (last !== undefined && at <= last) return;
    if (last !== undefined && at - last > GAP_SECONDS) this.add(last + 1, () => null);
    this.add(at, value);
  }

  private add(at: number, value: (figure: HistoryFigure) => number | null): void {
    this.at.push(at);
    for (const figure of HISTORY_FIGURES) this.columns[figure].push(value(figure));
    if (this.at.length <= SAMPLES_MAX) return;
    this.at.shift();
    for (const figure of HISTORY_FIGURES) this.columns[figure].shift();
  }
}

/** Deliveries that did not happen, for whatever reason but the end of their time to live, which is told apart. */
export function dropped({ drops }: Snapshot): number {
  let sum = 0;
  for (const [reason, messages] of Object.entries(drops)) if (reason !== 'expired') sum += messages;
  return sum;
}

/** 15 minutes of a sample a second. */
export const SAMPLES_MAX = 900;
/** By less a snapshot may come late; by more the broker's clock was set back. */
const CLOCK_BACK_MS = 5_000;
/** Samples that are farther apart are not joined. */
const GAP_SECONDS = 3.5;
