import { expect, test } from 'vitest';
import { importsOf } from './imports.ts';
import { filesBelow } from './project.ts';
import { codeTokens } from './tokens.ts';

const sources = filesBelow('src', '.ts');
const programs = [
  ...sources,
  ...['test', 'benches', 'examples'].flatMap((folder) => filesBelow(folder, '.ts')),
];

/** Files that may be longer than {@link LINES_MAX}, each with the reason why it is still one idea. */
const LONG_FILES: Readonly<Record<string, string>> = {
  'src/protocol/connection/connection.ts':
    'the faces of a connection to application, endpoint and parts, a few lines a method',
  'src/transport/stream.ts': 'a stream as applications see it: each call with its documentation',
};
const LINES_MAX = 500;

test('no file of src/ has outgrown its one idea', () => {
  const long = sources.map(({ path, text }) => ({ path, lines: text.split('\n').length - 1 }));
  const unexplained = long.filter(({ path, lines }) => lines > LINES_MAX && LONG_FILES[path] === undefined);
  expect(unexplained.map(({ path, lines }) => `${path} has ${lines} lines`)).toEqual([]);
  const outdated = Object.keys(LONG_FILES).filter(
    (name) => !long.some(({ path, lines }) => path === name && lines > LINES_MAX),
  );
  expect(outdated).toEqual([]);
});

test('nothing is left to do in comments', () => {
  const marks = new RegExp(
    `\\b(${['TO', 'FIX', 'X'].map((start, i) => start + ['DO', 'ME', 'XX'][i]).join('|')})\\b`,
  );
  expect(placesOf(programs, (line) => marks.test(line))).toEqual([]);
});

test('file names are kebab-case and say what a file is for', () => {
  const vague = /^(utils?|helpers?|common|misc|manager|stuff|shared)$/;
  const odd = programs
    .map(({ path }) => path)
    .filter((path) =>
      path.split('/').some((part) => vague.test(part.split('.')[0]) || !/^[a-z0-9.-]+$/.test(part)),
    );
  expect(odd).toEqual([]);
});

test('types are strict: no any, no suppressed errors', () => {
  const anys = sources.flatMap(({ path, text }) => {
    const tokens = codeTokens(text);
    return tokens
      .filter(
        ({ kind, text: word }, i) =>
          kind === 'word' && word === 'any' && /^[:<,|&(=]$|^as$/.test(tokens[i - 1]?.text ?? ''),
      )
      .map(({ line }) => `${path}:${line} any`);
  });
  const suppressed = placesOf(sources, (line) => /@ts-(ignore|nocheck|expect-error)/.test(line));
  expect([...anys, ...suppressed]).toEqual([]);
});

test('relative imports name the file with its ending', () => {
  const odd = programs.flatMap((file) =>
    importsOf(file)
      .filter(({ specifier }) => specifier.startsWith('.') && !/\.(ts|json)$/.test(specifier))
      .map(({ specifier, line }) => `${file.path}:${line} ${specifier}`),
  );
  expect(odd).toEqual([]);
});

test('no function of src/ is named get-something', () => {
  const names = sources.flatMap(({ path, text }) => {
    const tokens = codeTokens(text);
    return tokens
      .filter((token, i) => token.kind === 'word' && /^get[A-Z]/.test(token.text) && isDeclared(tokens, i))
      .map((token) => `${path}:${token.line} ${token.text}`);
  });
  expect(names).toEqual([]);
});

/** True for `function getX` and for a method `getX(...) {`, not for a call. */
function isDeclared(tokens: ReturnType<typeof codeTokens>, i: number): boolean {
  if (tokens[i - 1]?.text === 'function') return true;
  if (tokens[i + 1]?.text !== '(' || tokens[i - 1]?.text === '.') return false;
  const close = tokens.findIndex((token, j) => j > i && token.text === ')');
  return tokens[close + 1]?.text === '{' || tokens[close + 1]?.text === ':';
}

function placesOf(files: typeof programs, matches: (line: string) => boolean): string[] {
  return files.flatMap(({ path, text }) =>
    text.split('\n').flatMap((line, i) => (matches(line) ? [`${path}:${i + 1} ${line.trim()}`] : [])),
  );
}
