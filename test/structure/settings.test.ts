import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { brokerOptionsOf } from '../../src/broker/config/broker-options.ts';
import { loadConfig } from '../../src/broker/config/load.ts';
import { placedSettings } from '../../src/broker/config/setting.ts';
import { SETTINGS } from '../../src/broker/config/settings.ts';
import { BrokerState } from '../../src/broker/core/state.ts';
import { MemoryStore } from '../../src/broker/core/store/memory-store.ts';
import { gatewayOptionsOf } from '../../src/cli/broker-settings.ts';
import { DEFAULT_LIMITS } from '../../src/gateway/options.ts';
import { emptyFolder } from '../empty-folder.ts';
import { filesBelow } from './project.ts';
import { blocksOf, inlineOf, kindOf, PAGES, type Snippet } from './snippets.ts';

/** Members of an interface of options. */
function membersOf(name: string): string[] {
  for (const { text } of filesBelow('src', '.ts')) {
    const found = new RegExp(`^export interface ${name}\\b[^{]*\\{([\\s\\S]*?)\\n\\}`, 'm').exec(text);
    if (found !== null)
      return [...found[1].matchAll(/^ {2}(?:readonly )?(\w+)\??:/gm)].map(([, member]) => member);
  }
  throw new Error(`there is no interface ${name}`);
}

const environment = { JSP_BROKER_STORE_DIRECTORY: '/s', JSP_BROKER_HTTP_LISTEN: '127.0.0.1:0' };
const config = loadConfig({ environment });
const broker = brokerOptionsOf(config);
const gateway = gatewayOptionsOf(config);

/** What a process is told otherwise, or that means something to programs alone. */
const NOT_SETTINGS = ['broker', 'clock', 'telemetry'];

test.each([
  ['BrokerOptions', broker],
  ['BrokerLimits', broker],
  ['StoreOptions', broker.store],
  ['GatewayOptions', gateway],
  ['GatewayLimits', gateway?.limits],
])('each of %s is a setting of the configuration [CFG-1]', (name, options) => {
  const missing = membersOf(name).filter(
    (member) => !NOT_SETTINGS.includes(member) && !Object.hasOwn(options ?? {}, member),
  );
  expect(missing).toEqual([]);
});

test('what a setting is where nobody says it is what the option is then [CFG-1]', () => {
  expect(gateway?.limits).toEqual(DEFAULT_LIMITS);
  const { limits } = new BrokerState({}, new MemoryStore(), () => {});
  expect(Object.fromEntries(Object.keys(limits).map((name) => [name, Object(broker)[name]]))).toEqual(limits);
});

test('TOML on pages is a configuration, in blocks and within a text [CFG-1]', () => {
  const blocks = PAGES.flatMap(blocksOf).filter((block) => kindOf(block) === 'toml');
  expect(blocks.length).toBeGreaterThan(1);
  expect(blocks.flatMap(faultIn)).toEqual([]);

  const named = PAGES.flatMap(inlineOf).filter(({ text }) => TABLE.test(text) || LINE.test(text));
  expect(named.length).toBeGreaterThan(40);
  expect(named.flatMap(faultIn)).toEqual([]);
});

test('what is no configuration is found, also within a text', () => {
  const wrong = ['[brokr]', '[broker] prt', '[broker] port = "x"', 'replicaz = 3', 'replicas = "three"'];
  expect(wrong.flatMap((text) => faultIn({ path: 'no-page.md', line: 1, text }))).toHaveLength(wrong.length);
  const right = ['[broker]', '[[log]]', '[broker] port', '[broker] port = 1', 'replicas = 3'];
  expect(right.flatMap((text) => faultIn({ path: 'no-page.md', line: 1, text }))).toEqual([]);
});

test('settings that command lines on pages give by --set and by variables are there, and take what is given [CFG-1]', () => {
  const lines = PAGES.flatMap(({ path, line, text }) =>
    [...text.matchAll(/--set ([a-z_]+\.[a-z_.]+)=([^\s`]+)|\b(JSP_BROKER_[A-Z_]+)=([^\s`]+)/g)].map(
      ([written, place, value, name, set]) => ({ path, line, written, place, value, name, set }),
    ),
  );
  const faults = lines.flatMap(({ path, written, place, value, name, set }) => {
    const flags = new Map(place === undefined ? [] : [[place, { written, value, isText: true }]]);
    return faultOf(() => loadConfig({ flags, environment: name === undefined ? {} : { [name]: set } })).map(
      (fault) => `${path} ${fault}`,
    );
  });
  expect(lines.length).toBeGreaterThan(2);
  expect(faults).toEqual([]);
});

test('each table of settings is on the page about them', () => {
  const page = PAGES.find(({ path }) => path === 'docs/configuration.md');
  const missing = Object.keys(SETTINGS.fields).filter((name) => !page?.text.includes(`[${name}]`));
  expect(missing).toEqual([]);
});

/** `[broker]`, `[broker] port`, `[broker] port = 4577`. */
const TABLE = /^\[+(?<table>[a-z_]+)\]+(?: (?<key>[a-z_]+)(?: = (?<value>.+))?)?$/;
/** `port = 4577`. */
const LINE = /^(?<key>[a-z_]+) = (?<value>\d+|".*"|true|false|\[.*\])$/;

/** What is wrong with a piece of a configuration: none, or one. */
function faultIn({ path, line, text }: Snippet): string[] {
  const { table, key, value } = TABLE.exec(text)?.groups ?? LINE.exec(text)?.groups ?? {};
  const told = (why: string) => [`${path}:${line} ${text.split('\n')[0]}: ${why}`];
  if (key === undefined && table === undefined) return faultOfToml(text).flatMap(told);
  if (table !== undefined && !Object.hasOwn(SETTINGS.fields, table)) return told('there is no such table');
  if (key === undefined) return [];
  const tables = TABLES_OF.get(key)?.filter((each) => table === undefined || each === table) ?? [];
  if (tables.length === 0) return told('there is no such setting');
  if (value === undefined || tables.some((each) => faultOfToml(`[${each}]\n${key} = ${value}`).length === 0))
    return [];
  return told('it does not take that');
}

function faultOfToml(text: string): string[] {
  const file = join(emptyFolder(), 'jsp.toml');
  writeFileSync(file, text);
  return faultOf(() => loadConfig({ file }));
}

function faultOf(load: () => unknown): string[] {
  try {
    load();
    return [];
  } catch (error) {
    return [(error as Error).message];
  }
}

/** The tables that have a setting of that name. */
const TABLES_OF = new Map<string, string[]>();
for (const { place } of placedSettings(SETTINGS)) {
  const key = place.slice(place.lastIndexOf('.') + 1);
  TABLES_OF.set(key, [...(TABLES_OF.get(key) ?? []), place.slice(0, place.lastIndexOf('.'))]);
}
