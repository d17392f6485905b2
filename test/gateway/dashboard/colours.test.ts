import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';

test('what is dark by choice has the colours of what is dark because the system is', () => {
  const path = new URL('../../../src/gateway/dashboard/styles/colours.css', import.meta.url);
  const css = readFileSync(path, 'utf8');
  const system = declarationsOf(css, ':root:not([data-theme="light"])');
  const chosen = declarationsOf(css, ':root[data-theme="dark"]');
  expect(chosen).toEqual(system);
  const named = (declarations: string[]) => declarations.map((each) => each.split(':')[0]);
  expect(named(chosen)).toEqual(named(declarationsOf(css, ':root')));
});

function declarationsOf(css: string, selector: string): string[] {
  const start = css.indexOf(`${selector} {`) + selector.length + 2;
  const lines = css.slice(start, css.indexOf('}', start)).split(';');
  return lines.map((line) => line.trim()).filter((line) => line !== '');
}
