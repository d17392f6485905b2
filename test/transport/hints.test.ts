import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { onHint } from '../../src/transport/hints.ts';
import { systemClock } from '../../src/udp/clock.ts';
import { InterfaceWatch } from '../../src/udp/interfaces.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

test('another address is a hint that a server may be reached, the ones that are there are none [CON-102]', () => {
  let addresses = ['127.0.0.1'];
  const hint = vi.fn();
  const end = onHint(systemClock, hint, new InterfaceWatch({ addresses: () => addresses, pollMs: 1_000 }));
  vi.advanceTimersByTime(3_000);
  expect(hint).not.toHaveBeenCalled();
  addresses = ['127.0.0.1', '192.0.2.9'];
  vi.advanceTimersByTime(1_500);
  expect(hint).toHaveBeenCalledTimes(1);
  end();
  addresses = [];
  vi.advanceTimersByTime(3_000);
  expect(hint).toHaveBeenCalledTimes(1);
  expect(vi.getTimerCount()).toBe(0);
});
