/** A connection as applications see it. One file because it is one class, each call of which is told at length. */

import { NO_BYTES } from '../base/bytes.ts';
import { JspError } from '../base/errors.ts';
import {
  checkArgument,
  checkOptions,
  number,
  type OptionTable,
  oneOf,
  text,
  whole,
} from '../base/options.ts';
import { MILLISECOND, type Micros, NEVER } from '../base/time.ts';
import type { CipherSuiteName } from '../protocol/crypto/index.ts';
import {
  type Alert,
  APP_STATES,
  type AppState,
  type ClientTicket,
  type CloseCode,
  type CloseReason,
  type ConnectionMetrics,
  type ConnectionStream,
  type Connection as CoreConnection,
  DATAGRAM_BYTES_MAX,
  DATAGRAM_BYTES_MIN,
  type EndpointEvent,
  EXPORT_NAME_MAX,
  EXPORTED_BYTES_MAX,
  LABEL_BYTES_MAX,
  NETWORK_TYPES,
  type NetworkType,
} from '../protocol/endpoint/index.ts';
import { type SocketMetrics, socketMetrics } from '../udp/datagram-socket.ts';
import type { ImpairmentOptions } from '../udp/impaired-socket.ts';
import { abortError, abortSignal, onAbort } from './abort.ts';
import { type AlertOptions, AlertWatch } from './alerts.ts';
import { closeError, incompleteError } from './close-error.ts';
import { compressionModeOf } from './compression.ts';
import {
  connectionAlert,
  connectionClose,
  connectionMtu,
  connectionOpen,
  connectionStreamsBlocked,
  streamOpen,
} from './diagnostics.ts';
import type { Driver } from './driver.ts';
import { type GoAwayNotice, goAwayNotice } from './go-away.ts';
import { IsolatedEmitter } from './listeners.ts';
import { connectionIsLive, connectionIsOver } from './live.ts';
import {
  APPLICATION_CODE,
  CONTROLLERS,
  deliveryNumber,
  laidOver,
  priorityNumber,
  STREAM_OPTIONS,
  type StreamOptions,
} from './options.ts';
import type { RebindOptions } from './path-moves.ts';
import { protectionOf } from './protection.ts';
import { Radio, type Sparing } from './radio.ts';
import { closeStream, hushStream, openStream, type Stream, tellStream } from './stream.ts';
import { ticketBytes } from './tickets.ts';

export type { AppState, NetworkType };

export interface CloseOptions {
  /** The application's own code, seen by the peer. Default 0. */
  code?: number | undefined;
  /** A sentence for people, seen by the peer; at most 512 bytes are sent. */
  reason?: string | undefined;
  /** How long to wait for what was sent to be settled, in ms, before closing all the same. Default: as long as there is progress. */
  timeoutMs?: number | undefined;
  /** How long to wait while nothing of what was sent gets acknowledged, in ms, before closing all the same. Default 10,000. */
  stallMs?: number | undefined;
  /** Closes at once when it fires. */
  signal?: AbortSignal | undefined;
}

interface ConnectionEvents {
  stream: [stream: Stream];
  /**
   * The handshake is complete. Told of a connection that was there before: with early data, a client's at once, a server's when what came early
   * was taken.
   */
  connected: [];
  /**
   * The server gave a ticket, for one later connection with `connect(url, { ticket })`: bytes to be kept as secret as a password, and used once. One
   * that came before anybody listened is told to the first listener.
   */
  ticket: [ticket: Uint8Array];
  /**
   * The size of datagrams changed, in bytes of UDP payload: it grew, or the path was found to carry no more. One that changed before
   * anybody listened is told to the first listener.
   */
  mtu: [mtu: number, previous: number];
  close: [error: JspError | null];
  /** Packets go another way from now on: the peer, or this side, is at another address. Nothing that was sent reliably is lost. */
  path: [change: PathChange];
  /**
   * The server is to be replaced: it serves on until it closes, and says where to go. A connection with `reconnect` goes there by itself. One that came before
   * anybody listened is told to the first listener.
   */
  goaway: [notice: GoAwayNotice];
  /**
   * Streams that this side opened have waited for 5 s, so many of them: the peer lets no more be open at once (its `streamsMax`) until others
   * have ended in both directions. A peer that does not listen for `stream` never ends any.
   */
  streamsBlocked: [waiting: number];
  /**
   * Something is not as it should be with this connection, or is again: latency, loss, retransmissions, the size of datagrams, streams that
   * stand still. Each is told once when it is raised and once when it is cleared; the option `alerts` says what is too much. It is looked for as long
   * as somebody listens; a connection that ends tells of no more.
   */
  alert: [alert: Alert];
}

/** What is told to the first listener where there was none in time. */
const LATE_EVENTS = ['goaway', 'mtu', 'ticket'] as const;
type LateEvent = (typeof LATE_EVENTS)[number];

/** What the event `path` tells. */
export interface PathChange {
  /** Address of the peer. */
  readonly host: string;
  readonly port: number;
  /** What it was before: the same where this side moved. */
  readonly previous: { readonly host: string; readonly port: number };
  /** Address of this side's socket. */
  readonly localHost: string;
  readonly localPort: number;
  /** `rebinding`: a NAT on the way gave the peer another address; `migration`: a side moved on purpose. */
  readonly reason: 'rebinding' | 'migration';
}

/** What a connection needs of its socket's owner. */
export interface ConnectionOwner {
  /** What streams have that are not told otherwise. */
  readonly streamDefaults: StreamOptions;
  /** What is too much of what the event `alert` tells. */
  readonly alerts: AlertOptions;
  onConnectionClosed(connection: Connection): void;
  impairConnection?(options: ImpairmentOptions | null): void;
  rebindConnection?(options: RebindOptions): Promise<void>;
  /** Moves from an address that is gone; resolves when the server was heard from elsewhere. Null where it does not. */
  escapeConnection?(): Promise<void> | null;
  /** Whether the socket keeps the process alive, where it is the connection's own. */
  setReferenced?(referenced: boolean): void;
}

// How the transport itself reaches connections, which applications cannot: set by the class, whose private members these are.

/** Makes the connection that stands for `core` in the application. */
export let openConnection: (core: CoreConnection, driver: Driver, owner: ConnectionOwner) => Connection;
/** Tells the connection in question, or its stream, what happened to it. */
export let tellConnection: (event: EndpointEvent) => void;
/** Ends a connection whose socket is of no use any more. */
export let failConnection: (connection: Connection, error: JspError) => void;
/** Tells the client that the server closes at that time, and where to go. */
export let announceGoAway: (connection: Connection, url: Uint8Array, closesAt: Micros) => void;
/** So many more streams that the peer has opened (or fewer, below 0) count as open although they are closed: others in their place have to wait. [BRK-135] */
export let holdStreams: (connection: Connection, count: number) => void;
/** The reliable messages that the peer has not acknowledged, oldest first of each stream; of use when the connection is over. [CON-104] */
export let undeliveredOf: (connection: Connection) => Undelivered[];
/** The address of this machine that the connection's datagrams come from. */
export let localHostOf: (connection: Connection) => string;
/** A listener ends the connection, which the client is told by this code of the protocol. */
export let endConnection: (connection: Connection, code: CloseCode) => void;
/** Moves it from an address that is gone. Null where it does not move by itself. */
export let escapeOf: (connection: Connection) => Promise<void> | null;
/** The system did not take a datagram of so many bytes to the connection's peer. */
export let datagramWasRefused: (connection: Connection, bytes: number) => void;

/** One encrypted connection to one peer. Made by `connect`, and by a listener's `connection` event. */
export class Connection extends IsolatedEmitter<ConnectionEvents> {
  readonly role: 'client' | 'server';
  private readonly core: CoreConnection;
  private readonly driver: Driver;
  private readonly owner: ConnectionOwner;
  /** Of {@link closed}; null before anybody asked for it. */
  private closing: Promise<JspError | null> | null = null;
  private resolveClosed: ((error: JspError | null) => void) | null = null;
  private over = false;
  /** The handshake was completed. */
  private isOpened = false;
  private closedWith: JspError | null = null;
  /** Why it has to end, where the core cannot know. */
  private failure: JspError | null = null;
  /** Streams that came before anybody listened for them: no more than the peer may have open. */
  private unclaimed: Stream[] = NO_STREAMS;
  /** Whoever waits for a size of datagrams. */
  private mtuRequest: MtuRequest | null = null;
  /** What the radio of the machine tells; null before this was first to spare it. */
  private sparing: Sparing | null = null;
  /** The latest of each of these events, while nobody has listened for it. */
  private untold: { [E in LateEvent]?: ConnectionEvents[E] | undefined } | null = null;
  /** While somebody listens for alerts. */
  private alerts: AlertWatch | null = null;

  static {
    openConnection = (core, driver, owner) => new Connection(core, driver, owner);
    tellConnection = (event) => {
      const connection = event.connection.owner as Connection | null;
      if (connection === null) return;
      switch (event.type) {
        case 'connected':
          return connection.onConnected();
        case 'stream':
          return connection.onStream(event.stream);
        case 'mtu':
          return connection.onMtu(event.mtu, event.previous);
        case 'mtuSettled':
          return connection.onMtuSettled(event.bytes, event.isCarried);
        case 'streamsBlocked':
          return connection.onStreamsBlocked(event.waiting);
        case 'goAway':
          return connection.tellSoonerOrLater('goaway', goAwayNotice(event.delayMs, event.url));
        case 'path':
          return connection.onPath(event.previous, event.reason);
        case 'pathFailed':
          return; // who asked for it is told
        case 'admission':
          return; // of a connection that applications do not know yet
        case 'closed':
          return connection.onClosed(event.reason);
        case 'early': // its connection is new, and told of by that
        case 'token': // for whoever connected
          return;
        case 'ticket':
          return connection.onTicket(event.ticket);
        default:
          return tellStream(event);
      }
    };
    failConnection = (connection, error) => connection.fail(error);
    announceGoAway = (connection, url, closesAt) =>
      connection.call(() => connection.core.control.goAway.announce(url, closesAt));
    holdStreams = (connection, count) => {
      if (!connection.over) connection.call(() => connection.core.streams.hold(count));
    };
    undeliveredOf = (connection) => connection.undelivered();
    localHostOf = (connection) => connection.driver.socket.localHost;
    endConnection = (connection, code) =>
      connection.call((now) => connection.core.lifecycle.close('transport', code, '', now));
    escapeOf = ({ owner }) => owner.escapeConnection?.() ?? null;
    datagramWasRefused = (connection, bytes) => connection.onDatagramRefused(bytes);
  }

  private constructor(core: CoreConnection, driver: Driver, owner: ConnectionOwner) {
    super(driver.context);
    this.core = core;
    this.driver = driver;
    this.owner = owner;
    this.role = core.role;
    core.owner = this;
  }

  /** Resolves when the connection is over: with null after a close without error by either side, else with the error. */
  get closed(): Promise<JspError | null> {
    this.closing ??= this.over
      ? Promise.resolve(this.closedWith)
      : new Promise((resolve) => {
          this.resolveClosed = resolve;
        });
    return this.closing;
  }

  get remoteHost(): string {
    return this.core.path.host;
  }

  get remotePort(): number {
    return this.core.path.port;
  }

  /** SHA-256 fingerprint of the identity that the peer proved; null on a server whose client showed none, for it was not asked or has none. */
  get peerFingerprint(): Uint8Array | null {
    return this.core.handshake.peerFingerprint;
  }

  /** Whether the handshake was complete: false while early data flows, and the other side may not be who it should be. */
  get isEstablished(): boolean {
    return this.core.lifecycle.isEstablished;
  }

  /** Whether the server took a ticket, so that neither side proved anew who it is. */
  get isResumed(): boolean {
    return this.core.handshake.isResumed;
  }

  /** What became of early data: there was `none`, it is not known yet (`pending`), or the server has `accepted` or `refused` it. What was refused is sent again. */
  get earlyData(): 'none' | 'pending' | 'accepted' | 'refused' {
    return EARLY_DATA_NAMES[this.core.handshake.earlyData];
  }

  /** {@link peerFingerprint} as text, 43 characters of base64url. */
  get peerIdentity(): string | null {
    const { peerFingerprint } = this;
    return peerFingerprint === null ? null : Buffer.from(peerFingerprint).toString('base64url');
  }

  /**
   * What the peer's application said before the connection was there: on a server the `payload` that its client gave to `connect`, on a client the
   * one that the server's `authorize` answered. Null: nothing.
   */
  get peerPayload(): Buffer | null {
    const { peerPayload } = this.core.handshake;
    return peerPayload === null ? null : Buffer.from(peerPayload);
  }

  /** True until the connection begins to close. */
  get isOpen(): boolean {
    return !this.over && this.core.lifecycle.takesStreams;
  }

  /** Streams that can be opened now without waiting until the peer allows more. */
  get openableStreams(): number {
    return this.core.streams.limits.streams.openable;
  }

  /**
   * A secret value that both ends can derive and nobody else, also nobody who has made two connections of one, and another for each connection: by
   * signing it one proves to be the other end of this very connection. As `exportKeyingMaterial` of `node:tls` (RFC 5705); [HS-29].
   *
   * @param length - 1 to 8,160 bytes
   * @param name - of the use that it is for: 1 to 64 characters of ASCII
   * @param context - what else is to be bound to it
   * @throws JspError ERR_JSP_OPTION_INVALID; ERR_JSP_OFFLINE while {@link isEstablished} is false, as it is for early data; ERR_JSP_CLOSED when the
   * connection is over
   */
  exportKeyingMaterial(length: number, name: string, context: Uint8Array = NO_BYTES): Uint8Array {
    checkArgument('exportKeyingMaterial', 'length', length, EXPORT_LENGTH);
    checkArgument('exportKeyingMaterial', 'name', name, exportName);
    if (!(context instanceof Uint8Array)) throw new TypeError('exportKeyingMaterial: context must be bytes');
    return this.exported(length, name, context);
  }

  /**
   * The same as {@link exportKeyingMaterial}, with its arguments in the order of RFC 5705: a value of `length` bytes for the use `label`.
   *
   * @param length - 1 to 8,160 bytes
   */
  exportKey(label: string, context: Uint8Array, length: number): Uint8Array {
    checkArgument('exportKey', 'label', label, exportName);
    checkArgument('exportKey', 'length', length, EXPORT_LENGTH);
    if (!(context instanceof Uint8Array)) throw new TypeError('exportKey: context must be bytes');
    return this.exported(length, label, context);
  }

  /** What the packets of the connection are sealed with; both sides know of the same. */
  get cipherSuite(): CipherSuiteName {
    return this.core.handshake.cipherSuite;
  }

  /**
   * Opens a stream. It can be used at once; where the peer allows no more streams now, what is sent waits until it does; the event
   * `streamsBlocked` tells when that takes long.
   *
   * @throws JspError ERR_JSP_CLOSED when the connection is closing
   */
  openStream(given: StreamOptions = {}): Stream {
    checkOptions('openStream', given, STREAM_OPTIONS);
    const options = laidOver(this.owner.streamDefaults, given);
    if (!this.isOpen) throw this.closedWith ?? connectionClosed();
    const label = Buffer.from(options.label ?? '');
    if (label.length > LABEL_BYTES_MAX) {
      throw new JspError(
        'ERR_JSP_LABEL_TOO_LONG',
        `a label has at most ${LABEL_BYTES_MAX} bytes, not ${label.length}`,
      );
    }
    const settings = {
      priority: priorityNumber(options.priority ?? 'chat'),
      delivery: deliveryNumber(options.delivery ?? 'reliable'),
      ordered: options.ordered ?? true,
      label: options.label ?? '',
      protection: protectionOf('openStream', options) ?? undefined,
      compression: compressionModeOf(options.compression) ?? undefined,
      earlyData: options.earlyData,
    };
    try {
      const stream = openStream(this.core.streams.open(settings), this.driver, this.core, options);
      if (streamOpen.hasSubscribers) streamOpen.publish({ connection: this, stream, openedBy: 'here' });
      return stream;
    } catch (error) {
      throw this.driver.onInternalError(this.core, error);
    }
  }

  /**
   * True figures of this moment; `docs/metrics.md` says what to look at when. `socket` is that of the listener, with all of its connections, on a
   * server.
   */
  metrics(): ConnectionMetrics & { readonly socket: SocketMetrics } {
    return { ...this.core.metrics(this.driver.now()), socket: socketMetrics(this.driver.socket) };
  }

  /**
   * Sends datagrams of up to this size from now on, whatever the option `mtu` said; 512 to 65,507. A size that is larger than the one in use
   * is tried first, also one that was given up before, and used once the path has carried it. It does not grow by itself; where the path
   * carries no more it shrinks all the same, which the event `mtu` tells. [REC-95]
   *
   * @throws JspError ERR_JSP_MTU_NOT_CARRIED when more datagrams of this size in a row came to nothing, three at least, than the path loses by
   * chance, or the peer takes none as large: all stays as it was; also when another size is asked for meanwhile; or why the connection closed
   */
  setMtu(bytes: number): Promise<void> {
    checkArgument('setMtu', 'mtu', bytes, MTU);
    this.mtuRequest?.reject(notCarried(this.mtuRequest.bytes, 'another size was asked for meanwhile'));
    this.mtuRequest = null;
    if (!this.isOpen) return Promise.reject(this.closedWith ?? connectionClosed());
    return new Promise((resolve, reject) => {
      this.mtuRequest = { bytes, resolve, reject };
      this.call((now) => this.core.packetSize.use(bytes, now));
    });
  }

  /**
   * Another controller for what this side sends from now on, whatever the option `congestion` said. It begins anew, and does not go by what
   * becomes of packets that were sent before. [REC-96]
   *
   * @throws JspError ERR_JSP_OPTION_INVALID
   */
  setCongestion(name: 'bbr' | 'cubic' | 'newreno'): void {
    checkArgument('setCongestion', 'congestion', name, CONGESTION);
    if (!this.isOpen) return;
    this.call((now) => {
      this.core.path.useController(name, now);
      this.core.touch();
    });
  }

  /**
   * Waits until what was sent is settled, closes, and resolves when the connection is over. Incoming streams and messages that
   * begin meanwhile are still delivered; answers to them are not sent any more. Another call can only shorten the wait, and an abort of
   * `signal` ends it at once. [CON-11]
   *
   * The socket keeps the process alive a little longer, until the peer can be expected to have heard of the end. [CON-9]
   *
   * @throws JspError when not all that was sent reliably was acknowledged: ERR_JSP_CLOSE_INCOMPLETE at a time limit, which the peer's
   * application is told as well, or where the peer closed first; ERR_JSP_ABORTED; or what else ended the connection. Who does not
   * await it finds the same in {@link closed}
   */
  close(options: CloseOptions = {}): Promise<void> {
    const done = this.finish(options);
    done.catch(() => {}); // no crash where nobody awaits it
    return done;
  }

  /**
   * Changes the bad network that the option `impairment` puts around this side's socket, or puts one there; null gives a good one. What is
   * under way arrives as it would have. The connections of a listener share its socket: see `Listener.impair`.
   *
   * @throws JspError ERR_JSP_OPTION_INVALID
   */
  impair(options: ImpairmentOptions | null): void {
    if (this.owner.impairConnection === undefined) {
      throw new JspError(
        'ERR_JSP_OPTION_INVALID',
        'this connection shares its socket: use impair() of its listener',
      );
    }
    this.owner.impairConnection(options);
  }

  /**
   * Moves this side, a client, to another address of its machine, or another port: from Wi-Fi to a cellular network, say. The new path is proved
   * first, packets go on the old one until then, and nothing that was sent reliably is lost. Resolves when packets go the new way, which the
   * event `path` tells as well, on both sides. When the machine loses the address that the connection is at, it moves by itself. [CON-89]
   *
   * @throws JspError ERR_JSP_PATH_FAILED when no answer comes from there in time, or the server does not want it: all stays as it was;
   * ERR_JSP_SOCKET when there is no such address; ERR_JSP_OPTION_INVALID, also on a listener's connection; ERR_JSP_CLOSED
   */
  async rebind(options: RebindOptions = {}): Promise<void> {
    if (this.owner.rebindConnection === undefined)
      throw new JspError('ERR_JSP_OPTION_INVALID', 'rebind is for clients: a server stays where it listens');
    if (!this.isOpen) throw this.closedWith ?? connectionClosed();
    await this.owner.rebindConnection(options);
  }

  /**
   * Tells what this machine is connected by, whenever it changes. On `cellular` heartbeats are three times as far apart, at most 30 s, and go
   * together with those of other connections, so that the radio sleeps; on `cellular` and `wifi` messages are protected (`auto`) of streams that
   * do not say themselves, unless `protection` or a profile says so for the connection. The peer learns the new interval and keeps still as well.
   * `metrics()` has it. On a connection that is over nothing happens. [CON-62]
   *
   * @throws JspError ERR_JSP_OPTION_INVALID
   */
  setNetworkType(type: NetworkType): void {
    checkArgument('setNetworkType', 'type', type, NETWORK_TYPE);
    this.tellDevice((device, now) => device.setNetworkType(type, now));
  }

  /**
   * Tells whether somebody looks at the application, whenever it changes. In the `background` heartbeats are at least 30 s apart, but no further
   * than the idle timeout that both sides agreed on, and go together with those of other connections; the peer learns it and keeps still as
   * well. In the `foreground` again, the peer is asked at once whether it is there, and after so many seconds of silence as
   * `heartbeatMisses` has, the connection ends with ERR_JSP_HEARTBEAT_TIMEOUT. `metrics()` has it. On a connection that is over nothing happens. [CON-62]
   *
   * @throws JspError ERR_JSP_OPTION_INVALID
   */
  setAppState(state: AppState): void {
    checkArgument('setAppState', 'state', state, APP_STATE);
    this.tellDevice((device, now) => device.setAppState(state, now));
  }

  /**
   * Closes at once; what is not delivered yet is dropped, and the peer is told that there was more. Listeners get no further messages.
   *
   * @throws JspError ERR_JSP_OPTION_INVALID unless the code is a whole number from 0 on, and the reason a string
   */
  destroy(code = 0, reason = ''): void {
    checkOptions('destroy', { code, reason }, CLOSE_OPTIONS);
    for (const stream of this.core.streams.values()) hushStream(stream);
    this.closeNow(code, reason);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /**
   * Lets the process end although the connection is open, as `unref` of a socket does. Of no effect on a listener's connections, whose
   * socket is the listener's: see `Listener.unref`.
   */
  unref(): this {
    this.owner.setReferenced?.(false);
    return this;
  }

  /** Undoes {@link unref}: the open connection keeps the process alive, as it does by default. */
  ref(): this {
    this.owner.setReferenced?.(true);
    return this;
  }

  private exported(length: number, name: string, context: Uint8Array): Uint8Array {
    const value = this.over ? null : this.core.handshake.exported(name, context, length);
    if (value !== null) return value;
    if (!this.isOpen || this.isEstablished) throw this.closedWith ?? connectionClosed();
    throw new JspError(
      'ERR_JSP_OFFLINE',
      'the handshake is not complete, so that the two ends have nothing yet that is of this connection alone: wait for the event connected',
    );
  }

  /** Does something in the core for a caller who is not to see it fail: the connection ends with that, and tells why. */
  private call(action: (now: Micros) => void): void {
    try {
      action(this.driver.now());
    } catch (error) {
      this.driver.onInternalError(this.core, error);
    }
    this.driver.wake();
  }

  private tellDevice(tell: (device: CoreConnection['device'], now: number) => void): void {
    if (this.over) return;
    try {
      tell(this.core.device, this.driver.now());
    } catch (error) {
      throw this.driver.onInternalError(this.core, error);
    }
    this.spareRadio();
    this.driver.wake();
  }

  /** Its heartbeats go with those of the machine's other connections from now on, or do not any more. */
  private spareRadio(): void {
    const { driver } = this;
    const radio = Radio.of(driver.clock);
    if (!this.core.device.sparesRadio) return this.leave(radio);
    this.sparing ??= { onRadioAwake: () => this.call((now) => this.core.device.onRadioAwake(now)) };
    radio.join(this.sparing);
    driver.radio = radio;
  }

  private leave(radio: Radio): void {
    if (this.sparing !== null) radio.leave(this.sparing);
  }

  private closeNow(code: number, reason: string): void {
    if (this.over) return;
    try {
      this.core.lifecycle.close('application', code, reason, this.driver.now());
    } catch (error) {
      this.driver.onInternalError(this.core, error); // which ends it, too
    }
    this.driver.flush();
  }

  /** The socket is of no use any more. */
  private fail(error: JspError): void {
    this.failure = error;
    this.closeNow(0, '');
  }

  /** The system did not take a datagram of so many bytes. */
  private onDatagramRefused(bytes: number): void {
    this.core.packetSize.onRefused(bytes, this.driver.now());
  }

  /** The handshake is complete. */
  private onConnected(): void {
    this.isOpened = true;
    connectionIsLive(this, this.core.counters);
    if (connectionOpen.hasSubscribers)
      connectionOpen.publish({ connection: this, handshakeMs: this.core.metrics().handshakeMs });
    if (connectionAlert.hasSubscribers) this.startAlerts();
    this.tell('connected');
  }

  private onTicket(ticket: ClientTicket): void {
    this.tellSoonerOrLater('ticket', ticketBytes(ticket, this.remoteHost, this.driver.clock));
  }

  private startAlerts(): void {
    if (this.over) return;
    this.alerts ??= new AlertWatch(this.core, this.driver.clock, this.owner.alerts, (alert) => {
      if (connectionAlert.hasSubscribers) connectionAlert.publish({ connection: this, alert });
      this.tell('alert', alert);
    });
    this.alerts.start();
  }

  private stopAlerts(): void {
    this.alerts?.stop();
    this.alerts = null;
  }

  /** The peer opened a stream. */
  private onStream(core: ConnectionStream): void {
    const { allowHalfOpen } = this.owner.streamDefaults;
    const stream = openStream(core, this.driver, this.core, { allowHalfOpen }, this.context);
    if (streamOpen.hasSubscribers) streamOpen.publish({ connection: this, stream, openedBy: 'peer' });
    if (this.tell('stream', stream)) return;
    if (this.unclaimed === NO_STREAMS) this.unclaimed = [];
    this.unclaimed.push(stream);
    stream.once('close', () => {
      this.unclaimed = this.unclaimed.filter((other) => other !== stream);
    });
  }

  private onMtu(mtu: number, previous: number): void {
    if (connectionMtu.hasSubscribers) connectionMtu.publish({ connection: this, mtu, previous });
    const [, first] = this.untold?.mtu ?? [mtu, previous];
    this.tellSoonerOrLater('mtu', mtu, first);
  }

  private onPath({ host, port }: PathChange['previous'], reason: PathChange['reason']): void {
    const { remoteHost, remotePort } = this;
    const { localHost, localPort } = this.driver.socket;
    const from = { localHost, localPort };
    this.tell('path', { host: remoteHost, port: remotePort, previous: { host, port }, ...from, reason });
  }

  private onMtuSettled(bytes: number, isCarried: boolean): void {
    const request = this.mtuRequest;
    if (request?.bytes !== bytes) return; // another size was asked for meanwhile
    this.mtuRequest = null;
    if (isCarried) request.resolve();
    else
      request.reject(
        notCarried(request.bytes, 'the path does not carry them, or the peer does not take them'),
      );
  }

  private onStreamsBlocked(waiting: number): void {
    if (connectionStreamsBlocked.hasSubscribers)
      connectionStreamsBlocked.publish({ connection: this, waiting });
    if (this.tell('streamsBlocked', waiting)) return;
    process.emitWarning(
      `${waiting} streams have waited for 5 s: the peer (${this.remoteHost}) lets no more be open until others have ended in both directions; does it read its streams, and end them? Listen for 'streamsBlocked' to handle this.`,
      { code: 'JSP_STREAMS_BLOCKED' },
    );
  }

  private undelivered(): Undelivered[] {
    const { streams } = this.core;
    const { compression } = streams.packer;
    return [...streams.values()].flatMap((core) => {
      const stream = core.owner as Stream | null;
      if (stream === null) return [];
      const messages = core.sender.mark().unacknowledged();
      return messages.map(({ bytes, isEnveloped, deadline, wasSent }) => {
        const data = isEnveloped ? compression.undo(bytes) : bytes;
        return {
          stream,
          data: Buffer.from(data.buffer, data.byteOffset, data.length),
          deadline,
          mayHaveArrived: wasSent,
        };
      });
    });
  }

  private onClosed(reason: CloseReason): void {
    if (this.over) return;
    this.over = true;
    if (this.driver.radio !== null) this.leave(this.driver.radio);
    this.closedWith = this.failure ?? closeError(reason);
    this.resolveClosed?.(this.closedWith);
    this.stopAlerts();
    connectionIsOver(this);
    this.owner.onConnectionClosed(this);
    this.mtuRequest?.reject(this.closedWith ?? connectionClosed());
    this.mtuRequest = null;
    for (const stream of [...this.core.streams.values()]) closeStream(stream, this.closedWith);
    if (this.isOpened && connectionClose.hasSubscribers)
      connectionClose.publish({ connection: this, error: this.closedWith });
    this.tell('close', this.closedWith);
  }

  private async finish(options: CloseOptions): Promise<void> {
    checkOptions('close', options, CLOSE_OPTIONS);
    if (this.over) return;
    const { code = 0, reason = '', timeoutMs, stallMs = CLOSE_STALL_MS, signal } = options;
    if (signal?.aborted) throw abortError(signal);
    let aborted = false;
    const forget = onAbort(signal, () => {
      aborted = true;
      this.destroy(code, reason);
    });
    this.call((now) => {
      const deadline = timeoutMs === undefined ? NEVER : now + timeoutMs * MILLISECOND;
      this.core.lifecycle.finish(code, reason, deadline, stallMs * MILLISECOND, now);
    });
    await this.closed;
    forget();
    if (!this.core.lifecycle.wasCut) return;
    if (aborted && signal !== undefined) throw abortError(signal);
    throw this.closedWith ?? incompleteError('the connection closed', '');
  }

  /** Tells it, or keeps it until somebody listens. */
  private tellSoonerOrLater<E extends LateEvent>(event: E, ...args: ConnectionEvents[E]): void {
    const isTold = this.tell(event, ...args);
    if (isTold && this.untold === null) return;
    this.untold ??= {};
    this.untold[event] = isTold ? undefined : (args as (typeof this.untold)[E]);
  }

  private tellLate<E extends LateEvent>(event: E): void {
    const args = this.untold?.[event] as ConnectionEvents[E] | undefined;
    if (args !== undefined) this.tellSoonerOrLater(event, ...args);
  }

  /** Streams that came before the first listener for `stream`, and what else was kept for it, are handed to who listens now. */
  protected override onListenerAdded(event: keyof ConnectionEvents): void {
    if (event === 'stream' && this.unclaimed.length > 0) queueMicrotask(() => this.claimStreams());
    const late = LATE_EVENTS.find((name) => name === event);
    if (late !== undefined && this.untold?.[late] !== undefined) queueMicrotask(() => this.tellLate(late));
    if (event === 'alert') this.startAlerts();
  }

  protected override onListenersRemoved(): void {
    if (this.alerts === null || this.listenerCount('alert') > 0 || connectionAlert.hasSubscribers) return;
    this.stopAlerts();
  }

  private claimStreams(): void {
    while (this.listenerCount('stream') > 0) {
      const stream = this.unclaimed.shift();
      if (stream === undefined) return;
      this.tell('stream', stream);
    }
  }
}

/** A reliable message that the peer has not acknowledged. */
export interface Undelivered<S = Stream> {
  readonly stream: S;
  /** A copy. */
  readonly data: Buffer;
  /** NEVER for none. */
  readonly deadline: Micros;
  /** A part of it was sent at least once. */
  readonly mayHaveArrived: boolean;
}

/** A size of datagrams that somebody waits for. */
interface MtuRequest {
  readonly bytes: number;
  readonly resolve: () => void;
  readonly reject: (error: JspError) => void;
}

function notCarried(bytes: number, why: string): JspError {
  return new JspError(
    'ERR_JSP_MTU_NOT_CARRIED',
    `datagrams of ${bytes} bytes are not in use: ${why}; ask for a smaller size`,
  );
}

function connectionClosed(): JspError {
  return new JspError('ERR_JSP_CLOSED', 'the connection is closed; connect again');
}

/** Its label has a length of one byte, and its bytes are those of the characters. */
function exportName(value: unknown): string | null {
  const isName = typeof value === 'string' && EXPORT_NAME.test(value);
  return isName ? null : `1 to ${EXPORT_NAME_MAX} characters of ASCII`;
}

const EXPORT_LENGTH = whole(1, EXPORTED_BYTES_MAX);
const EXPORT_NAME = new RegExp(`^[\\x20-\\x7e]{1,${EXPORT_NAME_MAX}}$`);
const MTU = whole(DATAGRAM_BYTES_MIN, DATAGRAM_BYTES_MAX);
const CONGESTION = oneOf(CONTROLLERS);
const NETWORK_TYPE = oneOf(NETWORK_TYPES);
const APP_STATE = oneOf(APP_STATES);

/** What the options of `close` may be. */
export const CLOSE_OPTIONS: OptionTable<CloseOptions> = {
  code: APPLICATION_CODE,
  reason: text,
  timeoutMs: number(0, Number.POSITIVE_INFINITY),
  stallMs: number(0, Number.POSITIVE_INFINITY),
  signal: abortSignal,
};

/** By {@link EarlyData}. */
const EARLY_DATA_NAMES = ['none', 'pending', 'accepted', 'refused'] as const;
export const CLOSE_STALL_MS = 10_000;
/** What all have that no stream waits in: nothing is ever put in. */
const NO_STREAMS: Stream[] = [];
