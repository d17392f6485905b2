import { expect, test } from 'vitest';
import { NEVER } from '../../../src/base/time.ts';
import { ConnectionProtection } from '../../../src/protocol/fec/connection-protection.ts';
import {
  PROTECTION_AUTO,
  PROTECTION_OFF,
  ProtectionMode,
  type ProtectionOptions,
} from '../../../src/protocol/fec/protection.ts';
import { StreamProtection } from '../../../src/protocol/fec/stream-protection.ts';
import { cleanPath } from './planned-path.ts';

const STREAM = { id: 0, ordered: true, isBulk: false };
const OTHER: ProtectionOptions = { ...PROTECTION_AUTO, mode: ProtectionMode.BLOCK, data: 4, parity: 1 };

test('messages that do not say have what their stream has, and those that are off go without [FEC-1]', () => {
  const protection = new StreamProtection(STREAM, PROTECTION_AUTO, new ConnectionProtection(cleanPath()));
  expect(protection.admits(null)).toBe(true);
  expect(protection.admits(PROTECTION_OFF)).toBe(false);
  expect(protection.asked).toBe(PROTECTION_AUTO);
  expect(protection.admits(OTHER)).toBe(true);
  expect(protection.asked).toBe(OTHER);
  expect(protection.admits(null)).toBe(true);
  expect(protection.asked).toBe(PROTECTION_AUTO);
});

test('on a stream that is off only those messages are protected that ask for it [FEC-1]', () => {
  const protection = new StreamProtection(STREAM, PROTECTION_OFF, new ConnectionProtection(cleanPath()));
  expect(protection.admits(null)).toBe(true); // nothing is protected, so nothing need be kept out
  expect(protection.admits(OTHER)).toBe(true);
  expect(protection.asked).toBe(OTHER);
  expect(protection.admits(null)).toBe(false);
  expect(protection.admits(PROTECTION_OFF)).toBe(false);
  expect(protection.admits(PROTECTION_AUTO)).toBe(true);
  expect(protection.asked).toBe(PROTECTION_AUTO);
});

test('nobody waits to flush a stream that is over, and what it earned and spent stays counted [FEC-7]', () => {
  const all = new ConnectionProtection(cleanPath());
  const [over, other] = [0, 4].map((id) => {
    const stream = new StreamProtection({ ...STREAM, id }, PROTECTION_AUTO, all);
    all.watch(stream);
    stream.budget.earn(1_000, 0.5, 1_200);
    stream.budget.spend(100);
    return stream;
  });
  const { earnedBytes, spentBytes } = all;
  all.setFlush(over, 10_000);
  all.setFlush(other, 20_000);
  all.forget(over.stream.id);
  expect([all.earnedBytes, all.spentBytes]).toEqual([earnedBytes, spentBytes]);
  expect(all.nextFlush(15_000)).toBeNull();
  expect(all.nextTimeout()).toBe(20_000);
  all.forget(other.stream.id);
  expect([all.earnedBytes, all.spentBytes]).toEqual([earnedBytes, spentBytes]);
  expect([all.nextTimeout(), all.isAsked]).toEqual([NEVER, false]);
});
