import { createHash, randomBytes } from 'node:crypto';
import { getEventListeners, once } from 'node:events';
import { createReadStream, createWriteStream, readFileSync, writeFileSync } from 'node:fs';
import { join as joinPath } from 'node:path';
import { createInterface } from 'node:readline';
import { type Duplex, PassThrough, Readable, Transform, Writable } from 'node:stream';
import { finished, pipeline } from 'node:stream/promises';
import { CompressionStream, DecompressionStream, type WritableStreamDefaultWriter } from 'node:stream/web';
import { createGunzip, createGzip } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Connection,
  createDuplex,
  createWebStreams,
  type DuplexOptions,
  type ListenOptions,
  type Stream,
} from '../../src/index.ts';
import { cutIntoMessages } from '../../src/transport/byte-channel.ts';
import { emptyFolder } from '../empty-folder.ts';
import { labPair } from './lab-pair.ts';
import { join, next, serve } from './served.ts';

/** A stream at both ends of a connection over this machine's network: the client has opened it. */
async function twoEnds(options: Partial<ListenOptions> = {}): Promise<Ends> {
  const coming: Promise<Connection> = new Promise((resolve) => {
    serve(resolve, options).then(async (listener) => resolveClient(await join(listener)));
  });
  let resolveClient: (connection: Connection) => void = () => {};
  const client = await new Promise<Connection>((resolve) => {
    resolveClient = resolve;
  });
  const server = await coming;
  const near = client.openStream({ priority: 'bulk' });
  near.send(''); // an empty message opens it and carries no bytes
  const far = await next<Stream>(server, 'stream');
  return { client, server, near, far };
}

interface Ends {
  client: Connection;
  server: Connection;
  near: Stream;
  far: Stream;
}

/** Where a write waits for the peer. */
interface StuckEnds {
  client: Connection;
  accepted: Connection;
  far: Stream;
  writer: WritableStreamDefaultWriter<Uint8Array>;
  abort: AbortController;
}

async function duplexes(options: DuplexOptions = {}, listen: Partial<ListenOptions> = {}) {
  const ends = await twoEnds(listen);
  const a = quietDuplex(ends.near, options);
  const b = quietDuplex(ends.far, options);
  return { ...ends, a, b };
}

/** As everybody makes one: without a listener for its error a Duplex ends the process when its connection is lost. */
function quietDuplex(stream: Stream, options: DuplexOptions = {}): Duplex {
  return createDuplex(stream, options).on('error', () => {});
}

async function bytesFrom(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function sha(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

const MIB = 1024 * 1024;

describe('a Duplex over a stream', () => {
  test('carries a file through gzip, to a file, with pipeline()', async () => {
    const folder = emptyFolder();
    const content = randomBytes(3 * MIB);
    writeFileSync(joinPath(folder, 'in'), content);
    const { a, b } = await duplexes();
    await Promise.all([
      pipeline(createReadStream(joinPath(folder, 'in')), createGzip({ level: 1 }), a),
      pipeline(b, createGunzip(), createWriteStream(joinPath(folder, 'out'))),
    ]);
    expect(sha(readFileSync(joinPath(folder, 'out')))).toBe(sha(content));
  });

  test('carries what a chunk was when it was written, whatever its owner does with it then', async () => {
    const { a, b } = await duplexes();
    const chunk = randomBytes(4 * MIB); // more than is under way at a time
    const written = sha(chunk);
    a.write(chunk, () => chunk.fill(0));
    a.end();
    expect(sha(await bytesFrom(b))).toBe(written);
  });

  test('echoes through a pipeline that comes back to itself, and both sides end', async () => {
    const { a, b, client } = await duplexes();
    const upper = new Transform({
      transform: (chunk: Buffer, _encoding, done) => done(null, chunk.toString().toUpperCase()),
    });
    const echoed = pipeline(b, upper, b);
    a.end('hello, '.repeat(50_000));
    expect((await bytesFrom(a)).toString()).toBe('HELLO, '.repeat(50_000));
    await echoed;
    await finished(a);
    expect(client.metrics().streamsOpen).toBe(0);
  });

  test('carries a protocol of lines', async () => {
    const { a, b } = await duplexes();
    const lines = createInterface({ input: b });
    lines.on('line', (line) => b.write(`${line.length} ${line}\r\n`)).on('close', () => b.end());
    const answers = createInterface({ input: a })[Symbol.asyncIterator]();
    a.write('GET / HT');
    a.write('TP/1.1\r\nHost: ä\r\n');
    expect((await answers.next()).value).toBe('14 GET / HTTP/1.1');
    expect((await answers.next()).value).toBe('7 Host: ä');
    a.end();
    expect((await answers.next()).done).toBe(true);
  });

  test('hands on received messages in the memory in which they came', async () => {
    const { near, far } = await twoEnds();
    const b = quietDuplex(far);
    const seen: Buffer[] = [];
    far.prependListener('message', (message: Buffer) => seen.push(message));
    near.send('x'.repeat(5_000));
    const [chunk] = (await once(b, 'data')) as [Buffer];
    expect(chunk.buffer).toBe(seen.at(-1)?.buffer);
    expect(chunk.byteOffset).toBe(seen.at(-1)?.byteOffset);
  });

  test('joins what was written while it was corked, and cuts what is larger than a message', async () => {
    const { near, far } = await twoEnds();
    const a = quietDuplex(near, { messageBytes: 1_000 });
    const sizes: number[] = [];
    far.on('message', (message) => sizes.push(message.length));
    a.cork();
    for (let i = 0; i < 25; i++) a.write('x'.repeat(100));
    a.uncork();
    a.end('y'.repeat(2_500));
    await once(far, 'end');
    expect(sizes.filter((size) => size > 0)).toEqual([1_000, 1_000, 500, 1_000, 1_000, 500]);
  });

  test('lets the peer wait while nobody reads, and keeps no more than the marks', async () => {
    const limits = {
      messageBytesMax: 70_000,
      streamWindowBytes: 256 * 1024,
      connectionWindowBytes: 512 * 1024,
    };
    const { near, far } = await twoEnds(limits);
    near.highWaterMark = 100_000;
    const a = quietDuplex(near, { highWaterMark: 50_000 });
    const b = quietDuplex(far, { highWaterMark: 50_000 });
    let written = 0;
    const chunk = Buffer.alloc(10_000, 1);
    for (let quiet = 0; quiet < 10; ) {
      const before = written;
      while (a.writableLength < a.writableHighWaterMark) {
        a.write(chunk);
        written += chunk.length;
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
      quiet = written === before ? quiet + 1 : 0;
    }
    // The window, the stream's mark, the mark of the Duplex; nothing is kept at the other side before somebody reads.
    expect(written).toBeGreaterThan(120_000);
    expect(written).toBeLessThan(256 * 1024 + 100_000 + 50_000 + 3 * 70_000);
    expect(b.readableLength).toBe(0);
    a.end();
    expect((await bytesFrom(b)).length).toBe(written);
  });

  test('stops reading at its mark and goes on as it is read, one write at a time', async () => {
    const { a, b } = await duplexes({ highWaterMark: 10_000, messageBytes: 4_000 });
    a.end(Buffer.alloc(1 * MIB, 7));
    await once(b, 'readable');
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(b.readableLength).toBeLessThan(10_000 + 4_000);
    let most = 0;
    let bytes = 0;
    const slow = new Writable({
      highWaterMark: 1_000,
      write(chunk: Buffer, _encoding, done) {
        most = Math.max(most, b.readableLength);
        bytes += chunk.length;
        setImmediate(done);
      },
    });
    await pipeline(b, slow);
    expect(bytes).toBe(1 * MIB);
    expect(most).toBeLessThan(10_000 + 4_000);
  });

  test('finishes when the peer has everything, so that the connection may be destroyed then', async () => {
    const { a, b, client } = await duplexes();
    const content = randomBytes(2 * MIB);
    const got = bytesFrom(b);
    a.end(content);
    await finished(a, { readable: false });
    client.destroy();
    expect(sha(await got)).toBe(sha(content));
  });

  test('loses nothing of what had come when a slow reader outlives the connection', async () => {
    const { a, b, client, server } = await duplexes({ highWaterMark: 1_000, messageBytes: 2_000 });
    const content = randomBytes(30_000); // which is less than the window
    a.end(content);
    await finished(a, { readable: false });
    await client.close();
    await server.closed;
    expect(sha(await bytesFrom(b))).toBe(sha(content));
    expect(b.errored).toBe(null);
  });

  test('that never ends its own side just closes when the connection is closed well', async () => {
    const { a, b, client } = await duplexes();
    a.end('all');
    b.resume();
    await once(b, 'end');
    const closed = once(b, 'close');
    await client.close();
    await closed;
    expect(b.errored).toBe(null);
  });

  test.each([
    [true, 'says what it likes when the peer has ended'],
    [undefined, 'says what it likes when the peer has ended, by default'],
    [false, 'ends when the peer has'],
  ])('with allowHalfOpen %s %s', async (allowHalfOpen, _says) => {
    const { near, far } = await twoEnds();
    const a = quietDuplex(near);
    const b = quietDuplex(far, { allowHalfOpen });
    a.end('question');
    b.resume();
    await once(b, 'end');
    await new Promise((resolve) => setTimeout(resolve, 5));
    if (allowHalfOpen === false) expect(b.writableEnded).toBe(true);
    else b.end('answer');
    expect((await bytesFrom(a)).toString()).toBe(allowHalfOpen === false ? '' : 'answer');
  });

  test('reads on when its own side has ended', async () => {
    const { a, b } = await duplexes();
    a.end();
    b.write('still ');
    await finished(a, { readable: false });
    b.end('here');
    expect((await bytesFrom(a)).toString()).toBe('still here');
  });

  test('that a `for await` has read to its end is over for the peer with end(), whether Node has destroyed it by then or not', async () => {
    const { a, b, client } = await duplexes();
    a.end('x');
    for await (const _ of b);
    b.end();
    a.resume();
    await finished(a);
    expect(client.metrics().streamsOpen).toBe(0);
  });

  describe('and errors', () => {
    test.each([
      ['of its own', new Error('disk full'), {}, 1],
      ['with a code', Object.assign(new Error('no'), { applicationCode: 77 }), {}, 77],
      ['with a code chosen', new Error('no'), { resetCode: 5 }, 5],
      ['none at all', undefined, {}, 0],
    ])('destroy() with one %s resets the stream', async (_, error, options, code) => {
      const { a, b } = await duplexes(options);
      a.on('error', () => {});
      b.write('x'.repeat(300_000)); // more than is read
      const failed = once(b, 'error');
      a.destroy(error);
      const [seen] = await failed;
      expect(seen).toMatchObject({ code: 'ERR_JSP_STREAM_RESET', applicationCode: code });
      expect([a.destroyed, b.destroyed]).toEqual([true, true]);
    });

    test('of the peer fail a pipeline, and through one that passes on the next stream with the same code', async () => {
      const first = await duplexes();
      const second = await duplexes();
      const passing = pipeline(first.b, new PassThrough(), second.a);
      const failed = once(second.b, 'error');
      second.b.resume();
      first.a.write('some');
      first.a.on('error', () => {});
      first.a.destroy(Object.assign(new Error('gone'), { applicationCode: 9 }));
      await expect(passing).rejects.toMatchObject({ code: 'ERR_JSP_STREAM_RESET', applicationCode: 9 });
      expect((await failed)[0]).toMatchObject({ applicationCode: 9 });
    });

    test('of a sink at the other end stop a pipeline that writes', async () => {
      const { a, b } = await duplexes();
      const sink = new Writable({ write: (_chunk, _encoding, done) => done(new Error('disk full')) });
      const sending = pipeline(Readable.from(endless()), a);
      await expect(pipeline(b, sink)).rejects.toThrow('disk full');
      await expect(sending).rejects.toMatchObject({ code: 'ERR_JSP_STREAM_RESET', applicationCode: 1 });
    });

    test('of the connection are those of reading and of a write that waits', async () => {
      const { a, b, server } = await duplexes();
      b.resume();
      a.write('x');
      const failures = Promise.all([once(a, 'error'), once(b, 'error')]);
      const reading = bytesFrom(a).catch((error: unknown) => error);
      server.destroy(42, 'maintenance');
      const [[atClient], [atServer]] = await failures;
      expect(atClient).toMatchObject({ code: 'ERR_JSP_CLOSED_BY_PEER', applicationCode: 42 });
      expect(atServer).toMatchObject({ code: 'ERR_JSP_CLOSED' });
      expect(await reading).toBe(atClient);
    });

    test('a connection closed well, though the peer had not ended, is an end that is missing', async () => {
      const { a, b, client } = await duplexes();
      a.write('half of it');
      const reading = bytesFrom(b);
      reading.catch(() => {});
      a.on('error', () => {});
      await client.close();
      await expect(reading).rejects.toMatchObject({ code: 'ERR_JSP_CLOSED' });
    });

    test.each<[string, (ends: { a: Duplex; far: Stream; client: Connection }) => unknown]>([
      ['the peer resets', ({ far }) => far.reset(7)],
      ['it is destroyed', ({ a }) => a.destroy()],
      ['it is destroyed with an error', ({ a }) => a.destroy(new Error('enough'))],
      ['the connection is destroyed', ({ client }) => client.destroy()],
    ])('the callback of a write that waits for the peer comes once when %s', async (_, end) => {
      const { client, near, far } = await twoEnds();
      far.on('error', () => {});
      const a = quietDuplex(near);
      const called: unknown[] = [];
      for (let i = 0; i < 2; i++) a.write(Buffer.alloc(30 * MIB), (error) => called.push(error));
      await new Promise((resolve) => setTimeout(resolve, 20));
      const closed = new Promise((resolve) => a.once('close', resolve));
      end({ a, far, client });
      await closed;
      await new Promise((resolve) => setTimeout(resolve, 5));
      expect(called).toEqual([expect.any(Error), expect.any(Error)]);
    });

    test('a stream that was reset before it became a Duplex tells it all the same', async () => {
      const { near, far } = await twoEnds();
      const reset = once(far, 'error');
      near.reset(3);
      await reset;
      await expect(bytesFrom(quietDuplex(far))).rejects.toMatchObject({ applicationCode: 3 });
    });

    test('an abort ends both sides', async () => {
      const abort = new AbortController();
      const { near, far } = await twoEnds();
      const a = quietDuplex(near, { signal: abort.signal });
      const b = quietDuplex(far);
      const sending = pipeline(Readable.from(endless()), a);
      const receiving = pipeline(b, new Writable({ write: (_chunk, _encoding, done) => done() }));
      await new Promise((resolve) => setTimeout(resolve, 20));
      abort.abort();
      await expect(sending).rejects.toMatchObject({ name: 'AbortError' });
      await expect(receiving).rejects.toMatchObject({ code: 'ERR_JSP_STREAM_RESET' });
      const late = quietDuplex((await twoEnds()).near, { signal: abort.signal });
      await expect(bytesFrom(late)).rejects.toMatchObject({ name: 'AbortError' });
    });

    test('a best-effort message among the bytes is refused [STR-45], for what is lost of it would not be missed', async () => {
      const { near, far } = await twoEnds();
      const b = quietDuplex(far);
      near.on('error', () => {});
      near.send('x', { delivery: 'bestEffort' });
      await expect(bytesFrom(b)).rejects.toMatchObject({ code: 'ERR_JSP_PROTOCOL' });
    });

    test.each([
      [{ delivery: 'bestEffort' }, /is bestEffort:/],
      [{ delivery: 'partial' }, /is partial:/],
      [{ ordered: false }, /is reliable, unordered:/],
    ] as const)('a stream that is %o is refused with what to do [STR-45]', async (options, says) => {
      const { client } = await twoEnds();
      expect(() => createDuplex(client.openStream(options))).toThrow(
        expect.objectContaining({ code: 'ERR_JSP_OPTION_INVALID', message: expect.stringMatching(says) }),
      );
    });

    test('a stream is taken over once', async () => {
      const { near } = await twoEnds();
      createDuplex(near);
      expect(() => createWebStreams(near)).toThrow(/has a listener/);
      expect(() => createDuplex(near, { objectMode: true } as never)).toThrow(/no option "objectMode"/);
    });

    test('bytes are not given a lifetime by that of the stream', async () => {
      const { client, server } = await twoEnds();
      const near = client.openStream({ lifetimeMs: 1 });
      const a = quietDuplex(near);
      a.end('x'.repeat(1 * MIB));
      const far = await next<Stream>(server, 'stream');
      await new Promise((resolve) => setTimeout(resolve, 30));
      expect((await bytesFrom(quietDuplex(far))).length).toBe(1 * MIB);
    });
  });
});

describe('Web streams over a stream', () => {
  test('carry bytes with pipeTo through transforms, both ways', async () => {
    const { near, far } = await twoEnds();
    const a = createWebStreams(near);
    const b = createWebStreams(far);
    const content = Buffer.from('0123456789'.repeat(300_000));
    const echoing = b.readable.pipeTo(b.writable);
    const sending = Readable.toWeb(Readable.from([content])) as unknown as ReadableStream<Uint8Array>;
    const [back] = await Promise.all([
      bytesFrom(
        (a.readable as unknown as ReadableStream).pipeThrough(
          new DecompressionStream('gzip') as never,
        ) as never,
      ),
      sending.pipeThrough(new CompressionStream('gzip') as never).pipeTo(a.writable as never),
      echoing,
    ]);
    expect(sha(back)).toBe(sha(content));
  });

  test('take buffers and views of them, and nothing else', async () => {
    const { near, far } = await twoEnds();
    const { writable } = createWebStreams(near);
    const got = bytesFrom(createWebStreams(far).readable);
    const writer = writable.getWriter();
    await writer.write(new Uint8Array([1, 2]));
    await writer.write(new Uint8Array([3, 4]).buffer);
    await writer.write(new DataView(new Uint8Array([5, 6]).buffer, 1));
    await writer.close();
    expect([...(await got)]).toEqual([1, 2, 3, 4, 6]);
    const other = createWebStreams((await twoEnds()).near).writable.getWriter();
    other.closed.catch(() => {});
    await expect(other.write('text' as never)).rejects.toThrow(TypeError);
  });

  test('let the peer wait while nobody reads', async () => {
    const { near, far } = await twoEnds({ streamWindowBytes: 256 * 1024, messageBytesMax: 70_000 });
    near.highWaterMark = 100_000;
    const writer = createWebStreams(near).writable.getWriter();
    const { readable } = createWebStreams(far);
    let written = 0;
    let isFull = false;
    const writing = (async () => {
      for (let i = 0; i < 200; i++) {
        await writer.ready;
        void writer.write(new Uint8Array(10_000));
        written += 10_000;
      }
      await writer.close();
    })();
    for (let quiet = 0, before = -1; quiet < 10; before = written) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      quiet = written === before ? quiet + 1 : 0;
      isFull = written < 2_000_000;
    }
    expect(isFull).toBe(true);
    expect((await bytesFrom(readable)).length).toBe(2_000_000);
    await writing;
  });

  test('cancel() of reading leaves writing as it is', async () => {
    const { near, far } = await twoEnds();
    const a = createWebStreams(near);
    const b = quietDuplex(far);
    b.write('x'.repeat(100_000));
    await a.readable.cancel();
    const writer = a.writable.getWriter();
    await writer.write(Buffer.from('still'));
    const [said] = await once(b, 'data');
    expect(said.toString()).toBe('still');
    const failed = once(b, 'error');
    await writer.close(); // now nothing is left that the stream is for
    b.resume();
    expect((await failed)[0]).toMatchObject({ code: 'ERR_JSP_STREAM_RESET', applicationCode: 0 });
  });

  test('abort() of writing resets the stream, and a reset is the error of both', async () => {
    const { near, far } = await twoEnds();
    const a = createWebStreams(near);
    const b = createWebStreams(far);
    const reading = bytesFrom(a.readable);
    const other = bytesFrom(b.readable);
    reading.catch(() => {});
    other.catch(() => {});
    await a.writable.abort(Object.assign(new Error('stop'), { applicationCode: 12 }));
    await expect(reading).rejects.toThrow('stop');
    await expect(other).rejects.toMatchObject({ applicationCode: 12 });
    await expect(b.writable.getWriter().closed).rejects.toMatchObject({ applicationCode: 12 });
  });

  const ends: Readonly<Record<string, [(ends: StuckEnds) => unknown, object]>> = {
    'the peer resets': [({ far }) => far.reset(7), { applicationCode: 7 }],
    'it is aborted': [({ writer }) => writer.abort(new Error('enough')), { message: 'enough' }],
    'it is closed, then aborted': [
      ({ writer }) => {
        writer.close().catch(() => {});
        return writer.abort(new Error('enough'));
      },
      { message: 'enough' },
    ],
    'the signal fires': [({ abort }) => abort.abort(), { code: 'ERR_JSP_ABORTED' }],
    'the connection is destroyed': [({ client }) => client.destroy(), { code: 'ERR_JSP_CLOSED' }],
    'the peer goes': [({ accepted }) => accepted.destroy(3), { code: 'ERR_JSP_CLOSED_BY_PEER' }],
  };

  test.each(Object.keys(ends))(
    'a write that waits for the peer fails when %s, and so does all behind it',
    async (how) => {
      const { lab, client, accepted } = await labPair();
      const coming = next<Stream>(accepted, 'stream');
      const near = client.openStream({ highWaterMark: 1_000 });
      near.send('');
      const far = await lab.settle(coming);
      far.on('error', () => {});
      const abort = new AbortController();
      const { readable, writable } = createWebStreams(near, { signal: abort.signal });
      const writer = writable.getWriter();
      const reader = readable.getReader();
      const waiting = [
        writer.write(new Uint8Array(30 * MIB)),
        writer.write(new Uint8Array(1)),
        writer.closed,
        reader.read(),
        reader.closed,
      ].map((promise) => promise.then(String, (error: unknown) => error));
      await lab.run(200);
      const [end, error] = ends[how];
      const ended = Promise.resolve(end({ client, accepted, far, writer, abort }));
      await lab.run(100);
      await ended;
      for (const failed of await Promise.all(waiting)) expect(failed).toMatchObject(error);
    },
  );

  test('an abort signal ends both directions, also one that fired before', async () => {
    const { near, far } = await twoEnds();
    const abort = new AbortController();
    const { readable, writable } = createWebStreams(near, { signal: abort.signal });
    const failed = once(far, 'error');
    abort.abort();
    await expect(bytesFrom(readable)).rejects.toMatchObject({ code: 'ERR_JSP_ABORTED' });
    await expect(writable.getWriter().closed).rejects.toMatchObject({ code: 'ERR_JSP_ABORTED' });
    expect((await failed)[0]).toMatchObject({ applicationCode: 1 });
    const late = createWebStreams((await twoEnds()).near, { signal: abort.signal });
    await expect(bytesFrom(late.readable)).rejects.toMatchObject({ code: 'ERR_JSP_ABORTED' });
  });

  test('of a stream that is over leave nothing at their signal', async () => {
    const { signal } = new AbortController();
    for (const isOverBefore of [false, true]) {
      const { near, far } = await twoEnds();
      for (const stream of [near, far]) stream.on('error', () => {});
      const closed = new Promise<void>((resolve) => near.once('close', resolve));
      if (!isOverBefore) createWebStreams(near, { signal });
      expect(getEventListeners(signal, 'abort')).toHaveLength(isOverBefore ? 0 : 1);
      near.reset();
      await closed;
      if (isOverBefore) createWebStreams(near, { signal });
      expect(getEventListeners(signal, 'abort')).toEqual([]);
    }
  });
});

describe('bytes over a bad link', () => {
  test('arrive in order and complete, in the lab', async () => {
    const { lab, client, accepted } = await labPair({ delayMs: 20 });
    lab.network.connect('client', 'server', { delayMs: 20, loss: 0.05, reorder: 0.1 });
    const a = quietDuplex(client.openStream({ priority: 'bulk' }));
    const content = randomBytes(2 * MIB);
    const coming = next<Stream>(accepted, 'stream');
    const sent = pipeline(Readable.from(pieces(content, 30_000)), a);
    const b: Duplex = quietDuplex(await lab.settle(coming));
    const got = lab.settle(bytesFrom(b));
    expect(sha(await got)).toBe(sha(content));
    await lab.settle(sent);
  });
});

describe('cutting bytes into messages', () => {
  test('neither loses, doubles nor moves a byte, and makes no message that is too large [STR-44]', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 30 }),
        fc.integer({ min: 1, max: 50 }),
        (chunks, bytesMax) => {
          const messages = [...cutIntoMessages(chunks, bytesMax)].map(({ bytes }) => bytes);
          expect(Buffer.concat(messages)).toEqual(Buffer.concat(chunks));
          expect(messages.every(({ length }) => length <= bytesMax)).toBe(true);
          // Two neighbours that would fit into one message are one, but for the pieces of a chunk that was too large.
          const cut = chunks.some(({ length }) => length > bytesMax);
          const loose = messages.filter(
            (message, i) => i > 0 && message.length + messages[i - 1].length <= bytesMax,
          );
          if (!cut) expect(loose).toEqual([]);
        },
      ),
    );
  });

  test('any chunking arrives as the same bytes', async () => {
    const ends = await twoEnds();
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 9_000 }), fc.boolean()), { maxLength: 12 }),
        fc.integer({ min: 1, max: 8_000 }),
        async (writes, messageBytes) => {
          const near = ends.client.openStream();
          const a = quietDuplex(near, { messageBytes, highWaterMark: 4_000 });
          const coming = next<Stream>(ends.server, 'stream');
          const sent: Buffer[] = [];
          for (const [size, corked] of writes) {
            const chunk = randomBytes(size);
            sent.push(chunk);
            if (corked) a.cork();
            a.write(chunk);
            if (!corked) a.uncork();
          }
          a.end();
          const b = quietDuplex(await coming);
          b.end();
          a.resume();
          expect(sha(await bytesFrom(b))).toBe(sha(Buffer.concat(sent)));
        },
      ),
      { numRuns: 25 },
    );
  });
});

function* pieces(content: Buffer, size: number): Generator<Buffer> {
  for (let at = 0; at < content.length; at += size) yield content.subarray(at, at + size);
}

function* endless(): Generator<Buffer> {
  for (;;) yield Buffer.alloc(50_000);
}
