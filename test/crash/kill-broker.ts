import { setTimeout as sleep } from 'node:timers/promises';
import { connectClient } from '../../src/client/index.ts';
import { Violation } from '../sim/invariants.ts';
import { BrokerProcess } from './broker-process.ts';
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

export interface KillBrokerOptions {
  readonly rounds: number;
  /** How a round ends: by `kill -9`, or by turns with a signal to end. */
  readonly signals: readonly ('SIGKILL' | 'SIGTERM')[];
  readonly onRound?: Progress;
  /** Of each publisher; default: as fast as acknowledgements come. */
  readonly pace?: LoadPace;
}

/**
 * Kills a durable broker under load and starts it again, so many times; its clients are helped by nobody.
 *
 * @throws {Violation} when an acknowledged message is lost, one comes out of order, or twice without REDELIVERED, when an offset is used again, and when a
 * client or a broker says that something was lost
 */
export async function killBroker({
  rounds,
  signals,
  onRound,
  pace,
}: KillBrokerOptions): Promise<CrashReport> {
  const startedAtMs = performance.now();
  const broker = new BrokerProcess();
  const { model, shelf, holder } = beginCrash();
  const failures: unknown[] = [];
  const fail = (error: unknown): void => void failures.push(error);
  let resumed = 0;
  process.on('unhandledRejection', fail);
  try {
    await broker.start();
    const subscriber = await connectClient(broker.url, { session: 'subscriber', reconnect: EAGER });
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
    shelf.sinceMs = performance.now();
    const publishers = await Promise.all(
      Array.from({ length: PUBLISHERS }, (_, i) =>
        LoadPublisher.start(broker.url, `p${i}`, model, fail, pace),
      ),
    );
    for (let round = 0; round < rounds; round++) {
      await sleep(100 + Math.random() * 200);
      await broker.stop(signals[round % signals.length]);
      await broker.start();
      const before = model.deliveries;
      await untilMore(() => model.deliveries > before || failures.length > 0, round);
      if (failures.length > 0) throw failures[0];
      onRound?.(round + 1, model);
    }
    await Promise.all(publishers.map((publisher) => publisher.stop()));
    await untilComplete(model);
    await subscriber.close();
    if (failures.length > 0) throw failures[0];
  } catch (error) {
    throw new Violation(`${(error as Error).message}; the broker said: ${broker.notes.slice(-2_000)}`, {
      cause: error,
    });
  } finally {
    process.off('unhandledRejection', fail);
    await broker.remove();
  }
  return reportOf(model, rounds, resumed, startedAtMs);
}

/** After each restart something comes again, without help. */
async function untilMore(came: () => boolean, round: number): Promise<void> {
  const end = performance.now() + RESUME_MS_MAX;
  while (!came()) {
    if (performance.now() > end)
      throw new Violation(`nothing came for ${RESUME_MS_MAX} ms after restart ${round + 1}`);
    await sleep(5);
  }
}

const PUBLISHERS = 3;
const RESUME_MS_MAX = 15_000;
