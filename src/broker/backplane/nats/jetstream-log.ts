/** A log of a cluster as a stream of JetStream: what {@link ClusterLog} asks, and what comes of it. */

import { randomBytes } from 'node:crypto';
import type { JetStreamManager, StreamInfo } from '@nats-io/jetstream';
import type { Msg } from '@nats-io/transport-node';
import { TopicTable } from '../../../pubsub/topic.ts';
import { AppendFault, type LogOptions, type StoredRecord } from '../../core/store-port.ts';
import type { LogExtent, LogStream, LogStreamListener } from '../log/log-stream.ts';
import { decodeRecord, RECORD_HEAD_BYTES } from '../log/record-form.ts';
import type { NatsLine } from './line.ts';
import type { NatsModules } from './modules.ts';
import {
  codeOf,
  descriptionOf,
  epochOf,
  openStream,
  STREAM_NOT_FOUND,
  type StreamPlan,
  streamName,
  subjectPrefix,
} from './stream-config.ts';
import { type ReaderListener, type ReaderSurroundings, StreamReader } from './stream-reader.ts';
import { subjectOf } from './subjects.ts';

export interface JetStreamSurroundings extends StreamPlan {
  readonly modules: NatsModules;
  readonly line: NatsLine;
  readonly manager: JetStreamManager;
  readonly node: string;
  /** NATS refuses something that it should not. */
  onTrouble(message: string): void;
}

/** Behind those who read old records, and who may go on. */
interface Pooled {
  readonly reader: StreamReader;
  readonly next: number;
}

export class JetStreamLog implements LogStream {
  listener: LogStreamListener | null = null;
  private readonly log: LogOptions;
  private readonly surroundings: JetStreamSurroundings;
  private readonly stream: string;
  private readonly prefix: string;
  private readonly inbox: string;
  private readonly subjects = new TopicTable<string>(SUBJECTS_MAX);
  private readonly reading: ReaderSurroundings;
  private readonly pool: Pooled[] = [];
  private tail: Tail | null = null;
  private isClosed = false;

  /** Makes or finds the stream. */
  static async open(
    log: LogOptions,
    surroundings: JetStreamSurroundings,
  ): Promise<{ stream: JetStreamLog; extent: LogExtent }> {
    const { modules, manager } = surroundings;
    const info = await openStream(modules, manager, log, surroundings, newEpoch());
    return { stream: new JetStreamLog(log, surroundings), extent: extentOf(info) };
  }

  private constructor(log: LogOptions, surroundings: JetStreamSurroundings) {
    const { cluster, line, modules, manager, node } = surroundings;
    this.log = log;
    this.surroundings = surroundings;
    this.stream = streamName(cluster, log.name);
    this.prefix = subjectPrefix(cluster, log.name);
    this.inbox = modules.transport.createInbox();
    this.reading = { line, modules, manager, stream: this.stream, node };
    line.subscribe(`${this.inbox}.*`, (message) => this.onAnswer(message));
  }

  get isUp(): boolean {
    return this.surroundings.line.isUp && !this.isClosed;
  }

  get recordBytesMax(): number {
    return (this.surroundings.line.nats.info?.max_payload ?? PAYLOAD_BYTES_MAX) - HEADERS_BYTES;
  }

  append(ticket: number, body: Uint8Array, name: string): void {
    const { line, modules } = this.surroundings;
    const headers = modules.transport.headers();
    headers.set('Nats-Msg-Id', name);
    try {
      line.nats.publish(this.subjectOf(body), body, { headers, reply: `${this.inbox}.${ticket}` });
      line.count(body.length);
    } catch (error) {
      this.listener?.refused(ticket, null, (error as Error).message);
    }
  }

  look(): void {
    void this.ask().then((extent) => this.answer((listener) => listener.looked(extent)));
  }

  beginAnew(): void {
    const { manager, onTrouble } = this.surroundings;
    const description = descriptionOf(this.log.name, newEpoch());
    onTrouble(
      `log "${this.log.name}": NATS has lost records that it had acknowledged; its readers begin anew`,
    );
    manager.streams.update(this.stream, { description }).then(
      () => this.look(),
      (error) => onTrouble(`log "${this.log.name}": ${(error as Error).message}`),
    );
  }

  read(from: number, until: number, bytesMax: number): void {
    const stretch = until - from === 1 ? this.get(from) : this.readStretch(from, until, bytesMax);
    void stretch
      .catch(() => null)
      .then((found) =>
        this.answer((listener) => listener.read(from, found?.records ?? null, found?.next ?? from)),
      );
  }

  find(timeMs: number): void {
    void this.findFirst(timeMs)
      .catch(() => null)
      .then((offset) => this.answer((listener) => listener.found(timeMs, offset)));
  }

  follow(from: number | null): void {
    this.tail?.close();
    this.tail = from === null ? null : new Tail(this.reading, from, this.toArrive);
  }

  close(): void {
    this.isClosed = true;
    this.tail?.close();
    for (const { reader } of this.pool.splice(0)) reader.close();
  }

  private answer(tell: (listener: LogStreamListener) => void): void {
    const { listener } = this;
    if (listener !== null) this.surroundings.line.attempt(() => tell(listener));
  }

  private readonly toArrive = (message: Msg, offset: number): void => {
    this.listener?.arrived(this.recordOf(message.subject, message.data, offset), offset);
  };

  private onAnswer(message: Msg): void {
    const { listener } = this;
    const ticket = Number(message.subject.slice(this.inbox.length + 1));
    const code = message.headers?.code ?? 0;
    if (listener === null) return;
    if (code !== 0) {
      listener.refused(ticket, null, `NATS answers ${code}`); // nobody keeps the stream now
      return;
    }
    const answer = parsed(message.data);
    if (answer.error !== undefined) {
      const { description = '', err_code = 0 } = answer.error;
      const fault = faultOf(err_code, description);
      if (fault === AppendFault.FAILED) this.surroundings.onTrouble(`log "${this.log.name}": ${description}`);
      listener.refused(ticket, fault, description);
    } else if (Number.isSafeInteger(answer.seq))
      listener.placed(ticket, answer.seq as number, answer.duplicate === true);
    else listener.refused(ticket, null, 'no answer of JetStream');
  }

  /** Of the topic of a record. */
  private subjectOf(body: Uint8Array): string {
    const start = RECORD_HEAD_BYTES + COMMAND_HEAD_BYTES;
    const end = start + ((body[RECORD_HEAD_BYTES + 2] << 8) | body[RECORD_HEAD_BYTES + 3]);
    const known = this.subjects.lookup(body, start, end);
    if (known !== undefined) return known;
    const topic = Buffer.from(body.buffer, body.byteOffset + start, end - start).toString();
    const subject = this.prefix + subjectOf(topic);
    this.subjects.store(body, start, end, subject);
    return subject;
  }

  /** Null: it is none that a broker has published. */
  private recordOf(subject: string, data: Uint8Array, offset: number): StoredRecord | null {
    const record = decodeRecord(data, offset);
    return record !== null && this.subjectOf(data) === subject ? record : null;
  }

  /** The stream as it is; one that somebody has removed is made anew. */
  private async ask(): Promise<LogExtent | null> {
    const { modules, manager } = this.surroundings;
    try {
      return extentOf(await manager.streams.info(this.stream));
    } catch (error) {
      if (codeOf(error) !== STREAM_NOT_FOUND) return null;
    }
    try {
      return extentOf(await openStream(modules, manager, this.log, this.surroundings, newEpoch()));
    } catch (error) {
      this.surroundings.onTrouble(`log "${this.log.name}": ${(error as Error).message}`);
      return null;
    }
  }

  /** One record. */
  private async get(offset: number): Promise<{ records: StoredRecord[]; next: number }> {
    const { line } = this.surroundings;
    const request = JSON.stringify({ seq: offset });
    const message = await line.nats.request(`$JS.API.DIRECT.GET.${this.stream}`, request, {
      timeout: REQUEST_MS,
    });
    const code = message.headers?.code ?? 0;
    if (code === NOT_FOUND) return { records: [], next: offset + 1 };
    if (code !== 0) throw new Error(`NATS answers ${code}`);
    const record = this.recordOf(message.headers?.get('Nats-Subject') ?? '', message.data, offset);
    return { records: record === null ? [] : [record], next: offset + 1 };
  }

  private async readStretch(
    from: number,
    until: number,
    bytesMax: number,
  ): Promise<{ records: StoredRecord[]; next: number }> {
    const records: StoredRecord[] = [];
    let next = from;
    let end: (code: number) => void = () => {};
    const ended = new Promise<number>((resolve) => {
      end = resolve;
    });
    const batch = Math.min(until - from, BATCH_MAX);
    let left = batch;
    const reader = await this.readerAt(from, {
      message: (message, offset, pending) => {
        next = offset + 1;
        if (--left === 0) end(ALL);
        else if (pending === 0) end(NOT_FOUND);
        // At last, so that one which cannot be read is passed over, too.
        const record = this.recordOf(message.subject, message.data, offset);
        if (record !== null) records.push(record);
      },
      ended: (code) => end(code),
      lost: () => end(LOST),
      idle: () => {},
    });
    reader.pull({ batch, max_bytes: Math.max(bytesMax, STRETCH_BYTES_MIN), no_wait: true });
    const timer = setTimeout(() => end(LOST), REQUEST_MS);
    const code = await ended;
    clearTimeout(timer);
    if (code === LOST || code === NOT_FOUND || next === from) reader.close();
    else this.keep({ reader, next });
    if (code === LOST && next === from) throw new Error('no answer of JetStream');
    if (code === NOT_FOUND) return { records, next: Math.max(next, until) };
    // What is larger than was asked for comes by itself.
    return next === from ? await this.get(from) : { records, next };
  }

  /** A reader whose next record is the first from `from` on. */
  private async readerAt(from: number, listener: ReaderListener): Promise<StreamReader> {
    const at = this.pool.findIndex(({ next }) => next === from);
    if (at < 0) return await StreamReader.open(this.reading, { from }, listener);
    const [{ reader }] = this.pool.splice(at, 1);
    reader.listener = listener;
    return reader;
  }

  private keep(pooled: Pooled): void {
    this.pool.push(pooled);
    if (this.pool.length > POOL_MAX) this.pool.shift()?.reader.close();
  }

  private async findFirst(timeMs: number): Promise<number> {
    let end: (offset: number | null) => void = () => {};
    const ended = new Promise<number | null>((resolve) => {
      end = resolve;
    });
    const reader = await StreamReader.open(
      this.reading,
      { timeMs },
      {
        message: (_, offset) => end(offset),
        ended: (code) => end(code === NOT_FOUND || code === REQUEST_OVER ? Number.POSITIVE_INFINITY : null),
        lost: () => end(null),
        idle: () => {},
      },
    );
    const timer = setTimeout(() => end(null), REQUEST_MS);
    try {
      reader.pull({ batch: 1, no_wait: true });
      const offset = await ended;
      if (offset === null) throw new Error('no answer of JetStream');
      return offset;
    } finally {
      clearTimeout(timer);
      reader.close();
    }
  }
}

/** What comes to a stream, from a place on. Whatever is lost is read again. */
class Tail {
  private readonly surroundings: ReaderSurroundings;
  private readonly take: (message: Msg, offset: number) => void;
  private next: number;
  private reader: StreamReader | null = null;
  private left = 0;
  private isClosed = false;
  private heardAt = Date.now();
  private readonly timer: NodeJS.Timeout;

  constructor(surroundings: ReaderSurroundings, from: number, take: (message: Msg, offset: number) => void) {
    this.surroundings = surroundings;
    this.next = from;
    this.take = take;
    this.timer = setInterval(() => this.watch(), TAIL_WATCH_MS);
    this.timer.unref();
    void this.begin();
  }

  close(): void {
    this.isClosed = true;
    clearInterval(this.timer);
    this.reader?.close();
  }

  private async begin(): Promise<void> {
    let reader: StreamReader | null = null;
    this.heardAt = Date.now();
    const isMine = () => reader !== null && this.reader === reader && !this.isClosed;
    try {
      reader = await StreamReader.open(
        this.surroundings,
        { from: this.next },
        {
          message: (message, offset) => {
            if (!isMine()) return;
            this.heardAt = Date.now();
            this.next = offset + 1;
            if (--this.left <= TAIL_BATCH / 2) this.pull();
            this.take(message, offset);
          },
          ended: (code) => {
            if (!isMine()) return;
            this.heardAt = Date.now();
            if (code !== REQUEST_OVER && code !== NOT_FOUND) this.restart();
            else {
              this.left = 0;
              this.pull();
            }
          },
          lost: () => {
            if (isMine()) this.restart();
          },
          idle: () => {
            this.heardAt = Date.now();
          },
        },
      );
    } catch {
      return; // the watch tries again
    }
    if (this.isClosed || this.reader !== null) {
      reader.close();
      return;
    }
    this.reader = reader;
    this.left = 0;
    this.pull();
  }

  private pull(): void {
    this.left += TAIL_BATCH;
    const expires = TAIL_PULL_MS * NANOS_A_MS;
    this.reader?.pull({ batch: TAIL_BATCH, expires, idle_heartbeat: TAIL_IDLE_MS * NANOS_A_MS });
  }

  private restart(): void {
    this.reader?.close();
    this.reader = null;
    void this.begin();
  }

  private watch(): void {
    if (this.reader === null || Date.now() - this.heardAt > TAIL_SILENT_MS) this.restart();
  }
}

function extentOf({ config, state }: StreamInfo): LogExtent {
  const { first_seq, last_seq, messages, bytes } = state;
  const head = last_seq + 1;
  return {
    epoch: epochOf(config.description),
    earliest: messages === 0 ? head : Math.max(1, first_seq),
    head,
    bytes,
  };
}

interface PubAnswer {
  readonly seq?: number;
  readonly duplicate?: boolean;
  readonly error?: { readonly err_code?: number; readonly description?: string };
}

function parsed(data: Uint8Array): PubAnswer {
  try {
    return JSON.parse(Buffer.from(data.buffer, data.byteOffset, data.length).toString()) as PubAnswer;
  } catch {
    return {};
  }
}

/** Null: it may be taken when it is handed over again. */
function faultOf(code: number, description: string): AppendFault | null {
  if (/maximum (messages|bytes)/.test(description) || code === NO_RESOURCES || code === NO_STORAGE)
    return AppendFault.FULL;
  if (code === MESSAGE_TOO_LARGE) return AppendFault.TOO_LARGE;
  if (code === UNAVAILABLE || code === STREAM_OFFLINE) return null;
  return AppendFault.FAILED;
}

/** 48 bits: no other epoch of a log is the same. */
function newEpoch(): number {
  return randomBytes(6).readUIntBE(0, 6) || 1;
}

const COMMAND_HEAD_BYTES = 8;
/** Of a server that does not say. */
const PAYLOAD_BYTES_MAX = 1024 * 1024;
/** The name of a record, and what is around it. */
const HEADERS_BYTES = 160;
const SUBJECTS_MAX = 4_096;
const REQUEST_MS = 3_000;
const BATCH_MAX = 1_024;
const STRETCH_BYTES_MIN = 64 * 1024;
const POOL_MAX = 4;
const TAIL_BATCH = 512;
const TAIL_PULL_MS = 30_000;
const TAIL_IDLE_MS = 2_000;
/** Also noticed: that the stream is out of reach behind a server that is not. */
const TAIL_SILENT_MS = 5_000;
const TAIL_WATCH_MS = 1_000;
/** In the place of a code of NATS: all has come that was asked for, and something was lost. */
const ALL = 0;
const LOST = -1;
const NOT_FOUND = 404;
const REQUEST_OVER = 408;
const NANOS_A_MS = 1_000_000;
const MESSAGE_TOO_LARGE = 10_054;
const NO_RESOURCES = 10_023;
const NO_STORAGE = 10_047;
const UNAVAILABLE = 10_008;
const STREAM_OFFLINE = 10_118;
