import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Fastify from 'fastify';
import { Redis } from 'ioredis';
import { type WebSocket, WebSocketServer } from 'ws';
import { startRedis, stopRedis } from '../peers/redis.ts';
import type { GatewayPeer } from './peer.ts';

const ROLE = 'proxy';

/**
 * A proxy of the same function as people build it: Fastify and ws before Redis, in memory as well. A message is appended to the stream of its topic, which gives it its
 * offset, and published to its channel, in one round trip to Redis; requests at the same time share a pipeline; what one turn brings for a socket is written at once. A subscriber
 * is told where its topic is, so that it can come back and go on there, and a channel that nobody is subscribed to any more is given back to Redis.
 */
export const proxy: GatewayPeer = {
  name: 'fastify + redis',
  async start() {
    const folder = mkdtempSync(join(tmpdir(), 'jsp-bench-redis-'));
    const path = join(folder, 'redis.sock');
    const redis = await startRedis(
      { path },
      { port: '0', unixsocket: path, save: '', appendonly: 'no', dir: folder },
    ).catch((error) => {
      rmSync(folder, { recursive: true, force: true });
      throw error;
    });
    const child = fork(fileURLToPath(import.meta.url), [ROLE, path]);
    const [port] = (await once(child, 'message')) as [number];
    return {
      host: '127.0.0.1',
      port,
      socketPath: '/',
      subprotocol: 'proxy',
      pids: [child.pid as number, redis.pid as number],
      async stop() {
        child.disconnect();
        await once(child, 'exit');
        await stopRedis(redis);
        rmSync(folder, { recursive: true, force: true });
      },
    };
  },
  subscription: (topic) => JSON.stringify({ type: 'subscribe', topic }),
  isSubscribed: (text) => text.startsWith('{"type":"subscribed"'),
  isDelivery: (text) => text.startsWith('{"type":"message"'),
};

async function serve(path: string): Promise<void> {
  const redis = new Redis({ path, enableAutoPipelining: true });
  redis.defineCommand('take', { lua: TAKE });
  /** Takes messages by one call, whose keys are their topics. */
  const take = (items: readonly { topic: string; payload: string }[]): Promise<string[]> =>
    (redis as unknown as { take(keys: number, ...given: string[]): Promise<string[]> }).take(
      items.length,
      ...items.map(({ topic }) => topic),
      ...items.map(({ payload }) => payload),
    );
  const app = Fastify({ keepAliveTimeout: 60_000 });
  app.addContentTypeParser('*', { parseAs: 'string' }, (_, body, done) => done(null, body));
  const stored = {
    type: 'object',
    properties: { result: { type: 'string' }, offset: { type: 'string' } },
  } as const;
  app.removeContentTypeParser('application/json');
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (_, body, done) => done(null, body));
  app.post('/v1/topics/*', { schema: { response: { 200: stored } } }, async (request) => {
    const { '*': topic } = request.params as { '*': string };
    const [offset] = await take([{ topic, payload: request.body as string }]);
    return { result: 'stored', offset };
  });
  const list = {
    type: 'object',
    properties: { count: { type: 'integer' }, results: { type: 'array', items: stored } },
  } as const;
  app.post('/v1/bulk', { schema: { response: { 200: list } } }, async (request) => {
    const items = JSON.parse(request.body as string) as { topic: string; json: unknown }[];
    const offsets = await take(items.map(({ topic, json }) => ({ topic, payload: JSON.stringify(json) })));
    return { count: items.length, results: offsets.map((offset) => ({ result: 'stored', offset })) };
  });
  await app.listen({ host: '127.0.0.1', port: 0 });
  await deliver(app.server, redis, path);
  process.on('disconnect', () => process.exit());
  process.send?.((app.server.address() as AddressInfo).port);
}

/** Gives WebSockets what is published to the topics that they have subscribed to. */
async function deliver(server: import('node:http').Server, redis: Redis, path: string): Promise<void> {
  const subscriber = new Redis({ path });
  const byTopic = new Map<string, Channel>();
  const corked = new Set<WebSocket>();
  const uncork = (): void => {
    for (const socket of corked) rawOf(socket).uncork();
    corked.clear();
  };
  subscriber.on('message', (topic: string, text: string) => {
    const message = Buffer.from(text);
    for (const socket of byTopic.get(topic)?.sockets ?? []) {
      if (corked.size === 0) setImmediate(uncork);
      if (!corked.has(socket)) {
        corked.add(socket);
        rawOf(socket).cork();
      }
      socket.send(message, AS_TEXT);
    }
  });
  const sockets = new WebSocketServer({ server, perMessageDeflate: false });
  sockets.on('connection', (socket) => {
    let own: string | null = null;
    socket.on('message', async (data) => {
      const { topic } = JSON.parse(data.toString()) as { topic: string };
      own = topic;
      let channel = byTopic.get(topic);
      if (channel === undefined) {
        channel = { sockets: new Set(), subscribed: subscriber.subscribe(topic) };
        byTopic.set(topic, channel);
      }
      channel.sockets.add(socket);
      await channel.subscribed;
      const [last] = await redis.xrevrange(topic, '+', '-', 'COUNT', 1);
      socket.send(JSON.stringify({ type: 'subscribed', topic, offset: last?.[0] ?? null }));
    });
    socket.on('close', () => {
      const channel = own === null ? undefined : byTopic.get(own);
      if (own === null || channel === undefined) return;
      channel.sockets.delete(socket);
      if (channel.sockets.size > 0) return;
      byTopic.delete(own);
      void subscriber.unsubscribe(own);
    });
  });
}

/** A topic that sockets are subscribed to, and the answer of Redis to that. */
interface Channel {
  readonly sockets: Set<WebSocket>;
  readonly subscribed: Promise<unknown>;
}

/** What ws writes to. */
function rawOf(socket: WebSocket): import('node:net').Socket {
  return (socket as unknown as { _socket: import('node:net').Socket })._socket;
}

/** Appends each to the stream of its topic, and publishes it with its offset. */
const TAKE = `
local ids = {}
for i, topic in ipairs(KEYS) do
  local id = redis.call('XADD', topic, 'MAXLEN', '~', 100000, '*', 'p', ARGV[i])
  redis.call('PUBLISH', topic, '{"type":"message","topic":"' .. topic .. '","offset":"' .. id .. '","json":' .. ARGV[i] .. '}')
  ids[i] = id
end
return ids`;
const AS_TEXT = { binary: false } as const;

if (process.argv[2] === ROLE) await serve(process.argv[3]);
