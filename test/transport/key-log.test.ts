import { execFile, execFileSync } from 'node:child_process';
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join as joinPath } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { emptyFolder } from '../empty-folder.ts';
import { echo, join, serve, take } from './served.ts';
import { catchUncaught } from './uncaught.ts';

afterEach(() => {
  delete process.env.JSPKEYLOGFILE;
});

const LABELS = ['CLIENT', 'SERVER'].flatMap((side) =>
  ['INITIAL_SECRET', 'HANDSHAKE_TRAFFIC_SECRET', 'TRAFFIC_SECRET_0'].map((name) => `JSP_${side}_${name}`),
);

/** Labels of lines, which are all of one connection. */
function labelsOf(lines: readonly string[]): string[] {
  for (const line of lines) expect(line).toMatch(/^JSP_[A-Z_0]+ [0-9a-f]{16} [0-9a-f]{64}$/);
  expect(new Set(lines.map((line) => line.split(' ')[1])).size).toBe(1);
  return lines.map((line) => line.split(' ')[0]).sort();
}

describe('the secrets of a connection', () => {
  test('are told to who asks, each once and the same at both ends [TRC-10]', async () => {
    const server: string[] = [];
    const client: string[] = [];
    const listener = await serve(echo, { keyLog: (line) => server.push(line) });
    const stream = (await join(listener, { keyLog: (line) => client.push(line) })).openStream();
    stream.send('hello');
    await take(stream, 1);
    expect(labelsOf(client)).toEqual([...LABELS].sort());
    expect([...server].sort()).toEqual([...client].sort());
    expect(new Set(client.map((line) => line.split(' ')[2])).size).toBe(LABELS.length);
  });

  test('go to the file that the environment names, which only its owner reads [TRC-11]', async () => {
    const path = joinPath(emptyFolder(), 'keys');
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    process.env.JSPKEYLOGFILE = path;
    const told: string[] = [];
    const listener = await serve(echo);
    await join(listener, { keyLog: (line) => told.push(line) });
    const listed = readFileSync(path, 'utf8').trimEnd().split('\n');
    expect([...new Set(listed)].sort()).toEqual([...told].sort());
    expect(statSync(path).mode & 0o777).toBe(0o600);
    await join(listener);
    expect(readFileSync(path, 'utf8').startsWith(`${listed.join('\n')}\n`)).toBe(true);
    expect(warned.mock.calls.map(([message]) => String(message))).toEqual([
      expect.stringMatching(/JSPKEYLOGFILE is set: whoever can read .* can read all/),
    ]);
    warned.mockRestore();
  });

  test('are told to nobody else', async () => {
    const path = joinPath(emptyFolder(), 'keys');
    process.env.JSPKEYLOGFILE = '';
    await join(await serve(echo));
    expect(existsSync(path)).toBe(false);
  });

  test('of several processes share a file, whole lines each', async () => {
    const path = joinPath(emptyFolder(), 'keys');
    const listener = await serve(echo);
    const source = pathToFileURL(fileURLToPath(new URL('../../dist/index.js', import.meta.url))).href;
    const program = `
      import { connect } from '${source}';
      await connect('${listener.url}');
      process.exit(0);`;
    const run = () =>
      promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program], {
        env: { ...process.env, JSPKEYLOGFILE: path },
      });
    writeFileSync(path, '# of somebody else\n');
    await Promise.all([run(), run()]);
    const [first, ...lines] = readFileSync(path, 'utf8').trimEnd().split('\n');
    expect(first).toBe('# of somebody else');
    const ids = [...new Set(lines.map((line) => line.split(' ')[1]))];
    expect(ids.length).toBe(2);
    for (const id of ids)
      expect(labelsOf(lines.filter((line) => line.includes(id)))).toEqual([...LABELS].sort());
  });

  test('that cannot be written are one warning', async () => {
    const path = emptyFolder();
    mkdirSync(joinPath(path, 'keys'));
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    process.env.JSPKEYLOGFILE = joinPath(path, 'keys');
    const listener = await serve(echo);
    for (let i = 0; i < 2; i++) await join(listener);
    const messages = warned.mock.calls.map(([message]) => String(message));
    warned.mockRestore();
    expect(messages.filter((message) => message.includes('keys are not logged any more')).length).toBe(1);
  });

  test.skipIf(process.platform === 'win32').each(['nobody', 'somebody'])(
    'go to no pipe, which %s reads, and no process waits for one [TRC-11]',
    async (who) => {
      const path = joinPath(emptyFolder(), 'keys');
      execFileSync('mkfifo', [path]);
      const reader = who === 'nobody' ? null : openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
      const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
      process.env.JSPKEYLOGFILE = path;
      await join(await serve(echo));
      const messages = warned.mock.calls.map(([message]) => String(message));
      warned.mockRestore();
      if (reader !== null) {
        expect(readFileSync(reader, 'utf8')).toBe('');
        closeSync(reader);
      }
      expect(messages.slice(1)).toEqual([
        `keys are not logged any more: JSPKEYLOGFILE must name a regular file, or one that is not there yet: ${path} is none`,
      ]);
    },
  );

  test('do not hurt the connection when who is told them throws', async () => {
    const listener = await serve(echo);
    const thrown = catchUncaught();
    const connection = await join(listener, {
      keyLog: () => {
        throw new Error('no room');
      },
    });
    const stream = connection.openStream();
    stream.send('hello');
    expect(String((await take(stream, 1))[0])).toBe('hello');
    expect(thrown.map((error) => (error as Error).message)).toEqual(LABELS.map(() => 'no room'));
  });
});
