/**
 * What becomes of sent packets: recovery says which were acknowledged and which are lost, the ledger says what they carried, and
 * each part of the connection is told of its own.
 */

import type { Micros } from '../base/time.ts';
import type { PacketList } from '../recovery/packet-list.ts';
import { FrameType } from '../wire/frame-type.ts';
import { PacketSpace } from '../wire/packet-type.ts';
import type { Connection } from './connection.ts';

/** Hands out what the last acknowledgement or timeout of recovery found. */
export function settle(connection: Connection, now: Micros): void {
  const { recovery, counters } = connection;
  const space = recovery.resultSpace;
  if (recovery.acked.count > 0) acknowledged(connection, space, recovery.acked, now);
  if (recovery.spurious.count > 0) {
    counters.packetsSpuriouslyLost += recovery.spurious.count;
    acknowledged(connection, space, recovery.spurious, now);
  }
  const lost = recovery.lost;
  if (lost.count === 0) return;
  counters.packetsLost += lost.count;
  for (let i = 0; i < lost.count; i++) packetLost(connection, space, lost.numbers[i], now);
}

function acknowledged(connection: Connection, space: PacketSpace, packets: PacketList, now: Micros): void {
  const ledger = connection.recovery.ledger(space);
  for (let i = 0; i < packets.count; i++) {
    const number = packets.numbers[i];
    if (ledger.isSizeProbe(number)) connection.onSizeProbeAcked(ledger.bytesOf(number), now);
    for (let entry = ledger.entryStart(number), end = ledger.entryEnd(number); entry < end; entry++) {
      const kind = ledger.entryKind(entry);
      const a = ledger.entryA(entry);
      const b = ledger.entryB(entry);
      if (kind === FrameType.CRYPTO) connection.spaces[space]?.outgoing?.onAcked(a, b);
      else if (kind === FrameType.ACK) connection.spaces[space]?.acks.onAckAcked(a);
      else if (space === PacketSpace.APPLICATION) {
        connection.streams.onAcked(kind, ledger.entryId(entry), a, b, ledger.entryC(entry));
      }
    }
  }
}

function packetLost(connection: Connection, space: PacketSpace, number: number, now: Micros): void {
  const ledger = connection.recovery.ledger(space);
  if (ledger.isSizeProbe(number)) connection.onSizeProbeLost(ledger.bytesOf(number), now);
  for (let entry = ledger.entryStart(number), end = ledger.entryEnd(number); entry < end; entry++) {
    const kind = ledger.entryKind(entry);
    const a = ledger.entryA(entry);
    const b = ledger.entryB(entry);
    if (kind === FrameType.CRYPTO) connection.spaces[space]?.outgoing?.onLost(a, b);
    else if (kind === FrameType.HANDSHAKE_DONE) connection.handshakeDoneDue = true;
    else if (space === PacketSpace.APPLICATION) {
      connection.streams.onLost(kind, ledger.entryId(entry), a, b, ledger.entryC(entry), now);
    }
  }
}
