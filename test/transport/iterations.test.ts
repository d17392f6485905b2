import { expect, test, vi } from 'vitest';
import type { Connection, Stream } from '../../src/index.ts';
import { labPair } from './lab-pair.ts';
import { echo, join, next, serve } from './served.ts';

test('several iterations over a stream share its messages, and all come to the end', async () => {
  const { lab, client, accepted } = await labPair();
  const sender = client.openStream();
  const coming = next<Stream>(accepted, 'stream');
  sender.send('0');
  const receiver = await lab.settle(coming);
  const got: string[][] = [[], [], []];
  const iterations = got.map(async (messages) => {
    for await (const message of receiver) messages.push(message.toString());
  });
  for (let i = 1; i < 30; i++) {
    await lab.run(10);
    sender.send(String(i));
  }
  sender.end();
  await lab.settle(Promise.all(iterations));
  const all = got.flat().map(Number);
  expect(all.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 30 }, (_, i) => i));
  for (const messages of got) expect(messages.length).toBeGreaterThan(5);
});

test('several iterations over a stream are all told how the connection ended', async () => {
  const { lab, client, accepted } = await labPair();
  const coming = next<Stream>(accepted, 'stream');
  client.openStream().send('x');
  const receiver = await lab.settle(coming);
  const iterations = [1, 2].map(async () => {
    for await (const _ of receiver);
  });
  await lab.run(10);
  client.destroy(7);
  const ends = await lab.settle(Promise.allSettled(iterations));
  expect(ends).toMatchObject(Array(2).fill({ reason: { code: 'ERR_JSP_CLOSED_BY_PEER' } }));
});

test('several iterations over a listener share its connections, and all come to the end', async () => {
  const listener = await serve(null);
  const got: Connection[] = [];
  const iterations = [1, 2].map(async () => {
    for await (const connection of listener) got.push(connection);
  });
  for (let i = 0; i < 3; i++) await join(listener);
  await vi.waitFor(() => expect(got.length).toBe(3), { timeout: 180_000 });
  await listener.close({ timeoutMs: 0 });
  await Promise.all(iterations);
});

test('an iteration that waits can be left, and takes nothing from those that stay', async () => {
  const { lab, client, accepted } = await labPair();
  const coming = next<Stream>(accepted, 'stream');
  const sender = client.openStream();
  sender.send('first');
  const receiver = await lab.settle(coming);
  const iterator = receiver[Symbol.asyncIterator]();
  expect(await iterator.next()).toMatchObject({ done: false, value: Buffer.from('first') });
  const waits = iterator.next();
  const stays = receiver[Symbol.asyncIterator]().next();
  expect(await iterator.return?.()).toEqual({ done: true, value: undefined });
  expect(await waits).toEqual({ done: true, value: undefined });
  sender.send('second');
  expect(await lab.settle(stays)).toMatchObject({ value: Buffer.from('second') });
  expect(await iterator.next()).toEqual({ done: true, value: undefined });
});

test('leaving the scope of a stream drops what nobody has read, and does not wait for it', async () => {
  const { lab, client, accepted } = await labPair();
  echo(accepted);
  const stream = client.openStream();
  stream.send('unread');
  await lab.run(50);
  await lab.settle(stream[Symbol.asyncDispose]());
  expect(client.metrics().streamsOpen).toBe(0);
});
