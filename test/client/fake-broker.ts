import { JspError } from '../../src/base/errors.ts';
import type { BrokerLimits } from '../../src/broker/core/state.ts';
import { MemoryStore } from '../../src/broker/core/store/memory-store.ts';
import { BrokerService } from '../../src/broker/service.ts';
import { connectClientBy } from '../../src/client/broker-client.ts';
import { type BrokerClient, type BrokerClientOptions, connectClient } from '../../src/client/index.ts';
import { type FakeConnection, FakeNetwork } from './fake-transport.ts';

/** A broker and its clients over a transport in memory. */
export class FakeBroker {
  readonly network: FakeNetwork;
  service: BrokerService;
  private readonly limits: BrokerLimits;
  private epoch = 1;

  constructor(limits: BrokerLimits = {}, network = new FakeNetwork()) {
    this.network = network;
    this.limits = limits;
    this.service = new BrokerService(limits);
  }

  async client(options: BrokerClientOptions = {}): Promise<BrokerClient> {
    return (await this.clientAndConnection(options)).client;
  }

  /** It is as if it had died, and another one knew nothing of it; its connections are not broken by that. */
  restart(): void {
    this.service = new BrokerService(this.limits, { store: new MemoryStore([], ++this.epoch) });
  }

  async clientAndConnection(
    options: BrokerClientOptions = {},
  ): Promise<{ client: BrokerClient; connection: FakeConnection }> {
    const [near, far] = this.network.connect();
    this.service.serve(far);
    return { client: await connectClient(near, options), connection: near };
  }

  /** A client that comes back at once, as long as `isReachable` says so, and its connections up to now. */
  async returningClient(
    options: BrokerClientOptions = {},
  ): Promise<{ client: BrokerClient; connections: FakeConnection[]; way: { isReachable: boolean } }> {
    const connections: FakeConnection[] = [];
    const way = { isReachable: true };
    const connectBy = async () => {
      if (!way.isReachable) throw new JspError('ERR_JSP_CONNECTION_REFUSED', 'nothing listens there');
      const [near, far] = this.network.connect();
      connections.push(near);
      this.service.serve(far);
      return near;
    };
    const client = await connectClientBy(connectBy, 'jsp://broker', { reconnect: { maxMs: 1 }, ...options });
    return { client, connections, way };
  }
}

/**
 * Waits until `condition` holds; the test's own timeout ends a wait in vain. After many turns of the event loop it looks once a millisecond: one that spins
 * takes the CPU from those that it waits for.
 */
export async function until(condition: () => boolean): Promise<void> {
  for (let turn = 0; !condition(); turn++)
    await new Promise<void>((resolve) =>
      turn < TURNS_AT_ONCE ? setImmediate(resolve) : setTimeout(resolve, 1),
    );
}

const TURNS_AT_ONCE = 1_000;

/** Lets everything that is on its way in memory arrive. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 200; i++) await new Promise((resolve) => setImmediate(resolve));
}
