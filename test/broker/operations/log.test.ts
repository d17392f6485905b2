import { mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { openLog } from '../../../src/broker/operations/log.ts';

const folder = mkdtempSync(join(tmpdir(), 'jsp-'));
afterAll(() => rmSync(folder, { recursive: true }));

const nowhere = { note: () => {}, warn: () => {} };

/** The lines of a file, once it has so many. */
async function linesOf(file: string, count: number): Promise<string[]> {
  for (;;) {
    const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1);
    if (lines.length >= count) return lines;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test('a log of JSON has a line for each that is important enough, and can be told what is [CFG-8]', async () => {
  const file = join(folder, 'json.log');
  const log = await openLog({ level: 'info', format: 'json', file }, nowhere);
  log.write('debug', 'not this', { event: 'x' });
  log.write('warn', 'forged\n{"level":"info"}\u202e', { event: 'fault', name: '\x1b[2J\nx' });
  log.level = 'debug';
  expect(log.level).toBe('debug');
  log.write('debug', 'this', { event: 'y', count: 3 });
  const lines = (await linesOf(file, 2)).map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(lines).toMatchObject([
    {
      level: 'warn',
      msg: 'forged\\n{"level":"info"}\\u202e',
      event: 'fault',
      name: '\x1b[2J\nx',
      pid: process.pid,
    },
    { level: 'debug', msg: 'this', event: 'y', count: 3 },
  ]);
  expect(lines[0].time).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
});

test('a log of text says when, and nothing in it begins a line of its own but what has lines [CFG-8]', async () => {
  const file = join(folder, 'text.log');
  const log = await openLog({ level: 'info', format: 'text', file }, nowhere);
  log.write('debug', 'not this', { event: 'x' });
  log.write('info', 'name \x1b[2J', { event: 'x' });
  log.write('error', 'bad', { event: 'x' });
  const lines = await linesOf(file, 2);
  expect(lines.map((line) => line.replace(/^\S+Z /, ''))).toEqual(['name \\x1b[2J', 'error: bad']);
});

test('a file that was moved away is left, and another of its name begun [CFG-8]', async () => {
  const file = join(folder, 'moved.log');
  const log = await openLog({ level: 'info', format: 'json', file }, nowhere);
  log.write('info', 'one', { event: 'x' });
  await linesOf(file, 1);
  renameSync(file, `${file}.1`);
  log.reopen();
  log.write('info', 'two', { event: 'x' });
  const [line] = await linesOf(file, 1);
  expect(JSON.parse(line)).toMatchObject({ msg: 'two' });
  expect(await linesOf(`${file}.1`, 1)).toHaveLength(1);
});

test('a file that cannot be written is told at once', async () => {
  const opened = openLog(
    { level: 'info', format: 'json', file: join(folder, 'no/such/folder.log') },
    nowhere,
  );
  await expect(opened).rejects.toMatchObject({ code: 'ERR_JSP_CONFIG' });
});

test('lines for people go where those of the command go, by how important they are', async () => {
  const told: string[] = [];
  const lines = {
    note: (text: string) => told.push(text),
    warn: (text: string) => told.push(`warning: ${text}`),
  };
  const log = await openLog({ level: 'info', format: 'text', file: undefined }, lines);
  log.write('info', 'a', { event: 'x' });
  log.write('debug', 'b', { event: 'x' });
  log.level = 'error';
  log.write('warn', 'c', { event: 'x' });
  log.write('error', 'd', { event: 'x' });
  expect(told).toEqual(['a', 'warning: d']);
});
