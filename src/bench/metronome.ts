import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';

/** Microseconds of the clock that all processes of a machine share. */
export function sharedMicros(): number {
  const [seconds, nanos] = process.hrtime();
  return seconds * 1e6 + nanos / 1e3;
}

/**
 * Calls `onBeat` at `startMicros` and once a period from then on, or later when it wakes up late, until it is stopped. Node's timers are too coarse for it: a
 * second thread sleeps until then and posts a message, which is exact to some 100 us and costs next to nothing.
 *
 * @param startMicros - on the clock of {@link sharedMicros}
 */
export class Metronome {
  private readonly thread: Worker;

  constructor(startMicros: number, periodMicros: number, onBeat: () => void) {
    this.thread = new Worker(THREAD, { workerData: { start: startMicros, periodMicros } });
    this.thread.on('message', onBeat);
  }

  async stop(): Promise<void> {
    this.thread.removeAllListeners('message');
    await this.thread.terminate();
  }
}

/** The same extension as this file has. */
const THREAD = fileURLToPath(new URL(`./metronome-thread${extname(import.meta.url)}`, import.meta.url));
