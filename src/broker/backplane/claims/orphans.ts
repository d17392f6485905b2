/**
 * Claims whose nodes are gone: each of the others looks for them and takes those that are its to take first, by a hash of node and claim, so that they seldom race; a while later whatever is
 * left. So each is taken up by one, and sessions end, wills are published and durable subscriptions expire as they would have where they were. [CLU-26]
 */

import { isGroupClaim } from '../../core/backplane/claim-keys.ts';
import type { BucketEntry, ClaimBucket, ClaimTime } from './claim-bucket.ts';
import { decodeClaim, type NodeRun } from './claim-record.ts';
import type { ClaimTable } from './claim-table.ts';

export interface OrphanSurroundings extends ClaimTime {
  readonly bucket: ClaimBucket;
  readonly own: NodeRun;
  isAlive(run: NodeRun): boolean;
  /** All nodes of the cluster, this one among them. */
  nodes(): readonly string[];
}

export class Orphans {
  private readonly around: OrphanSurroundings;
  private readonly table: ClaimTable;
  private isLooking = false;
  /** Whoever is found without a node is taken, whosever it is to take first. */
  private isLate = false;
  /** Nodes have gone since the last look began. */
  private isDue = false;
  private isClosed = false;
  private looks = 0;
  private cancel: (() => void) | null = null;

  constructor(around: OrphanSurroundings, table: ClaimTable) {
    this.around = around;
    this.table = table;
  }

  /** What an earlier run of this node has left is taken at once; that of others when it is sure that they are gone. */
  start(): void {
    this.lookIn(0);
  }

  /** A node is gone; or this one has not heard what others said for a while. */
  lookAgain(): void {
    this.isDue = true;
    this.isLate = false;
    this.lookIn(GATHER_MS);
  }

  close(): void {
    this.isClosed = true;
    this.cancel?.();
  }

  private lookIn(ms: number): void {
    this.cancel?.();
    if (this.isClosed) return;
    this.cancel = this.around.after(ms, () => this.look());
  }

  private look(): void {
    this.cancel = null;
    if (this.isLooking) return;
    this.isLooking = true;
    this.isDue = false;
    this.looks++;
    const { isLate } = this;
    const nodes = this.around.nodes();
    let left = 0;
    this.around.bucket.scan(
      (key, entry) => {
        if (this.isClosed || this.table.roomForOrphans <= 0) return false;
        if (!this.take(key, entry, nodes, isLate)) left++;
        return true;
      },
      (isWhole) => {
        this.isLooking = false;
        if (this.isClosed) return;
        if (isWhole) this.table.compared(this.looks);
        if (this.isDue) this.lookIn(GATHER_MS);
        else if (!isWhole)
          this.lookIn(GATHER_MS); // more than may be taken at once
        else if (left > 0) {
          this.isLate = true;
          this.lookIn(LATE_MS);
        }
      },
    );
  }

  /** False: it has no node, and is another's to take first. */
  private take(key: string, entry: BucketEntry, nodes: readonly string[], isLate: boolean): boolean {
    const record = entry.value === null ? null : decodeClaim(entry.value);
    if (record === null) return true;
    if (this.table.has(key)) {
      this.table.compare(key, record, this.looks);
      return true;
    }
    const { holder, isFree } = record;
    const { own } = this.around;
    // Of an earlier run, or from before this one was cut off for too long.
    const wasOurs = holder.node === own.node;
    if (!isFree && !wasOurs && this.around.isAlive(holder)) return true;
    // Who asks for what is free, or is a member of a group, comes first.
    const isOurs =
      isLate || (!isFree && (wasOurs || (!isGroupClaim(key) && firstOf(key, nodes) === own.node)));
    if (isOurs) this.table.adopt(key, entry, record);
    return isOurs;
  }
}

/** Of these nodes the one whose hash with `key` is highest: where one goes, only its keys go elsewhere. */
function firstOf(key: string, nodes: readonly string[]): string {
  let first = '';
  let highest = -1;
  for (const node of nodes) {
    const hash = hashOf(`${node} ${key}`);
    if (hash > highest || (hash === highest && node < first)) {
      first = node;
      highest = hash;
    }
  }
  return first;
}

function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash ^= hash >>> 15;
  return Math.imul(hash, 0x2c1b3c6d) >>> 0;
}

const GATHER_MS = 100;
/** Others have so long for what is theirs to take first. */
const LATE_MS = 5_000;
