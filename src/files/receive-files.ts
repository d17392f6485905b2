/** Receiving files over connections of one's own: {@link receiveFiles}. */

import { JspError } from '../base/errors.ts';
import { anything, checkOptions, flag, number, type OptionTable, oneOf } from '../base/options.ts';
import type { Connection } from '../transport/connection.ts';
import { isolated } from '../transport/listeners.ts';
import type { Stream } from '../transport/stream.ts';
import type { OnExisting } from './incoming-file.ts';
import { FILES_LABEL, TransferCode } from './messages.ts';
import type { NameRule } from './names.ts';
import { type ReceiverEvent, ReceiveSession } from './receiving.ts';
import { Storage } from './storage.ts';

export interface ReceiveOptions {
  /**
   * What is done about a file that is there and has other content. Default `refuse`, which its sender is told; `overwrite` replaces files, never
   * links or folders; `rename` stores as `name (1).txt`. One that has the same content counts as received.
   */
  onExisting?: OnExisting | undefined;
  /** Most bytes that all transfers together bring, by what their senders announce. Default: what the disk has, but for 64 MiB. */
  bytesMax?: number | undefined;
  /** Most files and folders that all transfers together bring. Default 100,000. */
  filesMax?: number | undefined;
  /** Whether files get the time of last change that they had. Default false. */
  keepTimes?: boolean | undefined;
  /** `portable`: names that some system reserves are refused. `system`: only those that this one does not take. Default `portable`. */
  names?: NameRule | undefined;
  /** Folders that nothing is written to, though they are in the one that is received into. */
  protect?: readonly string[] | undefined;
  /** A transfer from which nothing comes for so long is given up, in ms. Default 600,000: a sender may have much to hash. */
  stallMs?: number | undefined;
  /** Hears what happens. What it throws comes out as an uncaught exception, and costs no transfer anything. */
  onEvent?: ((event: ReceiverEvent) => void) | undefined;
}

/** Receives files into one folder, until it is closed. */
export interface FileReceiver {
  /** Takes the transfers of a connection: its streams of the label `files/1`. Other streams are left to others. */
  serve(connection: Connection): void;
  /** Ends the transfers that go on; parts stay for the next try. */
  close(): Promise<void>;
}

/**
 * Receives files into a folder, which is made where there is none. What comes is verified and on the disk before its sender hears that it is
 * there. Nothing is written outside the folder, through links, or over what is there.
 *
 * @throws JspError ERR_JSP_OPTION_INVALID; ERR_JSP_FILES when the folder cannot be opened or made
 * @example
 * const receiver = await receiveFiles('inbox');
 * listener.on('connection', (connection) => receiver.serve(connection));
 */
export async function receiveFiles(folder: string, options: ReceiveOptions = {}): Promise<FileReceiver> {
  checkOptions('receiveFiles', options, RECEIVE_OPTIONS);
  try {
    const storage = await Storage.open(folder, {
      existing: options.onExisting ?? 'refuse',
      names: options.names ?? 'portable',
      keepTimes: options.keepTimes ?? false,
      bytesMax: options.bytesMax ?? Number.POSITIVE_INFINITY,
      filesMax: options.filesMax ?? FILES_MAX,
      protect: options.protect ?? [],
    });
    return new Receiver(storage, options);
  } catch (error) {
    throw new JspError('ERR_JSP_FILES', `cannot receive into ${folder}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** A transfer that goes on, or is about to end. */
interface Going {
  readonly connection: Connection;
  readonly over: Promise<unknown>;
}

class Receiver implements FileReceiver {
  private readonly storage: Storage;
  private readonly tell: (event: ReceiverEvent) => void;
  private readonly sessions = new Map<ReceiveSession, Going>();
  private readonly watch: NodeJS.Timeout;
  private readonly stallMs: number;
  private isClosed = false;

  constructor(storage: Storage, options: ReceiveOptions) {
    this.storage = storage;
    this.tell = options.onEvent === undefined ? () => {} : isolated(options.onEvent);
    this.stallMs = options.stallMs ?? STALL_MS;
    this.watch = setInterval(() => this.giveUpStalled(), Math.min(this.stallMs, LOOK_MS)).unref();
  }

  serve(connection: Connection): void {
    connection.on('stream', (stream) => {
      if (stream.label === FILES_LABEL) this.begin(stream, connection);
    });
  }

  async close(): Promise<void> {
    this.isClosed = true;
    clearInterval(this.watch);
    for (const session of this.sessions.keys()) session.cancel(TransferCode.CANCELLED);
    await Promise.all([...this.sessions.values()].map(({ over }) => over));
    await this.storage.close();
  }

  private begin(stream: Stream, connection: Connection): void {
    const isTransfer = !this.isClosed && stream.delivery === 'reliable' && stream.ordered;
    if (!isTransfer || !this.makeRoomFor(connection)) {
      stream.on('error', () => {});
      stream.reset(isTransfer ? TransferCode.TOO_MANY : TransferCode.CANCELLED);
      return;
    }
    const session = new ReceiveSession(stream, this.storage, this.tell);
    const over = session.run().finally(() => this.sessions.delete(session));
    this.sessions.set(session, { connection, over });
  }

  /**
   * Whether one more transfer of `connection` has a place. Where all are taken it gets that of a connection that has more of them, or of one that is silent: who has the URL could hold them all
   * otherwise, with nothing to send. [FIL-13]
   */
  private makeRoomFor(connection: Connection): boolean {
    const going = [...this.sessions].filter(([session]) => !session.isCancelled);
    if (going.length < SESSIONS_MAX) return this.sessions.size < SESSIONS_MAX + ENDING_MAX;
    const counts = new Map<Connection, number>();
    for (const [, { connection: of }] of going) counts.set(of, (counts.get(of) ?? 0) + 1);
    const countOf = (of: Connection) => counts.get(of) ?? 0;
    const silentSince = performance.now() - SILENT_MS;
    const isSilent = (session: ReceiveSession) => session.heardAt <= silentSince;
    const [loser] = going
      .filter(
        ([session, { connection: of }]) =>
          countOf(of) > countOf(connection) + 1 || (of !== connection && isSilent(session)),
      )
      .sort(
        ([a, { connection: ofA }], [b, { connection: ofB }]) =>
          countOf(ofB) - countOf(ofA) || a.heardAt - b.heardAt,
      );
    if (loser === undefined || this.sessions.size >= SESSIONS_MAX + ENDING_MAX) return false;
    const [session] = loser;
    session.cancel(isSilent(session) ? TransferCode.STALLED : TransferCode.TOO_MANY);
    return true;
  }

  private giveUpStalled(): void {
    const before = performance.now() - this.stallMs;
    for (const session of this.sessions.keys()) {
      if (session.heardAt < before) session.cancel(TransferCode.STALLED);
    }
  }
}

/** What the options of {@link receiveFiles} may be. */
const RECEIVE_OPTIONS: OptionTable<ReceiveOptions> = {
  onExisting: oneOf(['refuse', 'overwrite', 'rename']),
  bytesMax: number(0, Number.POSITIVE_INFINITY),
  filesMax: number(0, Number.POSITIVE_INFINITY),
  keepTimes: flag,
  names: oneOf(['portable', 'system']),
  protect: anything,
  stallMs: number(1, 2 ** 31 - 1),
  onEvent: anything,
};

const FILES_MAX = 100_000;
const STALL_MS = 600_000;
const LOOK_MS = 10_000;
/** Transfers at once, of all connections. */
const SESSIONS_MAX = 64;
/** Beside them those that were ended and wait for the disk. */
const ENDING_MAX = 64;
/** Where all places are taken, one from which nothing comes for so long may be another's. Most that have something to hash take less. */
const SILENT_MS = 30_000;
