import { afterEach, describe, expect, test } from 'vitest';
import type { Connection } from '../../src/index.ts';
import { Lab } from '../../src/testing/index.ts';
import { connectionConfig } from '../../src/transport/options.ts';
import { echo, growPackets, join, next, serve, take } from './served.ts';

const socket = () => new Lab({ seed: 1 }).socket({ host: 'here', receiveBufferBytes: 123_456 });

describe('options', () => {
  test('have defaults that grow packets on this machine, and not elsewhere', () => {
    expect(connectionConfig({}, socket(), true)).toMatchObject({
      mtu: 1_200,
      mtuMax: 32_768,
      receiveBufferBytes: 123_456,
    });
    expect(connectionConfig({}, socket(), false).mtuMax).toBeLessThanOrEqual(1_472);
    expect(connectionConfig({ mtu: 1_000 }, socket(), true)).toMatchObject({ mtu: 1_000, mtuMax: 1_000 });
  });

  test('make windows hold a message of the largest size', () => {
    const { streamWindowBytes, connectionWindowBytes } = connectionConfig(
      { messageBytesMax: 5_000_000 },
      socket(),
      true,
    );
    expect(streamWindowBytes).toBeGreaterThan(5_000_000);
    expect(connectionWindowBytes).toBeGreaterThanOrEqual(2 * streamWindowBytes);
  });

  test.each([
    { mtu: 511 },
    { mtu: 65_508 },
    { handshakeTimeoutMs: 0 },
    { idleTimeoutMs: -1 },
    { heartbeatMs: 0.5 },
    { heartbeatMisses: 0 },
    { messageBytesMax: 0 },
    { streamsMax: -1 },
    { bestEffortBytes: Number.POSITIVE_INFINITY },
    { aead: 'rot13' as 'auto' },
  ])('out of range are refused: %j', (options) => {
    expect(() => connectionConfig(options, socket(), true)).toThrow(/must be|not/);
  });

  describe('of the environment', () => {
    const before = process.env.JSP_AEAD;

    afterEach(() => {
      if (before === undefined) delete process.env.JSP_AEAD;
      else process.env.JSP_AEAD = before;
    });

    test('choose the AEAD where the caller does not', () => {
      process.env.JSP_AEAD = 'noble';
      expect(connectionConfig({}, socket(), true).aead.name).toBe('noble');
      expect(connectionConfig({ aead: 'node' }, socket(), true).aead.name).toBe('node');
      process.env.JSP_AEAD = 'quantum';
      expect(() => connectionConfig({}, socket(), true)).toThrow(
        expect.objectContaining({ code: 'ERR_JSP_OPTION_INVALID' }),
      );
    });
  });

  test.each(['sodium', 'node', 'noble'] as const)('let %s carry a session', async (aead) => {
    const connection = await join(await serve(echo, { aead }), { aead });
    const stream = connection.openStream();
    stream.sendBatch(['a', 'b', 'c']);
    expect((await take(stream, 3)).map(String)).toEqual(['a', 'b', 'c']);
  });

  test('put a bad network in between, to try an application on', async () => {
    const way = { delayMs: 20, loss: 0.1, reorder: 0.05 };
    const listener = await serve(echo);
    const connection = await join(listener, { impairment: { seed: 1, outgoing: way, incoming: way } });
    const stream = connection.openStream();
    for (let i = 0; i < 200; i++) stream.send(`${i}`.padEnd(1_000));
    const back = await take(stream, 200);
    expect(back.map((message) => Number(message.toString()))).toEqual(
      Array.from({ length: 200 }, (_, i) => i),
    );
    const { rttMinMs, mtu, packetsLost } = connection.metrics();
    expect(rttMinMs).toBeGreaterThanOrEqual(40);
    expect(packetsLost).toBeGreaterThan(0);
    expect(mtu).toBeLessThanOrEqual(1_472);
  });

  test('of a bad network change while it is used, and can begin and end so', async () => {
    const listener = await serve(echo);
    const accepted = next<Connection>(listener, 'connection');
    const connection = await join(listener);
    const stream = connection.openStream();
    const roundTrip = async (): Promise<number> => {
      const begun = performance.now();
      stream.send('x');
      await take(stream, 1);
      return performance.now() - begun;
    };
    await roundTrip();
    connection.impair({ seed: 1, outgoing: { delayMs: 60 }, incoming: { delayMs: 60 } });
    expect(await roundTrip()).toBeGreaterThanOrEqual(120);
    connection.impair({ seed: 1, incoming: { delayMs: 30 } });
    listener.impair({ seed: 2, incoming: { delayMs: 30 } });
    expect(await roundTrip()).toBeGreaterThanOrEqual(60);
    listener.impair(null);
    connection.impair(null);
    let best = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 200 && best >= 50; i++) best = Math.min(best, await roundTrip());
    expect(best).toBeLessThan(50);
    expect(() => connection.impair({ seed: 1, outgoing: { loss: 2 } })).toThrow('loss must be');
    const shared = await accepted;
    expect(() => shared.impair(null)).toThrow('use impair() of its listener');
  });

  test('of a bad network are checked', async () => {
    await expect(serve(echo, { impairment: { seed: 1, outgoing: { loss: 2 } } })).rejects.toMatchObject({
      code: 'ERR_JSP_OPTION_INVALID',
    });
  });

  test('of congestion control and packet size are used', async () => {
    const connection = await join(await serve(echo, { mtu: 600 }), { mtu: 8_972, congestion: 'newreno' });
    const stream = connection.openStream();
    stream.send(new Uint8Array(200_000));
    await take(stream, 1);
    expect(connection.metrics().mtu).toBe(8_972);
  });

  test('grow packets on real sockets of this machine', async () => {
    const connection = await join(await serve(echo));
    await growPackets(connection);
    expect(connection.metrics().mtu).toBe(32_768);
  });
});
