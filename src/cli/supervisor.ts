/** Between the process of a broker and what supervises it: it is told how the process is doing, and says when to reload. */

import { spawn } from 'node:child_process';

/**
 * Tells systemd, where it has started this process as a service of `Type=notify`, that clients can connect, or that it stops. [CFG-9]
 *
 * It does by `systemd-notify`, for Node has no sockets of the kind that systemd listens to. Without systemd, or that program, nothing happens: that the broker
 * runs does not depend on who hears of it.
 *
 * @param status - a line that `systemctl status` shows
 */
export function tellSupervisor(state: 'READY=1' | 'STOPPING=1', status: string): void {
  if (process.env.NOTIFY_SOCKET === undefined) return;
  const telling = spawn('systemd-notify', [`--pid=${process.pid}`, `--status=${status}`, state], {
    stdio: 'ignore',
  });
  telling.on('error', () => {}); // it is not installed
  telling.unref();
}

/** SIGHUP, which may come before there is anything to reload. */
export class Hangups {
  private onHangup: (() => void) | null = null;
  private cameEarly = false;
  private readonly listener = () => {
    if (this.onHangup === null) this.cameEarly = true;
    else this.onHangup();
  };

  /** @param areTaken - it means to reload; else it is left to who stops the process at it */
  constructor(areTaken: boolean) {
    if (areTaken) process.on('SIGHUP', this.listener);
  }

  begin(onHangup: () => void): void {
    this.onHangup = onHangup;
    if (this.cameEarly) onHangup();
  }

  /** Later ones change nothing: the process stops. */
  end(): void {
    this.onHangup = () => {};
  }
}
