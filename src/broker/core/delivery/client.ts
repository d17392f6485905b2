/**
 * A client as long as it is connected: its connection, and the streams on it. What is to outlive the connection is its session's (session/). A stream ({@link Channel}), whose
 * reading can be held back, is told apart from what goes out on it (`Delivery`).
 *
 * Being held is a matter of the publishing stream alone: a subscribing stream of the same client is still read and written. [BRK-22]
 */

import type { Gate } from '../access/gate.ts';
import type { Principal } from '../access/principal.ts';
import { Action, type BrokerLevels, type Link, type Output, type Peer } from '../output.ts';
import { type Awaited, Delivery, type DeliveryServices, type DeliveryStream } from './delivery.ts';
import { QueueAccount, type QueueBudget } from './delivery-queue.ts';

export type BrokerOutput = Output<Channel, Client>;

/** What streams need of the broker. */
export interface StreamServices extends DeliveryServices {
  readonly output: BrokerOutput;
}

/** A client's end of a connection; it dies with it. */
export class Client {
  /** Commands that came from it and went to it, on streams that are gone. */
  commandsIn = 0;
  commandsOut = 0;
  readonly peer: Peer;
  readonly channels = new Set<Channel>();
  /** What waits for it, on all its streams. */
  readonly queued: QueueAccount;
  /** Streams that the broker has opened to it. */
  laneCount = 0;
  /** Those of them that the transport was asked for and has not opened yet. */
  lanesOpening = 0;
  /** Answers that wait until it has taken what its lanes held. */
  lateAnswers = 0;
  /** Bytes handed to the transport that had not left when it was last asked. */
  transportBytes = 0;
  closed = false;
  /** Bytes of its messages that wait to enter queues, and whether they are so many that nothing of it is read that could bring more. */
  private waitingBytes = 0;
  private isStopped = false;
  /** Streams that began to publish since, which is known with their first message. */
  private begunStopped = 0;
  /** It has published or subscribed, on streams that may be gone: what came of it belongs to the session that it had then. */
  hasActed = false;
  /** It has said who it is. */
  greeted = false;
  /** Where it has, and where it is told what is about the whole connection. [BRK-50] */
  control: Channel | null = null;
  /** Whose connection it is; null as long as that is not known. [BRK-111] */
  principal: Principal | null = null;
  /** It has been let in; until then nothing of it is read. [BRK-122] */
  hasTurn = true;
  /** Under which its principal is counted; null: it is not. */
  account: string | null = null;
  /** Asked whether it may; null: it may do everything. */
  gate: Gate | null = null;
  /** Of this connection alone, and when it came, by the wall clock. */
  id = 0;
  connectedAt = 0;
  private readonly bytesMax: number;

  /** @param bytesMax - charged bytes at which all queues of the client are full, and bytes that its transport may hold [BRK-38] */
  constructor(peer: Peer, bytesMax: number, budget: QueueBudget) {
    this.peer = peer;
    this.bytesMax = bytesMax;
    this.queued = new QueueAccount(bytesMax, budget);
  }

  /** A message of it waits to enter a queue, or not any more. Each of its streams has one at most; together they have a bound, too. [BRK-38] */
  chargeWaiting(bytes: number): void {
    this.waitingBytes += bytes;
    if (this.isStopped ? this.waitingBytes * 2 > this.bytesMax : this.waitingBytes < this.bytesMax) return;
    this.isStopped = !this.isStopped;
    this.begunStopped = 0;
    for (const channel of this.channels) {
      if (channel.role !== Role.PUBLISHING) continue;
      if (this.isStopped) channel.hold();
      else channel.release();
    }
  }

  /** A stream of it begins to publish. False: one too many while so much of it waits. */
  beginPublishing(channel: Channel): boolean {
    if (!this.isStopped) return true;
    channel.hold();
    this.begunStopped++;
    return this.begunStopped <= BEGUN_STOPPED_MAX;
  }

  /** So many bytes of it wait to enter queues that no more may. */
  get waitsForMuch(): boolean {
    return this.isStopped;
  }

  /** Whether a message of this length may go to the transport now, where one stream takes it. Small ones always may. [BRK-38] */
  takes(length: number): boolean {
    return (
      length <= SMALL_BYTES_MAX || this.transportBytes === 0 || this.transportBytes + length <= this.bytesMax
    );
  }
}

/** What a stream is for; its first command decides. The broker opens lanes itself. [BRK-3] [BRK-39] */
export const Role = { UNDECIDED: 0, PUBLISHING: 1, SUBSCRIBING: 2, LANE: 3, CONTROL: 4 } as const;
export type Role = (typeof Role)[keyof typeof Role];

/** The life of a stream: the broker's direction ends, perhaps behind what is queued for it, and then, with the client's, the stream. */
const ChannelState = { OPEN: 0, ENDING: 1, ENDED: 2, CLOSED: 3 } as const;
type ChannelState = (typeof ChannelState)[keyof typeof ChannelState];

/** One stream of a client. */
export class Channel implements DeliveryStream {
  readonly client: Client;
  readonly priority: number;
  readonly delivery: Delivery;
  /** What the transport tells of it. */
  link: Link;
  role: Role = Role.UNDECIDED;
  /** Commands that came on it. */
  commandsIn = 0;
  private readonly output: BrokerOutput;
  private readonly levels: BrokerLevels;
  private state: ChannelState = ChannelState.OPEN;
  /** Reasons to leave the stream unread. */
  private holds = 0;
  /** As a publisher: what its message is charged that waits. */
  private waitingBytes = 0;
  /** As a publisher: what a message of it waits for, full queues as a rule. */
  private waitsFor: Set<Awaited> | null = null;
  /** As a publisher: told when no message of it waits any more. */
  onFree: (() => void) | null = null;
  /** Told when the stream is gone, by which something else is not waited for any more. */
  onClosed: (() => void) | null = null;

  constructor(client: Client, link: Link, broker: StreamServices) {
    this.client = client;
    this.link = link;
    this.priority = link.priority;
    this.output = broker.output;
    this.levels = broker.levels;
    this.delivery = new Delivery(this, broker);
  }

  get closed(): boolean {
    return this.state === ChannelState.CLOSED;
  }

  /** Not read, for whatever reason. */
  get held(): boolean {
    return this.holds > 0;
  }

  /** Leaves the stream unread until {@link release} was called as often. */
  hold(): void {
    if (this.holds++ === 0) this.output.act(Action.PAUSE, this);
  }

  release(): void {
    if (--this.holds === 0 && !this.closed) this.output.act(Action.RESUME, this);
  }

  /** Stopped, as a publisher: a message of it waits. */
  get stopped(): boolean {
    return this.waitsFor !== null && this.waitsFor.size > 0;
  }

  /** Is not read until {@link goOn}: `awaited` has a message of it, of so many bytes, for which it has no room yet. */
  waitFor(awaited: Awaited, bytes: number): void {
    if (!this.stopped) {
      this.levels.publishersStopped++;
      this.charge(bytes + WAITING_CHARGE_BYTES); // once, for however many queues
    }
    this.waitsFor ??= new Set();
    this.waitsFor.add(awaited);
    this.hold();
  }

  goOn(awaited: Awaited): void {
    const wasStopped = this.stopped;
    this.waitsFor?.delete(awaited);
    this.release();
    if (this.stopped) return;
    if (wasStopped) this.levels.publishersStopped--;
    this.charge(0);
    if (!this.closed) this.onFree?.();
  }

  /** Ends the broker's direction behind what is queued. */
  finish(): void {
    if (this.state === ChannelState.OPEN) this.state = ChannelState.ENDING;
    this.endIfFinished();
  }

  endIfFinished(): void {
    if (this.state === ChannelState.ENDING && this.delivery.idle) this.end();
  }

  /** Ends the broker's direction behind what was sent. */
  end(): void {
    if (this.state >= ChannelState.ENDED) return;
    this.state = ChannelState.ENDED;
    this.output.act(Action.END, this);
  }

  /** Gives both directions up. */
  reset(code: number): void {
    this.output.act(Action.RESET, this, code);
  }

  /** The stream is gone: forgets what is queued and what waits, on either side, and lets the publishers that wait for it go on. [BRK-5] */
  close(): void {
    this.state = ChannelState.CLOSED; // first: whatever fails below, nothing is delivered to it any more
    if (this.client.channels.delete(this) && this.role !== Role.LANE) this.levels.streams--;
    this.client.commandsIn += this.commandsIn;
    this.client.commandsOut += this.delivery.commandsOut;
    const { waitsFor } = this;
    if (waitsFor !== null) {
      if (this.stopped) this.levels.publishersStopped--;
      this.waitsFor = null;
      for (const awaited of waitsFor) awaited.forget(this);
      this.charge(0);
    }
    this.delivery.close();
    this.onClosed?.();
    this.onClosed = null;
  }

  private charge(bytes: number): void {
    this.client.chargeWaiting(bytes - this.waitingBytes);
    this.waitingBytes = bytes;
  }
}

const SMALL_BYTES_MAX = 16_384;
/** Streams that may begin to publish while too much of their client waits. */
const BEGUN_STOPPED_MAX = 16;
/** What a message that waits to enter queues costs beside its bytes, its stream with it. */
const WAITING_CHARGE_BYTES = 1_024;
