import { posix } from 'node:path';

/**
 * What a page names in backticks, by these conventions: `src/protocol/stream/send/send-buffer.ts` is a file or folder of the project, and
 * `src/protocol/stream/send/send-buffer.ts#SendBuffer.push` is something declared there, a member after a dot. Other code is not looked at.
 */
export interface Named {
  path: string;
  symbol: string | undefined;
  line: number;
}

export function namedIn(page: string): Named[] {
  return page.split('\n').flatMap((text, i) =>
    [...text.matchAll(/`((?:src|test|spec|benches|examples)\/[\w./*-]*)(?:#([\w.]+))?`/g)].map(
      ([, path, symbol]) => ({
        path: posix.normalize(path),
        symbol,
        line: i + 1,
      }),
    ),
  );
}

/** Whether a source file, formatted as ours are, declares `symbol`: a name, or a class, interface or object and its member. */
export function declares(source: string, symbol: string): boolean {
  const [name, member] = symbol.split('.');
  const declaration = new RegExp(
    `^(export )?(declare )?(abstract )?(async )?(class|function|const|let|interface|type) ${name}\\b`,
    'm',
  );
  const start = source.search(declaration);
  if (start < 0 || member === undefined) return start >= 0;
  const end = source.indexOf('\n}', start);
  return new RegExp(`^  ([a-z]+ )*${member}[(:=;<?,! ]`, 'm').test(source.slice(start, end));
}
