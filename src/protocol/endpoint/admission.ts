/**
 * What strangers may cost a server, in the order in which a first packet is looked at:
 *
 * - {@link Admission.roomFor}: whether there is room for another connection, and who gives way for it [CON-3, CON-40];
 * - {@link Admission.fateOf}: whether it comes faster than it can be opened [CON-42], or is to come again with a token [HS-36];
 * - {@link HalfOpenTable}: the handshakes under way, and which of their hellos is answered next [CON-41].
 */

import { u48 } from '../../base/bytes.ts';
import { addressPrefix } from '../../base/ip-address.ts';
import { type MemoryBudget, SURE_OVERHEAD_BYTES } from '../../base/memory-budget.ts';
import { type Micros, RateLimit, SECOND } from '../../base/time.ts';
import { CONNECTION_WINDOW_BYTES_MIN } from '../connection/config.ts';
import type { Connection } from '../connection/connection.ts';
import { CONNECTION_BYTES } from '../connection/metrics.ts';
import type { Identity } from '../crypto/identity.ts';
import type { ConnectionIdSource } from '../crypto/routable-ids.ts';
import type { TokenSecrets } from '../handshake/address-token.ts';
import { PAYLOAD_BYTES_MAX } from '../handshake/messages.ts';
import type { AccessConfig } from '../handshake/server.ts';
import type { TicketConfig } from '../handshake/tickets.ts';
import { SURE_BYTES } from '../stream/receive/receive-context.ts';
import type { EndpointCounters } from '../trace/counters.ts';
import { CloseCode } from '../wire/close-code.ts';
import type { WorkerPlace } from './routing.ts';

/** What makes an endpoint a server. */
export interface ServerConfig {
  readonly identity: Identity;
  /** Answers clients that do not pin the identity, too. */
  readonly acceptUnpinned: boolean;
  /** What clients are asked before they are let in. Default: nothing. */
  readonly access?: AccessConfig | undefined;
  /** Handshakes under way at once. */
  readonly halfOpenMax: number;
  readonly connectionsMax: number;
  /** Of stateless resets, 32 bytes; default: what follows from the identity. [PKT-22] */
  readonly resetKey?: Uint8Array | undefined;
  /** Whether packets to this address stay on the machine. */
  readonly isLoopback: (host: string) => boolean;
  /** What clients come back with. Default: nothing. [HS-55] */
  readonly tickets?: TicketConfig | null | undefined;
  /** Where the ids of its connections are from. Default: they are random. [FRT-2] */
  readonly ids?: ConnectionIdSource | undefined;
  /** Which of several workers at its address it is. Default: it is alone. [WRK-1] */
  readonly place?: WorkerPlace | undefined;
  /** How clients show that they are where they say. Default: only by their handshake. */
  readonly retry?: RetryConfig | undefined;
}

/** When a server wants to be shown where a client is before it does anything for it: never, when many come, or always. [HS-36] */
export type RetryMode = 'never' | 'auto' | 'always';

export interface RetryConfig {
  readonly mode: RetryMode;
  /** Default: what follows from the identity, so that all servers with that take each other's tokens. [HS-31] */
  readonly tokenSecrets?: TokenSecrets | undefined;
  /** The time since 1970, in ms, when the endpoint's clock was at 0. */
  readonly epochMs: number;
}

/** What becomes of a first packet for which there is room. */
export const FirstPacketFate = { ADMIT: 0, RETRY: 1, DROP: 2 } as const;
export type FirstPacketFate = (typeof FirstPacketFate)[keyof typeof FirstPacketFate];

/** Whether a client that nobody knows yet is let in. */
export class Admission {
  private readonly halfOpen: HalfOpenTable;
  private readonly memory: MemoryBudget;
  private readonly counters: EndpointCounters;
  private readonly retry: RetryMode;
  private isClosing = false;
  /** Of clients that may be anywhere, of those that showed where they are, and of Retries. */
  private readonly pace = new Pace(PACE_PER_SECOND, PACE_BURST);
  private readonly paceOfShown = new Pace(SHOWN_PER_SECOND, SHOWN_BURST);
  private readonly paceOfRetries = new Pace(RETRIES_PER_SECOND, RETRIES_BURST);
  private readonly retried = new RetriedIds();

  constructor(halfOpen: HalfOpenTable, memory: MemoryBudget, counters: EndpointCounters, retry: RetryMode) {
    this.halfOpen = halfOpen;
    this.memory = memory;
    this.counters = counters;
    this.retry = retry;
  }

  /** From now on nobody is let in. */
  stop(): void {
    this.isClosing = true;
  }

  /**
   * What becomes of a first packet from `host`, for which there is room. Without a token that shows where its client is, it begins nothing
   * where tokens are wanted from all, where so many handshakes are under way with clients that did not answer yet, or where it comes faster
   * than a server can bear: then it is worth a Retry, which costs next to nothing and leaves no handshake behind. So is what else comes of
   * a hello that was answered so: the client begins anew, and a handshake with the rest of its first hello would wait for its end in vain. [HS-36]
   *
   * @param id - the packet's destination id, the same for all packets of its hello
   * @param isShown - its client showed by a token that it is there
   */
  fateOf(host: string, id: Uint8Array, isShown: boolean, server: ServerConfig, now: Micros): FirstPacketFate {
    const { counters, halfOpen, retried, retry } = this;
    const mayRetry = !isShown && retry !== 'never';
    const isRetryDue =
      mayRetry &&
      (retry === 'always' ||
        halfOpen.unshown >= Math.max(1, server.halfOpenMax * UNSHOWN_SHARE) ||
        retried.has(id));
    if (!isRetryDue && this.isInPace(host, isShown, now)) return FirstPacketFate.ADMIT;
    if (!mayRetry) {
      counters.droppedInitialPace++;
      return FirstPacketFate.DROP;
    }
    if (this.paceOfRetries.take(host, now)) {
      retried.add(id);
      return FirstPacketFate.RETRY;
    }
    counters.retriesSuppressed++;
    return FirstPacketFate.DROP;
  }

  /**
   * Whether a first packet from `host` is worth being opened, now that so many come. Beyond a rate that a server can bear each network gets
   * its first one through, so that a flood from few networks leaves the others alone; beyond half as much again nobody does but who
   * completed a handshake lately. While more hellos wait than can be answered soon, it is the networks without a handshake under way that are
   * let in: a place in that queue is all that the others would get, and what is kept for it costs those who are connected. [CON-42]
   */
  private isInPace(host: string, isShown: boolean, now: Micros): boolean {
    const { halfOpen } = this;
    if (halfOpen.knows(host)) return true;
    const pace = isShown ? this.paceOfShown : this.pace;
    if (!halfOpen.hasManyHellos) return pace.take(host, now);
    return !halfOpen.hasOf(networkOf(host)) && pace.take(host, now, true);
  }

  /**
   * For a client at `host`: null, there is room; a connection, there is when that one gives way; a code to be refused with.
   * @param connections - how many there are, half-open ones included
   */
  roomFor(
    host: string,
    connections: number,
    server: ServerConfig,
    now: Micros,
  ): Connection | CloseCode | null {
    const { counters, halfOpen } = this;
    if (this.isClosing) {
      counters.droppedConnectionLimit++;
      return CloseCode.SHUTTING_DOWN;
    }
    if (connections >= server.connectionsMax) {
      const overdue = halfOpen.overdue(now - SILENCE_AT_CONNECTIONS_MAX);
      if (overdue === null) counters.droppedConnectionLimit++;
      return overdue ?? CloseCode.CONNECTION_REFUSED;
    }
    if (this.memory.available < CONNECTION_BYTES_SURE) {
      counters.droppedMemoryLimit++; // [CON-50] what peers make us keep is bounded
      return CloseCode.CONNECTION_REFUSED;
    }
    if (halfOpen.size < server.halfOpenMax / 2) return null;
    if (halfOpen.size < server.halfOpenMax) return halfOpen.overdue(now - SILENCE_WHEN_HALF_FULL);
    const displaced = halfOpen.displacedBy(host);
    if (displaced === null) counters.droppedHalfOpenLimit++;
    return displaced ?? CloseCode.CONNECTION_REFUSED;
  }
}

/** So many first packets a second of anybody, and half as many more of networks that had none lately: a flood from few leaves the others alone. */
class Pace {
  private readonly anybody: RateLimit;
  private readonly firsts: RateLimit;
  /** The networks of those that were let through since {@link windowStart}. */
  private readonly networks = new Set<string>();
  private windowStart: Micros = 0;

  constructor(perSecond: number, burst: number) {
    this.anybody = new RateLimit(perSecond, burst);
    this.firsts = new RateLimit(perSecond / 2, burst / 2);
  }

  /** @param firstsOnly - one of a network that had none lately, or none */
  take(host: string, now: Micros, firstsOnly = false): boolean {
    if (now - this.windowStart >= PACE_WINDOW || now < this.windowStart) {
      this.windowStart = now;
      this.networks.clear();
    }
    const network = networkOf(host);
    const isFirst = !this.networks.has(network);
    if (firstsOnly && !isFirst) return false;
    if (!this.anybody.take(now) && !(isFirst && this.firsts.take(now))) return false;
    this.networks.add(network);
    return true;
  }
}

/** The ids of the hellos that were answered by a Retry last. Each has a place, which it keeps until another one needs that. */
class RetriedIds {
  /** Null: none was. */
  private keys: Float64Array | null = null;

  /** @param id - at least 6 bytes */
  add(id: Uint8Array): void {
    const key = u48(id);
    this.keys ??= new Float64Array(RETRIED_MAX).fill(-1);
    this.keys[key % RETRIED_MAX] = key;
  }

  has(id: Uint8Array): boolean {
    if (this.keys === null) return false;
    const key = u48(id);
    return this.keys[key % RETRIED_MAX] === key;
  }
}

/**
 * The handshakes under way at a server, and who gives way when there are too many. Anyone can begin a handshake in anybody's name, so
 * until a client has answered, which proves its address, its place is only lent [CON-3]:
 *
 * - the oldest that did not answer yet gives way to a newcomer, of the network that has the most of them;
 * - addresses that completed a handshake lately come last;
 * - one that did answer gives way only to a newcomer of a network that has fewer;
 * - when half of the places are taken, whoever is silent for a while goes.
 */
export class HalfOpenTable {
  /** Each with its network, oldest first. */
  private readonly networks = new Map<Connection, string>();
  private readonly counts = new Map<string, number>();
  /** Those whose clients showed by a token where they are, each with that. */
  private readonly shown = new Map<Connection, Uint8Array>();
  /** Addresses that completed a handshake, the latest last. */
  private readonly known = new Set<string>();

  /** Those whose client's hello waits for its answer, the one costly step of a handshake; oldest first. */
  private readonly hellos = new Set<Connection>();

  get size(): number {
    return this.networks.size;
  }

  /** Those of clients that came without a token: nobody may be where they say. */
  get unshown(): number {
    return this.networks.size - this.shown.size;
  }

  /** @param token - that showed where its client is; null when none did */
  add(connection: Connection, token: Uint8Array | null = null): void {
    const network = networkOf(connection.path.host);
    this.networks.set(connection, network);
    if (token !== null) this.shown.set(connection, token);
    this.counts.set(network, (this.counts.get(network) ?? 0) + 1);
  }

  /** The handshake is over, one way or the other. */
  remove(connection: Connection): void {
    const network = this.networks.get(connection);
    if (network === undefined) return;
    this.networks.delete(connection);
    this.shown.delete(connection);
    this.hellos.delete(connection);
    const count = (this.counts.get(network) as number) - 1;
    if (count === 0) this.counts.delete(network);
    else this.counts.set(network, count);
  }

  /** What showed where its client is, while its handshake is under way; else null. */
  tokenOf(connection: Connection): Uint8Array | null {
    return this.shown.get(connection) ?? null;
  }

  /** Whether a handshake of somebody in this network is under way. */
  hasOf(network: string): boolean {
    return this.counts.has(network);
  }

  helloCame(connection: Connection): void {
    if (this.networks.has(connection)) this.hellos.add(connection);
  }

  get hasHellos(): boolean {
    return this.hellos.size > 0;
  }

  get hasManyHellos(): boolean {
    return this.hellos.size > WAITING_IN_TURN_MAX;
  }

  /**
   * The one to be answered next, which waits no more: of an address that completed a handshake lately, else of the network with the fewest
   * handshakes under way. Among such the oldest; but when many wait the newest, for the others may have given up by then. [CON-41]
   */
  takeHello(): Connection | null {
    let next: Connection | null = null;
    let nextRank = Number.POSITIVE_INFINITY;
    const isNewestFirst = this.hasManyHellos;
    for (const connection of this.hellos) {
      const count = this.counts.get(this.networks.get(connection) as string) ?? 0;
      const rank = this.known.has(connection.path.host) ? 0 : count;
      if (rank > nextRank || (rank === nextRank && !isNewestFirst)) continue;
      next = connection;
      nextRank = rank;
    }
    if (next !== null) this.hellos.delete(next);
    return next;
  }

  /** A handshake from this address was completed. */
  remember(host: string): void {
    this.known.delete(host);
    this.known.add(host);
    if (this.known.size <= KNOWN_MAX) return;
    for (const oldest of this.known) {
      this.known.delete(oldest);
      return;
    }
  }

  /** Whether a handshake from this address was completed lately. */
  knows(host: string): boolean {
    return this.known.has(host);
  }

  /** The one that gives way to a newcomer from `host`; null when none does. */
  displacedBy(host: string): Connection | null {
    let most = 0;
    for (const count of this.counts.values()) most = Math.max(most, count);
    let known: Connection | null = null;
    let answered: Connection | null = null;
    let elsewhere: Connection | null = null;
    for (const [connection, network] of this.networks) {
      const isLargest = this.counts.get(network) === most;
      if (connection.path.validation.isValidated) {
        if (isLargest) answered ??= connection;
      } else if (!isLargest) elsewhere ??= connection;
      else if (this.known.has(connection.path.host)) known ??= connection;
      else return connection;
    }
    if (known !== null || elsewhere !== null) return known ?? elsewhere;
    const own = this.counts.get(networkOf(host)) ?? 0;
    return own + 1 < most ? answered : null;
  }

  /**
   * The oldest of a client that was not heard of since `silentSince` and has not answered; null when there is none among those that
   * began before.
   */
  overdue(silentSince: Micros): Connection | null {
    for (const connection of this.networks.keys()) {
      if (connection.entry.startedAt >= silentSince) return null;
      if (!connection.path.validation.isValidated && connection.receiver.lastOpenedAt < silentSince)
        return connection;
    }
    return null;
  }
}

/** Without so much none is accepted: what a connection has for sure. [CON-50] */
const CONNECTION_BYTES_SURE =
  CONNECTION_BYTES + PAYLOAD_BYTES_MAX + CONNECTION_WINDOW_BYTES_MIN + SURE_BYTES + SURE_OVERHEAD_BYTES;

/** The network that an address counts for. Providers give a customer an IPv6 /56, and an IPv4 /24 is the least that is routed. */
function networkOf(host: string): string {
  return addressPrefix(host, 24, 56);
}

const KNOWN_MAX = 4_096;
/** With more hellos than these waiting the server is slower than they come. */
const WAITING_IN_TURN_MAX = 32;
/**
 * [CON-42] A quarter of the handshakes that one core can make (1.2 to 1.8 ms each with the KEM in JavaScript). What is let in beyond that costs
 * those who are connected: at three to ten times this pace a flood of hellos held their round trips up by 320 ms, at twice this pace it
 * made the process grow by 100 MB. It is let in one by one: opened and answered thirty in a row they held others up by 15 ms.
 */
const PACE_PER_SECOND = 100;
const PACE_BURST = 20;
/** [HS-36] They are who they seem to be, and as many as there are of them: what a server cannot bear of them waits its turn [CON-41]. */
const SHOWN_PER_SECOND = 400;
const SHOWN_BURST = 80;
/** Two thirds of a core, at 30 us each with what the system takes for it. */
const RETRIES_PER_SECOND = 15_000;
const RETRIES_BURST = 1_500;
/** 8 bytes each. More come in 70 ms of a flood, but while that lasts everybody is answered by a Retry. */
const RETRIED_MAX = 1_024;
/** Of the places of half-open handshakes, what clients may take without a token. */
const UNSHOWN_SHARE = 1 / 8;
/** For so long a network that was let in is not the first of its own. */
const PACE_WINDOW: Micros = 200_000;
/** [CON-5] Half-open handshakes whose clients are silent for so long make room for others. */
const SILENCE_WHEN_HALF_FULL: Micros = 5 * SECOND;
const SILENCE_AT_CONNECTIONS_MAX: Micros = SECOND;
