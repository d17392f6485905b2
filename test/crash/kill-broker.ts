import { BrokerProcess } from './broker-process.ts';
import type { CrashReport } from './load.ts';
import { type RoundsOptions, roundsOf } from './rounds.ts';

export interface KillBrokerOptions extends RoundsOptions {
  /** How a round ends: by `kill -9`, or by turns with a signal to end. */
  readonly signals: readonly ('SIGKILL' | 'SIGTERM')[];
  /** Of `jsp broker`, beside those that it has anyway. */
  readonly brokerOptions?: readonly string[];
}

/**
 * Kills a durable broker under load and starts it again, so many times.
 *
 * @throws {Violation} as {@link roundsOf} does
 */
export async function killBroker({
  signals,
  brokerOptions,
  ...options
}: KillBrokerOptions): Promise<CrashReport> {
  const broker = new BrokerProcess({ options: brokerOptions ?? [] });
  const struck = {
    urls: () => broker.url,
    strike: async (round: number, tell: (what: string) => void) => {
      const signal = signals[round % signals.length];
      tell(signal);
      await broker.stop(signal);
      await broker.start();
    },
    get notes() {
      return broker.notes.slice(-2_000);
    },
    resumeMsMax: 30_000,
  };
  try {
    await broker.start();
    return await roundsOf(struck, options);
  } finally {
    await broker.remove();
  }
}
