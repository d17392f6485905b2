import { afterEach, beforeEach, describe, expect, it as test, vi } from 'vitest';
import { InterfaceWatch } from '../../src/udp/interfaces.ts';

describe('InterfaceWatch: the addresses of this machine', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  test('tells what there is, then only changes, in whatever order they are listed', () => {
    let addresses = ['127.0.0.1', '192.0.2.7'];
    const watch = new InterfaceWatch({ addresses: () => addresses, pollMs: 1_000 });
    const told: (readonly string[])[] = [];
    const end = watch.watch((found) => told.push(found));
    addresses = ['192.0.2.7', '127.0.0.1'];
    vi.advanceTimersByTime(3_000);
    expect(told).toEqual([['127.0.0.1', '192.0.2.7']]);
    addresses = ['127.0.0.1'];
    vi.advanceTimersByTime(1_000);
    expect(told).toEqual([['127.0.0.1', '192.0.2.7'], ['127.0.0.1']]);
    end();
  });

  test('looks as long as somebody watches, and not after', () => {
    const look = vi.fn(() => ['127.0.0.1']);
    const watch = new InterfaceWatch({ addresses: look, pollMs: 1_000 });
    vi.advanceTimersByTime(5_000);
    expect(look).not.toHaveBeenCalled();
    const ends = [watch.watch(() => {}), watch.watch(() => {})];
    vi.advanceTimersByTime(2_000);
    expect(look).toHaveBeenCalledTimes(3);
    for (const end of ends) end();
    vi.advanceTimersByTime(5_000);
    watch.look();
    expect(look).toHaveBeenCalledTimes(3);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('looks once for those that come and go within a second', () => {
    const look = vi.fn(() => ['127.0.0.1']);
    const watch = new InterfaceWatch({ addresses: look, pollMs: 1_000 });
    const told: (readonly string[])[] = [];
    for (let i = 0; i < 3; i++) watch.watch((found) => told.push(found))();
    expect(look).toHaveBeenCalledTimes(1);
    expect(told).toEqual([['127.0.0.1'], ['127.0.0.1'], ['127.0.0.1']]);
    vi.advanceTimersByTime(1_000);
    watch.watch(() => {})();
    expect(look).toHaveBeenCalledTimes(2);
  });

  test('takes a system that does not tell for one where nothing changes', () => {
    let isTold = true;
    const addresses = (): string[] => {
      if (!isTold) throw new Error('uv_interface_addresses returned EPERM');
      return ['192.0.2.7'];
    };
    const watch = new InterfaceWatch({ addresses, pollMs: 1_000 });
    const told: (readonly string[])[] = [];
    const end = watch.watch((found) => told.push(found));
    isTold = false;
    vi.advanceTimersByTime(2_000);
    expect(told).toEqual([['192.0.2.7']]);
    end();
  });
});
