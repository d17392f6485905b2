/**
 * What a measurement needs of the machine that it runs on: timers, a clock that its other processes can compare with theirs, what it knows of
 * the way out, and what it says of itself in a report.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { arch, cpus, platform, release } from 'node:os';
import { addressFamily, isLoopback } from '../../base/ip-address.ts';
import { MILLISECOND } from '../../base/time.ts';
import { type Clock, systemClock } from '../../udp/clock.ts';
import type { Machine } from './control.ts';

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

/** What this machine says of itself. */
export function thisMachine(): Machine {
  const cores = cpus();
  return {
    version: packageVersion(),
    node: process.version,
    platform: `${platform()} ${release()} ${arch()}`.slice(0, 64),
    cpu: (cores[0]?.model ?? 'unknown').trim().slice(0, 128),
    cores: cores.length,
  };
}

/**
 * The largest IP packet that this machine sends to a host in one piece, as far as its system knows: the interface's, or what routers on the
 * way have told. Null where the system does not tell; it does on Linux with iproute2.
 */
function routeMtu(host: string): Promise<number | null> {
  if (isLoopback(host)) return Promise.resolve(LOOPBACK_MTU);
  if (process.platform !== 'linux' || addressFamily(host) === 0) return Promise.resolve(null);
  return new Promise((resolve) => {
    execFile('ip', ['-j', 'route', 'get', host], { timeout: 2_000 }, (error, stdout) => {
      resolve(error === null ? parseRoute(stdout, interfaceMtu) : null);
    });
  });
}

/** What `ip -j route get` says. */
export function parseRoute(json: string, mtuOf: (device: string) => number | null): number | null {
  try {
    const [route] = JSON.parse(json) as { dev?: unknown; metrics?: { mtu?: unknown }[]; mtu?: unknown }[];
    const told = [route.mtu, ...(route.metrics ?? []).map(({ mtu }) => mtu)].find(
      (mtu) => typeof mtu === 'number',
    ) as number | undefined;
    if (told !== undefined) return told;
    return typeof route.dev === 'string' && /^[\w.@-]{1,32}$/.test(route.dev) ? mtuOf(route.dev) : null;
  } catch {
    return null;
  }
}

function interfaceMtu(device: string): number | null {
  try {
    const mtu = Number(readFileSync(`/sys/class/net/${device}/mtu`, 'latin1'));
    return Number.isInteger(mtu) && mtu > 0 ? mtu : null;
  } catch {
    return null;
  }
}

function packageVersion(): string {
  const file = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(file) as { version: string }).version;
}

/** That of the loopback interface, which is so large everywhere that datagrams stay whole. */
const LOOPBACK_MTU = 65_536;
