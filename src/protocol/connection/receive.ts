/**
 * The way in, from a datagram to the parts of a connection:
 *
 *   1. {@link PacketReceiver.receiveDatagram} takes a datagram apart into packets and opens each with {@link openInto}; a packet whose key is not
 *      there yet waits. Short packets of established connections are opened ahead, for a whole batch, with {@link PacketReceiver.openShort};
 *   2. {@link PacketReceiver.receivePayload} reads the frames of an opened packet, one after the other;
 *   3. `receiveFrame` hands each to its part: recovery, streams, handshake, lifecycle;
 *   4. what an acknowledgement settles, {@link PacketFateTeller} tells the parts whose frames were in those packets.
 *
 * It is one file because it is one way. What is needed while a packet is read lies in a {@link ReceiveScratch} that is handed down, so that
 * packets can be received from within a packet.
 */

import { copyOf, equalBytes, NO_BYTES } from '../../base/bytes.ts';
import type { Overhead } from '../../base/memory-budget.ts';
import type { Micros } from '../../base/time.ts';
import type { LateQueueBound } from '../congestion/queue-bound.ts';
import { LEFT, type PacketTable } from '../crypto/packet-table.ts';
import { TOKEN_BYTES_MAX } from '../handshake/address-token.ts';
import type { HandshakeSpace } from '../handshake/handshake.ts';
import { isRetryGenuine } from '../handshake/retry.ts';
import { AddressState, knownRate, type Path } from '../path/path.ts';
import { recover } from '../recovery/recovered-packets.ts';
import type { StreamPacker } from '../stream/stream-packer.ts';
import type { ConnectionCounters } from '../trace/counters.ts';
import type { QlogTrace } from '../trace/qlog-trace.ts';
import { CloseCode } from '../wire/close-code.ts';
import type { FrameReader } from '../wire/frame-reader.ts';
import { FrameType } from '../wire/frame-type.ts';
import { EcnCodepoint } from '../wire/frames/ack.ts';
import { isAckEliciting, isAllowedIn, isBestEffortMessage, nextFrame } from '../wire/frames/index.ts';
import {
  FIRST_ID_BYTES,
  type PacketHeader,
  PacketSpace,
  PacketType,
  packetSpaceOf,
  parsePacketHeader,
  SYMBOL_BIT,
  VERSION,
} from '../wire/packet-header.ts';
import { offeredVersions } from '../wire/version-packet.ts';
import { AdmissionState } from './admission.ts';
import type { ConnectionIds } from './connection-ids.ts';
import type { FlowWatch } from './flow-watch.ts';
import type { HandshakeProgress } from './handshake-progress.ts';
import { type IncomingRepairs, outlivesPacket } from './incoming-repairs.ts';
import type { KeyUpdates } from './key-updates.ts';
import { type CloseReason, ConnectionState, closeReasonOf, type Lifecycle } from './lifecycle.ts';
import type { Liveness } from './liveness.ts';
import { type FateHost, type FateParts, type FateStreams, PacketFateTeller } from './packet-fates.ts';
import { type PacketNumberSpaces, UndecryptablePackets } from './packet-number-space.ts';
import {
  OLD_KEYS,
  type OpenedPacket,
  OpenResult,
  openInto,
  type ReceiveScratch,
  takeOpened,
} from './packet-opening.ts';
import { isProbingFrame, type Paths } from './paths.ts';
import { openedPacket } from './tracing.ts';

/** The parts of a connection that packets are for. */
export interface ReceiverParts extends FateParts {
  readonly role: 'client' | 'server';
  /** Null at a server. */
  readonly flow: FlowWatch | null;
  readonly ids: ConnectionIds;
  readonly liveness: Liveness;
  readonly keyUpdates: KeyUpdates;
  readonly streams: ReceiverStreams;
  /** How much may be in flight for best-effort and partial messages to join it; null for any. */
  readonly thinning: LateQueueBound | null;
  /** Packets that may fail to open before the connection is closed. */
  readonly openFailuresMax: number;
  readonly paths: Paths;
}

/** What the streams of a connection take of a packet, and of what became of one. */
interface ReceiverStreams extends FateStreams {
  onMessageFrame(frame: FrameReader, arrivedAt: Micros): number;
  onControlFrame(frame: FrameReader, now: Micros): number;
  onPacketEnd(): void;
  isRefusing: boolean;
  readonly overhead: Overhead;
  readonly packer: FateStreams['packer'] & Pick<StreamPacker, 'onMeasured' | 'thins'>;
}

/** What the receiver asks and tells its connection. */
export interface ReceiverHost extends FateHost {
  /** The peer broke the protocol. */
  fail(code: number, frameType: number, reason: string, now: Micros): void;
  discardSpace(space: HandshakeSpace, now: Micros): void;
  /** The peer asks for what it lacks of the handshake. */
  resendHandshake(now: Micros): void;
}

/** Takes the packets that came for one connection. */
export class PacketReceiver {
  /** Packets whose key is not there yet. */
  readonly undecryptable: UndecryptablePackets;
  /** When the last packet opened, until the client's address is validated. */
  lastOpenedAt: Micros;
  readonly fates: PacketFateTeller;

  private readonly parts: ReceiverParts;
  private readonly handshake: HandshakeProgress;
  private readonly host: ReceiverHost;
  private readonly counters: ConnectionCounters;
  private readonly lifecycle: Lifecycle;
  private readonly liveness: Liveness;
  private readonly path: Path;
  private readonly spaces: PacketNumberSpaces;
  private readonly streams: ReceiverStreams;
  private readonly trace: QlogTrace | null;
  /** Number of the packet that is being read. */
  private number = 0;
  /** It was sealed before the newest key update. */
  private isOld = false;
  /** How long the packet that is read now waited in the socket. */
  private waited: Micros = 0;
  /** Which of the socket's own addresses the latest datagram came to, opened or not. */
  private latestLocal = 0;
  /** The last ack-eliciting 1-RTT packet was refused. [CON-53] */
  private wasRefused = false;
  /** The packet that is being read came another way than packets go. */
  private isElsewhere = false;
  /** What it says of that way. */
  private challenge: Uint8Array | null = null;
  private response: Uint8Array | null = null;
  /** Where it begins in its datagram. */
  private packetStart = 0;

  constructor(parts: ReceiverParts, handshake: HandshakeProgress, host: ReceiverHost, now: Micros) {
    this.parts = parts;
    this.handshake = handshake;
    this.host = host;
    this.counters = parts.counters;
    this.lifecycle = parts.lifecycle;
    this.liveness = parts.liveness;
    this.path = parts.path;
    this.spaces = parts.spaces;
    this.streams = parts.streams;
    this.undecryptable = new UndecryptablePackets(parts.streams.overhead);
    this.trace = parts.trace;
    this.lastOpenedAt = now;
    this.fates = new PacketFateTeller(parts, host);
  }

  /** A datagram came for this connection; its packets follow. */
  onDatagram(bytes: number, host: string, port: number, local: number): void {
    const { counters, path } = this;
    counters.datagramsReceived++;
    counters.bytesReceived += bytes;
    if (host === path.host && port === path.port) {
      path.validation.onReceived(bytes); // [CON-4] three times as much may be sent
      this.latestLocal = local;
    }
    this.lifecycle.closing.onDatagram();
  }

  /** The first packet of a client, which opened; it makes up the datagram up to `end`. */
  receiveFirst(data: Uint8Array, end: number, scratch: ReceiveScratch, now: Micros): void {
    this.onOpened(OpenResult.OPENED, PacketType.INITIAL, 0, now);
    this.receivePayload(PacketType.INITIAL, data, scratch, now);
    this.receiveDatagram(data, end, scratch, now);
  }

  /**
   * Takes every packet of a datagram, from `start` on.
   *
   * @param arrivedAt - when it came, which is earlier than now when it had to wait for a key
   */
  receiveDatagram(
    data: Uint8Array,
    start: number,
    scratch: ReceiveScratch,
    now: Micros,
    arrivedAt: Micros = now,
  ): void {
    const { header } = scratch;
    const { ids } = this.parts;
    let at = start;
    while (at < data.length && this.lifecycle.isOpen) {
      if (
        !parsePacketHeader(header, data, at, data.length, ids.sourceId.length) ||
        header.version !== VERSION
      ) {
        this.counters.packetsUnopened++; // [PKT-3] the rest of the datagram cannot be taken apart
        this.trace?.dropped(-1, data.length - at, 'header_parse_error', now);
        return;
      }
      const { end, type } = header;
      const isHandled = type !== PacketType.ZERO_RTT || this.handshake.takesEarlyData;
      if (type === PacketType.RETRY) {
        this.receiveRetry(data, at, header, now);
      } else if (isHandled && ids.leadsHere(data, header.dcidStart, header.dcidLength)) {
        this.receivePacket(data, at, scratch, now, arrivedAt);
      } else {
        this.counters.packetsUnopened++; // [PKT-6] of another connection
        this.trace?.dropped(type, end - at, 'unknown_connection_id', now);
      }
      at = end;
    }
  }

  /**
   * Opens a short packet, alone in its datagram, into `scratch.opened`; to be dispatched with {@link receivePayload}. False when there is
   * nothing to dispatch. Before the handshake is complete it is received at once, or waits.
   * @param table - in which it may be opened by now, in `row`
   */
  openShort(
    data: Uint8Array,
    numberStart: number,
    scratch: ReceiveScratch,
    now: Micros,
    table: PacketTable | null = null,
    row = 0,
  ): boolean {
    const state = this.spaces[PacketSpace.APPLICATION];
    if (state === null || state.keys.toOpen(PacketType.ONE_RTT) === null) {
      this.receiveDatagram(data, 0, scratch, now);
      return false;
    }
    const { isOpen } = this.lifecycle;
    if (!isOpen && !this.lifecycle.closing.isTelling) return false;
    const result =
      table === null || table.result(row) === LEFT
        ? openInto(scratch, state, data, 0, numberStart, data.length)
        : takeOpened(scratch, state, table, row, 0, data.length);
    if (!isOpen) {
      if (result === OpenResult.OPENED || result === OpenResult.UPDATED) this.receiveLast(data, scratch, now);
      return false;
    }
    this.onOpened(result, PacketType.ONE_RTT, data.length, now);
    if (result === OpenResult.UPDATED) return this.updateKeys(scratch.opened.number, now);
    return result === OpenResult.OPENED;
  }

  /** Adds a short packet, alone in its datagram, to those that the native addon is to open. */
  addShort(table: PacketTable, offset: number, numberStart: number, bytes: number): void {
    const state = this.spaces[PacketSpace.APPLICATION];
    const key = state?.keys.toOpen(PacketType.ONE_RTT)?.native ?? null;
    table.add(offset, offset + numberStart, offset + bytes, key, state?.replay.largest ?? -1);
  }

  /** Of a packet in `scratch.opened` that came after this side closed nothing counts but that the peer has heard of it. [CON-9] */
  private receiveLast(data: Uint8Array, { opened, reader }: ReceiveScratch, now: Micros): void {
    reader.reset(data, opened.payloadStart, opened.payloadEnd);
    while (nextFrame(reader))
      if (reader.type === FrameType.CONNECTION_CLOSE) this.lifecycle.drain(closeReasonOf(reader), now);
  }

  /** Takes the frames of the packet in `scratch.opened`. */
  receivePayload(
    type: number,
    data: Uint8Array,
    scratch: ReceiveScratch,
    now: Micros,
    arrivedAt: Micros = now,
  ): void {
    const { host, lifecycle, streams } = this;
    const { opened, reader } = scratch;
    const { number } = opened;
    this.number = number;
    opened.isSpent = false;
    const { headerBits } = opened;
    const keepsSymbol = (headerBits & SYMBOL_BIT) !== 0;
    this.isOld = (headerBits & OLD_KEYS) !== 0;
    if (
      headerBits !== 0 &&
      ((headerBits & ~MEANINGFUL_BITS) !== 0 || (keepsSymbol && this.parts.repairs === null))
    ) {
      // [PKT-16] Reserved bits, [FEC-40] or a symbol where none is taken.
      return host.fail(CloseCode.PROTOCOL_VIOLATION, 0, 'reserved bits are set', now);
    }
    const space = packetSpaceOf(type);
    this.packetStart = opened.packetStart;
    this.isElsewhere =
      type === PacketType.ONE_RTT &&
      this.parts.paths.isElsewhere(scratch.host, scratch.port, scratch.local) &&
      scratch.host !== '' &&
      lifecycle.state === ConnectionState.CONFIRMED;
    if (this.trace !== null) this.tracePacket(this.trace, type, data, scratch, now, arrivedAt);
    this.waited = scratch.waited;
    this.onPacketOpened(space, now);
    reader.reset(data, opened.payloadStart, opened.payloadEnd);
    reader.isKept = scratch.isShared;
    reader.shared = scratch.shared;
    let ackEliciting = false;
    let isPrompt = false;
    let arePings = true;
    const incoming = this.spaces[space]?.incoming ?? null;
    const handshakeBytes = incoming === null ? 0 : incoming.bytesReceived;
    while (nextFrame(reader)) {
      const frameType = reader.type;
      const code = isAllowedIn(frameType, type)
        ? this.receiveFrame(space, reader, now, arrivedAt)
        : CloseCode.PROTOCOL_VIOLATION; // [FRM-4] not in this kind of packet
      if (code !== 0) return host.fail(code, frameType, '', now);
      if (!lifecycle.isOpen) return;
      if (!isAckEliciting(frameType)) continue;
      if (frameType !== FrameType.PING) arePings = false;
      if (isPrompt) continue;
      ackEliciting = true;
      isPrompt = !isBestEffortMessage(frameType); // [REC-97] of those alone the sender hears later
    }
    if (reader.error !== 0) return host.fail(reader.error, reader.type, 'a frame cannot be decoded', now);
    opened.isSpent = !reader.isKept;
    const size = opened.payloadEnd - opened.packetStart;
    this.parts.flow?.onReceived(ackEliciting, size, now);
    const isPing = ackEliciting && arePings && size <= PING_BYTES_MAX;
    const isRefused =
      space === PacketSpace.APPLICATION && (streams.isRefusing || (this.wasRefused && isPing));
    if (space === PacketSpace.APPLICATION) {
      if (ackEliciting) this.wasRefused = isRefused;
      streams.onPacketEnd();
      this.parts.recovery.onHeard();
    }
    if (this.isElsewhere) this.onElsewhere(data, scratch, now);
    else this.path.isHeard = true;
    if (isRefused) this.refuse();
    else this.noteArrival(space, ackEliciting, scratch, now, arrivedAt, isPrompt);
    if (scratch.ecn === EcnCodepoint.CE) this.counters.congestionMarksReceived++;
    if (keepsSymbol) this.keepSymbol(data, opened, now);
    else if (space === PacketSpace.APPLICATION) this.parts.repairs?.trim(number); // [FEC-26] the peer may protect nothing any more
    if (incoming === null) return;
    if (ackEliciting && incoming.bytesReceived === handshakeBytes) host.resendHandshake(now); // [REC-98]
    const { handshake, parts } = this;
    const { role } = parts;
    if (space === PacketSpace.INITIAL && role === 'server') handshake.onHelloBytes();
    else this.advanceHandshake(scratch, now);
  }

  /**
   * The packet counts as one that did not come; but its sender hears that somebody is there. So do the PINGs behind it, until something else
   * of the sender is taken: one that is acknowledged would show that what went before it is lost, and have it sent again at once, for ever. [CON-53]
   */
  private refuse(): void {
    this.counters.packetsRefused++;
    const acks = this.spaces[PacketSpace.APPLICATION]?.acks;
    if (acks === undefined || acks.ranges.size === 0) this.parts.control.ask(0);
    else acks.hasten();
  }

  /** All of the packet was taken: it is to be acknowledged. */
  private noteArrival(
    space: PacketSpace,
    ackEliciting: boolean,
    { ecn }: ReceiveScratch,
    now: Micros,
    arrivedAt: Micros,
    isPrompt: boolean,
  ): void {
    const acks = this.spaces[space]?.acks;
    const isLate = acks?.onPacket(this.number, ackEliciting, now, ecn, arrivedAt, isPrompt) ?? false;
    if (isLate) this.counters.packetsReordered++;
  }

  /** A packet came another way than packets go: the peer may have moved. */
  private onElsewhere(data: Uint8Array, scratch: ReceiveScratch, now: Micros): void {
    const { bytes, host, local, opened, port, reader } = scratch;
    const { challenge, response } = this;
    this.challenge = null;
    this.response = null;
    this.isElsewhere = false;
    const isKept = reader.isKept;
    reader.reset(data, opened.payloadStart, opened.payloadEnd);
    let isProbe = true;
    while (isProbe && nextFrame(reader)) isProbe = isProbingFrame(reader.type);
    reader.isKept = isKept;
    const largestBefore = this.spaces[PacketSpace.APPLICATION]?.acks.largest ?? -1;
    const start = opened.packetStart + 1;
    const destinationId = data.subarray(start, start + this.parts.ids.sourceId.length);
    const way = { host, port, local };
    const { number } = opened;
    this.parts.paths.onPacket(
      { way, bytes, number, largestBefore, isProbe, destinationId, challenge, response },
      now,
    );
  }

  /** The packet's symbol may be what repairs that came before it wait for. */
  private keepSymbol(
    data: Uint8Array,
    { number, payloadStart, payloadEnd }: OpenedPacket,
    now: Micros,
  ): void {
    const { repairs } = this.parts;
    if (repairs === null) return;
    repairs.onPacket(number, data, payloadStart, payloadEnd, now);
    this.receiveRecovered(repairs, now);
  }

  /** Answers the client's hello, which asked for it by {@link HandshakeProgress.onHelloBytes}: the one costly step of a handshake. [CON-35] */
  answerHello(scratch: ReceiveScratch, now: Micros): void {
    this.handshake.isAnswerDue = false;
    if (this.lifecycle.isOpen) this.advanceHandshake(scratch, now);
  }

  /** The application lets the client in: what waited for that can be opened now. [HS-44] */
  admit(answer: Uint8Array | null, scratch: ReceiveScratch, now: Micros): void {
    if (!this.lifecycle.isOpen) return;
    const code = this.handshake.admit(answer, now);
    if (code !== 0) return this.host.fail(code, 0, '', now);
    this.receiveUndecryptable(scratch, now);
  }

  // ---- packets ----

  /** Takes the packet at `at`, whose header `scratch.header` describes. */
  private receivePacket(
    data: Uint8Array,
    at: number,
    scratch: ReceiveScratch,
    now: Micros,
    arrivedAt: Micros,
  ): void {
    const { ids } = this.parts;
    const { end, type, numberStart, scidLength, scidStart } = scratch.header;
    const space = packetSpaceOf(type);
    const state = this.spaces[space];
    if (state === null) {
      this.counters.packetsUnopened++; // [CON-14] the keys of this space are gone
      this.trace?.dropped(type, end - at, 'key_unavailable', now);
      return;
    }
    const sourceId = scratch.sourceId.subarray(0, scidLength);
    const isLong = type !== PacketType.ONE_RTT;
    if (isLong) {
      for (let i = 0; i < scidLength; i++) sourceId[i] = data[scidStart + i];
      const isPeer = ids.isPeer(sourceId);
      if (isPeer === false) {
        this.counters.packetsUnopened++; // [CON-1] of somebody else
        this.trace?.dropped(type, end - at, 'unexpected_source_connection_id', now);
        return;
      }
      if (isPeer === null) state.keys.expectFrom(sourceId); // [HS-20] its Initial keys follow from its id
    }
    if (state.keys.toOpen(type) === null) {
      // [CON-13] [PKT-17] Its key is not there yet.
      this.trace?.buffered(type, end - at, now);
      this.counters.packetsUnbuffered += this.undecryptable.keep(
        data.subarray(at, end),
        arrivedAt,
        scratch.ecn,
      );
      return;
    }
    const result = openInto(scratch, state, data, at, numberStart, end);
    this.onOpened(result, type, end - at, now);
    if (result === OpenResult.UPDATED && !this.updateKeys(scratch.opened.number, now)) return;
    if (result === OpenResult.FAILED || result === OpenResult.REPLAYED) return;
    if (isLong) ids.acceptPeer(sourceId);
    this.receivePayload(type, data, scratch, now, arrivedAt);
  }

  /** A Retry, the only packet of its datagram: followed by a client that heard nothing else yet, once, if its server made it. [PKT-21] */
  private receiveRetry(data: Uint8Array, at: number, header: PacketHeader, now: Micros): void {
    const { handshake, parts } = this;
    const { ids } = parts;
    const { dcidLength, dcidStart, scidLength, scidStart, tokenLength, tokenStart } = header;
    const scid = copyOf(data.subarray(scidStart, scidStart + scidLength));
    const state = this.spaces[PacketSpace.INITIAL];
    const isWanted =
      at === 0 &&
      handshake.takesRetry &&
      ids.leadsHere(data, dcidStart, dcidLength) &&
      scidLength >= FIRST_ID_BYTES &&
      tokenLength >= 1 &&
      tokenLength <= TOKEN_BYTES_MAX &&
      !equalBytes(scid, ids.destinationId);
    const key = isWanted ? (state?.keys.retryKey(scid) ?? null) : null;
    if (key === null || !isRetryGenuine(key, data)) {
      this.counters.packetsUnopened++;
      this.trace?.dropped(PacketType.RETRY, data.length - at, 'unexpected_packet', now);
      return;
    }
    this.liveness.onReceived(now);
    this.trace?.retried(scid, tokenLength, data.length, now);
    handshake.followRetry(scid, copyOf(data.subarray(tokenStart, tokenStart + tokenLength)), now);
  }

  /** A version packet: worth something to a client that heard nothing else, as an answer to its packets that names other versions. [INV-7] */
  receiveVersions(data: Uint8Array, now: Micros): void {
    const { handshake, parts } = this;
    const { ids } = parts;
    const versions = handshake.takesRetry ? offeredVersions(data, ids.destinationId, ids.sourceId) : null;
    if (versions === null || versions.includes(VERSION)) {
      this.counters.packetsUnopened++;
      this.trace?.dropped(-1, data.length, 'unexpected_version', now);
      return;
    }
    this.trace?.versionsOffered(versions, data.length, now);
    handshake.onVersionsRefused(now);
  }

  private tracePacket(
    trace: QlogTrace,
    type: number,
    data: Uint8Array,
    scratch: ReceiveScratch,
    now: Micros,
    arrivedAt: Micros,
  ): void {
    const isHandshake = this.lifecycle.state !== ConnectionState.CONFIRMED;
    const datagram = isHandshake ? this.counters.datagramsReceived - 1 : -1;
    const packet = openedPacket(type, data, scratch.opened, scratch.header, datagram);
    trace.received(packet, arrivedAt < now - scratch.waited, now);
  }

  private onOpened(result: OpenResult, type: number, bytes: number, now: Micros): void {
    const { counters } = this;
    if (result === OpenResult.OPENED || result === OpenResult.UPDATED) {
      counters.packetsReceived++;
      // [CON-60] Where the peer sent to is where it is answered from; a client moves when it wants to.
      if (this.parts.role === 'server') this.path.local = this.latestLocal;
    } else if (result === OpenResult.REPLAYED) {
      counters.packetsReplayed++;
      this.trace?.dropped(type, bytes, 'duplicate', now);
    } else {
      this.trace?.dropped(type, bytes, 'payload_decrypt_error', now);
      // [PKT-15] Forgeries that were tried, over all keys of the connection.
      const { keyUpdates, openFailuresMax } = this.parts;
      if (++counters.packetsUnopened < openFailuresMax) {
        if (counters.packetsUnopened === Math.floor(openFailuresMax / 2)) keyUpdates.onForgeries();
        return;
      }
      this.host.fail(CloseCode.AEAD_LIMIT_REACHED, 0, 'too many packets failed to open', now);
    }
  }

  /** A packet opened with the next generation of keys, which are those in use from now on. False when that must not be. [PKT-27] */
  private updateKeys(number: number, now: Micros): boolean {
    const nextNumber = this.spaces[PacketSpace.APPLICATION]?.nextNumber ?? 0;
    this.parts.keyUpdates.onPeerUpdate(number, nextNumber, now);
    return this.lifecycle.isOpen;
  }

  /** A packet of this space opened: the peer is alive and, once it has Handshake keys, where it says it is. */
  private onPacketOpened(space: PacketSpace, now: Micros): void {
    const { path } = this;
    this.liveness.onReceived(now);
    if (path.validation.state === AddressState.VALIDATED) return;
    this.lastOpenedAt = now;
    if (space !== PacketSpace.HANDSHAKE) return;
    path.validation.state = AddressState.VALIDATED; // [CON-4] only it can have read the Handshake keys' share
    this.host.discardSpace(PacketSpace.INITIAL, now); // [CON-14] at the first Handshake packet
    // [REC-43] [HS-7] What its largest datagram was is all that is known of the path.
    const largest = this.handshake.peerLargestDatagram;
    if (largest === null) return;
    const proved = Math.min(path.validation.datagramBytesLargest, largest);
    if (path.mtuDiscovery.startAt(proved)) this.host.onMtu(now);
  }

  /** Keys may be there after it that packets wait for. [PKT-17] */
  private advanceHandshake(scratch: ReceiveScratch, now: Micros): void {
    if (this.handshake.advance(now)) this.receiveUndecryptable(scratch, now);
  }

  private receiveUndecryptable(scratch: ReceiveScratch, now: Micros): void {
    if (this.undecryptable.length === 0) return;
    const { nested } = scratch;
    for (const { packet, arrivedAt, ecn } of this.undecryptable.take()) {
      nested.ecn = ecn;
      this.receiveDatagram(packet, 0, nested, now, arrivedAt);
    }
    nested.ecn = EcnCodepoint.NOT_ECT;
  }

  // ---- frames ----

  /** Hands a frame to the part it is for. Returns 0 or a close code. */
  private receiveFrame(space: PacketSpace, frame: FrameReader, now: Micros, arrivedAt: Micros): number {
    const { type } = frame;
    if (type >= FrameType.MESSAGE && type <= FrameType.MESSAGES_ENVELOPED_BEST_EFFORT)
      return this.streams.onMessageFrame(frame, arrivedAt);
    const { parts } = this;
    switch (type) {
      case FrameType.PADDING:
      case FrameType.PING:
        return 0;
      case FrameType.ACK_FREQUENCY:
        return this.receiveAckFrequency(frame);
      case FrameType.ACK:
      case FrameType.ACK_ECN:
      case FrameType.ACK_RECOVERED:
      case FrameType.ACK_ECN_RECOVERED:
        return this.receiveAck(space, frame, now);
      case FrameType.CRYPTO:
        return this.spaces[space]?.incoming?.onFrame(frame) ?? CloseCode.PROTOCOL_VIOLATION;
      case FrameType.HANDSHAKE_DONE:
        if (parts.role === 'server') return CloseCode.PROTOCOL_VIOLATION;
        this.handshake.confirm(now);
        return 0;
      case FrameType.ADMITTED:
        return this.handshake.onAdmitted(frame, now);
      case FrameType.CONNECTION_CLOSE:
        if (frame.code === CloseCode.TICKET_REFUSED && frame.scope === 0 && this.handshake.onTicketRefused())
          return 0; // [HS-58] it goes on without a ticket, when all of the packet is read
        this.lifecycle.drain(this.closeReason(frame), now);
        return 0;
      case FrameType.STREAM_OPEN:
      case FrameType.STREAM_FIN:
      case FrameType.RESET_STREAM:
      case FrameType.STOP_SENDING:
      case FrameType.ABANDON:
      case FrameType.DROPPED:
      case FrameType.MAX_DATA:
      case FrameType.MAX_STREAM_DATA:
      case FrameType.MAX_STREAMS:
      case FrameType.DATA_BLOCKED:
      case FrameType.STREAM_DATA_BLOCKED:
      case FrameType.STREAMS_BLOCKED:
        return this.streams.onControlFrame(frame, now);
      case FrameType.REPAIR:
        return this.receiveRepair(frame, now);
      case FrameType.RETIRE_CONNECTION_ID:
        return parts.ids.local.onRetired(frame.sequence, this.carrierOf(frame));
      case FrameType.PATH_CHALLENGE:
      case FrameType.PATH_RESPONSE:
        return this.isElsewhere ? this.keepPathFrame(frame) : parts.control.onFrame(frame);
      default:
        return parts.control.onFrame(frame);
    }
  }

  /** The id to which the packet with this frame was sent; none for one that was recovered. */
  private carrierOf({ buffer }: FrameReader): Uint8Array {
    if (buffer === this.parts.repairs?.reader.buffer) return NO_BYTES;
    const start = this.packetStart + 1;
    return buffer.subarray(start, start + this.parts.ids.sourceId.length);
  }

  /** What it says is of the way that the packet came, which is looked at when all of the packet is read. */
  private keepPathFrame({ buffer, dataStart, dataLength, type }: FrameReader): 0 {
    const data = copyOf(buffer.subarray(dataStart, dataStart + dataLength));
    if (type === FrameType.PATH_CHALLENGE) this.challenge = data;
    else this.response = data;
    return 0;
  }

  private closeReason(frame: FrameReader): CloseReason {
    const reason = closeReasonOf(frame);
    // [HS-44] Before it was let in only the application that decides about it can have closed.
    const isRefused = this.handshake.admission === AdmissionState.UNDECIDED;
    return isRefused && reason.scope === 'application' ? { ...reason, isRefused } : reason;
  }

  private receiveAck(space: PacketSpace, frame: FrameReader, now: Micros): number {
    const { recovery } = this.parts;
    if (recovery.isDiscarded(space)) return 0;
    this.counters.acksReceived++;
    if (
      space === PacketSpace.APPLICATION &&
      !this.parts.keyUpdates.mayAcknowledge(frame.ackRanges[1] - 1, this.isOld)
    )
      return CloseCode.KEY_UPDATE_ERROR; // [PKT-28] the peer opened packets of newer keys than it seals with
    const ecn = frame.ect0 < 0 ? null : frame;
    recovery.heardAt = now - this.waited;
    const code = recovery.onAck(space, frame.ackRanges, frame.rangeCount, frame.delay, now, ecn);
    if (code !== 0) return code;
    if (frame.recoveredCount > 0) {
      const told = recover(
        recovery.sentPackets(space),
        frame.recovered,
        frame.recoveredCount,
        recovery.fates,
      );
      if (told !== 0) return told;
    }
    this.fates.tell(now);
    const { rtt } = this.path;
    this.spaces[space]?.acks.onRtt(rtt.smoothed);
    const thinning = this.streams.packer.thins ? (this.parts.thinning?.bound ?? null) : null;
    thinning?.onAck(now);
    const rate = Math.min(knownRate(this.path), thinning?.rate ?? Number.POSITIVE_INFINITY);
    if (rtt.hasSample) this.streams.packer.onMeasured(rtt, rate, now);
    return 0;
  }

  /** What a repair recovers is taken at once, ahead of the newer frames behind it. */
  private receiveRepair(frame: FrameReader, now: Micros): number {
    const { repairs } = this.parts;
    if (repairs === null) return CloseCode.PROTOCOL_VIOLATION; // [FEC-40] none is taken
    const code = repairs.onRepair(frame, this.number);
    if (code !== 0) return code;
    // A recovered packet counts by itself as one that was taken or not, and so does this one.
    const { streams } = this;
    const { isRefusing } = streams;
    streams.isRefusing = false;
    this.receiveRecovered(repairs, now);
    streams.isRefusing = isRefusing;
    return 0;
  }

  /**
   * Takes the frames of packets that were recovered as if they had come. Their numbers are neither acknowledged nor marked as seen: when one
   * of these packets comes after all, it is like a packet with frames that were sent again. [FEC-44] [FEC-45]
   */
  private receiveRecovered(repairs: IncomingRepairs, now: Micros): void {
    for (let symbol = repairs.take(now); symbol !== null; symbol = repairs.take(now)) {
      const { number, bytes, arrivedAt } = symbol;
      this.counters.packetsRecovered++;
      this.trace?.found('packets_recovered', PacketSpace.APPLICATION, [number], now);
      this.spaces[PacketSpace.APPLICATION]?.acks.hasten(); // [FEC-46] the sender is about to take it for lost
      const { reader } = repairs;
      reader.reset(bytes, 0, bytes.length);
      while (nextFrame(reader)) {
        if (!outlivesPacket(reader.type)) continue;
        const code = this.receiveFrame(PacketSpace.APPLICATION, reader, now, arrivedAt);
        if (code !== 0) return this.host.fail(code, reader.type, '', now);
      }
      if (this.streams.isRefusing) this.counters.packetsRefused++;
      else repairs.recovered.add(number);
      this.streams.onPacketEnd();
    }
  }

  private receiveAckFrequency(frame: FrameReader): number {
    const acks = this.spaces[PacketSpace.APPLICATION]?.acks;
    return acks?.onAckFrequency(frame.number, frame.threshold, frame.delay) ?? 0;
  }
}

const MEANINGFUL_BITS = SYMBOL_BIT | OLD_KEYS;
/** Size of a packet that is a PING and nothing more; larger ones ask whether their size arrives. */
const PING_BYTES_MAX = 100;
