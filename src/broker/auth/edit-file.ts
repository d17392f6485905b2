/** Changes to a file of keys and identities. What else is in it, comments too, stays as it is; the file is replaced as a whole, and only its owner can read it. */

import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { JspError } from '../../base/errors.ts';
import { rangesOf, tomlKey, tomlString } from '../config/toml.ts';
import { readAuthFile } from './files.ts';
import { type AuthRule, expiryOf, type IdentityEntry, type KeyEntry } from './options.ts';

export type AuthTable = 'key' | 'identity';

/** @throws {JspError} ERR_JSP_OPTION_INVALID when the file is none, or has that one already */
export function addEntry(path: string, table: AuthTable, entry: KeyEntry | IdentityEntry): void {
  const there = existsSync(path) ? readAuthFile(path) : null;
  const name = nameOf(entry);
  const isThere =
    there !== null && [...there.keys, ...there.identities].some((each) => nameOf(each) === name);
  if (isThere)
    throw new JspError(
      'ERR_JSP_OPTION_INVALID',
      `${path} has ${name} already: revoke it first, or choose another one`,
    );
  const text = there === null ? '' : readFileSync(path, 'utf8');
  if (path.endsWith('.json')) {
    const file = text === '' ? {} : (JSON.parse(text) as Record<string, object[]>);
    file[table] = [...(file[table] ?? []), snakeCased(entry)];
    replace(path, `${JSON.stringify(file, null, 2)}\n`);
  } else {
    const before = text === '' || text.endsWith('\n') ? text : `${text}\n`;
    replace(path, `${before}${before === '' ? '' : '\n'}${tomlOf(table, entry)}`);
  }
}

/**
 * Takes an entry out, and leaves a comment that says so where there can be one.
 *
 * @param name - its id, its fingerprint, or the name of its client, of which all are taken out
 * @returns the ids and fingerprints that are gone
 */
export function removeEntries(path: string, table: AuthTable, name: string, when: Date): string[] {
  const file = readAuthFile(path);
  const entries: readonly (KeyEntry | IdentityEntry)[] = table === 'key' ? file.keys : file.identities;
  const gone = entries.flatMap((entry, i) => (nameOf(entry) === name || entry.name === name ? [i] : []));
  if (gone.length === 0) return [];
  const text = readFileSync(path, 'utf8');
  if (path.endsWith('.json')) {
    const json = JSON.parse(text) as Record<string, object[]>;
    json[table] = json[table].filter((_, i) => !gone.includes(i));
    replace(path, `${JSON.stringify(json, null, 2)}\n`);
  } else {
    const lines: (string | null)[] = text.split('\n');
    for (const i of gone) {
      const ranges = rangesOf(text, table, i);
      if (ranges.length === 0) {
        throw new JspError(
          'ERR_JSP_OPTION_INVALID',
          `${path} has ${nameOf(entries[i])} within a line: take it out by hand`,
        );
      }
      for (const [start, end] of ranges) lines.fill(null, start - 1, end);
      const { name: client } = entries[i];
      lines[ranges[0][0] - 1] =
        `# ${table} ${nameOf(entries[i])}${client === undefined ? '' : ` of ${tomlString(client)}`}, revoked ${when.toISOString()}`;
    }
    replace(path, lines.filter((line) => line !== null).join('\n'));
  }
  return gone.map((i) => nameOf(entries[i]));
}

function nameOf(entry: KeyEntry | IdentityEntry): string {
  return 'id' in entry ? entry.id : entry.fingerprint;
}

function tomlOf(table: AuthTable, entry: KeyEntry | IdentityEntry): string {
  const lines = [`[[${table}]]`];
  for (const [name, value] of Object.entries(entry)) {
    if (value === undefined || name === 'rules') continue;
    const written = name === 'expires' ? new Date(expiryOf(entry)).toISOString() : tomlValue(value);
    lines.push(`${snakeCase(name)} = ${written}`);
  }
  const { rules = [] } = entry;
  if (rules.length > 0) lines.push('rules = [', ...rules.map((rule) => `  ${ruleOf(rule)},`), ']');
  return `${lines.join('\n')}\n`;
}

function ruleOf({ allow, deny, topics }: AuthRule): string {
  const members = Object.entries({ allow, deny, topics }).filter(([, value]) => value !== undefined);
  return `{ ${members.map(([name, value]) => `${name} = ${tomlValue(value)}`).join(', ')} }`;
}

function tomlValue(value: unknown): string {
  if (typeof value === 'string') return tomlString(value);
  if (Array.isArray(value)) return `[${value.map(tomlValue).join(', ')}]`;
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).map(
      ([name, each]) => `${tomlKey(snakeCase(name))} = ${tomlValue(each)}`,
    );
    return `{ ${members.join(', ')} }`;
  }
  return String(value);
}

function snakeCased(entry: object): object {
  return Object.fromEntries(Object.entries(entry).map(([name, value]) => [snakeCase(name), value]));
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** Whole or not at all, and only if it can be read again. */
function replace(path: string, text: string): void {
  const draft = `${path}.${process.pid}.new${path.endsWith('.json') ? '.json' : ''}`;
  try {
    writeFileSync(draft, text, { mode: 0o600 });
    readAuthFile(draft);
    renameSync(draft, path);
  } finally {
    rmSync(draft, { force: true });
  }
}
