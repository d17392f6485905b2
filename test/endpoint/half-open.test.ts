import { describe, expect, test } from 'vitest';
import { SECOND } from '../../src/base/time.ts';
import { ClientInitialKeys } from '../../src/handshake/initial-keys.ts';
import { CloseCode } from '../../src/wire/close-code.ts';
import { FrameType } from '../../src/wire/frame-type.ts';
import { PacketType } from '../../src/wire/packet-type.ts';
import { AEAD, bytesOf, IDENTITY, Pair } from '../connection/pair.ts';
import { integers, sealLong } from '../connection/rogue.ts';
import { drain, firstFlights, hand, pass, serverEndpoint } from './first-flights.ts';

describe('the table of half-open handshakes', () => {
  test('is bounded: a first Initial beyond the bound is dropped and counted, and not answered [CON-3]', () => {
    const server = serverEndpoint({ halfOpenMax: 5 });
    for (const [i, flight] of firstFlights(12).entries()) {
      hand(server, flight, 0, 'client', 1_000 + i);
      expect(drain(server, 0).length > 0).toBe(i < 5);
    }
    // Each of the others sent two datagrams.
    expect(server.counters).toMatchObject({
      connectionsOpen: 5,
      handshakesStarted: 5,
      droppedHalfOpenLimit: 14,
    });
    // Datagrams of those that are in go on being handled.
    hand(server, firstFlights(1)[0], 0, 'client', 1_000);
    expect(server.counters.droppedHalfOpenLimit).toBe(14);
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
    for (let i = 0; i < 50; i++) hand(server, [brokenHello(i)], 0, 'client', 1_000 + i);
    drain(server, 0);
    expect(server.counters).toMatchObject({
      connectionsOpen: 4,
      handshakesFailed: 4,
      droppedHalfOpenLimit: 46,
    });
    pass(server, 20 * SECOND);
    expect(server.counters.connectionsOpen).toBe(0);
    hand(server, [brokenHello(99)], 20 * SECOND);
    expect(server.counters).toMatchObject({ connectionsOpen: 1, droppedHalfOpenLimit: 46 });
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
    expect(server.counters).toMatchObject({ connectionsOpen: 2, droppedHalfOpenLimit: 2 });
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
    // From another address it is another handshake.
    hand(server, flight, 30, 'elsewhere');
    expect(server.counters).toMatchObject({ connectionsOpen: 2, handshakesStarted: 2 });
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
  const { seal } = new ClientInitialKeys(AEAD, dcid, IDENTITY.fingerprint);
  const payload = new Uint8Array(1_150);
  payload.set(integers(FrameType.CRYPTO, 0, 1, 1, 7));
  return sealLong(seal, PacketType.INITIAL, { dcid, scid: bytesOf(8, tag + 1_000) }, 0, payload);
}
