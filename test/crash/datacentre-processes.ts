/** Two data centres: a server of NATS with JetStream here, a leaf of it there, brokers at both, and between the two a way that can be cut. */

import { NatsServer } from '../broker/backplane/nats-server.ts';
import { TcpWay } from '../broker/backplane/tcp-way.ts';
import { ownPort } from '../own-port.ts';
import { BrokerProcess } from './broker-process.ts';

export class DatacentreProcesses {
  /** Between them; brokers and clients do not go by it. */
  readonly way: TcpWay;
  readonly here: BrokerProcess;
  readonly there: BrokerProcess;
  private readonly hub: NatsServer;
  private readonly leaf: NatsServer;

  private constructor(way: TcpWay, hub: NatsServer, leaf: NatsServer) {
    this.way = way;
    this.hub = hub;
    this.leaf = leaf;
    this.here = brokerOf('here', hub);
    this.there = brokerOf('there', leaf);
  }

  /** @param program - the server of NATS */
  static async start(program: string): Promise<DatacentreProcesses> {
    const port = await ownPort();
    const way = await TcpWay.to(port);
    // Or the leaf hears of the port behind the way.
    const leafnodes = `listen: "127.0.0.1:${port}", advertise: "127.0.0.1:${way.port}"`;
    const hub = await NatsServer.start(program, {
      domain: 'jsp',
      config: `server_name: "here"\nleafnodes { ${leafnodes} }\n${NOTICES_A_CUT}`,
    });
    const remote = `{ url: "nats-leaf://127.0.0.1:${way.port}" }`;
    const leaf = await NatsServer.start(program, {
      config: `server_name: "there"\ndefault_js_domain: { "$G": "jsp" }\nleafnodes { reconnect: 1, remotes: [ ${remote} ] }\n${NOTICES_A_CUT}`,
      keepsStreams: false,
    });
    const datacentres = new DatacentreProcesses(way, hub, leaf);
    try {
      await datacentres.here.start();
      await datacentres.there.start();
    } catch (error) {
      await datacentres.remove();
      throw error;
    }
    return datacentres;
  }

  /** What all of them have said. */
  get notes(): string {
    const { hub, leaf, here, there } = this;
    return Object.entries({ hub, leaf, here, there })
      .map(([name, { notes }]) => `${name}: ${notes.slice(-1_500)}`)
      .join('\n');
  }

  async remove(): Promise<void> {
    await Promise.all([this.here.remove(), this.there.remove()]);
    await Promise.all([this.hub.remove(), this.leaf.remove(), this.way.close()]);
  }
}

function brokerOf(name: string, { url }: NatsServer): BrokerProcess {
  return new BrokerProcess({
    options: ['--backplane', url, '--cluster', 'datacentres', '--node', name],
    keepsStore: false,
  });
}

/** As deploy/nats.conf, but after 6 s instead of 15. */
const NOTICES_A_CUT = 'ping_interval: "2s"\nping_max: 2';
