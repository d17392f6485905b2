import { readFileSync } from 'node:fs';

/** CPU time of all cores of this machine since it started, in ticks of the system. */
export interface CpuTicks {
  readonly total: number;
  /** What a virtual machine's host gave to others although this one wanted it. */
  readonly stolen: number;
}

/** Null where the system does not tell: everywhere but on Linux. */
export function cpuTicks(): CpuTicks | null {
  try {
    return parseCpuTicks(readFileSync('/proc/stat', 'latin1'));
  } catch {
    return null;
  }
}

/** The first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal; what follows is part of user and nice. */
export function parseCpuTicks(stat: string): CpuTicks | null {
  const match = /^cpu +((?:\d+ ){7}\d+)/.exec(stat);
  if (match === null) return null;
  const ticks = match[1].split(' ').map(Number);
  return { total: ticks.reduce((sum, value) => sum + value), stolen: ticks[7] };
}

/** Share of the machine's CPU time that was stolen between two readings; null when unknown. */
export function stolenShare(from: CpuTicks | null, to: CpuTicks | null): number | null {
  if (from === null || to === null || to.total <= from.total) return null;
  return (to.stolen - from.stolen) / (to.total - from.total);
}
