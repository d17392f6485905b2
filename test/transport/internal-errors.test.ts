import { describe, expect, test } from 'vitest';
import type { Connection, Stream } from '../../src/index.ts';
import { layTrips } from '../protocol/connection/faults.ts';
import { bytesOf } from '../protocol/connection/pair.ts';
import { labPair } from './lab-pair.ts';
import { next } from './served.ts';

const BUG = new Error('our bug');

describe('an exception in our own code [CON-33]', () => {
  test.each([
    ['openStream', 'calls open', (connection: Connection) => connection.openStream()],
    ['send', 'calls onSendTouched', (_: Connection, stream: Stream) => stream.send('x')],
    ['read', 'calls onReceiveTouched', (_: Connection, stream: Stream) => stream.read()],
  ])('under %s is thrown there as ERR_JSP_INTERNAL, and ends that connection only', async (_, at, call) => {
    const { lab, client, accepted, join, listener } = await labPair();
    const other = await join('other');
    const there = next<Stream>(accepted, 'stream');
    const first = client.openStream();
    first.send('hello');
    const stream = await lab.settle(there);
    await lab.run(20);
    layTrips((accepted as unknown as { core: never }).core, ['calls'], (place) => {
      if (place === at) throw BUG;
    });
    const expected = expect.objectContaining({ code: 'ERR_JSP_INTERNAL', cause: BUG });
    const closed = next(accepted, 'close');
    expect(() => call(accepted, stream)).toThrow(expected);
    expect(await lab.settle(closed)).toEqual(expected);
    expect(await lab.settle(accepted.closed)).toEqual(expected);
    expect(await lab.settle(client.closed)).toMatchObject({
      code: 'ERR_JSP_PROTOCOL',
      message: expect.stringContaining('INTERNAL_ERROR'),
    });
    expect(listener.metrics().internalErrors).toBe(1);
    expect(await lab.settle(other.client.openStream().sendTracked('x'))).toBe('acknowledged');
    await lab.settle(listener.close());
  });

  test('under close and destroy ends the connection all the same', async () => {
    for (const end of ['close', 'destroy'] as const) {
      const { lab, client, accepted } = await labPair();
      layTrips((client as unknown as { core: never }).core, ['closing'], () => {
        throw BUG;
      });
      const ended = end === 'close' ? client.close() : client.destroy();
      await lab.settle(Promise.all([ended, client.closed]));
      expect(client.isOpen).toBe(false);
      void accepted;
    }
  });

  test('while events are handed out is told as `close` of that connection', async () => {
    const { lab, client, accepted, join } = await labPair();
    const other = await join('other');
    const got: string[] = [];
    const there = next<Stream>(other.accepted, 'stream');
    (accepted as unknown as { onStream: () => void }).onStream = () => {
      throw BUG;
    };
    client.openStream().send('x');
    other.client.openStream().send('y');
    (await lab.settle(there)).on('message', (data) => got.push(data.toString()));
    expect(await lab.settle(accepted.closed)).toMatchObject({ code: 'ERR_JSP_INTERNAL', cause: BUG });
    await lab.run(100);
    expect(got).toEqual(['y']);
  });
});

describe('a socket that throws in `send` [CON-34]', () => {
  test.each([
    ['of its own', {}],
    ['behind an impairment', { impairment: { seed: 1, outgoing: { delayMs: 3 } } }],
  ])('loses what it was to send, and nothing else happens (%s)', async (_, options) => {
    const { lab, client, accepted, listener, sockets } = await labPair({}, options);
    const send = sockets.server.send.bind(sockets.server);
    let thrown = 0;
    sockets.server.send = (batch) => {
      if (thrown < 5) {
        thrown++;
        throw new Error('a socket of our own');
      }
      return send(batch);
    };
    const there = next<Stream>(accepted, 'stream');
    const stream = client.openStream();
    stream.send('x');
    const echo = await lab.settle(there);
    echo.sendBatch(Array.from({ length: 50 }, (_, i) => bytesOf(3_000, i)));
    const got: Buffer[] = [];
    stream.on('message', (data) => got.push(data));
    await lab.settle(echo.flush());
    await lab.run(100);
    expect(thrown).toBe(5);
    expect(got.map((data, i) => Buffer.compare(data, bytesOf(3_000, i)))).toEqual(Array(50).fill(0));
    expect(listener.metrics().batchesRefused).toBe('impairment' in options ? 0 : 5);
    expect(listener.metrics().internalErrors).toBe(0);
  });
});
