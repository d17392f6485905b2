/** Brokers on one NATS, with clients, in the process of a test. */

import { type Broker, type BrokerOptions, startBroker } from '../../../../src/broker/index.ts';
import { type BrokerClient, type BrokerClientOptions, connectClient } from '../../../../src/client/index.ts';
import { generateIdentity } from '../../../../src/index.ts';

export class Brokers {
  readonly cluster: string;
  private readonly url: () => string;
  private readonly open: (() => unknown)[] = [];
  private static count = 0;

  /** @param url - of the NATS that brokers connect to */
  constructor(url: () => string) {
    this.url = url;
    this.cluster = `c${++Brokers.count}`;
  }

  async start(node: string, options: Partial<BrokerOptions> = {}, urls = [this.url()]): Promise<Broker> {
    const { cluster } = this;
    const broker = await startBroker({
      identity: generateIdentity(),
      port: 0,
      backplane: { kind: 'nats', urls, cluster, node },
      ...options,
    });
    this.open.push(() => broker.close({ drainMs: 0 }));
    return broker;
  }

  async client(broker: Broker, options: BrokerClientOptions = {}): Promise<BrokerClient> {
    const client = await connectClient(broker.url, options);
    this.open.push(() => client.destroy());
    return client;
  }

  async close(): Promise<void> {
    for (const close of this.open.splice(0).reverse()) await close();
  }
}

/** Resolves when `is` says so. */
export async function until(is: () => boolean, what: string, ms = 60_000): Promise<void> {
  const end = performance.now() + ms;
  while (!is()) {
    if (performance.now() > end) throw new Error(`not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
