/**
 * How a connection comes into being. Handshake messages come out of CRYPTO frames whole; the handshake answers with messages to send, then
 * with keys, then with its end; each is put in its place here.
 */

import type { Micros } from '../../base/time.ts';
import { type Handshake, HandshakeState } from '../handshake/handshake.ts';
import { CloseCode } from '../wire/close-code.ts';
import { PacketSpace } from '../wire/packet-header.ts';
import type { TransportParameters } from '../wire/transport-parameters.ts';
import type { Connection } from './connection.ts';
import { checkParameterIds } from './parameters.ts';
import { failExactMtu, tellConnected, usePacketSize } from './path-mtu.ts';

/** Hands handshake messages that are complete over, and installs what comes of them. True when something new is there. */
export function advanceHandshake(connection: Connection, now: Micros): boolean {
  let isNews = false;
  for (const space of HANDSHAKE_SPACES) {
    const message = connection.spaces[space]?.incoming?.take() ?? null;
    if (message === null) continue;
    const { handshake } = connection;
    if (handshake === null) return false;
    const code = handshake.receive(space, message) || takeOver(connection, handshake, now);
    if (code !== 0) {
      connection.fail(code, 0, '', now);
      return false;
    }
    isNews = true;
  }
  return isNews;
}

/** Starts to send the messages that the handshake has made by now. */
export function startFlights(connection: Connection): void {
  if (connection.handshake === null) return;
  const { hello, flight } = connection.handshake;
  const [initial, handshake] = connection.spaces;
  if (hello !== null && initial?.outgoing?.isEmpty === true) initial.outgoing.start(hello);
  if (flight !== null && handshake?.outgoing?.isEmpty === true) handshake.outgoing.start(flight);
}

/** The handshake is over for both sides: its keys go. [CON-14] */
export function confirmHandshake(connection: Connection, now: Micros): void {
  if (connection.isConfirmed) return;
  connection.isConfirmed = true;
  connection.recovery.onHandshakeConfirmed(connection.handshake?.peerParameters?.maxAckDelayUs ?? 0);
  connection.provedFingerprint = connection.handshake?.peerFingerprint ?? null;
  connection.handshake = null;
  connection.discardSpace(PacketSpace.INITIAL, now);
  connection.discardSpace(PacketSpace.HANDSHAKE, now);
}

/** The connection is forgotten: its keys go, and what is left of the handshake. */
export function forgetKeys(connection: Connection): void {
  const { handshake, keys, spaces } = connection;
  connection.provedFingerprint ??= handshake?.peerFingerprint ?? null;
  connection.handshake = null;
  spaces.fill(null);
  handshake?.forget();
  keys.discardAll();
}

/** Takes what the handshake has come to: messages, parameters, its end. Returns 0 or a close code. */
function takeOver(connection: Connection, handshake: Handshake, now: Micros): number {
  startFlights(connection);
  if (connection.keys.toSeal(PacketSpace.HANDSHAKE) !== null) connection.recovery.onHandshakeKeys();
  if (handshake.state !== HandshakeState.COMPLETE || connection.isEstablished) return 0;
  return establish(connection, handshake.peerParameters, now);
}

/** The peer is who it should be: its parameters hold, and application data may flow. */
function establish(connection: Connection, parameters: TransportParameters | null, now: Micros): number {
  if (parameters === null) return CloseCode.TRANSPORT_PARAMETER_ERROR;
  const firstId = connection.role === 'client' ? connection.firstDestinationId : null;
  const code = checkParameterIds(parameters, connection.remoteId, firstId);
  if (code !== 0) return code;
  connection.resetToken = parameters.statelessResetToken;
  connection.liveness.limitIdle(parameters.idleTimeoutMs);
  let ceiling = Math.min(connection.config.mtuMax, parameters.maxDatagramBytes);
  if (connection.isLoopback && parameters.receiveBufferBytes > 0) {
    const window = Math.floor(parameters.receiveBufferBytes * BUFFER_SHARE);
    connection.path.limitWindow(window, now);
    ceiling = Math.min(ceiling, Math.max(connection.config.mtu, Math.floor(window / WINDOW_PACKETS_MIN)));
  }
  if (connection.config.mtuIsExact && ceiling < connection.config.mtu) {
    failExactMtu(connection, now);
    return 0;
  }
  connection.streams.onPeerParameters(parameters);
  if (connection.path.mtuDiscovery.limit(ceiling)) usePacketSize(connection, now);
  connection.isEstablished = true;
  tellConnected(connection);
  if (connection.role === 'server') {
    connection.handshakeDoneDue = true;
    confirmHandshake(connection, now);
  }
  return 0;
}

const HANDSHAKE_SPACES = [PacketSpace.INITIAL, PacketSpace.HANDSHAKE] as const;
/** Of a socket's buffer, what datagrams may fill: the rest is the kernel's bookkeeping for them. */
const BUFFER_SHARE = 0.35;
/** Packets on this machine grow only as far as so many fit into that: with fewer, sender and receiver wait for each other. */
const WINDOW_PACKETS_MIN = 4;
