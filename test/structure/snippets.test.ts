import { expect, test } from 'vitest';
import {
  blocksOf,
  examplesIn,
  inlineOf,
  isExpression,
  kindOf,
  literalIn,
  PAGES,
  programsOf,
  publicDocstrings,
} from './snippets.ts';
import { faultsOf, isThing } from './snippets-program.ts';

const docstrings = publicDocstrings();
const blocks = [...PAGES, ...docstrings].flatMap(blocksOf);

test('each block of a page is of a kind that is known: for another one, kindOf has to learn how it is told', () => {
  const unknown = blocks.filter((block) => kindOf(block) === 'unknown');
  expect(unknown.map(({ path, line, text }) => `${path}:${line} ${text.split('\n')[0]}`)).toEqual([]);
});

test('a block is told by what stands in it, and none passes for something else that is not quite one', () => {
  const kinds: Readonly<Record<string, string>> = {
    "const stream = connection.openStream({ priority: 'chat' });": 'program',
    'const stream = connection.openStream(;': 'unknown',
    '$ ls logs\n1.sqlog': 'shell',
    '# first this\nJSP_AEAD=node jsp broker': 'shell',
    'jspp broker --http 127.0.0.1:4580': 'unknown',
    '[broker]\nworkers = 2': 'toml',
    '{"result":"stored"}': 'json',
    'rule_files: [alerts.yaml]\nscrape_configs:\n  - job_name: jsp': 'yaml',
    'Some words.': 'unknown',
  };
  expect(Object.keys(kinds).map((text) => kindOf({ language: '', text }))).toEqual(Object.values(kinds));
  expect(['ts', 'toml', 'perl'].map((language) => kindOf({ language, text: '' }))).toEqual([
    'program',
    'toml',
    'unknown',
  ]);
});

test('programs, calls and options on pages and in docstrings are ones that the compiler takes, and others it does not', () => {
  const inline = [...PAGES, ...docstrings, WRONG_PAGE].flatMap(inlineOf);
  const programs = [
    ...[...blocks, ...blocksOf(WRONG_PAGE)].flatMap(programsOf),
    ...docstrings.flatMap(examplesIn),
  ];
  const expressions = inline.filter(({ text }) => isExpression(text, isThing));
  const literals = inline.flatMap(({ text, ...place }) => {
    const literal = literalIn(text);
    return literal === null ? [] : [{ ...place, text: literal }];
  });
  expect(programs.length).toBeGreaterThan(50);
  expect(expressions.length).toBeGreaterThan(150);
  expect(literals.length).toBeGreaterThan(100);
  expect(faultsOf({ programs, expressions, literals })).toEqual([
    expect.stringMatching(/^no-page\.md:5 [\s\S]*'prt' does not exist in type 'ListenOptions'/),
    expect.stringMatching(
      /^no-page\.md:1 `connect\([\s\S]*'loss' does not exist in type 'ImpairmentOptions'/,
    ),
    expect.stringMatching(/^no-page\.md:2 `connection\.metrcs\(\)` /),
    'no-page.md:2 `{ lifetime: 120 }` is no part of options that there are',
  ]);
});

/** With a fault of each kind, after those that there were. */
const WRONG_PAGE = {
  path: 'no-page.md',
  line: 1,
  text: `For a bad network say \`connect(url, { impairment: { loss: 0.1, delayMs: 25 } })\`,
or look at \`connection.metrcs()\` with \`{ lifetime: 120 }\`:

    import { listen } from 'jetstream-proto';
    await listen({ identity, prt: 4577 });
`,
};
