import fc from 'fast-check';
import { Prng } from '../../../src/base/random.ts';

/** Bytes as messages have them: noise, a row of equals, text that repeats itself, and all of that mixed. */
export const messages: fc.Arbitrary<Uint8Array> = fc
  .tuple(fc.nat(), fc.integer({ min: 0, max: 12 }), fc.nat(3_000))
  .map(([seed, pieces, lengthMax]) => {
    const prng = new Prng(seed);
    const bytes: number[] = [];
    for (let i = 0; i < pieces; i++) {
      const length = prng.below(lengthMax / (pieces || 1) + 1);
      const kind = prng.below(4);
      if (kind === 0) for (let k = 0; k < length; k++) bytes.push(prng.below(256));
      else if (kind === 1) for (let k = 0, byte = prng.below(256); k < length; k++) bytes.push(byte);
      else if (kind === 2) bytes.push(...reading(prng));
      else {
        const back = 1 + prng.below(Math.max(1, bytes.length));
        for (let k = 0; k < length && bytes.length > 0; k++)
          bytes.push(bytes[Math.max(0, bytes.length - back)]);
      }
    }
    return Uint8Array.from(bytes);
  });

/** A reading of a sensor as JSON. */
export function reading(prng: Prng): Buffer {
  return Buffer.from(
    JSON.stringify({
      device: `sensor-${prng.below(500)}`,
      temperature: prng.below(400) / 10,
      humidity: prng.below(1000) / 10,
      status: prng.below(10) === 0 ? 'low battery' : 'ok',
      at: 1_700_000_000 + prng.below(1_000_000),
    }),
  );
}

/** So many bytes that no codec makes smaller. */
export function noise(length: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(length);
  new Prng(seed).fill(bytes);
  return bytes;
}
