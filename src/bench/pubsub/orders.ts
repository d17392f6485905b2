import type { Counted } from '../../base/histogram.ts';
import type { WorkerFailure } from '../worker-process.ts';
import type { ArrivalCounts } from './arrivals.ts';
import type { PubsubLoad } from './load.ts';
import type { PublisherCounts } from './publisher.ts';

/** What the bench asks of its processes; each request has one answer. */
export type PubsubRequest =
  /** Starts one, that stores in this directory, or in memory. */
  | { readonly ask: 'broker'; readonly store: string | null }
  /** Connects `count` clients, of which the first has number `from`; those of a subscriber subscribe. */
  | {
      readonly ask: 'publishers' | 'subscribers';
      readonly url: string;
      readonly load: PubsubLoad;
      readonly from: number;
      readonly count: number;
    }
  /** Publishers begin at `startMicros`, on the clock that the machine's processes share. */
  | { readonly ask: 'start'; readonly startMicros: number }
  | { readonly ask: 'sample' }
  /** Publishers wait until the broker has everything, at most so long. */
  | { readonly ask: 'settle'; readonly timeoutMs: number }
  | { readonly ask: 'result' }
  | { readonly ask: 'close' };

export interface PubsubAnswer extends WorkerFailure {
  /** Of a broker that was started. */
  readonly url?: string;
  readonly sample?: PubsubSample;
  readonly publishers?: readonly PublisherCounts[];
  readonly subscribers?: readonly SubscriberResult[];
  /** Of all subscribers of the process. */
  readonly latencies?: Counted;
  /** Of all publishers of the process. */
  readonly acknowledgements?: Counted;
  /** When the last message that is measured has come to the process; 0 when none has. */
  readonly lastMicros?: number;
}

export interface SubscriberResult {
  readonly counts: ArrivalCounts;
  /** By publisher, which messages came, a bit each; of a shared group alone. */
  readonly seen: readonly (Uint8Array | undefined)[] | null;
}

/** The state of a process at one time. */
export interface PubsubSample {
  published: number;
  delivered: number;
  /** So far, of the measurement; 0 before its first. */
  p99Micros: number;
  /** CPU time used since the process began. */
  cpuMicros: number;
  /** All its publishers have done what they had to do. */
  over: boolean;
  /** Why connections have ended, in the order in which they did. */
  failures: string[];
}
