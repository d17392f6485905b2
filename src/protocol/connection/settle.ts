/**
 * What becomes of sent packets: recovery says which were acknowledged and which are lost, their records say what they carried, and
 * each part of the connection is told of its own. What still matters of a lost packet goes out in new frames. [FRM-5]
 */

import type { Micros } from '../../base/time.ts';
import type { PacketList } from '../recovery/sent-packets.ts';
import { isBestEffortFrame } from '../stream/streams.ts';
import { FrameType } from '../wire/frame-type.ts';
import { PacketSpace } from '../wire/packet-type.ts';
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
  for (let entry = sent.entryStart(number), end = sent.entryEnd(number); entry < end; entry++) {
    const kind = sent.entryKind(entry);
    if (isBestEffortFrame(kind)) continue;
    if (kind === FrameType.HANDSHAKE_DONE) connection.handshakeDoneDue = true;
    else {
      const [id, a, b, c] = [sent.entryId(entry), sent.entryA(entry), sent.entryB(entry), sent.entryC(entry)];
      connection.streams.onFrameLost(kind, id, a, b, c, now);
    }
  }
}

function acknowledged(connection: Connection, space: PacketSpace, packets: PacketList, now: Micros): void {
  const sent = connection.recovery.sentPackets(space);
  for (let i = 0; i < packets.count; i++) {
    const number = packets.numbers[i];
    if (sent.isSizeProbe(number)) sizeProbeAcked(connection, sent.bytesOf(number), now);
    for (let entry = sent.entryStart(number), end = sent.entryEnd(number); entry < end; entry++) {
      const kind = sent.entryKind(entry);
      const a = sent.entryA(entry);
      const b = sent.entryB(entry);
      if (kind === FrameType.CRYPTO) connection.spaces[space]?.outgoing?.onAcked(a, b);
      else if (kind === FrameType.ACK) connection.spaces[space]?.acks.onAckAcked(a, b, sent.entryC(entry));
      else if (space === PacketSpace.APPLICATION) {
        const id = sent.entryId(entry);
        if (connection.streams.onFrameAcked(kind, id, a, b, sent.entryC(entry))) connection.onProgress(now);
      }
    }
  }
}

function packetLost(connection: Connection, space: PacketSpace, number: number, now: Micros): void {
  const sent = connection.recovery.sentPackets(space);
  if (sent.isSizeProbe(number)) sizeProbeLost(connection, sent.bytesOf(number), now);
  for (let entry = sent.entryStart(number), end = sent.entryEnd(number); entry < end; entry++) {
    const kind = sent.entryKind(entry);
    const a = sent.entryA(entry);
    const b = sent.entryB(entry);
    if (kind === FrameType.CRYPTO) connection.spaces[space]?.outgoing?.onLost(a, b);
    else if (kind === FrameType.HANDSHAKE_DONE) connection.handshakeDoneDue = true;
    else if (space === PacketSpace.APPLICATION) {
      connection.streams.onFrameLost(kind, sent.entryId(entry), a, b, sent.entryC(entry), now);
    }
  }
}
