/**
 * Writes batches behind one another into segments of one folder. One write is under way at a time: whoever calls waits for each before the next. A write that
 * fails leaves the end where it was. [STO-9]
 */

import { join } from 'node:path';
import { codeOf, type FileSystem, isFull, type StoreFile, writeFully } from './file-system.ts';
import { encodeSegmentHeader, SEGMENT_HEADER_BYTES, type SegmentHeader } from './format.ts';

/** A sync has failed. */
export class SyncFailure extends Error {}

export class SegmentWriter {
  readonly folder: string;
  /** Where the next batch goes. */
  position = 0;
  private readonly files: FileSystem;
  private file: StoreFile | null = null;
  /** Bytes behind {@link position} may be those of a write that failed. */
  private isDirty = false;
  /** The disk has the file as it is. */
  private isSynced = false;

  constructor(files: FileSystem, folder: string) {
    this.files = files;
    this.folder = folder;
  }

  /** Goes on in a segment that is there. */
  async resume(base: number, position: number): Promise<void> {
    this.file = await this.files.open(join(this.folder, segmentName(base)), 'write');
    this.isSynced = false;
    this.position = position;
  }

  /**
   * Begins another segment: its header and its name are on the disk when this resolves. What is there under that name is the beginning of a segment that no
   * manifest names, and gives way. [STO-14]
   */
  async begin(header: SegmentHeader): Promise<void> {
    const path = join(this.folder, segmentName(header.base));
    const file = await this.createAnew(path);
    try {
      await writeFully(file, encodeSegmentHeader(header), 0);
      await file.sync();
      await this.files.syncFolder(this.folder);
    } catch (error) {
      await file.close().catch(() => {});
      await this.files.remove(path).catch(() => {});
      throw error;
    }
    await this.close();
    this.file = file;
    this.isSynced = true;
    this.position = SEGMENT_HEADER_BYTES;
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.isDirty) await this.clear();
    this.isSynced = false;
    await this.writeBehind(bytes, false);
  }

  /**
   * Writes a batch, which is on the disk with all before it when this resolves. A write that syncs only what it writes does where the disk has the rest.
   *
   * @throws SyncFailure, after which nobody knows what is on the disk [STO-19]
   */
  async writeSynced(bytes: Uint8Array): Promise<void> {
    if (!this.isSynced || this.isDirty) {
      await this.write(bytes);
      await this.sync();
      return;
    }
    this.isSynced = false;
    try {
      await this.writeBehind(bytes, true);
    } catch (error) {
      throw isFull(error) ? error : syncFailure(error as Error);
    }
    this.isSynced = true;
  }

  /** @throws SyncFailure, after which nobody knows what is on the disk [STO-19] */
  async sync(): Promise<void> {
    try {
      await this.opened().sync();
    } catch (error) {
      throw syncFailure(error as Error);
    }
    this.isSynced = true;
  }

  /** Takes back what a failed write may have left behind the end, or what was written last and is not to count. */
  async clear(position: number = this.position): Promise<void> {
    this.isSynced = false;
    await this.opened().truncate(position);
    this.position = position;
    this.isDirty = false;
  }

  /** Whether there is room on the disk: by writing something, which is taken away again. */
  async probe(): Promise<void> {
    await this.clear();
    this.isDirty = true;
    await writeFully(this.opened(), PROBE, this.position);
    await this.opened().sync();
    await this.clear();
  }

  async close(): Promise<void> {
    const { file } = this;
    this.file = null;
    if (file !== null) await file.close();
  }

  private async writeBehind(bytes: Uint8Array, synced: boolean): Promise<void> {
    this.isDirty = true;
    await writeFully(this.opened(), bytes, this.position, synced);
    this.isDirty = false;
    this.position += bytes.length;
  }

  private opened(): StoreFile {
    if (this.file === null) throw new Error('the segment is closed');
    return this.file;
  }

  private async createAnew(path: string): Promise<StoreFile> {
    try {
      return await this.files.create(path);
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error;
    }
    await this.files.remove(path);
    return await this.files.create(path);
  }
}

function syncFailure(cause: Error): SyncFailure {
  return new SyncFailure(`the disk does not take what was written: ${cause.message}`, { cause });
}

/** Its base offset, so that names sort as offsets do. */
export function segmentName(base: number): string {
  return `${String(base).padStart(16, '0')}.seg`;
}

/** The base offset of a segment by its name; -1: it is the name of something else. */
export function baseOf(name: string): number {
  const digits = /^(\d{16})\.seg$/.exec(name)?.[1];
  return digits === undefined ? -1 : Number(digits);
}

const PROBE = new Uint8Array(64 * 1024);
