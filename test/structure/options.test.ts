import { describe, expect, test } from 'vitest';
import { filesBelow } from './project.ts';

const sources = filesBelow('src', '.ts').map(({ text }) => text);

/** Options of public functions, by the interface that declares them. */
const DECLARED = [
  'TransportOptions',
  'AlertOptions',
  'ListenOptions',
  'ConnectOptions',
  'StreamOptions',
  'SendOptions',
  'CloseOptions',
  'DuplexOptions',
  'WebStreamsOptions',
  'LinkOptions',
  'ImpairmentOptions',
  'BrokerLimits',
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
  'ReconnectOptions',
  'BufferOptions',
  'BreakerOptions',
  'DrainOptions',
  'SubscribeOptions',
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

describe.each(DECLARED)('each option of %s', (name) => {
  const body = bodyOf(name);
  const members = [...body.matchAll(/^ {2}(?:readonly )?(\w+)\??:/gm)].map(([, member]) => member);

  test('is documented where it is declared', () => {
    expect(
      members.filter((member) => !new RegExp(`\\*/\\n {2}(readonly )?${member}\\??:`).test(body)),
    ).toEqual([]);
  });

  test('has a row in a table of what it may be', () => {
    expect(sources.some((text) => new RegExp(`: OptionTable<${name}> = `).test(text))).toBe(true);
  });

  test('is used', () => {
    expect(members.filter((member) => !new RegExp(`\\b${member}\\b`).test(uses))).toEqual([]);
  });
});

function bodyOf(name: string): string {
  for (const text of sources) {
    const found = new RegExp(`^export interface ${name}\\b[^{]*\\{([\\s\\S]*?)\\n\\}`, 'm').exec(text);
    if (found !== null) return found[1];
  }
  throw new Error(`there is no interface ${name}`);
}
