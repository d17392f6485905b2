/** Sending files: {@link sendFiles}. */

import { setTimeout as sleep } from 'node:timers/promises';
import { JspError } from '../base/errors.ts';
import { anything, checkOptions, flag, number, type OptionTable } from '../base/options.ts';
import { abortError, abortSignal, onAbort } from '../transport/abort.ts';
import type { Connection } from '../transport/connection.ts';
import { isolated } from '../transport/listeners.ts';
import { FILES_LABEL, type RefusalName, TransferCode } from './messages.ts';
import { type SendOutcome, SendSession, SentEntry } from './sending.ts';
import { findEntries, type Skipped } from './walk.ts';

export interface SendFilesOptions {
  /** Whether links are followed, rather than left out. Default false. */
  followLinks?: boolean | undefined;
  /**
   * How long to try again when the connection breaks and nothing gets on, in ms; only where connections are made by a function. Default 60,000;
   * 0: not at all.
   */
  retryMs?: number | undefined;
  /** Hears of the progress, often: read it and return. What it throws comes out as an uncaught exception, and costs the transfer nothing. */
  onProgress?: ((progress: SendProgress) => void) | undefined;
  /** Ends the transfer when it fires; what has arrived is kept for the next try. */
  signal?: AbortSignal | undefined;
}

/** How far a transfer is. */
export interface SendProgress {
  readonly files: number;
  readonly filesSettled: number;
  readonly bytes: number;
  /** Bytes that the receiver has, or that are on their way. */
  readonly bytesSettled: number;
  /** Bytes that were sent, those that were sent in vain included, those that were there before not. */
  readonly sentBytes: number;
  /** Why there is no connection now; null while there is one. */
  readonly waitsFor: Error | null;
  /** Those on their way, first. */
  readonly entries: readonly SentFile[];
}

/** A file or folder, and what became of it. */
export interface SentFile {
  /** From the receiver's folder down, with slashes. */
  readonly path: string;
  readonly kind: 'file' | 'folder';
  readonly size: number;
  readonly outcome: SendOutcome;
  /** Why not, where it is `refused` or `failed`: text of the receiver, or of the system. */
  readonly reason: string;
  /** The same in a word, where it is `refused`; else null. */
  readonly refusal: RefusalName | null;
  /** The name that it has at the receiver, if another. */
  readonly storedAs: string;
  readonly sentBytes: number;
  /** Bytes of it that were there, and found to be the same, when it was last begun. */
  readonly resumedAt: number;
}

export interface SendReport {
  readonly files: readonly SentFile[];
  /** What was found and not sent: links, devices, what cannot be read. */
  readonly skipped: readonly Skipped[];
  /** Bytes of all files. */
  readonly bytes: number;
  /** Bytes of files that were sent, all tries together: what is above `bytes` was sent again. */
  readonly sentBytes: number;
  /** Connections that were made. */
  readonly connections: number;
}

/**
 * Sends files and folders, with all that is in them. Resolves when all are settled, with what became of each: `sent` says that the receiver has
 * it on its disk with the right hash. What a receiver had of a file from a try that broke off is verified and not sent again.
 *
 * @param connection - one that is open, which stays open; or a function that makes one, which is called again when it breaks
 * @throws JspError ERR_JSP_FILES for a path that cannot be sent, and when the other side takes no files; ERR_JSP_ABORTED; otherwise why the
 * connection ended, when it is not made again or `retryMs` is over
 * @example
 * const { files } = await sendFiles(() => connect(url), ['photos', 'notes.txt'], { onProgress: ({ bytesSettled }) => show(bytesSettled) });
 */
export async function sendFiles(
  connection: Connection | (() => Promise<Connection>),
  paths: readonly string[],
  options: SendFilesOptions = {},
): Promise<SendReport> {
  checkOptions('sendFiles', options, SEND_FILES_OPTIONS);
  const { entries, skipped } = await findEntries(paths, options.followLinks);
  const transfer = new Transfer(
    entries.map((entry) => new SentEntry(entry)),
    skipped,
    options,
  );
  return typeof connection === 'function' ? transfer.runOverAny(connection) : transfer.runOver(connection);
}

class Transfer {
  private readonly entries: readonly SentEntry[];
  private readonly skipped: readonly Skipped[];
  private readonly options: SendFilesOptions;
  private readonly onProgress: ((progress: SendProgress) => void) | null;
  private readonly tally: Tally;
  private connections = 0;
  private waitsFor: Error | null = null;

  constructor(entries: readonly SentEntry[], skipped: readonly Skipped[], options: SendFilesOptions) {
    this.entries = entries;
    this.tally = new Tally(entries);
    this.skipped = skipped;
    this.options = options;
    this.onProgress = options.onProgress === undefined ? null : isolated(options.onProgress);
  }

  async runOver(connection: Connection): Promise<SendReport> {
    const { signal, followLinks = false } = this.options;
    if (signal?.aborted) throw abortError(signal);
    this.connections++;
    const stream = connection.openStream({ label: FILES_LABEL, priority: 'bulk' });
    const forget = onAbort(signal, () => stream.reset(TransferCode.CANCELLED));
    try {
      const unsettled = this.entries.filter(({ outcome }) => outcome === 'unsent');
      await new SendSession(stream, connection, unsettled, followLinks, (sent) => {
        this.tally.note(sent);
        this.tell();
      }).run();
    } catch (error) {
      throw signal?.aborted ? abortError(signal) : error;
    } finally {
      forget();
    }
    return this.report();
  }

  /** Makes connections until one carries everything, or none gets on for too long. */
  async runOverAny(make: () => Promise<Connection>): Promise<SendReport> {
    const { retryMs = RETRY_MS, signal } = this.options;
    let until = performance.now() + retryMs;
    for (let tries = 0; ; tries++) {
      const before = this.progressed();
      try {
        const connection = await make();
        this.waitsFor = null;
        try {
          return await this.runOver(connection);
        } finally {
          connection.close({ timeoutMs: GOODBYE_MS }).catch(() => {});
        }
      } catch (error) {
        if (!mayPass(error)) throw error;
        if (this.progressed() > before) {
          until = performance.now() + retryMs;
          tries = 0;
        }
        if (this.connections === 0 || performance.now() >= until) throw error;
        this.waitsFor = error as Error;
        this.tell();
      }
      await sleep(Math.min(BACK_OFF_MS * 2 ** tries, BACK_OFF_MS_MAX), undefined, { signal }).catch(() => {
        throw abortError(signal as AbortSignal);
      });
    }
  }

  private progressed(): number {
    return this.entries.reduce(
      (sum, { sentBytes, outcome }) => sum + sentBytes + (outcome === 'unsent' ? 0 : 1),
      0,
    );
  }

  private tell(): void {
    const { onProgress } = this;
    if (onProgress === null) return;
    const { entries, tally, waitsFor } = this;
    onProgress({
      files: entries.length,
      get filesSettled() {
        return tally.settled;
      },
      get bytes() {
        return tally.bytes;
      },
      get bytesSettled() {
        return tally.bytesSettled;
      },
      get sentBytes() {
        return tally.sentBytes;
      },
      waitsFor,
      get entries() {
        return tally.underWay.map(shown);
      },
    });
  }

  private report(): SendReport {
    return {
      files: this.entries.map(shown),
      skipped: this.skipped,
      bytes: totalOf(this.entries),
      sentBytes: sentBytesOf(this.entries),
      connections: this.connections,
    };
  }
}

/** What has become of all entries, of which hundreds of thousands may be settled: only those that are under way are looked at again. */
class Tally {
  private readonly foundBytes: number;
  private readonly active = new Set<SentEntry>();
  private readonly over = new Set<SentEntry>();
  /** Of those that are over: how much they grew since they were found, what is settled, and what was sent. */
  private grownBytes = 0;
  private overBytes = 0;
  private overSentBytes = 0;

  constructor(entries: readonly SentEntry[]) {
    this.foundBytes = totalOf(entries);
  }

  /** Something has become of one. */
  note(sent: SentEntry): void {
    if (sent.outcome === 'unsent') {
      this.active.add(sent);
      return;
    }
    if (this.over.has(sent)) return;
    this.active.delete(sent);
    this.over.add(sent);
    this.grownBytes += sent.entry.size - sent.foundBytes;
    this.overBytes += isGivenUp(sent) ? sent.entry.size : sent.position;
    this.overSentBytes += sent.sentBytes;
  }

  get settled(): number {
    return this.over.size;
  }

  get bytes(): number {
    return this.sum(({ entry, foundBytes }) => entry.size - foundBytes, this.foundBytes + this.grownBytes);
  }

  get bytesSettled(): number {
    return this.sum(({ position }) => position, this.overBytes);
  }

  get sentBytes(): number {
    return this.sum(({ sentBytes }) => sentBytes, this.overSentBytes);
  }

  get underWay(): SentEntry[] {
    return [...this.active].filter(({ position }) => position > 0);
  }

  private sum(of: (sent: SentEntry) => number, start: number): number {
    let total = start;
    for (const sent of this.active) total += of(sent);
    return total;
  }
}

function shown({ entry, outcome, reason, refusal, storedAs, sentBytes, resumedAt }: SentEntry): SentFile {
  const { kind, names, size } = entry;
  return { path: names.join('/'), kind, size, outcome, reason, refusal, storedAs, sentBytes, resumedAt };
}

function isGivenUp({ outcome }: SentEntry): boolean {
  return outcome === 'refused' || outcome === 'failed';
}

function totalOf(entries: readonly SentEntry[]): number {
  return entries.reduce((sum, { entry }) => sum + entry.size, 0);
}

function sentBytesOf(entries: readonly SentEntry[]): number {
  return entries.reduce((sum, { sentBytes }) => sum + sentBytes, 0);
}

/** Whether another connection may do better. */
function mayPass(error: unknown): boolean {
  if (!(error instanceof JspError)) return false;
  if (error.code === 'ERR_JSP_FILES')
    return error.applicationCode !== undefined && PASSING.has(error.applicationCode);
  return !FINAL.has(error.code);
}

/** What the options of {@link sendFiles} may be. */
const SEND_FILES_OPTIONS: OptionTable<SendFilesOptions> = {
  followLinks: flag,
  retryMs: number(0, Number.POSITIVE_INFINITY),
  onProgress: anything,
  signal: abortSignal,
};

/** Resets of a transfer after which it may go on: the receiver was stopped, or is full. */
const PASSING: ReadonlySet<number> = new Set([
  TransferCode.CANCELLED,
  TransferCode.TOO_MANY,
  TransferCode.STALLED,
]);
const FINAL: ReadonlySet<string> = new Set([
  'ERR_JSP_ABORTED',
  'ERR_JSP_OPTION_INVALID',
  'ERR_JSP_URL_INVALID',
  'ERR_JSP_PIN_MISSING',
  'ERR_JSP_IDENTITY_MISMATCH',
]);
const RETRY_MS = 60_000;
const BACK_OFF_MS = 100;
const BACK_OFF_MS_MAX = 3_000;
const GOODBYE_MS = 1_000;
