import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

/** What is below the sans-IO line leaves nothing behind that another file could meet: its files share a process, and what that has loaded. */
const CORE = ['base', 'protocol', 'pubsub', 'broker/core'].map((folder) => `test/${folder}/**/*.test.ts`);
/** The same holds of what opens sockets or listens to the process and takes that back: here all but what starts programs (`ends`), which is slow anyway. */
const SHARED = [
  ...CORE,
  ...['attack', 'bench', 'broker', 'client', 'files', 'fuzz', 'testing', 'transport', 'udp', 'web'].map(
    (folder) => `test/${folder}/**/*.test.ts`,
  ),
];
/** But for these, which change modules or the environment, or measure what their process holds. */
const APART = [
  'test/transport/live.test.ts',
  'test/transport/names.test.ts',
  'test/transport/throwing-listeners.test.ts',
  'test/udp/addresses.test.ts',
  'test/client/compression.test.ts',
  'test/client/failed-dials.test.ts',
  'test/protocol/crypto/**/*.test.ts',
  'test/protocol/compress/codec.test.ts',
  'test/protocol/handshake/wiping.test.ts',
  'test/protocol/connection/memory.test.ts',
  'test/broker/core/session/memory.test.ts',
  'test/broker/core/attacks.test.ts',
];

export default defineConfig({
  test: {
    globalSetup: ['scripts/set-up.js'],
    // Only for what hangs: a machine that does much else at the same time is no failure of ours.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    pool: 'forks',
    // More than cores: tests that start processes mostly wait for them. With one worker a core two cores were busy for three quarters.
    maxWorkers: Math.ceil(availableParallelism() * 1.5),
    projects: [
      { extends: true, test: { name: 'shared', include: SHARED, exclude: APART, isolate: false } },
      { extends: true, test: { name: 'apart', include: APART } },
      { extends: true, test: { name: 'ends', include: ['test/**/*.test.ts'], exclude: SHARED } },
    ],
  },
});
