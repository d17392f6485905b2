/**
 * A file that is being received: its bytes go to a part, which is put in its place when all of it is there, verified, and on the disk. [FIL-9]
 * Bytes are written as they come, so that a process that is killed has lost next to nothing.
 */

import type { Hash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, link, open, rename, unlink } from 'node:fs/promises';
import type { OpenFolder } from './folder.ts';
import { type HashTrail, trailOf } from './resume.ts';

/** What is done about a file that is there already and has other content. */
export type OnExisting = 'refuse' | 'overwrite' | 'rename';

export class IncomingFile {
  private readonly handle: FileHandle;
  private readonly parts: OpenFolder;
  private readonly name: string;
  private hash: Hash | null = null;
  private length: number;
  /** Bytes that are not on their way to the file yet, and the write that is. */
  private waiting: Uint8Array[] = [];
  private waitingBytes = 0;
  private writing: Promise<void> | null = null;
  private failure: unknown = null;
  private position = 0;

  private constructor(handle: FileHandle, parts: OpenFolder, name: string, length: number) {
    this.handle = handle;
    this.parts = parts;
    this.name = name;
    this.length = length;
  }

  /**
   * Opens the part of that name, with what is in it from an earlier try. One that has another name as well is complete, and in its place: the
   * process was killed before it took this name away. What is no file nobody of ours has put there. Both give way to a new one.
   *
   * @throws the system's error
   */
  static async open(parts: OpenFolder, name: string): Promise<IncomingFile> {
    const path = parts.child(name);
    const flags = constants.O_RDWR | constants.O_CREAT | (constants.O_NOFOLLOW ?? 0);
    const handle = await open(path, flags, 0o600);
    const found = await handle.stat();
    if (found.isFile() && found.nlink <= 1) return new IncomingFile(handle, parts, name, found.size);
    await handle.close();
    await unlink(path);
    return new IncomingFile(await open(path, flags | constants.O_EXCL, 0o600), parts, name, 0);
  }

  /** Bytes that are there. */
  get bytes(): number {
    return this.length;
  }

  /** Hashes what is there, to find out how much of it is the sender's. */
  trail(step: number): Promise<HashTrail> {
    return trailOf(this.handle, step, this.length);
  }

  /** Goes on behind the first `offset` bytes, whose hash this is; what was behind them goes. */
  async startAt(offset: number, hash: Hash): Promise<void> {
    if (offset < this.length) await this.handle.truncate(offset);
    this.length = offset;
    this.position = offset;
    this.hash = hash;
  }

  /**
   * Takes the next bytes. Resolves when more may come.
   *
   * @throws the system's error, of this write or one before
   */
  async write(bytes: Uint8Array): Promise<void> {
    if (this.failure !== null) throw this.failure;
    this.hash?.update(bytes);
    this.length += bytes.length;
    this.waiting.push(bytes);
    this.waitingBytes += bytes.length;
    this.writing ??= this.writeOn();
    if (this.waitingBytes > WAITING_BYTES_MAX) await this.writing;
    if (this.failure !== null) throw this.failure;
  }

  /**
   * Writes what is left and tells the hash of the whole.
   *
   * @throws the system's error
   */
  async complete(): Promise<Buffer> {
    await this.writing;
    if (this.failure !== null) throw this.failure;
    return (this.hash as Hash).digest();
  }

  /**
   * Puts the file in its place, once it is on the disk. Nothing is overwritten unless `existing` says so, whoever makes a file of that name at
   * the same time.
   *
   * @param attributes - what it is to have: mode, and time of its last change or null
   * @returns the name that it has now; null where there is such a file and it stays
   * @throws the system's error
   */
  async place(
    folder: OpenFolder,
    name: string,
    existing: OnExisting,
    attributes: { mode: number; mtimeMs: number | null },
  ): Promise<string | null> {
    await this.handle.chmod(attributes.mode);
    if (attributes.mtimeMs !== null) await this.handle.utimes(new Date(), new Date(attributes.mtimeMs));
    await this.handle.sync();
    const placed = await this.linkTo(folder, name, existing);
    if (placed !== null) await folder.sync();
    return placed;
  }

  /** Lets go of it. What is there stays for the next try. */
  async close(): Promise<void> {
    await this.writing;
    await this.handle.close();
  }

  /** Removes the part; {@link close} it as well. */
  async discard(): Promise<void> {
    this.length = 0;
    await unlink(this.parts.child(this.name)).catch(() => {});
  }

  private async linkTo(folder: OpenFolder, name: string, existing: OnExisting): Promise<string | null> {
    const part = this.parts.child(this.name);
    if (existing === 'overwrite') {
      const there = await folder.look(name);
      if (there !== null && !there.isFile()) return null; // no link, no folder, no device gives way
      await rename(part, folder.child(name));
      return name;
    }
    for (let i = 0; i <= (existing === 'rename' ? RENAMES_MAX : 0); i++) {
      const tried = i === 0 ? name : numbered(name, i);
      if (!(await linkIfFree(part, folder, tried))) continue;
      await this.discard();
      return tried;
    }
    return null;
  }

  private async writeOn(): Promise<void> {
    try {
      while (this.waiting.length > 0) {
        const batch = this.waiting;
        this.waiting = [];
        this.waitingBytes = 0;
        await this.writeAll(batch);
      }
    } catch (error) {
      this.failure = error;
    }
    this.writing = null;
  }

  private async writeAll(batch: Uint8Array[]): Promise<void> {
    const total = batch.reduce((sum, { length }) => sum + length, 0);
    let { bytesWritten } = await this.handle.writev(batch, this.position);
    if (bytesWritten < total) {
      // Seldom: a disk that is all but full takes a part, and says why with the next.
      const rest = Buffer.concat(batch, total);
      while (bytesWritten < total) {
        const written = await this.handle.write(
          rest,
          bytesWritten,
          total - bytesWritten,
          this.position + bytesWritten,
        );
        bytesWritten += written.bytesWritten;
      }
    }
    this.position += total;
  }
}

/** Another name for the same file, where nothing has it. */
async function linkIfFree(part: string, folder: OpenFolder, name: string): Promise<boolean> {
  const path = folder.child(name);
  try {
    await link(part, path);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return false;
    if (!NO_LINKS.has(code ?? '')) throw error;
  }
  // A file system without links: an empty file takes the name, where there is none, and gives way to the part.
  try {
    await (await open(path, 'wx', 0o600)).close();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
  try {
    await rename(part, path);
  } catch (error) {
    const there = await folder.look(name).catch(() => null);
    if (there?.isFile() && there.size === 0) await unlink(path).catch(() => {}); // or the name would be taken for good
    throw error;
  }
  return true;
}

/** `report (2).pdf` */
function numbered(name: string, number: number): string {
  const dot = name.lastIndexOf('.');
  const [stem, extension] = dot > 0 ? [name.slice(0, dot), name.slice(dot)] : [name, ''];
  return `${stem} (${number})${extension}`;
}

const WAITING_BYTES_MAX = 1024 * 1024;
const RENAMES_MAX = 999;
const NO_LINKS: ReadonlySet<string> = new Set([
  'EPERM',
  'EACCES',
  'ENOTSUP',
  'EOPNOTSUPP',
  'ENOSYS',
  'EMLINK',
  'EXDEV',
]);
