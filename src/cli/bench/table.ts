import type { BenchResult } from './result.ts';

/** Results as a table of plain text, numbers aligned to the right. */
export function formatTable(results: readonly BenchResult[]): string {
  const rows = [HEADER, ...results.map(cells)];
  const widths = HEADER.map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows.map((row) => formatRow(row, widths)).join('\n');
}

function formatRow(row: readonly string[], widths: readonly number[]): string {
  const padded = row.map((cell, column) =>
    column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]),
  );
  return padded.join('  ').trimEnd();
}

function cells(result: BenchResult): string[] {
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

function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}

function percent(share: number): string {
  return (share * 100).toFixed(0);
}

const HEADER = [
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
