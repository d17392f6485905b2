/**
 * The way out, from the parts of a connection to datagrams in the arena of a batch:
 *
 *   1. {@link transmit} packs datagrams until nothing is to be sent, the batch is full, or congestion control says no;
 *   2. {@link packDatagram} decides which packets a datagram holds: Initial, Handshake, 1-RTT, in this order;
 *   3. {@link packHandshake} fills the first two kinds: ACK, then CRYPTO;
 *   4. {@link packApplication} fills the last: ACK, then control frames, then messages as the scheduler says.
 *
 * Everything is sealed later, by the endpoint, for all connections of the batch at once.
 */

import { type Micros, SECOND } from '../../base/time.ts';
import type { TransmitBatch } from '../wire/batch.ts';
import { CloseCode } from '../wire/close-code.ts';
import { CONTROL_FRAME_BYTES_MAX, type FrameWriter } from '../wire/frame-writer.ts';
import { writeAck } from '../wire/frames/ack.ts';
import { connectionCloseSize, writeConnectionClose } from '../wire/frames/connection-close.ts';
import { writeHandshakeDone } from '../wire/frames/crypto.ts';
import { writePathResponse } from '../wire/frames/path.ts';
import { writeHeartbeat, writePing } from '../wire/frames/ping.ts';
import { PacketSpace } from '../wire/packet-header.ts';
import type { Connection } from './connection.ts';
import type { NumberSpace } from './packet-number-space.ts';
import type { PacketBuilder } from './packet-builder.ts';
import { sizeProbeBytes } from './path-mtu.ts';

/** Packs what the connection has to send. True when it may have more that the batch has no room for. */
export function transmit(
  connection: Connection,
  builder: PacketBuilder,
  batch: TransmitBatch,
  now: Micros,
): boolean {
  if (connection.isAnswerDue && connection.closing.isOpen) return false;
  for (;;) {
    if (connection.closing.isOpen && connection.recovery.isExhausted(now)) {
      connection.fail(CloseCode.PROTOCOL_VIOLATION, 0, 'nothing is acknowledged', now); // [REC-12]
    }
    const probeBytes = sizeProbeBytes(connection, now);
    if (!batch.hasRoom(Math.max(connection.mtu, probeBytes))) return true;
    if (probeBytes > 0) packSizeProbe(connection, builder, batch, probeBytes, now);
    else if (!packDatagram(connection, builder, batch, now)) {
      if (!connection.isBlocked) connection.path.onAppLimited();
      return false;
    }
  }
}

/** Packs one datagram. False when there is nothing to send, or nothing that may be sent now. */
function packDatagram(
  connection: Connection,
  builder: PacketBuilder,
  batch: TransmitBatch,
  now: Micros,
): boolean {
  const { path, recovery } = connection;
  const { validation } = path;
  // The second packet of a probe timeout. [REC-51]
  const isSecondProbe = recovery.probesPending(PacketSpace.APPLICATION) === 1;
  const mtu = isSecondProbe ? path.mtuDiscovery.secondProbeBytes : connection.mtu;
  const bytes = Math.min(mtu, validation.datagramBytesMax, validation.allowance);
  validation.isExhausted = bytes < DATAGRAM_BYTES_MIN; // [CON-4]
  if (validation.isExhausted) return false;
  builder.beginDatagram(batch, bytes, now);
  if (connection.closing.isOpen) packPackets(connection, builder, bytes, now);
  else packClose(connection, builder);
  const sent = builder.endDatagram(connection.path);
  if (sent === 0) return false;
  validation.onSent(sent);
  connection.counters.datagramsSent++;
  connection.counters.bytesSent += sent;
  return true;
}

function packPackets(connection: Connection, builder: PacketBuilder, bytes: number, now: Micros): void {
  const [initial, handshake, application] = connection.spaces;
  const isClient = connection.role === 'client';
  // A client that has a Handshake packet to send, whatever it holds, has no use for Initial ones any more. [CON-14]
  if (isClient && handshake !== null && packHandshake(connection, builder, handshake, 0, now)) {
    connection.discardSpace(PacketSpace.INITIAL, now);
  } else {
    if (initial !== null) {
      const packed = packHandshake(connection, builder, initial, isClient ? bytes : 0, now);
      if (packed && isClient) return; // its padding fills the datagram
    }
    if (handshake !== null && !isClient) packHandshake(connection, builder, handshake, 0, now);
  }
  if (application !== null && connection.isEstablished)
    packApplication(connection, builder, application, now);
}

/** Fills an Initial or Handshake packet. False when there is nothing for it. */
function packHandshake(
  connection: Connection,
  builder: PacketBuilder,
  state: NumberSpace,
  padTo: number,
  now: Micros,
): boolean {
  const { acks, outgoing, space } = state;
  if (outgoing === null) return false;
  const { recovery } = connection;
  const isProbe = recovery.probesPending(space) > 0;
  if (isProbe && !outgoing.pending) outgoing.resend();
  // A probe of the Handshake space takes what is lost of the hello along: probes may be all that the window lets out.
  const isProbing = isProbe || recovery.probesPending(PacketSpace.HANDSHAKE) > 0;
  const mayCrypto = outgoing.pending && (isProbing || mayFill(connection, now));
  if (!isProbe && !mayCrypto && !acks.ackDue(now)) return false;
  const sent = recovery.sentPackets(space);
  const keys = state.keys.toSeal(space);
  if (keys === null || !builder.beginPacket(keys, connection, state.nextNumber, sent.largestAcked))
    return false;
  sent.begin(state.nextNumber, now);
  builder.frames.sent = sent.frames;
  packAck(connection, builder.frames, state, now);
  let isEliciting = mayCrypto && outgoing.write(builder.frames);
  if (isProbe && !isEliciting) {
    writePing(builder.frames);
    isEliciting = true;
  }
  if (builder.payloadBytes === 0) {
    sent.cancel();
    builder.cancelPacket();
    return false;
  }
  if (padTo > 0) builder.padDatagram(padTo); // [PKT-19]
  endPacket(connection, builder, state, isEliciting, isEliciting || padTo > 0, now);
  return true;
}

/** Fills a 1-RTT packet. */
function packApplication(
  connection: Connection,
  builder: PacketBuilder,
  state: NumberSpace,
  now: Micros,
): void {
  const { path, recovery, streams } = connection;
  const isProbe = recovery.probesPending(PacketSpace.APPLICATION) > 0;
  const hasFrames = connection.hasControlFrames || streams.packer.hasFrames;
  const mayFrames = isProbe || (hasFrames && mayFill(connection, now));
  if (!isProbe && !(hasFrames && mayFrames) && !state.acks.ackDue(now)) return;
  const sent = recovery.sentPackets(PacketSpace.APPLICATION);
  const keys = state.keys.toSeal(PacketSpace.APPLICATION);
  if (keys === null || !builder.beginPacket(keys, connection, state.nextNumber, sent.largestAcked)) return;
  sent.begin(state.nextNumber, now);
  builder.frames.sent = sent.frames;
  const { acksSent } = connection.counters;
  let isEliciting = packAck(connection, builder.frames, state, now);
  const hasAck = connection.counters.acksSent > acksSent;
  const { frames } = builder;
  const afterAck = frames.at;
  if (mayFrames) {
    packControlFrames(connection, frames);
    streams.packer.write(frames, path.pacer.rate * SECOND, path.rtt.smoothed);
    if (frames.room < FULL_PACKET_SLACK) connection.fillsPackets = true;
  }
  if (frames.at > afterAck) isEliciting = true;
  const isToElicit = hasAck && state.acks.wantsAcknowledgement(now) && recovery.allowance(now) > 0; // [REC-50]
  if ((isProbe || isToElicit) && !isEliciting) {
    writePing(frames);
    isEliciting = true;
  }
  if (builder.payloadBytes === 0) {
    sent.cancel();
    builder.cancelPacket();
    return;
  }
  if (hasAck && isEliciting) state.acks.onElicitingAckSent(now);
  // Large enough for a server that does not know the connection to say so. [PKT-24]
  if (isEliciting && connection.resetToken !== null) builder.padDatagram(RESET_TRIGGER_BYTES);
  endPacket(connection, builder, state, isEliciting, isEliciting, now);
}

/** True when congestion control and pacing let a packet out now; otherwise notes that something waits for them. */
function mayFill(connection: Connection, now: Micros): boolean {
  const { recovery } = connection;
  // A packet is let out while any allowance is left, so that a window need not be a multiple of the packet size.
  if (recovery.allowance(now) > 0) return true;
  connection.isBlocked = true;
  return false;
}

/**
 * Writes an ACK of all that was received, and ahead of it what was dropped [STR-18], when there is news. True when that makes the packet
 * one to be acknowledged, too.
 */
function packAck(connection: Connection, frames: FrameWriter, state: NumberSpace, now: Micros): boolean {
  const { acks, space } = state;
  if (acks.pending === 0 && !acks.ackDue(now)) return false;
  const { ranges } = acks;
  if (ranges.size === 0) {
    acks.onAckSent(now);
    return false;
  }
  const start = frames.at;
  if (space === PacketSpace.APPLICATION) connection.streams.packer.writeDropped(frames);
  const isEliciting = frames.at > start;
  if (writeAck(frames, ranges, acks.ackDelay(now), acks.nextFrame)) {
    acks.onAckSent(now);
    connection.counters.acksSent++;
  }
  return isEliciting;
}

function packControlFrames(connection: Connection, frames: FrameWriter): void {
  if (frames.room < 4 * CONTROL_FRAME_BYTES_MAX) return;
  if (connection.handshakeDoneDue) {
    connection.handshakeDoneDue = false;
    writeHandshakeDone(frames);
  }
  if (connection.pathResponse !== null) {
    writePathResponse(frames, connection.pathResponse);
    connection.pathResponse = null;
  }
  if (connection.heartbeatDue) {
    connection.heartbeatDue = false;
    writeHeartbeat(frames, connection.counters.heartbeatsSent++, connection.heartbeatIntervalMs);
  }
}

function endPacket(
  connection: Connection,
  builder: PacketBuilder,
  state: NumberSpace,
  isEliciting: boolean,
  isInFlight: boolean,
  now: Micros,
  isSizeProbe = false,
): void {
  const bytes = builder.endPacket();
  state.nextNumber++;
  if (state.space === PacketSpace.APPLICATION && connection.numberSkips.skips(state.nextNumber))
    state.nextNumber++; // [PKT-23]
  connection.counters.packetsSent++;
  connection.recovery.onSent(state.space, bytes, isEliciting, isInFlight, now, isSizeProbe);
  if (isEliciting) connection.liveness.onSent(now);
}

/** A packet of PING and PADDING that tests whether the path carries this size. */
function packSizeProbe(
  connection: Connection,
  builder: PacketBuilder,
  batch: TransmitBatch,
  bytes: number,
  now: Micros,
): void {
  const state = connection.spaces[PacketSpace.APPLICATION];
  const keys = connection.keys.toSeal(PacketSpace.APPLICATION);
  connection.path.mtuDiscovery.onProbeSent(bytes);
  if (state === null || keys === null) return;
  const sent = connection.recovery.sentPackets(PacketSpace.APPLICATION);
  builder.beginDatagram(batch, bytes, now);
  if (!builder.beginPacket(keys, connection, state.nextNumber, sent.largestAcked)) return;
  sent.begin(state.nextNumber, now);
  builder.frames.sent = sent.frames;
  writePing(builder.frames);
  builder.padDatagram(bytes);
  endPacket(connection, builder, state, true, true, now, true);
  connection.counters.bytesSent += builder.endDatagram(connection.path);
  connection.counters.datagramsSent++;
  connection.counters.packetSizeProbes++;
}

/** CONNECTION_CLOSE in every space that the peer may be able to open. [CON-9] */
function packClose(connection: Connection, builder: PacketBuilder): void {
  const { closing, spaces } = connection;
  const reason = closing.reason;
  if (!closing.closeDue || reason === null) return;
  closing.closeDue = false;
  const isClient = connection.role === 'client';
  for (const state of spaces) {
    if (state === null) continue;
    const isInitial = state.space === PacketSpace.INITIAL;
    if (isClient && isInitial && state.keys.toSeal(PacketSpace.HANDSHAKE) !== null) continue;
    const isApplication = state.space === PacketSpace.APPLICATION;
    if (isApplication && !connection.isEstablished) continue;
    const keys = state.keys.toSeal(state.space);
    if (keys === null) continue;
    if (!builder.beginPacket(keys, connection, state.nextNumber, -1)) return;
    // [CON-12] what the application says is for the application only
    const isHidden = reason.scope === 'application' && !isApplication;
    const code = isHidden ? CloseCode.NO_ERROR : reason.code;
    const scope = reason.scope === 'transport' || !isApplication ? 0 : reason.incomplete ? 2 : 1;
    const { frames } = builder;
    const text = isHidden ? EMPTY : reasonBytes(reason.reason, frames.room);
    if (frames.room < connectionCloseSize(code, text)) return builder.cancelPacket();
    writeConnectionClose(frames, scope, code, closing.frameType, text);
    if (isClient && isInitial) builder.padDatagram(connection.mtu); // [PKT-19]
    builder.endPacket();
    state.nextNumber++;
    connection.counters.packetsSent++;
  }
}

/** As much of `reason` as fits, cut between characters. */
function reasonBytes(reason: string, room: number): Uint8Array {
  if (reason === '') return EMPTY;
  const bytes = new Uint8Array(Math.max(0, Math.min(REASON_BYTES_MAX, room - CONTROL_FRAME_BYTES_MAX)));
  return bytes.subarray(0, ENCODER.encodeInto(reason, bytes).written);
}

const ENCODER = new TextEncoder();
const EMPTY = new Uint8Array(0);
/** One more than the smallest stateless reset. */
const RESET_TRIGGER_BYTES = 38;
/** Below this a datagram holds no useful packet. */
const DATAGRAM_BYTES_MIN = 64;
/** A packet with less room left than this is full. */
const FULL_PACKET_SLACK = 64;
const REASON_BYTES_MAX = 512;
