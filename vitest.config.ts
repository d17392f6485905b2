import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['scripts/set-up.js'],
    testTimeout: 30_000,
    hookTimeout: 30_000,
    pool: 'forks',
    // One for each core; by default one is left free, which on two cores means one test file at a time.
    maxWorkers: '100%',
  },
});
