import type { MemoryBudget } from '../base/memory-budget.ts';
import { type Micros, SECOND } from '../base/time.ts';
import { CONNECTION_WINDOW_BYTES_MIN } from '../connection/config.ts';
import type { Connection } from '../connection/connection.ts';
import { CONNECTION_BYTES } from '../connection/memory.ts';
import type { EndpointCounters } from '../trace/counters.ts';
import { CloseCode } from '../wire/close-code.ts';
import type { ServerConfig } from './config.ts';
import type { HalfOpenTable } from './half-open.ts';

/** Whether a server has room for another connection. [CON-3] [CON-40] */
export class Admission {
  private readonly halfOpen: HalfOpenTable;
  private readonly memory: MemoryBudget;
  private readonly counters: EndpointCounters;
  private isClosing = false;

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

/** [CON-5] Half-open handshakes whose clients are silent for so long make room for others. */
const SILENCE_WHEN_HALF_FULL: Micros = 5 * SECOND;
const SILENCE_AT_CONNECTIONS_MAX: Micros = SECOND;
