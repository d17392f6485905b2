import { Argument, type Command } from 'commander';
import { whole } from '../bench/figures.ts';
import { chooseAead } from '../protocol/crypto/index.ts';
import { checkedConnectionConfig, defaultConnectionConfig } from '../protocol/endpoint/index.ts';
import { PRESETS, PROFILE_NAMES, type Preset, type ProfileName, PURPOSES } from '../transport/profiles.ts';
import { type Colours, coloursOf } from './terminal.ts';

/** A value of a profile as it is told: `value` and `default` as for people. */
export interface ProfileRow {
  readonly option: string;
  readonly value: string;
  readonly default: string;
  readonly reason: string;
}

export function addProfilesCommand(program: Command): void {
  program
    .command('profiles')
    .description('print the profiles: what each sets, beside the default, and why')
    .addArgument(new Argument('[name]', 'one of them; else all').choices(PROFILE_NAMES))
    .option('--json', 'print {"<profile>": {"<option>": {"value", "default", "reason"}}}')
    .addHelpText('after', HELP)
    .action(printProfiles);
}

function printProfiles(name: ProfileName | undefined, options: { json?: boolean }): void {
  const names = name === undefined ? PROFILE_NAMES : [name];
  process.stdout.write(options.json ? json(names) : tables(names));
}

/** What a profile sets, a row for each option. */
export function profileRows(name: ProfileName): ProfileRow[] {
  return presetsOf(name).map(([option, { value, reason }]) => ({
    option,
    value: shown(option, value),
    default: shown(option, defaultOf(option)),
    reason,
  }));
}

/** Rows as a table that is no wider than `columns`; reasons take as many lines as they need. */
export function profileTable(rows: readonly ProfileRow[], columns: number, { dim }: Colours): string {
  const all = [{ option: 'option', value: 'value', default: 'default', reason: 'why' }, ...rows];
  const width = (field: keyof ProfileRow): number => Math.max(...all.map((row) => row[field].length));
  const widths = { option: width('option'), value: width('value'), default: width('default') };
  const left = widths.option + widths.value + widths.default + 3 * GAP.length;
  const lines = all.flatMap((row, i) => {
    const cells = [row.option.padEnd(widths.option), row.value.padEnd(widths.value)];
    cells.push(row.default.padEnd(widths.default));
    const [first, ...more] = wrapped(row.reason, Math.max(REASON_COLUMNS_MIN, columns - left - GAP.length));
    const head = `${GAP}${[...cells, first].join(GAP)}`;
    return [i === 0 ? dim(head) : head, ...more.map((line) => `${GAP}${' '.repeat(left)}${line}`)];
  });
  return lines.map((line) => `${line.trimEnd()}\n`).join('');
}

function tables(names: readonly ProfileName[]): string {
  const colours = coloursOf(process.stdout);
  const columns = Math.min(COLUMNS_MAX, process.stdout.columns ?? COLUMNS_MAX);
  return names
    .map(
      (name) =>
        `${colours.bold(name)}: ${PURPOSES[name]}\n${profileTable(profileRows(name), columns, colours)}`,
    )
    .join('\n');
}

function json(names: readonly ProfileName[]): string {
  const all = names.map((name) => {
    const rows = presetsOf(name).map(([option, { value, reason }]) => {
      return [option, { value, default: defaultOf(option) ?? null, reason }];
    });
    return [name, Object.fromEntries(rows)];
  });
  return `${JSON.stringify(Object.fromEntries(all), null, 2)}\n`;
}

function presetsOf(name: ProfileName): [string, Preset<unknown>][] {
  return Object.entries(PRESETS[name]);
}

/** What holds where neither application nor profile says anything. */
function defaultOf(option: string): unknown {
  if (Object.hasOwn(OTHER_DEFAULTS, option)) return OTHER_DEFAULTS[option];
  const config = checkedConnectionConfig(defaultConnectionConfig(chooseAead('noble')));
  return config[option as keyof typeof config];
}

function shown(option: string, value: unknown): string {
  if (typeof value === 'string' || typeof value === 'boolean') return String(value);
  if (typeof value !== 'number')
    return Object.entries(value as object)
      .flat()
      .join(' ');
  const isSize = option.endsWith('Bytes') || option.endsWith('BytesMax');
  for (const [unit, bytes] of isSize ? UNITS : []) {
    if (value >= bytes) return `${Math.round((10 * value) / bytes) / 10} ${unit}`;
  }
  return Number.isInteger(value) ? whole(value) : String(value);
}

function wrapped(text: string, columns: number): string[] {
  const lines = [''];
  for (const word of text.split(' ')) {
    const line = lines[lines.length - 1];
    if (line !== '' && line.length + 1 + word.length > columns) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines;
}

const GAP = '  ';
const COLUMNS_MAX = 120;
const REASON_COLUMNS_MIN = 24;
const UNITS: readonly (readonly [string, number])[] = [
  ['MiB', 2 ** 20],
  ['KiB', 2 ** 10],
];
/** Defaults of options that a connection's config does not have under the same name. */
const OTHER_DEFAULTS: Readonly<Record<string, unknown>> = {
  mtu: '1,200, grows',
  queueDelayMaxMs: 'any',
  datagramBytesMax: 65_507,
  protection: 'off',
  compression: false,
  receiveBufferBytes: 4 * 2 ** 20,
  sendBufferBytes: 4 * 2 ** 20,
  streamDefaults: { priority: 'chat' },
};

const HELP = `
A profile is given by name to "listen", "connect", "startBroker" and "connectClient", and as --profile to commands that connect or listen.
What an application passes itself holds instead of the profile's value. Times are in ms, sizes of datagrams in bytes.

Examples:
  $ jsp profiles
  $ jsp profiles iot
  $ jsp profiles gaming --json
  $ jsp broker --profile broker
`;
