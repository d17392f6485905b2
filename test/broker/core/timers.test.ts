import { expect, test } from 'vitest';
import { BrokerCore } from '../../../src/broker/core/broker-core.ts';
import { Timer, Timers } from '../../../src/broker/core/timers.ts';

test('timers are due in the order of their times, and can be moved and cleared', () => {
  const timers = new Timers();
  const [a, b, c] = [new Timer(() => {}), new Timer(() => {}), new Timer(() => {})];
  timers.set(a, 30);
  timers.set(b, 20);
  timers.set(c, 10);
  timers.set(b, 40);
  timers.clear(c);
  expect(timers.nextMs).toBe(30);
  expect(timers.takeDue(29)).toBeNull();
  expect(timers.takeDue(50)).toBe(a);
  expect(timers.takeDue(50)).toBe(b);
  expect(timers.takeDue(50)).toBeNull();
  expect(timers.nextMs).toBe(Number.POSITIVE_INFINITY);
});

test('a core without anything to do later wants no time', () => {
  const core = new BrokerCore();
  core.advance(1_000, 1_700_000_000_000);
  expect(core.nextTimeoutMs).toBe(Number.POSITIVE_INFINITY);
});
