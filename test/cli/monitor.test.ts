import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { emptyFolder } from '../empty-folder.ts';
import { Jsp, jsp, MAIN, startSub } from './jsp.ts';

/** A broker whose monitors look for it in a folder of the test. */
async function brokerIn(env: Record<string, string>): Promise<{ broker: Jsp; url: string; pid: string }> {
  const broker = new Jsp(['broker', '--port', '0', '--state', join(emptyFolder(), 'state')], { env });
  await broker.until(({ err }) => err.includes('listens'));
  return { broker, url: broker.out.split('\n')[0], pid: String(broker.process.pid) };
}

/** The program that runs another one on a terminal, as Debian has it. */
function hasScript(): boolean {
  return process.platform === 'linux' && spawnSync('script', ['-qec', 'true', '/dev/null']).status === 0;
}

const ownFolder = (): Record<string, string> => ({ TMPDIR: emptyFolder() });

describe('jsp monitor', () => {
  test('of a URL measures the link to any server, as lines and as JSON', async () => {
    const env = ownFolder();
    const { url } = await brokerIn(env);
    const args = ['monitor', url, '--interval', '0.2', '--rate', '50', '--count', '3'];
    const [lines, json] = await Promise.all([jsp(args, { env }), jsp([...args, '--json'], { env })]);
    expect(lines).toMatchObject({ exitCode: 0, err: '' });
    const shown = lines.out.trim().split('\n');
    expect(shown).toHaveLength(3);
    for (const line of shown)
      expect(line).toMatch(
        /^\d+\.\d s {2}#1 to 127\.0\.0\.1:\d+ {2}sent [\d.]+ k?bit\/s .* rtt [\d.]+ ms {2}loss [\d.]+ % .* limited by \w+/,
      );
    expect(json.exitCode).toBe(0);
    const looks = json.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(looks).toHaveLength(3);
    const [{ last, metrics, role }] = looks[2].connections;
    expect(role).toBe('client');
    expect(metrics.heartbeatsSent).toBeGreaterThan(1);
    expect(last.sentRate).toBeGreaterThan(0);
    expect(last.rttMs).toBeGreaterThan(0);
  });

  test.skipIf(process.platform === 'win32')(
    'of a process shows its connections, and lists which can be watched',
    async () => {
      const env = ownFolder();
      const { broker, url, pid } = await brokerIn(env);
      const nothing = await jsp(['monitor', '--pid', pid, '--interval', '0.1', '--count', '1'], { env });
      expect(nothing.out).toMatch(/^\d+\.\d s {2}no connection is open\n$/);
      const subscriber = await startSub(url, '#');
      const list = await jsp(['monitor', '--pid'], { env });
      expect(list).toMatchObject({ exitCode: 0, out: `${pid.padStart(7)}  jsp broker  1 connection\n` });
      const one = await jsp(['monitor', '--pid', pid, '--interval', '0.1', '--count', '2', '--json'], {
        env,
      });
      const looks = one.out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
      expect(looks).toHaveLength(2);
      expect(looks[1]).toMatchObject({ pid: Number(pid), name: 'jsp broker', connectionsOpen: 1 });
      expect(looks[1].connections[0].role).toBe('server');
      subscriber.process.kill();
      const watching = new Jsp(['monitor', '--pid', pid, '--interval', '0.1'], { env });
      await watching.until(({ out }) => out.includes('\n'));
      broker.process.kill();
      expect(await watching.ended).toMatchObject({
        exitCode: 1,
        err: `jsp: process ${pid} has ended, or tells no more (ERR_JSP_MONITOR)\n`,
      });
      await broker.ended;
      expect(readdirSync(join(env.TMPDIR, `jsp-monitor-${process.getuid?.()}`))).toEqual([]);
    },
  );

  test.skipIf(!hasScript())(
    'on a terminal takes the whole screen, and gives it back, also when it is stopped',
    async () => {
      const env = ownFolder();
      const { url } = await brokerIn(env);
      const command = `'${process.execPath}' '${MAIN}' monitor '${url}' --interval 0.1`;
      const drawn = join(env.TMPDIR, 'drawn');
      const onTerminal = (rest: string): Promise<string> =>
        new Promise((resolve) => {
          const child = spawn('script', ['-qec', `stty rows 24 cols 80; ${command} ${rest}`, '/dev/null'], {
            env: { ...process.env, ...env, TERM: 'xterm', NO_COLOR: '1' },
          });
          let out = '';
          child.stdout.on('data', (chunk: Buffer) => {
            out += chunk.toString();
            if (rest.includes(drawn) && out.includes('q quit')) writeFileSync(drawn, '');
          });
          child.on('close', () => resolve(out));
        });
      const [counted, stopped] = await Promise.all([
        onTerminal('--count 3'),
        onTerminal(`& while [ ! -e '${drawn}' ]; do sleep 0.1; done; kill -TERM $!; wait`),
      ]);
      for (const out of [counted, stopped]) {
        expect(out.startsWith('\x1b[?1049h\x1b[?25l\x1b[Hjsp monitor · link to 127.0.0.1:')).toBe(true);
        expect(out.trimEnd().endsWith('\x1b[?25h\x1b[?1049l')).toBe(true);
        expect(out).toContain('q quit  p pause');
        expect(out).not.toContain('\x1b[1m');
      }
    },
  );

  test.skipIf(process.platform === 'win32')('says what is wrong, and what to do', async () => {
    const env = ownFolder();
    const errors = async (...args: string[]): Promise<string> =>
      (await jsp(['monitor', ...args], { env })).err;
    expect(await errors()).toMatch(/either the URL of a server or --pid \(ERR_JSP_USAGE\)/);
    expect(await errors('--pid', 'x')).toMatch(/must be the id of a process.*ERR_JSP_USAGE/);
    expect(await errors('--pid', '1', '--rate', '5')).toMatch(/--rate goes with a URL/);
    expect(await errors('--pid')).toMatch(/No process of yours tells a monitor anything now/);
    expect(await errors('--pid', String(process.pid))).toMatch(
      /start it with JSP_MONITOR=1.*\(ERR_JSP_MONITOR\)/,
    );
    const { pid } = await brokerIn({ ...env, JSP_MONITOR: '0' });
    expect(await errors('--pid', pid)).toMatch(/tells a monitor nothing|no process of yours/);
    const directory = join(env.TMPDIR, `jsp-monitor-${process.getuid?.()}`);
    mkdirSync(directory, { recursive: true });
    chmodSync(directory, 0o777);
    expect(await errors('--pid', pid)).toMatch(/must be a directory that is yours alone/);
    const { broker } = await brokerIn(env); // which serves all the same
    await broker.until(({ err }) => err.includes('ERR_JSP_MONITOR'));
  });
});
