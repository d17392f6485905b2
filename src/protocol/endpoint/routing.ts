/**
 * Whose a datagram is [CON-1]:
 *
 * - {@link ConnectionIdTable}: by a connection id that this endpoint issued;
 * - {@link FirstIdTable}: by the id that a client made up for its first packets;
 * - {@link WorkerPlace}: of a packet with neither, where the endpoint is one of several workers at its address, whether it is another one's [WRK-3];
 * - {@link ResetWatch}: else, whether it is a stateless reset of one of ours.
 */

import { type RandomSource, randomBytes } from '../../base/random.ts';
import type { Connection } from '../connection/connection.ts';
import { equalSecrets } from '../crypto/identity.ts';
import type { ConnectionIdSource } from '../crypto/routable-ids.ts';
import { RESET_TOKEN_BYTES } from '../wire/packet-header.ts';
import { RESET_BYTES_MIN } from './stateless-answers.ts';

/** An id that was issued, and whose it is. */
interface IssuedTo<T> {
  readonly id: Uint8Array;
  readonly owner: T;
}

/**
 * The connection ids that an endpoint issued, one or more for each owner. An id is 8 bytes, random ones where no front is to find its way by
 * them [FRT-2], looked up by its first 52 bits, which fit a number, so that routing a packet makes no string; ids are issued so that these
 * bits are unique.
 */
export class ConnectionIdTable<T extends object> {
  private readonly issued = new Map<number, IssuedTo<T>>();
  private readonly all = new Set<T>();
  private readonly source: ConnectionIdSource | null;

  /** @param source - where ids come from; null: they are random */
  constructor(source: ConnectionIdSource | null = null) {
    this.source = source;
  }

  /** How many owners there are. */
  get size(): number {
    return this.all.size;
  }

  /** A fresh id that leads nowhere yet. */
  issue(random: RandomSource): Uint8Array {
    for (;;) {
      const id = this.source === null ? randomBytes(random, LOCAL_ID_BYTES) : this.source.next();
      if (!this.issued.has(keyOf(id, 0))) return id;
    }
  }

  /** The id leads to this owner from now on. */
  add(id: Uint8Array, owner: T): void {
    this.issued.set(keyOf(id, 0), { id, owner });
    this.all.add(owner);
  }

  /** The id leads nowhere any more; its owner stays until {@link forget}. */
  release(id: Uint8Array): void {
    this.issued.delete(keyOf(id, 0));
  }

  /** The owner, whose ids were released, is none any more. False when it was not there. */
  forget(owner: T): boolean {
    return this.all.delete(owner);
  }

  /** The owner of the id at `at`, of which the caller has checked that 8 bytes are there; null when unknown. [CON-1] */
  lookup(buffer: Uint8Array, at: number): T | null {
    const issued = this.issued.get(keyOf(buffer, at));
    if (issued === undefined) return null;
    const { id, owner } = issued;
    return id[6] === buffer[at + 6] && id[7] === buffer[at + 7] ? owner : null;
  }

  /** The owners. */
  values(): IterableIterator<T> {
    return this.all.values();
  }
}

/** Servers' connections by the destination id of their client's first packet, which the client chose, as long as they live. [CON-1] */
export class FirstIdTable<T extends { readonly ids: { readonly firstDestinationId: Uint8Array } }> {
  /** Null: there never was one. */
  private owners: Map<string, T> | null = null;

  get size(): number {
    return this.owners?.size ?? 0;
  }

  add(owner: T): void {
    const { firstDestinationId: id } = owner.ids;
    this.owners ??= new Map();
    this.owners.set(textOf(id, 0, id.length), owner);
  }

  remove(owner: T): void {
    if (this.owners === null) return;
    const { firstDestinationId: id } = owner.ids;
    const key = textOf(id, 0, id.length);
    if (this.owners.get(key) === owner) this.owners.delete(key);
  }

  find(buffer: Uint8Array, at: number, length: number): T | null {
    return this.owners === null || this.owners.size === 0
      ? null
      : (this.owners.get(textOf(buffer, at, length)) ?? null);
  }
}

/** Where an endpoint stands among those of other workers at its address, its fellows. */
export interface WorkerPlace {
  /** The seat of the fellow whose the id in the 8 bytes at `at` is; -1 where it is of none that is there, or of this endpoint's own. */
  fellowOf(buffer: Uint8Array, at: number): number;
  /** Connections of all fellows together, this endpoint's not among them. */
  readonly connectionsElsewhere: number;
  /** So many connections this endpoint has now. */
  tellConnections(count: number): void;
}

/** Which datagrams of the batch that the endpoint was handed last are whose. Valid until it is handed another one. */
export class ForeignPackets {
  count = 0;
  /** Their numbers in the batch. */
  readonly index: number[] = [];
  /** The seats of the fellows whose they are. */
  readonly seat: number[] = [];
  /** Where in each its destination id begins. */
  readonly idAt: number[] = [];

  push(index: number, seat: number, idAt: number): void {
    this.index[this.count] = index;
    this.idAt[this.count] = idAt;
    this.seat[this.count++] = seat;
  }
}

/** The connections of clients that were told what a stateless reset of theirs looks like. */
export class ResetWatch {
  private readonly connections = new Set<Connection>();

  add(connection: Connection): void {
    if (connection.ids.resetToken !== null) this.connections.add(connection);
  }

  remove(connection: Connection): void {
    this.connections.delete(connection);
  }

  /** The connection that a short packet, which is for none of our ids, ends; null when it is no reset. [PKT-25] */
  ended(packet: Uint8Array): Connection | null {
    if (packet.length < RESET_BYTES_MIN || this.connections.size === 0) return null;
    const token = packet.subarray(packet.length - RESET_TOKEN_BYTES);
    for (const connection of this.connections)
      if (equalSecrets(token, connection.ids.resetToken as Uint8Array)) return connection;
    return null;
  }
}

function textOf(buffer: Uint8Array, at: number, length: number): string {
  let text = '';
  for (let i = at; i < at + length; i++) text += String.fromCharCode(buffer[i]);
  return text;
}

/** Bits 0 to 51 of the id. The caller compares the last two bytes, of which the high half of one is in the key too. */
function keyOf(buffer: Uint8Array, at: number): number {
  const high = ((buffer[at] << 24) | (buffer[at + 1] << 16) | (buffer[at + 2] << 8) | buffer[at + 3]) >>> 0;
  const low = (buffer[at + 4] << 12) | (buffer[at + 5] << 4) | (buffer[at + 6] >> 4);
  return high * 2 ** 20 + low;
}

/** Length of the connection ids that an endpoint issues, in bytes. */
export const LOCAL_ID_BYTES = 8;
