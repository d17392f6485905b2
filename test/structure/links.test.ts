import { existsSync } from 'node:fs';
import { join, posix } from 'node:path';
import { describe, expect, test } from 'vitest';
import { filesBelow, ROOT, textOf } from './project.ts';

const pages = [
  ...[
    'README.md',
    'ARCHITECTURE.md',
    'CHANGELOG.md',
    'CONTRIBUTING.md',
    'SECURITY.md',
    'benches/README.md',
  ].map((path) => ({ path, text: textOf(path) ?? '' })),
  ...['docs', 'spec'].flatMap((folder) => filesBelow(folder, '.md')),
].filter(({ path }) => !path.startsWith('docs/api/'));

const SOURCES = ['src', 'benches']
  .flatMap((folder) => filesBelow(folder, '.ts'))
  .map(({ text }) => text)
  .join();

describe.each(pages)('$path', ({ path, text }) => {
  test('links to files that exist, and to headings that they have', () => {
    const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)]
      .map(([, to]) => to)
      .filter((to) => !/^\w+:/.test(to));
    expect(links.filter((to) => !leadsSomewhere(path, to))).toEqual([]);
  });

  test('names files and folders of the project that exist', () => {
    const named = [...text.matchAll(/`((?:test|benches|examples|src|docs|spec|scripts)\/[\w./-]*)[`#]/g)];
    const missing = named.map(([, to]) => to).filter((to) => !to.startsWith('docs/api') && !isThere(to));
    expect(missing).toEqual([]);
  });

  test('names errors, and variables of the environment, that there are', () => {
    // Those of settings are made of names, and those that end so are labels in a log of keys.
    const named = text.match(/\b(?:ERR_)?JSP_?(?!BROKER_)[A-Z_]+[A-Z]\b(?<!_SECRET)/g) ?? [];
    expect(named.filter((name) => !SOURCES.includes(name))).toEqual([]);
  });
});

test('a link that leads nowhere is found', () => {
  expect(leadsSomewhere('docs/monitor.md', 'metrics.md#what-to-look-at-when')).toBe(true);
  expect(leadsSomewhere('docs/monitor.md', 'metrics.md#what-nobody-says')).toBe(false);
  expect(leadsSomewhere('docs/monitor.md', '../metrics.md')).toBe(false);
});

/** Whether a link on a page leads to a file or folder and, where it names a heading, to one that is there. */
function leadsSomewhere(page: string, link: string): boolean {
  const [file, heading] = link.split('#');
  const path = file === '' ? page : posix.join(posix.dirname(page), file);
  if (!isThere(path)) return false;
  return heading === undefined || !path.endsWith('.md') || headingsOf(textOf(path) ?? '').includes(heading);
}

/** Headings of a page as links name them. */
function headingsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-'),
  );
}

function isThere(path: string): boolean {
  return existsSync(join(ROOT, path));
}
