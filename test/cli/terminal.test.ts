import { expect, test } from 'vitest';
import { coloursOf, failureText, wrapProse } from '../../src/cli/terminal.ts';

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

test('prose of a help breaks between words, each sentence that ends a line ends its paragraph, and what is indented stays', () => {
  const example = '  $ jsp pub a "of more than twenty columns"\n';
  expect(wrapProse(`Usage: x\n\none two three four five\nsix seven. Eight.\nNine:\n${example}`, 20)).toBe(
    `Usage: x\n\none two three four\nfive six seven.\nEight.\nNine:\n${example}`,
  );
  expect(wrapProse('a-word-of-more-than-twenty-columns and others', 20)).toBe(
    'a-word-of-more-than-twenty-columns\nand others',
  );
  expect(wrapProse('exactly twenty signs\n', 20)).toBe('exactly twenty signs\n');
});
