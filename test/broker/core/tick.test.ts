import { expect, test } from 'vitest';
import { World } from './world.ts';

test('a tick looks after a few thousand clients at a time, and others have their turn in between [BRK-23]', () => {
  const world = new World();
  let asked = 0;
  const link = {
    ...{ id: 1, priority: 2, messageBytesMax: 1_000, roomBytes: 0 },
    get queuedBytes() {
      asked++;
      return 0;
    },
  };
  const count = 10_000;
  for (let i = 0; i < count; i++) {
    const end = world.core.connected({ openableStreams: 0 });
    world.core.opened(end, link);
  }
  for (let round = 1; round <= 3; round++) {
    world.core.tick(world.nowMs);
    expect(asked - (round - 1) * count).toBeLessThan(count / 2);
    world.pass(10);
    expect(asked).toBe(round * count);
    expect(world.core.nextTimeoutMs).toBe(Number.POSITIVE_INFINITY);
  }
});
