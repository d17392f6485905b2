import type { Channel } from '../../../../src/broker/core/delivery/client.ts';
import type { BrokerLimits } from '../../../../src/broker/core/state.ts';
import { MemoryStore } from '../../../../src/broker/core/store/memory-store.ts';
import type { LogOptions, LogPort, LogRecord, StorePort } from '../../../../src/broker/core/store-port.ts';
import {
  decodePosition,
  decodeSubscribed,
  encodeAck,
  encodeAckRanges,
  encodeNack,
  NACK_BACKOFF,
} from '../../../../src/pubsub/acknowledgement.ts';
import {
  Command,
  CommandReader,
  decodeDropped,
  decodeRefused,
  encodeSubscribe,
  HEADER_BYTES,
  PublishFlag,
  publishPrefix,
  ReasonCode,
  reasonCodeName,
  Side,
  SubscribeFlag,
} from '../../../../src/pubsub/command.ts';
import { decodeProperties, encodeProperties, type Properties } from '../../../../src/pubsub/properties.ts';
import {
  encodeSubscribeOptions,
  type SubscribeOptionValues,
} from '../../../../src/pubsub/subscribe-options.ts';
import { DrivenCore } from '../driven-core.ts';
import { FakeClient, type FakeStream } from '../fake-client.ts';

interface WorldOptions {
  logs?: readonly LogOptions[];
  limits?: BrokerLimits;
  store?: StorePort;
}

/** A broker's core whose logs the test fills itself, and whose time it moves. */
export class LogWorld {
  readonly store: StorePort;
  readonly faults: unknown[] = [];
  core: DrivenCore;
  nowMs = 1_000;
  wallMs = 1_800_000_000_000;
  private readonly limits: BrokerLimits;

  constructor({ logs = [], limits = {}, store }: WorldOptions = {}) {
    this.store = store ?? new MemoryStore(logs);
    this.limits = limits;
    this.core = this.begin();
  }

  get log(): LogPort {
    return this.store.logs[0];
  }

  /** The broker is started anew on the same store; whatever it had not written is lost. */
  restart(): void {
    this.core = this.begin();
  }

  pass(ms: number): void {
    this.nowMs += ms;
    this.wallMs += ms;
    this.core.advance(this.nowMs, this.wallMs);
  }

  /** Stores messages, `topic=payload` each. Returns the offset of the last. */
  append(...messages: string[]): number {
    let offset = 0;
    for (const message of messages) offset = this.appendWith(message, {});
    return offset;
  }

  /** Stores so many, all the same, in one turn. */
  fill(message: string, count: number, properties: Properties = {}): void {
    for (let i = 0; i < count; i++) this.log.append(this.recordOf(message, properties));
    this.core.advance(this.nowMs, this.wallMs);
  }

  appendWith(message: string, properties: Properties, log = this.log): number {
    const offset = log.append(this.recordOf(message, properties));
    this.core.advance(this.nowMs, this.wallMs);
    return offset;
  }

  private recordOf(message: string, properties: Properties): LogRecord {
    const [topic, payload] = message.split('=');
    const hasProperties = Object.keys(properties).length > 0;
    const all = PublishFlag.QOS1 | (hasProperties ? PublishFlag.PROPERTIES : 0);
    const prefix = publishPrefix(topic, all, 1);
    const middle = hasProperties ? encodeProperties(properties) : Buffer.alloc(0);
    const { ttlMs } = properties;
    return {
      command: Buffer.concat([prefix, middle, Buffer.from(payload)]),
      topicEnd: prefix.length,
      ...{ session: 0, sequence: 0, id: 0 },
      expiresAt: ttlMs === undefined ? 0 : this.wallMs + ttlMs,
      publishedAt: this.wallMs,
    };
  }

  subscriber(mark = Number.POSITIVE_INFINITY): Subscriber {
    return new Subscriber(new FakeClient(this.core).open(mark));
  }

  private begin(): DrivenCore {
    const core = new DrivenCore(this.limits, (fault) => this.faults.push(fault), this.store);
    core.advance(this.nowMs, this.wallMs);
    return core;
  }
}

/** A stream that reads a log. */
export class Subscriber {
  readonly stream: FakeStream;
  private requests = 0;
  private seen = 0;

  constructor(stream: FakeStream) {
    this.stream = stream;
  }

  get channel(): Channel {
    return this.stream.channel;
  }

  subscribe(filter: string, options: SubscribeOptionValues = {}, flags = 0): this {
    const bytes = encodeSubscribeOptions(options);
    this.stream.send(encodeSubscribe(++this.requests, filter, SubscribeFlag.QOS1 | flags, 0, 0, bytes));
    return this;
  }

  unsubscribe(filter: string): void {
    this.stream.unsubscribe(++this.requests, filter);
  }

  /** Of each, its offset; or of `[first, count]` ranges. */
  ack(...ids: (number | [number, number])[]): void {
    for (const id of ids) this.stream.send(typeof id === 'number' ? encodeAck(id) : encodeAckRanges([id]));
  }

  ackWith(flags: number, id: number): void {
    this.stream.send(encodeAck(id, flags));
  }

  nack(id: number, delayMs: number | null = null, reason = ''): void {
    this.stream.send(encodeNack(id, delayMs ?? NACK_BACKOFF, reason));
  }

  /** What has come since the last time, a line each: `3 t=x`, with `!2` behind the offset for a second delivery. */
  take(count?: number): string[] {
    this.stream.carry(count);
    const { delivered } = this.stream.link;
    const news = delivered.slice(this.seen).map(lineOf);
    this.seen = delivered.length;
    return news;
  }

  /** The same, but messages alone. */
  messages(count?: number): string[] {
    return this.take(count).filter((line) => /^\d/.test(line));
  }
}

function lineOf(command: Uint8Array): string {
  const reader = new CommandReader(Side.CLIENT);
  if (reader.read(command) !== ReasonCode.NO_ERROR) throw new Error('the broker sent a bad command');
  const bytes = Buffer.from(command);
  const { id, flags, topicEnd, payloadStart } = reader;
  switch (reader.command) {
    case Command.PUBLISH: {
      const properties = (flags & PublishFlag.PROPERTIES) === 0 ? {} : decodeProperties(bytes, topicEnd);
      const again = (flags & PublishFlag.REDELIVERED) === 0 ? '' : `!${properties.attempt}`;
      const ttl = properties.ttlMs === undefined ? '' : ` ttl ${properties.ttlMs}`;
      return `${id}${again} ${bytes.toString('utf8', HEADER_BYTES, topicEnd)}=${bytes.toString('utf8', payloadStart)}${ttl}`;
    }
    case Command.SUBSCRIBED: {
      const start = decodeSubscribed(bytes);
      if (start === null) return 'SUBSCRIBED';
      const { next, missed, isRecovered } = start;
      return `SUBSCRIBED at ${next}${missed > 0 ? ` missed ${missed}` : ''}${isRecovered ? ' recovered' : ''}`;
    }
    case Command.POSITION:
      return `POSITION ${decodePosition(bytes).offset}`;
    case Command.REFUSED:
      return `REFUSED ${reasonCodeName(decodeRefused(bytes).code)}`;
    case Command.DROPPED: {
      const { count, reason } = decodeDropped(bytes);
      return `DROPPED ${count} for ${reason}`;
    }
    default:
      return `command ${reader.command} ${id}`;
  }
}
