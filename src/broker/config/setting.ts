/**
 * What a setting of a broker is: one place that says its kind, default and reason, of which the TOML file, the environment, the command line and the printed
 * configuration are made. Tables of settings nest as TOML does: tables with fixed keys, lists of tables, tables by a name that the operator gives.
 */

import type { Kind } from './kinds.ts';

/** A value that can be set. */
export interface Setting<T> {
  readonly kind: Kind<Exclude<T, undefined>>;
  /** Undefined: none, and what that means stands in {@link reason}. */
  readonly fallback: T;
  /** One sentence or two, for people: what it is, and why the default is what it is. */
  readonly reason: string;
  /** As it may be written in a file, where there is no default to show. */
  readonly example: string | undefined;
  /** Takes effect when a running broker reloads its configuration; else when it starts. */
  readonly reloads: boolean;
  /** A table cannot do without it. */
  readonly required: boolean;
}

export interface Table<F extends Fields = Fields> {
  readonly fields: F;
  /** One sentence or two, for people. */
  readonly about: string;
}

/** A table that means something by being there. */
export interface OptionalTable<F extends Fields = Fields> {
  readonly whenThere: Table<F>;
  /** As it may stand in a file. */
  readonly example: string;
}

/** `[[name]]`, as many as there are to be; or `[name]`, for one. */
export interface TableList<F extends Fields = Fields> {
  readonly each: Table<F>;
  readonly reloads: boolean;
  /** As it may stand in a file. */
  readonly example: string;
}

/** `[table.name]`, with a name that the operator gives. */
export interface NamedTables<F extends Fields = Fields> {
  readonly byName: Table<F>;
  readonly reloads: boolean;
  readonly example: string;
}

export type Schema = Setting<unknown> | Table | OptionalTable | TableList | NamedTables;
export interface Fields {
  readonly [key: string]: Schema;
}

/** The values that a schema stands for. */
export type ValueOf<S> =
  S extends Setting<infer T>
    ? T
    : S extends Table<infer F>
      ? ValuesOf<F>
      : S extends OptionalTable<infer F>
        ? ValuesOf<F> | undefined
        : S extends TableList<infer F>
          ? readonly ValuesOf<F>[]
          : S extends NamedTables<infer F>
            ? Readonly<Record<string, ValuesOf<F>>>
            : never;
export type ValuesOf<F> = { readonly [K in keyof F]: ValueOf<F[K]> };

interface Particulars {
  readonly reloads?: boolean;
  readonly example?: string;
}

/** A setting with a default. */
export function setting<T>(
  kind: Kind<T>,
  fallback: NoInfer<T>,
  reason: string,
  { reloads = false, example }: Particulars = {},
): Setting<T> {
  return { kind: kind as Kind<Exclude<T, undefined>>, fallback, reason, example, reloads, required: false };
}

/** A setting without one: `reason` says what is done then, `example` is TOML of a value. */
export function optional<T>(
  kind: Kind<T>,
  example: string,
  reason: string,
  { reloads = false }: Particulars = {},
): Setting<T | undefined> {
  const fallback: T | undefined = undefined;
  return { kind: kind as Kind<Exclude<T, undefined>>, fallback, reason, example, reloads, required: false };
}

/** A setting that its table cannot do without. */
export function required<T>(kind: Kind<T>, example: string, reason: string): Setting<T> {
  const fallback = undefined as T;
  return {
    kind: kind as Kind<Exclude<T, undefined>>,
    fallback,
    reason,
    example,
    reloads: true,
    required: true,
  };
}

export function table<F extends Fields>(about: string, fields: F): Table<F> {
  return { about, fields };
}

export function optionalTable<F extends Fields>(about: string, fields: F, example: string): OptionalTable<F> {
  return { whenThere: { about, fields }, example };
}

export function tableList<F extends Fields>(
  about: string,
  fields: F,
  { reloads = false, example = '' }: Particulars,
): TableList<F> {
  return { each: { about, fields }, reloads, example };
}

export function namedTables<F extends Fields>(
  about: string,
  fields: F,
  { reloads = false, example = '' }: Particulars,
): NamedTables<F> {
  return { byName: { about, fields }, reloads, example };
}

export function isSetting(schema: Schema): schema is Setting<unknown> {
  return 'kind' in schema;
}

export function isTable(schema: Schema): schema is Table {
  return 'fields' in schema;
}

export function isOptionalTable(schema: Schema): schema is OptionalTable {
  return 'whenThere' in schema;
}

export function isList(schema: Schema): schema is TableList {
  return 'each' in schema;
}

/** A setting of a table, and its place: `queues.max_messages`. */
export interface PlacedSetting {
  readonly place: string;
  readonly setting: Setting<unknown>;
}

/** All settings that have a fixed place, so that the environment and the command line can set them. */
export function* placedSettings({ fields }: Table, above = ''): Generator<PlacedSetting> {
  for (const [key, schema] of Object.entries(fields)) {
    const place = above === '' ? key : `${above}.${key}`;
    if (isSetting(schema)) yield { place, setting: schema };
    else if (isTable(schema)) yield* placedSettings(schema, place);
    else if (isOptionalTable(schema)) yield* placedSettings(schema.whenThere, place);
  }
}
