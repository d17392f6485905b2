/**
 * What a client publishes with QoS 0: in each class on two streams, one for messages as they come, and one beside it for large ones, so that the transport's
 * scheduler lets the others go on meanwhile. [BRK-39] It counts what the broker has not confirmed, and asks it now and then.
 *
 * The messages of a topic stay in order: it moves to the stream of large messages with its first large one, which is held until the broker has
 * everything that the other stream carries, and moves back when the broker has everything of the topic.
 */

import { performance } from 'node:perf_hooks';
import { JspError } from '../base/errors.ts';
import { CompressionMode } from '../protocol/compress/index.ts';
import { Command, encodePlain, LARGE_BYTES_MIN, PublishFlag, publishPrefix } from '../pubsub/command.ts';
import {
  type MessageConnection,
  STREAM_PRIORITIES,
  type StreamPriority,
  sendCommand,
} from '../pubsub/message-stream.ts';
import { assertTopic } from '../pubsub/topic.ts';
import { compressionModeOf } from '../transport/compression.ts';
import { assertPayload } from './codec.ts';
import { CommandStream, offlineError, openCommandStream } from './command-stream.ts';
import type { ClientCompression } from './compression.ts';
import type { Link } from './link.ts';
import { type PublishOptions, propertiesOf } from './publish-options.ts';

/** What one client publishes with QoS 0, on one connection after the other. */
export class Publishing {
  private link: Link | null = null;
  private readonly usualPriority: StreamPriority;
  private readonly compression: ClientCompression;
  private readonly tellDrain: () => void;
  /** By class. */
  private readonly publishers: (Publisher | null)[] = STREAM_PRIORITIES.map(() => null);
  /** The one of the usual class. */
  private usual: Publisher | null = null;
  private confirmTimer: NodeJS.Timeout | null = null;

  /** @param tellDrain - called after a publish that answered false, when there is room again */
  constructor(usualPriority: StreamPriority, compression: ClientCompression, tellDrain: () => void) {
    this.usualPriority = usualPriority;
    this.compression = compression;
    this.tellDrain = tellDrain;
  }

  online(link: Link): void {
    this.offline();
    this.link = link;
  }

  /** What was handed over and not confirmed is lost, or not: nobody knows. */
  offline(): void {
    this.link = null;
    clearTimeout(this.confirmTimer ?? undefined);
    this.confirmTimer = null;
    this.usual = null;
    this.publishers.fill(null);
  }

  /** As {@link publish} without options. */
  publishPlain(topic: string, payload: Uint8Array | string): boolean {
    if (this.compression.mode !== CompressionMode.OFF) return this.publish(topic, payload, undefined);
    if (this.confirmTimer === null) this.confirmLater();
    return (this.usual ?? this.openUsual()).publish(topic, payload, 0, null);
  }

  /** @param options - checked before */
  publish(topic: string, payload: Uint8Array | string, options: PublishOptions | undefined): boolean {
    const publisher =
      options === undefined
        ? (this.usual ?? this.openUsual())
        : this.publisherOf(options.priority ?? this.usualPriority);
    if (this.confirmTimer === null) this.confirmLater();
    const { compression } = this;
    const mode = compressionModeOf(options?.compression) ?? compression.mode;
    const properties = options === undefined ? null : propertiesOf(options);
    const flags = options?.retain === true ? PublishFlag.RETAIN : 0;
    const isTaken = mode !== CompressionMode.OFF && publisher.takes(topic, payload);
    const envelope = isTaken ? compression.deflate(topic, payload, mode) : null;
    return envelope === null
      ? publisher.publish(topic, payload, flags, properties)
      : publisher.publish(topic, envelope, flags | PublishFlag.COMPRESSED, properties); // [BRK-42]
  }

  /** Messages that the broker has not confirmed. */
  get unconfirmed(): number {
    let count = 0;
    for (const publisher of this.publishers) count += publisher?.unconfirmed ?? 0;
    return count;
  }

  /** Bytes that have not left yet. */
  get queuedBytes(): number {
    let bytes = 0;
    for (const publisher of this.publishers) bytes += publisher?.queuedBytes ?? 0;
    return bytes;
  }

  /** A publish answered false, and there is no room again. */
  get isFull(): boolean {
    return this.publishers.some((publisher) => publisher?.full ?? false);
  }

  /** Resolves when the broker has everything published so far. With nothing published it asks all the same. */
  async flush(signal: AbortSignal | undefined): Promise<void> {
    if (this.usual === null) this.openUsual();
    await Promise.all(this.publishers.map((publisher) => publisher?.flush(signal)));
  }

  /** As {@link flush}, of those classes alone in which something is unconfirmed. */
  async flushUnconfirmed(): Promise<void> {
    const publishers = this.publishers.filter((each) => each !== null && each.unconfirmed > 0);
    await Promise.all(publishers.map((publisher) => publisher?.flush()));
  }

  private onDrain(): void {
    if (!this.isFull) this.tellDrain();
  }

  /** Asks the broker now and then what it has, so that {@link unconfirmed} tells the truth without a flush. */
  private confirmLater(): void {
    this.confirmTimer = setTimeout(() => {
      this.confirmTimer = null;
      for (const publisher of this.publishers) publisher?.askForConfirmation();
      if (this.unconfirmed > 0) this.confirmLater();
    }, CONFIRM_MS).unref();
  }

  private openUsual(): Publisher {
    this.usual = this.publisherOf(this.usualPriority);
    return this.usual;
  }

  private publisherOf(priority: StreamPriority): Publisher {
    const { link } = this;
    if (link === null) throw offlineError();
    const number = STREAM_PRIORITIES.indexOf(priority);
    const publisher =
      this.publishers[number] ?? new Publisher(link.connection, priority, () => this.onDrain());
    this.publishers[number] = publisher;
    return publisher;
  }
}

/** Looks now and then whether what a client publishes gets on. */
export class ProgressWatch {
  private readonly timer: NodeJS.Timeout;
  private unconfirmed = 0;
  private queuedBytes = 0;
  private movedAt = performance.now();

  /**
   * @param onLook - told each time for how many ms nothing has got on: 0 when something has, and when nothing is unconfirmed
   */
  constructor(
    of: { readonly unconfirmed: number; readonly queuedBytes: number },
    lookMs: number,
    onLook: (stillMs: number) => void,
  ) {
    this.timer = setInterval(() => {
      const { unconfirmed, queuedBytes } = of;
      const now = performance.now();
      const moved = unconfirmed !== this.unconfirmed || queuedBytes !== this.queuedBytes;
      if (moved || unconfirmed === 0) this.movedAt = now;
      this.unconfirmed = unconfirmed;
      this.queuedBytes = queuedBytes;
      onLook(now - this.movedAt);
    }, lookMs);
  }

  stop(): void {
    clearInterval(this.timer);
  }
}

/** A large message that was not handed to its stream yet. */
interface HeldMessage {
  readonly message: Uint8Array;
  /** The other stream may still carry something of its topic. */
  waits: boolean;
}

/** What is published in one class. */
class Publisher {
  private readonly connection: MessageConnection;
  private readonly priority: StreamPriority;
  /** After a publish that answered false: there is room again. */
  private readonly tellDrain: () => void;
  private readonly small: PublishingStream;
  private large: PublishingStream | null = null;
  /** Topics that go on the stream of large messages, each with the number of its last message there. */
  private readonly moved = new Map<string, number>();
  /** Large messages that wait for the other stream, and their bytes. */
  private held: HeldMessage[] = [];
  private heldBytes = 0;
  private releasing = false;
  private readonly prefixes = new Map<string, Buffer>();
  private lastTopic = '';
  private lastPrefix: Buffer = Buffer.alloc(0);

  constructor(connection: MessageConnection, priority: StreamPriority, tellDrain: () => void) {
    this.connection = connection;
    this.priority = priority;
    this.tellDrain = tellDrain;
    this.small = new PublishingStream(connection, priority, () => this.onDrain());
  }

  /** A publish answered false, and the queue has not drained since. */
  get full(): boolean {
    return this.small.full || this.heldBytes > 0 || (this.large?.full ?? false);
  }

  /** Messages that the broker has not confirmed. */
  get unconfirmed(): number {
    return this.small.unconfirmed + this.held.length + (this.large?.unconfirmed ?? 0);
  }

  /** Bytes that have not left yet. */
  get queuedBytes(): number {
    return (
      this.small.commands.stream.queuedBytes + this.heldBytes + (this.large?.commands.stream.queuedBytes ?? 0)
    );
  }

  /** The broker takes the payload as it is. One that fits only compressed would be refused by chance, and subscribers could not open it. [BRK-42] */
  takes(topic: string, payload: Uint8Array | string): boolean {
    return this.prefixOf(topic).length + payloadBytes(payload) <= this.small.commands.stream.messageBytesMax;
  }

  publish(
    topic: string,
    payload: Uint8Array | string,
    flags: number,
    properties: Uint8Array | null,
  ): boolean {
    const prefix = topic === this.lastTopic ? this.lastPrefix : this.prefixOf(topic);
    const start = prefix.length + (properties === null ? 0 : properties.length);
    const length = start + payloadBytes(payload);
    const small = length <= SCRATCH_BYTES;
    const moves = length >= LARGE_BYTES_MIN || (this.moved.size > 0 && this.moved.has(topic));
    const message = small && !moves ? scratch(length) : Buffer.allocUnsafe(length);
    message.set(prefix, 0);
    message[FLAGS_AT] = properties === null ? flags : flags | PublishFlag.PROPERTIES;
    if (properties !== null) message.set(properties, prefix.length);
    if (typeof payload === 'string') message.write(payload, start);
    else message.set(payload, start);
    return moves ? this.publishLarge(topic, message) : this.small.publish(message, !small);
  }

  /** Resolves when the broker has everything published so far. [BRK-25] */
  async flush(signal?: AbortSignal): Promise<void> {
    await this.small.flush(signal);
    // What was held has been sent by now: its wait was for what this flush has waited for as well.
    await this.large?.flush(signal);
  }

  /** Asks the broker to confirm what it has, unless it was asked already. */
  askForConfirmation(): void {
    this.small.confirm();
    this.large?.confirm();
  }

  private publishLarge(topic: string, message: Uint8Array): boolean {
    this.large ??= new PublishingStream(this.connection, this.priority, () => this.onDrain());
    const { large } = this;
    if (message.length > large.commands.stream.messageBytesMax) return large.publish(message, true); // which throws
    const waiting = this.heldBytes + large.commands.stream.queuedBytes;
    if (waiting > 0 && waiting + message.length > QUEUE_BYTES_MAX) throw queueFull();
    const waits = this.small.unconfirmed > 0 && !this.moved.has(topic);
    if (!waits && this.held.length === 0) {
      this.moved.set(topic, large.published + 1);
      const room = large.publish(message, true);
      void this.release(large);
      return room;
    }
    this.moved.set(topic, large.published + this.held.length + 1);
    const held = { message, waits };
    this.held.push(held);
    this.heldBytes += message.length;
    if (waits) void this.sendHeld(large, held);
    return false;
  }

  /** Sends `held`, and those behind it that wait for nothing else, when the broker has what was published before. */
  private async sendHeld(large: PublishingStream, held: HeldMessage): Promise<void> {
    try {
      await this.small.flush();
      held.waits = false;
      for (let next = this.held.at(0); next !== undefined && !next.waits; next = this.held.at(0)) {
        large.publish(next.message, true);
        this.held.shift();
        this.heldBytes -= next.message.length;
      }
    } catch {
      return; // the connection is over, and tells it itself; what is held stays unconfirmed
    }
    void this.release(large);
    if (!this.full) this.tellDrain();
  }

  /** Moves topics back as soon as the broker has their last message. Asks one question at a time. */
  private async release(large: PublishingStream): Promise<void> {
    if (this.releasing) return;
    this.releasing = true;
    try {
      for (let published = -1; published < large.published; ) {
        published = large.published;
        await large.flush();
        for (const [topic, last] of this.moved) if (last <= published) this.moved.delete(topic);
      }
    } catch {
      // the connection is over, and tells it itself
    } finally {
      this.releasing = false;
    }
  }

  private onDrain(): void {
    if (!this.full) this.tellDrain();
  }

  private prefixOf(topic: string): Buffer {
    let prefix = this.prefixes.get(topic);
    if (prefix === undefined) {
      assertTopic(topic);
      prefix = publishPrefix(topic);
      if (this.prefixes.size >= PREFIXES_MAX) this.prefixes.clear();
      this.prefixes.set(topic, prefix);
    }
    this.lastTopic = topic;
    this.lastPrefix = prefix;
    return prefix;
  }
}

/** One stream, and how much of it the broker has confirmed. */
class PublishingStream {
  /** The last publish was above the high-water mark, and the queue has not drained since. */
  full = false;
  /** Messages handed to the stream. */
  published = 0;
  readonly commands: CommandStream;
  private confirmed = 0;
  /** Asked at this many messages; no answer yet. */
  private asked = 0;

  constructor(connection: MessageConnection, priority: StreamPriority, onDrain: () => void) {
    this.commands = new CommandStream(connection, openCommandStream(connection, priority), {
      onDrain: () => {
        this.full = false;
        onDrain();
      },
      onClosed: () => {},
    });
  }

  get unconfirmed(): number {
    return this.published - this.confirmed;
  }

  publish(message: Uint8Array, transfer: boolean): boolean {
    const { stream } = this.commands;
    try {
      this.full = !sendCommand(stream, message, transfer);
    } catch (error) {
      throw (error as { code?: unknown }).code === 'ERR_JSP_QUEUE_FULL' ? queueFull(error) : error;
    }
    this.published++;
    if (this.published - this.asked >= CONFIRM_MESSAGES && this.asked === this.confirmed) this.confirm();
    return !this.full;
  }

  async flush(signal?: AbortSignal): Promise<void> {
    const { published } = this;
    await this.commands.request((id) => encodePlain(Command.FLUSH, id), signal);
    this.confirmed = Math.max(this.confirmed, published);
  }

  /** Learns what the broker has, without anybody waiting for it. */
  confirm(): void {
    if (this.asked > this.confirmed || this.unconfirmed === 0) return;
    this.asked = this.published;
    this.flush().catch(() => {}); // the connection is over, and tells it itself
  }
}

export function payloadBytes(payload: Uint8Array | string): number {
  if (typeof payload === 'string') return Buffer.byteLength(payload);
  if (payload instanceof Uint8Array && payload.length > 0) return payload.length;
  assertPayload(payload);
  return 0;
}

function queueFull(cause?: unknown): JspError {
  return new JspError(
    'ERR_JSP_QUEUE_FULL',
    '64 MiB of published messages wait to be sent: when publish() answers false, wait for drained()',
    { cause },
  );
}

/** The first `length` bytes of memory in which small commands are put together; the transport copies them at once. */
function scratch(length: number): Buffer {
  let view = scratchViews[length];
  if (view === undefined) {
    view = SCRATCH.subarray(0, length);
    scratchViews[length] = view;
  }
  return view;
}

const SCRATCH_BYTES = 4_096;
const SCRATCH = Buffer.alloc(SCRATCH_BYTES);
const scratchViews = new Array<Buffer | undefined>(SCRATCH_BYTES + 1).fill(undefined);
/** Topics whose encoding is remembered; past it all are forgotten. */
const PREFIXES_MAX = 1_024;
/** Unsent bytes of large messages at which publishing throws: less than what the transport takes, so that what was held always finds room. */
const QUEUE_BYTES_MAX = 63 * 1024 * 1024;
/** Unconfirmed messages at which the broker is asked what it has. */
const CONFIRM_MESSAGES = 1_024;
const CONFIRM_MS = 1_000;
/** Of a command. */
const FLAGS_AT = 1;
