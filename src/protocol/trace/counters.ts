/** What one connection counted since it began. Plain numbers, so that a snapshot is a copy of the object. */
export class ConnectionCounters {
  datagramsSent = 0;
  datagramsReceived = 0;
  bytesSent = 0;
  bytesReceived = 0;
  packetsSent = 0;
  packetsReceived = 0;
  packetsLost = 0;
  packetsSpuriouslyLost = 0;
  /** Packets lost on the way in whose contents repairs brought back, here and, of ours, at the peer. */
  packetsRecovered = 0;
  packetsRecoveredByPeer = 0;
  /** Packets sent that repairs can bring back, those of them that were lost, and repairs sent. */
  packetsProtected = 0;
  packetsProtectedLost = 0;
  repairsSent = 0;
  ptoCount = 0;
  /** Packets that could not be opened. */
  packetsUnopened = 0;
  /** Packets whose number had been seen before, or was too old to tell. */
  packetsReplayed = 0;
  /** Packets that waited for a key and were dropped because too many did. */
  packetsUnbuffered = 0;
  acksSent = 0;
  acksReceived = 0;
  heartbeatsSent = 0;
  heartbeatsReceived = 0;
  /** Packets that came marked by a router that is congested; always 0 where the socket cannot tell. */
  congestionMarksReceived = 0;
  packetSizeProbes = 0;
  packetSizeProbesLost = 0;
}

/** What one endpoint counted: datagrams that no connection could take, each by its reason. */
export class EndpointCounters {
  datagramsReceived = 0;
  datagramsSent = 0;
  bytesReceived = 0;
  bytesSent = 0;
  /** The fixed bit was 0, or a header was cut short. */
  droppedMalformed = 0;
  /** A long header with a version that is not ours. */
  droppedVersion = 0;
  /** No connection has the destination id. */
  droppedUnknownId = 0;
  /** An Initial that did not open with the keys of our identity. */
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
  /** A packet of a kind that is not handled (Retry, 0-RTT, version negotiation). */
  droppedUnsupported = 0;
  /** First packets that were answered by a refusal: there is no room for another connection, or the server is closing. */
  connectionsRefused = 0;
  /** Half-open handshakes of clients that had not answered yet, which gave way to newer ones. */
  handshakesDisplaced = 0;
  /** Packets of connections that are not known here and were answered by a stateless reset. */
  statelessResetsSent = 0;
  /** Those that were not, because too many came. */
  statelessResetsSuppressed = 0;
  handshakesStarted = 0;
  handshakesCompleted = 0;
  handshakesFailed = 0;
  /** Exceptions in this library's own code: each ended one connection, or cost one datagram. */
  internalErrors = 0;
  /** Batches of datagrams that the socket's `send` answered with an exception; they count as lost. */
  batchesRefused = 0;
  connectionsOpen = 0;
}
