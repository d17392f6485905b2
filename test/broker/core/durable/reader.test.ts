import { expect, test } from 'vitest';
import { LogFeed, LogReader } from '../../../../src/broker/core/durable/reader.ts';
import { Timers } from '../../../../src/broker/core/timers.ts';

test('a reader that begins behind what is still to be stored begins there, also where the log drops some of that as it stores it [BRK-61]', () => {
  const log = {
    ...{
      name: 'default',
      filters: [],
      epoch: 1,
      isDurable: true,
      earliest: 1,
      head: 48,
      synced: 1,
      bytes: 0,
    },
    append: () => -1,
    read: () => [],
    firstAt: () => 0,
  };
  const feed = new LogFeed(log, new Timers(), 64);
  const reader = new LogReader(feed, log.head, { wake: () => {} });
  reader.resume({ bytes: 0, bytesMax: 1e6, charge: () => {} });
  expect(reader.peek()).toBeNull();
  Object.assign(log, { synced: 48, earliest: 14 });
  feed.stored();
  expect(reader.position).toBe(48);
  expect(reader.takeMissed()).toBe(0);
});
