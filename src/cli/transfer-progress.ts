/** How a long transfer is shown: one line that changes in place on a terminal, a line now and then elsewhere. */

import { performance } from 'node:perf_hooks';
import type { ProgressStream } from './progress-line.ts';

/** What is to be shown. */
export interface Progress {
  /** What is under way, as text for people. */
  readonly what: string;
  readonly bytes: number;
  readonly bytesTotal: number;
}

/** Shows progress as often as somebody can read it. */
export class TransferProgress {
  private readonly output: ProgressStream;
  private readonly now: () => number;
  private readonly rate: Rate;
  private shownAt = Number.NEGATIVE_INFINITY;
  private isShown = false;

  constructor(output: ProgressStream, now: () => number = () => performance.now()) {
    this.output = output;
    this.now = now;
    this.rate = new Rate();
    if (output.isTTY !== true) this.shownAt = now(); // what takes less than the first interval needs no line
  }

  show(progress: Progress): void {
    const now = this.now();
    this.rate.add(now, progress.bytes);
    const isTerminal = this.output.isTTY === true;
    if (now - this.shownAt < (isTerminal ? TERMINAL_MS : PLAIN_MS)) return;
    this.shownAt = now;
    const perSecond = this.rate.perSecond();
    if (!isTerminal) {
      this.output.write(`${plainLine(progress, perSecond)}\n`);
      return;
    }
    this.output.write(`\r${barLine(progress, perSecond, this.output.columns ?? 80)}\x1b[K`);
    this.isShown = true;
  }

  /** Makes room for another line. */
  clear(): void {
    if (!this.isShown) return;
    this.output.write('\r\x1b[K');
    this.isShown = false;
    this.shownAt = Number.NEGATIVE_INFINITY;
  }
}

/** `holiday.mp4  [#########---------] 47 %  94.1 MB of 200.0 MB  12.3 MB/s  8 s left` */
export function barLine(progress: Progress, perSecond: number, columns: number): string {
  const figures = `${percentOf(progress)}  ${amounts(progress)}  ${rateText(perSecond)}  ${leftText(progress, perSecond)}`;
  const room = columns - 1 - figures.length - 4;
  const bar = Math.max(0, Math.min(BAR_COLUMNS, room - NAME_COLUMNS_MIN));
  const name = cut(progress.what, Math.max(0, room - bar));
  const full = Math.round(bar * shareOf(progress));
  const drawn = bar < 5 ? '' : `[${'#'.repeat(full)}${'-'.repeat(bar - full)}] `;
  return cut(`${name}  ${drawn}${figures}`, columns - 1);
}

/** The same without a bar. */
export function plainLine(progress: Progress, perSecond: number): string {
  return `${progress.what}: ${percentOf(progress)}, ${amounts(progress)}, ${rateText(perSecond)}, ${leftText(progress, perSecond)}`;
}

/** `1.5 MB`; decimal, as links and disks are sold. */
export function bytesText(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1_000;
    unit++;
  }
  return unit === 0 ? `${bytes} B` : `${value.toFixed(1)} ${UNITS[unit]}`;
}

/** `8 s`, `3 min 20 s`, `2 h 5 min` */
export function durationText(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3_600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3_600)} h ${Math.floor((whole % 3_600) / 60)} min`;
}

function percentOf(progress: Progress): string {
  return `${Math.floor(100 * shareOf(progress))} %`;
}

function shareOf({ bytes, bytesTotal }: Progress): number {
  return bytesTotal === 0 ? 1 : Math.min(1, bytes / bytesTotal);
}

function amounts({ bytes, bytesTotal }: Progress): string {
  return `${bytesText(bytes)} of ${bytesText(bytesTotal)}`;
}

function rateText(perSecond: number): string {
  return `${bytesText(Math.round(perSecond))}/s`;
}

function leftText({ bytes, bytesTotal }: Progress, perSecond: number): string {
  if (perSecond <= 0) return 'waiting';
  return `${durationText((bytesTotal - bytes) / perSecond)} left`;
}

function cut(text: string, columns: number): string {
  return text.length <= columns ? text : `${text.slice(0, Math.max(0, columns - 1))}…`;
}

/** Bytes a second over the last seconds, so that a break shows, and a hiccup hardly. */
class Rate {
  private readonly samples: { at: number; bytes: number }[] = [];

  add(at: number, bytes: number): void {
    const last = this.samples.at(-1);
    if (last !== undefined && at - last.at < SAMPLE_MS) return;
    this.samples.push({ at, bytes });
    while (this.samples.length > 2 && at - this.samples[0].at > WINDOW_MS) this.samples.shift();
  }

  perSecond(): number {
    const first = this.samples[0];
    const last = this.samples.at(-1);
    if (first === undefined || last === undefined || last.at === first.at) return 0;
    return Math.max(0, ((last.bytes - first.bytes) * 1_000) / (last.at - first.at));
  }
}

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
const TERMINAL_MS = 100;
const PLAIN_MS = 5_000;
const SAMPLE_MS = 50;
const WINDOW_MS = 3_000;
const BAR_COLUMNS = 30;
const NAME_COLUMNS_MIN = 12;
