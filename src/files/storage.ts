/** The folder that is received into: what all transfers share of it. Names in use, limits, parts, and the way to each file. */

import { createHash } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import { type FileHandle, open, readdir, rmdir, statfs, unlink } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeFolder } from '../disk/make-folder.ts';
import { OpenFolder } from './folder.ts';
import { IncomingFile, type OnExisting } from './incoming-file.ts';
import { type HashPoint, Refusal } from './messages.ts';
import { type NameRule, PARTS_FOLDER } from './names.ts';
import { agreedBytes, type HashTrail } from './resume.ts';

export interface StorageOptions {
  readonly existing: OnExisting;
  readonly names: NameRule;
  readonly keepTimes: boolean;
  readonly bytesMax: number;
  readonly filesMax: number;
  /** Folders that nothing is written to. */
  readonly protect: readonly string[];
}

/** Whoever has a name for itself while it sends it. */
export interface Holder {
  /** When it was last heard of. */
  readonly heardAt: number;
  /** Another one has the name now. */
  lose(folded: string): Promise<void>;
}

/** What a name counts for. */
interface Charge {
  /** Announced for what is under way, or else {@link kept}. */
  readonly bytes: number;
  /** In the part of a try that broke off. */
  readonly kept: number;
}

export class Storage {
  readonly existing: OnExisting;
  readonly names: NameRule;
  private readonly options: StorageOptions;
  private readonly root: OpenFolder;
  private readonly parts: OpenFolder;
  private readonly path: string;
  private readonly forbidden: ReadonlySet<string>;
  private readonly holders = new Map<string, Holder>();
  /** By name: of what is under way, or broke off. */
  private readonly charges = new Map<string, Charge>();
  /** By name: the parts of what is under way. */
  private readonly open = new Map<string, IncomingFile>();
  /** What the disk had when it was asked last, less what was announced since and what was on its way then; and when that was. */
  private roomBytes = 0;
  private measuredAt = Number.NEGATIVE_INFINITY;
  /** The sum of them, and of what is stored; and how many are stored. */
  private bytes = 0;
  private stored = 0;

  private constructor(
    path: string,
    root: OpenFolder,
    parts: OpenFolder,
    forbidden: Set<string>,
    options: StorageOptions,
  ) {
    this.path = path;
    this.root = root;
    this.parts = parts;
    this.forbidden = forbidden;
    this.options = options;
    this.existing = options.existing;
    this.names = options.names;
  }

  /**
   * Opens the folder, and makes it where there is none. Parts that nobody has come back for in a week go.
   *
   * @throws the system's error
   */
  static async open(path: string, options: StorageOptions): Promise<Storage> {
    await makeFolder(path);
    const root = await OpenFolder.open(path);
    const parts = await root.enter(PARTS_FOLDER, 0o700).catch((error: Error) => {
      throw Object.assign(new Error(`${PARTS_FOLDER} in it: ${error.message}`), { cause: error });
    });
    await forgetOld(parts);
    const forbidden = new Set([await parts.identity()]);
    for (const folder of options.protect) {
      const opened = await OpenFolder.open(folder).catch(() => null);
      if (opened === null) continue;
      forbidden.add(await opened.identity());
      await opened.close();
    }
    return new Storage(path, root, parts, forbidden, options);
  }

  /**
   * Takes a name for one transfer. [FIL-12] One that is silent while it has the name loses it to the next, as its process was probably killed; for one
   * that is at work the next waits a while.
   */
  async claim(folded: string, holder: Holder): Promise<void> {
    const until = performance.now() + BUSY_MS_MAX;
    for (let other = this.holders.get(folded); other !== undefined; other = this.holders.get(folded)) {
      const silentMs = performance.now() - other.heardAt;
      if (silentMs >= SILENCE_MS) {
        await other.lose(folded);
        this.release(folded, other, null);
      } else if (performance.now() > until) throw new Refused(Refusal.BUSY, 'another sender sends that name');
      else await sleep(Math.min(SILENCE_MS - silentMs + 1, LOOK_MS));
    }
    this.holders.set(folded, holder);
  }

  /**
   * Sets room aside for a file, of whoever has claimed its name.
   *
   * @throws {Refused}
   */
  async reserve(folded: string, holder: Holder, size: number): Promise<void> {
    if (this.holders.get(folded) !== holder) return; // another has it now
    this.charge(folded, size);
    await this.assertRoom(Math.max(0, size - (this.charges.get(folded)?.kept ?? 0)));
  }

  /** Lets another have the name, of which `kept` bytes are in a part; null: as many as were before. */
  release(folded: string, holder: Holder, kept: number | null): void {
    if (this.holders.get(folded) !== holder) return;
    this.holders.delete(folded);
    this.open.delete(folded);
    const charge = this.charges.get(folded);
    if (charge === undefined) return;
    const bytes = kept ?? charge.kept;
    this.bytes += bytes - charge.bytes;
    if (bytes > 0) this.charges.set(folded, { bytes, kept: bytes });
    else this.charges.delete(folded);
  }

  /** The file is there: it counts for good. */
  settle(folded: string, holder: Holder): void {
    if (this.holders.get(folded) !== holder) return;
    this.holders.delete(folded);
    this.open.delete(folded);
    this.charges.delete(folded);
    this.stored++;
  }

  /** What is stored, under way, and in parts stays within the limits. */
  private charge(folded: string, size: number): void {
    const before = this.charges.get(folded);
    const { filesMax, bytesMax } = this.options;
    if (this.stored + this.charges.size + (before === undefined ? 1 : 0) > filesMax) throw tooMany(filesMax);
    const more = size - (before?.bytes ?? 0);
    if (this.bytes + more > bytesMax) {
      throw new Refused(Refusal.LIMIT, `no more than ${bytesMax} bytes are taken`);
    }
    this.bytes += more;
    this.charges.set(folded, { bytes: size, kept: before?.kept ?? 0 });
  }

  /** What stands at a path; null where nothing does. */
  lookAt(names: readonly string[]): Promise<Stats | null> {
    return this.within(names, false, (folder, name) => folder.look(name), null);
  }

  /** Makes a folder; false when it is there. Those that were there count for nothing, however often they come. */
  async makeFolder(names: readonly string[], mode: number): Promise<boolean> {
    const isNew = (await this.lookAt(names)) === null;
    if (isNew) {
      const { filesMax } = this.options;
      if (this.stored + this.charges.size >= filesMax) throw tooMany(filesMax);
      this.stored++;
    }
    const make = async (folder: OpenFolder, name: string): Promise<void> => {
      const made = await this.enter(folder, name, mode);
      await made.close();
    };
    await this.within(names, true, make, undefined);
    return isNew;
  }

  async openPart(folded: string): Promise<IncomingFile> {
    const name = `${createHash('sha256').update(folded).digest('hex').slice(0, 40)}.part`;
    const part = await IncomingFile.open(this.parts, name);
    if (this.holders.has(folded)) this.open.set(folded, part);
    return part;
  }

  /** Whether the file that is there is the one that its sender has hashed. */
  isSame(
    names: readonly string[],
    size: number,
    trail: (handle: FileHandle) => Promise<HashTrail>,
    points: readonly HashPoint[],
  ): Promise<boolean> {
    if (size > 0 && points.at(-1)?.offset !== size) return Promise.resolve(false);
    const compare = async (folder: OpenFolder, name: string): Promise<boolean> => {
      const handle = await open(folder.child(name), constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0));
      try {
        return size === 0 || agreedBytes((await trail(handle)).points(), points) === size;
      } finally {
        await handle.close();
      }
    };
    return this.within(names, false, compare, false);
  }

  /** Puts a complete file in its place; null where one is there that stays. */
  place(file: IncomingFile, names: readonly string[], mode: number, mtimeMs: number): Promise<string | null> {
    const attributes = { mode, mtimeMs: this.options.keepTimes ? mtimeMs : null };
    return this.within(
      names,
      true,
      (folder, name) => file.place(folder, name, this.existing, attributes),
      null,
    );
  }

  async close(): Promise<void> {
    await this.parts.close();
    await rmdir(this.root.child(PARTS_FOLDER)).catch(() => {}); // there are parts in it, for the next try
    await this.root.close();
  }

  /** Does something in the folder of a path; `otherwise` where that is not there and not to be made. */
  private async within<T>(
    names: readonly string[],
    makes: boolean,
    action: (folder: OpenFolder, name: string) => Promise<T>,
    otherwise: T,
  ): Promise<T> {
    let folder = this.root;
    try {
      for (const name of names.slice(0, -1)) {
        if (!makes && (await folder.look(name)) === null) return otherwise;
        const next = await this.enter(folder, name, 0o777);
        if (folder !== this.root) await folder.close();
        folder = next;
      }
      return await action(folder, names.at(-1) as string);
    } finally {
      if (folder !== this.root) await folder.close();
    }
  }

  private async enter(folder: OpenFolder, name: string, mode: number): Promise<OpenFolder> {
    const entered = await folder.enter(name, mode);
    if (!this.forbidden.has(await entered.identity())) return entered;
    await entered.close();
    throw new Refused(Refusal.NAME, 'it would be in a folder of this program');
  }

  /** Leaves the disk some room, whatever else is on its way: one that is full to the last byte stops others, too. */
  private async assertRoom(size: number): Promise<void> {
    if (size < SMALL_BYTES && performance.now() - this.measuredAt < MEASURE_MS) {
      this.roomBytes -= size;
      if (this.roomBytes >= FREE_BYTES_MIN) return;
    }
    const { bavail, bsize } = await statfs(this.path);
    this.measuredAt = performance.now();
    this.roomBytes = bavail * bsize - this.expectedBytes();
    if (this.roomBytes >= FREE_BYTES_MIN) return;
    this.roomBytes += size;
    throw new Refused(Refusal.NO_SPACE, 'the disk has no room for it');
  }

  /** What is still to come of all that is under way. */
  private expectedBytes(): number {
    let sum = 0;
    for (const folded of this.holders.keys()) {
      const { bytes = 0, kept = 0 } = this.charges.get(folded) ?? {};
      sum += Math.max(0, bytes - (this.open.get(folded)?.bytes ?? kept));
    }
    return sum;
  }
}

/** Why something is not taken. */
export class Refused extends Error {
  readonly refusal: Refusal;
  /** What has come of it is of no use for another try. */
  readonly isWorthless: boolean;

  constructor(refusal: Refusal, message: string, isWorthless = false) {
    super(message);
    this.refusal = refusal;
    this.isWorthless = isWorthless;
  }
}

function tooMany(filesMax: number): Refused {
  return new Refused(Refusal.LIMIT, `no more than ${filesMax} files are taken`);
}

async function forgetOld(parts: OpenFolder): Promise<void> {
  for (const name of (await readdir(parts.child('.'))).filter((each) => each.endsWith('.part'))) {
    const found = await parts.look(name);
    if (found !== null && Date.now() - found.mtimeMs > PART_AGE_MS_MAX)
      await unlink(parts.child(name)).catch(() => {});
  }
}

/** So long may a transfer be silent before another sender gets its name. */
const SILENCE_MS = 1_000;
const BUSY_MS_MAX = 30_000;
const LOOK_MS = 200;
/** For a file so large the disk is asked anew; else it is so often at most. */
const SMALL_BYTES = 1024 * 1024;
const MEASURE_MS = 1_000;
const FREE_BYTES_MIN = 64 * 1024 * 1024;
const PART_AGE_MS_MAX = 7 * 24 * 3_600_000;
