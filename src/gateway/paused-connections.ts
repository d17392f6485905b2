/**
 * Connections whose request was refused because there was too much to do. They are not read for about as long as they were told to stay away: who asks again at once would be refused
 * again and again, which costs as much as to serve somebody. His next request waits in the system, and TCP tells him so. [GW-7]
 *
 * When it is read it has waited for too long: whoever is let in is to be answered in time. So it is refused as well, and its connection paused again, unless there is nothing else to
 * do. Where turns have room for more, so many connections as fill it are read sooner. What has waited on them is refused, too, but they go on being read: their next requests are new.
 *
 * That keeps the loop short, too. One that has 1,024 sockets ready polls on, up to 48 times, before it looks at timers or polls for sockets that are read again (libuv,
 * `uv__io_poll`), and accepts one connection each time it has been to all of them: seconds were seen of either. With no more that are read than the time brings in which requests may
 * wait neither happens. At twice the capacity, by 6,000 connections that ask again at once and by as many that do not, on a busy machine, 5,200 and 5,900 requests a second were served, half of
 * them within 0.11 s and nine of ten within 0.16; where connections were read again, and served, after half a second, 3,200 and 1,600, within 0.8 and 1.4. Of 26 s, the onset included, 99 of 100 were within 0.21 s.
 */

import type { Socket } from 'node:net';
import { MILLISECOND, type Micros } from '../base/time.ts';
import type { Clock, TimerHandle } from '../udp/clock.ts';

/** Why a connection is read again: its time is over, or there is room for one more caller. */
export type Reread = 'time' | 'room';

export class PausedConnections {
  private readonly clock: Clock;
  /** In which slot of time they are read again: the slots come round. */
  private readonly slots: Set<Socket>[] = Array.from({ length: SLOTS }, () => new Set());
  private readonly slotOf = new Map<Socket, number>();
  /** The first slot that may have some, counted from the begin of time. */
  private firstSlot = 0;
  /** Read again so recently that what comes on them has waited meanwhile. */
  private readonly reread = new Map<Socket, Reread>();
  private timer: TimerHandle | null = null;
  /** No turn was over since the last look. */
  private isIdle = false;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  get size(): number {
    return this.slotOf.size;
  }

  /** @param ms - at most 10,000 */
  pause(socket: Socket, ms: number): void {
    if (socket.destroyed || this.slotOf.has(socket)) return;
    socket.pause();
    const now = this.clock.now();
    if (this.size === 0) this.firstSlot = slotAt(now);
    const slot = Math.min(slotAt(now + ms * MILLISECOND), this.firstSlot + SLOTS - 1);
    this.slots[slot % SLOTS].add(socket);
    this.slotOf.set(socket, slot);
    this.lookLater();
  }

  /** It is over, or somebody else's, who decides when it is read. */
  forget(socket: Socket): void {
    const slot = this.slotOf.get(socket);
    if (slot !== undefined) this.slots[slot % SLOTS].delete(socket);
    this.slotOf.delete(socket);
    this.reread.delete(socket);
  }

  /** A request has come. @returns why its connection is read again, if the request has waited for that; null: it is new */
  waited(socket: Socket): Reread | null {
    if (this.reread.size === 0) return null;
    const why = this.reread.get(socket);
    if (why === undefined) return null;
    this.reread.delete(socket);
    return why;
  }

  /** A turn of the queue is over. @param room - so many more requests would have been in time */
  onTurn(room: number): void {
    this.isIdle = false;
    if (this.size === 0) return;
    this.readDue();
    this.readSooner(room, 'room');
  }

  /** Reads all of them again, and none is paused any more until the next. */
  close(): void {
    for (const socket of this.slotOf.keys()) socket.resume();
    for (const slot of this.slots) slot.clear();
    this.slotOf.clear();
    this.reread.clear();
    if (this.timer !== null) this.clock.clearTimer(this.timer);
    this.timer = null;
  }

  /** Those whose time is over, but not so many at once that what they bring takes the turn of others. */
  private readDue(): void {
    const current = slotAt(this.clock.now());
    let left = this.rereadable;
    const read: Socket[] = [];
    for (; this.firstSlot < current; this.firstSlot++) {
      for (const socket of this.slots[this.firstSlot % SLOTS]) {
        if (--left < 0) break;
        this.readOn(socket, 'time', read);
      }
      if (left < 0) break;
    }
    this.forgetSoon(read);
  }

  /** So many more can be read again, beside those that the loop has not come to yet. */
  private get rereadable(): number {
    return Math.max(0, REREAD_MAX - this.reread.size);
  }

  /** Those whose time is over first. @param why - null: what comes on them is taken as new */
  private readSooner(count: number, why: Reread | null): void {
    let left = Math.min(count, this.rereadable);
    const read: Socket[] = [];
    for (let i = 0; i < SLOTS && left > 0; i++) {
      for (const socket of this.slots[(this.firstSlot + i) % SLOTS]) {
        if (--left < 0) break;
        this.readOn(socket, why, read);
      }
    }
    this.forgetSoon(read);
  }

  private readOn(socket: Socket, why: Reread | null, read: Socket[]): void {
    this.forget(socket);
    socket.resume();
    if (why === null) return;
    this.reread.set(socket, why);
    read.push(socket);
  }

  /** The loop polls for them when it comes back from the sockets that it is at, which can take long, and has then what waits there in its next round. */
  private forgetSoon(read: readonly Socket[]): void {
    if (read.length === 0) return;
    this.clock.soon(() =>
      this.clock.soon(() => {
        for (const socket of read) this.reread.delete(socket);
      }),
    );
  }

  /** Turns come with requests: where all are paused there are none. */
  private lookLater(): void {
    const { clock } = this;
    this.timer ??= clock.setTimer(clock.now() + LOOK, () => {
      this.timer = null;
      this.readDue();
      if (this.isIdle) this.readSooner(REREAD_MAX, null);
      this.isIdle = true;
      if (this.size > 0) this.lookLater();
    });
  }
}

function slotAt(at: Micros): number {
  return Math.floor(at / SLOT);
}

const SLOT = 50 * MILLISECOND;
/** For 10 s, which is the longest that anybody is told, and the slot that is going on. */
const SLOTS = 201;
const LOOK = 20 * MILLISECOND;
/** At once: about as many as are served in 20 ms. */
const REREAD_MAX = 256;
