import type { Prng } from '../../src/base/random.ts';
import type { Micros } from '../../src/base/time.ts';
import {
  COMPRESSION_OFF,
  CompressionMethod,
  CompressionMode,
  type CompressionOptions,
  Dictionary,
  DictionarySet,
} from '../../src/protocol/compress/index.ts';
import { checkedConnectionConfig } from '../../src/protocol/connection/config.ts';
import type { Connection } from '../../src/protocol/connection/connection.ts';
import type { CloseReason } from '../../src/protocol/connection/lifecycle.ts';
import type { Identity } from '../../src/protocol/crypto/identity.ts';
import { Endpoint } from '../../src/protocol/endpoint/endpoint.ts';
import type { ProtectionOptions } from '../../src/protocol/fec/protection.ts';
import { PlanMode } from '../../src/protocol/fec/protection.ts';
import type { ConnectionStream } from '../../src/protocol/stream/connection-stream.ts';
import { SendResult } from '../../src/protocol/stream/send/send-stream.ts';
import type { Delivery, Priority } from '../../src/protocol/wire/frame-type.ts';
import { bytesInFlightOf, internalsOf, protectedStreams } from '../protocol/connection/internals.ts';
import { contentOf } from './content.ts';
import { configOf } from './crypto.ts';
import { type OutcomeName, type SentMessage, Violation } from './invariants.ts';
import {
  type Compressing,
  DELIVERIES,
  type DeliveryName,
  type Limits,
  type Side,
  type StreamPlan,
} from './scenario.ts';

/** What a peer tells its application. */
export interface PeerApplication {
  onConnected(): void;
  onStream(stream: PeerStream): void;
  onReadable(stream: PeerStream): void;
  onWritable(stream: PeerStream): void;
  onOutcome(stream: PeerStream, tracking: number, outcome: OutcomeName): void;
  onReset(stream: PeerStream): void;
  onClosed(reason: CloseReason): void;
}

/** One end of the simulated connection: the endpoint as the simulation sees it. */
export class Peer {
  readonly side: Side;
  readonly endpoint: Endpoint;
  connection: Connection | null = null;
  private readonly limits: Limits;
  private readonly streams = new Map<ConnectionStream, PeerStream>();
  private readonly turns = {
    'turns with a blocked stream': 0,
    'turns with an unread message': 0,
    'turns with repeats': 0,
  };
  /** Of the packet sizes that were in use. */
  private mtuLargest = 0;

  constructor(
    side: Side,
    limits: Limits,
    crypto: 'real' | 'null',
    random: Prng,
    identity: Identity,
    loopback: boolean,
  ) {
    this.side = side;
    this.limits = limits;
    const { highWaterBytes: _, compression, ...limited } = limits;
    const connection = checkedConnectionConfig({
      ...configOf(crypto),
      ...limited,
      compression: compressionOf(compression, side),
      // A path that loses nearly a third needs patience.
      handshakeTimeoutMs: 180_000,
      idleTimeoutMs: 180_000,
      heartbeatMisses: 100,
      receiveBufferBytes: loopback ? 200_000 : 0,
    });
    const server = {
      identity,
      acceptUnpinned: false,
      halfOpenMax: 4,
      connectionsMax: 4,
      isLoopback: () => loopback,
    };
    this.endpoint = new Endpoint({ connection, random, server: side === 'server' ? server : null });
  }

  connect(host: string, port: number, pin: Uint8Array, isLoopback: boolean, now: Micros): void {
    this.connection = this.endpoint.connect({ host, port, pin, isLoopback }, now);
  }

  openStream(plan: StreamPlan): PeerStream {
    const core = this.open.streams.open({
      priority: plan.priority as Priority,
      delivery: deliveryNumber(plan.delivery),
      ordered: plan.ordered,
      label: plan.label,
      protection: plan.protection,
    });
    return this.wrap(core);
  }

  /** Hands all events to the application. */
  drain(application: PeerApplication): void {
    for (let event = this.endpoint.pollEvent(); event !== null; event = this.endpoint.pollEvent()) {
      switch (event.type) {
        case 'connected':
          if (this.connection !== null && this.connection !== event.connection) {
            throw new Violation('a second connection came to be');
          }
          this.connection = event.connection;
          application.onConnected();
          break;
        case 'stream':
          application.onStream(this.wrap(event.stream));
          break;
        case 'readable':
          application.onReadable(this.wrap(event.stream));
          break;
        case 'writable':
          application.onWritable(this.wrap(event.stream));
          break;
        case 'outcome':
          application.onOutcome(this.wrap(event.stream), event.tracking, OUTCOMES[event.outcome]);
          break;
        case 'reset':
          application.onReset(this.wrap(event.stream));
          break;
        case 'streamClosed':
          this.wrap(event.stream).isForgotten = true;
          break;
        case 'closed':
          application.onClosed(event.reason);
          break;
      }
    }
  }

  /** Throws when the connection holds more than it was allowed to. */
  checkMemory(): void {
    const { connection, limits } = this;
    if (connection === null) return;
    const { budget, kept, window } = connection.streams.receiveCounts;
    this.atMost(
      'connection window',
      window.used - window.freed,
      internalsOf(connection).config.connectionWindowBytes,
    );
    this.atMost('best-effort budget', budget.used, limits.bestEffortBytes);
    this.atMost('kept datagrams', kept.wasteBytes, kept.wasteBytesMax + DATAGRAM_BYTES_MAX);
    let isBlocked = false;
    let isUnread = false;
    for (const { sender, receiver } of connection.streams.values()) {
      const held = receiver.window.used - receiver.window.freed;
      this.atMost('stream window', held, internalsOf(connection).config.streamWindowBytes);
      isBlocked ||= sender.credit.blocked;
      isUnread ||= receiver.readable > 0;
    }
    if (isBlocked) this.turns['turns with a blocked stream']++;
    if (isUnread) this.turns['turns with an unread message']++;
  }

  /** Throws when protection costs more than it may, or bytes in flight are not those of the packets in flight. */
  checkSending(): void {
    const { connection } = this;
    if (connection === null) return;
    const { protection } = connection.streams.packer;
    this.mtuLargest = Math.max(this.mtuLargest, connection.path.mtu); // what was spent stays spent when packets shrink
    for (const { budget } of protectedStreams(connection)) {
      this.atMost('protection', budget.spentBytes, budget.earnedBytes + 2 * this.mtuLargest);
    }
    this.turns['turns with repeats'] += protection.count(PlanMode.REPEAT) > 0 ? 1 : 0;
    const flying = bytesInFlightOf(connection);
    const counted = connection.path.bytesInFlight;
    if (counted !== flying)
      throw new Violation(`${this.side}: ${counted} bytes in flight, but packets of ${flying}`);
  }

  /** What the connection counted, by name. */
  counts(): Record<string, number> {
    if (this.connection === null) return {};
    const metrics = this.connection.metrics();
    return {
      ...this.connection.counters,
      ...this.turns,
      retransmittedBytes: metrics.retransmittedBytes,
      messagesExpired: metrics.messagesExpired,
      messagesLost: metrics.messagesLost,
      messagesLate: metrics.messagesLate,
      messagesEvicted: metrics.messagesEvicted,
      dataBlocked: metrics.dataBlocked,
      streamsBlocked: metrics.streamsBlocked,
      congestionMarks: metrics.congestionMarks,
      ecnCapable: metrics.ecnCapable,
      repeatsSent: metrics.repeatsSent,
      repeatsUsed: metrics.repeatsUsed,
      messagesCompressed: metrics.messagesCompressed,
      messagesInflated: metrics.messagesInflated,
      compressionSkippedNotAgreed: metrics.compressionSkippedNotAgreed,
      compressionSkippedIncompressible: metrics.compressionSkippedIncompressible,
      compressionSkippedCostly: metrics.compressionSkippedCostly,
    };
  }

  private get open(): Connection {
    if (this.connection === null) throw new Error('not connected');
    return this.connection;
  }

  private wrap(core: ConnectionStream): PeerStream {
    let stream = this.streams.get(core);
    if (stream === undefined) {
      stream = new PeerStream(core, this.limits.highWaterBytes);
      this.streams.set(core, stream);
    }
    return stream;
  }

  private atMost(what: string, bytes: number, bytesMax: number): void {
    if (bytes < 0) throw new Violation(`${this.side}: ${what} counts ${bytes} bytes`);
    if (bytes > bytesMax)
      throw new Violation(`${this.side}: ${what} holds ${bytes} bytes, allowed are ${bytesMax}`);
  }
}

/** A stream as an application uses it. */
export class PeerStream {
  /** Both halves are over. */
  isForgotten = false;
  private readonly core: ConnectionStream;

  constructor(core: ConnectionStream, highWaterBytes: number) {
    this.core = core;
    core.sender.queue.highWaterBytes = highWaterBytes;
    core.sender.queue.lowWaterBytes = highWaterBytes >> 2;
  }

  get id(): number {
    return this.core.id;
  }

  /** What the other side was told of it, to compare with the plan. */
  get settings(): Pick<StreamPlan, 'ordered' | 'delivery' | 'priority' | 'label'> {
    const { ordered, delivery, priority, label } = this.core;
    return { ordered, delivery: DELIVERIES[delivery], priority, label };
  }

  /** A number to send a message with, whose outcome will be told with it. */
  track(): number {
    return this.core.track();
  }

  /** Queues a message. False when the application should hold on until the stream is writable. */
  send(
    data: Uint8Array,
    { delivery, deadline }: SentMessage,
    tracking: number,
    protection: ProtectionOptions | null,
  ): boolean {
    const result = this.core.send(data, deliveryNumber(delivery), deadline, false, tracking, {
      protection,
      compression: null,
    });
    return result === SendResult.ACCEPTED;
  }

  read(now: Micros): Uint8Array | null {
    return this.core.read(now);
  }

  /** True when nothing more is to be read. */
  get ended(): boolean {
    return this.core.receiver.ended;
  }

  /** Done reading for now. */
  onRead(): void {
    this.core.onRead();
  }

  finish(): void {
    this.core.finish();
  }

  reset(code: number): void {
    this.core.reset(code);
  }
}

function deliveryNumber(name: DeliveryName): Delivery {
  return DELIVERIES.indexOf(name) as Delivery;
}

const OUTCOMES: readonly OutcomeName[] = ['acknowledged', 'expired', 'lost', 'dropped'];
const DATAGRAM_BYTES_MAX = 65_507;

/** Each side has a dictionary that the other has, too, and one of its own. One compresses by DEFLATE, the other by LZ4. */
function compressionOf(compressing: Compressing, side: Side): CompressionOptions {
  if (compressing === 'off') return COMPRESSION_OFF;
  const own = new Dictionary(contentOf(side === 'client' ? 1 : 2, 1, 500));
  let time = 0;
  const clock = () => {
    time += 5_000;
    return time;
  };
  return {
    ...COMPRESSION_OFF,
    // It takes so long that it does not pay on every path.
    clock: compressing === 'auto' ? clock : null,
    inflates: true,
    method: side === 'client' ? CompressionMethod.DEFLATE : CompressionMethod.LZ4,
    mode: { opens: CompressionMode.OFF, on: CompressionMode.ON, auto: CompressionMode.AUTO }[compressing],
    dictionaries: new DictionarySet([own, SHARED]),
  };
}

const SHARED = new Dictionary(contentOf(3, 1, 1_000));
