import { describe, expect, test } from 'vitest';
import { PendingRequests } from '../../src/client/command-stream.ts';

describe('requests that wait for their answer', () => {
  test('have ids that go round at 2^32, never 0, and never one that still waits', async () => {
    const requests = new PendingRequests(0xffff_fffd);
    const ids: number[] = [];
    const note = (id: number) => void ids.push(id);
    const first = requests.request(note);
    const rest = Array.from({ length: 4 }, () => requests.request(note));
    expect(ids).toEqual([0xffff_fffe, 0xffff_ffff, 1, 2, 3]);
    for (const id of ids.slice(1)) requests.settle(id);
    await Promise.all(rest);
    const again = new PendingRequests(0xffff_fffd);
    const old = again.request(note);
    for (let i = 0; i < 3; i++) void again.request(note);
    expect(ids.slice(5)).toEqual([0xffff_fffe, 0xffff_ffff, 1, 2]);
    again.settle(0xffff_fffe);
    await old;
    requests.settle(0xffff_fffe);
    await first;
  });

  test('pass over ids that wait when the ids have gone round', () => {
    const requests = new PendingRequests(0xffff_fffe);
    const ids: number[] = [];
    void requests.request((id) => ids.push(id));
    Reflect.set(requests, 'lastId', 0xffff_fffe);
    void requests.request((id) => ids.push(id));
    expect(ids).toEqual([0xffff_ffff, 1]);
  });

  test('share one listener on a signal, which goes with the last of them', async () => {
    const requests = new PendingRequests();
    const { signal } = new AbortController();
    let listeners = 0;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners++;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners--;
      remove(...args);
    };
    const waits = Array.from({ length: 50 }, () => requests.request(() => {}, signal));
    expect(listeners).toBe(1);
    for (let id = 1; id <= 50; id++) requests.settle(id);
    await Promise.all(waits);
    expect(listeners).toBe(0);
  });

  test('are all given up when their signal fires', async () => {
    const requests = new PendingRequests();
    const controller = new AbortController();
    const waits = Array.from({ length: 20 }, () => requests.request(() => {}, controller.signal));
    controller.abort('enough');
    for (const wait of waits) {
      await expect(wait).rejects.toMatchObject({ code: 'ERR_JSP_ABORTED', cause: 'enough' });
    }
  });
});
