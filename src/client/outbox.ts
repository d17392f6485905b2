/**
 * What a client publishes, over all its connections. A message with QoS 0 goes out at once where there is a connection ({@link Publishing}); one with QoS 1 is held until the
 * broker has answered ({@link Sequence}). What cannot go out waits, within the bounds of a {@link Backlog}, and before what is published later. [CLT-8, CLT-10]
 */

import { JspError } from '../base/errors.ts';
import { MILLISECOND, type Micros, NEVER } from '../base/time.ts';
import { CompressionMode } from '../protocol/compress/index.ts';
import { PublishFlag, publishPrefix } from '../pubsub/command.ts';
import { STREAM_PRIORITIES, type StreamPriority } from '../pubsub/message-stream.ts';
import { assertTopic } from '../pubsub/topic.ts';
import { abortError, onAbort, unlessAborted } from '../transport/abort.ts';
import { compressionModeOf } from '../transport/compression.ts';
import type { Clock } from '../udp/clock.ts';
import { Backlog, type BufferOptions, type Lane, Outgoing } from './backlog.ts';
import { type Breaker, circuitOpenError } from './breaker.ts';
import { closedError, PendingRequests } from './command-stream.ts';
import type { ClientCompression } from './compression.ts';
import type { Link, LinkUser } from './link.ts';
import {
  checkPublishOptions,
  keptOptions,
  type PublishOptions,
  propertiesOf,
  ttlAt,
} from './publish-options.ts';
import { Publishing, payloadBytes } from './publishing.ts';
import { AcknowledgedMessage, type PublishReceipt, Sequence } from './sequence.ts';

/** A message that the client had taken, and that did not get to the broker. */
export interface UnpublishedMessage {
  readonly topic: string;
  readonly qos: 0 | 1;
}

/** Who hears of what becomes of messages. */
export interface OutboxOwner {
  /** After a publish that answered false there is room again. */
  onDrain(): void;
  /** [CLT-11] Nobody need wait for it to hear of this. */
  onUnpublished(message: UnpublishedMessage, error: JspError): void;
}

export class Outbox implements LinkUser {
  /** Messages with QoS 0 that a connection took with it when it ended, so that nobody knows of them. */
  lost = 0;
  /** Messages with QoS 1 that were published, and that were not. */
  acknowledged = 0;
  refused = 0;
  private readonly publishing: Publishing;
  private readonly compression: ClientCompression;
  private readonly usualPriority: StreamPriority;
  private readonly clock: Clock;
  private readonly owner: OutboxOwner;
  private readonly breaker: Breaker | null;
  private readonly backlog: Backlog;
  private readonly sequences: readonly Sequence[];
  /** Of messages with QoS 0 that wait, by class. */
  private readonly lanes: readonly Lane[];
  private readonly waits = new PendingRequests();
  private isOnline = false;
  /** A message with QoS 0 need not wait: there is a connection, and nothing that was published before waits. */
  isDirect = false;
  private failure: JspError | null = null;
  /** Somebody was told to stop. */
  private mustTellDrain = false;
  private unconfirmedAtEnd = 0;
  private topicsAtEnd: readonly string[] = [];

  /** @param breaker - null: none */
  constructor(
    usualPriority: StreamPriority,
    compression: ClientCompression,
    buffer: BufferOptions,
    breaker: Breaker | null,
    clock: Clock,
    owner: OutboxOwner,
  ) {
    this.breaker = breaker;
    if (breaker !== null) breaker.onFree = () => this.goOn();
    this.usualPriority = usualPriority;
    this.compression = compression;
    this.clock = clock;
    this.owner = owner;
    this.publishing = new Publishing(usualPriority, compression, () => this.pump());
    this.backlog = new Backlog(buffer, clock);
    const admits = () => breaker === null || breaker.admits();
    const onAnswered = () => this.pump();
    this.sequences = STREAM_PRIORITIES.map(
      (priority) => new Sequence(priority, this.backlog, clock, admits, onAnswered),
    );
    this.lanes = STREAM_PRIORITIES.map(() => this.backlog.newLane());
  }

  /** With QoS 0, as all that say nothing else; for callers that have looked at {@link isDirect}. */
  publishNow(topic: string, payload: Uint8Array | string): boolean {
    const hasRoom = this.publishing.publishPlain(topic, payload);
    if (!hasRoom) this.mustTellDrain = true;
    return hasRoom;
  }

  /** With QoS 0. */
  publish(topic: string, payload: Uint8Array | string, options: PublishOptions | undefined): boolean {
    if (options !== undefined) checkPublishOptions(options);
    if (this.isDirect) {
      const hasRoom = this.publishing.publish(topic, payload, options);
      if (!hasRoom) this.mustTellDrain = true;
      return hasRoom;
    }
    assertTopic(topic);
    const message = new WaitingMessage(topic, payload, options ?? {}, this.clock.now(), this.owner);
    const lane = this.laneOf(options);
    this.backlog.admit(message, lane);
    this.backlog.enqueue(message, lane);
    this.isDirect = false;
    if (!this.backlog.isFilling) return true;
    this.mustTellDrain = true;
    return false;
  }

  /** With QoS 1. It does not throw. */
  publishAcknowledged(
    topic: string,
    payload: Uint8Array | string,
    options: PublishOptions,
  ): Promise<PublishReceipt> {
    let message: AcknowledgedMessage;
    try {
      checkPublishOptions(options);
      if (options.signal?.aborted) throw abortError(options.signal);
      if (this.failure !== null) throw this.failure;
      if (this.breaker?.state === 'open' && !this.breaker.buffers) throw circuitOpenError();
      message = this.newMessage(topic, payload, options);
    } catch (error) {
      return this.reject(topic, error);
    }
    const sequence = this.sequences[STREAM_PRIORITIES.indexOf(options.priority ?? this.usualPriority)];
    const { signal } = options;
    if (signal !== undefined) {
      const forget = onAbort(signal, () => sequence.abandon(message, abortError(signal)));
      message.receipt.then(forget, forget);
    }
    try {
      sequence.publish(message);
    } catch (error) {
      message.fail(error as JspError);
    }
    return message.receipt;
  }

  /** The answer to a publish with QoS 1 that cannot be: as of one that was tried. */
  reject(topic: string, error: unknown): Promise<PublishReceipt> {
    const rejected = Promise.reject(error);
    rejected.catch(() => {});
    if (error instanceof JspError) this.owner.onUnpublished({ topic: String(topic), qos: 1 }, error);
    return rejected;
  }

  /** Messages that the broker has not confirmed, wherever they are. */
  get unconfirmed(): number {
    if (this.failure !== null) return this.unconfirmedAtEnd;
    let count = this.publishing.unconfirmed;
    for (const lane of this.lanes) count += lane.length;
    for (const sequence of this.sequences) count += sequence.unsettled;
    return count;
  }

  /** Bytes that have not left yet. */
  get queuedBytes(): number {
    let bytes = this.publishing.queuedBytes;
    for (const sequence of this.sequences) bytes += sequence.queuedBytes;
    return bytes;
  }

  /** The breaker lets messages through again. */
  goOn(): void {
    for (const sequence of this.sequences) sequence.pump();
  }

  /** What is held, and what became of what was. */
  get metrics() {
    const { messages, bytes, dropped, expired, waiting } = this.backlog;
    const { acknowledged, refused, lost } = this;
    return { held: messages, heldBytes: bytes, waiting, dropped, expired, acknowledged, refused, lost };
  }

  online(link: Link): void {
    this.isOnline = true;
    this.publishing.online(link);
    for (const sequence of this.sequences) sequence.online(link);
    this.pump();
    this.waits.settleAll();
  }

  offline(): void {
    this.isOnline = false;
    this.isDirect = false;
    this.lost += this.publishing.unconfirmed;
    if (this.publishing.isFull) this.mustTellDrain = true;
    this.publishing.offline();
    for (const sequence of this.sequences) sequence.offline();
  }

  closed(reason: JspError | null): void {
    const { unconfirmed, unsettledTopics } = this;
    this.topicsAtEnd = unsettledTopics;
    this.isOnline = false;
    this.isDirect = false;
    this.failure = reason ?? closedError();
    this.unconfirmedAtEnd = unconfirmed;
    this.publishing.offline();
    for (const sequence of this.sequences) sequence.failAll(this.failure);
    this.backlog.failAll(this.failure);
    this.waits.failAll(this.failure);
  }

  /** Resolves when {@link publish} may go on. */
  async drained(signal: AbortSignal | undefined): Promise<void> {
    while (this.isFull) await this.change(signal);
  }

  /**
   * Resolves when the broker has everything published so far.
   *
   * @throws what ended the connection that had messages with QoS 0 which are not confirmed
   */
  async flush(signal: AbortSignal | undefined): Promise<void> {
    const receipts = this.receipts();
    for (;;) {
      while (!this.isDirect) await this.change(signal);
      const { lost } = this;
      const { unconfirmed } = this.publishing;
      try {
        await this.publishing.flush(signal);
        break;
      } catch (error) {
        if (signal?.aborted || this.failure !== null || unconfirmed > 0 || lost !== this.lost) throw error;
      }
    }
    await this.settled(receipts, signal);
  }

  /** As {@link flush}, without asking where nothing is unconfirmed. */
  async flushUnconfirmed(): Promise<void> {
    while (this.unconfirmed > 0) {
      if (this.failure !== null) throw this.failure;
      const receipts = this.receipts();
      const wasLost = this.lost;
      if (this.isOnline) await this.publishing.flushUnconfirmed();
      else await this.change(undefined);
      if (this.lost !== wasLost) throw closedError();
      await this.settled(receipts, undefined);
      if (this.isOnline && !this.isDirect) await this.change(undefined);
    }
  }

  /** Topics of the messages that are not settled, one for each; of a client that is over: that were not. */
  get unsettledTopics(): readonly string[] {
    if (this.failure !== null) return this.topicsAtEnd;
    const topics = this.sequences.flatMap((sequence) => sequence.messages().map(({ topic }) => topic));
    for (const lane of this.lanes) {
      for (let message = lane.first; message !== null; message = message.next) topics.push(message.topic);
    }
    return topics;
  }

  private receipts(): Promise<PublishReceipt>[] {
    return this.sequences.flatMap((sequence) => sequence.messages().map(({ receipt }) => receipt));
  }

  private get isFull(): boolean {
    if (this.backlog.isFilling) return true;
    return this.isOnline && (this.publishing.isFull || !this.isDirect);
  }

  /** What waits for its turn goes out, as far as there is room. */
  private pump(): void {
    if (!this.isOnline) return;
    let isDirect = true;
    for (const lane of this.lanes) isDirect = this.pumpLane(lane) && isDirect;
    this.isDirect = isDirect && this.isOnline;
    if (!this.isDirect) return;
    this.waits.settleAll();
    if (!this.mustTellDrain || this.isFull) return;
    this.mustTellDrain = false;
    this.owner.onDrain();
  }

  /** False: something waits still. */
  private pumpLane(lane: Lane): boolean {
    for (let first = lane.first; first !== null; first = lane.first) {
      const message = first as WaitingMessage;
      this.backlog.release(message);
      const options = message.optionsAt(this.clock.now());
      try {
        const hasRoom = this.publishing.publish(message.topic, message.payload, options);
        if (!hasRoom) return lane.first === null;
      } catch (error) {
        message.fail(error as JspError);
      }
    }
    return true;
  }

  private laneOf(options: PublishOptions | undefined): Lane {
    return this.lanes[STREAM_PRIORITIES.indexOf(options?.priority ?? this.usualPriority)];
  }

  private newMessage(
    topic: string,
    payload: Uint8Array | string,
    options: PublishOptions,
  ): AcknowledgedMessage {
    assertTopic(topic);
    const bytes = payloadBytes(payload);
    const mode = compressionModeOf(options.compression) ?? this.compression.mode;
    const envelope = mode === CompressionMode.OFF ? null : this.compression.deflate(topic, payload, mode);
    const properties = propertiesOf(options);
    const flags =
      PublishFlag.QOS1 |
      (options.retain === true ? PublishFlag.RETAIN : 0) |
      (envelope === null ? 0 : PublishFlag.COMPRESSED) |
      (properties === null ? 0 : PublishFlag.PROPERTIES);
    const prefix = publishPrefix(topic, flags);
    const body = envelope ?? (typeof payload === 'string' ? Buffer.from(payload) : payload);
    const command = Buffer.concat(properties === null ? [prefix, body] : [prefix, properties, body]);
    const at = properties === null ? -1 : ttlAt(command, prefix.length);
    const plainBytes = command.length - body.length + bytes;
    return new AcknowledgedMessage(topic, command, plainBytes, at, this.clock.now(), (message, error) => {
      if (error === null) this.acknowledged++;
      else this.refused++;
      this.breaker?.settled(error);
      if (error !== null) this.owner.onUnpublished({ topic: message.topic, qos: 1 }, error);
    });
  }

  /** Resolves at the next connection, and when nothing waits any more. Rejects when the client is over. */
  private change(signal: AbortSignal | undefined): Promise<void> {
    if (this.failure !== null) return Promise.reject(this.failure);
    return this.waits.request(() => {}, signal);
  }

  /** All of them have their answer, whichever. */
  private async settled(receipts: Promise<unknown>[], signal: AbortSignal | undefined): Promise<void> {
    if (receipts.length === 0) return;
    await unlessAborted(Promise.allSettled(receipts), signal);
  }
}

/** A message with QoS 0 that waits. */
class WaitingMessage extends Outgoing {
  readonly payload: Uint8Array | string;
  private readonly options: PublishOptions;
  private readonly owner: OutboxOwner;

  constructor(
    topic: string,
    payload: Uint8Array | string,
    options: PublishOptions,
    now: Micros,
    owner: OutboxOwner,
  ) {
    const { ttlMs } = options;
    super(
      topic,
      topic.length + payloadBytes(payload),
      ttlMs === undefined ? NEVER : now + ttlMs * MILLISECOND,
    );
    this.payload = typeof payload === 'string' ? payload : Buffer.from(payload);
    this.options = keptOptions(options);
    this.owner = owner;
  }

  /** With what is left of its time to live. */
  optionsAt(now: Micros): PublishOptions {
    if (this.expiresAt === NEVER) return this.options;
    return { ...this.options, ttlMs: Math.max(1, Math.floor((this.expiresAt - now) / MILLISECOND)) };
  }

  fail(error: JspError): void {
    this.owner.onUnpublished({ topic: this.topic, qos: 0 }, error);
  }
}
