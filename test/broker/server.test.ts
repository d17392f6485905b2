import { once } from 'node:events';
import { afterEach, describe, expect, test } from 'vitest';
import { type BrokerOptions, startBroker } from '../../src/broker/index.ts';
import { connectClient } from '../../src/client/index.ts';
import { connect, generateIdentity } from '../../src/index.ts';
import { STREAM_LABEL } from '../../src/pubsub/command.ts';
import { encodeIdentityProof } from '../../src/pubsub/credentials.ts';
import { AuthMethod, encodeHello } from '../../src/pubsub/session-commands.ts';
import type { DatagramSocket } from '../../src/udp/datagram-socket.ts';
import { bindDgramSocket } from '../../src/udp/dgram-socket.ts';
import { ownPort } from '../own-port.ts';

const identity = generateIdentity();
const open: { close(): Promise<void> }[] = [];

/** A broker, what it has told, and the socket it listens on. */
async function listen(options: Partial<BrokerOptions> = {}) {
  const socket = await bindDgramSocket({ host: '127.0.0.1' });
  const broker = await startBroker({ identity, socket, ...options });
  open.push(broker);
  const told: unknown[] = [];
  broker.on('error', ({ code }) => told.push(code));
  broker.on('close', () => told.push('close'));
  return { broker, socket, told };
}

function breakForGood(socket: DatagramSocket): void {
  socket.onError?.(new Error('EBADF'), true);
}

const SOCKET_FAILED = expect.objectContaining({
  code: 'ERR_JSP_SOCKET',
  message: expect.stringContaining('EBADF'),
});

afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close().catch(() => {});
});

test('a broker whose issuer has no keys when it starts tells it once who waits for it can hear it, and lets others in', async () => {
  const jwks = `http://127.0.0.1:${await ownPort()}/keys`;
  const jwt = { issuer: 'i', audience: 'a', algorithms: ['ES256'], jwks };
  const { broker } = await listen({ auth: { anonymous: {}, jwt } });
  const [url, reason] = await once(broker, 'keysUnavailable');
  expect([url, reason]).toEqual([jwks, expect.any(String)]);
  const client = await connectClient(broker.url);
  await client.close();
});

describe('the end of a listening broker', () => {
  test('is told with its error when the socket fails for good, and its clients are gone [BRK-37]', async () => {
    const { broker, socket, told } = await listen();
    const client = await connectClient(broker.url, { heartbeatMs: 0, idleTimeoutMs: 0 });
    open.push({ close: async () => client.destroy() });
    await client.subscribe('#', () => {});
    breakForGood(socket);
    expect(told).toEqual(['ERR_JSP_SOCKET']);
    expect(broker.metrics()).toMatchObject({ clients: 0, subscriptions: 0 });
    expect(await broker.closed).toEqual(SOCKET_FAILED);
    expect(told).toEqual(['ERR_JSP_SOCKET', 'close']);
    await broker.close();
    expect(told).toEqual(['ERR_JSP_SOCKET', 'close']);
  });

  test('is told with its error when the broken socket does not even close [BRK-37]', async () => {
    const { broker, socket, told } = await listen();
    const close = socket.close.bind(socket);
    socket.close = () => Promise.reject(new Error('ENOTSOCK'));
    breakForGood(socket);
    expect(await broker.closed).toEqual(SOCKET_FAILED);
    await broker.close();
    expect(told).toEqual(['ERR_JSP_SOCKET', 'close']);
    await close();
  });

  test('does not throw a failure that nobody listens for [BRK-37]', async () => {
    const { broker, socket } = await listen();
    broker.removeAllListeners('error');
    breakForGood(socket);
    expect(await broker.closed).toEqual(SOCKET_FAILED);
  });

  test('is told with the error when the socket fails while the broker drains [BRK-37]', async () => {
    const { broker, socket, told } = await listen();
    const closing = broker.close();
    breakForGood(socket);
    await closing;
    expect(await broker.closed).toEqual(SOCKET_FAILED);
    expect(told).toEqual(['ERR_JSP_SOCKET', 'close']);
  });

  test('is told without an error after a close, and after an abort [BRK-37]', async () => {
    const abort = new AbortController();
    const one = await listen();
    const other = await listen({ signal: abort.signal });
    await one.broker.close();
    abort.abort();
    for (const { broker, told } of [one, other]) {
      expect(await broker.closed).toBeNull();
      expect(told).toEqual(['close']);
    }
  });

  test('is not brought about by errors about single datagrams [BRK-37]', async () => {
    const { broker, socket, told } = await listen();
    socket.onError?.(new Error('ECONNREFUSED'), false);
    const client = await connectClient(broker.url);
    await client.close();
    expect(told).toEqual([]);
  });
});

test('an identity cannot be proved by early data, which is no fault of the broker [AUT-5]', async () => {
  const mayAll = { rules: [{ allow: '*', topics: ['#'] }] } as const;
  const auth = {
    roles: { mayAll },
    identities: [{ fingerprint: identity.fingerprintText, roles: ['mayAll'] }],
  };
  const { broker } = await listen({ auth });
  const faults: unknown[] = [];
  broker.on('fault', (error) => faults.push(error));
  const first = await connect(broker.url);
  const [ticket] = (await once(first, 'ticket')) as [Uint8Array];
  await first.close();
  const connection = await connect(broker.url, { ticket, earlyData: true });
  const { publicKey } = identity;
  const proof = encodeIdentityProof({
    publicKey,
    signature: identity.sign('broker client', Buffer.alloc(32)),
  });
  const hello = { version: 1, cleanStart: false, aliases: 0, capabilities: 0, expiryMs: 0, session: 'x' };
  const stream = connection.openStream({ label: STREAM_LABEL, earlyData: true });
  stream.send(encodeHello(1, { ...hello, method: AuthMethod.IDENTITY, credentials: proof }));
  const [answer] = (await once(stream, 'message')) as [Buffer];
  expect(connection.earlyData).toBe('accepted');
  expect(answer.toString('latin1')).toContain('identity');
  expect(faults).toEqual([]);
  connection.destroy();
});
