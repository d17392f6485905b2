/**
 * One handle over the connections that a client has, one after the other. One file because it is one class, each call of which is told at length.
 *
 *     online <-> offline      the connection is lost; another is made
 *     online -> moving -> online   the server is to be replaced [CON-101]: another is made while this one goes on
 *     any -> closed           by the application, or a failure that is final [CON-103]
 */

import { JspError } from '../base/errors.ts';
import { checkOptions, number, type OptionTable, whole } from '../base/options.ts';
import { type RandomSource, randomBytes } from '../base/random.ts';
import { MILLISECOND, type Micros, NEVER } from '../base/time.ts';
import { LocalAddress } from '../protocol/endpoint/index.ts';
import type { Clock } from '../udp/clock.ts';
import type { InterfaceWatch } from '../udp/interfaces.ts';
import { abortError } from './abort.ts';
import { Backoff } from './backoff.ts';
import { incompleteError } from './close-error.ts';
import {
  type AppState,
  CLOSE_OPTIONS,
  type CloseOptions,
  type Connection,
  escapeOf,
  localHostOf,
  type NetworkType,
  type Undelivered,
  undeliveredOf,
} from './connection.ts';
import type { GoAwayNotice } from './go-away.ts';
import { IsolatedEmitter } from './listeners.ts';
import type { StreamOptions } from './options.ts';
import { isFinalFailure, Redial } from './redial.ts';
import { ReopeningStream } from './reopening-stream.ts';
import type { Stream } from './stream.ts';
import { throwByItself } from './throwing.ts';
import { parseServerUrl } from './url.ts';

/** How a connection comes back. */
export interface ReconnectOptions {
  /** Attempts in a row that may fail before it is over. Default: any number. */
  attemptsMax?: number | undefined;
  /** The first wait is a random part of so long, in ms. Default 250. */
  backoffMinMs?: number | undefined;
  /** Each further wait is a random part of twice as long, up to this, in ms. Default 30,000. */
  backoffMaxMs?: number | undefined;
  /** A connection counts as a success when it has lasted so long, in ms: only then the waits are short again. Default 30,000. */
  stableMs?: number | undefined;
  /** Whether it is over with this error of an attempt or a connection, beside those after which no attempt can succeed: a `applicationCode` of your server that says so, for instance. Default: never. */
  isFinal?: ((error: JspError) => boolean) | undefined;
}

/** `moving` is online: the server goes, or the address that the connection comes from is gone, and another connection is being made. */
export type ReconnectState = 'online' | 'moving' | 'offline' | 'closed';

/** A connection is about to be made. */
export interface ReconnectAttempt {
  /** How many attempts there were since the last connection, with this one. */
  readonly attempt: number;
  /** When it begins, in ms from now. */
  readonly delayMs: number;
  /** What the connection, or the attempt before, ended with; null where nothing went wrong. */
  readonly cause: JspError | null;
}

/** There is another connection. */
export interface Reconnected {
  /** The handshake was that of a ticket; with `earlyData` it is under way. */
  readonly isResumed: boolean;
  /** Attempts that it took. */
  readonly attempts: number;
  /** What was sent reliably before and never acknowledged. Nothing is sent again by itself; what is sent in this listener goes ahead of all else. */
  readonly undelivered: readonly UndeliveredMessage[];
}

/** A message that was sent reliably, or until a time that has not come yet, and not acknowledged before its connection was over. */
export interface UndeliveredMessage {
  /** Where it was sent. One that is opened again can take it again. */
  readonly stream: Stream | ReopeningStream;
  readonly label: string;
  /** As it was given to `send`. */
  readonly data: Buffer;
  /** What is left of its lifetime, in ms; undefined: it has none. */
  readonly lifetimeMs: number | undefined;
  /** False: no part of it ever left. True: the peer may have it all the same, and sent again it may come twice. */
  readonly mayHaveArrived: boolean;
}

interface ReconnectingEvents {
  /** The peer opened a stream, which is one of the present connection and ends with it. */
  stream: [stream: Stream];
  /** The connection is lost, its address is gone from this machine, or the server goes: an attempt to make another is due. */
  reconnecting: [attempt: ReconnectAttempt];
  /** There is another connection; streams with `reopen` are open again. */
  reconnected: [reconnected: Reconnected];
  /** The server is to be replaced, and says where to go, which happens by itself. */
  goaway: [notice: GoAwayNotice];
  /** The server gave a ticket: what comes back uses it, and another process may, with the option `ticket`. */
  ticket: [ticket: Uint8Array];
  /** What was under way on a connection that was left for another, and was not acknowledged when that ended. */
  undelivered: [messages: readonly UndeliveredMessage[]];
  /** It is over for good, with what was never acknowledged. */
  close: [error: JspError | null, undelivered: readonly UndeliveredMessage[]];
}

/** Figures of a connection that comes back. */
export interface ReconnectMetrics {
  readonly state: ReconnectState;
  /** Connections that there were, with the present one. */
  readonly connections: number;
  /** Attempts that failed. */
  readonly failedAttempts: number;
  /** Of the present connection; null while there is none. */
  readonly connection: ReturnType<Connection['metrics']> | null;
}

/** Makes a connection to one of these servers, the first of them if it may be, with the ticket that there is for it. */
export type ConnectTo = (
  urls: readonly string[],
  signal: AbortSignal | undefined,
  ticketOf: (url: string) => Uint8Array | undefined,
) => Promise<Connection>;

export interface ReconnectSurroundings {
  readonly clock: Clock;
  /** The addresses of the machine; null: they are those of a lab. */
  readonly addresses: InterfaceWatch | null;
  readonly random: RandomSource;
  /** Gives the first attempt up. */
  readonly signal: AbortSignal | undefined;
  /** For the first attempt. */
  readonly ticket: Uint8Array | undefined;
  readonly streamDefaults: StreamOptions;
  readonly reconnect: ReconnectOptions;
}

/** Connects for the first time, and answers with the handle. */
export async function reconnectingConnection(
  connectTo: ConnectTo,
  urls: readonly string[],
  surroundings: ReconnectSurroundings,
): Promise<ReconnectingConnection> {
  // It is good for one attempt.
  let { ticket } = surroundings;
  const once = (): Uint8Array | undefined => {
    const taken = ticket;
    ticket = undefined;
    return taken;
  };
  const connection = await openConnectionBy(connectTo, urls, surroundings.signal, once);
  return handleOf(connection, connectTo, urls, surroundings);
}

/** A connection that can be used: one that ended as it began is a failed attempt. */
async function openConnectionBy(
  connectTo: ConnectTo,
  urls: readonly string[],
  signal: AbortSignal | undefined,
  ticketOf: (url: string) => Uint8Array | undefined,
  isMoving = false,
): Promise<Connection> {
  const connection = await connectTo(urls, signal, ticketOf);
  // [CON-101] One that serves is left for one that does, and not for the hope of one.
  if (isMoving) await answered(connection);
  if (connection.isOpen) return connection;
  throw (
    (await connection.closed) ??
    new JspError('ERR_JSP_CLOSED', 'the server closed the connection as soon as it was there')
  );
}

/** Resolves when the handshake is complete, or came to nothing. */
function answered(connection: Connection): Promise<unknown> | null {
  if (connection.isEstablished || !connection.isOpen) return null;
  return Promise.race([
    connection.closed,
    new Promise<void>((resolve) => connection.once('connected', () => resolve())),
  ]);
}

/** The constructor of {@link ReconnectingConnection}, which is nobody else's. */
let handleOf: (
  first: Connection,
  connectTo: ConnectTo,
  urls: readonly string[],
  surroundings: ReconnectSurroundings,
) => ReconnectingConnection;

/**
 * One connection to a server, or several servers, over restarts and outages. Made by `connect(url, { reconnect: true })`.
 *
 * @example
 * const connection = await connect(url, { reconnect: true });
 * const readings = connection.openStream({ label: 'readings', reopen: true });
 * connection.on('reconnected', ({ undelivered }) => {
 *   for (const { data } of undelivered) readings.send(data);
 * });
 */
export class ReconnectingConnection extends IsolatedEmitter<ReconnectingEvents> {
  /** Resolves when it is over for good: with null after a close by this side, else with the error. */
  readonly closed: Promise<JspError | null>;
  private readonly urls: readonly string[];
  private readonly surroundings: ReconnectSurroundings;
  private readonly redial: Redial<Connection>;
  private readonly streams = new Set<ReopeningStream>();
  /** Left for another, and not over yet. */
  private readonly left = new Set<Connection>();
  /** The newest that each server gave, by its fingerprint. */
  private readonly tickets = new Map<string, Uint8Array>();
  private readonly device: { networkType?: NetworkType; appState?: AppState } = {};
  private current: Connection | null = null;
  /** The connection whose streams are told. */
  private takenFrom: Connection | null = null;
  private phase: ReconnectState = 'online';
  /** Where the server said to go; null: nowhere else. */
  private suggested: string | null = null;
  /** When the server that goes closes. */
  private closesAt: Micros = NEVER;
  /** Attempts since the last connection. */
  private attempts = 0;
  private connections = 0;
  private failedAttempts = 0;
  private cause: JspError | null = null;
  private undelivered: Undelivered<Stream | ReopeningStream>[] = [];
  /** This side closes it. */
  private isLeaving = false;
  /** Ends the watch over the address that the present connection begins at. */
  private endWatch: () => void = () => {};
  /** What the last connection ended with, when this side closed it. */
  private endedBy: JspError | null = null;
  private isReferenced = true;
  /** Keeps the process alive while there is no socket that does. */
  private keptAlive: NodeJS.Timeout | undefined;
  private resolveClosed: (error: JspError | null) => void = () => {};

  static {
    handleOf = (first, connectTo, urls, surroundings) =>
      new ReconnectingConnection(first, connectTo, urls, surroundings);
  }

  private constructor(
    first: Connection,
    connectTo: ConnectTo,
    urls: readonly string[],
    surroundings: ReconnectSurroundings,
  ) {
    super();
    this.urls = urls;
    this.surroundings = surroundings;
    this.closed = new Promise((resolve) => {
      this.resolveClosed = resolve;
    });
    const { backoffMinMs, backoffMaxMs, stableMs } = surroundings.reconnect;
    const times = { minMs: backoffMinMs, maxMs: backoffMaxMs, stableMs };
    const backoff = new Backoff(times, 1, () => fraction(surroundings.random));
    this.redial = new Redial(
      {
        // [CON-31] what is made of it belongs to whoever connected
        dial: (signal) =>
          this.context.runInAsyncScope(
            openConnectionBy,
            null,
            connectTo,
            this.servers(),
            signal,
            this.ticketOf,
            this.phase === 'moving',
          ),
        onConnection: (connection) => this.onConnection(connection),
        onFailed: (error) => this.onFailed(error),
        onWait: (delayMs) => this.onWait(delayMs),
        discard: (connection) => connection.destroy(),
      },
      backoff,
      surroundings.clock,
    );
    this.adopt(first);
    this.redial.succeeded();
  }

  get state(): ReconnectState {
    return this.phase;
  }

  /** The present connection, for what only a connection can tell; null while there is none. */
  get connection(): Connection | null {
    return this.current;
  }

  /** True until it is closed, also while it is offline. */
  get isOpen(): boolean {
    return !this.isLeaving && this.phase !== 'closed';
  }

  /**
   * Opens a stream. With `reopen` it outlives connections: on each it is opened again, with its label, by which the peer knows it. Without, it is one of the present
   * connection.
   *
   * @throws JspError ERR_JSP_CLOSED; ERR_JSP_OFFLINE without `reopen` while there is no connection; ERR_JSP_OPTION_INVALID for `reopen` without a label
   */
  openStream(options: StreamOptions & { reopen: true }): ReopeningStream;
  openStream(options?: StreamOptions & { reopen?: false | undefined }): Stream;
  openStream(given: StreamOptions & { reopen?: boolean | undefined } = {}): Stream | ReopeningStream {
    const { reopen = false, ...options } = given;
    if (!this.isOpen) throw new JspError('ERR_JSP_CLOSED', 'the connection is closed; connect again');
    if (reopen) return this.openLasting(options);
    if (this.current !== null) return this.current.openStream(options);
    throw new JspError(
      'ERR_JSP_OFFLINE',
      'there is no connection now: wait for the event reconnected, or open the stream with reopen: true',
    );
  }

  metrics(): ReconnectMetrics {
    const { connections, current, failedAttempts, phase: state } = this;
    return { state, connections, failedAttempts, connection: current?.metrics() ?? null };
  }

  /** As `Connection.setNetworkType`, for this connection and those to come. */
  setNetworkType(type: NetworkType): void {
    this.current?.setNetworkType(type);
    this.device.networkType = type;
  }

  /** As `Connection.setAppState`, for this connection and those to come. */
  setAppState(state: AppState): void {
    this.current?.setAppState(state);
    this.device.appState = state;
  }

  /**
   * As `Connection.close`, for good. While there is no connection it is over at once.
   *
   * @throws JspError as `Connection.close` does; ERR_JSP_CLOSE_INCOMPLETE when there is no connection, and something was not acknowledged
   */
  close(options: CloseOptions = {}): Promise<void> {
    const done = this.finish(options);
    done.catch(() => {}); // no crash where nobody awaits it
    return done;
  }

  /** As `Connection.destroy`, for good. */
  destroy(code = 0, reason = ''): void {
    checkOptions('destroy', { code, reason }, CLOSE_OPTIONS);
    this.isLeaving = true;
    this.redial.end();
    for (const connection of [...this.left]) connection.destroy(code, reason);
    if (this.current === null) this.end(null);
    else this.current.destroy(code, reason);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Lets the process end, with a connection or without. */
  unref(): this {
    this.setReferenced(false);
    return this;
  }

  /** Undoes {@link unref}: it keeps the process alive, as it does by default. */
  ref(): this {
    this.setReferenced(true);
    return this;
  }

  // ---- a connection, from the beginning to the end ----

  private onConnection(connection: Connection): void {
    const { attempts, closesAt, current: previous } = this;
    this.adopt(connection);
    if (previous !== null) this.leave(previous, closesAt);
    for (const stream of this.streams) stream.reopen(connection);
    const undelivered = this.handBack();
    // First who knows what was lost, so that the order can be kept.
    const isResumed = connection.isResumed || connection.earlyData === 'pending';
    this.tell('reconnected', { isResumed, attempts, undelivered });
    for (const stream of this.streams) stream.goOn();
  }

  private adopt(connection: Connection): void {
    this.current = connection;
    this.phase = 'online';
    this.connections++;
    this.attempts = 0;
    this.cause = null;
    this.closesAt = NEVER;
    this.keepAlive();
    if (!this.isReferenced) connection.unref();
    const { networkType, appState } = this.device;
    if (networkType !== undefined) connection.setNetworkType(networkType);
    if (appState !== undefined) connection.setAppState(appState);
    connection.on('close', (error) => this.onEnded(connection, error));
    connection.on('ticket', (ticket) => this.keepTicket(connection.peerFingerprint, ticket));
    connection.on('goaway', (notice) => this.onGoAway(connection, notice));
    this.takeStreams(connection);
    this.watchAddress(connection);
  }

  /** Streams of the peer wait at their connection until somebody listens for them here. */
  protected override onListenerAdded(event: keyof ReconnectingEvents): void {
    if (event === 'stream' && this.current !== null) this.takeStreams(this.current);
  }

  private takeStreams(connection: Connection): void {
    if (this.takenFrom === connection || this.listenerCount('stream') === 0) return;
    this.takenFrom = connection;
    connection.on('stream', (stream) => void this.tell('stream', stream));
  }

  private onGoAway(connection: Connection, notice: GoAwayNotice): void {
    this.tell('goaway', notice);
    if (connection !== this.current || this.phase !== 'online' || this.isLeaving) return;
    const { clock } = this.surroundings;
    this.phase = 'moving';
    this.suggested = notice.url;
    this.closesAt = clock.now() + notice.withinMs * MILLISECOND;
    this.redial.beginWithin(notice.withinMs * MOVE_SHARE); // [CON-101] not all of them at once
  }

  /** A connection whose address is gone moves to another one, if it can; else it is as good as lost. [CON-110] */
  private watchAddress(connection: Connection): void {
    const { addresses } = this.surroundings;
    this.endWatch();
    if (addresses === null) return;
    let host = localHostOf(connection);
    let local = new LocalAddress(host, connection.remoteHost);
    let before: readonly string[] = [];
    this.endWatch = addresses.watch((found) => {
      if (localHostOf(connection) !== host) {
        host = localHostOf(connection); // it has moved by itself
        local = new LocalAddress(host, connection.remoteHost);
        local.onAddresses(before);
      }
      before = found;
      if (!local.onAddresses(found)) return;
      const moved = escapeOf(connection);
      if (moved === null) this.onStranded(connection);
      else moved.catch(() => this.onStranded(connection));
    });
  }

  /** Another connection is made from where this machine is now. [CON-110] */
  private onStranded(connection: Connection): void {
    if (connection !== this.current || this.phase !== 'online' || this.isLeaving) return;
    const { clock } = this.surroundings;
    this.phase = 'moving';
    this.closesAt = clock.now() + STRANDED_MS * MILLISECOND;
    this.onWait(0);
    this.redial.hurry();
  }

  /** There is another connection: what was begun on this one is finished, until its server closes. */
  private leave(connection: Connection, closesAt: Micros): void {
    const { clock } = this.surroundings;
    this.left.add(connection);
    const timeoutMs = Math.max(LEAVE_MS_MIN, (closesAt - clock.now()) / MILLISECOND);
    void connection.close({ timeoutMs }); // what it costs is told when it is over
  }

  private onEnded(connection: Connection, error: JspError | null): void {
    const lost = this.undeliveredOn(connection);
    if (this.left.delete(connection)) {
      this.undelivered = this.undelivered.concat(lost);
      if (this.isLeaving) return this.endIfLast();
      if (this.phase === 'offline') return; // told when there is another
      const messages = this.handBack();
      if (messages.length > 0) this.tell('undelivered', messages);
      return;
    }
    if (connection !== this.current) return;
    this.current = null;
    this.endWatch();
    this.undelivered = this.undelivered.concat(lost);
    this.endedBy = error;
    if (this.isLeaving) return this.endIfLast();
    this.phase = 'offline';
    this.cause = error;
    if (error !== null && this.isFinal(error)) return this.end(error);
    if (this.isLeaving) return; // it was closed by whoever was asked
    this.keepAlive();
    for (const stream of [...this.streams]) stream.lose(connection);
    this.redial.begin();
  }

  private onFailed(error: JspError): boolean {
    this.failedAttempts++;
    this.cause = error;
    // Where the server said to go is one way more; what is wrong with that is wrong with no other.
    const wasSuggested = this.suggested !== null;
    this.suggested = null;
    if (wasSuggested || this.phase === 'moving') return true; // moving there is a connection yet
    const { attemptsMax = Number.POSITIVE_INFINITY } = this.surroundings.reconnect;
    if (!this.isFinal(error) && this.attempts < attemptsMax) return true;
    this.end(error);
    return false;
  }

  private onWait(delayMs: number): void {
    const { cause } = this;
    this.tell('reconnecting', { attempt: ++this.attempts, delayMs, cause });
  }

  /** Where to go, in this order. */
  private servers(): readonly string[] {
    return this.suggested === null ? this.urls : [...new Set([this.suggested, ...this.urls])];
  }

  /** What the server at this URL gave, to be shown once. */
  private readonly ticketOf = (url: string): Uint8Array | undefined => {
    const { fingerprint } = parseServerUrl(url);
    const server = nameOf(fingerprint);
    const ticket = this.tickets.get(server);
    this.tickets.delete(server);
    return ticket;
  };

  private keepTicket(fingerprint: Uint8Array | null, ticket: Uint8Array): void {
    const server = nameOf(fingerprint);
    this.tickets.delete(server); // so that it is the youngest of the map
    this.tickets.set(server, ticket);
    const [oldest] = this.tickets.keys();
    if (this.tickets.size > TICKETS_MAX) this.tickets.delete(oldest);
    this.tell('ticket', ticket);
  }

  private isFinal(error: JspError): boolean {
    const { isFinal } = this.surroundings.reconnect;
    if (isFinalFailure(error) || isFinal === undefined) return isFinalFailure(error);
    try {
      return this.context.runInAsyncScope(isFinal, undefined, error) === true;
    } catch (thrown) {
      throwByItself(thrown); // [CON-30] whoever cannot say so has not said so
      return false;
    }
  }

  // ---- what was not delivered ----

  /** What the connection leaves behind. */
  private undeliveredOn(connection: Connection): Undelivered<Stream | ReopeningStream>[] {
    const lasting = [...this.streams];
    const owners = new Map<Stream, Stream | ReopeningStream>();
    return undeliveredOf(connection).map((message) => {
      const { stream } = message;
      const owner = owners.get(stream) ?? lasting.find((each) => each.isOn(stream)) ?? stream;
      owners.set(stream, owner);
      return { ...message, stream: owner };
    });
  }

  /** What there is, once; without what is worth nothing any more. */
  private handBack(): UndeliveredMessage[] {
    const now = this.surroundings.clock.now();
    const { undelivered } = this;
    this.undelivered = [];
    return undelivered
      .filter(({ deadline }) => deadline > now)
      .map(({ stream, data, deadline, mayHaveArrived }) => ({
        ...{ stream, label: stream.label, data, mayHaveArrived },
        lifetimeMs: deadline === NEVER ? undefined : (deadline - now) / MILLISECOND,
      }));
  }

  // ---- the end ----

  private async finish(options: CloseOptions): Promise<void> {
    checkOptions('close', options, CLOSE_OPTIONS);
    if (this.phase === 'closed') return;
    if (options.signal?.aborted) throw abortError(options.signal); // it stays as it is, as a `Connection` does
    this.isLeaving = true;
    this.redial.end();
    const { current } = this;
    if (current !== null) {
      for (const stream of this.streams) stream.goOn(); // what waits goes ahead of the end
      const isCut = this.hasHeld;
      await Promise.all([current, ...this.left].map((connection) => connection.close(options)));
      if (isCut) throw incompleteError('the connection closed', '');
      return;
    }
    const isIncomplete = this.undelivered.length > 0 || this.hasHeld;
    this.end(null);
    if (isIncomplete) throw incompleteError('the connection was lost, and closed', '');
  }

  private get hasHeld(): boolean {
    return [...this.streams].some((stream) => stream.hasHeld);
  }

  private endIfLast(): void {
    if (this.current === null && this.left.size === 0) this.end(this.endedBy);
  }

  private end(error: JspError | null): void {
    if (this.phase === 'closed') return;
    this.phase = 'closed';
    this.isLeaving = true;
    this.redial.end();
    clearInterval(this.keptAlive);
    for (const connection of this.left) connection.destroy(); // what that costs is handed back, too
    const now = this.surroundings.clock.now();
    for (const stream of this.streams) this.undelivered = this.undelivered.concat(stream.takeHeld(now));
    const undelivered = this.handBack();
    this.resolveClosed(error);
    for (const stream of [...this.streams]) stream.over(error);
    this.tell('close', error, undelivered);
  }

  // ---- inside ----

  private openLasting(options: StreamOptions): ReopeningStream {
    if (options.label === undefined || options.label === '') {
      throw new JspError(
        'ERR_JSP_OPTION_INVALID',
        'openStream: a stream with reopen needs a label, by which the other side knows it again',
      );
    }
    const { clock, streamDefaults } = this.surroundings;
    const stream = new ReopeningStream(options, streamDefaults, clock, this.context);
    if (this.current?.isOpen === true) {
      stream.reopen(this.current);
      stream.goOn();
    }
    this.streams.add(stream);
    stream.once('close', () => this.streams.delete(stream));
    return stream;
  }

  private setReferenced(isReferenced: boolean): void {
    this.isReferenced = isReferenced;
    this.keepAlive();
    if (isReferenced) this.current?.ref();
    else this.current?.unref();
  }

  /** Without a connection there is no socket that keeps the process alive, and the clock's timers do not. */
  private keepAlive(): void {
    clearInterval(this.keptAlive);
    const isAway = this.phase === 'offline' && this.isReferenced;
    this.keptAlive = isAway ? setInterval(() => {}, LONG_MS) : undefined;
  }
}

/** How a server is known. */
function nameOf(fingerprint: Uint8Array | null): string {
  return Buffer.from(fingerprint ?? []).toString('base64url');
}

/** A number in [0, 1). */
function fraction(random: RandomSource): number {
  const [a, b, c, d] = randomBytes(random, 4);
  return (a * 2 ** 24 + b * 2 ** 16 + c * 2 ** 8 + d) / 2 ** 32;
}

/** What the option `reconnect` may have. */
export const RECONNECT_OPTIONS: OptionTable<ReconnectOptions> = {
  attemptsMax: whole(1, Number.MAX_SAFE_INTEGER),
  backoffMinMs: number(0, Number.MAX_SAFE_INTEGER),
  backoffMaxMs: number(0, Number.MAX_SAFE_INTEGER),
  stableMs: number(0, Number.MAX_SAFE_INTEGER),
  isFinal: (value) => (typeof value === 'function' ? null : 'a function'),
};

/** Servers of which tickets are kept. */
const TICKETS_MAX = 16;
/** Of the time until the server closes: clients that are told to go spread over so much of it. */
const MOVE_SHARE = 1 / 2;
/** A connection that is left has so long at least for what is under way. */
const LEAVE_MS_MIN = 1_000;
/** A connection whose address is gone has so long for what may yet come of it. */
const STRANDED_MS = 2_000;
/** A timer that only keeps the process alive. */
const LONG_MS = 2 ** 30;
