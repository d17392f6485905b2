import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { chromiumPath, useBrowser } from './chromium.ts';

describe.skipIf(chromiumPath() === null)('the browser of the tests', () => {
  const browser = useBrowser();

  test('runs a page of this machine, tells what goes wrong in it, and asks no other host', async () => {
    const page = await browser.open(
      await served('<title>x</title><script>console.error("oh"); throw new Error("dear")</script>'),
      { troubled: true },
    );
    expect(await page.title()).toBe('x');
    expect(page.trouble).toEqual(['console: oh', 'uncaught: dear']);
    const answer = await page.evaluate("fetch('http://example.com/').catch((error) => error.message)");
    expect(answer).toBe('Failed to fetch');
  });
});

async function served(html: string): Promise<string> {
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'text/html').end(`<link rel="icon" href="data:,">${html}`);
  });
  onTestFinished(() => void server.close().closeAllConnections());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}
