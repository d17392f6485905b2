/** The open connections of this process, for whoever watches it. Nobody can ask unless the application, or its user, wanted it. [CON-73] */

import { basename } from 'node:path';
import { performance } from 'node:perf_hooks';
import { LiveConnections, LocalEndpoint, type Traffic, type Watchable } from '../monitor/index.ts';

const live = new LiveConnections();
/** Told by `jsp`, whose users expect to look into it. */
let servesWhenUsed = process.env.JSP_MONITOR === '1';
/** What this process is, without its arguments, which may be nobody's business. */
let name = basename(process.argv[1] ?? process.argv0);
let endpoint: Promise<MetricsEndpoint> | null = null;

/** A place where `jsp monitor --pid` finds this process. */
export interface MetricsEndpoint {
  /** The Unix-domain socket, or the named pipe. */
  readonly path: string;
  close(): Promise<void>;
}

/**
 * Lets the user's own `jsp monitor --pid` look into this process: opens a Unix-domain socket (on Windows a named pipe) in a directory that is the
 * user's alone, and tells there what `metrics()` of its connections tell. `JSP_MONITOR=1` in the environment does the same once there is a
 * connection. It does not keep the process alive; further calls give the same one.
 *
 * @throws JspError ERR_JSP_MONITOR where it cannot be opened
 */
export function serveMetrics(): Promise<MetricsEndpoint> {
  endpoint ??= openEndpoint();
  return endpoint;
}

/** Opens it as soon as there is a listener or a connection; for commands, where JSP_MONITOR=0 says no. */
export function serveMetricsWhenUsed(command: string): void {
  if (process.env.JSP_MONITOR === '0') return;
  name = command;
  servesWhenUsed = true;
}

export function connectionIsLive(connection: Watchable, traffic: Traffic): void {
  live.add(connection, traffic);
  if (servesWhenUsed) serveNow();
}

export function connectionIsOver(connection: Watchable): void {
  live.remove(connection);
}

/** A listener, which has no connection yet: a server can be looked into from the beginning. */
export function listenerIsLive(): void {
  if (servesWhenUsed) serveNow();
}

function serveNow(): void {
  servesWhenUsed = false;
  serveMetrics().catch((error: Error) => process.emitWarning(error.message, { code: 'ERR_JSP_MONITOR' }));
}

async function openEndpoint(): Promise<MetricsEndpoint> {
  try {
    const opened = await LocalEndpoint.open((top, before) =>
      live.report(top, before, {
        pid: process.pid,
        name,
        atMs: performance.now(),
      }),
    );
    const close = (): Promise<void> => {
      endpoint = null;
      return opened.close();
    };
    return { path: opened.path, close };
  } catch (error) {
    endpoint = null;
    throw error;
  }
}
