/** All connections of one socket: what comes in, what goes out, and when. One file because a datagram finds its way in one place. */

import { copyOf, freeNow, hastenScavenge, LARGE_BUFFER_BYTES, NO_BYTES } from '../../base/bytes.ts';
import { assert } from '../../base/errors.ts';
import { MemoryBudget } from '../../base/memory-budget.ts';
import { type RandomSource, randomBytes } from '../../base/random.ts';
import { Ring } from '../../base/ring.ts';
import { type Micros, NEVER, PutOffDeadlines } from '../../base/time.ts';
import { AdmissionState } from '../connection/admission.ts';
import { type ConnectionConfig, configForPeer, localParameters } from '../connection/config.ts';
import {
  Connection,
  type ConnectionOptions,
  type ConnectionSurroundings,
  type EndpointEvent,
  type TableEntry,
} from '../connection/connection.ts';
import type { IssuedId } from '../connection/connection-ids.ts';
import { STATELESS_RESET } from '../connection/lifecycle.ts';
import { PacketBuilder } from '../connection/packet-builder.ts';
import { PacketNumberSpace } from '../connection/packet-number-space.ts';
import { OpenResult, openInto, ReceiveScratch } from '../connection/packet-opening.ts';
import { resetKeyOf, resetToken } from '../crypto/identity.ts';
import { KeyRing } from '../crypto/key-ring.ts';
import { clientInitialSecret, initialSecret, packetKeys } from '../crypto/key-schedule.ts';
import type { PacketKeys } from '../crypto/packet-keys.ts';
import { openPacket } from '../crypto/packet-protection.ts';
import type { PacketTable } from '../crypto/packet-table.ts';
import type { ReceiveBatch } from '../datagram/receive-batch.ts';
import type { TransmitBatch } from '../datagram/transmit-batch.ts';
import { type ClientCredentials, ClientHandshake } from '../handshake/client.ts';
import { retryPacket } from '../handshake/retry.ts';
import { ServerHandshake } from '../handshake/server.ts';
import type { Resumption } from '../handshake/ticket-offer.ts';
import { type TicketKeys, Tickets } from '../handshake/tickets.ts';
import { AddressState } from '../path/path.ts';
import { EndpointCounters } from '../trace/counters.ts';
import { CloseCode } from '../wire/close-code.ts';
import {
  FIRST_ID_BYTES,
  FIXED_BIT,
  LONG_FORM,
  PacketSpace,
  PacketType,
  parsePacketHeader,
  RESET_TOKEN_BYTES,
  VERSION,
} from '../wire/packet-header.ts';
import { SharedDatagrams } from '../wire/shared-datagrams.ts';
import { DATAGRAM_BYTES_MIN } from '../wire/transport-parameters.ts';
import { VERSION_NEGOTIATION } from '../wire/version-packet.ts';
import { AddressCheck } from './address-check.ts';
import { Admission, FirstPacketFate, HalfOpenTable, type ServerConfig } from './admission.ts';
import { ReadyConnections } from './ready-connections.ts';
import {
  ConnectionIdTable,
  FirstIdTable,
  ForeignPackets,
  LOCAL_ID_BYTES,
  ResetWatch,
  type WorkerPlace,
} from './routing.ts';
import { StatelessAnswers, type Way } from './stateless-answers.ts';

export interface EndpointConfig {
  readonly connection: ConnectionConfig;
  readonly random: RandomSource;
  /** Null: the endpoint only connects. */
  readonly server: ServerConfig | null;
}

/** Why a client is not let in. */
export interface Refusal {
  /** `application`: the code is that of the application. */
  readonly scope: 'application' | 'transport';
  readonly code: number;
  readonly reason: string;
}

/** Where to connect to. */
export interface ConnectTarget {
  readonly host: string;
  readonly port: number;
  /** Fingerprint of the server's identity; null to accept any. */
  readonly pin: Uint8Array | null;
  readonly isLoopback: boolean;
  /** What a connection is resumed with. Default nothing. [HS-33] */
  readonly resumption?: Resumption | null | undefined;
  /** What the server gave in an earlier connection, to be shown once. Default none. [HS-37] */
  readonly token?: Uint8Array | null | undefined;
  /** The server's identity is known to be hybrid. Default false. [HS-41] */
  readonly isHybrid?: boolean | undefined;
  /** What the client says of itself to a server that asks. Default: nothing. */
  readonly credentials?: ClientCredentials | undefined;
}

/**
 * All the connections of one socket as one state machine without I/O. Hand in {@link receive} or {@link timeout}, or make a call
 * on a connection; then drain {@link pollEvent}, take packets with {@link transmit} until it gives none, and come back at
 * {@link nextTimeout}.
 *
 * What comes is taken in three passes over its batch:
 *
 *   1. {@link route}: whose is each datagram? Long packets go to their connection now, and a client's first one may begin a connection;
 *   2. {@link open}: short packets are opened in place;
 *   3. {@link dispatch}: their frames go to the parts of their connections.
 *
 * What leaves is taken in two: connection after connection packs ({@link pack}), then the batch seals all that was packed.
 */
export class Endpoint {
  readonly counters = new EndpointCounters();
  readonly memory: MemoryBudget;
  private readonly config: EndpointConfig;
  private readonly surroundings: ConnectionSurroundings;
  private readonly byId: ConnectionIdTable<Connection>;
  /** Connections by the destination id of the client's first packet, as long as they live. */
  private readonly byFirstPacket = new FirstIdTable<Connection>();
  private readonly resets = new ResetWatch();
  private readonly deadlines = new PutOffDeadlines<TableEntry>();
  private readonly ready: ReadyConnections;
  private readonly events = new Ring<EndpointEvent>();
  private readonly builder = new PacketBuilder();
  private readonly shared = new SharedDatagrams();
  /** While something is taken in. */
  private borrowed: ReceiveScratch | null = null;
  /** Whose code runs, while a datagram is routed: the connection that an exception ends. */
  private routedTo: Connection | null = null;
  /** Null at a client. */
  private readonly halfOpen: HalfOpenTable | null;
  private readonly resetKey: Uint8Array | null;
  private readonly answers: StatelessAnswers;
  /** Null at a client, and at a server that gives none. */
  private readonly tickets: Tickets | null;
  /** Null at a client. */
  private readonly admission: Admission | null;
  /** What is known of where clients are before they answered. */
  readonly addresses: AddressCheck;
  /** Null: nobody else is at its address. */
  private readonly place: WorkerPlace | null;
  /** Of the batch that {@link receive} was handed last, what other workers are to be handed. [WRK-3] */
  readonly foreign = new ForeignPackets();

  constructor(config: EndpointConfig) {
    const { server } = config;
    this.config = config;
    this.byId = new ConnectionIdTable(server?.ids ?? null);
    this.place = server?.place ?? null;
    this.memory = new MemoryBudget(config.connection.memoryBytesMax);
    const { aead } = config.connection;
    this.addresses = new AddressCheck(server, aead, config.random, this.memory, this.counters);
    this.halfOpen = server === null ? null : new HalfOpenTable();
    this.admission =
      this.halfOpen === null
        ? null
        : new Admission(this.halfOpen, this.memory, this.counters, this.addresses.mode);
    this.resetKey = server === null ? null : (server.resetKey ?? resetKeyOf(server.identity));
    this.tickets = ticketsOf(config, this.memory, this.counters);
    this.answers = new StatelessAnswers(config.random, this.counters, this.resetKey);
    this.ready = new ReadyConnections(
      (connection, batch, now) => this.pack(connection, batch, now),
      (connection, error, now) => this.onPackError(connection, error, now),
    );
    this.surroundings = {
      random: config.random,
      memory: this.memory,
      events: { push: (event) => this.push(event) },
      touched: (connection) => this.ready.add(connection),
      helloCame: (connection) => this.halfOpen?.helloCame(connection),
      newToken: this.addresses.newToken,
      issueId: (connection) => this.issueId(connection),
      releaseId: (id) => this.byId.release(id),
    };
  }

  /** Tickets are sealed and opened with these keys from now on. [WRK-5] */
  useTicketKeys(keys: TicketKeys): void {
    this.tickets?.useKeys(keys);
  }

  /** Starts a connection; `connected` or `closed` tells how it went. */
  connect(target: ConnectTarget, now: Micros): Connection {
    const { random } = this.config;
    const config = configForPeer(this.config.connection, target.isLoopback, this.memory.available);
    const sourceId = this.byId.issue(random);
    const firstDestinationId = randomBytes(random, FIRST_ID_BYTES);
    const keys = KeyRing.ofClient(config.aead, firstDestinationId, target.pin);
    const handshake = new ClientHandshake({
      keys,
      pin: target.pin,
      suites: config.suites,
      mlKem: config.mlKem,
      mlDsa: config.mlDsa,
      random,
      parameters: localParameters(config, sourceId, null),
      firstDestinationId,
      largestDatagram: config.mtu,
      resumption: target.resumption ?? null,
      pinsHybrid: target.isHybrid,
      credentials: target.credentials,
    });
    const initial = new PacketNumberSpace(PacketSpace.INITIAL, keys, config.ackDelayMaxMs);
    return this.add(
      {
        role: 'client',
        config,
        handshake,
        unpinned: target.pin === null,
        sourceId,
        destinationId: firstDestinationId,
        firstDestinationId,
        token: target.token ?? NO_BYTES,
        host: target.host,
        port: target.port,
        isLoopback: target.isLoopback,
        initial,
      },
      now,
    );
  }

  /** Refuses connections from now on, and those whose handshake is not complete; the others go on. */
  stopAccepting(now: Micros): void {
    this.admission?.stop();
    for (const connection of this.byId.values()) {
      if (connection.lifecycle.isEstablished) continue;
      try {
        connection.lifecycle.close('transport', CloseCode.SHUTTING_DOWN, '', now);
      } catch (error) {
        this.onInternalError(connection, error, now);
      }
    }
  }

  /**
   * Takes a batch of datagrams: opens what can be opened, then lets the connections have it.
   * @param hellosMax - how many clients' hellos are answered at once; the others wait for {@link answerHello}
   */
  receive(batch: ReceiveBatch, now: Micros, hellosMax = Number.POSITIVE_INFINITY): void {
    this.foreign.count = 0;
    for (let i = 0; i < batch.count; i++) {
      this.routedTo = null;
      try {
        this.route(batch, i, now);
      } catch (error) {
        if (this.routedTo === null) this.counters.internalErrors++;
        else this.onInternalError(this.routedTo, error, now);
      }
    }
    this.open(batch, now);
    this.dispatch(batch, now);
    for (let i = 0; i < hellosMax && this.hasHellos; i++) this.answerHello(now);
    this.giveBack();
  }

  /** Fills `batch` with sealed datagrams. Returns how many there are; 0 when nothing is to be sent now. */
  transmit(batch: TransmitBatch, now: Micros): number {
    this.answers.write(batch);
    this.ready.fill(batch, now);
    batch.seal((sourceId, error) => {
      const connection = this.byId.lookup(sourceId, 0);
      if (connection !== null) this.onInternalError(connection, error, now);
    });
    this.counters.datagramsSent += batch.count;
    this.counters.bytesSent += batch.used;
    return batch.count;
  }

  /** True when a further {@link transmit} may give packets. */
  get wantsTransmit(): boolean {
    return this.ready.length > 0 || this.answers.pending;
  }

  /** True when {@link pollEvent} has something to tell. */
  get hasEvents(): boolean {
    return this.events.length > 0;
  }

  /** Until when a peer may have to be told again that we closed its connection [CON-9]; 0 when none may. */
  get answersUntil(): Micros {
    let until = 0;
    for (const { lifecycle } of this.byId.values()) {
      const { closing, isEstablished } = lifecycle;
      if (isEstablished && closing.isTelling) until = Math.max(until, closing.deadline);
    }
    return until;
  }

  /** When {@link timeout} is to be called at the latest. */
  nextTimeout(): Micros {
    return this.deadlines.peek()?.dueAt ?? NEVER;
  }

  /** Lets every connection whose deadline has come do what is due; after a sleep, asks every peer first whether it is there. [CON-16] */
  timeout(now: Micros, hasSlept = false): void {
    if (hasSlept) for (const connection of this.byId.values()) connection.onResumed(now);
    for (;;) {
      const entry = this.deadlines.peek();
      if (entry === undefined || entry.dueAt > now) return;
      this.deadlines.remove(entry);
      const { connection } = entry;
      if (connection.lifecycle.isOver(now)) {
        this.forget(connection, now);
        continue;
      }
      try {
        connection.onTimeout(now);
      } catch (error) {
        this.onInternalError(connection, error, now);
      }
      this.ready.add(connection);
    }
  }

  /** True when a client's hello waits for {@link answerHello}. */
  get hasHellos(): boolean {
    return this.halfOpen?.hasHellos === true;
  }

  /** True when they are more than a few: more come than can be answered. */
  get hasManyHellos(): boolean {
    return this.halfOpen?.hasManyHellos === true;
  }

  /** Answers the hello that is next: the one costly step of a handshake, a millisecond or two. [CON-35] */
  answerHello(now: Micros): void {
    const connection = this.halfOpen?.takeHello() ?? null;
    if (connection === null) return;
    try {
      connection.receiver.answerHello(this.scratch, now);
    } catch (error) {
      this.onInternalError(connection, error, now);
    }
    this.giveBack();
    this.ready.add(connection);
  }

  /** The application lets a client in that it was asked about by the event `admission`. @param answer - at most 1,024 bytes for the client's application */
  admit(connection: Connection, answer: Uint8Array | null, now: Micros): void {
    try {
      connection.receiver.admit(answer, this.scratch, now);
    } catch (error) {
      this.onInternalError(connection, error, now);
    }
    this.giveBack();
    this.ready.add(connection);
  }

  /** It does not: the client is told the application's code and reason, or that it is not authorized. [HS-44] */
  refuse(connection: Connection, refusal: Refusal, now: Micros): void {
    this.counters.clientsRefused++;
    connection.lifecycle.close(refusal.scope, refusal.code, refusal.reason, now);
    this.ready.add(connection);
  }

  /**
   * An exception came out of a connection's own code, which is our bug: ends this connection and no other, tells so with the exception as
   * `cause`, and lets the peer know where that is still possible. For callers, too, whose call on a connection threw.
   *
   * @returns false when the connection was forgotten at once: it was closing already, or had not answered its client yet, which will try
   * again. [CON-33]
   */
  onInternalError(connection: Connection, error: unknown, now: Micros): boolean {
    this.counters.internalErrors++;
    const wasOpen = connection.lifecycle.crash(error, now);
    const isUnheard = connection.role === 'server' && connection.counters.packetsSent === 0;
    if (!wasOpen || isUnheard) {
      this.forget(connection, now);
      return false;
    }
    this.ready.add(connection);
    return true;
  }

  /** The next event, or null. */
  pollEvent(): EndpointEvent | null {
    return this.events.shift() ?? null;
  }

  // ---- the way in ----

  /** Finds out whose a datagram is. A short packet of a connection is opened and dispatched with its batch, others now. */
  private route(batch: ReceiveBatch, i: number, now: Micros): void {
    const { counters } = this;
    const data = batch.data[i];
    this.scratch.begin(batch, i);
    counters.datagramsReceived++;
    counters.bytesReceived += data.length;
    if (data.length < SHORTEST_PACKET_BYTES) {
      counters.droppedMalformed++;
    } else if ((data[0] & LONG_FORM) === 0) {
      if ((data[0] & FIXED_BIT) === 0)
        counters.droppedMalformed++; // [INV-2] the fixed bit is 1
      else batch.owner[i] = this.byId.lookup(data, 1) ?? this.ownerOfUnknown(batch, i, now);
    } else if (parsePacketHeader(this.scratch.header, data, 0, data.length, LOCAL_ID_BYTES)) {
      this.routeLong(batch, i, now);
    } else {
      counters.droppedMalformed++;
    }
  }

  /** Of a short packet whose id leads to no connection: nobody's, but it may be another worker's, or reset one of ours. */
  private ownerOfUnknown(batch: ReceiveBatch, i: number, now: Micros): null {
    const data = batch.data[i];
    if (this.isForeign(batch, i, 1)) return null;
    this.counters.droppedUnknownId++; // [CON-1] the id is nobody's
    const ended = this.resets.ended(data);
    if (ended !== null) ended.lifecycle.drain(STATELESS_RESET, now);
    else {
      const way = { host: batch.host[i], port: batch.port[i], local: batch.local[i] };
      this.answers.reset(data, LOCAL_ID_BYTES, way, now);
    }
    return null;
  }

  /** Whether the id at `at`, which leads to no connection here, is of another worker: then the packet waits in {@link foreign}. [WRK-3] */
  private isForeign(batch: ReceiveBatch, i: number, at: number): boolean {
    if (this.place === null || batch.isHandedOver) return false;
    const seat = this.place.fellowOf(batch.data[i], at);
    if (seat < 0) return false;
    this.foreign.push(i, seat, at);
    this.counters.datagramsForeign++;
    return true;
  }

  /** Opens the short packets of the batch in place. */
  private open(batch: ReceiveBatch, now: Micros): void {
    const { scratch } = this;
    const { opened } = scratch;
    const table = batch.arena === null ? null : this.openNatively(batch, batch.arena);
    let rows = 0;
    for (let i = 0; i < batch.count; i++) {
      const connection = batch.owner[i] as Connection | null;
      if (connection === null) continue;
      batch.owner[i] = null;
      const row = rows++;
      const { receiver } = connection;
      const data = batch.data[i];
      scratch.begin(batch, i);
      try {
        receiver.onDatagram(data.length, batch.host[i], batch.port[i], batch.local[i]);
        this.ready.add(connection);
        const isOpen = receiver.openShort(data, NUMBER_START, scratch, now, table, row);
        if (!isOpen) continue;
      } catch (error) {
        this.onInternalError(connection, error, now);
        continue;
      }
      batch.owner[i] = connection;
      batch.number[i] = opened.number;
      batch.payloadStart[i] = opened.payloadStart;
      batch.payloadEnd[i] = opened.payloadEnd;
      batch.headerBits[i] = opened.headerBits;
    }
  }

  /** Has the native addon open the short packets of the batch as far as they are usual, in the order of the batch. */
  private openNatively(batch: ReceiveBatch, arena: Uint8Array): PacketTable {
    const { table } = this.scratch;
    for (let i = 0; i < batch.count; i++) {
      const connection = batch.owner[i] as Connection | null;
      connection?.receiver.addShort(table, batch.offset[i], NUMBER_START, batch.data[i].length);
    }
    table.open(arena);
    table.clear();
    return table;
  }

  /** Hands the frames of opened packets to their connections. Large memory that nothing refers to afterwards is freed at once. */
  private dispatch(batch: ReceiveBatch, now: Micros): void {
    const { scratch, shared } = this;
    const { opened } = scratch;
    shared.begin(batch);
    for (let i = 0; i < batch.count; i++) {
      const connection = batch.owner[i] as Connection | null;
      if (connection === null || !connection.lifecycle.isOpen) continue;
      opened.number = batch.number[i];
      opened.packetStart = 0;
      opened.payloadStart = batch.payloadStart[i];
      opened.payloadEnd = batch.payloadEnd[i];
      opened.headerBits = batch.headerBits[i];
      scratch.begin(batch, i);
      if (scratch.isShared) {
        scratch.shared = shared;
        shared.read(i);
      }
      const data = batch.data[i];
      try {
        connection.receiver.receivePayload(PacketType.ONE_RTT, data, scratch, now, now - scratch.waited);
      } catch (error) {
        this.onInternalError(connection, error, now);
        continue; // somebody may have a view of its bytes
      }
      if (data.length < LARGE_BUFFER_BYTES || !batch.isExclusive || scratch.isShared) continue;
      if (opened.isSpent) freeNow(data);
      else hastenScavenge(data.length);
    }
    shared.finish();
  }

  private routeLong(batch: ReceiveBatch, i: number, now: Micros): void {
    const { dcidStart, dcidLength, version } = this.scratch.header;
    const data = batch.data[i];
    const host = batch.host[i];
    const port = batch.port[i];
    const local = batch.local[i];
    if (version !== VERSION) return this.routeOtherVersion(data, version, { host, port, local }, now);
    const hasLocalId = dcidLength === LOCAL_ID_BYTES;
    let connection = hasLocalId ? this.byId.lookup(data, dcidStart) : null;
    if (connection === null) {
      connection = this.byFirstPacket.find(data, dcidStart, dcidLength);
      if (connection !== null && (connection.path.host !== host || connection.path.port !== port)) {
        this.counters.droppedRepeatedInitial++; // [CON-1] from another address it is not its client's
        return hastenScavenge(data.length);
      }
    }
    if (connection !== null) {
      this.routedTo = connection;
      connection.receiver.onDatagram(data.length, host, port, local);
      this.ready.add(connection);
      connection.receiver.receiveDatagram(data, 0, this.scratch, now, now - this.scratch.waited);
    } else if (hasLocalId && this.isForeign(batch, i, dcidStart)) {
      // The driver sees to it.
    } else if (this.scratch.header.type === PacketType.INITIAL) {
      this.acceptInitial(data, host, port, local, now);
    } else if (this.scratch.header.type === PacketType.HANDSHAKE) {
      this.counters.droppedUnknownId++;
    } else {
      this.counters.droppedUnsupported++;
    }
  }

  /** A client is told which version is spoken here; a server's answer of that kind goes to the connection that asked. [INV-5] */
  private routeOtherVersion(data: Uint8Array, version: number, way: Way, now: Micros): void {
    const { header } = this.scratch;
    const dcid = data.subarray(header.dcidStart, header.dcidStart + header.dcidLength);
    if (version === VERSION_NEGOTIATION) {
      const connection = dcid.length === LOCAL_ID_BYTES ? this.byId.lookup(data, header.dcidStart) : null;
      if (connection?.role === 'client') {
        this.routedTo = connection;
        this.ready.add(connection);
        connection.receiver.receiveVersions(data, now);
        return;
      }
    }
    this.counters.droppedVersion++;
    const isAnswered = version !== VERSION_NEGOTIATION && data.length >= DATAGRAM_BYTES_MIN;
    if (!isAnswered || this.config.server === null) return;
    const scid = data.subarray(header.scidStart, header.scidStart + header.scidLength);
    this.answers.versions(dcid, scid, way, now);
  }

  /** The first Initial of a client: nothing is kept unless it opens. [CON-2] */
  private acceptInitial(data: Uint8Array, host: string, port: number, local: number, now: Micros): void {
    const { admission } = this;
    const { server } = this.config;
    if (server === null || admission === null) {
      this.counters.droppedUnknownId++;
      return;
    }
    if (!this.isFirstPacket(data, server)) return;
    const way = { host, port, local };
    const { dcidLength, dcidStart, tokenLength, tokenStart } = this.scratch.header;
    const token = tokenLength === 0 ? NO_BYTES : copyOf(data.subarray(tokenStart, tokenStart + tokenLength));
    const proof = this.addresses.shownBy(token, host, port, now);
    // [HS-36] Whoever followed a Retry follows no other, so it is told that it has to begin anew.
    const room =
      proof === null ? CloseCode.INVALID_TOKEN : admission.roomFor(host, this.connectionsOfAll, server, now);
    const isShown = proof !== null && proof.address !== AddressState.UNKNOWN;
    if (typeof room === 'number') {
      if (!this.answers.mayRefuse(now)) return;
    } else {
      const id = data.subarray(dcidStart, dcidStart + dcidLength);
      const fate = admission.fateOf(host, id, isShown, server, now);
      if (fate === FirstPacketFate.RETRY) this.askForToken(data, server, way, now);
      if (fate !== FirstPacketFate.ADMIT) return hastenScavenge(data.length); // in a flood it is megabytes a second
    }
    const first = this.openFirst(data, server, server.isLoopback(host));
    if (first === null) {
      this.counters.droppedUnopened++;
      return;
    }
    const { sourceId, destinationId, unpinned, initial } = first;
    if (typeof room === 'number' || proof === null) {
      const seal = initial.keys.toSeal(PacketSpace.INITIAL) as PacketKeys;
      this.answers.refuse(room as number, seal, { dcid: destinationId, scid: sourceId, unpinned }, way);
      return;
    }
    if (room !== null) {
      this.counters.handshakesDisplaced++;
      room.lifecycle.timeOut('handshake', now); // [CON-3] it ends without a word
      this.forget(room, now);
    }
    if (isShown) this.addresses.spend(token);
    const handshake = this.serverHandshake(first, proof.retriedId, server);
    const connection = this.add(
      {
        role: 'server',
        config: first.config,
        handshake,
        unpinned,
        sourceId: first.sourceId,
        destinationId: first.destinationId,
        firstDestinationId: first.firstDestinationId,
        retriedId: proof.retriedId,
        address: proof.address,
        host,
        port,
        isLoopback: first.isLoopback,
        initial,
      },
      now,
    );
    this.routedTo = connection;
    this.halfOpen?.add(connection, isShown ? token : null);
    this.byFirstPacket.add(connection);
    connection.receiver.onDatagram(data.length, host, port, local);
    connection.receiver.receiveFirst(data, this.scratch.header.end, this.scratch, now);
  }

  /** Answers the Initial packet that the header describes by a Retry, if it opens: who does not know our identity hears nothing. [HS-30] */
  private askForToken(data: Uint8Array, server: ServerConfig, way: Way, now: Micros): void {
    const { header, unprotected } = this.scratch;
    const { dcidLength, dcidStart, end, numberStart, scidLength, scidStart, unpinned } = header;
    const originalId = data.subarray(dcidStart, dcidStart + dcidLength);
    const initial = initialSecret(originalId, unpinned ? null : server.identity.fingerprint);
    const secret = clientInitialSecret(initial);
    const keys = packetKeys(this.config.connection.aead, secret, PacketType.INITIAL);
    const opens =
      unprotected.unprotect(keys, data, 0, numberStart, end, -1) &&
      openPacket(keys, data, 0, end, unprotected) >= 0;
    if (opens) {
      const token = this.addresses.forRetry(way.host, way.port, originalId, now);
      const scid = this.byId.issue(this.config.random); // it leads nowhere, but to this server
      const dcid = data.subarray(scidStart, scidStart + scidLength);
      this.answers.retry(retryPacket(initial, dcid, scid, token), way);
    } else this.counters.droppedUnopened++;
    initial.fill(0);
    secret.fill(0);
    keys.wipe();
  }

  /** Whether the Initial packet that the header describes may begin a handshake with this server. [CON-2] */
  private isFirstPacket(data: Uint8Array, server: ServerConfig): boolean {
    const { dcidLength, unpinned } = this.scratch.header;
    if (data.length < DATAGRAM_BYTES_MIN || dcidLength < FIRST_ID_BYTES) this.counters.droppedShortInitial++;
    else if (unpinned && !server.acceptUnpinned) this.counters.droppedUnpinned++;
    else return true;
    return false;
  }

  /** Opens the Initial packet that the header describes. Returns what a connection begins with; null when it does not open. */
  private openFirst(data: Uint8Array, server: ServerConfig, isLoopback: boolean): FirstPacket | null {
    const { end, unpinned, numberStart, dcidStart, dcidLength, scidStart, scidLength } = this.scratch.header;
    const config = configForPeer(this.config.connection, isLoopback, this.memory.available);
    const firstDestinationId = copyOf(data.subarray(dcidStart, dcidStart + dcidLength));
    const destinationId = copyOf(data.subarray(scidStart, scidStart + scidLength));
    const sourceId = this.byId.issue(this.config.random);
    const pin = unpinned ? null : server.identity.fingerprint;
    const keys = KeyRing.ofServer(config.aead, firstDestinationId, pin, sourceId);
    const initial = new PacketNumberSpace(PacketSpace.INITIAL, keys, config.ackDelayMaxMs);
    const result = openInto(this.scratch, initial, data, 0, numberStart, end);
    if (result !== OpenResult.OPENED) return null;
    return { config, isLoopback, unpinned, sourceId, destinationId, firstDestinationId, initial };
  }

  private serverHandshake(
    first: FirstPacket,
    retriedId: Uint8Array | null,
    { access, identity, tickets }: ServerConfig,
  ): ServerHandshake {
    const { config, sourceId, firstDestinationId, unpinned, initial } = first;
    const originalId = retriedId ?? firstDestinationId;
    const retrySourceId = retriedId === null ? null : firstDestinationId;
    const token = this.resetKey === null ? null : resetToken(this.resetKey, sourceId);
    const parameters = localParameters(config, sourceId, originalId, token);
    parameters.retrySourceId = retrySourceId;
    // [HS-47] Where the application decides about clients, what they say early would not be taken.
    parameters.earlyDataBytes = access?.isDecided ? 0 : (tickets?.earlyDataBytesMax ?? 0);
    return new ServerHandshake({
      keys: initial.keys,
      identity,
      suites: config.suites,
      mlKem: config.mlKem,
      mlDsa: config.mlDsa,
      random: this.config.random,
      parameters,
      clientDestinationId: originalId,
      retrySourceId,
      unpinned,
      tickets: this.tickets,
      access,
    });
  }

  // ---- what connections and their turns ask for ----

  /** What connections have to tell the driver passes through here. */
  private push(event: EndpointEvent): void {
    if (event.type === 'connected') {
      this.counters.handshakesCompleted++;
      this.resets.add(event.connection);
      if (event.connection.role === 'server') {
        this.halfOpen?.remove(event.connection);
        this.halfOpen?.remember(event.connection.path.host);
      }
    } else if (event.type === 'closed' && !event.connection.lifecycle.isEstablished) {
      this.counters.handshakesFailed++;
      const token = this.halfOpen?.tokenOf(event.connection) ?? null;
      // [HS-38] Its client asks once more when the answer was lost.
      if (token !== null && event.reason.code === CloseCode.TICKET_REFUSED) this.addresses.giveBack(token);
      // Nobody was told of it yet, so nobody need hear of its end, but who is asked about it.
      const { handshake, lifecycle, role } = event.connection;
      const isUnknown = !lifecycle.carriesData && handshake.admission === AdmissionState.NONE;
      if (role === 'server' && isUnknown) return;
    }
    this.events.push(event);
  }

  /** Packs what a connection has to send. True when it may have more that the batch has no room for. */
  private pack(connection: Connection, batch: TransmitBatch, now: Micros): boolean {
    const hasMore = connection.assembler.transmit(this.builder, batch, now);
    connection.streams.noteWaiting(now);
    if (hasMore) return true;
    const next = connection.nextTimeout(now);
    assert(next >= 0, 'a deadline is a time');
    this.deadlines.set(connection.entry, next);
    return false;
  }

  /** {@link pack} threw. True when the connection is ready once more, to tell that it is over. */
  private onPackError(connection: Connection, error: unknown, now: Micros): boolean {
    this.builder.abandonDatagram();
    return this.onInternalError(connection, error, now);
  }

  // ---- inside ----

  private get scratch(): ReceiveScratch {
    this.borrowed ??= ReceiveScratch.borrow();
    return this.borrowed;
  }

  /** What was taken in is dealt with. */
  private giveBack(): void {
    this.borrowed?.giveBack();
    this.borrowed = null;
  }

  private countConnections(): void {
    this.counters.connectionsOpen = this.byId.size;
    this.place?.tellConnections(this.byId.size);
  }

  /** Those of the other workers at its address, too. [WRK-7] */
  private get connectionsOfAll(): number {
    return this.byId.size + (this.place?.connectionsElsewhere ?? 0);
  }

  private add(options: ConnectionOptions, now: Micros): Connection {
    const connection = new Connection(options, this.surroundings, now);
    this.byId.add(options.sourceId, connection);
    this.counters.handshakesStarted++;
    this.countConnections();
    this.ready.add(connection);
    return connection;
  }

  /** One more id that leads to the connection. [CON-80] */
  private issueId(connection: Connection): IssuedId {
    const { random } = this.config;
    const id = this.byId.issue(random);
    this.byId.add(id, connection);
    // A client resets nothing: it forgets no connection that its server remembers.
    const token =
      this.resetKey === null ? randomBytes(random, RESET_TOKEN_BYTES) : resetToken(this.resetKey, id);
    return { id, resetToken: token };
  }

  private forget(connection: Connection, now: Micros): void {
    if (!this.byId.forget(connection)) return;
    connection.ids.local.forget();
    this.deadlines.remove(connection.entry);
    this.countConnections();
    this.resets.remove(connection);
    this.halfOpen?.remove(connection); // [CON-3] a handshake that failed takes memory until now
    this.byFirstPacket.remove(connection);
    connection.forget(now);
  }
}

/** Those that a server gives and takes. */
function ticketsOf(
  { connection, random, server }: EndpointConfig,
  memory: MemoryBudget,
  counters: EndpointCounters,
): Tickets | null {
  if (server?.tickets == null) return null;
  const { identity, tickets } = server;
  return new Tickets(tickets, identity.fingerprint, connection.aead, random, { memory, counters });
}

/** What a server's connection begins with: what the client's first packet says, and what is chosen for it. */
type FirstPacket = Pick<
  ConnectionOptions,
  'config' | 'isLoopback' | 'unpinned' | 'sourceId' | 'destinationId' | 'firstDestinationId' | 'initial'
>;

/** Of a packet with a short header. */
const NUMBER_START = 1 + LOCAL_ID_BYTES;
/** First byte, id, number and tag with the least payload. */
const SHORTEST_PACKET_BYTES = NUMBER_START + 4 + 16;
