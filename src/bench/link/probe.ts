/**
 * Round trips of small best-effort messages, as `ping` and mtr make them. The one who answers writes into the message when it came and when
 * it went back, so that its own time does not count, and so that the clocks of both ends can be compared (RFC 5905 section 8).
 *
 *      0   u32   number
 *      4   f64   when the probe was sent, by the clock of the one who asks
 *     12   f64   when it came, by the clock of the one who answers
 *     20   f64   when it went back
 *     28         anything, as long as the probe is to be
 */
import { MILLISECOND } from '../../base/time.ts';
import type { Connection } from '../../transport/connection.ts';
import type { Stream } from '../../transport/stream.ts';
import type { TimerHandle } from '../../udp/clock.ts';
import { LABELS } from './control.ts';
import type { BenchSystem } from './system.ts';

export const PROBE_BYTES_MIN = 28;

/** Sends each probe of a stream back, as long as it is. */
export function answerProbes(stream: Stream, system: BenchSystem): void {
  stream.on('error', () => {});
  stream.on('message', (message) => {
    const cameAt = system.stamp();
    if (message.length < PROBE_BYTES_MIN || stream.queuedBytes > ANSWERS_BYTES_MAX) return;
    message.writeDoubleBE(cameAt, 12);
    message.writeDoubleBE(system.stamp(), 20);
    stream.send(message, { delivery: 'bestEffort' });
  });
}

/** Times of one probe, in microseconds of the clocks of both ends. */
export interface RoundTrip {
  readonly sentAt: number;
  readonly cameAt: number;
  readonly wentAt: number;
  readonly returnedAt: number;
}

/** Time under way, without that of the one who answers. */
export function roundTripMicros({ sentAt, cameAt, wentAt, returnedAt }: RoundTrip): number {
  return returnedAt - sentAt - (wentAt - cameAt);
}

/** Sends probes, one every so many milliseconds, and keeps those that come back. */
export class Prober {
  readonly trips: RoundTrip[] = [];
  sent = 0;
  private readonly sentAt: number[] = [];
  /** Numbers of those that came back. */
  private readonly returned = new Set<number>();
  private readonly stream: Stream;
  private readonly system: BenchSystem;
  private readonly message: Uint8Array;
  private readonly view: DataView;
  private readonly intervalMs: number;
  private nextAt = 0;
  private timer: TimerHandle | null = null;

  constructor(connection: Connection, system: BenchSystem, intervalMs: number, bytes = PROBE_BYTES_MIN) {
    this.system = system;
    this.intervalMs = intervalMs;
    this.message = new Uint8Array(Math.max(bytes, PROBE_BYTES_MIN));
    this.view = new DataView(this.message.buffer);
    this.stream = connection.openStream({
      label: LABELS.probe,
      delivery: 'bestEffort',
      ordered: false,
      priority: 'bulk', // an urgent one would keep the queue of a transfer beside it short [SCH-10]
      protection: 'off',
    });
    this.stream.on('error', () => {});
    this.stream.on('message', (message) => this.onAnswer(message));
    this.stream.send(OPENING);
  }

  start(): void {
    this.nextAt = this.system.clock.now();
    this.tick();
  }

  /** Those that were sent between two readings of the clock, and came back. */
  between(from: number, to: number): { sent: number; trips: RoundTrip[] } {
    const isBetween = (at: number): boolean => at >= from && at < to;
    return {
      sent: this.sentAt.filter(isBetween).length,
      trips: this.trips.filter(({ sentAt }) => isBetween(sentAt)),
    };
  }

  /** No more probes; those under way still count when they come back. */
  stop(): void {
    if (this.timer !== null) this.system.clock.clearTimer(this.timer);
    this.timer = null;
  }

  end(): void {
    this.stop();
    this.stream.reset();
  }

  private readonly tick = (): void => {
    const { clock } = this.system;
    const now = this.system.stamp();
    this.view.setUint32(0, this.sent);
    this.view.setFloat64(4, now);
    try {
      this.stream.send(this.message);
      this.sent++;
      if (this.sentAt.length < TRIPS_MAX) this.sentAt.push(now);
    } catch {
      return; // the connection ended
    }
    this.nextAt = Math.max(this.nextAt + Math.round(this.intervalMs * MILLISECOND), clock.now());
    this.timer = clock.setTimer(this.nextAt, this.tick);
  };

  private onAnswer(message: Buffer): void {
    const returnedAt = this.system.stamp();
    if (message.length !== this.message.length) return;
    const number = message.readUInt32BE(0);
    const sentAt = this.sentAt[number];
    if (sentAt === undefined || this.returned.has(number)) return;
    this.returned.add(number);
    const trip = {
      sentAt,
      cameAt: message.readDoubleBE(12),
      wentAt: message.readDoubleBE(20),
      returnedAt,
    };
    // Of the time that passed here no more can be the other end's than there was, and no less than none.
    const micros = roundTripMicros(trip);
    if (micros >= 0 && micros <= returnedAt - sentAt) this.trips.push(trip);
  }
}

/** Opens the stream: what does not fit into the packet with that waits until it has arrived, and a probe is not to wait. */
export const OPENING = new Uint8Array(1);
/** A peer that does not read what comes back gets no more. */
const ANSWERS_BYTES_MAX = 256 * 1024;
const TRIPS_MAX = 200_000;
