/** What an application may say of workers, and how the options of a listener cross into their threads: what cannot, is said to belong into their module. */

import { availableParallelism } from 'node:os';
import { isAbsolute } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { MessagePort } from 'node:worker_threads';
import { JspError } from '../../base/errors.ts';
import {
  anObject,
  anything,
  checkOptions,
  type OptionCheck,
  type OptionTable,
  whole,
} from '../../base/options.ts';
import { Identity } from '../../protocol/crypto/index.ts';
import type { TicketKeys } from '../../protocol/endpoint/index.ts';
import { reusePortFault } from '../../udp/bind-socket.ts';
import type { Admittance, ArrivingClient } from '../authorize.ts';
import type { Connection } from '../connection.ts';
import { HALF_OPEN_MAX, LISTEN_OPTIONS, type ListenOptions } from '../listen.ts';
import { defaultMemoryBytes } from '../options.ts';
import type { TicketOptions } from '../tickets.ts';
import type { ThreadOptions } from './threads.ts';

/** Options of a listener that are a thread's own affair, or this process's. */
type NotAcross = 'authorize' | 'clock' | 'front' | 'keyLog' | 'random' | 'signal' | 'socket';

/** What `listen` is told of a server that is several workers. */
export interface WorkersListenOptions extends Omit<ListenOptions, Exclude<NotAcross, 'signal'>> {
  /**
   * How many workers there are at the server's address, each an endpoint with a socket and a thread of its own: 1 to 256, or `auto`, as many as the machine has
   * cores for this process, and 1 where it cannot be more. `connectionsMax` holds for all of them together; of `halfOpenMax` and `memoryBytesMax` each has its part.
   */
  workers: number | 'auto';
  /** The module that each worker loads, an absolute path or a `file:` URL, such as `new URL('./session.js', import.meta.url)`: see {@link WorkerModule}. */
  module: string | URL;
  /** What the module's functions find as `data` of their context: anything that can be cloned. Default undefined. */
  data?: unknown;
  /**
   * Makes the port that a module finds as `port` of its context, such as one end of a `MessageChannel` of `node:worker_threads`: is asked before each start of
   * a worker, which it is given to. Default none.
   */
  portFor?: ((worker: number) => MessagePort) | undefined;
  /** How the threads are started: `argv`, `env`, `execArgv`, `resourceLimits` and `trackUnmanagedFds` of `new Worker`. Default as that has it. */
  thread?: ThreadOptions | undefined;
}

/** What a module's functions know of the worker that they run in. */
export interface WorkerContext {
  /** Which of the workers it is, from 0. One that takes the place of another has its number. */
  readonly worker: number;
  /** How many there are. */
  readonly workers: number;
  /** The option `data`, each worker's own copy. */
  readonly data: unknown;
  /** What the option `portFor` has made for this start of the worker; null without it. */
  readonly port: MessagePort | null;
}

/** What a module of workers exports, and nothing else: ERR_JSP_OPTION_INVALID tells a name that is none of these. */
export interface WorkerModule {
  /** Is called for each connection of this worker, as listeners of the event `connection` are. What it throws ends the worker, as it would a process. */
  default(connection: Connection, context: WorkerContext): void;
  /** As the option of `listen`; it may be asked 256 times at once, in each worker. */
  authorize?(client: ArrivingClient): Admittance | Promise<Admittance>;
  /** As the option of `listen`. */
  keyLog?(line: string): void;
  /** Is called, and waited for, before the worker serves. */
  start?(context: WorkerContext): void | Promise<void>;
  /** Is called, and waited for, when the listener was closed, before the thread ends. Not when it ends by itself. */
  stop?(context: WorkerContext): void | Promise<void>;
}

/** What a thread is given: all of it can be cloned. Keys are the same for all [WRK-5], what is remembered of used tickets and tokens is each one's own. [WRK-6] */
export interface WorkerOrders {
  readonly module: string;
  readonly data: unknown;
  readonly secret: string;
  readonly options: Omit<ListenOptions, NotAcross | 'identity'>;
}

/** How many workers there are to be. @throws JspError ERR_JSP_WORKERS_UNAVAILABLE */
export function workersOf(workers: number | 'auto'): number {
  if (workers === 1) return 1;
  const fault = reusePortFault();
  if (workers === 'auto') return fault === null ? Math.min(WORKERS_MAX, availableParallelism()) : 1;
  if (fault === null) return workers;
  throw new JspError(
    'ERR_JSP_WORKERS_UNAVAILABLE',
    `listen: ${workers} workers need as many sockets at one address (SO_REUSEPORT), but ${fault}; use such a Node on Linux, or the native addon, which npm run native builds, or workers: 'auto', which is 1 here`,
  );
}

/** @param where - what all workers bind, and its keys, which they have in common */
export function ordersOf(
  {
    workers: _,
    thread: __,
    portFor: ____,
    module,
    data,
    identity,
    signal: ___,
    ...options
  }: WorkersListenOptions,
  count: number,
  where: { readonly host: string; readonly port: number; readonly ticketKeys: TicketKeys | null },
): WorkerOrders {
  const { host, port, ticketKeys } = where;
  return {
    module: urlOf(module),
    data,
    secret: identity.exportSecret(),
    options: {
      ...options,
      host,
      port,
      halfOpenMax: partOf(options.halfOpenMax ?? HALF_OPEN_MAX, count),
      memoryBytesMax: partOf(options.memoryBytesMax ?? defaultMemoryBytes(), count),
      tickets:
        ticketKeys === null
          ? false
          : { ...(typeof options.tickets === 'object' ? options.tickets : {}), keys: keysOf(ticketKeys) },
    },
  };
}

/** The options of a listener that a thread has them for. */
export function optionsIn(
  { secret, options }: WorkerOrders,
  { authorize, keyLog }: WorkerModule,
): ListenOptions {
  return { ...options, identity: Identity.fromSecret(secret), authorize, keyLog };
}

function urlOf(module: string | URL): string {
  const text = String(module);
  return text.startsWith('file:') ? text : pathToFileURL(text).href;
}

function keysOf({ current, previous }: TicketKeys): TicketOptions['keys'] {
  return { current, previous };
}

function partOf(whole: number, count: number): number {
  return Math.max(1, Math.floor(whole / count));
}

/** @throws JspError ERR_JSP_OPTION_INVALID */
export function checkWorkersOptions(given: WorkersListenOptions): void {
  const options = given as unknown as Record<string, unknown>;
  for (const [name, why] of Object.entries(NOT_ACROSS))
    if (options[name] !== undefined)
      throw invalid(
        `listen: ${name} cannot be given beside workers, whose threads it does not reach: ${why}`,
      );
  checkOptions('listen', given, WORKERS_LISTEN_OPTIONS);
  for (const name of ['identity', 'module', 'workers'] as const)
    if (given[name] === undefined) throw invalid(`listen: ${name} is missing, which goes with workers`);
  try {
    structuredClone(given.data);
  } catch (error) {
    throw invalid(`listen: data must be something that can be cloned: ${(error as Error).message}`);
  }
}

/**
 * What `listen` is told of a server without workers.
 *
 * @throws JspError ERR_JSP_OPTION_INVALID
 */
export function checkOptionsAlone(given: ListenOptions): void {
  checkOptions<object>('listen', given, WORKERS_LISTEN_OPTIONS);
  for (const name of Object.keys(OF_WORKERS))
    if ((given as unknown as Record<string, unknown>)[name] !== undefined)
      throw invalid(
        `listen: ${name} goes with workers, which is missing: how many there are to be, or 'auto'`,
      );
}

function invalid(message: string): JspError {
  return new JspError('ERR_JSP_OPTION_INVALID', message);
}

const moduleOption: OptionCheck = (value) => {
  const isUrl = value instanceof URL && value.protocol === 'file:';
  const isText = typeof value === 'string' && (value.startsWith('file:') || isAbsolute(value));
  return isUrl || isText ? null : 'an absolute path or a file: URL';
};

const aFunction: OptionCheck = (value) => (typeof value === 'function' ? null : 'a function');
/** At one address. */
export const WORKERS_MAX = 256;
const workerCount = whole(1, WORKERS_MAX);

/** What to do instead, for who wants both. */
export const WORKERS_BEHIND_FRONT =
  'run a server for each core, each at a port of its own, and name them all to the front, which spreads clients over them';

/** What cannot be told a worker from outside, and what to do. */
const NOT_ACROSS: Readonly<Record<Exclude<NotAcross, 'signal'>, string>> = {
  authorize: 'export a function of that name from the module',
  keyLog: 'export a function of that name from the module, or set JSPKEYLOGFILE',
  clock: 'a worker has the clock of the machine',
  random: 'a worker has the random numbers of the machine',
  socket: 'a worker binds its own',
  front: WORKERS_BEHIND_FRONT,
};

/** What a listener has for its workers alone. */
const OF_WORKERS: OptionTable<Omit<WorkersListenOptions, keyof ListenOptions>> = {
  workers: (value) =>
    value === 'auto' || workerCount(value) === null
      ? null
      : `auto, or a whole number from 1 to ${WORKERS_MAX}`,
  module: moduleOption,
  data: anything,
  portFor: aFunction,
  thread: anObject,
};

/** With the rows of a listener without workers: who misspells an option of one kind may have left out what makes it that kind. */
const WORKERS_LISTEN_OPTIONS: OptionTable<WorkersListenOptions> = { ...LISTEN_OPTIONS, ...OF_WORKERS };
