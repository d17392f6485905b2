/**
 * Reads the configuration of a broker: what its file says, over that the environment, over that the command line, each value checked by the same table of
 * settings. All faults are found before the first is told, each with the place where somebody wrote it. [CFG-2, CFG-3]
 */

import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { JspError } from '../../base/errors.ts';
import { nearest } from '../../base/options.ts';
import { type ForeignName, foreignKey, foreignTable } from './blipmq.ts';
import { type Kind, Refused, type Written } from './kinds.ts';
import {
  type Fields,
  isList,
  isOptionalTable,
  isSetting,
  isTable,
  placedSettings,
  type Schema,
  type Setting,
  type Table,
} from './setting.ts';
import { SETTINGS, type SettingValues } from './settings.ts';
import { parseToml, TomlFault, type TomlTable, type TomlValue, tomlKey } from './toml.ts';

/** Where a configuration is written. */
export interface ConfigSources {
  /** Path of a TOML file. */
  readonly file?: string | undefined;
  /** Its variables that begin with `JSP_BROKER_`. */
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined;
  /** By the place of a setting, such as `broker.port`. */
  readonly flags?: ReadonlyMap<string, Flag> | undefined;
}

/** An option of the command line: how it was written, and its value, which may be text of any kind. */
export interface Flag {
  readonly written: string;
  readonly value: Written;
  readonly isText: boolean;
}

export interface Config {
  readonly values: SettingValues;
  /** Where each value that is not a default was written, by its place: `jsp.toml:12`, `JSP_BROKER_PORT`, `--port`. */
  readonly origins: ReadonlyMap<string, string>;
  /** What is no fault, and yet to be told: settings of BlipMQ that have nothing to set here. */
  readonly notes: readonly string[];
}

/** A configuration that cannot be used. */
export class ConfigError extends JspError {
  override readonly name = 'ConfigError';
  /** All of them, each with where it stands. */
  readonly faults: readonly string[];

  constructor(faults: readonly string[], options?: ErrorOptions) {
    super('ERR_JSP_CONFIG', faults.join('; '), options);
    this.faults = faults;
  }
}

/** @throws ConfigError */
export function loadConfig({ file, environment = {}, flags = new Map() }: ConfigSources): Config {
  const reading = new Reading(file ?? '');
  const written = file === undefined ? new Map() : tomlOf(file);
  reading.overlay(environment, flags);
  const values = reading.table(SETTINGS, written, '') as SettingValues;
  if (reading.faults.length > 0) throw new ConfigError(reading.faults.sort(byLine));
  return { values, origins: reading.origins, notes: reading.notes };
}

/** As somebody reads the file from top to bottom. */
function byLine(a: string, b: string): number {
  const line = (fault: string) => Number(/^[^:]*:(\d+):/.exec(fault)?.[1] ?? 0);
  return line(a) - line(b);
}

/** The variable that sets a place; tables that are the broker's own are not named twice. */
export function variableOf(place: string): string {
  return `${PREFIX}${place
    .replace(/^broker\./, '')
    .replaceAll('.', '_')
    .toUpperCase()}`;
}

function tomlOf(file: string): TomlTable {
  try {
    const bytes = readFileSync(file);
    if (bytes.length > FILE_BYTES_MAX) throw new Error(`it is larger than ${FILE_BYTES_MAX} bytes`);
    return parseToml(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    if (error instanceof TomlFault)
      throw new ConfigError([`${file}:${error.line}: ${error.message}`], { cause: error });
    const { message, code } = error as NodeJS.ErrnoException;
    const reason = code === 'ERR_ENCODING_INVALID_ENCODED_DATA' ? 'it is not UTF-8' : message;
    throw new ConfigError([`${file}: cannot be read: ${reason}`], { cause: error });
  }
}

/** A value that was written, with how that is called in messages. */
interface Given {
  readonly origin: string;
  readonly value: Written;
  /** What relative paths are relative to. */
  readonly folder: string;
  /** It stands in the file, where its table and key are to be named. */
  readonly isOfFile: boolean;
}

/** One reading of all sources, and what came of it. */
class Reading {
  readonly faults: string[] = [];
  readonly notes: string[] = [];
  readonly origins = new Map<string, string>();
  private readonly file: string;
  private readonly folder: string;
  /** What the environment and the command line say, which goes over the file. */
  private readonly given = new Map<string, Given>();

  constructor(file: string) {
    this.file = file;
    this.folder = dirname(resolve(file));
  }

  overlay(environment: Readonly<Record<string, string | undefined>>, flags: ReadonlyMap<string, Flag>): void {
    const settings = new Map([...placedSettings(SETTINGS)].map(({ place, setting }) => [place, setting]));
    const variables = new Map([...settings.keys()].map((place) => [variableOf(place), place]));
    const folder = process.cwd();
    for (const [name, text] of Object.entries(environment)) {
      if (!name.startsWith(PREFIX) || text === undefined || text === '' || isOfKubernetes(name, text))
        continue;
      const place = variables.get(name);
      if (place === undefined) {
        if (name !== CONFIG_VARIABLE) this.faults.push(noSuchVariable(name, variables));
        continue;
      }
      const value = settings.get(place)?.kind.ofText(text) ?? text;
      this.given.set(place, { origin: name, value, folder, isOfFile: false });
    }
    for (const [place, { written, value, isText }] of flags) {
      const kind = settings.get(place)?.kind;
      if (kind === undefined) {
        const names = Object.fromEntries(settings);
        this.faults.push(`${written}: there is no such setting; the nearest is ${nearest(place, names)}`);
        continue;
      }
      const read = isText ? kind.ofText(value as string) : value;
      this.given.set(place, { origin: written, value: read, folder, isOfFile: false });
    }
  }

  /** Values of a table whose place is `place`, `''` for the whole. */
  table({ fields }: Table, written: TomlTable, place: string): Record<string, unknown> {
    for (const key of written.keys()) {
      if (!Object.hasOwn(fields, key)) this.unknown(fields, written, place, key);
    }
    const values: Record<string, unknown> = {};
    for (const [key, schema] of Object.entries(fields)) {
      values[key] = this.field(schema, written, place, key);
    }
    return values;
  }

  private field(schema: Schema, written: TomlTable, above: string, key: string): unknown {
    const place = above === '' ? key : `${above}.${key}`;
    const value = written.get(key);
    if (isSetting(schema)) return this.setting(schema, value, above, key);
    if (isTable(schema)) {
      return this.table(schema, this.tableOf(value, `[${place}]`), place);
    }
    if (isOptionalTable(schema)) {
      const isGiven = [...this.given.keys()].some((each) => each.startsWith(`${place}.`));
      if (value === undefined && !isGiven) return undefined;
      if (value !== undefined) this.origins.set(place, this.at(value));
      return this.table(schema.whenThere, this.tableOf(value, `[${place}]`), place);
    }
    if (isList(schema)) {
      if (value === undefined) return [];
      if (value.value instanceof Map) return [this.member(schema.each, value, `${place}[0]`)];
      if (!Array.isArray(value.value) || !value.value.every((each: TomlValue) => each.value instanceof Map)) {
        this.fault(value, `[${place}]: must be a list of tables: write [[${place}]] above each`);
        return [];
      }
      this.origins.set(place, this.at(value));
      return value.value.map((each: TomlValue, i) => this.member(schema.each, each, `${place}[${i}]`));
    }
    const tables: Record<string, unknown> = Object.create(null);
    for (const [name, each] of this.tableOf(value, `[${place}]`)) {
      const ofName = `${place}.${tomlKey(name)}`;
      const own = this.tableOf(each, `[${ofName}]`);
      tables[name] = this.member(schema.byName, { line: each.line, value: own }, ofName);
    }
    return tables;
  }

  /** A table that the operator has added, which must have what such a table cannot do without. */
  private member(table: Table, value: TomlValue, place: string): Record<string, unknown> {
    const written = value.value as TomlTable;
    this.origins.set(place, this.at(value));
    for (const [key, schema] of Object.entries(table.fields)) {
      const isMissing = isSetting(schema) && schema.required && !written.has(key);
      if (isMissing)
        this.fault(value, `${headOf(place)}: ${key} is missing; as in ${key} = ${schema.example}`);
    }
    return this.table(table, written, place);
  }

  private setting(
    { kind, fallback, required }: Setting<unknown>,
    value: TomlValue | undefined,
    above: string,
    key: string,
  ): unknown {
    const place = `${above}.${key}`;
    // What is written in the file is looked at even where something else is said over it.
    const ofFile = value === undefined ? undefined : this.take(kind, this.ofFile(value), above, key);
    const over = this.given.get(place);
    if (over !== undefined) return this.take(kind, over, above, key) ?? fallback;
    if (value === undefined && required) return undefined;
    return ofFile ?? fallback;
  }

  private take(kind: Kind<unknown>, given: Given, above: string, key: string): unknown {
    try {
      const taken = kind.take(given.value, given.folder);
      this.origins.set(`${above}.${key}`, given.origin);
      return taken;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      const where = given.isOfFile ? `${given.origin}: ${headOf(above)} ${key}` : given.origin;
      this.faults.push(`${where}: must be ${error.message}, not ${shown(given.value)}`);
      return undefined;
    }
  }

  private ofFile(value: TomlValue): Given {
    return { origin: this.at(value), value: plain(value), folder: this.folder, isOfFile: true };
  }

  private tableOf(value: TomlValue | undefined, name: string): TomlTable {
    if (value === undefined) return new Map();
    if (value.value instanceof Map) return value.value;
    const isList = Array.isArray(value.value) && value.value[0]?.value instanceof Map;
    this.fault(value, `${name}: must be a table${isList ? `: write ${name}, with one bracket` : ''}`);
    return new Map();
  }

  private unknown(fields: Fields, written: TomlTable, place: string, key: string): void {
    const value = written.get(key) as TomlValue;
    const isTableName = place === '';
    const foreign = isTableName ? foreignTable(key) : foreignKey(place, key);
    if (foreign !== null) {
      this.foreign(foreign, written, place, key);
      return;
    }
    if (isTableName) {
      const isTable = value.value instanceof Map || Array.isArray(value.value);
      const elsewhere = isTable ? undefined : tableWith(key);
      const hint =
        elsewhere === undefined
          ? `; the nearest is ${headOf(nearest(key, fields))}`
          : `; [${elsewhere}] has one`;
      this.fault(
        value,
        isTable ? `[${key}]: there is no such table${hint}` : `${key}: there is no such key here${hint}`,
      );
      return;
    }
    const elsewhere = tableWith(key);
    const hint =
      elsewhere === undefined ? `the nearest is ${nearest(key, fields)}` : `[${elsewhere}] has one`;
    this.fault(value, `${headOf(place)} ${key}: there is no such key; ${hint}`);
  }

  /** Something of BlipMQ's: a name of one of our settings, or of nothing that can be set here. */
  private foreign(foreign: ForeignName, written: TomlTable, place: string, key: string): void {
    const value = written.get(key) as TomlValue;
    const name = place === '' ? `[${key}]` : `${headOf(place)} ${key}`;
    if ('fault' in foreign) this.fault(value, `${name}: ${foreign.fault}`);
    else if ('note' in foreign)
      this.notes.push(`${this.at(value)}: ${name} of BlipMQ has no effect: ${foreign.note}`);
    else if (written.has(foreign.key))
      this.fault(value, `${name}: is BlipMQ's name of ${foreign.key}, which is there as well`);
    else this.alias(place, key, foreign.key, value);
  }

  private alias(place: string, key: string, ours: string, value: TomlValue): void {
    const { fields } = (SETTINGS.fields as Fields)[place] as Table;
    const { kind } = fields[ours] as Setting<unknown>;
    const isRight = this.take(kind, this.ofFile(value), place, key) !== undefined;
    this.origins.delete(`${place}.${key}`);
    // The command line and the environment stay above it.
    if (isRight && !this.given.has(`${place}.${ours}`))
      this.given.set(`${place}.${ours}`, this.ofFile(value));
  }

  private fault(value: TomlValue, message: string): void {
    this.faults.push(`${this.at(value)}: ${message}`);
  }

  private at({ line }: TomlValue): string {
    return `${this.file}:${line}`;
  }
}

/** A value without the lines of what is in it. */
function plain({ value }: TomlValue): Written {
  if (value instanceof Map) return value as unknown as Written; // no kind takes a table
  return Array.isArray(value) ? value.map(plain) : (value as Written);
}

/** The fixed table that has a setting of this name. */
function tableWith(key: string): string | undefined {
  return [...placedSettings(SETTINGS)]
    .find(({ place }) => place.endsWith(`.${key}`))
    ?.place.replace(/\.[^.]+$/, '');
}

/** How a table is named in messages: `[queues]`, `[[log]]`. */
function headOf(place: string): string {
  const name = place.replace(/\[\d+\]$/, '');
  const schema = (SETTINGS.fields as Fields)[name];
  return name !== place || (schema !== undefined && isList(schema)) ? `[[${name}]]` : `[${name}]`;
}

function noSuchVariable(name: string, variables: ReadonlyMap<string, string>): string {
  return `${name}: there is no such variable; the nearest is ${nearest(name, Object.fromEntries(variables))}`;
}

/** Kubernetes gives each container variables of each service; of one that is called "jsp-broker" they begin as ours do. */
function isOfKubernetes(name: string, text: string): boolean {
  return /^JSP_BROKER_(SERVICE_(HOST|PORT)|PORT_\d+_)/.test(name) || /^(udp|tcp|sctp):\/\//.test(text);
}

function shown(value: Written): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, SHOWN_CHARACTERS_MAX));
  if (value instanceof Date) return 'a time';
  if (Array.isArray(value)) return 'that list';
  return typeof value === 'object' ? 'a table' : String(value);
}

const PREFIX = 'JSP_BROKER_';
/** Names the file. */
export const CONFIG_VARIABLE = `${PREFIX}CONFIG`;
const FILE_BYTES_MAX = 1024 * 1024;
const SHOWN_CHARACTERS_MAX = 64;
