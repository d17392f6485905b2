/**
 * The broker's driver: carries what happens on connections that someone else accepts to the core, and carries out what the core says. It knows a
 * connection and a stream by their faces in pubsub/, so that it serves any transport that has them.
 */

import { MILLISECOND } from '../base/time.ts';
import { isCompressed, ReasonCode, reasonCodeName, STREAM_LABEL } from '../pubsub/command.ts';
import {
  type MessageConnection,
  type MessageStream,
  STREAM_PRIORITIES,
  sendCommand,
} from '../pubsub/message-stream.ts';
import { type Clock, systemClock, type TimerHandle } from '../udp/clock.ts';
import { BrokerCore, type BrokerEffect } from './core/broker-core.ts';
import { ACCOUNTED_BYTES_MIN, type Channel } from './core/delivery/client.ts';
import type { DurableMetrics } from './core/durable/consumers.ts';
import { Action, type BrokerMetrics, type Link, type Peer } from './core/output.ts';
import type { BrokerLimits } from './core/state.ts';
import { MemoryStore } from './core/store/memory-store.ts';
import type { StorePort } from './core/store-port.ts';

/** What a {@link BrokerService} needs of its surroundings. */
export interface BrokerSurroundings {
  /** Default: the machine's. */
  readonly clock?: Clock | undefined;
  /** Time of the wall clock, in ms since 1970. Default: the machine's. */
  readonly wallMs?: (() => number) | undefined;
  /** Told of each fault of the broker itself, which has cost one client its connection. */
  readonly onFault?: (error: unknown) => void;
  /** What it stands on; whoever hands it in hears of its news and calls {@link BrokerService.hear}. Default: one in memory. */
  readonly store?: StorePort | undefined;
}

/** A broker for connections that someone else accepts. */
export class BrokerService {
  private readonly core: BrokerCore;
  private readonly store: StorePort;
  private readonly clock: Clock;
  private readonly wallMs: () => number;
  private readonly tickMs: number;
  private connections = 0;
  private ticking = false;
  private drained: Promise<void> | null = null;
  private whenIdle: (() => void) | null = null;
  private draining = false;
  private inTurn = false;
  /** The core has been told the time, and nothing that takes time has happened since. */
  private onTime = false;
  private readonly timeGoesOn = () => {
    this.onTime = false;
    this.armTimer();
  };
  /** The timer of what the core wants to do next, and when that is. */
  private timer: TimerHandle | null = null;
  private timerMs = Number.POSITIVE_INFINITY;

  constructor(
    limits: BrokerLimits = {},
    { clock = systemClock, wallMs = Date.now, onFault, store = new MemoryStore() }: BrokerSurroundings = {},
  ) {
    this.core = new BrokerCore(limits, onFault, store);
    this.store = store;
    this.clock = clock;
    this.wallMs = wallMs;
    this.advance();
    const { stallMs = 0 } = limits;
    this.tickMs = stallMs > 0 ? Math.min(TICK_MS_MAX, Math.max(1, stallMs / 8)) : TICK_MS_MAX;
  }

  /** Takes `connection` over, until it closes. */
  serve(connection: MessageConnection): void {
    if (this.draining) {
      connection.destroy(ReasonCode.SHUTTING_DOWN, reasonCodeName(ReasonCode.SHUTTING_DOWN));
      return;
    }
    const { core } = this;
    this.advance();
    const client = core.connected(
      new ClientConnection(connection, (lane, stream) => this.attach(lane, stream)),
    );
    this.connections++;
    this.tickLater();
    connection.on('stream', (stream) => {
      if (stream.label !== STREAM_LABEL || !stream.ordered || stream.delivery !== 'reliable') {
        stream.on('error', ignore);
        stream.reset(ReasonCode.UNKNOWN_PROTOCOL); // [BRK-1]
        return;
      }
      this.advance();
      this.carry(core.opened(client, new StreamLink(stream)), stream);
      this.turn();
    });
    connection.on('close', () => {
      this.connections--;
      this.advance();
      core.disconnected(client);
      this.turn();
    });
  }

  metrics(): BrokerMetrics {
    return this.core.metrics();
  }

  /** Durable subscriptions and shared groups, whether anybody holds them or not. */
  durables(): DurableMetrics[] {
    return this.core.durables();
  }

  /**
   * Reads no more publishers, and resolves when everything queued is in the hands of the transport. [BRK-35]
   *
   * @param drainMs - resolves after so long at the latest; a later call can only shorten that
   */
  drain(drainMs: number): Promise<void> {
    this.draining = true;
    this.advance();
    this.core.shutDown(drainMs);
    this.drained ??= new Promise<void>((resolve) => {
      this.whenIdle = resolve;
    });
    const timer = this.clock.setTimer(this.clock.now() + drainMs * MILLISECOND, () => this.endDrain());
    void this.drained.then(() => this.clock.clearTimer(timer));
    this.turn();
    return this.drained;
  }

  /** The store has something to tell. */
  hear(): void {
    this.advance();
    this.turn();
  }

  /** Nothing waits to be stored: publishers are told of everything that they published. */
  private get isStored(): boolean {
    return this.store.logs.every(({ head, synced }) => head === synced);
  }

  /** Does what the core says, after whatever it was told. What it is told meanwhile, by what this does, has its turn in the same one. */
  private turn(): void {
    if (this.inTurn) return;
    this.inTurn = true;
    try {
      carryOut(this.core);
    } finally {
      this.inTurn = false;
    }
    // Where the time stands still until the promises have run, once is enough, and then.
    if (!this.onTime) this.armTimer();
    if (this.whenIdle !== null && this.core.idle && this.isStored) this.endDrain();
  }

  /** Tells the core the time. That of the machine is taken to stand still until what is running now has run with all promises that it settles. */
  private advance(): void {
    if (this.onTime) return;
    if (this.clock === systemClock) {
      this.onTime = true;
      queueMicrotask(this.timeGoesOn);
    }
    this.core.advance(this.clock.now() / MILLISECOND, this.wallMs());
  }

  /** One that is set for earlier is left as it is, for to wake up once too early costs less than to move it. */
  private armTimer(): void {
    const nextMs = this.core.nextTimeoutMs;
    const isOver = nextMs === Number.POSITIVE_INFINITY && this.timer !== null;
    if (nextMs < this.timerMs || isOver) this.setTimer();
  }

  private setTimer(): void {
    if (this.timer !== null) this.clock.clearTimer(this.timer);
    this.timerMs = this.core.nextTimeoutMs;
    this.timer =
      this.timerMs === Number.POSITIVE_INFINITY
        ? null
        : this.clock.setTimer(Math.ceil(this.timerMs * MILLISECOND), () => {
            this.timer = null;
            this.timerMs = Number.POSITIVE_INFINITY;
            this.onTime = false;
            this.advance();
            this.turn();
          });
  }

  /** Tells the core what happens on a stream. */
  private carry(channel: Channel, stream: MessageStream): void {
    const { core } = this;
    const ended = () => {
      this.advance();
      core.ended(channel); // [BRK-5]
      this.turn();
    };
    stream.on('drain', () => {
      this.advance();
      core.drained(channel);
      this.turn();
    });
    stream.on('end', ended);
    stream.on('close', ended);
    stream.on('error', ended);
    stream.on('message', (message) => {
      if (!stream.hasReceivedBestEffort) {
        if (!this.onTime) this.advance();
        core.received(channel, message);
        this.turn();
      } else if (!channel.closed) {
        stream.reset(ReasonCode.UNKNOWN_PROTOCOL); // [BRK-1]
        ended();
      }
    });
  }

  /** A stream was opened that the core had asked for; null: the connection closes, and cannot open any. */
  private attach(lane: Channel, stream: MessageStream | null): void {
    this.core.laneOpened(lane, stream === null ? NOWHERE : new StreamLink(stream));
    if (stream !== null) this.carry(lane, stream);
  }

  /** Lets time pass in the core as long as there are connections. */
  private tickLater(): void {
    if (this.ticking || this.connections === 0) return;
    this.ticking = true;
    const now = this.clock.now();
    this.clock.setTimer(now + this.tickMs * MILLISECOND, () => {
      this.ticking = false;
      this.onTime = false;
      this.advance();
      if (this.store instanceof MemoryStore) this.store.trim(this.wallMs());
      this.core.tick(this.clock.now() / MILLISECOND);
      this.turn();
      this.tickLater();
    });
  }

  private endDrain(): void {
    this.whenIdle?.();
    this.whenIdle = null;
  }
}

/** A stream on which effects are carried out. */
export interface CarryingLink extends Link {
  /** Takes `bytes` as one message and may keep them. False: enough for now; the core is told when it has drained. */
  send(bytes: Uint8Array): boolean;
  /** The same for a message that lives for so long (0: for ever), and may be lost if it is best effort. */
  sendFor(bytes: Uint8Array, lifetimeMs: number, isBestEffort: boolean): boolean;
  limit(bytes: number): void;
  pause(): void;
  resume(): void;
  end(): void;
  reset(code: number): void;
}

/** A connection on which effects are carried out. */
export interface CarryingPeer extends Peer {
  /** Opens a stream for `lane`, which the core is told of. */
  open(lane: Channel): void;
  close(code: number): void;
}

/**
 * Does everything that the core says, on its streams and connections, which are {@link CarryingLink}s and {@link CarryingPeer}s. What fails is the fault of
 * the client for whom it was done. [BRK-40]
 */
export function carryOut(core: BrokerCore): void {
  for (let effect = core.poll(); effect !== null; effect = core.poll()) {
    const { channel, client } = effect;
    try {
      if (client !== null) (client.peer as CarryingPeer).close(effect.value);
      else if (channel !== null && !channel.client.closed) carryOutOn(channel, effect, core);
    } catch (error) {
      const failed = client ?? channel?.client;
      if (failed !== undefined) core.failed(failed, error);
    }
  }
}

function carryOutOn(channel: Channel, effect: BrokerEffect, core: BrokerCore): void {
  const link = channel.link as CarryingLink;
  switch (effect.action) {
    case Action.SEND:
    case Action.SEND_BEST_EFFORT: {
      const { bytes, value } = effect;
      const isPlain = value === 0 && effect.action === Action.SEND;
      const writable = isPlain
        ? link.send(bytes)
        : link.sendFor(bytes, value, effect.action === Action.SEND_BEST_EFFORT);
      if (!writable || bytes.length >= ACCOUNTED_BYTES_MIN) core.sent(channel, writable);
      break;
    }
    case Action.LIMIT:
      link.limit(effect.value);
      break;
    case Action.PAUSE:
      link.pause();
      break;
    case Action.RESUME:
      link.resume();
      break;
    case Action.END:
      link.end();
      break;
    case Action.RESET:
      link.reset(effect.value);
      break;
    case Action.OPEN:
      (channel.client.peer as CarryingPeer).open(channel);
      break;
  }
}

/** A stream of the transport. None of its methods throws when it is gone: the core hears of that by the stream's own events. */
export class StreamLink implements CarryingLink {
  readonly id: number;
  readonly priority: number;
  readonly messageBytesMax: number;
  private readonly stream: MessageStream;
  private paused = false;

  constructor(stream: MessageStream) {
    this.stream = stream;
    this.id = stream.id;
    this.messageBytesMax = stream.messageBytesMax;
    this.priority = STREAM_PRIORITIES.indexOf(stream.priority);
  }

  get queuedBytes(): number {
    return this.stream.queuedBytes;
  }

  get roomBytes(): number {
    return this.stream.highWaterMark - this.stream.queuedBytes;
  }

  limit(bytes: number): void {
    this.stream.highWaterMark = bytes;
  }

  send(bytes: Uint8Array): boolean {
    try {
      return sendCommand(this.stream, bytes, bytes.length >= TRANSFER_BYTES_MIN); // [BRK-7] large ones without a copy
    } catch {
      return false; // closed
    }
  }

  sendFor(bytes: Uint8Array, lifetimeMs: number, isBestEffort: boolean): boolean {
    const delivery = isBestEffort ? 'bestEffort' : 'reliable';
    try {
      return isCompressed(bytes)
        ? this.stream.send(bytes, { delivery, lifetimeMs, compression: false })
        : this.stream.send(bytes, { delivery, lifetimeMs });
    } catch {
      return false; // closed
    }
  }

  pause(): void {
    this.paused = true;
    this.stream.pause();
  }

  /** Resumes when the turn is over: what then comes is another one. */
  resume(): void {
    this.paused = false;
    queueMicrotask(() => {
      if (!this.paused) this.stream.resume();
    });
  }

  end(): void {
    try {
      this.stream.end();
    } catch {
      // closed already
    }
  }

  reset(code: number): void {
    this.stream.reset(code);
  }
}

/** A connection of the transport. */
class ClientConnection implements CarryingPeer {
  private readonly connection: MessageConnection;
  private readonly attach: (lane: Channel, stream: MessageStream | null) => void;

  constructor(connection: MessageConnection, attach: (lane: Channel, stream: MessageStream | null) => void) {
    this.connection = connection;
    this.attach = attach;
  }

  get openableStreams(): number {
    return this.connection.openableStreams;
  }

  open(lane: Channel): void {
    let stream: MessageStream | null = null;
    try {
      stream = this.connection.openStream({
        label: STREAM_LABEL,
        priority: STREAM_PRIORITIES[lane.priority],
        delivery: 'reliable',
        ordered: true,
      });
    } catch {
      // it closes
    }
    this.attach(lane, stream);
  }

  close(code: number): void {
    this.connection.destroy(code, reasonCodeName(code));
  }
}

/** The stream of a lane that could not be opened any more. */
const NOWHERE: CarryingLink = {
  id: -1,
  priority: 0,
  messageBytesMax: 0,
  queuedBytes: 0,
  roomBytes: 0,
  send: () => false,
  sendFor: () => false,
  limit: ignore,
  pause: ignore,
  resume: ignore,
  end: ignore,
  reset: ignore,
};

function ignore(): void {}

const TICK_MS_MAX = 1_000;
/** Below this a copy is cheaper than keeping hold of the bytes. */
const TRANSFER_BYTES_MIN = 4_096;
