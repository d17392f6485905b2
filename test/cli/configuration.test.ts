import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { makeApiKey } from '../../src/broker/auth/api-key.ts';
import { type BrokerClient, connectClient } from '../../src/client/index.ts';
import { emptyFolder } from '../empty-folder.ts';
import { CERTIFICATES } from './certificates.ts';
import { Jsp, jsp } from './jsp.ts';

/** A broker with this configuration, and what it writes as JSON lines. */
async function start(text: string, env: Record<string, string> = {}, ...args: string[]) {
  const folder = emptyFolder();
  const file = join(folder, 'jsp.toml');
  writeFileSync(file, text);
  const broker = new Jsp(['broker', '--config', file, '--port', '0', '--log-format', 'json', ...args], {
    cwd: folder,
    env,
  });
  await broker.until(({ err }) => err.includes('"listening"'));
  const url = broker.out.split('\n')[0];
  return { broker, url, file, folder, events: () => eventsOf(broker) };
}

type LogLine = { event: string; msg: string; level: string; changed?: string[]; url?: string };

function eventsOf({ err }: Jsp): LogLine[] {
  return err
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as LogLine);
}

/** SIGHUP, and what the broker says to it. */
async function reload(broker: Jsp): Promise<LogLine[]> {
  const seen = () => eventsOf(broker).filter(({ event }) => event === 'reload' || event === 'reloadFailed');
  const before = seen().length;
  broker.process.kill('SIGHUP');
  await broker.until(() => seen().length > before);
  return seen().slice(before);
}

async function connected(url: string): Promise<BrokerClient> {
  const client = await connectClient(url);
  onTestFinished(() => client.destroy());
  return client;
}

/** The name in the certificate that a new connection sees. */
function certificateOf(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(url);
    const socket = connectTls({ host: hostname, port: Number(port), rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().subject.CN as string);
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

/** A request on a connection that stays open, and the name in the certificate of that. */
function requestOn(agent: Agent, url: string): Promise<[number | undefined, string]> {
  return new Promise((resolve, reject) => {
    const asked = request(`${url}/healthz`, { agent }, (response) => {
      const { subject } = (response.socket as ReturnType<typeof connectTls>).getPeerCertificate();
      response.resume().on('end', () => resolve([response.statusCode, subject.CN as string]));
    });
    asked.on('error', reject).end();
  });
}

function writePair(folder: string, name: 'one' | 'two', keyOf = name, pair = 'tls'): void {
  mkdirSync(join(folder, pair), { recursive: true });
  writeFileSync(join(folder, pair, 'cert.pem'), CERTIFICATES[name].cert);
  writeFileSync(join(folder, pair, 'key.pem'), CERTIFICATES[keyOf].key);
}

const HTTPS = '[http]\nlisten = "127.0.0.1:0"\ntls_cert = "tls/cert.pem"\ntls_key = "tls/key.pem"\n';
const KEYS = { old: makeApiKey('old'), renewed: makeApiKey('renewed') };

/** Whoever has this key may do everything. */
function authFor(key: keyof typeof KEYS): string {
  return `[[auth.key]]\nid = "${key}"\nhash = "${KEYS[key].hash}"\nrules = [{ allow = "*", topics = ["#"] }]\n`;
}

/** Whether the broker takes this key now. */
async function takes(url: string, key: keyof typeof KEYS): Promise<boolean> {
  try {
    (await connectClient(url, { credentials: { apiKey: KEYS[key].text } })).destroy();
    return true;
  } catch (error) {
    expect(error).toMatchObject({ code: 'ERR_JSP_NOT_AUTHORIZED' });
    return false;
  }
}

describe('jsp broker that gets a SIGHUP [CFG-5]', () => {
  test('tells, as it did at its start, of a secret that everybody on the machine can read, for as long as that is so [CFG-10]', async () => {
    const folder = emptyFolder();
    writePair(folder, 'one');
    const key = join(folder, 'tls', 'key.pem');
    chmodSync(key, 0o644);
    const { broker, events } = await start(HTTPS.replaceAll('tls/', `${folder}/tls/`));
    const exposed = () => events().filter(({ event }) => event === 'exposed');
    const line = expect.objectContaining({
      ...{ event: 'exposed', level: 'warn', file: key },
      msg: expect.stringContaining(`everybody on this machine can read it: chmod o= ${key}`),
    });
    expect(exposed()).toEqual([line]);
    chmodSync(key, 0o640);
    await reload(broker);
    expect(exposed()).toEqual([line]);
    chmodSync(key, 0o644);
    await reload(broker);
    expect(exposed()).toEqual([line, line]);
  });

  test('goes by what its configuration says then, and by nothing of one that is wrong', async () => {
    const folder = emptyFolder();
    writePair(folder, 'one');
    const tls = HTTPS.replaceAll('tls/', `${folder}/tls/`);
    const { broker, url, file, events } = await start(`${tls}${authFor('old')}[limits]\nmax_sessions = 9\n`);
    const https = events().find(({ event }) => event === 'http')?.url as string;
    const agent = new Agent({ keepAlive: true, maxSockets: 1, rejectUnauthorized: false });
    onTestFinished(() => agent.destroy());
    expect(await requestOn(agent, https)).toEqual([200, 'one']);
    const isUnchanged = async () =>
      (await certificateOf(https)) === 'one' && (await takes(url, 'old')) && !(await takes(url, 'renewed'));
    expect(await isUnchanged()).toBe(true);
    const withOldKey = await connectClient(url, { credentials: { apiKey: KEYS.old.text } });

    // A line that cannot be read: the old configuration stays whole.
    writeFileSync(file, `${tls}${authFor('renewed')}[limits]\nmax_sesions = 8\n`);
    expect(await reload(broker)).toEqual([
      expect.objectContaining({
        event: 'reloadFailed',
        level: 'error',
        msg: `not reloaded, and all is as it was: ${file}:10: [limits] max_sesions: there is no such key; the nearest is max_sessions`,
      }),
    ]);
    // Nor is half of one taken whose certificate and key do not belong together.
    writeFileSync(file, `${tls}${authFor('renewed')}`);
    writePair(folder, 'two', 'one');
    expect(await reload(broker)).toEqual([
      expect.objectContaining({ event: 'reloadFailed', msg: expect.stringContaining('cert') }),
    ]);
    expect(await isUnchanged()).toBe(true);
    // Nor what would take effect at a start alone, nor one that lets everybody in.
    writePair(folder, 'two');
    writeFileSync(file, `${tls}${authFor('renewed')}[store]\ndirectory = "s"\n`);
    expect((await reload(broker)).map(({ msg }) => msg)).toEqual([
      `not reloaded, and all is as it was: ${file}:10: [store] directory: has changed, which takes effect when the broker is started anew`,
    ]);
    writeFileSync(file, tls);
    expect((await reload(broker)).map(({ msg }) => msg)).toEqual([
      'not reloaded, and all is as it was: [auth]: has changed, which takes effect when the broker is started anew',
    ]);
    expect(await isUnchanged()).toBe(true);

    // One that is right.
    writeFileSync(file, `${tls}${authFor('renewed')}[limits]\nmax_sessions = 8\n[logging]\nlevel = "warn"\n`);
    const [told] = await reload(broker);
    expect(told.changed?.sort()).toEqual(['auth', 'limits.max_sessions', 'logging.level']);
    expect(await certificateOf(https)).toBe('two');
    expect(await requestOn(agent, https)).toEqual([200, 'one']); // a connection that was there stays
    expect(await withOldKey.closed).toMatchObject({ code: 'ERR_JSP_NOT_AUTHORIZED' }); // a key that is gone ends its connections
    expect(await takes(url, 'renewed')).toBe(true);
    expect(await takes(url, 'old')).toBe(false);

    expect(events().map(({ event }) => event)).toEqual(expect.arrayContaining(['refused']));

    broker.process.kill('SIGTERM');
    const { exitCode, err } = await broker.ended;
    expect(exitCode).toBe(0);
    expect(err).not.toContain('"draining"'); // it is told to write no such lines any more
  });

  test('takes renewed certificates for all of its doors, or for none', async () => {
    const folder = emptyFolder();
    writePair(folder, 'one');
    writePair(folder, 'one', 'one', 'mqtt');
    const mqttTls = `[mqtt]\ntls_listen = "127.0.0.1:0"\ntls_cert = "mqtt/cert.pem"\ntls_key = "mqtt/key.pem"\n`;
    const text = `${HTTPS}${mqttTls}`.replace(/"(tls|mqtt)\//g, `"${folder}/$1/`);
    const { broker, events } = await start(text);
    await broker.until(() => events().some(({ event }) => event === 'mqtt'));
    const urls = ['http', 'mqtt'].map((door) => events().find(({ event }) => event === door)?.url as string);
    const shown = async () => await Promise.all(urls.map(certificateOf));
    expect(await shown()).toEqual(['one', 'one']);

    writePair(folder, 'two');
    writePair(folder, 'two', 'one', 'mqtt'); // which do not belong together
    expect(await reload(broker)).toEqual([expect.objectContaining({ event: 'reloadFailed' })]);
    expect(await shown()).toEqual(['one', 'one']);

    writePair(folder, 'two', 'two', 'mqtt');
    expect(await reload(broker)).toEqual([expect.objectContaining({ event: 'reload' })]);
    expect(await shown()).toEqual(['two', 'two']);
    broker.process.kill('SIGTERM');
    expect((await broker.ended).exitCode).toBe(0);
  });
});

test('jsp gateway goes by the table [http], and takes a renewed certificate at a SIGHUP [CFG-5]', async () => {
  const folder = emptyFolder();
  const file = join(folder, 'jsp.toml');
  writePair(folder, 'one');
  chmodSync(join(folder, 'tls', 'key.pem'), 0o644);
  writeFileSync(file, `[broker]\nport = 1\n${HTTPS}`);
  chmodSync(file, 0o622);
  const nobody = `jsp://${'A'.repeat(43)}@127.0.0.1:1`;
  const gateway = new Jsp(['gateway', '--config', file, '--broker', nobody], { cwd: folder });
  await gateway.until(({ out }) => out.includes('\n'));
  const url = gateway.out.split('\n')[0];
  expect(await certificateOf(url)).toBe('one');
  await gateway.until(({ err }) => err.split('everybody on this machine can read it').length === 2); // [CFG-10]
  await gateway.until(({ err }) => err.includes(`${file} says who may come in`));
  writePair(folder, 'two', 'one');
  gateway.process.kill('SIGHUP');
  await gateway.until(({ err }) => err.includes('not reloaded, and all is as it was'));
  expect(await certificateOf(url)).toBe('one');
  writePair(folder, 'two');
  gateway.process.kill('SIGHUP');
  await gateway.until(({ err }) => err.includes('reloaded: the certificate'));
  await gateway.until(({ err }) => err.split('everybody on this machine can read it').length === 3);
  expect(await certificateOf(url)).toBe('two');
  gateway.process.kill('SIGTERM');
  expect((await gateway.ended).exitCode).toBe(0);
});

describe('jsp broker', () => {
  test('hands its clients over to another broker when it is stopped, and tells systemd how it is [CFG-6, CFG-9]', async () => {
    const other = await start('');
    const bin = emptyFolder();
    const told = join(bin, 'told');
    writeFileSync(join(bin, 'systemd-notify'), `#!/bin/sh\necho "$*" >> ${told}\n`);
    chmodSync(join(bin, 'systemd-notify'), 0o755);
    const env = { NOTIFY_SOCKET: join(bin, 'socket'), PATH: `${bin}:${process.env.PATH}` };
    const { broker, url } = await start('[broker]\ndrain = "300ms"\n', env, '--hand-over', other.url);
    const client = await connected(url);
    const subscription = await client.subscribe('t/#');
    const resumed = new Promise((resolve) => subscription.on('resumed', resolve));
    broker.process.kill('SIGTERM');
    expect((await broker.ended).exitCode).toBe(0);
    await resumed;
    (await connected(other.url)).publish('t/1', 'x');
    for await (const { topic } of subscription) {
      expect(topic).toBe('t/1');
      break;
    }
    const lines = readFileSync(told, 'utf8').split('\n');
    expect(lines[0]).toMatch(
      new RegExp(`^--pid=${broker.process.pid} --status=listens on 127\\.0\\.0\\.1, UDP port \\d+ READY=1$`),
    );
    expect(lines[1]).toMatch(/STOPPING=1$/);
  });

  test.each([
    ['set back by a day', -86_400_000, 0],
    ['set forward by a year', 31_536_000_000, 0],
    ['a minute on, because the machine has slept', 0, 60_000],
  ])('keeps its clients and their sessions when its clock is %s', async (_, wallMs, sleptMs) => {
    const preload = fileURLToPath(new URL('jumping-clock.cjs', import.meta.url));
    const env = { NODE_OPTIONS: `--require ${preload}`, JSP_TEST_JUMP: `${wallMs},${sleptMs}` };
    const { broker, url } = await start('', env);
    const client = await connectClient(url, { session: 'kept', heartbeatMs: 250, heartbeatMisses: 40 });
    onTestFinished(() => client.destroy());
    const away = await connectClient(url, { session: 'away', sessionExpiryMs: 3_600_000 });
    await away.subscribe('t', () => {}, { qos: 1, durable: 'd' });
    away.destroy();
    const subscription = await client.subscribe('t');
    broker.process.kill('SIGUSR2');
    await broker.until(({ err }) => err.includes('the clock has jumped'));
    await client.publish('t', 'x', { qos: 1, ttlMs: 3_600_000 });
    for await (const { topic } of subscription) {
      expect(topic).toBe('t');
      break;
    }
    const back = await connectClient(url, { session: 'away' });
    onTestFinished(() => back.destroy());
    const [first] = await new Promise<string[]>((resolve) => {
      void back.subscribe('t', (message) => resolve([message.topic]), { qos: 1, durable: 'd' });
    });
    expect(first).toBe('t');
    expect(client.state).toBe('online');
    broker.process.kill('SIGTERM');
    expect((await broker.ended).exitCode).toBe(0);
  });

  test('prints and checks its configuration, and says all that is wrong with it [CFG-3, CFG-4]', async () => {
    const folder = emptyFolder();
    const file = join(folder, 'jsp.toml');
    const broker = (...args: string[]) => jsp(['broker', '--config', file, ...args], { cwd: folder });
    writeFileSync(file, '[queues]\nmax_mesages = 1\ntopic_capacity = 10\n[broker]\nport = "x"\n');
    const wrong = await broker('--check-config');
    expect([wrong.exitCode, wrong.out]).toEqual([1, '']);
    expect(wrong.err.split('\n')).toEqual([
      `jsp: ${file}:2: [queues] max_mesages: there is no such key; the nearest is max_messages (ERR_JSP_CONFIG)`,
      `jsp: ${file}:5: [broker] port: must be a whole number from 0 to 65535, not "x" (ERR_JSP_CONFIG)`,
      '',
    ]);
    writeFileSync(file, `[queues]\nsubscriber_capacity = 7\ntopic_capacity = 10\n${HTTPS}`);
    const missing = await broker('--check-config');
    expect([missing.exitCode, missing.err]).toEqual([
      1,
      expect.stringContaining(`${file}:6: [http] tls_cert: `),
    ]);
    writePair(folder, 'one');
    const nowhere = await broker('--check-config', '--set', 'http.origins=app.example.org');
    expect([nowhere.exitCode, nowhere.err]).toEqual([
      1,
      expect.stringContaining('--set http.origins: [http] origins: must be such as https://app.example.org'),
    ]);
    const right = await broker('--check-config');
    expect([right.exitCode, right.out]).toEqual([0, `${file} is in order\n`]);
    expect(right.err).toContain(`${file}:3: [queues] topic_capacity of BlipMQ has no effect`);
    const printed = await broker('--print-config', '--stall', '45', '--set', 'limits.max_sessions=5');
    expect(printed.out).toContain('max_messages = 7\n');
    expect(printed.out).toMatch(/of --stall; can be reloaded\)\nstall = "45s"\n/);
    expect(printed.out).toContain('max_sessions = 5\n');
  });
});
