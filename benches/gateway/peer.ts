import { jsp } from './jsp.ts';
import { proxy } from './proxy.ts';

/** A gateway over HTTP and WebSocket with what is behind it: what the gateway's benchmark measures, and measures it against. */
export interface GatewayPeer {
  readonly name: string;
  /** Starts it, with all that it needs, in processes of its own. Throws with what to install where something is missing. */
  start(): Promise<RunningGateway>;
  /** The message by which a WebSocket subscribes to a topic. */
  subscription(topic: string): string;
  /** Whether that, which came over a WebSocket, says that the subscription is there. */
  isSubscribed(text: string): boolean;
  /** Whether it is a delivery. */
  isDelivery(text: string): boolean;
}

export interface RunningGateway {
  readonly host: string;
  readonly port: number;
  /** Of WebSockets. */
  readonly socketPath: string;
  readonly subprotocol: string;
  readonly pids: readonly number[];
  stop(): Promise<void>;
}

/** Both take `POST /v1/topics/TOPIC` with the payload, and `POST /v1/bulk` with a list of `{ topic, json }`. */
export const PEERS: readonly GatewayPeer[] = [jsp, proxy];

export function peerNamed(name: string): GatewayPeer {
  const peer = PEERS.find((candidate) => candidate.name === name);
  if (peer === undefined)
    throw new RangeError(`no peer ${name}; there are ${PEERS.map((each) => each.name).join(', ')}`);
  return peer;
}
