/**
 * Changes to a file of keys and identities, one process at a time: what one has revoked another must not write back. What else is in it, comments too, stays as it is, and so does who may read it,
 * which is its owner alone where it is new. The file is replaced as a whole.
 */

import {
  closeSync,
  existsSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname } from 'node:path';
import { JspError } from '../../base/errors.ts';
import { lockFolder } from '../../disk/lock-folder.ts';
import { rangesOf, tomlKey, tomlString } from '../config/toml.ts';
import { readAuthFile } from './files.ts';
import { type AuthRule, expiryOf, type IdentityEntry, type KeyEntry } from './options.ts';

export type AuthTable = 'key' | 'identity';

/** @throws {JspError} ERR_JSP_OPTION_INVALID when the file is none, or has that one already */
export function addEntry(path: string, table: AuthTable, entry: KeyEntry | IdentityEntry): void {
  alone(path, () => add(path, table, entry));
}

/**
 * Takes an entry out, and leaves a comment that says so where there can be one.
 *
 * @param name - its id, its fingerprint, or the name of its client, of which all are taken out
 * @returns the ids and fingerprints that are gone
 */
export function removeEntries(path: string, table: AuthTable, name: string, when: Date): string[] {
  return alone(path, () => remove(path, table, name, when));
}

function add(path: string, table: AuthTable, entry: KeyEntry | IdentityEntry): void {
  assertFile(path);
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

function remove(path: string, table: AuthTable, name: string, when: Date): string[] {
  assertFile(path);
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

/** What is something else, such as a device or a pipe, would be gone with a file in its place. */
function assertFile(path: string): void {
  if (!existsSync(path) || statSync(path).isFile()) return;
  throw new JspError('ERR_JSP_OPTION_INVALID', `${path} is no file: choose another one`);
}

/** Nobody else changes the file meanwhile who goes by the same lock. */
function alone<T>(path: string, change: () => T): T {
  const file = whereItIs(path);
  const isBusy = new JspError(
    'ERR_JSP_OPTION_INVALID',
    `${path} is being changed by somebody else: try again`,
  );
  const errors = { inUse: () => isBusy, unreadable: () => isBusy };
  for (let waitedMs = 0; ; waitedMs += LOOK_MS) {
    let release: () => void;
    try {
      release = lockFolder(dirname(file), `.${basename(file)}.lock`, errors);
    } catch (error) {
      if (error !== isBusy || waitedMs >= WAIT_MS_MAX) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, LOOK_MS);
      continue;
    }
    try {
      return change();
    } finally {
      release();
    }
  }
}

/** Whole or not at all, and only if it can be read again. Whoever could read it can read it: a broker that runs as somebody else than who has changed it, say. */
function replace(path: string, text: string): void {
  const file = whereItIs(path);
  const draft = `${file}.${process.pid}.new${path.endsWith('.json') ? '.json' : ''}`;
  try {
    const fd = openSync(draft, 'w', 0o600);
    try {
      writeFileSync(fd, text);
      if (existsSync(file)) keepReaders(fd, file);
      fsyncSync(fd); // or a power cut could leave an empty file under the name
    } finally {
      closeSync(fd);
    }
    readAuthFile(draft);
    renameSync(draft, file);
  } finally {
    rmSync(draft, { force: true });
  }
}

function keepReaders(fd: number, file: string): void {
  if (process.platform === 'win32') return;
  const { uid, gid, mode } = statSync(file);
  const isOurs = uid === process.geteuid?.() && gid === process.getegid?.();
  if (!isOurs) fchownSync(fd, uid, gid);
  fchmodSync(fd, mode & 0o777);
}

/** A link to it stays one. */
function whereItIs(path: string): string {
  return existsSync(path) ? realpathSync(path) : path;
}

const LOOK_MS = 20;
const WAIT_MS_MAX = 5_000;
