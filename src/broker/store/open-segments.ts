/**
 * The segments of a store that are open to be read: whoever reads a log from its beginning reads each segment hundreds of times, and to open and close it each time took a sixth
 * of the broker's thread. Those that were read last stay open, a bounded number for all logs together; one that is to be removed is closed first, for a file that is open keeps
 * its room on the disk.
 */

import { type FileSystem, readFully, type StoreFile } from './file-system.ts';

interface OpenSegment {
  readonly file: Promise<StoreFile>;
  /** How many are reading it. */
  readers: number;
  /** False: it is closed when nobody reads it any more. */
  isKept: boolean;
}

export class OpenSegments {
  private readonly files: FileSystem;
  /** By path; that which was read last is at the end. */
  private readonly open = new Map<string, OpenSegment>();
  private isOver = false;

  constructor(files: FileSystem) {
    this.files = files;
  }

  /** Bytes of a segment from `position` on: as many as `target` has room for, or as there are. */
  async read(path: string, target: Uint8Array, position: number): Promise<Uint8Array> {
    const segment = this.segmentAt(path);
    segment.readers++;
    try {
      return await readFully(await segment.file, target, position);
    } catch (error) {
      this.letGo(path, segment); // whoever tries again opens it again
      throw error;
    } finally {
      segment.readers--;
      if (!segment.isKept) void close(segment);
    }
  }

  /** Closes a segment, as soon as nobody reads it. */
  async close(path: string): Promise<void> {
    const segment = this.open.get(path);
    if (segment === undefined) return;
    this.letGo(path, segment);
    await close(segment);
  }

  /** Nothing stays open from now on: what is read nevertheless is closed at once. */
  async closeAll(): Promise<void> {
    this.isOver = true;
    for (const path of [...this.open.keys()]) await this.close(path);
  }

  private segmentAt(path: string): OpenSegment {
    let segment = this.open.get(path);
    if (segment === undefined)
      segment = { file: this.files.open(path, 'read'), readers: 0, isKept: !this.isOver };
    else this.open.delete(path);
    if (segment.isKept) this.open.set(path, segment);
    if (this.open.size > OPEN_MAX) {
      const [oldest] = this.open.keys();
      void this.close(oldest);
    }
    return segment;
  }

  private letGo(path: string, segment: OpenSegment): void {
    segment.isKept = false;
    if (this.open.get(path) === segment) this.open.delete(path);
  }
}

/** Closes what nobody reads. Nothing is lost where that fails: it was only read. */
async function close(segment: OpenSegment): Promise<void> {
  if (segment.readers > 0) return;
  await segment.file.then((file) => file.close()).catch(() => {});
}

/** Enough for readers at as many places, and far from the 1,024 that a process may have open by default; beyond it a segment is opened again when its turn comes. */
const OPEN_MAX = 16;
