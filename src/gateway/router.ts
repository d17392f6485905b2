/** Which route serves a request: by its path, and then its method. [GW-1] */

import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Exchange } from './exchange.ts';
import { Problem } from './problem.ts';
import type { GatewayState } from './state.ts';

/** Serves a request; what it throws, or rejects with, is the answer. */
export type Serve = (exchange: Exchange) => void | Promise<void>;

/** Takes the connection of a request over, to speak something else on it. What it throws is the answer. */
export type Upgrade = (state: GatewayState, request: IncomingMessage, socket: Duplex, head: Buffer) => void;

/** A path, and what serves each method there. One that ends with a slash stands for all paths behind it. */
export interface Route {
  readonly path: string;
  readonly methods: Readonly<Record<string, Serve>>;
  /** It is for those who watch the gateway, and served whatever there is to do. */
  readonly isWatch?: boolean;
  /** Its answers last for long: they are let in like others, and do not count among what is under way. */
  readonly isLong?: boolean;
}

export class RouteTable {
  private readonly whole = new Map<string, Route>();
  private readonly prefixes: Route[] = [];

  constructor(routes: readonly Route[]) {
    for (const route of routes) {
      if (route.path.endsWith('/') && route.path !== '/') this.prefixes.push(route);
      else this.whole.set(route.path, route);
    }
  }

  /** All paths, with their methods. */
  get routes(): readonly Route[] {
    return [...this.whole.values(), ...this.prefixes];
  }

  /** Whether a target, as it came, is for those who watch the gateway. */
  isWatch(target: string): boolean {
    const mark = target.indexOf('?');
    return this.whole.get(mark < 0 ? target : target.slice(0, mark))?.isWatch === true;
  }

  /**
   * What serves this request on its route.
   *
   * @throws {Problem} METHOD_NOT_ALLOWED
   */
  serveOf(route: Route, exchange: Exchange): Serve {
    const { method } = exchange;
    const serve = route.methods[method] ?? (method === 'HEAD' ? route.methods.GET : undefined);
    if (serve !== undefined) return serve;
    const allowed = methodsOf(route);
    throw new Problem('METHOD_NOT_ALLOWED', `${route.path} takes ${allowed.join(', ')}.`, {
      headers: { allow: allowed.join(', ') },
    });
  }

  /**
   * The route of this path, whatever the method; `rest` is set by it.
   *
   * @throws {Problem} NOT_FOUND, REQUEST_INVALID
   */
  routeOf(exchange: Exchange): Route {
    const { path } = exchange;
    const whole = this.whole.get(path);
    if (whole !== undefined) return whole;
    for (const route of this.prefixes) {
      if (!path.startsWith(route.path) || path.length === route.path.length) continue;
      exchange.rest = decoded(path.slice(route.path.length));
      return route;
    }
    throw new Problem('NOT_FOUND', 'GET /v1/openapi.json tells what there is.');
  }
}

/** The methods of a route, HEAD where there is GET. */
export function methodsOf(route: Route): string[] {
  return Object.keys(route.methods).flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method]));
}

function decoded(text: string): string {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Problem('REQUEST_INVALID', 'The path is not percent-encoded UTF-8.');
  }
}
