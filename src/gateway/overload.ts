/**
 * Refuses requests that come when there is too much to do: first of all, before anything is made of them or known of who asks. What a refusal costs is not there for those who
 * are served, so that it is one write of what was made long before, and what many sockets bring in one turn is refused together, as answers are: that takes 37 us of CPU time where
 * each is refused on his own for 62, most of all in the system, which wakes whoever reads for each; with thousands of connections, of which nothing is in a cache, it is two to three
 * times as much, so that who asks again at once is not read at once. [GW-7]
 */

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { EXCESSES, type Excess } from './load.ts';
import { PausedConnections } from './paused-connections.ts';
import { Problem } from './problem.ts';
import type { RouteTable } from './router.ts';
import type { GatewayState } from './state.ts';

/** A refusal that is to be written. */
interface Refusal {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly excess: Excess;
  readonly seconds: number;
  /** For so long its connection is not read. */
  readonly pauseMs: number;
}

export class Refusals {
  private readonly state: GatewayState;
  private readonly routes: RouteTable;
  private readonly paused: PausedConnections;
  private owed: Refusal[] = [];
  /** The event loop will call. */
  private isArmed = false;
  private readonly onSoon = () => {
    this.isArmed = false;
    this.write();
  };
  private readonly onEnough = () => this.write();

  constructor(state: GatewayState, routes: RouteTable) {
    this.state = state;
    this.routes = routes;
    this.paused = new PausedConnections(state.clock);
    state.load.onTurn = (room) => {
      this.write(); // what comes behind it can be a loop that goes on for seconds
      this.paused.onTurn(room);
    };
  }

  /** Refuses it, if there is too much to do. False: it is to be served, which can still refuse it. */
  refuse(request: IncomingMessage, response: ServerResponse): boolean {
    const { load, isDraining, clock } = this.state;
    const reread = this.paused.waited(request.socket);
    const excess = load.excess() ?? (reread !== null && this.isPressed ? 'delay' : null);
    if (excess === null || isDraining || request.method === 'OPTIONS') return false;
    // A page cannot read an answer that does not allow it, which is for those who look closer to say.
    if (this.routes.isWatch(request.url ?? '/') || hasOneOf(request, ORIGIN)) return false;
    this.state.counters.answered(503);
    // Who asks again too soon is told to stay away for longer: thousands of such clients would take a large part of the time.
    const seconds = load.refuse(excess) + (reread === 'time' ? LONGER_S : 0);
    // Of all that there can be too much of it is time that another refusal takes.
    const pauseMs = excess === 'delay' && reread !== 'room' ? this.pauseMsOf(request, seconds) : 0;
    const count = this.owed.push({ request, response, excess, seconds, pauseMs });
    // A loop with many sockets goes on from one to the next for seconds. What runs now reads the rest of this request first.
    if (count === WRITTEN_TOGETHER) void SETTLED.then(this.onEnough);
    else if (!this.isArmed) {
      this.isArmed = true;
      clock.soon(this.onSoon);
    }
    return true;
  }

  /** Somebody else has to do with the connection from now on: what is owed goes first. */
  release(socket: Socket): void {
    this.write();
    this.paused.forget(socket);
  }

  close(): void {
    this.write();
    this.paused.close();
  }

  /** There are others, who have not waited, for all the time that there is. */
  private get isPressed(): boolean {
    return this.paused.size > 0 || this.state.load.isOverloaded;
  }

  private write(): void {
    const { owed } = this;
    if (owed.length === 0) return;
    this.owed = [];
    for (const refusal of owed) this.answer(refusal);
  }

  private answer({ request, response, excess, seconds, pauseMs }: Refusal): void {
    if (response.destroyed) return;
    response.writeHead(503, headersOf(excess, seconds, this.state.isDraining));
    response.end(BODIES[excess], 'latin1');
    if (pauseMs === 0) return;
    if (request.complete) this.pause(request.socket, pauseMs);
    else request.once('end', () => this.pause(request.socket, pauseMs));
  }

  private pause(socket: Socket, ms: number): void {
    if (!this.state.isDraining) this.paused.pause(socket, ms);
  }

  /** Less than he was told to stay away, by at most a second: whoever does finds it read, and those who do not are not all read at the same time. */
  private pauseMsOf(request: IncomingMessage, seconds: number): number {
    const ms = seconds * 1_000 - EARLIER_MS_MIN - this.state.load.random() * (1_000 - EARLIER_MS_MIN);
    return hasOneOf(request, OF_PROXIES) ? Math.min(ms, SHARED_MS_MAX) : ms;
  }
}

function hasOneOf({ rawHeaders }: IncomingMessage, names: ReadonlySet<string>): boolean {
  for (let i = 0; i < rawHeaders.length; i += 2) if (names.has(rawHeaders[i].toLowerCase())) return true;
  return false;
}

function headersOf(excess: Excess, seconds: number, isLast: boolean): string[] {
  const headers = [
    'content-type',
    'application/problem+json',
    'content-length',
    LENGTHS[excess],
    'cache-control',
    'no-store',
    'retry-after',
    `${seconds}`,
  ];
  if (isLast) headers.push('connection', 'close');
  return headers;
}

const SETTLED = Promise.resolve();
/** As what is handed over together to the broker. */
const WRITTEN_TOGETHER = 64;
const ORIGIN: ReadonlySet<string> = new Set(['origin']);
/** Of requests that others of other callers can follow on the same connection, which must not wait long for what those did. */
const OF_PROXIES: ReadonlySet<string> = new Set(['via', 'forwarded', 'x-forwarded-for']);
const SHARED_MS_MAX = 500;
const LONGER_S = 5;
/** Before whoever does as he is told comes back. */
const EARLIER_MS_MIN = 200;
/** ASCII, so that it goes out with its header as it is. */
const BODIES = Object.fromEntries(
  Object.entries(EXCESSES).map(([excess, why]) => [excess, JSON.stringify(new Problem('OVERLOADED', why))]),
) as Readonly<Record<Excess, string>>;
const LENGTHS = Object.fromEntries(
  Object.entries(BODIES).map(([excess, body]) => [excess, `${body.length}`]),
) as Readonly<Record<Excess, string>>;
