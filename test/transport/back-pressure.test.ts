import { describe, expect, test } from 'vitest';
import type { Stream } from '../../src/index.ts';
import { bytesOf } from '../protocol/connection/pair.ts';
import { join, next, serve, take } from './served.ts';

describe('back-pressure', () => {
  test("of a receiver that pauses reaches the sender, and nobody's memory grows", async () => {
    let paused: Stream | undefined;
    let got = 0;
    const listener = await serve(
      (connection) =>
        connection.on('stream', (stream) => {
          paused = stream.pause();
          stream.on('message', () => got++);
        }),
      { messageBytesMax: 100_000, streamWindowBytes: 500_000, connectionWindowBytes: 1_000_000 },
    );
    const connection = await join(listener);
    const stream = connection.openStream({ highWaterMark: 300_000 });
    // What the peer has room for goes; then the queue fills up to its mark.
    for (let quiet = 0; quiet < 10; quiet = stream.queuedBytes < 300_000 ? 0 : quiet + 1) {
      while (stream.queuedBytes < 300_000) stream.send(bytesOf(50_000));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(got).toBe(0);
    expect(stream.queuedBytes).toBeGreaterThan(250_000);
    expect(stream.queuedBytes).toBeLessThan(450_000);
    expect(connection.metrics().messagesSent).toBeLessThanOrEqual(20);
    const drained = next(stream, 'drain');
    paused?.resume();
    await drained;
    await stream.flush();
    expect(got).toBe(connection.metrics().messagesSent);
  });

  test('of one stream leaves the others alone', async () => {
    const listener = await serve(
      (connection) =>
        connection.on('stream', (stream) => {
          if (stream.label === 'paused') stream.pause();
          stream.on('message', (message) => stream.send(message));
        }),
      { messageBytesMax: 100_000, streamWindowBytes: 300_000, connectionWindowBytes: 600_000 },
    );
    const connection = await join(listener);
    const stuck = connection.openStream({ label: 'paused' });
    for (let i = 0; i < 20; i++) stuck.send(bytesOf(50_000, i));
    const free = connection.openStream({ label: 'free' });
    for (let i = 0; i < 40; i++) free.send(bytesOf(50_000, i));
    const back = await take(free, 40);
    expect(back.every((message, i) => Buffer.compare(message, bytesOf(50_000, i)) === 0)).toBe(true);
    expect(stuck.queuedBytes).toBeGreaterThan(0);
  });

  test('is told by `send`, and `drain` comes when half of the mark is left', async () => {
    const listener = await serve((connection) =>
      connection.on('stream', (stream) => stream.on('message', () => {})),
    );
    const connection = await join(listener);
    const stream = connection.openStream({ highWaterMark: 10_000 });
    expect(stream.send(bytesOf(5_000))).toBe(true);
    expect(stream.send(bytesOf(5_000))).toBe(false);
    await next(stream, 'drain');
    expect(stream.queuedBytes).toBeLessThanOrEqual(5_000);
    expect(stream.send(bytesOf(100))).toBe(true);
  });

  test('ends at a bound: beyond it `send` throws instead of growing or losing', async () => {
    const listener = await serve((connection) => connection.on('stream', (stream) => stream.pause()));
    const connection = await join(listener);
    const stream = connection.openStream();
    const message = new Uint8Array(8 * 1024 * 1024);
    let queued = 0;
    expect(() => {
      for (; queued < 40; queued++) stream.send(message, { transfer: true });
    }).toThrow(expect.objectContaining({ code: 'ERR_JSP_QUEUE_FULL' }));
    expect(queued).toBe(7);
    await expect(stream.sendTracked(message)).rejects.toMatchObject({ code: 'ERR_JSP_QUEUE_FULL' });
    connection.destroy();
  });

  test('lets a reader with `for await` take its time', async () => {
    const listener = await serve((connection) => {
      const stream = connection.openStream({ highWaterMark: 100_000 });
      let i = 0;
      const fill = () => {
        for (; i < 200; i++) {
          if (stream.send(bytesOf(10_000, i))) continue;
          i++;
          stream.once('drain', fill);
          return;
        }
        stream.end();
      };
      fill();
    });
    const connection = await join(listener, { messageBytesMax: 20_000, streamWindowBytes: 50_000 });
    const stream = await next<Stream>(connection, 'stream');
    let count = 0;
    let most = 0;
    for await (const message of stream) {
      if (count % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
      expect(Buffer.compare(message, bytesOf(10_000, count))).toBe(0);
      most = Math.max(most, connection.metrics().messageBytesReceived - count * 10_000);
      count++;
    }
    expect(count).toBe(200);
    expect(most).toBeLessThan(120_000);
  });
});
