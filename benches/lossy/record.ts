/** What was measured, kept as JSON beside what is drawn and told of it. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import type { LinkStats } from './link-stats.ts';

export interface RunResult {
  readonly seed: number;
  /** In ms, of messages that arrived, at each share of {@link PeerResult.shares}. */
  readonly oneWayMs: readonly number[];
  /** Share later than the path's time and 12 ms, or never there. */
  readonly late: number;
  readonly missing: number;
  readonly link: LinkStats;
}

/** The runs of one peer, as `--json` prints them. */
export interface PeerResult {
  readonly peer: string;
  /** In per cent. */
  readonly loss: number;
  readonly rttMs: number;
  readonly intervalMs: number;
  readonly size: number;
  readonly seconds: number;
  /** That were sent in each run, those before the first that was timed included. */
  readonly messages: number;
  readonly ordered: boolean;
  /** Shares of messages to which the times of a run belong. */
  readonly shares: readonly number[];
  readonly runs: readonly RunResult[];
}

/** One call of the benchmark. */
export interface Recorded {
  readonly commit: string;
  readonly command: string;
  readonly date: string;
  readonly machine: string;
  readonly results: readonly PeerResult[];
}

export function readRecords(file: string): readonly Recorded[] {
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Recorded[]) : [];
}

/** Adds results to those in the file; what was measured there before of the same peers in the same way goes. */
export function addRecord(file: string, args: readonly string[], results: readonly PeerResult[]): void {
  const isNew = (old: PeerResult): boolean => !results.some((result) => nameOf(result) === nameOf(old));
  const kept = readRecords(file)
    .map((record) => ({ ...record, results: record.results.filter(isNew) }))
    .filter((record) => record.results.length > 0);
  const record: Recorded = {
    commit: commitAtHand(),
    command: `npm run bench lossy -- ${args.join(' ')}`,
    date: new Date().toISOString().slice(0, 10),
    machine: `${cpus().length} cores of ${cpus()[0].model}, Node ${process.versions.node}`,
    results,
  };
  writeFileSync(file, `${JSON.stringify([...kept, record], null, 2)}\n`);
}

function commitAtHand(): string {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty'], {
      encoding: 'utf8',
      stdio: 'pipe',
    }).trim();
  } catch {
    return 'unknown';
  }
}

function nameOf({ peer, loss, rttMs, intervalMs, size }: PeerResult): string {
  return [peer, loss, rttMs, intervalMs, size].join();
}
