/** What a store needs of the machine, and how large its parts are: a test has others. */

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { type Clock, systemClock } from '../../udp/clock.ts';
import { type FileSystem, systemFiles } from './file-system.ts';

export interface StoreSurroundings {
  readonly files: FileSystem;
  readonly clock: Clock;
  /** Time of the wall clock, in ms since 1970. */
  readonly wallMs: () => number;
  /** A number below 2^48 that nobody can guess. */
  readonly random: () => number;
  /** Which start of the machine this is; empty: the system does not say. */
  readonly boot: string;
  readonly syncIntervalMs: number;
  readonly segmentBytes: number;
  /** Memory for the newest records of a log. */
  readonly cacheBytes: number;
  /** Up to so many bytes a store is read from end to end when it opens; of a larger one the last segments, and what no checkpoint covers. [STO-13] */
  readonly verifyBytes: number;
  /** A log's ids are remembered each time it has taken so many bytes. */
  readonly checkpointBytes: number;
}

export function systemSurroundings(given: Partial<StoreSurroundings> = {}): StoreSurroundings {
  return {
    files: systemFiles,
    clock: systemClock,
    wallMs: Date.now,
    random: () => randomBytes(6).readUIntBE(0, 6),
    boot: given.boot ?? bootOfMachine(),
    syncIntervalMs: 1_000,
    segmentBytes: 64 * MIB,
    cacheBytes: 16 * MIB,
    verifyBytes: 256 * MIB,
    checkpointBytes: 16 * MIB,
    ...given,
  };
}

function bootOfMachine(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim().slice(0, 64);
  } catch {
    return '';
  }
}

const MIB = 1024 * 1024;
