/**
 * Repairs a store: what is damaged is set aside as it is, and what is sound goes on. Until what takes its place is on the disk, a file stays where it is: a repair
 * that does not come to its end has lost nothing. A damaged record costs itself; the others of its batch are found by their
 * own checksums. What is lost is said, and marked in the log, so that nobody looks for it again. [STO-25]
 */

import { dirname, join } from 'node:path';
import { codeOf, contentOf, type FileSystem, writeFully } from './file-system.ts';
import { FindingKind, type StoreFinding } from './findings.ts';
import {
  BatchFlag,
  batchBytes,
  type Change,
  decodeRecord,
  decodeSegmentHeader,
  encodeChanges,
  encodeMark,
  encodeRecords,
  encodeSegmentHeader,
  type ReadRecord,
  SegmentKind,
} from './format.ts';
import {
  folderOf,
  holdsSegments,
  type InspectedLog,
  type InspectedSegment,
  type Inspection,
  inspectStore,
  LOST_FOLDER,
  STATE_FOLDER,
} from './inspect.ts';
import { indexName } from './log-reader.ts';
import { type Manifest, type ManifestLog, writeManifest } from './manifest.ts';
import { salvage } from './salvage.ts';
import { type BadRegion, losesRecords } from './scan.ts';
import { baseOf, segmentName } from './segment-writer.ts';
import { CHECKPOINT_KEY } from './state-keys.ts';
import type { StoreSurroundings } from './surroundings.ts';

export interface RepairReport {
  /** What was found, in the words of what became of it. */
  readonly findings: readonly StoreFinding[];
  /** Records that are lost, and changes of the state; where nobody knows how many, {@link RepairReport.isExact} is false. */
  readonly recordsLost: number;
  readonly isExact: boolean;
  /** Records that were in damaged places and were found all the same. */
  readonly recordsSaved: number;
  /** Files as they were, in the store's directory. */
  readonly setAside: readonly string[];
  /** Numbers of logs whose offsets could mean other records than before: readers begin anew. */
  readonly newEpochs: readonly number[];
}

/** Repairs what {@link inspectStore} finds. The store is not in use. */
export async function repairStore(
  files: FileSystem,
  directory: string,
  surroundings: StoreSurroundings,
  onProgress?: (bytes: number) => void,
): Promise<RepairReport> {
  const repair = new Repair(files, directory, surroundings);
  let seen = await inspectStore(files, directory, { verifyBytes: Number.POSITIVE_INFINITY, onProgress });
  if (seen.manifest === null && !seen.isNew) {
    await repair.rebuildManifest(seen);
    seen = await inspectStore(files, directory, { verifyBytes: Number.POSITIVE_INFINITY, onProgress });
  }
  if (seen.manifest !== null) await repair.run(seen, seen.manifest);
  return repair.report();
}

class Repair {
  private readonly files: FileSystem;
  private readonly directory: string;
  private readonly surroundings: StoreSurroundings;
  private readonly findings: StoreFinding[] = [];
  private readonly setAside: string[] = [];
  private readonly newEpochs: number[] = [];
  private recordsLost = 0;
  private recordsSaved = 0;
  private isExact = true;

  constructor(files: FileSystem, directory: string, surroundings: StoreSurroundings) {
    this.files = files;
    this.directory = directory;
    this.surroundings = surroundings;
  }

  report(): RepairReport {
    const { findings, recordsLost, recordsSaved, isExact, setAside, newEpochs } = this;
    return { findings, recordsLost, recordsSaved, isExact, setAside, newEpochs };
  }

  async run(seen: Inspection, manifest: Manifest): Promise<void> {
    this.findings.push(...seen.findings);
    if (!seen.findings.some(({ isLoss, kind }) => isLoss || kind === FindingKind.DAMAGED)) return;
    const logs: ManifestLog[] = [];
    for (const log of seen.logs) logs.push(await this.log(log, manifest, seen.findings));
    const state = await this.state(seen, manifest);
    const { generation } = manifest;
    const repaired = { ...manifest, generation: generation + 1, closed: 0, logs, state };
    await writeManifest(this.files, this.directory, repaired, seen.newestManifest);
    await this.files.syncFolder(this.directory);
    if (seen.state.segment !== null && state.segment !== manifest.state.segment)
      await this.moveAside(seen.state.segment.file); // not before: the manifest named it
  }

  // ---- logs ----

  private async log(
    log: InspectedLog,
    manifest: Manifest,
    findings: readonly StoreFinding[],
  ): Promise<ManifestLog> {
    const { known } = log;
    const own = findings.filter((finding) => finding.log === known.name && finding.kind !== FindingKind.TORN);
    if (own.length === 0) return known;
    for (const { kind, file } of own) if (kind === FindingKind.UNEXPECTED) await this.moveAside(file);
    const { segments } = log;
    const lastThere = segments.at(-1);
    const endThere = lastThere === undefined ? 0 : this.endOf(log, lastThere);
    // A last segment that is missing is made anew, behind all that anything says that there was.
    const isMissing = lastThere?.base !== known.last;
    const last = isMissing ? Math.max(known.last, log.proven, endThere) : known.last;
    // Where the end of a log is lost, there may have been records in it that nobody knows of: then readers begin anew.
    let isCertain = lastThere !== undefined && !isMissing && !this.mayLackRecords(log, lastThere);
    for (let i = 0; i < segments.length; i++) {
      const segment = segments[i];
      const end = segments[i + 1]?.base ?? (isMissing ? last : endThere);
      if (this.isDamaged(segment) || segment.index.next < end)
        await this.segment(segment, known, manifest.salt, end);
    }
    if (isMissing) await this.emptySegment(known, last, manifest.salt);
    if (own.some(({ kind, isLoss }) => isLoss && kind === FindingKind.UNEXPECTED)) isCertain = false;
    if (!isCertain) this.newEpochs.push(known.number);
    const bases = [...segments.map(({ base }) => base), last];
    return {
      ...known,
      epoch: isCertain ? known.epoch : this.surroundings.random(),
      first: Math.min(...bases),
      last,
      segments: new Set(bases).size,
      earliest: Math.max(known.earliest, Math.min(...bases)),
      proven: Math.max(log.proven, known.proven),
    };
  }

  /** Whether anything of a segment is not as it was written, beside the end of an unfinished write. */
  private isDamaged({ content, tornAt }: InspectedSegment): boolean {
    if (content === null) return false;
    return content.header === null || content.scan.bad.some(({ start }) => tornAt < 0 || start < tornAt);
  }

  /** The offset at which the last segment of a log is to go on. */
  private endOf(log: InspectedLog, { index, content, tornAt }: InspectedSegment): number {
    const next = tornAt >= 0 || content === null ? index.next : content.scan.next;
    return Math.max(next, log.proven);
  }

  /** The end of the last segment is damaged or missing: there may have been records behind it. */
  private mayLackRecords(log: InspectedLog, segment: InspectedSegment): boolean {
    const { content, index, tornAt } = segment;
    if (content === null || tornAt >= 0) return index.next < log.proven;
    return (
      content.scan.bad.some(({ until, header }) => until === -1 && header === null) ||
      content.scan.next < log.proven
    );
  }

  /** Writes a segment anew with what of it is sound. `end`: the offset that it is to go up to. */
  private async segment(
    segment: InspectedSegment,
    known: ManifestLog,
    salt: number,
    end: number,
  ): Promise<void> {
    const bytes = segment.content?.bytes ?? (await this.contentOf(segment.file));
    const { base } = segment;
    const parts = new Rewriting(salt, this.surroundings.wallMs(), base);
    const { epoch, name, number: log } = known;
    const createdAt = segment.content?.header?.createdAt ?? this.surroundings.wallMs();
    parts.bytes.push(encodeSegmentHeader({ kind: SegmentKind.LOG, log, name, epoch, base, createdAt, salt }));
    const scan = segment.content?.scan ?? { batches: [], bad: [] };
    const pieces = [
      ...scan.batches.map(({ position, header }) => ({ at: position, header, region: null })),
      ...scan.bad.map((region) => ({ at: region.start, header: null, region })),
    ].sort((a, b) => a.at - b.at);
    for (const { at, header, region } of pieces) {
      if (segment.tornAt >= 0 && at >= segment.tornAt) break;
      if (header !== null) parts.copy(bytes.subarray(at, at + batchBytes(header)), header.base, header.count);
      else if (losesRecords(region)) this.save(parts, bytes, region, Math.max(end, region.until), salt);
    }
    if (parts.next < end) parts.hole(end);
    this.recordsLost += parts.lost;
    await this.replace(segment.file, parts.bytes);
  }

  private save(parts: Rewriting, bytes: Uint8Array, region: BadRegion, end: number, salt: number): void {
    const { header, from } = region;
    const until = region.until === -1 ? (header === null ? end : header.base + header.count) : region.until;
    if (region.until === -1 && header === null) this.isExact = false;
    const found: ReadRecord[] = [];
    for (const { index, bytes: record } of salvage(bytes, region, salt, until - from).records) {
      const decoded = decodeRecord(record, from + index);
      if (decoded !== null) found.push(decoded);
    }
    this.recordsSaved += found.length;
    for (const record of found) parts.add(record);
    parts.flush();
    if (parts.next < until) parts.hole(until);
  }

  private async emptySegment(known: ManifestLog, base: number, salt: number): Promise<void> {
    const { number: log, name, epoch } = known;
    const createdAt = this.surroundings.wallMs();
    await this.files.makeFolder(join(this.directory, folderOf(log)));
    const header = encodeSegmentHeader({ kind: SegmentKind.LOG, log, name, epoch, base, createdAt, salt });
    await this.replace(join(folderOf(log), segmentName(base)), [header]);
  }

  // ---- the state ----

  private async state(seen: Inspection, manifest: Manifest): Promise<Manifest['state']> {
    const { segment, values } = seen.state;
    if (segment !== null && !this.isDamaged(segment)) return manifest.state;
    const { salt } = manifest;
    const { wallMs } = this.surroundings;
    const number = manifest.state.segment + 1;
    const changes: Change[] = [...values].filter(([key]) => key !== CHECKPOINT_KEY); // ids may be missing: the logs have them
    const kind = SegmentKind.STATE;
    const parts = [
      encodeSegmentHeader({ kind, log: 0, name: '', epoch: 0, base: number, createdAt: wallMs(), salt }),
    ];
    for (let at = 0; at < changes.length; at += CHANGES_PER_BATCH) {
      parts.push(encodeChanges(changes.slice(at, at + CHANGES_PER_BATCH), at, at, wallMs(), salt));
    }
    parts.push(encodeMark(changes.length, changes.length, wallMs(), 0, salt));
    await this.files.makeFolder(join(this.directory, STATE_FOLDER));
    await this.replace(join(STATE_FOLDER, segmentName(number)), parts);
    for (const { start, until, from, header } of segment?.content?.scan.bad ?? []) {
      if (segment !== null && segment.tornAt >= 0 && start >= segment.tornAt) break;
      if (until === -1 && header === null) this.isExact = false;
      this.recordsLost += Math.max(0, (header === null ? until : header.base + header.count) - from);
    }
    if (segment === null) this.isExact = false;
    return { segment: number, proven: changes.length };
  }

  // ---- the manifest ----

  /** From the headers of the segments, which say of which log they are. */
  async rebuildManifest(seen: Inspection): Promise<void> {
    this.findings.push(...seen.findings);
    this.isExact = false;
    const { boot, random } = this.surroundings;
    let salt = -1;
    let state = 0;
    const logs = new Map<number, ManifestLog>();
    for (const folder of await this.files.list(this.directory)) {
      if (!holdsSegments(folder)) continue;
      const names = await this.files.list(join(this.directory, folder));
      for (const base of names.map(baseOf).sort((a, b) => a - b)) {
        if (base < 0) continue;
        const header = decodeSegmentHeader(await this.contentOf(join(folder, segmentName(base))));
        if (header !== null) salt = header.salt;
        if (folder === STATE_FOLDER)
          state = state === 0 ? base : state; // the older one, whole in any case
        else {
          const number = Number(folder.slice(4));
          const log = logs.get(number);
          logs.set(number, {
            number,
            name: header?.name ?? log?.name ?? `log-${number}`,
            epoch: random(),
            first: log?.first ?? base,
            last: base,
            segments: (log?.segments ?? 0) + 1,
            earliest: log?.first ?? base,
            proven: 0,
            interval: 0,
          });
        }
      }
    }
    for (const number of logs.keys()) this.newEpochs.push(number);
    const manifest = { version: 1, generation: 1, boot, closed: 0, state: { segment: state, proven: 0 } };
    const rebuilt = { ...manifest, salt: salt === -1 ? random() >>> 0 : salt, logs: [...logs.values()] };
    await writeManifest(this.files, this.directory, rebuilt, seen.newestManifest);
  }

  // ---- files ----

  private contentOf(file: string): Promise<Uint8Array> {
    return contentOf(this.files, join(this.directory, file));
  }

  /** Puts `parts` in the place of a file, a copy of which is set aside. */
  private async replace(file: string, parts: readonly Uint8Array[]): Promise<void> {
    const path = join(this.directory, file);
    const draft = `${path}.new`;
    await this.write(draft, Buffer.concat(parts));
    await this.copyAside(file);
    await this.files.rename(draft, path);
    await this.files.remove(join(dirname(path), indexName(baseOf(file.slice(-20))))).catch(() => {});
    await this.files.syncFolder(dirname(path));
  }

  /** Does nothing where there is no such file. */
  private async copyAside(file: string): Promise<void> {
    let bytes: Uint8Array;
    try {
      bytes = await this.contentOf(file);
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
      return; // it is not there, which is why it is repaired
    }
    await this.aside(file, (path) => this.write(path, bytes));
  }

  private async moveAside(file: string): Promise<void> {
    const from = join(this.directory, file);
    await this.aside(file, (path) => this.files.rename(from, path));
    await this.files.syncFolder(dirname(from));
  }

  /** Has a file put where nothing looks. */
  private async aside(file: string, put: (path: string) => Promise<void>): Promise<void> {
    const folder = join(this.directory, LOST_FOLDER);
    await this.files.makeFolder(folder);
    const name = `${this.surroundings.wallMs()}-${file.replaceAll(/[/\\]/g, '-')}`;
    await put(join(folder, name));
    await this.files.syncFolder(folder);
    await this.files.syncFolder(this.directory);
    this.setAside.push(join(LOST_FOLDER, name));
  }

  private async write(path: string, bytes: Uint8Array): Promise<void> {
    await this.files.remove(path).catch(() => {});
    const written = await this.files.create(path);
    try {
      await writeFully(written, bytes, 0);
      await written.sync();
    } finally {
      await written.close();
    }
  }
}

/** A segment as it is put together anew. */
class Rewriting {
  readonly bytes: Uint8Array[] = [];
  /** Offset of the next record. */
  next: number;
  lost = 0;
  private readonly salt: number;
  private readonly time: number;
  private run: ReadRecord[] = [];

  constructor(salt: number, time: number, base: number) {
    this.salt = salt;
    this.time = time;
    this.next = base;
  }

  /** A batch that is as it was. */
  copy(batch: Uint8Array, base: number, count: number): void {
    this.flush();
    if (base > this.next) this.hole(base);
    this.bytes.push(batch);
    this.next = base + count;
  }

  /** A record that was found by itself. */
  add(record: ReadRecord): void {
    if (record.offset < this.next) return;
    if (record.offset > this.next) {
      this.flush();
      this.hole(record.offset);
    }
    this.run.push(record);
    this.next = record.offset + 1;
  }

  flush(): void {
    if (this.run.length === 0) return;
    this.bytes.push(encodeRecords(this.run, this.run[0].offset, this.time, this.salt, null));
    this.run = [];
  }

  /** Nothing is left up to `base`. */
  hole(base: number): void {
    this.lost += base - this.next;
    this.bytes.push(encodeMark(base, base, this.time, BatchFlag.HOLE, this.salt));
    this.next = base;
  }
}

const CHANGES_PER_BATCH = 4_096;
