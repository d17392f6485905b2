/**
 * The network paths of a connection: the one in use, which is `path`, and {@link PathCandidate}s that are being tried beside it. The one in
 * use stays so until another one is proved, so that whoever only claims to have moved changes nothing (RFC 9000 sections 8.2 and 9):
 *
 *   1. a packet comes from another address than the path's ({@link Paths.onPacket}), or this side wants to move ({@link Paths.migrate}):
 *      there is a candidate;
 *   2. challenges go there ({@link Paths.next}) until one is answered from there, or none for too long;
 *   3. when the newest packet came from there, and it is more than a probe, the candidate takes the place of the path ({@link Paths.move}).
 */

import { NO_BYTES } from '../../base/bytes.ts';
import type { RandomSource } from '../../base/random.ts';
import { type Micros, NEVER } from '../../base/time.ts';
import type { Path, Way } from '../path/path.ts';
import { CandidateState, PathCandidate } from '../path/path-candidate.ts';
import type { ConnectionCounters } from '../trace/counters.ts';
import { FrameType } from '../wire/frame-type.ts';
import type { ConnectionIds } from './connection-ids.ts';

/** What makes a client, or its network, move: on purpose, or because a NAT on the way gave it another address. */
export type MoveReason = 'rebinding' | 'migration';

/** A path that this side wanted to move to was not proved in time. */
export interface PathsNews {
  readonly type: 'pathFailed';
  readonly local: number;
}

/** What the paths ask and tell their connection. */
export interface PathsHost {
  readonly probeTimeout: Micros;
  /** Packets go another way from now on. */
  onMoved(previous: Way, reason: MoveReason, isGone: boolean, now: Micros): void;
  /** The packets under way are left behind with the path. `isGone`: they do not arrive. */
  onLeaving(isGone: boolean, now: Micros): void;
  tell(news: PathsNews): void;
  /** A challenge of the peer is to be answered on the path in use. */
  answer(challenge: Uint8Array): void;
  touch(): void;
}

/** A packet that came from elsewhere than the path in use, opened and taken. */
export interface PacketElsewhere {
  readonly way: Way;
  /** Of its datagram. */
  readonly bytes: number;
  readonly number: number;
  /** The largest number that came before. */
  readonly largestBefore: number;
  /** All of its frames only try the path. */
  readonly isProbe: boolean;
  readonly destinationId: Uint8Array;
  /** Of PATH_CHALLENGE and PATH_RESPONSE. */
  readonly challenge: Uint8Array | null;
  readonly response: Uint8Array | null;
}

export interface MigrateOptions {
  /** Of the socket's own addresses the one to move to. */
  readonly local: number;
  /** Nothing is carried by the old path any more: there is nothing to wait for. */
  readonly isOldGone: boolean;
  /** Only the port changes, not the way that packets take. */
  readonly isSameHost: boolean;
}

/** `forbidden`: the peer wants this side to stay. `later`: there is no id that could be used there; after a round trip there may be. */
export type MigrateOutcome = 'begun' | 'forbidden' | 'later';

export class Paths {
  /** Earliest deadline of a candidate. */
  deadline: Micros = NEVER;
  /** A candidate has something to send. */
  isDue = false;
  /** The peer asked this side not to move on purpose. [CON-92] */
  isPinnedDown = false;

  private readonly path: Path;
  private readonly ids: ConnectionIds;
  private readonly isServer: boolean;
  private readonly counters: ConnectionCounters;
  private readonly random: RandomSource;
  /** Peers may move on purpose; a NAT may move them in any case. */
  private readonly takesMigration: boolean;
  private readonly host: PathsHost;
  private candidates: readonly PathCandidate[] = NONE;
  /** The largest number of a packet that came from elsewhere, and of those that came the way packets go the largest at that time. */
  private newestElsewhere = -1;
  private newestHere = -1;
  /** Of our ids the one that the peer uses on the path in use. */
  private usedByPeer = 0;
  /** Of our ids the one that the peer used last where it may have moved: of the peer's there is one more than is in use, so that one is lent. */
  private movesUnder = -1;

  constructor(
    path: Path,
    ids: ConnectionIds,
    counters: ConnectionCounters,
    options: { readonly isServer: boolean; readonly takesMigration: boolean; readonly random: RandomSource },
    host: PathsHost,
  ) {
    this.path = path;
    this.ids = ids;
    this.counters = counters;
    this.isServer = options.isServer;
    this.takesMigration = options.takesMigration;
    this.random = options.random;
    this.host = host;
  }

  /** Whether a datagram came another way than packets go. A server answers from wherever it is asked. [CON-60] */
  isElsewhere(host: string, port: number, local: number): boolean {
    const { path } = this;
    if (host !== path.host || port !== path.port) return true;
    return !this.isServer && local !== path.local;
  }

  /** Paths that are being tried. */
  get size(): number {
    return this.candidates.length;
  }

  /** A packet came from elsewhere. */
  onPacket(packet: PacketElsewhere, now: Micros): void {
    const { challenge, isProbe, largestBefore, number, response } = packet;
    if (largestBefore > this.newestElsewhere) this.newestHere = largestBefore;
    if (number > this.newestElsewhere) this.newestElsewhere = number;
    const candidate = this.candidateOf(packet, now);
    if (candidate === null) return;
    candidate.local = packet.way.local;
    candidate.validation.onReceived(packet.bytes);
    if (!isProbe && number > candidate.newest) candidate.newest = number;
    // A client tries what it wants. Whoever went on where packets go has not moved: somebody else sent a packet again from there. [CON-86]
    const isWanted = !this.isServer || candidate.newest > this.newestHere;
    if (challenge !== null) candidate.response = challenge;
    if (response !== null && candidate.onResponse(response, now)) this.counters.pathsValidated++;
    if (candidate.state === CandidateState.VALIDATED && isWanted && this.mayUse(candidate)) {
      if (this.isServer) this.follow(candidate, packet, now);
      else this.move(candidate, 'migration', false, now);
    }
    this.look();
    this.host.touch();
  }

  /** This side, a client, wants to move. [CON-89] */
  migrate(options: MigrateOptions, now: Micros): MigrateOutcome {
    const { host, port } = this.path;
    const { isOldGone, local } = options;
    if (this.isPinnedDown && !isOldGone) return 'forbidden';
    for (const other of this.candidates) {
      this.drop(other);
      this.host.tell({ type: 'pathFailed', local: other.local });
    }
    const id = this.ids.peer.lend();
    // [CON-83] Without an id of its own a path is used only when there is no other.
    if (id === null && !isOldGone) return 'later';
    const candidate = this.add({ host, port, local }, id, now);
    candidate.isSameWay = options.isSameHost;
    if (isOldGone) this.move(candidate, 'migration', true, now);
    this.look();
    this.host.touch();
    return 'begun';
  }

  /** Something is to be sent to this candidate now; null for none. */
  next(): PathCandidate | null {
    for (const candidate of this.candidates) if (candidate.isDue) return candidate;
    this.isDue = false;
    return null;
  }

  /** A datagram went there. */
  onSent(candidate: PathCandidate, bytes: number): void {
    candidate.validation.onSent(bytes);
    this.look();
  }

  /** The challenge to send now. */
  challengeOf(candidate: PathCandidate, bytes: number, now: Micros): Uint8Array {
    this.counters.pathChallengesSent++;
    return candidate.challenge(this.random, bytes, this.host.probeTimeout, now);
  }

  onTimeout(now: Micros): void {
    if (now < this.deadline) return;
    for (const candidate of this.candidates.slice()) {
      if (candidate.deadline > now) continue;
      const wasValidated = candidate.state === CandidateState.VALIDATED;
      candidate.onTimeout(now);
      if (candidate.state !== CandidateState.FAILED) continue;
      if (!wasValidated) this.counters.pathsFailed++;
      this.drop(candidate);
      if (!this.isServer) this.host.tell({ type: 'pathFailed', local: candidate.local });
    }
    this.look();
  }

  // ---- inside ----

  /** The path that the packet came on; null when it is none that is tried. */
  private candidateOf(packet: PacketElsewhere, now: Micros): PathCandidate | null {
    const { challenge, destinationId, number, way } = packet;
    const { host, local, port } = way;
    for (const candidate of this.candidates)
      if (candidate.host === host && candidate.port === port && (this.isServer || candidate.local === local))
        return candidate;
    // [CON-87] A client tries no path but those that it wants to move to: its server stays where it is.
    // [CON-86] A packet that is late may come from where the peer was.
    if (!this.isServer || (number < this.newestHere && challenge === null)) return null;
    const peerUses = this.ids.local.sequenceOf(destinationId);
    const isMoving = peerUses !== this.usedByPeer;
    if (isMoving && !this.takesMigration) return null;
    const id = isMoving ? this.idFor(peerUses) : null;
    if (isMoving && id === null) return null; // [CON-83] nothing is sent there until there is an id for it
    if (this.candidates.length === CANDIDATES_MAX) this.drop(this.candidates[0]);
    return this.add(way, id, now);
  }

  /**
   * The peer's id for an address from which packets came under an id that it did not use before. If the same one came from several, somebody
   * sent packets again: they are answered under one id, so that the first of these addresses does not keep the others from being tried.
   */
  private idFor(peerUses: number): Uint8Array | null {
    if (peerUses === this.movesUnder)
      for (const { ownId } of this.candidates)
        if (ownId !== null && this.ids.peer.isLent(ownId)) return ownId;
    const id = this.ids.peer.lend();
    if (id !== null) this.movesUnder = peerUses;
    return id;
  }

  /** Its id was not taken back by the peer. [CON-81] */
  private mayUse({ ownId }: PathCandidate): boolean {
    return ownId === null || this.ids.peer.isLent(ownId);
  }

  private add(way: Way, ownId: Uint8Array | null, now: Micros): PathCandidate {
    const { ids } = this;
    const { greaseBit, sourceId, unpinned } = ids;
    const address =
      ownId === null ? ids : { destinationId: ownId, greaseBit, sourceId, token: NO_BYTES, unpinned };
    const candidate = new PathCandidate(
      { way, ownId, address, isAddressKnown: !this.isServer },
      this.host.probeTimeout,
      now,
    );
    this.candidates = [...this.candidates, candidate];
    return candidate;
  }

  private drop(candidate: PathCandidate): void {
    this.candidates = this.candidates.filter((other) => other !== candidate);
    const { ownId } = candidate;
    if (ownId !== null && !this.candidates.some((other) => other.ownId === ownId))
      this.ids.peer.giveBack(ownId);
  }

  /** The peer is at the candidate, and moved there. [CON-84] */
  private follow(candidate: PathCandidate, packet: PacketElsewhere, now: Micros): void {
    const used = this.ids.local.sequenceOf(packet.destinationId);
    const isRebinding = used === this.usedByPeer;
    this.usedByPeer = used;
    candidate.isSameWay = candidate.host === this.path.host;
    this.move(candidate, isRebinding ? 'rebinding' : 'migration', isRebinding, now);
  }

  /** The candidate takes the place of the path. The others are not tried any more. */
  private move(candidate: PathCandidate, reason: MoveReason, isGone: boolean, now: Micros): void {
    const { path } = this;
    const { host, local, port } = path;
    this.candidates = this.candidates.filter((other) => other !== candidate);
    if (candidate.ownId !== null) this.ids.peer.use(candidate.ownId);
    for (const other of this.candidates.slice()) this.drop(other);
    const { response } = candidate;
    this.host.onLeaving(isGone, now);
    this.newestHere = Math.max(this.newestHere, candidate.newest);
    path.moveTo(candidate, now);
    this.counters.pathChanges++;
    if (response !== null) this.host.answer(response);
    this.host.onMoved({ host, port, local }, reason, isGone, now);
  }

  /** Candidates changed. */
  private look(): void {
    let deadline = NEVER;
    let isDue = false;
    for (const candidate of this.candidates) {
      if (!this.mayUse(candidate)) candidate.leave();
      if (candidate.deadline < deadline) deadline = candidate.deadline;
      if (candidate.isDue) isDue = true;
    }
    this.deadline = deadline;
    this.isDue = isDue;
  }
}

/** Whether a frame only tries a path (RFC 9000 section 9.1). */
export function isProbingFrame(type: number): boolean {
  return (
    type === FrameType.PADDING ||
    type === FrameType.PATH_CHALLENGE ||
    type === FrameType.PATH_RESPONSE ||
    type === FrameType.NEW_CONNECTION_ID
  );
}

/** Paths that are tried at once; the oldest gives way. */
const NONE: readonly PathCandidate[] = [];
const CANDIDATES_MAX = 4;
