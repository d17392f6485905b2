import { copyOf, equalBytes } from '../../base/bytes.ts';
import type { JspError } from '../../base/errors.ts';
import { MemoryAccount, type MemoryBudget } from '../../base/memory-budget.ts';
import type { RandomSource } from '../../base/random.ts';
import { type HeapItem, MILLISECOND, type Micros, NEVER, SECOND } from '../../base/time.ts';
import type { KeyRing } from '../crypto/key-ring.ts';
import type { Handshake, HandshakeSpace } from '../handshake/handshake.ts';
import { Path } from '../path/path.ts';
import { Recovery, TimeoutResult } from '../recovery/recovery.ts';
import type { ConnectionStream, StreamSettings } from '../stream/connection-stream.ts';
import { Streams } from '../stream/streams.ts';
import { ConnectionCounters } from '../trace/counters.ts';
import { CloseCode } from '../wire/close-code.ts';
import type { FrameReader } from '../wire/frame-reader.ts';
import type { PacketHeader } from '../wire/packet-header.ts';
import { PacketSpace, PacketType } from '../wire/packet-header.ts';
import { type CloseReason, Closing, closeReasonOf, STATELESS_RESET, TIMEOUT_CODES } from './lifecycle.ts';
import type { ConnectionConfig } from './config.ts';
import { startFlights } from './handshake-progress.ts';
import type { EndpointEvent } from './events.ts';
import { GracefulClose } from './graceful-close.ts';
import { Liveness, LivenessOutcome } from './liveness.ts';
import { CONNECTION_BYTES, memoryOf } from './memory.ts';
import { type ConnectionMetrics, metricsOf } from './metrics.ts';
import { NumberSkips } from './number-skips.ts';
import { NumberSpace } from './packet-number-space.ts';
import { startPacketSize, usePacketSize } from './path-mtu.ts';
import { OpenResult } from './receive.ts';
import { resendOldest, settle } from './settle.ts';
import { WaitingPackets } from './waiting-packets.ts';

/** Where a connection puts what the driver should know. */
export interface EventSink {
  push(event: EndpointEvent): void;
}

export interface ConnectionOptions {
  readonly role: 'client' | 'server';
  readonly config: ConnectionConfig;
  readonly random: RandomSource;
  readonly events: EventSink;
  /** Called when the connection may have something to send. */
  readonly touched: (connection: Connection) => void;
  /** Called when a client's hello is there to be answered. */
  readonly helloCame: (connection: Connection) => void;
  readonly handshake: Handshake;
  /** Whether the client does not pin the server's identity. */
  readonly unpinned: boolean;
  readonly localId: Uint8Array;
  /** The client: its choice for the first packet. The server: the client's source id. */
  readonly remoteId: Uint8Array;
  /** Destination id of the client's first packet. */
  readonly firstDestinationId: Uint8Array;
  readonly host: string;
  readonly port: number;
  /** Both ends are on this machine: packets may be large, and must fit the peer's socket buffer. */
  readonly isLoopback: boolean;
  /** What all connections of the endpoint may make it keep. */
  readonly memory: MemoryBudget;
  /** The Initial space, which may have seen a packet already, with the connection's keys. */
  readonly initial: NumberSpace;
}

/**
 * One connection as a state machine without I/O. The endpoint hands it datagrams (`receive.ts`) and deadlines ({@link onTimeout}), and
 * takes packets (`transmit.ts`), its next deadline ({@link nextTimeout}) and events out. The application calls
 * {@link openStream}, {@link finish} and {@link close}, and the streams themselves.
 */
export class Connection implements HeapItem {
  // For the endpoint's tables.
  deadline: Micros = NEVER;
  heapIndex = -1;
  /** It is in the endpoint's list of connections that may have something to send. */
  isReady = false;
  /** The endpoint knows it no more. */
  isForgotten = false;
  /** Whatever the driver wants to find again with an event. */
  owner: unknown = null;

  readonly role: 'client' | 'server';
  readonly config: ConnectionConfig;
  readonly counters = new ConnectionCounters();
  readonly localId: Uint8Array;
  remoteId: Uint8Array;
  readonly firstDestinationId: Uint8Array;
  readonly path: Path;
  /** Which of the socket's own addresses the latest datagram came to, opened or not. */
  private latestLocal = 0;
  readonly unpinned: boolean;
  readonly greaseBit: boolean;

  readonly keys: KeyRing;
  readonly spaces: [NumberSpace | null, NumberSpace | null, NumberSpace | null];
  readonly numberSkips: NumberSkips;
  readonly recovery: Recovery;
  readonly liveness: Liveness;
  readonly closing = new Closing();
  readonly streams: Streams<Connection>;
  /** Null once it is over, for it holds much memory. */
  handshake: Handshake | null;
  /** What the handshake proved, kept when it is gone. */
  provedFingerprint: Uint8Array | null = null;
  readonly events: EventSink;
  readonly isLoopback: boolean;
  readonly memory: MemoryAccount;
  readonly waiting = new WaitingPackets();

  /** The handshake is complete [CON-36]: the peer is who it should be, and application data may flow. */
  isEstablished = false;
  /** The handshake is confirmed [CON-36]: both sides know that it is complete, and its keys are gone. */
  isConfirmed = false;
  handshakeDoneDue = false;
  heartbeatDue = false;
  /** At a client: what its server ends the connection with when it has forgotten it. [PKT-22] */
  resetToken: Uint8Array | null = null;
  pathResponse: Uint8Array | null = null;
  /** There is more to send than one packet holds, so that larger packets are worth looking for. */
  fillsPackets = false;
  /** The handshake is complete, and the application is told when the size of packets is as it has to be. */
  isConnectedDue = false;
  /** The packet size that the application knows of. */
  mtuTold: number;
  /** Something waits for congestion control or the pacer. */
  isBlocked = false;
  /** A client's hello waits for its answer, which takes a while to compute; what is sent before it would be in vain. [CON-35] */
  isAnswerDue = false;

  private readonly touched: (connection: Connection) => void;
  private readonly helloCame: (connection: Connection) => void;
  readonly startedAt: Micros;
  /** When the last packet opened, until the client's address is validated. */
  lastOpenedAt: Micros;
  private handshakeDeadline: Micros;
  private finishing: GracefulClose | null = null;
  /** It is over, and not all that was sent reliably was acknowledged. */
  wasCut = true;
  private knowsRemoteId: boolean;
  private isEndTold = false;

  constructor(options: ConnectionOptions, now: Micros) {
    const { config, role } = options;
    const isServer = role === 'server';
    this.role = role;
    this.config = config;
    this.events = options.events;
    this.touched = options.touched;
    this.helloCame = options.helloCame;
    this.handshake = options.handshake;
    this.keys = options.initial.keys;
    this.localId = options.localId;
    this.remoteId = options.remoteId;
    this.knowsRemoteId = isServer;
    this.firstDestinationId = options.firstDestinationId;
    this.unpinned = options.unpinned;
    this.isLoopback = options.isLoopback;
    this.memory = new MemoryAccount(options.memory, CONNECTION_BYTES);
    this.memory.held = () => memoryOf(this);
    const bit = new Uint8Array(1);
    options.random.fill(bit);
    this.greaseBit = (bit[0] & 1) === 1;
    this.spaces = [
      options.initial,
      new NumberSpace(PacketSpace.HANDSHAKE, this.keys, config.ackDelayMaxMs),
      new NumberSpace(PacketSpace.APPLICATION, this.keys, config.ackDelayMaxMs),
    ];
    this.numberSkips = new NumberSkips(options.random);
    this.path = new Path({
      host: options.host,
      port: options.port,
      isValidated: !isServer,
      mtu: config.mtu,
      congestion: config.congestion,
      windowBytesMax: config.congestionWindowBytesMax,
    });
    this.recovery = new Recovery(this.path, isServer);
    this.mtuTold = config.mtu;
    this.liveness = new Liveness(config.heartbeatMs, config.heartbeatMisses, config.idleTimeoutMs, now);
    this.streams = new Streams(this, config, options.events, this.memory);
    this.startedAt = now;
    this.handshakeDeadline = now + config.handshakeTimeoutMs * MILLISECOND;
    this.lastOpenedAt = now;
    startFlights(this);
  }

  // ---- what the application asks and tells ----

  get isOpen(): boolean {
    return this.closing.isOpen && this.finishing === null;
  }

  /** Datagram size in use, in bytes. */
  get mtu(): number {
    return this.path.mtu;
  }

  /** Fingerprint of the server's identity, on the client once it is proved. */
  get peerFingerprint(): Uint8Array | null {
    return this.handshake?.peerFingerprint ?? this.provedFingerprint;
  }

  metrics(): ConnectionMetrics {
    return metricsOf(this);
  }

  /** Something changed that may be worth a packet: the endpoint will ask. */
  touch(): void {
    if (!this.isReady) this.touched(this);
  }

  /** Opens a stream of an established connection; what is sent on it waits until the peer allows another stream. */
  openStream(settings: StreamSettings): ConnectionStream {
    return this.streams.open(settings);
  }

  /** The client's first flight goes out again, before a timeout asks for it. */
  resendHello(): void {
    this.spaces[PacketSpace.INITIAL]?.outgoing?.resend();
    this.touch();
  }

  /** Lets no stream begin, and closes when all that was sent is settled, or {@link GracefulClose} has waited enough. [CON-11] */
  finish(code: number, reason: string, deadline: Micros, stall: Micros, now: Micros): void {
    if (!this.closing.isOpen) return;
    if (this.finishing === null) this.finishing = new GracefulClose(code, reason, deadline, stall, now);
    else this.finishing.shorten(deadline, stall);
    this.touch();
  }

  /** Closes at once. */
  close(scope: CloseReason['scope'], code: number, reason: string, now: Micros): void {
    this.end({ by: 'local', scope, code, reason, timeout: 'none' }, now);
  }

  // ---- for the endpoint ----

  /**
   * An exception came out of our own code: closes with INTERNAL_ERROR and tells so, whatever state the parts are in. False when the
   * connection was closing already, so that it can only be forgotten. [CON-33]
   */
  crash(cause: unknown, now: Micros): boolean {
    const code = CloseCode.INTERNAL_ERROR;
    const incomplete = true; // what arrived of the rest, nobody can tell
    const reason: CloseReason = {
      by: 'local',
      scope: 'transport',
      code,
      reason: '',
      timeout: 'none',
      incomplete,
      cause,
    };
    let mayTell = false;
    try {
      mayTell = this.closing.close(reason, now, Math.min(this.probeTimeout, CRASHED_PTO));
    } catch {
      this.closing.reason ??= reason;
    }
    try {
      this.over();
    } catch {
      // The end was told; of the parts nothing is needed any more.
    }
    return mayTell && this.closing.deadline >= now;
  }

  /** Whether packets are still looked at. */
  get isReceiving(): boolean {
    return this.closing.isOpen;
  }

  /** The connection may be forgotten. */
  isOver(now: Micros): boolean {
    return !this.closing.isOpen && now >= this.closing.deadline;
  }

  /** A datagram came for this connection; its packets follow. */
  onDatagram(bytes: number, host: string, port: number, local: number): void {
    this.counters.datagramsReceived++;
    this.counters.bytesReceived += bytes;
    if (host === this.path.host && port === this.path.port) {
      this.path.validation.onReceived(bytes); // [CON-4]
      this.latestLocal = local;
    }
    this.closing.onDatagram();
  }

  nextTimeout(now: Micros): Micros {
    if (!this.closing.isOpen) return this.closing.nextTimeout;
    const ends = this.isEstablished ? this.liveness.deadline(this.probeTimeout) : this.handshakeDeadline;
    let next = Math.min(ends, this.recovery.nextTimeout(), this.streams.nextTimeout());
    for (const state of this.spaces) if (state !== null) next = Math.min(next, state.acks.deadline);
    if (this.finishing !== null) next = Math.min(next, this.finishing.end);
    if (this.isBlocked) next = Math.min(next, this.recovery.nextSend(now));
    return next;
  }

  /** A deadline passed: does what is due. What is to be sent because of it waits for the next transmit. */
  onTimeout(now: Micros): void {
    if (!this.closing.isOpen) return this.closing.onTimeout(now);
    if (!this.isEstablished && now >= this.handshakeDeadline) return this.timeOut('handshake', now); // [CON-5]
    if (this.finishing !== null && now >= this.finishing.end) return this.closeFinished('close', now);
    this.onRecoveryTimeout(now);
    const code = this.streams.onTimeout(now, this.liveness.receivedAt, this.counters.packetsReceived);
    if (code !== 0) return this.fail(code, 0, 'a message was begun and not completed', now); // [STR-35]
    if (!this.isEstablished) return;
    const found = this.liveness.onTimeout(now, this.probeTimeout);
    if (found === LivenessOutcome.HEARTBEAT_TIMEOUT) this.timeOut('heartbeat', now);
    else if (found === LivenessOutcome.IDLE_TIMEOUT) this.timeOut('idle', now);
    else if (found === LivenessOutcome.HEARTBEAT_DUE) {
      this.heartbeatDue = true;
      this.recovery.trim(); // a connection that is idle gives memory back
      this.streams.trim();
    }
  }

  /** Called before packets are packed: closes gracefully once there is nothing left to wait for. */
  beforeTransmit(now: Micros): void {
    this.isBlocked = false;
    if (this.finishing !== null && this.closing.isOpen && this.isConfirmed && this.streams.isSettled) {
      this.closeFinished('none', now);
    }
  }

  /** Nothing was looked at for a while: silence meanwhile says nothing about the peer, which is asked now. [CON-16] */
  onResumed(now: Micros): void {
    if (!this.closing.isOpen) return;
    const pto = this.probeTimeout;
    this.handshakeDeadline = Math.max(this.handshakeDeadline, now + 3 * pto);
    if (!this.isEstablished || !this.liveness.onResumed(now)) return;
    this.onProgress(now);
    this.recovery.onResumed(now);
    this.heartbeatDue = true;
    this.touch();
  }

  // ---- for receive.ts, transmit.ts and settle.ts ----

  /** Whether a packet's destination id is one that leads here. */
  owns(data: Uint8Array, header: PacketHeader): boolean {
    const id = data.subarray(header.dcidStart, header.dcidStart + header.dcidLength);
    return (
      equalBytes(id, this.localId) || (this.role === 'server' && equalBytes(id, this.firstDestinationId))
    );
  }

  /** Whether a long packet with this source id may be the peer's. A client opens the first one with the keys of whatever id it gives. */
  mayComeFrom(id: Uint8Array): boolean {
    if (this.knowsRemoteId) return equalBytes(id, this.remoteId);
    this.keys.expectFrom(id); // [HS-20] the keys of a server's Initial packets follow from its id
    return true;
  }

  /** The source id of a long packet that opened: the server's first one is what the client uses from then on. [CON-1] */
  acceptRemoteId(id: Uint8Array): void {
    if (this.knowsRemoteId) return;
    this.knowsRemoteId = true;
    this.remoteId = copyOf(id);
  }

  /** Keeps a packet whose key is not there yet. */
  keepForLater(packet: Uint8Array, arrivedAt: Micros): void {
    this.counters.packetsUnbuffered += this.waiting.keep(packet, arrivedAt);
  }

  onOpened(result: OpenResult, now: Micros): void {
    if (result === OpenResult.OPENED) {
      this.counters.packetsReceived++;
      this.path.local = this.latestLocal; // [CON-60] where the peer sent to is where it is answered from
    } else if (result === OpenResult.REPLAYED) this.counters.packetsReplayed++;
    else {
      // [PKT-15] Forgeries that were tried, over all keys of the connection.
      if (++this.counters.packetsUnopened < this.config.openFailuresMax) return;
      this.fail(CloseCode.AEAD_LIMIT_REACHED, 0, 'too many packets failed to open', now);
    }
  }

  /** A packet of this space opened: the peer is alive and, once it has Handshake keys, where it says it is. */
  onPacketOpened(space: PacketSpace, now: Micros): void {
    this.liveness.onReceived(now);
    if (this.role === 'client' || this.path.validation.isValidated) return;
    this.lastOpenedAt = now;
    if (space !== PacketSpace.HANDSHAKE) return;
    this.path.validation.isValidated = true; // [CON-4]
    this.discardSpace(PacketSpace.INITIAL, now); // [CON-14]
    startPacketSize(this, now);
  }

  onClose(frame: FrameReader, now: Micros): void {
    if (this.closing.drain(closeReasonOf(frame), now, this.probeTimeout)) this.over();
  }

  /** The server does not know the connection any more. [PKT-24] */
  onStatelessReset(now: Micros): void {
    if (this.closing.drain(STATELESS_RESET, now, this.probeTimeout)) this.over();
  }

  /** Another handshake takes this one's place: it ends without a word. [CON-3] */
  giveWay(now: Micros): void {
    this.timeOut('handshake', now);
  }

  /** Answered with the next packet; of several the newest. [FRM-20] */
  onPathChallenge(frame: FrameReader): void {
    this.pathResponse = copyOf(frame.buffer.subarray(frame.dataStart, frame.dataStart + frame.dataLength));
  }

  /** Losses were looked for: a path that swallows large packets shows here, and one that only delayed them. */
  onLossPass(now: Micros): void {
    const { largestAckedBytes, smallestLostBytes } = this.recovery.fates;
    if (this.path.mtuDiscovery.onAck(largestAckedBytes, smallestLostBytes)) usePacketSize(this, now);
  }

  /** What a HEARTBEAT tells of when the next one comes, in ms; 0 when none does. [CON-7] */
  get heartbeatIntervalMs(): number {
    const interval = this.liveness.interval(this.probeTimeout);
    return this.config.heartbeatMs === 0 ? 0 : Math.ceil(interval / MILLISECOND);
  }

  /** A message, or the end of a stream, was acknowledged: a graceful close gets on. */
  onProgress(now: Micros): void {
    this.finishing?.onProgress(now);
  }

  get hasControlFrames(): boolean {
    return this.handshakeDoneDue || this.heartbeatDue || this.pathResponse !== null;
  }

  /** The handshake needs this space no more: its keys go, and all that was kept for it. [CON-14] */
  discardSpace(space: HandshakeSpace, now: Micros): void {
    if (this.spaces[space] === null) return;
    this.keys.discard(space === PacketSpace.INITIAL ? PacketType.INITIAL : PacketType.HANDSHAKE);
    this.spaces[space] = null;
    this.recovery.discardSpace(space, now);
  }

  /** A CRYPTO frame came from the client: once its hello is whole, it asks for the answer. */
  onHelloBytes(): void {
    if (this.isAnswerDue || this.spaces[PacketSpace.INITIAL]?.incoming?.isComplete !== true) return;
    this.isAnswerDue = true;
    this.helloCame(this);
  }

  /** The peer broke the protocol: closes with this code. */
  fail(code: number, frameType: number, reason: string, now: Micros): void {
    this.closing.frameType = frameType;
    this.close('transport', code, reason, now);
  }

  /** Closes for a reason of our own, which `cause` tells the application. */
  giveUp(cause: JspError, reason: string, now: Micros): void {
    const code = CloseCode.NO_ERROR;
    this.end({ by: 'local', scope: 'transport', code, reason, timeout: 'none', cause }, now);
  }

  // ---- inside ----

  private get probeTimeout(): Micros {
    return this.recovery.probeTimeout(PacketSpace.APPLICATION);
  }

  private onRecoveryTimeout(now: Micros): void {
    for (let i = 0; i < TIMEOUTS_MAX && this.recovery.nextTimeout() <= now; i++) {
      const result = this.recovery.onTimeout(now);
      if (result === TimeoutResult.NONE) return;
      if (result === TimeoutResult.LOST) {
        settle(this, now);
        this.onLossPass(now);
        continue;
      }
      this.counters.ptoCount++;
      resendOldest(this, now);
      if (this.path.mtuDiscovery.onPto(!this.isConfirmed)) usePacketSize(this, now);
      return; // the next timeout counts from the probes, which are to be sent first
    }
  }

  private closeFinished(timeout: 'none' | 'close', now: Micros): void {
    const { code, reason } = this.finishing ?? { code: 0, reason: '' };
    this.end({ by: 'local', scope: 'application', code, reason, timeout }, now);
  }

  /** Gives up, and says so, for the peer may be there and only not be heard. [CON-6] [CON-8] */
  private timeOut(timeout: 'handshake' | 'idle' | 'heartbeat', now: Micros): void {
    const code = TIMEOUT_CODES[timeout];
    this.end({ by: 'timeout', scope: 'transport', code, reason: '', timeout }, now);
    // Whose handshake it was, nobody knows: a word to everybody who began one is one too many.
    if (timeout === 'handshake' && this.role === 'server') this.closing.closeDue = false;
  }

  private end(reason: Omit<CloseReason, 'incomplete'>, now: Micros): void {
    const incomplete = !this.streams.isDelivered;
    if (this.closing.close({ ...reason, incomplete }, now, this.probeTimeout)) this.over();
  }

  private over(): void {
    const { reason } = this.closing;
    if (this.isEndTold || reason === null) return;
    // First, so that it is told once whatever comes of the rest.
    this.isEndTold = true;
    this.events.push({ type: 'closed', connection: this, reason });
    this.touch();
    this.wasCut = !this.streams.isDelivered;
    this.waiting.take();
    this.streams.onConnectionOver();
  }
}

/** Probe timeout, at most, of a connection whose own measure cannot be trusted. */
const CRASHED_PTO: Micros = SECOND;
/** More deadlines than spaces and kinds of them cannot be due at once. */
const TIMEOUTS_MAX = 8;
