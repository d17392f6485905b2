import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { POINTS_MAX } from '../../src/files/messages.ts';
import { agreedBytes, HashTrail, stepFor } from '../../src/files/resume.ts';

function sha(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

test('a trail knows the hash at each step and at the end, however the bytes come, and goes on from each [FIL-7]', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 300 }),
      fc.integer({ min: 1, max: 60 }),
      fc.integer({ min: 1, max: 50 }),
      (bytes, step, chunk) => {
        const trail = new HashTrail(step, bytes.length);
        for (let at = 0; at < bytes.length; at += chunk) trail.update(bytes.subarray(at, at + chunk));
        const places = trail.points().map(({ offset }) => offset);
        const expected = Array.from(
          { length: Math.floor((bytes.length - 1) / step) },
          (_, i) => (i + 1) * step,
        );
        expect(places).toEqual([...expected, bytes.length]);
        for (const { offset, hash } of trail.points()) {
          expect(Buffer.from(hash).toString('hex')).toBe(sha(bytes.subarray(0, offset)));
          const rest = trail.from(offset)?.update(bytes.subarray(offset)).digest('hex');
          expect(rest).toBe(sha(bytes));
        }
        expect(trail.from(bytes.length + 1)).toBe(null);
      },
    ),
  );
});

test('two sides agree up to the last place before the first byte that differs', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 200 }),
      fc.nat(250),
      fc.nat(200),
      fc.integer({ min: 1, max: 40 }),
      (mine, cut, changed, step) => {
        const theirs = Uint8Array.from([...mine, ...new Array(50).fill(1)]).slice(0, Math.max(1, cut));
        if (changed < theirs.length) theirs[changed] ^= 0xff;
        const common = Math.min(mine.length, theirs.length);
        const first = theirs.findIndex((byte, i) => i >= common || byte !== mine[i]);
        const same = first < 0 ? common : Math.min(first, common);
        const pointsOf = (bytes: Uint8Array, end: number) => {
          const trail = new HashTrail(step, end);
          trail.update(bytes);
          return trail.points();
        };
        const agreed = agreedBytes(pointsOf(mine, common), pointsOf(theirs, common));
        expect(agreed).toBe(same === common ? common : Math.floor(same / step) * step);
      },
    ),
  );
});

test('a proof is small, however large the file', () => {
  for (const have of [1, 2 ** 20, 2 ** 20 + 1, 2 ** 30, 2 ** 40, Number.MAX_SAFE_INTEGER]) {
    expect(Math.ceil(have / stepFor(have))).toBeLessThanOrEqual(POINTS_MAX);
  }
});
