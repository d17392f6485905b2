import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { getEventListeners, once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { Agent, request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { createConnection, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { describe, expect, test } from 'vitest';
import { SECOND } from '../../src/base/time.ts';
import { startBroker } from '../../src/broker/index.ts';
import { connectClient } from '../../src/client/index.ts';
import { startGateway } from '../../src/gateway/index.ts';
import { generateIdentity } from '../../src/transport/system-crypto.ts';
import { type Clock, systemClock } from '../../src/udp/clock.ts';
import { emptyFolder } from '../empty-folder.ts';
import { ownPort } from '../own-port.ts';
import { ONE, TWO } from './certificates.ts';
import { gatewayInMemory, NEVER_LATE } from './gateway-server.ts';

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('a gateway that closes', () => {
  test('answers what is under way, ends what is idle, and takes nobody any more [GW-5, GW-6]', async () => {
    const server = await gatewayInMemory();
    const { gateway } = server;
    const client = await connectClient(server.broker.url);
    let answer: (() => void) | null = null;
    await client.subscribe('slow', ({ properties: { replyTopic = '' } }) => {
      answer = () => void client.publish(replyTopic, 'done');
    });
    const idle = await connected(gateway.port);
    const agent = new Agent({ keepAlive: true });
    const underWay = new Promise<{ text: string; connection: string | undefined }>((resolve) => {
      const request = httpRequest(
        `${gateway.url}/v1/requests/slow`,
        { method: 'POST', agent },
        (response) => {
          let text = '';
          response.on('data', (chunk) => {
            text += chunk;
          });
          response.on('end', () => resolve({ text, connection: response.headers.connection }));
        },
      );
      request.end('x');
    });
    while (answer === null) await turn();
    expect((await server.raw('GET', '/readyz')).json).toEqual({
      status: 'ready',
      reasons: [],
      recovery: null,
    });
    let isClosed = false;
    const closed = gateway.close({ drainMs: 60_000 }).then(() => {
      isClosed = true;
    });
    await idle.ended;
    await expect(server.raw('GET', '/healthz')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    expect(isClosed).toBe(false);
    (answer as () => void)();
    expect(await underWay).toEqual({ text: 'done', connection: 'close' });
    await closed;
    await client.close();
    await server.close();
    expect(server.faults).toEqual([]);
  });

  test('closes what is left when its time is over [GW-6]', async () => {
    const { server, client, failed } = await withUnanswered();
    let told = 0;
    server.gateway.on('close', () => told++);
    await Promise.all([server.gateway.close({ drainMs: 1 }), server.gateway.close()]);
    expect(told).toBe(1);
    await failed;
    await client.close();
    await server.close();
  });

  test('closes what is left as soon as one of those says who tell it to [GW-6]', async () => {
    for (const [first, second] of [
      [600_000, 0],
      [0, 600_000],
    ]) {
      const { server, client, failed } = await withUnanswered();
      const closed = server.gateway.close({ drainMs: first });
      await server.gateway.close({ drainMs: second });
      await closed;
      await failed;
      await client.close();
      await server.close();
    }
  });

  test.each([false, true])(
    'closes what is left when a signal fires (before: %s) [GW-6]',
    async (isBefore) => {
      const { server, client, failed } = await withUnanswered();
      const controller = new AbortController();
      if (isBefore) controller.abort();
      const { signal } = controller;
      const closed = server.gateway.close({ drainMs: 600_000, signal });
      controller.abort();
      await closed;
      await failed;
      expect(getEventListeners(signal, 'abort')).toEqual([]);
      await client.close();
      await server.close();
    },
  );

  test('does so when its listener fails, and says why', async () => {
    let listener: Server | undefined;
    const taken = (message: unknown): void => {
      listener = (message as { socket: Socket & { server: Server } }).socket.server;
    };
    subscribe('net.server.socket', taken);
    const server = await gatewayInMemory();
    try {
      await server.raw('GET', '/healthz');
    } finally {
      unsubscribe('net.server.socket', taken);
    }
    const told: unknown[] = [];
    server.gateway.on('error', ({ code, message }) => told.push([code, message]));
    const closed = new Promise<void>((resolve) => server.gateway.once('close', resolve));
    listener?.emit('error', new Error('listen EINVAL'));
    await closed;
    expect(told).toEqual([['ERR_JSP_SOCKET', 'listen EINVAL']]);
    await server.close();
  });

  test('that is the broker itself lets callers know, and they are told when to come back [GW-22]', async () => {
    const server = await gatewayInMemory();
    expect((await server.raw('POST', '/v1/topics/a', {}, 'x')).status).toBe(200);
    await server.broker.close();
    const { status, json, headers } = await server.raw('POST', '/v1/topics/a', {}, 'x');
    expect([status, json.code, headers['retry-after']]).toEqual([503, 'SHUTTING_DOWN', '5']);
    await server.close();
  });
});

describe('a gateway with a certificate', () => {
  test('shows a renewed one to new connections, and none that cannot be taken [GW-15]', async () => {
    const folder = emptyFolder();
    const tls = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
    const write = ({ cert, key }: { cert: string; key: string }) => {
      writeFileSync(tls.cert, cert);
      writeFileSync(tls.key, key);
    };
    write(ONE);
    const broker = await startBroker({ identity: generateIdentity(), port: 0 });
    const gateway = await startGateway({ broker, port: 0, tls });
    expect(gateway.url).toMatch(/^https:/);
    const old = await secured(gateway.port);
    expect(nameOf(old)).toBe(ONE.name);
    write(TWO);
    gateway.reload();
    const renewed = await secured(gateway.port);
    expect([nameOf(renewed), old.destroyed]).toEqual([TWO.name, false]);
    for (const broken of [
      { ...ONE, key: TWO.key },
      { cert: 'x', key: 'y' },
    ]) {
      write(broken);
      expect(() => gateway.reload()).toThrow(expect.objectContaining({ code: 'ERR_JSP_OPTION_INVALID' }));
    }
    const still = await secured(gateway.port);
    expect(nameOf(still)).toBe(TWO.name);
    expect(await statusOf(gateway.url)).toBe(200);
    for (const socket of [old, renewed, still]) socket.destroy();
    await gateway.close();
    await broker.close();
  });
});

test('a stranger who connects and does not speak TLS is closed as soon as one who sends no header [GW-4]', async () => {
  const folder = emptyFolder();
  const tls = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
  writeFileSync(tls.cert, ONE.cert);
  writeFileSync(tls.key, ONE.key);
  const server = await gatewayInMemory({ tls, limits: { requestMs: 100 } });
  const stranger = createConnection(server.gateway.port, '127.0.0.1').resume();
  await once(stranger, 'close');
  while (server.gateway.metrics().connections > 0) await turn();
  await server.close();
});

describe('a gateway for a broker elsewhere', () => {
  test('does the same, and says so while that cannot be reached [GW-5]', async () => {
    const identity = generateIdentity();
    const start = (port: number) => startBroker({ identity, port });
    const port = await ownPort();
    let broker = await start(port);
    const { url } = broker;
    const gateway = await startGateway({ broker: [url], port: 0, limits: NEVER_LATE });
    const publish = async () => {
      const answer = await fetch(`${gateway.url}/v1/topics/a?retain=true`, { method: 'POST', body: 'x' });
      return [answer.status, ((await answer.json()) as { code?: string; result?: string }).code ?? 'ok'];
    };
    expect(await publish()).toEqual([200, 'ok']);
    expect(await (await fetch(`${gateway.url}/v1/topics/a`)).text()).toBe('x');
    await broker.close();
    expect((await publish())[0]).toBe(503);
    expect(await publish()).toEqual([503, 'BROKER_UNREACHABLE']);
    const ready = await fetch(`${gateway.url}/readyz`);
    expect([ready.status, await ready.json()]).toEqual([
      503,
      { status: 'notReady', reasons: [expect.stringContaining('cannot be reached')], recovery: null },
    ]);
    broker = await start(port);
    expect(await publish()).toEqual([200, 'ok']);
    expect((await fetch(`${gateway.url}/readyz`)).status).toBe(200);
    await gateway.close();
    await broker.close();
  });

  test('finds out by itself whether that is there, for those who send nobody until it is [GW-5]', async () => {
    const identity = generateIdentity();
    const port = await ownPort();
    const first = await startBroker({ identity, port });
    const { url } = first;
    await first.close();
    let [ahead, stoodAt] = [0, 0];
    const clock: Clock = Object.assign(Object.create(systemClock), {
      now: () => (stoodAt > 0 ? stoodAt : systemClock.now() + ahead),
    });
    const gateway = await startGateway({ broker: [url], port: 0, limits: NEVER_LATE, clock });
    const ready = async () => (await fetch(`${gateway.url}/readyz`)).status;
    expect(await Promise.all([ready(), ready()])).toEqual([503, 503]);
    stoodAt = clock.now(); // as if it took no time to start a broker
    const broker = await startBroker({ identity, port });
    expect(await ready()).toBe(503); // it has tried just now
    ahead += SECOND;
    stoodAt = 0;
    expect(await ready()).toBe(200);
    await gateway.close();
    await broker.close();
  });
});

async function connected(port: number): Promise<{ ended: Promise<void> }> {
  const socket: Socket = createConnection(port, '127.0.0.1');
  const ended = new Promise<void>((resolve) => socket.on('close', () => resolve()));
  await new Promise((resolve) => socket.on('connect', resolve));
  socket.resume();
  // It has made a request, and keeps the connection for the next.
  socket.write('GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n');
  await new Promise((resolve) => socket.once('data', resolve));
  return { ended };
}

function secured(port: number): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => resolve(socket));
    socket.on('error', reject);
  });
}

function nameOf(socket: TLSSocket): string {
  return String(socket.getPeerCertificate().subject.CN);
}

function statusOf(url: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const request = httpsRequest(`${url}/healthz`, { rejectUnauthorized: false }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    request.on('error', reject);
    request.end();
  });
}

/** A gateway with a request that nobody answers under way, which is to be cut off. */
async function withUnanswered() {
  const server = await gatewayInMemory();
  const client = await connectClient(server.broker.url);
  const asked = new Promise<void>((resolve) => void client.subscribe('never', () => resolve()));
  while (server.broker.metrics().subscriptions === 0) await turn();
  const underWay = server.raw('POST', '/v1/requests/never?timeout=60s', {}, 'x');
  const failed = expect(underWay).rejects.toMatchObject({ code: 'ECONNRESET' });
  await asked;
  return { server, client, failed };
}
