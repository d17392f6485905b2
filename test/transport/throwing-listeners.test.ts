import { EventEmitter, on, once } from 'node:events';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { Stream } from '../../src/index.ts';
import type { ReceiveBatch } from '../../src/protocol/datagram/index.ts';
import { bytesOf } from '../protocol/connection/pair.ts';
import { labPair } from './lab-pair.ts';
import { join, next, serve } from './served.ts';
import { catchUncaught } from './uncaught.ts';

const mistake = (what: string) => (): never => {
  throw new Error(what);
};

describe('a listener that throws [CON-30]', () => {
  test.each(['sodium', 'node', 'noble'] as const)(
    'leaves bytes that were handed out as they are, and hands none out twice (%s)',
    async (aead) => {
      const uncaught = catchUncaught();
      const kept: { stream: number; data: Buffer }[] = [];
      const listener = await serve(
        (connection) =>
          connection.on('stream', (stream) =>
            stream.on('message', (data) => {
              kept.push({ stream: stream.id, data });
              if (stream.label === 'bad' && kept.length % 3 === 0) throw new Error('now and then');
            }),
          ),
        { aead, mtu: 1_200 },
      );
      const client = await join(listener, { aead, mtu: 1_200 });
      const streams = ['bad', 'good', 'other'].map((label) => client.openStream({ label }));
      const count = 400;
      for (let i = 0; i < count; i++) for (const stream of streams) stream.send(bytesOf(300, i));
      await Promise.all(streams.map((stream) => stream.flush()));
      await vi.waitFor(() => expect(kept.length).toBe(3 * count), { timeout: 180_000 });
      expect(uncaught.length).toBeGreaterThan(50);
      for (const { id } of streams) {
        const mine = kept.filter(({ stream }) => stream === id);
        expect(mine.map(({ data }, i) => Buffer.compare(data, bytesOf(300, i)))).toEqual(
          Array(count).fill(0),
        );
      }
    },
  );

  test('of `close` keeps no connection, no stream and no listener from ending', async () => {
    const { lab, listener, client, accepted, join: joinLab } = await labPair();
    const second = await joinLab('second');
    const uncaught = catchUncaught();
    for (const connection of [client, accepted, second.accepted])
      connection.on('close', mistake('connection'));
    listener.on('close', mistake('listener'));
    const streams: Stream[] = [];
    accepted.on('stream', (stream) => {
      streams.push(stream);
      stream.on('error', mistake('error')).on('close', mistake('stream'));
    });
    for (let i = 0; i < 3; i++) client.openStream().send('x');
    await lab.run(50);
    const iterated = (async () => {
      for await (const _ of streams[2]);
    })().catch((error) => error);
    const delivery = streams[0].sendTracked('never acknowledged');
    client.destroy(7);
    await lab.settle(Promise.all([client.closed, accepted.closed]));
    expect(await iterated).toMatchObject({ code: 'ERR_JSP_CLOSED_BY_PEER' });
    expect(['dropped', 'acknowledged']).toContain(await delivery);
    await lab.settle(listener.close());
    expect(uncaught.map((error) => (error as Error).message).sort()).toEqual(
      [
        ...Array(3).fill('connection'),
        ...Array(3).fill('error'),
        'listener',
        ...Array(3).fill('stream'),
      ].sort(),
    );
  });

  test('of the same event keeps no other listener from being told, nor what waits for the event', async () => {
    const { lab, client, accepted } = await labPair();
    const uncaught = catchUncaught();
    accepted.on('stream', mistake('first'));
    accepted.once('stream', mistake('second'));
    const stream = next<Stream>(accepted, 'stream');
    client.openStream().send('x');
    const mine = await lab.settle(stream);
    mine.on('close', mistake('third'));
    const closed = once(mine, 'close');
    const disposed = mine[Symbol.asyncDispose]();
    await lab.run(100); // what was sent is acknowledged
    client.destroy();
    await lab.settle(Promise.all([closed, disposed]));
    expect(uncaught.map((error) => (error as Error).message)).toEqual(['first', 'second', 'third']);
    expect(accepted.listenerCount('stream')).toBe(1);
  });

  test('throws into no call of somebody else, and in the order in which it happened', async () => {
    const { lab, listener, client, accepted, join: joinLab } = await labPair();
    const uncaught = catchUncaught();
    const second = await joinLab('second');
    accepted.on('close', mistake('accepted'));
    client.on('close', mistake('client'));
    listener.on('connection', mistake('connection'));
    expect(() => client.destroy()).not.toThrow();
    await lab.run(50);
    // `destroy` of one connection takes a turn for all of its socket, in which the others are told what is new.
    const stream = second.client.openStream();
    stream.send('x');
    const there = await lab.settle(next<Stream>(second.accepted, 'stream'));
    there.on('message', mistake('message'));
    expect(() => there.resume()).not.toThrow();
    await lab.run(50);
    expect(uncaught.map((error) => (error as Error).message)).toEqual(['client', 'accepted', 'message']);
    await lab.settle(joinLab('third'));
    expect(uncaught.map((error) => (error as Error).message)).toEqual([
      'client',
      'accepted',
      'message',
      'connection',
    ]);
  });

  test('of `drain`, `end` or an outcome does not stop what is on its way', async () => {
    const { lab, client, accepted } = await labPair();
    const uncaught = catchUncaught();
    const got: number[] = [];
    accepted.on('stream', (stream) => {
      stream.on('message', (data) => got.push(data.length)).on('end', mistake('end'));
    });
    const stream = client.openStream({ highWaterMark: 1_000 });
    stream.on('drain', mistake('drain'));
    expect(stream.send(bytesOf(5_000))).toBe(false);
    await lab.settle(stream.flush());
    stream.send(bytesOf(10));
    stream.end();
    await lab.settle(once(stream, 'close'));
    expect(got).toEqual([5_000, 10]);
    expect(uncaught.map((error) => (error as Error).message).sort()).toEqual(['drain', 'end']);
  });

  test('that is asynchronous is told by captureRejections as ever, also beside others', async () => {
    EventEmitter.captureRejections = true;
    try {
      const { lab, client, accepted } = await labPair();
      const errors: unknown[] = [];
      accepted.on('stream', (stream) => {
        stream.on('error', (error) => errors.push(error));
        stream.on('message', async () => mistake('late')());
        stream.on('message', async () => mistake('later')());
      });
      client.openStream().send('x');
      await lab.run(50);
      expect(errors.map(String)).toEqual(['Error: late', 'Error: later']);
    } finally {
      EventEmitter.captureRejections = false;
    }
  });
});

describe('a batch of datagrams [CON-32]', () => {
  test.each(['dgram', 'lab', 'impaired'])(
    'is taken before it is handed over: what throws does not get it again (%s)',
    async (kind) => {
      const uncaught = catchUncaught();
      const { lab, client, accepted, sockets } = await labPair(
        {},
        kind === 'impaired' ? { impairment: { seed: 1 } } : {},
      );
      const seen: string[] = [];
      let receive: (batch: ReceiveBatch) => void;
      const spoil = (socket: { onBatch: ((batch: ReceiveBatch) => void) | null }): void => {
        receive = socket.onBatch as never;
        socket.onBatch = (batch) => {
          for (let i = 0; i < batch.count; i++) seen.push(Buffer.from(batch.data[i]).toString('hex'));
          receive(batch);
          throw new Error('a driver of our own');
        };
      };
      if (kind === 'dgram') {
        const listener = await serve(null);
        const connection = await join(listener);
        spoil((listener as unknown as { driver: { socket: never } }).driver.socket);
        const stream = connection.openStream();
        for (let i = 0; i < 20; i++) await stream.sendTracked(`${i}`);
      } else {
        // Of an impaired socket, what throws is its user, behind the delay line.
        const { driver } = accepted as unknown as { driver: { socket: never } };
        spoil(kind === 'lab' ? sockets.server : driver.socket);
        const stream = client.openStream();
        for (let i = 0; i < 20; i++) {
          stream.send(`${i}`);
          await lab.run(20).catch((error) => uncaught.push(error));
        }
        await lab.run(100).catch((error) => uncaught.push(error));
      }
      expect(uncaught.length).toBeGreaterThan(10);
      expect(new Set(seen).size).toBe(seen.length);
    },
  );
});

describe('every way of listening is one [CON-30]', () => {
  const ways: Record<string, (stream: Stream, take: (data: Buffer) => void) => void> = {
    on: (stream, take) => stream.on('message', take),
    addListener: (stream, take) => stream.addListener('message', take),
    once: (stream, take) => stream.once('message', take),
    prependListener: (stream, take) => stream.prependListener('message', take),
    prependOnceListener: (stream, take) => stream.prependOnceListener('message', take),
    'events.once': (stream, take) => void once(stream, 'message').then(([data]) => take(data)),
    'events.on': (stream, take) =>
      void (async () => {
        for await (const [data] of on(stream, 'message')) return take(data);
      })(),
  };

  test.each(Object.keys(ways))('%s gets messages that are there already', async (way) => {
    const { lab, client, accepted } = await labPair();
    client.openStream().send('hello');
    await lab.run(50);
    const stream = await new Promise<Stream>((resolve) => accepted.prependOnceListener('stream', resolve));
    const message = new Promise<Buffer>((resolve) => ways[way](stream, resolve));
    expect((await lab.settle(message)).toString()).toBe('hello');
  });

  test('a connection that came before anybody listened is told to the first listener', async () => {
    const listener = await serve(null);
    const client = await join(listener);
    await client.openStream().sendTracked('x');
    const accepted = await new Promise((resolve) => listener.prependListener('connection', resolve));
    expect(accepted).toMatchObject({ role: 'server' });
  });
});

afterEach(() => {
  EventEmitter.captureRejections = false;
});
