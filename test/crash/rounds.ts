import { setTimeout as sleep } from 'node:timers/promises';
import { connectClient } from '../../src/client/index.ts';
import { Violation } from '../sim/invariants.ts';
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

export interface RoundsOptions {
  readonly rounds: number;
  readonly onRound?: Progress | undefined;
  /** Of each publisher; default: as fast as acknowledgements come. */
  readonly pace?: LoadPace | undefined;
}

/** What the rounds are of. */
export interface Struck {
  /** What the n-th publisher connects to; the subscriber to that of the first. */
  urls(n: number): string | readonly string[];
  /** Does what befalls it in a round, and undoes it; tells what it was before it begins. */
  strike(round: number, tell: (what: string) => void): Promise<void>;
  /** What its processes have said. */
  readonly notes: string;
  /** For so long at most nothing comes after that. */
  readonly resumeMsMax: number;
}

/**
 * So many rounds in each of which something befalls brokers under the load of three publishers and a durable subscriber; these are helped by nobody.
 *
 * @throws {Violation} when an acknowledged message is lost, one comes out of order, or twice without REDELIVERED, when an offset is used again, and when a
 * client or a broker says that something was lost
 */
export async function roundsOf(
  struck: Struck,
  { rounds, onRound, pace }: RoundsOptions,
): Promise<CrashReport> {
  const startedAtMs = performance.now();
  const { model, shelf, holder } = beginCrash();
  const failures: unknown[] = [];
  const fail = (error: unknown): void => void failures.push(error);
  let resumed = 0;
  let suffered = 'nothing';
  process.on('unhandledRejection', fail);
  try {
    const subscriber = await connectClient(struck.urls(0), { session: 'subscriber', reconnect: EAGER });
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
      Array.from({ length: PUBLISHERS }, (_, i) =>
        LoadPublisher.start(struck.urls(i), `p${i}`, model, fail, pace),
      ),
    );
    for (let round = 0; round < rounds; round++) {
      await sleep(100 + Math.random() * 200);
      await struck.strike(round, (what) => {
        suffered = `${what} in round ${round + 1}`;
      });
      const before = model.deliveries;
      const end = performance.now() + struck.resumeMsMax;
      while (model.deliveries === before && failures.length === 0) {
        if (performance.now() > end) {
          const missing = `${model.missing().length} acknowledged messages have not come`;
          throw new Violation(
            `nothing came for ${struck.resumeMsMax} ms: ${missing}; ${publishers.join('; ')}`,
          );
        }
        await sleep(5);
      }
      if (failures.length > 0) throw failures[0];
      onRound?.(round + 1, model);
    }
    await Promise.all(publishers.map((publisher) => publisher.stop()));
    await untilComplete(model);
    await subscriber.close();
    if (failures.length > 0) throw failures[0];
  } catch (error) {
    throw new Violation(`after ${suffered}: ${(error as Error).message}; they said: ${struck.notes}`, {
      cause: error,
    });
  } finally {
    process.off('unhandledRejection', fail);
  }
  return reportOf(model, rounds, resumed, startedAtMs);
}

const PUBLISHERS = 3;
