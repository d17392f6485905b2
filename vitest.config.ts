import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['scripts/set-up.js'],
    // Only for what hangs: a machine that does much else at the same time is no failure of ours.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    pool: 'forks',
    // More than cores: tests that start processes mostly wait for them. With one worker a core two cores were busy for three quarters.
    maxWorkers: Math.ceil(availableParallelism() * 1.5),
  },
});
