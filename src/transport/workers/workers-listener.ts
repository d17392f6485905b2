/**
 * {@link listen}, and the listener whose connections are served by several workers, as the application's main thread has it. [WRK-1]
 *
 * What is asked of the listener is asked of every worker, and what it tells is what they tell. [WRK-8]
 */

import { extname } from 'node:path';
import { JspError } from '../../base/errors.ts';
import { checkOptions } from '../../base/options.ts';
import { TICKET_KEY_BYTES, type TicketKeys } from '../../protocol/endpoint/index.ts';
import { bindServerSocket } from '../../udp/bind-socket.ts';
import type { ImpairmentOptions } from '../../udp/impaired-socket.ts';
import { abortError, onAbort } from '../abort.ts';
import { type TokenKeys, tokenKeys } from '../address-tokens.ts';
import type { ClientRefusal } from '../authorize.ts';
import { CLOSE_OPTIONS, type CloseOptions } from '../connection.ts';
import { announcedUrl, GO_AWAY_OPTIONS, type GoAwayOptions } from '../go-away.ts';
import { type Listener, type ListenOptions, listen as listenAlone } from '../listen.ts';
import { IsolatedEmitter } from '../listeners.ts';
import { systemRandom } from '../system-crypto.ts';
import { LIFETIME_MS } from '../tickets.ts';
import { DEFAULT_PORT } from '../url.ts';
import { receivedError, type SentError } from './messages.ts';
import {
  checkOptionsAlone,
  checkWorkersOptions,
  ordersOf,
  type WorkersListenOptions,
  workersOf,
} from './options.ts';
import { type WorkerMetrics, WorkerSums } from './sums.ts';
import { WorkerThreads } from './threads.ts';

/** What became of a worker. */
export interface WorkerEvent {
  /** Its number, from 0. */
  readonly worker: number;
  /**
   * `started`: it serves, again, in place of one that ended; `ended`: by itself, with its connections, and another takes its place; `stuck`: its event loop has not
   * turned for 5 s; `turning`: it turns again.
   */
  readonly state: 'ended' | 'started' | 'stuck' | 'turning';
  /** Of `ended`: ERR_JSP_WORKER_FAILED, with what its thread threw as `cause`. Else null. */
  readonly error: JspError | null;
  /** Of `ended`: when another is started, in ms from then. Else null. */
  readonly restartsInMs: number | null;
}

/**
 * What all workers counted together since the server began. Of a worker that is stuck it is what it told last; of threads that have ended the counters stay, but for what one
 * that was ended from outside counted since it was asked last. [WRK-11]
 */
export interface WorkersMetrics extends WorkerMetrics {
  /** Each by itself since it was started, by its number; null for one that is not there now, is stuck, or does not answer within 5 s. */
  readonly workers: readonly (WorkerMetrics | null)[];
}

interface WorkersEvents {
  /** A worker ended, or does not turn, or is there again. Where nobody listens, its end is a warning of the process. */
  worker: [event: WorkerEvent];
  /** As of {@link Listener}; `error` is a copy of what was thrown. */
  refused: [refusal: ClientRefusal];
  /** As of {@link Listener}, from each worker. */
  authorizedKeys: [error: JspError | null];
  close: [];
}

/** What a worker is asked. */
export type WorkerQuestion =
  | { readonly ask: 'metrics' }
  | { readonly ask: 'close'; readonly options: CloseOptions }
  | { readonly ask: 'goAway'; readonly options: GoAwayOptions };

/** What a worker is told. */
export type WorkerTidings =
  | { readonly tell: 'impair'; readonly options: ImpairmentOptions | null }
  | { readonly tell: 'tokenKeys'; readonly keys: TokenKeys }
  | { readonly tell: 'ticketKeys'; readonly keys: TicketKeys };

/** What a worker tells by itself. */
type WorkerReport =
  | {
      readonly event: 'refused';
      readonly refusal: Omit<ClientRefusal, 'error'>;
      readonly error: SentError | undefined;
    }
  | { readonly event: 'authorizedKeys'; readonly error: SentError | null }
  /** The last that it says. */
  | { readonly event: 'counted'; readonly metrics: WorkerMetrics };

interface Place {
  readonly url: string;
  readonly host: string;
  readonly port: number;
}

/** The constructor of {@link WorkersListener}, which is nobody else's. */
let listenerWith: (options: WorkersListenOptions, count: number) => WorkersListener;
let startOf: (listener: WorkersListener) => Promise<void>;

/** A server that is several workers, each in a thread: what the main thread has of it. Made by `listen` with `workers`. */
export class WorkersListener extends IsolatedEmitter<WorkersEvents> {
  private readonly options: WorkersListenOptions;
  private readonly threads: WorkerThreads;
  private readonly sums: WorkerSums;
  private place: Place = { url: '', host: '', port: 0 };
  private ticketKeys: TicketKeys | null = null;
  private tokenKeys: TokenKeys | undefined;
  private impairment: ImpairmentOptions | null | undefined;
  private ticketTimer: NodeJS.Timeout | null = null;
  /** Its end was announced, or it is being closed: workers that end are not followed by others. */
  private isEnding = false;
  private closing: Promise<void> | null = null;
  private closed = false;

  static {
    listenerWith = (options, count) => new WorkersListener(options, count);
    startOf = (listener) => listener.start();
  }

  private constructor(options: WorkersListenOptions, count: number) {
    super();
    this.options = options;
    this.tokenKeys = options.tokenKeys;
    this.impairment = options.impairment;
    this.sums = new WorkerSums(count);
    this.threads = new WorkerThreads(
      THREAD,
      count,
      {
        dataFor: () => this.orders(count),
        portFor: (number) => options.portFor?.(number) ?? null,
        onReady: (number) => this.onReady(number),
        onTold: (worker, message) => this.onTold(worker, message as WorkerReport),
        onEnded: (worker, error, restartsInMs) =>
          this.onEnded({ worker, error, restartsInMs, state: 'ended' }),
        onStuck: (worker, isStuck) => this.onStuck(worker, isStuck),
      },
      options.thread,
    );
  }

  /** `jsp://<fingerprint>@host:port`: all that a client needs. */
  get url(): string {
    return this.place.url;
  }

  get host(): string {
    return this.place.host;
  }

  get port(): number {
    return this.place.port;
  }

  /** How many workers there are. */
  get workers(): number {
    return this.threads.count;
  }

  /** What all workers counted, and each of them by itself. */
  async metrics(): Promise<WorkersMetrics> {
    const each = await Promise.all(
      Array.from({ length: this.workers }, (_, number) => this.metricsOf(number)),
    );
    return { ...this.sums.total, workers: each };
  }

  /**
   * As `Listener.close`, for all workers: each accepts no more connections and closes those that it has; then its module's `stop` is called, and its thread ends. A
   * worker that is stuck is ended as it is.
   *
   * @throws JspError ERR_JSP_ABORTED when the signal was aborted before, ERR_JSP_OPTION_INVALID; what a module's `stop` threw, as the first worker has it
   */
  async close(options: CloseOptions = {}): Promise<void> {
    checkOptions('close', options, CLOSE_OPTIONS);
    const { signal, ...rest } = options;
    if (signal?.aborted) throw abortError(signal);
    const forget = onAbort(signal, () =>
      this.closeWith({ ask: 'close', options: { ...rest, timeoutMs: 0 } }),
    );
    this.closeWith({ ask: 'close', options: rest });
    await this.closing?.finally(forget);
  }

  /**
   * As `Listener.goAway`, for all workers.
   *
   * @throws JspError ERR_JSP_OPTION_INVALID; ERR_JSP_ABORTED when the signal was aborted before
   */
  async goAway(options: GoAwayOptions = {}): Promise<void> {
    checkOptions('goAway', options, GO_AWAY_OPTIONS);
    const { signal, ...rest } = options;
    if (signal?.aborted) throw abortError(signal);
    announcedUrl(rest.url);
    const forget = onAbort(signal, () => this.closeWith({ ask: 'close', options: { timeoutMs: 0 } }));
    this.closeWith({ ask: 'goAway', options: rest });
    await this.closing?.finally(forget);
  }

  /** As `Connection.impair`, for all connections of all workers. */
  impair(options: ImpairmentOptions | null): void {
    this.impairment = options;
    this.tellAll({ tell: 'impair', options });
  }

  /**
   * As `Listener.useTokenKeys`, for all workers.
   *
   * @throws JspError ERR_JSP_OPTION_INVALID
   */
  useTokenKeys(keys: TokenKeys): void {
    checkOptions('useTokenKeys', { tokenKeys: keys }, { tokenKeys });
    this.tokenKeys = keys;
    this.tellAll({ tell: 'tokenKeys', keys });
  }

  /**
   * Ends a worker's thread at once, with its connections, as one that is stuck may have to be; another takes its place. Resolves when the thread has ended.
   *
   * @param worker - its number; where it is not there now, nothing is done
   */
  async restart(worker: number): Promise<void> {
    await this.threads.restart(worker);
  }

  /** Lets the process end although the workers serve. */
  unref(): this {
    this.threads.setReferenced(false);
    return this;
  }

  /** Undoes {@link unref}. */
  ref(): this {
    this.threads.setReferenced(true);
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // ---- the beginning ----

  private async start(): Promise<void> {
    try {
      await this.begin();
    } catch (error) {
      await this.threads.end();
      this.stopTickets();
      throw error;
    }
  }

  private async begin(): Promise<void> {
    const { options } = this;
    // Bound without sharing first: the workers' sockets would share the address with those of another process, too.
    const probe = await bindServerSocket({
      host: options.host ?? '127.0.0.1',
      port: options.port ?? DEFAULT_PORT,
    });
    this.place = { url: '', host: probe.localHost, port: probe.localPort };
    await probe.close();
    if (options.tickets !== false) this.makeTicketKeys();
    const [place] = (await this.threads.start()) as Place[];
    this.place = place;
  }

  /** Those that were given, or one that is made here, and another each time tickets of the last have expired. [HS-54] */
  private makeTicketKeys(): void {
    const { tickets } = this.options;
    const given = typeof tickets === 'object' ? tickets : undefined;
    if (given?.keys !== undefined) {
      this.ticketKeys = { current: given.keys.current, previous: given.keys.previous ?? [] };
      return;
    }
    this.ticketKeys = { current: newKey(), previous: [] };
    const rotate = () => {
      const { current } = this.ticketKeys as TicketKeys;
      this.ticketKeys = { current: newKey(), previous: [current] };
      this.tellAll({ tell: 'ticketKeys', keys: this.ticketKeys });
    };
    this.ticketTimer = setInterval(rotate, given?.lifetimeMs ?? LIFETIME_MS).unref();
  }

  private stopTickets(): void {
    if (this.ticketTimer !== null) clearInterval(this.ticketTimer);
  }

  /** What a worker that is started now is given: as things are now. */
  private orders(count: number) {
    const { host, port } = this.place;
    const options = { ...this.options, tokenKeys: this.tokenKeys, impairment: this.impairment ?? undefined };
    return ordersOf(options, count, { host, port, ticketKeys: this.ticketKeys });
  }

  private tellAll(tidings: WorkerTidings): void {
    this.threads.tell(tidings);
  }

  // ---- what workers tell ----

  private onReady(worker: number): void {
    if (this.url !== '') this.tell('worker', { worker, state: 'started', error: null, restartsInMs: null });
  }

  private onEnded(event: WorkerEvent): void {
    this.sums.onEnded(event.worker);
    if (this.tell('worker', event)) return;
    const { cause, message } = event.error as JspError;
    warnOf({ message, stack: cause instanceof Error ? cause.stack : undefined });
  }

  private onStuck(worker: number, isStuck: boolean): void {
    this.tell('worker', { worker, state: isStuck ? 'stuck' : 'turning', error: null, restartsInMs: null });
    if (isStuck && this.isEnding) void this.threads.dismiss(worker);
  }

  private onTold(worker: number, report: WorkerReport): void {
    if (report.event === 'counted') return this.sums.heard(worker, report.metrics);
    const error = report.error == null ? null : receivedError(report.error);
    if (report.event === 'authorizedKeys') this.tell('authorizedKeys', error as JspError | null);
    else this.tell('refused', error === null ? report.refusal : { ...report.refusal, error });
  }

  // ---- figures ----

  private async metricsOf(number: number): Promise<WorkerMetrics | null> {
    if (!this.threads.isWorking(number) || this.threads.isStuck(number)) return null;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<null>((resolve) => {
      timer = setTimeout(resolve, ANSWER_MS, null).unref();
    });
    const answer = this.threads.ask(number, { ask: 'metrics' }).then((metrics) => {
      this.sums.heard(number, metrics as WorkerMetrics);
      return metrics as WorkerMetrics;
    });
    const metrics = await Promise.race([answer.catch(() => null), late]);
    clearTimeout(timer);
    return metrics;
  }

  // ---- the end ----

  /** Every worker does so, and is dismissed when it has. A further call can only make it sooner. */
  private closeWith(question: WorkerQuestion): void {
    if (this.closed) return;
    this.isEnding = true;
    this.threads.stopRestarting();
    const ends = Array.from({ length: this.workers }, (_, number) => this.endWorker(number, question));
    this.closing ??= this.finish(ends);
    for (const end of ends) end.catch(() => {}); // the first call tells
  }

  private async endWorker(number: number, question: WorkerQuestion): Promise<void> {
    if (this.threads.isStuck(number)) return this.threads.dismiss(number);
    try {
      if (this.threads.isWorking(number)) await this.threads.ask(number, question);
    } catch (error) {
      // One that ended meanwhile has nothing more to close.
      if (!(error instanceof JspError && error.code === 'ERR_JSP_WORKER_FAILED')) throw error;
    } finally {
      await this.threads.dismiss(number);
    }
  }

  private async finish(ends: readonly Promise<void>[]): Promise<void> {
    const results = await Promise.allSettled(ends);
    await this.threads.end();
    for (let number = 0; number < this.workers; number++) this.sums.onEnded(number);
    this.stopTickets();
    this.closed = true;
    this.tell('close');
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }
}

/**
 * Serves with several workers at one address, each in a thread with a socket of its own, so that a server has as many cores as it has workers. Connections go to
 * the functions of a module that each worker loads: see `docs/workers.md`.
 *
 * @example
 * const listener = await listen({ identity, workers: 'auto', module: new URL('./session.js', import.meta.url) });
 * // session.js
 * export default (connection, { worker }) => connection.on('stream', (stream) => stream.on('message', (message) => stream.send(message)));
 *
 * @throws JspError ERR_JSP_WORKERS_UNAVAILABLE where sockets cannot share an address, ERR_JSP_WORKER_FAILED where a worker does not begin, and as below
 */
export function listen(options: WorkersListenOptions): Promise<WorkersListener>;
/**
 * Serves on a UDP socket. Connections come as `connection` events, or by `for await`.
 *
 * @throws JspError ERR_JSP_SOCKET when the address cannot be bound, ERR_JSP_OPTION_INVALID, ERR_JSP_ABORTED
 */
export function listen(options: ListenOptions): Promise<Listener>;
export async function listen(
  options: ListenOptions | WorkersListenOptions,
): Promise<Listener | WorkersListener> {
  if ((options as Partial<WorkersListenOptions> | null)?.workers !== undefined)
    return listenWithWorkers(options as WorkersListenOptions);
  checkOptionsAlone(options as ListenOptions);
  return listenAlone(options as ListenOptions);
}

async function listenWithWorkers(given: WorkersListenOptions): Promise<WorkersListener> {
  checkWorkersOptions(given);
  const { signal } = given;
  if (signal?.aborted) throw abortError(signal);
  const listener = listenerWith(given, workersOf(given.workers));
  await startOf(listener);
  if (signal?.aborted) {
    await closeBySignal(listener);
    throw abortError(signal);
  }
  listener.once(
    'close',
    onAbort(signal, () => void closeBySignal(listener)),
  );
  return listener;
}

/** Nobody waits for this one: what a module's `stop` throws is a warning of the process. */
function closeBySignal(listener: WorkersListener): Promise<void> {
  return listener.close({ timeoutMs: 0 }).catch(warnOf);
}

function warnOf({ message, stack }: { message: string; stack?: string | undefined }): void {
  const detail = stack === undefined ? {} : { detail: stack };
  process.emitWarning(message, { code: 'ERR_JSP_WORKER_FAILED', ...detail });
}

function newKey(): Uint8Array {
  const key = new Uint8Array(TICKET_KEY_BYTES);
  systemRandom.fill(key);
  return key;
}

/** The same extension as this file has. */
const THREAD = new URL(`./thread${extname(import.meta.url)}`, import.meta.url);
/** For so long figures of a worker are waited for, which counts as stuck then. [WRK-10] */
const ANSWER_MS = 5_000;
