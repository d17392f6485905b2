import { expect, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import { Identity } from '../../../src/protocol/crypto/identity.ts';
import type { TicketConfig } from '../../../src/protocol/handshake/tickets.ts';
import { FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { PacketType } from '../../../src/protocol/wire/packet-header.ts';
import { eachSeed, Pair, type PairOptions } from './pair.ts';

const HYBRID = Identity.generate(new Prng(77), { hybrid: true });

function hybridPair(mtu: number, options: PairOptions = {}): Pair {
  const sizes = { mtu, mtuMax: mtu };
  return new Pair({
    client: sizes,
    server: sizes,
    accept: { identity: HYBRID },
    pin: HYBRID.fingerprint,
    link: { delayMs: 20 },
    ...options,
  });
}

/** Datagrams of the client before it was answered, and whether the server had to stop for want of bytes from it. */
function answered(
  mtu: number,
  pinsHybrid: boolean,
): { datagrams: number; roundTrips: number; wasBlocked: boolean } {
  const pair = hybridPair(mtu, { pinsHybrid });
  const began = pair.now;
  pair.connect();
  let wasBlocked = false;
  pair.until(() => {
    if (pair.server.sent.length > 0 && !pair.server.isConnected)
      wasBlocked ||= pair.server.halfOpen.path.validation.isExhausted;
    return pair.client.isConnected;
  });
  const datagrams = pair.client.sent.filter(
    ({ packets }) =>
      packets[0].type === PacketType.INITIAL && packets[0].frames.some(({ type }) => type !== 2),
  );
  return { datagrams: datagrams.length, roundTrips: Math.round((pair.now - began) / 40_000), wasBlocked };
}

test.each([1_200, 1_452, 9_000])(
  'a client that knows of a hybrid identity pays for its proof, which takes one round trip, in datagrams of %i bytes [HS-41]',
  (mtu) => {
    expect(answered(mtu, true)).toMatchObject({ roundTrips: 1, wasBlocked: false });
  },
);

test('it sends no more than it has to, and nothing more for another identity [HS-41]', () => {
  expect(answered(1_452, true).datagrams).toBe(2);
  expect(answered(1_452, false)).toMatchObject({ datagrams: 1, wasBlocked: true });
  expect(answered(9_000, true).datagrams).toBe(1);
  const plain = new Pair({ client: { mtu: 1_452, mtuMax: 1_452 } }).connected();
  expect(plain.client.sent.filter(({ packets }) => packets[0].type === PacketType.INITIAL)).toHaveLength(1);
});

test('in the smallest datagrams the server is not held up by what it may send, and whoever does not know connects all the same [HS-41] [CON-4]', () => {
  expect(answered(512, true).wasBlocked).toBe(false);
  for (const mtu of [512, 1_200]) expect(answered(mtu, false).roundTrips).toBeLessThan(5);
});

test('a hybrid identity is proved over a path that loses, whatever the client knows [HS-26] [HS-41]', () => {
  eachSeed(1, 12, (seed) => {
    const mtu = seed % 2 === 0 ? 512 : 1_200;
    const pair = hybridPair(mtu, { seed, pinsHybrid: seed % 4 < 2, link: { delayMs: 20, loss: 0.2 } });
    pair.connect().until(() => pair.client.isConnected || pair.client.closed !== null, 20_000);
    if (pair.client.closed?.by !== 'timeout') pair.echo();
  });
});

test('with a ticket nothing is proved, so that one datagram is enough; where the ticket is not taken the next hello pays [HS-41] [HS-50] [HS-58]', () => {
  const tickets: TicketConfig = {
    keys: null,
    lifetimeMs: 3_600_000,
    earlyDataBytesMax: 0,
    usedMax: 10,
    epochMs: 0,
  };
  const pair = hybridPair(1_452, { pinsHybrid: true, accept: { identity: HYBRID, tickets } }).connected();
  for (const [isTaken, datagrams] of [
    [true, 1],
    [false, 3], // the first of which showed a ticket that was used
  ] as const) {
    const given = pair.client.events.find(({ type }) => type === 'ticket');
    if (given?.type !== 'ticket') throw new Error('there is no ticket');
    pair.client.close();
    pair.run(3_000);
    pair.client.sent.length = 0;
    pair.connect({ ticket: given.ticket, ageMs: 0, hasEarlyData: false });
    pair.until(() => pair.client.core.lifecycle.isEstablished, 200, 'the handshake');
    expect(pair.client.core.handshake.isResumed).toBe(isTaken);
    const helloing = pair.client.sent.filter(({ packets: [{ type, frames }] }) => {
      const isElicited = frames.some(
        (frame) => frame.type === FrameType.CRYPTO || frame.type === FrameType.PING,
      );
      return type === PacketType.INITIAL && isElicited;
    });
    expect(helloing).toHaveLength(datagrams);
  }
});
