import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { drawQuantiles } from '../../benches/lossy/quantile-plot.ts';
import { addRecord, type PeerResult, readRecords } from '../../benches/lossy/record.ts';
import { emptyFolder } from '../empty-folder.ts';
import { ROOT } from '../structure/project.ts';

const RESULT: PeerResult = {
  peer: 'off',
  loss: 10,
  rttMs: 50,
  intervalMs: 10,
  size: 64,
  seconds: 1,
  messages: 100,
  ordered: true,
  shares: [0.5, 0.9],
  runs: [],
};

test('a record takes the place of an older one of the same peer, and keeps those of others', () => {
  const file = join(emptyFolder(), 'record.json');
  addRecord(file, ['--runs', '1'], [RESULT, { ...RESULT, peer: 'kcptun' }]);
  addRecord(file, ['--runs', '2'], [{ ...RESULT, seconds: 2 }]);
  const records = readRecords(file);
  expect(records.map(({ command }) => command)).toEqual([
    'npm run bench lossy -- --runs 1',
    'npm run bench lossy -- --runs 2',
  ]);
  expect(records.map(({ results }) => results.map(({ peer, seconds }) => [peer, seconds]))).toEqual([
    [['kcptun', 1]],
    [['off', 2]],
  ]);
  expect(readFileSync(file, 'utf8')).toContain('"commit": "');
});

test('curves end at their last share, with labels that do not cover each other', () => {
  const curve = { cost: '', colour: '#000', width: 1 };
  const picture = drawQuantiles({
    title: 'Title',
    subtitle: '',
    cost: '',
    curves: [
      {
        ...curve,
        label: 'one',
        points: [
          [0, 25],
          [0.999, 100],
        ],
      },
      {
        ...curve,
        label: 'two',
        points: [
          [0, 25],
          [0.999, 101],
        ],
      },
    ],
  });
  const labels = [...picture.matchAll(/y="([\d.]+)"[^>]*font-weight="600" fill="#000">/g)].map(([, y]) =>
    Number(y),
  );
  expect(labels).toHaveLength(2);
  expect(Math.abs(labels[0] - labels[1])).toBeGreaterThan(19);
  const ends = [...picture.matchAll(/<path d="[^"]*L([\d.]+) ([\d.]+)"/g)].map(([, x]) => Number(x));
  expect(ends[0]).toBe(ends[1]);
});

test('the picture in docs/ is the one that the recorded figures give', () => {
  const folder = emptyFolder();
  const picture = join(folder, 'lossy.svg');
  const drawn = spawnSync(
    process.execPath,
    ['--import', './scripts/typescript/register.js', 'benches/lossy-plot.ts', 'docs/lossy.json', picture],
    { cwd: ROOT, encoding: 'utf8' },
  );
  expect(drawn.stderr).toBe('');
  expect(readFileSync(picture, 'utf8')).toBe(readFileSync(join(ROOT, 'docs/lossy.svg'), 'utf8'));
});
