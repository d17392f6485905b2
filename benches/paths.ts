/** The library with its native code and without it, as peers of one benchmark, and what benchmarks of many connections share. */
import { formatTable } from '../src/bench/figures.ts';
import type { Listener } from '../src/index.ts';
import { byTurns } from './turns.ts';

export type PathName = 'native' | 'pure';

/** Ways between library and system, by the environment of the process that is measured. */
export const PATHS: readonly { readonly name: PathName; readonly env: NodeJS.ProcessEnv }[] = [
  { name: 'native', env: {} },
  { name: 'pure', env: { JSP_NATIVE: '0' } },
];

/** Which of them serves this listener. */
export function pathOf(listener: Listener): PathName {
  const { socket } = listener.metrics();
  return 'path' in socket && socket.path === 'native' ? 'native' : 'pure';
}

/** Measures the ways that take part by turns, and prints a row for each phase of each; with `json` a line for each, with its settings and all runs. */
export async function printByPath<F extends { readonly path: PathName }>(
  {
    json,
    only,
    runs,
  }: { readonly json?: boolean | undefined; readonly only: readonly string[]; readonly runs: number },
  settings: object,
  runOnce: (env: NodeJS.ProcessEnv) => Promise<F>,
  { head, phases }: PhaseTable<F>,
): Promise<void> {
  const paths = PATHS.filter(({ name }) => only.includes(name));
  const results = await byTurns(paths, runs, ({ env }) => runOnce(env));
  const rows: string[][] = [];
  for (const [name, each] of results) {
    if (json) console.log(JSON.stringify({ ...settings, path: name, results: each }));
    const served = each[0].path === name ? name : `${name} (not there: ${each[0].path})`;
    for (const [phase, cellsOf] of phases) rows.push([served, phase, ...cellsOf(each)]);
  }
  if (!json) console.log(formatTable(head, rows));
}

export interface PhaseTable<F> {
  readonly head: readonly string[];
  /** What each phase is called, and what is told of it, from all runs. */
  readonly phases: readonly (readonly [string, (runs: readonly F[]) => string[]])[];
}

/** Calls `act` so many times, no more than `atOnce` of them unfinished. */
export async function inParallel(count: number, atOnce: number, act: () => Promise<void>): Promise<void> {
  let left = count;
  const worker = async (): Promise<void> => {
    while (left-- > 0) await act();
  };
  await Promise.all(Array.from({ length: Math.min(count, atOnce) }, worker));
}

/** Handshakes under way at once: fewer than a server asks to prove their addresses first. */
export const CLIENTS_AT_ONCE = 16;
