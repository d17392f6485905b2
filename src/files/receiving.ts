/**
 * One transfer as its receiver has it: a stream of messages in order, an answer to each offer. What the sender says is not believed: names are
 * checked, lengths counted, hashes compared; nothing is written outside the folder, or over what is there. [FIL-5] [FIL-9]
 */

import { createHash } from 'node:crypto';
import { JspError } from '../base/errors.ts';
import type { Stream } from '../transport/stream.ts';
import type { IncomingFile } from './incoming-file.ts';
import {
  checkMessage,
  doneMessage,
  type EntryKind,
  goMessage,
  type HashPoint,
  type OfferedEntry,
  Refusal,
  type RefusalName,
  readSenderMessage,
  refusalName,
  refusedMessage,
  TransferCode,
} from './messages.ts';
import { checkPath, foldedPath } from './names.ts';
import { agreedBytes, type HashTrail, stepFor, trailOf } from './resume.ts';
import { Refused, type Storage } from './storage.ts';

/** What happens at a receiver, for those who show it. */
export type ReceiverEvent =
  /** A transfer begins: what its sender has for us. */
  | { readonly type: 'plan'; readonly files: number; readonly bytes: number }
  | {
      readonly type: 'begin';
      readonly file: ReceivedEntry;
      readonly size: number;
      readonly resumedAt: number;
    }
  | { readonly type: 'progress'; readonly file: ReceivedEntry; readonly bytes: number; readonly size: number }
  /** It is there, whole and verified: `identical` says that it was before. */
  | {
      readonly type: 'done';
      readonly file: ReceivedEntry;
      readonly size: number;
      readonly resumedAt: number;
      readonly identical: boolean;
    }
  | {
      readonly type: 'refused';
      readonly file: ReceivedEntry;
      readonly refusal: RefusalName;
      readonly reason: string;
    }
  /** A transfer is over: complete, or broken off. */
  | { readonly type: 'over'; readonly complete: boolean };

/** A file or folder as its sender calls it: text of a stranger, though names that are taken are checked. */
export interface ReceivedEntry {
  readonly kind: EntryKind;
  /** From the receiver's folder down, with slashes. */
  readonly path: string;
}

/** A file between its offer and the end of it. */
interface Incoming {
  readonly id: number;
  readonly names: readonly string[];
  readonly entry: OfferedEntry;
  readonly folded: string;
  state: State;
  /** Nobody else has its name. */
  holdsName: boolean;
  step: number;
  file: IncomingFile | null;
  /** Bytes that were there before. */
  resumedAt: number;
  /** Bytes so far. */
  received: number;
}

/** Where a file is between its offer and the end of it. */
const State = {
  /** The file system is asked. */
  OFFERED: 0,
  /** The sender is asked what its file is, of which this side has one of that length. */
  CHECKING_EXISTING: 1,
  /** The same of a part. */
  CHECKING_PART: 2,
  /** The sender may begin. */
  GOING: 3,
  RECEIVING: 4,
  /** All is there; it is verified and put in its place. */
  FINISHING: 5,
} as const;
type State = (typeof State)[keyof typeof State];

export class ReceiveSession {
  /** When the last message came, of the process's monotonic clock. */
  heardAt: number;
  /** It was given up, and ends as soon as the file system lets it. */
  isCancelled = false;
  private readonly stream: Stream;
  private readonly storage: Storage;
  private readonly tell: (event: ReceiverEvent) => void;
  private readonly files = new Map<number, Incoming>();
  /** Refused before their end has come: what is still on its way for them is ignored. */
  private readonly deaf = new Set<number>();
  /** Names of this transfer so far, but for those of what was refused or given up. */
  private readonly taken = new Set<string>();
  /** Which file the data is of. */
  private current = -1;
  /** What goes on beside the messages that come: the file system answers slowly, and the next file need not wait for it. */
  private readonly working = new Set<Promise<void>>();

  constructor(stream: Stream, storage: Storage, tell: (event: ReceiverEvent) => void) {
    this.stream = stream;
    this.storage = storage;
    this.tell = tell;
    this.heardAt = performance.now();
    stream.allowHalfOpen = true;
    stream.on('error', () => {}); // the iteration tells
  }

  /** Takes the transfer to its end. */
  async run(): Promise<void> {
    let isComplete = false;
    try {
      for await (const message of this.stream) {
        this.heardAt = performance.now();
        await this.onMessage(message);
      }
      await Promise.all(this.working);
      isComplete = this.files.size === 0 && !this.isCancelled;
      this.stream.end();
    } catch (error) {
      if (!(error instanceof JspError))
        this.cancel(error instanceof ProtocolFault ? TransferCode.PROTOCOL : TransferCode.CANCELLED);
      await Promise.all(this.working);
    }
    for (const file of [...this.files.values()]) await this.drop(file);
    this.tell({ type: 'over', complete: isComplete });
  }

  /** Gives the transfer up; parts stay. */
  cancel(code: number): void {
    this.isCancelled = true;
    this.stream.reset(code);
  }

  /** Another sender has come for this name, and this one is silent. */
  async lose(folded: string): Promise<void> {
    for (const file of this.files.values()) {
      if (file.folded === folded) await this.refuse(file, Refusal.BUSY, 'another sender sends that name');
    }
  }

  private async onMessage(bytes: Buffer): Promise<void> {
    const message = readSenderMessage(bytes);
    switch (message?.type) {
      case 'plan':
        return this.tell({ type: 'plan', files: message.files, bytes: message.bytes });
      case 'offer':
        return this.onOffer(message.id, message.entry);
      case 'proof':
        return this.onProof(this.known(message.id), message.points);
      case 'begin':
        return this.onBegin(message.id);
      case 'data':
        return this.onData(message.bytes);
      case 'end':
        return this.onEnd(message.id, Buffer.from(message.hash));
      case 'abort':
        return this.onAbort(message.id);
      default:
        throw new ProtocolFault();
    }
  }

  private async onOffer(id: number, entry: OfferedEntry): Promise<void> {
    if (this.files.has(id) || this.files.size >= OFFERS_MAX) throw new ProtocolFault();
    this.deaf.delete(id);
    const { names, fault } = checkPath(entry.path, this.storage.names);
    const file: Incoming = {
      id,
      entry,
      names: names ?? [],
      folded: foldedPath(names ?? []),
      state: State.OFFERED,
      holdsName: false,
      step: 0,
      file: null,
      resumedAt: 0,
      received: 0,
    };
    if (names === undefined) return this.say(file, Refusal.NAME, fault);
    if (this.taken.has(file.folded))
      return this.say(file, Refusal.COLLISION, 'this transfer had that name already');
    this.taken.add(file.folded);
    this.files.set(id, file);
    // In its turn, so that it has its mode before something is put into it.
    if (entry.kind === 'folder') return this.attempt(file, () => this.makeFolder(file));
    await this.beside(file, async () => {
      await this.storage.claim(file.folded, this);
      file.holdsName = true;
      if (!this.isWanted(file)) return this.drop(file); // it was given up while it waited for its name
      const there = await this.storage.lookAt(file.names);
      if (there !== null && !there.isFile())
        throw new Refused(Refusal.EXISTS, 'there is something else of that name');
      if (there !== null && there.size === entry.size)
        return this.check(file, State.CHECKING_EXISTING, there.size);
      if (there !== null && this.storage.existing === 'refuse') throw new Refused(Refusal.EXISTS, OTHER_FILE);
      await this.onNew(file);
    });
  }

  private async makeFolder(file: Incoming): Promise<void> {
    const isNew = await this.storage.makeFolder(file.names, folderMode(file.entry.mode));
    this.done(file, !isNew, '');
  }

  /** It is to be received: from where a part of it ends, if the sender proves that it is a part of this. */
  private async onNew(file: Incoming): Promise<void> {
    await this.storage.reserve(file.folded, this, file.entry.size);
    if (!this.isWanted(file)) return this.drop(file);
    file.file = await this.storage.openPart(file.folded);
    if (!this.isWanted(file)) return this.drop(file);
    const have = Math.min(file.file.bytes, file.entry.size);
    if (have > 0) return this.check(file, State.CHECKING_PART, have);
    await this.go(file, 0);
  }

  private async check(file: Incoming, state: State, have: number): Promise<void> {
    if (!this.isWanted(file)) return;
    file.state = state;
    file.step = stepFor(have);
    if (have === 0) return this.onExistingProof(file, []); // two files of no bytes are the same
    this.send(checkMessage(file.id, have, file.step));
  }

  private async onProof(file: Incoming | null, points: readonly HashPoint[]): Promise<void> {
    if (file === null) return;
    const { state } = file;
    if (state !== State.CHECKING_EXISTING && state !== State.CHECKING_PART) throw new ProtocolFault();
    file.state = State.OFFERED;
    await this.beside(file, () =>
      state === State.CHECKING_EXISTING ? this.onExistingProof(file, points) : this.onPartProof(file, points),
    );
  }

  private async onExistingProof(file: Incoming, points: readonly HashPoint[]): Promise<void> {
    const { size } = file.entry;
    if (await this.storage.isSame(file.names, size, (handle) => trailOf(handle, file.step, size), points)) {
      return this.done(file, true, '');
    }
    if (this.storage.existing === 'refuse') throw new Refused(Refusal.EXISTS, OTHER_FILE);
    await this.onNew(file);
  }

  private async onPartProof(file: Incoming, points: readonly HashPoint[]): Promise<void> {
    const trail = await (file.file as IncomingFile).trail(file.step);
    await this.go(file, Math.min(agreedBytes(trail.points(), points), file.entry.size), trail);
  }

  private async go(file: Incoming, offset: number, trail?: HashTrail): Promise<void> {
    await file.file?.startAt(offset, trail?.from(offset) ?? createHash('sha256'));
    if (!this.isWanted(file)) return;
    file.state = State.GOING;
    file.resumedAt = offset;
    file.received = offset;
    this.send(goMessage(file.id, offset));
    this.tell({ type: 'begin', file: this.shown(file), size: file.entry.size, resumedAt: offset });
  }

  private onBegin(id: number): void {
    if (this.current >= 0) throw new ProtocolFault();
    this.current = id;
    if (this.deaf.has(id)) return;
    const file = this.known(id);
    if (file?.state !== State.GOING) throw new ProtocolFault();
    file.state = State.RECEIVING;
  }

  private async onData(bytes: Uint8Array): Promise<void> {
    if (this.current < 0) throw new ProtocolFault();
    const file = this.files.get(this.current);
    if (file === undefined) return; // refused meanwhile
    file.received += bytes.length;
    if (file.received > file.entry.size) {
      return this.refuse(file, Refusal.MISMATCH, 'more bytes came than were announced', true);
    }
    await this.attempt(file, async () => {
      await file.file?.write(bytes);
    });
    this.tell({ type: 'progress', file: this.shown(file), bytes: file.received, size: file.entry.size });
  }

  private async onEnd(id: number, hash: Buffer): Promise<void> {
    if (this.current !== id) throw new ProtocolFault();
    this.current = -1;
    if (this.deaf.delete(id)) return;
    const file = this.known(id);
    if (file === null) return;
    file.state = State.FINISHING;
    await this.beside(file, () => this.finish(file, hash));
  }

  /** Does something about a file while more messages come; not too much at once. */
  private async beside(file: Incoming, action: () => Promise<void> | void): Promise<void> {
    if (this.working.size >= WORKING_MAX) await Promise.race(this.working);
    const work = this.attempt(file, action)
      .catch((error) =>
        this.cancel(error instanceof ProtocolFault ? TransferCode.PROTOCOL : TransferCode.CANCELLED),
      )
      .finally(() => this.working.delete(work));
    this.working.add(work);
  }

  private async finish(file: Incoming, hash: Buffer): Promise<void> {
    const { entry } = file;
    const incoming = file.file as IncomingFile;
    const own = await incoming.complete();
    if (file.received !== entry.size) {
      throw new Refused(
        Refusal.MISMATCH,
        `${file.received} bytes came, and ${entry.size} were announced`,
        true,
      );
    }
    if (!own.equals(hash))
      throw new Refused(Refusal.MISMATCH, 'the hash is another than that of what came', true);
    const stored = await this.storage.place(incoming, file.names, fileMode(entry.mode), entry.mtimeMs);
    if (stored === null) throw new Refused(Refusal.EXISTS, OTHER_FILE);
    await incoming.close();
    file.file = null;
    this.done(file, false, stored);
  }

  private async onAbort(id: number): Promise<void> {
    if (this.current === id) this.current = -1;
    if (this.deaf.delete(id)) return;
    const file = this.files.get(id);
    if (file === undefined) return;
    if (file.state === State.FINISHING) throw new ProtocolFault();
    this.taken.delete(file.folded); // it may be offered anew
    await this.drop(file);
  }

  /** Does what may fail because of the file system, and says so to the sender. */
  private async attempt(file: Incoming, action: () => Promise<void> | void): Promise<void> {
    try {
      await action();
    } catch (error) {
      if (error instanceof ProtocolFault || error instanceof JspError) throw error;
      const refused = error instanceof Refused ? error : refusalOf(error as NodeJS.ErrnoException);
      await this.refuse(file, refused.refusal, refused.message, refused.isWorthless);
    }
  }

  private async refuse(file: Incoming, code: Refusal, detail: string, isWorthless = false): Promise<void> {
    if (!this.isWanted(file)) return;
    if (isWorthless) await file.file?.discard();
    if (file.state !== State.OFFERED && file.state !== State.FINISHING) this.deaf.add(file.id);
    this.taken.delete(file.folded);
    await this.drop(file);
    this.say(file, code, detail);
  }

  private say(file: Incoming, code: Refusal, detail: string): void {
    this.send(refusedMessage(file.id, code, detail));
    this.tell({ type: 'refused', file: this.shown(file), refusal: refusalName(code), reason: detail });
  }

  private done(file: Incoming, identical: boolean, stored: string): void {
    const name = file.names.at(-1);
    this.files.delete(file.id);
    if (file.entry.kind === 'file') {
      if (identical) this.letName(file, null);
      else this.storage.settle(file.folded, this);
      file.holdsName = false;
    }
    const shown = {
      ...this.shown(file),
      ...(stored === '' ? {} : { path: [...file.names.slice(0, -1), stored].join('/') }),
    };
    this.tell({ type: 'done', file: shown, size: file.entry.size, resumedAt: file.resumedAt, identical });
    this.send(doneMessage(file.id, identical, stored === name ? '' : stored));
  }

  /** It was neither given up by its sender, nor refused, while the file system was busy with it. */
  private isWanted(file: Incoming): boolean {
    return this.files.get(file.id) === file;
  }

  private async drop(file: Incoming): Promise<void> {
    if (this.isWanted(file)) this.files.delete(file.id);
    const { file: part } = file;
    file.file = null;
    await part?.close().catch(() => {});
    this.letName(file, part === null ? null : part.bytes);
  }

  /** Lets another sender have the name, once. @param kept - bytes in the part of it; null: it was not looked at */
  private letName(file: Incoming, kept: number | null): void {
    if (!file.holdsName) return;
    file.holdsName = false;
    this.storage.release(file.folded, this, kept);
  }

  /** What cannot be said any more need not: the iteration over what comes tells why. */
  private send(message: Buffer): void {
    try {
      this.stream.send(message, GIVEN_AWAY);
    } catch (error) {
      if (!(error instanceof JspError)) throw error;
    }
  }

  /** Null for one that was refused; what was never offered breaks the protocol. */
  private known(id: number): Incoming | null {
    const file = this.files.get(id);
    if (file !== undefined) return file;
    if (this.deaf.has(id)) return null;
    throw new ProtocolFault();
  }

  private shown({ names, entry }: Incoming): ReceivedEntry {
    const shown = names.length > 0 ? names : entry.path.map((name) => Buffer.from(name).toString());
    return { path: shown.join('/'), kind: entry.kind };
  }
}

/** The sender broke the protocol. */
class ProtocolFault extends Error {}

/** What a sender is told of an error of the file system: not the path, which is none of its business. */
function refusalOf(error: NodeJS.ErrnoException): Refused {
  switch (error.code) {
    case 'ENOSPC':
    case 'EDQUOT':
    case 'EFBIG':
      return new Refused(Refusal.NO_SPACE, 'the disk is full', true);
    case 'ENOTDIR':
    case 'ELOOP':
      return new Refused(Refusal.PATH, 'on the way to it is a link, or what is no folder');
    case 'ENAMETOOLONG':
    case 'EILSEQ':
      return new Refused(Refusal.NAME, 'the file system does not take that name');
    case 'ENOENT':
    case 'ESTALE':
      return new Refused(Refusal.STORAGE, 'the folder that is received into is gone');
    default:
      return new Refused(Refusal.STORAGE, `the file system says ${error.code ?? 'no'}`);
  }
}

/** Nobody else writes to it, whatever it was where it comes from; and nothing runs as another user. */
function fileMode(mode: number): number {
  return ((mode & 0o755) | 0o600) & ~process.umask();
}

function folderMode(mode: number): number {
  return (mode & 0o755) | 0o700;
}

const OTHER_FILE = 'there is such a file, with other content';
/** Offers that are neither done nor refused. */
const OFFERS_MAX = 256;
const WORKING_MAX = 32;
const GIVEN_AWAY = { transfer: true };
