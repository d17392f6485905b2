import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type InlineConfig, type TestSpecification } from 'vitest/node';

/** These replace modules, for which Vite must load them: each has a process of its own. */
const MOCKING = [
  'test/transport/names.test.ts',
  ...['addresses', 'native-addresses', 'own-addresses'].map((name) => `test/udp/${name}.test.ts`),
  ...['aead', 'identity', 'key-schedule', 'x25519'].map((name) => `test/protocol/crypto/${name}.test.ts`),
  'test/protocol/compress/codec.test.ts',
  'test/protocol/handshake/wiping.test.ts',
];

/** These change the environment, or measure what their process holds: each has a process of its own, too. */
const APART = [
  'test/transport/live.test.ts',
  'test/transport/throwing-listeners.test.ts',
  // It hears of all connections of its process, and of those that another file has left open.
  'test/transport/diagnostics.test.ts',
  // It counts the timers of its process.
  'test/gateway/live-time.test.ts',
  'test/client/compression.test.ts',
  'test/client/failed-dials.test.ts',
  'test/protocol/connection/memory.test.ts',
  'test/broker/core/session/memory.test.ts',
  'test/broker/core/attacks.test.ts',
  'test/monitor/local-endpoint.test.ts',
];

/**
 * In virtual time, which is that of all that runs in the process: what other files left behind would be in the worlds. Worlds leave nothing, and these share
 * processes: a compiler that knows the broker already saves each the seconds that it takes to learn it.
 */
const IN_VIRTUAL_TIME = [
  'test/sim/broker/{shard-1,shard-2,workers}.test.ts',
  'test/sim/cluster/{coming-back,shard-1,shard-2}.test.ts',
  'test/gateway/interleavings/interleavings.test.ts',
];

/**
 * What takes longest begins first, so that no core is idle at the end. Vitest knows of earlier runs, but not in a fresh clone, where it goes by the sizes of
 * files. Those that wait for processes stand among those that compute.
 */
const LONGEST = [
  ...[
    'broker/backplane/nats/replicas',
    'browser/dashboard.test',
    'sim/shard',
    'cli/pub-sub',
    'sim/pressure',
    'examples/',
    'transport/workers/workers',
    'transport/rebind',
    'sim/broker/shard',
    'sim/cluster/shard',
    'gateway/interleavings',
  ],
  ...[
    'cli/send-receive',
    'browser/',
    'sim/faults',
    'broker/backplane/nats/values',
    'crash/',
    'cli/bench',
    'transport/profiles',
    'wireshark/',
    'broker/store/simulation',
    'broker/workers/workers',
    'cli/broker',
  ],
  ...[
    'sim/interop',
    'structure/package',
    'base/native-addon',
    'cli/',
    'protocol/connection/memory',
    'attack/garbage',
    'sim/',
    'transport/closing',
    'files/transfer',
    'bench/',
    'client/smaller-limits',
  ],
];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    return sorted.sort((a, b) => (a.project === b.project ? rankOf(a) - rankOf(b) : 0));
  }
}

function rankOf({ moduleId }: TestSpecification): number {
  const rank = LONGEST.findIndex((path) => moduleId.includes(`/test/${path}`));
  return rank < 0 ? LONGEST.length : rank;
}

/**
 * Modules are loaded by Node, as where the package is used, for a quarter less CPU time than as Vite loads them: there each use of an import is a call, which
 * no compiler looks through, and a process begins with two seconds of transforming.
 */
const NATIVE: InlineConfig = {
  experimental: { viteModuleRunner: false, nodeLoader: false },
  execArgv: [
    // Simulated worlds leave much behind that is garbage soon: with 32 MB for what is young they take a tenth less than with Node's 16.
    '--max-semi-space-size=32',
    '--import',
    new URL('scripts/typescript/register.js', import.meta.url).href,
  ],
};

/** Vitest runs them in the order of their names: those of which files are long and few before `shared`, of which the many short ones fill up the end. */
const PROJECTS: InlineConfig[] = [
  // The others leave nothing behind that another file could meet, and share processes with what those have loaded.
  {
    name: 'shared',
    include: ['test/**/*.test.ts'],
    exclude: [...MOCKING, ...APART, ...IN_VIRTUAL_TIME],
    isolate: false,
    ...NATIVE,
  },
  { name: 'in-virtual-time', include: IN_VIRTUAL_TIME, isolate: false, ...NATIVE },
  { name: 'apart', include: APART, ...NATIVE },
  { name: 'mocking', include: MOCKING },
];

/** Of each project by itself: one that extends this file would read it, and set up, once more. */
const EACH: InlineConfig = {
  // Only for what hangs: a machine that does much else at the same time is no failure of ours.
  testTimeout: 180_000,
  hookTimeout: 180_000,
  // As the two above; a second, which is what it would be, is a second too little on a machine that is busy.
  expect: { poll: { timeout: 120_000 } },
  pool: 'forks',
};

export default defineConfig({
  test: {
    globalSetup: ['scripts/set-up.js'],
    sequence: { sequencer: LongestFirst },
    // More than cores: tests that start processes mostly wait for them. With one worker a core two cores were busy for three quarters.
    maxWorkers: Math.ceil(availableParallelism() * 1.5),
    projects: PROJECTS.map((project) => ({ test: { ...EACH, ...project } })),
  },
});
