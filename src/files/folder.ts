/**
 * Folders that are open. What is done in one is done in this one, whatever its path leads to by then: as with `openat`, which Node does not have,
 * a name is looked up from the descriptor, by way of `/proc/self/fd`. Where there is no such folder its path is used, and looked at first.
 * No link is followed on the way down. [FIL-8]
 */

import { constants, existsSync, type Stats } from 'node:fs';
import { type FileHandle, lstat, mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';

export class OpenFolder {
  private readonly handle: FileHandle;
  private readonly path: string;

  private constructor(handle: FileHandle, path: string) {
    this.handle = handle;
    this.path = path;
  }

  /**
   * Opens a folder by a path of this side, in which links are followed.
   *
   * @throws the system's error; ENOTDIR when it is none
   */
  static async open(path: string): Promise<OpenFolder> {
    return new OpenFolder(await open(path, constants.O_RDONLY | (constants.O_DIRECTORY ?? 0)), path);
  }

  /** Where the system finds a name of this folder. */
  child(name: string): string {
    return HAS_DESCRIPTORS ? `/proc/self/fd/${this.handle.fd}/${name}` : join(this.path, name);
  }

  /** What stands under a name, without following it; null where nothing does. */
  async look(name: string): Promise<Stats | null> {
    try {
      return await lstat(this.child(name));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw error;
    }
  }

  /**
   * Opens the folder of that name in this one, and makes it where nothing is.
   *
   * @param mode - of one that is made
   * @throws the system's error; ENOTDIR where it is no folder, a link to one included
   */
  async enter(name: string, mode: number): Promise<OpenFolder> {
    const path = this.child(name);
    if ((await this.look(name)) === null) {
      await mkdir(path, { mode }).catch(unlessThere);
      await this.sync();
    }
    const found = await lstat(path);
    if (!found.isDirectory()) throw notFolder();
    const flags = constants.O_RDONLY | (constants.O_DIRECTORY ?? 0) | (constants.O_NOFOLLOW ?? 0);
    const handle = await open(path, flags);
    const opened = await handle.stat();
    if (opened.dev === found.dev && opened.ino === found.ino)
      return new OpenFolder(handle, join(this.path, name));
    await handle.close();
    throw notFolder();
  }

  /** Which folder it is, whatever it is called. */
  async identity(): Promise<string> {
    const { dev, ino } = await this.handle.stat();
    return `${dev}:${ino}`;
  }

  /** The names in it are on the disk, where the system can say so. */
  async sync(): Promise<void> {
    await this.handle.sync().catch(() => {}); // some file systems sync no folder
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}

function unlessThere(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error;
}

function notFolder(): NodeJS.ErrnoException {
  return Object.assign(new Error('it is no folder'), { code: 'ENOTDIR' });
}

const HAS_DESCRIPTORS = process.platform === 'linux' && existsSync('/proc/self/fd');
