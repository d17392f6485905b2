/** `GET /mqtt`: MQTT in the frames of a WebSocket of the gateway, for pages and for whoever is let through by nothing but HTTP. [MQT-2] */

import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { Problem } from '../problem.ts';
import type { Upgrade } from '../router.ts';
import type { GatewayState, Guest } from '../state.ts';
import { MqttClients } from './clients.ts';
import { MqttReason } from './codes.ts';
import { limitsOf, type MqttLimits } from './limits.ts';
import type { MqttBroker } from './options.ts';
import { WebSocketMqttClient } from './wire.ts';

/** Those of each gateway. */
const doors = new WeakMap<GatewayState, MqttWebSockets>();

export const mqttUpgrade: Upgrade = (state, request, socket, head) => {
  const { mqtt } = state;
  if (mqtt === null) {
    throw new Problem(
      'NOT_FOUND',
      'MQTT is for gateways in the process of their broker that do not refuse it.',
    );
  }
  let door = doors.get(state);
  if (door === undefined) {
    door = new MqttWebSockets(state, mqtt.broker, limitsOf(mqtt.limits));
    doors.set(state, door);
  }
  door.upgrade(request, socket, head);
};

class MqttWebSockets {
  private readonly state: GatewayState;
  private readonly clients: MqttClients;
  private readonly limits: MqttLimits;
  private readonly server: WebSocketServer;

  constructor(state: GatewayState, broker: MqttBroker, limits: MqttLimits) {
    this.state = state;
    this.limits = limits;
    this.clients = new MqttClients(broker, limits, state.clock, state.onFault);
    state.whenClosed.push(this.clients.show(), () => this.clients.close());
    this.server = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      // What is kept of a part, and of what is read at once, is more than its bytes, be it ever so short.
      maxFragments: FRAGMENTS_MAX,
      maxBufferedChunks: CHUNKS_MAX,
      // Several packets may come in one frame.
      maxPayload: 2 * limits.packetBytesMax,
      handleProtocols: (offered) => SUBPROTOCOLS.find((name) => offered.has(name)) ?? false,
    });
  }

  /** @throws {Problem} REQUEST_INVALID, where it is no MQTT; OVERLOADED, where there are as many as there may be */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const offered = request.headers['sec-websocket-protocol']?.split(',').map((name) => name.trim()) ?? [];
    if (!SUBPROTOCOLS.some((name) => offered.includes(name))) {
      throw new Problem('REQUEST_INVALID', `The subprotocol here is ${SUBPROTOCOLS.join(' or ')}.`);
    }
    if (this.clients.size >= this.limits.connectionsMax) {
      throw new Problem('OVERLOADED', `There are ${this.limits.connectionsMax} clients of MQTT already.`, {
        retryAfterMs: RETRY_MS,
      });
    }
    const address = this.state.addresses.of(request);
    this.server.handleUpgrade(request, socket, head, (webSocket) => {
      const client = new WebSocketMqttClient(this.clients, webSocket, socket, address);
      const guest: Guest = {
        goodbye: () => client.connection.leave(MqttReason.SERVER_SHUTTING_DOWN, 'the gateway is going'),
      };
      this.clients.add(client);
      this.state.guests.add(guest);
      webSocket.on('close', () => this.state.guests.delete(guest));
    });
  }
}

/** The second is that of MQTT 3.1, which clients of 3.1.1 offer as well. */
const SUBPROTOCOLS = ['mqtt', 'mqttv3.1'];
const RETRY_MS = 1_000;
/** Parts of a frame: of the largest, such of 4 KiB. */
const FRAGMENTS_MAX = 512;
const CHUNKS_MAX = 8_192;
