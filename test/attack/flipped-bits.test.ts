import { describe, expect, test } from 'vitest';
import type { Endpoint } from '../../src/protocol/endpoint/endpoint.ts';
import { isConfirmed } from '../protocol/connection/internals.ts';
import { bytesOf } from '../protocol/connection/pair.ts';
import { drain } from '../protocol/endpoint/first-flights.ts';
import { dropsOf, Lockstep, stateOf } from './lockstep.ts';

describe('a packet with a flipped bit is dropped and counted, and disturbs nothing', () => {
  test('wherever the bit is, in each packet of a handshake, the first included', () => {
    const pair = new Lockstep();
    const flipped = { client: 0, server: 0 };
    pair.run((packet, to, side) => {
      flipped[side] += flipAll(pair, packet, to, 1, FLIP_GAP);
    });
    expect(isConfirmed(pair.clientCore)).toBe(true);
    expect(isConfirmed(pair.serverCore)).toBe(true);
    // Two datagrams of 1,200 bytes one way, an answer of over 1,500 the other.
    expect(flipped.server).toBeGreaterThan(2 * 1_200 * 8);
    expect(flipped.client).toBeGreaterThan(1_500 * 8);
  });

  test.each([
    [0, 1],
    [40, 1],
    [1_000, 7],
    [20_000, 61],
  ])('in packets with messages of %i bytes', (length, step) => {
    const pair = new Lockstep();
    pair.run();
    const stream = pair.clientCore.streams.open({ priority: 2, delivery: 0, ordered: true, label: 'secret' });
    stream.send(bytesOf(length), 0, Number.POSITIVE_INFINITY, false);
    stream.finish();
    let flipped = 0;
    pair.run((packet, to) => {
      // Acknowledgements that were held back are due now, not between the flips.
      pair.pass(30_000);
      flipped += flipAll(pair, packet, to, step);
    });
    expect(flipped).toBeGreaterThan(100);
    const [there] = [...pair.serverCore.streams.values()];
    expect(Buffer.compare(there.read(pair.now) ?? Buffer.alloc(0), bytesOf(length))).toBe(0);
    expect(there.receiver.ended).toBe(true);
  });

  test('in a CONNECTION_CLOSE', () => {
    const pair = new Lockstep();
    pair.run();
    pair.clientCore.lifecycle.close('application', 7, 'bye', pair.now);
    pair.collect();
    const [close] = pair.toServer;
    expect(flipAll(pair, close, pair.server, 1)).toBe(close.length * 8);
    expect(pair.serverCore.lifecycle.isOpen).toBe(true);
    pair.deliver(close, pair.server);
    expect(pair.serverCore.lifecycle.reason).toMatchObject({ by: 'peer', code: 7, reason: 'bye' });
  });
});

/** First packets come no faster than they are opened, so that the cipher is what refuses them. [CON-42] */
const FLIP_GAP = 11_000;

/** Acknowledgements that were held back go out now, not between the flips: a packet that does not open lets its connection say what is due. */
function settle(pair: Lockstep, packet: Uint8Array, to: Endpoint, gap: number): void {
  const damaged = packet.slice();
  damaged[packet.length - 1] ^= 1;
  pair.now += gap;
  pair.deliver(damaged, to);
  pair.collect();
}

/** Delivers the packet with every `step`th bit flipped in turn, `gap` microseconds apart. Returns how many that were. */
function flipAll(pair: Lockstep, packet: Uint8Array, to: Endpoint, step: number, gap = 0): number {
  settle(pair, packet, to, gap);
  const before = JSON.stringify(stateOf(to));
  let count = 0;
  for (let bit = 0; bit < packet.length * 8; bit += step) {
    const drops = dropsOf(to);
    pair.now += gap;
    const damaged = packet.slice();
    damaged[bit >> 3] ^= 1 << (bit & 7);
    pair.deliver(damaged, to);
    if (dropsOf(to) <= drops) throw new Error(`bit ${bit} of ${packet.length * 8} was not counted`);
    count++;
  }
  expect(JSON.stringify(stateOf(to))).toBe(before);
  // With another id it is a packet of no connection, which may be answered by a reset that means nothing to anyone [PKT-24]; with another version, by
  // those that are spoken [INV-5].
  for (const answer of drain(to, pair.now)) {
    const isReset = (answer[0] & 0xc0) === 0x40;
    expect(isReset || Buffer.from(answer).readUInt32BE(1) === 0).toBe(true);
    expect(answer.length).toBeLessThan(packet.length);
  }
  return count;
}
