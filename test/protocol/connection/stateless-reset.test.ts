import { describe, expect, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import { Identity } from '../../../src/protocol/crypto/identity.ts';
import { Endpoint } from '../../../src/protocol/endpoint/endpoint.ts';
import { FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { drain, hand, serverEndpoint } from '../endpoint/first-flights.ts';
import { bytesOf, config, IDENTITY, Pair, PORT } from './pair.ts';

/** A pair whose server was killed and started again, with the same address and, unless told otherwise, identity. */
function restarted(identity = IDENTITY, resetKey?: Uint8Array) {
  const pair = new Pair({ accept: resetKey === undefined ? {} : { resetKey } }).connected().echo();
  pair.server.node.remove();
  const again = serverEndpoint({ identity, resetKey }, 77);
  pair.world.add(again, { host: 'server', port: PORT, pump: () => {} });
  return { pair, again };
}

describe('a server that was started anew', () => {
  test('ends a connection of its predecessor within a round trip of the client’s next packet [PKT-22] [PKT-24] [PKT-25]', () => {
    const { pair, again } = restarted();
    const start = pair.now;
    pair.client.send(pair.client.open(), 'still there?');
    pair.until(() => pair.client.closed !== null, 1_000);
    expect(pair.client.closed).toMatchObject({ by: 'reset' });
    expect(pair.now - start).toBeLessThan(15_000);
    const sent = pair.client.sent.length;
    pair.run(5_000);
    expect(pair.client.sent).toHaveLength(sent);
    expect(pair.client.endpoint.counters.connectionsOpen).toBe(0);
    expect(again.counters).toMatchObject({ statelessResetsSent: 1, connectionsOpen: 0 });
  });

  test('ends it at the next heartbeat of a client that has nothing to say', () => {
    const { pair } = restarted();
    pair.until(() => pair.client.closed !== null, 6_000);
    expect(pair.client.closed).toMatchObject({ by: 'reset' });
  });

  test('does so with a key that it was given, too, whatever its identity', () => {
    const { pair } = restarted(Identity.generate(new Prng(5)), undefined);
    pair.client.send(pair.client.open(), 'x');
    pair.run(2_000);
    expect(pair.client.closed).toBeNull();
    const given = new Pair({ accept: { resetKey: bytesOf(32, 4) } }).connected();
    given.server.node.remove();
    const other = serverEndpoint({ identity: Identity.generate(new Prng(6)), resetKey: bytesOf(32, 4) }, 78);
    given.world.add(other, { host: 'server', port: PORT, pump: () => {} });
    given.client.send(given.client.open(), 'x');
    given.until(() => given.client.closed !== null, 1_000);
    expect(given.client.closed).toMatchObject({ by: 'reset' });
  });
});

describe('a stateless reset', () => {
  test('is smaller than what it answers, looks like a short packet, and answers nothing smaller than 38 bytes [PKT-24]', () => {
    const server = serverEndpoint();
    for (let length = 29; length < 200; length++) {
      hand(server, [shortPacket(length)], length * 10_000);
      const answers = drain(server, length * 10_000);
      expect(answers).toHaveLength(length < 38 ? 0 : 1);
      for (const answer of answers) {
        expect(answer.length).toBeLessThan(length);
        expect(answer.length).toBeGreaterThanOrEqual(37);
        expect(answer[0] & 0xc0).toBe(0x40);
      }
    }
  });

  test('begins no endless talk between two servers', () => {
    const servers = [serverEndpoint({}, 1), serverEndpoint({}, 2)];
    let packets = [shortPacket(1_200)];
    let rounds = 0;
    for (; packets.length > 0; rounds++) {
      hand(servers[rounds % 2], packets, rounds);
      packets = drain(servers[rounds % 2], rounds);
    }
    expect(rounds).toBeGreaterThan(1);
    expect(rounds).toBeLessThan(20);
  });

  test('goes out a thousand times a second and no more, and the rest is counted', () => {
    const server = serverEndpoint();
    let answers = 0;
    for (let i = 0; i < 4_000; i++) {
      hand(server, [shortPacket(100, i)], i * 500);
      answers += drain(server, i * 500).length;
    }
    expect(answers).toBeGreaterThan(2_400);
    expect(answers).toBeLessThan(2_510);
    expect(server.counters).toMatchObject({
      statelessResetsSent: answers,
      statelessResetsSuppressed: 4_000 - answers,
      droppedUnknownId: 4_000,
    });
  });

  test('comes from no endpoint that only connects, and not while a connection is closing [CON-9]', () => {
    const client = new Endpoint({ connection: config(), random: new Prng(1), server: null });
    hand(client, [shortPacket(100)], 0);
    expect(drain(client, 0)).toEqual([]);

    const pair = new Pair().connected();
    pair.server.core.lifecycle.close('application', 3, 'bye', pair.now);
    pair.client.send(pair.client.open(), 'in the middle of it');
    pair.server.node.wake();
    pair.run(100);
    expect(pair.client.closed).toMatchObject({ by: 'peer', code: 3 });
    pair.toTheEnd();
    expect(pair.server.endpoint.counters.statelessResetsSent).toBe(0);
    expect(pair.server.frames(FrameType.CONNECTION_CLOSE).length).toBeGreaterThan(0);
  });

  test('that is forged does nothing, and does not count as a packet of the server [PKT-25]', () => {
    const pair = new Pair().connected().run(100);
    const token = pair.client.core.ids.resetToken as Uint8Array;
    expect(token).toHaveLength(16);
    const before = pair.client.core.counters.packetsReceived;
    const forge = (change: (data: Uint8Array) => void) => {
      const data = shortPacket(60);
      data.set(token, 44);
      change(data);
      pair.server.inject(data);
    };
    for (let byte = 44; byte < 60; byte++) {
      forge((data) => {
        data[byte] ^= 1;
      });
    }
    pair.server.inject(token);
    pair.server.inject(Buffer.concat([Uint8Array.of(0x40), bytesOf(19), token]));
    pair.run(100);
    expect(pair.client.closed).toBeNull();
    expect(pair.client.core.counters.packetsReceived).toBe(before);
    pair.echo();
    forge(() => {});
    pair.run(10);
    expect(pair.client.closed).toMatchObject({ by: 'reset' });
  });

  test('is answered by nothing, and a server is never ended by one', () => {
    const pair = new Pair().connected();
    expect(pair.server.core.ids.resetToken).toBeNull();
    const data = shortPacket(60);
    data.set(pair.client.core.ids.resetToken as Uint8Array, 44);
    pair.client.inject(data);
    pair.run(50);
    expect(pair.server.closed).toBeNull();
    pair.echo();
  });
});

/** A short packet of no connection. */
function shortPacket(length: number, tag = 1): Uint8Array {
  const data = bytesOf(length, tag).slice();
  data[0] = 0x40 | (data[0] & 0x3f);
  return data;
}
