/**
 * The way out, from the parts of a connection to datagrams in the arena of a batch:
 *
 *   1. {@link PacketAssembler.transmit} packs datagrams until nothing is to be sent, the batch is full, or congestion control says no;
 *   2. `packDatagram` decides which packets a datagram holds: Initial, Handshake, 1-RTT, in this order;
 *   3. `packHandshake` fills the first two kinds: ACK, then CRYPTO;
 *   4. `packApplication` fills the last: ACK, then control frames, then messages as the scheduler says;
 *   5. {@link PacketBuilder} lays headers, frames and padding out in the arena;
 *   6. behind a full packet `packRun` packs those that are like it, messages of one stream and nothing else, without asking everybody each time.
 *
 * Everything is sealed later, by the endpoint, for all connections of the batch at once. It is one file because it is one way.
 */

import { NO_BYTES } from '../../base/bytes.ts';
import { type Micros, NEVER, SECOND } from '../../base/time.ts';
import type { LateQueueBound } from '../congestion/queue-bound.ts';
import type { PacketKeys } from '../crypto/packet-keys.ts';
import type { TransmitBatch } from '../datagram/transmit-batch.ts';
import type { ConnectionProtection } from '../fec/connection-protection.ts';
import type { HandshakeSpace } from '../handshake/handshake.ts';
import { AddressState, type Path } from '../path/path.ts';
import type { Recovery } from '../recovery/recovery.ts';
import type { ThinSender } from '../recovery/thin-sender.ts';
import type { StreamPacker } from '../stream/stream-packer.ts';
import type { ConnectionCounters } from '../trace/counters.ts';
import type { QlogTrace } from '../trace/qlog-trace.ts';
import type { SendLimit, TimeInStates } from '../trace/time-in-states.ts';
import { CloseCode } from '../wire/close-code.ts';
import { CONTROL_FRAME_BYTES_MAX, type FrameWriter } from '../wire/frame-writer.ts';
import { writeAck } from '../wire/frames/ack.ts';
import { connectionCloseSize, writeConnectionClose } from '../wire/frames/connection-close.ts';
import { writePathChallenge, writePathResponse } from '../wire/frames/path.ts';
import { writePing } from '../wire/frames/ping.ts';
import { type PacketAddress, PacketSpace, PacketType, TAG_BYTES } from '../wire/packet-header.ts';
import { AdmissionState } from './admission.ts';
import type { ConnectionIds } from './connection-ids.ts';
import type { ControlFrames } from './control-frames.ts';
import type { HandshakeProgress } from './handshake-progress.ts';
import type { IncomingRepairs } from './incoming-repairs.ts';
import type { KeyUpdates } from './key-updates.ts';
import { ConnectionState, type Lifecycle } from './lifecycle.ts';
import type { Liveness } from './liveness.ts';
import { type OutgoingRepairs, REPAIR_ROOM } from './outgoing-repairs.ts';
import type { PacketBuilder } from './packet-builder.ts';
import type { NumberSkips, PacketNumberSpace, PacketNumberSpaces } from './packet-number-space.ts';
import type { Paths } from './paths.ts';

/** The parts of a connection that have something to send, or a say in what is sent. */
export interface AssemblerParts {
  readonly role: 'client' | 'server';
  readonly control: ControlFrames;
  readonly counters: ConnectionCounters;
  /** Bytes of early data that a client may send. */
  readonly earlyBytes: number;
  readonly ids: ConnectionIds;
  readonly keyUpdates: KeyUpdates;
  readonly lifecycle: Lifecycle;
  readonly liveness: Liveness;
  readonly outgoingRepairs: OutgoingRepairs;
  readonly path: Path;
  readonly paths: Paths;
  readonly recovery: Recovery;
  /** Null where neither symbols nor repairs are taken. */
  readonly repairs: IncomingRepairs | null;
  readonly skips: NumberSkips;
  readonly spaces: PacketNumberSpaces;
  readonly streams: { readonly packer: StreamPacker };
  readonly thin: ThinSender;
  readonly times: { readonly limit: TimeInStates<SendLimit> };
  /** How much may be in flight for best-effort and partial messages to join it; null for any. */
  readonly thinning: LateQueueBound | null;
  /** Null when nobody looks on. */
  readonly trace: QlogTrace | null;
}

/** What the assembler asks of its connection. */
export interface AssemblerHost {
  fail(code: number, frameType: number, reason: string, now: Micros): void;
  discardSpace(space: HandshakeSpace, now: Micros): void;
  /** Messages of at most so many bytes that should have been acknowledged by now are to go out once more. */
  repeatLate(bytes: number, now: Micros): void;
}

/** Packs what one connection has to send. */
export class PacketAssembler {
  /** Something waits for congestion control or the pacer. */
  isBlocked = false;
  /** It waits for more than these packets, which are for urgent messages. [SCH-7] */
  packetsReserved = 0;
  /** When messages that wait for it may have to give way to newer ones; NEVER where none does. [STR-43] */
  thinsAt: Micros = NEVER;

  private readonly isClient: boolean;
  private readonly control: ControlFrames;
  private readonly counters: ConnectionCounters;
  private readonly handshake: HandshakeProgress;
  private readonly ids: ConnectionIds;
  private readonly keyUpdates: KeyUpdates;
  private readonly lifecycle: Lifecycle;
  private readonly liveness: Liveness;
  private readonly outgoingRepairs: OutgoingRepairs;
  private readonly packer: StreamPacker;
  private readonly path: Path;
  private readonly paths: Paths;
  private readonly protection: ConnectionProtection;
  private readonly recovery: Recovery;
  private readonly repairs: IncomingRepairs | null;
  private readonly skips: NumberSkips;
  private readonly spaces: PacketNumberSpaces;
  private readonly thin: ThinSender;
  private readonly limit: TimeInStates<SendLimit>;
  private readonly thinning: LateQueueBound | null;
  private readonly trace: QlogTrace | null;
  private readonly host: AssemblerHost;
  /** There is more to send than one packet holds, so that larger packets are worth looking for. */
  private fillsPackets = false;
  /** Bytes of early data that a client may still send. [HS-56] */
  private earlyBytesLeft: number;
  /** The Initial packet being packed leaves as much room for early data, when there is; infinite where it leaves none. */
  private earlyRoom = Number.POSITIVE_INFINITY;

  constructor(parts: AssemblerParts, handshake: HandshakeProgress, host: AssemblerHost) {
    this.isClient = parts.role === 'client';
    this.control = parts.control;
    this.counters = parts.counters;
    this.earlyBytesLeft = parts.earlyBytes;
    this.handshake = handshake;
    this.ids = parts.ids;
    this.keyUpdates = parts.keyUpdates;
    this.lifecycle = parts.lifecycle;
    this.liveness = parts.liveness;
    this.outgoingRepairs = parts.outgoingRepairs;
    this.packer = parts.streams.packer;
    this.protection = parts.streams.packer.protection;
    this.path = parts.path;
    this.paths = parts.paths;
    this.recovery = parts.recovery;
    this.repairs = parts.repairs;
    this.skips = parts.skips;
    this.spaces = parts.spaces;
    this.thin = parts.thin;
    this.limit = parts.times.limit;
    this.thinning = parts.thinning;
    this.trace = parts.trace;
    this.host = host;
  }

  /** Packs what the connection has to send. True when it may have more that the batch has no room for. */
  transmit(builder: PacketBuilder, batch: TransmitBatch, now: Micros): boolean {
    const { lifecycle, path } = this;
    this.isBlocked = false;
    this.thinsAt = NEVER;
    lifecycle.beforeTransmit(now);
    if (this.handshake.isAnswerDue && lifecycle.isOpen) return false;
    for (;;) {
      if (lifecycle.isOpen && this.recovery.isExhausted(now)) {
        this.host.fail(CloseCode.PROTOCOL_VIOLATION, 0, 'nothing is acknowledged', now); // [REC-12] no room for records
      }
      if (this.paths.isDue && lifecycle.isOpen) {
        if (!batch.hasRoom(path.mtu)) return true;
        this.packCandidate(builder, batch, now);
        continue;
      }
      const probeBytes = this.sizeProbeBytes(now);
      const isQuiet = probeBytes === 0 && this.isQuiet(now);
      if (!isQuiet && !batch.hasRoom(Math.max(path.mtu, probeBytes))) return true;
      if (probeBytes > 0) this.packSizeProbe(builder, batch, probeBytes, now);
      else if (isQuiet || !this.packDatagram(builder, batch, now)) {
        if (!this.isBlocked && this.protection.isAsked && this.outgoingRepairs.onDrained()) continue;
        this.thin.isAppLimited = !this.isBlocked;
        if (this.protection.isAsked) this.protection.onTransmitted(this.isBlocked, now);
        if (!this.isBlocked)
          path.congestion.delivery?.onAppLimited(path.bytesInFlight, path.congestion.window);
        this.limit.move(this.sendLimit(now), now);
        this.trace?.metrics(path, this.recovery.ptoCount, now);
        return false;
      } else if (this.fillsPackets) this.packRun(builder, batch, now);
    }
  }

  /**
   * Packs what {@link packDatagram} would, as long as messages of one stream are all there is to say: who else may have a say is asked once, for
   * packing changes none of it.
   */
  private packRun(builder: PacketBuilder, batch: TransmitBatch, now: Micros): void {
    const { ids, packer, path } = this;
    const state = this.spaces[PacketSpace.APPLICATION];
    if (state === null || !packer.isRun || !this.hasOnlyMessages(state, now)) return;
    const { frames } = builder;
    const keys = state.keys.toSeal(PacketSpace.APPLICATION);
    const { mtu } = path;
    while (
      packer.isRun &&
      batch.hasRoom(mtu) &&
      !this.keyUpdates.isDue(state.nextNumber, now) &&
      this.mayFill(now)
    ) {
      builder.beginDatagram(batch, mtu, now);
      if (this.beginPacket(builder, state, keys, ids, now)) {
        packer.writeRun(frames);
        if (builder.payloadBytes === 0) this.cancelPacket(builder, PacketSpace.APPLICATION);
        else {
          if (ids.resetToken !== null) builder.padDatagram(RESET_TRIGGER_BYTES);
          this.endPacket(builder, state, true, true, now);
        }
      }
      const sent = this.endDatagram(builder, batch);
      if (sent === 0) return;
      path.validation.onSent(sent);
    }
  }

  /** Nothing is to be said but messages, in packets of the usual size. */
  private hasOnlyMessages({ acks }: PacketNumberSpace, now: Micros): boolean {
    const { path, spaces } = this;
    return (
      this.lifecycle.state === ConnectionState.CONFIRMED &&
      spaces[PacketSpace.INITIAL] === null &&
      spaces[PacketSpace.HANDSHAKE] === null &&
      path.validation.state === AddressState.VALIDATED &&
      !path.loss.isLossy && // else acknowledgements may be asked for behind any packet
      this.recovery.probesPending(PacketSpace.APPLICATION) === 0 &&
      acks.pending === 0 &&
      !acks.ackDue(now) &&
      !this.packer.thins &&
      !this.protection.isAsked &&
      !this.control.isDue &&
      !this.paths.isDue &&
      !this.recovery.isExhausted(now) &&
      this.sizeProbeBytes(now) === 0
    );
  }

  /**
   * True when a look shows that there is nothing to pack, as there is not behind the one packet that most connections send at a time, or when an
   * acknowledgement came: {@link packDatagram} would find the same out for several times the price.
   */
  private isQuiet(now: Micros): boolean {
    const { lifecycle, path, spaces } = this;
    if (lifecycle.state !== ConnectionState.CONFIRMED || path.validation.isExhausted) return false;
    const application = spaces[PacketSpace.APPLICATION];
    if (application === null || spaces[PacketSpace.INITIAL] !== null) return false;
    if (spaces[PacketSpace.HANDSHAKE] !== null || application.acks.ackDue(now)) return false;
    if (this.packer.hasFrames || this.control.isDue) return false;
    if (this.recovery.probesPending(PacketSpace.APPLICATION) > 0) return false;
    return !this.protection.isAsked || !this.outgoingRepairs.isOn || !this.outgoingRepairs.isDue;
  }

  /** Why nothing more is sent now. [CON-70] */
  private sendLimit(now: Micros): SendLimit {
    const { packer, path } = this;
    if (this.isBlocked) return path.nextSend(now, this.packetsReserved) === NEVER ? 'window' : 'pacing';
    if (packer.isFlowBlocked) return 'flow-control';
    return path.bytesInFlight > 0 ? 'application' : 'idle';
  }

  /** Packs one datagram. False when there is nothing to send, or nothing that may be sent now. */
  private packDatagram(builder: PacketBuilder, batch: TransmitBatch, now: Micros): boolean {
    const { path, recovery } = this;
    const { validation } = path;
    // [REC-51] The second packet of a probe timeout may be a small one.
    const isSecondProbe = recovery.probesPending(PacketSpace.APPLICATION) === 1;
    const mtu = isSecondProbe ? path.mtuDiscovery.secondProbeBytes : path.mtu;
    const bytes = Math.min(mtu, validation.datagramBytesMax, validation.allowance);
    validation.isExhausted = bytes < DATAGRAM_BYTES_MIN; // [CON-4] three times what came, and no more
    if (validation.isExhausted) return false;
    builder.beginDatagram(batch, bytes, now);
    if (this.lifecycle.isOpen) this.packPackets(builder, bytes, now);
    else this.packClose(builder, now);
    const sent = this.endDatagram(builder, batch);
    if (sent === 0) return false;
    validation.onSent(sent);
    return true;
  }

  /** Ends the datagram. Returns its bytes; 0 when it holds no packet. */
  private endDatagram(builder: PacketBuilder, batch: TransmitBatch): number {
    const { counters, path } = this;
    const bytes = builder.endDatagram(path);
    if (bytes === 0) return 0;
    if (path.ecn !== null && this.lifecycle.isOpen) batch.mark(path.ecn.onDatagramSent());
    counters.datagramsSent++;
    counters.bytesSent += bytes;
    return bytes;
  }

  private packPackets(builder: PacketBuilder, bytes: number, now: Micros): void {
    const { isClient } = this;
    const [initial, handshake, application] = this.spaces;
    // A client that has a Handshake packet to send, whatever it holds, has no use for Initial ones any more. [CON-14]
    let padTo = 0;
    if (isClient && handshake !== null && this.packHandshake(builder, handshake, 0, now)) {
      this.host.discardSpace(PacketSpace.INITIAL, now);
    } else {
      if (initial !== null) {
        if (isClient && this.hasEarlyData) this.earlyRoom = EARLY_ROOM_MIN;
        const packed = this.packHandshake(builder, initial, isClient ? bytes : 0, now);
        const isShared = builder.datagramRoom >= this.earlyRoom;
        this.earlyRoom = Number.POSITIVE_INFINITY;
        if (packed && isClient && !isShared) return; // its padding fills the datagram
        if (packed && isClient) padTo = bytes;
      }
      if (handshake !== null && !isClient) this.packHandshake(builder, handshake, 0, now);
    }
    if (application !== null && this.lifecycle.carriesData)
      this.packApplication(builder, application, padTo, now);
  }

  /** A client has something to say that need not wait for the handshake. [HS-59] */
  private get hasEarlyData(): boolean {
    const { lifecycle, packer } = this;
    return lifecycle.state === ConnectionState.EARLY && this.earlyBytesLeft > 0 && packer.hasFrames;
  }

  /** Fills an Initial or Handshake packet. False when there is nothing for it. */
  private packHandshake(
    builder: PacketBuilder,
    state: PacketNumberSpace,
    padTo: number,
    now: Micros,
  ): boolean {
    const { acks, outgoing, space } = state;
    if (outgoing === null) return false;
    const { recovery } = this;
    const isProbe = recovery.probesPending(space) > 0;
    if (isProbe && !outgoing.pending) outgoing.resend();
    // A probe of the Handshake space takes what is lost of the hello along: probes may be all that the window lets out.
    const isProbing = isProbe || recovery.probesPending(PacketSpace.HANDSHAKE) > 0;
    const mayCrypto = outgoing.pending && (isProbing || this.mayFill(now));
    // [HS-41] More datagrams pay for a long answer, once all of the hello is out.
    const isExtra = padTo > 0 && outgoing.paddingDue > 0 && !outgoing.pending && this.mayFill(now);
    if (!isProbe && !mayCrypto && !isExtra && !acks.ackDue(now)) return false;
    if (!this.beginPacket(builder, state, state.keys.toSeal(space), this.ids, now)) return false;
    const { frames } = builder;
    this.packAck(frames, state, now);
    let isEliciting = mayCrypto && outgoing.write(frames);
    if ((isProbe || isExtra) && !isEliciting) {
      writePing(frames);
      isEliciting = true;
    }
    if (isExtra) outgoing.paddingDue--;
    if (builder.payloadBytes === 0) {
      this.cancelPacket(builder, space);
      return false;
    }
    // [PKT-19] So does every client Initial, but for one that early data follows.
    if (padTo > 0 && builder.datagramRoom - TAG_BYTES < this.earlyRoom) builder.padDatagram(padTo);
    this.endPacket(builder, state, isEliciting, isEliciting || padTo > 0, now);
    return true;
  }

  /** Fills a 1-RTT packet, or a client's 0-RTT packet, which is padded so that its datagram has `padTo` bytes. */
  private packApplication(
    builder: PacketBuilder,
    state: PacketNumberSpace,
    padTo: number,
    now: Micros,
  ): void {
    const { control, counters, packer, path, recovery } = this;
    const thinning = packer.thins ? (this.thinning?.bound ?? null) : null;
    const isProbe = recovery.probesPending(PacketSpace.APPLICATION) > 0;
    const repairs = this.protection.isAsked && this.outgoingRepairs.isOn ? this.outgoingRepairs : null;
    const present = state.keys.toSeal(PacketSpace.APPLICATION);
    if (present === null || present.epoch === PacketType.ZERO_RTT)
      return this.packEarly(builder, state, present, padTo, now);
    const hasFrames = control.isDue || packer.hasFrames || repairs?.isDue === true;
    const mayFrames = isProbe || (hasFrames && this.mayFill(now));
    if (hasFrames && !mayFrames) this.thinsAt = packer.onBlocked(now);
    if (!isProbe && !(hasFrames && mayFrames) && !state.acks.ackDue(now)) return;
    if (this.keyUpdates.isDue(state.nextNumber, now) && !this.updateKeys(state.nextNumber, now)) return;
    const keys = state.keys.toSeal(PacketSpace.APPLICATION);
    if (!this.beginPacket(builder, state, keys, this.ids, now)) return;
    const { frames } = builder;
    const { acksSent } = counters;
    const before = path.bytesInFlight;
    let symbolStart = -1;
    let isEliciting = this.packAck(frames, state, now);
    const hasAck = counters.acksSent > acksSent;
    const afterAck = frames.at;
    if (mayFrames) {
      if (repairs !== null) symbolStart = this.packRepair(builder, repairs, state.nextNumber);
      if (control.isDue) control.write(frames);
      const thinRoom = thinning === null ? Number.POSITIVE_INFINITY : thinning.window - before;
      packer.write(frames, path.pacer.rate * SECOND, path.rtt.smoothed, thinRoom);
      if (repairs !== null) frames.limit += REPAIR_ROOM;
      // [REC-44] Also one that the next message did not fit into: where each takes a packet of its own, a larger packet has several.
      if (frames.room < FULL_PACKET_SLACK || (thinning === null && packer.hasMessages))
        this.fillsPackets = true;
    }
    if (frames.at > afterAck) isEliciting = true;
    // [REC-50] Many ranges: what the peer has heard of need not be told again.
    const isToElicit = hasAck && state.acks.wantsAcknowledgement(now) && recovery.allowance(now) > 0;
    if ((isProbe || isToElicit) && !isEliciting) {
      writePing(frames);
      isEliciting = true;
    }
    if (builder.payloadBytes === 0) return this.cancelPacket(builder, PacketSpace.APPLICATION);
    if (hasAck && isEliciting) state.acks.onElicitingAckSent(now);
    // Large enough for a server that does not know the connection to say so. [PKT-24]
    if (isEliciting && this.ids.resetToken !== null) builder.padDatagram(RESET_TRIGGER_BYTES);
    if (control.paddedBytes > 0) builder.padDatagram(Math.min(path.mtu, control.paddedBytes));
    control.paddedBytes = 0;
    if (symbolStart >= 0 && this.outgoingRepairs.onPacked(state.nextNumber, frames, symbolStart))
      builder.markSymbol();
    this.endPacket(builder, state, isEliciting, isEliciting, now);
    thinning?.onSent(path.bytesInFlight, before);
  }

  /** The keys are updated first, or must not seal any more: then false. [PKT-26] */
  private updateKeys(number: number, now: Micros): boolean {
    const { lifecycle } = this;
    const { largestAcked } = this.recovery.sentPackets(PacketSpace.APPLICATION);
    this.keyUpdates.onDue(number, largestAcked, lifecycle.state === ConnectionState.CONFIRMED, now);
    return lifecycle.isOpen;
  }

  /** Fills a 0-RTT packet: what streams have to say early, and nothing else. [HS-59] */
  private packEarly(
    builder: PacketBuilder,
    state: PacketNumberSpace,
    keys: PacketKeys | null,
    padTo: number,
    now: Micros,
  ): void {
    if (keys === null || !(padTo > 0 || (this.hasEarlyData && this.mayFill(now)))) return;
    const { packer, path } = this;
    if (!this.beginPacket(builder, state, keys, this.ids, now)) return;
    const { frames } = builder;
    const start = frames.at;
    const { limit } = frames;
    frames.limit = Math.min(limit, start + this.earlyBytesLeft); // [HS-56] no more than the server takes
    if (this.mayFill(now))
      packer.write(frames, path.pacer.rate * SECOND, path.rtt.smoothed, Number.POSITIVE_INFINITY);
    frames.limit = limit;
    if (frames.at === start && padTo === 0) return this.cancelPacket(builder, PacketSpace.APPLICATION);
    // What only pads would be in flight for good: nobody acknowledges it.
    if (frames.at === start) writePing(frames);
    this.earlyBytesLeft -= frames.at - start;
    builder.padDatagram(padTo);
    this.endPacket(builder, state, true, true, now);
  }

  /**
   * Writes what goes ahead of the packet's symbol, and leaves room for a repair of that. [FEC-42]
   * Returns where the symbol begins.
   */
  private packRepair(builder: PacketBuilder, repairs: OutgoingRepairs, number: number): number {
    const { frames } = builder;
    const isEmpty = builder.payloadBytes === 0;
    this.packer.writeDropped(frames);
    repairs.write(frames, number, isEmpty);
    frames.limit -= REPAIR_ROOM;
    return frames.at;
  }

  /** True when congestion control and pacing let a packet out now; otherwise notes that something waits for them. */
  private mayFill(now: Micros): boolean {
    // A packet is let out while any allowance is left, so that a window need not be a multiple of the packet size.
    this.packetsReserved = this.packer.packetsReserved(now);
    if (this.recovery.allowance(now, this.packetsReserved) > 0) return true;
    this.isBlocked = true;
    return false;
  }

  /**
   * Writes an ACK of all that was received, and ahead of it what was dropped [STR-18], when there is news. True when that makes the packet
   * one to be acknowledged, too.
   */
  private packAck(frames: FrameWriter, state: PacketNumberSpace, now: Micros): boolean {
    const { acks, space } = state;
    if (acks.pending === 0 && !acks.ackDue(now)) return false;
    const { ranges } = acks;
    if (ranges.size === 0) {
      acks.onAckSent(now);
      return false;
    }
    const start = frames.at;
    if (space === PacketSpace.APPLICATION) this.packer.writeDropped(frames);
    const isEliciting = frames.at > start;
    if (this.writeAck(frames, state, now)) {
      acks.onAckSent(now);
      this.counters.acksSent++;
    }
    return isEliciting;
  }

  /** Writes an ACK, with the numbers of recovered packets that the peer does not know of. [FEC-46] */
  private writeAck(frames: FrameWriter, { acks, space }: PacketNumberSpace, now: Micros): boolean {
    const { ecn, ranges, nextFrame } = acks;
    const delay = acks.ackDelay(now);
    const { repairs } = this;
    if (repairs !== null && repairs.recovered.size > 0 && space === PacketSpace.APPLICATION) {
      const { recovered } = repairs;
      const { largest } = ranges;
      const numbers = recovered.toTell(largest);
      if (numbers.length > 0 && writeAck(frames, ranges, delay, nextFrame, ecn, numbers)) {
        recovered.onTold(nextFrame, largest);
        return true;
      }
    }
    return writeAck(frames, ranges, delay, nextFrame, ecn);
  }

  /** Begins a packet of a space, and the record of what it carries. False when it cannot be sealed, or no useful one fits. */
  private beginPacket(
    builder: PacketBuilder,
    { nextNumber, space }: PacketNumberSpace,
    keys: PacketKeys | null,
    address: PacketAddress,
    now: Micros,
  ): boolean {
    const sent = this.recovery.sentPackets(space);
    if (keys === null || !builder.beginPacket(keys, address, nextNumber, sent.largestAcked)) return false;
    sent.begin(nextNumber, now);
    builder.frames.sent = sent.frames;
    return true;
  }

  /** Drops the packet that was begun, which holds nothing. */
  private cancelPacket(builder: PacketBuilder, space: PacketSpace): void {
    this.recovery.sentPackets(space).cancel();
    builder.cancelPacket();
  }

  /** Ends a packet that goes where packets go, and counts there. */
  private endPacket(
    builder: PacketBuilder,
    state: PacketNumberSpace,
    isEliciting: boolean,
    isInFlight: boolean,
    now: Micros,
    isSizeProbe = false,
  ): void {
    const { space } = state;
    this.path.ecn?.onPacketSent(space, state.nextNumber);
    const bytes = this.closePacket(builder, state, isSizeProbe, now);
    this.recovery.onSent(space, bytes, isEliciting, isInFlight, now, isSizeProbe);
    if (isEliciting) this.liveness.onSent(now);
  }

  /** Ends a packet, wherever it goes. Returns its bytes. */
  private closePacket(
    builder: PacketBuilder,
    state: PacketNumberSpace,
    isSizeProbe: boolean,
    now: Micros,
  ): number {
    const bytes = builder.endPacket();
    if (this.trace !== null) this.tracePacket(this.trace, builder, state, isSizeProbe, now);
    state.nextNumber++;
    // [PKT-23] Now and then a number is left out, which no honest peer acknowledges.
    if (state.space === PacketSpace.APPLICATION && this.skips.skips(state.nextNumber)) state.nextNumber++;
    this.counters.packetsSent++;
    return bytes;
  }

  private tracePacket(
    trace: QlogTrace,
    builder: PacketBuilder,
    { space }: PacketNumberSpace,
    isSizeProbe: boolean,
    now: Micros,
  ): void {
    // Which packets share a datagram is of interest in the handshake.
    const isHandshake = this.lifecycle.state !== ConnectionState.CONFIRMED;
    const packet = builder.packed(isHandshake ? this.counters.datagramsSent : -1);
    trace.sent(packet, isSizeProbe, this.recovery.probesPending(space) > 0, now);
  }

  /** Size of the probe packet that looks for a larger packet size, if one is to be sent now; else 0. */
  private sizeProbeBytes(now: Micros): number {
    const { congestion, mtuDiscovery } = this.path;
    const isWanted = this.fillsPackets || mtuDiscovery.isSought;
    if (!isWanted || this.lifecycle.state !== ConnectionState.CONFIRMED) return 0;
    // [REC-44] More than half of the window would keep everything else waiting for the probe's acknowledgement.
    return mtuDiscovery.nextProbe(now, congestion.window / 2);
  }

  /** A packet of PING and PADDING that tests whether the path carries this size. */
  private packSizeProbe(builder: PacketBuilder, batch: TransmitBatch, bytes: number, now: Micros): void {
    const state = this.spaces[PacketSpace.APPLICATION];
    this.path.mtuDiscovery.onProbeSent(bytes);
    if (state === null) return;
    builder.beginDatagram(batch, bytes, now);
    if (!this.beginPacket(builder, state, state.keys.toSeal(PacketSpace.APPLICATION), this.ids, now)) return;
    writePing(builder.frames);
    builder.padDatagram(bytes);
    this.endPacket(builder, state, true, true, now, true);
    this.endDatagram(builder, batch);
    this.counters.packetSizeProbes++;
  }

  /** A datagram to an address that may be the peer's, or on a path to move to: challenge, answer, or both. It is outside of all accounts of the path. */
  private packCandidate(builder: PacketBuilder, batch: TransmitBatch, now: Micros): void {
    const { counters, path, paths } = this;
    const candidate = paths.next();
    const state = this.spaces[PacketSpace.APPLICATION];
    const keys = state?.keys.toSeal(PacketSpace.APPLICATION) ?? null;
    if (candidate === null || state === null || keys === null) return;
    const bytes = candidate.probeBytes(path.mtu);
    builder.beginDatagram(batch, bytes, now);
    if (!this.beginPacket(builder, state, keys, candidate.address, now)) return candidate.leave();
    const { frames } = builder;
    const number = state.nextNumber;
    if (candidate.response !== null) writePathResponse(frames, candidate.response);
    candidate.response = null;
    let isEliciting = false;
    if (candidate.isChallengeDue) {
      writePathChallenge(frames, paths.challengeOf(candidate, bytes, now));
      // [CON-84] A client whose address changed without its knowing hears where it is now what arrived, and what did not reach it.
      if (!this.isClient) {
        this.packAckCopy(frames, state, now);
        const start = frames.at;
        this.host.repeatLate(frames.room, now);
        this.packer.writeRepeated(frames);
        isEliciting = frames.at > start;
      }
      builder.padDatagram(bytes);
    }
    const packetBytes = this.closePacket(builder, state, false, now);
    this.recovery.onSentElsewhere(PacketSpace.APPLICATION, number, packetBytes, isEliciting);
    const bytesSent = builder.endDatagram(candidate);
    counters.datagramsSent++;
    counters.bytesSent += bytesSent;
    paths.onSent(candidate, bytesSent);
  }

  /** An ACK beside those that are due on the path in use. */
  private packAckCopy(frames: FrameWriter, { acks }: PacketNumberSpace, now: Micros): void {
    const { ecn, nextFrame, ranges } = acks;
    if (ranges.size === 0 || !writeAck(frames, ranges, acks.ackDelay(now), nextFrame, ecn)) return;
    acks.onCopySent();
    this.counters.acksSent++;
  }

  /** CONNECTION_CLOSE in every space that the peer may be able to open, or what answers one. [CON-9] [CON-10] */
  private packClose(builder: PacketBuilder, now: Micros): void {
    const { isClient, lifecycle, spaces } = this;
    const { closing } = lifecycle;
    if (!closing.isDue || lifecycle.reason === null) return;
    closing.isDue = false;
    const reason = lifecycle.reason.by === 'peer' ? HEARD : lifecycle.reason;
    // [HS-44] Whom the application refuses is told so as the application says, and can open it.
    const isRefusal = !isClient && this.handshake.admission === AdmissionState.UNDECIDED;
    for (const state of spaces) {
      if (state === null || (isRefusal && state.space !== PacketSpace.APPLICATION)) continue;
      const isInitial = state.space === PacketSpace.INITIAL;
      if (isClient && isInitial && state.keys.toSeal(PacketSpace.HANDSHAKE) !== null) continue;
      const isApplication = state.space === PacketSpace.APPLICATION;
      if (isApplication && !lifecycle.carriesData && !isRefusal) continue;
      const keys = state.keys.toSeal(state.space);
      if (keys === null || keys.epoch === PacketType.ZERO_RTT) continue;
      if (!builder.beginPacket(keys, this.ids, state.nextNumber, -1)) return;
      // [CON-12] what the application says is for the application only
      const isHidden = reason.scope === 'application' && !isApplication;
      const code = isHidden ? CloseCode.NO_ERROR : reason.code;
      const scope = reason.scope === 'transport' || !isApplication ? 0 : reason.incomplete ? 2 : 1;
      const { frames } = builder;
      const text = isHidden ? NO_BYTES : reasonBytes(reason.reason, frames.room);
      if (frames.room < connectionCloseSize(code, text)) return builder.cancelPacket();
      writeConnectionClose(frames, scope, code, closing.frameType, text);
      if (isClient && isInitial) builder.padDatagram(this.path.mtu); // [PKT-19] as every client Initial
      builder.endPacket();
      this.trace?.sent(builder.packed(-1), false, false, now);
      state.nextNumber++;
      this.counters.packetsSent++;
    }
  }
}

/** As much of `reason` as fits, cut between characters. */
function reasonBytes(reason: string, room: number): Uint8Array {
  if (reason === '') return NO_BYTES;
  const bytes = new Uint8Array(Math.max(0, Math.min(REASON_BYTES_MAX, room - CONTROL_FRAME_BYTES_MAX)));
  return bytes.subarray(0, ENCODER.encodeInto(reason, bytes).written);
}

const ENCODER = new TextEncoder();
/** What a CONNECTION_CLOSE says that answers one. */
const HEARD = { scope: 'transport', code: CloseCode.NO_ERROR, reason: '', incomplete: false } as const;
/** One more than the smallest stateless reset. */
const RESET_TRIGGER_BYTES = 38;
/** Below this a datagram may not even hold an acknowledgement: behind a header with the longest ids and numbers 20 bytes, and the tag. */
const DATAGRAM_BYTES_MIN = 80;
/** With less room than this behind a client's Initial packet, early data has a datagram of its own. */
const EARLY_ROOM_MIN = 100;
/** A packet with less room left than this is full. */
const FULL_PACKET_SLACK = 64;
const REASON_BYTES_MAX = 512;
