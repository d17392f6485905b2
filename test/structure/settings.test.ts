import { expect, test } from 'vitest';
import { brokerOptionsOf } from '../../src/broker/config/broker-options.ts';
import { loadConfig } from '../../src/broker/config/load.ts';
import { BrokerState } from '../../src/broker/core/state.ts';
import { MemoryStore } from '../../src/broker/core/store/memory-store.ts';
import { gatewayOptionsOf } from '../../src/cli/broker-settings.ts';
import { DEFAULT_LIMITS } from '../../src/gateway/options.ts';
import { filesBelow } from './project.ts';

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
