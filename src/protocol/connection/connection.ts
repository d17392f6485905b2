/** One connection, whose parts are wired together here and do what there is to do. One file, for what is in it is that wiring. */

import { JspError } from '../../base/errors.ts';
import { MemoryAccount, type MemoryBudget } from '../../base/memory-budget.ts';
import type { RandomSource } from '../../base/random.ts';
import { MILLISECOND, type Micros, NEVER, type PutOffItem } from '../../base/time.ts';
import { ConnectionCompression } from '../compress/compression.ts';
import { CONGESTION_STATES, type CongestionState } from '../congestion/controller.ts';
import { LateQueueBound } from '../congestion/queue-bound.ts';
import type { KeyRing } from '../crypto/key-ring.ts';
import { ConnectionProtection } from '../fec/connection-protection.ts';
import { RepairCounts } from '../fec/repair-decoder.ts';
import { DefaultProtection } from '../fec/stream-protection.ts';
import type { ClientTicket } from '../handshake/client-ticket.ts';
import type { Handshake, HandshakeSpace } from '../handshake/handshake.ts';
import { PAYLOAD_BYTES_MAX } from '../handshake/messages.ts';
import type { GivenTicket } from '../handshake/tickets.ts';
import { SIZE_BASE } from '../path/mtu-discovery.ts';
import { AddressState, Path, type Way } from '../path/path.ts';
import { Recovery, TimeoutResult } from '../recovery/recovery.ts';
import { ThinSender } from '../recovery/thin-sender.ts';
import type { StreamEvent } from '../stream/connection-stream.ts';
import { Streams } from '../stream/streams.ts';
import { ConnectionCounters } from '../trace/counters.ts';
import type { QlogTrace } from '../trace/qlog-trace.ts';
import { ConnectionTimes } from '../trace/time-in-states.ts';
import { CloseCode } from '../wire/close-code.ts';
import { PacketSpace, PacketType } from '../wire/packet-header.ts';
import { AdmissionState } from './admission.ts';
import type { ConnectionConfig } from './config.ts';
import { ConnectionIds, type IssuedId } from './connection-ids.ts';
import { ControlFrames, type ControlNews } from './control-frames.ts';
import { Device } from './device.ts';
import { FlowWatch } from './flow-watch.ts';
import { type HandshakeParts, HandshakeProgress } from './handshake-progress.ts';
import { IncomingRepairs } from './incoming-repairs.ts';
import { KeyUpdates } from './key-updates.ts';
import { type CloseReason, ConnectionState, Lifecycle } from './lifecycle.ts';
import { Liveness, LivenessOutcome } from './liveness.ts';
import { CONNECTION_BYTES, type ConnectionMetrics, memoryOf, metricsOf } from './metrics.ts';
import { OutgoingRepairs } from './outgoing-repairs.ts';
import { NumberSkips, PacketNumberSpace, type PacketNumberSpaces } from './packet-number-space.ts';
import { PacketSize, type PacketSizeNews } from './packet-size.ts';
import { type MoveReason, Paths, type PathsNews } from './paths.ts';
import { PacketReceiver, type ReceiverParts } from './receive.ts';
import { beginTrace } from './tracing.ts';
import { type AssemblerParts, PacketAssembler } from './transmit.ts';

/** What an endpoint tells its driver. Taken with `pollEvent`, in the order in which it happened. */
export type EndpointEvent = StreamEvent<Connection> | (ConnectionNews & { readonly connection: Connection });

/** What a connection, or a part of it, has to tell. */
type ConnectionNews =
  | ControlNews
  | PacketSizeNews
  | PathsNews
  /** At a server: a client that is resumed sends early data, which is handled; `connected` follows, or `closed`. [HS-59] */
  | { readonly type: 'early' }
  /** At a server: a client is who it says it is, and the application is to decide about it, with {@link Endpoint.admit} or by closing. [HS-44] */
  | { readonly type: 'admission' }
  /** At a client: the server gave a ticket for another connection; its time is for whoever has a clock to fill in. */
  | { readonly type: 'ticket'; readonly ticket: ClientTicket }
  /** Packets go another way from now on. */
  | { readonly type: 'path'; readonly previous: Way; readonly reason: MoveReason }
  /** The connection is over. */
  | { readonly type: 'closed'; readonly reason: CloseReason };

/** Where a connection puts what the driver should know. */
export interface EventSink {
  push(event: EndpointEvent): void;
}

/** What every connection of an endpoint has from it. */
export interface ConnectionSurroundings {
  readonly random: RandomSource;
  readonly events: EventSink;
  /** Called when the connection may have something to send. */
  readonly touched: (connection: Connection) => void;
  /** Called when a client's hello is there to be answered. */
  readonly helloCame: (connection: Connection) => void;
  /** Makes what a client at this address may show in another connection; null where none is given. [HS-37] */
  readonly newToken: ((host: string, now: Micros) => Uint8Array) | null;
  /** What all connections of the endpoint may make it keep. */
  readonly memory: MemoryBudget;
  /** A fresh id that leads to the connection. */
  readonly issueId: (connection: Connection) => IssuedId;
  /** The id leads nowhere any more. */
  readonly releaseId: (id: Uint8Array) => void;
}

export interface ConnectionOptions {
  readonly role: 'client' | 'server';
  readonly config: ConnectionConfig;
  readonly handshake: Handshake;
  /** Whether the client does not pin the server's identity. */
  readonly unpinned: boolean;
  /** The connection id that we issued for it. */
  readonly sourceId: Uint8Array;
  /** The client: its choice for the first packet. The server: the client's source id. */
  readonly destinationId: Uint8Array;
  /** Destination id of the client's first packet, or of the first one behind a Retry. */
  readonly firstDestinationId: Uint8Array;
  /** The server: destination id of the client's very first packet, when that was answered by a Retry. */
  readonly retriedId?: Uint8Array | null | undefined;
  /** The client: what its server gave it in an earlier connection. */
  readonly token?: Uint8Array | undefined;
  /** The server: what is known of the client's address. Default nothing. */
  readonly address?: AddressState | undefined;
  readonly host: string;
  readonly port: number;
  /** Both ends are on this machine: packets may be large, and must fit the peer's socket buffer. */
  readonly isLoopback: boolean;
  /** The Initial space, which may have seen a packet already, with the connection's keys. */
  readonly initial: PacketNumberSpace;
}

/** What the tables of an endpoint have of a connection. */
export class TableEntry implements PutOffItem {
  readonly connection: Connection;
  deadline: Micros = NEVER;
  dueAt: Micros = NEVER;
  heapIndex = -1;
  /** It is in the list of connections that may have something to send. */
  isReady = false;
  readonly startedAt: Micros;

  constructor(connection: Connection, startedAt: Micros) {
    this.connection = connection;
    this.startedAt = startedAt;
  }
}

/**
 * One connection as a state machine without I/O: it makes the parts and keeps their time. The endpoint hands packets to the
 * {@link receiver} and deadlines to {@link onTimeout}, and takes packets from the {@link assembler}, {@link nextTimeout} and events. The
 * application calls {@link streams}, {@link control}, {@link device}, {@link packetSize}, `lifecycle.close` and `lifecycle.finish`. The parts know each other only as far as they have to.
 */
export class Connection {
  /** Whatever the driver wants to find again with an event. */
  owner: unknown = null;
  readonly entry: TableEntry;
  readonly role: 'client' | 'server';
  readonly counters = new ConnectionCounters();
  readonly ids: ConnectionIds;
  readonly path: Path;
  readonly streams: Streams<Connection>;
  readonly lifecycle: Lifecycle;
  readonly handshake: HandshakeProgress;
  readonly receiver: PacketReceiver;
  readonly assembler: PacketAssembler;
  readonly device: Device;
  /** What either side says to the other beside its streams. */
  readonly control: ControlFrames;
  readonly packetSize: PacketSize;

  private readonly config: ConnectionConfig;
  private readonly times: ConnectionTimes<CongestionState>;
  private readonly surroundings: ConnectionSurroundings;
  private readonly isLoopback: boolean;
  private readonly memory: MemoryAccount;
  private readonly keys: KeyRing;
  private readonly spaces: PacketNumberSpaces;
  private readonly recovery: Recovery;
  private readonly paths: Paths;
  /** Null at a server. */
  private readonly flow: FlowWatch | null;
  private readonly liveness: Liveness;
  private readonly outgoingRepairs: OutgoingRepairs;
  /** Null where the peer was told that none are taken. */
  private readonly repairs: IncomingRepairs | null;
  private readonly keyUpdates: KeyUpdates;
  /** Null when nobody looks on. */
  private readonly trace: QlogTrace | null;
  /** When the packet came after which the connection last was at rest. */
  private restedAfter: Micros = -1;

  constructor(options: ConnectionOptions, surroundings: ConnectionSurroundings, now: Micros) {
    const { config, isLoopback, role } = options;
    const isServer = role === 'server';
    this.entry = new TableEntry(this, now);
    this.role = role;
    this.config = config;
    this.surroundings = surroundings;
    this.isLoopback = isLoopback;
    this.memory = new MemoryAccount(surroundings.memory, CONNECTION_BYTES + PAYLOAD_BYTES_MAX);
    const upkeep = new Connection.Upkeep(this);
    this.memory.holder = upkeep;
    const bit = new Uint8Array(1);
    surroundings.random.fill(bit);
    this.ids = new ConnectionIds({
      isServer,
      unpinned: options.unpinned,
      sourceId: options.sourceId,
      destinationId: options.destinationId,
      firstDestinationId: options.firstDestinationId,
      retriedId: options.retriedId,
      token: options.token,
      greaseBit: (bit[0] & 1) === 1,
      routes: upkeep,
    });
    this.keys = options.initial.keys;
    const { keys } = this;
    this.spaces = [
      options.initial,
      new PacketNumberSpace(PacketSpace.HANDSHAKE, keys, config.ackDelayMaxMs),
      new PacketNumberSpace(PacketSpace.APPLICATION, keys, config.ackDelayMaxMs),
    ];
    const skips = new NumberSkips(surroundings.random);
    this.path = new Path({
      host: options.host,
      port: options.port,
      address: isServer ? (options.address ?? AddressState.UNKNOWN) : AddressState.VALIDATED,
      mtu: config.mtu,
      mtuIsExact: config.mtuIsExact,
      congestion: config.congestion,
      usesEcn: config.usesEcn,
      random: surroundings.random,
      windowBytesMax: config.congestionWindowBytesMax,
      queueDelayMax: config.queueDelayMaxMs === null ? null : config.queueDelayMaxMs * MILLISECOND,
    });
    this.times = new ConnectionTimes(CONGESTION_STATES, this.path.congestion.state, now);
    this.trace = beginTrace(config, role, this.ids, this.keys, this.path, now);
    const thin = new ThinSender();
    this.recovery = new Recovery(this.path, isServer, thin);
    this.liveness = new Liveness(config.heartbeatMs, config.heartbeatMisses, config.idleTimeoutMs, now);
    const defaultProtection = new DefaultProtection(config.protection);
    const compression = new ConnectionCompression(config.compression, this.path);
    this.streams = new Streams(this, config, surroundings.events, this.memory, {
      protection: new ConnectionProtection(this.path),
      defaultProtection,
      compression,
    });
    const host = new Connection.Host(this);
    this.lifecycle = new Lifecycle(host, isServer);
    const { counters, ids, lifecycle, liveness, path, recovery, spaces, streams, trace } = this;
    this.control = new ControlFrames({ role, acks: thin.acks, counters, ids, liveness, recovery }, host);
    const { mtu } = config;
    const { packer } = streams;
    this.packetSize = new PacketSize({ isClient: !isServer, mtu, lifecycle, packer, path, trace }, host);
    this.keyUpdates = new KeyUpdates(config.keyUpdate, keys, counters, trace, host);
    const takesMigration = config.takesMigration;
    this.paths = new Paths(
      path,
      ids,
      counters,
      { isServer, takesMigration, random: surroundings.random },
      host,
    );
    const { control, keyUpdates, paths } = this;
    this.repairs = config.repairBytes > 0 ? new IncomingRepairs(config.repairBytes, this.memory) : null;
    this.outgoingRepairs = new OutgoingRepairs(counters, path, streams.packer.protection);
    this.flow = isServer ? null : new FlowWatch(path.rtt);
    const delay = config.thinningDelayMs * MILLISECOND;
    // No spread: on Node 20 each further member of a literal with a spread costs 3 us. One for all, for they keep it.
    const parts: HandshakeParts & AssemblerParts & ReceiverParts = {
      role,
      config,
      control,
      counters,
      earlyBytes: options.handshake.remembered?.earlyDataBytes ?? 0,
      flow: this.flow,
      ids,
      isLoopback,
      keys,
      keyUpdates,
      lifecycle,
      liveness,
      openFailuresMax: config.openFailuresMax,
      outgoingRepairs: this.outgoingRepairs,
      path,
      paths,
      recovery,
      repairs: this.repairs,
      skips,
      spaces,
      streams,
      thin,
      times: this.times,
      thinning: delay === 0 ? null : new LateQueueBound(path.rtt, delay),
      trace,
    };
    this.handshake = new HandshakeProgress(
      parts,
      host,
      options.handshake,
      now + config.handshakeTimeoutMs * MILLISECOND,
    );
    this.device = new Device({
      lifecycle,
      liveness,
      paths,
      protection: config.protectsByNetwork ? defaultProtection : null,
      compression,
      upkeep,
    });
    this.assembler = new PacketAssembler(parts, this.handshake, host);
    this.receiver = new PacketReceiver(parts, this.handshake, host, now);
  }

  // ---- what the application asks and tells; there are its streams, too ----

  /** @param now - up to when time in states is counted */
  metrics(now: Micros = 0): ConnectionMetrics {
    const { config, counters, isLoopback, liveness, path, streams, times } = this;
    const memoryBytes = memoryOf(streams, this.waitingBytes);
    const mayFragment = !config.setsDontFragment && !isLoopback;
    return metricsOf({
      counters,
      path,
      streams,
      repairs: this.repairs?.counts ?? NO_REPAIRS,
      memoryBytes,
      memoryReservedBytes: this.memory.reserved,
      mayFragment,
      probeTimeout: this.probeTimeout,
      liveness,
      device: this.device,
      times,
      now,
    });
  }

  // ---- for the endpoint; there are receiver and assembler, too ----

  /** Something changed that may be worth a packet: the endpoint will ask. */
  touch(): void {
    if (!this.entry.isReady) this.surroundings.touched(this);
  }

  nextTimeout(now: Micros): Micros {
    const { lifecycle } = this;
    if (!lifecycle.isOpen) return lifecycle.nextTimeout;
    const { probeTimeout } = this;
    const ends = this.isUnderWay
      ? this.handshake.end
      : Math.min(this.liveness.deadline(probeTimeout), this.restAt(probeTimeout));
    let next = Math.min(ends, lifecycle.nextTimeout, this.recovery.nextTimeout(), this.streams.nextTimeout());
    next = Math.min(next, this.outgoingRepairs.nextTimeout, this.keyUpdates.retireAt, this.paths.deadline);
    // An acknowledgement that may not be sent waits for what lets it go: the answer to a hello [CON-35], or more of the client [CON-4].
    const maySend = !this.handshake.isAnswerDue && !this.path.validation.isExhausted;
    if (maySend)
      for (const state of this.spaces) if (state !== null) next = Math.min(next, state.acks.deadline);
    next = Math.min(next, this.watchedFlow?.deadline(this.recovery.saidAt(PacketSpace.APPLICATION)) ?? NEVER);
    const { isBlocked, packetsReserved, thinsAt } = this.assembler;
    if (isBlocked) next = Math.min(next, this.recovery.nextSend(now, packetsReserved));
    // Acknowledgements are occasion enough, as long as they come.
    if (isBlocked && this.recovery.ptoCount > 0) next = Math.min(next, thinsAt);
    return next;
  }

  /** A deadline passed: does what is due. What is to be sent because of it waits for the next transmit. */
  onTimeout(now: Micros): void {
    const { lifecycle, liveness, streams } = this;
    const isHandshakeLate = this.isUnderWay && now >= this.handshake.end;
    if (isHandshakeLate && lifecycle.isOpen) return this.timeOutHandshake(now);
    if (lifecycle.onTimeout(now)) return;
    this.keyUpdates.onTimeout(now);
    this.onRecoveryTimeout(now);
    this.paths.onTimeout(now);
    if (this.outgoingRepairs.nextTimeout <= now) this.receiver.fates.release(now);
    const code = streams.onTimeout(now, liveness.receivedAt, this.counters.packetsReceived);
    if (code !== 0) return this.fail(code, 0, 'a message was begun and not completed', now); // [STR-35] it stalls
    const askedBytes = this.watchedFlow?.onTimeout(this.recovery.saidAt(PacketSpace.APPLICATION), now) ?? -1;
    if (askedBytes >= 0) this.control.ask(askedBytes);
    if (this.isUnderWay) return;
    const found = liveness.onTimeout(now, this.probeTimeout);
    if (found === LivenessOutcome.HEARTBEAT_TIMEOUT) lifecycle.timeOut('heartbeat', now);
    else if (found === LivenessOutcome.IDLE_TIMEOUT) lifecycle.timeOut('idle', now);
    else if (found === LivenessOutcome.HEARTBEAT_DUE) {
      this.sendHeartbeat(now);
      this.recovery.trim(); // a connection that is idle gives memory back
      streams.trim();
      this.repairs?.trim();
      this.outgoingRepairs.trim();
    }
    if (now < this.restAt(this.probeTimeout)) return;
    this.restedAfter = this.liveness.receivedAt;
    this.recovery.trim();
  }

  /** Nothing was looked at for a while: silence meanwhile says nothing about the peer, which is asked now. [CON-16] */
  onResumed(now: Micros): void {
    const { handshake, lifecycle } = this;
    if (!lifecycle.isOpen) return;
    handshake.deadline = Math.max(handshake.deadline, now + 3 * this.probeTimeout);
    if (!lifecycle.isEstablished || !this.liveness.onResumed(now)) return;
    lifecycle.onProgress(now);
    this.recovery.onResumed(now);
    this.sendHeartbeat(now);
  }

  /** Nothing is kept of it any more. */
  forget(now: Micros): void {
    this.lifecycle.forget();
    this.handshake.forget();
    this.memory.close();
    this.trace?.end(now);
  }

  // ---- inside ----

  /** Of packets whose key is not there yet, and of packets that may help to recover others. */
  private get waitingBytes(): number {
    const payload = this.handshake.peerPayload?.length ?? 0;
    return this.receiver.undecryptable.bytes + (this.repairs?.memoryBytes ?? 0) + payload;
  }

  /** [CON-90] Its silence is asked about, but for a radio that sleeps while nobody looks. */
  private get watchedFlow(): FlowWatch | null {
    return this.lifecycle.isEstablished && this.device.appState === 'foreground' ? this.flow : null;
  }

  /** The handshake is not complete, or the client is not let in yet: neither heartbeats nor the idle timeout count. [CON-5] */
  private get isUnderWay(): boolean {
    return !this.lifecycle.isEstablished || this.handshake.admission === AdmissionState.UNDECIDED;
  }

  /** [CON-5] It took too long; a client whose application did not decide in time is told so. [HS-45] */
  private timeOutHandshake(now: Micros): void {
    const { handshake, lifecycle } = this;
    const isUndecided = handshake.admission === AdmissionState.UNDECIDED;
    if (handshake.isVersionRefused)
      lifecycle.giveUp(versionRefused(), '', now); // [INV-7]
    else if (isUndecided && this.role === 'server')
      this.fail(CloseCode.NOT_AUTHORIZED, 0, 'nobody decided in time', now);
    else lifecycle.timeOut('handshake', now);
  }

  /**
   * When nothing came for a moment, and what only works while something is under way gives its memory back, to be made again when it is needed; NEVER once it
   * has. What is lost is remembered for no longer than two probe timeouts. [REC-8]
   */
  private restAt(probeTimeout: Micros): Micros {
    const { receivedAt } = this.liveness;
    return receivedAt === this.restedAfter ? NEVER : receivedAt + Math.max(REST_AFTER, 3 * probeTimeout);
  }

  /** [CON-93] Of the application space over the path in use. */
  private get probeTimeout(): Micros {
    return this.recovery.probeTimeout(PacketSpace.APPLICATION);
  }

  private onRecoveryTimeout(now: Micros): void {
    const { recovery, role } = this;
    // Of each space once at most: what is not lost of it has a later deadline. [REC-7]
    while (recovery.nextTimeout() <= now) {
      const result = recovery.onTimeout(now);
      if (result === TimeoutResult.NONE) return;
      this.trace?.expired(result === TimeoutResult.LOST ? 'ack' : 'pto', recovery.fates.space, now);
      if (result === TimeoutResult.LOST) {
        this.receiver.fates.tell(now);
        continue;
      }
      this.counters.ptoCount++;
      this.receiver.fates.resendOldest(now);
      // [REC-16] Early data is in the datagram of a hello, and is lost with it.
      const isHello = role === 'client' && recovery.fates.space === PacketSpace.INITIAL;
      if (isHello && this.lifecycle.state === ConnectionState.EARLY) this.receiver.fates.resendEarly(now);
      // [REC-15] The server may have no Handshake keys any more, and not know where the client is since.
      const isFinished = role === 'client' && recovery.fates.space === PacketSpace.HANDSHAKE;
      if (isFinished && this.lifecycle.isEstablished) this.probe(PacketSpace.APPLICATION, now);
      this.resendHandshake(now);
      this.trace?.metrics(this.path, recovery.ptoCount, now);
      const isHandshake = this.lifecycle.state !== ConnectionState.CONFIRMED;
      if (this.path.mtuDiscovery.onPto(isHandshake)) this.packetSize.onChanged(now);
      return; // the next timeout counts from the probes, which are to be sent first
    }
  }

  /** Asks the peer whether it is there. What it may not have is said again beside that: its own timeouts begin anew with what is sent now. [CON-7] */
  private sendHeartbeat(now: Micros): void {
    this.control.isHeartbeatDue = true;
    for (const space of [PacketSpace.HANDSHAKE, PacketSpace.APPLICATION])
      if (this.recovery.awaits(space)) this.probe(space, now);
    this.touch();
  }

  /**
   * The peer lacks something of the handshake: what it is not known to have goes out again, of both spaces, for it can often use the one only behind the
   * other. Not what went out less than a round trip ago, which may be under way. [REC-98]
   */
  private resendHandshake(now: Micros): void {
    const { path, recovery } = this;
    const sentBefore = now - Math.min(path.rtt.smoothed, UNDER_WAY_MAX);
    for (const space of [PacketSpace.INITIAL, PacketSpace.HANDSHAKE])
      if (recovery.awaits(space) && recovery.saidAt(space) <= sentBefore) recovery.probe(space);
  }

  /** One probe of the space, without a timeout of its own. */
  private probe(space: PacketSpace, now: Micros): void {
    this.recovery.probe(space);
    this.receiver.fates.resendOldest(now, false);
  }

  private tell(news: ConnectionNews): void {
    this.surroundings.events.push({ ...news, connection: this });
  }

  /** The peer broke the protocol: closes with this code. */
  private fail(code: number, frameType: number, reason: string, now: Micros): void {
    this.lifecycle.closing.frameType = frameType;
    this.lifecycle.close('transport', code, reason, now);
  }

  private onOver(reason: CloseReason, now: Micros): void {
    this.trace?.closed(reason, now);
    this.tell({ type: 'closed', reason });
    this.touch();
    this.receiver.undecryptable.take();
    this.repairs?.forget();
    this.streams.onConnectionOver();
  }

  /** The handshake needs this space no more: its keys go, and all that was kept for it. [CON-14] */
  private discardSpace(space: HandshakeSpace, now: Micros): void {
    if (this.spaces[space] === null) return;
    this.keys.discard(space === PacketSpace.INITIAL ? PacketType.INITIAL : PacketType.HANDSHAKE);
    this.spaces[space] = null;
    this.recovery.discardSpace(space, now);
    this.trace?.keys('discarded', space === PacketSpace.INITIAL ? 'initial' : 'handshake', now);
  }

  /** Packets go another way from now on. What was lost with the old one goes out again. */
  private onMoved(previous: Way, reason: MoveReason, isGone: boolean, now: Micros): void {
    if (isGone) this.receiver.fates.tell(now);
    this.packetSize.onChanged(now);
    // The server follows whoever sends it more than a probe from there. [CON-84]
    if (this.role === 'client') {
      this.control.isHeartbeatDue = true;
      this.control.paddedBytes = SIZE_BASE;
    }
    this.trace?.path(previous, this.path, reason, now);
    this.tell({ type: 'path', previous, reason });
  }

  /** What keeps it going: ids and memory of its endpoint, and heartbeats. */
  private static readonly Upkeep = class {
    private readonly connection: Connection;

    constructor(connection: Connection) {
      this.connection = connection;
    }

    issue(): IssuedId {
      return this.connection.surroundings.issueId(this.connection);
    }

    release(id: Uint8Array): void {
      this.connection.surroundings.releaseId(id);
    }

    get heldBytes(): number {
      return memoryOf(this.connection.streams, this.connection.waitingBytes);
    }

    onRoom(): void {
      this.connection.streams.onRoom();
    }

    sendHeartbeat(now: Micros): void {
      this.connection.sendHeartbeat(now);
    }
  };

  /** What the parts may ask and tell. */
  private static readonly Host = class {
    private readonly connection: Connection;

    constructor(connection: Connection) {
      this.connection = connection;
    }

    get probeTimeout(): Micros {
      return this.connection.probeTimeout;
    }

    get isSettled(): boolean {
      return this.connection.streams.isSettled;
    }

    get isDelivered(): boolean {
      return this.connection.streams.isDelivered;
    }

    touch(): void {
      this.connection.touch();
    }

    tell(news: ConnectionNews): void {
      this.connection.tell(news);
    }

    fail(code: number, frameType: number, reason: string, now: Micros): void {
      this.connection.fail(code, frameType, reason, now);
    }

    discardSpace(space: HandshakeSpace, now: Micros): void {
      this.connection.discardSpace(space, now);
    }

    resendHandshake(now: Micros): void {
      this.connection.resendHandshake(now);
    }

    onHello(): void {
      this.connection.surroundings.helloCame(this.connection);
    }

    onComplete(now: Micros): void {
      const { connection } = this;
      connection.times.completedAt = now;
      connection.memory.give(PAYLOAD_BYTES_MAX - (connection.handshake.peerPayload?.length ?? 0));
      const { newToken } = connection.surroundings;
      const token = connection.role === 'server' ? (newToken?.(connection.path.host, now) ?? null) : null;
      if (token !== null) connection.control.newToken.offer(token);
      connection.packetSize.onConnected();
    }

    onEarlyLost(now: Micros): void {
      const { connection } = this;
      if (connection.lifecycle.state === ConnectionState.EARLY) connection.receiver.fates.resendEarly(now);
    }

    onTicket(given: GivenTicket): void {
      const { connection } = this;
      const ticket = connection.handshake.clientTicket(given);
      if (ticket !== null) connection.tell({ type: 'ticket', ticket });
    }

    onMtu(now: Micros): void {
      this.connection.packetSize.onChanged(now);
    }

    repeatLate(bytes: number, now: Micros): void {
      this.connection.receiver.fates.repeatLate(bytes, now);
    }

    onLeaving(isGone: boolean, now: Micros): void {
      this.connection.recovery.leavePath(isGone, now);
    }

    onMoved(previous: Way, reason: MoveReason, isGone: boolean, now: Micros): void {
      this.connection.onMoved(previous, reason, isGone, now);
    }

    answer(challenge: Uint8Array): void {
      this.connection.control.answer(challenge);
    }

    failExactMtu(now: Micros): void {
      this.connection.packetSize.failExact(now);
    }

    onMtuGivenUp(now: Micros): void {
      this.connection.packetSize.onGivenUp(now);
    }

    onOver(reason: CloseReason, now: Micros): void {
      this.connection.onOver(reason, now);
    }
  };
}

function versionRefused(): JspError {
  return new JspError(
    'ERR_JSP_VERSION_UNSUPPORTED',
    'the server speaks other versions of the protocol only: bring the older of client and server up to date',
  );
}

const NO_REPAIRS = new RepairCounts();
const REST_AFTER: Micros = 250 * MILLISECOND;
/** What went out so long ago is not under way any more on most paths, where the round trip is not known yet. [REC-98] */
const UNDER_WAY_MAX: Micros = 100 * MILLISECOND;
