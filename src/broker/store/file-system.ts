/** What a store asks of a file system: little, so that a test can give it one that fails as disks do. */

import fs from 'node:fs';
import { promisify } from 'node:util';
import { makeFolder } from '../../disk/make-folder.ts';

export interface StoreFile {
  /** Bytes it has. */
  size(): Promise<number>;
  /** Fills as much of `target` as there is at `position`, and says how much that is; less also where the system does not give more at once. */
  read(target: Uint8Array, position: number): Promise<number>;
  /** Writes the beginning of `bytes`, all of it as a rule, and says how much. */
  write(bytes: Uint8Array, position: number): Promise<number>;
  /** The same, and the disk has what it says and the file's length when it resolves; of what was written before it may have less. */
  writeSynced(bytes: Uint8Array, position: number): Promise<number>;
  /** Resolves when the disk has all that was written, and the file's length. */
  sync(): Promise<void>;
  truncate(bytes: number): Promise<void>;
  close(): Promise<void>;
}

export interface FileSystem {
  /** A file that is there. */
  open(path: string, access: 'read' | 'write'): Promise<StoreFile>;
  /** A new file; EEXIST where there is one. */
  create(path: string): Promise<StoreFile>;
  /** Names in a folder; none where there is no such folder. */
  list(folder: string): Promise<string[]>;
  makeFolder(folder: string): Promise<void>;
  /** Takes another's place where there is one. */
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  /** Resolves when the disk has the names in a folder. */
  syncFolder(folder: string): Promise<void>;
}

/** Reads until `target` is full or the file ends. Returns what there was. */
export async function readFully(file: StoreFile, target: Uint8Array, position: number): Promise<Uint8Array> {
  let done = 0;
  while (done < target.length) {
    const count = await file.read(target.subarray(done), position + done);
    if (count === 0) break;
    done += count;
  }
  return target.subarray(0, done);
}

/**
 * Writes all of `bytes`.
 *
 * @param synced - the disk has them when it resolves: {@link StoreFile.writeSynced}
 */
export async function writeFully(
  file: StoreFile,
  bytes: Uint8Array,
  position: number,
  synced = false,
): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const rest = done === 0 ? bytes : bytes.subarray(done);
    const count = await (synced
      ? file.writeSynced(rest, position + done)
      : file.write(rest, position + done));
    if (count === 0) throw Object.assign(new Error('the system writes nothing'), { code: 'EIO' });
    done += count;
  }
}

/** All of a file. */
export async function contentOf(system: FileSystem, path: string): Promise<Uint8Array> {
  const file = await system.open(path, 'read');
  try {
    return await readFully(file, Buffer.allocUnsafe(await file.size()), 0);
  } finally {
    await file.close();
  }
}

/** `error.code` of the system's errors. */
export function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code;
}

/** No room: on the disk, in the quota, or for a file of that size. */
export function isFull(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT', 'EFBIG'].includes(codeOf(error) ?? '');
}

// ---- that of the machine ----

const open = promisify(fs.open);
const close = promisify(fs.close);
const fstat = promisify(fs.fstat);
const fdatasync = promisify(fs.fdatasync);
const fsync = promisify(fs.fsync);
const ftruncate = promisify(fs.ftruncate);

class SystemFile implements StoreFile {
  private readonly path: string;
  private readonly descriptor: number;
  /** What is written by this one is on the disk when the call returns; opened when it is needed first, null where that is not possible. */
  private syncedDescriptor: Promise<number | null> | null = null;

  constructor(path: string, descriptor: number) {
    this.path = path;
    this.descriptor = descriptor;
  }

  async size(): Promise<number> {
    return (await fstat(this.descriptor)).size;
  }

  read(target: Uint8Array, position: number): Promise<number> {
    return new Promise((resolve, reject) =>
      fs.read(this.descriptor, target, 0, target.length, position, (error, count) =>
        error === null ? resolve(count) : reject(error),
      ),
    );
  }

  write(bytes: Uint8Array, position: number): Promise<number> {
    return write(this.descriptor, bytes, position);
  }

  /** In one call: to hand another to a thread, and to be told of its end, takes a third as long as the disk. */
  async writeSynced(bytes: Uint8Array, position: number): Promise<number> {
    this.syncedDescriptor ??= openSynced(this.path);
    const descriptor = await this.syncedDescriptor;
    if (descriptor !== null) return await write(descriptor, bytes, position);
    const count = await write(this.descriptor, bytes, position);
    await fdatasync(this.descriptor);
    return count;
  }

  sync(): Promise<void> {
    return fdatasync(this.descriptor);
  }

  truncate(bytes: number): Promise<void> {
    return ftruncate(this.descriptor, bytes);
  }

  async close(): Promise<void> {
    const synced = await this.syncedDescriptor;
    try {
      if (synced !== null) await close(synced);
    } finally {
      await close(this.descriptor);
    }
  }
}

function write(descriptor: number, bytes: Uint8Array, position: number): Promise<number> {
  return new Promise((resolve, reject) =>
    fs.write(descriptor, bytes, 0, bytes.length, position, (error, count) =>
      error === null ? resolve(count) : reject(error),
    ),
  );
}

/** Null where the system has no such thing, or does not mean the disk by it (macOS), or has no descriptor left. */
async function openSynced(path: string): Promise<number | null> {
  if (process.platform !== 'linux') return null;
  return await open(path, fs.constants.O_WRONLY | fs.constants.O_DSYNC).catch(() => null);
}

export const systemFiles: FileSystem = {
  async open(path, access) {
    return new SystemFile(path, await open(path, access === 'read' ? 'r' : 'r+'));
  },
  async create(path) {
    return new SystemFile(path, await open(path, 'wx+', 0o600));
  },
  async list(folder) {
    try {
      return await fs.promises.readdir(folder);
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return [];
      throw error;
    }
  },
  async makeFolder(folder) {
    await makeFolder(folder, 0o700);
  },
  rename: fs.promises.rename,
  remove: fs.promises.unlink,
  async syncFolder(folder) {
    if (process.platform === 'win32') return; // keeps names by itself, and opens no folder
    const descriptor = await open(folder, 'r');
    try {
      await fsync(descriptor);
    } finally {
      await close(descriptor);
    }
  },
};
