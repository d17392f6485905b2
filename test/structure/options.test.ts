import { describe, expect, test } from 'vitest';
import { filesBelow } from './project.ts';

const files = filesBelow('src', '.ts');
const sources = files.map(({ text }) => text);

/** Options of public functions, by the interface that declares them; with the folder where another has the same name. */
const DECLARED = [
  'TransportOptions',
  'AlertOptions',
  'ListenOptions',
  'ConnectOptions',
  'StreamOptions',
  'SendOptions',
  'transport/CloseOptions',
  'web/CloseOptions',
  'DuplexOptions',
  'WebStreamsOptions',
  'LinkOptions',
  'ImpairmentOptions',
  'BrokerLimits',
  'BackplaneOptions',
  'GatewayLimits',
  'MqttLimitOptions',
  'AuthOptions',
  'AuthRule',
  'AuthGrant',
  'KeyEntry',
  'IdentityEntry',
  'JwtOptions',
  'StoreOptions',
  'LogOptions',
  'BrokerCloseOptions',
  'BrokerClientOptions',
  'ClientCloseOptions',
  'PublishOptions',
  'transport/ReconnectOptions',
  'client/ReconnectOptions',
  'BufferOptions',
  'BreakerOptions',
  'DrainOptions',
  'client/SubscribeOptions',
  'web/SubscribeOptions',
  'WebClientOptions',
  'SendFilesOptions',
  'ReceiveOptions',
  'BehindFrontOptions',
  'FrontOptions',
  'WorkersListenOptions',
];

/** What remains of the sources when everything is gone that names options and does nothing with them. */
const uses = sources
  .map((text) =>
    text
      .replace(/\/\*\*[\s\S]*?\*\/|\/\/.*/g, '')
      .replace(/^(export )?interface [\s\S]*?\n\}/gm, '')
      .replace(/^(export )?const \w+: OptionTable<[\s\S]*?\n\};/gm, '')
      .replace(/^(export )?const (PASSED_ON|BOUNDS)\b[\s\S]*?\n\](?= as|;)/gm, '')
      .replace(/^export function defaultConnectionConfig[\s\S]*?\n\}/gm, ''),
  )
  .join('\n');

describe.each(DECLARED)('each option of %s', (place) => {
  const [name, folder = ''] = place.split('/').reverse();
  const texts = files.filter(({ path }) => path.startsWith(`src/${folder}`)).map(({ text }) => text);
  const body = bodyOf(name, texts);
  const members = [...body.matchAll(/^ {2}(?:readonly )?(\w+)\??:/gm)].map(([, member]) => member);

  const table = texts.find((text) => text.includes(`: OptionTable<${name}> = `));
  const rows = new RegExp(`: OptionTable<${name}> = \\{([\\s\\S]*?)\\n\\};`).exec(table ?? '')?.[1] ?? '';

  test('is documented where it is declared', () => {
    expect(
      members.filter((member) => !new RegExp(`\\*/\\n {2}(readonly )?${member}\\??:`).test(body)),
    ).toEqual([]);
  });

  test('has a row in a table of what it may be', () => {
    expect(table).toBeDefined();
  });

  test('is where nobody says it what its documentation tells', () => {
    const wrong = members.filter((member) => {
      const told = toldDefault(documentationOf(body, member));
      return told !== null && !namesOf(member).some((name) => DEFAULTS.get(name)?.has(told));
    });
    expect(wrong).toEqual([]);
  });

  test('is as small and as large as its documentation tells, and no more; what is bounded by no type tells it', () => {
    const wrong = members.filter((member) => {
      const row = new RegExp(`^ {2}${member}: (?:whole|number)\\((.*), (.*)\\),$`, 'm').exec(rows);
      if (row === null) return false;
      const [low, high] = [row[1], row[2]].map((bound) => productOf(bound, table ?? ''));
      const told = toldRange(documentationOf(body, member));
      if (told === null) return high !== null && !NATURAL.has(high);
      return (told.low !== null && told.low !== low) || told.high !== high;
    });
    expect(wrong).toEqual([]);
  });

  test('is used', () => {
    expect(members.filter((member) => !new RegExp(`\\b${member}\\b`).test(uses))).toEqual([]);
  });
});

function bodyOf(name: string, texts: readonly string[]): string {
  for (const text of texts) {
    const found = new RegExp(`^export interface ${name}\\b[^{]*\\{([\\s\\S]*?)\\n\\}`, 'm').exec(text);
    if (found !== null) return found[1];
  }
  throw new Error(`there is no interface ${name}`);
}

function documentationOf(body: string, member: string): string {
  return (
    new RegExp(`/\\*\\*((?:(?!\\*/)[\\s\\S])*)\\*/\\n {2}(?:readonly )?${member}\\??:`).exec(body)?.[1] ?? ''
  );
}

/** The number that a comment gives as a default; null: none, or one that depends. */
function toldDefault(comment: string): number | null {
  const told = /\bDefault:? (\d+(?:,\d{3})*(?:\.\d+)?)(?: (KiB|MiB|GiB|ms|s|min|days))?(?=[.,;:]\s)/.exec(
    comment,
  );
  return told === null ? null : Number(told[1].replaceAll(',', '')) * (UNITS[told[2]] ?? 1);
}

/** From where to where a comment says that a number may be; low null: it says only how large. */
function toldRange(comment: string): { low: number | null; high: number } | null {
  const told = /(?:\b(\d+(?:,\d{3})*) to|\bat most) (\d+(?:,\d{3})*)(?: (KiB|MiB|GiB))?(?=[.,;:]\s)/.exec(
    comment,
  );
  if (told === null) return null;
  const low = told[1] === undefined ? null : Number(told[1].replaceAll(',', ''));
  return { low, high: Number(told[2].replaceAll(',', '')) * (UNITS[told[3]] ?? 1) };
}

/** Most that a number of bits, a port or a QoS can be, or a timer of Node; and what no machine has. */
const NATURAL = new Set([
  1,
  65_535,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 40,
  Number.MAX_SAFE_INTEGER,
  Number.POSITIVE_INFINITY,
]);

const UNITS: Record<string, number> = {
  ...{ KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 },
  ...{ ms: 1, s: 1_000, min: 60_000, days: 24 * 3_600_000 },
};

const EXPORTED = new Map(
  sources.flatMap((text) =>
    [...text.matchAll(/^export const ([A-Z]\w*) = ([\w* -]+);/gm)].map(([, name, value]) => [name, value]),
  ),
);
/** What stands for an option of a name that is not given: behind `??`, in what is taken apart, or in a table of defaults. */
const DEFAULTS = new Map<string, Set<number>>();
for (const text of sources) {
  for (const [, name, expression] of text.matchAll(/\b([a-z]\w*)(?: \?\?| =|:) ([A-Z0-9][\w.* ]*)/g)) {
    const value = productOf(expression, text);
    if (value !== null) DEFAULTS.set(name, (DEFAULTS.get(name) ?? new Set()).add(value));
  }
}

/** The option, and what it is called where it is handed on under another name. */
function namesOf(member: string): string[] {
  const renamed = new RegExp(`\\b([a-z]\\w*): (?:options\\.)?${member}\\b`, 'g');
  return [member, ...sources.flatMap((text) => [...text.matchAll(renamed)].map(([, name]) => name))];
}

/** Of a product, or a power, of numbers and constants, of the same file or exported by another; of a power also less a number. */
function productOf(expression: string, text: string): number | null {
  if (/^Number\.\w+$/.test(expression)) return Object(Number)[expression.slice('Number.'.length)];
  const less = /^(.*) - (\d+)$/.exec(expression);
  const [base, power] = (less?.[1] ?? expression).split(' ** ');
  let product = 1;
  for (const factor of base.trim().split(' * ')) {
    const value = /^[A-Z]/.test(factor) ? constantOf(factor, text) : Number(factor.replaceAll('_', ''));
    if (value === null || Number.isNaN(value)) return null;
    product *= value;
  }
  return product ** Number(power ?? 1) - Number(less?.[2] ?? 0);
}

function constantOf(name: string, text: string): number | null {
  const declared = new RegExp(`^(?:export )?const ${name} = ([\\w* -]+);`, 'm');
  const found = declared.exec(text)?.[1] ?? (text.includes(name) ? EXPORTED.get(name) : undefined);
  return found === undefined ? null : productOf(found, text);
}
