/** A broker that listens: its options, how it starts, is told other ones, and ends. It is one file because all of it is one life. */

import { JspError } from '../base/errors.ts';
import {
  anObject,
  checkArgument,
  checkOptions,
  chosenOptions,
  number,
  type OptionTable,
  whole,
} from '../base/options.ts';
import { COMMAND_BYTES_MAX, ReasonCode, reasonCodeName } from '../pubsub/command.ts';
import type { MessageConnection } from '../pubsub/message-stream.ts';
import { type TelemetryApi, Tracing, telemetryOption } from '../pubsub/tracing.ts';
import { abortSignal, onAbort } from '../transport/abort.ts';
import { LISTEN_OPTIONS, type ListenerMetrics, type ListenOptions } from '../transport/listen.ts';
import { IsolatedEmitter } from '../transport/listeners.ts';
import { laidOver, withProfile } from '../transport/options.ts';
import { isPinnedUrl } from '../transport/url.ts';
import { WORKERS_MAX } from '../transport/workers/options.ts';
import type { WorkerEvent } from '../transport/workers/workers-listener.ts';
import { systemClock } from '../udp/clock.ts';
import { AuthInUse } from './auth/auth-in-use.ts';
import { Authenticator } from './auth/authenticator.ts';
import type { AuthOptions } from './auth/options.ts';
import type { Backplane, BackplaneMetrics } from './backplane/backplane.ts';
import { openBackplane } from './backplane/open-backplane.ts';
import type { BackplaneOptions } from './backplane/options.ts';
import type { DurableMetrics } from './core/durable/consumers.ts';
import type { AdminRequest, BrokerMetrics } from './core/output.ts';
import { BROKER_LIMITS, type BrokerLimits } from './core/state.ts';
import { AppendFault, type LogOptions, type StoreFailure } from './core/store-port.ts';
import { type NativeDoor, openDoor, type WorkerFigures } from './native-door.ts';
import type { Happening } from './operations/event-log.ts';
import { Operations, programVersion } from './operations/operations.ts';
import type { EventRecord } from './operations/snapshot.ts';
import { BrokerService } from './service.ts';
import type { StoreMetrics } from './store/disk-store.ts';
import type { StoreFinding } from './store/findings.ts';
import type { RecoveryReport } from './store/open-store.ts';
import { type BrokerStore, openBrokerStore, type StoreOptions } from './store/options.ts';
import { openWorkersDoor } from './workers/workers-door.ts';

export interface BrokerOptions extends ListenOptions, BrokerLimits {
  /** Where messages of QoS 1, sessions, cursors and last values are kept. Default: in memory, for as long as the process lives. */
  store?: StoreOptions | undefined;
  /** Logs beside the one named `default`, which takes what no other does; or that one, to give it bounds. */
  logs?: readonly LogOptions[] | undefined;
  /** What makes this broker one with others: a node of a cluster, which keeps there what it would keep in its `store`, and does not open that. Default: it is alone. */
  backplane?: BackplaneOptions | undefined;
  /** Who may connect, and what they may do. Default: whoever knows the URL may do everything. */
  auth?: AuthOptions | undefined;
  /**
   * Threads that clients' connections are in, each with a socket of its own at the broker's address, 1 to 256, or `auto`, as many as the machine has cores; what
   * it costs to encrypt and send is theirs, and what the broker decides stays in one. Default 0: all of it is in this thread. See `docs/operations.md`.
   */
  workers?: number | 'auto' | undefined;
  /** The module `@opentelemetry/api`: messages with a trace context become spans. Default: none. */
  telemetry?: TelemetryApi | undefined;
}

export interface BrokerCloseOptions {
  /** Closes all the same after so long, in ms; default 5,000. A later call can only shorten it. */
  drainMs?: number | undefined;
  /** URLs of other brokers, at most 16, which clients are told to go to. [CFG-6] Default: the other nodes of its cluster [CLU-13]; a broker that is alone they come back to. */
  handOverTo?: readonly string[] | undefined;
  /** Closes at once when it fires. */
  signal?: AbortSignal | undefined;
}

/** What a running broker can be told anew. What is not given stays as it is. */
export interface BrokerReloadOptions extends Omit<BrokerLimits, 'routesMax'> {
  /** Who may connect, and what they may do, of those who are connected, too; files that it names are read again. A broker that asks who clients are cannot be told not to. */
  auth?: AuthOptions | undefined;
}

/** A reload of which nothing can fail any more. */
export interface PreparedReload {
  /** From now on the broker goes by it; `detail` is told with the event. */
  use(detail?: string): void;
  /** It is not wanted after all. */
  drop(): void;
}

interface BrokerEvents {
  /** The socket failed for good (`ERR_JSP_SOCKET`), or with `store.onFailure: 'close'` the store (`ERR_JSP_STORE_FAILED`): all clients are gone, and `close` follows. Not thrown when nobody listens for it. */
  error: [error: JspError];
  /** The broker is over, for whatever reason; {@link Broker.closed} says which. */
  close: [];
  /** A fault of the broker itself: while it acted for one client, whose connection has failed with INTERNAL_ERROR [BRK-40], or at something that came from another node, which is left out [CLU-14]. */
  fault: [error: unknown];
  /** A log (null: the state) takes nothing more: the disk is full, from which it comes back by itself, or has failed. */
  storeFailed: [log: string | null, failure: StoreFailure];
  /** Something that was stored cannot be read any more. */
  storeDamaged: [finding: StoreFinding];
  /** The keys of an issuer of tokens cannot be had from their URL, and why; null: they can again. Meanwhile those count that came last. */
  keysUnavailable: [url: string, reason: string | null];
  /** What is wrong with the engine that makes this broker one with others, a sentence; null: nothing any more. */
  backplaneTrouble: [trouble: string | null];
  /** One of the broker's workers has ended, with the connections that it had, and another takes its place; or does not turn. [BRK-136] */
  worker: [event: WorkerEvent];
  /** Something that operators want a trace of, as on `$sys/events`: who came in, who was refused what, and what was done to whom. At most 200 a second, and of one kind at most half of them. */
  event: [event: EventRecord];
}

/**
 * Starts a broker. Resolves when clients can connect, and its store, where it has one, is recovered.
 *
 * @throws {JspError} as `listen` of the transport does; ERR_JSP_STORE_IN_USE when another process has the store; ERR_JSP_STORE_DIRECTORY when the system does not let it be opened
 * @throws {JspError} ERR_JSP_OPTION_INVALID for what cannot be meant, in the files that `auth` names, too
 * @throws {StoreDamagedError} (ERR_JSP_STORE_DAMAGED) when something that was stored is damaged, and `store.onCorruption` does not say `quarantine`
 */
export async function startBroker(options: BrokerOptions): Promise<Broker> {
  checkOptions('startBroker', options, BROKER_OPTIONS);
  checkArgument('startBroker', 'backplane.advertise', options.backplane?.advertise ?? [], pinnedUrls);
  const defaults = {
    streamsMax: STREAMS_MAX,
    messageBytesMax: COMMAND_BYTES_MAX,
    host: '127.0.0.1', // [BRK-36] unless it is told, this machine only
  };
  const chosen: ListenOptions = chosenOptions<ListenOptions>(options, LISTEN_OPTIONS);
  // Before anything else is begun, for it is what fails by a typing mistake.
  const { auth, clock } = options;
  const authenticator = auth === undefined ? null : await Authenticator.open(auth, { clock });
  let store: BrokerStore | null = null;
  let backplane: Backplane | null = null;
  try {
    const { logs = [] } = options;
    backplane = await openBackplane(options.backplane, {
      clock: clock ?? systemClock,
      wallMs: Date.now,
      logs,
      version: programVersion(),
    });
    store = await openBrokerStore(backplane?.store ? undefined : options.store, options.logs);
    const listens = laidOver(defaults, withProfile(chosen));
    const door = options.workers ? await openWorkersDoor(listens, options.workers) : await openDoor(listens);
    return brokerOn(door, options, { store, backplane, authenticator });
  } catch (error) {
    authenticator?.close();
    await store?.close();
    await backplane?.close();
    throw error;
  }
}

/** What a broker stands on, opened. */
interface BrokerParts {
  readonly store: BrokerStore;
  /** Null: it is alone. */
  readonly backplane: Backplane | null;
  readonly authenticator: Authenticator | null;
}

/** The constructor of {@link Broker}, which is nobody else's. */
let brokerOn: (door: NativeDoor, options: BrokerOptions, parts: BrokerParts) => Broker;

/**
 * A broker that listens. Unless the option `auth` says who may do what, whoever knows its URL may publish and subscribe.
 *
 * Ends by {@link close}, by the `signal` of its options, or by a socket that fails for good. [BRK-37]
 *
 * @example
 * await using broker = await startBroker({ identity: generateIdentity(), port: 0 });
 * console.log(broker.url);
 */
export class Broker extends IsolatedEmitter<BrokerEvents> {
  /** What clients connect to: `jsp://<fingerprint>@host:port`. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Resolves when the broker is over: with the error of a socket or a store that failed for good (`ERR_JSP_SOCKET`, `ERR_JSP_STORE_FAILED`), else with null. */
  readonly closed: Promise<JspError | null>;
  /** What the store was when the broker started; null: it is in memory. */
  readonly recovery: RecoveryReport | null;
  /** What those who run it have of it: figures, events, whether it is ready. */
  readonly operations: Operations;
  private readonly door: NativeDoor;
  private readonly service: BrokerService;
  private readonly store: BrokerStore;
  private readonly backplane: Backplane | null;
  /** Connections that did not come by the listener. */
  private readonly guests = new Set<MessageConnection>();
  private readonly auth: AuthInUse;
  private storeClosed: Promise<void> | null = null;
  private closing: Promise<void> | null = null;
  /** When a close that is under way ends at the latest. */
  private closesAt = Number.POSITIVE_INFINITY;
  private doorCloses = false;
  private failure: JspError | null = null;
  private over = false;
  private resolveClosed: (error: JspError | null) => void = () => {};

  static {
    brokerOn = (door, options, parts) => new Broker(door, options, parts);
  }

  private constructor(door: NativeDoor, options: BrokerOptions, parts: BrokerParts) {
    super();
    const { store, backplane, authenticator } = parts;
    this.closed = new Promise((resolve) => {
      this.resolveClosed = resolve;
    });
    this.door = door;
    this.url = door.url;
    this.host = door.host;
    this.port = door.port;
    this.service = new BrokerService(options, {
      clock: options.clock,
      onFault: (error) => this.onFault(error),
      store: backplane?.store ?? store.port,
      backplane: backplane?.port,
      onAudit: (record) => this.note(record),
      administer: (request) => this.administer(request),
      onReadAccess: () => void this.readAccess(),
      tracing: options.telemetry === undefined ? null : new Tracing(options.telemetry),
    });
    this.auth = new AuthInUse(this.service, { clock: options.clock });
    this.auth.onTrouble = (url, reason) => this.tell('keysUnavailable', url, reason);
    this.auth.begin(authenticator, options.auth);
    this.store = store;
    this.backplane = backplane;
    if (backplane !== null) this.join(backplane, options.backplane?.advertise);
    this.recovery = store.recovery;
    this.operations = this.operate(options);
    if (store.disk !== null) {
      store.disk.listener = {
        onNews: () => this.service.hear(),
        onFinding: (finding) => this.onFinding(finding),
        onFailure: (log, failure) => this.onStoreFailure(log, failure, options.store?.onFailure === 'close'),
      };
      if (store.disk.hasNews) this.service.hear();
    }
    this.open();
  }

  /** From now on clients come in. */
  private open(): void {
    this.door.owner = {
      onConnection: (connection, facts) => this.service.serve(connection, facts),
      onRefused: ({ identity, address, cause, error }) => {
        const why = error === undefined ? cause : `${cause}: ${(error as Error).message}`;
        this.note({ what: 'notLetIn', principal: identity ?? '', address, door: 'native', detail: why });
      },
      onAuthorizedKeys: (error) =>
        this.note(
          error === null
            ? { what: 'authorizedKeys', detail: 'read again' }
            : { what: 'authorizedKeysFailed', detail: `the list stays what it was: ${error.message}` },
        ),
      onFault: (error) => this.onFault(error),
      onWorker: (event) => this.onWorker(event),
      onError: (error) => this.fail(error),
      onClose: () => this.finish(),
    };
  }

  /**
   * Serves a client that has come by another way than the transport, until its connection closes, or the broker does: a gateway's, whose `facts` say who it is. What the
   * client may do is what its HELLO proves, as with any other.
   */
  serve(connection: MessageConnection): void {
    this.guests.add(connection);
    connection.on('close', () => this.guests.delete(connection));
    this.service.serve(connection);
  }

  /** Names of the logs that have what a filter matches, the default one last: a subscription of QoS 1 reads one of them. [BRK-132] */
  logsOf(filter: string): string[] {
    return this.service.inspect((inspection) => inspection.logsOf(filter));
  }

  /**
   * What a door that serves its clients here remembers of the session of this name, which is connected through it, beyond what the broker does; null: nothing. It outlives the
   * broker's end, and goes with the session to other brokers of a cluster. [BRK-130]
   */
  sessionNote(session: string): Uint8Array | null {
    return this.service.inspect((inspection) => inspection.noteOf(session));
  }

  /** Takes such a note of at most 64 KiB in the place of the one before; an empty one takes it away. True when it is safe, false when there is no such session, or no room. */
  setSessionNote(session: string, note: Uint8Array): Promise<boolean> {
    return new Promise((resolve) => {
      this.service.inspect((inspection) => inspection.setNote(session, note, resolve));
    });
  }

  metrics(): BrokerMetrics & {
    transport: ListenerMetrics;
    store: StoreMetrics | null;
    backplane: BackplaneMetrics | null;
    /** Null: it has none. */
    workers: readonly WorkerFigures[] | null;
  } {
    const { store, backplane } = this;
    return {
      transport: this.door.metrics(),
      store: store.disk?.metrics() ?? null,
      backplane: backplane?.metrics() ?? null,
      workers: this.door.workers,
      ...this.service.metrics(),
    };
  }

  /** Durable subscriptions and shared groups, whether anybody holds them or not: how far each is, and what of that is not settled. */
  durables(): DurableMetrics[] {
    return this.service.durables();
  }

  /**
   * Goes by other options from now on: all of them, or none. Nothing is taken from those who have more than new limits allow: a subscription keeps the bounds of
   * its queue, a client those of its connection. [CFG-5]
   *
   * @throws {JspError} ERR_JSP_OPTION_INVALID: all is as it was
   */
  async reload(options: BrokerReloadOptions): Promise<void> {
    (await this.prepareReload(options)).use();
  }

  /**
   * Looks at everything of a reload, and changes nothing: for who reloads something else with it, so that both happen, or neither.
   *
   * @throws {JspError} ERR_JSP_OPTION_INVALID
   */
  async prepareReload(options: BrokerReloadOptions): Promise<PreparedReload> {
    checkOptions('Broker.reload', options, RELOAD_OPTIONS);
    const { auth, ...limits } = options;
    const prepared = auth === undefined ? null : await this.auth.prepare(auth);
    return {
      use: (detail = '') => {
        this.service.changeLimits(limits);
        prepared?.use();
        if (prepared !== null) this.service.inspect((inspection) => inspection.tellAccessRead());
        this.note({ what: 'reload', detail });
      },
      drop: () => prepared?.drop(),
    };
  }

  /**
   * Reads no more publishers, delivers what is queued, tells the clients, and closes. [BRK-35] Resolves when they can be expected to have heard
   * of it. Also of use after a failure, which {@link closed} tells, not this.
   */
  close(options: BrokerCloseOptions = {}): Promise<void> {
    checkOptions('Broker.close', options, CLOSE_OPTIONS);
    const drainMs = options.signal?.aborted ? 0 : (options.drainMs ?? DRAIN_MS);
    const closesAt = performance.now() + drainMs;
    if (closesAt < this.closesAt) this.shorten(drainMs, closesAt, options.handOverTo);
    this.closing ??= this.drainAndClose();
    const forget = onAbort(options.signal, () => this.shorten(0, performance.now()));
    return this.closing.finally(forget);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /**
   * Ends the thread of a worker at once, as one that is stuck may have to be; another takes its place. The clients that it had come back by themselves, and nothing is
   * lost that was acknowledged. Resolves when the thread has ended. [BRK-136]
   *
   * @param worker - its number; where there is no such worker, nothing is done
   */
  async restartWorker(worker: number): Promise<void> {
    await this.door.restartWorker(worker);
  }

  /** Keeps the process alive, as it does from the start. */
  ref(): this {
    this.door.ref();
    return this;
  }

  /** Lets the process end although the broker listens. */
  unref(): this {
    this.door.unref();
    return this;
  }

  private operate({ clock = systemClock, auth }: BrokerOptions): Operations {
    const { service, store, url, recovery } = this;
    return new Operations({
      ...{ clock, wallMs: Date.now, url, recovery },
      isDraining: () => this.closesAt !== Number.POSITIVE_INFINITY,
      authenticates: auth !== undefined,
      backplane: this.backplane,
      metrics: () => service.metrics(),
      storeMetrics: () => store.disk?.metrics() ?? null,
      kick: (client, by, reason) =>
        service.inspect(({ administration }) => administration.kick(client, by, reason)),
      kickElsewhere: (session, by, reason) =>
        new Promise((resolve) => {
          service.inspect((inspection) => inspection.kickElsewhere(session, by, reason, resolve));
        }),
      inspect: (look) => service.inspect(look),
      timeMessages: (oneOf) => service.timeMessages(oneOf),
      onEvent: (event) => this.tell('event', event),
    });
  }

  private shorten(drainMs: number, closesAt: number, handOverTo = this.otherUrls()): void {
    const isFirst = this.closesAt === Number.POSITIVE_INFINITY;
    this.closesAt = closesAt;
    if (isFirst) this.backplane?.announce();
    if (isFirst) this.note({ what: 'draining', detail: `for ${Math.round(drainMs)} ms at most` });
    // [BRK-35] Whoever speaks another protocol, or comes now, is told by the transport; clients also by a NOTICE.
    if (isFirst && drainMs > 0 && this.failure === null)
      this.door.announceEnd({
        url: handOverTo?.[0],
        withinMs: Math.min(drainMs, DRAIN_ANNOUNCED_MS_MAX),
      });
    void this.service.drain(drainMs, handOverTo);
    if (this.doorCloses) this.closeDoor().catch(() => {}); // the first call has the outcome
  }

  /** Where clients may go: to the other nodes of the cluster, first to those that have the fewest. [CLU-13] */
  private otherUrls(): readonly string[] | undefined {
    const { backplane } = this;
    if (backplane === null) return undefined;
    const others = backplane.members.filter(
      ({ node, draining, urls }) => node !== backplane.port.node && !draining && urls.length > 0,
    );
    const urls = others.sort((a, b) => a.clients - b.clients).map((each) => each.urls[0]);
    return urls.filter((url) => isPinnedUrl(url)).slice(0, HAND_OVERS_MAX);
  }

  private async drainAndClose(): Promise<void> {
    await this.service.drain(Math.max(0, this.closesAt - performance.now()));
    this.doorCloses = true;
    try {
      await this.closeDoor();
    } catch (error) {
      if (this.failure === null) throw error; // a failed socket was told of already
    } finally {
      await this.closeStore();
    }
  }

  /** Once nobody can reach the broker any more. What cannot be written then was told of before. */
  private closeStore(): Promise<void> {
    this.storeClosed ??= Promise.all([this.store.close(), this.backplane?.close()]).then(ignore, ignore);
    return this.storeClosed;
  }

  /** Something has happened; before there are operations, nobody could ask for it. */
  private note(happening: Happening): void {
    (this.operations as Operations | undefined)?.note(happening);
  }

  private async administer({ verb, payload, principal, address }: AdminRequest) {
    const asker = { principal: principal?.name ?? '', address };
    const { status, body } = await this.operations.request(verb, payload, asker);
    return { status, payload: Buffer.from(JSON.stringify(body)) };
  }

  /** From now on this broker is a node of its cluster. */
  private join(backplane: Backplane, advertised: readonly string[] = [this.url]): void {
    backplane.onNews = () => this.service.hear();
    backplane.describe = () => ({
      urls: advertised,
      ...figuresOf(this.service.metrics()),
      draining: this.closesAt !== Number.POSITIVE_INFINITY,
    });
    backplane.onTrouble = (trouble, failure) => {
      this.note({ what: 'backplane', detail: trouble ?? 'in order again' });
      this.tell('backplaneTrouble', trouble);
      if (failure instanceof JspError && this.failure === null) this.fail(failure);
    };
    backplane.onFault = (error) => this.onFault(error);
    this.service.hear(); // what has come before
  }

  /** As another node of the cluster has. [CLU-53] */
  private async readAccess(): Promise<void> {
    try {
      await this.auth.readAnew();
      this.note({ what: 'reload', detail: 'as another broker of the cluster: who may do what' });
    } catch (error) {
      const detail = `as another broker of the cluster: all stays as it was: ${(error as Error).message}`;
      this.note({ what: 'reloadFailed', detail });
    }
  }

  private onFault(error: unknown): void {
    this.note({
      what: 'fault',
      detail: error instanceof Error ? `${error.name}: ${error.message}` : String(error),
    });
    this.tell('fault', error);
  }

  private onWorker(event: WorkerEvent): void {
    const { worker, state, error, restartsInMs } = event;
    const why = error === null ? '' : `: ${error.message}; another is started in ${restartsInMs} ms`;
    this.note({ what: 'worker', detail: `worker ${worker} ${WORKER_STATES[state]}${why}` });
    this.tell('worker', event);
  }

  private onFinding(finding: StoreFinding): void {
    this.note({ what: 'storeDamaged', detail: finding.message });
    this.tell('storeDamaged', finding);
  }

  /** What could not be stored was refused by the core; whether that ends the broker is its owner's choice. */
  private onStoreFailure(log: string | null, failure: StoreFailure, closes: boolean): void {
    this.note({ what: 'storeFailed', detail: `${log ?? 'the state'}: ${failure.message}` });
    this.tell('storeFailed', log, failure);
    if (closes && failure.fault === AppendFault.FAILED && this.failure === null) {
      this.fail(new JspError('ERR_JSP_STORE_FAILED', failure.message, { cause: failure.cause }));
    }
  }

  private closeDoor(): Promise<void> {
    const code = ReasonCode.SHUTTING_DOWN;
    this.closeGuests();
    const timeoutMs = Math.max(0, this.closesAt - performance.now());
    return this.door.close({ code, reason: reasonCodeName(code), timeoutMs });
  }

  private closeGuests(): void {
    const code = ReasonCode.SHUTTING_DOWN;
    for (const guest of [...this.guests]) guest.destroy(code, reasonCodeName(code));
  }

  private fail(error: JspError): void {
    this.note({ what: 'failed', detail: error.message });
    this.failure = error;
    this.closeGuests();
    this.door.close().catch(() => this.finish()); // a failed socket may not even close
    this.tell('error', error);
  }

  private finish(): void {
    if (this.over) return;
    this.over = true;
    this.operations.close();
    this.auth.close();
    void this.closeStore().then(() => {
      this.resolveClosed(this.failure);
      this.tell('close');
    });
  }
}

/** What a node says of itself. */
function figuresOf({ clients, sessions, cluster }: BrokerMetrics) {
  return { clients, sessions, claims: cluster?.claims ?? 0 };
}

function ignore(): void {}

function pinnedUrls(value: unknown): string | null {
  const isRight = Array.isArray(value) && value.length <= HAND_OVERS_MAX && value.every(isPinnedUrl);
  return isRight ? null : `a list of at most ${HAND_OVERS_MAX} URLs with the fingerprints of their brokers`;
}

/** Streams a client may have open at once: one for each filter it may hold, and some. */
const STREAMS_MAX = 1_040;
const DRAIN_MS = 5_000;
/** A drain that lasts longer is told to last so long. */
const DRAIN_ANNOUNCED_MS_MAX = 24 * 3_600_000;
const HAND_OVERS_MAX = 16;
const WORKERS = whole(0, WORKERS_MAX);
const { routesMax: _, ...RELOADABLE } = BROKER_LIMITS;
const RELOAD_OPTIONS: OptionTable<BrokerReloadOptions> = { ...RELOADABLE, auth: anObject };
const BROKER_OPTIONS: OptionTable<BrokerOptions> = {
  ...LISTEN_OPTIONS,
  ...BROKER_LIMITS,
  store: anObject,
  logs: anObject,
  backplane: anObject,
  auth: anObject,
  workers: (value) =>
    value === 'auto' || WORKERS(value) === null ? null : `auto, or a whole number from 0 to ${WORKERS_MAX}`,
  telemetry: telemetryOption,
};
const WORKER_STATES = {
  ended: 'has ended',
  started: 'is there again',
  stuck: 'does not turn',
  turning: 'turns again',
};
const CLOSE_OPTIONS: OptionTable<BrokerCloseOptions> = {
  drainMs: number(0, Number.POSITIVE_INFINITY),
  handOverTo: pinnedUrls,
  signal: abortSignal,
};
