/** Clients come to a broker by several workers, each a thread with a socket of its own at one address, and the core in the main thread has a {@link WorkerLine} to each of them. [BRK-134] */

import { extname } from 'node:path';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { JspError } from '../../base/errors.ts';
import type { CloseOptions } from '../../transport/connection.ts';
import type { GoAwayOptions } from '../../transport/go-away.ts';
import type { ListenerMetrics, ListenOptions } from '../../transport/listen.ts';
import { WORKERS_BEHIND_FRONT } from '../../transport/workers/options.ts';
import {
  listen,
  type WorkersListener,
  type WorkersMetrics,
} from '../../transport/workers/workers-listener.ts';
import { systemClock } from '../../udp/clock.ts';
import type { DoorOwner, NativeDoor, WorkerFigures } from '../native-door.ts';
import { sharedMs } from './frames.ts';
import { WorkerLine } from './worker-line.ts';

/** @throws {JspError} ERR_JSP_WORKERS_UNAVAILABLE, ERR_JSP_WORKER_FAILED, ERR_JSP_OPTION_INVALID, and as `listen` does */
export async function openWorkersDoor(options: ListenOptions, workers: number | 'auto'): Promise<NativeDoor> {
  for (const name of NOT_ACROSS) {
    if (options[name] === undefined) continue;
    const what = `startBroker: ${name} cannot be given beside workers, whose threads it does not reach: ${name === 'front' ? WORKERS_BEHIND_FRONT : 'leave out one of the two'}`;
    throw new JspError('ERR_JSP_OPTION_INVALID', what);
  }
  const lines = new WorkerLines();
  const listener = await listen({
    ...options,
    workers,
    module: SESSION,
    portFor: (worker) => lines.begin(worker),
  });
  const door = new WorkersDoor(listener, lines);
  await door.count();
  return door;
}

/** A line to each worker that there is. */
class WorkerLines {
  owner: DoorOwner | null = null;
  private readonly lines = new Map<number, WorkerLine>();

  /** Of a thread that is about to start in place of this worker. Returns the end of the line that it is to have. */
  begin(worker: number): MessagePort {
    const { port1, port2 } = new MessageChannel();
    const line = new WorkerLine({
      clock: systemClock,
      sharedMs,
      port: { post: (batch) => port1.postMessage(batch, [batch.buffer as ArrayBuffer]) },
      onConnection: (connection) => {
        if (this.owner === null) connection.destroy();
        else this.owner.onConnection(connection, connection.facts);
      },
      onFault: (error) => this.owner?.onFault(error),
    });
    this.lines.set(worker, line);
    port1.on('message', (batch: Uint8Array) => line.take(batch));
    // The other end goes with its thread, after all that the thread has said.
    port1.on('close', () => {
      line.end(new JspError('ERR_JSP_WORKER_FAILED', `worker ${worker} has ended`)); // [BRK-136]
      if (this.lines.get(worker) === line) this.lines.delete(worker);
    });
    port1.unref(); // the threads keep the process going
    return port2;
  }

  connectionsOf(worker: number): number {
    return this.lines.get(worker)?.size ?? 0;
  }

  announceEnd(url: string, withinMs: number): void {
    for (const line of this.lines.values()) line.announceEnd(url, withinMs);
  }

  async settled(): Promise<void> {
    await Promise.all([...this.lines.values()].map((line) => line.settled()));
  }
}

class WorkersDoor implements NativeDoor {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  private readonly listener: WorkersListener;
  private readonly lines: WorkerLines;
  /** As of the last second. */
  private counted: WorkersMetrics | null = null;
  private readonly counting: NodeJS.Timeout;

  constructor(listener: WorkersListener, lines: WorkerLines) {
    this.listener = listener;
    this.lines = lines;
    this.url = listener.url;
    this.host = listener.host;
    this.port = listener.port;
    listener.on('refused', (refusal) => lines.owner?.onRefused(refusal));
    listener.on('authorizedKeys', (error) => lines.owner?.onAuthorizedKeys(error));
    listener.on('worker', (event) => lines.owner?.onWorker(event));
    listener.on('close', () => {
      clearInterval(this.counting);
      lines.owner?.onClose();
    });
    this.counting = setInterval(() => void this.count(), COUNT_MS).unref();
  }

  get owner(): DoorOwner | null {
    return this.lines.owner;
  }

  set owner(owner: DoorOwner | null) {
    this.lines.owner = owner;
  }

  /** Of all workers together, as of the last second. */
  metrics(): ListenerMetrics {
    return this.counted as WorkersMetrics;
  }

  get workers(): readonly WorkerFigures[] {
    return Array.from({ length: this.listener.workers }, (_, worker) => ({
      worker,
      isThere: this.counted?.workers[worker] != null,
      connections: this.lines.connectionsOf(worker),
    }));
  }

  async count(): Promise<void> {
    this.counted = await this.listener.metrics();
  }

  announceEnd({ url = '', withinMs = 0 }: GoAwayOptions): void {
    this.lines.announceEnd(url, withinMs);
  }

  async close({ timeoutMs, ...rest }: CloseOptions = {}): Promise<void> {
    const since = performance.now();
    // What the core has said last goes first. A worker that does not turn is not waited for.
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, Math.min(timeoutMs ?? SETTLE_MS_MAX, SETTLE_MS_MAX));
    });
    await Promise.race([this.lines.settled(), late]);
    clearTimeout(timer);
    const left = timeoutMs === undefined ? undefined : Math.max(0, timeoutMs - (performance.now() - since));
    await this.listener.close({ ...rest, timeoutMs: left });
  }

  restartWorker(worker: number): Promise<void> {
    return this.listener.restart(worker);
  }

  ref(): void {
    this.listener.ref();
  }

  unref(): void {
    this.listener.unref();
  }
}

/** Options of a listener that are of one thread. [BRK-137] */
const NOT_ACROSS = ['authorize', 'clock', 'front', 'keyLog', 'random', 'socket'] as const;
const COUNT_MS = 1_000;
const SETTLE_MS_MAX = 5_000;
/** The same extension as this file has. */
const SESSION = new URL(`./session${extname(import.meta.url)}`, import.meta.url);
