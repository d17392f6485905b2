/** How measurements become figures that people compare: percentiles, medians, tables. */
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';

/** Percentiles in microseconds. */
export interface LatencyMicros {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly p999: number;
}

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

/** For {@link recordMicros}: exact to a thousandth of what it records. */
export function latencyHistogram(): RecordableHistogram {
  return createHistogram({ figures: 3 });
}

/** Records a latency; the histogram counts whole nanoseconds. */
export function recordMicros(histogram: RecordableHistogram, micros: number): void {
  histogram.record(Math.max(1, Math.round(micros * 1_000)));
}

/** Null when nothing was recorded. */
export function percentilesOf(histogram: RecordableHistogram): LatencyMicros | null {
  if (histogram.count === 0) return null;
  const at = (percentile: number): number => histogram.percentile(percentile) / 1_000;
  return { p50: at(50), p95: at(95), p99: at(99), p999: at(99.9) };
}

/** Values that so large a share of all do not exceed. */
export interface Quantiles {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** Of values in ascending order, each the least that so many of them do not exceed; null of none. */
export function quantilesOf(sorted: ArrayLike<number>): Quantiles | null {
  const { length } = sorted;
  if (length === 0) return null;
  const at = (share: number): number => quantileOf(sorted, share);
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99), p999: at(0.999), max: sorted[length - 1] };
}

/** The least of the values, which are in ascending order and at least one, that this share of them does not exceed. */
export function quantileOf(sorted: ArrayLike<number>, share: number): number {
  return sorted[Math.max(0, Math.ceil(share * sorted.length - 1e-9) - 1)];
}

/** The value in the middle; of an even number of them the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[upper] : (sorted[upper - 1] + sorted[upper]) / 2;
}

/** Rows of text below a header, the first column to the left and the others to the right. */
export function formatTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...all.map((row) => row[column].length)));
  const line = (row: readonly string[]): string =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  ');
  return all.map((row) => line(row).trimEnd()).join('\n');
}

/** Results of workloads, a line each, with a dash for what was not measured. */
export function resultTable(results: readonly BenchResult[]): string {
  return formatTable(RESULT_HEADER, results.map(resultCells));
}

/** A figure without decimals, in groups of three digits. (The first `toLocaleString` of a process takes 30 ms, a tenth of what a broker takes to start.) */
export function whole(value: number): string {
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ',');
}

function resultCells(result: BenchResult): string[] {
  const { latencyMicros: latency, stolen } = result;
  const sent = result.messages + result.lost;
  return [
    result.workload,
    whole(result.size),
    result.mtu === 0 ? '-' : whole(result.mtu),
    whole(result.packetsPerSecond),
    whole(result.messagesPerSecond),
    whole(result.megabitsPerSecond),
    sent === 0 ? '-' : `${((100 * result.lost) / sent).toFixed(1)} %`,
    latency === null ? '-' : latency.p50.toFixed(1),
    latency === null ? '-' : latency.p99.toFixed(1),
    `${percent(result.cpu.sender)}/${percent(result.cpu.receiver)}`,
    stolen === null ? '-' : `${percent(stolen)} %`,
  ];
}

function percent(share: number): string {
  return (share * 100).toFixed(0);
}

const RESULT_HEADER = [
  'workload',
  'size',
  'mtu',
  'packets/s',
  'messages/s',
  'Mbit/s',
  'lost',
  'p50 us',
  'p99 us',
  'cpu % s/r',
  'stolen',
];
