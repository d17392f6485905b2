import { describe, expect, test } from 'vitest';
import type { History, Snapshot } from '../../../src/broker/operations/snapshot.ts';
import { HISTORY_FIGURES } from '../../../src/broker/operations/snapshot.ts';
import { SAMPLES_MAX, Timeline } from '../../../src/gateway/dashboard/timeline.ts';
import { busyWorld } from '../../browser/stand-in.ts';

describe('the timeline of the dashboard', () => {
  test('makes rates of counts, over the time that has really passed, and takes levels as they are', () => {
    const timeline = new Timeline();
    const first = snapshotAt(0);
    timeline.push(first);
    expect(timeline.last('in')).toBe(null);
    expect(timeline.last('clients')).toBe(40);
    timeline.push({ ...snapshotAt(2), in: { messages: first.in.messages + 500, bytes: first.in.bytes } });
    expect(timeline.last('in')).toBe(250);
    expect(timeline.last('bytesIn')).toBe(0);
  });

  test('never has a negative rate: a broker that began anew has none at first', () => {
    const timeline = new Timeline();
    timeline.push(snapshotAt(0));
    timeline.push({ ...snapshotAt(1), startedAt: START + 900, in: { messages: 3, bytes: 3 } });
    expect(timeline.last('in')).toBe(null);
    timeline.push({ ...snapshotAt(2), startedAt: START + 900, in: { messages: 13, bytes: 3 } });
    expect(timeline.last('in')).toBe(10);
  });

  test('has a gap where nothing was told, and none where a second came late', () => {
    const timeline = new Timeline();
    for (const second of [0, 1, 3, 4, 20]) timeline.push(snapshotAt(second));
    expect(timeline.at.map((at) => at - START / 1_000)).toEqual([0, 1, 3, 4, 5, 20]);
    expect(timeline.column('clients')).toEqual([40, 40, 40, 40, null, 40]);
  });

  test('takes the history of the broker in place of what it had of the same time, and keeps what is older', () => {
    const timeline = new Timeline();
    for (const second of [0, 1, 2, 9]) timeline.push(snapshotAt(second));
    timeline.merge(historyOf([2, 3, 4, 5], 7));
    expect(timeline.at.map((at) => at - START / 1_000)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(timeline.column('clients')).toEqual([40, 40, 7, 7, 7, 7]);
    timeline.push(snapshotAt(6));
    expect(timeline.last('in')).toBe(null);
  });

  test('keeps 15 minutes and no more', () => {
    const timeline = new Timeline();
    for (let second = 0; second < SAMPLES_MAX + 100; second++) timeline.push(snapshotAt(second));
    expect(timeline.at.length).toBe(SAMPLES_MAX);
    for (const figure of HISTORY_FIGURES) expect(timeline.column(figure).length).toBe(SAMPLES_MAX);
    expect(timeline.at[0]).toBe(START / 1_000 + 100);
    expect(timeline.since(59)).toBe(SAMPLES_MAX - 60);
    expect(timeline.since(1e6)).toBe(0);
  });

  test('does not go back: what comes late is left out', () => {
    const timeline = new Timeline();
    for (const second of [5, 4, 5]) timeline.push(snapshotAt(second));
    expect(timeline.at.length).toBe(1);
  });

  test('goes on when the clock of the broker is set back, from there', () => {
    const timeline = new Timeline();
    for (const second of [0, 1, 3_600, 3_601, 2, 3, 4]) timeline.push(snapshotAt(second));
    expect(timeline.at.map((at) => at - START / 1_000)).toEqual([0, 1, 3, 4]);
    expect(timeline.last('in')).toBe(0);
  });
});

function snapshotAt(second: number): Snapshot {
  return { ...busyWorld(0).snapshot, at: START + second * 1_000, startedAt: START - 1, clients: 40 };
}

function historyOf(seconds: readonly number[], clients: number): History {
  const columns = Object.fromEntries(
    HISTORY_FIGURES.map((figure) => [figure, seconds.map(() => (figure === 'clients' ? clients : 0))]),
  ) as History['columns'];
  return { periodMs: 1_000, at: seconds.map((second) => START + second * 1_000), columns };
}

const START = 1_800_000_000_000;
