import { type Micros, NEVER } from '../../../base/time.ts';

/**
 * Small messages that are to go out once more although a packet with them is on its way: those sent again after a loss, where the path loses
 * so much that this is likely to be lost, too [REC-60], and those that a probe brings. Each rides in the first packet after the one
 * that it went out in; if none goes, it has one of its own after {@link wait}.
 *
 * Runs of messages in the order in which they came, at most {@link RUNS_MAX} of them: what comes when it is full is not sent twice.
 */
export class SecondCopies {
  /** How long what is sent again waits for another packet to ride in; NEVER while nothing is sent twice. */
  wait: Micros = NEVER;
  /** Runs that wait. */
  count = 0;
  /** The oldest is due now, in a packet of its own if need be. */
  isDue = false;

  private head = 0;
  /** Counts the packets, so that none holds a message twice. */
  private packet = 0;
  private readonly streams = new Float64Array(RUNS_MAX);
  private readonly sequences = new Float64Array(RUNS_MAX);
  private readonly counts = new Float64Array(RUNS_MAX);
  private readonly packets = new Float64Array(RUNS_MAX);
  private readonly dueAt = new Float64Array(RUNS_MAX);

  /** When the oldest is due; NEVER when none waits, or it is due already. */
  get nextTimeout(): Micros {
    return this.count === 0 || this.isDue ? NEVER : this.dueAt[this.head];
  }

  onTimeout(now: Micros): void {
    this.isDue = this.count > 0 && this.dueAt[this.head] <= now;
  }

  /** A packet is filled from now on. */
  beginPacket(): void {
    this.packet++;
  }

  /** Messages [sequence, sequence + count) of a stream went into the packet that is being filled, and will go into a later one, too. */
  add(stream: number, sequence: number, count: number, now: Micros): void {
    this.push(stream, sequence, count, this.packet, now + this.wait);
  }

  /** They go into the next packet, which is to be sent now. */
  addNow(stream: number, sequence: number, count: number, now: Micros): void {
    this.push(stream, sequence, count, this.packet, now);
    this.onTimeout(now);
  }

  /** Whether the oldest may go into the packet that is being filled. */
  get isReady(): boolean {
    return this.count > 0 && this.packets[this.head] < this.packet;
  }

  /** Stream, first sequence and number of messages of the oldest. */
  get stream(): number {
    return this.streams[this.head];
  }

  get sequence(): number {
    return this.sequences[this.head];
  }

  get messages(): number {
    return this.counts[this.head];
  }

  /** The oldest was sent, or needs no copy. */
  shift(now: Micros): void {
    this.head = (this.head + 1) % RUNS_MAX;
    this.count--;
    this.onTimeout(now);
  }

  private push(stream: number, sequence: number, count: number, packet: number, dueAt: Micros): void {
    if (this.count === RUNS_MAX) return;
    const i = (this.head + this.count++) % RUNS_MAX;
    this.streams[i] = stream;
    this.sequences[i] = sequence;
    this.counts[i] = count;
    this.packets[i] = packet;
    this.dueAt[i] = dueAt;
  }
}

const RUNS_MAX = 64;
