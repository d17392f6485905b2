import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { Authenticator } from '../../../src/broker/auth/authenticator.ts';
import { authFault, brokerOptionsOf, notesOf } from '../../../src/broker/config/broker-options.ts';
import { exposedFilesOf, faultOfSecret } from '../../../src/broker/config/exposed-files.ts';
import {
  type Config,
  ConfigError,
  type Flag,
  loadConfig,
  variableOf,
} from '../../../src/broker/config/load.ts';
import { printConfig, printedSettings } from '../../../src/broker/config/print.ts';
import { placedSettings } from '../../../src/broker/config/setting.ts';
import { SETTINGS } from '../../../src/broker/config/settings.ts';

const folder = mkdtempSync(join(tmpdir(), 'jsp-'));
afterAll(() => rmSync(folder, { recursive: true }));
const FILE = join(folder, 'jsp.toml');

function load(text: string, environment: Record<string, string> = {}, flags?: Map<string, Flag>): Config {
  writeFileSync(FILE, text);
  return loadConfig({ file: FILE, environment, flags });
}

function faultsOf(act: () => unknown): readonly string[] {
  try {
    act();
  } catch (error) {
    if (error instanceof ConfigError)
      return error.faults.map((fault) => fault.replace(`${FILE}:`, 'jsp.toml:'));
    throw error;
  }
  return [];
}

const faults = (text: string, environment?: Record<string, string>) =>
  faultsOf(() => load(text, environment));

describe.skipIf(process.platform === 'win32')(
  'files of a configuration that everybody reaches [CFG-10]',
  () => {
    const filed = (name: string, mode: number): string => {
      const file = join(folder, name);
      writeFileSync(file, '');
      chmodSync(file, mode);
      return file;
    };
    const told = (text: string, mode: number, environment?: Record<string, string>): string[] => {
      filed('jsp.toml', mode);
      const config = load(text, environment);
      return exposedFilesOf(config).map((each) => `${each.place}: ${each.text.replaceAll(`${folder}/`, '')}`);
    };
    const secret = (what: string, file: string) =>
      `${file} holds a secret, and everybody on this machine can ${what} it: chmod o= ${file}`;
    const gate = (file: string) =>
      `${file} says who may come in, and everybody on this machine can change it: chmod o-w ${file}`;

    test('are those with a secret that all can read or change, and those by which one may come in that all can change', () => {
      for (const [name, mode] of [
        ['tls', 0o644],
        ['group', 0o660],
        ['hmac', 0o646],
        ['nats', 0o602],
        ['keys', 0o644],
        ['identities', 0o666],
        ['jwks', 0o606],
      ] as const)
        filed(name, mode);
      const issuer = (name: string, key: string) =>
        `[[auth.jwt]]\nissuer = "${name}"\nname_prefix = "${name}/"\naudience = "b"\nalgorithms = ["${key.startsWith('jwks') ? 'ES256' : 'HS256'}"]\n${key}\n`;
      const text = [
        '[http]\ntls_key = "tls"\ntls_cert = "jwks"\n[mqtt]\ntls_key = "tls"\n[front]\nsecret_file = "group"\n',
        '[backplane]\nkind = "nats"\ncredentials = "nats"\n[broker]\nauthorized_keys = "none"\n',
        '[auth]\nkeys_file = "keys"\nidentities_file = "identities"\n',
        ...[issuer('a', 'secret_file = "group"'), issuer('b', 'secret_file = "hmac"')],
        ...[issuer('c', 'jwks = "jwks"'), issuer('d', 'jwks = "https://d.example.org/"')],
      ].join('');
      expect(told(text, 0o644)).toEqual([
        `backplane.credentials: jsp.toml:10: ${secret('change', 'nats')}`,
        `auth.identities_file: jsp.toml:15: ${gate('identities')}`,
        `auth.jwt[1].secret_file: jsp.toml:27: ${secret('read and change', 'hmac')}`,
        `auth.jwt[2].jwks: jsp.toml:33: ${gate('jwks')}`,
        `http.tls_key: jsp.toml:2: ${secret('read', 'tls')}`,
      ]);
      expect(told('[http]\ntls_cert = "jwks"\n', 0o646)).toEqual([`: jsp.toml: ${gate('jsp.toml')}`]);
    });

    test('are the configuration itself, where it has a secret in it', () => {
      const text = '[backplane]\nkind = "nats"\nuser = "u"\n';
      const said = '{"password":"p"}';
      expect(told(`${text}password = "p"\n`, 0o644)).toEqual([
        `backplane.password: jsp.toml:4: ${secret('read', 'jsp.toml')}`,
      ]);
      expect(told(`${text}password = "p"\n`, 0o640)).toEqual([]);
      expect(told(text, 0o644, { JSP_BROKER_BACKPLANE_PASSWORD: said })).toEqual([]);
    });

    test('are no folders, and nothing that is not there', () => {
      const directory = join(folder, 'directory');
      mkdirSync(directory);
      chmodSync(directory, 0o777);
      expect([faultOfSecret(directory), faultOfSecret(join(folder, 'none')), faultOfSecret('\0')]).toEqual([
        null,
        null,
        null,
      ]);
    });
  },
);

describe('a configuration', () => {
  test('is that of its file, over that the environment, over that the command line [CFG-2]', () => {
    const file = '[broker]\nport = 4600\nhost = "::1"\n[queues]\nstall = "45s"\n';
    const flags = new Map([['broker.port', { written: '--port', value: 4602, isText: false }]]);
    const { values, origins } = load(file, { JSP_BROKER_PORT: '4601', JSP_BROKER_QUEUES_STALL: '1m' }, flags);
    expect([values.broker.port, values.broker.host, values.queues.stall]).toEqual([4602, '::1', 60_000]);
    expect(values.queues.max_messages).toBe(16_384);
    expect(origins.get('broker.port')).toBe('--port');
    expect(origins.get('broker.host')).toBe(`${FILE}:3`);
    expect(origins.get('queues.stall')).toBe('JSP_BROKER_QUEUES_STALL');
    expect(origins.has('queues.max_messages')).toBe(false);
  });

  test('has every setting in the environment, each under a name of its own [CFG-1]', () => {
    const names = [...placedSettings(SETTINGS)].map(({ place }) => variableOf(place));
    expect(new Set(names).size).toBe(names.length);
    expect(names).toEqual(expect.arrayContaining(['JSP_BROKER_HOST', 'JSP_BROKER_QUEUES_MAX_MESSAGES']));
    const { values } = loadConfig({
      environment: {
        JSP_BROKER_HAND_OVER: `${URL_A}, ${URL_A}`,
        JSP_BROKER_QUEUES_MAX_BYTES: '8MiB',
        JSP_BROKER_AUTH_KEYS_FILE: '/keys.toml',
        JSP_BROKER_LOGGING_LEVEL: '',
      },
    });
    expect(values.broker.hand_over).toEqual([URL_A, URL_A]);
    expect(values.queues.max_bytes).toBe(8 * 2 ** 20);
    expect(values.auth?.keys_file).toBe('/keys.toml');
    expect(values.logging.level).toBe('info'); // empty is not set
  });

  test('takes a path of the file from the folder of the file, any other from where the broker is started', () => {
    mkdirSync(join(folder, 'etc'), { recursive: true });
    const file = join(folder, 'etc/jsp.toml');
    writeFileSync(file, '[store]\ndirectory = "../data"\n');
    const { values } = loadConfig({ file, environment: { JSP_BROKER_STATE: 'here' } });
    expect(values.store.directory).toBe(join(folder, 'data'));
    expect(values.broker.state).toBe(join(process.cwd(), 'here'));
  });

  test('becomes the options of a broker', () => {
    const config = load(
      '[limits]\nmax_message_bytes = "1MiB"\n[store]\ndirectory = "/d"\n[[log]]\nname = "o"\nfilters = ["o/#"]\nmax_age = "30d"\n' +
        '[[auth.key]]\nid = "a"\nhash = "sha256:' +
        '0'.repeat(64) +
        '"\nroles = ["r"]\n[[auth.roles.r.rules]]\nallow = "*"\ntopics = ["a/#"]\n',
    );
    const options = brokerOptionsOf(config);
    expect(options.messageBytesMax).toBe(2 ** 20 + 8 + 1_024);
    expect(options.store).toMatchObject({ directory: '/d', sync: 'always' });
    expect(options.logs).toMatchObject([{ name: 'o', filters: ['o/#'], maxAgeMs: 30 * 86_400_000 }]);
    expect(options.auth?.keys).toMatchObject([{ id: 'a', roles: ['r'] }]);
    expect(options.auth?.roles?.r.rules).toEqual([
      { allow: '*', topics: ['a/#'], deny: undefined, at: `${FILE}:13` },
    ]);
  });

  test('without the table [auth] asks nobody who they are, and with an empty one lets nobody in', () => {
    expect(brokerOptionsOf(load('')).auth).toBe(undefined);
    expect(brokerOptionsOf(load('[auth]\n')).auth).toMatchObject({ keys: [], anonymous: undefined });
  });

  test('survives that Kubernetes has a service of the same name', () => {
    const environment = {
      JSP_BROKER_PORT: 'udp://10.0.0.1:4577',
      JSP_BROKER_SERVICE_HOST: '10.0.0.1',
      JSP_BROKER_SERVICE_PORT_MAIN: '4577',
      JSP_BROKER_PORT_4577_UDP_ADDR: '10.0.0.1',
    };
    expect(loadConfig({ environment }).values.broker.port).toBe(4_577);
  });
});

describe('a fault of a configuration [CFG-3]', () => {
  test('names the file, the line, the table and the key, and the nearest right one', () => {
    expect(faults('\n[queues]\nmax_mesages = 1\n')).toEqual([
      'jsp.toml:3: [queues] max_mesages: there is no such key; the nearest is max_messages',
    ]);
    expect(faults('[queus]\n')).toEqual([
      'jsp.toml:1: [queus]: there is no such table; the nearest is [queues]',
    ]);
    expect(faults('[[logs]]\nname = "a"\n')).toEqual([
      'jsp.toml:1: [logs]: there is no such table; the nearest is [[log]]',
    ]);
    expect(faults('[broker]\nmax_messages = 1\n')).toEqual([
      'jsp.toml:2: [broker] max_messages: there is no such key; [queues] has one',
    ]);
    expect(faults('port = 1\n')).toEqual(['jsp.toml:1: port: there is no such key here; [broker] has one']);
    expect(faults('[auth.roles.r]\nrulez = []\n')).toEqual([
      'jsp.toml:2: [auth.roles.r] rulez: there is no such key; the nearest is rules',
    ]);
  });

  test('says what a value must be', () => {
    expect(faults('[broker]\nport = 70000\n')).toEqual([
      'jsp.toml:2: [broker] port: must be a whole number from 0 to 65535, not 70000',
    ]);
    expect(faults('[queues]\nstall = 30\nmax_bytes = "4 apples"\nmax_messages = "many"\n')).toEqual([
      'jsp.toml:2: [queues] stall: must be a time with its unit, such as "500ms", "30s", "5m", "2h" or "7d", not 30',
      'jsp.toml:3: [queues] max_bytes: must be a number of bytes, such as 1048576, "64MiB" or "10GB", not "4 apples"',
      'jsp.toml:4: [queues] max_messages: must be a whole number from 1 to 4294967295, not "many"',
    ]);
    expect(faults('[store]\nsync_interval = "2d"\nsync = "sometimes"')).toEqual([
      'jsp.toml:2: [store] sync_interval: must be from "1ms" to "1h", not "2d"',
      'jsp.toml:3: [store] sync: must be one of "always", "interval", not "sometimes"',
    ]);
    expect(faults('[http]\nlisten = "x"\n[mqtt]\nlisten = "x"\ntls_listen = "x"\n')).toEqual(
      [
        [2, 'http', 'listen', 4580],
        [4, 'mqtt', 'listen', 1883],
        [5, 'mqtt', 'tls_listen', 8883],
      ].map(
        ([line, table, key, port]) =>
          `jsp.toml:${line}: [${table}] ${key}: must be an address and a port, such as "127.0.0.1:${port}", "[::1]:${port}" or ${port}, not "x"`,
      ),
    );
    expect(faults('[broker]\nhand_over = ["http://x"]\nhost = 1979-05-27')).toEqual([
      'jsp.toml:2: [broker] hand_over: must be a list, each of which is a URL with the fingerprint of its broker: jsp://<fingerprint>@host:port, not that list',
      'jsp.toml:3: [broker] host: must be a string, not a time',
    ]);
  });

  test('is told with all others, in the order of their lines', () => {
    const text = '[queues]\nstall = 1\n[broker]\nport = -1\nprt = 2\n';
    expect(faults(text, { JSP_BROKER_HOSTS: 'x' }).map((fault) => fault.split(':', 2).join(':'))).toEqual([
      'JSP_BROKER_HOSTS: there is no such variable; the nearest is JSP_BROKER_HOST',
      'jsp.toml:2',
      'jsp.toml:4',
      'jsp.toml:5',
    ]);
  });

  test('is found in a table that lacks something, or is no table', () => {
    expect(faults('[[log]]\nfilters = ["a"]\n')).toEqual([
      'jsp.toml:1: [[log]]: name is missing; as in name = "orders"',
    ]);
    expect(faults('queues = 3\n')).toEqual(['jsp.toml:1: [queues]: must be a table']);
    expect(faults('[[queues]]\nstall = "1s"\n')).toEqual([
      'jsp.toml:1: [queues]: must be a table: write [queues], with one bracket',
    ]);
  });

  test('is found in a variable, and in an option of the command line', () => {
    expect(faults('', { JSP_BROKER_QUEUES_STALL: '30' })).toEqual([
      'JSP_BROKER_QUEUES_STALL: must be a time with its unit, such as "500ms", "30s", "5m", "2h" or "7d", not "30"',
    ]);
    const flags = new Map([['queues.stal', { written: '--set queues.stal', value: '1s', isText: true }]]);
    expect(faultsOf(() => loadConfig({ flags }))).toEqual([
      '--set queues.stal: there is no such setting; the nearest is queues.stall',
    ]);
  });

  test('of the syntax is told with its line', () => {
    expect(faults('[broker]\nport = \n')).toEqual([
      'jsp.toml:2: this is no TOML: unspecified values are invalid',
    ]);
    expect(faults('[broker]\nport = 1\nport = 2\n')).toEqual([
      expect.stringMatching(/^jsp\.toml:3: this is no TOML: /),
    ]);
  });

  test('of several settings together is told with the line of their table', () => {
    expect(faultsOf(() => brokerOptionsOf(load('\n[[log]]\nname = "a"\n')))).toEqual([
      'jsp.toml:2: [[log]]: log "a" must have filters: without them it stores nothing',
    ]);
    const rule = '[auth]\n[auth.roles.r]\n[[auth.roles.r.rules]]\ntopics = ["#"]\n';
    expect(faultsOf(() => brokerOptionsOf(load(rule)))).toEqual([
      'jsp.toml:3: [auth]: auth.roles.r.rules[0] must have either allow or deny',
    ]);
    expect(
      faultsOf(() => brokerOptionsOf(load('[auth]\nkeys_file = "k"\n[[auth.key]]\nid = "a"\nhash = "x"\n'))),
    ).toEqual(['jsp.toml:1: [auth]: must have either keys_file or [[auth.key]]']);
  });

  test('of workers behind a front names both where they are written, and the way on [BRK-137]', () => {
    const wayOn =
      'run a server for each core, each at a port of its own, and name them all to the front, which spreads clients over them';
    const front = '[front]\nsecret_file = "f"\n';
    const flag = (written: string, value: string | number): Flag => ({ written, value, isText: false });
    const flags = new Map([
      ['broker.workers', flag('--workers', 2)],
      ['front.secret_file', flag('--front-secret', 'f')],
    ]);
    expect(faultsOf(() => brokerOptionsOf(load('', {}, flags)))).toEqual([
      `--front-secret: [front] secret_file: cannot be given beside workers (--workers), whose threads it does not reach: ${wayOn}`,
    ]);
    expect(faultsOf(() => brokerOptionsOf(load(`${front}[broker]\nworkers = "auto"\n`)))).toEqual([
      `jsp.toml:2: [front] secret_file: cannot be given beside workers (${FILE}:4), whose threads it does not reach: ${wayOn}`,
    ]);
    expect(faultsOf(() => brokerOptionsOf(load(`${front}[broker]\nworkers = 0\n`)))[0]).toContain(
      'cannot be read',
    );
  });

  test('of a cluster tells what means nothing without the engine, and of what has no effect with it', () => {
    expect(faultsOf(() => brokerOptionsOf(load('[backplane]\ncluster = "c"\n')))).toEqual([
      'jsp.toml:2: [backplane] cluster: means nothing to a broker that is alone: add kind = "nats", or --backplane nats://HOST:PORT',
    ]);
    expect(brokerOptionsOf(load('[backplane]\nkind = "none"\ncluster = "c"\n')).backplane?.kind).toBe('none');
    expect(faultsOf(() => brokerOptionsOf(load('[backplane]\nkind = "nats"\nurls = ["here:1"]\n')))).toEqual([
      'jsp.toml:2: [backplane]: urls must be a list of 1 to 16 URLs such as nats://127.0.0.1:4222, not ["here:1"]',
    ]);
    const stored = '[store]\ndirectory = "/d"\n';
    expect(notesOf(load(stored))).toEqual([]);
    expect(notesOf(load(`${stored}[backplane]\nkind = "nats"\n`))).toEqual([
      `${FILE}:2: [store] directory has no effect: with a backplane all is kept in its streams, and what is in /d stays unread`,
    ]);
  });

  test('of what only the files show that a configuration names is told with the line that leads there', async () => {
    const faultsOfOpening = async (text: string) => {
      const config = load(text);
      const opened = Authenticator.open(brokerOptionsOf(config).auth ?? {});
      const error = await opened.then(
        (authenticator) => authenticator.close(),
        (fault: unknown) => authFault(fault, config),
      );
      return faultsOf(() => {
        throw error;
      });
    };
    expect(await faultsOfOpening('[auth]\nkeys_file = "none.toml"\n')).toEqual([
      expect.stringMatching(/^jsp\.toml:2: \[auth\]: \S+none\.toml cannot be read: ENOENT/),
    ]);
    const key = `[[auth.key]]\nid = "a"\nhash = "${HASH}"\n[[auth.key]]\nid = "b"\nhash = "${HASH}"\nroles = ["none"]\n`;
    expect(await faultsOfOpening(key)).toEqual([
      expect.stringMatching(/^jsp\.toml:4: \[auth\]: the key b: there is no role "none"/),
    ]);
    const issuer = '[auth.jwt]\nissuer = "x"\naudience = "b"\nalgorithms = ["ES256"]\njwks = "none.json"\n';
    expect(await faultsOfOpening(issuer)).toEqual([
      expect.stringMatching(/^jsp\.toml:5: \[auth\]: auth\.jwt\[0\]\.jwks: \S+none\.json/),
    ]);
  });

  test('is that a file cannot be read, is none, or is no text', () => {
    const missing = join(folder, 'missing.toml');
    expect(faultsOf(() => loadConfig({ file: missing }))).toEqual([
      expect.stringContaining(`${missing}: cannot be read: ENOENT`),
    ]);
    expect(faultsOf(() => loadConfig({ file: folder }))).toEqual([expect.stringContaining('EISDIR')]);
    writeFileSync(FILE, Uint8Array.of(0x61, 0xff));
    expect(faultsOf(() => loadConfig({ file: FILE }))).toEqual([expect.stringContaining('not UTF-8')]);
  });

  test('is all that any text can come to', () => {
    const word = fc.constantFrom(
      '[',
      ']',
      '[[',
      ']]',
      'log',
      'auth',
      'queues',
      'broker',
      '__proto__',
      'constructor',
      'key',
      'rules',
      'port',
      'stall',
      '=',
      '"a"',
      '1',
      '{',
      '}',
      ',',
      '.',
      '\n',
      '\n',
      ' ',
      'true',
      '1979-05-27',
      '🙂',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(word, { maxLength: 30 }).map((words) => words.join('')),
        ),
        (text) => {
          faults(text);
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('a printed configuration [CFG-4]', () => {
  test('has every setting with its reason, its default and where it was written', () => {
    const text = printConfig(load('[queues]\nmax_messages = 3\n'));
    for (const { place, setting } of placedSettings(SETTINGS)) {
      if (!place.startsWith('auth.'))
        expect(text).toMatch(new RegExp(`^(# )?${place.split('.').at(-1)} = `, 'm'));
      expect(setting.reason).toMatch(/^[A-Z"].*\.$/);
    }
    const comments = text.split('\n').filter((line) => line.startsWith('# '));
    expect(comments.filter((line) => line.length > 95).length).toBeGreaterThan(comments.length / 5); // lines are filled
    const prose = text.replaceAll('\n# ', ' ');
    expect(prose).toContain(`(default 16384; this is of ${FILE}:2; can be reloaded)\nmax_messages = 3`);
    expect(prose).toContain('UDP port; 0 lets the system choose. (default 4577)\nport = 4577');
    const machine = printedSettings(load('[queues]\nmax_messages = 3\n'));
    expect(machine.find(({ place }) => place === 'queues.max_messages')).toMatchObject({
      value: 3,
      fallback: 16_384,
      origin: `${FILE}:2`,
    });
  });

  test('says the same when it is read, whatever was set', () => {
    fc.assert(
      fc.property(someConfig(), (text) => {
        const first = load(text);
        const again = load(printConfig(first));
        expect(again.values).toEqual(first.values);
        expect(brokerOptionsOf(again).logs).toEqual(brokerOptionsOf(first).logs);
      }),
      { numRuns: 60 },
    );
  });
});

describe('what BlipMQ calls otherwise [CFG-7]', () => {
  test('is understood in its [queues] and [delivery] tables, and what has nothing to set here is told', () => {
    const { values, notes } = load(
      '[queues]\ntopic_capacity = 100000\nsubscriber_capacity = 10000\n\n[delivery]\nmax_batch = 1024\nfanout_shards = 32\n',
    );
    expect(values.queues.max_messages).toBe(10_000);
    expect(notes.map((note) => note.replace(`${FILE}:`, '').split(':').slice(0, 2).join(':'))).toEqual([
      '2: [queues] topic_capacity of BlipMQ has no effect',
      '6: [delivery] max_batch of BlipMQ has no effect',
      '7: [delivery] fanout_shards of BlipMQ has no effect',
    ]);
  });

  test('is checked as the setting that it is, gives way to the environment, and contradicts nothing', () => {
    expect(faults('[queues]\nsubscriber_capacity = 0\n')).toEqual([
      'jsp.toml:2: [queues] subscriber_capacity: must be a whole number from 1 to 4294967295, not 0',
    ]);
    const { values, origins } = load('[queues]\nsubscriber_capacity = 7\n', {
      JSP_BROKER_QUEUES_MAX_MESSAGES: '8',
    });
    expect(values.queues.max_messages).toBe(8);
    expect(origins.get('queues.max_messages')).toBe('JSP_BROKER_QUEUES_MAX_MESSAGES');
    expect(faults('[queues]\nsubscriber_capacity = 7\nmax_messages = 9\n')).toEqual([
      "jsp.toml:2: [queues] subscriber_capacity: is BlipMQ's name of max_messages, which is there as well",
    ]);
    expect(faults('[server]\nbind_addr = "x"\n[wal]\n')).toEqual([
      expect.stringContaining("jsp.toml:1: [server]: there is no such table; BlipMQ's is [broker] here"),
      expect.stringContaining("jsp.toml:3: [wal]: there is no such table; BlipMQ's is [store] here"),
    ]);
  });
});

/** Text of a configuration in which some settings are set. */
function someConfig(): fc.Arbitrary<string> {
  const fixed = [...placedSettings(SETTINGS)].filter(({ place }) => !place.startsWith('auth.'));
  const values: Record<string, fc.Arbitrary<string>> = {
    'broker.host': fc.string().map((text) => JSON.stringify(text)),
    'queues.stall': fc.integer({ min: 0, max: 10 ** 9 }).map((ms) => `"${ms}ms"`),
    'queues.max_bytes': fc.integer({ min: 1, max: 2 ** 32 - 1 }).map(String),
    'broker.port': fc.integer({ min: 0, max: 65_535 }).map(String),
    'store.directory': fc.constant('"a \\"b\\\\\\u007f"'),
    'limits.max_memory_bytes': fc.integer({ min: 2 ** 20, max: 2 ** 40 }).map(String),
    'broker.profile': fc.constantFrom('"gaming"', '"iot"'),
  };
  for (const place of Object.keys(values)) expect(fixed.some((each) => each.place === place)).toBe(true);
  const written = fc.record(values, { requiredKeys: [] }).map((chosen) => {
    const tables = new Map<string, string[]>();
    for (const [place, value] of Object.entries(chosen)) {
      const [table, key] = place.split('.');
      tables.set(table, [...(tables.get(table) ?? []), `${key} = ${value}`]);
    }
    return [...tables].map(([table, lines]) => `[${table}]\n${lines.join('\n')}\n`).join('');
  });
  const logs = fc
    .uniqueArray(fc.integer({ min: 0, max: 9 }), { maxLength: 3 })
    .map((numbers) =>
      numbers
        .map(
          (n) =>
            `[[log]]\nname = "l${n}"\nfilters = ["${n}/#", "+/${n}"]\n${n % 2 === 0 ? 'max_age = "90m"\n' : ''}`,
        )
        .join(''),
    );
  const auth = fc.constantFrom(
    '',
    '[auth]\n',
    '[auth]\nrevoked = ["x"]\n[auth.limits]\nbytes_per_second = 1000\n[auth.anonymous]\nrules = [{ allow = "*", topics = ["a"] }]\n',
    `[[auth.key]]\nid = "a"\nhash = "${HASH}"\nexpires = 2027-01-31T00:00:00Z\n[[auth.key]]\nid = "b"\nhash = "${HASH}"\nrules = [{ deny = ["admin"] }, { allow = ["share"], topics = ["x"] }]\n[auth.roles."odd name".limits]\nconnections = 3\n[auth.roles.r]\n`,
  );
  return fc.tuple(written, logs, auth).map((parts) => parts.join(''));
}

const HASH = `sha256:${'0'.repeat(64)}`;
const URL_A = `jsp://${'A'.repeat(43)}@a.example.org:4577`;
