/** What an operator should look into, said in sentences; nothing when all is well. */
import type { Snapshot, StatusReport } from '../../broker/operations/snapshot.ts';
import { count, duration, ms, percent } from './format.ts';
import type { Timeline } from './timeline.ts';

export interface Notice {
  readonly level: 'bad' | 'warn';
  readonly text: string;
  /** The view that has more. */
  readonly view: string;
}

/** Worst first. Rates are judged over the last ten seconds, so that a notice does not flicker. */
export function noticesOf(snapshot: Snapshot, timeline: Timeline, status: StatusReport | null): Notice[] {
  const bad: Notice[] = [];
  const warn: Notice[] = [];
  const reasons = status?.state === snapshot.state ? status.reasons : [];
  if (snapshot.state === 'draining') {
    bad.push({
      level: 'bad',
      text: 'The broker is closing: clients are told to go elsewhere.',
      view: 'events',
    });
  }
  if (snapshot.state === 'readOnly') {
    const why = reasons.length > 0 ? `: ${reasons.join(' ')}` : '.';
    bad.push({
      level: 'bad',
      text: `Nothing is stored any more; QoS 1 messages are refused${why}`,
      view: 'storage',
    });
  }
  for (const { name, state } of snapshot.logs) {
    if (state === 'failed')
      bad.push({ level: 'bad', text: `The log “${name}” has failed.`, view: 'storage' });
    if (state === 'full') warn.push({ level: 'warn', text: `The log “${name}” is full.`, view: 'storage' });
  }
  if (snapshot.internalErrors > 0) {
    bad.push({
      level: 'bad',
      text: `${count(snapshot.internalErrors)} faults of the broker itself since it began; please report them.`,
      view: 'events',
    });
  }
  const filled = snapshot.queues.bytesMax > 0 ? snapshot.queues.bytes / snapshot.queues.bytesMax : 0;
  if (filled > 0.8) {
    warn.push({
      level: 'warn',
      text: `Queues hold ${percent(filled)} of the memory that they may take: subscribers do not keep up.`,
      view: 'clients',
    });
  }
  const stopped = leastOf(timeline, 'stopped');
  if (stopped > 0) {
    const what = stopped === 1 ? 'One publisher waits' : `${count(stopped)} publishers wait`;
    warn.push({ level: 'warn', text: `${what} until slow subscribers have read.`, view: 'clients' });
  }
  const refused = meanOf(timeline, 'refused');
  if (refused > 0) {
    warn.push({ level: 'warn', text: `${count(refused)} messages a second are refused.`, view: 'events' });
  }
  const deadLetters = meanOf(timeline, 'deadLetters');
  if (deadLetters > 0) {
    warn.push({
      level: 'warn',
      text: 'Messages are given up after their last attempt, and become dead letters.',
      view: 'subscriptions',
    });
  }
  if (snapshot.freeBytes !== null && snapshot.freeBytes < DISK_LOW_BYTES) {
    warn.push({
      level: 'warn',
      text: `The disk has only ${count(snapshot.freeBytes / 1e6)} MB left.`,
      view: 'storage',
    });
  }
  const loopDelay = leastOf(timeline, 'loopDelayP99');
  if (loopDelay > LOOP_DELAY_MS_HIGH) {
    warn.push({
      level: 'warn',
      text: `The process answers late: 1 turn in 100 by more than ${ms(loopDelay)}.`,
      view: 'overview',
    });
  }
  if (snapshot.state === 'ready' && snapshot.at - snapshot.startedAt < JUST_STARTED_MS) {
    const recovery = status?.recovery ?? null;
    if (recovery !== null && recovery.recordsDropped > 0) {
      warn.push({
        level: 'warn',
        text: `Started ${duration(snapshot.at - snapshot.startedAt)} ago; ${count(recovery.recordsDropped)} records that were never acknowledged were cut off.`,
        view: 'storage',
      });
    }
  }
  return [...bad, ...warn];
}

function leastOf(timeline: Timeline, figure: 'stopped' | 'loopDelayP99'): number {
  const values = lately(timeline.column(figure));
  return values.length < 3 ? 0 : Math.min(...values);
}

function meanOf(timeline: Timeline, figure: 'refused' | 'deadLetters'): number {
  const values = lately(timeline.column(figure));
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}

function lately(column: readonly (number | null)[]): number[] {
  return column.slice(-SAMPLES).filter((value) => value !== null);
}

const SAMPLES = 10;
const DISK_LOW_BYTES = 1e9;
const LOOP_DELAY_MS_HIGH = 100;
const JUST_STARTED_MS = 600_000;
