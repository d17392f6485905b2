import { describe, expect, test } from 'vitest';
import { Outcomes } from '../../../../src/protocol/stream/send/send-context.ts';

describe('Outcomes', () => {
  test('keeps the order while it grows, and is small again when it was emptied', () => {
    const ring = new Outcomes();
    expect(ring.next()).toBe(false);
    let taken = 0;
    for (let i = 0; i < 5_000; i++) {
      ring.push(i, 0);
      if (i % 3 === 0) {
        expect(ring.next()).toBe(true);
        expect(ring.id).toBe(taken++);
      }
    }
    while (ring.next()) expect(ring.id).toBe(taken++);
    expect(taken).toBe(5_000);
    expect(ring.length).toBe(0);
  });
});
