/** What a process has cost, as the system counts it. */
import { readFileSync } from 'node:fs';

/** User and system time of a process so far, all threads; null on systems without /proc. */
export function cpuSecondsOf(pid: number): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_A_SECOND;
  } catch {
    return null;
  }
}

/** USER_HZ, which is 100 on all systems that have /proc/PID/stat. */
const TICKS_A_SECOND = 100;
