/**
 * One transfer over one connection as its sender has it: offers ahead, then the bytes of one file after the other, from where the receiver says.
 * What the receiver answers is not believed further than that: it gets bytes of the files that were offered to it, and of no other.
 */

import { createHash, type Hash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { shortLivedBuffer } from '../base/bytes.ts';
import { JspError } from '../base/errors.ts';
import type { Stream } from '../transport/stream.ts';
import {
  abortMessage,
  beginMessage,
  DATA_TYPE,
  endMessage,
  offerMessage,
  planMessage,
  proofMessage,
  type ReceiverMessage,
  type RefusalName,
  readReceiverMessage,
  refusalName,
  TransferCode,
} from './messages.ts';
import { type HashTrail, trailOf } from './resume.ts';
import { type Entry, openEntry } from './walk.ts';

/** What became of a file or folder. */
export type SendOutcome =
  /** It has arrived, and its hash is right there. */
  | 'sent'
  /** It was there before. */
  | 'identical'
  /** The receiver does not take it: `reason`. */
  | 'refused'
  /** It could not be read here: `reason`. */
  | 'failed'
  /** It was not settled when the transfer ended. */
  | 'unsent';

/** A file or folder on its way. */
export class SentEntry {
  readonly entry: Entry;
  /** Its size when it was found. */
  readonly foundBytes: number;
  outcome: SendOutcome = 'unsent';
  reason = '';
  /** Of one that is `refused`. */
  refusal: RefusalName | null = null;
  /** The name that the receiver gave it, if another. */
  storedAs = '';
  /** Bytes that were there when it last began. */
  resumedAt = 0;
  /** Bytes that were given to a stream, in all tries together; and how far into the file that is. */
  givenBytes = 0;
  reached = 0;
  /** Those of them that have not left yet. */
  queuedBytes = 0;
  /** All of it was given to a stream once. */
  isGiven = false;
  /** How often it changed while it was read. */
  changes = 0;

  constructor(entry: Entry) {
    this.entry = entry;
    this.foundBytes = entry.size;
  }

  /** Bytes of it that were sent, those that were sent in vain included. */
  get sentBytes(): number {
    return this.givenBytes - this.queuedBytes;
  }

  /** Bytes of it that the receiver has, or that are on their way. */
  get position(): number {
    return this.reached - this.queuedBytes;
  }

  /** It is at the receiver as a whole. */
  arrived(): void {
    this.reached = this.entry.size;
    this.queuedBytes = 0;
  }

  /** The connection has ended: what had not left by then was not sent. */
  forgetQueued(): void {
    this.givenBytes -= this.queuedBytes;
    this.reached -= this.queuedBytes;
    this.queuedBytes = 0;
  }
}

/** What is to be known of the path: {@link Connection.metrics} has it. */
export interface SendingPath {
  metrics(): { readonly silenceMs: number; readonly bytesInFlight: number; readonly pacingRate: number };
}

/** What was offered and is not settled. */
interface Offer {
  readonly sent: SentEntry;
  /** How often the receiver has asked what its beginning is: of what is there, and of a part. */
  checks: number;
  isBegun: boolean;
  trail: HashTrail | null;
}

/** What of the receiver's answers is to be acted on, in order. */
interface Task {
  readonly offer: Offer;
  readonly id: number;
  readonly answer: Extract<ReceiverMessage, { type: 'go' | 'check' }>;
}

export class SendSession {
  private readonly stream: Stream;
  private readonly waiting: SentEntry[];
  private readonly followLinks: boolean;
  private readonly onChange: (sent: SentEntry) => void;
  /** Offers that are not settled, by their number. */
  private readonly offered = new Map<number, Offer>();
  private readonly tasks: Task[] = [];
  private nextId = 0;
  private failure: unknown = null;
  private wake: () => void = () => {};
  /** The file whose bytes are given to the stream. */
  private current: SentEntry | null = null;
  private readonly dataBytes: number;
  private readonly path: SendingPath;
  private lookedAt = 0;

  /**
   * @param path - what carries the stream
   * @param onChange - something got on
   */
  constructor(
    stream: Stream,
    path: SendingPath,
    entries: readonly SentEntry[],
    followLinks: boolean,
    onChange: (sent: SentEntry) => void,
  ) {
    this.stream = stream;
    this.path = path;
    this.waiting = [...entries];
    this.followLinks = followLinks;
    this.onChange = onChange;
    this.dataBytes = Math.max(1, Math.min(DATA_BYTES, stream.messageBytesMax - 1));
    stream.allowHalfOpen = true;
    stream.highWaterMark = QUEUE_BYTES_MIN;
    stream.on('error', () => {}); // the iteration tells
    stream.on('drain', () => this.wake());
  }

  /**
   * Sends until everything is settled.
   *
   * @throws JspError why the connection ended, or the receiver the transfer
   */
  async run(): Promise<void> {
    const total = this.waiting.reduce((sum, { entry }) => sum + entry.size, 0);
    const reading = this.readAnswers();
    try {
      this.stream.send(planMessage(Math.min(this.waiting.length, 2 ** 32 - 1), total));
      for (;;) {
        this.offerMore();
        const task = this.tasks.shift();
        if (task !== undefined) await this.act(task);
        else if (this.offered.size === 0 && this.waiting.length === 0) break;
        else await this.pause();
        if (this.failure !== null) throw this.failure;
      }
      this.stream.end();
      await reading;
    } catch (error) {
      throw transferError(error);
    } finally {
      if (this.current !== null) this.noteQueued(this.current);
      for (const { sent } of this.offered.values()) sent.forgetQueued();
      this.stream.reset(TransferCode.CANCELLED); // of no effect where all went well
    }
  }

  private async readAnswers(): Promise<void> {
    try {
      for await (const bytes of this.stream) {
        const answer = readReceiverMessage(bytes);
        if (answer === null) throw brokenProtocol();
        this.onAnswer(answer);
        this.wake();
      }
      if (this.offered.size > 0)
        throw new JspError('ERR_JSP_FILES', 'the receiver has ended the transfer; try again');
    } catch (error) {
      this.failure = transferError(error);
    }
    this.wake();
  }

  /** [FIL-4] Each offer is asked about twice at most, begun once, and settled once. */
  private onAnswer(answer: ReceiverMessage): void {
    const offer = this.offered.get(answer.id);
    if (offer === undefined) return; // it was aborted, and the answer was on its way
    const { sent } = offer;
    switch (answer.type) {
      case 'go':
        if (offer.isBegun) throw brokenProtocol();
        offer.isBegun = true;
        this.tasks.push({ offer, id: answer.id, answer });
        return;
      case 'check':
        if (offer.isBegun || ++offer.checks > CHECKS_MAX) throw brokenProtocol();
        this.tasks.push({ offer, id: answer.id, answer });
        return;
      case 'done':
        // What is there already, after bytes of it were sent, is what an answer that was lost has told.
        return this.settle(
          answer.id,
          sent,
          answer.identical && sent.sentBytes === 0 && !sent.isGiven ? 'identical' : 'sent',
          '',
          answer.storedAs,
        );
      case 'refused':
        sent.refusal = refusalName(answer.code);
        return this.settle(
          answer.id,
          sent,
          'refused',
          answer.detail === '' ? `code ${answer.code}` : answer.detail,
        );
    }
  }

  private settle(id: number, sent: SentEntry, outcome: SendOutcome, reason: string, storedAs = ''): void {
    this.offered.delete(id);
    sent.outcome = outcome;
    sent.reason = reason;
    sent.storedAs = storedAs;
    if (outcome === 'sent' || outcome === 'identical') sent.arrived();
    this.onChange(sent);
  }

  private offerMore(): void {
    while (this.offered.size < OFFERS_MAX && this.waiting.length > 0) {
      const sent = this.waiting.shift() as SentEntry;
      const id = this.nextId++;
      this.offered.set(id, { sent, checks: 0, isBegun: false, trail: null });
      const { kind, mode, mtimeMs, size, names } = sent.entry;
      this.stream.send(
        offerMessage(id, { kind, mode, mtimeMs, size, path: names.map((name) => Buffer.from(name)) }),
      );
    }
  }

  private async act({ offer, id, answer }: Task): Promise<void> {
    if (!this.offered.has(id)) return;
    const { sent } = offer;
    let handle: FileHandle;
    try {
      handle = await openEntry(sent.entry, this.followLinks);
    } catch (error) {
      return this.giveUp(id, sent, (error as Error).message);
    }
    try {
      if (answer.type === 'check') await this.prove(id, offer, handle, answer);
      else await this.sendFrom(id, offer, handle, answer.offset);
    } catch (error) {
      if (error instanceof JspError) throw error;
      this.giveUp(id, sent, (error as Error).message);
    } finally {
      await handle.close();
    }
  }

  /** Says what the beginning of the file is, as far as the receiver has something of that length. */
  private async prove(
    id: number,
    offer: Offer,
    handle: FileHandle,
    { have, step }: { have: number; step: number },
  ): Promise<void> {
    const trail = await trailOf(handle, step, Math.min(have, offer.sent.entry.size));
    offer.trail = trail;
    this.stream.send(proofMessage(id, trail.points()));
  }

  private async sendFrom(id: number, offer: Offer, handle: FileHandle, offset: number): Promise<void> {
    const { sent, trail } = offer;
    const hash = trail?.from(offset) ?? (offset === 0 ? createHash('sha256') : null);
    if (hash === null || offset > sent.entry.size) throw brokenProtocol();
    sent.resumedAt = offset;
    sent.reached = offset;
    sent.queuedBytes = 0;
    this.current = sent;
    this.stream.send(beginMessage(id));
    const isWhole = await this.sendBytes(id, sent, handle, offset, hash);
    if (this.failure !== null) throw this.failure;
    this.current = null;
    if (!this.offered.has(id)) {
      this.stream.send(abortMessage(id)); // the receiver has refused the rest
      return;
    }
    if (isWhole && (await isUnchanged(handle, sent.entry))) {
      sent.isGiven = true;
      this.stream.send(endMessage(id, hash.digest()));
      return;
    }
    // What was sent is of two files: it is sent anew, as it is now. [FIL-11]
    this.stream.send(abortMessage(id));
    this.offered.delete(id);
    if (++sent.changes > CHANGES_MAX) return this.fail(sent, 'it changes while it is being read');
    const { size, mtimeMs } = await handle.stat();
    Object.assign(sent, { entry: { ...sent.entry, size, mtimeMs }, reached: 0 });
    this.waiting.unshift(sent);
  }

  /** False when the file has ended too early. */
  private async sendBytes(
    id: number,
    sent: SentEntry,
    handle: FileHandle,
    offset: number,
    hash: Hash,
  ): Promise<boolean> {
    const { size } = sent.entry;
    let next = offset < size ? this.read(handle, offset, size) : null;
    for (let at = offset; at < size; ) {
      const parts: Buffer[] = (await next) as Buffer[];
      const bytes = parts.reduce((sum, part) => sum + part.length - 1, 0);
      if (bytes === 0) return false;
      at += bytes;
      // The next piece is read while this one is hashed and sent.
      next = at < size ? this.read(handle, at, size) : null;
      next?.catch(() => {});
      for (const part of parts) {
        hash.update(part.subarray(1));
        await this.heard();
        sent.givenBytes += part.length - 1;
        sent.reached += part.length - 1;
        const isOpen = this.stream.send(part, GIVEN_AWAY);
        this.noteQueued(sent);
        if (!isOpen) await this.drained();
        if (this.failure !== null) throw this.failure;
        if (!this.offered.has(id)) {
          await next;
          return false;
        }
      }
      this.onChange(sent);
    }
    return true;
  }

  /** Reads a piece of a file into messages, the first byte of each of which is that of its type. */
  private async read(handle: FileHandle, at: number, size: number): Promise<Buffer[]> {
    const wanted = Math.min(READ_BYTES, size - at);
    const messages: Buffer[] = [];
    for (let left = wanted; left > 0; left -= this.dataBytes) {
      const message = shortLivedBuffer(1 + Math.min(left, this.dataBytes));
      message[0] = DATA_TYPE;
      messages.push(message);
    }
    const { bytesRead } = await handle.readv(
      messages.map((message) => message.subarray(1)),
      at,
    );
    if (bytesRead === wanted) return messages;
    const full: Buffer[] = [];
    for (let left = bytesRead; left > 0; left -= this.dataBytes) {
      full.push((messages[full.length] as Buffer).subarray(0, 1 + Math.min(left, this.dataBytes)));
    }
    return full;
  }

  private async drained(): Promise<void> {
    while (this.failure === null && this.stream.queuedBytes > this.stream.highWaterMark / 2)
      await this.pause();
  }

  private pause(): Promise<void> {
    if (this.failure !== null) return Promise.resolve();
    return new Promise((resolve) => {
      this.wake = resolve;
    });
  }

  private giveUp(id: number, sent: SentEntry, reason: string): void {
    this.offered.delete(id);
    this.stream.send(abortMessage(id));
    this.fail(sent, reason);
  }

  private fail(sent: SentEntry, reason: string): void {
    sent.outcome = 'failed';
    sent.reason = reason;
    this.onChange(sent);
  }

  /** How much of a file has not left yet; what is queued ahead of it is little. */
  private noteQueued(sent: SentEntry): void {
    sent.queuedBytes = Math.min(this.stream.queuedBytes, sent.reached - sent.resumedAt);
  }

  /**
   * Waits while the receiver is silent although something is under way to it. If it is gone, all that is sent from now on is sent again later:
   * so little waits in the queue, and nothing is added before it is heard of.
   */
  private async heard(): Promise<void> {
    for (let i = 0; this.failure === null; i++) {
      const now = performance.now();
      if (i === 0 && now - this.lookedAt < LOOK_MS) return;
      this.lookedAt = now;
      const { silenceMs, bytesInFlight, pacingRate } = this.path.metrics();
      const worth = pacingRate * QUEUE_SECONDS;
      this.stream.highWaterMark = Math.round(Math.max(QUEUE_BYTES_MIN, Math.min(QUEUE_BYTES_MAX, worth)));
      if (silenceMs < SILENCE_MS || bytesInFlight + this.stream.queuedBytes < UNHEARD_BYTES) return;
      await sleep(LOOK_MS);
    }
  }
}

async function isUnchanged(handle: FileHandle, entry: Entry): Promise<boolean> {
  const { size, mtimeMs } = await handle.stat();
  return size === entry.size && mtimeMs === entry.mtimeMs;
}

function brokenProtocol(): JspError {
  return new JspError('ERR_JSP_FILES', 'the other side does not speak the protocol of files, or breaks it');
}

/** What the codes of a reset mean here. */
function transferError(error: unknown): unknown {
  if (!(error instanceof JspError) || error.code !== 'ERR_JSP_STREAM_RESET') return error;
  const why = RESETS[error.applicationCode ?? 0] ?? 'the other side takes no files: is it "jsp receive"?';
  return new JspError('ERR_JSP_FILES', why, { cause: error, applicationCode: error.applicationCode });
}

const RESETS: Readonly<Record<number, string>> = {
  [TransferCode.CANCELLED]: 'the receiver has ended the transfer; what has arrived is kept for the next try',
  [TransferCode.PROTOCOL]: 'the receiver says that this side broke the protocol of files',
  [TransferCode.TOO_MANY]: 'the receiver has no room for another transfer now; try again later',
  [TransferCode.STALLED]: 'the receiver heard nothing for too long; try again',
};

/** Bytes of a file in a message: the less the less is sent again after a break, the more the faster. */
const DATA_BYTES = 65_535;
const READ_BYTES = 16 * DATA_BYTES;
/** What waits in the stream: so long as it takes to be asked for more. */
const QUEUE_SECONDS = 0.01;
const QUEUE_BYTES_MIN = 128 * 1024;
const QUEUE_BYTES_MAX = 1024 * 1024;
/** Acknowledgements come more often than this from a receiver to which much is under way. */
const SILENCE_MS = 10;
const LOOK_MS = 5;
/** So much is sent however silent the receiver is: it may have nothing to acknowledge yet. */
const UNHEARD_BYTES = 2 * QUEUE_BYTES_MIN;
const OFFERS_MAX = 64;
const CHECKS_MAX = 2;
const CHANGES_MAX = 3;
const GIVEN_AWAY = { transfer: true };
