/** The dashboard of a real broker: what it shows is so, and what it does is done. */

import { describe, expect, onTestFinished, test } from 'vitest';
import { hashOfApiKey, makeApiKey } from '../../src/broker/auth/api-key.ts';
import type { BrokerOptions } from '../../src/broker/index.ts';
import { type BrokerClient, connectClient } from '../../src/client/index.ts';
import type { GatewayOptions } from '../../src/gateway/options.ts';
import { generateIdentity } from '../../src/transport/system-crypto.ts';
import { gatewayInMemory, type TestGateway } from '../gateway/gateway-server.ts';
import { chromiumPath, keepScreenshot, type OpenOptions, type OpenPage, useBrowser } from './chromium.ts';

describe.skipIf(chromiumPath() === null)('the dashboard of a broker', () => {
  const browser = useBrowser();

  async function served(
    brokerOptions: Partial<BrokerOptions> = {},
    options: Partial<GatewayOptions> = {},
  ): Promise<TestGateway> {
    const gateway = await gatewayInMemory(options, brokerOptions);
    onTestFinished(() => gateway.close());
    return gateway;
  }

  async function client(gateway: TestGateway, options: object = {}): Promise<BrokerClient> {
    const connected = await connectClient(gateway.broker.url, options);
    onTestFinished(() => connected.close({ timeoutMs: 0 }).catch(() => {}));
    return connected;
  }

  async function opened({ gateway }: TestGateway, view = '', options: OpenOptions = {}): Promise<OpenPage> {
    return browser.open(`${gateway.url}/#${view}`, { viewport: { width: 1440, height: 900 }, ...options });
  }

  async function isLive(page: OpenPage): Promise<void> {
    await expect.poll(() => page.locator('#pulse').textContent(), POLL).toBe('live');
  }

  test('moves within 3 s under load, and ends with the figures of /metrics', async () => {
    const gateway = await served();
    const page = await opened(gateway);
    await isLive(page);
    const publisher = await client(gateway);
    const subscriber = await client(gateway);
    let came = 0;
    await subscriber.subscribe('load/#', () => {
      came++;
    });
    const figure = page.locator('.chart').first().locator('.figure b').first();
    await expect.poll(() => figure.textContent(), POLL).toBe('0/s');
    const startedAt = performance.now();
    let sent = 0;
    const load = setInterval(() => {
      for (let i = 0; i < 20; i++) void publisher.publish(`load/${sent++ % 5}`, 'x'.repeat(100));
    }, 20);
    onTestFinished(() => clearInterval(load));
    await expect.poll(() => figure.textContent(), POLL).not.toBe('0/s');
    // Two a second are told; the rest is for a machine that is busy.
    expect(performance.now() - startedAt).toBeLessThan(15_000);
    await expect.poll(() => page.locator('.panels').textContent(), POLL).toContain('load/0');
    await keepScreenshot(page, 'dashboard-real');
    clearInterval(load);
    await expect.poll(() => came, POLL).toBe(sent);
    const exact = page.locator('.chart .note').first();
    const metrics = async (): Promise<string> => {
      const text = await (await gateway.fetch('/metrics')).text();
      return `${seriesSum(text, METRIC_IN)} messages in, ${seriesSum(text, METRIC_OUT)} out`;
    };
    // What the page itself asks are requests by HTTP: they are messages, too, so both are looked at until they agree.
    await expect
      .poll(async () => {
        const before = await metrics();
        const shown = await exact.getAttribute('title');
        return shown === before || shown === (await metrics());
      }, POLL)
      .toBe(true);
  });

  test('disconnects a client, who hears why, and the event says so', async () => {
    const gateway = await served();
    const victim = await client(gateway, { session: 'victim', reconnect: false });
    const page = await opened(gateway, 'clients');
    await expect.poll(() => page.locator('#view').textContent(), POLL).toContain('victim');
    await page.keyboard.press('/');
    await page.keyboard.type('victim');
    await expect.poll(() => page.locator('.summary').textContent(), POLL).toMatch(/^1 of /);
    await page.keyboard.press('Enter');
    await page.keyboard.press('k');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await expect.poll(() => page.locator('#toasts').textContent(), POLL).toBe('victim was disconnected.');
    await expect(victim.closed).resolves.toMatchObject({ code: 'ERR_JSP_KICKED' });
    await page.keyboard.press('7');
    await expect.poll(() => page.locator('.log').textContent(), POLL).toMatch(/Kicked/);
  });

  test('outlives the broker: the same page goes on with the next one', async () => {
    const first = await served();
    const { port } = first.gateway;
    const page = await opened(first, '', { troubled: true });
    await isLive(page);
    await first.close();
    await expect.poll(() => page.locator('#trouble').isVisible(), POLL).toBe(true);
    await served({}, { port });
    await page.getByRole('button', { name: 'Try now' }).click();
    await isLive(page);
    await expect.poll(() => page.locator('#state').textContent(), POLL).toMatch(/^Ready for \d+ s$/);
  });

  test('asks for a key where the broker does, takes no other, and shows each what it may see', async () => {
    const [operator, reader] = [makeApiKey('ops'), makeApiKey('reader')];
    const gateway = await served({
      identity: generateIdentity(),
      auth: {
        keys: [
          {
            id: 'ops',
            hash: hashOfApiKey(operator.text),
            rules: [{ allow: ['admin'] }, { allow: '*', topics: ['#'] }],
          },
          {
            id: 'reader',
            hash: hashOfApiKey(reader.text),
            rules: [{ allow: ['subscribe'], topics: ['open/#'] }],
          },
        ],
      },
    });
    const page = await opened(gateway, '', { troubled: true });
    const dialog = page.getByRole('dialog');
    const key = dialog.getByLabel('API key or token');
    await key.fill(makeApiKey('ops').text);
    await page.keyboard.press('Enter');
    await expect.poll(() => dialog.textContent(), POLL).toContain('does not take that one');
    await key.fill(reader.text);
    await page.keyboard.press('Enter');
    await expect.poll(() => dialog.textContent(), POLL).toContain('they need the action admin');
    await page.getByRole('button', { name: 'Messages only' }).click();
    await page.getByLabel(/^Filter of topics/).fill('open/#');
    await page.getByRole('button', { name: 'Watch' }).click();
    await expect.poll(() => page.locator('.tools .summary').textContent(), POLL).toBe('Watching: 0 came.');
    await page.getByRole('button', { name: 'Sign out' }).click();
    await key.fill(operator.text);
    await page.keyboard.press('Enter');
    await isLive(page);
    await page.keyboard.press('7');
    await expect.poll(() => page.locator('.log').textContent(), POLL).toContain('ops');
    await keepScreenshot(page, 'dashboard-real-events');
  });

  test('publishes to native clients and shows what they publish, last values as well', async () => {
    const gateway = await served();
    const page = await opened(gateway, 'messages');
    const other = await client(gateway);
    const came: string[] = [];
    await other.subscribe('from/page', (message) => {
      came.push(message.text());
    });
    await other.publish('values/a', '<b>1</b>', { retain: true, qos: 1 });
    await page.getByRole('button', { name: 'Watch' }).click();
    await expect.poll(() => page.locator('.tail').textContent(), POLL).toContain('<b>1</b>');
    await page.getByLabel('Topic', { exact: true }).fill('from/page');
    await page.getByLabel('Message', { exact: true }).fill('grüße');
    await page.keyboard.press('Control+Enter');
    await expect.poll(() => came, POLL).toEqual(['grüße']);
    await page.keyboard.press('Escape');
    await page.keyboard.press('4');
    await expect.poll(() => page.locator('.tree').textContent(), POLL).toContain('<b>1</b>');
  });
});

/** Of a figure in the text that Prometheus reads, all its series together. */
function seriesSum(text: string, name: string): string {
  let sum = 0;
  for (const line of text.split('\n')) {
    if (line.startsWith(`${name} `) || line.startsWith(`${name}{`)) sum += Number(line.split(' ').at(-1));
  }
  return sum.toLocaleString('en-US');
}

const POLL = { interval: 50 };
const METRIC_IN = 'jsp_messages_in_total';
const METRIC_OUT = 'jsp_messages_out_total';
