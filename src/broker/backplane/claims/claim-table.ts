/**
 * The claims of this node, over a bucket that all nodes see ({@link ClaimBucket}). Each is one value with a revision: whoever changes it goes on from the last change or fails, so of two
 * that want it one gets it, and who has lost it cannot write it any more. [CLU-25]
 *
 *     READING ── it is free, or its holder is gone, or it is taken by force ──> TAKING ── written ──> HELD
 *     READING ── a living node has it ──> ASKING ── it is free ──> READING          ASKING ── kept, or no answer for 2 s ──> (given up)
 *     HELD ── its values change ──> written, one change after the other ── another node has written it ──> (lost)
 *     HELD ── given back ──> RELEASING ── written ──> (none)
 *
 * What belongs to a held claim is in memory; what changes is written soon, the changes of one claim together, many claims at once, up to a bound. What is not known to be written is read again.
 *
 * It is one file, for how a claim comes, is kept and goes moves the same claims between the same states.
 */

import { Ring } from '../../../base/ring.ts';
import type { BackplaneEvents, ClaimAsker, ClaimDemand } from '../../core/backplane/backplane-port.ts';
import { type BucketEntry, type ClaimBucket, type ClaimTime, WriteFault } from './claim-bucket.ts';
import { type ClaimRecord, decodeClaim, encodeClaim, type NodeRun } from './claim-record.ts';

/** What a node says to another about a claim: it wants it; it is free; it stays; it has taken it. */
export const ClaimWord = { ASK: 1, FREE: 2, KEEP: 3, TAKEN: 4 } as const;
export type ClaimWord = (typeof ClaimWord)[keyof typeof ClaimWord];

export interface ClaimSurroundings extends ClaimTime {
  readonly bucket: ClaimBucket;
  readonly own: NodeRun;
  /** Whether this run of a node is one of the cluster. */
  isAlive(run: NodeRun): boolean;
  /** At most once. */
  say(node: string, word: ClaimWord, key: string, ageMs: number): void;
  /** For the core, in order. */
  tell(news: (events: BackplaneEvents) => void): void;
  /** {@link ClaimTable.synced} has moved. */
  onSynced(): void;
}

const State = { READING: 0, ASKING: 1, TAKING: 2, HELD: 3, RELEASING: 4 } as const;
type State = (typeof State)[keyof typeof State];

/** Changes of one claim that are to be written together. */
interface Unwritten {
  /** The first of them. */
  readonly ticket: number;
  isDone: boolean;
}

/** A claim that is lost, as long as the core has not heard so. */
interface Loss {
  /** What it has changed of it meanwhile. */
  changes: Unwritten | null;
}

/** A claim whose node is gone. */
interface Orphan {
  readonly key: string;
  readonly entry: BucketEntry;
  readonly record: ClaimRecord;
}

class Claim {
  readonly key: string;
  state: State = State.READING;
  demand: ClaimDemand;
  asker: ClaimAsker;
  entries = new Map<string, Uint8Array>();
  revision = 0;
  /** The write that is under way: its number, what it covers. */
  writing = 0;
  covered: Unwritten | null = null;
  isBusy = false;
  /** That write took it away. */
  wasRemoved = false;
  unwritten: Unwritten | null = null;
  /** It waits for its turn to be written. */
  isQueued = false;
  /** Which node has asked for it last. */
  askedBy: string | null = null;
  /** Which node has just said that it does not have it. */
  freeAt: string | null = null;
  /** It is to be given back as soon as it is here. */
  isUnwanted = false;
  /** It is wanted again when it is given back. */
  next: { readonly demand: ClaimDemand; readonly asker: ClaimAsker } | null = null;
  /** Nobody asked for it: its node is gone. */
  readonly isOrphan: boolean;
  /** The last look at the bucket that has come across it. */
  lookedAt = 0;
  cancel: (() => void) | null = null;
  askedUntil: (() => void) | null = null;

  constructor(key: string, demand: ClaimDemand, asker: ClaimAsker, isOrphan = false) {
    this.key = key;
    this.demand = demand;
    this.asker = asker;
    this.isOrphan = isOrphan;
  }
}

export class ClaimTable {
  /** Changes of what belongs to claims. */
  written = 0;
  private readonly around: ClaimSurroundings;
  private readonly claims = new Map<string, Claim>();
  private readonly queue = new Ring<Claim>();
  private readonly orphans = new Ring<Orphan>();
  private readonly unwritten = new Ring<Unwritten>();
  private readonly losses = new Map<string, Loss>();
  private writes = 0;
  private underWay = 0;
  private isPumping = false;

  constructor(around: ClaimSurroundings) {
    this.around = around;
  }

  /** Changes of which it is known that they are written, or will never be. */
  get synced(): number {
    const first = this.unwritten.peek();
    return first === undefined ? this.written : first.ticket - 1;
  }

  /** Claims that are here, or on their way. */
  get size(): number {
    return this.claims.size;
  }

  has(key: string): boolean {
    return this.claims.has(key);
  }

  /** How many further claims may be taken up from nodes that are gone. */
  get roomForOrphans(): number {
    return ORPHANS_MAX - this.orphans.length;
  }

  // ---- what the core asks ----

  claim(key: string, demand: ClaimDemand, asker: ClaimAsker): void {
    const known = this.claims.get(key);
    if (known === undefined) {
      this.begin(new Claim(key, demand, asker));
      return;
    }
    if (known.state === State.RELEASING) known.next = { demand, asker };
    else if (known.state === State.HELD) this.tellClaimed(known);
    else {
      known.isUnwanted = false;
      known.demand = demand;
      known.asker = asker;
      if (demand === 'force' && known.state === State.ASKING) this.read(known);
    }
  }

  release(key: string): void {
    const claim = this.claims.get(key);
    if (claim === undefined) return;
    if (claim.state === State.RELEASING) claim.next = null;
    else if (claim.state === State.TAKING) claim.isUnwanted = true;
    else if (claim.state !== State.HELD) this.drop(claim);
    else {
      claim.state = State.RELEASING;
      this.enqueue(claim);
    }
  }

  /** It stays here: whoever has asked is told. */
  keep(key: string): void {
    const claim = this.claims.get(key);
    if (claim?.askedBy == null) return;
    this.around.say(claim.askedBy, ClaimWord.KEEP, key, 0);
    claim.askedBy = null;
  }

  /** What belongs to a claim that is here; undefined: it is not. */
  entriesOf(key: string): ReadonlyMap<string, Uint8Array> | undefined {
    const claim = this.claims.get(key);
    return claim?.state === State.HELD ? claim.entries : undefined;
  }

  /** All that belongs to claims that are here. */
  *entries(): Iterable<readonly [string, Uint8Array]> {
    for (const claim of this.claims.values()) if (claim.state === State.HELD) yield* claim.entries;
  }

  /**
   * Changes a value of a claim that is here. Of one that is not, nothing is written; and as long as the core has not heard that it is lost, what it changes counts as unwritten: else it would
   * go on as if the claim were its own, and publish a will, say, that another node publishes. [CLU-20]
   */
  put(key: string, name: string, value: Uint8Array | null): void {
    if (this.isChangedInVain(key)) return;
    const claim = this.claims.get(key);
    if (claim?.state !== State.HELD) return;
    if (value === null && !claim.entries.delete(name)) return;
    if (value !== null) claim.entries.set(name, value);
    this.changed(claim);
  }

  /** A claim that nobody else can have begins with its first value, and ends with its last. */
  create(key: string, name: string, value: Uint8Array): void {
    if (this.isChangedInVain(key)) return; // the core takes it for its own still
    const claim = new Claim(key, 'force', NOBODY);
    claim.state = State.HELD;
    this.claims.set(key, claim);
    claim.entries.set(name, value);
    this.changed(claim);
  }

  // ---- what other nodes say ----

  /** @param ageMs - of who asks */
  hear(from: string, word: ClaimWord, key: string, ageMs: number): void {
    const claim = this.claims.get(key);
    switch (word) {
      case ClaimWord.ASK:
        if (claim === undefined) this.around.say(from, ClaimWord.FREE, key, 0);
        else {
          claim.askedBy = from;
          if (claim.state === State.HELD) this.around.tell((events) => events.claimAsked(key, from, ageMs));
        }
        return;
      case ClaimWord.FREE:
        if (claim?.state !== State.ASKING) return;
        claim.freeAt = from;
        this.read(claim);
        return;
      case ClaimWord.KEEP:
        if (claim?.state === State.ASKING) this.giveUp(claim, from, true);
        return;
      case ClaimWord.TAKEN:
        if (claim?.state === State.HELD && !claim.isBusy) this.verify(claim);
    }
  }

  /** A node is gone, and who asks it need not wait. */
  nodeGone(): void {
    for (const claim of this.claims.values()) if (claim.state === State.ASKING) this.read(claim);
  }

  /** This node was cut off for so long that others take what it has: it gives that up before. [CLU-26] */
  lapse(): void {
    for (const claim of [...this.claims.values()]) {
      if (claim.state === State.HELD || claim.state === State.RELEASING) this.lose(claim);
    }
  }

  /** A claim whose node is gone is taken, where nobody else is faster. */
  adopt(key: string, entry: BucketEntry, record: ClaimRecord): void {
    this.orphans.push({ key, entry, record });
    this.pumpSoon();
  }

  /** What the bucket says of a claim: where it is another node's, this one has not heard of it. @param look - of which that is part */
  compare(key: string, record: ClaimRecord, look: number): void {
    const claim = this.claims.get(key);
    if (claim === undefined) return;
    claim.lookedAt = look;
    if (claim.state === State.HELD && !claim.isBusy && !this.isOwn(record)) this.verify(claim);
  }

  /** The look is over: what it has not come across may have been another node's, and be over there. */
  compared(look: number): void {
    for (const claim of this.claims.values())
      if (claim.state === State.HELD && !claim.isBusy && claim.lookedAt !== look) this.verify(claim);
  }

  /** Nothing waits to be written. */
  get isIdle(): boolean {
    return this.underWay === 0 && this.queue.length === 0 && this.unwritten.length === 0;
  }

  // ---- how a claim comes here ----

  private begin(claim: Claim): void {
    this.claims.set(claim.key, claim);
    this.read(claim);
  }

  private read(claim: Claim): void {
    claim.state = State.READING;
    claim.cancel?.();
    claim.cancel = null;
    this.around.bucket.read(claim.key, (found) => {
      if (!this.isHere(claim, State.READING)) return;
      if (found === null) this.again(claim, () => this.read(claim));
      else this.look(claim, found);
    });
  }

  private look(claim: Claim, entry: BucketEntry): void {
    const { key, demand } = claim;
    const record = entry.value === null ? null : decodeClaim(entry.value);
    const { freeAt } = claim;
    claim.freeAt = null;
    if (record === null || this.isOwn(record) || !this.isHeld(record, freeAt)) {
      if (record === null || claim.asker.mayTake(record.entries)) this.take(claim, entry, record);
      else this.deny(claim);
      return;
    }
    if (claim.isOrphan) {
      this.drop(claim); // another one was faster
      return;
    }
    const { node } = record.holder;
    if (!claim.asker.mayTake(record.entries)) this.deny(claim);
    else if (demand === 'force') this.take(claim, entry, record);
    else {
      claim.state = State.ASKING;
      this.around.say(node, ClaimWord.ASK, key, claim.asker.ageMs);
      claim.askedUntil ??= this.around.after(ASK_MS, () => {
        claim.askedUntil = null;
        if (this.claims.get(key) === claim && claim.state <= State.ASKING) this.giveUp(claim, node, false);
      });
      this.again(claim, () => this.read(claim), ASK_AGAIN_MS); // what was said may be lost
    }
  }

  /** @param freeAt - node that has said that it does not have it: it was not told that it got it, and had stopped waiting by then [CLU-61] */
  private isHeld({ holder, isFree }: ClaimRecord, freeAt: string | null): boolean {
    return !isFree && holder.node !== freeAt && this.around.isAlive(holder);
  }

  private take(claim: Claim, entry: BucketEntry, record: ClaimRecord | null): void {
    const { around } = this;
    claim.state = State.TAKING;
    claim.entries = new Map(record?.entries ?? []);
    claim.writing = ++this.writes;
    const taken = { holder: around.own, isFree: false, write: claim.writing, entries: claim.entries };
    this.underWay++;
    around.bucket.write(claim.key, encodeClaim(taken), entry.revision, (outcome) => {
      this.underWay--;
      this.pump();
      if (!this.isHere(claim, State.TAKING)) return;
      if (outcome > 0) this.taken(claim, outcome, record);
      else if (claim.isUnwanted) this.drop(claim);
      else if (outcome === WriteFault.CONFLICT) this.read(claim);
      else this.again(claim, () => this.read(claim));
    });
  }

  private taken(claim: Claim, revision: number, record: ClaimRecord | null): void {
    claim.state = State.HELD;
    claim.revision = revision;
    this.stopAsking(claim);
    if (record !== null && !record.isFree && !this.isOwn(record))
      this.around.say(record.holder.node, ClaimWord.TAKEN, claim.key, 0);
    // Where nobody wants it any more, what belongs to it is looked after here all the same, until somebody does.
    if (claim.isUnwanted && claim.entries.size === 0) this.release(claim.key);
    else this.tellClaimed(claim);
  }

  private tellClaimed(claim: Claim): void {
    const entries = new Map(claim.entries);
    this.around.tell((events) => {
      if (this.isHere(claim, State.HELD)) events.claimed(claim.key, entries);
    });
  }

  private deny(claim: Claim): void {
    this.drop(claim);
    this.around.tell((events) => events.claimDenied(claim.key));
  }

  private giveUp(claim: Claim, node: string, stays: boolean): void {
    this.drop(claim);
    this.around.tell((events) => events.claimedByOther(claim.key, node, stays));
  }

  // ---- how it is kept ----

  private changed(claim: Claim): void {
    this.written++;
    claim.unwritten ??= this.unwrittenFromHere();
    this.enqueue(claim);
  }

  private isChangedInVain(key: string): boolean {
    const loss = this.losses.get(key);
    if (loss === undefined) return false;
    this.written++;
    loss.changes ??= this.unwrittenFromHere();
    return true;
  }

  private unwrittenFromHere(): Unwritten {
    const changes = { ticket: this.written, isDone: false };
    this.unwritten.push(changes);
    return changes;
  }

  private enqueue(claim: Claim): void {
    if (claim.isQueued || claim.isBusy) return;
    claim.isQueued = true;
    this.queue.push(claim);
    this.pumpSoon();
  }

  private pumpSoon(): void {
    if (this.isPumping) return;
    this.isPumping = true;
    this.around.after(0, () => {
      this.isPumping = false;
      this.pump();
    });
  }

  private pump(): void {
    while (this.underWay < UNDER_WAY_MAX) {
      const claim = this.queue.shift();
      if (claim === undefined) break;
      claim.isQueued = false;
      if (this.claims.get(claim.key) === claim && !claim.isBusy) this.write(claim);
    }
    while (this.underWay < UNDER_WAY_MAX) {
      const orphan = this.orphans.shift();
      if (orphan === undefined) return;
      if (this.claims.has(orphan.key)) continue;
      const claim = new Claim(orphan.key, 'ask', NOBODY, true);
      this.claims.set(orphan.key, claim);
      this.take(claim, orphan.entry, orphan.record);
    }
  }

  private write(claim: Claim): void {
    const { around } = this;
    claim.isBusy = true;
    claim.writing = ++this.writes;
    // What was not written the last time goes with it, and is done with it.
    if (claim.covered !== null && claim.unwritten !== null) claim.unwritten.isDone = true;
    claim.covered ??= claim.unwritten;
    claim.unwritten = null;
    const isFree = claim.state === State.RELEASING;
    const { entries } = claim;
    const isOver = entries.size === 0 && (isFree || claim.key.startsWith('w/'));
    claim.wasRemoved = isOver;
    const value = isOver ? null : encodeClaim({ holder: around.own, isFree, write: claim.writing, entries });
    this.underWay++;
    around.bucket.write(claim.key, value, claim.revision, (outcome) => {
      this.underWay--;
      claim.isBusy = false;
      this.pump();
      if (this.claims.get(claim.key) !== claim) return;
      if (outcome > 0) this.wrote(claim, outcome, isFree || isOver);
      else this.verify(claim, outcome === WriteFault.UNKNOWN);
    });
  }

  private wrote(claim: Claim, revision: number, isOver: boolean): void {
    claim.revision = revision;
    this.settle(claim.covered);
    claim.covered = null;
    if (isOver && claim.unwritten === null) this.released(claim);
    else if (claim.unwritten !== null || claim.state === State.RELEASING) this.enqueue(claim);
  }

  private released(claim: Claim): void {
    const { key, askedBy, next } = claim;
    this.drop(claim);
    if (askedBy !== null) this.around.say(askedBy, ClaimWord.FREE, key, 0);
    if (next !== null) this.begin(new Claim(key, next.demand, next.asker));
    else if (claim.entries.size > 0) this.around.after(UNTAKEN_MS, () => this.takeBack(key));
  }

  /** Whoever asked for it may not have taken it: what belongs to it has to be looked after by somebody. [CLU-60] */
  private takeBack(key: string): void {
    if (this.claims.has(key)) return;
    this.around.bucket.read(key, (found) => {
      const record = found?.value == null ? null : decodeClaim(found.value);
      if (found !== null && record?.isFree) this.adopt(key, found, record);
    });
  }

  /** Whether a claim is still here, and what was written of it last: read again, where that is not known. */
  private verify(claim: Claim, isLater = false): void {
    claim.isBusy = true;
    const look = () =>
      this.around.bucket.read(claim.key, (found) => {
        if (this.claims.get(claim.key) !== claim) return;
        if (found === null) {
          this.again(claim, look);
          return;
        }
        claim.isBusy = false;
        const record = found.value === null ? null : decodeClaim(found.value);
        const isOver = record === null ? claim.wasRemoved : record.isFree;
        const isWritten = record === null ? isOver : record.write === claim.writing % 2 ** 32;
        const isOthers = record === null ? claim.revision > 0 : !this.isOwn(record);
        if (isWritten && (record === null || this.isOwn(record))) this.wrote(claim, found.revision, isOver);
        else if (isOthers) this.lose(claim);
        else {
          claim.revision = found.revision;
          this.enqueue(claim); // it was not written
        }
      });
    if (isLater) this.again(claim, look);
    else look();
  }

  /** Another node has it, or may have it. */
  private lose(claim: Claim): void {
    const { key, covered, unwritten, next } = claim;
    this.drop(claim);
    const loss: Loss = { changes: null };
    this.losses.set(key, loss);
    this.around.tell((events) => {
      if (this.losses.get(key) === loss) this.losses.delete(key);
      events.claimLost(key);
      // Not before: what waits for these changes is told otherwise now.
      for (const changes of [covered, unwritten, loss.changes]) this.settle(changes);
    });
    if (next !== null) this.begin(new Claim(key, next.demand, next.asker));
  }

  private settle(changes: Unwritten | null): void {
    if (changes === null) return;
    changes.isDone = true;
    const before = this.synced;
    while (this.unwritten.peek()?.isDone) this.unwritten.shift();
    if (this.synced > before) this.around.onSynced();
  }

  private drop(claim: Claim): void {
    this.claims.delete(claim.key);
    this.stopAsking(claim);
    claim.cancel?.();
    claim.cancel = null;
  }

  private stopAsking(claim: Claim): void {
    claim.askedUntil?.();
    claim.askedUntil = null;
  }

  private again(claim: Claim, act: () => void, ms = AGAIN_MS): void {
    claim.cancel?.();
    claim.cancel = this.around.after(ms, () => {
      claim.cancel = null;
      if (this.claims.get(claim.key) === claim) act();
    });
  }

  private isHere(claim: Claim, state: State): boolean {
    return this.claims.get(claim.key) === claim && claim.state === state;
  }

  private isOwn({ holder }: ClaimRecord): boolean {
    const { own } = this.around;
    return holder.node === own.node && holder.number === own.number;
  }
}

const NOBODY: ClaimAsker = { mayTake: () => true, ageMs: 0 };
/** What was given back is another's after so long. */
const UNTAKEN_MS = 5_000;
/** A holder that is asked has so long for all that it has to settle. */
const ASK_MS = 2_000;
const ASK_AGAIN_MS = 400;
/** What could not be known is asked again. */
const AGAIN_MS = 200;
/** Writes that are under way at once. */
const UNDER_WAY_MAX = 512;
/** Claims without a node that wait to be taken. */
const ORPHANS_MAX = 16_384;
