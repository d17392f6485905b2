import { getEventListeners } from 'node:events';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Deadline } from '../../src/client/deadline.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

test('a deadline comes once, at the earliest that was asked for', () => {
  const cut = vi.fn();
  const deadline = new Deadline(cut);
  for (const ms of [1_000, 100, 500]) deadline.shorten(ms, undefined);
  expect(vi.getTimerCount()).toBe(1);
  vi.advanceTimersByTime(99);
  expect(cut).not.toHaveBeenCalled();
  vi.advanceTimersByTime(2_000);
  expect(cut).toHaveBeenCalledTimes(1);
});

test('a deadline that is over in time has no timer and waits for no signal, nor does what is asked of it later', () => {
  const cut = vi.fn();
  const { signal } = new AbortController();
  const deadline = new Deadline(cut);
  deadline.shorten(1_000, signal);
  expect([vi.getTimerCount(), getEventListeners(signal, 'abort').length]).toEqual([1, 1]);
  deadline.end();
  deadline.shorten(10, signal);
  expect([vi.getTimerCount(), getEventListeners(signal, 'abort').length]).toEqual([0, 0]);
  vi.advanceTimersByTime(2_000);
  expect(cut).not.toHaveBeenCalled();
});

test('a signal cuts short when it fires, or at once where it has fired', () => {
  const aborter = new AbortController();
  const cut = vi.fn();
  const deadline = new Deadline(cut);
  deadline.shorten(Number.POSITIVE_INFINITY, aborter.signal);
  aborter.abort();
  expect(cut).toHaveBeenCalledTimes(1);
  deadline.shorten(1_000, aborter.signal);
  vi.advanceTimersByTime(1);
  expect(cut).toHaveBeenCalledTimes(2);
});
