/**
 * Where native sockets of a thread have their datagrams put: one arena with a slot for each message that C reads in one call, and a table that says
 * what is in the slots. Runs of datagrams that came as one message (UDP_GRO) are taken apart into a batch, of which nobody keeps anything, for the
 * next read writes over it. There is one for all sockets of the thread: ten thousand of them would not have room for one each.
 */

import { markAsUntransferable } from 'node:worker_threads';
import { type EcnCodepoint, ReceiveBatch } from '../protocol/datagram/index.ts';

export class Arrivals {
  /** A slot for each message that C reads in one call. Only what is written to takes memory. */
  readonly arena = new Uint8Array(MESSAGES_MAX * SLOT_BYTES);
  readonly table = new Int32Array(ARRIVAL_HEADER + MESSAGES_MAX * ARRIVAL);
  readonly batch = new ReceiveBatch();
  /** Views of the datagrams that were where, by slot and place in their run. */
  private readonly views: (Uint8Array | undefined)[] = new Array(MESSAGES_MAX * RUN_VIEWS).fill(undefined);

  constructor() {
    this.batch.arena = this.arena;
    // As Node's pool of buffers: who posts a view of it to another thread copies it, and does not take it from all sockets of this one.
    markAsUntransferable(this.arena.buffer);
  }

  /** Adds the datagrams of the message in row `k` to the batch. */
  push(k: number, segment: number, host: string, port: number, local: number): void {
    const { batch, table } = this;
    const at = ARRIVAL_HEADER + k * ARRIVAL;
    const ecn = table[at + Arrival.ECN] as EcnCodepoint;
    const waited = table[at + Arrival.WAITED];
    let start = table[at + Arrival.START];
    const end = start + table[at + Arrival.LENGTH];
    let place = 0;
    do {
      const length = Math.min(segment, end - start);
      batch.push(this.view(k, place++, start, length), host, port, local, true, start);
      if (ecn !== 0) batch.mark(ecn);
      if (waited !== 0) batch.stamp(waited);
      start += length;
    } while (start < end);
  }

  private view(k: number, place: number, start: number, length: number): Uint8Array {
    if (place >= RUN_VIEWS) return new Uint8Array(this.arena.buffer, start, length);
    const index = k * RUN_VIEWS + place;
    const known = this.views[index];
    if (known !== undefined && known.length === length && known.byteOffset === start) return known;
    const view = new Uint8Array(this.arena.buffer, start, length);
    this.views[index] = view;
    return view;
  }
}

/** No socket is handed anything while another one is, so that they share them. */
export function arrivalsOfThread(): Arrivals {
  arrivals ??= new Arrivals();
  return arrivals;
}

/** What stands where in the row of a message, of which the table has {@link ARRIVAL_HEADER} words before the first; see `native/socket.c`. */
export const Arrival = {
  START: 0,
  LENGTH: 1,
  SEGMENT: 2,
  ECN: 3,
  FROM: 4,
  TO: 11,
  WAITED: 18,
  IS_CUT: 19,
} as const;
export const ARRIVAL = 20;
export const ARRIVAL_HEADER = 4;
const MESSAGES_MAX = 64;
const SLOT_BYTES = 65_536 + 64;
/** Datagrams of one message that have a view to be used again. */
const RUN_VIEWS = 64;

let arrivals: Arrivals | undefined;
