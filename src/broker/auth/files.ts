/** Files with keys, identities and what is revoked, which `jsp auth` writes and a broker reads: TOML, or JSON where the name ends so. */

import { readFileSync } from 'node:fs';
import { JspError } from '../../base/errors.ts';
import { parseToml, TomlFault, type TomlTable, type TomlValue } from '../config/toml.ts';
import {
  type AuthOptions,
  checkIdentityEntry,
  checkKeyEntry,
  type IdentityEntry,
  isList,
  type KeyEntry,
  type Listed,
} from './options.ts';

/** What such a file has. */
export interface AuthFile {
  readonly keys: readonly KeyEntry[];
  readonly identities: readonly IdentityEntry[];
  readonly revoked: readonly string[];
}

/** The entries of {@link AuthOptions}, from wherever they are. */
export interface AuthEntries {
  readonly keys: ReadonlyMap<string, KeyEntry>;
  readonly identities: ReadonlyMap<string, IdentityEntry>;
  readonly revoked: ReadonlySet<string>;
}

/**
 * All entries there are, each file read once.
 *
 * @throws {JspError} ERR_JSP_OPTION_INVALID, with file and line [AUT-2]
 */
export function readEntries({ keys, identities, revoked }: AuthOptions): AuthEntries {
  const files = new Map<string, AuthFile>();
  const entriesOf = <T>(
    listed: Listed<T> | undefined,
    of: (file: AuthFile) => readonly T[],
  ): readonly T[] => {
    if (listed === undefined) return [];
    if (isList(listed)) return listed;
    const { file } = listed as { readonly file: string };
    const read = files.get(file) ?? readAuthFile(file);
    files.set(file, read);
    return of(read);
  };
  return {
    keys: byName(
      'keys',
      entriesOf(keys, (file) => file.keys),
      ({ id }) => id,
    ),
    identities: byName(
      'identities',
      entriesOf(identities, (file) => file.identities),
      ({ fingerprint }) => fingerprint,
    ),
    revoked: new Set(entriesOf(revoked, (file) => file.revoked)),
  };
}

/** @throws {JspError} ERR_JSP_OPTION_INVALID, with file and line */
export function readAuthFile(path: string): AuthFile {
  const text = read(path);
  return path.endsWith('.json') ? ofJson(path, text) : ofToml(path, text);
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw invalid(`${path} cannot be read: ${(error as Error).message}`, error);
  }
}

function ofToml(path: string, text: string): AuthFile {
  let table: TomlTable;
  try {
    table = parseToml(text);
  } catch (error) {
    if (!(error instanceof TomlFault)) throw error;
    throw invalid(`${path}:${error.line}: ${error.message}`, error);
  }
  return entriesIn(path, new Reading((line) => `${path}:${line}`).object(table));
}

function ofJson(path: string, text: string): AuthFile {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalid(`${path}: ${(error as Error).message}`, error);
  }
  if (typeof value !== 'object' || value === null) throw invalid(`${path} must be an object`);
  return entriesIn(path, camelCased(value) as Record<string, unknown>);
}

function entriesIn(path: string, file: Record<string, unknown>): AuthFile {
  for (const name of Object.keys(file))
    if (!TABLES.includes(name))
      throw invalid(`${path}: there is no table ${JSON.stringify(name)}; there are ${TABLES.join(', ')}`);
  const keys = listIn<KeyEntry>(path, file, 'key', checkKeyEntry);
  const identities = listIn<IdentityEntry>(path, file, 'identity', checkIdentityEntry);
  const { revoked = [] } = file;
  if (!Array.isArray(revoked) || !revoked.every((each) => typeof each === 'string'))
    throw invalid(`${path}: revoked must be a list of texts`);
  return { keys, identities, revoked };
}

function listIn<T extends object>(
  path: string,
  file: Record<string, unknown>,
  table: string,
  check: (where: string, entry: T) => void,
): readonly T[] {
  const entries = file[table] ?? [];
  if (!Array.isArray(entries)) throw invalid(`${path}: ${table} must be a list of tables`);
  for (const [i, entry] of entries.entries()) {
    const at = LINES.get(entry);
    check(at === undefined ? `${path}: ${table}[${i}]` : `${at}: ${table}`, entry as T);
  }
  return entries;
}

function byName<T>(
  where: string,
  entries: readonly T[],
  nameOf: (entry: T) => string,
): ReadonlyMap<string, T> {
  const map = new Map<string, T>();
  for (const entry of entries) {
    const name = nameOf(entry);
    if (map.has(name)) throw invalid(`auth.${where} has ${JSON.stringify(name)} twice`);
    map.set(name, entry);
  }
  return map;
}

/** Tables of TOML as objects whose rules know their lines. */
class Reading {
  private readonly at: (line: number) => string;

  constructor(at: (line: number) => string) {
    this.at = at;
  }

  object(table: TomlTable): Record<string, unknown> {
    return Object.fromEntries([...table].map(([name, value]) => [camelCase(name), this.value(name, value)]));
  }

  private value(name: string, { value }: TomlValue): unknown {
    if (value instanceof Map) return this.object(value);
    if (!Array.isArray(value)) return value;
    return value.map((each: TomlValue) => {
      if (!(each.value instanceof Map)) return this.value(name, each);
      const object = this.object(each.value);
      const at = this.at(each.line);
      LINES.set(object, at);
      return name === 'rules' ? { ...object, at } : object;
    });
  }
}

/** Where tables were written. */
const LINES = new WeakMap<object, string>();

function camelCased(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(camelCased);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [camelCase(name), camelCased(each)]));
}

/** Names in files have underscores. */
function camelCase(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

function invalid(message: string, cause?: unknown): JspError {
  return new JspError('ERR_JSP_OPTION_INVALID', message, { cause });
}

const TABLES: readonly string[] = ['key', 'identity', 'revoked'];
