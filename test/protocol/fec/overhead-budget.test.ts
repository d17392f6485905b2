import fc from 'fast-check';
import { expect, test } from 'vitest';
import { OverheadBudget } from '../../../src/protocol/fec/overhead-budget.ts';

const MTU = 1_200;

test('what is spent is never more than the share of what was protected, and two packets [FEC-3]', () => {
  const step = fc.record({ protectedBytes: fc.nat(1_200), wanted: fc.nat(3_000) });
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 200 }),
      fc.double({ min: 0, max: 4, noNaN: true }),
      (steps, share) => {
        const budget = new OverheadBudget();
        let sent = 0;
        for (const { protectedBytes, wanted } of steps) {
          budget.earn(protectedBytes, share, MTU);
          sent += protectedBytes;
          if (budget.affords(wanted)) budget.spend(wanted);
          expect(budget.spentBytes).toBeLessThanOrEqual(share * sent + 2 * MTU + 1e-6);
        }
      },
    ),
  );
});

test('little is saved up: after a long time without spending, two packets [FEC-3]', () => {
  const budget = new OverheadBudget();
  for (let i = 0; i < 1_000; i++) budget.earn(100, 0.5, MTU);
  expect(budget.affords(2 * MTU)).toBe(true);
  expect(budget.affords(2 * MTU + 1)).toBe(false);
  budget.spend(2 * MTU);
  expect(budget.affords(1)).toBe(false);
  budget.earn(100, 0.5, MTU);
  expect(budget.affords(50)).toBe(true);
});

test('that was nothing for a while, or of smaller packets, is not full anew [FEC-3]', () => {
  const budget = new OverheadBudget();
  for (let i = 0; i < 20; i++) {
    budget.earn(10, i % 2 === 0 ? 0.5 : 0, 1_000);
    budget.earn(10, 0.5, i % 3 === 0 ? 500 : 1_000);
    while (budget.affords(100)) budget.spend(100);
    expect(budget.spentBytes).toBeLessThanOrEqual(budget.earnedBytes + 2_000);
  }
});

test('of nothing nothing can be spent [FEC-3]', () => {
  const budget = new OverheadBudget();
  budget.earn(10_000, 0, MTU);
  expect(budget.affords(0)).toBe(true);
  expect(budget.affords(1)).toBe(false);
});

test('what is bounded by the packets that it follows may be more than two packets, within all that was earned [FEC-3]', () => {
  const budget = new OverheadBudget();
  for (let i = 0; i < 10; i++) budget.earn(MTU, 0.5, MTU);
  expect(budget.affords(2 * MTU + 1)).toBe(false);
  expect(budget.affordsOfAll(7 * MTU)).toBe(true);
  expect(budget.affordsOfAll(7 * MTU + 1)).toBe(false);
  budget.spend(7 * MTU);
  expect(budget.affordsOfAll(1)).toBe(false);
});
