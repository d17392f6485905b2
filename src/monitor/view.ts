/**
 * What a monitor knows and shows: of each connection a history of what happened between two reports, which one is looked at, and what keys
 * change about that. Pure state; `screen.ts` draws it.
 */

import type { ConnectionMetrics } from '../protocol/endpoint/index.ts';
import type { ConnectionReport, ProcessReport } from './report.ts';

/** What happened to a connection from one report to the next. */
export interface Point {
  readonly seconds: number;
  /** Bits a second of UDP payload. */
  readonly sentRate: number;
  readonly receivedRate: number;
  readonly rttMs: number;
  /** Share of the packets sent that were lost; 0 where none was sent. */
  readonly lossShare: number;
  /** Repairs and repeats sent a second, and packets or messages that any of them, of both sides, made up for. */
  readonly protectionRate: number;
  readonly recoveredRate: number;
  /** Bytes that wait now, by class: `system`, `media`, `chat`, `bulk`. */
  readonly queueBytes: readonly [number, number, number, number];
  /** How long the oldest message of them has waited. */
  readonly oldestMs: number;
  /** Share of the time by what held it back, the largest first. */
  readonly limits: readonly (readonly [name: string, share: number])[];
}

/** A connection that is watched. */
export interface Watched {
  readonly id: number;
  report: ConnectionReport;
  /** The newest last. */
  readonly points: Point[];
}

export interface MonitorOptions {
  /** What is watched, in a few words. */
  readonly title: string;
  readonly intervalSeconds: number;
}

export class MonitorView {
  readonly title: string;
  intervalSeconds: number;
  isPaused = false;
  isHelp = false;
  /** Of the last report; null before the first. */
  report: ProcessReport | null = null;
  /** By id, as they were opened. */
  readonly watched = new Map<number, Watched>();
  private chosenId = -1;
  private takenAt = 0;

  constructor({ title, intervalSeconds }: MonitorOptions) {
    this.title = title;
    this.intervalSeconds = intervalSeconds;
  }

  /** Takes a report in. A connection that is not told any more, or that began anew, is forgotten. */
  take(report: ProcessReport): void {
    const seconds = (report.atMs - this.takenAt) / 1_000;
    const isFirst = this.report === null;
    this.report = report;
    this.takenAt = report.atMs;
    const told = new Set(report.connections.map(({ id }) => id));
    for (const id of this.watched.keys()) if (!told.has(id)) this.watched.delete(id);
    for (const connection of report.connections) this.takeConnection(connection, isFirst ? 0 : seconds);
  }

  /** The connection that is looked at: the chosen one, else the first; null without any. */
  get chosen(): Watched | null {
    const [first = null] = this.watched.values();
    return this.watched.get(this.chosenId) ?? first;
  }

  /** A key was pressed, as a terminal tells it. Returns whether that was to end it. */
  press(key: string): 'quit' | 'go on' {
    switch (key) {
      case 'q':
      case '\x03': // Ctrl-C
      case '\x04':
        return 'quit';
      case 'p':
      case ' ':
        this.isPaused = !this.isPaused;
        break;
      case '+':
      case '=':
        this.changeInterval(1);
        break;
      case '-':
        this.changeInterval(-1);
        break;
      case '?':
      case 'h':
        this.isHelp = !this.isHelp;
        break;
      case '\x1b':
        this.isHelp = false;
        break;
      case '\x1b[A':
      case 'k':
        this.choose(-1);
        break;
      case '\x1b[B':
      case 'j':
        this.choose(1);
        break;
      default:
        if (/^[1-9]$/.test(key)) this.chosenId = [...this.watched.keys()][Number(key) - 1] ?? this.chosenId;
    }
    return 'go on';
  }

  private choose(step: number): void {
    const ids = [...this.watched.keys()];
    const at = ids.indexOf(this.chosen?.id ?? -1) + step;
    this.chosenId = ids[Math.min(Math.max(at, 0), ids.length - 1)] ?? -1;
  }

  private changeInterval(step: number): void {
    const larger = INTERVALS.find((each) => each > this.intervalSeconds);
    const smaller = INTERVALS.findLast((each) => each < this.intervalSeconds);
    this.intervalSeconds = (step > 0 ? larger : smaller) ?? this.intervalSeconds;
  }

  private takeConnection(report: ConnectionReport, seconds: number): void {
    const known = this.watched.get(report.id);
    if (known === undefined) {
      this.watched.set(report.id, { id: report.id, report, points: [] });
      return;
    }
    if (seconds > 0) known.points.push(pointOf(known.report.metrics, report.metrics, seconds));
    if (known.points.length > POINTS_MAX) known.points.shift();
    known.report = report;
  }
}

function pointOf(before: ConnectionMetrics, after: ConnectionMetrics, seconds: number): Point {
  const { queue } = after;
  const made = (of: (metrics: ConnectionMetrics) => number): number => Math.max(0, of(after) - of(before));
  const sent = made(({ packetsSent }) => packetsSent);
  const lost = made(({ packetsLost, packetsSpuriouslyLost }) => packetsLost - packetsSpuriouslyLost);
  const limits = Object.entries(after.limitedByMs)
    .map(([name, ms]) => [name, Math.max(0, ms - (before.limitedByMs[name as 'idle'] ?? 0))] as const)
    .filter(([, ms]) => ms > 0)
    .sort(([, a], [, b]) => b - a);
  const total = limits.reduce((sum, [, ms]) => sum + ms, 0);
  return {
    seconds,
    sentRate: (8 * made(({ bytesSent }) => bytesSent)) / seconds,
    receivedRate: (8 * made(({ bytesReceived }) => bytesReceived)) / seconds,
    rttMs: after.rttMs,
    lossShare: sent === 0 ? 0 : Math.min(1, lost / sent),
    protectionRate: made(({ repairsSent, repeatsSent }) => repairsSent + repeatsSent) / seconds,
    recoveredRate:
      made(
        ({ packetsRecovered, packetsRecoveredByPeer, repeatsUsed }) =>
          packetsRecovered + packetsRecoveredByPeer + repeatsUsed,
      ) / seconds,
    queueBytes: [queue.system.bytes, queue.media.bytes, queue.chat.bytes, queue.bulk.bytes],
    oldestMs: Math.max(...Object.values(queue).map(({ oldestMs }) => oldestMs)),
    limits: limits.map(([name, ms]) => [name, ms / total] as const),
  };
}

/** More than the widest terminal shows. */
const POINTS_MAX = 500;
const INTERVALS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60] as const;
