import { expect, test } from 'vitest';
import { ThinSender } from '../../../src/protocol/recovery/thin-sender.ts';

test('a sender is thin with up to eight packets in flight that nothing holds back [REC-57]', () => {
  const sender = new ThinSender();
  expect([sender.isThin(0), sender.isThin(8), sender.isThin(9)]).toEqual([true, true, false]);
  sender.isAppLimited = false;
  expect(sender.isThin(0)).toBe(false);
});

test('its packets are as far apart as they are on average, the newest weighing an eighth [REC-57]', () => {
  const sender = new ThinSender();
  sender.onSent(5_000);
  expect(sender.interval).toBe(0);
  sender.onSent(15_000);
  expect(sender.interval).toBe(10_000);
  sender.onSent(15_000 + 18_000);
  expect(sender.interval).toBe(11_000);
});
