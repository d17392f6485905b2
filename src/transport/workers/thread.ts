/** The module that a worker's thread begins with: a listener, whose connections go to the application's module. */

import { JspError } from '../../base/errors.ts';
import { nearest } from '../../base/options.ts';
import { type Listener, lastWords, listenAs, useTicketKeys } from '../listen.ts';
import { sentError } from './messages.ts';
import { optionsIn, type WorkerContext, type WorkerModule, type WorkerOrders } from './options.ts';
import { Seat } from './seat.ts';
import type { WorkerMetrics } from './sums.ts';
import type { WorkerQuestion, WorkerTidings } from './workers-listener.ts';

/** What a worker's module may export. */
const EXPORTS: Record<keyof WorkerModule, true> = {
  default: true,
  authorize: true,
  keyLog: true,
  start: true,
  stop: true,
};
/** What Node and compilers add to a module that is not of ES. */
const OF_COMMON_JS: ReadonlySet<string> = new Set(['module.exports', '__esModule']);

const seat = Seat.own();
await seat.work(async () => {
  const orders = seat.data as WorkerOrders;
  const module = await moduleAt(orders.module);
  const context: WorkerContext = {
    worker: seat.number,
    workers: seat.count,
    data: orders.data,
    port: seat.port,
  };
  await module.start?.(context);
  const listener = await listenAs(seat.count > 1 ? seat.fellows : null, optionsIn(orders, module));
  listener.on('connection', (connection) => module.default(connection, context));
  report(listener);
  // [WRK-9] [WRK-11] In its last moments the thread can still send. Where it is terminated there are none.
  process.on('exit', () => {
    lastWords(listener);
    seat.tell({ event: 'counted', metrics: metricsOf(listener) });
  });
  const { host, port, url } = listener;
  // Asked to close while it goes away, it stops once.
  let stopped: Promise<void> | null = null;
  const stop = async () => {
    stopped ??= Promise.resolve(module.stop?.(context));
    await stopped;
  };
  return {
    value: { host, port, url },
    duties: {
      answer: (question) => answerTo(question as WorkerQuestion, listener, stop),
      told: (message) => heed(message as WorkerTidings, listener),
    },
  };
});

async function moduleAt(url: string): Promise<WorkerModule> {
  const module = (await import(url)) as WorkerModule;
  // One that is misspelt would never be called: a server without its `authorize` lets everybody in.
  for (const name of Object.keys(module)) {
    if (Object.hasOwn(EXPORTS, name) || OF_COMMON_JS.has(name)) continue;
    const what = `none that a worker's module has; the nearest it has is "${nearest(name, EXPORTS)}"`;
    throw new JspError('ERR_JSP_OPTION_INVALID', `listen: the export ${name} of ${url} is ${what}`);
  }
  for (const name of Object.keys(EXPORTS) as (keyof WorkerModule)[]) {
    const isThere = module[name] !== undefined;
    if (typeof module[name] === 'function' || (!isThere && name !== 'default')) continue;
    const what = isThere ? 'no function' : 'missing: a function that is called for each connection';
    throw new JspError('ERR_JSP_OPTION_INVALID', `listen: the export ${name} of ${url} is ${what}`);
  }
  return module;
}

/** What the listener tells goes to the main thread, that its end by itself is the worker's. */
function report(listener: Listener): void {
  listener.on('refused', ({ error, ...refusal }) => {
    seat.tell({ event: 'refused', refusal, error: error === undefined ? undefined : sentError(error) });
  });
  listener.on('authorizedKeys', (error) =>
    seat.tell({ event: 'authorizedKeys', error: error === null ? null : sentError(error) }),
  );
  listener.on('error', (error) => {
    throw error;
  });
}

async function answerTo(
  question: WorkerQuestion,
  listener: Listener,
  stop: () => Promise<void>,
): Promise<unknown> {
  switch (question.ask) {
    case 'metrics':
      return metricsOf(listener);
    case 'close':
      await listener.close(question.options);
      return stop();
    case 'goAway':
      await listener.goAway(question.options);
      return stop();
  }
}

function metricsOf(listener: Listener): WorkerMetrics {
  return { ...listener.metrics(), ...seat.fellows.counters };
}

function heed(tidings: WorkerTidings, listener: Listener): void {
  switch (tidings.tell) {
    case 'impair':
      return listener.impair(tidings.options);
    case 'tokenKeys':
      return listener.useTokenKeys(tidings.keys);
    case 'ticketKeys':
      return useTicketKeys(listener, tidings.keys);
  }
}
