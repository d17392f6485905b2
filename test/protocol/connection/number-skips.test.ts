import assert from 'node:assert/strict';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import { NumberSkips } from '../../../src/protocol/connection/packet-number-space.ts';
import { CloseCode } from '../../../src/protocol/wire/close-code.ts';
import { FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { PacketSpace, PacketType } from '../../../src/protocol/wire/packet-header.ts';
import { internalsOf } from './internals.ts';
import { bytesOf, eachSeed, Pair } from './pair.ts';
import { integers, Rogue } from './rogue.ts';

/** The numbers below `end` that are left out. */
function leftOut(seed: number, end: number): number[] {
  const skips = new NumberSkips(new Prng(seed));
  const numbers: number[] = [];
  for (let number = 0; number < end; number++) if (skips.skips(number)) numbers.push(number);
  return numbers;
}

describe('packet numbers that are left out', () => {
  test('come at random, soon at first, then ever more rarely, and never two in a row [PKT-23]', () => {
    const first = new Set<number>();
    eachSeed(1, 50, (seed) => {
      const numbers = leftOut(seed, 200_000);
      first.add(numbers[0]);
      expect(numbers[0]).toBeLessThanOrEqual(64);
      // A mean of 1,024 gives about 195; the standard deviation is about 8.
      expect(numbers.length).toBeGreaterThan(140);
      expect(numbers.length).toBeLessThan(260);
      for (const [i, number] of numbers.entries()) {
        if (i === 0) continue;
        assert.ok(number - numbers[i - 1] > 1);
        assert.ok(number - numbers[i - 1] <= 2_048);
      }
    });
    expect(first.size).toBeGreaterThan(15);
  });

  test('are never sent, and are neither lost nor outstanding for their sender', () => {
    const pair = new Pair().connected();
    const stream = pair.client.open();
    for (let i = 0; i < 300; i++) pair.client.send(stream, bytesOf(1_000, i));
    pair.until(() => pair.server.messages.get(stream.id)?.length === 300);
    pair.run(200);
    const numbers = pair.client.packets
      .filter(({ type }) => type === PacketType.ONE_RTT)
      .map(({ number }) => number);
    const space = internalsOf(pair.client.core).spaces[PacketSpace.APPLICATION];
    expect(space?.nextNumber).toBeGreaterThan(numbers.length + 1);
    expect(pair.client.core.counters).toMatchObject({ packetsLost: 0, ptoCount: 0 });
    const sent = internalsOf(pair.client.core).recovery.sentPackets(PacketSpace.APPLICATION);
    expect(sent).toMatchObject({ flight: { bytes: 0, ackEliciting: 0 } });
    expect(pair.server.closed).toBeNull();
  });

  test('betray a receiver that acknowledges what it cannot have received, before its sender is fast [PKT-23]', () => {
    eachSeed(1, 10, (seed) => {
      const pair = new Pair({ seed }).connected();
      const stream = pair.server.open();
      const rogue = new Rogue(pair, 'client');
      for (let i = 0; i < 2_000; i++) pair.server.send(stream, bytesOf(1_000, i));
      const { spaces, recovery } = internalsOf(pair.server.core);
      for (let round = 0; round < 100 && rogue.victimClosed === null; round++) {
        const sent = recovery.sentPackets(PacketSpace.APPLICATION).largestSent;
        rogue.post(integers(FrameType.ACK, sent, 0, 0, sent));
        pair.run(10);
      }
      expect(rogue.victimClosed).toMatchObject({ code: CloseCode.PROTOCOL_VIOLATION });
      expect(spaces[PacketSpace.APPLICATION]?.nextNumber).toBeLessThan(400);
    });
  });

  test('betray it also when it acknowledges one packet at a time', () => {
    eachSeed(1, 10, (seed) => {
      const pair = new Pair({ seed }).connected();
      const stream = pair.server.open();
      const rogue = new Rogue(pair, 'client');
      for (let i = 0; i < 500; i++) pair.server.send(stream, bytesOf(1_000, i));
      const sent = internalsOf(pair.server.core).recovery.sentPackets(PacketSpace.APPLICATION);
      for (let number = 0; number < 2_000 && rogue.victimClosed === null; number++) {
        for (let waits = 0; waits < 50 && number > sent.largestSent; waits++) pair.run(1);
        rogue.post(integers(FrameType.ACK, number, 0, 0, 0));
        if (number % 8 === 0) pair.run(10);
      }
      expect(rogue.victimClosed).toMatchObject({ code: CloseCode.PROTOCOL_VIOLATION });
    });
  });
});
