import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { NatsLine } from '../../../../src/broker/backplane/nats/line.ts';
import { loadNats, type NatsModules } from '../../../../src/broker/backplane/nats/modules.ts';
import type { BackplaneOptions } from '../../../../src/broker/backplane/options.ts';
import { CERTIFICATES } from '../../../cli/certificates.ts';
import { ownPort } from '../../../own-port.ts';
import { NatsServer, natsProgram } from '../nats-server.ts';
import { TcpWay } from '../tcp-way.ts';
import { until } from './brokers.ts';

const program = natsProgram();

describe.skipIf(program === null)('a line to NATS', () => {
  let folder: string;
  const file = (name: string) => join(folder, name);
  const servers: NatsServer[] = [];
  const lines: NatsLine[] = [];
  let modules: NatsModules;
  let guarded: NatsServer;
  let encrypted: NatsServer;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'jsp-test-line-'));
    writeFileSync(file('one.pem'), CERTIFICATES.one.cert);
    writeFileSync(file('two.pem'), CERTIFICATES.two.cert);
    writeFileSync(file('one-key.pem'), CERTIFICATES.one.key);
    const tls = `tls { cert_file: "${file('one.pem')}", key_file: "${file('one-key.pem')}" }`;
    guarded = await NatsServer.start(program as string, {
      config: 'authorization { user: jsp, password: "s3cret@" }',
    });
    encrypted = await NatsServer.start(program as string, {
      config: `authorization { token: t0ken }\n${tls}`,
    });
    servers.push(guarded, encrypted);
    modules = await loadNats();
  });
  afterAll(async () => {
    for (const line of lines) await line.close();
    for (const server of servers) await server.remove();
    rmSync(folder, { recursive: true });
  });

  async function open(options: Partial<BackplaneOptions>): Promise<NatsLine> {
    const line = await NatsLine.open(
      modules,
      { kind: 'nats', ...options },
      { purpose: 'test', noEcho: true },
    );
    lines.push(line);
    return line;
  }

  test.each([
    ['as the options say', () => ({ urls: [guarded.url], user: 'jsp', password: 's3cret@' })],
    ['as the URL says', () => ({ urls: [guarded.url.replace('//', '//jsp:s3cret%40@')] })],
    [
      'with a token, encrypted, where it trusts the certificate',
      () => ({ urls: [encrypted.url], token: 't0ken', tls: { ca: file('one.pem') } }),
    ],
    [
      'by the next URL where the first one fails',
      async () => ({
        urls: [`nats://127.0.0.1:${await ownPort()}`, guarded.url],
        user: 'jsp',
        password: 's3cret@',
      }),
    ],
  ])('is let in %s [CLU-14]', async (_, options) => {
    const line = await open(await options());
    expect(await line.settled()).toBe(true);
    expect([line.isUp, line.hasRoom]).toEqual([true, true]);
  });

  test.each([
    [
      'a wrong password',
      () => ({ urls: [guarded.url], user: 'jsp', password: 'wrong' }),
      /does not let this broker in/,
    ],
    ['none', () => ({ urls: [guarded.url] }), /does not let this broker in/],
    [
      'a certificate that nobody vouches for',
      () => ({ urls: [encrypted.url], token: 't0ken', tls: { ca: file('two.pem') } }),
      /certificate|self.signed/i,
    ],
    [
      'no server',
      async () => ({ urls: [`nats://127.0.0.1:${await ownPort()}`] }),
      /start it \(nats-server -js\)/,
    ],
    [
      'credentials that are not there',
      () => ({ urls: [guarded.url], credentials: file('none.creds') }),
      /none\.creds/,
    ],
  ])('says what is wrong, and no secret of the URL: %s [CLU-14]', async (_, options, message) => {
    const given = await options();
    const urls = given.urls.map((url) => url.replace('//', '//x:hidden@'));
    const isNamed = 'user' in given || 'token' in given;
    const failure = await open({
      ...(given as Partial<BackplaneOptions>),
      ...(isNamed ? {} : { urls }),
    }).catch((error: unknown) => error);
    expect(failure).toMatchObject({
      code: 'ERR_JSP_BACKPLANE_FAILED',
      message: expect.stringMatching(message),
    });
    expect((failure as Error).message).not.toContain('hidden');
  });

  test('is down while nothing comes by it, and up again by itself [CLU-14]', async () => {
    const way = await TcpWay.to(guarded.port);
    try {
      const line = await open({ urls: [`nats://jsp:s3cret%40@127.0.0.1:${way.port}`] });
      const told = upsAndDowns(line);
      await guarded.stop();
      await until(() => told.length === 1, 'it is down');
      expect([line.isUp, await line.settled()]).toEqual([false, false]);
      await guarded.start();
      await until(() => told.length === 2, 'it is up again');
      expect([told, await line.settled()]).toEqual([['down', 'up'], true]);
    } finally {
      await way.close();
    }
  });

  test('comes up again while its credentials are written anew, with those that it had [CLU-14]', async () => {
    const credentials = file('renewed.creds');
    writeFileSync(credentials, credentialsOf(modules));
    const server = await NatsServer.start(program as string);
    servers.push(server);
    const line = await open({ urls: [server.url], credentials });
    const told = upsAndDowns(line);
    for (const content of ['', null, credentialsOf(modules)]) {
      if (content === null) rmSync(credentials);
      else writeFileSync(credentials, content);
      told.length = 0;
      await server.stop();
      await server.start();
      await until(() => told.length === 2, 'it is up again');
      expect([told, await line.settled()]).toEqual([['down', 'up'], true]);
    }
  });

  test('that the client library closes by itself is told, for it does not come back [CLU-14]', async () => {
    const line = await open({ urls: [encrypted.url], token: 't0ken', tls: { ca: file('one.pem') } });
    const told = upsAndDowns(line);
    await line.nats.close();
    await until(() => told.length === 2, 'both are told');
    expect([told, line.isUp]).toEqual([['down', expect.stringMatching(/for good, start/)], false]);
  });

  test('has no room when the server takes nothing, so that nobody fills memory [CLU-5]', async () => {
    const line = await open({ urls: [guarded.url], user: 'jsp', password: 's3cret@' });
    process.kill(guarded.pid, 'SIGSTOP');
    try {
      const bytes = Buffer.alloc(1_000_000);
      let sent = 0;
      while (line.hasRoom && sent < 100) {
        line.nats.publish('x', bytes);
        line.count(bytes.length);
        sent++;
      }
      expect(sent).toBe(34); // 32 MiB
    } finally {
      process.kill(guarded.pid, 'SIGCONT');
    }
    await until(() => line.hasRoom, 'it has taken what was sent');
  });
});

/** As `nsc` writes them, for a server that lets everybody in. */
function credentialsOf({ transport }: NatsModules): string {
  const seed = Buffer.from(transport.nkeys.createUser().getSeed()).toString();
  const part = (what: string, text: string) =>
    `-----BEGIN ${what}-----\n${text}\n------END ${what}------\n\n`;
  return part('NATS USER JWT', 'e30.e30.e30') + part('USER NKEY SEED', seed);
}

/** What its listener is told, as it comes. */
function upsAndDowns(line: NatsLine): string[] {
  const told: string[] = [];
  line.listener = {
    up: () => told.push('up'),
    down: () => told.push('down'),
    refused: ({ message }) => told.push(message),
    fault: () => {},
  };
  return told;
}
