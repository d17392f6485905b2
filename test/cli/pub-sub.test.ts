import { type SpawnOptions, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { emptyFolder } from '../empty-folder.ts';
import { Jsp, jsp, jspTogether, MAIN, startBroker, startSub } from './jsp.ts';
import { NearBroker } from './near-broker.ts';

let near: NearBroker;
let url: string;
/** What comes of a fingerprint that nobody has: it takes the handshake's whole timeout, in which the other tests run. */
let unanswered: ReturnType<typeof endOf>;

beforeAll(async () => {
  near = await NearBroker.start();
  url = near.url;
  const wrong = url.replace(/\/\/[\w-]{43}/, `//${randomBytes(32).toString('base64url')}`);
  unanswered = endOf(process.execPath, [MAIN, 'pub', 'a', 'b', '--url', wrong], {});
});
afterAll(() => near.close());

describe('jsp pub and jsp sub', () => {
  test('a message is a line on stdout, and sub ends after as many as it was told', async () => {
    const { url } = await startBroker();
    const sub = await startSub(url, 'greetings/+', '--count', '2');
    expect((await jsp(['pub', 'greetings/all', 'Hello, world', '--url', url])).exitCode).toBe(0);
    expect((await jsp(['pub', 'elsewhere', 'not for us', '--url', url])).exitCode).toBe(0);
    const last = await jsp(['pub', 'greetings/all', '--url', url, '--', '-1']);
    expect([last.exitCode, last.out, last.err]).toEqual([0, '', '']);
    const { exitCode, out, err } = await sub.ended;
    expect([exitCode, out, err]).toEqual([0, 'Hello, world\n-1\n', 'subscribed\n']);
  });

  test('with --early the message is in the first datagram of the second command, and what does not fit that is told', async () => {
    const [cache, logs] = [emptyFolder(), emptyFolder()];
    const heard = await near.subscribe('early/door');
    const args = ['pub', 'early/door', 'open', '--early', '--url', url];
    for (const qlog of [[], ['--qlog', logs]]) {
      const { exitCode, err } = await jsp([...args, ...qlog], { env: { JSP_CACHE: cache } });
      expect([exitCode, err]).toEqual([0, '']);
    }
    expect((await heard.until(2)).texts).toEqual(['open', 'open']);
    const [log] = readdirSync(logs);
    const events = readFileSync(join(logs, log), 'utf8').split('\n');
    // Those behind it are other packets: of a handshake that is repeated because the answer is late, or finished.
    const first = events.filter(
      (event) => event.includes('packet_sent') && event.includes('"datagram_id":0'),
    );
    expect(first.map((event) => /"packet_type":"(\w+)"/.exec(event)?.[1])).toEqual(['initial', '0RTT']);
    expect(first[1]).toContain('"frame_type":"messages"');
    const stored = await jsp([...args, '--qos', '1']);
    expect([stored.exitCode, stored.err]).toEqual([2, expect.stringContaining('ERR_JSP_USAGE')]);
  });

  test('100,000 lines arrive in order and complete, for seconds of the broker’s time', async () => {
    const lines = Array.from({ length: 100_000 }, (_, i) => `${i + 1}\n`).join('');
    const sub = await startSub(url, 'numbers', '--count', '100000');
    const start = process.cpuUsage();
    const pub = await jsp(['pub', 'numbers', '--lines', '--url', url], { input: lines });
    expect(pub.exitCode).toBe(0);
    const { exitCode, out } = await sub.ended;
    expect(exitCode).toBe(0);
    expect(out === lines).toBe(true);
    // Not by the clock, for others may have the machine: the broker is in this process.
    const { user, system } = process.cpuUsage(start);
    expect(user + system).toBeLessThan(5_000_000);
  });

  test('all of stdin is one message, of up to 16 MiB, byte for byte', async () => {
    const file = randomBytes(16 * 1024 * 1024);
    const sub = await startSub(url, 'file', '--raw', '--count', '1');
    expect((await jsp(['pub', 'file', '--url', url], { input: file })).exitCode).toBe(0);
    const { exitCode, stdout } = await sub.ended;
    expect(exitCode).toBe(0);
    expect(stdout.equals(file)).toBe(true);
  });

  test('more than 16 MiB are too much for one message', async () => {
    const input = Buffer.alloc(16 * 1024 * 1024 + 1);
    const { exitCode, err } = await jsp(['pub', 'too/much', '--url', url], { input });
    expect(exitCode).toBe(1);
    expect(err).toMatch(/^jsp: stdin has more than .*--lines.* \(ERR_JSP_INPUT_TOO_LARGE\)\n$/);
  });

  test('an empty stdin publishes nothing and says so; an empty argument is an empty message', async () => {
    const heard = await near.subscribe('empty');
    const [nothing, noLines] = await Promise.all([
      jsp(['pub', 'empty', '--url', url], { input: '' }),
      jsp(['pub', 'empty', '--lines', '--url', url], { input: '' }),
    ]);
    expect([nothing.exitCode, nothing.err]).toEqual([0, expect.stringContaining('nothing is published')]);
    expect(noLines.exitCode).toBe(0);
    await jsp(['pub', 'empty', '', '--url', url]);
    await near.publish('empty', 'end');
    expect((await heard.until(2)).texts).toEqual(['', 'end']);
  });

  test('lines of a file from Windows arrive without their carriage returns', async () => {
    const heard = await near.subscribe('crlf');
    await jsp(['pub', 'crlf', '--lines', '--url', url], { input: 'one\r\n\r\nthree\r\n' });
    expect((await heard.until(3)).texts).toEqual(['one', '', 'three']);
  });

  test('a line is published as it comes, while stdin stays open', async () => {
    const heard = await near.subscribe('chat');
    const input = new PassThrough();
    const pub = new Jsp(['pub', 'chat', '--lines', '--url', url], { input });
    input.write('one\n');
    await heard.until(1);
    input.write('two\n');
    await heard.until(2);
    input.end('\nlast, without a newline');
    expect((await pub.ended).exitCode).toBe(0);
    expect((await heard.until(4)).texts).toEqual(['one', 'two', '', 'last, without a newline']);
  });

  test('--topics and --json tell the topic; --json keeps every byte', async () => {
    const [plain, json] = await Promise.all([
      startSub(url, 'shown/#', '--topics', '--count', '2'),
      startSub(url, 'shown/#', '--json', '--count', '3'),
    ]);
    await near.publish('shown/b', 'two\nlines');
    await near.publish('shown/c', Buffer.from([0xff, 0x00]), '');
    expect((await plain.ended).out.split('\n')[0]).toBe('shown/b\ttwo\\nlines');
    const messages = (await json.ended).out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown);
    expect(messages).toEqual([
      { topic: 'shown/b', payload: 'two\nlines' },
      { topic: 'shown/c', base64: '/wA=' },
      { topic: 'shown/c', payload: '' },
    ]);
  });

  test('sub ends with 0 when nobody reads what it prints any more', async () => {
    const sub = await startSub(url, 'unread');
    sub.process.stdout?.destroy();
    await near.publish('unread', ...Array.from({ length: 10_000 }, () => 'x'));
    const { exitCode, err } = await sub.ended;
    expect([exitCode, err]).toEqual([0, 'subscribed\n']);
  });

  test('a subscriber whose output stands still slows the publisher down, and loses nothing', async () => {
    const sub = await startSub(url, 'big', '--count', '40000');
    sub.process.stdout?.pause();
    const line = 'x'.repeat(1_000);
    const pub = new Jsp(['pub', 'big', '--lines', '--url', url], { input: `${line}\n`.repeat(40_000) });
    while (near.broker.metrics().publishersStopped === 0) await sleep(10);
    sub.process.stdout?.resume();
    expect((await pub.ended).exitCode).toBe(0);
    const { exitCode, out } = await sub.ended;
    expect([exitCode, out.length]).toEqual([0, 40_000 * 1_001]);
  });

  test('sub ends with 0 at SIGINT', async () => {
    const sub = await startSub(url, '#');
    sub.process.kill('SIGINT');
    const { exitCode, signal } = await sub.ended;
    expect([exitCode, signal]).toEqual([0, null]);
  });
});

describe('the broker a command connects to', () => {
  test('is that of --url, else of JSP_URL, else of .jsp/url', async () => {
    const others = await Promise.all([NearBroker.start(), NearBroker.start()]);
    const [two, three] = others;
    const cwd = emptyFolder();
    mkdirSync(join(cwd, '.jsp'));
    writeFileSync(join(cwd, '.jsp', 'url'), `${three.url}\n`);
    const env = { JSP_URL: two.url };
    const connectedTo = async (args: string[], options: object) => {
      const { out, err } = await jsp(['ping', '--json', '--count', '1', ...args], { cwd, ...options });
      expect(err).toBe('');
      return (JSON.parse(out) as { url: string }).url;
    };
    const asked = [
      connectedTo(['--url', url], { env }),
      connectedTo([], { env }),
      connectedTo([], {}),
      connectedTo([], { env: { JSP_URL: '' } }),
    ];
    expect(await Promise.all(asked)).toEqual([url, two.url, three.url, three.url]);
    await Promise.all(others.map((other) => other.close()));
  });

  test('is whichever answers of those with commas between them; a ping is with one', async () => {
    const gone = await NearBroker.start();
    await gone.close();
    const heard = await near.subscribe('either');
    const several = `${gone.url},${url}`;
    const [pub, ping] = await Promise.all([
      jsp(['pub', 'either', 'here', '--url', several]),
      jsp(['ping'], { env: { JSP_URL: several } }),
    ]);
    expect([pub.exitCode, pub.err]).toEqual([0, '']);
    expect((await heard.until(1)).texts).toEqual(['here']);
    expect(ping.exitCode).not.toBe(0);
    expect(ping.err).toContain('a ping is with one broker: give one URL, not 2 (ERR_JSP_USAGE)');
  });

  test('a URL that is none names where it came from', async () => {
    const { exitCode, err } = await jsp(['sub', '#'], { env: { JSP_URL: 'http://localhost' } });
    expect(exitCode).toBe(1);
    expect(err).toMatch(
      /^jsp: JSP_URL: "http:\/\/localhost" is not a server URL.*\(ERR_JSP_URL_INVALID\)\n$/,
    );
  });
});

describe('misuse', () => {
  const misuses: [string, string[], RegExp][] = [
    ['no command', [], /^Usage: jsp /],
    ['an unknown command', ['subscribe'], /^jsp: unknown command 'subscribe'.*\(ERR_JSP_USAGE\)\n$/s],
    ['a missing argument', ['sub'], /^jsp: missing required argument 'filter' \(ERR_JSP_USAGE\)\n$/],
    ['an unknown option', ['sub', '#', '--topic'], /^jsp: unknown option '--topic'.*\(ERR_JSP_USAGE\)\n$/s],
    ['a count of nothing', ['sub', '#', '--count', '0'], /whole number of at least 1\. \(ERR_JSP_USAGE\)\n$/],
    ['--lines with a message', ['pub', 'a', 'b', '--lines'], /^jsp: --lines .*\(ERR_JSP_USAGE\)\n$/],
    ['--raw with --json', ['sub', 'a', '--raw', '--json'], /^jsp: --raw .*\(ERR_JSP_USAGE\)\n$/],
    [
      'a word that is nearly an option is answered in one line, with the option',
      ['sub', 'a', '--cuont', '3'],
      /^jsp: unknown option '--cuont' \(Did you mean --count\?\) \(ERR_JSP_USAGE\)\n$/,
    ],
    // An argument that was not UTF-8 comes from Node with U+FFFD.
    ...(
      [
        [['pub', 'a', 'caf\ufffd'], 'the message'],
        [['pub', 'caf\ufffd', 'x'], 'the topic'],
        [['sub', 'caf\ufffd'], 'the filter'],
      ] as const
    ).map(([args, what]): [string, string[], RegExp] => [
      `${what} that is not UTF-8`,
      [...args, '--url', 'jsp://no-matter'],
      new RegExp(`^jsp: ${what} has bytes that are not UTF-8.*\\(ERR_JSP_USAGE\\)\\n$`),
    ]),
  ];
  test('ends with 2, and says what is wrong', async () => {
    const said = await jspTogether(misuses.map(([, args]) => args));
    for (const [i, [name, , expected]] of misuses.entries()) {
      const { exitCode, out, err } = said[i];
      expect([exitCode, out, err], name).toEqual([2, '', expect.stringMatching(expected)]);
    }
  });

  test('a topic that is none, and a filter that is none, a URL without a fingerprint, and no URL, end with 1', async () => {
    const said = await jspTogether([
      ['pub', 'a/+', 'b', '--url', url],
      ['sub', 'a/#/b', '--url', url],
      ['pub', 'a', 'b', '--url', 'jsp://127.0.0.1:4577'],
      ['sub', '#'],
    ]);
    expect(said.map(({ exitCode }) => exitCode)).toEqual([1, 1, 1, 1]);
    expect(said.map(({ err }) => err)).toEqual([
      expect.stringMatching(/\(ERR_JSP_TOPIC_INVALID\)\n$/),
      expect.stringMatching(/\(ERR_JSP_FILTER_INVALID\)\n$/),
      expect.stringMatching(/^jsp: .* \(ERR_JSP_PIN_MISSING\)\n$/),
      expect.stringMatching(
        /^jsp: no broker to connect to: pass --url or set JSP_URL .*\(ERR_JSP_URL_MISSING\)\n$/,
      ),
    ]);
  });

  test('every command has help with examples', async () => {
    const commands = ['broker', 'sub', 'pub', 'ping', 'keygen', 'profiles', 'bench'];
    const helps = await jspTogether(commands.map((command) => [command, '--help']));
    expect(helps.map(({ exitCode }) => exitCode)).toEqual(commands.map(() => 0));
    for (const { out } of helps) {
      expect(out).toMatch(/Examples:\n {2}\$ jsp /);
      expect(out).not.toMatch(/^\S.{80}/m); // prose fits a terminal of 80 columns
    }
  });
});

describe('jsp pub', () => {
  test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    '--lines at %s: what was read is delivered, but for a line that is not complete',
    async (signal) => {
      const heard = await near.subscribe(signal);
      const input = new PassThrough();
      const pub = new Jsp(['pub', signal, '--lines', '--url', url], { input });
      input.write('one\n');
      await heard.until(1);
      input.write('two\nthr');
      await heard.until(2);
      pub.process.kill(signal);
      expect(await pub.ended).toMatchObject({ exitCode: 0, err: '' });
      await near.publish(signal, 'end');
      expect((await heard.until(3)).texts).toEqual(['one', 'two', 'end']);
    },
  );

  test('--lines delivers what came before a line that is too long', async () => {
    const heard = await near.subscribe('long/line');
    const input = Buffer.concat([Buffer.from('one\n'), Buffer.alloc(16 * 1024 * 1024 + 1)]);
    const { exitCode, err } = await jsp(['pub', 'long/line', '--lines', '--url', url], { input });
    expect([exitCode, err]).toEqual([1, expect.stringContaining('ERR_JSP_INPUT_TOO_LARGE')]);
    expect((await heard.until(1)).texts).toEqual(['one']);
  });

  test('a folder as stdin is no empty input', async () => {
    const folder = openSync(emptyFolder(), 'r');
    const args = [MAIN, 'pub', 'a', '--url', url];
    const { status, stderr } = await endOf(process.execPath, args, { stdio: [folder, 'pipe', 'pipe'] });
    closeSync(folder);
    expect([status, stderr]).toEqual([1, expect.stringMatching(/directory.*ERR_JSP_FILE/)]);
  });

  test('works in a folder that is gone', async () => {
    const script = `mkdir gone && cd gone && rmdir ../gone && exec "${process.execPath}" "${MAIN}" pub a x --url "${url}"`;
    const { status, stderr } = await endOf('sh', ['-c', script], { cwd: emptyFolder() });
    expect([status, stderr]).toEqual([0, '']);
  });
});

test('jsp sub ends soon after Ctrl-C although the broker stands still, and complains of nothing', async () => {
  const broker = await startBroker();
  const sub = await startSub(broker.url, 'a');
  broker.jsp.process.kill('SIGSTOP');
  const start = performance.now();
  sub.process.kill('SIGINT');
  const { exitCode, err } = await sub.ended;
  expect([exitCode, err]).toEqual([0, 'subscribed\n']);
  expect(performance.now() - start).toBeLessThan(9_000);
});

test('a fingerprint that is not the broker’s ends in an error that says so', async () => {
  const { status, stderr } = await unanswered;
  expect(status).toBe(1);
  expect(stderr).toMatch(/^jsp: .*fingerprint.* \(ERR_JSP_HANDSHAKE_TIMEOUT\)\n$/);
});

/** Runs a program to its end. */
async function endOf(program: string, args: string[], options: SpawnOptions) {
  const child = spawn(program, args, options);
  let stderr = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, stderr };
}
