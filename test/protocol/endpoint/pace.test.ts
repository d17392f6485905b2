import { describe, expect, test } from 'vitest';
import { MILLISECOND, SECOND } from '../../../src/base/time.ts';
import { ReceiveBatch } from '../../../src/protocol/datagram/index.ts';
import { PacketType } from '../../../src/protocol/wire/packet-header.ts';
import { bytesOf, Pair } from '../connection/pair.ts';
import { initialSealKeys, sealLong } from '../connection/rogue.ts';
import { firstFlights, hand, serverEndpoint } from './first-flights.ts';

/** A first Initial that opens and says nothing yet. */
function initial(tag: number): Uint8Array {
  const dcid = bytesOf(8, tag);
  const seal = initialSealKeys(dcid);
  return sealLong(seal, PacketType.INITIAL, { dcid, scid: bytesOf(8, 1) }, 0, new Uint8Array(1_150));
}

describe('first packets are opened at a pace that a server can bear [CON-42]', () => {
  test('20 at once from one network, and as many after a pause', () => {
    const server = serverEndpoint({ halfOpenMax: 1_000, connectionsMax: 1_000 });
    for (let i = 0; i < 90; i++) hand(server, [initial(i)], i, `10.0.0.${i}`);
    expect(server.counters).toMatchObject({ handshakesStarted: 20, droppedInitialPace: 70 });
    for (let i = 0; i < 90; i++) hand(server, [initial(1_000 + i)], 300 * MILLISECOND, `10.0.0.${i}`);
    expect(server.counters).toMatchObject({ handshakesStarted: 40, droppedInitialPace: 140 });
  });

  test('one by one while they go on coming, so that nobody else waits for many of them', () => {
    const server = serverEndpoint({ halfOpenMax: 1_000, connectionsMax: 1_000 });
    const flood = (ms: number) => {
      const before = server.counters.handshakesStarted;
      for (let i = 0; i < 3; i++)
        hand(server, [initial(ms * 3 + i)], ms * MILLISECOND, `10.${i}.${ms % 40}.1`, ms);
      return server.counters.handshakesStarted - before;
    };
    for (let ms = 0; ms < 200; ms++) flood(ms);
    const opened = Array.from({ length: 1_000 }, (_, i) => flood(200 + i));
    expect(Math.max(...opened)).toBeLessThanOrEqual(2);
    // 100 a second, and 50 more as there are many networks.
    expect(opened.reduce((sum, count) => sum + count)).toBeGreaterThan(145);
    expect(opened.reduce((sum, count) => sum + count)).toBeLessThan(152);
    for (let at = 0; at + 20 <= opened.length; at += 20)
      expect(opened.slice(at, at + 20).reduce((sum, count) => sum + count)).toBeLessThanOrEqual(4);
  });

  test('then one of each other network, up to 30, and those of addresses that were there lately', () => {
    const pair = new Pair({ accept: { halfOpenMax: 1_000, connectionsMax: 1_000 } }).connected();
    const server = pair.server.endpoint;
    const now = pair.now + 300 * MILLISECOND;
    for (let i = 0; i < 25; i++) hand(server, [initial(i)], now, `10.0.0.${i}`);
    for (let i = 0; i < 40; i++) hand(server, [initial(1_000 + i)], now, `10.${1 + (i >> 8)}.${i & 255}.1`);
    expect(server.counters).toMatchObject({ handshakesStarted: 31, droppedInitialPace: 35 });
    const [flight] = firstFlights(1, 9);
    hand(server, flight, now, 'client', 99);
    expect(server.counters).toMatchObject({ handshakesStarted: 32, droppedInitialPace: 35 });
  });

  test('while more hellos wait than can be answered soon, one of each network that has none under way', () => {
    const server = serverEndpoint({ halfOpenMax: 1_000, connectionsMax: 1_000 });
    const flights = firstFlights(40);
    for (const [i, flight] of flights.entries()) {
      const batch = new ReceiveBatch();
      for (const data of flight) batch.push(data.slice(), `10.0.${i}.1`, 1);
      server.receive(batch, i * 20 * MILLISECOND, 0);
    }
    expect(server.hasManyHellos).toBe(true);
    const now = SECOND;
    hand(server, [initial(1)], now, '10.0.7.2'); // somebody of this network waits already
    expect(server.counters).toMatchObject({ handshakesStarted: 40, droppedInitialPace: 1 });
    hand(server, [initial(2)], now, '10.1.0.1');
    expect(server.counters).toMatchObject({ handshakesStarted: 41, droppedInitialPace: 1 });
  });
});
