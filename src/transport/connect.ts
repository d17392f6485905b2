import { JspError } from '../base/errors.ts';
import { checkOptions, flag, type OptionTable, text, whole } from '../base/options.ts';
import { MILLISECOND, type Micros, SECOND } from '../base/time.ts';
import { Identity } from '../protocol/crypto/index.ts';
import {
  type Connection as CoreConnection,
  EarlyData,
  Endpoint,
  type EndpointEvent,
  TOKEN_BYTES_MAX,
} from '../protocol/endpoint/index.ts';
import { bindSocket } from '../udp/bind-socket.ts';
import { systemClock } from '../udp/clock.ts';
import type { DatagramSocket } from '../udp/datagram-socket.ts';
import type { ImpairmentOptions } from '../udp/impaired-socket.ts';
import { interfaces } from '../udp/interfaces.ts';
import { PathSockets } from '../udp/path-sockets.ts';
import { abortError, abortSignal, onAbort, unlessAborted } from './abort.ts';
import { processTokens, type TokenStore, tokenServer, tokenStore } from './address-tokens.ts';
import type { AlertOptions } from './alerts.ts';
import { bytesOf, PAYLOAD } from './authorize.ts';
import { closeError } from './close-error.ts';
import { type Connection, failConnection, openConnection, tellConnection } from './connection.ts';
import { connectionFailed } from './diagnostics.ts';
import { Driver } from './driver.ts';
import {
  clockOf,
  connectionConfig,
  impairedOr,
  nearPeers,
  randomOf,
  type StreamOptions,
  streamDefaultsOf,
  TRANSPORT_OPTIONS,
  type TransportOptions,
  withProfile,
} from './options.ts';
import { PathMoves, type RebindOptions } from './path-moves.ts';
import { protectionOf } from './protection.ts';
import { race } from './race.ts';
import {
  type ConnectTo,
  RECONNECT_OPTIONS,
  type ReconnectingConnection,
  type ReconnectOptions,
  reconnectingConnection,
} from './reconnect.ts';
import { throwByItself } from './throwing.ts';
import { resumptionOf, ticketOption, usableTicket } from './tickets.ts';
import { parseServerUrl } from './url.ts';
import { hostsToTry, pinsOf, type WayToServer, waysTo } from './ways.ts';

export interface ConnectOptions extends TransportOptions {
  /**
   * Connects to a URL without a fingerprint, to whoever answers: encrypted, but to an unknown peer. For experiments only; the
   * server must allow it with `acceptUnpinned`.
   */
  insecure?: boolean | undefined;
  /** What the client proves to be to a server that asks; see `peerIdentity` of the server's connection. Default: nothing. */
  identity?: Identity | undefined;
  /**
   * Something for the `authorize` of a server, such as a token: at most 8,192 bytes; a string is sent as UTF-8. It is encrypted, and told only to a
   * server that has proved its identity and asks. Default: nothing.
   */
  payload?: Uint8Array | string | undefined;
  /** Local address to bind. Default: any. */
  localHost?: string | undefined;
  /** Local port to bind. Default 0: the system chooses. */
  localPort?: number | undefined;
  /**
   * Where tokens are kept that servers give, each of which shows one of them once that this client is at its address. Default: in the memory
   * of the process; false for nowhere.
   */
  tokens?: TokenStore | false | undefined;
  /**
   * What the event `ticket` of an earlier connection to this server gave: the handshake is then resumed, if the server still takes it; if not, it is as
   * any other. Each ticket is good for one connection; one that has expired, is another server's, or of another `identity`, is not shown.
   */
  ticket?: Uint8Array | undefined;
  /**
   * With a ticket that allows it, resolves at once with a connection whose streams can be used: what is sent on streams, or as messages, that are marked
   * with `earlyData` goes with the first datagram, if it is sent before this turn of the event loop ends; everything else waits for the handshake. What
   * the server refuses of it is sent again, once. Of several URLs the one that answers is taken, so that nothing goes early. `connection.earlyData` and the event `connected` tell how it went; a handshake that fails ends the
   * connection. Default false.
   */
  earlyData?: boolean | undefined;
  /** Gives the attempt up when it fires. */
  signal?: AbortSignal | undefined;
}

/** Options of a connection that comes back. */
export interface ReconnectingConnectOptions extends ConnectOptions {
  /** Comes back when the connection is lost, and goes where the server says when it is to be replaced; true: with the defaults. */
  reconnect: true | ReconnectOptions;
}

/**
 * Connects to the server at `jsp://<fingerprint>@host:port` (or with two fingerprints, of which it has one; over a socket of your own only the first counts) and resolves once it has proved to hold the identity with that
 * fingerprint. The addresses of a name are tried side by side, each begun 250 ms after the one before or as soon as that has failed; the
 * first handshake that completes wins, and `handshakeTimeoutMs` is for each (RFC 8305). Of several URLs the first is tried, the others so beside it, each 2 s after the one before.
 *
 * With `reconnect` what it resolves with is one handle over outages and restarts; a first attempt that fails is an error all the same.
 *
 * @throws JspError ERR_JSP_URL_INVALID, ERR_JSP_PIN_MISSING, ERR_JSP_CONNECTION_REFUSED, ERR_JSP_HANDSHAKE_TIMEOUT, ERR_JSP_IDENTITY_MISMATCH,
 * ERR_JSP_REFUSED, ERR_JSP_NOT_AUTHORIZED, ERR_JSP_SERVER_FULL, ERR_JSP_SERVER_CLOSING, ERR_JSP_SOCKET, ERR_JSP_OPTION_INVALID, ERR_JSP_ABORTED; see spec/errors.md. Where several addresses were tried it is the most telling error, whose `cause` has
 * the `errors` of all.
 */
export async function connect(
  url: string | readonly string[],
  options: ReconnectingConnectOptions,
): Promise<ReconnectingConnection>;
export async function connect(
  url: string | readonly string[],
  options?: ConnectOptions & { reconnect?: false | undefined },
): Promise<Connection>;
export async function connect(
  url: string | readonly string[],
  given: ConnectOptions & { reconnect?: boolean | ReconnectOptions | undefined } = {},
): Promise<Connection | ReconnectingConnection> {
  checkOptions('connect', given, RECONNECTABLE_OPTIONS);
  const { reconnect = false, ...options } = given;
  const urls = Array.isArray(url) ? [...new Set(url as readonly string[])] : [url as string];
  if (urls.length === 0) throw new JspError('ERR_JSP_URL_INVALID', 'connect: the list of URLs is empty');
  if (options.socket !== undefined && (reconnect !== false || urls.length > 1)) {
    throw new JspError(
      'ERR_JSP_OPTION_INVALID',
      'connect: a socket of your own is closed with its connection, so that it is of use for one URL, without reconnect',
    );
  }
  if (reconnect === false) return connectToAny(urls, options);
  const { signal, ticket, ...lasting } = options;
  const connectTo: ConnectTo = (among, ended, ticketOf) =>
    connectToAny(among, { ...lasting, signal: ended }, ticketOf);
  return reconnectingConnection(connectTo, urls, {
    ...{ signal, ticket, clock: clockOf(options), random: randomOf(options) },
    addresses: clockOf(options) === systemClock ? interfaces : null,
    streamDefaults: streamDefaultsOf(withProfile(options)),
    reconnect: reconnect === true ? {} : reconnect,
  });
}

/** Connects to the first server that answers, in the order in which they are to be tried. [CON-106] */
async function connectToAny(
  urls: readonly string[],
  options: ConnectOptions,
  ticketOf: (url: string) => Uint8Array | undefined = () => options.ticket,
): Promise<Connection> {
  if (urls.length === 1) return connectOnce(urls[0], options, ticketOf(urls[0]));
  for (const url of urls) parseServerUrl(url); // what is no URL is an error, whoever answers
  return firstOf(urls, urls, options, URL_DELAY, (url, attempted) =>
    connectOnce(url, attempted, ticketOf(url)),
  );
}

/** The first connection of several ways that are tried side by side. What may go early would go to whoever comes first, answer or not, so nothing does. */
async function firstOf<W>(
  ways: readonly W[],
  names: readonly string[],
  options: ConnectOptions,
  delay: Micros | undefined,
  attempt: (way: W, options: ConnectOptions) => Promise<Connection>,
): Promise<Connection> {
  try {
    return await race(ways, (way, signal) => attempt(way, { ...options, earlyData: false, signal }), {
      ...{ clock: clockOf(options), signal: options.signal, delay },
      discard: (late) => late.destroy(),
    });
  } catch (error) {
    throw error instanceof AggregateError ? mostTelling(error.errors as Error[], names) : error;
  }
}

async function connectOnce(
  url: string,
  given: ConnectOptions,
  ticket: Uint8Array | undefined,
): Promise<Connection> {
  const options = withProfile(given);
  protectionOf('connect', options);
  const server = parseServerUrl(url);
  if (server.fingerprint === null && options.insecure !== true) {
    throw new JspError(
      'ERR_JSP_PIN_MISSING',
      `"${url}" has no fingerprint, so anyone could answer. Pass jsp://<fingerprint>@host:port as the server prints it, or insecure: true for an experiment.`,
    );
  }
  const { signal } = options;
  if (signal?.aborted) throw abortError(signal);
  const { identity } = options;
  const kept = ticket === undefined ? null : usableTicket(ticket, pinsOf(server), identity, clockOf(options));
  if (options.socket !== undefined) {
    const [way] = waysTo(server, [server.host], kept);
    return connectOver(options.socket, way, options);
  }
  const hosts = await unlessAborted(hostsToTry(server.host, options.localHost), signal);
  const ways = waysTo(server, hosts, kept);
  const attempt = async (way: WayToServer, attempted: ConnectOptions): Promise<Connection> => {
    const socket = await clientSocket({ host: way.host, port: server.port }, options, ways.length > 1);
    return connectOver(socket, way, attempted);
  };
  if (ways.length === 1) return attempt(ways[0], options);
  const names = ways.map(({ host }) => host);
  return firstOf(ways, names, options, undefined, attempt);
}

/** Connects over a socket, which is closed with the connection, or when there is none. */
async function connectOver(
  socket: DatagramSocket,
  way: WayToServer,
  options: ConnectOptions,
): Promise<Connection> {
  const { signal } = options;
  try {
    if (signal?.aborted) throw abortError(signal);
    return await new ClientSession(new PathSockets(socket), options, way).connected(signal);
  } catch (error) {
    await socket.close();
    throw error;
  }
}

/** The error of the attempt that came farthest, with those of all attempts as its cause. */
function mostTelling(errors: readonly Error[], tried: readonly string[]): JspError {
  const rank = (error: Error): number => TELLS_LITTLE.indexOf((error as JspError).code);
  const telling = errors.reduce((best, error) => (rank(error) < rank(best) ? error : best));
  const each = errors.map(({ message }, i) => `${tried[i]}: ${message}`).join('\n');
  return new JspError(
    (telling as JspError).code ?? 'ERR_JSP_SOCKET',
    `${telling.message} (of all that were tried, ${tried.join(', ')}, none answered as it should)`,
    { cause: new AggregateError(errors, each) },
  );
}

/** Errors that tell less than any other, and each less than the one before. */
const TELLS_LITTLE: readonly string[] = [
  'ERR_JSP_HANDSHAKE_TIMEOUT',
  'ERR_JSP_CONNECTION_REFUSED',
  'ERR_JSP_SOCKET',
];

/** The one connection on a socket of its own, which is closed with it. */
class ClientSession {
  readonly streamDefaults: StreamOptions;
  readonly alerts: AlertOptions;
  private readonly driver: Driver;
  private readonly core: CoreConnection;
  private readonly connection: Connection;
  /** By what the store of tokens knows the server. */
  private readonly server: string | null;
  private readonly tokens: TokenStore | null;
  /** How often in a row the server's system said that nothing listens there. */
  private refusals = 0;
  private retryIsDue = false;
  /** While the handshake is under way. */
  private settle: ((outcome: Outcome) => void) | null = null;
  private readonly moves: PathMoves;
  /** It moves by itself when the machine loses its address. */
  private readonly isFollowed: boolean;

  constructor(sockets: PathSockets, options: ConnectOptions, { server, ticket }: WayToServer) {
    const socket = impairedOr(sockets, options);
    const { fingerprint: pin } = server;
    const remote = socket.remote ?? server;
    this.server = tokenServer(server);
    // A socket of its own is that of a lab, whose worlds know nothing of each other.
    const tokens = options.tokens ?? (options.socket === undefined ? processTokens : false);
    this.tokens = tokens === false || this.server === null ? null : tokens;
    this.streamDefaults = streamDefaultsOf(options);
    this.alerts = options.alerts ?? {};
    const clock = clockOf(options);
    const loopback = nearPeers(options)(remote.host);
    const config = connectionConfig(options, socket, loopback);
    const endpoint = new Endpoint({ connection: config, random: randomOf(options), server: null });
    this.driver = new Driver(endpoint, socket, clock, this);
    this.core = endpoint.connect(
      {
        host: remote.host,
        port: remote.port,
        pin,
        isLoopback: loopback,
        token: this.takeToken(),
        resumption: ticket === null ? null : resumptionOf(ticket, options.earlyData ?? false, clock),
        isHybrid: server.isHybrid,
        credentials: credentialsOf(options),
      },
      clock.now(),
    );
    this.moves = new PathMoves(this.core, this.driver, sockets, options);
    this.isFollowed = options.socket === undefined;
    this.connection = openConnection(this.core, this.driver, this);
  }

  async connected(signal: AbortSignal | undefined): Promise<Connection> {
    const forget = onAbort(signal, () => this.connection.destroy());
    if (this.core.handshake.earlyData === EarlyData.PENDING) return this.early(forget);
    const outcome = await new Promise<Outcome>((resolve) => {
      this.settle = resolve;
      this.driver.flush();
    });
    forget();
    if (signal?.aborted) throw abortError(signal);
    if (outcome === 'connected') return this.connection;
    const error = outcome ?? closedEarly();
    this.tellFailed(error);
    throw error;
  }

  /** The first datagram waits for what is sent before this turn of the event loop ends. [HS-34] */
  private early(forget: () => void): Connection {
    this.settle = (outcome) => {
      forget();
      if (outcome !== 'connected' && outcome !== null) this.tellFailed(outcome);
    };
    this.driver.wake();
    return this.connection;
  }

  private tellFailed(error: JspError): void {
    const { host: remoteHost, port: remotePort } = this.core.path;
    if (connectionFailed.hasSubscribers) connectionFailed.publish({ remoteHost, remotePort, error });
  }

  onEvent(event: EndpointEvent): void {
    if (event.type === 'connected') {
      if (this.isFollowed) this.moves.follow();
      this.settled('connected');
    } else if (event.type === 'path') this.moves.onPath();
    else if (event.type === 'pathFailed') this.moves.onPathFailed(event.local);
    else if (event.type === 'closed') {
      this.moves.onOver();
      if (this.settle !== null) this.settled(closeError(event.reason));
    }
    if (event.type === 'token') this.keepToken(event.token);
    tellConnection(event);
  }

  onSocketError(error: Error, fatal: boolean): void {
    // There is one path, so it is known which one does not carry what was sent. [REC-53]
    if ((error as NodeJS.ErrnoException).code === 'EMSGSIZE')
      this.core.packetSize.onRefused(0, this.driver.now());
    if (!fatal) return this.onRefused(error);
    this.giveUp(new JspError('ERR_JSP_SOCKET', `the socket failed: ${error.message}`, { cause: error }));
  }

  onDatagramRefused(bytes: number): void {
    this.core.packetSize.onRefused(bytes, this.driver.now());
  }

  onConnectionClosed(): void {
    // The open socket keeps the process alive until the server can be expected to have heard of it. [CON-9]
    void this.driver.stop();
  }

  rebindConnection(options: RebindOptions): Promise<void> {
    return this.moves.rebind(options);
  }

  escapeConnection(): Promise<void> | null {
    return this.isFollowed ? this.moves.escape() : null;
  }

  impairConnection(options: ImpairmentOptions | null): void {
    this.driver.impair(options);
  }

  setReferenced(referenced: boolean): void {
    this.driver.setReferenced(referenced);
  }

  /** The handshake is under way; an application with early data has the connection already. */
  private get isConnecting(): boolean {
    return this.connection.isOpen && !this.connection.isEstablished;
  }

  /**
   * "Port unreachable" came back. Once may be chance, or a server that is about to start, and on a connection that is established it may
   * be anybody's: it means something only in the handshake, and when it comes for one try after the other. [CON-15]
   */
  private onRefused(error: Error): void {
    if (!this.isConnecting || this.retryIsDue) return;
    if ((error as NodeJS.ErrnoException).code !== 'ECONNREFUSED') return;
    if (++this.refusals === REFUSALS_MAX) {
      const { host, port } = this.core.path;
      this.giveUp(
        new JspError(
          'ERR_JSP_CONNECTION_REFUSED',
          `nothing listens on UDP port ${port} of ${host}: check that the server runs, and that host and port are right`,
          { cause: error },
        ),
      );
      return;
    }
    this.retryIsDue = true;
    const { clock } = this.driver;
    clock.setTimer(clock.now() + REFUSED_RETRY * this.refusals, () => {
      this.retryIsDue = false;
      if (!this.isConnecting) return;
      this.core.handshake.resendHello();
      this.driver.flush();
    });
  }

  private takeToken(): Uint8Array | null {
    const token = this.server === null ? null : (this.tokens?.take(this.server) ?? null);
    const isToken = token instanceof Uint8Array && token.length > 0 && token.length <= TOKEN_BYTES_MAX;
    return isToken ? token : null;
  }

  private keepToken(token: Uint8Array): void {
    if (this.server === null) return;
    try {
      this.tokens?.put(this.server, token);
    } catch (error) {
      throwByItself(error); // [CON-30] it is the store's, and no fault of the connection
    }
  }

  private giveUp(failure: JspError): void {
    this.settled(failure);
    failConnection(this.connection, failure);
  }

  private settled(outcome: Outcome): void {
    const settle = this.settle;
    this.settle = null;
    settle?.(outcome);
  }
}

/** What became of a handshake; null: the connection was closed in it, without an error. */
type Outcome = JspError | 'connected' | null;

function credentialsOf({ identity, payload }: ConnectOptions) {
  return { identity: identity ?? null, payload: bytesOf(payload) };
}

function closedEarly(): JspError {
  return new JspError('ERR_JSP_HANDSHAKE_FAILED', 'the server closed the connection during the handshake');
}

function clientSocket(
  server: { host: string; port: number },
  options: ConnectOptions,
  hasRivals: boolean,
): Promise<DatagramSocket> {
  return bindSocket({
    // Several attempts at once can share a port that was asked for: each hears its own peer only.
    reuseAddress: hasRivals && (options.localPort ?? 0) !== 0,
    connectTo: { host: server.host, port: server.port },
    host: options.localHost,
    port: options.localPort,
    receiveBufferBytes: options.receiveBufferBytes,
    sendBufferBytes: options.sendBufferBytes,
  });
}

/** What the options of {@link connect} may be. */
export const CONNECT_OPTIONS: OptionTable<ConnectOptions> = {
  ...TRANSPORT_OPTIONS,
  insecure: flag,
  identity: (value) => (value instanceof Identity ? null : 'an Identity, as generateIdentity() makes'),
  payload: PAYLOAD,
  localHost: text,
  localPort: whole(0, 65_535),
  tokens: tokenStore,
  ticket: ticketOption,
  earlyData: flag,
  signal: abortSignal,
};

const RECONNECTABLE_OPTIONS: OptionTable<ConnectOptions & { reconnect?: boolean | ReconnectOptions }> = {
  ...CONNECT_OPTIONS,
  reconnect: reconnectOption,
};

/** Throws by itself what it has to say of members. */
function reconnectOption(value: unknown): string | null {
  if (typeof value === 'boolean') return null;
  checkOptions('connect: reconnect', value as ReconnectOptions, RECONNECT_OPTIONS);
  return null;
}

/** Tries in a row that are refused before the server counts as not there. */
const REFUSALS_MAX = 3;
/** Time until the second try; the third takes twice as long. */
const REFUSED_RETRY: Micros = 100 * MILLISECOND;
/** How long the server of a URL may take before that of the next one is tried beside it. */
const URL_DELAY: Micros = 2 * SECOND;
