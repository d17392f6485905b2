import { expect, test } from 'vitest';
import { RefusedIds } from '../../../../src/broker/core/publishing/refused-ids.ts';
import { Sequences } from '../../../../src/broker/core/session/sequences.ts';
import { ReasonCode } from '../../../../src/pubsub/command.ts';

const { QUOTA, STORE_FULL } = ReasonCode;

test('what was refused is known by session, sequence and id, until a message is taken with that id after all [BRK-83]', () => {
  const refused = new RefusedIds();
  const [a, b] = [new Sequences(), new Sequences()];
  refused.add(a, 2, 7, QUOTA);
  refused.add(a, 2, 9, STORE_FULL);
  refused.add(a, 0, 0xffff_ffff, QUOTA);
  expect([7, 8, 9].map((id) => refused.codeOf(a, 2, id))).toEqual([QUOTA, undefined, STORE_FULL]);
  expect([refused.codeOf(b, 2, 7), refused.codeOf(a, 1, 7)]).toEqual([undefined, undefined]);
  expect(refused.of(b)).toEqual([]);
  refused.taken(a, 2, 7);
  expect(refused.of(a)).toEqual([
    { sequence: 2, id: 9, code: STORE_FULL },
    { sequence: 0, id: 0xffff_ffff, code: QUOTA },
  ]);
});

test('what is kept of refused ids is bounded, for a session and for all of them; who is refused without end takes nothing from the others [BRK-83]', () => {
  const refused = new RefusedIds();
  const quiet = new Sequences();
  refused.add(quiet, 2, 1, QUOTA);
  const loud = new Sequences();
  for (let id = 1; id <= 20_000; id++) refused.add(loud, 2, id, QUOTA);
  expect(refused.codeOf(loud, 2, 20_000 - 4_096)).toBe(undefined);
  expect(refused.codeOf(loud, 2, 20_000 - 4_095)).toBe(QUOTA);
  expect(refused.codeOf(quiet, 2, 1)).toBe(QUOTA);
  const many = Array.from({ length: 20_000 }, () => new Sequences());
  for (const sequences of many) refused.add(sequences, 2, 1, QUOTA);
  const known = many.filter((sequences) => refused.codeOf(sequences, 2, 1) !== undefined).length;
  expect(known).toBeGreaterThan(5_000);
  expect(known).toBeLessThan(20_000);
  expect(refused.codeOf(many[19_999], 2, 1)).toBe(QUOTA);
  expect(refused.codeOf(quiet, 2, 1)).toBe(undefined);
});
