import { expect, test } from 'vitest';
import { ClaimWorld } from './claim-world.ts';

test('no number is given to two nodes, however many they take, lose or leave behind [CLU-27]', () => {
  const w = new ClaimWorld(3, ['a', 'b', 'c']);
  const given = new Set<number>();
  let taken = 0;
  const take = (name: string, count: number) => {
    for (let i = 0; i < count; i++) given.add(w.node(name).backplane.newNumber());
    taken += count;
  };
  for (let round = 0; round < 6; round++) {
    for (const name of ['a', 'b', 'c']) {
      take(name, 9_000);
      w.lost = 0.3;
      w.pass(1_000); // what is to be taken next is taken by then
    }
    if (round === 3) {
      w.kill('b');
      w.start('b');
      w.pass(1_000);
    }
  }
  expect(given.size).toBe(taken);
  expect(given.has(1)).toBe(true);
});

test('a node that cannot reach the others for so long that it has no number left says so [CLU-27]', () => {
  const w = new ClaimWorld(3, ['a']);
  w.cut('a');
  expect(() => {
    for (let i = 0; i < 40_000; i++) w.node('a').backplane.newNumber();
  }).toThrow('No number is left');
});
