import fs, { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { readSamples } from '../../src/cli/samples.ts';
import { emptyFolder } from '../empty-folder.ts';
import { jsp, jspTogether, startBroker, startSub } from './jsp.ts';

const reading = (i: number): string =>
  `{"device":"sensor-${(i * 7919) % 997}","temperature":${(i % 300) / 10},"unit":"celsius","status":"ok"}`;
const readings = (count: number): string =>
  Array.from({ length: count }, (_, i) => `${reading(i)}\n`).join('');

test('jsp dict train makes a dictionary of the lines of a file, and tells what it brings on those that it held back', async () => {
  const folder = emptyFolder();
  const file = join(folder, 'readings.dict');
  writeFileSync(join(folder, 'readings.txt'), readings(300));
  const { out, err, exitCode } = await jsp(['dict', 'train', 'readings.txt', '--lines', '-o', file], {
    cwd: folder,
  });
  expect([exitCode, err]).toEqual([0, '']);
  expect(out).toMatch(
    /^[0-9a-f]{16} {2}[\d,]+ bytes, in .*readings\.dict\nmade of 240 of 300 samples .*other 60:/,
  );
  expect(out).toMatch(
    /as they are +[\d,]+ +1\.00\ncompressed +[\d,]+ +1\.0\d\nwith the dictionary +[\d,]+ +[2-9]\.\d\d\nthrough a broker/,
  );
  const again = await jsp(['dict', 'train', '-', '--lines', '--json', '-o', join(folder, 'again.dict')], {
    input: readings(300),
  });
  expect(readFileSync(join(folder, 'again.dict'))).toEqual(readFileSync(file));
  const json = JSON.parse(again.out);
  expect(json).toMatchObject({
    samples: { count: 300 },
    heldBack: { count: 60 },
    bytes: readFileSync(file).length,
  });
  expect(out.startsWith(json.name)).toBe(true);
  expect(json.ratio.withDictionary).toBeGreaterThan(2);
  const shown = await jsp(['dict', 'show', file]);
  expect(shown.out).toContain(`name    ${json.name}\nsha256  ${json.sha256}\n`);
  expect(shown.out).toContain('"unit":"celsius"');
  expect(JSON.parse((await jsp(['dict', 'show', file, '--json'])).out)).toEqual({
    name: json.name,
    sha256: json.sha256,
    bytes: json.bytes,
  });
});

test('a folder is as many samples as it has files, below it too, but for hidden ones', async () => {
  const folder = emptyFolder();
  mkdirSync(join(folder, 'samples', 'more'), { recursive: true });
  for (let i = 0; i < 40; i++)
    writeFileSync(join(folder, 'samples', i % 2 ? 'more' : '', `${i}.json`), reading(i));
  writeFileSync(join(folder, 'samples', '.hidden'), 'not a sample');
  const { out, err } = await jsp(['dict', 'train', 'samples', '--json', '--bytes', '256'], {
    cwd: folder,
  });
  expect(err).toBe('');
  expect(JSON.parse(out)).toMatchObject({ samples: { count: 40 }, file: null });
  expect(JSON.parse(out).bytes).toBeLessThanOrEqual(256);
});

test.skipIf(process.platform === 'win32')('what has no end is read as far as samples may go', () => {
  // Else a failure would be this machine without memory.
  vi.spyOn(fs, 'readFileSync').mockImplementation(() => expect.unreachable('it is read to its end'));
  syncBuiltinESMExports();
  onTestFinished(() => {
    vi.restoreAllMocks();
    syncBuiltinESMExports();
  });
  expect(() => readSamples(['/dev/zero'], false)).toThrow(
    '/dev/zero is larger than a message can be; if it holds a message a line, pass --lines',
  );
});

test('what cannot be trained with is refused with what to do', async () => {
  const folder = emptyFolder();
  writeFileSync(join(folder, 'one.txt'), readings(300));
  writeFileSync(join(folder, 'noise.txt'), Array.from({ length: 40 }, (_, i) => `${i}`).join('\n'));
  writeFileSync(join(folder, 'empty'), '');
  const cases: [string[], string, RegExp][] = [
    [['train', 'one.txt'], 'ERR_JSP_SAMPLES', /1 sample is too few: .*--lines/],
    [['train', 'empty'], 'ERR_JSP_SAMPLES', /there are no samples/],
    [['train', 'noise.txt', '--lines'], 'ERR_JSP_SAMPLES', /nothing in common/],
    [['train', 'missing'], 'ERR_JSP_FILE', /cannot read missing/],
    [['train', 'one.txt', '--lines', '-o', 'no/such/folder'], 'ERR_JSP_FILE', /cannot write/],
    [['show', 'empty'], 'ERR_JSP_FILE', /empty is no dictionary/],
    [['train', 'one.txt', '--bytes', '70000'], 'ERR_JSP_USAGE', /64 to 65535/],
  ];
  const results = await jspTogether(
    cases.map(([args]) => ['dict', ...args]),
    folder,
  );
  for (const [i, [, code, message]] of cases.entries()) {
    const { err, exitCode } = results[i];
    expect(err).toMatch(message);
    expect(err.split('\n').at(-2)).toContain(`(${code})`);
    expect(exitCode).toBe(code === 'ERR_JSP_USAGE' ? 2 : 1);
  }
});

test('jsp pub compresses with a dictionary, jsp sub opens what comes with the same one, and says what it cannot open', async () => {
  const folder = emptyFolder();
  const file = join(folder, 'readings.dict');
  await jsp(['dict', 'train', '-', '--lines', '-o', file], { input: readings(100) });
  const { url } = await startBroker();
  const [has, lacks] = [
    await startSub(url, 'sensors/#', '--dict', file, '--count', '22'),
    await startSub(url, 'sensors/#', '--count', '2'),
  ];
  const lines = readings(20);
  expect(
    await jsp(['pub', 'sensors/1', '--lines', '--dict', file, '--url', url], { input: lines }),
  ).toMatchObject({
    exitCode: 0,
    err: '',
  });
  expect((await jsp(['pub', 'sensors/1', 'x'.repeat(500), '--compress', '--url', url])).exitCode).toBe(0);
  expect((await jsp(['pub', 'sensors/1', 'x'.repeat(500), '--deflate', '--url', url])).exitCode).toBe(0);
  expect((await has.ended).out).toBe(`${lines}${`${'x'.repeat(500)}\n`.repeat(2)}`);
  const { out, err } = await lacks.ended;
  expect(out).toBe(`${'x'.repeat(500)}\n`.repeat(2));
  expect(err).toMatch(
    /^subscribed\nwarning: a message to sensors\/1 is left out: it was compressed with the dictionary [0-9a-f]{16}: pass --dict with its file\n20 messages were left out\n$/,
  );
});
