import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import {
  type AddressInfo,
  connect as connectTcp,
  createServer as createTcpServer,
  type Socket,
} from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type Broker, startBroker } from '../../src/broker/index.ts';
import { type BrokerClient, connectClient } from '../../src/client/index.ts';
import { type Gateway, startGateway } from '../../src/gateway/index.ts';
import { generateIdentity, type Identity } from '../../src/index.ts';
import { emptyFolder } from '../empty-folder.ts';
import { NEVER_LATE } from '../gateway/gateway-server.ts';
import { ownPort } from '../own-port.ts';
import { programOf } from '../typescript-program.ts';
import { chromiumPath, keepScreenshot, type OpenPage, useBrowser } from './chromium.ts';

describe.skipIf(chromiumPath() === null)('in a real browser', () => {
  const browser = useBrowser();
  let broker: Broker;
  let gateway: Gateway;
  let native: BrokerClient;

  beforeAll(async () => {
    broker = await startBroker({ identity: generateIdentity(), port: 0 });
    gateway = await startGateway({ broker, port: 0, limits: NEVER_LATE });
    native = await connectClient(broker.url);
  });
  afterAll(async () => {
    await native?.close();
    await gateway?.close();
    await broker?.close();
  });

  test('a page of this machine runs, what goes wrong in it is told, and no other host is asked', async () => {
    const page = await browser.open(
      await served('<title>x</title><script>console.error("oh"); throw new Error("dear")</script>'),
      { troubled: true },
    );
    expect(await page.title()).toBe('x');
    expect(page.trouble).toEqual(['console: oh', 'uncaught: dear']);
    const answer = await page.evaluate("fetch('http://example.com/').catch((error) => error.message)");
    expect(answer).toBe('Failed to fetch');
  });

  test('a page publishes to native clients and hears of what they publish, text, JSON and bytes', async () => {
    const heard: string[] = [];
    await native.subscribe(
      'from/page/#',
      ({ topic, payload }) => void heard.push(`${topic} ${payload.toString('hex')}`),
    );
    const page = await pageWithClient(gateway.url);
    const receipt = await run(
      page,
      `await client.subscribe('from/native/#', (message) => heard.push([message.topic, [...message.payload], message.contentType ?? '']));
       client.publish('from/page/text', 'é');
       client.publish('from/page/bytes', new Uint8Array([0, 255]));
       await client.flush();
       return client.publish('from/page/stored', '{}', { qos: 1 });`,
    );
    expect(receipt).toMatchObject({ offset: expect.any(Number), duplicate: false });
    await eventually(() => heard).toEqual([
      'from/page/text c3a9',
      'from/page/bytes 00ff',
      'from/page/stored 7b7d',
    ]);
    native.publish('from/native/a', Buffer.from([1, 254]));
    native.publish('from/native/b', '[1]', { contentType: 'application/json' });
    await eventually(() => run(page, 'return heard')).toEqual([
      ['from/native/a', [1, 254], ''],
      ['from/native/b', [91, 49, 93], 'application/json'],
    ]);
  });

  test('[WEB-4] a page that slept, whose connection went without a word, has all that was stored, once, soon after it wakes up', async () => {
    const middle = await silenceable(Number(new URL(gateway.url).port));
    const page = await pageWithClient(middle.url, undefined, { movableClock: true });
    await run(
      page,
      "await client.subscribe('night/#', (message) => void heard.push(message.text()), { qos: 1 })",
    );
    await publishNumbers(native, 'night/a', 0, 3);
    await eventually(() => run(page, 'return heard.length')).toBe(3);
    middle.goSilent();
    await publishNumbers(native, 'night/a', 3, 8);
    await page.clock.fastForward('08:00:00');
    await page.clock.fastForward(6_000); // in which it has asked, and nothing has come
    await publishNumbers(native, 'night/a', 8, 10);
    await eventually(() => run(page, 'return heard')).toEqual(numbers(0, 10));
    expect(await run(page, 'return [client.state, client.metrics().connects]')).toEqual(['online', 2]);
  });

  test('a page goes on where it was when the broker and its gateway are started again, and what it published meanwhile is stored once', async () => {
    const own = await startStored();
    const page = await pageWithClient(own.gateway.url, undefined, { troubled: true });
    await run(
      page,
      `client.on('resumed', (_, { recovered }) => told.push('recovered ' + recovered));
       client.on('gap', (_, { missed }) => told.push('gap ' + missed));
       await client.subscribe('log/#', (message) => void heard.push(message.text()), { qos: 1 });
       for (let i = 0; i < 5; i++) await client.publish('log/a', String(i), { qos: 1 });`,
    );
    await own.stop();
    await eventually(() => run(page, 'return client.state')).toBe('offline');
    await run(page, "receipts = [5, 6, 7].map((i) => client.publish('log/a', String(i), { qos: 1 }))");
    await own.start();
    await eventually(() => run(page, 'return heard')).toEqual(numbers(0, 8));
    expect(await run(page, 'return (await Promise.all(receipts)).map(({ result }) => result)')).toEqual(
      Array(3).fill('stored'),
    );
    expect(await run(page, 'return told')).toEqual(['recovered true']);
  });

  test('pages of other origins are let in where the gateway lists them, and not otherwise', async () => {
    const foreign = await served('<title>foreign</title>');
    const page = await browser.open(foreign, { troubled: true });
    const connect = (url: string) =>
      page.evaluate(`(async () => {
        const { connectClient } = await import('${url}/jsp.js');
        const client = await connectClient('${url}');
        return client.state;
      })().catch((error) => error.code)`);
    expect(await connect(origin(gateway.url))).toBe('ERR_JSP_CONNECTION_REFUSED');
    const open = await startGateway({ broker, port: 0, limits: NEVER_LATE, origins: [origin(foreign)] });
    onTestFinished(() => open.close());
    expect(await connect(origin(open.url))).toBe('online');
  });

  test('the pages of examples/ chat and drive, and what strangers call themselves stays text', async () => {
    const pages = await startExamples();
    const [ann, bob] = [
      await browser.open(pages.chat),
      await browser.open(pages.chat, { colorScheme: 'dark' }),
    ];
    await ann.locator('#name').fill('<img src=x onerror=alert(1)>');
    await ann.locator('#name').press('Tab');
    await ann.locator('#text').fill('hello <b>all</b>');
    await ann.locator('#text').press('Enter');
    await eventually(() => bob.locator('.line').allTextContents()).toEqual([
      expect.stringMatching(/^<img src=x onerror=alert\(1\)> · .*hello <b>all<\/b>$/),
    ]);
    await eventually(() => bob.locator('#members li').count()).toBe(2);
    expect(await bob.locator('img, b').count()).toBe(0);
    expect(await ann.locator('.line.mine').count()).toBe(1);
    await keepScreenshot(bob, 'example-chat-dark');
    await bob.reload();
    await bob.setViewportSize({ width: 380, height: 700 });
    await eventually(() => bob.locator('.line').count()).toBe(1); // from the log
    await keepScreenshot(bob, 'example-chat-narrow');
    await Promise.all([ann.close(), bob.close()]);

    const map = await browser.open(pages.map, { viewport: { width: 800, height: 500 } });
    await eventually(() => map.locator('#vehicles').textContent()).toBe('12 vehicles');
    await map.locator('#drive').click();
    await map.mouse.move(300, 300);
    await map.mouse.move(400, 350, { steps: 5 });
    await eventually(() => map.locator('#vehicles').textContent()).toBe('13 vehicles');
    await eventually(async () =>
      Number.parseInt((await map.locator('#rate').textContent()) ?? '', 10),
    ).toBeGreaterThan(20);
    await keepScreenshot(map, 'example-map');
  });

  /** A page of the gateway's own origin that has a client, and what it hears. */
  async function pageWithClient(url: string, session?: string, options = {}): Promise<OpenPage> {
    const page = await browser.open(`${origin(url)}/healthz`, options);
    await page.evaluate(`(async () => {
      const { connectClient } = await import('/jsp.js');
      Object.assign(globalThis, { heard: [], told: [], receipts: [], client: await connectClient(undefined, { session: ${JSON.stringify(session)}, reconnect: { maxMs: 1000 } }) });
    })()`);
    return page;
  }
});

/** Runs the body of an async function in a page. */
function run(page: OpenPage, body: string): Promise<unknown> {
  return page.evaluate(`(async () => { ${body} })()`);
}

async function publishNumbers(client: BrokerClient, topic: string, from: number, to: number): Promise<void> {
  await Promise.all(numbers(from, to).map((text) => client.publish(topic, text, { qos: 1 })));
}

function numbers(from: number, to: number): string[] {
  return Array.from({ length: to - from }, (_, i) => `${from + i}`);
}

function origin(url: string): string {
  return new URL(url).origin;
}

/** A broker that keeps what it has on disk, and its gateway: stopped and started at the same addresses. */
async function startStored() {
  const identity: Identity = generateIdentity();
  const directory = emptyFolder();
  let broker: Broker;
  let gateway: Gateway;
  const start = async (port: number, httpPort: number): Promise<void> => {
    broker = await startBroker({ identity, port, store: { directory } });
    gateway = await startGateway({ broker, port: httpPort, limits: NEVER_LATE });
  };
  const stop = async (): Promise<void> => {
    await gateway.close({ drainMs: 0 });
    await broker.close();
  };
  const ports = [await ownPort(), await ownPort()] as const;
  await start(...ports);
  onTestFinished(stop);
  return { gateway: gateway!, stop, start: () => start(...ports) };
}

/** The gateway through somebody who can let its connections die without a word, as when a machine has slept. New ones are forwarded. */
async function silenceable(port: number): Promise<{ url: string; goSilent(): void }> {
  const pairs = new Set<[near: Socket, far: Socket]>();
  const server = createTcpServer((near) => {
    const far = connectTcp(port, '127.0.0.1');
    for (const [from, to] of [
      [near, far],
      [far, near],
    ]) {
      from.on('error', () => {});
      from.on('data', (data) => to.write(data));
      from.on('end', () => to.end());
    }
    pairs.add([near, far]);
  });
  onTestFinished(() => {
    for (const pair of pairs) for (const socket of pair) socket.destroy();
    server.close();
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    goSilent: () => {
      for (const [near, far] of pairs) {
        for (const socket of [near, far])
          socket.removeAllListeners('data').removeAllListeners('end').resume();
        far.destroy();
      }
    },
  };
}

/** Serves one page. */
async function served(html: string): Promise<string> {
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'text/html').end(`<link rel="icon" href="data:,">${html}`);
  });
  onTestFinished(() => void server.close().closeAllConnections());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

/** Runs examples/browser-pages.ts, and says where its pages are. */
async function startExamples(): Promise<{ chat: string; map: string }> {
  const program = programOf(fileURLToPath(new URL('../../examples/browser-pages.ts', import.meta.url)));
  const child: ChildProcess = spawn(process.execPath, [program, '0', '0'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const closed = once(child, 'close');
  onTestFinished(async () => {
    child.kill();
    await closed;
  });
  let output = '';
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
    output += chunk;
    const [, chat, map] = /^chat: (\S+)\nmap: (\S+)\n/m.exec(output) ?? [];
    if (map !== undefined) return { chat, map };
  }
  throw new Error('the example has ended');
}

/** What is looked at again until it is so; on a busy machine that takes its time. */
function eventually<T>(look: () => T) {
  return expect.poll(look);
}
