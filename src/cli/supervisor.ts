/** Between the process of a broker and what supervises it: it is told how the process is doing, and says when to reload. */

import { spawn } from 'node:child_process';
import { onStopSignal, STOP_SIGNALS } from './terminal.ts';

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

/** What a process that serves is asked by signals: to stop, and by SIGHUP to reload, which may come before there is anything to reload. */
export class ServiceSignals {
  /** Resolves with the signal that asks it to stop. */
  readonly stopped: Promise<NodeJS.Signals>;
  private onHangup: (() => void) | null = null;
  private cameEarly = false;

  /** @param reloads - SIGHUP means to reload; else to stop */
  constructor(reloads: boolean) {
    if (reloads) process.on('SIGHUP', () => this.hangup());
    const signals = reloads ? STOP_SIGNALS.filter((signal) => signal !== 'SIGHUP') : STOP_SIGNALS;
    this.stopped = new Promise((resolve) => onStopSignal(resolve, signals));
  }

  /** From now on it can reload, and does so at once if it was asked before. */
  begin(onHangup: () => void): void {
    this.onHangup = onHangup;
    if (this.cameEarly) onHangup();
  }

  /** The process stops: who asks it to reload now changes nothing, and does not kill it. */
  end(): void {
    this.onHangup = () => {};
  }

  private hangup(): void {
    if (this.onHangup === null) this.cameEarly = true;
    else this.onHangup();
  }
}
