/** A server's socket with all of its connections, and what it is made of. One file, for what is asked of a listener is asked of its options. */

import { JspError } from '../base/errors.ts';
import { isWildcard } from '../base/ip-address.ts';
import type { MemoryMetrics } from '../base/memory-budget.ts';
import { checkOptions, flag, type OptionTable, oneOf, text, whole } from '../base/options.ts';
import { MILLISECOND, type Micros } from '../base/time.ts';
import { Identity, RESET_KEY_BYTES } from '../protocol/crypto/index.ts';
import {
  CloseCode,
  Endpoint,
  type EndpointCounters,
  type EndpointEvent,
  type RetryMode,
  type TicketKeys,
} from '../protocol/endpoint/index.ts';
import { reachableAddress } from '../udp/addresses.ts';
import { bindServerSocket } from '../udp/bind-socket.ts';
import { type DatagramSocket, type SocketMetrics, socketMetrics } from '../udp/datagram-socket.ts';
import type { ImpairmentOptions } from '../udp/impaired-socket.ts';
import { abortError, abortSignal, onAbort } from './abort.ts';
import { retryConfig, type TokenKeys, tokenKeys } from './address-tokens.ts';
import { ACCESS_OPTIONS, type AccessOptions, type ClientRefusal, Gate } from './authorize.ts';
import {
  type BehindFrontOptions,
  behindFront,
  frontedSocket,
  leaveRoomForEnvelopes,
  serverIds,
} from './behind-front.ts';
import {
  announceGoAway,
  CLOSE_OPTIONS,
  type CloseOptions,
  type Connection,
  type ConnectionOwner,
  datagramWasRefused,
  endConnection,
  failConnection,
  openConnection,
  tellConnection,
} from './connection.ts';
import { listenerClose, listenerOpen } from './diagnostics.ts';
import { Driver, type DriverOwner } from './driver.ts';
import { announcedUrl, GO_AWAY_OPTIONS, GO_AWAY_WITHIN_MS, type GoAwayOptions } from './go-away.ts';
import { IsolatedEmitter, Iterations } from './listeners.ts';
import { listenerIsLive } from './live.ts';
import {
  clockOf,
  connectionConfig,
  impairedOr,
  nearPeers,
  randomOf,
  streamDefaultsOf,
  TRANSPORT_OPTIONS,
  type TransportOptions,
  withProfile,
} from './options.ts';
import { protectionOf } from './protection.ts';
import { type TicketOptions, ticketConfig, tickets } from './tickets.ts';
import { DEFAULT_PORT, formatServerUrl, parseAdvertised } from './url.ts';
import type { Fellows } from './workers/fellows.ts';

export interface ListenOptions extends TransportOptions, AccessOptions {
  /** What the server proves to be; its fingerprint goes into the URL. */
  identity: Identity;
  /** Address to bind. Default 127.0.0.1. */
  host?: string | undefined;
  /** Default 4577; 0 lets the system choose. */
  port?: number | undefined;
  /**
   * Host, or host:port, that the URL names instead of the socket's own: where clients reach a server behind a NAT or a name. By default a
   * socket that is bound to every address (`0.0.0.0`, `::`) names one that others are likely to reach.
   */
  advertise?: string | undefined;
  /** Answers clients that do not pin the identity, too. Default false: they get no answer. */
  acceptUnpinned?: boolean | undefined;
  /** Handshakes under way at once; at the bound the oldest whose client did not answer yet gives way. Default 512. */
  halfOpenMax?: number | undefined;
  /** Connections at once; further clients are told, with ERR_JSP_SERVER_FULL. Default 65,536. */
  connectionsMax?: number | undefined;
  /**
   * Clients may move to another address on purpose (`rebind`); their NATs may give them one in any case. Default true; false where what is in
   * front of the server tells clients by their addresses. [CON-92]
   */
  migration?: boolean | undefined;
  /**
   * 32 secret bytes from which follows how this server ends, after it was started anew, connections that it does not know any more.
   * Default: derived from the identity, so that nothing has to be kept.
   */
  resetKey?: Uint8Array | undefined;
  /**
   * When a client has to show that it is at the address its packets name, by a token that is sent there, before the server keeps or computes
   * anything for it; that costs the client a round trip, unless it has a token of an earlier connection. `auto`: when many come at once;
   * `always`; `never`. Default `auto`.
   */
  retry?: RetryMode | undefined;
  /**
   * What tokens are made with: servers that answer for one another must have the same. Default: derived from the identity, so that those
   * that have the same identity do. Keys change by the day in any case; new ones are given to {@link Listener.useTokenKeys}.
   */
  tokenKeys?: TokenKeys | undefined;
  /**
   * The server is behind a front (`jsp gateway --udp`, `startFront`), which finds it by the connection ids that it issues, and tells it where clients
   * are. Clients may come directly, too. Default: it is not.
   */
  front?: BehindFrontOptions | undefined;
  /**
   * Whether clients are given tickets, with which they come back sooner, and may send early data; an object says more. Default true. What comes as early
   * data is told by the `connection` event before the client has proved that it is there: `connection.isEstablished` is false until then.
   */
  tickets?: boolean | TicketOptions | undefined;
  /** Gives up, or closes at once what listens already, when it fires. */
  signal?: AbortSignal | undefined;
}

interface ListenerEvents {
  connection: [connection: Connection];
  /** A client was not let in, by the list of keys or by `authorize`. */
  refused: [refusal: ClientRefusal];
  /** The file of `authorizedKeys` was read again (null), or cannot be, for this reason: the list stays what it was. */
  authorizedKeys: [error: JspError | null];
  error: [error: JspError];
  close: [];
}

/** What the endpoint counted, and what its socket did. */
export interface ListenerMetrics extends Readonly<EndpointCounters>, MemoryMetrics {
  readonly socket: SocketMetrics;
}

/** What the URL names; null: the socket's own port. */
interface HostPort {
  readonly host: string;
  readonly port: number | null;
}

/** The constructor of {@link Listener}, which is nobody else's. */
let listenerOn: (
  socket: DatagramSocket,
  options: ListenOptions,
  advertised: HostPort,
  fellows: Fellows | null,
) => Listener;

/** As {@link Listener.goAway}, for an owner that closes the listener itself when the time has come. */
export let announceEnd: (listener: Listener, options: GoAwayOptions) => void;

/** Tickets are made with these keys from now on: for one of several workers, which have the same. [WRK-5] */
export let useTicketKeys: (listener: Listener, keys: TicketKeys) => void;

/** Tells the clients at once that the listener is over, in what is left of a thread's last tick. [WRK-9] */
export let lastWords: (listener: Listener) => void;

/** A server's socket with all of its connections. */
export class Listener extends IsolatedEmitter<ListenerEvents> implements AsyncIterable<Connection> {
  /** `jsp://<fingerprint>@host:port`: all that a client needs. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  private readonly driver: Driver;
  private readonly gate: Gate;
  /** What the driver and the connections tell, which is nobody else's to call. */
  private readonly owner: DriverOwner & ConnectionOwner;
  private readonly connections = new Set<Connection>();
  private readonly accepted: Connection[] = [];
  private readonly iterations = new Iterations<Connection>(() => this.takeNext());
  /** Its end was announced: nobody is let in any more. */
  private isGoing = false;
  private going: Promise<void> | null = null;
  private closing: Promise<void> | null = null;
  /** Told when there is no connection any more. */
  private readonly whenEmpty = new Set<() => void>();

  static {
    listenerOn = (socket, options, advertised, fellows) => new Listener(socket, options, advertised, fellows);
    useTicketKeys = (listener, keys) => listener.driver.endpoint.useTicketKeys(keys);
    lastWords = (listener) => listener.sayLast();
    announceEnd = (listener, { url, withinMs = GO_AWAY_WITHIN_MS }) =>
      void listener.announce(announcedUrl(url), withinMs);
  }

  private constructor(
    socket: DatagramSocket,
    options: ListenOptions,
    advertised: HostPort,
    fellows: Fellows | null,
  ) {
    super();
    this.owner = {
      streamDefaults: streamDefaultsOf(options),
      alerts: options.alerts ?? {},
      onEvent: (event) => this.onEvent(event),
      onSocketError: (error, fatal) => this.onSocketError(error, fatal),
      onDatagramRefused: (bytes, host, port) => this.onDatagramRefused(bytes, host, port),
      onConnectionClosed: (connection) => this.onConnectionClosed(connection),
      onForeign: (batch, foreign) => fellows?.handOver(batch, foreign),
    };
    this.gate = new Gate(options, {
      onRefused: (refusal) => this.tell('refused', refusal),
      onKeysChanged: (error) => this.onKeysChanged(error),
    });
    this.driver = serverDriver(this.reachedBy(socket, options), options, this.owner, this.gate, fellows);
    if (fellows !== null) {
      fellows.socket = socket;
      fellows.onBatch = (batch) => this.driver.take(batch);
    }
    this.host = this.driver.socket.localHost;
    this.port = this.driver.socket.localPort;
    const { fingerprint, isHybrid } = options.identity;
    this.url = formatServerUrl(fingerprint, advertised.host, advertised.port ?? this.port, isHybrid);
  }

  /** What the endpoint counted over all connections, drops included, and what its socket did. */
  metrics(): ListenerMetrics {
    const { endpoint, socket } = this.driver;
    return { ...endpoint.counters, ...endpoint.memory.metrics(), socket: socketMetrics(socket) };
  }

  /**
   * Accepts no more connections, closes those there are as `Connection.close` does, and closes the socket. Another call can only shorten
   * the wait. Resolves in any case; a connection of which something was cut tells so itself: `closed`, and its `close` event.
   *
   * @throws JspError ERR_JSP_ABORTED when the signal was aborted before, ERR_JSP_OPTION_INVALID
   */
  async close(options: CloseOptions = {}): Promise<void> {
    checkOptions('close', options, CLOSE_OPTIONS);
    if (options.signal?.aborted) throw abortError(options.signal);
    this.closing ??= this.closeAll();
    for (const connection of this.connections) void connection.close(options);
    await this.closing;
  }

  /**
   * Announces the end of this server, which is to be replaced: accepts no more connections, tells the clients where to go, and serves them on until they have gone,
   * or `withinMs` is over; then it closes as {@link close} does, and resolves. A client with `reconnect` goes by itself, and loses nothing that was acknowledged; the event
   * `goaway` tells the others. A further call waits for the same; {@link close} ends it sooner. [CON-100]
   *
   * @throws JspError ERR_JSP_OPTION_INVALID; ERR_JSP_ABORTED when the signal was aborted before
   */
  async goAway(options: GoAwayOptions = {}): Promise<void> {
    checkOptions('goAway', options, GO_AWAY_OPTIONS);
    if (options.signal?.aborted) throw abortError(options.signal);
    const url = announcedUrl(options.url);
    this.going ??= this.goWithin(url, options.withinMs ?? GO_AWAY_WITHIN_MS, options.signal);
    await this.going;
  }

  /** As `Connection.impair`, for all connections of the listener. */
  impair(options: ImpairmentOptions | null): void {
    this.driver.impair(options);
  }

  /**
   * Address tokens are made with these keys from now on: the next ones of a rotation, with those used so far as `previous`, say.
   *
   * @throws JspError ERR_JSP_OPTION_INVALID
   */
  useTokenKeys(keys: TokenKeys): void {
    checkOptions('useTokenKeys', { tokenKeys: keys }, { tokenKeys });
    this.driver.endpoint.addresses.useSecrets(keys);
  }

  /** Lets the process end although the listener listens, as `unref` of a socket does. */
  unref(): this {
    this.driver.setReferenced(false);
    return this;
  }

  /** Undoes {@link unref}: the listener keeps the process alive, as it does by default. */
  ref(): this {
    this.driver.setReferenced(true);
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Connections as they come, until the listener closes. Instead of the `connection` event, not beside it. */
  [Symbol.asyncIterator](): AsyncIterator<Connection> {
    return this.iterations.begin();
  }

  /** The socket, behind a front where the options say so, and on a bad network. */
  private reachedBy(socket: DatagramSocket, options: ListenOptions): DatagramSocket {
    const { connectionsMax = CONNECTIONS_MAX, front } = options;
    const fronted =
      front === undefined
        ? socket
        : frontedSocket(socket, front, clockOf(options), () => ({
            isAccepting: this.isAccepting,
            isFull: this.driver.endpoint.counters.connectionsOpen >= connectionsMax,
            connections: this.connections.size,
          }));
    return impairedOr(fronted, options);
  }

  private onEvent(event: EndpointEvent): void {
    if (event.type === 'admission') return this.gate.ask(event.connection, this.driver);
    if (event.type === 'closed') this.gate.forget(event.connection);
    const isNew = event.type === 'early' || (event.type === 'connected' && event.connection.owner === null);
    if (!isNew) tellConnection(event);
    else if (this.isAccepting) this.accept(event);
    else event.connection.lifecycle.close('transport', CloseCode.SHUTTING_DOWN, '', this.driver.now());
  }

  private onSocketError(error: Error, fatal: boolean): void {
    if (!fatal) return;
    const failure = new JspError('ERR_JSP_SOCKET', `the socket failed: ${error.message}`, { cause: error });
    for (const connection of this.connections) failConnection(connection, failure);
    this.close().catch(() => {}); // whoever awaits the end is told by a close of their own
    this.tell('error', failure);
  }

  private onDatagramRefused(bytes: number, host: string, port: number): void {
    for (const connection of this.connections) {
      if (connection.remoteHost === host && connection.remotePort === port)
        datagramWasRefused(connection, bytes);
    }
  }

  /** Who is connected and not on the list any more is sent away. [HS-46] */
  private onKeysChanged(error: JspError | null): void {
    for (const connection of this.connections) {
      if (error === null && !this.gate.lets(connection.peerIdentity))
        endConnection(connection, CloseCode.NOT_AUTHORIZED);
    }
    this.tell('authorizedKeys', error);
  }

  private onConnectionClosed(connection: Connection): void {
    this.connections.delete(connection);
    if (this.connections.size > 0) return;
    for (const resolve of this.whenEmpty) resolve();
    this.whenEmpty.clear();
  }

  /** Connections that came before the first listener for `connection`, and that no iteration took, are handed to it. */
  protected override onListenerAdded(event: keyof ListenerEvents): void {
    if (event !== 'connection' || this.accepted.length === 0) return;
    queueMicrotask(() => {
      while (this.listenerCount('connection') > 0 && this.accepted.length > 0)
        this.tell('connection', this.accepted.shift() as Connection);
    });
  }

  private accept(event: EndpointEvent): void {
    const connection = openConnection(event.connection, this.driver, this.owner);
    this.connections.add(connection);
    tellConnection(event);
    if (this.tell('connection', connection)) return;
    // Those that nobody takes wait, open or not, up to a bound.
    if (this.accepted.length === ACCEPTED_MAX) return connection.destroy();
    this.accepted.push(connection);
    this.iterations.wake();
  }

  /** For iterations: the next connection, or the end; null when there is neither yet. */
  private takeNext(): IteratorResult<Connection, undefined> | null {
    const connection = this.accepted.shift();
    if (connection !== undefined) return { done: false, value: connection };
    return this.isAccepting ? null : { done: true, value: undefined };
  }

  private get isAccepting(): boolean {
    return !this.isGoing && this.closing === null;
  }

  private sayLast(): void {
    for (const connection of this.connections) endConnection(connection, CloseCode.INTERNAL_ERROR);
    this.driver.sendLast();
  }

  /** Tells the clients. Answers when it closes. */
  private announce(url: Uint8Array, withinMs: number): Micros {
    const { clock, endpoint } = this.driver;
    const closesAt = clock.now() + withinMs * MILLISECOND;
    if (this.isGoing) return closesAt;
    this.isGoing = true;
    endpoint.stopAccepting(clock.now());
    for (const connection of this.connections) announceGoAway(connection, url, closesAt);
    this.driver.wake();
    this.iterations.wake();
    return closesAt;
  }

  private async goWithin(url: Uint8Array, withinMs: number, signal: AbortSignal | undefined): Promise<void> {
    const { clock } = this.driver;
    const closesAt = this.announce(url, withinMs);
    await new Promise<void>((resolve) => {
      const timer = clock.setTimer(closesAt, resolve);
      const forget = onAbort(signal, resolve);
      void this.empty().then(() => {
        clock.clearTimer(timer);
        forget();
        resolve();
      });
    });
    await this.close(signal?.aborted ? { timeoutMs: 0 } : {});
  }

  /** Resolves when there is no connection. */
  private async empty(): Promise<void> {
    if (this.connections.size > 0) await new Promise<void>((resolve) => this.whenEmpty.add(resolve));
  }

  private async closeAll(): Promise<void> {
    this.driver.endpoint.stopAccepting(this.driver.now());
    this.gate.close();
    this.iterations.wake();
    await this.empty();
    await this.driver.stop();
    if (listenerClose.hasSubscribers) listenerClose.publish({ listener: this });
    this.tell('close');
  }
}

/**
 * Serves on a UDP socket. Connections come as `connection` events, or by `for await`.
 *
 * @throws JspError ERR_JSP_SOCKET when the address cannot be bound, ERR_JSP_OPTION_INVALID, ERR_JSP_ABORTED
 */
export function listen(given: ListenOptions): Promise<Listener> {
  return listenAs(null, given);
}

/**
 * As {@link listen}, for one of several workers at one address.
 *
 * @param fellows - the others; null: there are none
 */
export async function listenAs(fellows: Fellows | null, given: ListenOptions): Promise<Listener> {
  checkOptions('listen', given, LISTEN_OPTIONS);
  const options = withProfile(given);
  protectionOf('listen', options);
  const { signal, identity } = options;
  if (identity === undefined)
    throw new JspError(
      'ERR_JSP_OPTION_INVALID',
      'listen: identity is missing; make one with generateIdentity()',
    );
  if (signal?.aborted) throw abortError(signal);
  const advertised = options.advertise === undefined ? null : parseAdvertised(options.advertise);
  const socket =
    options.socket ??
    (await bindServerSocket({
      host: options.host ?? '127.0.0.1',
      port: options.port ?? DEFAULT_PORT,
      receiveBufferBytes: options.receiveBufferBytes,
      sendBufferBytes: options.sendBufferBytes,
      reusePort: fellows !== null,
    }));
  try {
    const named = advertised ?? (await reachableAt(socket.localHost));
    if (signal?.aborted) throw abortError(signal);
    const listener = listenerOn(socket, options, named, fellows);
    listener.once(
      'close',
      onAbort(signal, () => void listener.close({ timeoutMs: 0 })),
    );
    listenerIsLive();
    if (listenerOpen.hasSubscribers) listenerOpen.publish({ listener });
    return listener;
  } catch (error) {
    await socket.close();
    throw error;
  }
}

/** What the options of {@link listen} may be. */
export const LISTEN_OPTIONS: OptionTable<ListenOptions> = {
  ...TRANSPORT_OPTIONS,
  ...ACCESS_OPTIONS,
  identity: (value) => (value instanceof Identity ? null : 'an Identity, as generateIdentity() makes'),
  host: text,
  port: whole(0, 65_535),
  advertise: text,
  acceptUnpinned: flag,
  migration: flag,
  halfOpenMax: whole(1, 2 ** 31),
  connectionsMax: whole(1, 2 ** 31),
  resetKey: (value) =>
    value instanceof Uint8Array && value.length === RESET_KEY_BYTES
      ? null
      : `a Uint8Array of ${RESET_KEY_BYTES} bytes`,
  retry: oneOf(['auto', 'always', 'never']),
  tokenKeys,
  front: behindFront,
  tickets,
  signal: abortSignal,
};

function serverDriver(
  socket: DatagramSocket,
  options: ListenOptions,
  owner: DriverOwner,
  gate: Gate,
  fellows: Fellows | null,
): Driver {
  const connection = connectionConfig(options, socket, true);
  connection.takesMigration = options.migration ?? true;
  connection.admissionMs = options.authorizeTimeoutMs ?? connection.admissionMs;
  if (options.front !== undefined) leaveRoomForEnvelopes(connection, options);
  const endpoint = new Endpoint({
    connection,
    random: randomOf(options),
    server: {
      identity: options.identity,
      acceptUnpinned: options.acceptUnpinned ?? false,
      halfOpenMax: options.halfOpenMax ?? HALF_OPEN_MAX,
      connectionsMax: options.connectionsMax ?? CONNECTIONS_MAX,
      resetKey: options.resetKey,
      access: gate.asksForIdentity || gate.isDecided ? gate : undefined,
      ids: options.front === undefined ? fellows?.ids : serverIds(options.front, socket, randomOf(options)),
      place: fellows ?? undefined,
      isLoopback: nearPeers(options),
      retry: retryConfig(options, clockOf(options)),
      tickets: ticketConfig(options.tickets, clockOf(options)),
    },
  });
  return new Driver(endpoint, socket, clockOf(options), owner);
}

/** What the URL of a server at `host` names: an address that others can reach. [URL-8] */
async function reachableAt(host: string): Promise<HostPort> {
  return { host: isWildcard(host) ? await reachableAddress(host) : host, port: null };
}

/** Connections that wait to be taken by an iteration over the listener. */
const ACCEPTED_MAX = 1_024;
export const HALF_OPEN_MAX = 512;
const CONNECTIONS_MAX = 65_536;
