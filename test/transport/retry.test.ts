import { describe, expect, onTestFinished, test } from 'vitest';
import { MemoryTokens } from '../../src/transport/address-tokens.ts';
import { type ConnectOptions, connect } from '../../src/transport/connect.ts';
import { type Listener, type ListenOptions, listen } from '../../src/transport/listen.ts';
import { generateIdentity } from '../../src/transport/system-crypto.ts';
import { ownPort } from '../own-port.ts';

const IDENTITY = generateIdentity();

async function serve(options: Partial<ListenOptions> = {}): Promise<Listener> {
  const listener = await listen({ identity: IDENTITY, port: 0, ...options });
  onTestFinished(() => listener.close({ timeoutMs: 0 }));
  listener.on('connection', (connection) => {
    connection.on('stream', (stream) => stream.on('message', (message) => stream.send(message)));
  });
  return listener;
}

/** A message there and back: by then the client has what the server told it behind the handshake. */
async function echo(url: string, options: ConnectOptions = {}): Promise<string> {
  const connection = await connect(url, options);
  const stream = connection.openStream();
  stream.send('hello');
  const answer = await new Promise<Buffer>((resolve) => stream.once('message', resolve));
  connection.destroy();
  return answer.toString();
}

describe('a listener with the option retry [HS-36]', () => {
  test('always asks each client for a token that has none, and none that has one of an earlier connection [HS-37]', async () => {
    const listener = await serve({ retry: 'always' });
    const tokens = new MemoryTokens();
    expect(await echo(listener.url, { tokens })).toBe('hello');
    const asked = listener.metrics().retriesSent;
    expect(asked).toBeGreaterThan(0);
    expect(await echo(listener.url, { tokens })).toBe('hello');
    expect(listener.metrics()).toMatchObject({ retriesSent: asked, tokensAccepted: 2, tokensRefused: 0 });
    expect(await echo(listener.url, { tokens: false })).toBe('hello');
    expect(listener.metrics().retriesSent).toBeGreaterThan(asked);
  });

  test('keeps tokens in the memory of the process where it is told nothing', async () => {
    const listener = await serve({ retry: 'always' });
    await echo(listener.url);
    const { retriesSent } = listener.metrics();
    await echo(listener.url);
    expect(listener.metrics().retriesSent).toBe(retriesSent);
  });

  test('by itself asks nobody while few come', async () => {
    const listener = await serve();
    await echo(listener.url, { tokens: false });
    expect(listener.metrics()).toMatchObject({ retriesSent: 0, tokensAccepted: 0 });
  });

  test.each([
    ['retry', 'sometimes'],
    ['tokenKeys', { current: new Uint8Array(31) }],
    ['tokenKeys', { current: new Uint8Array(32), previous: 'x' }],
  ])('refuses %s: %j', async (name, value) => {
    await expect(listen({ identity: IDENTITY, port: 0, [name]: value })).rejects.toMatchObject({
      code: 'ERR_JSP_OPTION_INVALID',
    });
  });
});

describe('the keys of tokens [HS-31]', () => {
  const key = (byte: number) => new Uint8Array(32).fill(byte);

  test('are those of the identity, so that a server that is started anew takes the tokens of its predecessor', async () => {
    const tokens = new MemoryTokens();
    const port = await ownPort();
    const first = await serve({ retry: 'always', port });
    await echo(first.url, { tokens });
    await first.close({ timeoutMs: 0 });
    const second = await serve({ retry: 'always', port });
    await echo(second.url, { tokens });
    expect(second.metrics()).toMatchObject({ retriesSent: 0, tokensAccepted: 1 });
  });

  test('can be given, and changed while it listens', async () => {
    const listener = await serve({ retry: 'always', tokenKeys: { current: key(1) } });
    const tokens = new MemoryTokens();
    await echo(listener.url, { tokens });
    listener.useTokenKeys({ current: key(2), previous: key(1) });
    await echo(listener.url, { tokens });
    expect(listener.metrics()).toMatchObject({ tokensAccepted: 2, tokensRefused: 0 });
    listener.useTokenKeys({ current: key(3) });
    await echo(listener.url, { tokens });
    expect(listener.metrics().tokensRefused).toBeGreaterThan(0);
    expect(() => listener.useTokenKeys({ current: key(3).subarray(1) })).toThrow('tokenKeys');
  });
});

describe('a store of tokens', () => {
  test('is told of the server by fingerprint, host and port, and asked once a connection', async () => {
    const listener = await serve();
    const calls: string[] = [];
    const tokens = {
      take: (server: string) => {
        calls.push(`take ${server}`);
        return null;
      },
      put: (server: string, token: Uint8Array) => void calls.push(`put ${server} ${token.length}`),
    };
    await echo(listener.url, { tokens });
    const server = listener.url.slice('jsp://'.length);
    expect(calls).toEqual([`take ${server}`, `put ${server} 54`]);
    await expect(connect(listener.url, { tokens: {} as never })).rejects.toThrow('tokens');
  });

  test('in memory has the two newest of a server, and 256 servers', () => {
    const tokens = new MemoryTokens();
    for (const byte of [1, 2, 3]) tokens.put('a', Uint8Array.of(byte));
    expect([tokens.take('a'), tokens.take('a'), tokens.take('a')]).toEqual([
      Uint8Array.of(3),
      Uint8Array.of(2),
      null,
    ]);
    for (let i = 0; i < 300; i++) tokens.put(`${i}`, Uint8Array.of(1));
    expect(tokens.take('43')).toBeNull();
    expect(tokens.take('44')).not.toBeNull();
  });
});
