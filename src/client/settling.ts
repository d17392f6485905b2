/**
 * The deliveries with QoS 1 of one subscription, until they are settled: which are to be acknowledged, in as few commands as a turn allows, which are still
 * worked on, and where to go on after a connection has ended. [CLT-22, CLT-27]
 *
 * A connection is a round. What was not settled when one ended is carried over: the broker delivers it again, and what the application says of it
 * meanwhile still counts, for as long as an offset names the same message.
 */

import { MILLISECOND } from '../base/time.ts';
import type { Clock, TimerHandle } from '../udp/clock.ts';
import { type NackOptions, Outcome, Settlement, type Settler } from './message.ts';

/** Where a subscription goes on. */
export interface Resumption {
  readonly epoch: number;
  readonly offset: number;
}

/** Says to the broker, on one connection, what is with deliveries. Offsets are in no order. */
export interface Acknowledger {
  ack(offsets: number[]): void;
  /** They are worked on. */
  progress(offsets: number[]): void;
  /** @param delayMs - undefined: as the subscription's back-off says */
  nack(offset: number, delayMs: number | undefined, reason: string): void;
  /** Never again. */
  terminate(offset: number, reason: string | undefined): void;
}

export class Settling implements Settler {
  private readonly ackWaitMs: number;
  /** The application does not say itself what it still works on. */
  private readonly isAutomatic: boolean;
  private readonly clock: Clock;
  private readonly onSettled: () => void;
  /** Null between two connections. */
  private broker: Acknowledger | null = null;
  private epoch = 0;
  private next = 0;
  private nackedMax = CARRIED_MAX;
  /** What was below this when the last round ended was settled then, unless it is carried; 0: the broker knows by itself. */
  private settledBelow = 0;
  private readonly unsettled = new Map<number, Settlement>();
  /** Of this round, that are to come again. Where a group shares them, few of them come to this member, and the others would be kept for good. */
  private readonly nacked = new Map<number, Settlement>();
  private readonly carried = new Map<number, Settlement>();
  private acks: number[] = [];
  private progressTimer: TimerHandle | null = null;

  /** @param onSettled - called each time that there is one less to settle */
  constructor(ackWaitMs: number, isAutomatic: boolean, clock: Clock, onSettled: () => void) {
    this.ackWaitMs = ackWaitMs;
    this.isAutomatic = isAutomatic;
    this.clock = clock;
    this.onSettled = onSettled;
  }

  /** Deliveries that were not settled, of this round and those that are carried over. */
  get count(): number {
    let count = this.unsettled.size;
    for (const { isSettled } of this.carried.values()) if (!isSettled) count++;
    return count;
  }

  /** Those of the present connection. */
  get inFlight(): number {
    return this.unsettled.size;
  }

  /** Those of them that the application has. */
  get handedOver(): readonly Settlement[] {
    const both = [...this.carried.values(), ...this.unsettled.values()];
    return both.filter(({ isHandedOver, isSettled }) => isHandedOver && !isSettled);
  }

  /** What the application has settled, and the broker does not know: its connection has ended meanwhile. */
  get owesAnswers(): boolean {
    for (const { isDone } of this.carried.values()) if (isDone) return true;
    return false;
  }

  /** The next offset that may come for the first time; 0: not known. */
  get expected(): number {
    return this.next;
  }

  /** Where to go on; null before anything is known. */
  get resumption(): Resumption | null {
    if (this.next === 0) return null;
    let offset = this.next;
    for (const { offset: open, isDone } of this.carried.values()) if (!isDone && open < offset) offset = open;
    return { epoch: this.epoch, offset };
  }

  /**
   * The broker delivers again, from `next` on.
   *
   * @param isRecovered - it goes on where this subscription was
   * @param isByOffset - because it was told where that is, and knows nothing of what was settled behind it
   * @param isShared - with others, of whom each may be given what this one has given back
   */
  begin(
    broker: Acknowledger,
    { epoch, next }: { epoch: number; next: number },
    isRecovered: boolean,
    isByOffset: boolean,
    isShared = false,
  ): void {
    this.broker = broker;
    this.nackedMax = isShared ? GROUP_NACKED_MAX : CARRIED_MAX;
    const goesOn = isRecovered && epoch === this.epoch;
    this.epoch = epoch;
    if (!goesOn) {
      this.carried.clear();
      this.next = next;
    }
    this.settledBelow = goesOn && isByOffset ? this.next : 0;
    for (const { offset, isDone } of this.carried.values()) if (isDone) this.acknowledge(offset);
  }

  /** The connection is over. What comes on the next one is another round. */
  breakOff(): void {
    this.broker = null;
    this.acks = [];
    this.stopProgress();
    for (const settlements of [this.unsettled, this.nacked]) {
      for (const [offset, settlement] of settlements) this.carried.set(offset, settlement);
      settlements.clear();
    }
    bound(this.carried, CARRIED_MAX);
  }

  /** True where the log is another one from here on. */
  onPosition(epoch: number, offset: number): boolean {
    const isOther = this.epoch !== 0 && epoch !== this.epoch;
    if (isOther) {
      this.forget();
      this.next = offset;
    }
    this.epoch = epoch;
    this.next = Math.max(this.next, offset);
    return isOther;
  }

  /**
   * A message has come.
   *
   * @returns null when the application has settled it on an earlier connection, so that it is acknowledged and no more
   */
  receive(offset: number, isRedelivered: boolean, topic: string): Settlement | null {
    const before = this.carried.get(offset);
    this.next = Math.max(this.next, offset + 1);
    if (before?.isDone || (before === undefined && this.wasDone(offset))) {
      this.carried.delete(offset);
      this.acknowledge(offset);
      return null;
    }
    // What was to come again has come before this, or it is not in the log any more.
    if (this.settledBelow > 0 && offset >= this.settledBelow) this.endCarrying();
    const wasHad = before?.isHandedOver || before?.isRedelivered || before?.isSettled;
    const settlement = new Settlement(this, topic, offset, this.epoch, isRedelivered || wasHad === true);
    this.carried.delete(offset);
    this.nacked.delete(offset);
    this.unsettled.set(offset, settlement);
    if (this.progressTimer === null) this.tellProgressLater();
    return settlement;
  }

  settle(settlement: Settlement, outcome: Outcome, { delayMs, reason }: NackOptions): boolean {
    if (settlement.isSettled || settlement.epoch !== this.epoch) return false;
    const { offset } = settlement;
    const current = this.unsettled.get(offset);
    if (current === undefined) return this.settleCarried(settlement, outcome);
    if (outcome === Outcome.NACK) {
      if (current !== settlement) return false; // it has come again already
      this.broker?.nack(offset, delayMs, reason ?? '');
      this.nacked.set(offset, settlement);
      bound(this.nacked, this.nackedMax);
    } else if (outcome === Outcome.ACK) this.acknowledge(offset);
    else this.broker?.terminate(offset, reason);
    settlement.isSettled = true;
    settlement.isDone = outcome !== Outcome.NACK;
    current.isSettled = true; // where that is another delivery of the same message, nobody needs to get it any more
    this.unsettled.delete(offset);
    this.onSettled();
    return true;
  }

  progress(settlement: Settlement): boolean {
    if (settlement.isSettled || this.unsettled.get(settlement.offset) !== settlement) return false;
    this.broker?.progress([settlement.offset]);
    return true;
  }

  /** Sends the acknowledgements of this turn. */
  flush(): void {
    const { acks } = this;
    if (acks.length === 0) return;
    this.acks = [];
    this.broker?.ack(acks);
  }

  /** The subscription is over. */
  end(): void {
    this.flush();
    this.broker = null;
    this.stopProgress();
    this.forget();
  }

  private forget(): void {
    this.unsettled.clear();
    this.nacked.clear();
    this.endCarrying();
  }

  private endCarrying(): void {
    this.carried.clear();
    this.settledBelow = 0;
  }

  /** It was done on an earlier connection, and comes again because only this side knew. */
  private wasDone(offset: number): boolean {
    return offset < this.settledBelow && !this.unsettled.has(offset) && !this.nacked.has(offset);
  }

  /** Of a message that came by a connection that is over: the broker hears of it when it still has it under this offset. */
  private settleCarried(settlement: Settlement, outcome: Outcome): boolean {
    if (this.carried.get(settlement.offset) !== settlement || outcome !== Outcome.ACK) return false;
    settlement.isSettled = true;
    settlement.isDone = true;
    if (this.broker !== null) this.acknowledge(settlement.offset);
    return true;
  }

  private acknowledge(offset: number): void {
    if (this.acks.push(offset) > 1) return;
    const flush = () => this.flush();
    if (this.clock.atEndOfTick) this.clock.atEndOfTick(flush);
    else this.clock.soon(flush);
  }

  /** The time to acknowledge begins when a message leaves the broker, also of those that wait here. [CLT-23] */
  private tellProgressLater(): void {
    const at = this.clock.now() + (this.ackWaitMs / PROGRESS_PARTS) * MILLISECOND;
    this.progressTimer = this.clock.setTimer(at, () => {
      this.progressTimer = null;
      const worked: number[] = [];
      for (const [offset, { isHandedOver }] of this.unsettled) {
        if (this.isAutomatic || !isHandedOver) worked.push(offset);
      }
      if (worked.length > 0) this.broker?.progress(worked);
      if (this.unsettled.size > 0) this.tellProgressLater();
    });
  }

  private stopProgress(): void {
    if (this.progressTimer !== null) this.clock.clearTimer(this.progressTimer);
    this.progressTimer = null;
  }
}

/** Those that have been there for longest go: nothing grows without a bound. */
function bound(byOffset: Map<number, Settlement>, max: number): void {
  for (const offset of byOffset.keys()) {
    if (byOffset.size <= max) break;
    byOffset.delete(offset);
  }
}

/** Progress is told this often within the time to acknowledge. */
const PROGRESS_PARTS = 3;
/** Messages of connections that are over that are remembered. */
const CARRIED_MAX = 65_536;
/** Given back to a group. */
const GROUP_NACKED_MAX = 256;
