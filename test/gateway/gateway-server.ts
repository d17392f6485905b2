/** A broker and a gateway on it, in memory and on ports of the system's choice, for the tests of a file. */

import { type Broker, type BrokerOptions, startBroker } from '../../src/broker/index.ts';
import { type Gateway, startGateway } from '../../src/gateway/index.ts';
import type { GatewayOptions } from '../../src/gateway/options.ts';
import { generateIdentity } from '../../src/transport/system-crypto.ts';

export interface TestGateway {
  readonly broker: Broker;
  readonly gateway: Gateway;
  /** Faults of either. */
  readonly faults: unknown[];
  /** Makes a request. */
  fetch(path: string, init?: RequestInit): Promise<Response>;
  close(): Promise<void>;
}

export async function gatewayInMemory(
  options: Partial<GatewayOptions> = {},
  brokerOptions: Partial<BrokerOptions> = {},
): Promise<TestGateway> {
  const broker = await startBroker({ identity: generateIdentity(), port: 0, ...brokerOptions });
  const gateway = await startGateway({ broker, port: 0, ...options });
  const faults: unknown[] = [];
  broker.on('fault', (fault) => faults.push(fault));
  gateway.on('fault', (fault) => faults.push(fault));
  return {
    broker,
    gateway,
    faults,
    fetch: (path, init) => fetch(gateway.url + path, init),
    close: async () => {
      await gateway.close({ drainMs: 0 });
      await broker.close({ drainMs: 0 });
    },
  };
}
