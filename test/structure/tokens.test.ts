import { expect, test } from 'vitest';
import { codeTokens, tokenize } from './tokens.ts';

test('comments and strings are told from code', () => {
  const source = `a(); // Date\nb('Date', "it's"); /* Date\n */ c();`;
  expect(words(source)).toEqual(['a', 'b', 'c']);
  expect(tokenize(source).filter(({ kind }) => kind === 'string')).toMatchObject([
    { text: 'Date', line: 2 },
    { text: "it's", line: 2 },
  ]);
  expect(tokenize(source).at(-4)).toMatchObject({ text: 'c', line: 3 });
});

test('the code within a template is code, its text is not', () => {
  const source = `x(\`one \${two({ a: \`three \${four}\` })} five\`); six`;
  expect(words(source)).toEqual(['x', 'two', 'a', 'four', 'six']);
});

test('a regular expression is not a string or a comment', () => {
  expect(words(`if (/["'/*]\\//.test(a)) b = c / d / e; // '`)).toEqual([
    'if',
    'test',
    'a',
    'b',
    'c',
    'd',
    'e',
  ]);
});

test('escaped quotes do not end a string', () => {
  expect(words(`a('it\\'s', b)`)).toEqual(['a', 'b']);
});

function words(source: string): string[] {
  return codeTokens(source)
    .filter(({ kind }) => kind === 'word')
    .map(({ text }) => text);
}
