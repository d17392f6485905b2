import { MILLISECOND, type Micros, NEVER, SECOND } from '../../base/time.ts';
import { SIZE_BASE } from '../path/mtu-discovery.ts';
import type { RttEstimator } from '../path/rtt.ts';

/**
 * Notices at a client that packets, which came one after the other, come no more. Perhaps its NAT gave it another address: then what is sent
 * to the old one is lost, and the server learns of the new one by the client's next packet only, which may have nothing to say. So it asks
 * then, where it says nothing by itself. [CON-90]
 *
 * What comes no more is told from a pause by the rhythm in which packets came: by half a round trip where many came within one, and by a
 * quarter more than the longest of the latest pauses in any case. A flow of bursts is asked about at both times: the first finds the burst that
 * breaks off, the second the one that does not come. Where pauses are of different lengths, the next packet may be due long before the longest
 * of them is over: then it asks several times in between, unless that would take more than a few packets.
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
  /** The last question, which may wait for room in the window and is not sent yet. */
  private askedAt: Micros = -INTERVAL_MIN;
  /** Packets since the last pause that was too long for a flow, up to {@link PACKETS_MIN}. */
  private run = 0;
  /** The packet that is due by the rhythm was asked for. */
  private isAsked = false;
  /** The longest pause of the latest ones, when it ended, and the longest since then. */
  private pause: Micros = 0;
  private pauseEndedAt: Micros = 0;
  private pauseSince: Micros = 0;
  /** The shortest of {@link PAUSES_A_GROUP} pauses between bursts, of as many as there were since then, and how many these are. */
  private shortestBefore: Micros = NEVER;
  private shortestSince: Micros = NEVER;
  private pausesSince = 0;
  /** Size of a large one of the latest packets, in bytes of UDP payload: smaller ones move it down slowly. */
  private largest = 0;
  /** The silence was asked about so many times before the longest pause was over. */
  private asked = 0;

  constructor(rtt: RttEstimator) {
    this.rtt = rtt;
  }

  /** A packet of so many bytes came. `isEliciting`: with more than acknowledgements. */
  onReceived(isEliciting: boolean, bytes: number, now: Micros): void {
    this.receivedAt = now;
    if (!isEliciting) return;
    this.notePause(now - this.flowedAt, now);
    this.largest = Math.max(bytes, this.largest - (this.largest - bytes) / SLOWLY);
    this.flowedAt = now;
    this.isAsked = false;
    this.asked = 0;
    if (now - this.countedFrom > this.rtt.smoothed) {
      this.isDense = this.count >= PACKETS_MIN;
      this.countedFrom = now;
      this.count = 0;
    }
    if (++this.count >= PACKETS_MIN) this.isDense = true;
  }

  /**
   * When the silence is to be asked about; NEVER where there was no flow.
   *
   * @param saidAt - when this side last sent more than acknowledgements: that told the server where it is as well as a question does
   */
  deadline(saidAt: Micros): Micros {
    const isDue = this.run >= PACKETS_MIN && !this.isAsked;
    if (!this.isDense && !isDue) return NEVER;
    const { smoothed } = this.rtt;
    const silence = Math.max(smoothed / 2, SILENCE_MIN);
    let deadline = NEVER;
    if (this.isDense) deadline = this.receivedAt + silence;
    if (isDue) deadline = Math.min(deadline, this.nextAskAt(silence));
    return Math.max(deadline, Math.max(this.askedAt, saidAt) + Math.max(smoothed, INTERVAL_MIN));
  }

  /**
   * Bytes of the packet with which the server is to be asked now, before padding if they are 0; -1 when it is not to be asked. It may answer
   * with three times as much: two challenges, one of which may be lost, that each have room for a packet that did not come. [CON-91]
   */
  onTimeout(saidAt: Micros, now: Micros): number {
    if (now < this.deadline(saidAt)) return -1;
    this.isDense = false;
    this.count = 0;
    const silence = Math.max(this.rtt.smoothed / 2, SILENCE_MIN);
    let bytes = 0;
    if (now >= this.dueAt(silence)) {
      this.isAsked = true;
      bytes = SIZE_BASE;
    } else if (this.run >= PACKETS_MIN && now >= this.nextAskAt(silence)) {
      this.asked++;
      bytes = Math.ceil(((this.largest + CHALLENGE_ROOM) * 2) / 3);
    }
    // A silence that long is none that this is for, but one in which we did not look.
    if (now - this.receivedAt > SILENCE_MAX) return -1;
    this.askedAt = now;
    return bytes;
  }

  /** When the next packet is late by the rhythm of those before. */
  private dueAt(silence: Micros): Micros {
    return this.flowedAt + Math.max(LATE * this.pause, silence);
  }

  /** When the silence is to be asked about next: at the latest when the packet is late, sooner where it may be due sooner. */
  private nextAskAt(silence: Micros): Micros {
    const { asked, flowedAt, pause } = this;
    const dueAt = this.dueAt(silence);
    if (Math.min(this.shortestBefore, this.shortestSince) > RHYTHM * pause) return dueAt;
    const step = Math.max(STEP_RTTS * this.rtt.smoothed, INTERVAL_MIN);
    // Shorter ones may come again than those few.
    const from = flowedAt + pause / 4;
    return from + ASKED_MAX * step < dueAt ? dueAt : Math.min(from + (asked + 1) * step, dueAt);
  }

  /** Keeps the longest pause of the latest ones: one counts for the time of four like it, and then the longest since then does. */
  private notePause(pause: Micros, now: Micros): void {
    if (pause > PAUSE_MAX) {
      this.run = 1;
      this.pause = 0;
      this.pauseSince = 0;
      this.shortestBefore = NEVER;
      this.shortestSince = NEVER;
      this.pausesSince = 0;
      return;
    }
    if (pause > this.rtt.smoothed / 2) this.noteShortest(pause);
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

  /** A pause that is longer than those between the packets of a burst. */
  private noteShortest(pause: Micros): void {
    if (pause < this.shortestSince) this.shortestSince = pause;
    if (++this.pausesSince < PAUSES_A_GROUP) return;
    this.shortestBefore = this.shortestSince;
    this.shortestSince = NEVER;
    this.pausesSince = 0;
  }
}

/** So many packets, in a round trip or with no longer pause than {@link PAUSE_MAX}, are a flow. */
const PACKETS_MIN = 6;
/** What comes with longer pauses has no rhythm that is worth a packet. */
const PAUSE_MAX: Micros = SECOND;
const PAUSES_KEPT = 4;
/** Pauses of which the shortest is no less than this share of the longest are a rhythm. */
const RHYTHM = 0.75;
/** The shortest pause counts for so many, and no longer than twice as many. */
const PAUSES_A_GROUP = 4;
/** A packet that did not come for so many times the longest pause is late. */
const LATE = 1.25;
/** Share of a difference by which what is remembered follows. */
const SLOWLY = 8;
/** A message that is lost waits for that many round trips to be asked for, and one until it is there: less than three. */
const STEP_RTTS = 1.25;
/** Where more would be needed before the longest pause is over, there is no rhythm that is worth them. */
const ASKED_MAX = 5;
/** What a challenge has besides what did not come: PATH_CHALLENGE and an ACK of some ranges. */
const CHALLENGE_ROOM = 48;
const SILENCE_MIN: Micros = 5 * MILLISECOND;
const SILENCE_MAX: Micros = 2 * SECOND;
/** What comes in bursts breaks off all the time: it is asked about once a round trip, and no more often than this. */
const INTERVAL_MIN: Micros = 20 * MILLISECOND;
