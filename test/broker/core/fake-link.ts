import type { CarryingLink, CarryingPeer } from '../../../src/broker/carrying.ts';
import type { BrokerCore } from '../../../src/broker/core/broker-core.ts';
import type { Channel } from '../../../src/broker/core/delivery/client.ts';
import type { ConnectionFacts } from '../../../src/pubsub/message-stream.ts';
import { type SlowCommand, slowDecode } from '../../pubsub/slow-command.ts';

/** A stream whose transport takes `mark` messages before it says enough, and gives them on only when told. */
export class FakeLink implements CarryingLink {
  readonly id: number;
  readonly priority: number;
  readonly messageBytesMax: number;
  /** The bound the broker has set on the transport. */
  limitBytes = Number.POSITIVE_INFINITY;
  resetWith: number | null = null;
  paused = false;
  ended = false;
  /** Has said enough, and not drained since. */
  full = false;
  /** In the transport, on the way to the client. */
  readonly outbox: Uint8Array[] = [];
  /** What the client has received. */
  readonly delivered: Uint8Array[] = [];
  /** What was asked for messages that were not plainly sent. */
  readonly asked: { lifetimeMs: number; isBestEffort: boolean }[] = [];
  private readonly mark: number;

  constructor(mark = Number.POSITIVE_INFINITY, { priority = 2, messageBytesMax = 2 ** 30 } = {}) {
    this.mark = mark;
    this.id = nextId++;
    this.priority = priority;
    this.messageBytesMax = messageBytesMax;
  }

  /** Its mark counts messages, not bytes. */
  readonly roomBytes = 0;

  get queuedBytes(): number {
    return this.outbox.reduce((sum, bytes) => sum + bytes.length, 0);
  }

  limit(bytes: number): void {
    this.limitBytes = bytes;
  }

  send(bytes: Uint8Array): boolean {
    if (this.ended) throw new Error('sent after the end');
    if (bytes.length > this.messageBytesMax) throw new Error('sent more than the client takes');
    this.outbox.push(bytes);
    if (this.outbox.length >= this.mark) this.full = true;
    return !this.full;
  }

  sendFor(bytes: Uint8Array, lifetimeMs: number, isBestEffort: boolean): boolean {
    this.asked.push({ lifetimeMs, isBestEffort });
    return this.send(bytes);
  }

  pause(): void {
    if (this.paused) throw new Error('paused twice');
    this.paused = true;
  }

  resume(): void {
    if (!this.paused) throw new Error('resumed without a pause');
    this.paused = false;
  }

  end(): void {
    if (this.ended) throw new Error('ended twice');
    this.ended = true;
  }

  reset(code: number): void {
    this.resetWith = code;
  }

  /** The client receives up to `count` messages. True when the transport is to report that it drained. */
  carry(count = Number.POSITIVE_INFINITY): boolean {
    this.delivered.push(...this.outbox.splice(0, Math.min(count, this.outbox.length)));
    if (!this.full || this.outbox.length >= this.mark) return false;
    this.full = false;
    return true;
  }

  /** What the client has received, decoded. */
  get commands(): SlowCommand[] {
    return this.delivered.map((bytes) => {
      const command = slowDecode(bytes, 'client');
      if (typeof command === 'string') throw new Error(`the broker sent a bad command: ${command}`);
      return command;
    });
  }

  /** What the client has received, as text: `topic=payload` or `NAME id`. */
  get lines(): string[] {
    return this.commands.map(({ name, topic, id, flags, body }) => {
      if (name === 'PUBLISH') return `${topic}=${payloadOf(flags, body)}`;
      if (name === 'REFUSED') return `REFUSED ${id} ${body.readUInt16BE(0)}`;
      if (name === 'DROPPED') return `DROPPED ${body.readBigUInt64BE(0)} ${body[8]}`;
      return name === 'LANE' ? `LANE ${body.readUInt32BE(0)}` : `${name} ${id}`;
    });
  }
}

export interface FakeLane {
  readonly link: FakeLink;
  readonly channel: Channel;
}

export class FakePeer implements CarryingPeer {
  closedWith: number | null = null;
  openableStreams = Number.POSITIVE_INFINITY;
  /** Streams that the broker has opened. */
  readonly lanes: FakeLane[] = [];
  /** Messages the transport of such a stream takes before it says enough. */
  laneMark = Number.POSITIVE_INFINITY;
  readonly facts?: ConnectionFacts;
  private readonly core: BrokerCore;

  constructor(core: BrokerCore, facts?: ConnectionFacts) {
    this.core = core;
    if (facts !== undefined) this.facts = facts;
  }

  open(channel: Channel): void {
    const link = new FakeLink(this.laneMark, { priority: channel.priority });
    this.core.laneOpened(channel, link);
    this.lanes.push({ link, channel });
  }

  close(code: number): void {
    if (this.closedWith !== null) throw new Error('closed twice');
    this.closedWith = code;
  }
}

/** What stands behind the properties. */
function payloadOf(flags: number, body: Buffer): Buffer {
  return (flags & 0x10) === 0 ? body : body.subarray(2 + body.readUInt16BE(0));
}

let nextId = 0;
