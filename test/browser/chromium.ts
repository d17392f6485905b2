/**
 * A real browser for tests: Debian's Chromium, driven by playwright-core, headless and with an empty profile of its own. It talks to nobody but the pages of the
 * test: what would go to another host does not leave the machine.
 *
 *     describe.skipIf(chromiumPath() === null)('the page', () => {
 *       const browser = useBrowser();
 *       test('shows what there is', async () => {
 *         const page = await browser.open(url, { colorScheme: 'dark' });
 *         await page.getByRole('button', { name: 'Publish' }).click();
 *         await keepScreenshot(page, 'published');
 *       });
 *     });
 */

import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, expect, onTestFinished } from 'vitest';
import { systemProgram } from '../system-program.ts';

/** Where the browser is. Null: there is none, which was told, and no test that needs one is run. */
export function chromiumPath(): string | null {
  found ??= { path: systemProgram(NAMES, 'chromium', 'in a real browser, what is in test/browser/') };
  return found.path;
}

export interface OpenOptions extends BrowserContextOptions {
  /** The test provokes failures itself: what the page says on its console and does not catch is in {@link OpenPage.trouble}, and fails nothing. */
  troubled?: boolean;
  /** Its time is the test's to move: `page.clock.fastForward('08:00:00')` is a lid that was closed for eight hours. */
  movableClock?: boolean;
}

export interface OpenPage extends Page {
  /** What the page did not catch, and said on its console as an error. */
  readonly trouble: readonly string[];
}

/** One browser for all tests of a file. */
export interface TestBrowser {
  /** A page of its own, with storage of its own, that is gone with the test. What goes wrong in it fails the test. */
  open(url: string, options?: OpenOptions): Promise<OpenPage>;
}

/** Starts a browser for the tests of a file, or of a `describe`, and ends it after them. */
export function useBrowser(): TestBrowser {
  let browser: Browser | null = null;
  beforeAll(async () => {
    const executablePath = chromiumPath();
    if (executablePath !== null) browser = await chromium.launch({ executablePath, args: FLAGS });
  });
  afterAll(() => browser?.close());
  return {
    async open(url, { troubled = false, movableClock = false, ...options } = {}) {
      if (browser === null)
        throw new Error('there is no browser: skip the test where chromiumPath() is null');
      const context = await browser.newContext(options);
      const page = await context.newPage();
      const trouble = troubleOf(page);
      onTestFinished(async () => {
        await context.close();
        if (!troubled) expect(trouble).toEqual([]);
      });
      // Every browser asks for one, and a page that has none is no trouble.
      await page.route('**/favicon.ico', (route) => route.fulfill({ status: 204 }));
      if (movableClock) await page.clock.install();
      await page.goto(url);
      return Object.assign(page, { trouble });
    },
  };
}

/** Keeps what a page looks like, for people: .cache/screenshots/NAME.png. */
export async function keepScreenshot(page: Page, name: string): Promise<void> {
  mkdirSync(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: `${SCREENSHOTS}${name}.png` });
}

function troubleOf(page: Page): string[] {
  const trouble: string[] = [];
  page.on('pageerror', (error) => trouble.push(`uncaught: ${error.message}`));
  page.on('console', (message) => {
    if (message.type() === 'error') trouble.push(`console: ${message.text()}`);
  });
  page.on('crash', () => trouble.push('the page has crashed'));
  return trouble;
}

let found: { path: string | null } | null = null;

/** Debian's, then what other systems have. */
const NAMES = ['/usr/bin/chromium', 'chromium', 'chromium-browser', 'google-chrome'];
const FLAGS = [
  '--headless',
  '--no-sandbox', // a test may run as root
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost, EXCLUDE [::1]',
];
const SCREENSHOTS = fileURLToPath(new URL('../../.cache/screenshots/', import.meta.url));
