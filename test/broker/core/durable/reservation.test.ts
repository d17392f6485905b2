/** What the store knows of deliveries before they are made. */
import { describe, expect, test } from 'vitest';
import { Reservation } from '../../../../src/broker/core/durable/reservation.ts';
import type { StatePort } from '../../../../src/broker/core/store-port.ts';

/** Delivers so many messages, as many as may be between two syncs of the store. Returns how many syncs that took, and how far was reserved then. */
function deliver(count: number, perSync: number): { syncs: number; ahead: number } {
  const state = { synced: 0 } as { synced: number } & StatePort;
  const reservation = new Reservation(0);
  let written = 0;
  let syncs = 0;
  let offset = 0;
  while (offset < count) {
    for (let sent = 0; sent < perSync && offset < count; sent++) {
      const isCovered = reservation.covers(offset, state);
      if (reservation.isDue(offset)) {
        reservation.extend(offset);
        reservation.written(++written);
      }
      if (!isCovered) break;
      offset++;
    }
    state.synced = written;
    syncs++;
  }
  return { syncs, ahead: reservation.below - offset };
}

describe('what may be delivered', () => {
  test('grows with deliveries that are faster than the store: they soon wait for nothing [BRK-69]', () => {
    const perSync = 6_000;
    const count = 100 * perSync;
    expect(deliver(count, perSync).syncs).toBeLessThan(1.1 * (count / perSync));
  });

  test('waits for the write that has it, whatever is written behind that [BRK-69]', () => {
    const state = { synced: 0 } as { synced: number } & StatePort;
    const reservation = new Reservation(0);
    reservation.extend(0);
    reservation.written(1);
    reservation.written(2); // something else has changed
    expect(reservation.covers(0, state)).toBe(false);
    state.synced = 1;
    expect(reservation.covers(0, state)).toBe(true);
  });

  test('stays small where the store is fast enough: less is marked after a crash that never was delivered [BRK-69]', () => {
    const { syncs, ahead } = deliver(10_000, 100);
    expect(syncs).toBeLessThanOrEqual(101);
    expect(ahead).toBeLessThanOrEqual(1_024);
  });

  test('is at most 16,384 beyond what was delivered, however fast that is [BRK-69]', () => {
    expect(deliver(1_000_000, 1_000_000).ahead).toBeLessThanOrEqual(16_384);
  });
});
