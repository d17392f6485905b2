import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { type Connection, connect, type Stream } from '../../src/index.ts';
import { bytesOf } from '../protocol/connection/pair.ts';
import { echo, join, next, serve, take } from './served.ts';

describe('messages', () => {
  test('of text and of bytes come back as they went, in order', async () => {
    const connection = await join(await serve(echo));
    const stream = connection.openStream();
    const sent = ['hello', '', '\u{1f44b} w\u00f6rld', 'x'.repeat(5_000)];
    for (const text of sent) expect(stream.send(text)).toBe(true);
    expect(stream.send(bytesOf(100))).toBe(true);
    expect(stream.send(Buffer.from([1, 2, 3]))).toBe(true);
    const back = await take(stream, 6);
    expect(back.slice(0, 4).map(String)).toEqual(sent);
    expect(Buffer.compare(back[4], bytesOf(100))).toBe(0);
    expect([...back[5]]).toEqual([1, 2, 3]);
    for (const message of back) expect(Buffer.isBuffer(message)).toBe(true);
  });

  test('go many at once', async () => {
    const connection = await join(await serve(echo));
    const stream = connection.openStream();
    const sent = Array.from({ length: 1_000 }, (_, i) => `message ${i}`);
    expect(stream.sendBatch(sent)).toBe(true);
    expect((await take(stream, 1_000)).map(String)).toEqual(sent);
  });

  test('may be changed after they were sent, unless they were given away', async () => {
    const connection = await join(await serve(echo));
    const stream = connection.openStream();
    const kept = Buffer.from('as it was');
    const long = Buffer.alloc(100_000, 1);
    stream.send(kept);
    stream.send(long);
    kept.fill(0);
    long.fill(0);
    stream.send(Buffer.alloc(50_000, 2), { transfer: true });
    const back = await take(stream, 3);
    expect(back[0].toString()).toBe('as it was');
    expect(back[1].equals(Buffer.alloc(100_000, 1))).toBe(true);
    expect(back[2].equals(Buffer.alloc(50_000, 2))).toBe(true);
  });

  test('that came may be changed without harm to others', async () => {
    const connection = await join(await serve(echo));
    const stream = connection.openStream();
    stream.sendBatch(Array.from({ length: 100 }, (_, i) => `message ${i}`));
    const texts: string[] = [];
    for await (const message of stream) {
      texts.push(message.toString());
      message.fill(0);
      if (texts.length === 100) break;
    }
    expect(texts).toEqual(Array.from({ length: 100 }, (_, i) => `message ${i}`));
  });

  test('of 16 MiB arrive byte for byte', async () => {
    const [sent, got] = [hash(), hash()];
    const data = bytesOf(16 * 1024 * 1024);
    const arrived = new Promise<void>((resolve) => {
      void serveReading((message) => {
        got.update(message);
        resolve();
      }).then((connection) => connection.openStream().send(sent.update(data) && data));
    });
    await arrived;
    expect(got.digest('hex')).toBe(sent.digest('hex'));
  });

  test('as pieces of a file of 16 MiB arrive byte for byte, with `drain` telling when to go on', async () => {
    const data = bytesOf(16 * 1024 * 1024, 5);
    const got = hash();
    let bytes = 0;
    let done = () => {};
    const complete = new Promise<void>((resolve) => {
      done = resolve;
    });
    const connection = await serveReading((message) => {
      got.update(message);
      bytes += message.length;
      if (bytes === data.length) done();
    });
    const stream = connection.openStream({ highWaterMark: 256 * 1024 });
    let waited = 0;
    for (let at = 0; at < data.length; at += 65_536) {
      if (stream.send(data.subarray(at, at + 65_536))) continue;
      expect(stream.queuedBytes).toBeLessThan(256 * 1024 + 70_000);
      await next(stream, 'drain');
      expect(stream.queuedBytes).toBeLessThanOrEqual(128 * 1024);
      waited++;
    }
    await complete;
    expect(waited).toBeGreaterThan(10);
    expect(got.digest('hex')).toBe(hash().update(data).digest('hex'));
  });

  test('are read by `for await` until the other side ends', async () => {
    const listener = await serve((connection) =>
      connection.on('stream', (stream) => {
        stream.sendBatch(['one', 'two', 'three']);
        stream.end();
      }),
    );
    const stream = (await join(listener)).openStream();
    stream.send('go');
    const texts: string[] = [];
    for await (const message of stream) texts.push(message.toString());
    expect(texts).toEqual(['one', 'two', 'three']);
  });

  test('are read one by one with `read`', async () => {
    const connection = await join(await serve(echo));
    const stream = connection.openStream();
    expect(stream.read()).toBeNull();
    stream.sendBatch(['a', 'b']);
    await take(stream, 0);
    const [first] = await take(stream, 1);
    expect(first.toString()).toBe('a');
    let second = stream.read();
    for (let i = 0; i < 100 && second === null; i++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      second = stream.read();
    }
    expect(second?.toString()).toBe('b');
    expect(stream.read()).toBeNull();
  });

  test('that came when nobody listens for `message` any more wait for the next who does', async () => {
    const connection = await join(await serve(echo));
    const stream = connection.openStream();
    stream.sendBatch(['first', 'second', 'third']);
    const first = await next<Buffer>(stream, 'message');
    await new Promise((resolve) => setTimeout(resolve, 20));
    const second = await next<Buffer>(stream, 'message');
    const [third] = await take(stream, 1);
    expect([first, second, third].map(String)).toEqual(['first', 'second', 'third']);
  });

  test('go to listeners however they are added, and to none when all are removed', async () => {
    const connection = await join(await serve(echo));
    const stream = connection.openStream();
    const got: string[] = [];
    const listener = (message: Buffer) => got.push(message.toString());
    const said = async (text: string) => {
      stream.send(text);
      await stream.flush();
      await new Promise((resolve) => setTimeout(resolve, 20));
    };
    stream.addListener('message', listener);
    await said('a');
    stream.off('message', listener);
    await said('b');
    expect(got).toEqual(['a']);
    stream.on('message', listener);
    await said('c');
    expect(got).toEqual(['a', 'b', 'c']);
    stream.removeAllListeners();
    await said('d');
    expect(got).toEqual(['a', 'b', 'c']);
    expect(String((await take(stream, 1))[0])).toBe('d');
  });

  test('are Buffers and nothing else, and go by way of an `emit` that was put in the place of the own one', async () => {
    const connection = await join(await serve(echo));
    const stream = connection.openStream();
    const told: unknown[] = [];
    const heard: string[] = [];
    stream.on('message', (data) => {
      heard.push(data.toString());
      if (heard.length !== 10) return;
      const { emit } = stream;
      stream.emit = (...args: Parameters<typeof emit>) => {
        told.push(args[0]);
        return Reflect.apply(emit, stream, args);
      };
    });
    const sent = Array.from({ length: 30 }, (_, i) => `message ${i}`);
    stream.sendBatch(sent);
    while (heard.length < 30) {
      const [data] = (await once(stream, 'message')) as [Buffer];
      expect(Object.getPrototypeOf(data)).toBe(Buffer.prototype);
    }
    expect(heard).toEqual(sent);
    expect(told.filter((event) => event === 'message').length).toBeGreaterThanOrEqual(20);
  });

  test('of a stream that the server opens reach the client', async () => {
    const listener = await serve((connection) => {
      const stream = connection.openStream({
        label: 'news',
        priority: 'media',
        delivery: 'partial',
        ordered: false,
      });
      stream.send('extra!');
    });
    const connection = await join(listener);
    const stream = await next<Stream>(connection, 'stream');
    expect(stream).toMatchObject({ label: 'news', priority: 'media', delivery: 'partial', ordered: false });
    expect(String((await take(stream, 1))[0])).toBe('extra!');
  });
});

describe('streams and connections', () => {
  test('come by `for await` of a listener with all that was sent on them meanwhile', async () => {
    const listener = await serve(null);
    const served = (async () => {
      for await (const connection of listener) {
        connection.on('stream', (stream) => stream.on('message', (message) => stream.send(message)));
        return;
      }
    })();
    const connection = await join(listener);
    const stream = connection.openStream();
    stream.send('in a hurry');
    expect(String((await take(stream, 1))[0])).toBe('in a hurry');
    await served;
  });

  test('that came before anybody listened for `stream` wait for a listener', async () => {
    const listener = await serve(null);
    const connection = await join(listener);
    const stream = connection.openStream();
    stream.send('anybody there?');
    const accepted = (await listener[Symbol.asyncIterator]().next()).value as Connection;
    await new Promise((resolve) => setTimeout(resolve, 30));
    echo(accepted);
    expect(String((await take(stream, 1))[0])).toBe('anybody there?');
  });

  test('fifty on one socket do not mix', async () => {
    const listener = await serve(echo);
    const connections = await Promise.all(Array.from({ length: 50 }, () => join(listener)));
    const back = await Promise.all(
      connections.map(async (connection, i) => {
        const streams = [connection.openStream(), connection.openStream({ ordered: false })];
        for (const [k, stream] of streams.entries())
          stream.sendBatch(Array.from({ length: 20 }, (_, n) => `${i}/${k}/${n}`));
        return Promise.all(streams.map((stream) => take(stream, 20)));
      }),
    );
    for (const [i, streams] of back.entries()) {
      for (const [k, messages] of streams.entries()) {
        expect(messages.map(String).sort()).toEqual(
          Array.from({ length: 20 }, (_, n) => `${i}/${k}/${n}`).sort(),
        );
      }
    }
    expect(listener.metrics()).toMatchObject({
      connectionsOpen: 50,
      handshakesCompleted: 50,
      handshakesFailed: 0,
    });
  });

  test('a hundred on one connection end and make room for others', async () => {
    const connection = await join(await serve(echo, { streamsMax: 10 }));
    const answers = Array.from({ length: 100 }, async (_, i) => {
      const stream = connection.openStream({ label: `${i}` });
      stream.send(`${i}`);
      stream.end();
      const texts: string[] = [];
      for await (const message of stream) texts.push(message.toString());
      return texts;
    });
    expect(await Promise.all(answers)).toEqual(Array.from({ length: 100 }, (_, i) => [`${i}`]));
    expect(connection.metrics().streamsOpen).toBeLessThanOrEqual(10);
  });

  test('have metrics that are true', async () => {
    const listener = await serve(echo);
    const connection = await join(listener);
    const stream = connection.openStream();
    stream.sendBatch(Array.from({ length: 100 }, () => 'x'.repeat(100)));
    await take(stream, 100);
    await stream.flush();
    const metrics = connection.metrics();
    expect(metrics).toMatchObject({
      messagesSent: 100,
      messageBytesSent: 10_000,
      messagesReceived: 100,
      messageBytesReceived: 10_000,
      packetsUnopened: 0,
      streamsOpen: 1,
    });
    expect(metrics.rttMs).toBeGreaterThan(0);
    expect(metrics.bytesSent).toBeGreaterThan(10_000);
    expect(listener.metrics().bytesReceived).toBeLessThanOrEqual(metrics.bytesSent);
  });

  test('come to a server on all addresses, by name, and from a port of choice', async () => {
    const listener = await serve(echo, {
      host: '0.0.0.0',
      receiveBufferBytes: 300_000,
      sendBufferBytes: 300_000,
    });
    const accepted = next<Connection>(listener, 'connection');
    const { username, port } = new URL(listener.url);
    const connection = await connect(`jsp://${username}@localhost:${port}`, {
      localHost: '127.0.0.1',
      receiveBufferBytes: 300_000,
      sendBufferBytes: 300_000,
    });
    expect((await accepted).remoteHost).toBe('127.0.0.1');
    await connection.close();
  });

  test('tell who is at the other end', async () => {
    const listener = await serve(echo);
    const accepted = next<Connection>(listener, 'connection');
    const connection = await join(listener);
    expect(connection).toMatchObject({
      role: 'client',
      remoteHost: '127.0.0.1',
      remotePort: listener.port,
      isOpen: true,
    });
    expect(Buffer.from(connection.peerFingerprint ?? []).toString('base64url')).toBe(
      new URL(listener.url).username,
    );
    expect(await accepted).toMatchObject({ role: 'server', remoteHost: '127.0.0.1', peerFingerprint: null });
  });
});

/** A connection to a server that hands every message to `onMessage`. */
async function serveReading(onMessage: (message: Buffer) => void): Promise<Connection> {
  return join(
    await serve((connection) => connection.on('stream', (stream) => stream.on('message', onMessage))),
  );
}

function hash() {
  return createHash('sha256');
}

describe('the memory of a message', () => {
  test('may be transferred by whoever got it, while nine others of the datagram arrive unharmed [STR-32]', async () => {
    for (const text of ['short', 'x'.repeat(200)]) {
      const connection = await join(await serve(echo));
      const stream = connection.openStream();
      stream.sendBatch(Array.from({ length: 10 }, (_, i) => `${text}${i}`));
      const got: string[] = [];
      await new Promise<void>((resolve) => {
        stream.on('message', (message) => {
          got.push(message.toString());
          if (got.length === 10) resolve();
          if (got.length !== 3) return;
          try {
            structuredClone(message.buffer, { transfer: [message.buffer as ArrayBuffer] });
          } catch {
            // A newer Node refuses to transfer what others use.
          }
        });
      });
      expect(got).toEqual(Array.from({ length: 10 }, (_, i) => `${text}${i}`));
    }
  });

  test('that is kept keeps no datagram alive [STR-32]', async () => {
    const connection = await join(await serve(echo));
    const [wanted, noise] = [connection.openStream(), connection.openStream()];
    const kept: Buffer[] = [];
    wanted.on('message', (message) => kept.push(message));
    noise.on('message', () => {});
    for (let i = 0; i < 200; i++) {
      wanted.send('1.234');
      for (let k = 0; k < 5; k++) noise.send(new Uint8Array(600));
    }
    await wanted.flush();
    while (kept.length < 200) await next(wanted, 'message');
    const memories = new Set(kept.map(({ buffer }) => buffer));
    expect([...memories].reduce((sum, { byteLength }) => sum + byteLength, 0)).toBeLessThan(200 * 5 * 10);
  });
});
