import { AgingMap } from '../base/aging-map.ts';
import type { Micros } from '../base/time.ts';

/** A client that sent something lately. Nothing is lost with it that the next packet does not bring back. [FRT-16] */
export interface ClientTrace {
  /** At which of the front's own addresses it asked last. */
  local: number;
  /** The id of a server's that it used last, in two halves, and whose that is. */
  idHigh: number;
  idLow: number;
  owner: number;
  /** The id that it made up for its latest first packet, and which server that went to; -1: none. */
  firstKey: number;
  chosen: number;
  seenAt: Micros;
  /** When it was put at the end of all. */
  placedAt: Micros;
}

/** The clients that a front has in mind: a bounded number, each until it was silent for the idle time, or an eighth longer. */
export class Clients {
  private readonly max: number;
  private readonly idle: Micros;
  /** In the order in which they were put at the end, which happens again when they send and it is long ago. A stranger's datagram of each address that he makes up takes the place of the oldest. */
  private readonly traces = new AgingMap<string, ClientTrace>();

  constructor(max: number, idle: Micros) {
    this.max = max;
    this.idle = idle;
  }

  get size(): number {
    return this.traces.size;
  }

  /** A packet of this client came to `local`. */
  seen(host: string, port: number, local: number, now: Micros): ClientTrace {
    const key = `${host} ${port}`;
    let trace = this.traces.get(key);
    if (trace === undefined) {
      if (this.traces.size >= this.max) this.forgetOldest();
      trace = {
        local,
        idHigh: 0,
        idLow: 0,
        owner: -1,
        firstKey: -1,
        chosen: -1,
        seenAt: now,
        placedAt: now,
      };
      this.traces.set(key, trace);
    }
    trace.local = local;
    this.touch(key, trace, now);
    return trace;
  }

  /** At which address of the front the client asked last; 0, which leaves it to the system, when that is not known. */
  localOf(host: string, port: number, now: Micros): number {
    const key = `${host} ${port}`;
    const trace = this.traces.get(key);
    if (trace === undefined) return 0;
    this.touch(key, trace, now);
    return trace.local;
  }

  /** Forgets those that were silent for the idle time. */
  expire(now: Micros): void {
    const { traces } = this;
    for (let { oldest } = traces; oldest !== null; { oldest } = traces) {
      if (now - oldest.value.seenAt < this.idle) return;
      traces.delete(oldest.key);
    }
  }

  private touch(key: string, trace: ClientTrace, now: Micros): void {
    trace.seenAt = now;
    if (now - trace.placedAt < this.idle / 8) return;
    trace.placedAt = now;
    this.traces.set(key, trace);
  }

  private forgetOldest(): void {
    const { oldest } = this.traces;
    if (oldest !== null) this.traces.delete(oldest.key);
  }
}
