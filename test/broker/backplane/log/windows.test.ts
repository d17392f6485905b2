import { expect, test } from 'vitest';
import { Windows } from '../../../../src/broker/backplane/log/windows.ts';
import type { StoredRecord } from '../../../../src/broker/core/store-port.ts';

const COMMAND = new Uint8Array(10);

function recordAt(offset: number): StoredRecord {
  return {
    ...{ offset, command: COMMAND, topicEnd: 10, session: 0, sequence: 0, id: 0 },
    ...{ expiresAt: 0, publishedAt: 0 },
  };
}

/** How many of the records up to `until` can be read. */
function held(windows: Windows, until: number): number {
  let count = 0;
  for (let offset = 1; offset < until; offset++) count += windows.read(offset, offset + 1, 1)?.length ?? 0;
  return count;
}

test('of small records a log has as many in memory as go into its bytes with all that each takes, the newest and those that were read last [CLU-33]', () => {
  const windows = new Windows(30_000, 50_000);
  windows.follow(1);
  for (let offset = 1; offset <= 1_000; offset++) windows.arrived(recordAt(offset), offset);
  expect(held(windows, 1_001)).toBe(120);
  expect(windows.bytes).toBeLessThanOrEqual(30_000);
  for (let from = 1; from <= 800; from += 20) {
    windows.add(
      from,
      from + 20,
      Array.from({ length: 20 }, (_, i) => recordAt(from + i)),
    );
  }
  expect(windows.bytes).toBeLessThanOrEqual(80_000);
  expect(held(windows, 1_001)).toBe(120 + 9 * 20);
  expect(windows.read(620, 640, 1)).toBeNull();
  expect(windows.read(621, 641, 10_000)?.length).toBe(20);
});
