/**
 * Connections whose request was refused because there was too much to do, and which are not read for a while: who asks again at once, though he was told when to come back, would
 * be refused again and again, and what that costs is taken from those who are served. His next request waits in the system, and TCP tells him so. [GW-7]
 *
 * They are read again in the order in which they came, in each turn half as many as were served in it, so that refusals never take more than a part of the time, however many there
 * are who do not wait; all of them after half a second, for a proxy may have others' requests on the same connection. At twice the capacity, by 6,000 connections, 75 and 108 %
 * of it were served beside 30 and 80 % where all were read at once, half of them within 0.2 s instead of 0.3 and 0.6; one in a hundred waited 0.8 and 1.3 s instead of 0.4 and 0.9.
 */

import type { Socket } from 'node:net';
import { MILLISECOND, type Micros } from '../base/time.ts';
import type { Clock, TimerHandle } from '../udp/clock.ts';

export class PausedConnections {
  private readonly clock: Clock;
  /** Since when, the first first. */
  private readonly since = new Map<Socket, Micros>();
  private timer: TimerHandle | null = null;
  /** Nothing was served since the last look. */
  private isIdle = false;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  get size(): number {
    return this.since.size;
  }

  pause(socket: Socket): void {
    if (socket.destroyed || this.since.has(socket)) return;
    socket.pause();
    this.since.set(socket, this.clock.now());
    this.lookLater();
  }

  /** It is over, or somebody else's, who decides when it is read. */
  forget(socket: Socket): void {
    this.since.delete(socket);
  }

  /** A turn of the queue is over. @param served - requests that were let in in it @param isLate - it has taken longer than requests may wait */
  onTurn(served: number, isLate: boolean): void {
    this.isIdle = false;
    if (this.since.size > 0) this.readOn(isLate ? served * REREAD_PER_SERVED : Math.max(served, REREAD_IDLE));
  }

  /** Reads all of them again, and none is paused any more until the next. */
  close(): void {
    this.readOn(Number.POSITIVE_INFINITY);
    if (this.timer !== null) this.clock.clearTimer(this.timer);
    this.timer = null;
  }

  /** The first so many, and those that have waited for as long as they may. */
  private readOn(count: number): void {
    const before = this.clock.now() - PAUSE_MAX;
    for (const [socket, since] of this.since) {
      if (--count < 0 && since > before) break;
      this.since.delete(socket);
      socket.resume();
    }
  }

  /** Turns come with requests: where all are paused there are none. */
  private lookLater(): void {
    const { clock } = this;
    this.timer ??= clock.setTimer(clock.now() + LOOK, () => {
      this.timer = null;
      this.readOn(this.isIdle ? REREAD_IDLE : 0);
      this.isIdle = true;
      if (this.since.size > 0) this.lookLater();
    });
  }
}

/** Less than anybody was told to stay away. Requests that come meanwhile wait so long at most: with twice as much a few more are served, and those as much later. */
const PAUSE_MAX = 500 * MILLISECOND;
const LOOK = 20 * MILLISECOND;
const REREAD_PER_SERVED = 0.5;
/** Where there is time left: about as many as are served in 20 ms. */
const REREAD_IDLE = 256;
