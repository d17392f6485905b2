import { describe, expect, test } from 'vitest';
import { Delivery } from '../../src/protocol/wire/frame-type.ts';
import { Pressure } from './pressure.ts';

const { PARTIAL, BEST_EFFORT } = Delivery;

/** 50 bytes a millisecond. */
const SLOW = { delayMs: 20, bitsPerSecond: 400_000, queueBytesMax: 10_000 };

describe('Large messages with a deadline, twice as many as the link carries,', () => {
  test.each([
    ['partial', PARTIAL],
    ['best effort', BEST_EFFORT],
  ])('arrive as far as there is time, instead of all of them half: %s [STR-40]', (_, delivery) => {
    const pressure = new Pressure({ seed: 1, link: SLOW });
    const flow = pressure.flow({ settings: { delivery }, bytes: 8_000, everyMs: 80, lifetimeMs: 200 });
    pressure.run(3_000).restart();
    pressure.run(20_000);
    expect(flow.receivedBytes / 20_000).toBeGreaterThan(15);
  });

  test.each([
    ['partial', PARTIAL],
    ['best effort', BEST_EFFORT],
  ])('cost nothing where the link is too slow for any of them: %s [STR-40]', (_, delivery) => {
    const pressure = new Pressure({ seed: 1, link: SLOW });
    const flow = pressure.flow({ settings: { delivery }, bytes: 60_000, everyMs: 500, lifetimeMs: 800 });
    const { sentBytes } = pressure.run(3_000).sentOnLink;
    pressure.run(20_000);
    expect(flow.agesMs).toEqual([]);
    expect((pressure.sentOnLink.sentBytes - sentBytes) / 20_000).toBeLessThan(0.05 * 50);
  });
});
