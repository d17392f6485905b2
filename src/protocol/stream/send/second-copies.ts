import { type Micros, NEVER } from '../../../base/time.ts';

/**
 * Small messages that are to go out once more although a packet with them is on its way:
 *
 *   - those that a probe brings again, because they may be lost; they are due at once [REC-58];
 *   - those sent again after a loss, where the path loses so much that this is likely to be lost, too [REC-60]. They ride in the first packet
 *     after the one that they went out in; if none goes, they have one of their own after {@link wait};
 *   - those that a probe brought, in the next packet if there is one.
 *
 * Runs of messages in the order in which they came, at most {@link RUNS_MAX} of them: what comes when it is full is not sent twice.
 */
export class SecondCopies {
  /** How long what is sent again waits for another packet to ride in; NEVER while nothing is sent twice. */
  wait: Micros = NEVER;
  /** Runs that wait. */
  count = 0;
  /** How often the oldest was taken off. */
  shifts = 0;
  /** One is due now, in a packet of its own if need be. */
  isDue = false;
  /** Room is there that would be padded: copies of large messages are welcome, too. */
  takesLarge = false;

  /** A circle of runs, {@link FIELDS} numbers each: stream, first sequence, messages, packet, when it is due, whether a probe brings it. */
  private runs = NO_RUNS;
  private head = 0;
  /** Counts the packets, so that none holds a message twice. */
  private packet = 0;
  /** When the first is due that is not due yet. */
  private dueAt: Micros = NEVER;

  /** When {@link onTimeout} has something to do. */
  get nextTimeout(): Micros {
    return this.isDue ? NEVER : this.dueAt;
  }

  onTimeout(now: Micros): void {
    this.isDue = this.dueAt <= now;
  }

  /** A packet is filled from now on. */
  beginPacket(): void {
    this.packet++;
  }

  /** Messages [sequence, sequence + count) of a stream are in the packet that is being filled, and go into a later one, too. */
  add(stream: number, sequence: number, count: number, dueAt: Micros): void {
    this.push(stream, sequence, count, dueAt, false);
  }

  /** A probe brings them: they go into the next packet, which is to be sent now. */
  addProbed(stream: number, sequence: number, count: number, now: Micros): void {
    this.push(stream, sequence, count, now, true);
    this.onTimeout(now);
  }

  /** Whether the oldest may go into the packet that is being filled. */
  get isReady(): boolean {
    return this.count > 0 && this.runs[this.head + PACKET] < this.packet;
  }

  /** Stream, first sequence and number of messages of the oldest, and whether a probe brings them. */
  get stream(): number {
    return this.runs[this.head];
  }

  get sequence(): number {
    return this.runs[this.head + SEQUENCE];
  }

  get messages(): number {
    return this.runs[this.head + MESSAGES];
  }

  get isProbed(): boolean {
    return this.runs[this.head + PROBED] !== 0;
  }

  /** The oldest was sent, or needs no copy. */
  shift(now: Micros): void {
    this.head = (this.head + FIELDS) % this.runs.length;
    this.count--;
    this.shifts++;
    this.dueAt = NEVER;
    for (let k = 0; k < this.count; k++) {
      this.dueAt = Math.min(this.dueAt, this.runs[((this.head + FIELDS * k) % this.runs.length) + DUE_AT]);
    }
    this.onTimeout(now);
  }

  private push(stream: number, sequence: number, count: number, dueAt: Micros, isProbed: boolean): void {
    if (this.count === RUNS_MAX) return;
    if (this.runs.length === 0) this.runs = new Float64Array(FIELDS * RUNS_MAX);
    const { runs } = this;
    const i = (this.head + FIELDS * this.count++) % runs.length;
    runs[i] = stream;
    runs[i + SEQUENCE] = sequence;
    runs[i + MESSAGES] = count;
    runs[i + PACKET] = this.packet;
    runs[i + DUE_AT] = dueAt;
    runs[i + PROBED] = isProbed ? 1 : 0;
    if (dueAt < this.dueAt) this.dueAt = dueAt;
  }
}

const NO_RUNS = new Float64Array(0);
const FIELDS = 6;
const SEQUENCE = 1;
const MESSAGES = 2;
const PACKET = 3;
const DUE_AT = 4;
const PROBED = 5;
const RUNS_MAX = 64;
