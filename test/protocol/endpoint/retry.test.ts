import { describe, expect, test } from 'vitest';
import { MILLISECOND, SECOND } from '../../../src/base/time.ts';
import type { Endpoint, RetryMode, ServerConfig } from '../../../src/protocol/endpoint/index.ts';
import { PacketType } from '../../../src/protocol/wire/packet-header.ts';
import { connectionsOf } from '../connection/packet-log.ts';
import { bytesOf, IDENTITY, Pair } from '../connection/pair.ts';
import { initialSealKeys, sealLong } from '../connection/rogue.ts';
import { drain, firstFlights, hand, pass, serverEndpoint } from './first-flights.ts';

const retry = (mode: RetryMode): Partial<ServerConfig> => ({ retry: { mode, epochMs: 0 } });

/** A first Initial that opens and says nothing yet. */
function initial(tag: number, token: Uint8Array = new Uint8Array(0)): Uint8Array {
  const dcid = bytesOf(8, tag);
  return sealLong(
    initialSealKeys(dcid),
    PacketType.INITIAL,
    { dcid, scid: bytesOf(8, 1), token },
    0,
    new Uint8Array(1_150),
  );
}

const address = (i: number) => `10.${(i >> 8) & 0xff}.${i & 0xff}.1`;

describe('a server that is told to ask for tokens', () => {
  test('always, keeps nothing of a first packet, and computes nothing for it [HS-36]', () => {
    const server = serverEndpoint(retry('always'));
    for (const flight of firstFlights(20)) hand(server, flight, 0, 'client', 1);
    expect(connectionsOf(server)).toHaveLength(0);
    expect(server.counters).toMatchObject({ handshakesStarted: 0, retriesSent: 40 });
    expect(server.hasHellos).toBe(false);
    const answers = drain(server, 0);
    expect(answers).toHaveLength(40);
    for (const answer of answers) {
      expect((answer[0] & 0x30) >> 4).toBe(PacketType.RETRY);
      expect(answer.length).toBeLessThan(150); // [CON-4] of 1,200
    }
    expect(new Set(answers.map((answer) => Buffer.from(answer).toString('hex'))).size).toBe(40);
  });

  test('says nothing to who does not know its identity', () => {
    const server = serverEndpoint(retry('always'));
    for (const flight of firstFlights(3, 100, bytesOf(32, 3))) hand(server, flight, 0);
    for (const flight of firstFlights(3, 101, null)) hand(server, flight, 0);
    expect(server.counters).toMatchObject({ retriesSent: 0, droppedUnopened: 6, droppedUnpinned: 6 });
    expect(server.wantsTransmit).toBe(false);
  });

  test('never, lets in and drops as one that knows of none [CON-42]', () => {
    const server = serverEndpoint({ ...retry('never'), halfOpenMax: 1_000, connectionsMax: 1_000 });
    for (let i = 0; i < 90; i++) hand(server, [initial(i)], i, `10.0.0.${i}`);
    expect(server.counters).toMatchObject({ handshakesStarted: 20, droppedInitialPace: 70, retriesSent: 0 });
  });
});

describe('a server that asks for tokens when many come [HS-36]', () => {
  const auto = (): Endpoint => serverEndpoint({ ...retry('auto'), halfOpenMax: 512, connectionsMax: 1_000 });

  test('lets those in that come at the pace it can bear, and answers the others by a Retry', () => {
    const server = auto();
    for (let i = 0; i < 20; i++) hand(server, [initial(i)], i, '10.0.0.1', i);
    expect(server.counters).toMatchObject({ handshakesStarted: 20, retriesSent: 0 });
    for (let i = 20; i < 90; i++) hand(server, [initial(i)], i, '10.0.0.1', i);
    expect(server.counters).toMatchObject({ handshakesStarted: 20, retriesSent: 70, droppedInitialPace: 0 });
  });

  test('answers the rest of a hello as its beginning, though there is room by then', () => {
    const server = auto();
    for (let i = 0; i < 20; i++) hand(server, [initial(i)], 0, '10.0.0.1', i);
    for (const [first, second] of firstFlights(3)) {
      hand(server, [first], 0, '10.0.0.1', 99);
      hand(server, [second], SECOND, '10.0.0.1', 99);
    }
    expect(server.counters).toMatchObject({ handshakesStarted: 20, retriesSent: 6 });
    // It has not become more suspicious of others, nor of a client whose token tells that it heard a Retry.
    hand(server, firstFlights(1, 5)[0], SECOND, '10.0.0.1', 99);
    expect(server.counters).toMatchObject({ handshakesStarted: 21, retriesSent: 6 });
  });

  test('has no more than an eighth of its places for clients that may be anywhere, whatever their pace', () => {
    const server = auto();
    for (let i = 0; i < 200; i++) hand(server, [initial(i)], i * 20 * MILLISECOND, address(i));
    expect(server.counters).toMatchObject({ handshakesStarted: 64, retriesSent: 136 });
    // They make room when they end.
    drain(server, 4 * SECOND);
    pass(server, 14 * SECOND);
    hand(server, [initial(1_000)], 14 * SECOND, address(1_000));
    expect(server.counters).toMatchObject({ handshakesStarted: 65, retriesSent: 136 });
  });

  test('lets a client with a token in while others are asked for one, at a pace of its own', () => {
    const server = auto();
    const tokenOf = server.addresses.newToken as (host: string, now: number) => Uint8Array;
    for (let i = 0; i < 200; i++) hand(server, [initial(i)], i * 20 * MILLISECOND, address(i));
    const now = 4 * SECOND;
    for (let i = 0; i < 200; i++)
      hand(server, [initial(1_000 + i, tokenOf('10.9.9.9', now))], now, '10.9.9.9', i);
    // 80 at once, and one as the first of its network.
    expect(server.counters).toMatchObject({
      tokensAccepted: 80,
      handshakesStarted: 144,
      droppedInitialPace: 120,
    });
    // A token that was not made use of is as good as before.
    const token = tokenOf('10.9.9.9', now);
    hand(server, [initial(5_000, token)], now, '10.9.9.9', 1);
    hand(server, [initial(5_000, token)], now + 10 * MILLISECOND, '10.9.9.9', 1);
    expect(server.counters).toMatchObject({ tokensAccepted: 81, tokensRefused: 0 });
  });

  test('sends 15,000 Retries a second, 1,500 at once, and half as many more to networks that got none lately', () => {
    const server = serverEndpoint(retry('always'));
    const data = initial(1);
    for (let i = 0; i < 4_000; i++) hand(server, [data], 0, '10.0.0.1');
    expect(server.counters).toMatchObject({ retriesSent: 1_500, retriesSuppressed: 2_500 });
    drain(server, 0);
    for (let i = 0; i < 1_000; i++) hand(server, [data], 0, address(i + 1));
    expect(server.counters.retriesSent).toBe(2_250);
    drain(server, 0);
    hand(server, [data], 100 * MILLISECOND, '10.0.0.1');
    expect(server.counters.retriesSent).toBe(2_251);
  });
});

describe('a flood of hellos in other names', () => {
  /** 10,000 a second on a simulated network, from addresses that never answer, while an honest client connects. */
  function flooded(data: (i: number) => Uint8Array): Pair {
    const pair = new Pair({ accept: { ...retry('auto'), halfOpenMax: 512, connectionsMax: 1_000 } });
    const { endpoint, node } = pair.server;
    let sent = 0;
    const flood = () => {
      for (let i = 0; i < 10; i++, sent++) hand(endpoint, [data(sent)], pair.now, address(sent * 7), 9);
      node.wake();
      pair.world.clock.schedule(pair.now + MILLISECOND, flood);
    };
    flood();
    pair.run(300);
    return pair;
  }

  test('keeps an honest client for one round trip more, and costs the server a bounded number of handshakes', () => {
    const hellos = Array.from({ length: 400 }, (_, i) => initial(i));
    const pair = flooded((i) => hellos[i % hellos.length]);
    const begun = pair.now;
    pair.connect().until(() => pair.client.isConnected, 1_000);
    expect(pair.now - begun).toBeLessThan(60 * MILLISECOND);
    const { counters } = pair.server.endpoint;
    expect(counters.handshakesStarted).toBeLessThanOrEqual(65);
    expect(counters.retriesSent).toBeGreaterThan(1_000);
    expect(pair.client.core.ids.retrySourceId).not.toBeNull();
  });

  test('so does one captured first packet that is sent again and again', () => {
    const captured = firstFlights(1, 3, IDENTITY.fingerprint)[0][0];
    const pair = flooded(() => captured);
    pair.connect().until(() => pair.client.isConnected, 1_000);
    expect(pair.server.endpoint.counters.handshakesStarted).toBeLessThanOrEqual(3);
    expect(pair.server.endpoint.counters.droppedRepeatedInitial).toBeGreaterThan(1_000);
  });
});

describe('a packet of another version', () => {
  /** As long as a first packet, of some version to come. */
  function future(bytes = 1_200, version = 0x4a535032): Uint8Array {
    const data = bytesOf(bytes, 3);
    data[0] = 0xc0;
    new DataView(data.buffer).setUint32(1, version);
    data[5] = 8;
    data[14] = 8;
    return data;
  }

  test('is answered by the versions there are, unless it is small, or is such an answer [INV-5] [INV-6]', () => {
    const server = serverEndpoint();
    hand(server, [future(), future(511), future(1_200, 0)], 0);
    expect(server.counters).toMatchObject({ droppedVersion: 3, versionPacketsSent: 1 });
    const [answer, ...more] = drain(server, 0);
    expect(more).toEqual([]);
    expect(answer.length).toBeLessThan(50);
    expect(answer.slice(1, 5)).toEqual(new Uint8Array(4));
    expect(answer.slice(6, 14)).toEqual(future().slice(15, 23));
    expect(answer.slice(15, 23)).toEqual(future().slice(6, 14));
  });

  test('is answered no more than so often, and by clients never', () => {
    const server = serverEndpoint();
    for (let i = 0; i < 300; i++) hand(server, [future()], i, address(i));
    drain(server, 0);
    for (let i = 0; i < 300; i++) hand(server, [future()], i, address(i));
    expect(server.counters.versionPacketsSent).toBe(100);
    const client = new Pair().client.endpoint;
    hand(client, [future()], 0);
    expect(client.wantsTransmit).toBe(false);
  });
});
