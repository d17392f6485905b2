/** What MQTT clients may cost, and what is counted of them. */

/** Bounds of the MQTT door. */
export interface MqttLimits {
  /** Connections at once. */
  readonly connectionsMax: number;
  /** Bytes of one packet, either way. */
  readonly packetBytesMax: number;
  /** Messages of QoS 1 and 2 that a client may publish before the first is answered. */
  readonly receiveMax: number;
  /** Messages of QoS 1 that a client is given before it acknowledges the first, whatever it takes. */
  readonly inFlightMax: number;
  /** Topic aliases that a client may define. */
  readonly topicAliasMax: number;
  /** The longest keep-alive, in s; 0: whatever the client says. */
  readonly keepAliveMaxS: number;
  /** From the connection to its CONNECT. */
  readonly connectMs: number;
  /** Bytes of all packets together that have not come whole. */
  readonly partialBytesMax: number;
}

/** Since the door was opened, but for `connected`. */
export class MqttCounters {
  /** Clients that are connected now. */
  connected = 0;
  packetsIn = 0;
  packetsOut = 0;
  /** Messages that clients published, and those that were not taken. */
  published = 0;
  refused = 0;
  /** Messages that clients were sent, those of QoS 1 among them, and those that were larger than a client takes. */
  delivered = 0;
  deliveredQos1 = 0;
  tooLarge = 0;
  refusedConnects = 0;
  protocolErrors = 0;
  keepAliveTimeouts = 0;
}
