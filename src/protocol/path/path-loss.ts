import { type Micros, SECOND } from '../../base/time.ts';

/**
 * How a path loses packets: the share of the ack-eliciting packets of the application space that were settled lately, how its losses
 * bunch, and whether that is enough to act on. Recovery tells every packet once when it is settled, and once more when a loss proves to be
 * spurious; a packet that others recovered is told as lost, for the path did not carry it. [REC-55]
 *
 * Until a packet is lost this is a count; the records that a loss needs are made with it, and let go when the path is clean again.
 */
export class PathLoss {
  /** The path loses packets that nobody's queue explains, and has not stopped doing so. [REC-56] */
  isLossy = false;

  private records: SettledPackets | null = null;
  /** Packets acknowledged while there are no records; no more than records could hold. */
  private acked = 0;
  /** When the rate last was too high for {@link isLossy} to end. */
  private highAt: Micros = 0;

  /** p: the share lost of the packets that count, 0 to 1. */
  get rate(): number {
    const { records } = this;
    return records === null ? 0 : records.lost / records.recent;
  }

  /** pu: the rate, and one standard deviation of it, so that few packets say less than many. */
  get rateUpper(): number {
    const { records } = this;
    if (records === null) return 0;
    const p = records.lost / records.recent;
    return Math.min(1, p + Math.sqrt((p * (1 - p)) / records.recent));
  }

  /** B: mean length of a run of lost numbers; 1 when nothing is lost. */
  get runPackets(): number {
    const { records } = this;
    return records === null || records.runs === 0 ? 1 : records.lost / records.runs;
  }

  /** Bt: mean time from the first packet of such a run to the last, as they were sent. */
  get runTime(): Micros {
    const { records } = this;
    return records === null || records.runs === 0 ? 0 : records.runsTime / records.runs;
  }

  /** A packet is acknowledged. */
  onAcked(number: number, now: Micros): void {
    const { records } = this;
    if (records === null) {
      if (this.acked < PACKETS_MAX) this.acked++;
      return;
    }
    records.push(number, now, ACKED, 0);
    if (records.lost * RATE_OFF_INVERSE >= records.recent) this.highAt = now;
    else if (now - this.highAt >= OFF_TIME) this.onClean(records);
  }

  /**
   * A packet is declared lost; those of one pass are told oldest first.
   *
   * @param isCalm - it was sent when the round-trip time showed no queue: the loss is not of our making
   */
  onLost(number: number, sentTime: Micros, isCalm: boolean, now: Micros): void {
    this.records ??= new SettledPackets(this.acked, now);
    const { records } = this;
    records.pushLost(number, sentTime, isCalm, now);
    this.highAt = now;
    if (records.calm >= CALM_LOSSES_ON && this.rateUpper >= RATE_ON) this.isLossy = true;
  }

  /** A packet that was declared lost is acknowledged. */
  onSpurious(number: number): void {
    this.records?.takeBack(number);
  }

  /** The rate has been low for long. */
  private onClean(records: SettledPackets): void {
    this.isLossy = false;
    if (records.lost > 0 || records.calm > 0) return;
    this.records = null;
    this.acked = PACKETS_MAX;
  }
}

/** The packets settled last, as columns in the order in which they were settled. */
class SettledPackets {
  /** Of the packets that count: how many there are, how many are lost, in how many runs of how much time together. */
  recent = 0;
  lost = 0;
  runs = 0;
  runsTime: Micros = 0;
  /** Calm losses of all that is kept. */
  calm = 0;

  private readonly numbers = new Float64Array(PACKETS_MAX);
  private readonly settledAt = new Float64Array(PACKETS_MAX);
  /** What a lost packet adds to the time of its run. */
  private readonly addedTime = new Float64Array(PACKETS_MAX);
  private readonly marks = new Uint8Array(PACKETS_MAX);
  /** Where the next one goes. */
  private head = 0;
  private lastLost = NONE;
  private lastLostSentTime: Micros = 0;

  /** @param acked - so many packets were acknowledged before, of which nothing more is known */
  constructor(acked: number, now: Micros) {
    for (let k = 0; k < acked; k++) this.push(-1, now, ACKED, 0);
  }

  push(number: number, now: Micros, mark: number, addedTime: Micros): void {
    const { head, settledAt } = this;
    if (this.recent === PACKETS_MAX) this.leave();
    if ((this.marks[head] & CALM) !== 0) this.calm--;
    this.numbers[head] = number;
    settledAt[head] = now;
    this.addedTime[head] = addedTime;
    this.marks[head] = mark;
    this.head = (head + 1) & MASK;
    this.recent++;
    while (this.recent > PACKETS_MIN && settledAt[this.tail] + TIME_MAX <= now) this.leave();
  }

  pushLost(number: number, sentTime: Micros, isCalm: boolean, now: Micros): void {
    let mark: number = isCalm ? LOST | CALM : LOST;
    let addedTime = 0;
    if (number === this.lastLost + 1) addedTime = sentTime - this.lastLostSentTime;
    else mark |= STARTS_RUN;
    this.lastLost = number;
    this.lastLostSentTime = sentTime;
    this.lost++;
    if ((mark & STARTS_RUN) !== 0) this.runs++;
    this.runsTime += addedTime;
    if (isCalm) this.calm++;
    this.push(number, now, mark, addedTime);
  }

  /** The packet of this number is not lost after all. */
  takeBack(number: number): void {
    const i = this.placeOfLost(number);
    if (i < 0) return;
    if (this.lastLost === number) this.lastLost = NONE;
    if ((this.marks[i] & CALM) !== 0) this.calm--;
    if (this.isRecent(i)) this.uncount(i);
    this.marks[i] = ACKED;
    // the run goes on behind it as one of its own
    const next = this.placeOfLost(number + 1);
    if (next < 0 || (this.marks[next] & STARTS_RUN) !== 0) return;
    if (this.isRecent(next)) {
      this.runs++;
      this.runsTime -= this.addedTime[next];
    }
    this.marks[next] |= STARTS_RUN;
    this.addedTime[next] = 0;
  }

  /** Place of the oldest packet that counts. */
  private get tail(): number {
    return (this.head - this.recent) & MASK;
  }

  /** The oldest packet that counts does so no more. */
  private leave(): void {
    this.uncount(this.tail);
    this.recent--;
  }

  private uncount(i: number): void {
    const mark = this.marks[i];
    if ((mark & LOST) === 0) return;
    this.lost--;
    if ((mark & STARTS_RUN) !== 0) this.runs--;
    this.runsTime -= this.addedTime[i];
  }

  private isRecent(i: number): boolean {
    return ((this.head - 1 - i) & MASK) < this.recent;
  }

  private placeOfLost(number: number): number {
    for (let i = 0; i < PACKETS_MAX; i++) {
      if (this.numbers[i] === number && (this.marks[i] & LOST) !== 0) return i;
    }
    return -1;
  }
}

/** Marks of a settled packet. */
const ACKED = 0;
const LOST = 0x01;
/** It was sent when no queue showed. */
const CALM = 0x02;
/** The number below it is not lost. */
const STARTS_RUN = 0x04;
/** No number follows it. */
const NONE = -2;
/** Packets that are kept, a power of two; the oldest makes room. */
const PACKETS_MAX = 256;
const MASK = PACKETS_MAX - 1;
/** Packets count for so long, the newest of them longer: a slow sender would see nothing else. */
const TIME_MAX: Micros = 2 * SECOND;
const PACKETS_MIN = 64;
/** [REC-56] Two losses on a calm path and 0.5 % begin it, less than 0.2 % for 10 s end it. */
const RATE_ON = 0.005;
const CALM_LOSSES_ON = 2;
const RATE_OFF_INVERSE = 500;
const OFF_TIME: Micros = 10 * SECOND;
