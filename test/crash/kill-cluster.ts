import { setTimeout as sleep } from 'node:timers/promises';
import { connectClient } from '../../src/client/index.ts';
import { Violation } from '../sim/invariants.ts';
import { ClusterProcesses } from './cluster-process.ts';
import {
  beginCrash,
  type CrashReport,
  EAGER,
  expectOneEpoch,
  LOAD_TOPIC,
  type LoadPace,
  LoadPublisher,
  type Progress,
  reportOf,
  untilComplete,
} from './load.ts';

/** What befalls a cluster: it is done and, after a while, undone. */
export type Misfortune = 'broker' | 'nats' | 'cut' | 'frozen broker' | 'frozen nats' | 'leave';

export interface KillClusterOptions {
  /** The server of NATS. */
  readonly program: string;
  readonly rounds: number;
  /** By turns. */
  readonly misfortunes: readonly Misfortune[];
  readonly onRound?: Progress;
  readonly pace?: LoadPace;
}

/**
 * Three brokers on one NATS under load: in each round one of them is killed, frozen, cut off or told to leave, or NATS is; its clients are helped by nobody.
 *
 * @throws {Violation} when an acknowledged message is lost, one comes out of order, or twice without REDELIVERED, when an offset is used again, and when a client says that something was lost
 */
export async function killCluster({
  program,
  rounds,
  misfortunes,
  onRound,
  pace,
}: KillClusterOptions): Promise<CrashReport> {
  const startedAtMs = performance.now();
  const cluster = await ClusterProcesses.start(program);
  const { model, shelf, holder } = beginCrash();
  const failures: unknown[] = [];
  const fail = (error: unknown): void => void failures.push(error);
  let resumed = 0;
  let suffered = 'nothing';
  process.on('unhandledRejection', fail);
  try {
    const subscriber = await connectClient(cluster.urls(), { session: 'subscriber', reconnect: EAGER });
    const subscription = await subscriber.subscribe(
      `${LOAD_TOPIC}/#`,
      (message) => {
        try {
          shelf.handled.add(model.delivered(holder, message).text);
          expectOneEpoch(model, message.epoch);
        } catch (error) {
          fail(error);
        }
      },
      { qos: 1, durable: 'load' },
    );
    subscription.on('gap', ({ missed }) => fail(new Violation(`a gap was told: ${missed}`)));
    subscription.on('resumed', ({ recovered }) => {
      resumed++;
      if (!recovered) fail(new Violation('the subscription was not recovered'));
    });
    void subscription.closed.then((error) => {
      if (error !== null) fail(error);
    });
    shelf.sinceMs = performance.now();
    const publishers = await Promise.all(
      cluster.nodes.map((_, i) => LoadPublisher.start(cluster.urls(i), `p${i}`, model, fail, pace)),
    );
    for (let round = 0; round < rounds; round++) {
      await sleep(100 + Math.random() * 200);
      // First of all the one where the subscriber is.
      const number = round === 0 ? 0 : Math.floor(Math.random() * cluster.nodes.length);
      const misfortune = misfortunes[round % misfortunes.length];
      suffered = `${misfortune} (${number}) in round ${round + 1}`;
      await suffer(cluster, misfortune, number);
      const before = model.deliveries;
      await untilMore(() => model.deliveries > before || failures.length > 0, suffered);
      if (failures.length > 0) throw failures[0];
      onRound?.(round + 1, model);
    }
    await Promise.all(publishers.map((publisher) => publisher.stop()));
    await untilComplete(model);
    await subscriber.close();
    if (failures.length > 0) throw failures[0];
  } catch (error) {
    throw new Violation(`after ${suffered}: ${(error as Error).message}; they said: ${cluster.notes}`, {
      cause: error,
    });
  } finally {
    process.off('unhandledRejection', fail);
    await cluster.remove();
  }
  return reportOf(model, rounds, resumed, startedAtMs);
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

/** Afterwards something comes again, without help. */
async function untilMore(came: () => boolean, suffered: string): Promise<void> {
  const end = performance.now() + RESUME_MS_MAX;
  while (!came()) {
    if (performance.now() > end)
      throw new Violation(`nothing came for ${RESUME_MS_MAX} ms after ${suffered}`);
    await sleep(5);
  }
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
const RESUME_MS_MAX = 30_000;
