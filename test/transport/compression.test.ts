import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/random.ts';
import {
  type Compression,
  type Connection,
  type ConnectOptions,
  connect,
  createDuplex,
  generateIdentity,
  type JspError,
  listen,
  type Stream,
  type StreamOptions,
} from '../../src/index.ts';
import { CompressionMode } from '../../src/protocol/compress/index.ts';
import { noise, reading } from '../protocol/compress/messages.ts';
import { labPair } from './lab-pair.ts';
import { echo, join, next, serve, take } from './served.ts';

const prng = new Prng(3);
const readings = Array.from({ length: 100 }, () => reading(prng));
const dictionary = Buffer.concat(readings.slice(0, 30));
const page = Buffer.concat(readings);
const isAdaptive = (compression: Compression) =>
  compression === 'auto' || (typeof compression === 'object' && compression.mode === 'auto');

describe('compression is asked for in the same words everywhere', () => {
  const given: readonly Compression[] = [
    true,
    'auto',
    {},
    { mode: 'auto', dictionaries: [dictionary], bytesMin: 50 },
    { method: 'deflate', dictionaries: [dictionary] },
    { mode: true, dictionaries: [] },
  ];

  test.each(given)(
    '%j is taken by listen and connect, and messages come back as they went',
    async (compression) => {
      const connection = await join(await serve(echo, { compression }), { compression });
      const stream = connection.openStream();
      const messages = [page, ...readings.slice(40, 60), noise(5_000)];
      for (const message of messages) stream.send(message);
      const back = await take(stream, messages.length);
      expect(back.every((message, i) => message.equals(messages[i]))).toBe(true);
      const metrics = connection.metrics();
      if (isAdaptive(compression)) {
        // What pays is decided by the path and the clock, differently on each machine: that it was decided is what can be told.
        expect(metrics.messagesCompressed + metrics.compressionSkippedCostly).toBeGreaterThan(0);
        return;
      }
      expect(metrics.messagesCompressed).toBeGreaterThan(0);
      expect(metrics.messagesInflated).toBeGreaterThan(0);
      expect(metrics.compressionRatio).toBeGreaterThan(1.3);
      expect(metrics.deflateMs).toBeGreaterThan(0);
      expect(metrics.inflateMs).toBeGreaterThan(0);
    },
  );

  test('streams and messages choose for themselves', async () => {
    const mode = { mode: false } as const;
    const connection = await join(await serve(echo, { compression: mode }), { compression: mode });
    const compressed = () => connection.metrics().messagesCompressed;
    const plain = connection.openStream();
    plain.send(page);
    expect(compressed()).toBe(0);
    plain.send(page, { compression: true });
    expect(compressed()).toBe(1);
    plain.send(page);
    expect(compressed()).toBe(1);
    const stream = connection.openStream({ compression: true });
    expect(await stream.sendTracked(page)).toBe('acknowledged');
    expect(compressed()).toBe(2);
    expect(await stream.sendTracked(page, { compression: false })).toBe('acknowledged');
    expect(compressed()).toBe(2);
    const adaptive = connection.openStream({ compression: 'auto' });
    adaptive.send(page);
    expect(compressed() + connection.metrics().compressionSkippedCostly).toBe(3);
  });

  test('without it nothing is compressed, whatever the other side and a stream ask for', async () => {
    const listener = await serve(echo);
    const connection = await join(listener, { compression: true });
    const stream = connection.openStream({ compression: true });
    stream.send(page, { compression: true });
    expect((await take(stream, 1))[0].equals(page)).toBe(true);
    const { messagesCompressed, messagesInflated, compressionSkippedNotAgreed } = connection.metrics();
    expect({ messagesCompressed, messagesInflated, compressionSkippedNotAgreed }).toEqual({
      messagesCompressed: 0,
      messagesInflated: 0,
      compressionSkippedNotAgreed: 1,
    });
  });

  test('a dictionary makes readings small where both sides have it, and does no harm where one has', async () => {
    const ratio = async (server: Uint8Array[], client: Uint8Array[]) => {
      const listener = await serve(echo, { compression: { dictionaries: server } });
      const connection = await join(listener, { compression: { dictionaries: client } });
      const stream = connection.openStream();
      for (const message of readings.slice(40)) stream.send(message);
      const back = await take(stream, 60);
      expect(Buffer.concat(back).equals(Buffer.concat(readings.slice(40)))).toBe(true);
      return connection.metrics().compressionRatio;
    };
    expect(await ratio([dictionary], [Buffer.from('another'), dictionary])).toBeGreaterThan(2);
    expect(await ratio([dictionary], [])).toBeLessThan(1.3);
    expect(await ratio([], [dictionary])).toBeLessThan(1.3);
  });

  test('DEFLATE makes messages smaller than LZ4 does, towards whoever compresses by something else, too [CMP-12]', async () => {
    const sent = async (compression: Compression, theirs: Compression) => {
      const connection = await join(await serve(echo, { compression: theirs }), { compression });
      const stream = connection.openStream();
      stream.send(page);
      expect((await take(stream, 1))[0].equals(page)).toBe(true); // and back, by what the listener compresses with
      return connection.metrics().bytesAfterCompression;
    };
    const byLz4 = await sent(true, { method: 'deflate' });
    expect(await sent({ method: 'deflate' }, true)).toBeLessThan(0.8 * byLz4);
    expect(await sent({ method: 'lz4' }, { mode: false })).toBe(byLz4);
  });

  test.each(['js', 'native'] as const)('%s carries a session', async (lz4) => {
    const connection = await join(await serve(echo, { lz4, compression: true }), { lz4, compression: true });
    const stream = connection.openStream();
    stream.send(page);
    expect((await take(stream, 1))[0].equals(page)).toBe(true);
    expect(connection.metrics().messagesCompressed).toBe(1);
  });
});

describe('wrong options', () => {
  const invalid = (message: string) =>
    expect.objectContaining({ code: 'ERR_JSP_OPTION_INVALID', message: expect.stringContaining(message) });

  test.each([
    ['yes', 'compression must be true, false, auto or an object, not "yes"'],
    [1, 'compression must be true, false, auto or an object'],
    [{ mode: 'on' }, 'mode must be true, false or auto'],
    [{ dictionary: dictionary }, 'the nearest it has is "dictionaries"'],
    [{ dictionaries: dictionary }, 'dictionaries must be an array of at most 16 Uint8Arrays'],
    [{ dictionaries: [new Uint8Array(0)] }, 'a dictionary has 1 to 65535 bytes, not 0'],
    [{ dictionaries: [dictionary, dictionary] }, 'is there twice'],
    [{ dictionaries: readings.slice(0, 17) }, 'at most 16 dictionaries, not 17'],
    [{ method: 'zip' }, 'method must be one of lz4, deflate'],
    [{ bytesMin: 0 }, 'bytesMin must be a whole number from 1'],
  ])('%j is refused', async (value, message) => {
    const options = { compression: value as Compression };
    await expect(connect('jsp://127.0.0.1:9', { ...options, insecure: true })).rejects.toEqual(
      invalid(message),
    );
    await expect(listen({ identity: generateIdentity(), port: 0, ...options })).rejects.toEqual(
      invalid(message),
    );
  });

  test('streams and messages take a choice only', async () => {
    const connection = await join(await serve(echo));
    const wrong = { compression: {} } as unknown as StreamOptions;
    expect(() => connection.openStream(wrong)).toThrow(invalid('compression must be true, false or auto'));
    const stream = connection.openStream();
    expect(() => stream.send('x', { compression: 'fast' as 'auto' })).toThrow(invalid('true, false or auto'));
  });

  test('JSP_LZ4 chooses where the option does not, and says what it may be', async () => {
    process.env.JSP_LZ4 = 'fast';
    try {
      const wrong = listen({ identity: generateIdentity(), port: 0, compression: true });
      await expect(wrong).rejects.toEqual(invalid('JSP_LZ4 must be auto, native or js'));
      const listener = await serve(echo, { compression: true, lz4: 'js' });
      expect(listener.url).toContain('jsp://');
    } finally {
      delete process.env.JSP_LZ4;
    }
  });
});

describe('a message that cannot be opened', () => {
  const ways: Readonly<Record<string, (stream: Stream) => unknown>> = {
    listeners: (stream) => stream.on('message', () => {}),
    iterations: async (stream) => {
      for await (const _ of stream);
    },
    'calls of read': (stream) => {
      const timer = setInterval(() => stream.read(), 5);
      stream.on('close', () => clearInterval(timer));
    },
  };

  test.each(Object.keys(ways))('closes the connection and throws nowhere: %s [CMP-7]', async (way) => {
    const options: Omit<ConnectOptions, 'identity'> = { compression: true };
    const listener = await serve(null, options);
    const coming = next<Connection>(listener, 'connection');
    const client = await join(listener, options);
    const server = await coming;
    server.on('stream', (stream) => {
      stream.on('error', () => {});
      Promise.resolve(ways[way](stream)).catch(() => {});
    });
    const stream = client.openStream();
    stream.on('error', () => {});
    stream.send('it begins');
    Object.assign(coreOf(stream), { deflater: { deflate: () => Uint8Array.of(2, 1) } });
    const closed = next<unknown>(server, 'close');
    stream.send('not this');
    expect(await closed).toMatchObject({
      code: 'ERR_JSP_PROTOCOL',
      message: expect.stringContaining('COMPRESSION_ERROR'),
    });
  });

  const endings: Readonly<Record<string, (stream: Stream, told: string[]) => void>> = {
    listeners: (stream, told) => {
      stream.on('message', (message) => told.push(String(message)));
      stream.on('end', () => told.push('end'));
      stream.on('error', (error) => told.push(error.code));
    },
    iterations: async (stream, told) => {
      stream.on('error', () => {});
      try {
        for await (const message of stream) told.push(String(message));
        told.push('end');
      } catch (error) {
        told.push((error as JspError).code);
      }
    },
    'streams of bytes': (stream, told) => {
      const duplex = createDuplex(stream);
      duplex.on('data', (bytes) => told.push(String(bytes)));
      duplex.on('end', () => told.push('end'));
      duplex.on('error', (error) => told.push((error as JspError).code));
    },
  };

  test.each(
    Object.keys(endings).flatMap((way) => [
      [way, false],
      [way, true],
    ]) as [string, boolean][],
  )('is no end, and what follows it does not come: %s, after the close: %s [CMP-7]', async (way, isLate) => {
    const { lab, client, accepted } = await labPair({}, { compression: true });
    const told: string[] = [];
    accepted.on('stream', (stream) => {
      if (isLate) accepted.once('close', () => endings[way](stream, told));
      else endings[way](stream, told);
    });
    const stream = client.openStream();
    stream.on('error', () => {});
    stream.send('before');
    await lab.run(20);
    Object.assign(coreOf(stream), { deflater: { deflate: () => Uint8Array.of(2, 1) } });
    stream.send('not this');
    Object.assign(coreOf(stream), { nextCompression: CompressionMode.OFF });
    stream.send('behind');
    stream.end();
    if (isLate) await lab.settle(client.close());
    await lab.run(1_000);
    const isTold = !isLate || way === 'iterations';
    const code = isTold ? 'ERR_JSP_PROTOCOL' : 'ERR_JSP_CLOSED';
    expect(told).toEqual(isLate && way === 'listeners' ? ['before'] : ['before', code]);
  });
});

describe('what is compressed to very little does not hold up the event loop: a few megabytes are taken out at a time', () => {
  const ways: Readonly<Record<string, (stream: Stream, tell: (message: Buffer) => void) => unknown>> = {
    listeners: (stream, tell) => stream.on('message', tell),
    iterations: async (stream, tell) => {
      for await (const message of stream) tell(message);
    },
  };

  test.each(
    Object.keys(ways).flatMap((way) => [
      [way, 1],
      [way, 20],
    ]) as [string, number][],
  )('by %s of %s streams', async (way, streams) => {
    const options: Omit<ConnectOptions, 'identity'> = { compression: true };
    let inTurn = 0;
    let most = 0;
    let came = 0;
    const tell = (message: Buffer) => {
      came++;
      inTurn += message.length;
      most = Math.max(most, inTurn);
      setImmediate(() => {
        inTurn = 0;
      });
    };
    const listener = await serve((connection) => {
      connection.on('stream', (stream) => {
        setTimeout(() => Promise.resolve(ways[way](stream, tell)).catch(() => {}), 100);
      });
    }, options);
    const client = await join(listener, options);
    const opened = Array.from({ length: streams }, () => client.openStream());
    for (const stream of opened) for (let i = 0; i < 40 / streams; i++) stream.send(Buffer.alloc(1_000_000));
    await expect.poll(() => came).toBe(40);
    expect(most).toBeLessThanOrEqual(10_000_000);
  });
});

function coreOf(stream: Stream): object {
  return (stream as unknown as { core: object }).core;
}
