import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MemoryBudget } from '../../../src/base/memory-budget.ts';
import { ReplayFilter, TicketUse } from '../../../src/protocol/handshake/replay-filter.ts';

const WINDOW_MS = 20_000;
const LIFETIME_MS = 3_600_000;

function idOf(number: number): Uint8Array {
  const id = new Uint8Array(16);
  new DataView(id.buffer).setUint32(12, number);
  return id;
}

function filterOf(entriesMax: number, memory = new MemoryBudget(2 ** 30)): ReplayFilter {
  return new ReplayFilter(memory, entriesMax, WINDOW_MS, LIFETIME_MS);
}

describe('the filter of used tickets', () => {
  test('lets each ticket in once, and only once, 10,000 times of 10,000 [HS-53]', () => {
    const filter = filterOf(65_536);
    for (let n = 0; n < 10_000; n++) assert.equal(filter.use(idOf(n), n), TicketUse.FIRST);
    for (let n = 0; n < 10_000; n++) assert.equal(filter.use(idOf(n), 10_000 + n), TicketUse.AGAIN);
  });

  test('is sure of nobody new while all that it remembers could still be shown again [HS-53]', () => {
    const filter = filterOf(3);
    for (let n = 0; n < 3; n++) filter.use(idOf(n), n);
    expect(filter.use(idOf(3), WINDOW_MS)).toBe(TicketUse.UNSURE);
    expect(filter.use(idOf(1), WINDOW_MS)).toBe(TicketUse.AGAIN);
    expect(filter.size).toBe(3);
  });

  test('is sure of nobody either as long as a hello that it did not remember could be shown again [HS-53]', () => {
    const filter = filterOf(3);
    for (let n = 0; n < 3; n++) filter.use(idOf(n), n);
    expect(filter.use(idOf(3), WINDOW_MS)).toBe(TicketUse.UNSURE);
    expect(filter.use(idOf(3), WINDOW_MS + 3)).toBe(TicketUse.UNSURE); // the first three are too old to pass, this one is not
    expect(filter.use(idOf(4), 2 * WINDOW_MS)).toBe(TicketUse.UNSURE);
    expect(filter.use(idOf(4), 2 * WINDOW_MS + 1)).toBe(TicketUse.AGAIN);
    expect(filter.use(idOf(5), 2 * WINDOW_MS + 1)).toBe(TicketUse.FIRST);
    expect(filter.size).toBe(3);
  });

  test('remembers a ticket for as long after it was refused as after it was let in [HS-53]', () => {
    const filter = filterOf(2);
    filter.use(idOf(1), 0);
    expect(filter.use(idOf(1), WINDOW_MS - 10)).toBe(TicketUse.AGAIN);
    filter.use(idOf(2), WINDOW_MS - 5);
    expect(filter.use(idOf(3), WINDOW_MS + 1)).toBe(TicketUse.UNSURE);
    expect(filter.use(idOf(1), WINDOW_MS + 2)).toBe(TicketUse.AGAIN);
  });

  test('knows the very hello of which early data was taken [HS-53]', () => {
    const filter = filterOf(3);
    const [binder, other] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
    filter.use(idOf(1), 0);
    expect(filter.hasTakenEarly(idOf(1), binder)).toBe(false);
    filter.tookEarly(idOf(1), binder);
    filter.tookEarly(idOf(2), binder); // was not remembered
    expect(filter.hasTakenEarly(idOf(1), binder)).toBe(true);
    expect(filter.hasTakenEarly(idOf(1), other)).toBe(false);
    expect(filter.hasTakenEarly(idOf(2), binder)).toBe(false);
  });

  test('takes no more memory than it may, and gives back what is of no use any more [CON-50]', () => {
    const memory = new MemoryBudget(4_096);
    const filter = filterOf(65_536, memory);
    const uses = Array.from({ length: 40 }, (_, n) => filter.use(idOf(n), 0));
    expect(uses.filter((use) => use === TicketUse.FIRST).length).toBe(filter.size);
    expect(uses.at(-1)).toBe(TicketUse.UNSURE);
    expect(memory.metrics().memoryBytes).toBe(memory.reserved);
    expect(memory.reserved).toBeGreaterThan(0);
    expect(memory.reserved).toBeLessThan(4_096);
    filter.use(idOf(99), LIFETIME_MS + 1);
    expect(filter.size).toBe(1);
  });

  test('never says that a ticket is new which it saw within the window, whatever the order', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 5 }),
        fc.array(fc.record({ id: fc.nat(8), afterMs: fc.nat(15_000) }), { maxLength: 60 }),
        (entriesMax, uses) => {
          const filter = filterOf(entriesMax);
          const letIn = new Map<number, number>();
          const seen = new Map<number, number>();
          let now = 0;
          for (const { id, afterMs } of uses) {
            now += afterMs;
            const use = filter.use(idOf(id), now);
            const before = letIn.get(id);
            if (before !== undefined && now - before <= WINDOW_MS) expect(use).toBe(TicketUse.AGAIN);
            const seenAt = seen.get(id);
            if (seenAt === undefined) expect(use).not.toBe(TicketUse.AGAIN);
            else if (now - seenAt <= WINDOW_MS) expect(use).not.toBe(TicketUse.FIRST);
            if (use === TicketUse.FIRST) letIn.set(id, now);
            seen.set(id, now);
            expect(filter.size).toBeLessThanOrEqual(entriesMax);
          }
        },
      ),
    );
  });
});
