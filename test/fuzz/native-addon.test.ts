import { expect, test } from 'vitest';
import { fuzz, sanitized } from './native/sanitizers.ts';

/** Briefly; `npm run fuzz:native` goes on for as long as one likes. */
const SEED = 20_261_126;
const ROUNDS = 6_000;

const build = sanitized();
if ('missing' in build) console.error(`NOT TESTED: the native addon under sanitizers, for ${build.missing}`);

test.skipIf('missing' in build)(
  'whatever the native addon is called with, it touches no memory but what it was handed, and what is sealed opens',
  () => {
    if ('missing' in build) throw new Error(build.missing);
    const { status, output } = fuzz(build, SEED, ROUNDS);
    expect(status, `${output}\nreplay: npm run fuzz:native -- --seed ${SEED} --rounds ${ROUNDS}`).toBe(0);
    const { calls } = JSON.parse(output);
    for (const name of ['seal', 'open', 'seal refused', 'open refused', 'round trip', 'thread'])
      expect({ name, times: calls[name] > 0 }).toEqual({ name, times: true });
    const hasSockets = process.platform === 'linux';
    for (const name of ['bound', 'send', 'poll', 'close', 'send refused', 'bind refused'])
      expect({ name, times: calls[name] > 0 }).toEqual({ name, times: hasSockets });
  },
);
