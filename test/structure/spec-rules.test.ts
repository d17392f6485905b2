import { expect, test } from 'vitest';
import { filesBelow, textOf } from './project.ts';
import { citationsOf, prefixOf, rulesOf } from './rules.ts';

const pages = filesBelow('spec', '.md');
const rules = rulesOf(pages);
const prefixes = new Set([...rules.map(({ id }) => prefixOf(id)), ...prefixesOfReadme()]);
const inSource = citationsOf(filesBelow('src', '.ts'), prefixes);
// What tests this very machinery cites rules only as examples.
const inTests = citationsOf(
  filesBelow('test', '.ts').filter(({ path }) => !path.startsWith('test/structure/')),
  prefixes,
);

test('the specification has rules, and each id once', () => {
  expect(rules.length).toBeGreaterThan(40);
  const ids = rules.map(({ id }) => id);
  expect(ids.filter((id, i) => ids.indexOf(id) !== i)).toEqual([]);
});

test('every rule that is not planned is cited by the code that keeps it', () => {
  expect(uncited(inSource)).toEqual([]);
});

test('every rule that is not planned is cited by a test that proves it', () => {
  expect(uncited(inTests)).toEqual([]);
});

test('every rule that code, tests or the specification cite exists', () => {
  const known = new Set(rules.map(({ id }) => id));
  const inPages = citationsOf(pages, prefixes);
  const unknown = [...inSource, ...inTests, ...inPages].filter(({ id }) => !known.has(id));
  expect(unknown.map(({ id, place }) => `${place} cites ${id}`)).toEqual([]);
});

test('every rule that the manual refers to exists', () => {
  const known = new Set(rules.map(({ id }) => id));
  const manual = [
    ...filesBelow('docs', '.md'),
    ...['README.md', 'SECURITY.md', 'CONTRIBUTING.md'].map(pageOf),
  ];
  const referred = manual.flatMap(({ path, text }) =>
    [...text.matchAll(/\b[A-Z]{2,4}-\d+\b/g)].map(([id]) => ({ id, path })),
  );
  const ours = referred.filter(({ id }) => prefixes.has(prefixOf(id)));
  expect(ours.length).toBeGreaterThan(30);
  expect(ours.filter(({ id }) => !known.has(id))).toEqual([]);
});

test('every page of the specification is in its table of contents, and every entry is a page', () => {
  const listed = [...readme().matchAll(/\]\((\w+\.md)\)/g)].map(([, name]) => `spec/${name}`);
  // Those of folders are about what else is in them.
  const there = pages.map(({ path }) => path).filter((path) => /^spec\/(?!README)\w+\.md$/.test(path));
  expect(there).toEqual([...new Set(listed)].sort());
});

test('rules and citations are found as they are written', () => {
  const page = {
    path: 'p.md',
    text: 'x\n\n- **[ABC-1]** One\n  more line. *(planned)*\n- **[ABC-2]** Two.\n\ntext [ABC-1]',
  };
  expect(rulesOf([page])).toEqual([
    { id: 'ABC-1', planned: true, path: 'p.md' },
    { id: 'ABC-2', planned: false, path: 'p.md' },
  ]);
  const source = { path: 's.ts', text: '// [ABC-1]\n// [ABC-2, ABC-3] and a[X-1] and [DEF-1]' };
  expect(citationsOf([source], new Set(['ABC']))).toEqual([
    { id: 'ABC-1', place: 's.ts:1' },
    { id: 'ABC-2', place: 's.ts:2' },
    { id: 'ABC-3', place: 's.ts:2' },
  ]);
});

function uncited(citations: readonly { id: string }[]): string[] {
  const cited = new Set(citations.map(({ id }) => id));
  return rules
    .filter(({ id, planned }) => !planned && !cited.has(id))
    .map(({ id, path }) => `${id} (${path})`);
}

function prefixesOfReadme(): string[] {
  return [...readme().matchAll(/\.md\) \| ([A-Z]+) \|/g)].map(([, prefix]) => prefix);
}

function pageOf(path: string): { path: string; text: string } {
  return { path, text: textOf(path) ?? '' };
}

function readme(): string {
  return pages.find(({ path }) => path === 'spec/README.md')?.text ?? '';
}
