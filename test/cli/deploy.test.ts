import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { brokerOptionsOf } from '../../src/broker/config/broker-options.ts';
import { loadConfig } from '../../src/broker/config/load.ts';
import { gatewayOptionsOf } from '../../src/cli/broker-settings.ts';
import { natsProgram } from '../broker/backplane/nats-server.ts';
import { jspTogether } from './jsp.ts';

const pathOf = (name: string) => fileURLToPath(new URL(`../../deploy/${name}`, import.meta.url));

test('the example of a configuration is one, and lets nobody in who shows nothing but to what is public', () => {
  const config = loadConfig({ file: pathOf('jsp.toml') });
  const options = brokerOptionsOf(config);
  expect(config.notes).toEqual([]);
  expect(options.auth?.anonymous?.rules).toMatchObject([{ allow: ['subscribe'], topics: ['public/#'] }]);
  expect(gatewayOptionsOf(config)).toMatchObject({ host: '127.0.0.1', port: 4580 });
});

test.each(['jsp-broker.service', 'Containerfile'])(
  '%s sets variables that a broker knows [CFG-1]',
  (name) => {
    const text = readFileSync(pathOf(name), 'utf8');
    const set = [...text.matchAll(/\b(JSP_BROKER_[A-Z_]+)=([^\s\\]*[^\s\\.])/g)].map(
      ([, variable, value]) => [variable, value],
    );
    expect(set.length).toBeGreaterThan(2);
    const { values } = loadConfig({ environment: Object.fromEntries(set) as Record<string, string> });
    expect(values.store.directory).toBe('/var/lib/jsp/store');
  },
);

test.for(['jsp-broker.service', 'jsp-front.service'])(
  'systemd takes %s, and finds little that it could do harm with',
  (name, { skip }) => {
    const unit = pathOf(name);
    const verified = spawnSync('systemd-analyze', ['verify', '--man=no', unit], { encoding: 'utf8' });
    skip(verified.error !== undefined, 'systemd-analyze is not installed');
    expect(verified.stderr).not.toContain(`${name}:`);
    const judged = spawnSync('systemd-analyze', ['security', '--offline=true', '--threshold=20', unit], {
      encoding: 'utf8',
    });
    expect(judged.stdout).toMatch(new RegExp(`Overall exposure level for ${name}: [01]\\.\\d OK`));
  },
);

test('the Compose file is one, whose services, volumes and commands fit together', async () => {
  const { services, volumes } = compose();
  const names = Object.keys(services);
  expect(names).toEqual(['nats', 'keys', 'broker-1', 'broker-2', 'broker-3', 'front']);
  for (const { depends_on: after = [], volumes: mounted = [] } of Object.values(services)) {
    for (const name of Array.isArray(after) ? after : Object.keys(after)) expect(names).toContain(name);
    for (const volume of mounted) expect(Object.keys(volumes)).toContain(volume.split(':')[0]);
  }
  const { environment } = services['broker-3'];
  expect(() => loadConfig({ environment: jspVariables(environment ?? {}) })).not.toThrow();
  const to = /--to "([^"]+)"/.exec(services.front.entrypoint?.[2] ?? '')?.[1].split(',') ?? [];
  expect(to.map((url) => /@(.+):4577$/.exec(url)?.[1])).toEqual(['broker-1', 'broker-2', 'broker-3']);
});

test('commands in the Compose file and in units have options that there are', async () => {
  const scripts = Object.values(compose().services).flatMap(({ entrypoint }) => entrypoint?.slice(2) ?? []);
  const unit = readFileSync(pathOf('jsp-front.service'), 'utf8');
  const commands = [...scripts, ...unit.split('\n').filter((line) => line.startsWith('ExecStart'))]
    .flatMap((text) => text.split(/&&|;|\|\|/))
    .flatMap((text) => [...text.matchAll(/\bjsp (broker|gateway|keygen)\b(.*)/gs)])
    .map(([, name, rest]) => ({ name, options: rest.match(/--[a-z-]+/g) ?? [] }))
    .filter(({ options }) => options.length > 0);
  expect(commands.length).toBeGreaterThan(6);
  const asked = ['broker', 'gateway', 'keygen'];
  const help = await jspTogether(asked.map((name) => [name, '--help']));
  for (const { name, options } of commands) {
    const { out } = help[asked.indexOf(name)];
    for (const option of options) expect(out, `jsp ${name}`).toContain(`${option} `);
  }
});

test.for(['nats.conf', 'nats-leaf.conf'])('nats-server takes %s', (name, { skip }) => {
  const program = natsProgram();
  if (program === null) return skip();
  const { stderr, status } = spawnSync(program, ['-t', '-c', pathOf(name)], { encoding: 'utf8' });
  expect([status, stderr]).toEqual([0, expect.stringContaining('is valid')]);
});

test('the leaf node asks for the streams under the name that they have here', () => {
  const [, domain] = /^ {2}domain: "(\w+)"$/m.exec(readFileSync(pathOf('nats.conf'), 'utf8')) ?? [];
  expect(domain).toBe('jsp');
  const asked = `default_js_domain: { "$G": "${domain}" }`;
  expect(readFileSync(pathOf('nats-leaf.conf'), 'utf8')).toContain(asked);
});

interface Service {
  readonly depends_on?: readonly string[] | Readonly<Record<string, unknown>>;
  readonly entrypoint?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly volumes?: readonly string[];
}

function compose() {
  const text = readFileSync(pathOf('compose.yaml'), 'utf8');
  return parse(text, { merge: true }) as {
    readonly services: Readonly<Record<string, Service>>;
    readonly volumes: Readonly<Record<string, unknown>>;
  };
}

function jspVariables(environment: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => name.startsWith('JSP_BROKER_')));
}
