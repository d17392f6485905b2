import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['scripts/set-up.js'],
    // Only for what hangs: a machine that does much else at the same time is no failure of ours.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    pool: 'forks',
    // One for each core; by default one is left free, which on two cores means one test file at a time.
    maxWorkers: '100%',
  },
});
