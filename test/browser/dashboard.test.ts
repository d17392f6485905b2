/** The dashboard in a real browser, with figures that are made up: how it looks and behaves with many clients, in trouble, and with names that mean harm. */

import { describe, expect, onTestFinished, test } from 'vitest';
import { chromiumPath, keepScreenshot, type OpenOptions, type OpenPage, useBrowser } from './chromium.ts';
import { busyWorld, emptyWorld, StandIn, type World } from './stand-in.ts';

describe.skipIf(chromiumPath() === null)('the dashboard', () => {
  const browser = useBrowser();
  let gateway: StandIn;

  async function open(world: World, view = '', options: OpenOptions = {}): Promise<OpenPage> {
    gateway = new StandIn(world);
    await gateway.start();
    // After the page is closed, which is registered later.
    onTestFinished(() => gateway.stop());
    return browser.open(`${gateway.url}#${view}`, { viewport: { width: 1440, height: 900 }, ...options });
  }

  /** Waits until the page listens. */
  async function heard(page: OpenPage): Promise<void> {
    await expect.poll(() => gateway.watchers, POLL).toBeGreaterThan(0);
    gateway.tell(2);
    await expect.poll(() => page.locator('#pulse').textContent(), POLL).toBe('live');
  }

  test('shows the past when it is opened, and each second as it comes, in light and in dark', async () => {
    const page = await open(busyWorld());
    const figure = page.locator('.chart').first().locator('.figure b').first();
    await expect.poll(() => figure.textContent(), POLL).toMatch(/^\d[\d.,]* ?k?\/s$/);
    await heard(page);
    const since = page.locator('.chart .note').nth(3);
    const before = await since.textContent();
    gateway.tell(400);
    await expect.poll(() => since.textContent(), POLL).not.toBe(before);
    expect(await page.title()).toMatch(/\/s JetStreamProto$/);
    expect(await page.locator('#state').textContent()).toBe('Ready for 3 d 4 h');
    expect(await page.locator('#notices').isHidden()).toBe(true);
    await page.locator('.chart').first().locator('.u-over').hover();
    await expect
      .poll(() => page.locator('.chart .moment').nth(5).textContent(), POLL)
      .toMatch(/^\d\d:\d\d:\d\d$/);
    await keepScreenshot(page, 'dashboard-light');
    await page.keyboard.press('t');
    await page.keyboard.press('t');
    expect(await page.locator('html').getAttribute('data-theme')).toBe('dark');
    await keepScreenshot(page, 'dashboard-dark');
  });

  test('fits a telephone: nothing is wider than the screen', async () => {
    const page = await open(busyWorld(), '', { viewport: { width: 390, height: 844 }, colorScheme: 'dark' });
    await heard(page);
    for (const view of VIEWS) {
      await page.goto(`${gateway.url}#${view}`);
      const width = await page.evaluate<number>('document.documentElement.scrollWidth');
      expect(width, view).toBeLessThanOrEqual(390);
      await keepScreenshot(page, `dashboard-narrow-${view}`);
    }
  });

  test('says of a broker that has just begun what there will be', async () => {
    const page = await open(emptyWorld());
    await expect
      .poll(() => page.locator('.panels').textContent(), POLL)
      .toContain('Nothing is being published.');
    await keepScreenshot(page, 'dashboard-empty');
    await page.keyboard.press('2');
    await expect.poll(() => page.locator('#view').textContent(), POLL).toContain('Nobody is connected.');
  });

  test('shows the nodes of a cluster, and nothing of one where the broker is alone', async () => {
    const world = busyWorld();
    const alone = await open(world);
    await expect.poll(() => alone.locator('.panels').textContent(), POLL).toContain('disk');
    expect(await alone.getByText('this broker').count()).toBe(0);
    const none = { messages: 0, bytes: 0 };
    const figures = { connected: true, reconnects: 0, lagMs: 1.2, nodes: 2, interest: 118, claims: 16 };
    const left = { handedOver: 3, lost: 0 };
    const lost = { unsent: 0, tooLarge: 0, missed: 0, invalid: 0, lateSubscriptions: 0 };
    world.snapshot = { ...world.snapshot, cluster: { ...figures, ...left, ...lost, in: none, out: none } };
    const page = await open(world);
    await expect
      .poll(() => page.locator('.panels').textContent(), POLL)
      .toContain('north-140 clients, 8 sessions, 16 claims, 1.2 ms to store, for 2 h, this broker');
    expect(await page.locator('.panels .warn .name').last().textContent()).toContain('closing');
    expect(await page.locator('.panels b:not(.bars b)').count()).toBe(0);
  });

  test('stays fluid with 5,000 clients: it makes the rows that are seen, and asks for those', async () => {
    const page = await open(busyWorld(5_000), 'clients');
    const rows = page.locator('.sizer .row:not([hidden])');
    await expect.poll(() => page.locator('.summary').textContent(), POLL).toBe('5,000');
    await heard(page);
    const session = await page.context().newCDPSession(page);
    await session.send('Performance.enable', { timeDomain: 'threadTicks' });
    const busy = async (): Promise<number> => {
      const { metrics } = await session.send('Performance.getMetrics');
      return metrics.find(({ name }) => name === 'TaskDuration')?.value ?? Number.NaN;
    };
    const grid = page.getByRole('grid');
    const before = await busy();
    for (let i = 0; i < STEPS; i++) {
      await grid.evaluate((element, top) => {
        element.scrollTop = top;
      }, i * 2_500);
      gateway.tell();
    }
    const milliseconds = ((await busy()) - before) * 1_000;
    expect(milliseconds / STEPS).toBeLessThan(STEP_CPU_MS_MAX);
    await grid.focus();
    await page.keyboard.press('End');
    await expect.poll(() => page.locator('.row.active .cell').first().textContent(), POLL).not.toBe('');
    expect(await page.locator('.row.active').getAttribute('aria-rowindex')).toBe('5001');
    expect(await rows.count()).toBeLessThan(60);
    expect(await page.locator('.sizer .row').count()).toBeLessThan(60);
    await page.keyboard.press('Home');
    await page.keyboard.press('/');
    await page.keyboard.type('worker-4984');
    await expect.poll(() => page.locator('.summary').textContent(), POLL).toBe('1 of 5,000');
    await keepScreenshot(page, 'dashboard-clients');
  });

  test('lets a client be disconnected by keys alone, after it has asked', async () => {
    const page = await open(busyWorld(), 'clients');
    await expect.poll(() => page.locator('.summary').textContent(), POLL).toBe('40');
    await page.keyboard.press('/');
    await page.keyboard.type('sensor-6');
    await expect.poll(() => page.locator('.summary').textContent(), POLL).toBe('1 of 40');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Enter');
    const dialog = page.getByRole('dialog');
    await expect.poll(() => dialog.textContent(), POLL).toContain('192.0.2.6:40006');
    await keepScreenshot(page, 'dashboard-client');
    await page.keyboard.press('Escape');
    await page.keyboard.press('k');
    await page.keyboard.press('Enter');
    expect(gateway.orders).toEqual([]);
    await page.keyboard.press('k');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await expect.poll(() => page.locator('#toasts').textContent(), POLL).toBe('sensor-6 was disconnected.');
    expect(gateway.orders).toEqual([{ verb: 'kick', body: { client: 6 } }]);
    await expect.poll(() => page.locator('.summary').textContent(), POLL).toBe('0 of 39');
  });

  test('shows names that mean harm as text, in every view', async () => {
    const world = busyWorld(3);
    for (const client of world.clients)
      Object.assign(client, { session: HARM, principal: HARM, address: HARM });
    for (const session of world.sessions) Object.assign(session, { name: HARM, principal: HARM });
    for (const durable of world.durables) Object.assign(durable, { name: HARM, log: HARM });
    for (const event of world.events)
      Object.assign(event, { what: HARM, principal: HARM, detail: HARM, address: HARM });
    for (const letter of world.deadLetters)
      Object.assign(letter, { topic: HARM, originTopic: HARM, reason: HARM });
    for (const topic of world.topics) topic.topic = HARM;
    for (const log of world.snapshot.logs) log.name = HARM;
    world.retained = new Map([[`a/${HARM}`, HARM]]);
    const page = await open(world);
    await heard(page);
    for (const view of VIEWS) {
      await page.goto(`${gateway.url}#${view}`);
      if (view === 'messages') {
        await page.getByRole('button', { name: 'Watch' }).click();
        await expect.poll(() => gateway.watchers, POLL).toBe(2);
        gateway.deliver(HARM, HARM);
      }
      await expect
        .poll(() => page.locator('#view').textContent(), { ...POLL, message: view })
        .toContain(SHOWN_HARM);
    }
    await page.goto(`${gateway.url}#clients`);
    await page.locator('.sizer .row').first().click();
    await expect.poll(() => page.getByRole('dialog').textContent(), POLL).toContain(SHOWN_HARM);
    await keepScreenshot(page, 'dashboard-hostile');
    expect(await page.locator('img, script:not([src])').count()).toBe(0);
    expect(await page.evaluate('window.harmed')).toBe(undefined);
    expect(await page.locator('body').textContent()).not.toContain('\u202e');
  });

  test('survives a broker that goes and comes: it says so, keeps what it had, and goes on', async () => {
    const page = await open(busyWorld(), '', { troubled: true });
    await heard(page);
    await gateway.stop();
    await expect.poll(() => page.locator('#trouble').textContent(), POLL).toMatch(/Next try/);
    expect(await page.locator('#state').textContent()).toContain('Not heard of');
    expect(await page.locator('.chart .figure b').first().textContent()).toMatch(/\/s$/);
    await keepScreenshot(page, 'dashboard-broken');
    const { world } = gateway;
    world.snapshot = {
      ...emptyWorld().snapshot,
      at: world.snapshot.at + 30_000,
      startedAt: world.snapshot.at + 29_000,
    };
    world.historyLength = 0;
    await gateway.start();
    await page.getByRole('button', { name: 'Try now' }).click();
    await heard(page);
    expect(await page.locator('#trouble').isHidden()).toBe(true);
    await expect.poll(() => page.locator('#state').textContent(), POLL).toMatch(/^Ready for \d s$/);
  });

  test('needs no more memory after 100 minutes than after 40', async () => {
    const page = await open(busyWorld(200));
    await heard(page);
    const session = await page.context().newCDPSession(page);
    const heap = async (): Promise<number> => {
      await session.send('HeapProfiler.collectGarbage');
      return (await session.send('Runtime.getHeapUsage')).usedSize;
    };
    const pass = async (minutes: number): Promise<void> => {
      for (let i = 0; i < minutes; i++) {
        gateway.tell(60);
        gateway.happen({ what: 'authenticated', principal: `p${i}`, address: '', door: '', detail: `${i}` });
      }
      const shown = page.locator('#state-more');
      const { at, startedAt } = gateway.world.snapshot;
      const hours = Math.floor((at - startedAt) / 3_600_000) % 24;
      await expect.poll(() => shown.textContent(), POLL).toBe(` for 3 d ${hours} h`);
    };
    await pass(40);
    const before = await heap();
    const nodes = await page.locator('*').count();
    await pass(60);
    // What is on its way at the moment counts as well, but goes.
    await expect.poll(async () => (await heap()) - before, POLL).toBeLessThan(HEAP_GROWTH_BYTES_MAX);
    expect(await page.locator('*').count()).toBeLessThan(nodes + 20);
  });

  test('asks who one is where the broker asks, and tells what is wrong', async () => {
    const page = await open({ ...busyWorld(), credential: 'jspk_ops_secret' }, '', { troubled: true });
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('API key or token').fill('jspk_other_secret');
    await page.keyboard.press('Enter');
    await expect.poll(() => dialog.textContent(), POLL).toContain('they need the action admin');
    await page.keyboard.press('Escape');
    await keepScreenshot(page, 'dashboard-login');
    await dialog.getByLabel('API key or token').fill('jspk_ops_secret');
    await page.keyboard.press('Enter');
    await heard(page);
    await page.reload();
    await heard(page);
    expect(await page.evaluate('document.cookie + Object.values(localStorage)')).toBe('');
    await page.getByRole('button', { name: 'Sign out' }).click();
    await expect.poll(() => dialog.isVisible(), POLL).toBe(true);
  });

  test('watches a filter at a pace that can be read, and publishes', async () => {
    const page = await open(busyWorld(), 'messages');
    await page.getByRole('button', { name: 'Watch' }).click();
    await expect.poll(() => gateway.watchers, POLL).toBe(2);
    const lines = page.locator('.tail li');
    await expect.poll(() => lines.count(), POLL).toBe(16);
    for (let i = 0; i < 500; i++) gateway.deliver(`fast/${i % 7}`, { i });
    const summary = page.locator('.tools .summary');
    await expect.poll(() => summary.textContent(), POLL).toMatch(/516 came, 4\d\d not shown/);
    expect(await lines.count()).toBeLessThanOrEqual(16 + 2 * 50);
    await page.getByLabel('Topic', { exact: true }).fill('a b/ü+1');
    await page.getByLabel('Message', { exact: true }).fill('hello');
    await page.keyboard.press('Control+Enter');
    await expect.poll(() => page.locator('.result').textContent(), POLL).toMatch(/Stored at offset 0\.$/);
    expect(gateway.published[0]).toMatchObject({ topic: 'a b/ü+1', body: 'hello' });
    await keepScreenshot(page, 'dashboard-messages');
    await page.keyboard.press('Escape');
    await page.keyboard.press('1');
    await expect.poll(() => gateway.watchers, POLL).toBe(1);
  });

  test('asks a broker again that had too much to do', async () => {
    const page = await open({ ...busyWorld(), overloadedFor: 3 }, 'clients', { troubled: true });
    await heard(page);
    await expect.poll(() => page.locator('.summary').textContent(), POLL).toBe('40');
    expect(gateway.world.overloadedFor).toBe(0);
  });

  test('costs nothing while nobody looks, and has the past when somebody does', async () => {
    const page = await open(busyWorld(), '', { movableClock: true });
    await heard(page);
    const look = (isHidden: boolean): Promise<unknown> =>
      page.evaluate(`Object.defineProperty(document, 'hidden', { value: ${isHidden}, configurable: true });
        document.dispatchEvent(new Event('visibilitychange'))`);
    await look(true);
    await page.clock.fastForward('00:30');
    const title = await page.title();
    gateway.tell();
    await expect.poll(() => page.title(), POLL).not.toBe(title);
    await page.clock.fastForward('00:28');
    expect(gateway.watchers).toBe(1);
    await page.clock.fastForward('00:03');
    await expect.poll(() => gateway.watchers, POLL).toBe(0);
    gateway.tell(600);
    await look(false);
    await heard(page);
    expect(await page.locator('#trouble').isHidden()).toBe(true);
  });

  test('tells all its keys', async () => {
    const page = await open(busyWorld());
    await heard(page);
    await page.keyboard.press('i');
    await expect.poll(() => page.getByRole('dialog').textContent(), POLL).toContain('jsp://');
    await keepScreenshot(page, 'dashboard-broker');
    await page.keyboard.press('Escape');
    await page.keyboard.press('?');
    await expect.poll(() => page.getByRole('dialog').textContent(), POLL).toContain('Overview');
    for (const [i, view] of VIEWS.entries()) {
      await page.keyboard.press('Escape');
      await page.keyboard.press(String(i + 1));
      await expect.poll(() => page.locator('nav [aria-current]').getAttribute('href'), POLL).toBe(`#${view}`);
    }
  });
});

const VIEWS = ['overview', 'clients', 'subscriptions', 'topics', 'messages', 'storage', 'events'];
const POLL = { interval: 50 };
/** A tag that would run, the end of an element, and characters that turn the direction of what follows. */
const HARM = '"><img src=x onerror=window.harmed=1></p><script>window.harmed=1</script>\u202egnp.\u0007';
const SHOWN_HARM = '<img src=x onerror=window.harmed=1>';
const STEPS = 40;
/** Of the page's own thread, in all for a jump to other rows with their figures and plots: what browsers call a long task. */
const STEP_CPU_MS_MAX = 50;
const HEAP_GROWTH_BYTES_MAX = 400_000;
