/** The thread of `metronome.ts`: posts a message at `start`, and one each `periodMicros` after it, or later when it wakes up late. */
import { parentPort, workerData } from 'node:worker_threads';

const { start, periodMicros } = workerData as { start: number; periodMicros: number };
const cell = new Int32Array(new SharedArrayBuffer(4));
for (let next = start; ; ) {
  const [seconds, nanos] = process.hrtime();
  const now = seconds * 1e6 + nanos / 1e3;
  if (now < next) {
    Atomics.wait(cell, 0, 0, (next - now) / 1e3);
    continue;
  }
  parentPort?.postMessage(null);
  next += Math.max(1, Math.ceil((now - next) / periodMicros)) * periodMicros;
}
