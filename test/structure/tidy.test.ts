import { expect, test } from 'vitest';
import { filesBelow } from './project.ts';

const sources = filesBelow('src', '.ts');
const programs = [
  ...sources,
  ...['test', 'benches', 'examples'].flatMap((folder) => filesBelow(folder, '.ts')),
];

/** Files that may be longer than {@link LINES_MAX}, each with the reason why it is still one idea. */
const LONG_FILES: Readonly<Record<string, string>> = {
  'src/protocol/connection/receive.ts':
    'the whole way of a packet into a connection, and what its acknowledgements settle',
  'src/protocol/connection/transmit.ts': 'the whole way of packets out of a connection, down to their bytes',
  'src/protocol/endpoint/endpoint.ts':
    'all that a driver may ask of an endpoint, and the way of a datagram to its connection',
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

test('no error of the compiler is suppressed', () => {
  expect(placesOf(sources, (line) => /@ts-(ignore|nocheck|expect-error)/.test(line))).toEqual([]);
});

test('no function of src/ is named get-something', () => {
  const declared =
    /^\s*(export )?(async )?(private |static |override )*(function )?get[A-Z]\w*(<.*>)?\(.*[{:]$/;
  expect(placesOf(sources, (line) => declared.test(line))).toEqual([]);
});

function placesOf(files: typeof programs, matches: (line: string) => boolean): string[] {
  return files.flatMap(({ path, text }) =>
    text.split('\n').flatMap((line, i) => (matches(line) ? [`${path}:${i + 1} ${line.trim()}`] : [])),
  );
}
