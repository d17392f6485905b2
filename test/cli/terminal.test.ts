import { expect, test } from 'vitest';
import { coloursOf } from '../../src/cli/terminal.ts';

test('colours are for terminals only, and for those who want them', () => {
  const red = (isTTY: boolean, environment: Record<string, string>) =>
    coloursOf({ isTTY }, environment).red('text');
  expect(red(true, {})).toBe('\x1b[31mtext\x1b[39m');
  expect(red(false, {})).toBe('text');
  expect(red(true, { NO_COLOR: '1' })).toBe('text');
  expect(red(true, { TERM: 'dumb' })).toBe('text');
  expect(coloursOf({}, {}).yellow('text')).toBe('text');
});
