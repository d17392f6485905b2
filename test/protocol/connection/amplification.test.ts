import { describe, expect, test } from 'vitest';
import { FrameType } from '../../../src/protocol/wire/frame-type.ts';
import {
  PacketHeader,
  PacketSpace,
  PacketType,
  parsePacketHeader,
} from '../../../src/protocol/wire/packet-header.ts';
import { drain, firstFlights, hand, pass, serverEndpoint } from '../endpoint/first-flights.ts';
import { internalsOf } from './internals.ts';
import { connectionsOf } from './packet-log.ts';
import { Pair } from './pair.ts';
import { initialSealKeys, integers, sealLong } from './rogue.ts';

const PATIENT = { handshakeTimeoutMs: 600_000 };

describe('a server whose answers get lost', () => {
  for (const mtu of [512, 1_200]) {
    test(`sends three times what came and stops, goes on when more comes, and completes (mtu ${mtu}) [CON-4] [REC-20]`, () => {
      const pair = new Pair({
        client: { ...PATIENT, mtu, mtuMax: mtu },
        server: PATIENT,
      });
      let isCut = true;
      let last = Number.POSITIVE_INFINITY;
      pair.server.filter = (data) => (isCut ? [] : [{ data }]);
      // The first flight comes, what the client sends afterwards does not.
      pair.client.filter = (data) => (pair.now <= last ? [{ data }] : []);
      pair.connect();
      pair.run(1);
      last = pair.now;
      pair.run(120_000);
      const came = received(pair);
      expect(came).toBeGreaterThanOrEqual(1_200);
      // It came to the bound: not even a packet that only acknowledges fits under it any more.
      expect(pair.server.bytesSent).toBeLessThanOrEqual(3 * came);
      expect(pair.server.bytesSent).toBeGreaterThan(3 * came - 80);
      const { length } = pair.server.sent;
      pair.run(60_000);
      expect(pair.server.sent.length).toBe(length);

      last = Number.POSITIVE_INFINITY;
      isCut = false;
      pair.until(() => pair.server.sent.length > length, 90_000, 'more of the server');
      expect(pair.server.bytesSent).toBeLessThanOrEqual(3 * received(pair));
      pair.connected().echo();
    });
  }
});

test('a server that may send nothing more sleeps, also when it owes an acknowledgement [CON-4] [REC-20]', () => {
  const server = serverEndpoint();
  const [flight] = firstFlights(1);
  hand(server, flight, 0);
  drain(server, 0);
  const [connection] = connectionsOf(server);
  const { validation } = connection.path;
  const ids = idsOf(flight[0]);
  const post = (number: number, now: number, frames: Uint8Array) => {
    const packet = sealLong(initialSealKeys(ids.dcid), PacketType.INITIAL, ids, number, frames);
    hand(server, [packet], now);
    drain(server, now);
  };
  // All of the Initial space arrived, so that what goes on being sent is of the Handshake space.
  post(8, 10_000, integers(FrameType.ACK, 1, 0, 0, 1));
  pass(server, 1_000_000);
  validation.onSent(validation.allowance - 20);
  pass(server, 4_000_000);
  // It lets out one more packet, which a probe of the Handshake space takes.
  post(9, 4_000_000, integers(FrameType.PING));
  expect(validation.allowance).toBe(0);
  expect(internalsOf(connection).spaces[PacketSpace.INITIAL]?.acks.pending).toBe(1);
  pass(server, 9_000_000);
  expect(server.counters.connectionsOpen).toBe(1);
});

test('a server says its answer again to who asks, but once in a while, and no more than three times what came [CON-4] [REC-98]', () => {
  const server = serverEndpoint();
  const [flight] = firstFlights(1);
  hand(server, flight, 0);
  drain(server, 0);
  const [connection] = connectionsOf(server);
  const ids = idsOf(flight[0]);
  let again = 0;
  for (let number = 8; number < 88; number++) {
    const now = (number - 7) * 5_000;
    const frames = new Uint8Array(1_000).fill(FrameType.PING);
    hand(server, [sealLong(initialSealKeys(ids.dcid), PacketType.INITIAL, ids, number, frames)], now);
    if (drain(server, now).some(({ length }) => length > 1_000)) again++;
  }
  expect(again).toBe(4); // in 400 ms
  expect(connection.counters.ptoCount).toBe(0);
});

test('nor is it kept awake by an acknowledgement that the rest of what it may send has no room for [CON-4]', () => {
  for (let rest = 40; rest < 120; rest++) {
    const server = serverEndpoint();
    const ids = { dcid: new Uint8Array(8).fill(7), scid: new Uint8Array(20).fill(9) };
    const post = (number: number, now: number, frames: Uint8Array) => {
      const packet = sealLong(initialSealKeys(ids.dcid), PacketType.INITIAL, ids, number, frames);
      hand(server, [packet], now);
      return packet.length;
    };
    post(0, 0, new Uint8Array(1_000).fill(FrameType.PING));
    drain(server, 0);
    pass(server, 100_000);
    const { validation } = connectionsOf(server)[0].path;
    validation.onSent(validation.allowance - rest);
    validation.onSent(3 * post(0x7fff_ffff, 200_000, integers(FrameType.PING)));
    expect(validation.allowance).toBe(rest);
    drain(server, 200_000);
    pass(server, 5_000_000);
  }
});

function received(pair: Pair): number {
  return pair.server.arrived.reduce((sum, { data }) => sum + data.length, 0);
}

/** The connection ids of a client's first packet. */
function idsOf(first: Uint8Array): { dcid: Uint8Array; scid: Uint8Array } {
  const header = new PacketHeader();
  parsePacketHeader(header, first, 0, first.length, 8);
  const { dcidStart, dcidLength, scidStart, scidLength } = header;
  return {
    dcid: first.slice(dcidStart, dcidStart + dcidLength),
    scid: first.slice(scidStart, scidStart + scidLength),
  };
}
