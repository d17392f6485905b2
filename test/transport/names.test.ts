import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { describe, expect, test, vi } from 'vitest';
import { connect, generateIdentity, parseServerUrl } from '../../src/index.ts';
import { ownPort } from '../own-port.ts';
import { echo, serve, take } from './served.ts';

/** What names resolve to in these tests. */
const names = new Map<string, string[]>();

vi.mock('node:dns/promises', () => ({
  lookup: (name: string, options: object) => {
    expect(options).toEqual({ all: true, verbatim: true });
    const addresses = names.get(name);
    if (addresses === undefined) return new Promise(() => {});
    return Promise.resolve(addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })));
  },
}));

/** The URL of a listener with a name in place of its address. */
function named(url: string, name: string, ...addresses: string[]): string {
  names.set(name, addresses);
  return url.replace(/@.*:/, `@${name}:`);
}

describe('a name', () => {
  // [CON-61]
  test('with several addresses is tried at all of them, and the one that answers is connected to', async () => {
    const listener = await serve(echo);
    const url = named(listener.url, 'two.test', '::1', '127.0.0.1');
    const connection = await connect(url, { handshakeTimeoutMs: 60_000 });
    expect(connection.remoteHost).toBe('127.0.0.1');
    const stream = connection.openStream();
    stream.send('hello');
    expect(String(await take(stream, 1))).toBe('hello');
    await connection.close();
  });

  test('whose first address is silent costs a quarter of a second', async () => {
    const silent = createSocket('udp4').bind(0, '127.0.0.1');
    await once(silent, 'listening');
    const listener = await serve(echo, { host: '127.0.0.2', port: silent.address().port });
    const accepted: unknown[] = [];
    listener.on('connection', (connection) => accepted.push(connection));
    const begun = performance.now();
    const connection = await connect(named(listener.url, 'slow.test', '127.0.0.1', '127.0.0.2'));
    expect(performance.now() - begun).toBeGreaterThanOrEqual(240);
    expect(connection.remoteHost).toBe('127.0.0.2');
    await connection.close();
    expect(accepted).toHaveLength(1);
    silent.close();
  });

  test('that nobody answers at gives the most telling error, with all as its cause', async () => {
    const listener = await serve(echo);
    const other = generateIdentity();
    const url = named(listener.url, 'none.test', '255.255.255.255', '127.0.0.1').replace(
      /\/\/.*@/,
      `//${other.fingerprintText}@`,
    );
    const failure = await connect(url, { handshakeTimeoutMs: 300 }).catch((error) => error);
    expect(failure).toMatchObject({ code: 'ERR_JSP_HANDSHAKE_TIMEOUT' });
    expect(failure.message).toContain('255.255.255.255, 127.0.0.1');
    expect(failure.cause.errors.map(({ code }: { code: string }) => code)).toEqual([
      'ERR_JSP_SOCKET',
      'ERR_JSP_HANDSHAKE_TIMEOUT',
    ]);
  });

  test('is tried only at addresses of the family of localHost, and from a fixed local port too', async () => {
    const listener = await serve(echo);
    const localPort = await ownPort();
    const url = named(listener.url, 'both.test', '::1', '127.0.0.1', '127.0.0.9');
    const connection = await connect(url, { localHost: '127.0.0.1', localPort, handshakeTimeoutMs: 60_000 });
    expect(connection.remoteHost).toBe('127.0.0.1');
    await connection.close();
  });

  test('that takes for ever to resolve can be given up', async () => {
    const controller = new AbortController();
    const { fingerprint } = parseServerUrl((await serve(null)).url);
    const url = `jsp://${Buffer.from(fingerprint ?? []).toString('base64url')}@never.test`;
    const failure = connect(url, { signal: controller.signal }).catch((error) => error);
    controller.abort();
    expect(await failure).toMatchObject({ code: 'ERR_JSP_ABORTED' });
  });
});
