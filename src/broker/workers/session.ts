/** The module that a worker of a broker loads: it hands the connections of its clients to the core, which is in the main thread, and says nothing for itself. */

import type { MessagePort } from 'node:worker_threads';
import type { Connection } from '../../transport/connection.ts';
import type { WorkerContext } from '../../transport/workers/options.ts';
import { systemClock } from '../../udp/clock.ts';
import { factsOf } from '../native-door.ts';
import { CoreLine } from './core-line.ts';
import { sharedMs } from './frames.ts';

let line: CoreLine;

export function start({ port }: WorkerContext): void {
  const core = port as MessagePort;
  line = new CoreLine({
    clock: systemClock,
    sharedMs,
    port: { post: (batch) => core.postMessage(batch, [batch.buffer as ArrayBuffer]) },
  });
  core.on('message', (batch: Uint8Array) => line.take(batch));
  core.unref(); // the socket of its listener keeps the thread going
  setInterval(() => line.tellOfLinks(), LINKS_MS).unref();
}

export default function serve(connection: Connection): void {
  line.serve(connection, factsOf(connection));
}

/** All connections are closed, which the core is to hear before the thread ends. */
export function stop(): void {
  line.flushNow();
}

const LINKS_MS = 1_000;
