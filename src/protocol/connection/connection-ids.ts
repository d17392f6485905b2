/**
 * The connection ids of one connection (RFC 9000 section 5.1): {@link LocalIds}, which lead packets here, and {@link PeerIds}, which lead
 * them to the peer. Each side gives the other one more than is in use, so that whoever moves to another network address can do so under an
 * id that nobody saw on the old one. [CON-80]
 */

import { copyOf, equalBytes, NO_BYTES } from '../../base/bytes.ts';
import { RangeSet } from '../../base/ranges.ts';
import { CloseCode } from '../wire/close-code.ts';
import type { FrameReader } from '../wire/frame-reader.ts';
import type { FrameWriter } from '../wire/frame-writer.ts';
import {
  NEW_CONNECTION_ID_BYTES_MAX,
  writeNewConnectionId,
  writeRetireConnectionId,
} from '../wire/frames/path.ts';
import { RESET_TOKEN_BYTES } from '../wire/packet-header.ts';

/** Where an endpoint keeps which ids lead to which connection. */
export interface IdRoutes {
  /** A fresh id that leads here, and what a stateless reset for it ends with. */
  issue(): IssuedId;
  /** The id leads nowhere any more. */
  release(id: Uint8Array): void;
}

export interface IssuedId {
  readonly id: Uint8Array;
  readonly resetToken: Uint8Array;
}

export interface ConnectionIdOptions {
  readonly isServer: boolean;
  /** Whether the client does not pin the server's identity. */
  readonly unpinned: boolean;
  /** What we issued. */
  readonly sourceId: Uint8Array;
  /** The client: its choice for the first packet. The server: the client's source id. */
  readonly destinationId: Uint8Array;
  /** Destination id of the client's first packet, or of the first one behind a Retry that the server keeps nothing of. */
  readonly firstDestinationId: Uint8Array;
  /** The server: destination id of the client's very first packet, when that was answered by a Retry; else null. */
  readonly retriedId?: Uint8Array | null | undefined;
  /** The client: what it was given in an earlier connection to show where it is; empty without one. */
  readonly token?: Uint8Array | undefined;
  /** A bit of the header that says nothing. */
  readonly greaseBit: boolean;
  readonly routes: IdRoutes;
}

/** The ids of a connection, as its packets carry them. */
export class ConnectionIds {
  readonly local: LocalIds;
  readonly peer: PeerIds;
  firstDestinationId: Uint8Array;
  /** Destination id of the client's very first packet: other than {@link firstDestinationId} at a server that answered it with a Retry. */
  originalDestinationId: Uint8Array;
  /** Source id of the Retry that the client followed; null without one. [HS-30] */
  retrySourceId: Uint8Array | null = null;
  /** At a client: the token in the header of its Initial packets; empty when it has none. */
  token: Uint8Array;
  readonly unpinned: boolean;
  readonly greaseBit: boolean;
  /** At a server the id that its client made up, which leads here as well. */
  private readonly madeUpId: Uint8Array | null;
  private knowsPeer: boolean;

  constructor(options: ConnectionIdOptions) {
    const { firstDestinationId, isServer, sourceId } = options;
    this.local = new LocalIds(sourceId, options.routes);
    this.peer = new PeerIds(options.destinationId);
    this.firstDestinationId = firstDestinationId;
    this.originalDestinationId = options.retriedId ?? firstDestinationId;
    if (options.retriedId != null) this.retrySourceId = firstDestinationId;
    this.token = options.token ?? NO_BYTES;
    this.madeUpId = isServer ? firstDestinationId : null;
    this.unpinned = options.unpinned;
    this.greaseBit = options.greaseBit;
    this.knowsPeer = isServer;
  }

  /** What our long headers carry as the source; one of those that lead here. */
  get sourceId(): Uint8Array {
    return this.local.oldest;
  }

  /** What our packets carry as their destination. */
  get destinationId(): Uint8Array {
    return this.peer.current;
  }

  /** What the peer ends the connection with when it has forgotten it; null where it did not say. [PKT-22] */
  get resetToken(): Uint8Array | null {
    return this.peer.resetToken;
  }

  /** Whether a packet with this destination id is for this connection. */
  leadsHere(data: Uint8Array, start: number, length: number): boolean {
    const id = data.subarray(start, start + length);
    return (this.madeUpId !== null && equalBytes(this.madeUpId, id)) || this.local.has(id);
  }

  /** Whether a packet with this source id is the peer's; null as long as any may be. */
  isPeer(id: Uint8Array): boolean | null {
    return this.knowsPeer ? equalBytes(id, this.peer.current) : null;
  }

  /** At a client that heard nothing of its server yet but this Retry: Initial packets go where it says, with its token. [HS-30] */
  followRetry(sourceId: Uint8Array, token: Uint8Array): void {
    this.retrySourceId = sourceId;
    this.peer.onFirst(sourceId);
    this.token = token;
  }

  /** At a client that begins its handshake again: nothing is known of the server, and its first packets have this destination. Returns the one before. [HS-58] */
  restart(firstDestinationId: Uint8Array): Uint8Array {
    const before = this.firstDestinationId;
    this.firstDestinationId = firstDestinationId;
    this.originalDestinationId = firstDestinationId;
    this.peer.onFirst(firstDestinationId);
    this.retrySourceId = null;
    this.token = NO_BYTES;
    this.knowsPeer = false;
    return before;
  }

  /** The source id of a long packet that opened: the server's first one is what the client uses from then on. [CON-1] */
  acceptPeer(id: Uint8Array): void {
    if (this.knowsPeer) return;
    this.knowsPeer = true;
    this.peer.onFirst(copyOf(id));
  }

  /** Whether {@link write} has something to write. */
  get isDue(): boolean {
    return this.local.isDue || this.peer.isDue;
  }

  /** Writes what the peer is to know of ids, as much as there is room for. */
  write(frames: FrameWriter): void {
    this.peer.write(frames);
    this.local.write(frames);
  }
}

/** An id that we issued, and that the peer has not retired. */
interface LocalId {
  readonly sequence: number;
  readonly id: Uint8Array;
  /** NO_BYTES once the peer has it, and of the first one, which the transport parameters told. */
  resetToken: Uint8Array;
}

/**
 * The ids that we issued: under each of them the peer's packets come here. Its lists change a few times in the life of a connection, and are made
 * anew then: each is as long as what is in it, where one that grows, or is spread, has room for seventeen.
 */
export class LocalIds {
  /** Of those that are not retired. */
  oldest: Uint8Array;
  private readonly routes: IdRoutes;
  private issued: readonly LocalId[];
  /** Retired, but packets that were sent before may still come: the oldest goes first. */
  private retired: readonly Uint8Array[] = NONE;
  /** Sequences that the peer is to be told of. */
  private due: readonly number[] = NONE;
  private next = 1;
  /** The largest sequence that the peer was told of. */
  private told = 0;
  /** As many as the peer keeps, and no more than we are ready to look up. */
  private limit = 1;

  constructor(first: Uint8Array, routes: IdRoutes) {
    this.oldest = first;
    this.routes = routes;
    this.issued = [{ sequence: 0, id: first, resetToken: NO_BYTES }];
  }

  get isDue(): boolean {
    return this.due.length > 0;
  }

  /** Whether packets to this id come here. */
  has(id: Uint8Array): boolean {
    return this.sequenceOf(id) >= 0 || this.retired.some((other) => equalBytes(other, id));
  }

  /** The sequence number of an id that is not retired; -1 of any other. */
  sequenceOf(id: Uint8Array): number {
    for (const local of this.issued) if (equalBytes(local.id, id)) return local.sequence;
    return -1;
  }

  /** The handshake is confirmed: the peer may have so many. [CON-80] */
  onPeerLimit(activeIdLimit: number): void {
    this.limit = Math.min(activeIdLimit, ISSUED_MAX);
    this.fill();
  }

  /**
   * The peer uses an id no more. Returns 0 or a close code. [CON-82]
   * @param carriedBy - the id to which the packet with the frame was sent
   */
  onRetired(sequence: number, carriedBy: Uint8Array): number {
    if (sequence > this.told) return CloseCode.PROTOCOL_VIOLATION; // it cannot know of it
    const local = this.issued.find((other) => other.sequence === sequence);
    if (local === undefined) return 0; // a frame that was sent again
    const { id } = local;
    if (equalBytes(id, carriedBy)) return CloseCode.PROTOCOL_VIOLATION;
    this.issued = this.issued.filter((other) => other !== local);
    this.due = this.due.filter((other) => other !== sequence);
    for (const old of this.retired.slice(0, 1 - RETIRED_MAX)) this.routes.release(old);
    this.retired = [...this.retired.slice(1 - RETIRED_MAX), id];
    this.fill();
    this.oldest = this.issued[0].id;
    return 0;
  }

  /** A NEW_CONNECTION_ID is lost, or late. */
  onLost(sequence: number): void {
    const local = this.issued.find((other) => other.sequence === sequence);
    const isWanted = local !== undefined && local.resetToken !== NO_BYTES;
    if (isWanted && !this.due.includes(sequence)) this.due = [...this.due, sequence];
  }

  /** The peer has a NEW_CONNECTION_ID. */
  onTold(sequence: number): void {
    const local = this.issued.find((other) => other.sequence === sequence);
    if (local !== undefined) local.resetToken = NO_BYTES;
  }

  write(frames: FrameWriter): void {
    while (this.due.length > 0 && frames.room >= NEW_CONNECTION_ID_BYTES_MAX) {
      const [sequence, ...others] = this.due;
      this.due = others.length === 0 ? NONE : others;
      const local = this.issued.find((other) => other.sequence === sequence);
      if (local === undefined || local.resetToken === NO_BYTES) continue;
      writeNewConnectionId(frames, sequence, 0, local.id, local.resetToken);
      if (sequence > this.told) this.told = sequence;
    }
  }

  /** The connection is over: none of them leads here any more. */
  forget(): void {
    for (const { id } of this.issued) this.routes.release(id);
    for (const id of this.retired) this.routes.release(id);
    this.issued = NONE;
    this.retired = NONE;
    this.due = NONE;
  }

  private fill(): void {
    while (this.issued.length < this.limit) {
      const sequence = this.next++;
      const { id, resetToken } = this.routes.issue();
      this.issued = this.issued.concat({ sequence, id, resetToken });
      this.due = [...this.due, sequence];
    }
  }
}

/** An id that the peer issued. */
interface PeerId {
  readonly sequence: number;
  readonly id: Uint8Array;
  /** Null: the peer did not tell one with its parameters. */
  readonly resetToken: Uint8Array | null;
}

/** One that is not used yet, as it is kept for as long as its connection. */
interface SparePeerId {
  readonly sequence: number;
  /** The id, and its reset token behind it. */
  readonly bytes: Uint8Array;
}

/** The ids that the peer issued: one is in use on the path in use, others wait to be used on another. */
export class PeerIds {
  private inUse: PeerId;
  /** Not used yet, by their sequence. */
  private spare: readonly SparePeerId[] = NONE;
  /** In use on paths that are being tried. */
  private lent: readonly PeerId[] = NONE;
  private retirePriorTo = 0;
  /** Sequences that came: one of them that is not kept was retired. */
  private readonly seen = new RangeSet();
  /** Sequences that the peer is to be told that they are retired. */
  private due: readonly number[] = NONE;
  /** Of those the ones that were told and are not acknowledged. */
  private told: readonly number[] = NONE;

  constructor(first: Uint8Array) {
    this.inUse = { sequence: 0, id: first, resetToken: null };
    this.seen.add(0, 1);
  }

  get current(): Uint8Array {
    return this.inUse.id;
  }

  get resetToken(): Uint8Array | null {
    return this.inUse.resetToken;
  }

  get isDue(): boolean {
    return this.due.length > 0;
  }

  /** The id that the server gave itself, in place of the one that its client made up. */
  onFirst(id: Uint8Array): void {
    this.inUse = { sequence: 0, id, resetToken: null };
  }

  /** The peer's parameters say how it resets the connection. [PKT-22] */
  onResetToken(resetToken: Uint8Array | null): void {
    this.inUse = { ...this.inUse, resetToken };
  }

  /** NEW_CONNECTION_ID. Returns 0 or a close code. [CON-81] */
  onNew(frame: FrameReader): number {
    const { buffer, dataLength, dataStart, resetTokenStart, retirePriorTo, sequence } = frame;
    if (this.current.length === 0) return CloseCode.PROTOCOL_VIOLATION; // it wants packets without an id
    const id = buffer.subarray(dataStart, dataStart + dataLength);
    const resetToken = buffer.subarray(resetTokenStart, resetTokenStart + RESET_TOKEN_BYTES);
    const known = this.all.find((other) => other.sequence === sequence || equalBytes(other.id, id));
    if (known !== undefined) {
      const isSame =
        known.sequence === sequence &&
        equalBytes(known.id, id) &&
        (known.resetToken === null || equalBytes(known.resetToken, resetToken));
      if (!isSame) return CloseCode.PROTOCOL_VIOLATION;
    } else if (sequence < this.retirePriorTo) {
      this.retire(sequence); // it came behind the one that retired it
    } else if (!this.seen.contains(sequence)) {
      const bytes = new Uint8Array(dataLength + RESET_TOKEN_BYTES);
      bytes.set(id);
      bytes.set(resetToken, dataLength);
      this.spare = this.spare.concat({ sequence, bytes }).sort((a, b) => a.sequence - b.sequence);
    }
    this.seen.add(sequence, sequence + 1);
    if (retirePriorTo > this.retirePriorTo && !this.retireBelow(retirePriorTo))
      return CloseCode.PROTOCOL_VIOLATION;
    const isOver =
      this.all.length > ACTIVE_ID_LIMIT ||
      this.due.length + this.told.length > RETIRING_MAX ||
      this.seen.size > GAPS_MAX;
    return isOver ? CloseCode.CONNECTION_ID_LIMIT_ERROR : 0;
  }

  /** An id for a path that is tried; null while there is none that nobody saw. */
  lend(): Uint8Array | null {
    const peerId = this.takeSpare();
    if (peerId === undefined) return null;
    this.lent = [...this.lent, peerId];
    return peerId.id;
  }

  /** Whether the id may still be used on the path that it was lent for. */
  isLent(id: Uint8Array): boolean {
    return this.lent.some((other) => other.id === id);
  }

  /** A path that was tried is not used: its id was seen there, and is not used elsewhere. */
  giveBack(id: Uint8Array): void {
    const peerId = this.takeLent(id);
    if (peerId !== undefined) this.retire(peerId.sequence);
  }

  /** The path with this id is the one in use from now on; that of the old one is retired. [CON-82] */
  use(id: Uint8Array): void {
    const peerId = this.takeLent(id);
    if (peerId === undefined) return;
    const { sequence } = this.inUse;
    this.inUse = peerId;
    this.retire(sequence);
  }

  onRetireLost(sequence: number): void {
    if (!this.told.includes(sequence)) return;
    this.told = this.told.filter((other) => other !== sequence);
    this.due = [...this.due, sequence];
  }

  onRetireAcked(sequence: number): void {
    const isOpen = (other: number): boolean => other !== sequence;
    this.told = this.told.filter(isOpen);
    this.due = this.due.filter(isOpen);
  }

  write(frames: FrameWriter): void {
    while (this.due.length > 0 && frames.hasControlRoom) {
      const [sequence, ...others] = this.due;
      this.due = others.length === 0 ? NONE : others;
      this.told = [...this.told, sequence];
      writeRetireConnectionId(frames, sequence);
    }
  }

  /** All that are not retired. */
  private get all(): readonly PeerId[] {
    return [this.inUse, ...this.lent, ...this.spare.map(peerIdOf)];
  }

  private takeSpare(): PeerId | undefined {
    const [first] = this.spare;
    this.spare = this.spare.slice(1);
    return first === undefined ? undefined : peerIdOf(first);
  }

  private takeLent(id: Uint8Array): PeerId | undefined {
    const peerId = this.lent.find((other) => other.id === id);
    this.lent = this.lent.filter((other) => other !== peerId);
    return peerId;
  }

  private retire(sequence: number): void {
    if (!this.due.includes(sequence) && !this.told.includes(sequence)) this.due = [...this.due, sequence];
  }

  /** The peer wants these to be used no more, and those in use replaced. False when there is nothing to replace them by. [CON-81] */
  private retireBelow(sequence: number): boolean {
    this.retirePriorTo = sequence;
    const isOld = (peerId: Pick<PeerId, 'sequence'>): boolean => peerId.sequence < sequence;
    const isNew = (peerId: Pick<PeerId, 'sequence'>): boolean => !isOld(peerId);
    for (const peerId of [...this.spare, ...this.lent].filter(isOld)) this.retire(peerId.sequence);
    this.spare = this.spare.filter(isNew);
    this.lent = this.lent.filter(isNew);
    if (!isOld(this.inUse)) return true;
    const replacement = this.takeSpare();
    if (replacement === undefined) return false;
    this.retire(this.inUse.sequence);
    this.inUse = replacement;
    return true;
  }
}

function peerIdOf({ sequence, bytes }: SparePeerId): PeerId {
  const idBytes = bytes.length - RESET_TOKEN_BYTES;
  return { sequence, id: bytes.slice(0, idBytes), resetToken: bytes.slice(idBytes) };
}

const NONE: readonly never[] = [];
/** Ids that each side keeps of the other's, the one in use included: what `active_id_limit` says where it is absent. */
export const ACTIVE_ID_LIMIT = 2;
const ISSUED_MAX = ACTIVE_ID_LIMIT;
/** Packets to an id that was retired may come as long as this many more are not. */
const RETIRED_MAX = 2;
/** More retired ids than this that the peer does not acknowledge are its fault. */
const RETIRING_MAX = 16;
/** Sequences count up by one, so that gaps between those that came are packets that are late. */
const GAPS_MAX = 16;
