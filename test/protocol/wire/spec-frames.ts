import { readFileSync } from 'node:fs';

/** The frame types that spec/frames.md lays out, as its table names them: `[0x0a, 'STREAM_OPEN']`, and those of a row of several. */
export function typesOfSpec(): [type: number, name: string][] {
  const page = readFileSync(new URL('../../../spec/frames.md', import.meta.url), 'utf8');
  const [, layouts] = page.split('\n## Layouts\n');
  return [...layouts.split('\n#')[0].matchAll(/^\| (0x[^|]+?) \| ([^|]+?) \|/gm)].flatMap(([, types, name]) =>
    numbersOf(types).map((type): [number, string] => [type, name]),
  );
}

/** `0x0a`, `0x30, 0x31` or `0x20-0x2f`. */
function numbersOf(types: string): number[] {
  return types.split(', ').flatMap((part) => {
    const [first, last = first] = part.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}
