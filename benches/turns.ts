/** Peers measured beside each other: who of them takes part, in which order, and what is told of their runs. */
import { Option } from 'commander';
import { median } from '../src/bench/figures.ts';
import { names } from './arguments.ts';

/** `--only jsp,'nats tls'`: without it the usual ones take part. */
export function onlyOption(
  peers: readonly { readonly name: string }[],
  usual: readonly { readonly name: string }[] = peers,
): Option {
  const all = peers.map(({ name }) => name).join(', ');
  return new Option('--only <names>', `of ${all}`).argParser(names).default(usual.map(({ name }) => name));
}

/**
 * Runs of each peer, by its name. Peers take turns within each run, in the other order in every second one, so that what else the machine does meets all of them.
 */
export async function byTurns<P extends { readonly name: string }, F>(
  peers: readonly P[],
  runs: number,
  runOnce: (peer: P) => Promise<F>,
): Promise<Map<string, F[]>> {
  const results = new Map<string, F[]>(peers.map(({ name }) => [name, []]));
  for (let run = 0; run < runs; run++) {
    for (const peer of run % 2 === 0 ? peers : [...peers].reverse()) {
      results.get(peer.name)?.push(await runOnce(peer));
    }
  }
  return results;
}

/** How much faster the first peer is than that of `runs`, as the median of pairs of the same run. */
export function ratioToFirst<F>(
  results: ReadonlyMap<string, readonly F[]>,
  runs: readonly F[],
  rateOf: (run: F) => number,
): number {
  const [first] = results.values();
  return median(runs.map((run, i) => rateOf(first[i]) / rateOf(run)));
}
