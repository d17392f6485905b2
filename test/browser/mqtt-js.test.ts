/** The browser bundle of mqtt.js as it comes from the registry, in a page of another origin, on the WebSocket of a gateway. */

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Broker, startBroker } from '../../src/broker/index.ts';
import { type BrokerClient, connectClient } from '../../src/client/index.ts';
import { type Gateway, startGateway } from '../../src/gateway/index.ts';
import { generateIdentity } from '../../src/index.ts';
import { NEVER_LATE } from '../gateway/gateway-server.ts';
import { chromiumPath, type OpenPage, useBrowser } from './chromium.ts';

const BUNDLE = createRequire(import.meta.url).resolve('mqtt/dist/mqtt.min');

describe.skipIf(chromiumPath() === null)('mqtt.js in a real browser', () => {
  const browser = useBrowser();
  const faults: unknown[] = [];
  const pages = createServer((request, response) => {
    if (request.url === '/mqtt.js')
      response.setHeader('content-type', 'text/javascript').end(readFileSync(BUNDLE));
    else
      response
        .setHeader('content-type', 'text/html')
        .end('<link rel="icon" href="data:,"><script src="/mqtt.js"></script>');
  });
  let page: string;
  let broker: Broker;
  let gateway: Gateway;
  let native: BrokerClient;

  beforeAll(async () => {
    await once(pages.listen(0, '127.0.0.1'), 'listening');
    page = `http://127.0.0.1:${(pages.address() as AddressInfo).port}`;
    broker = await startBroker({ identity: generateIdentity(), port: 0 });
    gateway = await startGateway({ broker, port: 0, limits: NEVER_LATE, origins: [page] });
    gateway.on('fault', (fault) => faults.push(fault));
    native = await connectClient(broker.url);
  });
  afterAll(async () => {
    await native?.close();
    await gateway?.close({ drainMs: 0 });
    await broker?.close({ drainMs: 0 });
    pages.close().closeAllConnections();
    expect(faults).toEqual([]);
  });

  test.each([4, 5])(
    'publishes to native clients and hears what they publish, with protocol version %i',
    async (version) => {
      const base = `browser/${version}`;
      const heard: string[] = [];
      const subscription = await native.subscribe(
        `${base}/in/#`,
        ({ topic, payload }) => void heard.push(`${topic} ${payload}`),
      );
      const open = await browser.open(page);
      const granted = await run(
        open,
        `globalThis.heard = [];
       globalThis.client = await mqtt.connectAsync(${JSON.stringify(`${gateway.url.replace('http', 'ws')}/mqtt`)}, { protocolVersion: ${version} });
       client.on('message', (topic, payload, { qos }) => heard.push(topic + ' ' + payload + ' ' + qos));
       const granted = await client.subscribeAsync('${base}/out/#', { qos: 2 });
       await client.publishAsync('${base}/in/text', 'é', { qos: 1 });
       await client.publishAsync('${base}/in/large', 'x'.repeat(300000), { qos: 1 });
       return granted.map(({ qos }) => qos);`,
      );
      expect(granted).toEqual([1]);
      await expect.poll(() => heard.length).toBe(2);
      expect(heard).toEqual([`${base}/in/text é`, `${base}/in/large ${'x'.repeat(300_000)}`]);
      native.publish(`${base}/out/a`, 'volatile');
      await native.publish(`${base}/out/b`, 'stored', { qos: 1 });
      await expect.poll(() => run(open, 'return heard.length')).toBe(2);
      expect((await run(open, 'return heard.sort()')) as string[]).toEqual([
        `${base}/out/a volatile 0`,
        `${base}/out/b stored 1`,
      ]);
      await run(open, 'await client.endAsync()');
      await subscription.unsubscribe();
    },
  );
});

function run(page: OpenPage, body: string): Promise<unknown> {
  return page.evaluate(`(async () => { ${body} })()`);
}
