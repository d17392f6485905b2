import { getEventListeners } from 'node:events';
import { expect, test } from 'vitest';
import { onAbort, unlessAborted } from '../../src/transport/abort.ts';

test('who waits for a signal no longer is not called, and the signal is let go with the last who does', () => {
  const aborter = new AbortController();
  const { signal } = aborter;
  const called: string[] = [];
  const forget = ['first', 'second', 'third'].map((who) => onAbort(signal, () => called.push(who)));
  expect(getEventListeners(signal, 'abort')).toHaveLength(1);
  forget[0]();
  forget[0](); // which may be said twice
  aborter.abort();
  expect(called).toEqual(['second', 'third']);

  const other = new AbortController();
  for (const take of [onAbort(other.signal, () => {}), onAbort(other.signal, () => {})]) take();
  expect(getEventListeners(other.signal, 'abort')).toEqual([]);
});

test('what is there in time has nothing to do with the signal any more', async () => {
  const aborter = new AbortController();
  expect(await unlessAborted(Promise.resolve(7), aborter.signal)).toBe(7);
  await expect(unlessAborted(Promise.reject(new Error('no')), aborter.signal)).rejects.toThrow('no');
  await null;
  expect(getEventListeners(aborter.signal, 'abort')).toEqual([]);
  const late = unlessAborted(new Promise(() => {}), aborter.signal);
  aborter.abort('why');
  await expect(late).rejects.toMatchObject({ code: 'ERR_JSP_ABORTED', cause: 'why' });
});
