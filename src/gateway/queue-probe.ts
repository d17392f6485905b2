/** What finds out how long the sockets of a process wait for its event loop, by waiting with them. */

import { MessageChannel } from 'node:worker_threads';

export interface Probe {
  /** Told when what was sent has come. */
  onArrival: () => void;
  /** Stands behind all that waits now. One at a time. */
  send(): void;
  close(): void;
}

/** A message of the process to itself. The system tells of it as of data on a socket: libuv wakes its loop by a descriptor that is polled with all others, first come, first served. */
export class SocketQueueProbe implements Probe {
  onArrival = (): void => {};
  private channel: MessageChannel | null = null;

  send(): void {
    this.channel ??= this.open();
    this.channel.port1.postMessage(null);
  }

  close(): void {
    this.channel?.port1.close();
  }

  private open(): MessageChannel {
    const channel = new MessageChannel();
    channel.port2.on('message', () => this.onArrival());
    channel.port2.unref(); // it keeps no process alive
    return channel;
  }
}
