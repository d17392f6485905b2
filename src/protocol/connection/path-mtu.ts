/**
 * What a connection makes of the packet size that its path was found to carry: it begins with what the handshake showed, probes when it
 * fills packets, takes each new size into use and tells the application. One that is to use exactly its size proves it before anything
 * else, and is closed when that fails. [REC-43] [REC-52]
 */

import { JspError } from '../../base/errors.ts';
import type { Micros } from '../../base/time.ts';
import type { Connection } from './connection.ts';

/** A server knows where the client is: what its largest datagram was is all that is known of the path. [REC-43] [HS-7] */
export function startPacketSize(connection: Connection, now: Micros): void {
  const { handshake, path } = connection;
  if (connection.role !== 'server' || handshake === null) return;
  const proved = Math.min(path.validation.datagramBytesLargest, handshake.peerLargestDatagram);
  if (path.mtuDiscovery.startAt(proved)) usePacketSize(connection, now);
}

/** Size of the probe packet that looks for a larger packet size, if one is to be sent now; else 0. */
export function sizeProbeBytes(connection: Connection, now: Micros): number {
  const isWanted = connection.fillsPackets || isBelowExactMtu(connection);
  if (!isWanted || !connection.isConfirmed || !connection.closing.isOpen) return 0;
  // [REC-44] More than half of the window would keep everything else waiting for the probe's acknowledgement.
  return connection.path.mtuDiscovery.nextProbe(now, connection.path.congestion.window / 2);
}

export function sizeProbeAcked(connection: Connection, bytes: number, now: Micros): void {
  if (connection.path.mtuDiscovery.onProbeAcked(bytes)) usePacketSize(connection, now);
}

export function sizeProbeLost(connection: Connection, bytes: number, now: Micros): void {
  connection.counters.packetSizeProbesLost++;
  const isGivenUp = connection.path.mtuDiscovery.onProbeLost(bytes, now);
  if (isGivenUp && isBelowExactMtu(connection)) failExactMtu(connection, now);
}

/** The system did not take a datagram of this size. [REC-53] */
export function datagramRefused(connection: Connection, bytes: number, now: Micros): void {
  if (connection.path.mtuDiscovery.onRefused(bytes, now)) usePacketSize(connection, now);
  if (isBelowExactMtu(connection)) failExactMtu(connection, now);
}

/** The system heard that a datagram was larger than the path carries in one piece. [REC-53] */
export function datagramTooLarge(connection: Connection, now: Micros): void {
  if (connection.path.mtuDiscovery.onTooLarge()) usePacketSize(connection, now);
  if (isBelowExactMtu(connection)) failExactMtu(connection, now);
}

/** The size changed: packets are cut to it from now on. */
export function usePacketSize(connection: Connection, now: Micros): void {
  connection.path.onMtu(now);
  connection.streams.packer.onPacketSize(connection.mtu);
  if (connection.isConnectedDue) tellConnected(connection);
  else if (connection.isEstablished) tellPacketSize(connection);
}

/** Tells that the handshake is complete; a client that is to use exactly its size does once the path has carried it. */
export function tellConnected(connection: Connection): void {
  connection.isConnectedDue = connection.role === 'client' && isBelowExactMtu(connection);
  if (connection.isConnectedDue) return;
  connection.events.push({ type: 'connected', connection });
  tellPacketSize(connection);
}

/** The path does not carry, or the peer does not take, packets of the size that is to be used. [REC-52] */
export function failExactMtu(connection: Connection, now: Micros): void {
  const reason = `the path does not carry datagrams of ${connection.config.mtu} bytes, or the peer does not take them`;
  const cause = new JspError(
    'ERR_JSP_MTU_NOT_CARRIED',
    `${reason}: ask for exactly a smaller size, or pass the size alone to let it shrink where it must`,
  );
  connection.giveUp(cause, reason, now);
}

function isBelowExactMtu({ config, mtu }: Connection): boolean {
  return config.mtuIsExact && mtu < config.mtu;
}

function tellPacketSize(connection: Connection): void {
  const { mtu, mtuTold: previous } = connection;
  if (mtu === previous) return;
  connection.mtuTold = mtu;
  connection.events.push({ type: 'mtu', connection, mtu, previous });
}
