import { MILLISECOND, type Micros, NEVER, SECOND } from '../../base/time.ts';
import type { RttEstimator } from '../path/rtt.ts';

/**
 * Notices at a client that packets, which came one after the other, come no more. Perhaps its NAT gave it another address: then what is sent
 * to the old one is lost, and the server learns of the new one by the client's next packet only, which may have nothing to say. So it asks
 * then, once. [CON-90]
 *
 * What comes no more is told from a pause by the rhythm in which packets came: by half a round trip where many came within one, and by a
 * quarter more than the longest of the latest pauses in any case. A flow of bursts is asked about at both times: the first finds the burst that
 * breaks off, the second the one that does not come.
 */
export class FlowWatch {
  private readonly rtt: RttEstimator;
  /** Packets of the round trip that began then. */
  private count = 0;
  private countedFrom: Micros = 0;
  /** Many packets came within a round trip, and their end was not asked about. */
  private isDense = false;
  /** Any packet came, and one with more than acknowledgements: others come in the rhythm of what this side sends. */
  private receivedAt: Micros = 0;
  private flowedAt: Micros = -PAUSE_MAX;
  private askedAt: Micros = -INTERVAL_MIN;
  /** Packets since the last pause that was too long for a flow, up to {@link PACKETS_MIN}. */
  private run = 0;
  /** The packet that is due by the rhythm was asked for. */
  isAsked = false;
  /** The longest pause of the latest ones, when it ended, and the longest since then. */
  private pause: Micros = 0;
  private pauseEndedAt: Micros = 0;
  private pauseSince: Micros = 0;

  constructor(rtt: RttEstimator) {
    this.rtt = rtt;
  }

  /** A packet came. `isEliciting`: with more than acknowledgements. */
  onReceived(isEliciting: boolean, now: Micros): void {
    this.receivedAt = now;
    if (!isEliciting) return;
    this.notePause(now - this.flowedAt, now);
    this.flowedAt = now;
    this.isAsked = false;
    if (now - this.countedFrom > this.rtt.smoothed) {
      this.isDense = this.count >= PACKETS_MIN;
      this.countedFrom = now;
      this.count = 0;
    }
    if (++this.count >= PACKETS_MIN) this.isDense = true;
  }

  /** When the silence is to be asked about; NEVER where there was no flow. */
  get deadline(): Micros {
    const isDue = this.run >= PACKETS_MIN && !this.isAsked;
    if (!this.isDense && !isDue) return NEVER;
    const { smoothed } = this.rtt;
    const silence = Math.max(smoothed / 2, SILENCE_MIN);
    let deadline = NEVER;
    if (this.isDense) deadline = this.receivedAt + silence;
    if (isDue) deadline = Math.min(deadline, this.dueAt(silence));
    return Math.max(deadline, this.askedAt + Math.max(smoothed, INTERVAL_MIN));
  }

  /** True when the server is to be asked now. */
  onTimeout(now: Micros): boolean {
    if (now < this.deadline) return false;
    this.isDense = false;
    this.count = 0;
    if (now >= this.dueAt(Math.max(this.rtt.smoothed / 2, SILENCE_MIN))) this.isAsked = true;
    // A silence that long is none that this is for, but one in which we did not look.
    if (now - this.receivedAt > SILENCE_MAX) return false;
    this.askedAt = now;
    return true;
  }

  /** When the next packet is late by the rhythm of those before. */
  private dueAt(silence: Micros): Micros {
    return this.flowedAt + Math.max(LATE * this.pause, silence);
  }

  /** Keeps the longest pause of the latest ones: one counts for the time of four like it, and then the longest since then does. */
  private notePause(pause: Micros, now: Micros): void {
    if (pause > PAUSE_MAX) {
      this.run = 1;
      this.pause = 0;
      this.pauseSince = 0;
      return;
    }
    if (this.run < PACKETS_MIN) this.run++;
    if (pause >= this.pause) {
      this.pause = pause;
      this.pauseEndedAt = now;
      this.pauseSince = 0;
      return;
    }
    if (pause > this.pauseSince) this.pauseSince = pause;
    if (now - this.pauseEndedAt <= PAUSES_KEPT * this.pause) return;
    this.pause = this.pauseSince;
    this.pauseEndedAt = now;
    this.pauseSince = 0;
  }
}

/** So many packets, in a round trip or with no longer pause than {@link PAUSE_MAX}, are a flow. */
const PACKETS_MIN = 6;
/** What comes with longer pauses has no rhythm that is worth a packet. */
const PAUSE_MAX: Micros = SECOND;
const PAUSES_KEPT = 4;
/** A packet that did not come for so many times the longest pause is late. */
const LATE = 1.25;
const SILENCE_MIN: Micros = 5 * MILLISECOND;
const SILENCE_MAX: Micros = 2 * SECOND;
/** What comes in bursts breaks off all the time: it is asked about once a round trip, and no more often than this. */
const INTERVAL_MIN: Micros = 20 * MILLISECOND;
