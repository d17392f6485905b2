/**
 * A store on the disk: its logs, its state, and what ties them together: the manifest, the checkpoint of ids, and what is done now and then.
 */

import { join } from 'node:path';
import { MILLISECOND } from '../../base/time.ts';
import type { TimerHandle } from '../../udp/clock.ts';
import { NO_IDS } from '../core/store/memory-store.ts';
import type {
  LogOptions,
  LogPort,
  StatePort,
  StoreEvents,
  StoreFailure,
  StorePort,
} from '../core/store-port.ts';
import { DiskLog, LogLife, type LogOwner, type OpenedLog } from './disk-log.ts';
import { DiskState, type OpenedState, type StateOwner } from './disk-state.ts';
import { FindingKind, finding, recordsText, type StoreFinding } from './findings.ts';
import { folderOf } from './inspect.ts';
import type { ReadDamage } from './log-reader.ts';
import { type ManifestLog, ManifestWriter } from './manifest.ts';
import { OpenSegments } from './open-segments.ts';
import type { PublishedIds } from './published-ids.ts';
import { segmentName } from './segment-writer.ts';
import {
  CHECKPOINT_KEY,
  type Checkpoint,
  encodeCheckpoints,
  encodeProven,
  FORGOTTEN,
  isForgotten,
  PROVEN_KEY,
  SESSIONS_PREFIX,
  sessionKey,
} from './state-keys.ts';
import type { StoreSurroundings } from './surroundings.ts';

/** What recovery has found and put in order. */
export interface OpenedStore {
  readonly directory: string;
  /** The manifest that was found: how many there were before, and in which file it is. */
  readonly manifest: { readonly generation: number; readonly newest: number };
  readonly salt: number;
  readonly logs: readonly { readonly options: LogOptions; readonly opened: OpenedLog }[];
  /** Logs that are there and that nobody has configured. */
  readonly others: readonly ManifestLog[];
  readonly state: OpenedState;
  readonly ids: PublishedIds;
}

export interface StoreMetrics {
  readonly logs: readonly {
    readonly name: string;
    readonly earliest: number;
    readonly head: number;
    readonly bytes: number;
    readonly segments: number;
    /** open, full, failed or closed */
    readonly life: 'open' | 'full' | 'failed' | 'closed';
    /** Since the start: records and bytes stored, in how many batches. */
    readonly recordsStored: number;
    readonly bytesStored: number;
    readonly batches: number;
  }[];
  readonly stateEntries: number;
  readonly stateBytes: number;
  readonly stateLife: 'open' | 'full' | 'failed' | 'closed';
  /** Records that were stored and turned out unreadable. */
  readonly recordsDamaged: number;
}

/** What a store tells whoever runs it. */
export interface StoreListener {
  /** There is news for the core. */
  onNews(): void;
  /** Something that was stored cannot be read. */
  onFinding(finding: StoreFinding): void;
  /** A log, or the state (null), takes nothing more: for now, or for good. */
  onFailure(log: string | null, failure: StoreFailure): void;
}

export class DiskStore implements StorePort, LogOwner, StateOwner {
  readonly logs: readonly LogPort[];
  readonly state: StatePort;
  readonly surroundings: StoreSurroundings;
  readonly salt: number;
  readonly ids: PublishedIds;
  readonly openSegments: OpenSegments;
  hasNews = false;
  listener: StoreListener | null = null;
  private readonly diskLogs: readonly DiskLog[];
  private readonly diskState: DiskState;
  private readonly others: readonly ManifestLog[];
  private readonly manifest: ManifestWriter;
  private bytesSinceCheckpoint = 0;
  private checkpointing: Promise<void> | null = null;
  private idsHaveChanged = false;
  /** Up to where each log was on the disk when that was written to the state last; one that nobody has configured stays as it is. */
  private readonly proven: Map<number, number>;
  private recordsDamaged = 0;
  private readonly damage = new Set<string>();
  private timer: TimerHandle | null = null;
  private isClosed = false;

  constructor(opened: OpenedStore, surroundings: StoreSurroundings) {
    this.surroundings = surroundings;
    this.salt = opened.salt;
    this.ids = opened.ids;
    this.openSegments = new OpenSegments(surroundings.files);
    this.others = opened.others;
    this.proven = new Map(opened.others.map(({ number, proven }) => [number, proven]));
    this.diskLogs = opened.logs.map(({ options, opened: log }) => new DiskLog(options, log, this));
    this.diskState = new DiskState(opened.state, this);
    this.logs = this.diskLogs;
    this.state = this.diskState;
    this.manifest = new ManifestWriter(surroundings.files, opened.directory, opened.manifest, () => ({
      salt: this.salt,
      boot: surroundings.boot,
      closed: this.isClosed ? 1 : 0,
      state: { segment: this.diskState.segment, proven: this.diskState.changes },
      logs: [...this.diskLogs.map((log) => log.inManifest()), ...this.others],
    }));
  }

  /** Says in the manifest that the store is in use, and begins. */
  async start(stateBytes: number): Promise<void> {
    await this.manifest.save();
    await this.diskState.start(stateBytes);
    for (const log of this.diskLogs) await log.start();
    this.idsHaveChanged = this.ids.hasChanged; // what was read from the logs need not be read again
    this.tickLater();
  }

  tell(events: StoreEvents): void {
    this.hasNews = false;
    this.diskState.tell(events);
    for (const log of this.diskLogs) log.tell(events);
  }

  lastIds(session: number): readonly number[] {
    return this.ids.has(session) ? this.ids.lastIds(session) : NO_IDS;
  }

  isMissing(session: number, sequence: number, id: number): boolean {
    return this.ids.isMissing(session, sequence, id);
  }

  forgetSession(session: number): void {
    if (!this.ids.has(session) && this.state.get(sessionKey(session)) === undefined) return;
    this.ids.forget(session);
    this.state.put(sessionKey(session), FORGOTTEN);
  }

  metrics(): StoreMetrics {
    return {
      logs: this.diskLogs.map((log) => ({
        name: log.name,
        earliest: log.earliest,
        head: log.head,
        bytes: log.bytes,
        segments: log.segmentCount,
        life: LIVES[log.life],
        recordsStored: log.counters.records,
        bytesStored: log.counters.bytes,
        batches: log.counters.batches,
      })),
      stateEntries: this.diskState.size,
      stateBytes: this.diskState.bytes,
      stateLife: LIVES[this.diskState.life],
      recordsDamaged: this.recordsDamaged,
    };
  }

  /** Resolves when everything that was put or appended until now is on the disk, or will not be. */
  async idle(): Promise<void> {
    for (const log of this.diskLogs) await log.idle();
    await this.diskState.idle();
  }

  /** Writes what waits, and leaves the store so that the next start need not look for an unfinished write. */
  async close(): Promise<void> {
    if (this.timer !== null) this.surroundings.clock.clearTimer(this.timer);
    this.timer = null;
    await this.openSegments.closeAll();
    for (const log of this.diskLogs) await log.idle();
    if (this.isSound) await this.checkpoint();
    const failures: unknown[] = [];
    for (const part of [...this.diskLogs, this.diskState])
      await part.close().catch((error) => failures.push(error));
    if (failures.length > 0) throw failures[0];
    if (this.diskState.life !== LogLife.CLOSED) return;
    this.isClosed = this.diskLogs.every(({ life }) => life === LogLife.CLOSED);
    await this.manifest.save();
  }

  /** Lets go of everything without writing anything more, as a crash does. */
  async abandon(): Promise<void> {
    if (this.timer !== null) this.surroundings.clock.clearTimer(this.timer);
    await this.openSegments.closeAll();
    for (const part of [...this.diskLogs, this.diskState]) await part.abandon();
  }

  // ---- for its parts ----

  saveManifest(): Promise<void> {
    return this.manifest.save();
  }

  wake(): void {
    if (this.hasNews) return;
    this.hasNews = true;
    this.listener?.onNews();
  }

  onFailure(log: string | null, failure: StoreFailure): void {
    this.wake();
    this.listener?.onFailure(log, failure);
  }

  onStored(bytes: number): void {
    this.idsHaveChanged = true;
    this.bytesSinceCheckpoint += bytes;
    if (this.bytesSinceCheckpoint >= this.surroundings.checkpointBytes) void this.checkpoint();
  }

  onDamage(log: DiskLog, { segment, position, from, until, records }: ReadDamage): void {
    const file = join(folderOf(log.number), segmentName(segment));
    if (this.damage.has(`${file} ${position}`)) return;
    if (this.damage.size < DAMAGE_MAX) this.damage.add(`${file} ${position}`);
    this.recordsDamaged += records;
    const message = `cannot be read any more; it concerns ${recordsText(log.name, from, until)}, of which ${records} are lost`;
    const where = { position, log: log.name, from, until };
    this.listener?.onFinding(finding(FindingKind.DAMAGED, file, message, where));
  }

  /** [STO-11] Together with what is written anyway: how far the logs are. */
  onWrite(): void {
    let hasMoved = false;
    for (const log of this.diskLogs) {
      const { proven } = log.inManifest();
      if (this.proven.get(log.number) === proven) continue;
      this.proven.set(log.number, proven);
      hasMoved = true;
    }
    if (hasMoved) this.state.put(PROVEN_KEY, encodeProven(this.proven));
  }

  // ---- now and then ----

  /**
   * Remembers the ids of all sequences, so that a start reads the logs from here on only. What they say of a log is written when the log is on the disk that
   * far; where one fails meanwhile, what was refused is not remembered. [STO-21]
   */
  private checkpoint(): Promise<void> {
    this.checkpointing ??= this.writeCheckpoint().finally(() => {
      this.checkpointing = null;
    });
    return this.checkpointing;
  }

  private async writeCheckpoint(): Promise<void> {
    this.bytesSinceCheckpoint = 0;
    if (!this.idsHaveChanged || !this.isSound) return;
    this.idsHaveChanged = false;
    const checkpoints = new Map<number, Checkpoint>();
    for (const { number, epoch, proven } of this.others) checkpoints.set(number, { epoch, offset: proven });
    const heads = this.diskLogs.map((log) => ({ log, head: log.head }));
    for (const { log, head } of heads) checkpoints.set(log.number, { epoch: log.epoch, offset: head });
    const values = this.ids.takeChanged();
    const forgotten = [...this.state.entries(SESSIONS_PREFIX)].filter(([, value]) => isForgotten(value));
    for (const { log, head } of heads) await log.reached(head);
    if (!this.isSound || heads.some(({ log, head }) => log.synced < head)) {
      this.ids.changeAgain(values.map(([session]) => session));
      this.idsHaveChanged = true;
      return;
    }
    for (const [session, value] of values)
      if (this.ids.has(session)) this.state.put(sessionKey(session), value);
    this.state.put(CHECKPOINT_KEY, encodeCheckpoints(checkpoints));
    for (const [key] of forgotten) {
      const value = this.state.get(key);
      if (value !== undefined && isForgotten(value)) this.state.delete(key);
    }
  }

  private get isSound(): boolean {
    return this.diskState.life === LogLife.OPEN && this.diskLogs.every(({ life }) => life === LogLife.OPEN);
  }

  private tickLater(): void {
    const { clock, wallMs } = this.surroundings;
    let ticks = 0;
    const again = () => {
      this.timer = clock.setTimer(clock.now() + TICK_MS * MILLISECOND, () => {
        const now = wallMs();
        for (const log of this.diskLogs) log.trim(now);
        if (++ticks % CHECKPOINT_TICKS === 0) void this.checkpoint();
        again();
      });
    };
    again();
  }
}

const LIVES = ['open', 'full', 'failed', 'closed'] as const;
const TICK_MS = 1_000;
const CHECKPOINT_TICKS = 60;
/** Places of damage that are told once only. */
const DAMAGE_MAX = 10_000;
