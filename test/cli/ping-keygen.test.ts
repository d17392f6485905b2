import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { roundTripSummary } from '../../src/cli/ping.ts';
import { generateIdentity, listen } from '../../src/index.ts';
import { Identity } from '../../src/protocol/crypto/identity.ts';
import { emptyFolder } from '../empty-folder.ts';
import { Jsp, jsp, jspTogether, startBroker } from './jsp.ts';
import { NearBroker } from './near-broker.ts';

describe('jsp ping', () => {
  let near: NearBroker;
  let url: string;
  beforeAll(async () => {
    near = await NearBroker.start();
    url = near.url;
  });
  afterAll(() => near.close());

  test('takes the middle of the two middle ones as median of an even number of round trips', () => {
    expect(roundTripSummary([4, 1])).toBe('2 round trips, min/median/mean/max 1.000/2.500/2.500/4.000 ms');
    expect(roundTripSummary([9, 1, 2, 4])).toContain(' 1.000/3.000/4.000/9.000 ');
    expect(roundTripSummary([9, 1, 2])).toContain(' 1.000/2.000/4.000/9.000 ');
    expect(roundTripSummary([5])).toContain(' 5.000/5.000/5.000/5.000 ');
  });

  test('shows what a server says as text: it moves no cursor and forges no line', async () => {
    await using listener = await listen({ identity: generateIdentity(), port: 0 });
    listener.on('connection', (connection) =>
      connection.destroy(7, '\x1b]0;OWNED\x07\x1b[2K\u202e\u009b31m\nsecond line'),
    );
    const { exitCode, out, err } = await jsp(['ping', '--url', listener.url]);
    expect(exitCode).toBe(1);
    expect(err).toContain('\\x1b]0;OWNED\\x07\\x1b[2K\\u202e\\x9b31m\\nsecond line');
    expect(`${out}${err}`.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Bidi_Control}]/u);
    expect(err.trimEnd().split('\n')).toHaveLength(1);
  });

  test('tells the handshake time, each round trip, and a summary', async () => {
    const { exitCode, out } = await jsp(['ping', '--count', '3', '--interval', '0.01', '--url', url]);
    expect(exitCode).toBe(0);
    const lines = out.trimEnd().split('\n');
    expect(lines[0]).toMatch(/^handshake \d+\.\d{3} ms with jsp:\/\//);
    expect(lines.slice(1, 4).map((line) => line.replace(/[\d.]+ ms$/, 'T'))).toEqual([
      'round trip 1: T',
      'round trip 2: T',
      'round trip 3: T',
    ]);
    expect(lines[4]).toMatch(/^3 round trips, min\/median\/mean\/max [\d.]+\/[\d.]+\/[\d.]+\/[\d.]+ ms$/);
    expect(lines).toHaveLength(5);
  });

  test('prints one object with --json', async () => {
    const { out } = await jsp(['ping', '--count', '4', '--interval', '0.01', '--json', '--url', url]);
    const result = JSON.parse(out) as { url: string; handshakeMs: number; roundTripsMs: number[] };
    expect(result.url).toBe(url);
    expect(result.handshakeMs).toBeGreaterThan(0);
    expect(result.roundTripsMs).toHaveLength(4);
    expect(Math.min(...result.roundTripsMs)).toBeGreaterThan(0);
  });

  test('goes on until SIGINT with --count 0, and then sums up', async () => {
    const ping = new Jsp(['ping', '--count', '0', '--interval', '0.01', '--url', url]);
    await ping.until(({ out }) => out.includes('round trip 7:'));
    ping.process.kill('SIGINT');
    const { exitCode, out } = await ping.ended;
    expect(exitCode).toBe(0);
    expect(out).toMatch(/\d+ round trips, min/);
  });
});

describe('a reader that goes, as `head` does,', () => {
  test.each([['ping', '--help'], ['keygen']])('is no failure of jsp %s', async (...args) => {
    const command = new Jsp(args);
    command.process.stdout?.destroy();
    const { exitCode, err } = await command.ended;
    expect(exitCode).toBe(0);
    expect(err).not.toContain('EPIPE');
  });
});

describe('jsp keygen', () => {
  test('prints a secret and its fingerprint', async () => {
    const { exitCode, out, err } = await jsp(['keygen']);
    expect(exitCode).toBe(0);
    const [, fingerprint, secret] = /^fingerprint (\S+)\nsecret {6}(\S+)\n$/.exec(out) ?? [];
    expect(Identity.fromSecret(secret).fingerprintText).toBe(fingerprint);
    expect(err).toContain('Keep the secret to yourself');
    const json = JSON.parse((await jsp(['keygen', '--json'])).out) as { fingerprint: string; secret: string };
    expect(Identity.fromSecret(json.secret).fingerprintText).toBe(json.fingerprint);
    expect(json.secret).not.toBe(secret);
  });

  test('makes a hybrid identity, whose fingerprint is as long as any', async () => {
    const { exitCode, out } = await jsp(['keygen', '--hybrid', '--client', '--json']);
    expect(exitCode).toBe(0);
    const json = JSON.parse(out) as { fingerprint: string; secret: string };
    expect(Object.keys(json)).toEqual(['fingerprint', 'secret']);
    const identity = Identity.fromSecret(json.secret);
    expect([identity.isHybrid, identity.fingerprintText]).toEqual([true, json.fingerprint]);
    expect(json.fingerprint).toHaveLength(43);
  });

  test('writes the secret to a private file that a broker can use, in a folder of its own, and never over another one', async () => {
    const state = join(emptyFolder(), 'state');
    const file = join(state, 'identity');
    const { exitCode, out, err } = await jsp(['keygen', '--out', file]);
    expect(exitCode).toBe(0);
    expect([file, state].map((path) => statSync(path).mode & 0o777)).toEqual([0o600, 0o700]);
    const secret = readFileSync(file, 'utf8').trim();
    expect(Identity.fromSecret(secret).fingerprintText).toBe(out.trim());
    expect(out + err).not.toContain(secret);
    expect((await startBroker(state)).url).toContain(out.trim());

    const again = await jsp(['keygen', '--out', file]);
    expect(again.exitCode).toBe(1);
    expect(again.err).toMatch(/^jsp: cannot write .*it exists.* \(ERR_JSP_FILE\)\n$/);
    expect(readFileSync(file, 'utf8').trim()).toBe(secret);
  });
});

describe('--qlog', () => {
  test('logs the connections of a command and of its broker', async () => {
    const folder = join(emptyFolder(), 'logs');
    const { jsp: broker, url } = await startBroker(undefined, '--qlog', folder);
    expect((await jsp(['ping', '--count', '1', '--url', url, '--qlog', folder])).exitCode).toBe(0);
    broker.process.kill('SIGTERM');
    await broker.ended;
    const sides = readdirSync(folder).map((name) => /^[0-9a-f]{16}_(\w+)\.sqlog$/.exec(name)?.[1]);
    expect(sides.sort()).toEqual(['client', 'server']);
  });

  test('is an option of every command that connects or listens', async () => {
    const commands = [
      'broker',
      'sub',
      'pub',
      'ping',
      'send',
      'receive',
      'monitor',
      'bench serve',
      'bench link',
    ];
    const helps = await jspTogether(commands.map((command) => [...command.split(' '), '--help']));
    expect(commands.filter((_, i) => !helps[i].out.includes('--qlog <dir>'))).toEqual([]);
  });

  test('that names no folder is an error that says so, and nothing runs', async () => {
    const file = join(emptyFolder(), 'file');
    writeFileSync(file, '');
    const { exitCode, err } = await jsp(['ping', '--url', 'jsp://x@localhost:1', '--qlog', file]);
    expect(exitCode).toBe(1);
    expect(err).toMatch(/--qlog .*file is no folder to write to: EEXIST.*\(ERR_JSP_FILE\)/);
  });
});
