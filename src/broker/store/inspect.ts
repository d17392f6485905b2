/**
 * Looks at a store without changing it: what is there, what it says, and what of it is not as it was written. A start, `jsp store check` and
 * `jsp store repair` all go by this. [STO-26] It is one file, so that what is looked at, and in which order, is told once.
 */

import { join } from 'node:path';
import { codeOf, contentOf, type FileSystem, readFully } from './file-system.ts';
import { FindingKind, finding, recordsText, type StoreFinding } from './findings.ts';
import {
  BATCH_HEADER_BYTES,
  batchBytes,
  decodeChange,
  decodeRecord,
  decodeSegmentHeader,
  eachRecord,
  type ReadRecord,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
  SegmentKind,
} from './format.ts';
import { indexName } from './log-reader.ts';
import { type Manifest, type ManifestLog, mayHaveLost, readManifest } from './manifest.ts';
import { type Salvage, salvage } from './salvage.ts';
import { type BadRegion, losesRecords, type SegmentScan, scanSegment, tornRegion, wasSafe } from './scan.ts';
import { decodeIndex, SegmentIndex } from './segment-index.ts';
import { baseOf, segmentName } from './segment-writer.ts';
import { CHECKPOINT_KEY, decodeCheckpoints, decodeProven, PROVEN_KEY } from './state-keys.ts';

export const STATE_FOLDER = 'state';
export const LOST_FOLDER = 'lost';

export function folderOf(log: number): string {
  return `log-${log}`;
}

/** Whether a folder of that name in a store is of a log or the state. */
export function holdsSegments(folder: string): boolean {
  return folder === STATE_FOLDER || /^log-\d+$/.test(folder);
}

export interface InspectedSegment {
  readonly base: number;
  /** Path in the store's directory. */
  readonly file: string;
  readonly index: SegmentIndex;
  /** Null: its index was believed, and it was not read. */
  readonly content: {
    readonly bytes: Uint8Array;
    readonly scan: SegmentScan;
    readonly header: SegmentHeader | null;
  } | null;
  /** Where the end of an unfinished write begins; -1: there is none. */
  readonly tornAt: number;
  /** Records of that write which are whole, one after the other from the first on. */
  readonly tornRecords: readonly Uint8Array[];
}

export interface InspectedLog {
  readonly known: ManifestLog;
  readonly segments: readonly InspectedSegment[];
  /** All below was on the disk, as anything in the store says. */
  readonly proven: number;
}

export interface InspectedState {
  readonly segment: InspectedSegment | null;
  readonly values: Map<string, Uint8Array>;
}

export interface Inspection {
  /** Null: there is none that can be read, or the store is new. */
  readonly manifest: Manifest | null;
  /** There is nothing here yet. */
  readonly isNew: boolean;
  /** Which of its two files counts. */
  readonly newestManifest: number;
  readonly logs: readonly InspectedLog[];
  readonly state: InspectedState;
  readonly findings: StoreFinding[];
  /** Files that nothing needs. */
  readonly leftovers: readonly string[];
  /** Bytes of all segments, and how many of them were read. */
  readonly bytes: number;
  readonly bytesRead: number;
}

/** How much of a store is read. */
export interface InspectionDepth {
  /** Everything, where the store has no more bytes than this. */
  readonly verifyBytes: number;
  readonly entryBytes?: number;
  /** Which start of the machine it is. Default: not known. */
  readonly boot?: string;
  /** Called as it goes on, for those who show progress. */
  readonly onProgress?: ((bytes: number) => void) | undefined;
}

export async function inspectStore(
  files: FileSystem,
  directory: string,
  depth: InspectionDepth,
): Promise<Inspection> {
  const found = await readManifest(files, directory);
  const inspector = new Inspector(files, directory, depth);
  if (found.manifest === null) {
    const segments = await inspector.segmentsAnywhere();
    const withRecords = segments.filter(({ hasRecords }) => hasRecords);
    // The first of the two may be torn while the other is not there yet: then nothing has ever been stored.
    const isNew = withRecords.length === 0 && found.damaged.length < 2;
    if (!isNew) inspector.noManifest(found.damaged);
    const leftovers = isNew ? segments.map(({ file }) => file) : [];
    const state = { segment: null, values: new Map() };
    return inspector.result({
      manifest: null,
      isNew,
      newestManifest: found.newest,
      logs: [],
      state,
      leftovers,
    });
  }
  for (const file of found.damaged) inspector.manifestCopy(file, 'damaged');
  if (found.damaged.length === 0) for (const file of found.missing) inspector.manifestCopy(file, 'missing');
  const { manifest } = found;
  await inspector.measure(manifest);
  const state = await inspector.state(manifest);
  const proven = decodeProven(state.values.get(PROVEN_KEY));
  const checkpoints = decodeCheckpoints(state.values.get(CHECKPOINT_KEY));
  const logs: InspectedLog[] = [];
  for (const known of manifest.logs) {
    const safe = Math.max(known.proven, proven.get(known.number) ?? 0);
    const checkpoint = checkpoints.get(known.number);
    const isCovered = checkpoint?.epoch === known.epoch && !mayHaveLost(manifest, known, depth.boot ?? '');
    logs.push(await inspector.log(manifest, known, safe, isCovered ? checkpoint.offset : 0));
  }
  const leftovers = await inspector.leftovers(manifest, state);
  const newestManifest = found.newest;
  return inspector.result({ manifest, isNew: false, newestManifest, logs, state, leftovers });
}

/** Calls `take` with each record of a log from `from` on that its segments, as far as they were read, have. */
export function eachRecordOf(
  log: InspectedLog,
  from: number,
  salt: number,
  take: (record: ReadRecord) => void,
): void {
  for (const { content, tornAt, tornRecords, index } of log.segments) {
    for (let i = 0; i < tornRecords.length; i++) {
      const record = decodeRecord(tornRecords[i], index.next + i);
      if (record !== null) take(record);
    }
    if (content === null || content.scan.next <= from) continue;
    for (const { position, header } of content.scan.batches) {
      if (header.base + header.count <= from || (tornAt >= 0 && position >= tornAt)) continue;
      const body = content.bytes.subarray(position + BATCH_HEADER_BYTES, position + batchBytes(header));
      eachRecord(body, header.count, true, salt, (i, start, end) => {
        const record = header.base + i < from ? null : decodeRecord(body, header.base + i, start, end);
        if (record !== null) take(record);
      });
    }
  }
}

class Inspector {
  private readonly files: FileSystem;
  private readonly directory: string;
  private readonly depth: InspectionDepth;
  private readonly findings: StoreFinding[] = [];
  private bytes = 0;
  private bytesRead = 0;
  private readsAll = true;

  constructor(files: FileSystem, directory: string, depth: InspectionDepth) {
    this.files = files;
    this.directory = directory;
    this.depth = depth;
  }

  result(seen: Omit<Inspection, 'findings' | 'bytes' | 'bytesRead'>): Inspection {
    const { findings, bytes, bytesRead } = this;
    return { ...seen, findings, bytes, bytesRead };
  }

  /** Whether the store is small enough to be read from end to end. */
  async measure(manifest: Manifest): Promise<void> {
    for (const { number } of manifest.logs) {
      for (const name of await this.files.list(join(this.directory, folderOf(number)))) {
        if (baseOf(name) >= 0) this.bytes += await this.sizeOf(join(folderOf(number), name));
      }
    }
    this.readsAll = this.bytes <= this.depth.verifyBytes;
  }

  async state(manifest: Manifest): Promise<InspectedState> {
    const { salt, state } = manifest;
    const values = new Map<string, Uint8Array>();
    const file = join(STATE_FOLDER, segmentName(state.segment));
    const bytes = await this.contentIfThere(file);
    if (bytes === null) {
      this.add(FindingKind.MISSING, file, 'the state of the broker is not there', { until: state.proven });
      return { segment: null, values };
    }
    const segment = this.scanned(file, bytes, STATE, 0, salt, state.proven);
    const { scan } = segment.content as NonNullable<InspectedSegment['content']>;
    const take = (record: Uint8Array) => {
      const change = decodeChange(record);
      if (change === null) return;
      if (change[1] === null) values.delete(change[0]);
      else values.set(change[0], change[1]);
    };
    const apply = (at: number, count: number, size: number, isSound: boolean) => {
      const body = bytes.subarray(at + BATCH_HEADER_BYTES, at + size);
      return eachRecord(body, count, isSound, salt, (_, start, end) => take(body.subarray(start, end)));
    };
    const parts = [
      ...scan.batches.map(({ position, header }) => ({ at: position, header, isSound: true })),
      ...scan.bad.flatMap(({ start, header }) =>
        header === null ? [] : [{ at: start, header, isSound: false }],
      ),
    ].sort((a, b) => a.at - b.at);
    for (const { at, header, isSound } of parts) {
      if (segment.tornAt >= 0 && at >= segment.tornAt) break;
      apply(at, header.count, batchBytes(header), isSound);
    }
    return { segment, values };
  }

  /** @param readFrom - segments with records from this offset on are read in any case */
  async log(manifest: Manifest, known: ManifestLog, proven: number, readFrom: number): Promise<InspectedLog> {
    const folder = folderOf(known.number);
    const names = await this.files.list(join(this.directory, folder));
    const bases = names.map(baseOf).filter((base) => base >= known.first && base <= known.last);
    bases.sort((a, b) => a - b);
    const segments: InspectedSegment[] = [];
    if (bases.length > 0 && bases[0] > known.first) {
      this.missing(known.name, join(folder, segmentName(known.first)), known.first, bases[0]);
    }
    for (let i = 0; i < bases.length; i++) {
      const end = bases[i + 1] ?? proven; // the next one begins where this one ends
      const segment =
        (bases[i] === known.last ? null : await this.unread(known, bases[i], end, manifest.salt, readFrom)) ??
        (await this.segment(known, bases[i], manifest.salt, end));
      segments.push(segment);
    }
    const next = segments.at(-1)?.index.next ?? known.first;
    if (bases.at(-1) !== known.last) {
      this.missing(
        known.name,
        join(folder, segmentName(known.last)),
        next,
        Math.max(next, known.last, proven),
      );
    } else if (segments.length < known.segments && this.findings.every(({ log }) => log !== known.name)) {
      this.missing(known.name, folder, next, next);
    }
    for (const name of names) {
      const base = baseOf(name);
      if (base > known.last) await this.unexpected(known.name, join(folder, name), manifest.salt);
    }
    return { known, segments, proven };
  }

  /** Files from before that nothing needs. Called when everything else was looked at. */
  async leftovers(manifest: Manifest, state: InspectedState): Promise<string[]> {
    const found: string[] = [];
    const look = async (folder: string, isNeeded: (base: number) => boolean) => {
      for (const name of await this.files.list(join(this.directory, folder))) {
        const base = baseOf(name.replace(/\.idx$/, '.seg'));
        if (name.endsWith('.new') || (base >= 0 && !isNeeded(base))) found.push(join(folder, name));
      }
    };
    if (state.segment !== null) await look(STATE_FOLDER, (base) => base === manifest.state.segment);
    const unexpected = this.findings.flatMap(({ kind, file }) =>
      kind === FindingKind.UNEXPECTED ? [file] : [],
    );
    for (const { number, first, last } of manifest.logs)
      await look(folderOf(number), (base) => base >= first && base <= last);
    return found.filter((file) => !unexpected.includes(file));
  }

  noManifest(damaged: readonly string[]): void {
    const file = damaged[0] ?? 'manifest.0';
    const kind = damaged.length > 0 ? FindingKind.DAMAGED : FindingKind.MISSING;
    this.add(kind, file, 'neither of the two files that say what there is can be read');
  }

  manifestCopy(file: string, what: 'damaged' | 'missing'): void {
    const kind = what === 'damaged' ? FindingKind.DAMAGED : FindingKind.MISSING;
    const message = `one of the two files that say what there is is ${what}; the other one has it`;
    this.add(kind, file, message, { isLoss: false });
  }

  /** Segments of a store without a manifest. */
  async segmentsAnywhere(): Promise<{ file: string; hasRecords: boolean }[]> {
    const found: { file: string; hasRecords: boolean }[] = [];
    for (const folder of await this.files.list(this.directory)) {
      if (!holdsSegments(folder)) continue;
      for (const name of await this.files.list(join(this.directory, folder))) {
        const file = join(folder, name);
        if (baseOf(name) >= 0)
          found.push({ file, hasRecords: (await this.sizeOf(file)) > SEGMENT_HEADER_BYTES });
      }
    }
    return found;
  }

  private async segment(
    known: ManifestLog,
    base: number,
    salt: number,
    proven: number,
  ): Promise<InspectedSegment> {
    const file = join(folderOf(known.number), segmentName(base));
    const bytes = await this.contentIfThere(file);
    if (bytes === null) throw new Error(`${file} has gone while it was looked at`);
    return this.scanned(file, bytes, known, base, salt, proven);
  }

  /** A full segment of a large store, as its index has it; null: it is to be read. */
  private async unread(
    known: ManifestLog,
    base: number,
    end: number,
    salt: number,
    readFrom: number,
  ): Promise<InspectedSegment | null> {
    if (this.readsAll) return null;
    const folder = folderOf(known.number);
    const file = join(folder, segmentName(base));
    const bytes = await this.contentIfThere(join(folder, indexName(base)), false);
    if (bytes === null) return null;
    const { size, header } = await this.beginningOf(file);
    const index = decodeIndex(bytes, base, size, salt);
    const isOwn = header !== null && isHeaderOf(header, file, known.number);
    const isUseful = isOwn && index !== null && index.next === end && index.next <= readFrom;
    return !isUseful ? null : { base, file, index, content: null, tornAt: -1, tornRecords: [] };
  }

  /** A file that is the segment of something else has nothing of what should be here. [STO-3] */
  private scanned(
    file: string,
    content: Uint8Array,
    owner: Pick<ManifestLog, 'number' | 'name'>,
    base: number,
    salt: number,
    proven: number,
  ): InspectedSegment {
    const log = owner.name;
    const said = decodeSegmentHeader(content);
    const isOther = said !== null && !isHeaderOf(said, file, owner.number);
    const header = isOther ? null : said;
    const bytes = isOther ? content.subarray(0, SEGMENT_HEADER_BYTES) : content;
    if (header === null) {
      const message = isOther
        ? `another file is in its place: ${whatIs(said)}`
        : 'this is not the header of a segment';
      const size = Math.min(bytes.length, SEGMENT_HEADER_BYTES);
      this.add(FindingKind.DAMAGED, file, message, { bytes: size, log, from: base, until: base });
    }
    const scan = scanSegment(bytes, base, salt);
    const torn = tornRegion(scan, proven);
    for (const region of scan.bad) {
      if (torn !== null && region.start >= torn.start) break;
      this.region(file, log, region, { until: proven, wasSafe: wasSafe(region, scan, proven) });
    }
    const rest = torn === null ? null : salvage(bytes, torn, salt);
    const isRecord = (each: Uint8Array, i: number) => decodeRecord(each, (torn?.from ?? 0) + i) !== null;
    // Changes of a batch hold together: one that was made again meanwhile is only where it was made last. [STO-17]
    const tornRecords = rest === null || log === '' ? [] : unbroken(rest, isRecord);
    if (torn !== null && rest !== null)
      this.tornEnd(file, log, { torn, rest, kept: tornRecords.length }, scan, bytes.length);
    else if (scan.next < proven && !scan.bad.some(({ until }) => until === -1)) {
      const message = `the end is missing, with ${recordsText(log, scan.next, proven)}`;
      const position = bytes.length;
      this.add(FindingKind.MISSING, file, message, { position, log, from: scan.next, until: proven });
    }
    const index = indexOfScan(scan, base, torn, this.depth.entryBytes ?? ENTRY_BYTES);
    return { base, file, index, content: { bytes, scan, header }, tornAt: torn?.start ?? -1, tornRecords };
  }

  private region(
    file: string,
    log: string,
    region: BadRegion,
    proven: { readonly until: number; readonly wasSafe: boolean },
  ): void {
    const { start, end, from, reason } = region;
    const isLoss = losesRecords(region);
    const until = region.until === -1 ? Math.max(from, proven.until) : region.until;
    const lost = isLoss ? `it concerns ${recordsText(log, from, until)}` : 'it had no records';
    const kind = proven.wasSafe ? FindingKind.DAMAGED : FindingKind.TORN;
    const where = { position: start, bytes: end - start, log, from, until };
    this.add(kind, file, `${reason}; ${lost}`, { ...where, isLoss });
  }

  private tornEnd(
    file: string,
    log: string,
    { torn, rest, kept }: { readonly torn: BadRegion; readonly rest: Salvage; readonly kept: number },
    scan: SegmentScan,
    size: number,
  ): void {
    const from = torn.from + kept;
    const until = Math.max(from, scan.next, torn.from + rest.count);
    const records = until > from ? `, with ${recordsText(log, from, until)}` : '';
    const message = `the end is no whole batch (${torn.reason})${records}: a write that was not finished, of which nobody was told as stored, unless the last one was damaged since`;
    const where = { position: torn.start, bytes: size - torn.start, log, from, until };
    this.add(FindingKind.TORN, file, message, { ...where, isLoss: false });
  }

  private missing(log: string, file: string, from: number, until: number): void {
    const message = `a segment is not there, with ${until > from ? recordsText(log, from, until) : 'nobody knows what'}`;
    this.add(FindingKind.MISSING, file, message, { log, from, until });
  }

  /** A segment behind the last one that the manifest names: the beginning of one that was never used, or something is wrong. */
  private async unexpected(log: string, file: string, salt: number): Promise<void> {
    const bytes = await this.contentIfThere(file);
    if (bytes === null) return;
    const scan = scanSegment(bytes, baseOf(file.slice(-20)), salt);
    if (scan.batches.every(({ header }) => header.count === 0)) return;
    const message = 'a segment with records that nothing else in the store knows of';
    const { next } = scan;
    this.add(FindingKind.UNEXPECTED, file, message, { bytes: bytes.length, log, from: next, until: next });
  }

  private add(...found: Parameters<typeof finding>): void {
    this.findings.push(finding(...found));
  }

  private async contentIfThere(file: string, counts = true): Promise<Uint8Array | null> {
    try {
      const bytes = await contentOf(this.files, join(this.directory, file));
      if (counts) {
        this.bytesRead += bytes.length;
        this.depth.onProgress?.(this.bytesRead);
      }
      return bytes;
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return null;
      throw error;
    }
  }

  private async sizeOf(file: string): Promise<number> {
    const opened = await this.files.open(join(this.directory, file), 'read');
    try {
      return await opened.size();
    } finally {
      await opened.close();
    }
  }

  private async beginningOf(
    file: string,
  ): Promise<{ readonly size: number; readonly header: SegmentHeader | null }> {
    const opened = await this.files.open(join(this.directory, file), 'read');
    try {
      const bytes = await readFully(opened, Buffer.alloc(SEGMENT_HEADER_BYTES), 0);
      return { size: await opened.size(), header: decodeSegmentHeader(bytes) };
    } finally {
      await opened.close();
    }
  }
}

/** Whether a header is that of the segment which a file is by its name: of the state (number 0), or of a log. */
function isHeaderOf({ kind, log, base }: SegmentHeader, file: string, number: number): boolean {
  const isKind = kind === (number === STATE.number ? SegmentKind.STATE : SegmentKind.LOG);
  return isKind && log === number && base === baseOf(file.slice(-20));
}

function whatIs({ kind, name, log, base }: SegmentHeader): string {
  if (kind === SegmentKind.STATE) return `segment ${base} of the state`;
  return `the segment of log ${name} that was ${join(folderOf(log), segmentName(base))}`;
}

/** Records from the first on, as far as none is missing. */
function unbroken(
  { records }: Salvage,
  isRecord: (bytes: Uint8Array, index: number) => boolean,
): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (const { index, bytes } of records) {
    if (index !== found.length || !isRecord(bytes, index)) break;
    found.push(bytes);
  }
  return found;
}

function indexOfScan(
  scan: SegmentScan,
  base: number,
  torn: BadRegion | null,
  entryBytes: number,
): SegmentIndex {
  const index = new SegmentIndex(base);
  for (const { position, header } of scan.batches) {
    if (torn !== null && position >= torn.start) break;
    const { count, time } = header;
    index.add(
      { position, size: batchBytes(header), base: header.base, count, time },
      entryBytes,
      Number.POSITIVE_INFINITY,
    );
  }
  return index;
}

const ENTRY_BYTES = 64 * 1024;
/** What the header of its segments says in place of a log. */
const STATE = { number: 0, name: '' };
