/**
 * Opens a store: looks at it, puts in order what a crash has left unfinished, refuses it where something that was safe is not as it was, and says what it has
 * found. [STO-12]
 */

import { dirname, join } from 'node:path';
import { withDefaultLog } from '../core/store/retention.ts';
import type { LogOptions } from '../core/store-port.ts';
import { DiskStore, type OpenedStore } from './disk-store.ts';
import { writeFully } from './file-system.ts';
import { StoreDamagedError, type StoreFinding, storeError } from './findings.ts';
import { decodeRecord, encodeRecords, NO_LOG, type ReadRecord, SegmentKind } from './format.ts';
import {
  eachRecordOf,
  folderOf,
  type InspectedLog,
  type InspectedSegment,
  type Inspection,
  inspectStore,
  STATE_FOLDER,
} from './inspect.ts';
import { lockStore } from './lock.ts';
import { type ManifestLog, mayHaveLost } from './manifest.ts';
import { PublishedIds } from './published-ids.ts';
import { repairStore } from './repair.ts';
import { SegmentIndex } from './segment-index.ts';
import { SegmentWriter } from './segment-writer.ts';
import { CHECKPOINT_KEY, decodeCheckpoints, isForgotten, SESSIONS_PREFIX, sessionOf } from './state-keys.ts';
import { type StoreSurroundings, systemSurroundings } from './surroundings.ts';

export interface OpenOptions {
  readonly directory: string;
  readonly logs?: readonly LogOptions[] | undefined;
  readonly onCorruption?: 'refuse' | 'quarantine' | undefined;
}

/** What a start has found. */
export interface RecoveryReport {
  readonly directory: string;
  /** There was no store before. */
  readonly isNew: boolean;
  /** It was closed in order. */
  readonly wasClosed: boolean;
  readonly durationMs: number;
  readonly logs: readonly LogRecovery[];
  /** Values of the state. */
  readonly stateEntries: number;
  /** Bytes of all logs, and how many of them were read from end to end. */
  readonly bytes: number;
  readonly bytesVerified: number;
  /** Records, and changes of the state, in ends of unfinished writes: nobody was told of them as stored. */
  readonly recordsDropped: number;
  readonly findings: readonly StoreFinding[];
  /** Logs that are there and that nobody has configured: they are kept as they are. */
  readonly unused: readonly string[];
}

export interface LogRecovery {
  readonly name: string;
  readonly epoch: number;
  readonly earliest: number;
  readonly head: number;
  readonly bytes: number;
  /** Its offsets could mean other records than before. */
  readonly epochIsNew: boolean;
}

export interface OpenResult {
  readonly store: DiskStore;
  readonly report: RecoveryReport;
  /** Gives the directory back. To be called when the store is closed. */
  readonly unlock: () => void;
}

/**
 * @throws {JspError} ERR_JSP_STORE_IN_USE when another process has it; ERR_JSP_STORE_DIRECTORY when the system does not let it be opened
 * @throws {StoreDamagedError} when something that was safe is not as it was, and `onCorruption` does not say `quarantine`
 */
export async function openStore(
  options: OpenOptions,
  given: Partial<StoreSurroundings> = {},
): Promise<OpenResult> {
  const surroundings = systemSurroundings(given);
  const { directory } = options;
  let unlock = () => {};
  try {
    await surroundings.files.makeFolder(directory);
    if (given.files === undefined) unlock = lockStore(directory);
    return { ...(await openLocked(options, surroundings)), unlock };
  } catch (error) {
    unlock();
    throw storeError(directory, error);
  }
}

async function openLocked(
  { directory, logs = [], onCorruption = 'refuse' }: OpenOptions,
  surroundings: StoreSurroundings,
): Promise<Omit<OpenResult, 'unlock'>> {
  const { files, verifyBytes, clock, boot } = surroundings;
  const startedAt = clock.now();
  let seen = await inspectStore(files, directory, { verifyBytes, boot });
  let { findings } = seen;
  let repaired: readonly number[] = [];
  if (findings.some(({ isLoss }) => isLoss)) {
    if (onCorruption === 'refuse') throw new StoreDamagedError(directory, findings);
    const report = await repairStore(files, directory, surroundings);
    findings = [...report.findings];
    repaired = report.newEpochs;
    seen = await inspectStore(files, directory, { verifyBytes, boot });
    if (seen.findings.some(({ isLoss }) => isLoss)) throw new StoreDamagedError(directory, seen.findings);
  }
  const opening = new Opening(directory, surroundings, seen);
  const opened = await opening.open(withDefaultLog(logs));
  const store = new DiskStore(opened, surroundings);
  await store.start(opened.state.bytes);
  const report: RecoveryReport = {
    directory,
    isNew: seen.isNew,
    wasClosed: seen.manifest?.closed === 1,
    durationMs: (clock.now() - startedAt) / 1_000,
    logs: opened.logs.map(({ options, opened: log }) => ({
      name: options.name,
      epoch: log.epoch,
      earliest: log.earliest,
      head: (log.segments.at(-1) as SegmentIndex).next,
      bytes: log.segments.reduce((sum, { bytes }) => sum + bytes, 0),
      epochIsNew: opening.newEpochs.has(log.number) || repaired.includes(log.number),
    })),
    stateEntries: opened.state.values.size,
    bytes: seen.bytes,
    bytesVerified: seen.bytesRead,
    recordsDropped: findings.reduce(
      (sum, { kind, from, until }) => sum + (kind === 'torn' ? until - from : 0),
      0,
    ),
    findings,
    unused: opened.others.map(({ name }) => name),
  };
  return { store, report };
}

class Opening {
  /** Numbers of logs whose epoch has changed. */
  readonly newEpochs = new Set<number>();
  private readonly directory: string;
  private readonly surroundings: StoreSurroundings;
  private readonly seen: Inspection;
  private readonly salt: number;

  constructor(directory: string, surroundings: StoreSurroundings, seen: Inspection) {
    this.directory = directory;
    this.surroundings = surroundings;
    this.seen = seen;
    this.salt = seen.manifest?.salt ?? surroundings.random() >>> 0;
  }

  async open(logs: readonly LogOptions[]): Promise<OpenedStore> {
    const { directory, seen, salt } = this;
    const { files } = this.surroundings;
    for (const file of seen.leftovers) await files.remove(join(directory, file));
    const state = await this.openState();
    const ids = this.idsOf();
    const opened: OpenedStore['logs'][number][] = [];
    let highest = Math.max(0, ...seen.logs.map(({ known }) => known.number));
    for (const options of logs) {
      const there = seen.logs.find(({ known }) => known.name === options.name);
      const log =
        there === undefined ? await this.create(options.name, ++highest) : (await this.settled(there)).opened;
      opened.push({ options, opened: log });
    }
    const others: ManifestLog[] = [];
    for (const log of seen.logs) {
      if (logs.some(({ name }) => name === log.known.name)) continue;
      // Nobody reads it now, and what is said of it is as true as of the others: whoever configures it again goes by it.
      const { opened, proven } = await this.settled(log);
      others.push({ ...log.known, epoch: opened.epoch, proven });
    }
    await files.syncFolder(directory);
    await files.syncFolder(dirname(directory)).catch(() => {}); // may be nobody's to open; it was made before
    const manifest = { generation: seen.manifest?.generation ?? 0, newest: seen.newestManifest };
    return { directory, manifest, salt, logs: opened, others, state, ids };
  }

  private async openState(): Promise<OpenedStore['state']> {
    const { seen, directory, salt } = this;
    const folder = join(directory, STATE_FOLDER);
    const { segment, values } = seen.state;
    if (segment !== null && seen.manifest !== null) {
      await this.finishSegment(segment, 0);
      const { bytes, next: changes } = segment.index;
      return { folder, segment: seen.manifest.state.segment, bytes, changes, values };
    }
    const { files, wallMs } = this.surroundings;
    await files.makeFolder(folder);
    await files.syncFolder(directory);
    const writer = new SegmentWriter(files, folder);
    const kind = SegmentKind.STATE;
    await writer.begin({ kind, log: 0, name: '', epoch: 0, base: 1, createdAt: wallMs(), salt });
    const bytes = writer.position;
    await writer.close();
    return { folder, segment: 1, bytes, changes: 0, values };
  }

  private async create(name: string, number: number): Promise<OpenedStore['logs'][number]['opened']> {
    const { directory, salt } = this;
    const { files, wallMs, random } = this.surroundings;
    const folder = join(directory, folderOf(number));
    await files.makeFolder(folder);
    await files.syncFolder(directory);
    const epoch = random();
    const writer = new SegmentWriter(files, folder);
    await writer.begin({
      kind: SegmentKind.LOG,
      log: number,
      name,
      epoch,
      base: 1,
      createdAt: wallMs(),
      salt,
    });
    await writer.close();
    return { number, epoch, folder, segments: [new SegmentIndex(1)], earliest: 1 };
  }

  /** A log whose unfinished write is put in order: all of it is on the disk. */
  private async settled(
    log: InspectedLog,
  ): Promise<{ readonly opened: OpenedStore['logs'][number]['opened']; readonly proven: number }> {
    const { known } = log;
    const last = log.segments.at(-1);
    if (last !== undefined) await this.finishSegment(last, log.proven);
    const hasLost = this.mayHaveLost(known); // [STO-23] Readers may have seen records that the disk had not.
    if (hasLost) this.newEpochs.add(known.number);
    const epoch = hasLost ? this.surroundings.random() : known.epoch;
    const segments = log.segments.map(({ index }) => index);
    const folder = join(this.directory, folderOf(known.number));
    const opened = { number: known.number, epoch, folder, segments, earliest: known.earliest };
    return { opened, proven: Math.max(log.proven, last?.index.next ?? 0) };
  }

  /**
   * Takes away the end of an unfinished write, but what of it is whole; and gives the disk once more what it may not have: what was written last was perhaps
   * never synced, and after a failed sync the system would not write it again by itself. [STO-17]
   */
  private async finishSegment(segment: InspectedSegment, proven: number): Promise<void> {
    const { content, index, tornAt, tornRecords } = segment;
    if (content === null) return;
    const { bytes, scan } = content;
    let safe = proven;
    let from = index.bytes;
    for (const { header } of scan.batches) safe = Math.max(safe, header.syncedBefore);
    for (const { position, header } of scan.batches) {
      if (position >= index.bytes || header.base + header.count <= safe) continue;
      from = Math.min(from, position);
    }
    if (tornAt < 0 && from === index.bytes) return;
    const time = this.surroundings.wallMs();
    const rest =
      tornRecords.length === 0
        ? null
        : this.encodeAgain(tornRecords, index.next, Math.min(safe, index.next), time);
    const file = await this.surroundings.files.open(join(this.directory, segment.file), 'write');
    try {
      if (tornAt >= 0) await file.truncate(index.bytes);
      if (from < index.bytes) await writeFully(file, bytes.subarray(from, index.bytes), from);
      if (rest !== null) {
        await writeFully(file, rest, index.bytes);
        const batch = {
          position: index.bytes,
          size: rest.length,
          base: index.next,
          count: tornRecords.length,
          time,
        };
        index.add(batch, 0, 0);
      }
      await file.sync();
    } finally {
      await file.close();
    }
  }

  /** A batch of records as they were read. */
  private encodeAgain(
    records: readonly Uint8Array[],
    base: number,
    syncedBefore: number,
    time: number,
  ): Uint8Array {
    const whole = records.map((record, i) => decodeRecord(record, base + i) as ReadRecord);
    return encodeRecords(whole, syncedBefore, time, this.salt, null);
  }

  private mayHaveLost(known: ManifestLog): boolean {
    const { manifest } = this.seen;
    return manifest !== null && mayHaveLost(manifest, known, this.surroundings.boot);
  }

  /** The ids of the last checkpoint, and those of what came into the logs since. [STO-21] */
  private idsOf(): PublishedIds {
    const { seen, salt } = this;
    const { values } = seen.state;
    const ids = new PublishedIds();
    const forgotten = new Set<number>();
    for (const [key, value] of values) {
      if (!key.startsWith(SESSIONS_PREFIX)) continue;
      if (isForgotten(value)) forgotten.add(sessionOf(key));
      else ids.restore(sessionOf(key), value);
    }
    const checkpoints = decodeCheckpoints(values.get(CHECKPOINT_KEY));
    const origins: ReadRecord[] = [];
    const since = new Map<InspectedLog, number>();
    for (const log of seen.logs) {
      const { number, epoch } = log.known;
      const checkpoint = checkpoints.get(number);
      const speaksOfOthers = this.mayHaveLost(log.known) || (checkpoint?.epoch ?? epoch) !== epoch;
      if (speaksOfOthers) ids.forgetLog(number); // they may be of records that the disk has lost
      since.set(log, speaksOfOthers ? 0 : (checkpoint?.offset ?? 0));
    }
    const eachNew = (take: (record: ReadRecord, log: number) => void) => {
      for (const [log, from] of since) {
        eachRecordOf(log, from, salt, (record) => {
          if (record.session !== 0 && !forgotten.has(record.session)) take(record, log.known.number);
        });
      }
    };
    eachNew((record, log) => {
      const { session, sequence, id, originLog } = record;
      ids.replay(log, session, sequence, id);
      if (originLog !== NO_LOG) origins.push(record);
    });
    for (const record of origins) ids.checkOrigin(record);
    if (ids.hasGaps) eachNew((record) => ids.fillGap(record));
    return ids;
  }
}
