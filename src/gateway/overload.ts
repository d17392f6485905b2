/**
 * Refuses requests that come when there is too much to do: first of all, before anything is made of them or known of who asks. What a refusal costs is not there for those who
 * are served, so that it is one write of what was made long before, and what many sockets bring in one turn is refused together, as answers are: that takes 37 us of CPU time where
 * each is refused on his own for 62 (what is done so that he is not read at once comes on top), most of all in the system, which wakes whoever reads for each. And who asks again at once is not read at once. [GW-7]
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
    state.load.onTurn = (served, isLate) => this.paused.onTurn(served, isLate);
  }

  /** Refuses it, if there is too much to do. False: it is to be served, which can still refuse it. */
  refuse(request: IncomingMessage, response: ServerResponse): boolean {
    const { load, isDraining, clock } = this.state;
    const excess = load.excess();
    if (excess === null || isDraining || request.method === 'OPTIONS') return false;
    // A page cannot read an answer that does not allow it, which is for those who look closer to say.
    if (this.routes.isWatch(request.url ?? '/') || hasOrigin(request)) return false;
    this.state.counters.answered(503);
    const count = this.owed.push({ request, response, excess, seconds: load.refuse(excess) });
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

  private write(): void {
    const { owed } = this;
    if (owed.length === 0) return;
    this.owed = [];
    for (const refusal of owed) this.answer(refusal);
  }

  private answer({ request, response, excess, seconds }: Refusal): void {
    if (response.destroyed) return;
    response.writeHead(503, headersOf(excess, seconds, this.state.isDraining));
    response.end(BODIES[excess], 'latin1');
    // Of all that there can be too much of it is time that another refusal takes.
    if (excess !== 'delay') return;
    if (request.complete) this.pause(request.socket);
    else request.once('end', () => this.pause(request.socket));
  }

  private pause(socket: Socket): void {
    if (!this.state.isDraining) this.paused.pause(socket);
  }
}

function hasOrigin({ rawHeaders }: IncomingMessage): boolean {
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i];
    if (name.length === ORIGIN.length && name.toLowerCase() === ORIGIN) return true;
  }
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
const ORIGIN = 'origin';
/** ASCII, so that it goes out with its header as it is. */
const BODIES = Object.fromEntries(
  Object.entries(EXCESSES).map(([excess, why]) => [excess, JSON.stringify(new Problem('OVERLOADED', why))]),
) as Readonly<Record<Excess, string>>;
const LENGTHS = Object.fromEntries(
  Object.entries(BODIES).map(([excess, body]) => [excess, `${body.length}`]),
) as Readonly<Record<Excess, string>>;
