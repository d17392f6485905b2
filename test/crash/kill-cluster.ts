import { setTimeout as sleep } from 'node:timers/promises';
import { ClusterProcesses } from './cluster-process.ts';
import { BUSY, type CrashReport } from './load.ts';
import { type RoundsOptions, roundsOf } from './rounds.ts';

/** What befalls a cluster: it is done and, after a while, undone. */
export type Misfortune = 'broker' | 'nats' | 'cut' | 'frozen broker' | 'frozen nats' | 'leave';

export interface KillClusterOptions extends RoundsOptions {
  /** The server of NATS. */
  readonly program: string;
  /** By turns. */
  readonly misfortunes: readonly Misfortune[];
}

/**
 * Three brokers on one NATS under load: in each round one of them is killed, frozen, cut off or told to leave, or NATS is.
 *
 * @throws {Violation} as {@link roundsOf} does
 */
export async function killCluster({
  program,
  misfortunes,
  ...options
}: KillClusterOptions): Promise<CrashReport> {
  const cluster = await ClusterProcesses.start(program);
  const struck = {
    urls: (n: number) => cluster.urls(n),
    strike: async (round: number, tell: (what: string) => void) => {
      // First of all the one where the subscriber is.
      const number = round === 0 ? 0 : Math.floor(Math.random() * cluster.nodes.length);
      const misfortune = misfortunes[round % misfortunes.length];
      tell(`${misfortune} (${number})`);
      await suffer(cluster, misfortune, number);
    },
    get notes() {
      return cluster.notes;
    },
    resumeMsMax: 30_000,
  };
  try {
    return await roundsOf(struck, { ...options, pace: { ...BUSY, ...options.pace, takesRefusals: true } });
  } finally {
    await cluster.remove();
  }
}

async function suffer(
  { nats, nodes }: ClusterProcesses,
  misfortune: Misfortune,
  number: number,
): Promise<void> {
  const { broker, way } = nodes[number];
  switch (misfortune) {
    case 'broker':
      await broker.stop('SIGKILL');
      await broker.start();
      return;
    case 'leave':
      await broker.stop('SIGTERM');
      await broker.start();
      return;
    case 'nats':
      await nats.stop('SIGKILL');
      await sleep(Math.random() * DOWN_MS_MAX);
      await nats.start();
      return;
    case 'cut':
      way.cut();
      await sleep(Math.random() * CUT_MS_MAX);
      way.mend({ keep: Math.random() < 0.5 });
      return;
    case 'frozen broker':
      await freeze((signal) => process.kill(broker.pid, signal));
      return;
    case 'frozen nats':
      await freeze((signal) => nats.signal(signal));
      return;
  }
}

/** Stops a process for a while, as a machine that is short of memory does. */
async function freeze(kill: (signal: 'SIGSTOP' | 'SIGCONT') => void): Promise<void> {
  kill('SIGSTOP');
  await sleep(Math.random() * FROZEN_MS_MAX);
  kill('SIGCONT');
}

export const MISFORTUNES: readonly Misfortune[] = [
  'broker',
  'nats',
  'cut',
  'broker',
  'frozen broker',
  'leave',
  'frozen nats',
];
const DOWN_MS_MAX = 2_000;
/** Now and then longer than a lease, with which a node loses what it has. */
const CUT_MS_MAX = 14_000;
const FROZEN_MS_MAX = 4_000;
