import type { BenchResult } from './bench/result.ts';

/** A result of `jsp bench mtu`. */
export interface MtuResult extends BenchResult {
  /** Share of the bytes of all full datagrams that was not messages: headers, tags, acknowledgements, what was sent again. */
  overheadPercent: number;
}

export function mtuResult(result: BenchResult): MtuResult {
  const datagramMegabits = (result.packetsPerSecond * result.mtu * 8) / 1e6;
  const share = datagramMegabits === 0 ? 0 : 1 - result.megabitsPerSecond / datagramMegabits;
  return { ...result, overheadPercent: Math.max(0, 100 * share) };
}

/** Results as a table of plain text. */
export function formatMtuTable(results: readonly MtuResult[]): string {
  const rows = results.map((result) => [
    String(result.mtu),
    Math.round(result.megabitsPerSecond).toLocaleString('en-US'),
    Math.round(result.packetsPerSecond).toLocaleString('en-US'),
    Math.round(result.messagesPerSecond).toLocaleString('en-US'),
    result.overheadPercent.toFixed(1),
  ]);
  const all = [HEADER, ...rows];
  const widths = HEADER.map((_, column) => Math.max(...all.map((row) => row[column].length)));
  return all.map((row) => row.map((cell, column) => cell.padStart(widths[column])).join('  ')).join('\n');
}

const HEADER = ['mtu', 'goodput Mbit/s', 'packets/s', 'messages/s', 'overhead %'];
