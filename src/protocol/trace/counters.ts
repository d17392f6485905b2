import { hasLarge } from '../../base/large-count.ts';

/**
 * What one connection counted since it began: nothing is ever set back, so that the difference of two snapshots is what happened between
 * them. Plain numbers, so that a snapshot is a copy of the object. Each field is documented by itself, as `docs/metrics.md` has it. [CON-70]
 */
export class ConnectionCounters {
  // ---- Datagrams and packets ----
  /** UDP datagrams sent. One holds a packet, in the handshake up to three. */
  datagramsSent = 0;
  /** UDP datagrams that came for this connection. */
  datagramsReceived = 0;
  /** Bytes of UDP payload sent, all headers of ours included. */
  bytesSent = 0;
  /** Bytes of UDP payload that came for this connection. */
  bytesReceived = 0;
  /** Packets sent. */
  packetsSent = 0;
  /** Packets that were opened. */
  packetsReceived = 0;
  /** Packets that came behind one with a larger number: the path changed their order. */
  packetsReordered = 0;
  /** Packets that could not be opened: damaged on the way, or forged. */
  packetsUnopened = 0;
  /** Packets whose number had been seen before, or was too old to tell: the path doubled them, or somebody did. */
  packetsReplayed = 0;
  /** Packets that waited for a key and were dropped because too many did, or there was no memory for them. */
  packetsUnbuffered = 0;
  /** Packets that were opened and count as not come, as there was no memory for something in them: the peer sends it again. */
  packetsRefused = 0;
  /** Key updates, begun by either side. */
  keyUpdates = 0;
  // ---- Loss and recovery ----
  /** Packets declared lost (RFC 9002 section 6), those that came late included. */
  packetsLost = 0;
  /** Bytes of these packets. */
  bytesLost = 0;
  /** Packets declared lost whose acknowledgement came all the same: the path was slow, or reordered. */
  packetsSpuriouslyLost = 0;
  /** Probe timeouts (RFC 9002 section 6.2): nothing was acknowledged for so long that the sender asked again. */
  ptoCount = 0;
  /** ACK frames sent. */
  acksSent = 0;
  /** ACK frames received. */
  acksReceived = 0;
  // ---- Protection against loss (FEC) ----
  /** Packets lost on the way in whose contents repairs brought back here. */
  packetsRecovered = 0;
  /** Packets of ours lost on the way whose contents repairs brought back at the peer. */
  packetsRecoveredByPeer = 0;
  /** Packets sent that repairs can bring back. */
  packetsProtected = 0;
  /** Protected packets that were lost. */
  packetsProtectedLost = 0;
  /** Repairs sent. */
  repairsSent = 0;
  /** Bytes of them, headers of packets that were sent for nothing else included. */
  repairBytesSent = 0;
  // ---- Heartbeats ----
  /** HEARTBEAT frames sent: one each interval in which nothing came. */
  heartbeatsSent = 0;
  /** HEARTBEAT frames received. */
  heartbeatsReceived = 0;
  // ---- Congestion marks (ECN) ----
  /** Packets that came marked by a router that is congested; always 0 where the socket cannot tell. */
  congestionMarksReceived = 0;
  // ---- Paths ----
  /** Times that the connection moved to another address of the peer or of this side. */
  pathChanges = 0;
  /** Challenges sent to addresses that might be the peer's, or on paths that this side wanted to move to. */
  pathChallengesSent = 0;
  /** Paths that were proved: the peer answered a challenge there. */
  pathsValidated = 0;
  /** Paths that were given up: no challenge was answered. */
  pathsFailed = 0;
  // ---- Packet size ----
  /** Packets sent only to see whether the path carries their size (RFC 8899). */
  packetSizeProbes = 0;
  /** Those of them that were lost. */
  packetSizeProbesLost = 0;
}

/** What one endpoint counted since it began, over all of its connections; datagrams that no connection could take, each by its reason. */
export class EndpointCounters {
  // ---- Traffic ----
  /** UDP datagrams that came, those that were dropped included. */
  datagramsReceived = 0;
  /** UDP datagrams sent. */
  datagramsSent = 0;
  /** Bytes of UDP payload that came. */
  bytesReceived = 0;
  /** Bytes of UDP payload sent. */
  bytesSent = 0;
  /** Datagrams that came, and were handed to the worker whose connection they are of. */
  datagramsForeign = 0;
  // ---- Connections and handshakes ----
  /** Connections that are kept now: in their handshake, open, and closing. */
  connectionsOpen = 0;
  /** Handshakes begun. */
  handshakesStarted = 0;
  /** Handshakes completed: the peer is who it should be. */
  handshakesCompleted = 0;
  /** Handshakes that failed, or were not completed in time. */
  handshakesFailed = 0;
  /** Handshakes whose client showed a ticket that was taken: they were resumed. */
  ticketsAccepted = 0;
  /** Handshakes whose client showed a ticket that was not: it had expired, was used before, or was made with other keys. */
  ticketsRefused = 0;
  /** Handshakes with early data that was taken. */
  earlyDataAccepted = 0;
  /** Handshakes with early data that was not: it could have come before, or is too much for the limits of now. */
  earlyDataRefused = 0;
  /** Clients that proved who they are, and were not let in by the application or its list of keys. */
  clientsRefused = 0;
  /** Half-open handshakes of clients that had not answered yet, which gave way to newer ones. */
  handshakesDisplaced = 0;
  /** First packets that were answered by a Retry: their clients are to show first that they are where they say. */
  retriesSent = 0;
  /** First packets that would have been, but too many came. */
  retriesSuppressed = 0;
  /** First packets with a token that showed where their client is. */
  tokensAccepted = 0;
  /** First packets with a token that did not: it had expired, was used before, is another address's or was made with other keys. */
  tokensRefused = 0;
  /** Packets of versions that are not spoken here and were answered by a version packet. */
  versionPacketsSent = 0;
  /** First packets that were answered by a refusal: there is no room for another connection, or the server is closing. */
  connectionsRefused = 0;
  // ---- Datagrams dropped, by their reason ----
  /** The fixed bit was 0, or a header was cut short. */
  droppedMalformed = 0;
  /** A long header with a version that is not ours. */
  droppedVersion = 0;
  /** No connection has the destination id. */
  droppedUnknownId = 0;
  /** An Initial that did not open with the keys of our identity: most likely its client pins another one. */
  droppedUnopened = 0;
  /** An Initial of a client that does not pin, where that is not accepted. */
  droppedUnpinned = 0;
  /** An Initial smaller than the floor, or without the first bytes of a hello. */
  droppedShortInitial = 0;
  /** A first packet whose id is that of a handshake from another address: somebody sent it again. */
  droppedRepeatedInitial = 0;
  /** First packets that came faster than handshakes are begun. */
  droppedInitialPace = 0;
  /** First packets beyond the bound on half-open handshakes, all of which were of clients that had answered. */
  droppedHalfOpenLimit = 0;
  /** First packets beyond the bound on connections, or while shutting down. */
  droppedConnectionLimit = 0;
  /** First packets for whose connections there was no memory left. */
  droppedMemoryLimit = 0;
  /** A 0-RTT or Retry packet of no connection that is known here: early data ahead of its first packet, say. */
  droppedUnsupported = 0;
  // ---- Resets and faults ----
  /** Packets of connections that are not known here and were answered by a stateless reset. */
  statelessResetsSent = 0;
  /** Those that were not, because too many came. */
  statelessResetsSuppressed = 0;
  /** Exceptions in this library's own code: each ended one connection, or cost one datagram. */
  internalErrors = 0;
  /** Batches of datagrams that the socket's `send` answered with an exception; they count as lost. */
  batchesRefused = 0;
}

hasLarge(new ConnectionCounters(), 'bytesSent', 'bytesReceived');
hasLarge(new EndpointCounters(), 'bytesSent', 'bytesReceived');
