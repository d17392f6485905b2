import { Socket } from 'node:dgram';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { addressFamily, isLinkLocal } from '../../src/base/ip-address.ts';
import {
  type Connection,
  connect,
  formatServerUrl,
  generateIdentity,
  listen,
  parseServerUrl,
} from '../../src/index.ts';
import { Lab } from '../../src/testing/index.ts';
import { localAddresses, reachableAddress } from '../../src/udp/addresses.ts';
import { ownPort } from '../own-port.ts';
import { bindOnlyByDgram } from '../udp/twin-sockets.ts';
import { echo, growPackets, join, next, serve, take } from './served.ts';

const addresses = localAddresses();
const ipv4 = addresses.filter((host) => addressFamily(host) === 4);
const has6 = addresses.includes('::1');
const linkLocal = addresses.filter(isLinkLocal);
if (!has6) console.warn('no IPv6 on this machine: tests over ::1 are skipped');
if (linkLocal.length === 0) console.warn('no link-local address on this machine: tests over one are skipped');

afterEach(() => vi.restoreAllMocks());

describe('a listener', () => {
  // [URL-8]
  test.each(['0.0.0.0', '::'])('on %s has a URL that names an address others reach', async (host) => {
    if (host === '::' && !has6) return;
    const listener = await serve(null, { host });
    const reachable = await reachableAddress(host);
    expect(listener.url).toContain(
      `@${reachable.includes(':') ? `[${reachable}]` : reachable}:${listener.port}`,
    );
  });

  test('has a URL that names what it is to advertise', async () => {
    const named = await serve(null, { advertise: 'Example.org' });
    expect(named.url).toMatch(new RegExp(`@example\\.org:${named.port}$`));
    const mapped = await serve(null, { advertise: '[2001:DB8::1]:443' });
    expect(mapped.url).toMatch(/@\[2001:db8::1\]:443$/);
    await expect(serve(null, { advertise: 'a b' })).rejects.toMatchObject({ code: 'ERR_JSP_OPTION_INVALID' });
  });

  // [CON-60]
  test.each(ipv4)('on all IPv4 addresses is reached at %s', async (host) => {
    await talk(await serve(echo, { host: '0.0.0.0' }), host);
  });

  // [CON-60]
  test.runIf(process.platform === 'linux')(
    'on all addresses is reached at any loopback address',
    async () => {
      const listener = await serve(echo, { host: '0.0.0.0' });
      await Promise.all(['127.0.0.2', '127.0.0.3', '127.9.9.9'].map((host) => talk(listener, host)));
    },
  );

  // [CON-60]
  test.runIf(has6).each([...addresses, '127.0.0.2', '::ffff:127.0.0.1', '0:0::1'])(
    'on all addresses of both families is reached at %s',
    async (host) => {
      await talk(await serve(echo, { host: '::' }), host);
    },
  );

  test.runIf(has6)(
    'on both families sees an IPv4 client at its IPv4 address, near enough for large packets',
    async () => {
      const listener = await serve(echo, { host: '::' });
      const accepted = next<Connection>(listener, 'connection');
      const connection = await connect(urlAt(listener, '127.0.0.1'));
      const server = await accepted;
      expect(server.remoteHost).toBe('127.0.0.1');
      await growPackets(connection, server);
      expect(server.metrics().mtu).toBe(32_768);
      expect(connection.metrics().mtu).toBe(32_768);
      await connection.close();
    },
  );

  test.runIf(has6)('on ::1 has a URL that can be connected to, and large packets', async () => {
    const listener = await serve(echo, { host: '0:0:0:0:0:0:0:1' });
    expect(listener.host).toBe('::1');
    const connection = await join(listener);
    expect(connection.remoteHost).toBe('::1');
    await growPackets(connection);
    expect(connection.metrics().mtu).toBe(32_768);
  });

  test.runIf(linkLocal.length > 0)('on a link-local address has a URL that can be connected to', async () => {
    const [host] = linkLocal;
    const listener = await serve(echo, { host });
    expect(listener.host).toBe(host);
    expect(listener.url).toContain(host.replace('%', '%25'));
    const accepted = next<Connection>(listener, 'connection');
    const connection = await join(listener);
    expect(connection.remoteHost).toBe(host);
    expect((await accepted).remoteHost).toBe(host);
    const stream = connection.openStream();
    stream.send('hello');
    expect(String(await take(stream, 1))).toBe('hello');
  });
});

describe('a client', () => {
  test('comes from the address and port that it was told to use', async () => {
    const listener = await serve(echo);
    const localPort = await ownPort();
    const accepted = next<Connection>(listener, 'connection');
    await join(listener, { localHost: '127.0.0.1', localPort });
    expect(await accepted).toMatchObject({ remoteHost: '127.0.0.1', remotePort: localPort });
    const other = next<Connection>(listener, 'connection');
    await join(listener, { localHost: '127.0.0.2' });
    expect((await other).remoteHost).toBe('127.0.0.2');
  });

  test('sends no larger packets than fit four times into the buffer of a server behind a bad network', async () => {
    const lab = new Lab({ seed: 3, link: { delayMs: 1 } });
    const { clock, random } = lab;
    const listener = await listen({
      identity: generateIdentity(),
      socket: lab.socket({ host: '127.0.0.1', port: 4_577, receiveBufferBytes: 100_000 }),
      clock,
      random,
      impairment: { seed: 1, incoming: { delayMs: 1 } },
    });
    listener.on('connection', echo);
    const socket = lab.socket({ host: '127.0.0.1' });
    const connection = await lab.settle(connect(listener.url, { socket, clock, random }));
    const stream = connection.openStream();
    for (let i = 0; i < 300; i++) stream.send(new Uint8Array(10_000));
    await lab.settle(take(stream, 300));
    expect(connection.metrics().mtu).toBe(8_750);
    await lab.settle(connection.close());
    await lab.settle(listener.close());
  });
});

describe('a system', () => {
  test.each(['127.0.0.1', '0.0.0.0'])(
    'that refuses large datagrams is heeded at once, at both ends of a connection to a server on %s [REC-53]',
    async (host) => {
      bindOnlyByDgram();
      const send = Socket.prototype.send as (...parameters: unknown[]) => void;
      vi.spyOn(Socket.prototype, 'send').mockImplementation(function (
        this: Socket,
        ...parameters: unknown[]
      ) {
        const callback = parameters.at(-1);
        if ((parameters[0] as Uint8Array).length <= 9_216) return send.apply(this, parameters);
        const error = Object.assign(new Error('message too long'), { code: 'EMSGSIZE' });
        if (typeof callback === 'function') process.nextTick(callback as (error: Error) => void, error);
      } as Socket['send']);
      const listener = await serve(echo, { host });
      const accepted = next<Connection>(listener, 'connection');
      const connection = await connect(urlAt(listener, '127.0.0.1'));
      const stream = connection.openStream();
      for (let i = 0; i < 200; i++) stream.send(new Uint8Array(20_000));
      await take(stream, 200);
      for (const end of [connection, await accepted]) {
        const { mtu, socket } = end.metrics();
        expect(mtu).toBe(8_952);
        // 32,768, if the window was large enough, and 16,384, each once: a probe that is lost would be sent three times.
        const { EMSGSIZE, ...others } = socket.errorCodes;
        expect(EMSGSIZE).toBeGreaterThanOrEqual(1);
        expect(EMSGSIZE).toBeLessThanOrEqual(2);
        expect(others).toEqual({});
      }
      await connection.close();
    },
  );
});

describe('metrics', () => {
  test('say which buffers the system granted, which is what was asked for where it can be', async () => {
    bindOnlyByDgram();
    const receive = vi.spyOn(Socket.prototype, 'setRecvBufferSize');
    const send = vi.spyOn(Socket.prototype, 'setSendBufferSize');
    const buffers = { receiveBufferBytes: 1_000_001, sendBufferBytes: 1_000_002 };
    const listener = await serve(echo, buffers);
    const connection = await join(listener, { receiveBufferBytes: 1_000_003, sendBufferBytes: 1_000_004 });
    expect(receive.mock.calls).toEqual([[1_000_001], [1_000_003]]);
    expect(send.mock.calls).toEqual([[1_000_002], [1_000_004]]);
    for (const { receiveBufferBytes, sendBufferBytes } of [
      listener.metrics().socket,
      connection.metrics().socket,
    ]) {
      expect(receiveBufferBytes).toBeGreaterThan(50_000);
      expect(receiveBufferBytes).toBeLessThanOrEqual(1_000_003);
      expect(sendBufferBytes).toBeGreaterThan(50_000);
      expect(sendBufferBytes).toBeLessThanOrEqual(1_000_004);
    }
  });

  test('say what the socket did, of which they are a copy', async () => {
    bindOnlyByDgram();
    const listener = await serve(echo);
    const connection = await join(listener);
    const stream = connection.openStream();
    stream.send('x');
    await take(stream, 1);
    const before = connection.metrics().socket;
    expect(before).toMatchObject({ sendErrors: 0, receiveErrors: 0, errorCodes: {} });
    expect(before.datagramsSent).toBe(connection.metrics().datagramsSent);
    expect(listener.metrics().socket.datagramsReceived).toBeGreaterThan(0);
    vi.spyOn(Socket.prototype, 'send').mockImplementation(((...parameters: unknown[]) => {
      const error = Object.assign(new Error('no buffer space'), { code: 'ENOBUFS' });
      process.nextTick(parameters.at(-1) as (error: Error) => void, error);
    }) as Socket['send']);
    stream.send('y');
    await vi.waitFor(() => expect(connection.metrics().socket.errorCodes.ENOBUFS).toBeGreaterThan(0), {
      timeout: 180_000,
    });
    vi.restoreAllMocks();
    expect(String(await take(stream, 1))).toBe('y'); // lost, and sent again
    expect(before.errorCodes).toEqual({});
  });
});

function urlAt(listener: { url: string; port: number }, host: string): string {
  const { fingerprint } = parseServerUrl(listener.url);
  return formatServerUrl(fingerprint ?? new Uint8Array(32), host, listener.port);
}

async function talk(listener: { url: string; port: number }, host: string): Promise<void> {
  const connection = await connect(urlAt(listener, host));
  const stream = connection.openStream();
  stream.send('hello');
  expect(String(await take(stream, 1))).toBe('hello');
  await connection.close();
}
