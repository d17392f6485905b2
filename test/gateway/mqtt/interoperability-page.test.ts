import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), 'utf8');

/** Names of the cases, as the titles of their tests begin. */
function casesIn(file: string): string[] {
  const names = [...read(file).matchAll(/\btest\(\s*'(\w+)[:,]/g)].map(([, name]) => name);
  return [...new Set(names)].sort();
}

test("the page lists the cases of Paho's suite that there are, and says that no other passes", () => {
  const rows = [
    ...read('../../../docs/mqtt-interoperability.md').matchAll(
      /^\| (\w*test\w*) \| *(\w*) *\| *(\w*) *\|/gim,
    ),
  ];
  const passing = (column: number): string[] =>
    rows
      .filter((row) => row[column] === 'passes')
      .map(([, name]) => name)
      .sort();
  expect(passing(2)).toEqual(casesIn('paho-3.test.ts'));
  expect(passing(3)).toEqual(casesIn('paho-5.test.ts'));
  expect(rows).toHaveLength(30);
});
