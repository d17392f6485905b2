/** Tells systemd, where it has started this process as a service of `Type=notify`, how it is doing: ready, reloading, stopping. [CFG-9] */

import { spawn } from 'node:child_process';

/**
 * Says so by `systemd-notify`, for Node has no sockets of the kind that systemd listens to. Without systemd, or that program, nothing happens: that the broker
 * runs does not depend on who hears of it.
 *
 * @param status - a line that `systemctl status` shows
 */
export function tellSupervisor(state: 'READY=1' | 'RELOADING=1' | 'STOPPING=1', status: string): void {
  if (process.env.NOTIFY_SOCKET === undefined) return;
  const telling = spawn('systemd-notify', [`--pid=${process.pid}`, `--status=${status}`, state], {
    stdio: 'ignore',
  });
  telling.on('error', () => {}); // it is not installed
  telling.unref();
}
