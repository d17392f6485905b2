import { expect, test } from 'vitest';
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
