import { randomBytes } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { expect, test } from 'vitest';
import type { TransportFacts } from '../../../src/broker/workers/core-line.ts';
import { FrameReader, FrameWriter, Order } from '../../../src/broker/workers/frames.ts';
import type { WorkerConnection, WorkerStream } from '../../../src/broker/workers/worker-line.ts';
import type { LocalConnection, LocalStream } from '../../../src/gateway/local-connection.ts';
import { ReasonCode, STREAM_LABEL } from '../../../src/pubsub/command.ts';
import type { MessageConnection } from '../../../src/pubsub/message-stream.ts';
import { LinePair, NOTHING_KNOWN } from './line-pair.ts';

const OPTIONS = { label: STREAM_LABEL, priority: 'chat' } as const;

/** A stream of a client, and what the core has of it. */
async function opened(
  pair: LinePair,
): Promise<[client: LocalStream, served: WorkerStream, WorkerConnection]> {
  const [client, connection] = await pair.join();
  const came = once(connection, 'stream');
  const near = client.openStream(OPTIONS);
  await pair.pass();
  const [served] = (await came) as [WorkerStream];
  return [near, served, connection];
}

/** Streams of one client, and what the core has of them. */
async function openedOf(
  pair: LinePair,
  client: LocalConnection,
  connection: WorkerConnection,
  count: number,
): Promise<[client: LocalStream, served: WorkerStream][]> {
  const came: WorkerStream[] = [];
  const listener = (stream: WorkerStream) => void came.push(stream);
  connection.on('stream', listener);
  const near = Array.from({ length: count }, () => client.openStream(OPTIONS));
  await pair.pass();
  connection.off('stream', listener);
  return near.map((stream, i) => [stream, came[i]]);
}

/** The worker has read what it reads. */
async function idleTurns(): Promise<void> {
  for (let i = 0; i < 8; i++) await new Promise((resolve) => setImmediate(resolve));
}

function collect(stream: LocalStream | WorkerStream): string[] {
  const texts: string[] = [];
  stream.on('message', (message: Buffer) => void texts.push(message.toString()));
  return texts;
}

test('messages of a client come to the core in order, and those of the core to it [BRK-134]', async () => {
  const pair = new LinePair();
  const [client, served] = await opened(pair);
  expect(served).toMatchObject({
    label: STREAM_LABEL,
    priority: 'chat',
    ordered: true,
    delivery: 'reliable',
  });
  const up = collect(served);
  const down = collect(client);
  const texts = Array.from({ length: 1_000 }, (_, i) => `message ${i}`);
  for (const text of texts) client.send(Buffer.from(text));
  for (const text of texts) served.send(Buffer.from(text));
  await pair.pass();
  expect(up).toEqual(texts);
  expect(down).toEqual(texts);
  expect(pair.faults).toEqual([]);
});

test('a message for many streams of a worker crosses once', async () => {
  const pair = new LinePair();
  const all = [];
  for (let i = 0; i < 50; i++) all.push(await opened(pair));
  const got = all.map(([client]) => collect(client));
  const message = randomBytes(10_000);
  for (const [, served] of all) served.send(message);
  await new Promise((resolve) => setImmediate(resolve));
  expect(pair.toWorker.reduce((sum, { length }) => sum + length, 0)).toBeLessThan(11_000);
  await pair.pass();
  expect(got).toEqual(all.map(() => [message.toString()]));
});

test('what the core keeps of a message is its own memory: the batch may go', async () => {
  const pair = new LinePair();
  const [client, served] = await opened(pair);
  const kept: Buffer[] = [];
  served.on('message', (message) => void kept.push(message));
  client.send(Buffer.from('one'));
  await new Promise((resolve) => setImmediate(resolve));
  const batches = [...pair.toCore];
  await pair.pass();
  for (const batch of batches) batch.fill(0);
  expect(kept.map(String)).toEqual(['one']);
});

test('a stream that the core has stopped is not read: what is on its way waits, and the rest stays with the client [BRK-135]', async () => {
  const pair = new LinePair();
  const [client, served] = await opened(pair);
  const up = collect(served);
  served.pause();
  const message = Buffer.alloc(1_000, 'm');
  for (let i = 0; i < 5_000; i++) client.send(message);
  await pair.pass();
  expect(up).toEqual([]);
  expect(client.queuedBytes).toBeGreaterThan(4_000_000);
  served.resume();
  await pair.pass();
  expect(up.length).toBe(5_000);
  expect(client.queuedBytes).toBe(0);
});

test('a core that takes nothing is not sent more than its bound, of one stream and of all [BRK-135]', async () => {
  const pair = new LinePair();
  const all = [];
  for (let i = 0; i < 40; i++) all.push(await opened(pair));
  const counts = all.map(([, served]) => collect(served));
  const message = Buffer.alloc(1_000, 'm');
  const [[first]] = all;
  for (let i = 0; i < 1_000; i++) first.send(message);
  for (let i = 0; i < 8; i++) await new Promise((resolve) => setImmediate(resolve));
  expect(pair.bytesToCore()).toBeLessThan(300 * 1_024);
  for (const [client] of all.slice(1)) for (let i = 0; i < 1_000; i++) client.send(message);
  for (let i = 0; i < 8; i++) await new Promise((resolve) => setImmediate(resolve));
  expect(pair.bytesToCore()).toBeGreaterThan(3 * 1_024 * 1_024);
  expect(pair.bytesToCore()).toBeLessThan(5 * 1_024 * 1_024);
  await pair.pass();
  expect(counts.map(({ length }) => length)).toEqual(all.map(() => 1_000));
});

test('a core that takes nothing is not sent more of one client than its bound, whatever streams it has [BRK-135]', async () => {
  const pair = new LinePair();
  const [client, connection] = await pair.join();
  const all = await openedOf(pair, client, connection, 60);
  const counts = all.map(([, served]) => collect(served));
  const large = Buffer.alloc(600_000, 'm');
  for (const [stream] of all) for (let i = 0; i < 3; i++) stream.send(large);
  await idleTurns();
  // 1 MiB, and one message.
  expect(pair.bytesToCore()).toBeGreaterThan(1_024 * 1_024);
  expect(pair.bytesToCore()).toBeLessThan(1_024 * 1_024 + 700_000);
  // A stream that comes meanwhile waits as the others do.
  client.openStream(OPTIONS).send(large);
  // Others have room beside it.
  const [other, served] = await opened(pair);
  const up = collect(served);
  other.send(Buffer.from('well'));
  await idleTurns();
  expect(pair.bytesToCore()).toBeLessThan(1_024 * 1_024 + 700_000);
  await pair.pass();
  expect(up).toEqual(['well']);
  expect(counts.map(({ length }) => length)).toEqual(all.map(() => 3));
});

test('of all clients together it is not sent more than its bound and a message of each [BRK-135]', async () => {
  const pair = new LinePair();
  const large = Buffer.alloc(600_000, 'm');
  const counts: string[][] = [];
  const streams: LocalStream[] = [];
  for (let i = 0; i < 6; i++) {
    for (const [stream, served] of await openedOf(pair, ...(await pair.join()), 20)) {
      counts.push(collect(served));
      streams.push(stream);
    }
  }
  for (const stream of streams) stream.send(large);
  await idleTurns();
  expect(pair.bytesToCore()).toBeLessThan(4 * 1_024 * 1_024 + 6 * 600_100);
  await pair.pass();
  expect(counts.map(({ length }) => length)).toEqual(counts.map(() => 1));
});

test('what lies unread on streams that the core has stopped is bounded for a client, stops none of its other streams, and counts no more when it is read [BRK-138]', async () => {
  const pair = new LinePair();
  const [client, connection] = await pair.join();
  const stopped = await openedOf(pair, client, connection, 60);
  const [[open, openServed]] = await openedOf(pair, client, connection, 1);
  const counts = stopped.map(([, served]) => {
    let count = 0;
    served.on('message', () => {
      // As the broker stops a publisher, at its first message: more are on their way by then.
      if (++count === 1) served.pause();
    });
    return () => count;
  });
  const message = Buffer.alloc(1_000, 'm');
  // A few at a time, so that all that is on its way at once leaves room for them.
  for (let from = 0; from < stopped.length; from += 3) {
    for (const [stream] of stopped.slice(from, from + 3)) for (let i = 0; i < 300; i++) stream.send(message);
    await pair.pass();
  }
  expect(counts.map((count) => count())).toEqual(stopped.map(() => 1));
  const lying = () => stopped.reduce((sum, [stream]) => sum - stream.queuedBytes, 60 * 299 * 1_000);
  expect(lying()).toBeGreaterThan(1_024 * 1_024);
  expect(lying()).toBeLessThan(2.5 * 1_024 * 1_024);

  const up = collect(openServed);
  const texts = Array.from({ length: 50 }, (_, i) => `${i}`);
  for (const text of texts) open.send(Buffer.from(text));
  await idleTurns();
  expect(pair.bytesToCore()).toBeLessThan(40); // one at a time
  await pair.pass();
  expect(up).toEqual(texts);

  // Streams that end with something unread, by either side, leave room.
  stopped[0][0].reset(0);
  stopped[1][1].reset(0);
  await pair.pass();
  for (const [, served] of stopped.slice(2)) served.resume();
  await pair.pass();
  expect(counts.slice(2).map((count) => count())).toEqual(stopped.slice(2).map(() => 300));
  for (const text of texts) open.send(Buffer.from(text));
  await idleTurns();
  expect(pair.bytesToCore()).toBeGreaterThan(500); // all at once again
  await pair.pass();
  expect(up).toEqual([...texts, ...texts]);
});

test('a stream says enough above its mark, and drains when the worker has said that it left', async () => {
  const pair = new LinePair();
  const [client, served] = await opened(pair);
  const down = collect(client);
  served.highWaterMark = 10_000;
  let drained = 0;
  served.on('drain', () => void drained++);
  const message = Buffer.alloc(1_000, 'm');
  const answers = Array.from({ length: 11 }, () => served.send(message));
  expect(answers).toEqual([...Array.from({ length: 10 }, () => true), false]);
  expect(served.queuedBytes).toBe(11_000);
  await pair.pass();
  expect(down.length).toBe(11);
  expect(served.queuedBytes).toBe(0);
  expect(drained).toBe(1);
});

test('a stream that the core has reset while it was told what of it had left costs nothing of what is told behind that', async () => {
  const pair = new LinePair();
  const [client, connection] = await pair.join();
  const [[, reset], [near, open]] = await openedOf(pair, client, connection, 2);
  const up = collect(open);
  reset.send(Buffer.alloc(1_000, 'm'));
  await pair.passToWorker(); // it says that these have left
  near.send(Buffer.from('behind'));
  await idleTurns();
  reset.reset(0);
  await pair.pass();
  near.send(Buffer.from('later'));
  await pair.pass();
  expect(up).toEqual(['behind', 'later']);
});

test('a message whose time is over before the worker has it is not sent [BRK-135]', async () => {
  const pair = new LinePair();
  const [client, served] = await opened(pair);
  const down = collect(client);
  served.send(Buffer.from('in time'), { delivery: 'reliable', lifetimeMs: 100 });
  served.send(Buffer.from('late'), { delivery: 'bestEffort', lifetimeMs: 10 });
  served.send(Buffer.from('for ever'), { delivery: 'bestEffort', lifetimeMs: 0 });
  pair.sharedMs += 50;
  await pair.pass();
  expect(down).toEqual(['in time', 'for ever']);
});

test('an end reaches the other side behind what was sent before, in both directions', async () => {
  const pair = new LinePair();
  const [client, served] = await opened(pair);
  const seen: string[] = [];
  served.on('message', (message) => void seen.push(message.toString()));
  served.on('end', () => {
    seen.push('end');
    served.send(Buffer.from('last word'));
  });
  served.on('close', () => void seen.push('close'));
  const down = collect(client);
  client.send(Buffer.from('first'));
  client.end();
  await pair.pass();
  expect(down).toEqual(['last word']);
  expect(seen).toEqual(['first', 'end', 'close']);
});

test('streams that the core opens are those of the client, and no more than it allows', async () => {
  const pair = new LinePair();
  const [client, connection] = await pair.join();
  const down: string[] = [];
  let near: LocalStream | undefined;
  client.on('stream', (stream: LocalStream) => {
    near = stream;
    stream.on('message', (message) => void down.push(message.toString()));
  });
  const before = connection.openableStreams;
  const served = connection.openStream({ label: STREAM_LABEL, priority: 'bulk' });
  served.send(Buffer.from('from the core'));
  expect(connection.openableStreams).toBe(before - 1);
  await pair.pass();
  expect(near).toMatchObject({ label: STREAM_LABEL, priority: 'bulk' });
  expect(down).toEqual(['from the core']);
});

test('a secret of the connection is asked for where that is; null where it is gone', async () => {
  const pair = new LinePair();
  const exporter = (label: string, context: Uint8Array, length: number) =>
    Buffer.from(`${label} ${Buffer.from(context)} ${length}`);
  const [client, connection] = await pair.join({ exporter });
  const secret = connection.facts.exporter('label', Buffer.from('context'), 32);
  await pair.pass();
  expect(Buffer.from((await secret) as Uint8Array).toString()).toBe('label context 32');
  const late = connection.facts.exporter('label', Buffer.from('context'), 32);
  client.destroy();
  await pair.pass();
  expect(await late).not.toBe(undefined);
  expect(await connection.facts.exporter('label', Buffer.from('context'), 32)).toBe(null);
});

test('what is known of a connection follows what becomes known of it', async () => {
  const pair = new LinePair();
  const facts = { address: '192.0.2.1', identity: null as string | null, isEstablished: false };
  const [client, connection] = await pair.join(facts);
  expect(connection.facts).toMatchObject({ address: '192.0.2.1', identity: null });
  Object.assign(facts, { identity: 'somebody', address: '192.0.2.2' });
  client.openStream(OPTIONS).send(Buffer.from('first'));
  await pair.pass();
  expect(connection.facts).toMatchObject({ address: '192.0.2.2', identity: 'somebody' });
});

test('a listener that throws costs its connection, and nobody else [BRK-134]', async () => {
  const pair = new LinePair();
  const [first, served, connection] = await opened(pair);
  const [second, other] = await opened(pair);
  const up = collect(other);
  served.on('message', () => {
    throw new Error('a fault');
  });
  const closed = once(connection, 'close');
  first.send(Buffer.from('at it'));
  second.send(Buffer.from('well'));
  await pair.pass();
  await closed;
  expect(pair.faults.map(String)).toEqual(['Error: a fault']);
  expect(up).toEqual(['well']);
});

test('a worker that is gone ends its connections, with their streams, and answers what it was asked [BRK-136]', async () => {
  const pair = new LinePair();
  const [, served, connection] = await opened(pair);
  const seen: string[] = [];
  served.on('error', (error) => void seen.push(error.message));
  served.on('close', () => void seen.push('stream'));
  connection.on('close', (error) => void seen.push(`connection ${error?.message}`));
  const secret = connection.facts.exporter('label', Buffer.alloc(0), 32);
  const settled = pair.core.settled();
  pair.core.end(new Error('it is gone'));
  expect(seen).toEqual(['it is gone', 'stream', 'connection it is gone']);
  expect(await secret).toBe(null);
  await settled;
  expect(() => served.send(Buffer.from('more'))).toThrow();
});

test('a connection that the core closes says nothing more, and is over when the worker has closed it', async () => {
  const pair = new LinePair();
  const [client, connection] = await pair.join();
  const up: string[] = [];
  connection.on('stream', (served: WorkerStream) =>
    served.on('message', (message) => void up.push(message.toString())),
  );
  const stream = client.openStream(OPTIONS);
  await pair.pass();
  const closed = once(connection, 'close');
  const told = once(client, 'close');
  stream.send(Buffer.from('too late'));
  connection.destroy(3);
  await pair.pass();
  await closed;
  const [error] = (await told) as [{ applicationCode: number }];
  expect(error.applicationCode).toBe(3);
  expect(up).toEqual([]);
  expect(pair.core.size).toBe(0);
});

test('frames of all kinds are read as they were written, across the growth of a batch', () => {
  const writer = new FrameWriter();
  const reader = new FrameReader();
  const blob = randomBytes(70_000).subarray(0, 60_000);
  for (let round = 0; round < 3; round++) {
    writer.frame(Order.RESET, 0xffff_ffff);
    writer.u32(7);
    writer.f64(-0.5);
    writer.text('ä');
    writer.blob(blob);
    writer.u8(255);
    writer.put(blob);
    reader.begin(writer.take());
    expect([reader.u8(), reader.u32(), reader.u32(), reader.f64(), reader.text()]).toEqual([
      ...[Order.RESET, 0xffff_ffff, 7, -0.5, 'ä'],
    ]);
    expect(reader.blob().equals(blob)).toBe(true);
    expect(reader.u8()).toBe(255);
    expect(reader.take(blob.length).equals(blob)).toBe(true);
    expect(reader.isAtEnd).toBe(true);
    expect(() => reader.take(1)).toThrow();
    expect(writer.length).toBe(0);
  }
});

const LINK = {
  ...{ rttMs: 1, loss: 0, packetsRecovered: 0, packetsLost: 0, packetsSent: 0, packetsReceived: 0 },
  ...{ bytesSent: 0, bytesReceived: 0, mtu: 1_200 },
};

test('a client that opens and resets streams while the core takes nothing has them count as open until it does [BRK-135]', async () => {
  const pair = new LinePair();
  let held = 0;
  const [client, served] = await pair.join({
    holdStreams: (count) => {
      held += count;
    },
  });
  let seen = 0;
  served.on('stream', (stream) => stream.on('close', () => seen++));
  for (let i = 0; i < 50; i++) client.openStream({ label: 'x', priority: 'chat' }).reset(7);
  while (held < 50) await new Promise((resolve) => setImmediate(resolve));
  await pair.passToCore();
  expect(seen).toBe(50);
  expect(held).toBe(50);
  await pair.pass();
  expect(held).toBe(0);
});

test('of a client that moves, and of links, the core is told no more while it takes nothing, and then how it is [BRK-135]', async () => {
  const pair = new LinePair();
  let moves = 0;
  const known = Object.defineProperty({ ...NOTHING_KNOWN, link: () => LINK }, 'address', {
    get: () => `192.0.2.${moves}`,
  }) as TransportFacts;
  const connection = Object.assign(new EventEmitter(), { openableStreams: 3 });
  pair.worker.serve(connection as unknown as MessageConnection, known);
  await pair.pass();
  for (; moves < 200; moves++) {
    for (let i = 0; i < 20; i++) pair.worker.tellOfLinks();
    pair.worker.flushNow();
  }
  expect(pair.bytesToCore()).toBeLessThan(1_000);
  await pair.pass();
  expect(pair.connections[0].facts.address).toBe('192.0.2.200');
});

test('clients whom the core cannot be told of yet are closed with BUSY [BRK-135]', async () => {
  const pair = new LinePair();
  const ends: number[] = [];
  const come = () => {
    const connection = Object.assign(new EventEmitter(), {
      openableStreams: 0,
      destroy: (code: number) => ends.push(code),
    });
    pair.worker.serve(connection as unknown as MessageConnection, NOTHING_KNOWN);
  };
  for (let i = 0; i < 4_100; i++) come();
  expect(ends).toEqual(new Array(4).fill(ReasonCode.BUSY));
  await pair.pass();
  come();
  expect(ends).toHaveLength(4);
  await pair.pass();
  expect(pair.connections).toHaveLength(4_097);
});
