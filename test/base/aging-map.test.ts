import fc from 'fast-check';
import { expect, test } from 'vitest';
import { AgingMap } from '../../src/base/aging-map.ts';

test('keeps its entries in the order in which they were set last, as a Map does from which they are taken first', () => {
  const steps = fc.array(fc.tuple(fc.constantFrom('set', 'delete', 'oldest', 'clear'), fc.nat(5)), {
    maxLength: 60,
  });
  fc.assert(
    fc.property(steps, (all) => {
      const map = new AgingMap<number, number>();
      const plain = new Map<number, number>();
      for (const [i, [step, key]] of all.entries()) {
        if (step === 'clear') {
          map.clear();
          plain.clear();
        } else if (step === 'set') {
          map.set(key, i);
          plain.delete(key);
          plain.set(key, i);
        } else if (step === 'delete') {
          expect(map.delete(key)).toBe(plain.delete(key));
        } else {
          const [first] = plain;
          expect(map.oldest === null ? undefined : [map.oldest.key, map.oldest.value]).toEqual(first);
        }
        expect([map.size, map.get(key)]).toEqual([plain.size, plain.get(key)]);
      }
    }),
  );
});

test('the oldest of many goes as fast as that of a few, however many have gone before', () => {
  const costOf = (entries: number): number => {
    const map = new AgingMap<number, null>();
    for (let i = 0; i < entries; i++) map.set(i, null);
    const before = process.cpuUsage();
    for (let i = entries; i < entries + TURNS; i++) {
      map.delete((map.oldest as { key: number }).key);
      map.set(i, null);
    }
    const { user, system } = process.cpuUsage(before);
    return (user + system) / TURNS;
  };
  costOf(1_000); // what is compiled meanwhile counts for nobody
  const few = Math.max(0.2, costOf(1_000));
  expect(costOf(100_000) / few).toBeLessThan(15); // a Map takes 100 times as long and more
});

const TURNS = 30_000;
