import type { LatencyMicros } from './latency-recorder.ts';

/** What one run of a workload measured, as `--json` prints it. Everything is counted where it arrived. */
export interface BenchResult {
  workload: string;
  /** Bytes of a message. */
  size: number;
  /** Bytes of the largest datagram; 0 for a workload without datagrams. */
  mtu: number;
  /** Length of the measurement. */
  seconds: number;
  messages: number;
  /** Messages that were sent and never arrived. */
  lost: number;
  messagesPerSecond: number;
  /** Message bytes, not headers. */
  megabitsPerSecond: number;
  packetsPerSecond: number;
  /** Round trips, of a workload that measures them. */
  latencyMicros: LatencyMicros | null;
  /** Share of one core that each process used. */
  cpu: { sender: number; receiver: number };
  /** Share of the machine's CPU time that its host gave to others: above a few hundredths the run says little. Null when unknown. */
  stolen: number | null;
}

/** The run in the middle by messages per second, the lower of the two middle ones. */
export function medianRun(runs: readonly BenchResult[]): BenchResult {
  if (runs.length === 0) throw new RangeError('there is no median of no runs');
  const sorted = [...runs].sort((a, b) => a.messagesPerSecond - b.messagesPerSecond);
  return sorted[(sorted.length - 1) >> 1];
}
