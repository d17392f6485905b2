import { describe, expect, test } from 'vitest';
import { MILLISECOND, SECOND } from '../../../src/base/time.ts';
import { AddressState } from '../../../src/protocol/path/path.ts';
import { CloseCode } from '../../../src/protocol/wire/close-code.ts';
import { FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { PacketType } from '../../../src/protocol/wire/packet-header.ts';
import { connectionsOf } from '../connection/packet-log.ts';
import { bytesOf, Pair } from '../connection/pair.ts';
import { initialSealKeys, integers, sealLong } from '../connection/rogue.ts';
import { drain, firstFlights, hand, pass, serverEndpoint } from './first-flights.ts';

/** Between first packets, so that all of them are opened. [CON-42] */
const APART = 13 * MILLISECOND;

describe('the table of half-open handshakes', () => {
  test('is bounded: beyond it the oldest whose client did not answer gives way, without a word [CON-3]', () => {
    const server = serverEndpoint({ halfOpenMax: 5 });
    const flights = firstFlights(12);
    for (const [i, flight] of flights.entries()) {
      hand(server, flight, i, 'client', 1_000 + i);
      expect(drain(server, i).length).toBeGreaterThan(0);
      expect(server.counters.connectionsOpen).toBe(Math.min(i + 1, 5));
    }
    expect(server.counters).toMatchObject({
      handshakesStarted: 12,
      handshakesFailed: 7,
      handshakesDisplaced: 7,
    });
    expect(server.counters.droppedHalfOpenLimit).toBe(0);
    // Datagrams of those that are in go on being handled.
    hand(server, flights[11], 20, 'client', 1_011);
    expect(server.counters.handshakesStarted).toBe(12);
    // Those that gave way are forgotten to the last.
    pass(server, 60 * SECOND);
    const inside = server as unknown as { byFirstPacket: Map<string, unknown>; deadlines: { size: number } };
    expect([server.counters.connectionsOpen, inside.byFirstPacket.size, inside.deadlines.size]).toEqual([
      0, 0, 0,
    ]);
    expect(server.pollEvent()).toBeNull();
  });

  test('gives nobody’s place away for what does not open [CON-2]', () => {
    const server = serverEndpoint({ halfOpenMax: 3 });
    for (const [i, flight] of firstFlights(3).entries()) hand(server, flight, 0, 'client', 1_000 + i);
    const [damaged] = firstFlights(1, 5);
    for (let i = 0; i < 50; i++) {
      const data = damaged[0].slice();
      data[100 + i] ^= 1;
      hand(server, [data], i * APART, 'elsewhere', i);
    }
    expect(server.counters).toMatchObject({
      handshakesDisplaced: 0,
      droppedUnopened: 50,
      connectionsOpen: 3,
    });
  });

  test('is shared by networks: the one that has the most gives way [CON-3]', () => {
    const server = serverEndpoint({ halfOpenMax: 8 });
    const flights = firstFlights(60);
    hand(server, flights[0], 0, '192.0.2.1', 1);
    hand(server, flights[1], 1, '2001:db8:1:1::1', 1);
    // One network each: 198.51.100.0/24 and 2001:db8:2::/56, whatever the address in it.
    for (let i = 2; i < 50; i++) {
      const host = i % 2 === 0 ? `198.51.100.${i}` : `2001:db8:2:${i.toString(16)}::1`;
      hand(server, flights[i], i * APART, host, i);
    }
    drain(server, 50 * APART);
    expect(server.counters).toMatchObject({ connectionsOpen: 8, handshakesDisplaced: 42 });
    const hosts = connectionsOf(server).map(({ path: { host } }) => host);
    expect(hosts).toContain('192.0.2.1');
    expect(hosts).toContain('2001:db8:1:1::1');
  });

  test('never gives away the place of a client that answered for one of the same network', () => {
    const server = serverEndpoint({ halfOpenMax: 4 });
    const flights = firstFlights(30);
    for (let i = 0; i < 4; i++) hand(server, flights[i], i, '192.0.2.1', i);
    for (const connection of connectionsOf(server)) connection.path.validation.state = AddressState.VALIDATED;
    drain(server, 4);
    for (let i = 4; i < 10; i++) hand(server, flights[i], i, '192.0.2.1', i);
    expect(server.counters).toMatchObject({ handshakesDisplaced: 0, connectionsOpen: 4 });
    expect(server.counters.droppedHalfOpenLimit).toBeGreaterThan(5);
    // One of another network gets in: no network can keep all the places.
    hand(server, flights[20], 20, '198.51.100.1', 1);
    expect(server.counters).toMatchObject({ handshakesDisplaced: 1, connectionsOpen: 4 });
  });

  test('spares addresses that completed a handshake lately, as long as there are others', () => {
    const pair = new Pair({ accept: { halfOpenMax: 3 } }).connected();
    const { endpoint } = pair.server;
    const flights = firstFlights(20);
    hand(endpoint, flights[0], pair.now, 'client', 9);
    for (let i = 1; i < 10; i++) hand(endpoint, flights[i], pair.now + i, `stranger ${i}`, i);
    const hosts = connectionsOf(endpoint).map(({ path: { host, port } }) => `${host} ${port}`);
    expect(hosts).toContain('client 9');
    expect(endpoint.counters.handshakesDisplaced).toBe(7);
  });

  test('loses those of whom nothing is heard for 5 s when it is half full [CON-5]', () => {
    const server = serverEndpoint({ halfOpenMax: 4 });
    const flights = firstFlights(4);
    for (let i = 0; i < 2; i++) hand(server, flights[i], 0, 'client', i);
    drain(server, 0);
    pass(server, 4 * SECOND);
    hand(server, flights[2], 4 * SECOND, 'client', 2);
    expect(server.counters).toMatchObject({ connectionsOpen: 3, handshakesDisplaced: 0 });
    pass(server, 6 * SECOND);
    hand(server, flights[3], 6 * SECOND, 'client', 3);
    expect(server.counters).toMatchObject({ connectionsOpen: 3, handshakesDisplaced: 1 });
  });

  test('leaves honest clients a place while 60 first datagrams a second come from made-up addresses', () => {
    for (const isOneCaptured of [true, false]) {
      const pair = new Pair({ seed: 3, accept: { halfOpenMax: 64, connectionsMax: 1_000 } });
      const flights = firstFlights(isOneCaptured ? 1 : 100, 50);
      let sent = 0;
      const flood = (ms: number) => {
        for (let i = 0; i < ms; i += 16) {
          pair.run(16);
          const flight = flights[isOneCaptured ? 0 : sent % flights.length];
          hand(pair.server.endpoint, flight, pair.now, `10.${sent % 200}.${sent % 7}.1`, 1_000 + sent);
          sent++;
          pair.server.node.wake();
        }
      };
      flood(1_500);
      for (let i = 0; i < 4; i++) {
        pair.client.events.length = 0;
        pair.connect();
        flood(300);
        expect(pair.client.isConnected).toBe(true);
        pair.client.close();
      }
      const { handshakesStarted, droppedRepeatedInitial } = pair.server.endpoint.counters;
      // [CON-1] One captured datagram costs one handshake at a time, whoever sends it.
      if (isOneCaptured) expect(handshakesStarted).toBeLessThanOrEqual(6);
      if (isOneCaptured) expect(droppedRepeatedInitial).toBeGreaterThan(150);
    }
  });

  test('empties when the handshakes time out, and takes others then [CON-5]', () => {
    const server = serverEndpoint({ halfOpenMax: 3 });
    for (const [i, flight] of firstFlights(3).entries()) hand(server, flight, 0, 'client', 1_000 + i);
    drain(server, 0);
    pass(server, 9 * SECOND);
    expect(server.counters.connectionsOpen).toBe(3);
    pass(server, 11 * SECOND);
    expect(server.counters).toMatchObject({ connectionsOpen: 0, handshakesFailed: 3 });
    expect(server.pollEvent()).toBeNull();
    const [late] = firstFlights(1, 7);
    hand(server, late, 11 * SECOND);
    expect(drain(server, 11 * SECOND).length).toBeGreaterThan(0);
    expect(server.counters.droppedHalfOpenLimit).toBe(0);
  });

  test('is left by handshakes that complete', () => {
    const pair = new Pair({ accept: { halfOpenMax: 1 } }).connected();
    const [other] = firstFlights(1);
    hand(pair.server.endpoint, other, pair.now, 'elsewhere');
    expect(pair.server.endpoint.counters).toMatchObject({ connectionsOpen: 2, droppedHalfOpenLimit: 0 });
  });

  test('is not left by handshakes that fail before they are forgotten: they hold memory, too [CON-3]', () => {
    const server = serverEndpoint({ halfOpenMax: 4 });
    for (let i = 0; i < 50; i++) hand(server, [brokenHello(i)], i * APART, 'client', 1_000 + i);
    drain(server, 50 * APART);
    expect(server.counters).toMatchObject({
      connectionsOpen: 4,
      handshakesFailed: 50,
      handshakesDisplaced: 46,
    });
    pass(server, 20 * SECOND);
    expect(server.counters.connectionsOpen).toBe(0);
    hand(server, [brokenHello(99)], 20 * SECOND);
    expect(server.counters).toMatchObject({ connectionsOpen: 1, handshakesDisplaced: 46 });
  });

  test('counts a handshake once, even when a datagram comes at the moment it is forgotten', () => {
    const server = serverEndpoint({ halfOpenMax: 2 });
    const flights = firstFlights(3);
    hand(server, flights[0], 0, 'client', 1_000);
    hand(server, flights[1], SECOND, 'client', 1_001);
    drain(server, SECOND);
    pass(server, 10 * SECOND - 1);
    // It times out, and while it waits to be forgotten another of its datagrams comes.
    server.timeout(10 * SECOND);
    drain(server, 10 * SECOND);
    hand(server, flights[0], 10 * SECOND, 'client', 1_000);
    server.timeout(10 * SECOND);
    drain(server, 10 * SECOND);
    server.timeout(10 * SECOND);
    expect(server.counters.connectionsOpen).toBe(1);
    hand(server, flights[2], 10 * SECOND, 'client', 1_002);
    hand(server, firstFlights(1, 9)[0], 10 * SECOND, 'client', 1_003);
    expect(server.counters).toMatchObject({ connectionsOpen: 2, handshakesDisplaced: 1 });
  });

  test('takes a first flight that comes again as what it is, not as another client [CON-1]', () => {
    const server = serverEndpoint({ halfOpenMax: 2 });
    const [flight] = firstFlights(1);
    for (let i = 0; i < 20; i++) hand(server, flight, i);
    expect(server.counters).toMatchObject({
      connectionsOpen: 1,
      handshakesStarted: 1,
      droppedHalfOpenLimit: 0,
    });
    // Nor from another address: whoever captured it begins nothing with it.
    const answered = drain(server, 30).length;
    hand(server, flight, 30, 'elsewhere');
    hand(server, flight, 30, 'client', 2);
    expect(server.counters).toMatchObject({
      connectionsOpen: 1,
      handshakesStarted: 1,
      droppedRepeatedInitial: 4,
    });
    expect([answered > 0, drain(server, 30)]).toEqual([true, []]);
  });
});

describe('the table of connections', () => {
  test('is bounded, and counts what it has no room for [CON-3]', () => {
    const server = serverEndpoint({ connectionsMax: 3, halfOpenMax: 100 });
    for (const [i, flight] of firstFlights(5).entries()) hand(server, flight, 0, 'client', 1_000 + i);
    expect(server.counters).toMatchObject({ connectionsOpen: 3, droppedConnectionLimit: 4 });
  });

  test('takes nobody in when the endpoint is shutting down, and keeps those it has', () => {
    const pair = new Pair().connected();
    pair.server.endpoint.stopAccepting(pair.now);
    hand(pair.server.endpoint, firstFlights(1)[0], pair.now, 'elsewhere');
    expect(pair.server.endpoint.counters).toMatchObject({ connectionsOpen: 1, droppedConnectionLimit: 2 });
    drain(pair.server.endpoint, pair.now);
    pair.echo();
  });
});

describe('an endpoint that is shutting down', () => {
  test('tells clients whose handshake is under way, also those that think that it is over', () => {
    for (const ms of [7, 12]) {
      const pair = new Pair().connect().run(ms);
      expect(pair.client.isConnected).toBe(ms === 12);
      pair.server.endpoint.stopAccepting(pair.now);
      pair.server.node.wake();
      pair.until(() => pair.client.closed !== null, 50);
      expect(pair.client.closed).toMatchObject({
        by: 'peer',
        scope: 'transport',
        code: CloseCode.SHUTTING_DOWN,
      });
      expect(pair.server.events).toEqual([]);
      pair.toTheEnd();
    }
  });
});

/** An Initial that opens and holds no CLIENT_HELLO. */
function brokenHello(tag: number): Uint8Array {
  const dcid = bytesOf(8, tag);
  const seal = initialSealKeys(dcid);
  const payload = new Uint8Array(1_150);
  payload.set(integers(FrameType.CRYPTO, 0, 1, 1, 7));
  return sealLong(seal, PacketType.INITIAL, { dcid, scid: bytesOf(8, tag + 1_000) }, 0, payload);
}
