import { PassThrough } from 'node:stream';
import { describe, expect, onTestFinished, test } from 'vitest';
import { connectClient } from '../../src/client/index.ts';
import { ownPort } from '../own-port.ts';
import { Jsp, startBroker, startSub } from './jsp.ts';

/** A subscriber of everything that reads nothing. */
async function deaf(url: string) {
  const client = await connectClient(url, { messageBytesMax: 65_536 });
  onTestFinished(() => client.destroy());
  return client.subscribe('#');
}

/** More than all queues on the way take. */
const LINES = `${'x'.repeat(1_000)}\n`.repeat(14_000);

describe('jsp pub when nobody takes what it publishes', () => {
  test('gives up after --timeout without progress, and says what it has waited for', async () => {
    const { url } = await startBroker();
    await deaf(url);
    const { exitCode, err } = await new Jsp(['pub', 't', '--lines', '--timeout', '3', '--url', url], {
      input: LINES,
    }).ended;
    expect(exitCode).toBe(1);
    expect(err).toMatch(/waiting: the broker has not taken \d+ messages; a subscriber whose queue is full/);
    expect(err).toMatch(/^jsp: gave up after 3 s without progress: .* \(ERR_JSP_CLOSE_INCOMPLETE\)$/m);
  });

  test('ends well when the broker gives the subscriber up after --stall', async () => {
    const { url } = await startBroker(undefined, '--stall', '1');
    const subscription = await deaf(url);
    const pub = await new Jsp(['pub', 't', '--lines', '--url', url], { input: LINES }).ended;
    // Where the machine is slow it may have said that it waits.
    expect([pub.exitCode, pub.err.replace(/^waiting: .*\n/, '')]).toEqual([0, '']);
    expect(await subscription.closed).toMatchObject({ code: 'ERR_JSP_BROKER' });
  });
});

describe('jsp pub and sub with --no-reconnect when the broker ends', () => {
  test('end with it, at once, and say why', async () => {
    const broker = await startBroker();
    const sub = await startSub(broker.url, 'a', '--no-reconnect');
    const input = new PassThrough();
    const pub = new Jsp(['pub', 'a', '--lines', '--no-reconnect', '--url', broker.url], { input });
    input.write('one\n');
    await sub.until(({ out }) => out === 'one\n');
    broker.jsp.process.kill('SIGTERM');
    const results = await Promise.all([sub.ended, pub.ended]);
    for (const { exitCode, err } of results) {
      expect(exitCode).toBe(1);
      expect(err).toMatch(/SHUTTING_DOWN.*\(ERR_JSP_CLOSED_BY_PEER\)/);
    }
  });

  test('end within a second of a restart of a broker that was killed, and say why', async () => {
    const port = `${await ownPort()}`;
    const first = await startBroker(undefined, '--port', port);
    const sub = await startSub(first.url, 'a', '--no-reconnect');
    const input = new PassThrough();
    const pub = new Jsp(['pub', 'a', '--lines', '--no-reconnect', '--url', first.url], { input });
    input.write('one\n');
    await sub.until(({ out }) => out === 'one\n');
    first.jsp.process.kill('SIGKILL');
    await first.jsp.ended;
    const start = performance.now();
    await startBroker(first.state, '--port', port);
    const results = await Promise.all([sub.ended, pub.ended]);
    expect(performance.now() - start).toBeLessThan(10_000); // less than the heartbeats' time, on a busy machine
    for (const { exitCode, err } of results) {
      expect(exitCode).toBe(1);
      expect(err).toContain('(ERR_JSP_STATELESS_RESET)');
    }
  });
});
