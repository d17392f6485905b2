/** What is to be sent: files and folders below the paths that a caller names, found before anything is sent, so that the total is known. */

import { constants, type Stats } from 'node:fs';
import { type FileHandle, lstat, open, readdir, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { JspError } from '../base/errors.ts';
import type { EntryKind } from './messages.ts';

/** A file or folder to send. */
export interface Entry {
  readonly kind: EntryKind;
  /** Where it is. */
  readonly source: string;
  /** What it is to be called, from the receiver's folder down. */
  readonly names: readonly string[];
  readonly size: number;
  readonly mode: number;
  readonly mtimeMs: number;
  /** Which file it is, whatever its path leads to later. */
  readonly dev: number;
  readonly ino: number;
}

/** What was found and is not sent. */
export interface Skipped {
  readonly source: string;
  readonly reason: string;
  /** A link, which nobody asked to follow: no failure. */
  readonly isLink: boolean;
}

export interface Walk {
  readonly entries: readonly Entry[];
  readonly skipped: readonly Skipped[];
}

/**
 * Finds what to send. A folder goes with all that is in it, under its own name; links are left out unless they are followed, and what is neither
 * file nor folder (a device, a pipe, a socket) always.
 *
 * @throws JspError ERR_JSP_FILES for a path that is not there or cannot be read, and for two that would have the same name
 */
export async function findEntries(paths: readonly string[], followLinks = false): Promise<Walk> {
  const walker = new Walker(followLinks);
  const tops = new Map<string, string>();
  for (const path of paths) {
    // Resolved it would be the folder that the process is in: all of that would go, where a variable is empty.
    if (path === '')
      throw new JspError('ERR_JSP_FILES', 'an empty path is nothing to send: "." is this folder');
    const source = resolve(path);
    const name = basename(source);
    if (name === '')
      throw new JspError('ERR_JSP_FILES', `${path} has no name to send it under: send what is in it`);
    const other = tops.get(name);
    if (other !== undefined) {
      throw new JspError(
        'ERR_JSP_FILES',
        `${other} and ${path} would both be sent as ${name}: send them one after the other`,
      );
    }
    tops.set(name, path);
    try {
      await walker.visit(source, [name], []);
    } catch (error) {
      throw new JspError('ERR_JSP_FILES', `cannot send ${path}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }
  return walker;
}

class Walker implements Walk {
  readonly entries: Entry[] = [];
  readonly skipped: Skipped[] = [];
  private readonly followLinks: boolean;

  constructor(followLinks: boolean) {
    this.followLinks = followLinks;
  }

  /** @param above - the folders that it is in, so that a link to one of them does not go round for ever */
  async visit(source: string, names: readonly string[], above: readonly string[]): Promise<void> {
    const found = await (this.followLinks ? stat(source) : lstat(source));
    if (found.isFile()) {
      this.entries.push(entryOf('file', source, names, found));
      return;
    }
    if (!found.isDirectory()) {
      const isLink = found.isSymbolicLink();
      this.skip(source, isLink ? 'it is a link' : 'it is neither a file nor a folder', isLink);
      return;
    }
    const identity = `${found.dev}:${found.ino}`;
    if (above.includes(identity)) return this.skip(source, 'it is a link to a folder that it is in', true);
    this.entries.push(entryOf('folder', source, names, found));
    const children = await readdir(source, { encoding: 'buffer' });
    for (const bytes of children.sort(Buffer.compare)) {
      const name = bytes.toString();
      const child = join(source, name);
      if (!Buffer.from(name).equals(bytes)) this.skip(child, 'its name is not UTF-8', false);
      else await this.visitBelow(child, [...names, name], [...above, identity]);
    }
  }

  /** What cannot be read deep in a folder is no reason to send nothing. */
  private async visitBelow(
    source: string,
    names: readonly string[],
    above: readonly string[],
  ): Promise<void> {
    try {
      await this.visit(source, names, above);
    } catch (error) {
      this.skip(source, (error as Error).message, false);
    }
  }

  private skip(source: string, reason: string, isLink: boolean): void {
    this.skipped.push({ source, reason, isLink });
  }
}

/**
 * Opens a file that was found, to read it.
 *
 * @throws the system's error, or one that says that it is another file now
 */
export async function openEntry(entry: Entry, followLinks: boolean): Promise<FileHandle> {
  // Not blocking: should it be a pipe by now, opening it would wait for a writer.
  const flags =
    constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | (followLinks ? 0 : (constants.O_NOFOLLOW ?? 0));
  const handle = await open(entry.source, flags);
  const found = await handle.stat();
  if (found.isFile() && found.dev === entry.dev && found.ino === entry.ino) return handle;
  await handle.close();
  throw new Error('it is not the file any more that it was');
}

function entryOf(kind: EntryKind, source: string, names: readonly string[], found: Stats): Entry {
  const { mode, mtimeMs, dev, ino } = found;
  return {
    kind,
    source,
    names,
    size: kind === 'file' ? found.size : 0,
    mode: mode & 0o777,
    mtimeMs,
    dev,
    ino,
  };
}
