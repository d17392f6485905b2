/**
 * The socket of a server behind a front: what comes in envelopes of a front is handed over as if it had come from the client's address, and
 * what goes to a client by way of a front goes in an envelope; all else passes as it is, so that clients may come directly, too [FRT-5]. By
 * which front a client comes is a number like that of the socket's own addresses (`local`), so that it is answered through the front that its
 * newest packet came by [FRT-7].
 */

import { SECOND } from '../base/time.ts';
import {
  ENVELOPE_BYTES,
  envelopeHour,
  FrontEnvelopes,
  FrontKind,
  FrontProbes,
  type FrontSecrets,
  PROBE_BYTES,
  ReceiveBatch,
  type ServerReport,
  TransmitBatch,
} from '../protocol/datagram/index.ts';
import { type Clock, unixMs } from './clock.ts';
import type { DatagramSocket, SocketAddress, SocketCounters } from './datagram-socket.ts';
import { WrappedSocket } from './wrapped-socket.ts';

export interface FrontedSocketOptions {
  readonly secrets: FrontSecrets;
  readonly clock: Clock;
  /** What the server says of itself to fronts that ask. */
  readonly report: () => Omit<ServerReport, 'nonce'>;
}

export class FrontedSocket extends WrappedSocket {
  private readonly clock: Clock;
  private readonly envelopes: FrontEnvelopes;
  private readonly probes: FrontProbes;
  private readonly report: FrontedSocketOptions['report'];
  private readonly fronts = new Fronts();
  private received: ReceiveBatch | null = null;
  /** A batch for what goes out, while the socket does not hold it. */
  private spare: TransmitBatch | null = null;
  /** Envelopes that were not to be believed. */
  private refused = 0;

  constructor(inner: DatagramSocket, { clock, report, secrets }: FrontedSocketOptions) {
    super(inner);
    this.clock = clock;
    this.report = report;
    this.envelopes = new FrontEnvelopes('server', secrets);
    this.probes = new FrontProbes(secrets);
  }

  /** Of the inner socket; datagrams that came as a front's and are none count as dropped. */
  override get counters(): Readonly<SocketCounters> {
    const { counters } = this.inner;
    return { ...counters, datagramsDropped: counters.datagramsDropped + this.refused };
  }

  send(batch: TransmitBatch): boolean {
    const { local, count } = batch;
    for (let i = 0; i < count; i++) if (local[i] >= FRONT_NUMBER) return this.sendWrapped(batch);
    return this.inner.send(batch);
  }

  // ---- in ----

  protected receive(batch: ReceiveBatch): void {
    this.received ??= new ReceiveBatch(batch);
    const { received } = this;
    received.arena = batch.arena;
    const now = this.clock.now();
    const hour = envelopeHour(unixMs(this.clock));
    try {
      for (let i = 0; i < batch.count; i++) {
        const data = batch.data[i];
        const kind = data.length === 0 ? 0 : data[0];
        if (kind === FrontKind.TO_SERVER) {
          const client = this.envelopes.addressIn(data, hour);
          if (client === null) this.refused++;
          else {
            const front = this.fronts.numberOf(batch.host[i], batch.port[i], batch.local[i], now);
            pass(batch, i, received, data.subarray(ENVELOPE_BYTES), client, front);
          }
        } else if (kind === FrontKind.PROBE) {
          this.answer(data, batch.host[i], batch.port[i], batch.local[i]);
        } else {
          pass(batch, i, received, data, { host: batch.host[i], port: batch.port[i] }, batch.local[i]);
        }
      }
      if (received.count > 0) this.onBatch?.(received);
    } finally {
      received.clear();
    }
  }

  /** A front wants to know how things are. [FRT-13] */
  private answer(probe: Uint8Array, host: string, port: number, local: number): void {
    const nonce = this.probes.nonceIn(probe);
    if (nonce === null) {
      this.refused++;
      return;
    }
    const batch = this.takeBatch();
    batch.arena.set(this.probes.report({ nonce, ...this.report() }), 0);
    batch.push(PROBE_BYTES, host, port, local);
    this.sendOwn(batch);
  }

  // ---- out ----

  /** All of the batch, in its order: what goes by way of a front in envelopes. True when nothing of it is held. */
  private sendWrapped(batch: TransmitBatch): boolean {
    const hour = envelopeHour(unixMs(this.clock));
    let own = this.takeBatch();
    let isFree = true;
    for (let i = 0; i < batch.count; i++) {
      if (!own.hasRoom(batch.length[i] + ENVELOPE_BYTES)) {
        isFree = this.sendOwn(own) && isFree;
        own = this.takeBatch();
      }
      this.copy(batch, i, own, hour);
    }
    return this.sendOwn(own) && isFree;
  }

  private copy(batch: TransmitBatch, i: number, own: TransmitBatch, hour: number): void {
    const bytes = batch.arena.subarray(batch.offset[i], batch.offset[i] + batch.length[i]);
    const front = this.fronts.at(batch.local[i]);
    if (front === null) {
      own.arena.set(bytes, own.used);
      own.push(bytes.length, batch.host[i], batch.port[i], batch.local[i]);
      const ecn = batch.ecnOf(i);
      if (ecn !== 0) own.mark(ecn);
      return;
    }
    const header = this.envelopes.headerFor(batch.host[i], batch.port[i], hour);
    if (header === null) return; // its client moved from a front to an address that only this machine knows
    own.arena.set(header, own.used);
    own.arena.set(bytes, own.used + ENVELOPE_BYTES);
    own.push(ENVELOPE_BYTES + bytes.length, front.host, front.port, front.local);
  }

  private takeBatch(): TransmitBatch {
    const batch = this.spare ?? new TransmitBatch();
    this.spare = null;
    return batch;
  }

  /** A batch that the socket holds is left to it. */
  private sendOwn(batch: TransmitBatch): boolean {
    if (!this.inner.send(batch)) return false;
    batch.clear();
    this.spare = batch;
    return true;
  }
}

/** Takes a datagram over into another batch; `data` is what there is in its envelope, or all of it. */
function pass(
  from: ReceiveBatch,
  i: number,
  to: ReceiveBatch,
  data: Uint8Array,
  by: SocketAddress,
  local: number,
): void {
  const offset = from.offset[i] + data.byteOffset - from.data[i].byteOffset;
  to.push(data, by.host, by.port, local, from.isShared[i] !== 0, offset);
  const ecn = from.ecnOf(i);
  if (ecn !== 0) to.mark(ecn);
  const waited = -from.arrivedAt(i, 0);
  if (waited > 0) to.stamp(waited);
}

/** A front, as this server is reached from it. */
interface FrontAddress extends SocketAddress {
  /** Which of the socket's own addresses it asks. */
  readonly local: number;
  usedAt: number;
}

/** The fronts that were heard of lately, by number. [FRT-7] */
class Fronts {
  private readonly known: FrontAddress[] = [];
  /** That of the last datagram, which mostly is that of the next. */
  private latest = 0;

  /** The number of a front, which is known, or becomes it in place of the one that was silent for longest. */
  numberOf(host: string, port: number, local: number, now: number): number {
    const { known } = this;
    let index = this.latest;
    if (!isAt(known[index], host, port, local)) {
      index = known.findIndex((front) => isAt(front, host, port, local));
      if (index < 0) index = this.add({ host, port, local, usedAt: now });
      this.latest = index;
    }
    if (now - known[index].usedAt > SECOND) known[index].usedAt = now;
    return FRONT_NUMBER + index;
  }

  /** The front of this number; null for a number of the socket's own. */
  at(number: number): FrontAddress | null {
    return number < FRONT_NUMBER ? null : this.known[number - FRONT_NUMBER];
  }

  private add(front: FrontAddress): number {
    const { known } = this;
    if (known.length < FRONTS_MAX) return known.push(front) - 1;
    let oldest = 0;
    for (let i = 1; i < known.length; i++) if (known[i].usedAt < known[oldest].usedAt) oldest = i;
    known[oldest] = front;
    return oldest;
  }
}

function isAt(front: FrontAddress | undefined, host: string, port: number, local: number): boolean {
  return front?.port === port && front.host === host && front.local === local;
}

/** Fronts are numbered from here; the addresses of a socket are fewer. */
const FRONT_NUMBER = 1_024;
const FRONTS_MAX = 64;
