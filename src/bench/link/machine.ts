/** What a machine says of itself in a report, and what it knows of the way to another. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { arch, cpus, platform, release } from 'node:os';
import { addressFamily, isLoopback } from '../../base/ip-address.ts';
import type { Machine } from './control.ts';

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
export function routeMtu(host: string): Promise<number | null> {
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
