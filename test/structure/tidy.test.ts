import { expect, test } from 'vitest';
import { filesBelow } from './project.ts';

const sources = filesBelow('src', '.ts');
const programs = [
  ...sources,
  ...['test', 'benches', 'examples'].flatMap((folder) => filesBelow(folder, '.ts')),
];

test('a file of src/ that is longer than most says at its head why it is one', () => {
  const unexplained = sources
    .map(({ path, text }) => ({ path, text, lines: linesOf(text) }))
    .filter(({ text, lines }) => lines > LINES_MANY && !/\bone file\b/i.test(headOf(text)));
  expect(unexplained.map(({ path, lines }) => `${path} has ${lines} lines`)).toEqual([]);
});

test('a file of src/ that is shorter than most is a door, or an idea that is short', () => {
  const short = sources.filter(({ path, text }) => linesOf(text) < LINES_FEW && !path.endsWith('/index.ts'));
  expect(short.map(({ path }) => path).filter((path) => SHORT_FILES[path] === undefined)).toEqual([]);
  expect(Object.keys(SHORT_FILES).filter((path) => !short.some((file) => file.path === path))).toEqual([]);
});

test('nothing is left to do in comments', () => {
  const marks = new RegExp(
    `\\b(${['TO', 'FIX', 'X'].map((start, i) => start + ['DO', 'ME', 'XX'][i]).join('|')})\\b`,
  );
  expect(placesOf(programs, (line) => marks.test(line))).toEqual([]);
});

test('what an optional call is given is not read on the way: where there is nobody to call, it would stay unread', () => {
  const readsOnTheWay = /\?\.\w*\([^;]*\.(shift|pop|next|take|u8|u16|u32|f64|text|blob|number)\(/;
  expect(readsOnTheWay.test('stream?.left(reader.u32());')).toBe(true);
  expect(placesOf(sources, (line) => readsOnTheWay.test(line))).toEqual([]);
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

test('folders are made by src/disk/make-folder.ts: the recursive mkdir of Node itself tries for ever below /proc', () => {
  const recursive = /\bmkdir(Sync)?\([^;]*?\brecursive: true/s;
  expect(sources.filter(({ text }) => recursive.test(text)).map(({ path }) => path)).toEqual([]);
});

function placesOf(files: typeof programs, matches: (line: string) => boolean): string[] {
  return files.flatMap(({ path, text }) =>
    text.split('\n').flatMap((line, i) => (matches(line) ? [`${path}:${i + 1} ${line.trim()}`] : [])),
  );
}

function linesOf(text: string): number {
  return text.split('\n').length - 1;
}

/** What a file says before its first declaration. */
function headOf(text: string): string {
  return text.slice(0, text.search(/^(export|class|function|const) /m));
}

const LINES_MANY = 500;
const LINES_FEW = 30;
/** Why each of them is a file of its own. */
const SHORT_FILES: Readonly<Record<string, string>> = {
  'src/bench/metronome-thread.ts': 'the script of a thread',
  'src/base/large-count.ts': 'one trick, with what it was measured to be worth',
  'src/broker/auth/identity-proof.ts': 'one check, on what the protocol and a connection have for it',
  'src/broker/backplane/node-name.ts': 'one rule for all who read the name of a node in what another says',
  'src/broker/backplane/open-backplane.ts': 'one switch, which loads no engine that is not asked for',
  'src/broker/core/backplane/node-message.ts': 'one table of what nodes say to each other',
  'src/broker/auth/token-refused.ts':
    'two errors, which are known without the library that tokens are read by',
  'src/cli/main.ts': 'what has to happen before the command is loaded',
  'src/client/undertaking.ts': 'one rule for the promises of a client and of its subscriptions',
  'src/protocol/connection/hello-padding.ts': 'one sum, with the figures that it is made of',
  'src/protocol/crypto/cipher-suite.ts': 'one table of suites',
  'src/transport/hints.ts': 'one rule for all who come back, connections and clients of a broker',
  'src/transport/throwing.ts': 'one rule, for those who have an emitter of Node and those who have none',
  'src/transport/diagnostics.ts': 'one table of channels, which know nothing of what is published on them',
};
