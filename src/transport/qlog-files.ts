/**
 * Traces of connections as files: one for each connection and side, in the folder that the option `qlogDir` or the environment variable
 * `JSP_QLOGDIR` names. Records are collected and written a little later, each file's in order, so that the transport never waits for a disk;
 * what does not fit in between is left out, and the log says how much. Whatever goes wrong with the folder is one warning of the process,
 * and no connection notices. [TRC-5] [TRC-6]
 */

import { appendFileSync, closeSync, openSync, statSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { performance } from 'node:perf_hooks';
import { makeFolder, makeFolderSync } from '../disk/make-folder.ts';
import { qlogHeader, type TraceSink, type Tracing } from '../protocol/endpoint/index.ts';
import type { DatagramSocket } from '../udp/datagram-socket.ts';

/** What the connections of a socket are traced to; null when nobody asked for it. */
export function qlogTracing(dir: string | undefined, socket: DatagramSocket): Tracing | null {
  const path = dir ?? process.env.JSP_QLOGDIR;
  if (path === undefined || path === '') return null;
  const folder = qlogFolder(resolve(path));
  return {
    localHost: socket.localHost,
    localPort: socket.localPort,
    open: (role, groupId) => folder.open(role, groupId),
  };
}

/** The logs of this process in one folder. */
export class QlogFolder {
  private readonly path: string;
  private readonly pendingBytesMax: number;
  /** Files with records that are not written yet, oldest first. */
  private readonly dirty = new Set<QlogFile>();
  /** The file that is written to, or was last. */
  private sending: QlogFile | null = null;
  private pendingBytes = 0;
  private filesOpened = 0;
  private isMade = false;
  private isBroken = false;
  private writing: Promise<void> | null = null;
  private timer: NodeJS.Timeout | null = null;

  constructor(path: string, pendingBytesMax = PENDING_BYTES_MAX) {
    this.path = path;
    this.pendingBytesMax = pendingBytesMax;
  }

  /** A log that begins; null when there is none to be. */
  open(role: 'client' | 'server', groupId: string): TraceSink | null {
    if (this.isBroken) return null;
    if (++this.filesOpened > FILES_MAX) {
      if (this.filesOpened === FILES_MAX + 1)
        warn(`${FILES_MAX} connections are logged in ${this.path}: later ones of this process are not`);
      return null;
    }
    // Hex, so that no peer chooses a name; it may choose one twice.
    const file = new QlogFile(this, join(this.path, `${groupId}_${role}`));
    const referenceTimeMs = Math.round((performance.timeOrigin + performance.now()) * 1_000) / 1_000;
    file.write(qlogHeader({ role, groupId, referenceTimeMs, title: `JetStreamProto ${role} ${groupId}` }));
    return file;
  }

  /** Takes a record of a file. False when there is no room for it. */
  take(file: QlogFile, record: string): boolean {
    if (this.isBroken) return true; // told already, and nothing is to be made up for
    if (this.pendingBytes + record.length > this.pendingBytesMax) return false;
    this.pendingBytes += record.length;
    file.records.push(record);
    this.dirty.add(file);
    if (this.pendingBytes > WRITE_AT_BYTES) this.startWriting();
    else this.timer ??= setTimeout(() => this.startWriting(), WRITE_AFTER_MS).unref();
    return true;
  }

  /** Resolves when all records so far are written. */
  async flush(): Promise<void> {
    while (this.dirty.size > 0 || this.writing !== null) {
      this.startWriting();
      await this.writing;
    }
  }

  private startWriting(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    if (this.isBroken) return;
    this.writing ??= this.writeAll().finally(() => {
      this.writing = null;
    });
  }

  private async writeAll(): Promise<void> {
    try {
      if (!this.isMade) await makeFolder(this.path, FOLDER_MODE);
      this.isMade = true;
      for (const file of this.dirty) {
        this.sending = file;
        this.dirty.delete(file);
        this.pendingBytes -= await file.append();
      }
    } catch (error) {
      this.giveUp(error as Error);
    }
  }

  /** What is left when the process ends, which no longer waits for anything. */
  flushAtExit(): void {
    try {
      if (this.dirty.size > 0) makeFolderSync(this.path, FOLDER_MODE);
      this.sending?.appendNow();
      for (const file of this.dirty) file.appendNow();
    } catch {
      // Nobody is left to be told.
    }
    this.dirty.clear();
  }

  private giveUp(error: Error): void {
    this.isBroken = true;
    for (const file of this.dirty) file.takeRecords();
    this.dirty.clear();
    this.pendingBytes = 0;
    warn(`connections are not logged any more: ${error.message}`);
  }
}

/** The log of one connection. */
class QlogFile implements TraceSink {
  /** What is not on its way yet. */
  records: string[] = [];
  private readonly folder: QlogFolder;
  private readonly base: string;
  /** The file, or the one that is tried. */
  private path: string;
  private isMade = false;
  /** How much is in it for sure. */
  private bytes = 0;
  /** What is on its way to it, and whether it was handed to the system. */
  private sending: Buffer | null = null;
  private isHandedOver = false;

  /** @param base - its path without what makes its name its own */
  constructor(folder: QlogFolder, base: string) {
    this.folder = folder;
    this.base = base;
    this.path = `${base}.sqlog`;
  }

  write(record: string): boolean {
    return this.folder.take(this, record);
  }

  /** Writes what there is behind what was written. Returns how much of the records that was. */
  async append(): Promise<number> {
    const text = this.takeRecords();
    this.sending = Buffer.from(text);
    const file = await this.open();
    try {
      this.isHandedOver = true;
      await file.appendFile(this.sending);
      this.bytes += this.sending.length;
    } finally {
      this.sending = null;
      this.isHandedOver = false;
      await file.close();
    }
    return text.length;
  }

  /** The same at once, when the process ends: what was on its way may not have come there, and nobody will say so. */
  appendNow(): void {
    let rest = Buffer.from(this.takeRecords());
    if (this.sending !== null) {
      if (this.isHandedOver) this.waitFor(this.bytes + this.sending.length);
      else rest = Buffer.concat([this.sending, rest]);
    }
    // A file that is empty was made for this a moment ago.
    if (this.sending !== null && this.size === 0) this.isMade = true;
    this.sending = null;
    if (rest.length === 0) return;
    for (let i = 1; !this.isMade; i++) {
      try {
        closeSync(openSync(this.candidate(i), 'ax', FILE_MODE));
        this.isMade = true;
      } catch (error) {
        if (!isTaken(error, i)) throw error;
      }
    }
    appendFileSync(this.path, rest, { mode: FILE_MODE });
  }

  takeRecords(): string {
    const text = this.records.join('');
    this.records = [];
    return text;
  }

  private async open(): Promise<FileHandle> {
    if (this.isMade) return open(this.path, 'a', FILE_MODE);
    for (let i = 1; ; i++) {
      try {
        const file = await open(this.candidate(i), 'ax', FILE_MODE);
        this.isMade = true;
        return file;
      } catch (error) {
        if (!isTaken(error, i)) throw error;
      }
    }
  }

  /** A file that is there already, of whomever, is not written to. */
  private candidate(i: number): string {
    this.path = i === 1 ? `${this.base}.sqlog` : `${this.base}-${i}.sqlog`;
    return this.path;
  }

  private get size(): number {
    return statSync(this.path, { throwIfNoEntry: false })?.size ?? -1;
  }

  private waitFor(bytes: number): void {
    const pause = new Int32Array(new SharedArrayBuffer(4));
    for (let i = 0; i < EXIT_WAITS_MAX && this.size < bytes; i++) Atomics.wait(pause, 0, 0, 1);
  }
}

function isTaken(error: unknown, tries: number): boolean {
  return (error as NodeJS.ErrnoException).code === 'EEXIST' && tries < NAMES_MAX;
}

function qlogFolder(path: string): QlogFolder {
  if (FOLDERS.size === 0) process.on('exit', flushAllAtExit);
  const folder = FOLDERS.get(path) ?? new QlogFolder(path);
  FOLDERS.set(path, folder);
  return folder;
}

/** Resolves when the logs of this process are written as far as there are any. */
export async function flushQlogs(): Promise<void> {
  for (const folder of FOLDERS.values()) await folder.flush();
}

function flushAllAtExit(): void {
  for (const folder of FOLDERS.values()) folder.flushAtExit();
}

function warn(message: string): void {
  process.emitWarning(message, { type: 'JspWarning', code: 'JSP_QLOG' });
}

const FOLDERS = new Map<string, QlogFolder>();
/** Who talks to whom, when and how much is the owner's affair. [TRC-5] */
const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
/** Records that wait to be written, of all connections of a folder. */
const PENDING_BYTES_MAX = 16 * 1024 * 1024;
const WRITE_AT_BYTES = 256 * 1024;
const WRITE_AFTER_MS = 50;
/** So that whoever connects again and again does not fill a disk. */
const FILES_MAX = 10_000;
/** Of 1 ms each: what the system was given a moment ago should be there by then. */
const EXIT_WAITS_MAX = 200;
/** One peer can choose a name again, and ours are random. */
const NAMES_MAX = 100;
