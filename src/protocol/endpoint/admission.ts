import type { MemoryBudget } from '../../base/memory-budget.ts';
import { type Micros, SECOND } from '../../base/time.ts';
import { CONNECTION_WINDOW_BYTES_MIN } from '../connection/config.ts';
import type { Connection } from '../connection/connection.ts';
import { CONNECTION_BYTES } from '../connection/memory.ts';
import type { EndpointCounters } from '../trace/counters.ts';
import { CloseCode } from '../wire/close-code.ts';
import type { ServerConfig } from './config.ts';
import { type HalfOpenTable, networkOf } from './half-open.ts';

/** Whether a server has room for another connection. [CON-3] [CON-40] */
export class Admission {
  private readonly halfOpen: HalfOpenTable;
  private readonly memory: MemoryBudget;
  private readonly counters: EndpointCounters;
  private isClosing = false;
  /** First packets that were let in since {@link windowStart}, and of them those of each network. */
  private admitted = 0;
  private readonly admittedOf = new Map<string, number>();
  private windowStart: Micros = 0;

  constructor(halfOpen: HalfOpenTable, memory: MemoryBudget, counters: EndpointCounters) {
    this.halfOpen = halfOpen;
    this.memory = memory;
    this.counters = counters;
  }

  /** From now on nobody is let in. */
  stop(): void {
    this.isClosing = true;
  }

  /**
   * Whether a first packet from `host` is worth being opened, now that so many come. Beyond a rate that a server can bear each network gets
   * its first one through, so that a flood from few networks leaves the others alone; beyond half as much again nobody does but who
   * completed a handshake lately. [CON-42]
   */
  isInPace(host: string, now: Micros): boolean {
    if (now - this.windowStart >= PACE_WINDOW || now < this.windowStart) {
      this.windowStart = now;
      this.admitted = 0;
      this.admittedOf.clear();
    }
    if (this.halfOpen.knows(host)) return true;
    const network = networkOf(host);
    const own = this.admittedOf.get(network) ?? 0;
    if (this.admitted >= PACE_MAX || (this.admitted >= PACE_FREE && own > 0)) {
      this.counters.droppedInitialPace++;
      return false;
    }
    this.admitted++;
    this.admittedOf.set(network, own + 1);
    return true;
  }

  /**
   * For a client at `host`: null, there is room; a connection, there is when that one gives way; a code to be refused with.
   * @param connections - how many there are, half-open ones included
   */
  roomFor(
    host: string,
    connections: number,
    server: ServerConfig,
    now: Micros,
  ): Connection | CloseCode | null {
    const { counters, halfOpen } = this;
    if (this.isClosing) {
      counters.droppedConnectionLimit++;
      return CloseCode.SHUTTING_DOWN;
    }
    if (connections >= server.connectionsMax) {
      const overdue = halfOpen.overdue(now - SILENCE_AT_CONNECTIONS_MAX);
      if (overdue === null) counters.droppedConnectionLimit++;
      return overdue ?? CloseCode.CONNECTION_REFUSED;
    }
    if (this.memory.available < CONNECTION_BYTES + CONNECTION_WINDOW_BYTES_MIN) {
      counters.droppedMemoryLimit++; // [CON-50]
      return CloseCode.CONNECTION_REFUSED;
    }
    if (halfOpen.size < server.halfOpenMax / 2) return null;
    if (halfOpen.size < server.halfOpenMax) return halfOpen.overdue(now - SILENCE_WHEN_HALF_FULL);
    const displaced = halfOpen.displacedBy(host);
    if (displaced === null) counters.droppedHalfOpenLimit++;
    return displaced ?? CloseCode.CONNECTION_REFUSED;
  }
}

/**
 * [CON-42] About as many handshakes as one core can make (1.8 ms each with the KEM in JavaScript). What is let in beyond that costs those who
 * are connected: at three to ten times this pace a flood of hellos held their round trips up by 320 ms.
 */
const PACE_WINDOW: Micros = 100_000;
const PACE_FREE = 20;
const PACE_MAX = 30;
/** [CON-5] Half-open handshakes whose clients are silent for so long make room for others. */
const SILENCE_WHEN_HALF_FULL: Micros = 5 * SECOND;
const SILENCE_AT_CONNECTIONS_MAX: Micros = SECOND;
