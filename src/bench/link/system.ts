/** What a measurement needs of the machine that it runs on: timers, a clock that its other processes can compare with theirs, the way out. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { MILLISECOND } from '../../base/time.ts';
import { type Clock, systemClock } from '../../udp/clock.ts';
import { routeMtu } from './machine.ts';

export interface BenchSystem {
  /** For timers. */
  readonly clock: Clock;
  /** Monotonic microseconds, with one origin for all processes of the machine. */
  stamp(): number;
  /** Names this boot of this machine, whose processes share one monotonic clock; empty where nothing does. */
  readonly hostName: string;
  /** The largest IP packet that it sends to this address in one piece, as far as it knows; else null. */
  routeMtu(host: string): Promise<number | null>;
}

/** This machine. */
export const benchSystem: BenchSystem = {
  clock: systemClock,
  stamp() {
    const [seconds, nanoseconds] = process.hrtime();
    return seconds * 1e6 + nanoseconds / 1e3;
  },
  get hostName() {
    try {
      return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
    } catch {
      return '';
    }
  },
  routeMtu,
};

/** What a server says of its machine to a client, who learns whether it is its own and nothing else. */
export function hostHash(system: BenchSystem, nonce: string): string {
  const { hostName } = system;
  return hostName === '' ? '' : createHash('sha256').update(`${nonce} ${hostName}`).digest('base64url');
}

/** Resolves after so many milliseconds; rejects with the reason of `signal` when that comes first. */
export function sleep(system: BenchSystem, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason as Error);
    const { clock } = system;
    const timer = clock.setTimer(clock.now() + Math.round(ms * MILLISECOND), () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    function onAbort(): void {
      clock.clearTimer(timer);
      reject(signal?.reason as Error);
    }
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
