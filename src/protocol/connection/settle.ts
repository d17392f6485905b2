/**
 * What becomes of sent packets: recovery says which were acknowledged and which are lost, their records say what they carried, and
 * each part of the connection is told of its own. What still matters of a lost packet goes out in new frames. [FRM-5]
 */

import type { Micros } from '../../base/time.ts';
import type { PacketList } from '../recovery/sent-packets.ts';
import { FrameType } from '../wire/frame-type.ts';
import type { SentFrame } from '../wire/frames/sent-frames.ts';
import { PacketSpace } from '../wire/packet-header.ts';
import type { Connection } from './connection.ts';
import { sizeProbeAcked, sizeProbeLost } from './path-mtu.ts';

/** Hands out what the last acknowledgement or timeout of recovery found. */
export function settle(connection: Connection, now: Micros): void {
  const { recovery, counters } = connection;
  const { space, acked, spurious, lost } = recovery.fates;
  if (acked.count > 0) acknowledged(connection, space, acked, now);
  if (spurious.count > 0) {
    counters.packetsSpuriouslyLost += spurious.count;
    acknowledged(connection, space, spurious, now);
  }
  if (lost.count === 0) return;
  counters.packetsLost += lost.count;
  for (let i = 0; i < lost.count; i++) packetLost(connection, space, lost.numbers[i], now);
}

/**
 * A probe is due: what the oldest packet in flight carried goes out again, so that a lost tail is mended by the probe itself. The packet
 * stays in flight, and its acknowledgement is as good as ever. Best-effort messages are sent once only.
 */
export function resendOldest(connection: Connection, now: Micros): void {
  const space = connection.recovery.fates.space;
  if (space !== PacketSpace.APPLICATION) return;
  const sent = connection.recovery.sentPackets(space);
  const number = sent.oldestInFlight;
  if (number < 0) return;
  for (let i = sent.framesStart(number), end = sent.framesEnd(number); i < end; i++) {
    const frame = sent.frames.read(i);
    if (!frame.isBestEffort) frameLost(connection, space, frame, now);
  }
}

function acknowledged(connection: Connection, space: PacketSpace, packets: PacketList, now: Micros): void {
  const sent = connection.recovery.sentPackets(space);
  for (let k = 0; k < packets.count; k++) {
    const number = packets.numbers[k];
    if (sent.isSizeProbe(number)) sizeProbeAcked(connection, sent.bytesOf(number), now);
    for (let i = sent.framesStart(number), end = sent.framesEnd(number); i < end; i++) {
      frameAcked(connection, space, sent.frames.read(i), now);
    }
  }
}

function packetLost(connection: Connection, space: PacketSpace, number: number, now: Micros): void {
  const sent = connection.recovery.sentPackets(space);
  if (sent.isSizeProbe(number)) sizeProbeLost(connection, sent.bytesOf(number), now);
  for (let i = sent.framesStart(number), end = sent.framesEnd(number); i < end; i++) {
    frameLost(connection, space, sent.frames.read(i), now);
  }
}

function frameAcked(connection: Connection, space: PacketSpace, frame: SentFrame, now: Micros): void {
  switch (frame.type) {
    case FrameType.CRYPTO:
      connection.spaces[space]?.outgoing?.onFrameAcked(frame);
      break;
    case FrameType.ACK:
      connection.spaces[space]?.acks.onFrameAcked(frame);
      break;
    case FrameType.HANDSHAKE_DONE:
    case FrameType.HEARTBEAT:
      break;
    default:
      if (connection.streams.onFrameAcked(frame)) connection.onProgress(now);
  }
}

function frameLost(connection: Connection, space: PacketSpace, frame: SentFrame, now: Micros): void {
  switch (frame.type) {
    case FrameType.CRYPTO:
      connection.spaces[space]?.outgoing?.onFrameLost(frame);
      break;
    case FrameType.HANDSHAKE_DONE:
      connection.handshakeDoneDue = true;
      break;
    case FrameType.ACK: // the next one says the same, and more
    case FrameType.HEARTBEAT:
      break;
    default:
      connection.streams.onFrameLost(frame, now);
  }
}
