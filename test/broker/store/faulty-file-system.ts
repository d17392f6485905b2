/**
 * A disk in memory that fails as disks do. What was not synced is there to be read, and gone or torn after a power cut: each write by sectors, in no order;
 * names by folder. A sync may fail, after which the system believes that the disk has everything; writes may be short, the disk full.
 */

import { basename, dirname, join } from 'node:path';
import type { Prng } from '../../../src/base/random.ts';
import type { FileSystem, StoreFile } from '../../../src/broker/store/file-system.ts';

/** Not written yet: bytes at a position, or (null) a new length. */
interface Unsynced {
  readonly position: number;
  readonly bytes: Uint8Array | null;
}

class Inode {
  content: Uint8Array = new Uint8Array(0);
  /** What the disk has, and what is on its way to it. */
  disk: Uint8Array = new Uint8Array(0);
  unsynced: Unsynced[] = [];
}

/** A change of a folder's names that is not on the disk yet; inode null: the name is gone. */
interface NameChange {
  readonly name: string;
  readonly inode: Inode | null;
}

export interface DiskFaults {
  /** Chance of each write to be short. */
  shortWrites: number;
  /** Chance of each sync to fail. */
  failingSyncs: number;
  failingReads: number;
  /** Bytes that fit. */
  room: number;
}

export class FaultyFileSystem implements FileSystem {
  readonly faults: DiskFaults = {
    shortWrites: 0,
    failingSyncs: 0,
    failingReads: 0,
    room: Number.POSITIVE_INFINITY,
  };
  /** So many operations are left until the power fails; what is begun then never ends. */
  operationsLeft = Number.POSITIVE_INFINITY;
  readonly counts = {
    reads: 0,
    writes: 0,
    syncs: 0,
    shortWrites: 0,
    failedSyncs: 0,
    failedReads: 0,
    full: 0,
    tornSectors: 0,
    lostNames: 0,
  };
  onPowerCut: () => void = () => {};
  private readonly random: Prng;
  private names = new Map<string, Map<string, Inode>>();
  private diskNames = new Map<string, Map<string, Inode>>();
  private changes = new Map<string, NameChange[]>();

  constructor(random: Prng) {
    this.random = random;
  }

  get usedBytes(): number {
    let sum = 0;
    for (const folder of this.names.values())
      for (const { content } of folder.values()) sum += content.length;
    return sum;
  }

  // ---- FileSystem ----

  async open(path: string): Promise<StoreFile> {
    await this.operation();
    return new FaultyFile(this, this.inodeOf(path));
  }

  async create(path: string): Promise<StoreFile> {
    await this.operation();
    const folder = this.folder(dirname(path));
    if (folder.has(basename(path))) throw failure('EEXIST', path);
    const inode = new Inode();
    this.change(path, inode);
    return new FaultyFile(this, inode);
  }

  async list(folder: string): Promise<string[]> {
    await this.operation();
    const below = [...this.names.keys()].filter((path) => path !== folder && dirname(path) === folder);
    return [...(this.names.get(folder)?.keys() ?? []), ...below.map((path) => basename(path))].sort();
  }

  async makeFolder(folder: string): Promise<void> {
    await this.operation();
    this.folder(folder);
  }

  async rename(from: string, to: string): Promise<void> {
    await this.operation();
    const inode = this.inodeOf(from);
    this.change(from, null);
    this.change(to, inode);
  }

  async remove(path: string): Promise<void> {
    await this.operation();
    this.inodeOf(path);
    this.change(path, null);
  }

  async syncFolder(folder: string): Promise<void> {
    await this.operation();
    this.diskNames.set(folder, new Map(this.names.get(folder)));
    this.changes.delete(folder);
  }

  // ---- for tests ----

  /** What there would be after a power cut: a disk without faults. */
  afterPowerCut(): FaultyFileSystem {
    const { random } = this;
    const after = new FaultyFileSystem(random.fork());
    const survives = random.chance(0.3) ? 1 : random.chance(0.3) ? 0 : random.float();
    const copies = new Map<Inode, Inode>();
    const folders = new Set([...this.names.keys(), ...this.diskNames.keys()]);
    for (const folder of folders) {
      const names = new Map(this.diskNames.get(folder));
      for (const { name, inode } of this.changes.get(folder) ?? []) {
        if (!random.chance(survives)) this.counts.lostNames++;
        else if (inode === null) names.delete(name);
        else names.set(name, inode);
      }
      const kept = new Map<string, Inode>();
      for (const [name, inode] of names) {
        let copy = copies.get(inode);
        if (copy === undefined) {
          copy = new Inode();
          copy.disk = this.afterCut(inode, survives);
          copy.content = copy.disk.slice();
          copies.set(inode, copy);
        }
        kept.set(name, copy);
      }
      after.names.set(folder, kept);
      after.diskNames.set(folder, new Map(kept));
    }
    return after;
  }

  /** What there is after the process was killed: everything that the system was given. */
  afterKill(): FaultyFileSystem {
    const after = new FaultyFileSystem(this.random.fork());
    after.names = this.names;
    after.diskNames = this.diskNames;
    after.changes = this.changes;
    return after;
  }

  /** A copy of the whole disk, as it is. */
  copy(): FaultyFileSystem {
    const after = new FaultyFileSystem(this.random.fork());
    for (const [folder, names] of this.names) {
      const copied = new Map<string, Inode>();
      for (const [name, inode] of names) {
        const copy = new Inode();
        copy.content = inode.content.slice();
        copy.disk = copy.content.slice();
        copied.set(name, copy);
      }
      after.names.set(folder, copied);
      after.diskNames.set(folder, new Map(copied));
    }
    return after;
  }

  /** Paths of all files that have bytes. */
  paths(): string[] {
    return [...this.names].flatMap(([folder, names]) =>
      [...names].flatMap(([name, { content }]) => (content.length > 0 ? [join(folder, name)] : [])),
    );
  }

  contentOf(path: string): Uint8Array {
    return this.inodeOf(path).content;
  }

  /** Replaces what a file has, on the disk as well. */
  overwrite(path: string, content: Uint8Array): void {
    const inode = this.inodeOf(path);
    inode.content = content;
    inode.disk = content.slice();
    inode.unsynced = [];
  }

  /** Counts an operation; one that is begun after the power has failed never ends. */
  async operation(): Promise<void> {
    if (--this.operationsLeft < 0) {
      if (this.operationsLeft === -1) this.onPowerCut();
      await new Promise(() => {});
    }
    if (this.random.chance(0.3)) await null; // not always in the same order
  }

  draw(chance: number): boolean {
    return chance > 0 && this.random.chance(chance);
  }

  below(bound: number): number {
    return this.random.below(bound);
  }

  private folder(path: string): Map<string, Inode> {
    let names = this.names.get(path);
    if (names === undefined) {
      names = new Map();
      this.names.set(path, names);
      this.diskNames.set(path, new Map());
    }
    return names;
  }

  private inodeOf(path: string): Inode {
    const inode = this.names.get(dirname(path))?.get(basename(path));
    if (inode === undefined) throw failure('ENOENT', path);
    return inode;
  }

  private change(path: string, inode: Inode | null): void {
    const folder = dirname(path);
    const name = basename(path);
    if (inode === null) this.folder(folder).delete(name);
    else this.folder(folder).set(name, inode);
    const changes = this.changes.get(folder) ?? [];
    changes.push({ name, inode });
    this.changes.set(folder, changes);
  }

  private afterCut(inode: Inode, survives: number): Uint8Array {
    let disk: Uint8Array = inode.disk.slice();
    for (const { position, bytes } of inode.unsynced) {
      if (bytes === null) {
        if (this.random.chance(survives)) disk = resized(disk, position);
        continue;
      }
      const first = Math.floor(position / SECTOR_BYTES);
      const last = Math.floor((position + bytes.length - 1) / SECTOR_BYTES);
      for (let sector = first; sector <= last; sector++) {
        if (!this.random.chance(survives)) {
          this.counts.tornSectors++;
          continue;
        }
        const start = Math.max(position, sector * SECTOR_BYTES);
        const end = Math.min(position + bytes.length, (sector + 1) * SECTOR_BYTES);
        if (disk.length < end) disk = resized(disk, end);
        disk.set(bytes.subarray(start - position, end - position), start);
      }
    }
    return disk;
  }
}

class FaultyFile implements StoreFile {
  private readonly system: FaultyFileSystem;
  private readonly inode: Inode;

  constructor(system: FaultyFileSystem, inode: Inode) {
    this.system = system;
    this.inode = inode;
  }

  async size(): Promise<number> {
    await this.system.operation();
    return this.inode.content.length;
  }

  async read(target: Uint8Array, position: number): Promise<number> {
    const { system, inode } = this;
    system.counts.reads++;
    await system.operation();
    if (system.draw(system.faults.failingReads)) {
      system.counts.failedReads++;
      throw failure('EIO', 'read');
    }
    const bytes = inode.content.subarray(position, position + target.length);
    const count =
      bytes.length > 1 && system.draw(system.faults.shortWrites)
        ? system.below(bytes.length - 1) + 1
        : bytes.length;
    target.set(bytes.subarray(0, count));
    return count;
  }

  async write(bytes: Uint8Array, position: number): Promise<number> {
    return (await this.put(bytes, position)).length;
  }

  /** The disk has this, and what was written before comes there later, or never. */
  async writeSynced(bytes: Uint8Array, position: number): Promise<number> {
    const written = await this.put(bytes, position);
    await this.toDisk((each) => each.bytes === written, 'write');
    return written.length;
  }

  private async put(bytes: Uint8Array, position: number): Promise<Uint8Array> {
    const { system, inode } = this;
    const { faults, counts } = system;
    if (system.operationsLeft <= 0) await system.operation();
    counts.writes++;
    let count = bytes.length;
    if (bytes.length > 1 && system.draw(faults.shortWrites)) {
      counts.shortWrites++;
      count = 1 + system.below(bytes.length - 1);
    }
    const grows = Math.max(0, position + count - inode.content.length);
    const room = faults.room === Number.POSITIVE_INFINITY ? grows : faults.room - system.usedBytes;
    if (grows > room) {
      counts.full++;
      count -= grows - Math.max(0, room);
      if (count <= 0) throw failure('ENOSPC', 'write');
    }
    const written = new Uint8Array(bytes.subarray(0, count)); // of a Buffer `slice` is no copy
    if (inode.content.length < position + count) inode.content = resized(inode.content, position + count);
    inode.content.set(written, position);
    inode.unsynced.push({ position, bytes: written });
    await system.operation(); // the power may fail while it is under way
    return written;
  }

  async sync(): Promise<void> {
    await this.toDisk(() => true, 'fdatasync');
  }

  private async toDisk(isMeant: (each: Unsynced) => boolean, what: string): Promise<void> {
    const { system, inode } = this;
    system.counts.syncs++;
    await system.operation();
    const meant = inode.unsynced.filter(isMeant);
    inode.unsynced = inode.unsynced.filter((each) => !isMeant(each));
    if (system.draw(system.faults.failingSyncs)) {
      system.counts.failedSyncs++;
      // The pages count as clean from now on: a later sync says that all is well.
      for (const each of meant) if (system.draw(0.5)) inode.disk = applied(inode.disk, each);
      throw failure('EIO', what);
    }
    for (const each of meant) inode.disk = applied(inode.disk, each);
  }

  async truncate(bytes: number): Promise<void> {
    await this.system.operation();
    this.inode.content = resized(this.inode.content, bytes);
    this.inode.unsynced.push({ position: bytes, bytes: null });
  }

  async close(): Promise<void> {}
}

function applied(disk: Uint8Array, { position, bytes }: Unsynced): Uint8Array {
  if (bytes === null) return resized(disk, position);
  const grown = disk.length < position + bytes.length ? resized(disk, position + bytes.length) : disk;
  grown.set(bytes, position);
  return grown;
}

function resized(bytes: Uint8Array, length: number): Uint8Array {
  const copy = new Uint8Array(length);
  copy.set(bytes.subarray(0, Math.min(bytes.length, length)));
  return copy;
}

function failure(code: string, what: string): Error {
  return Object.assign(new Error(`${code}: ${what}`), { code });
}

const SECTOR_BYTES = 512;
