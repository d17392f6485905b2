import { randomFillSync } from 'node:crypto';
import type { RandomSource } from '../base/random.ts';

/** The operating system's secure random bytes. */
export const systemRandom: RandomSource = {
  fill(target: Uint8Array): void {
    randomFillSync(target);
  },
};
