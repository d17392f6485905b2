/** The other nodes of the cluster, as far as this one talks with each of them: streams of members of shared groups, and orders. */

import type { BackplaneEvents, BackplanePort } from './backplane-port.ts';
import { ClusterOrders, type OrderSurroundings } from './cluster-orders.ts';
import { NodeMessage } from './node-message.ts';
import { NodeStreams } from './node-stream.ts';
import type { RelaySurroundings } from './relay.ts';
import { Relays } from './relays.ts';

export class Neighbours implements Partial<BackplaneEvents> {
  readonly streams: NodeStreams;
  readonly relays: Relays;
  readonly orders: ClusterOrders;
  /** Messages that are about nothing this version knows. */
  private unknown = 0;

  constructor(broker: RelaySurroundings & OrderSurroundings, port: BackplanePort) {
    this.streams = new NodeStreams(port, broker);
    this.relays = new Relays(broker, this.streams);
    this.orders = new ClusterOrders(broker, port);
  }

  /** Messages of other nodes that were none. */
  get invalid(): number {
    return this.unknown + this.streams.invalid + this.orders.invalid;
  }

  received(node: string, message: Uint8Array): void {
    if (message[0] === NodeMessage.STREAM) this.streams.hear(node, message);
    else if (message[0] === NodeMessage.ORDER) this.orders.hear(node, message);
    else this.unknown++;
  }

  connected(): void {
    this.streams.connected();
  }

  nodeGone(node: string): void {
    this.streams.nodeGone(node);
  }
}
