import { describe, expect, test } from 'vitest';
import { SECOND } from '../../src/base/time.ts';
import type { Stream } from '../../src/index.ts';
import type { TransmitBatch } from '../../src/protocol/datagram/index.ts';
import { bytesOf } from '../protocol/connection/pair.ts';
import { labPair } from './lab-pair.ts';
import { timersOf } from './lab-timers.ts';
import { next, take } from './served.ts';
import { catchUncaught } from './uncaught.ts';

describe('the driver', () => {
  test('goes on after a listener threw: other messages, other connections and timers are not lost', async () => {
    const { lab, client, accepted } = await labPair();
    const uncaught = catchUncaught();
    const got: string[] = [];
    accepted.on('stream', (stream) =>
      stream.on('message', (message) => {
        got.push(message.toString());
        if (message.toString() === 'bad') throw new Error("an application's mistake");
      }),
    );
    const stream = client.openStream();
    stream.sendBatch(['one', 'bad', 'two']);
    await lab.run(100);
    stream.send('three');
    await lab.run(100);
    expect(got).toEqual(['one', 'bad', 'two', 'three']);
    expect(uncaught.map(String)).toEqual(["Error: an application's mistake"]);
    await lab.run(60_000);
    expect(client.isOpen && accepted.isOpen).toBe(true);
    expect(accepted.metrics().heartbeatsSent).toBeGreaterThan(0);
  });

  test('sends what is sent at one time in one packet', async () => {
    const { lab, client } = await labPair();
    const before = client.metrics().packetsSent;
    const streams = [client.openStream(), client.openStream()];
    for (let i = 0; i < 20; i++) for (const stream of streams) stream.send(`${i}`);
    await lab.run(1);
    expect(client.metrics().packetsSent - before).toBe(1);
  });

  test('takes no turn when nothing happens', async () => {
    const { lab, client, sockets } = await labPair({}, { heartbeatMs: 0, idleTimeoutMs: 0 });
    client.openStream().send('x');
    await lab.run(5_000);
    const { datagramsSent } = sockets.client.counters;
    await lab.run(3_600_000);
    expect(sockets.client.counters.datagramsSent).toBe(datagramsSent);
  });

  test('leaves no timer behind when its peers know that it ends, which would keep the process', async () => {
    const { lab, listener, client } = await labPair();
    const set = timersOf(lab);
    let most = 0;
    const stream = client.openStream();
    for (let i = 0; i < 100; i++) {
      stream.send('x');
      await lab.run(7);
      most = Math.max(most, set.size);
    }
    expect(most).toBe(2); // one of each side
    await lab.settle(stream.flush());
    await lab.settle(Promise.all([client.close(), listener.close()]));
    expect(set.size).toBe(0);
  });

  test('closes the connections of a listener whose socket broke, with the error', async () => {
    const { lab, listener, accepted, sockets } = await labPair();
    const errors: unknown[] = [];
    listener.on('error', (error) => errors.push(error));
    const closed = next(listener, 'close');
    sockets.server.onError?.(new Error('EBADF'), true);
    await lab.settle(closed);
    expect(errors).toEqual([expect.objectContaining({ code: 'ERR_JSP_SOCKET' })]);
    expect(await accepted.closed).toMatchObject({
      code: 'ERR_JSP_SOCKET',
      cause: expect.objectContaining({ message: 'EBADF' }),
    });
  });

  test("closes a client's connection whose socket broke, with the error", async () => {
    const { lab, client, sockets } = await labPair();
    const stream = client.openStream();
    const errors: unknown[] = [];
    stream.on('error', (error) => errors.push(error));
    sockets.client.onError?.(new Error('EBADF'), true);
    expect(await lab.settle(client.closed)).toMatchObject({ code: 'ERR_JSP_SOCKET' });
    expect(errors).toEqual([expect.objectContaining({ code: 'ERR_JSP_SOCKET' })]);
    expect(() => client.openStream()).toThrow(expect.objectContaining({ code: 'ERR_JSP_SOCKET' }));
  });

  test('waits when the socket holds a batch, and does not touch its bytes until it is let go', async () => {
    const { lab, client, accepted, sockets } = await labPair();
    const held: { batch: TransmitBatch; bytes: Buffer }[] = [];
    const send = sockets.client.send.bind(sockets.client);
    sockets.client.send = (batch) => {
      held.push({ batch, bytes: Buffer.from(batch.arena.subarray(0, batch.used)) });
      return false;
    };
    const got: string[] = [];
    accepted.on('stream', (stream) => stream.on('message', (message) => got.push(message.toString())));
    const stream = client.openStream();
    stream.send('first');
    await lab.run(20);
    for (let i = 0; i < 20; i++) {
      stream.send(`${i}`);
      await lab.run(10);
    }
    expect(held).toHaveLength(1);
    expect(got).toEqual([]);
    const [{ batch, bytes }] = held;
    expect(Buffer.compare(batch.arena.subarray(0, batch.used), bytes)).toBe(0);
    sockets.client.send = send;
    send(batch);
    sockets.client.onWritable?.();
    await lab.run(1_000);
    expect(got).toEqual(['first', ...Array.from({ length: 20 }, (_, i) => `${i}`)]);
  });

  test('shrugs off errors about single datagrams', async () => {
    const { lab, client, sockets } = await labPair();
    sockets.client.onError?.(new Error('ECONNREFUSED'), false);
    sockets.server.onError?.(new Error('EMSGSIZE'), false);
    await lab.run(100);
    expect(client.isOpen).toBe(true);
  });
});

describe('the whole API in the lab', () => {
  test('works over a path that loses, doubles and reorders, and the same seed gives the same run', async () => {
    const runs = [];
    for (let i = 0; i < 2; i++) {
      const { lab, client, accepted } = await labPair({
        delayMs: 25,
        loss: 0.1,
        reorder: 0.05,
        duplicate: 0.02,
      });
      accepted.on('stream', async (stream) => {
        for await (const message of stream) if (!stream.send(message)) await next(stream, 'drain');
      });
      const stream = client.openStream({ highWaterMark: 50_000 });
      const sent = Array.from({ length: 300 }, (_, k) => bytesOf((k * 101) % 3_000, k));
      const sending = (async () => {
        for (const message of sent) if (!stream.send(message)) await next(stream, 'drain');
        stream.end();
      })();
      const back: Buffer[] = [];
      const receiving = (async () => {
        for await (const message of stream) back.push(message);
      })();
      await lab.settle(Promise.all([sending, receiving]), 120_000);
      expect(back.length).toBe(300);
      expect(back.every((message, k) => Buffer.compare(message, sent[k]) === 0)).toBe(true);
      const { packetsLost } = client.metrics();
      expect(packetsLost).toBeGreaterThan(0);
      await lab.settle(client.close());
      runs.push({ at: lab.now, ...client.metrics() });
    }
    expect(runs[0]).toEqual(runs[1]);
  });

  test('10,000 messages of 64 bytes each way arrive once and in order at 50 ms, 10 % loss, reordering and 2 % doubles, within 60 s', async () => {
    const { lab, client, accepted } = await labPair({
      delayMs: 25,
      loss: 0.1,
      reorder: 0.1,
      duplicate: 0.02,
    });
    const count = 10_000;
    const collect = (stream: Stream) => take(stream, count);
    const there = (async () => {
      const stream = await next<Stream>(accepted, 'stream');
      send(stream);
      return collect(stream);
    })();
    const stream = client.openStream();
    const start = lab.now;
    send(stream);
    const [atServer, atClient] = await lab.settle(Promise.all([there, collect(stream)]), 60_000);
    for (const messages of [atServer, atClient]) {
      expect(messages.every((message, i) => message.length === 64 && message.readUInt32BE() === i)).toBe(
        true,
      );
    }
    expect(lab.now - start).toBeLessThan(60 * SECOND);

    function send(on: Stream): void {
      for (let i = 0; i < count; i++) {
        const message = Buffer.alloc(64);
        message.writeUInt32BE(i);
        on.send(message);
      }
    }
  });
});
