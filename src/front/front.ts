/** A front on its sockets: one for clients, and one for each server, which is connected to it. */

import { AsyncResource } from 'node:async_hooks';
import { JspError } from '../base/errors.ts';
import { isWildcard } from '../base/ip-address.ts';
import { checkOptions } from '../base/options.ts';
import { MILLISECOND, type Micros } from '../base/time.ts';
import {
  ENVELOPE_BYTES,
  envelopeHour,
  FrontEnvelopes,
  FrontKind,
  type ReceiveBatch,
} from '../protocol/datagram/index.ts';
import { abortError, onAbort } from '../transport/abort.ts';
import { secretsOf } from '../transport/behind-front.ts';
import { IsolatedEmitter } from '../transport/listeners.ts';
import { systemRandom } from '../transport/system-crypto.ts';
import {
  DEFAULT_PORT,
  formatServerUrl,
  parseAdvertised,
  parseServerUrl,
  type ServerUrl,
} from '../transport/url.ts';
import { reachableAddress } from '../udp/addresses.ts';
import { bindServerSocket } from '../udp/bind-socket.ts';
import { type Clock, systemClock, type TimerHandle, unixMs } from '../udp/clock.ts';
import { type DatagramSocket, type SocketMetrics, socketMetrics } from '../udp/datagram-socket.ts';
import { Presence } from './health.ts';
import { FRONT_OPTIONS, type FrontOptions } from './options.ts';
import { Outgoing } from './outgoing.ts';
import { Routing, type RoutingDrops } from './routing.ts';
import { Upstream } from './upstream.ts';

/** A server, as a front sees it. */
export interface FrontServer {
  readonly url: string;
  readonly presence: Presence;
  /** Six hexadecimal digits; null until it answered. */
  readonly serverId: string | null;
  /** Connections that it has, of clients that come directly, too, by its last report. */
  readonly connections: number;
  /** Of the last probe that was answered; null before. */
  readonly rttMs: number | null;
  /** Datagrams of clients that were passed on to it. */
  readonly datagrams: number;
  /** Why there is no way to it, such as a name that means nothing; null where there is one. */
  readonly fault: string | null;
}

export interface FrontMetrics {
  /** Clients that are kept in mind. */
  readonly clients: number;
  /** Datagrams and bytes of clients that were passed on. */
  readonly datagramsToServers: number;
  readonly bytesToServers: number;
  /** The same of servers. */
  readonly datagramsToClients: number;
  readonly bytesToClients: number;
  readonly dropped: Readonly<RoutingDrops> & {
    /** The system did not take them in time, or they are larger than a datagram may be. */
    readonly congested: number;
  };
  readonly servers: readonly FrontServer[];
  /** Of the socket that clients come to. */
  readonly socket: SocketMetrics;
}

interface FrontEvents {
  /** A server stands otherwise than before. */
  server: [server: FrontServer];
  /** The socket for clients failed for good; `close` follows. */
  error: [error: JspError];
  close: [];
}

/** The constructor of {@link Front}, which is nobody else's. */
let frontOn: (socket: DatagramSocket, options: FrontOptions, url: string) => Front;

export class Front extends IsolatedEmitter<FrontEvents> {
  /** `jsp://<fingerprint of the servers>@host:port`: what clients connect to. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  private readonly socket: DatagramSocket;
  private readonly clock: Clock;
  private readonly routing: Routing;
  private readonly envelopes: FrontEnvelopes;
  private readonly toClients: Outgoing;
  private readonly upstreams: readonly Upstream[];
  private readonly probeEvery: Micros;
  private timer: TimerHandle | null = null;
  private counts = { datagramsToServers: 0, bytesToServers: 0, datagramsToClients: 0, bytesToClients: 0 };
  private closing: Promise<void> | null = null;
  /** Called when all servers have answered. */
  private onAllAnswered: (() => void) | null = null;

  static {
    frontOn = (socket, options, url) => new Front(socket, options, url);
  }

  private constructor(socket: DatagramSocket, options: FrontOptions, url: string) {
    super(new AsyncResource('JSP'));
    const { servers, clock = systemClock, connectSocket, random = systemRandom } = options;
    const secrets = secretsOf(options);
    this.url = url;
    this.host = socket.localHost;
    this.port = socket.localPort;
    this.socket = socket;
    this.clock = clock;
    this.routing = new Routing({
      secrets,
      random,
      servers: servers.length,
      missesMax: options.probeMisses ?? PROBE_MISSES,
      clientsMax: options.clientsMax ?? CLIENTS_MAX,
      idle: (options.idleMs ?? IDLE_MS) * MILLISECOND,
    });
    this.envelopes = new FrontEnvelopes('front', secrets);
    this.probeEvery = (options.probeMs ?? PROBE_MS) * MILLISECOND;
    this.toClients = new Outgoing(socket);
    this.upstreams = servers.map(
      (server, i) =>
        new Upstream(server, connectSocket ?? null, {
          onBatch: (batch) => this.fromServer(i, batch),
          onRefused: () => this.onRefused(i),
          receiveBufferBytes: options.receiveBufferBytes,
          sendBufferBytes: options.sendBufferBytes,
        }),
    );
    socket.onBatch = (batch) => this.fromClients(batch);
    socket.onError = (error, fatal) => {
      if (fatal) this.fail(error);
    };
  }

  /** What it did, and how its servers are. */
  metrics(): FrontMetrics {
    const { routing, toClients, upstreams } = this;
    const congested = upstreams.reduce((sum, { dropped }) => sum + dropped, toClients.dropped);
    return {
      clients: routing.clients.size,
      ...this.counts,
      dropped: { ...routing.dropped, congested },
      servers: upstreams.map((_, i) => this.serverAt(i)),
      socket: socketMetrics(this.socket),
    };
  }

  /** Passes nothing on any more. Connections live on as far as another front takes their packets. */
  close(): Promise<void> {
    this.closing ??= this.closeAll();
    return this.closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Asks the servers how they are. Resolves when all have answered, or have had the time to. */
  async begin(): Promise<void> {
    const { clock } = this;
    await Promise.all(this.upstreams.map((upstream) => upstream.open(clock.now())));
    if (this.closing !== null) return;
    this.look();
    await new Promise<void>((resolve) => {
      const timer = clock.setTimer(clock.now() + this.probeEvery, resolve);
      this.onAllAnswered = () => {
        clock.clearTimer(timer);
        resolve();
      };
    });
    this.onAllAnswered = null;
  }

  // ---- packets ----

  private fromClients(batch: ReceiveBatch): void {
    const { counts, envelopes, routing, upstreams } = this;
    const now = this.clock.now();
    const hour = envelopeHour(unixMs(this.clock));
    for (let i = 0; i < batch.count; i++) {
      const data = batch.data[i];
      const host = batch.host[i];
      const port = batch.port[i];
      const to = routing.route(data, host, port, batch.local[i], now);
      if (to < 0) continue;
      const header = envelopes.headerFor(host, port, hour);
      if (header === null) {
        routing.dropped.malformed++;
        continue;
      }
      upstreams[to].push(header, data);
      counts.datagramsToServers++;
      counts.bytesToServers += data.length;
    }
    for (const upstream of upstreams) upstream.flush();
  }

  private fromServer(index: number, batch: ReceiveBatch): void {
    const { counts, envelopes, routing, toClients } = this;
    const now = this.clock.now();
    const hour = envelopeHour(unixMs(this.clock));
    for (let i = 0; i < batch.count; i++) {
      const data = batch.data[i];
      if (data.length > 0 && data[0] === FrontKind.REPORT) {
        this.onReport(index, data, now);
        continue;
      }
      const client = envelopes.addressIn(data, hour);
      if (client === null) {
        routing.dropped.unauthentic++;
        continue;
      }
      const { host, port } = client;
      const local = routing.clients.localOf(host, port, now);
      toClients.push(null, data.subarray(ENVELOPE_BYTES), host, port, local);
      counts.datagramsToClients++;
      counts.bytesToClients += data.length - ENVELOPE_BYTES;
    }
    toClients.flush();
  }

  // ---- servers ----

  private onReport(index: number, data: Uint8Array, now: Micros): void {
    this.changing(index, () => this.routing.onReport(index, data, now));
    if (this.routing.servers.every(({ presence }) => presence !== Presence.UNKNOWN)) this.onAllAnswered?.();
  }

  private onRefused(index: number): void {
    this.changing(index, () => this.routing.servers[index].onRefused());
  }

  /** Probes all servers, forgets silent clients, and comes again. */
  private look(): void {
    if (this.closing !== null) return;
    const now = this.clock.now();
    for (const [i, upstream] of this.upstreams.entries()) {
      const probe = this.changing(i, () => this.routing.probe(i, now));
      if (this.routing.servers[i].presence === Presence.GONE) upstream.renew(now);
      upstream.push(null, probe);
      upstream.flush();
    }
    this.routing.clients.expire(now);
    this.timer = this.clock.setTimer(now + this.probeEvery, () => this.look());
  }

  /** Tells how a server stands when that has changed. */
  private changing<T>(index: number, change: () => T): T {
    const server = this.routing.servers[index];
    const before = server.presence;
    const result = change();
    if (server.presence !== before) this.tell('server', this.serverAt(index));
    return result;
  }

  private serverAt(index: number): FrontServer {
    const { connections, presence, rttMs, serverId } = this.routing.servers[index];
    const { datagrams, fault, url } = this.upstreams[index];
    return {
      url,
      presence,
      serverId: serverId < 0 ? null : serverId.toString(16).padStart(6, '0'),
      connections,
      rttMs,
      datagrams,
      fault,
    };
  }

  // ---- the end ----

  private fail(cause: Error): void {
    const error = new JspError('ERR_JSP_SOCKET', `the socket failed: ${cause.message}`, { cause });
    this.close().catch(() => {});
    this.tell('error', error);
  }

  private async closeAll(): Promise<void> {
    if (this.timer !== null) this.clock.clearTimer(this.timer);
    this.onAllAnswered?.(); // nobody waits for them any more
    await Promise.all([this.socket.close(), ...this.upstreams.map((upstream) => upstream.close())]);
    this.tell('close');
  }
}

/**
 * Starts a front. Resolves when its servers have answered, or have had the time to.
 *
 * @throws JspError ERR_JSP_OPTION_INVALID, also for servers of different identities; ERR_JSP_URL_INVALID; ERR_JSP_SOCKET when the address cannot be bound; ERR_JSP_ABORTED
 */
export async function startFront(options: FrontOptions): Promise<Front> {
  checkOptions('startFront', options, FRONT_OPTIONS);
  for (const name of ['servers', 'secret'] as const)
    if (options[name] === undefined)
      throw new JspError('ERR_JSP_OPTION_INVALID', `startFront: ${name} is missing`);
  const { signal } = options;
  if (signal?.aborted) throw abortError(signal);
  const servers = options.servers.map((server) => parseServerUrl(server));
  const { fingerprint, isHybrid } = identityOf(servers);
  const advertised = options.advertise === undefined ? null : parseAdvertised(options.advertise);
  const socket =
    options.socket ??
    (await bindServerSocket({
      host: options.host ?? '127.0.0.1',
      port: options.port ?? DEFAULT_PORT,
      receiveBufferBytes: options.receiveBufferBytes,
      sendBufferBytes: options.sendBufferBytes,
    }));
  let front: Front;
  try {
    const { localHost, localPort } = socket;
    const host = advertised?.host ?? (isWildcard(localHost) ? await reachableAddress(localHost) : localHost);
    if (signal?.aborted) throw abortError(signal);
    const url = formatServerUrl(fingerprint, host, advertised?.port ?? localPort, isHybrid);
    front = frontOn(socket, options, url);
  } catch (error) {
    await socket.close();
    throw error;
  }
  front.once(
    'close',
    onAbort(signal, () => void front.close()),
  );
  await front.begin();
  if (signal?.aborted) {
    await front.close();
    throw abortError(signal);
  }
  return front;
}

/** Whom clients are to find behind the front. */
function identityOf(servers: readonly ServerUrl[]): { fingerprint: Uint8Array; isHybrid: boolean } {
  const texts = servers.map(({ fingerprint }) => Buffer.from(fingerprint ?? []).toString('base64url'));
  const other = texts.findIndex((text) => text !== texts[0]);
  if (other > 0)
    throw new JspError(
      'ERR_JSP_OPTION_INVALID',
      `servers behind one front have one identity, for clients know them by it: that of ${servers[0].host}:${servers[0].port} is ${texts[0]}, that of ${servers[other].host}:${servers[other].port} is ${texts[other]}; copy the file "identity" of the state directory of one to the others`,
    );
  return {
    fingerprint: servers[0].fingerprint as Uint8Array,
    isHybrid: servers.some(({ isHybrid }) => isHybrid),
  };
}

const IDLE_MS = 60_000;
const CLIENTS_MAX = 65_536;
const PROBE_MS = 500;
const PROBE_MISSES = 3;
