import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough, type Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { emptyFolder } from '../empty-folder.ts';
import { ownPort } from '../own-port.ts';
import { Jsp, jsp, jspTogether, MAIN, startBroker, startSub } from './jsp.ts';
import { NearBroker } from './near-broker.ts';

let near: NearBroker;
let url: string;

beforeAll(async () => {
  near = await NearBroker.start();
  url = near.url;
});
afterAll(() => near.close());

/** A process, and no zombie that nobody has waited for. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

function jsonOf(out: string): Record<string, unknown>[] {
  return out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

describe('jsp pub and jsp sub with QoS 1', () => {
  test('a line is stored, which pub says; sub prints it from the log with all that was said of it', async () => {
    const told = ['--header', 'unit=C', '--key', 'k', '--content-type', 'text/plain', '--ttl', '1h'];
    const pub = await jsp(['pub', 'log/a', 'first', '--qos', '1', ...told, '--url', url]);
    expect([pub.exitCode, pub.out, pub.err]).toEqual([
      0,
      '',
      '1 published: 1 taken, and kept in memory alone at offset 1\n',
    ]);
    const lines = await jsp(['pub', 'log/b', '--lines', '--qos', '1', '--json', '--url', url], {
      input: 'second\nthird\n',
    });
    expect(lines.err).toBe('2 published: 2 taken, and kept in memory alone\n');
    expect(jsonOf(lines.out)).toEqual([
      { topic: 'log/b', number: 1, result: 'inMemory', offset: 2 },
      { topic: 'log/b', number: 2, result: 'inMemory', offset: 3 },
    ]);
    const sub = await jsp(['sub', 'log/#', '--from', 'earliest', '--count', '3', '--json', '--url', url]);
    const messages = jsonOf(sub.out);
    expect(messages.map(({ payload, offset }) => [payload, offset])).toEqual([
      ['first', 1],
      ['second', 2],
      ['third', 3],
    ]);
    expect(messages[0]).toMatchObject({
      topic: 'log/a',
      key: 'k',
      contentType: 'text/plain',
      headers: { unit: 'C' },
    });
  });

  test('a durable subscription goes on behind what was printed, and --retain leaves the last value', async () => {
    await startSub(url, 'durable/#', '--durable', 'd', '--count', '2').then(async (sub) => {
      for (const payload of ['1', '2', '3'])
        await near.client.publish('durable/t', payload, { qos: 1, retain: true });
      expect((await sub.ended).out).toBe('1\n2\n');
    });
    const next = await jsp(['sub', 'durable/#', '--durable', 'd', '--count', '1', '--url', url]);
    expect(next.out).toBe('3\n');
    const last = await jsp(['sub', 'durable/t', '--count', '1', '--json', '--url', url]);
    expect(jsonOf(last.out)).toEqual([{ topic: 'durable/t', payload: '3', retained: true }]);
  });

  test('--ack manual settles what lines on stdin name: the rest comes to the next one, marked', async () => {
    const input = new PassThrough();
    const args = ['sub', 'jobs/#', '--durable', 'jobs', '--ack', 'manual', '--json', '--url', url];
    const sub = await new Jsp(args, { input }).until(({ err }) => err.includes('subscribed'));
    for (const payload of ['a', 'b', 'c']) await near.client.publish('jobs/t', payload, { qos: 1 });
    await sub.until(({ out }) => out.split('\n').length > 3);
    const [first, , third] = jsonOf(sub.out);
    input.write(`${first.offset}\nterminate ${third.offset} no use\nack 999999\n`);
    await sub.until(({ err }) => err.includes('settles nothing'));
    expect(sub.err).toContain('warning: "ack 999999" settles nothing: no message with offset 999999 waits');
    input.end();
    expect((await sub.ended).exitCode).toBe(0);
    const next = await jsp(['sub', 'jobs/#', '--durable', 'jobs', '--count', '1', '--json', '--url', url]);
    expect(jsonOf(next.out)).toMatchObject([{ payload: 'b', redelivered: true, attempt: 2 }]);
  });

  test('options that do not go together are told apart', async () => {
    const said = await jspTogether([
      ['sub', 'a', '--qos', '0', '--durable', 'x'],
      ['pub', 'a', 'b', '--id', 'x'],
      ['pub', 'a', 'b', '--json'],
      ['reply', 'a', '--echo', '--text', 'x'],
    ]);
    for (const { exitCode, err } of said) {
      expect([exitCode, err]).toEqual([2, expect.stringMatching(/\(ERR_JSP_USAGE\)\n$/)]);
    }
  });
});

test('jsp pub publishes all of its lines although nobody reads what it tells of them any more', async () => {
  const input = new PassThrough();
  const pub = new Jsp(['pub', 'unread', '--lines', '--qos', '1', '--json', '--url', url], { input });
  input.write('first\n');
  await pub.until(({ out }) => out.includes('\n'));
  const unread = once(pub.process.stdout as Readable, 'close');
  pub.process.stdout?.destroy();
  await unread;
  for (let i = 0; i < 2_000; i++) input.write(`line ${i}\n`);
  input.end();
  const { exitCode, err } = await pub.ended;
  expect([exitCode, err]).toEqual([0, expect.stringMatching(/^2[\s,]001 published/)]);
  const sub = await jsp(['sub', 'unread', '--from', 'earliest', '--count', '2001', '--url', url]);
  expect(sub.out.trim().split('\n').at(-1)).toBe('line 1999');
});

test('jsp sub acknowledges nothing that a full disk has not taken', async () => {
  const file = join(emptyFolder(), 'messages');
  const lines = Array.from({ length: 300 }, (_, i) => `${i}`.padEnd(1_000, '.'));
  await jsp(['pub', 'many', '--lines', '--qos', '1', '--url', url], { input: lines.join('\n') });
  const durable = ['sub', 'many', '--durable', 'filling', '--from', 'earliest', '--url', url];
  // A limit on the size of files stands for a full disk: the system takes a part of a write in the same way, and refuses the next.
  const shell = `trap '' XFSZ; ulimit -f 100; exec ${process.execPath} ${MAIN} ${durable.join(' ')} > ${file}`;
  const full = spawn('bash', ['-c', shell], { stdio: ['ignore', 'ignore', 'pipe'] });
  const [err, [exitCode]] = await Promise.all([text(full.stderr), once(full, 'close')]);
  expect([exitCode, err]).toEqual([1, expect.stringContaining('(EFBIG)')]);
  const whole = readFileSync(file, 'utf8').split('\n').slice(0, -1);
  const rest = new Jsp(durable);
  await rest.until(({ out }) => out.includes(lines[299]));
  expect([...new Set([...whole, ...rest.out.trim().split('\n')])]).toEqual(lines);
});

test.runIf(existsSync('/dev/full'))(
  'jsp sub --count fails where the last message could not be written',
  async () => {
    await jsp(['pub', 'last', 'x', '--qos', '1', '--url', url]);
    for (const more of [
      ['--from', 'earliest'],
      ['--from', 'earliest', '--json'],
      ['--from', 'earliest', '--raw'],
    ]) {
      const sub = ['sub', 'last', '--count', '1', '--url', url, ...more];
      const full = spawn('sh', ['-c', `exec ${process.execPath} ${MAIN} ${sub.join(' ')} > /dev/full`], {
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      const [err, [exitCode]] = await Promise.all([text(full.stderr), once(full, 'close')]);
      expect([exitCode, err]).toEqual([1, expect.stringContaining('(ENOSPC)')]);
    }
  },
);

describe('jsp reply', () => {
  test('ends a command that runs too long with all that it has started', async () => {
    const script = 'sleep 600 & echo $! >&2; wait';
    const command = [
      'reply',
      'slow',
      '--url',
      url,
      '--count',
      '1',
      '--timeout',
      '500ms',
      '--',
      'sh',
      '-c',
      script,
    ];
    const service = new Jsp(command);
    await service.until(({ err }) => err.includes('answering'));
    await expect(near.client.request('slow', '', { timeoutMs: 20_000 })).rejects.toMatchObject({
      code: 'ERR_JSP_REQUEST_FAILED',
      applicationCode: 500,
    });
    const { exitCode, err } = await service.ended;
    const [, sleeping] = /failed: it ended with SIGKILL: (\d+)/.exec(err) ?? [];
    expect([exitCode, sleeping, isAlive(Number(sleeping))]).toEqual([0, expect.any(String), false]);
  });

  test('answers with what a command prints; a command that fails makes the request fail', async () => {
    const script =
      'if [ "$JSP_HEADER_FAIL" ]; then echo cannot >&2; exit 3; fi; echo heard >&2; echo "$JSP_TOPIC: $(cat)"';
    const service = new Jsp(['reply', 'rpc/+', '--url', url, '--count', '2', '--', 'sh', '-c', script]);
    await service.until(({ err }) => err.includes('answering'));
    const asked = await jsp(['pub', '--request', 'rpc/upper', 'text', '--url', url]);
    expect([asked.exitCode, asked.out]).toEqual([0, 'rpc/upper: text\\n\n']);
    const failed = await jsp(['pub', '--request', 'rpc/x', '', '--header', 'fail=1', '--url', url]);
    expect([failed.exitCode, failed.out]).toEqual([1, '']);
    expect(failed.err).toMatch(/cannot.*\(ERR_JSP_\w+\)\n$/);
    const { exitCode, err } = await service.ended;
    expect([exitCode, err]).toEqual([
      0,
      expect.stringMatching(
        /^answering\nwarning: the command for a request to rpc\/upper says: heard\nwarning: the command for a request to rpc\/x failed: it ended with 3: cannot\n$/,
      ),
    ]);
  });

  test('fails a request that no command can be given, and answers the next', async () => {
    const service = new Jsp(['reply', 'odd', '--url', url, '--count', '2', '--', 'cat']);
    await service.until(({ err }) => err.includes('answering'));
    await expect(near.client.request('odd', 'x', { headers: { nul: 'a\0b' } })).rejects.toMatchObject({
      code: 'ERR_JSP_REQUEST_FAILED',
      applicationCode: 500,
    });
    expect((await near.client.request('odd', 'even')).text()).toBe('even');
    const { exitCode, err } = await service.ended;
    expect([exitCode, err]).toEqual([0, expect.stringMatching(/request to odd failed: .*null bytes/)]);
  });

  test('answers with the request, or a text; nobody who answers is an error at once', async () => {
    const nobody = await jsp(['pub', '--request', 'echo/x', '', '--url', url]);
    expect([nobody.exitCode, nobody.err]).toEqual([1, expect.stringContaining('(ERR_JSP_NO_RESPONDERS)')]);
    const [echo, text] = [
      new Jsp(['reply', 'echo/#', '--echo', '--content-type', 'text/x', '--url', url]),
      new Jsp(['reply', 'text', '--text', 'always', '--group', 'g', '--url', url]),
    ];
    await Promise.all([echo, text].map((each) => each.until(({ err }) => err.includes('answering'))));
    const lines = await jsp(['pub', '--request', 'echo/a', '--lines', '--url', url], { input: 'one\ntwo\n' });
    expect([lines.exitCode, lines.out]).toEqual([0, 'one\ntwo\n']);
    expect((await near.client.request('echo/b', 'x')).contentType).toBe('text/x');
    expect((await near.client.request('text', 'x')).text()).toBe('always');
    echo.process.kill('SIGTERM');
    expect((await echo.ended).exitCode).toBe(0);
  });
});

test('jsp sub and jsp pub go on when the broker is killed and started again, and say so', async () => {
  const port = `${await ownPort()}`;
  const first = await startBroker(undefined, '--port', port);
  const sub = await startSub(first.url, 'a');
  const input = new PassThrough();
  const pub = new Jsp(['pub', 'a', '--lines', '--url', first.url], { input });
  input.write('one\n');
  await sub.until(({ out }) => out === 'one\n');
  first.jsp.process.kill('SIGKILL');
  await first.jsp.ended;
  await startBroker(first.state, '--port', port);
  await Promise.all([sub, pub].map((each) => each.until(({ err }) => err.includes('connected again'))));
  await sub.until(({ err }) => err.includes('resumed'));
  expect(sub.err).toMatch(/disconnected: .*\(ERR_JSP_\w+\); trying to come back\n/);
  expect(sub.err).toContain('missed what was published meanwhile');
  input.end('two\n');
  expect((await pub.ended).exitCode).toBe(0);
  await sub.until(({ out }) => out === 'one\ntwo\n');
});
