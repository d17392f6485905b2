import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { startBroker } from '../../src/broker/index.ts';
import { addAuthCommand } from '../../src/cli/auth.ts';
import { credentialsOf } from '../../src/cli/credentials.ts';
import { addKeygenCommand } from '../../src/cli/keygen.ts';
import { type Credentials, connectClient } from '../../src/client/index.ts';
import { generateIdentity, Identity } from '../../src/index.ts';
import { emptyFolder } from '../empty-folder.ts';
import { jsp } from './jsp.ts';

afterEach(() => {
  process.exitCode = undefined;
});

/** A command in this process: another one for each would be most of the time that it takes. */
async function run(...args: string[]): Promise<{ out: string; err: string; code: number }> {
  const said = { out: '', err: '' };
  const hear = (stream: 'out' | 'err') => (text: unknown) => {
    said[stream] += String(text);
    return true;
  };
  const [stdout, stderr] = [
    vi.spyOn(process.stdout, 'write').mockImplementation(hear('out')),
    vi.spyOn(process.stderr, 'write').mockImplementation(hear('err')),
  ];
  const program = new Command('jsp').exitOverride().configureOutput({ writeErr: hear('err') });
  addAuthCommand(program);
  addKeygenCommand(program);
  try {
    await program.parseAsync(args, { from: 'user' });
    return { ...said, code: Number(process.exitCode ?? 0) };
  } finally {
    process.exitCode = undefined;
    stdout.mockRestore();
    stderr.mockRestore();
  }
}

const ISSUER = ['--issuer', 'https://issuer.example', '--audience', 'broker'];

describe('jsp auth', () => {
  test('takes a fingerprint that begins with a dash, as one of 64 does, before options and after them', async () => {
    const file = ['--file', join(emptyFolder(), 'auth.toml')];
    const names = [
      '-pAIV1lKuN8Z6bHSkd0Eq3XT5o9mFcJgW2rYhLxQvM8',
      '--file1KuN8Z6bHSkd0Eq3XT5o9mFcJgW2rYhLxQvMg',
    ];
    await run('auth', 'identity', 'add', names[0], '--name', 'one', ...file);
    await run('auth', 'identity', 'add', '--name', 'two', ...file, names[1]);
    const listed = async () =>
      JSON.parse((await run('auth', 'identity', 'list', ...file, '--json')).out).identities;
    expect(await listed()).toMatchObject(names.map((fingerprint) => ({ fingerprint })));
    for (const name of names) await run('auth', 'identity', 'revoke', name, ...file);
    expect(await listed()).toEqual([]);
    const misspelt = run('auth', 'identity', 'add', names[0], '--nmae', 'one', ...file);
    await expect(misspelt).rejects.toMatchObject({ code: 'commander.unknownOption' });
  });

  test('makes keys, key pairs and tokens that a broker takes, and commands use', async () => {
    const folder = emptyFolder();
    const at = (name: string) => join(folder, name);
    const file = at('auth.toml');
    const rule = '*:own/#';
    const key = await run(
      'auth',
      'key',
      'new',
      '--name',
      'shop',
      '--allow',
      rule,
      '--expires',
      '30d',
      '--file',
      file,
    );
    expect(key.out).toMatch(/^jspk_[a-z0-9]{10}_[\w-]{43}\n$/);
    expect(key.err).toMatch(/whoever has it is "shop"/);
    expect(readFileSync(file, 'utf8')).not.toContain(key.out.trim().slice(-43));
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const made = await run('keygen', '--client', '--out', at('robot.key'), '--json');
    const { fingerprint, thumbprint } = JSON.parse(made.out) as { fingerprint: string; thumbprint: string };
    await run('auth', 'identity', 'add', fingerprint, '--name', 'robot', '--allow', rule, '--file', file);
    const issuer = await run('auth', 'issuer', at('issuer'));
    expect(issuer.out).toMatch(/algorithms = \["ES256"\]/);
    const signing = ['--private-key', at('issuer/private.jwk'), '--sub', 'bob', ...ISSUER];
    const { token, claims } = JSON.parse(
      (await run('auth', 'token', ...signing, '--identity', at('robot.key'), '--json')).out,
    );
    expect(claims).toMatchObject({ sub: 'bob', iss: 'https://issuer.example', cnf: { jkt: thumbprint } });
    writeFileSync(at('bob.jwt'), token, { mode: 0o600 });

    const jwt = {
      issuer: 'https://issuer.example',
      audience: 'broker',
      algorithms: ['ES256'],
      jwks: at('issuer/jwks.json'),
    };
    const auth = {
      keys: { file },
      identities: { file },
      jwt: { ...jwt, rules: [{ allow: '*' as const, topics: ['own/#'] }] },
    };
    await using broker = await startBroker({ identity: generateIdentity(), port: 0, auth });
    const pub = ['pub', 'own/topic', 'hello', '--qos', '1', '--no-reconnect', '--url', broker.url];
    const runs = await Promise.all([
      jsp(pub, { env: { JSP_API_KEY: key.out.trim() } }),
      jsp([...pub, '--identity', at('robot.key')]),
      jsp([...pub, '--identity', at('robot.key'), '--token-file', at('bob.jwt')]),
      jsp([...pub, '--token-file', at('bob.jwt')]),
    ]);
    const quiet = await jsp([
      'pub',
      'other/topic',
      'hello',
      '--url',
      broker.url,
      '--identity',
      at('robot.key'),
    ]);
    expect([quiet.exitCode, quiet.err]).toEqual([
      1,
      expect.stringMatching(/may not publish to other\/topic.*\n.*ERR_JSP_NOT_AUTHORIZED/),
    ]);
    expect(runs.map(({ exitCode, err }) => [exitCode, /ERR_\w+/.exec(err)?.[0]])).toEqual([
      [0, undefined],
      [0, undefined],
      [0, undefined],
      [1, 'ERR_JSP_NOT_AUTHORIZED'],
    ]);
    const ops = await run(
      'auth',
      'key',
      'new',
      '--name',
      'ops',
      '--allow',
      'admin',
      '--file',
      file,
      '--out',
      at('ops.key'),
    );
    expect(ops.out).toBe('');
    await broker.reload({ auth });
    const asked = ['auth', 'audit', '--url', broker.url, '--api-key-file'];
    const { out } = await run(...asked, at('ops.key'), '--what', 'refused');
    expect(out).toMatch(/^20\d\d-\S+ {2}refused +- {2}127\.0\.0\.1 native {2}The token is bound to a key/m);
    writeFileSync(at('shop.key'), key.out, { mode: 0o600 });
    await expect(run(...asked, at('shop.key'))).rejects.toMatchObject({ code: 'ERR_JSP_NOT_ALLOWED' });
    await expect(
      connectClient(broker.url, { reconnect: false, credentials: { apiKey: 'jspk_x_y' } }),
    ).rejects.toMatchObject({
      code: 'ERR_JSP_NOT_AUTHORIZED',
    });
  });

  test('a broker with a list of keys lets in who has one of them, and tells the others [HS-46] [AUT-13]', async () => {
    const folder = emptyFolder();
    const at = (name: string) => join(folder, name);
    await run('keygen', '--client', '--hybrid', '--out', at('listed.key'));
    const listed = Identity.fromSecret(readFileSync(at('listed.key'), 'utf8').trim()).fingerprintText;
    writeFileSync(at('authorized_keys'), `# those in the yard\n${listed} robot 8\n`);
    await using broker = await startBroker({
      identity: generateIdentity(),
      port: 0,
      authorizedKeys: { file: at('authorized_keys') },
      auth: { identities: [{ fingerprint: listed, rules: [{ allow: ['publish'], topics: ['#'] }] }] },
    });
    const refused = new Promise((resolve) =>
      broker.on('event', (event) => event.what === 'notLetIn' && resolve(event)),
    );
    const pub = ['pub', 'yard', 'hello', '--url', broker.url];
    const [mine, nobodys, nowhere] = await Promise.all([
      jsp([...pub, '--identity', at('listed.key')]),
      jsp(pub),
      jsp(['broker', '--port', '0', '--authorized-keys', at('nowhere')]),
    ]);
    expect(mine).toMatchObject({ exitCode: 0, err: '' });
    expect(nobodys.exitCode).toBe(1);
    expect(nobodys.err).toMatch(/list of keys.*\(ERR_JSP_NOT_AUTHORIZED\)/s);
    expect(await refused).toMatchObject({ address: '127.0.0.1', detail: 'list' });
    expect(nowhere.exitCode).toBe(1);
    expect(nowhere.err).toMatch(/authorizedKeys cannot be read.*nowhere/);
  });

  test('lists what a file has, and takes out what is revoked', async () => {
    const file = join(emptyFolder(), 'auth.toml');
    for (const id of ['k1', 'k2'])
      await run('auth', 'key', 'new', '--id', id, '--name', `of ${id}`, '--role', 'r', '--file', file);
    const { out } = await run('auth', 'key', 'list', '--file', file);
    expect(out.split('\n').map((line) => line.trim().split(/\s+/))).toEqual([
      ['id', 'name', 'roles', 'rules', 'expires'],
      ['k1', 'of', 'k1', 'r', '0', 'never'],
      ['k2', 'of', 'k2', 'r', '0', 'never'],
      [''],
    ]);
    expect((await run('auth', 'key', 'revoke', 'of k1', '--file', file)).err).toMatch(
      /k1 is not in .* any more.\n.*SIGHUP/,
    );
    expect(JSON.parse((await run('auth', 'key', 'list', '--file', file, '--json')).out)).toMatchObject({
      keys: [{ id: 'k2' }],
    });
    await expect(run('auth', 'key', 'revoke', 'k1', '--file', file)).rejects.toMatchObject({
      code: 'ERR_JSP_USAGE',
    });
    await expect(run('auth', 'key', 'new', '--allow', 'read:x', '--file', file)).rejects.toThrow(
      /must be some of publish/,
    );
    await expect(run('auth', 'key', 'new', '--expires', '2001-01-01', '--file', file)).rejects.toThrow(
      /must be to come/,
    );
  });

  test('shows names and roles without what would act on a terminal', async () => {
    const file = join(emptyFolder(), 'auth.toml');
    const made = await run('auth', 'key', 'new', '--name', 'a\u202eb', '--role', 'r\x1b[31m', '--file', file);
    const { out } = await run('auth', 'key', 'list', '--file', file);
    for (const text of [made.err, out])
      expect(/\p{Bidi_Control}|\p{Cc}/u.exec(text.replaceAll('\n', ''))).toBeNull();
    expect(out).toContain('a\\u202eb');
  });

  test.skipIf(process.platform === 'win32')('leaves what is no file as it is', async () => {
    const path = join(emptyFolder(), 'pipe');
    execFileSync('mkfifo', [path]);
    for (const command of [['new'], ['revoke', 'k1']]) {
      const { exitCode, err } = await jsp(['auth', 'key', ...command, '--file', path]);
      expect([exitCode, err]).toEqual([1, expect.stringMatching(/is no file.*ERR_JSP_OPTION_INVALID/)]);
    }
    expect(statSync(path).isFIFO()).toBe(true);
  });

  test('leaves no key behind that the file does not have', async () => {
    const folder = emptyFolder();
    const [file, out] = [join(folder, 'auth.toml'), join(folder, 'k1.key')];
    await run('auth', 'key', 'new', '--id', 'k1', '--file', file);
    await expect(run('auth', 'key', 'new', '--id', 'k1', '--out', out, '--file', file)).rejects.toThrow(
      /already/,
    );
    expect(existsSync(out)).toBe(false);
  });

  test('signs with all bytes of a secret, as the broker verifies, and with none that is too short', async () => {
    const folder = emptyFolder();
    const [binary, short] = [join(folder, 'binary'), join(folder, 'short')];
    writeFileSync(binary, Buffer.from([...Array(40).keys()].map((i) => 0xff - i)), { mode: 0o600 });
    writeFileSync(short, 'secret\n', { mode: 0o600 });
    const token = ['auth', 'token', '--sub', 'till', ...ISSUER, '--secret-file'];
    const [issuer, audience] = ['https://issuer.example', 'broker'];
    const jwt = { issuer, audience, algorithms: ['HS256'], secretFile: binary };
    const auth = { jwt: { ...jwt, rules: [{ allow: '*' as const, topics: ['#'] }] } };
    await using broker = await startBroker({ identity: generateIdentity(), port: 0, auth });
    const credentials = { jwt: (await run(...token, binary)).out.trim() };
    chmodSync(binary, 0o644);
    expect((await run(...token, binary)).err).toContain('everybody on this machine can read it'); // [CFG-10]
    await using client = await connectClient(broker.url, { reconnect: false, credentials });
    expect(await client.publish('t', 'x', { qos: 1 })).toMatchObject({ duplicate: false });
    await expect(run(...token, short)).rejects.toThrow(
      /--secret-file.*has 6 bytes; a secret has at least 32/,
    );
  });

  test('explains what decides, with the line where it is written [AUT-15]', async () => {
    const folder = emptyFolder();
    const config = join(folder, 'jsp.toml');
    writeFileSync(
      config,
      `[auth]
keys_file = "auth.toml"
[auth.roles.sensor]
rules = [
  { allow = ["publish"], topics = ["sensors/\${client}/#"] },
  { allow = ["subscribe"], topics = ["rooms/\${claim.room}"] },
]
[[auth.jwt]]
issuer = "https://issuer.example"
audience = "broker"
algorithms = ["ES256"]
jwks = "jwks.json"
`,
    );
    await run(
      'auth',
      'key',
      'new',
      '--id',
      'k1',
      '--name',
      's1',
      '--role',
      'sensor',
      '--file',
      join(folder, 'auth.toml'),
    );
    await run('auth', 'issuer', folder);
    const explain = (...args: string[]) => run('auth', 'explain', '--config', config, ...args);
    expect(await explain('--client', 's1', '--publish', 'sensors/s1/t')).toMatchObject({
      code: 0,
      out: `"s1", known by its API key k1\nallowed  publish sensors/s1/t\n         ${config}:5, role "sensor": allow publish on sensors/s1/#\n`,
    });
    const denied = await explain('--client', 's1', '--publish', 'sensors/s2/t');
    expect([denied.code, denied.out]).toEqual([
      3,
      expect.stringMatching(/no rule allows it\n.*beside it: .*sensors\/s1\/#/),
    ]);
    const token = await explain(
      '--client',
      'bob',
      '--role',
      'sensor',
      '--claim',
      'room=7',
      '--subscribe',
      'rooms/7',
      '--json',
    );
    expect(JSON.parse(token.out)).toMatchObject({
      kind: 'jwt',
      name: 'bob',
      allowed: true,
      answers: [{ verdict: 'allowed', by: { filter: 'rooms/7', at: `${config}:6` } }],
    });
    // A name with a role or a claim is that of a token, also where a key has it, too.
    for (const more of [
      ['--role', 'sensor'],
      ['--claim', 'room=7'],
    ]) {
      const other = await explain('--client', 's1', ...more, '--admin', '--json');
      expect(JSON.parse(other.out)).toMatchObject({ kind: 'jwt', name: 's1', allowed: false });
    }
    await expect(explain('--anonymous', '--admin')).rejects.toThrow(/who says nothing is refused/);
    await expect(explain('--client', 's1')).rejects.toThrow(/say what it wants to do/);
    await expect(explain('--client', 's1', '--anonymous', '--admin')).rejects.toThrow(
      /say who it is by one of/,
    );
  });
});

describe('who a command is', () => {
  const folder = () => {
    const path = emptyFolder();
    const at = (name: string, text: string, mode = 0o600) => {
      writeFileSync(join(path, name), text, { mode });
      return join(path, name);
    };
    return at;
  };

  test('is what its options say, else what the environment does, and is read again each time', async () => {
    const at = folder();
    const identity = generateIdentity();
    const [key, token, secret] = [
      at('key', 'jspk_a_b\n'),
      at('token', 'a.b.c\n'),
      at('id', identity.exportSecret()),
    ];
    const given = async (options: object, environment = {}): Promise<Credentials | null | undefined> => {
      const source = credentialsOf(options, environment);
      return typeof source === 'function' ? await source(new AbortController().signal) : source;
    };
    expect(await given({})).toBeUndefined();
    expect(await given({ apiKeyFile: key }, { JSP_TOKEN: 'x' })).toEqual({ apiKey: 'jspk_a_b' });
    expect(await given({}, { JSP_TOKEN: 'x', JSP_IDENTITY: secret })).toMatchObject({
      jwt: 'x',
      identity: { fingerprintText: identity.fingerprintText },
    });
    expect(await given({ identity: secret })).toMatchObject({
      identity: { fingerprintText: identity.fingerprintText },
    });
    const source = credentialsOf({ tokenFile: token });
    writeFileSync(token, 'd.e.f');
    expect(typeof source === 'function' ? await source(new AbortController().signal) : null).toMatchObject({
      jwt: 'd.e.f',
    });
  });

  test('cannot be two at once, nor what is not there', () => {
    const at = folder();
    const key = at('key', 'jspk_a_b');
    expect(() => credentialsOf({ apiKeyFile: key, tokenFile: key })).toThrow(
      expect.objectContaining({ code: 'ERR_JSP_USAGE' }),
    );
    expect(() => credentialsOf({}, { JSP_API_KEY: 'x', JSP_TOKEN: 'y' })).toThrow(
      expect.objectContaining({ code: 'ERR_JSP_USAGE' }),
    );
    expect(() => credentialsOf({ apiKeyFile: `${key}.not` })).toThrow(
      /--api-key-file .* cannot be read: ENOENT/,
    );
    expect(() => credentialsOf({ identity: key })).toThrow(
      /--identity .*an identity's secret is 47 characters/,
    );
  });

  test('is warned about where others can read it', () => {
    const warned = vi.spyOn(process.stderr, 'write').mockImplementation(() => true);
    const path = folder()('key', 'jspk_a_b', 0o644);
    credentialsOf({ apiKeyFile: path });
    credentialsOf({ apiKeyFile: path });
    expect(warned.mock.calls.map(([text]) => String(text))).toEqual([
      expect.stringMatching(/can be read by others.*chmod 600/),
    ]);
    warned.mockRestore();
  });
});
