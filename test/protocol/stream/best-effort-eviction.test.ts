import { describe, expect, test } from 'vitest';
import { FrameType, MessageFlag } from '../../../src/protocol/wire/frame-type.ts';
import { Pair } from '../connection/pair.ts';
import { integers, opening, Rogue } from '../connection/rogue.ts';

function fragment(sequence: number, total: number, length: number, remaining = -1): Uint8Array {
  const lifetime = remaining < 0 ? [] : [remaining];
  const flags = MessageFlag.BEST_EFFORT | MessageFlag.FRAGMENT | (remaining < 0 ? 0 : MessageFlag.LIFETIME);
  const fields = [0, sequence, 0, total, sequence, ...lifetime, length];
  return Buffer.concat([integers(FrameType.MESSAGE | flags, ...fields), new Uint8Array(length)]);
}

describe('incomplete best-effort messages of an ordered stream that begin newest first [STR-21] [STR-22]', () => {
  function prepared(budget = 1 << 20): Rogue {
    const pair = new Pair({ server: { bestEffortBytes: budget } }).connected();
    const rogue = new Rogue(pair);
    rogue.send(opening(0));
    for (let sequence = 1_000; sequence > 1_000 - 256; sequence--) rogue.post(fragment(sequence, 200, 1));
    pair.run(20);
    return rogue;
  }

  test('give way when there are too many, also when that takes the youngest with them', () => {
    const rogue = prepared();
    rogue.send(fragment(700, 200, 200));
    expect(rogue.victimClosed).toBeNull();
    rogue.send(fragment(1_001, 5, 5));
    expect(rogue.victim.texts(0).map(({ length }) => length)).toContain(5);
  });

  test('leave nothing behind whose deadline could come', () => {
    const rogue = prepared();
    rogue.victim.readsAll = false;
    rogue.send(fragment(700, 200, 1, 50_000));
    rogue.send(fragment(1_001, 5, 5));
    const [stream] = rogue.victim.streams;
    expect(stream.receiver.readable).toBe(1);
    rogue.send(integers(FrameType.PING));
    rogue.send(integers(FrameType.PING));
    rogue.send(integers(FrameType.PING));
    expect(rogue.victim.read(stream)).toBe(1);
    expect(stream.receiver.readable).toBe(0);
    expect(rogue.victim.core.streams.receiveCounts.budget.used).toBe(0);
  });

  test('give way where the budget is small', () => {
    const rogue = prepared(256 * 328);
    rogue.send(fragment(700, 200, 200));
    rogue.send(fragment(1_001, 5, 5));
    expect(rogue.victimClosed).toBeNull();
    expect(rogue.victim.core.streams.receiveCounts.budget.used).toBe(0);
  });
});
