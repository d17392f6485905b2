/**
 * The other workers at a worker's address, its fellows: whose a packet is, by the seat in its connection id, and how it gets there. To each leads a
 * channel: a message port, and for each way a number in shared memory, the bytes that were sent and not taken yet, by which
 * `FairShare` bounds them. [WRK-3] [WRK-4]
 *
 * One message holds all that a batch brought for one fellow:
 *
 *     bytes      head of 4 numbers of 32 bits a datagram (length, port, ECN codepoint, which of the addresses), then the datagrams behind each other
 *     addresses  of clients and of our own, as text, each once
 */

import type { MessagePort } from 'node:worker_threads';
import type { RandomSource } from '../../base/random.ts';
import { type ConnectionIdSource, RoutableIds, ServerIdSource } from '../../protocol/crypto/index.ts';
import { type EcnCodepoint, ReceiveBatch } from '../../protocol/datagram/index.ts';
import type { ForeignPackets, WorkerPlace } from '../../protocol/endpoint/index.ts';
import type { DatagramSocket } from '../../udp/datagram-socket.ts';
import { FairShare } from './fair-share.ts';

/** One end of the channel between two workers; the other end has `sent` and `taken` the other way round. */
export interface Channel {
  /** The seat of who is at the other end. */
  readonly seat: number;
  readonly port: MessagePort;
  /** Bytes on their way to the other end: a number of 32 bits each. */
  readonly outgoing: SharedArrayBuffer;
  /** Bytes on their way here. */
  readonly incoming: SharedArrayBuffer;
}

/** What went from worker to worker. */
export interface HandOverCounters {
  /** Datagrams that came here and were handed to the worker whose they are. */
  handedOver: number;
  /** Those that were not: too many waited for that worker, or it had just ended. */
  handOversDropped: number;
  /** Datagrams that others handed to this worker. */
  takenOver: number;
}

/** What all workers of a server have, to know each other's packets and count their connections. */
export interface CommonGround {
  /** Of their connection ids. [WRK-2] */
  readonly secret: Uint8Array;
  /** How many connections each worker has: a number of 32 bits each, by the workers' numbers. */
  readonly connections: SharedArrayBuffer;
  /** The seat of each worker by its number, as numbers of 32 bits; {@link NO_SEAT}: it is not there. */
  readonly seats: SharedArrayBuffer;
}

interface HandedOver {
  readonly bytes: Uint8Array;
  readonly addresses: readonly string[];
}

interface Fellow {
  readonly port: MessagePort;
  readonly outgoing: Int32Array;
  readonly share: FairShare;
}

/** A worker's place among its fellows. */
export class Fellows implements WorkerPlace {
  readonly counters: HandOverCounters = { handedOver: 0, handOversDropped: 0, takenOver: 0 };
  /** The ids of this worker's connections. */
  readonly ids: ConnectionIdSource;
  /** Takes what others hand over. */
  onBatch: ((batch: ReceiveBatch) => void) | null = null;
  /** Whose addresses datagrams come to. */
  socket: DatagramSocket | null = null;
  private readonly known: RoutableIds;
  private readonly number: number;
  private readonly connections: Int32Array;
  private readonly seats: Int32Array;
  private readonly seat: number;
  private readonly bySeat = new Map<number, Fellow>();
  /** Which datagrams of the batch are handed over, while they are. */
  private readonly taken: number[] = [];
  private readonly received = new ReceiveBatch({ isHandedOver: true });

  /**
   * @param number - of this worker, from 0
   * @param seat - which no other start of a worker has
   */
  constructor(
    number: number,
    seat: number,
    { secret, connections, seats }: CommonGround,
    random: RandomSource,
  ) {
    this.number = number;
    this.known = RoutableIds.of(secret);
    this.ids = new ServerIdSource(secret, seat, random);
    this.connections = new Int32Array(connections);
    this.seats = new Int32Array(seats);
    this.seat = seat;
  }

  /** Somebody is there from now on, until the other end of the channel is gone. */
  meet({ seat, port, outgoing, incoming }: Channel): void {
    this.bySeat.set(seat, { port, outgoing: new Int32Array(outgoing), share: new FairShare() });
    const waiting = new Int32Array(incoming);
    port.on('message', (message: HandedOver) => {
      Atomics.sub(waiting, 0, message.bytes.length);
      this.take(message);
    });
    port.on('close', () => this.bySeat.delete(seat));
    port.unref();
  }

  leave(): void {
    for (const { port } of this.bySeat.values()) port.close();
    this.bySeat.clear();
  }

  // ---- for the endpoint ----

  fellowOf(buffer: Uint8Array, at: number): number {
    const seat = this.known.serverIdOf(buffer, at);
    return this.bySeat.has(seat) || this.isTaken(seat) ? seat : -1;
  }

  /** Somebody has this seat whom this worker has not met yet, as it did not turn meanwhile: what comes for that one is dropped, and not reset as nobody's. [WRK-3] */
  private isTaken(seat: number): boolean {
    if (seat === this.seat) return false;
    for (let i = 0; i < this.seats.length; i++) if (Atomics.load(this.seats, i) === seat) return true;
    return false;
  }

  get connectionsElsewhere(): number {
    let sum = 0;
    for (let i = 0; i < this.connections.length; i++)
      if (i !== this.number) sum += Atomics.load(this.connections, i);
    return sum;
  }

  tellConnections(count: number): void {
    Atomics.store(this.connections, this.number, count);
  }

  // ---- from worker to worker ----

  /** Hands datagrams of the batch to those whose they are. */
  handOver(batch: ReceiveBatch, foreign: ForeignPackets): void {
    for (let start = 0, end = 0; start < foreign.count; start = end) {
      const seat = foreign.seat[start];
      for (end = start + 1; end < foreign.count && foreign.seat[end] === seat; end++);
      this.send(seat, batch, foreign, start, end);
    }
  }

  private send(
    seat: number,
    batch: ReceiveBatch,
    { idAt, index }: ForeignPackets,
    start: number,
    end: number,
  ): void {
    const { counters, taken } = this;
    const fellow = this.bySeat.get(seat);
    taken.length = 0;
    let bytes = 0;
    if (fellow !== undefined) {
      fellow.share.settle(Atomics.load(fellow.outgoing, 0));
      for (let n = start; n < end; n++) {
        const i = index[n];
        const data = batch.data[i];
        const more = HEAD_BYTES + data.length;
        if (!fellow.share.take(more, batch.host[i], data, idAt[n])) continue;
        taken.push(i);
        bytes += more;
      }
    }
    counters.handOversDropped += end - start - taken.length;
    if (fellow === undefined || taken.length === 0) return;
    const message = this.packed(batch, bytes);
    Atomics.add(fellow.outgoing, 0, bytes);
    fellow.port.postMessage(message, [message.bytes.buffer as ArrayBuffer]);
    counters.handedOver += taken.length;
  }

  private packed(batch: ReceiveBatch, length: number): HandedOver {
    const bytes = new Uint8Array(length);
    const head = new Uint32Array(bytes.buffer, 0, this.taken.length * HEAD_NUMBERS);
    const addresses: string[] = [];
    let at = head.byteLength;
    let h = 0;
    for (const i of this.taken) {
      const data = batch.data[i];
      const own = this.socket?.hostOfLocal?.(batch.local[i]) ?? '';
      head[h] = data.length;
      head[h + 1] = batch.port[i];
      head[h + 2] = batch.ecnOf(i);
      head[h + 3] = (placeOf(addresses, batch.host[i]) << 16) | placeOf(addresses, own);
      h += HEAD_NUMBERS;
      bytes.set(data, at);
      at += data.length;
    }
    return { bytes, addresses };
  }

  /** Made by {@link packed} of another worker of this process, so it is whole. */
  private take({ bytes, addresses }: HandedOver): void {
    const { received } = this;
    const end = bytes.length;
    // Its own length tells where the head ends: there are as many datagrams as lengths that fill the rest.
    const numbers = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2);
    let count = 0;
    for (let sum = 0; sum < end; count++) sum += HEAD_BYTES + numbers[count * HEAD_NUMBERS];
    let at = count * HEAD_BYTES;
    for (let h = 0; h < count * HEAD_NUMBERS; h += HEAD_NUMBERS) {
      const next = at + numbers[h];
      const host = addresses[numbers[h + 3] >>> 16];
      const own = addresses[numbers[h + 3] & 0xffff];
      const local = own === '' ? 0 : (this.socket?.localOfHost?.(own) ?? 0);
      received.push(bytes.subarray(at, next), host, numbers[h + 1], local, count > 1);
      if (numbers[h + 2] !== 0) received.mark(numbers[h + 2] as EcnCodepoint);
      at = next;
    }
    this.counters.takenOver += count;
    try {
      this.onBatch?.(received);
    } finally {
      received.clear();
    }
  }
}

/** The number of an address in the list, where it is now. Most batches have two of them. */
function placeOf(addresses: string[], address: string): number {
  const known = addresses.indexOf(address);
  return known >= 0 ? known : addresses.push(address) - 1;
}

/** In {@link CommonGround.seats}. */
export const NO_SEAT = -1;
const HEAD_NUMBERS = 4;
const HEAD_BYTES = 4 * HEAD_NUMBERS;
