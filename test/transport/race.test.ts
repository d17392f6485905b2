import { describe, expect, test } from 'vitest';
import { Lab } from '../../src/testing/index.ts';
import { race } from '../../src/transport/race.ts';

/** Attempts that take as long as their candidate says, in ms, and fail when it is negative. */
class Runners {
  readonly lab = new Lab({ seed: 1 });
  readonly begun: number[] = [];
  readonly told: number[] = [];
  readonly discarded: number[] = [];
  private readonly start = this.lab.now;

  get ms(): number {
    return (this.lab.now - this.start) / 1_000;
  }

  run(candidates: readonly number[], signal?: AbortSignal): Promise<number> {
    const { clock } = this.lab;
    return race(
      candidates,
      (ms, ended) =>
        new Promise((resolve, reject) => {
          this.begun.push(this.ms);
          ended.addEventListener('abort', () => {
            this.told.push(ms);
            reject(new Error('told to end'));
          });
          clock.setTimer(clock.now() + Math.abs(ms) * 1_000, () =>
            ms < 0 ? reject(new Error(`${ms}`)) : resolve(ms),
          );
        }),
      { clock, signal, discard: (late) => this.discarded.push(late) },
    );
  }
}

describe('a race', () => {
  test('begins an attempt every 250 ms, is won by the first that succeeds, and ends the others', async () => {
    const runners = new Runners();
    expect(await runners.lab.settle(runners.run([5_000, 300, 4_000, 1]))).toBe(300);
    expect(runners.ms).toBe(550);
    expect(runners.begun).toEqual([0, 250, 500]);
    expect(runners.told.sort()).toEqual([4_000, 5_000]);
  });

  test('goes on at once when an attempt fails', async () => {
    const runners = new Runners();
    expect(await runners.lab.settle(runners.run([-10, -20, 5, 7]))).toBe(5);
    expect(runners.begun).toEqual([0, 10, 30]);
  });

  test('goes on when an earlier attempt fails, and counts 250 ms from there', async () => {
    const runners = new Runners();
    expect(await runners.lab.settle(runners.run([-300, 900, 900, 1]))).toBe(1);
    expect(runners.begun).toEqual([0, 250, 300, 550]);
  });

  test('that everybody loses tells the errors in the order of the candidates', async () => {
    const runners = new Runners();
    const failure = await runners.lab.settle(runners.run([-600, -100, -100]).catch((error) => error));
    expect(failure).toBeInstanceOf(AggregateError);
    expect(failure.errors.map(({ message }: Error) => message)).toEqual(['-600', '-100', '-100']);
    expect(runners.ms).toBe(600);
  });

  test('whose signal has fired before begins nothing', async () => {
    const runners = new Runners();
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(runners.run([1, 2], signal)).rejects.toMatchObject({
      code: 'ERR_JSP_ABORTED',
      cause: signal.reason,
    });
    expect(runners.begun).toEqual([]);
  });

  test('that is aborted ends all attempts, begins no more, and fails when they have ended', async () => {
    const runners = new Runners();
    const controller = new AbortController();
    const failure = runners.run([5_000, 5_000, 5_000], controller.signal).catch((error) => error);
    await runners.lab.run(300);
    controller.abort('enough');
    expect(await runners.lab.settle(failure)).toMatchObject({ code: 'ERR_JSP_ABORTED', cause: 'enough' });
    await runners.lab.run(1_000);
    expect(runners.begun).toEqual([0, 250]);
  });

  test('that is aborted just as an attempt succeeds lets go of it, and fails', async () => {
    const { clock } = new Lab({ seed: 1 });
    const controller = new AbortController();
    const discarded: string[] = [];
    const won = race(['a'], (name) => Promise.resolve(name), {
      clock,
      signal: controller.signal,
      discard: (late) => discarded.push(late),
    });
    controller.abort();
    await expect(won).rejects.toMatchObject({ code: 'ERR_JSP_ABORTED' });
    expect(discarded).toEqual(['a']);
  });

  test('lets go of what came second', async () => {
    const { clock } = new Lab({ seed: 1 });
    const discarded: string[] = [];
    const first = race(['a', 'b'], (name) => Promise.resolve(name), {
      clock: {
        ...clock,
        now: () => 0,
        setTimer: (_at, callback) => {
          callback();
          return {};
        },
        clearTimer: () => {},
      },
      signal: undefined,
      discard: (late) => discarded.push(late),
    });
    expect(await first).toBe('a');
    await Promise.resolve();
    expect(discarded).toEqual(['b']);
  });
});
