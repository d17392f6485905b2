import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import type { Connection, Stream } from '../../src/index.ts';
import { join, serve, take } from './served.ts';

/** A server that hands each stream to `answer` when its client has ended it. */
function reporter(answer: (stream: Stream, count: number) => void) {
  return (connection: Connection) =>
    connection.on('stream', (stream) => {
      let count = 0;
      stream.on('message', () => count++);
      stream.on('end', () => answer(stream, count));
    });
}

async function reportOf(connection: Connection, options = {}): Promise<string[]> {
  const stream = connection.openStream(options);
  stream.sendBatch(['a', 'b', 'c']);
  stream.end();
  const got: string[] = [];
  for await (const message of stream) got.push(message.toString());
  return got;
}

describe('a stream whose peer has ended its direction', () => {
  test('takes what a listener of `end` sends, and then ends by itself', async () => {
    const listener = await serve(reporter((stream, count) => stream.send(`${count} messages`)));
    const connection = await join(listener);
    expect(await reportOf(connection)).toEqual(['3 messages']);
  });

  test('takes what is sent right after a `for await`', async () => {
    const listener = await serve((connection) =>
      connection.on('stream', async (stream) => {
        let count = 0;
        for await (const _ of stream) count++;
        stream.send(`${count} messages`);
      }),
    );
    expect(await reportOf(await join(listener))).toEqual(['3 messages']);
  });

  test('ends by itself without a word, too, so that it is not left over', async () => {
    const listener = await serve(reporter(() => {}));
    const connection = await join(listener);
    for (let i = 0; i < 250; i++) expect(await reportOf(connection)).toEqual([]); // more than may be open at once
    expect(connection.metrics().streamsOpen).toBe(0);
  });

  test.each(['listen', 'stream'] as const)('stays open where half-open is allowed, by %s', async (where) => {
    const listener = await serve(
      (connection) =>
        connection.on('stream', (stream) => {
          if (where === 'stream') stream.allowHalfOpen = true;
          expect(stream.allowHalfOpen).toBe(true);
          stream.on('message', () => {});
          stream.on('end', async () => {
            for (let i = 0; i < 3; i++) {
              await new Promise((done) => setTimeout(done, 5));
              stream.send(`${i}`);
            }
            stream.end();
          });
        }),
      where === 'listen' ? { allowHalfOpen: true } : {},
    );
    expect(await reportOf(await join(listener))).toEqual(['0', '1', '2']);
  });

  test('stays open at a client that allows it, for the connection or for one stream', async () => {
    const listener = await serve((connection) =>
      connection.on('stream', (stream) => {
        stream.on('message', (message) => {
          if (message.toString() === 'end') stream.end();
        });
      }),
    );
    for (const [options, own, isOpen] of [
      [{}, {}, false],
      [{ allowHalfOpen: true }, {}, true],
      [{}, { allowHalfOpen: true }, true],
      [{ allowHalfOpen: true }, { allowHalfOpen: false }, false],
    ] as const) {
      const connection = await join(listener, options);
      const stream = connection.openStream(own);
      stream.on('message', () => {});
      stream.send('end');
      await once(stream, 'end');
      await new Promise((done) => setTimeout(done, 5));
      if (isOpen) {
        expect(await stream.sendTracked('after the end')).toBe('acknowledged');
        stream.end();
      } else {
        await expect(stream.sendTracked('after the end')).rejects.toMatchObject({
          code: 'ERR_JSP_STREAM_CLOSED',
        });
      }
      await connection.close();
    }
  });

  test('does not end when its own side has closed meanwhile', async () => {
    const listener = await serve(reporter((stream) => stream.reset(4)));
    const connection = await join(listener);
    const stream = connection.openStream();
    const closed = new Promise<void>((resolve) => stream.on('close', resolve));
    stream.end();
    await closed;
    expect(connection.isOpen).toBe(true);
    const other = connection.openStream();
    other.send('x');
    other.end();
    await expect(take(other, 1)).rejects.toMatchObject({ applicationCode: 4 });
  });
});
