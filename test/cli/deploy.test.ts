import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { brokerOptionsOf } from '../../src/broker/config/broker-options.ts';
import { loadConfig } from '../../src/broker/config/load.ts';
import { gatewayOptionsOf } from '../../src/cli/broker-settings.ts';

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

test('systemd takes the unit, and finds little that it could do harm with', ({ skip }) => {
  const unit = pathOf('jsp-broker.service');
  const verified = spawnSync('systemd-analyze', ['verify', '--man=no', unit], { encoding: 'utf8' });
  skip(verified.error !== undefined, 'systemd-analyze is not installed');
  expect(verified.stderr).not.toContain('jsp-broker.service:');
  const judged = spawnSync('systemd-analyze', ['security', '--offline=true', '--threshold=20', unit], {
    encoding: 'utf8',
  });
  expect(judged.stdout).toMatch(/Overall exposure level for jsp-broker.service: [01]\.\d OK/);
});
