import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { JspError } from '../../src/base/errors.ts';
import { connectClientBy } from '../../src/client/broker-client.ts';
import { type BrokerClient, type BrokerClientOptions, connectClient } from '../../src/client/index.ts';
import { until } from './fake-broker.ts';
import { FakeNetwork } from './fake-transport.ts';
import { ManualClock } from './manual-clock.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const AT_ONCE: BrokerClientOptions = { firstConnect: 'background', reconnect: { minMs: 0, maxMs: 0 } };

/** Bytes of the heap that `dials` more attempts have left. */
async function heapLeftBy(
  client: BrokerClient,
  warmUp: number,
  dials: number,
  clock?: ManualClock,
): Promise<number> {
  const after = async (failedAttempts: number): Promise<number> => {
    await until(() => {
      clock?.advance(0);
      return client.metrics().failedAttempts >= failedAttempts;
    });
    for (let i = 0; i < 3; i++) {
      collectGarbage();
      await new Promise((resolve) => setImmediate(resolve));
    }
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  const before = await after(warmUp);
  return (await after(warmUp + dials)) - before;
}

test('an attempt that fails with something that cannot be printed is an attempt that failed', async () => {
  const connectBy = (): Promise<never> => Promise.reject(Object.create(null));
  await expect(connectClientBy(connectBy, 'jsp://broker')).rejects.toMatchObject({ code: 'ERR_JSP_CLOSED' });
});

test('5,000 attempts in vain leave the heap within 2 MB: refused, cut in the handshake, and left without an answer to HELLO [CLT-6]', async () => {
  const network = new FakeNetwork();
  const clock = new ManualClock();
  let dials = 0;
  const connectBy = async () => {
    if (dials++ % 2 === 0) throw new JspError('ERR_JSP_CONNECTION_REFUSED', 'x'.repeat(1_000));
    const [near, far] = network.connect();
    far.on('stream', () => far.destroy(8));
    return near;
  };
  const client = await connectClientBy(connectBy, ['jsp://a', 'jsp://b'], { ...AT_ONCE, clock });
  for (let i = 0; i < 100; i++) client.publish('t', `${i}`);
  expect(await heapLeftBy(client, 500, 5_000, clock)).toBeLessThan(2 * 1024 * 1024);
  expect(client.unconfirmed).toBe(100);
  client.destroy();
});

test('over the real transport each attempt is gone with all that it had, its socket among that [CLT-6]', async () => {
  const silent = createSocket('udp4');
  silent.bind(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as AddressInfo;
  const url = `jsp://${'A'.repeat(43)}@127.0.0.1:${port}`;
  const client = await connectClient(url, { ...AT_ONCE, handshakeTimeoutMs: 1 });
  const left = await heapLeftBy(client, 60, 150);
  expect(left / 150).toBeLessThan(4_096);
  client.destroy();
  silent.close();
});
