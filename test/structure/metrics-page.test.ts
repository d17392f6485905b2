import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { fieldsOf, PAGE, TABLES, withTables } from './metrics-page.ts';

describe.each(Object.keys(TABLES))('each field of the metrics of a %s', (table) => {
  const fields = fieldsOf(table);

  test('has a comment of its own that says what it is', () => {
    expect(fields.length).toBeGreaterThan(2);
    expect(fields.filter(({ text }) => text.length < 12).map(({ name }) => name)).toEqual([]);
  });

  test('is told once', () => {
    const names = fields.map(({ name }) => name);
    expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([]);
  });
});

test('docs/metrics.md has the fields as the sources describe them: npm run ts test/structure/metrics-page.ts', () => {
  const page = readFileSync(PAGE, 'utf8');
  expect(page).toBe(withTables(page));
  for (const table of Object.keys(TABLES)) expect(page).toContain(`<!-- ${table} -->`);
});
