/** Three brokers on one server of NATS, each a process of its own with a way of its own there, which can be cut. */

import { NatsServer } from '../broker/backplane/nats-server.ts';
import { TcpWay } from '../broker/backplane/tcp-way.ts';
import { BrokerProcess } from './broker-process.ts';

export class ClusterNode {
  readonly name: string;
  readonly broker: BrokerProcess;
  readonly way: TcpWay;

  constructor(name: string, cluster: string, way: TcpWay) {
    this.name = name;
    this.way = way;
    const options = ['--backplane', way.url, '--cluster', cluster, '--node', name];
    this.broker = new BrokerProcess({ options, keepsStore: false });
  }

  async remove(): Promise<void> {
    await this.broker.remove();
    await this.way.close();
  }
}

export class ClusterProcesses {
  readonly nats: NatsServer;
  readonly nodes: readonly ClusterNode[];

  private constructor(nats: NatsServer, nodes: readonly ClusterNode[]) {
    this.nats = nats;
    this.nodes = nodes;
  }

  /** @param program - the server of NATS */
  static async start(program: string, brokers = 3): Promise<ClusterProcesses> {
    const nats = await NatsServer.start(program);
    const nodes: ClusterNode[] = [];
    for (let i = 0; i < brokers; i++)
      nodes.push(new ClusterNode(`n${i}`, 'crash', await TcpWay.to(nats.port)));
    const cluster = new ClusterProcesses(nats, nodes);
    try {
      await Promise.all(nodes.map(({ broker }) => broker.start()));
    } catch (error) {
      await cluster.remove();
      throw error;
    }
    return cluster;
  }

  /** What clients connect to: beginning with that of one node. */
  urls(first = 0): string[] {
    const urls = this.nodes.map(({ broker }) => broker.url);
    return [...urls.slice(first), ...urls.slice(0, first)];
  }

  /** What all of them have said. */
  get notes(): string {
    return [this.nats.notes, ...this.nodes.map(({ name, broker }) => `${name}: ${broker.notes}`)]
      .map((notes) => notes.slice(-1_500))
      .join('\n');
  }

  async remove(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.remove()));
    await this.nats.remove();
  }
}
