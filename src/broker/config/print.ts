/** A configuration as a TOML file that says the same: each setting with its reason, its default and where its value was written. [CFG-4] */

import { path } from './kinds.ts';
import { type Config, variableOf } from './load.ts';
import {
  isList,
  isOptionalTable,
  isSetting,
  isTable,
  type NamedTables,
  placedSettings,
  type Schema,
  type Setting,
  type Table,
  type TableList,
} from './setting.ts';
import { SETTINGS } from './settings.ts';
import { tomlKey } from './toml.ts';

/** All of it, with every default. */
export function printConfig({ values, origins }: Config): string {
  const lines = HEAD.split('\n');
  for (const [name, schema] of Object.entries(SETTINGS.fields)) {
    lines.push('', ...print(schema, values[name as keyof typeof values], name, origins));
  }
  return `${lines.join('\n')}\n`;
}

/** The settings that have a fixed place, for machines. */
export interface PrintedSetting {
  /** `queues.max_messages`. */
  readonly place: string;
  /** Undefined: none. Durations in ms, sizes in bytes. */
  readonly value: unknown;
  readonly fallback: unknown;
  /** Where the value was written; null: nowhere, it is the default. */
  readonly origin: string | null;
  readonly variable: string;
  readonly reloads: boolean;
  readonly reason: string;
}

export function printedSettings({ values, origins }: Config): PrintedSetting[] {
  return [...placedSettings(SETTINGS)].map(({ place, setting }) => ({
    place,
    value: valueAt(values, place),
    fallback: setting.fallback,
    origin: origins.get(place) ?? null,
    variable: variableOf(place),
    reloads: setting.reloads,
    reason: setting.reason,
  }));
}

/** The value of a setting with a fixed place. */
export function valueAt(values: object, place: string): unknown {
  return place
    .split('.')
    .reduce((value: unknown, key) => (value as Record<string, unknown> | undefined)?.[key], values);
}

type Origins = ReadonlyMap<string, string>;

function print(schema: Schema, value: unknown, place: string, origins: Origins): string[] {
  if (isSetting(schema)) return printSetting(schema, value, place, origins);
  if (isTable(schema)) return printTable(schema, value as object, place, `[${headOf(place)}]`, origins);
  if (isOptionalTable(schema)) {
    if (value !== undefined) return print(schema.whenThere, value, place, origins);
    return [...comment(schema.whenThere.about), ...quoted(schema.example)];
  }
  return isList(schema)
    ? printList(schema, value as readonly object[], place, origins)
    : printNamed(schema, value as Record<string, object>, place, origins);
}

function printTable(
  { about, fields }: Table,
  values: object,
  place: string,
  head: string,
  origins: Origins,
): string[] {
  const lines = [...comment(about), head];
  const entries = Object.entries(fields);
  // TOML wants what belongs to a table above the tables in it.
  const ordered = [
    ...entries.filter(([, schema]) => isSetting(schema)),
    ...entries.filter(([, schema]) => !isSetting(schema)),
  ];
  for (const [key, schema] of ordered) {
    lines.push('', ...print(schema, (values as Record<string, unknown>)[key], `${place}.${key}`, origins));
  }
  return lines;
}

function printSetting(
  { kind, fallback, reason, example, reloads }: Setting<unknown>,
  value: unknown,
  place: string,
  origins: Origins,
): string[] {
  const key = tomlKey(place.slice(place.lastIndexOf('.') + 1));
  const origin = origins.get(place);
  const usual = fallback === undefined ? 'no default' : `default ${kind.show(fallback as never)}`;
  const source = origin === undefined ? usual : `${usual}; this is of ${origin}`;
  const lines = comment(`${reason} (${source}${reloads ? '; can be reloaded' : ''})`);
  if (value === undefined) return [...lines, `# ${key} = ${example}`];
  // Written in a file it would mean another folder.
  if (origin === undefined && kind === path) return [...lines, `# ${key} = ${path.show(value as string)}`];
  if (origin === undefined && example !== undefined) lines.push(`# ${key} = ${example}`);
  return [...lines, `${key} = ${kind.show(value as never)}`];
}

function printList(
  { each, example }: TableList,
  values: readonly object[],
  place: string,
  origins: Origins,
): string[] {
  if (values.length === 0) return [...comment(each.about), ...quoted(example)];
  const head = `[[${headOf(place)}]]`;
  return values.flatMap((value, i) =>
    i === 0
      ? printTable(each, value, `${place}[0]`, head, origins)
      : ['', ...printAgain(each, value, `${place}[${i}]`, head, origins)],
  );
}

function printNamed(
  { byName, example }: NamedTables,
  values: Record<string, object>,
  place: string,
  origins: Origins,
): string[] {
  const names = Object.keys(values);
  if (names.length === 0) return [...comment(byName.about), ...quoted(example)];
  return names.flatMap((name, i) => {
    const own = `${place}.${tomlKey(name)}`;
    const head = `[${headOf(own)}]`;
    return i === 0
      ? printTable(byName, values[name], own, head, origins)
      : ['', ...printAgain(byName, values[name], own, head, origins)];
  });
}

/** Another of the same kind, which needs no second explanation: what was written, and where. */
function printAgain(
  { fields }: Table,
  values: object,
  place: string,
  head: string,
  origins: Origins,
): string[] {
  const lines = [head];
  const below: string[] = [];
  for (const [key, schema] of Object.entries(fields)) {
    const value = (values as Record<string, unknown>)[key];
    const own = `${place}.${key}`;
    const origin = origins.get(own);
    if (isSetting(schema)) {
      if (origin !== undefined && value !== undefined)
        lines.push(`${tomlKey(key)} = ${schema.kind.show(value as never)} # ${origin}`);
    } else if (isTable(schema)) {
      const table = printAgain(schema, value as object, own, `[${headOf(own)}]`, origins);
      if (table.length > 1) below.push('', ...table);
    } else if (isList(schema)) {
      for (const [i, each] of (value as object[]).entries())
        below.push('', ...printAgain(schema.each, each, `${own}[${i}]`, `[[${headOf(own)}]]`, origins));
    }
  }
  return [...lines, ...below];
}

/** The name of a table as TOML has it: without numbers, of which table of a list it is part of. */
function headOf(place: string): string {
  return place.replace(/\[\d+\]/g, '');
}

/** Prose as lines of a comment, broken between words. */
function comment(text: string): string[] {
  const lines: string[] = [];
  let line = '#';
  for (const word of text.split(' ')) {
    if (line.length + 1 + word.length > COLUMNS && line !== '#') {
      lines.push(line);
      line = '#';
    }
    line += ` ${word}`;
  }
  return text === '' ? [] : [...lines, line];
}

function quoted(example: string): string[] {
  return example.split('\n').map((line) => (line === '' ? '#' : `# ${line}`));
}

const COLUMNS = 110;
const HEAD = `# The configuration of a JetStreamProto broker, with every default: "jsp broker --config FILE" reads it.
# A value of this file gives way to that of a variable (JSP_BROKER_QUEUES_MAX_MESSAGES, JSP_BROKER_PORT), and that to the command line.
# What "can be reloaded" takes effect when the broker gets a SIGHUP, the rest when it starts.`;
