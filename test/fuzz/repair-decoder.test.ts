import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/random.ts';
import type { RepairDecoder } from '../../src/protocol/fec/repair-decoder.ts';
import {
  arrive,
  bytesOf,
  type CarriedRepair,
  Link,
  receive,
  recovered,
  repairOf,
} from '../protocol/fec/link.ts';
import { type SlowRepair, slowRecover } from '../protocol/fec/slow-code.ts';

describe('fuzz: a decoder of repairs', () => {
  test('recovers what its slow twin does from windows of any kind, and holds and works what it may [FEC-25] [FEC-27] [FEC-28]', () => {
    fc.assert(
      fc.property(fc.array(honestStep, { minLength: 20, maxLength: 60 }), (steps) => {
        agreeWithTwin(steps);
      }),
      { numRuns: 60 },
    );
  });

  test('recovers nothing but what was sent, on a long way that reorders, doubles and loses [FEC-25] [FEC-29]', () => {
    let recoveredInAll = 0;
    for (let seed = 0; seed < LONG_WAYS; seed++) recoveredInAll += longWay(new Prng(seed), 600);
    expect(recoveredInAll).toBeGreaterThan(20 * LONG_WAYS);
  });

  test('is not led beyond its memory and its credit, whatever comes [FEC-27] [FEC-28] [FEC-29]', () => {
    fc.assert(
      fc.property(
        fc.array(hostileStep, { minLength: 1, maxLength: 150 }),
        fc.nat(131_072),
        (steps, bytesMax) => {
          const decoder = new Link().decoder(bytesMax);
          const account = new Account(decoder, bytesMax);
          let carrying = 100;
          for (const { ahead, symbol, repair } of steps) {
            carrying += ahead;
            account.receive(repairOf({ carrying, ...repair }));
            if (symbol > 0) account.arrive(carrying, bytesOf(carrying, symbol));
            for (const [number, bytes] of recovered(decoder)) {
              assert.ok(number < carrying + 1);
              assert.ok(number >= carrying - 64);
              assert.ok(bytes.length > 0);
              assert.ok(bytes.length <= 1_500);
            }
          }
          const { counts } = decoder;
          expect(counts.received).toBeLessThanOrEqual(steps.length); // others were no REPAIRs at all
          expect(counts.useless + counts.ignored).toBeLessThanOrEqual(counts.received);
        },
      ),
      { numRuns: 150 },
    );
  });

  test('works no more than its credit for those who make it work most [FEC-28]', () => {
    const decoder = new Link().decoder();
    const account = new Account(decoder, 131_072);
    const cheap = [0, 1, 7];
    // 20 long equations in 31 unknowns, and then small symbols of these, each of which takes a pivot away; again and again.
    for (let round = 0, first = 64; round < 40; round++, first += 64) {
      for (let i = 0; i < 20; i++) {
        const parity = bytesOf(round * 20 + i, 1_502);
        account.receive(repairOf({ carrying: first + 32, group: 1, row: i, span: 31, parity }));
      }
      for (let i = 0; i < 31; i++) account.arrive(first + 1 + i, Uint8Array.of(i));
      for (let i = 0; i < 200; i++)
        account.receive(repairOf({ carrying: first + 40, group: 1, row: i % 128, span: 30, parity: cheap }));
      recovered(decoder);
    }
    expect(decoder.work).toBeGreaterThan(262_144);
  });
});

/** Checks that a decoder keeps its bounds with each thing that it is handed. */
class Account {
  private readonly decoder: RepairDecoder;
  private readonly bytesMax: number;
  private bytes = 0;

  constructor(decoder: RepairDecoder, bytesMax: number) {
    this.decoder = decoder;
    this.bytesMax = bytesMax;
  }

  arrive(number: number, symbol: Uint8Array): void {
    arrive(this.decoder, number, symbol);
    this.check(symbol.length);
  }

  receive(repair: CarriedRepair): void {
    receive(this.decoder, repair);
    this.check(repair.frame.length);
  }

  private check(bytes: number): void {
    this.bytes += bytes;
    assert.ok(this.decoder.charged <= this.bytesMax);
    assert.ok(this.decoder.work <= 262_144 + 64 * this.bytes);
  }
}

interface HonestStep {
  readonly length: number;
  readonly isLost: boolean;
  /** Numbers back from the packet that the repair in it begins and ends at; null: it has none. */
  readonly window: readonly [number, number] | null;
  readonly isSettled: boolean;
}

const honestStep: fc.Arbitrary<HonestStep> = fc.record({
  length: fc.oneof(fc.integer({ min: 1, max: 60 }), fc.constant(0)),
  isLost: fc.nat(3).map((n) => n === 0),
  window: fc.option(fc.tuple(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 5 }))),
  isSettled: fc.nat(9).map((n) => n === 0),
});

/** A sender and a receiver of one symbol and at most one repair a packet; all that can be known is recovered, at once. */
function agreeWithTwin(steps: readonly HonestStep[]): void {
  const link = new Link();
  const decoder = link.decoder();
  const account = new Account(decoder, 131_072);
  const sent = new Map<number, Uint8Array>();
  const known = new Map<number, Uint8Array>();
  const repairs: SlowRepair[] = [];
  const found = new Map<number, Uint8Array>();
  for (const [number, { length, isLost, window, isSettled }] of steps.entries()) {
    if (window !== null && link.encoder.size(number, number - window[0], number - window[1]) > 0 && !isLost) {
      const repair = link.repair(number, number - window[0], number - window[1]);
      account.receive(repair);
      repairs.push(asSlow(repair, sent));
    }
    if (length > 0) {
      const symbol = bytesOf(number * 7 + length, length);
      sent.set(number, symbol);
      link.encoder.keep(number, symbol, 0, length);
      if (isSettled) link.encoder.forget(number);
      if (!isLost) {
        known.set(number, symbol);
        account.arrive(number, symbol);
      }
    }
    for (const [recoveredNumber, bytes] of recovered(decoder)) found.set(recoveredNumber, bytes);
    expect(found).toEqual(new Map([...slowRecover(known, repairs)]));
  }
  for (const [number, bytes] of found) assert.deepEqual(bytes, sent.get(number));
  expect(decoder.counts.corrupt).toBe(0);
}

/** Many packets over a bad way, of all lengths, some without a symbol. Returns how many symbols were recovered. */
function longWay(random: Prng, packets: number): number {
  const link = new Link();
  const decoder = link.decoder(random.chance(0.5) ? 131_072 : random.between(8_384, 131_072));
  const sent = new Map<number, Uint8Array>();
  const onTheWay: { due: number; number: number; symbol: Uint8Array; repair: CarriedRepair | null }[] = [];
  const loss = random.below(40) / 100;
  const reach = random.between(1, 60);
  const longest = random.chance(0.3) ? 1_500 : 100;
  let count = 0;
  for (let number = 0; number < packets; number++) {
    if (random.chance(0.01)) number += random.below(100);
    const from = number - random.between(1, reach);
    const hasRepair = random.chance(0.6) && link.encoder.size(number, from, number - 1) > 0;
    const repair = hasRepair ? link.repair(number, from, number - 1) : null;
    const symbol = random.chance(0.2) ? NOTHING : bytesOf(number, random.between(1, longest));
    if (link.encoder.keep(number, symbol, 0, symbol.length)) sent.set(number, symbol);
    if (random.chance(0.2)) link.encoder.forget(number - random.below(10));
    const delay = random.chance(0.1) ? random.below(80) : 0;
    for (let copies = random.chance(0.02) ? 2 : 1; copies > 0 && !random.chance(loss); copies--) {
      onTheWay.push({ due: number + delay + copies, number, symbol, repair });
    }
    for (let i = onTheWay.length - 1; i >= 0; i--) {
      if (onTheWay[i].due > number) continue;
      const [packet] = onTheWay.splice(i, 1);
      if (packet.repair !== null) receive(decoder, packet.repair);
      if (packet.symbol.length > 0) arrive(decoder, packet.number, packet.symbol);
    }
    for (const [recoveredNumber, bytes] of recovered(decoder)) {
      assert.deepEqual(bytes, sent.get(recoveredNumber));
      count++;
    }
    if (random.chance(0.005)) decoder.trim(number);
  }
  expect(decoder.counts.corrupt).toBe(0);
  return count;
}

/** What a REPAIR says, read by hand. */
function asSlow({ carrying, frame }: CarriedRepair, sent: ReadonlyMap<number, Uint8Array>): SlowRepair {
  const [, , group, row, span, r] = frame; // its numbers are small
  const start = frame.length >= 64 + 7 ? 8 : 7;
  const oldest = carrying - group - span + 1;
  const numbers = Array.from({ length: span }, (_, i) => i)
    .filter((i) => r === 0 || (frame[start + (i >> 3)] >> (i & 7)) & 1)
    .map((i) => oldest + i);
  expect(numbers.every((number) => sent.has(number))).toBe(true);
  return { row, numbers, parity: frame.subarray(start + r) };
}

const parity = fc.oneof(
  fc.uint8Array({ minLength: 3, maxLength: 40 }),
  fc.tuple(fc.nat(1_000), fc.integer({ min: 3, max: 1_502 })).map(([seed, length]) => bytesOf(seed, length)),
  fc.integer({ min: 3, max: 1_502 }).map((length) => new Uint8Array(length)),
  fc
    .integer({ min: 1, max: 1_500 })
    .map((length) => Uint8Array.of(length >> 8, length, ...bytesOf(length, length))),
);

const hostileStep = fc.record({
  ahead: fc.oneof(fc.nat(2), fc.nat(100)),
  symbol: fc.oneof(fc.constant(0), fc.nat(20), fc.nat(1_600)),
  repair: fc
    .record({
      group: fc.oneof(fc.constant(1), fc.nat(80)),
      row: fc.oneof(fc.nat(127), fc.constant(255)),
      covered: fc.oneof(
        fc.array(fc.boolean(), { maxLength: 62 }),
        fc.nat(62).map((length) => new Array<boolean>(length).fill(true)),
      ),
      parity,
    })
    .map(({ group, row, covered, parity }) => {
      const bits = covered.length === 0 ? [true] : [true, ...covered, true];
      const mask = new Uint8Array(bits.includes(false) ? Math.ceil(bits.length / 8) : 0);
      for (let i = 0; i < mask.length * 8; i++) if (bits[i]) mask[i >> 3] |= 1 << (i & 7);
      return { group, row, span: bits.length, mask, parity };
    }),
});

const NOTHING = new Uint8Array(0);
const LONG_WAYS = Number(process.env.LONG_WAYS ?? 15);
