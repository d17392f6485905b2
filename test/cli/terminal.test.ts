import { expect, test } from 'vitest';
import { coloursOf, failureText } from '../../src/cli/terminal.ts';

test('colours are for terminals only, and for those who want them', () => {
  const red = (isTTY: boolean, environment: Record<string, string>) =>
    coloursOf({ isTTY }, environment).red('text');
  expect(red(true, {})).toBe('\x1b[31mtext\x1b[39m');
  expect(red(false, {})).toBe('text');
  expect(red(true, { NO_COLOR: '1' })).toBe('text');
  expect(red(true, { TERM: 'dumb' })).toBe('text');
  expect(coloursOf({}, {}).yellow('text')).toBe('text');
});

test('what a peer has said moves no terminal, not even in the stack of an error that nobody thought of', () => {
  const error = new Error('it said \x1b[2J\u202e');
  error.stack = `Error: it said \x1b[2J\u202e\n    at somewhere`;
  expect(failureText(error)).toContain('it said \\x1b[2J\\u202e\n    at somewhere (ERR_JSP_BUG)');
  expect(failureText(Object.assign(error, { code: 'ERR_JSP_X' }))).toBe(
    'jsp: it said \\x1b[2J\\u202e (ERR_JSP_X)\n',
  );
});
