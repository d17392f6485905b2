import { describe, expect, test } from 'vitest';
import { MonitorView } from '../../src/monitor/index.ts';
import { connectionWith, reportWith } from './fake-process.ts';

const newView = (): MonitorView => new MonitorView({ title: 'x', intervalSeconds: 1 });

describe('what a monitor knows', () => {
  test('is what happened between two reports, and nothing of before the first', () => {
    const view = newView();
    view.take(reportWith(5_000, [connectionWith(1, { bytesSent: 1e9, packetsSent: 1e6, packetsLost: 500 })]));
    expect(view.chosen?.points).toEqual([]);
    const later = {
      bytesSent: 1e9 + 250_000,
      packetsSent: 1e6 + 200,
      packetsLost: 510,
      packetsSpuriouslyLost: 2,
      repeatsSent: 30,
      repeatsUsed: 4,
    };
    view.take(reportWith(7_000, [connectionWith(1, later)]));
    expect(view.chosen?.points).toMatchObject([
      {
        seconds: 2,
        sentRate: 1e6,
        receivedRate: 0,
        lossShare: 0.04,
        protectionRate: 15,
        recoveredRate: 2,
        limits: [],
      },
    ]);
  });

  test('forgets connections that are gone, and begins anew with those that come back', () => {
    const view = newView();
    for (let i = 0; i < 3; i++) view.take(reportWith(i * 1_000, [connectionWith(1), connectionWith(2)]));
    view.press('2');
    view.take(reportWith(3_000, [connectionWith(1)]));
    expect([...view.watched.keys()]).toEqual([1]);
    expect(view.chosen?.id).toBe(1);
    view.take(reportWith(4_000, [connectionWith(1), connectionWith(2)]));
    expect(view.chosen?.id).toBe(2);
    expect(view.chosen?.points).toEqual([]);
  });

  test('has a bound', () => {
    const view = newView();
    for (let i = 0; i < 1_200; i++) view.take(reportWith(i * 1_000, [connectionWith(1, { rttMs: i })]));
    expect(view.chosen?.points).toHaveLength(500);
    expect(view.chosen?.points.at(-1)?.rttMs).toBe(1_199);
  });

  test('is chosen, paused, explained and asked for more often with keys', () => {
    const view = newView();
    view.take(
      reportWith(
        0,
        [1, 2, 3].map((id) => connectionWith(id)),
      ),
    );
    const chosenAfter = (key: string): number | undefined => {
      expect(view.press(key)).toBe('go on');
      return view.chosen?.id;
    };
    expect([
      chosenAfter('\x1b[B'),
      chosenAfter('j'),
      chosenAfter('j'),
      chosenAfter('\x1b[A'),
      chosenAfter('k'),
      chosenAfter('k'),
    ]).toEqual([2, 3, 3, 2, 1, 1]);
    expect([chosenAfter('3'), chosenAfter('9'), chosenAfter('x')]).toEqual([3, 3, 3]);
    const intervals = ['+', '=', '-', '-', '-', '-', '-', '-', '-'].map((key) => {
      view.press(key);
      return view.intervalSeconds;
    });
    expect(intervals).toEqual([2, 5, 2, 1, 0.5, 0.2, 0.1, 0.1, 0.1]);
    view.press('p');
    expect(view.isPaused).toBe(true);
    view.press(' ');
    expect(view.isPaused).toBe(false);
    expect(['q', '\x03', '\x04'].map((key) => view.press(key))).toEqual(['quit', 'quit', 'quit']);
  });
});
