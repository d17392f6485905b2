/** Text of TOML 1.0 as a tree whose every value knows its line, so that whoever finds a fault in one can say where it stands. */

import { type AST, ParseError, parseTOML } from 'toml-eslint-parser';

/** A table, an array, or a plain value: a string, a number, a boolean, a time. */
export interface TomlValue {
  /** From 1. */
  readonly line: number;
  readonly value: string | number | boolean | Date | readonly TomlValue[] | TomlTable;
}

/** Its keys are in a map: the name of none means anything to JavaScript. */
export type TomlTable = ReadonlyMap<string, TomlValue>;

/** The text is no TOML. */
export class TomlFault extends Error {
  readonly line: number;

  constructor(line: number, message: string, options?: ErrorOptions) {
    super(message, options);
    this.line = line;
  }
}

/** @throws TomlFault */
export function parseToml(text: string): TomlTable {
  const root = new Map<string, TomlValue>();
  for (const node of syntaxOf(text).body[0].body) {
    if (node.type === 'TOMLKeyValue') {
      put(root, node);
      continue;
    }
    const table = tableAt(root, node.resolvedKey, node.loc.start.line);
    for (const pair of node.body) put(table, pair);
  }
  return root;
}

function syntaxOf(text: string): AST.TOMLProgram {
  try {
    return parseTOML(text.replace(/^\ufeff/, ''), { tomlVersion: '1.0' });
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    // What stops at the end of a line is found at the beginning of the next one.
    const isOfLineBefore = error.column === 0 && error.lineNumber > 1 && !AT_ITS_PLACE.test(error.message);
    const line = error.lineNumber - (isOfLineBefore ? 1 : 0);
    const what = error.message.charAt(0).toLowerCase() + error.message.slice(1);
    throw new TomlFault(line, `this is no TOML: ${what}`, { cause: error });
  }
}

type Growing = Map<string, TomlValue>;

/** The table of this name, with all above it: the parser has seen to it that nothing else has their names. */
function tableAt(root: Growing, path: readonly (string | number)[], line: number): Growing {
  let table = root;
  for (let i = 0; i < path.length; i++) {
    const name = path[i] as string;
    const at = path[i + 1];
    if (typeof at !== 'number') {
      table = tableIn(table, name, line);
      continue;
    }
    const list = (table.get(name)?.value ?? []) as TomlValue[];
    if (list.length === 0) table.set(name, { line, value: list });
    if (list.length === at) list.push({ line, value: new Map() });
    table = list[at].value as Growing;
    i++;
  }
  return table;
}

function tableIn(table: Growing, name: string, line: number): Growing {
  const there = table.get(name)?.value;
  if (there instanceof Map) return there;
  const made: Growing = new Map();
  table.set(name, { line, value: made });
  return made;
}

function put(into: Growing, { key, value }: AST.TOMLKeyValue): void {
  const names = key.keys.map((part) => (part.type === 'TOMLBare' ? part.name : part.value));
  const { line } = key.loc.start;
  let table = into;
  for (const name of names.slice(0, -1)) table = tableIn(table, name, line);
  table.set(names[names.length - 1], { line, value: contentOf(value) });
}

function contentOf(node: AST.TOMLContentNode): TomlValue['value'] {
  switch (node.type) {
    case 'TOMLArray':
      return node.elements.map((each) => ({ line: each.loc.start.line, value: contentOf(each) }));
    case 'TOMLInlineTable': {
      const table: Growing = new Map();
      for (const pair of node.body) put(table, pair);
      return table;
    }
    default:
      return node.value;
  }
}

/** Lines, from 1, of the tables of one member of a list, `[[list]]` and those below it; none where it is written in a line. */
export function rangesOf(
  text: string,
  list: string,
  index: number,
): readonly (readonly [first: number, last: number])[] {
  return syntaxOf(text).body[0].body.flatMap((node) =>
    node.type === 'TOMLTable' && node.resolvedKey[0] === list && node.resolvedKey[1] === index
      ? [[node.loc.start.line, node.loc.end.line] as const]
      : [],
  );
}

/** `text` as a string of TOML. */
export function tomlString(text: string): string {
  // JSON's escapes are TOML's as well, but for the delete character, which TOML wants escaped, too.
  return JSON.stringify(text).replaceAll('\u007f', '\\u007f');
}

/** `name` as a key of TOML. */
export function tomlKey(name: string): string {
  return /^[A-Za-z0-9_-]+$/.test(name) ? name : tomlString(name);
}

/** Faults that begin where the parser says, not behind what lacks something. */
const AT_ITS_PLACE = /multiple times|Unexpected/;
