/** What a soak measured, and whether memory stayed flat. */
import { median } from '../../src/bench/figures.ts';

/** Of one process, after a collection. */
export interface Memory {
  readonly rssMb: number;
  readonly heapMb: number;
  /** Bytes outside of the heap: buffers, above all. */
  readonly outsideMb: number;
}

export interface SoakSample {
  /** Since the load began. */
  readonly seconds: number;
  /** By process. */
  readonly memory: Readonly<Record<string, Memory>>;
  /** A second, since the sample before. */
  readonly rates: Readonly<Record<string, number>>;
}

export interface SoakRecord {
  readonly command: string;
  readonly commit: string;
  readonly node: string;
  readonly startedAt: string;
  readonly seconds: number;
  readonly samples: readonly SoakSample[];
  readonly verdict: SoakVerdict;
}

export interface SoakVerdict {
  readonly isFlat: boolean;
  /** By process and figure: medians of the first and the last third of what came after the warm-up, in MB. */
  readonly growth: readonly Growth[];
  /** What went wrong apart from memory. */
  readonly faults: readonly string[];
}

export interface Growth {
  readonly process: string;
  readonly figure: keyof Memory;
  readonly fromMb: number;
  readonly toMb: number;
  readonly isFlat: boolean;
}

/**
 * Compares the last third of a soak with the third after its warm-up, which is the first tenth, when code is compiled and pools fill. Flat: not more
 * than {@link GROWTH_MAX} or {@link GROWTH_MB_MAX} above.
 */
export function judge(samples: readonly SoakSample[], faults: readonly string[]): SoakVerdict {
  const after = samples.slice(Math.ceil(samples.length / 10));
  const third = Math.floor(after.length / 3);
  const growth: Growth[] = [];
  for (const process of Object.keys(samples.at(-1)?.memory ?? {})) {
    for (const figure of FIGURES) {
      const of = (part: readonly SoakSample[]): number =>
        median(part.map(({ memory }) => memory[process][figure]));
      const [fromMb, toMb] = [of(after.slice(0, third)), of(after.slice(-third))];
      const isFlat = toMb - fromMb <= Math.max(GROWTH_MB_MAX, GROWTH_MAX * fromMb);
      growth.push({ process, figure, fromMb, toMb, isFlat });
    }
  }
  return { isFlat: growth.every((each) => each.isFlat), growth, faults };
}

const FIGURES = ['rssMb', 'heapMb', 'outsideMb'] as const;
const GROWTH_MAX = 0.1;
const GROWTH_MB_MAX = 6;
