import { posix } from 'node:path';
import { codeTokens } from './tokens.ts';

/**
 * What a page names in backticks, by these conventions: `src/protocol/stream/send/outbox.ts` is a file or folder of the project, and
 * `src/protocol/stream/send/outbox.ts#Outbox.push` is something declared there, a member after a dot. Other code is not looked at.
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

/** Whether a source file declares `symbol`: a name, or a class, interface or object and its member. */
export function declares(source: string, symbol: string): boolean {
  const [name, member] = symbol.split('.');
  const texts = codeTokens(source).map(({ text }) => text);
  const start = texts.findIndex((text, i) => text === name && DECLARING.has(texts[i - 1]));
  if (start < 0) return false;
  if (member === undefined) return true;
  let depth = 0;
  for (let i = texts.indexOf('{', start); i >= 0 && i < texts.length; i++) {
    if (texts[i] === '{') depth++;
    if (texts[i] === '}' && --depth === 0) return false;
    if (depth === 1 && texts[i] === member && MEMBER_FOLLOWED_BY.has(texts[i + 1])) return true;
  }
  return false;
}

const DECLARING = new Set(['class', 'function', 'const', 'let', 'interface', 'type']);
const MEMBER_FOLLOWED_BY = new Set(['(', ':', '=', ';', '<', '?', ',', '!']);
