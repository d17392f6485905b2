import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { LABELS } from '../../src/bench/link/control.ts';
import { PROBE_BYTES_MIN } from '../../src/bench/link/probe.ts';
import { generateIdentity, type Listener, listen } from '../../src/index.ts';
import { emptyFolder } from '../empty-folder.ts';
import { Jsp, jsp, jspTogether, startBroker } from './jsp.ts';

const QUICK = ['--seconds', '0.2', '--omit', '0.1', '--loss-seconds', '0', '--congestion', 'cubic'];
/** More than are measured before what a test does meanwhile is done, on a machine however busy. */
const MANY_SIZES = Array.from({ length: 200 }, (_, i) => 600 + (i % 3) * 100).join(',');

async function startServer(): Promise<{ server: Jsp; url: string }> {
  const server = new Jsp(['bench', 'serve', '--port', '0']);
  await server.until(({ out }) => out.includes('\n'));
  return { server, url: server.out.split('\n')[0] };
}

/** What a server that makes things up answers. */
async function hostileServer(answer: (ask: string) => object): Promise<Listener> {
  const listener = await listen({ identity: generateIdentity(), host: '127.0.0.1', port: 0 });
  onTestFinished(() => listener.close({ timeoutMs: 0 }));
  listener.on('connection', (connection) => {
    connection.on('stream', (stream) => {
      stream.on('error', () => {});
      if (stream.label === LABELS.probe) {
        stream.on('message', (message) => {
          if (message.length < PROBE_BYTES_MIN) return;
          message.writeDoubleBE(0, 4); // sent long ago
          message.writeDoubleBE(1e12, 12); // there for a negative time
          message.writeDoubleBE(0, 20);
          stream.send(message);
        });
        return;
      }
      stream.on('message', (message) => {
        const { id, ask } = JSON.parse(message.toString()) as { id: number; ask: string };
        stream.send(JSON.stringify({ id, ...answer(ask) }));
      });
    });
  });
  return listener;
}

const HELLO = {
  token: 't',
  host: '',
  machine: { version: '', node: '', platform: '', cpu: '', cores: 1 },
  secondsMax: 60,
};

describe('jsp bench link', () => {
  test.each([
    [
      'refuses',
      { refusal: { code: 'invalid', message: 'go away\x1b[2J', retrySeconds: null } },
      /^jsp: go away\\x1b\[2J \(ERR_JSP_BENCH_REFUSED\)$/m,
    ],
    [
      'talks nonsense',
      { ok: 7 },
      /^jsp: the server answers what makes no sense: .*\(ERR_JSP_BENCH_REFUSED\)$/m,
    ],
  ])(
    'says what is known, and why no more, when the server %s midway, and is not held up by what it makes up',
    async (_, later, error) => {
      const { url } = await hostileServer((ask) => (ask === 'hello' ? { ok: HELLO } : later));
      const ended = await jsp(['bench', 'link', url, ...QUICK]);
      expect(ended.exitCode).toBe(1);
      expect(ended.err).toMatch(error);
      expect(ended.out).toContain('Ended early');
    },
  );

  test('tells before it measures that its page cannot be written', async () => {
    const url = `jsp://${'A'.repeat(43)}@127.0.0.1:9`;
    for (const page of [join(emptyFolder(), 'none', 'link.html'), emptyFolder()]) {
      const { err, exitCode } = await jsp(['bench', 'link', url, '--report', page]);
      expect(exitCode).toBe(1);
      expect(err).toMatch(/cannot write .*\(ERR_JSP_FILE\)/);
    }
  });

  test('measures with jsp bench serve, one client at a time, which stays up for the next', async () => {
    const { server, url } = await startServer();
    expect(url).toMatch(/^jsp:\/\/[\w-]+@127\.0\.0\.1:\d+$/);
    const page = join(emptyFolder(), 'link.html');
    const first = new Jsp([
      'bench',
      'link',
      url,
      ...QUICK,
      '--mtu',
      '512,1200',
      '--interval',
      '0.1',
      '--json',
      '--report',
      page,
    ]);
    const { exitCode, out } = await first.ended;
    expect(exitCode).toBe(0);
    const lines = out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.slice(0, -1).every(({ type }) => type === 'interval')).toBe(true);
    expect(lines.length).toBeGreaterThan(4);
    const report = lines.at(-1) as {
      type: string;
      rows: { asked: number; mtu: number; carried: string }[];
      clocks: object;
    };
    expect(report.type).toBe('report');
    expect(report.rows).toMatchObject(
      [512, 1_200].map((size) => ({ asked: size, mtu: size, carried: 'whole' })),
    );
    if (process.platform === 'linux') expect(report.clocks).toEqual({ kind: 'same' });
    expect(readFileSync(page, 'utf8')).toContain('<title>Link to 127.0.0.1 port');
    await server.until(({ err }) => /measured 127\.0\.0\.1 port \d+: 2 runs in \d/.test(err));

    const second = new Jsp([
      'bench',
      'link',
      url,
      ...QUICK,
      '--mtu',
      MANY_SIZES,
      '--reverse',
      '--rate',
      '2M',
    ]);
    await second.until(({ err }) => err.includes('datagrams of 700 bytes, down'));
    const busy = await jsp(['bench', 'link', url]);
    expect([busy.exitCode, busy.out]).toEqual([1, '']);
    expect(busy.err).toMatch(
      /it takes one at a time; it is free in \d+ s at the latest, try again \(ERR_JSP_BENCH_BUSY\)/,
    );
    second.process.kill('SIGINT');
    const stopped = await second.ended;
    expect(stopped.exitCode).toBe(130);
    expect(stopped.out).toMatch(/^600 +down +cubic +yes /m);
    expect(stopped.out).toContain('Ended early: stopped by SIGINT');

    await server.until(({ err }) => err.split('measured 127.0.0.1').length === 3);
    server.process.kill('SIGTERM');
    const ended = await server.ended;
    expect(ended.exitCode).toBe(0);
    expect(ended.err).toContain('closed; 2 clients measured');
  });

  test('says what it has when the server goes, and why', async () => {
    const { server, url } = await startServer();
    const client = new Jsp(['bench', 'link', url, ...QUICK, '--mtu', MANY_SIZES]);
    await client.until(({ err }) => err.includes('datagrams of 700 bytes'));
    server.process.kill('SIGTERM');
    const { exitCode, err, out } = await client.ended;
    expect(exitCode).toBe(1);
    expect(out).toMatch(/^600 +up +cubic +yes /m);
    expect(err).toMatch(/\(ERR_JSP_\w+\)\n$/);
  });

  test('tells a broker from a server of measurements', async () => {
    const { url } = await startBroker();
    const { exitCode, err } = await jsp(['bench', 'link', url]);
    expect(exitCode).toBe(1);
    expect(err).toMatch(/no measurements are served at .*"jsp bench serve".*\(ERR_JSP_NOT_A_BENCH_SERVER\)/);
  });

  test('refuses a URL that is none, and options that make no sense', async () => {
    const wrong: [string[], string, number][] = [
      [['no-url'], 'ERR_JSP_URL_INVALID', 1],
      [['jsp://x@h:1', '--rate', '5X'], 'ERR_JSP_USAGE', 2],
      [['jsp://x@h:1', '--bidir', '--reverse'], 'ERR_JSP_USAGE', 2],
    ];
    const said = await jspTogether(wrong.map(([args]) => ['bench', 'link', ...args]));
    for (const [i, [args, code, status]] of wrong.entries()) {
      expect(said[i].err, args.join(' ')).toContain(code);
      expect(said[i].exitCode, args.join(' ')).toBe(status);
    }
  });
});
