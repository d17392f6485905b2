import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
} from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { JspError } from '../base/errors.ts';
import { checkOptions, number, type OptionTable } from '../base/options.ts';
import { abortSignal } from '../transport/abort.ts';
import { IsolatedEmitter } from '../transport/listeners.ts';
import { type Backend, LocalBackend, RemoteBackend } from './backend.ts';
import { Connections } from './connections.ts';
import { CutOff } from './cut-off.ts';
import { documentRoutes } from './documents.ts';
import { Exchange, pathIn } from './exchange.ts';
import { Listener, type PreparedCertificate } from './listener.ts';
import {
  checkGatewayOptions,
  DEFAULT_HTTP_HOST,
  DEFAULT_HTTP_PORT,
  type GatewayOptions,
  readTls,
} from './options.ts';
import { preflightHeaders } from './origin.ts';
import { Refusals } from './overload.ts';
import { answerPlainly, Problem, type ProblemCode, problemOfError } from './problem.ts';
import { methodsOf, RouteTable } from './router.ts';
import { ROUTES, UPGRADES } from './routes/index.ts';
import { GatewayState } from './state.ts';

export interface GatewayCloseOptions {
  /** Closes all the same after so long, in ms; default 5,000. Of several calls the one counts that is the first to be over. */
  drainMs?: number | undefined;
  /** Closes at once when it fires, or has fired. */
  signal?: AbortSignal | undefined;
}

/** Figures of a gateway. */
export interface GatewayMetrics {
  /** Connections that are open now. */
  readonly connections: number;
  /** Callers that are connected for long, by WebSocket or SSE. */
  readonly guests: number;
  /** Sessions that HTTP requests share. */
  readonly sessions: number;
  readonly requests: number;
  /** Answers, by the first digit of their status: `2xx` to `5xx`. */
  readonly byStatus: Readonly<Record<string, number>>;
  /** Requests under way. */
  readonly inFlight: number;
  /** Requests that were refused because there was too much to do. */
  readonly overloaded: number;
  /** Messages that callers published by HTTP. */
  readonly published: number;
}

interface GatewayEvents {
  /** The socket failed for good: the gateway is over. Not thrown when nobody listens for it. */
  error: [error: JspError];
  close: [];
  /** A fault of the gateway itself, or of its machine, which has cost one caller his answer. */
  fault: [error: unknown];
}

/**
 * Starts a gateway: HTTP, WebSocket and SSE for a broker. Resolves when callers can connect.
 *
 * @throws {JspError} ERR_JSP_OPTION_INVALID; ERR_JSP_SOCKET when its address cannot be bound
 * @example
 * const gateway = await startGateway({ broker });
 * console.log(gateway.url);
 */
export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  checkGatewayOptions(options);
  const gateway = gatewayOf(options);
  const { host = DEFAULT_HTTP_HOST, port = DEFAULT_HTTP_PORT } = options;
  await gateway.listen(host, port);
  return gateway.face;
}

/** The constructor of {@link Gateway}, and its way to the socket, which are nobody else's. */
let gatewayOf: (options: GatewayOptions) => {
  readonly face: Gateway;
  listen(host: string, port: number): Promise<void>;
};

/** A gateway that listens. */
export class Gateway extends IsolatedEmitter<GatewayEvents> {
  private readonly state: GatewayState;
  private readonly backend: Backend;
  private readonly server: Server | TlsServer;
  private readonly listener: Listener;
  private readonly routes: RouteTable;
  private readonly tls: GatewayOptions['tls'];
  private readonly connections: Connections;
  private readonly refusals: Refusals;
  private readonly cutOff: CutOff;
  private closing: Promise<void> | null = null;

  static {
    gatewayOf = (options) => {
      const face = new Gateway(options);
      return { face, listen: (host, port) => face.listen(host, port) };
    };
  }

  private constructor(options: GatewayOptions) {
    super();
    const { broker, tls } = options;
    const onFault = (error: unknown): void => void this.tell('fault', error);
    if (typeof broker === 'object' && 'serve' in broker) this.backend = new LocalBackend(broker, onFault);
    else this.backend = new RemoteBackend(typeof broker === 'string' ? [broker] : broker, options.clock);
    this.state = new GatewayState(options, this.backend, onFault);
    this.connections = new Connections(this.state.clock);
    this.cutOff = new CutOff(this.state.clock, () => this.connections.destroy());
    this.tls = tls;
    this.routes = new RouteTable([...ROUTES, ...documentRoutes(options.dashboard ?? true)]);
    this.refusals = new Refusals(this.state, this.routes);
    const serve = (request: IncomingMessage, response: ServerResponse): void => this.serve(request, response);
    const { limits } = this.state;
    const settings: ServerOptions = {
      requestTimeout: limits.requestMs,
      headersTimeout: Math.min(HEADERS_MS_MAX, limits.requestMs),
      keepAliveTimeout: limits.keepAliveMs,
      connectionsCheckingInterval: CHECK_EVERY_MS,
      maxHeaderSize: HEADER_BYTES_MAX,
    };
    this.server =
      tls === undefined
        ? createServer(settings, serve)
        : createTlsServer({ ...settings, handshakeTimeout: settings.headersTimeout, ...readTls(tls) }, serve);
    this.listener = new Listener(this.server, tls, 'the gateway');
    this.server.maxConnections = limits.connectionsMax;
    this.server.on('connection', (socket: Socket) => this.connections.accept(socket));
    this.server.on('upgrade', (request, socket, head) => this.upgrade(request, socket, head));
    this.server.on('clientError', (error, socket) => refuseUnreadable(error, socket));
  }

  /** What browsers and programs are sent to, such as `http://127.0.0.1:4580`. */
  get url(): string {
    return this.listener.url('http');
  }

  get host(): string {
    return this.listener.host;
  }

  get port(): number {
    return this.listener.port;
  }

  metrics(): GatewayMetrics {
    const { counters, guests, sessions, load } = this.state;
    const { requests, published } = counters;
    return {
      ...{ requests, overloaded: load.refusedInAll, published, byStatus: { ...counters.byStatus } },
      ...{ connections: this.connections.size, guests: guests.size },
      ...{ sessions: sessions.size, inFlight: load.inFlight },
    };
  }

  /**
   * Takes a renewed certificate from its files: new connections see it, those that are open stay as they are. [GW-15]
   *
   * @throws {JspError} ERR_JSP_OPTION_INVALID where they cannot be read, or do not go together; then nothing changes
   */
  reload(): void {
    this.prepareReload().use();
  }

  /**
   * Reads the renewed certificate and looks at it, and changes nothing: for who renews several, so that all are taken, or none. [GW-15]
   *
   * @throws {JspError} ERR_JSP_OPTION_INVALID where it cannot be read, or does not go with its key
   */
  prepareReload(): PreparedCertificate {
    return this.listener.prepareReload();
  }

  /**
   * Takes nobody any more, answers what is under way, sends those away who are connected for long, and closes. Resolves when it is closed; the broker goes
   * on. [GW-6]
   */
  close(options: GatewayCloseOptions = {}): Promise<void> {
    checkOptions('Gateway.close', options, CLOSE_OPTIONS);
    this.closing ??= this.drainAndClose();
    return this.cutOff.during(this.closing, options.drainMs ?? DRAIN_MS, options.signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private async listen(host: string, port: number): Promise<void> {
    try {
      const failed = (error: JspError): void => {
        this.tell('error', error);
        void this.close({ drainMs: 0 });
      };
      await this.listener.listen(host, port, failed, (error) => this.tell('fault', error));
    } catch (error) {
      void this.backend.close();
      throw error;
    }
    this.state.operations?.setGateway(() => this.state.figures());
  }

  private serve(request: IncomingMessage, response: ServerResponse): void {
    const { state } = this;
    state.counters.requests++;
    if (this.refusals.refuse(request, response)) {
      this.connections.know(request.socket);
      return;
    }
    const exchange = new Exchange(state, request, response);
    this.connections.begin(exchange);
    try {
      exchange.pageHeaders = state.origins.admit(request, CHANGING.has(exchange.method));
      if (exchange.method === 'OPTIONS') {
        this.preflight(exchange);
        return;
      }
      const route = this.routes.routeOf(exchange);
      const serve = this.routes.serveOf(route, exchange);
      if (route.isWatch !== true) exchange.begin();
      if (route.isLong === true) exchange.release();
      const work = serve(exchange);
      if (work === undefined) exchange.served();
      else void work.catch((error: unknown) => this.fail(exchange, error)).then(() => exchange.served());
    } catch (error) {
      this.fail(exchange, error);
      exchange.served();
    }
  }

  private fail(exchange: Exchange, error: unknown): void {
    const problem = problemOfError(error);
    if (problem.code === 'INTERNAL_ERROR') this.state.onFault(problem.cause ?? problem);
    exchange.problem(problem);
  }

  /** A page of another origin asks what it may do, or a program what there is. */
  private preflight(exchange: Exchange): void {
    const methods = [...methodsOf(this.routes.routeOf(exchange)), 'OPTIONS'];
    const headers = exchange.pageHeaders === null ? {} : preflightHeaders(exchange.request, methods);
    exchange.empty(204, { allow: methods.join(', '), ...headers });
  }

  /** Somebody wants to speak something else than HTTP on this connection. */
  private upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { state } = this;
    if (socket.listenerCount('error', ignore) === 0) socket.on('error', ignore); // a connection may offer it with each of its requests
    this.refusals.release(request.socket);
    if (this.connections.isBusy(socket)) {
      socket.destroy(); // earlier requests are not answered: what is said on it from now on would be mixed up with that
      return;
    }
    if (request.headers.upgrade?.toLowerCase() !== 'websocket') {
      this.server.emit(
        this.tls === undefined ? 'connection' : 'secureConnection',
        goingOn(request, socket, head),
      );
      return;
    }
    state.counters.requests++;
    try {
      state.origins.admit(request, true);
      const take = UPGRADES[pathIn(request.url ?? '/').split('?')[0]];
      if (take === undefined) throw new Problem('NOT_FOUND', 'Nothing here takes a connection over.');
      if (state.isDraining)
        throw new Problem('SHUTTING_DOWN', 'Come back later.', { retryAfterMs: RETRY_AFTER_MS });
      state.load.admit();
      take(state, request, socket, head);
    } catch (error) {
      const problem = problemOfError(error);
      if (problem.code === 'INTERNAL_ERROR') state.onFault(error);
      answerPlainly(socket, problem);
    }
  }

  private async drainAndClose(): Promise<void> {
    const { server, state } = this;
    state.isDraining = true;
    this.refusals.close();
    const closed = this.listener.close();
    for (const guest of [...state.guests]) guest.goodbye();
    server.closeIdleConnections();
    await closed;
    this.cutOff.end();
    state.load.close();
    state.answerTimes.close();
    state.eventStreams.close();
    this.connections.close();
    state.operations?.setGateway(null);
    for (const tell of state.whenClosed) tell();
    state.sessions.close();
    await this.backend.close();
    this.tell('close');
  }
}

/** Who would rather speak something else, such as HTTP/2, is answered as if he had not said so: the connection, before the request without that. [GW-9] */
function goingOn(request: IncomingMessage, socket: Duplex, head: Buffer): Duplex {
  const { method, url, httpVersion, rawHeaders, headers } = request;
  let text = `${method} ${url} HTTP/${httpVersion}\r\n`;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (!OFFERING.has(rawHeaders[i].toLowerCase())) text += `${rawHeaders[i]}: ${rawHeaders[i + 1]}\r\n`;
  }
  if (/\bclose\b/i.test(headers.connection ?? '')) text += 'connection: close\r\n';
  socket.unshift(Buffer.concat([Buffer.from(`${text}\r\n`, 'latin1'), head]));
  return socket;
}

/** What came was no HTTP, or not in time. [GW-4] */
function refuseUnreadable(error: Error & { code?: string }, socket: Duplex): void {
  if (UNANSWERABLE.has(error.code ?? '') || !socket.writable) {
    socket.destroy();
    return;
  }
  const problem = UNREADABLE[error.code ?? ''] ?? ['REQUEST_INVALID', 'This is not HTTP/1.1.'];
  answerPlainly(socket, new Problem(...problem));
}

function ignore(): void {}

/** There is nobody, or nothing that he could read: TLS is not spoken yet. */
const UNANSWERABLE: ReadonlySet<string> = new Set(['ECONNRESET', 'ERR_TLS_HANDSHAKE_TIMEOUT']);
/** Methods by which a page could change something. */
const CHANGING: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH', 'DELETE']);
const UNREADABLE: Readonly<Record<string, readonly [ProblemCode, string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: ['REQUEST_TIMEOUT', 'Send requests faster.'],
  HPE_HEADER_OVERFLOW: ['HEADER_TOO_LARGE', 'Send fewer headers, or shorter ones: 16 KiB are taken.'],
};
/** Headers by which another protocol is offered. */
const OFFERING: ReadonlySet<string> = new Set(['connection', 'upgrade', 'http2-settings']);
const DRAIN_MS = 5_000;
/** For who comes while it goes. */
const RETRY_AFTER_MS = 1_000;
const HEADERS_MS_MAX = 10_000;
const CHECK_EVERY_MS = 2_000;
const HEADER_BYTES_MAX = 16 * 1024;
const CLOSE_OPTIONS: OptionTable<GatewayCloseOptions> = {
  drainMs: number(0, Number.POSITIVE_INFINITY),
  signal: abortSignal,
};
