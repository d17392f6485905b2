/**
 * Where a client's datagram goes, without sockets and clocks [FRT-10]:
 *
 *   1. its destination id is read; what has none is dropped ({@link Routing.route});
 *   2. where the id is of a server that is there, it goes to that one ({@link Routing.ownerOf});
 *   3. else one is chosen by the id: for a first packet one that accepts connections ({@link Routing.forFirst}), for any other packet one that
 *      is there, which says that the connection is over ({@link Routing.forLost}).
 */

import { u48 } from '../base/bytes.ts';
import type { RandomSource } from '../base/random.ts';
import type { Micros } from '../base/time.ts';
import { ROUTABLE_ID_BYTES, RoutableIds } from '../protocol/crypto/index.ts';
import { choiceSeed, FrontProbes, type FrontSecrets } from '../protocol/datagram/index.ts';
import { Clients, type ClientTrace } from './clients.ts';
import { Presence, ServerHealth } from './health.ts';

export interface RoutingOptions {
  readonly secrets: FrontSecrets;
  readonly random: RandomSource;
  readonly servers: number;
  readonly missesMax: number;
  readonly clientsMax: number;
  readonly idle: Micros;
}

/** What became of clients' datagrams that were passed on to nobody, and of those of servers. */
export interface RoutingDrops {
  /** No packet, by its first bytes. */
  malformed: number;
  /** No server was there. */
  noServer: number;
  /** Came from a server's address, and not from who has the secret. */
  unauthentic: number;
}

export class Routing {
  readonly servers: readonly ServerHealth[];
  readonly clients: Clients;
  readonly dropped: RoutingDrops = { malformed: 0, noServer: 0, unauthentic: 0 };
  private readonly random: RandomSource;
  private readonly probes: FrontProbes;
  /** Ids of either secret: the current one first. */
  private readonly ids: readonly RoutableIds[];
  private readonly seed: number;
  /** Servers by their ids, those that were there once as well. */
  private readonly byId = new Map<number, number>();

  constructor({ secrets, random, servers, missesMax, clientsMax, idle }: RoutingOptions) {
    const { current, previous } = secrets;
    this.servers = Array.from({ length: servers }, () => new ServerHealth(missesMax));
    this.clients = new Clients(clientsMax, idle);
    this.random = random;
    this.probes = new FrontProbes(secrets);
    this.ids = [current, ...(previous === undefined ? [] : [previous])].map((secret) =>
      RoutableIds.of(secret),
    );
    this.seed = choiceSeed(secrets);
  }

  // ---- packets of clients ----

  /** The number of the server that a client's datagram goes to; -1: it is dropped, and counted. */
  route(data: Uint8Array, host: string, port: number, local: number, now: Micros): number {
    const isLong = data.length > 0 && (data[0] & LONG_FORM) !== 0;
    const start = isLong ? LONG_ID_START : SHORT_ID_START;
    const length = isLong ? (data[LONG_ID_START - 1] ?? 0) : ROUTABLE_ID_BYTES;
    if (!isPacket(data, isLong, length)) {
      this.dropped.malformed++;
      return -1;
    }
    const client = this.clients.seen(host, port, local, now);
    const owner = length === ROUTABLE_ID_BYTES ? this.ownerOf(data, start, client) : -1;
    if (owner >= 0 && this.servers[owner].isThere) return owner;
    const id = data.subarray(start, start + length);
    const to = isLong ? this.forFirst(id, client) : this.forLost(id, owner);
    if (to < 0) this.dropped.noServer++;
    return to;
  }

  /** Whose the id at `at` is, there or not; -1: no server's that is known. What a client used last is not deciphered again. */
  private ownerOf(data: Uint8Array, at: number, client: ClientTrace): number {
    const high = (data[at] << 24) | (data[at + 1] << 16) | (data[at + 2] << 8) | data[at + 3];
    const low = (data[at + 4] << 24) | (data[at + 5] << 16) | (data[at + 6] << 8) | data[at + 7];
    if (client.owner >= 0 && client.idHigh === high && client.idLow === low) return client.owner;
    for (const ids of this.ids) {
      const serverId = ids.serverIdOf(data, at);
      const owner = serverId < 0 ? undefined : this.byId.get(serverId);
      if (owner === undefined) continue;
      client.idHigh = high;
      client.idLow = low;
      client.owner = owner;
      return owner;
    }
    return -1;
  }

  /** A packet under an id that its client made up: the server that its first one went to, or one that is chosen. [FRT-12] */
  private forFirst(id: Uint8Array, client: ClientTrace): number {
    const key = u48(id);
    if (client.firstKey === key && client.chosen >= 0 && this.servers[client.chosen].isThere)
      return client.chosen;
    let chosen = -1;
    for (const presence of WILLING) {
      chosen = this.choose(id, (server) => server.presence === presence);
      if (chosen >= 0) break;
    }
    client.firstKey = key;
    client.chosen = chosen;
    return chosen;
  }

  /** A packet of a connection whose server is not there, or not known: who is there says so. */
  private forLost(id: Uint8Array, owner: number): number {
    const to = this.choose(id, (server) => server.isThere);
    return to < 0 ? owner : to;
  }

  /** The one with the highest hash for this id, among those that are wanted; -1 when there is none. [FRT-11] */
  private choose(id: Uint8Array, isWanted: (server: ServerHealth) => boolean): number {
    let best = -1;
    let highest = -1;
    for (const [i, server] of this.servers.entries()) {
      if (!isWanted(server)) continue;
      const hash = hashOf(this.seed, server.serverId, id);
      if (hash <= highest) continue;
      highest = hash;
      best = i;
    }
    return best;
  }

  // ---- servers ----

  /** Another probe for this server. */
  probe(index: number, now: Micros): Uint8Array {
    return this.probes.probe(this.servers[index].probe(this.random, now));
  }

  /** What came from a server and is no datagram for a client. */
  onReport(index: number, data: Uint8Array, now: Micros): void {
    const report = this.probes.reportIn(data);
    const server = this.servers[index];
    const isDouble = (serverId: number): boolean => {
      const other = this.byId.get(serverId);
      return other !== undefined && other !== index && this.servers[other].isThere;
    };
    if (report === null || !server.onReport(report, isDouble, now)) this.dropped.unauthentic++;
    else if (server.isThere) this.byId.set(server.serverId, index);
  }
}

/** Whether it may be a packet: it has the fixed bit, and an id of a length that connections of servers begin with. [FRT-9] */
function isPacket(data: Uint8Array, isLong: boolean, idLength: number): boolean {
  if (data.length === 0 || (data[0] & FIXED_BIT) === 0) return false;
  if (!isLong) return data.length >= SHORT_PACKET_BYTES_MIN;
  return idLength >= ROUTABLE_ID_BYTES && idLength <= ID_BYTES_MAX && data.length > LONG_ID_START + idLength;
}

/** 32 bits of a server and an id: FNV-1a with the finaliser of MurmurHash3. */
function hashOf(seed: number, serverId: number, id: Uint8Array): number {
  let hash = seed ^ Math.imul(serverId + 1, 0x9e37_79b1);
  for (const byte of id) hash = Math.imul(hash ^ byte, 0x0100_0193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** Who gets a new connection: where nobody accepts, one that says why not. */
const WILLING = [Presence.ACCEPTING, Presence.FULL, Presence.LEAVING];
const LONG_FORM = 0x80;
const FIXED_BIT = 0x40;
const SHORT_ID_START = 1;
/** Behind the first byte, the version and the length of the id. */
const LONG_ID_START = 6;
const ID_BYTES_MAX = 20;
/** First byte, id, number and tag with the least payload. */
const SHORT_PACKET_BYTES_MIN = 1 + ROUTABLE_ID_BYTES + 4 + 16;
