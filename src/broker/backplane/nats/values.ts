/**
 * Last values of all nodes, as a stream of JetStream with one message a subject: its order is that of the changes, and what a node has not heard of it reads from where it was.
 * [CLU-40] [CLU-44]
 *
 * A change of this node names the one that it takes the place of, and JetStream takes it only if that is the latest of its topic ({@link OwnChanges}, which decides what happens else). It is
 * sent again until JetStream has answered, or the change itself has come back. One that a later change of the same topic replaces before it was sent is not sent at all; so what waits while
 * NATS cannot be reached is no more than there are values.
 */

import type { ConsumerMessages, JetStreamManager, StreamConfig } from '@nats-io/jetstream';
import type { Msg } from '@nats-io/transport-node';
import { JspError } from '../../../base/errors.ts';
import type { MadeChange, ValueChange, ValuePort } from '../../core/backplane/value-port.ts';
import { type NumberedChange, OwnChanges, type ValueEngine } from '../values/own-changes.ts';
import type { NatsLine } from './line.ts';
import type { NatsModules } from './modules.ts';
import type { News } from './news.ts';
import { reasonOf } from './replicas.ts';
import { findOrMake, valuesStream } from './stream-config.ts';
import { subjectOf, topicOf } from './subjects.ts';
import { decodeChange, encodeChange, type PlacedChange } from './value-form.ts';

export interface ValueSurroundings {
  readonly modules: NatsModules;
  readonly line: NatsLine;
  readonly news: News;
  readonly cluster: string;
  readonly replicas: number;
  readonly duplicateWindowMs: number;
  readonly node: string;
  /** Random, of each run of the node. */
  readonly run: number;
  readonly nowMs: () => number;
  readonly wallMs: () => number;
  /** NATS refuses something that it should not. */
  onTrouble(message: string): void;
}

/** The stream had more than was heard of here when it was asked. */
interface Behind {
  /** Of the check. */
  readonly number: number;
  /** The last change of the stream. */
  readonly last: number;
  /** The latest that has been heard of here, and when that was seen: monotonic, ms. */
  readonly heard: number;
  readonly atMs: number;
}

/** That a topic has nothing, which is not kept for ever. */
interface Marker {
  readonly revision: number;
  readonly atMs: number;
}

export class NatsValues implements ValuePort, ValueEngine {
  isComplete = false;
  current = 0;
  private readonly around: ValueSurroundings;
  private readonly manager: JetStreamManager;
  private readonly stream: string;
  private readonly prefix: string;
  private readonly inbox: string;
  private readonly own: OwnChanges;
  private markers: Marker[] = [];
  private messages: ConsumerMessages | null = null;
  /** How often reading has begun. */
  private attempts = 0;
  /** The latest change that was heard of. */
  private heard = 0;
  /** With this one everything has been heard of that there was when reading began; and whether that is not told yet. */
  private completeAt = 0;
  private isCompleteDue = true;
  /** How often the stream was asked how far it goes, and when last, monotonic, ms. */
  private checks = 0;
  private checkedMs = 0;
  private behind: Behind | null = null;
  private downSinceMs: number | null = null;
  private readonly timer: NodeJS.Timeout;
  private isClosed = false;

  private constructor(around: ValueSurroundings, manager: JetStreamManager) {
    const { cluster, modules, line } = around;
    this.around = around;
    this.manager = manager;
    this.stream = valuesStream(cluster);
    this.prefix = `jsp.${cluster}.r.`;
    this.inbox = modules.transport.createInbox();
    const { news } = around;
    this.own = new OwnChanges(this, {
      placed: (topic, number, revision) => news.push((events) => events.valuePlaced(topic, number, revision)),
      outdone: (topic, number, latest) => news.push((events) => events.valueOutdone(topic, number, latest)),
      synced: () => news.push((events) => events.valuesStored()),
    });
    line.subscribe(`${this.inbox}.*.*`, (message) => this.onAnswer(message));
    this.timer = setInterval(() => this.tick(), LOOK_MS);
    this.timer.unref();
  }

  /** Makes or finds the stream, and begins to read it. @throws {JspError} ERR_JSP_BACKPLANE_FAILED */
  static async open(around: ValueSurroundings): Promise<NatsValues> {
    const { modules, line } = around;
    const manager = await modules.jetstream.jetstreamManager(line.nats, { timeout: OPEN_MS });
    const values = new NatsValues(around, manager);
    try {
      await values.makeStream();
      await values.read();
    } catch (error) {
      void values.close();
      throw new JspError(
        'ERR_JSP_BACKPLANE_FAILED',
        `NATS does not let this broker keep last values (stream ${values.stream}): ${reasonOf(error, around.replicas)}.`,
        { cause: error },
      );
    }
    return values;
  }

  get recordBytesMax(): number {
    return this.payloadBytesMax - OVERHEAD_BYTES_MAX;
  }

  /** Of a change with its headers. */
  private get payloadBytesMax(): number {
    return this.around.line.nats.info?.max_payload ?? PAYLOAD_BYTES_MAX;
  }

  get written(): number {
    return this.own.written;
  }

  get synced(): number {
    return this.own.synced;
  }

  put(change: MadeChange): number {
    return this.own.put(change);
  }

  /** The next time that the stream is asked it says of all that is stored by now. */
  mark(): number {
    return this.checks + 1;
  }

  /** NATS can be reached again, or cannot. */
  lineChanged(isUp: boolean): void {
    const now = this.around.nowMs();
    if (!isUp) {
      this.downSinceMs ??= now;
      this.own.down();
      return;
    }
    const downMs = this.downSinceMs === null ? 0 : now - this.downSinceMs;
    this.downSinceMs = null;
    this.takeUp(downMs > REREAD_MS);
  }

  /** Resolves when JetStream has answered for all changes, or does not in time. */
  async close(): Promise<void> {
    this.isClosed = true;
    this.stopReading();
    clearInterval(this.timer);
    const { nowMs, line } = this.around;
    for (const endMs = nowMs() + CLOSE_MS; !this.own.isEmpty && line.isUp && nowMs() < endMs; ) {
      await new Promise((resolve) => setTimeout(resolve, CLOSE_LOOK_MS));
    }
  }

  // ---- what its own changes ask ----

  get isReady(): boolean {
    const { line } = this.around;
    return line.isUp && line.hasRoom;
  }

  get nowMs(): number {
    return this.around.nowMs();
  }

  store(
    { topic, number, record, place, isConditional }: NumberedChange,
    revision: number,
    attempt: number,
  ): number {
    const { line, modules, node, run, onTrouble } = this.around;
    const body = encodeChange({ node, run, number, isConditional, place, record });
    if (body.length > this.payloadBytesMax - HEADERS_BYTES_MAX) {
      // NATS took it before it was started anew. It would be tried for ever, and whoever waits behind it with it.
      onTrouble('a last value was not kept: NATS takes none so large any more');
      return 0;
    }
    const headers = modules.transport.headers();
    headers.set('Nats-Expected-Last-Subject-Sequence', `${revision}`);
    const reply = `${this.inbox}.${number}.${attempt}`;
    try {
      line.nats.publish(this.prefix + subjectOf(topic), body, { headers, reply });
      line.count(body.length);
    } catch {
      // the line has just gone down, and it waits
    }
    return body.length;
  }

  look(topic: string, number: number, attempt: number): void {
    void this.latestOf(topic)
      .then((latest) => this.around.line.attempt(() => this.own.looked(number, attempt, latest)))
      .catch(ignore); // it is asked again
  }

  private async latestOf(topic: string): Promise<ValueChange | null> {
    const last_by_subj = this.prefix + subjectOf(topic);
    const message = await this.manager.streams.getMessage(this.stream, { last_by_subj });
    if (message === null) return null;
    const { run, node } = this.around;
    const { seq: revision } = message;
    const change = decodeChange(message.data);
    if (change === null)
      return { topic, record: null, place: null, revision, node, number: 0, isConditional: true }; // of somebody else, and nothing to this one
    return { ...change, topic, revision, number: change.run === run ? change.number : 0 };
  }

  private onAnswer(message: Msg): void {
    const [number, attempt] = message.subject
      .slice(this.inbox.length + 1)
      .split('.')
      .map(Number);
    if ((message.headers?.code ?? 0) !== 0) return; // nobody keeps the stream now: it is sent again
    let answer: { seq?: number; error?: { err_code?: number; description?: string } };
    try {
      answer = message.json();
    } catch {
      return;
    }
    const { error, seq } = answer;
    if (error === undefined) {
      if (seq !== undefined && seq > 0) this.own.stored(number, seq);
    } else if (error.err_code === WRONG_LAST_SEQUENCE) this.own.overtaken(number, attempt);
    else if (PASSING.has(error.err_code ?? 0)) this.around.onTrouble(`last values: ${error.description}`);
    else {
      this.around.onTrouble(`a last value was not kept: ${error.description}`);
      this.own.refused(number, attempt);
    }
  }

  /** What was not answered is sent again, and markers go that everybody has heard of. */
  private tick(): void {
    const { line, nowMs, wallMs } = this.around;
    if (!line.isUp) return;
    const now = nowMs();
    if (now - this.checkedMs >= CHECK_MS) void this.check(now).catch(ignore); // the next one tries again
    this.own.tick();
    const due = this.markers.filter(({ atMs }, i) => wallMs() - atMs > MARKER_MS || i >= MARKERS_MAX);
    if (due.length === 0) return;
    this.markers = this.markers.filter((marker) => !due.includes(marker));
    // Another change of the topic may have taken its place.
    for (const { revision } of due)
      this.manager.streams.deleteMessage(this.stream, revision, false).catch(ignore);
  }

  /**
   * Asks the stream how far it goes. What it has sent and a cut has swallowed, with nothing behind it, is noticed by nothing else: its consumer holds it for delivered, and the line
   * of a broker to its leaf of NATS stays up while the leaf loses its own.
   */
  private async check(now: number): Promise<void> {
    this.checkedMs = now;
    const number = ++this.checks;
    const { state } = await this.manager.streams.info(this.stream);
    if (this.isClosed) return;
    const { behind, heard } = this;
    if (heard >= state.last_seq) {
      this.behind = null;
      this.tellCurrent(number);
      return;
    }
    const atMs = this.around.nowMs();
    if (behind === null) this.behind = { number, last: state.last_seq, heard, atMs };
    else if (behind.heard !== heard)
      this.behind = { ...behind, heard, atMs }; // it goes on
    else if (atMs - behind.atMs >= STILL_MS) {
      this.behind = null;
      this.readAnew();
    }
  }

  /** What had been stored when the stream was asked has all been heard of. */
  private tellCurrent(number: number): void {
    this.around.news.push(() => {
      this.current = Math.max(this.current, number);
    });
  }

  private async makeStream(): Promise<void> {
    const { modules, replicas, duplicateWindowMs } = this.around;
    const { DiscardPolicy, RetentionPolicy, StorageType } = modules.jetstream;
    const config: Partial<StreamConfig> & { name: string } = {
      name: this.stream,
      description: 'JetStreamProto last values',
      subjects: [`${this.prefix}>`],
      max_msgs_per_subject: 1,
      num_replicas: replicas,
      retention: RetentionPolicy.Limits,
      discard: DiscardPolicy.Old,
      storage: StorageType.File,
      duplicate_window: duplicateWindowMs * NANOS_A_MS,
    };
    await findOrMake(this.manager, config);
  }

  /** The line is up again. */
  private takeUp(isLong: boolean): void {
    this.own.up();
    this.stopReading();
    if (isLong) {
      // What says that something was taken away meanwhile may be gone: everything is read anew.
      this.heard = 0;
      this.isCompleteDue = true;
      this.around.news.push((events) => {
        this.isComplete = false;
        events.valuesReread();
      });
    }
    this.readAnew();
  }

  /** Reads on, and tries again until it can. */
  private readAnew(): void {
    const reading = this.read();
    const { attempts } = this;
    reading.catch((error) => {
      if (this.isClosed || !this.around.line.isUp || attempts !== this.attempts) return;
      this.around.onTrouble(`last values: ${(error as Error).message}`);
      this.readLater();
    });
  }

  /** Reads on from what was heard of; JetStream's client begins anew where it was, when something is lost. */
  private async read(): Promise<void> {
    this.stopReading();
    const attempt = ++this.attempts;
    const { modules } = this.around;
    const { DeliverPolicy } = modules.jetstream;
    const { state } = await this.manager.streams.info(this.stream);
    if (attempt !== this.attempts) return;
    this.completeAt = state.last_seq;
    const from = this.heard + 1;
    const consumer = await this.manager.jetstream().consumers.get(this.stream, {
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: from,
    });
    if (attempt !== this.attempts) return;
    const { num_pending } = await consumer.info(true);
    if (num_pending === 0) this.heardAll(); // the last of the stream may have been taken away
    const messages = await consumer.consume({ max_messages: MESSAGES_MAX, expires: PULL_MS });
    if (this.isClosed || attempt !== this.attempts) messages.stop();
    else {
      this.messages = messages;
      void this.listen(messages);
    }
  }

  private stopReading(): void {
    const { messages } = this;
    this.messages = null;
    messages?.stop();
  }

  private async listen(messages: ConsumerMessages): Promise<void> {
    try {
      for await (const message of messages) {
        if (messages !== this.messages) return;
        this.heard = message.seq;
        this.around.line.attempt(() =>
          this.take(message.subject, message.data, message.seq, message.time.getTime()),
        );
        this.own.passed(message.seq);
        if (message.seq >= this.completeAt || message.info.pending === 0) this.heardAll();
        if (this.behind !== null && this.heard >= this.behind.last) {
          this.tellCurrent(this.behind.number);
          this.behind = null;
        }
      }
    } catch (error) {
      this.around.onTrouble(`last values: ${(error as Error).message}`);
    }
    if (messages === this.messages) this.readLater();
  }

  /** Unless reading has begun again before, for another reason. */
  private readLater(): void {
    const { attempts } = this;
    setTimeout(() => {
      if (!this.isClosed && this.around.line.isUp && attempts === this.attempts) this.readAnew();
    }, LOOK_MS).unref();
  }

  /** Nothing more is to come of what the stream had when reading began. */
  private heardAll(): void {
    this.heard = Math.max(this.heard, this.completeAt);
    this.own.passed(this.heard);
    if (!this.isCompleteDue) return;
    this.isCompleteDue = false;
    this.around.news.push((events) => {
      this.isComplete = true;
      events.valuesComplete();
    });
  }

  private take(subject: string, body: Uint8Array, revision: number, atMs: number): void {
    const { news, run } = this.around;
    const topic = subject.startsWith(this.prefix) ? topicOf(subject.slice(this.prefix.length)) : null;
    const change: PlacedChange | null = decodeChange(body);
    if (topic === null || change === null) return; // of somebody else, or a later version
    const { node, record, isConditional, place } = change;
    const number = change.run === run ? change.number : 0;
    if (record === null && (number > 0 || this.around.wallMs() - atMs > MARKER_MS)) {
      this.markers.push({ revision, atMs });
    }
    this.own.heard(topic, revision, number);
    news.push((events) =>
      events.valueChanged({ topic, record, place, revision, node, number, isConditional }),
    );
  }
}

function ignore(): void {}

const OPEN_MS = 5_000;
const CLOSE_MS = 1_000;
const CLOSE_LOOK_MS = 5;
const LOOK_MS = 1_000;
/** The stream is asked so often how far it goes; when nothing of what it has more has come for so long, it is lost. */
const CHECK_MS = 2_000;
const STILL_MS = 1_500;
/** So long it is kept that a topic has nothing any more, for nodes that are cut off; one that was for longer than half of it reads everything anew. */
const MARKER_MS = 3_600_000;
const REREAD_MS = MARKER_MS / 2;
const MARKERS_MAX = 100_000;
const MESSAGES_MAX = 500;
/** Asked for anew so often, with a sign of life in between: so it is noticed when the stream is out of reach behind a server that is not. */
const PULL_MS = 5_000;
const PAYLOAD_BYTES_MAX = 1_024 * 1_024;
/** Headers, and what a change has beside its record. */
const OVERHEAD_BYTES_MAX = 512;
/** Of those, the headers. */
const HEADERS_BYTES_MAX = 256;
const NANOS_A_MS = 1_000_000;
const WRONG_LAST_SEQUENCE = 10_071;
/** No room now, no leader now. */
const PASSING: ReadonlySet<number> = new Set([10_008, 10_023, 10_074, 10_077, 10_047]);
