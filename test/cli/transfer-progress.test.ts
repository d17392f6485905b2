import { expect, test } from 'vitest';
import { byteSize } from '../../src/cli/arguments.ts';
import {
  barLine,
  bytesText,
  durationText,
  plainLine,
  TransferProgress,
} from '../../src/cli/transfer-progress.ts';

const HALF = { what: 'holiday.mp4', bytes: 100e6, bytesTotal: 200e6 };

test('a bar has name, share, amounts, rate and time left, and fits any terminal', () => {
  expect(barLine(HALF, 10e6, 100)).toBe(
    'holiday.mp4  [###############---------------] 50 %  100.0 MB of 200.0 MB  10.0 MB/s  10 s left',
  );
  for (let columns = 1; columns < 130; columns++) {
    for (const what of ['a', 'a-very-long-name-that-does-not-fit.tar.gz']) {
      expect(barLine({ ...HALF, what }, 10e6, columns).length).toBeLessThan(columns + 1);
    }
  }
  expect(barLine(HALF, 0, 100)).toContain('waiting');
  expect(plainLine({ ...HALF, bytes: 200e6 }, 10e6)).toBe(
    'holiday.mp4: 100 %, 200.0 MB of 200.0 MB, 10.0 MB/s, 0 s left',
  );
  expect(plainLine({ ...HALF, bytes: 0, bytesTotal: 0 }, 1)).toContain('100 %');
});

test('on a terminal the line changes in place, ten times a second at most; elsewhere it is a line each 5 s', () => {
  const shownBy = (isTTY: boolean) => {
    let now = 0;
    let text = '';
    const line = new TransferProgress({ isTTY, columns: 80, write: (more) => (text += more) }, () => now);
    for (let i = 0; i <= 1_000; i++) {
      now = i * 10;
      line.show({ what: 'a', bytes: i * 1_000, bytesTotal: 1e6 });
    }
    line.clear();
    return text;
  };
  const terminal = shownBy(true);
  expect(terminal.match(/\r/g)?.length).toBeGreaterThan(90);
  expect(terminal.match(/\r/g)?.length).toBeLessThanOrEqual(102);
  expect(terminal.endsWith('\r\x1b[K')).toBe(true);
  expect(shownBy(false).split('\n')).toEqual([
    'a: 50 %, 500.0 kB of 1.0 MB, 100.0 kB/s, 5 s left',
    'a: 100 %, 1.0 MB of 1.0 MB, 100.0 kB/s, 0 s left',
    '',
  ]);
});

test('sizes and times are read and written as people do', () => {
  expect([0, 999, 1_000, 999_499, 1.5e6, 2e9].map(bytesText)).toEqual([
    '0 B',
    '999 B',
    '1.0 kB',
    '999.5 kB',
    '1.5 MB',
    '2.0 GB',
  ]);
  expect([0.2, 59, 61, 7_300].map(durationText)).toEqual(['1 s', '59 s', '1 min 1 s', '2 h 1 min']);
  expect(['10', '500M', '1.5GB', '2k', '1K'].map(byteSize)).toEqual([10, 500e6, 1.5e9, 2_000, 1_000]);
  for (const text of ['', 'x', '-1', '1X', '1e9']) expect(() => byteSize(text)).toThrow();
});
