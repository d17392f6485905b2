import { Metronome, sharedMicros } from '../../src/bench/metronome.ts';

/**
 * How a sender learns that the next message is due, as Node's timers are too coarse for it.
 *
 *   sleep  a second thread sleeps until then and posts a message: exact to some 100 us, and costs next to nothing
 *   spin   the event loop looks in each of its turns: exact, and takes a whole core
 */
export type Pace = 'sleep' | 'spin';

/** Calls `due` for each of `count` messages at the earliest when it is due, and resolves after the last. */
export function pace(
  how: Pace,
  perSecond: number,
  count: number,
  due: (dueMicros: number, i: number) => void,
): Promise<void> {
  const start = sharedMicros() + START_DELAY_MICROS;
  const periodMicros = 1e6 / perSecond;
  let next = 0;
  const catchUp = (): boolean => {
    const now = sharedMicros();
    while (next < count && start + next * periodMicros <= now) due(start + next * periodMicros, next++);
    return next < count;
  };
  return how === 'spin' ? spin(catchUp) : sleepInThread(start, periodMicros, catchUp);
}

function spin(catchUp: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const turn = () => {
      if (catchUp()) setImmediate(turn);
      else resolve();
    };
    setImmediate(turn);
  });
}

async function sleepInThread(start: number, periodMicros: number, catchUp: () => boolean): Promise<void> {
  let metronome: Metronome | undefined;
  await new Promise<void>((resolve) => {
    metronome = new Metronome(start, periodMicros, () => {
      if (!catchUp()) resolve();
    });
  });
  await metronome?.stop();
}

const START_DELAY_MICROS = 200_000;
