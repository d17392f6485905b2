/**
 * The deliveries with QoS 1 of one subscription, until they are settled: which are to be acknowledged, in as few commands as a turn allows, which are still
 * worked on, and where to go on after a connection has ended. [CLT-22, CLT-27]
 *
 * A connection is a round. What was not settled when one ended is carried over: the broker delivers it again, and what the application says of it
 * meanwhile still counts, for as long as an offset names the same message.
 */

import { MILLISECOND } from '../base/time.ts';
import {
  encodeAck,
  encodeAckRanges,
  encodeNack,
  NACK_BACKOFF,
  NACK_NEVER,
  offsetOf,
} from '../pubsub/acknowledgement.ts';
import { ACK_RANGES_MAX, AckFlag } from '../pubsub/command.ts';
import type { Clock, TimerHandle } from '../udp/clock.ts';
import { Delivery, type NackOptions, Outcome, type Settler } from './message.ts';

/** Where a subscription goes on. */
export interface Resumption {
  readonly epoch: number;
  readonly offset: number;
}

/** Sends a command to the broker. */
type Send = (command: Uint8Array) => void;

export class Settling implements Settler {
  private readonly ackWaitMs: number;
  /** The application does not say itself what it still works on. */
  private readonly isAutomatic: boolean;
  private readonly clock: Clock;
  private readonly onSettled: () => void;
  /** Null between two connections. */
  private send: Send | null = null;
  private round = 0;
  private epoch = 0;
  /** The next offset that may come for the first time; 0: not known. */
  private next = 0;
  /** What was below this when the last round ended was settled then, unless it is carried; 0: the broker knows by itself. */
  private settledBelow = 0;
  private readonly unsettled = new Map<number, Delivery>();
  private readonly carried = new Map<number, Delivery>();
  /** Refused, and not delivered again yet: only a broker that lives on does that by itself. */
  private readonly refused = new Set<number>();
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
  get handedOver(): readonly Delivery[] {
    const both = [...this.carried.values(), ...this.unsettled.values()];
    return both.filter(({ isHandedOver, isSettled }) => isHandedOver && !isSettled);
  }

  /** What the application has settled, and the broker does not know: its connection has ended meanwhile. */
  get owesAnswers(): boolean {
    for (const { isSettled } of this.carried.values()) if (isSettled) return true;
    return false;
  }

  /** Where to go on; null before anything is known. */
  get resumption(): Resumption | null {
    if (this.next === 0) return null;
    let offset = this.next;
    for (const { offset: open, isSettled } of this.carried.values()) {
      if (!isSettled && open < offset) offset = open;
    }
    for (const open of this.refused) if (open < offset) offset = open;
    return { epoch: this.epoch, offset };
  }

  /**
   * The broker delivers again, from `next` on.
   *
   * @param isRecovered - it goes on where this subscription was
   * @param isByOffset - because it was told where that is, and knows nothing of what was settled behind it
   */
  begin(
    send: Send,
    { epoch, next }: { epoch: number; next: number },
    isRecovered: boolean,
    isByOffset: boolean,
  ): void {
    this.send = send;
    const goesOn = isRecovered && epoch === this.epoch;
    this.epoch = epoch;
    if (!goesOn) {
      this.carried.clear();
      this.refused.clear();
      this.next = next;
    }
    this.settledBelow = goesOn && isByOffset ? this.next : 0;
    for (const { offset, isSettled } of this.carried.values()) if (isSettled) this.acknowledge(offset);
  }

  /** The connection is over. What comes on the next one is another round. */
  breakOff(): void {
    this.send = null;
    this.round++;
    this.acks = [];
    this.stopProgress();
    for (const [offset, delivery] of this.unsettled) this.carried.set(offset, delivery);
    this.unsettled.clear();
    for (const offset of this.carried.keys()) {
      if (this.carried.size <= CARRIED_MAX) break;
      this.carried.delete(offset);
    }
  }

  /** True where the log is another one from here on. */
  onPosition(epoch: number, offset: number): boolean {
    const isOther = this.epoch !== 0 && epoch !== this.epoch;
    if (isOther) {
      this.unsettled.clear();
      this.carried.clear();
      this.refused.clear();
      this.settledBelow = 0;
      this.next = offset;
    }
    this.epoch = epoch;
    this.next = Math.max(this.next, offset);
    return isOther;
  }

  /** The delivery that came; null when the application has settled that message on an earlier connection, so that it is acknowledged and no more. */
  receive(command: Buffer, topicEnd: number, id: number): Delivery | null {
    const offset = offsetOf(id, this.next);
    const before = this.carried.get(offset);
    const wasRefused = this.refused.delete(offset);
    this.next = Math.max(this.next, offset + 1);
    if (before?.isSettled || (before === undefined && !wasRefused && offset < this.settledBelow)) {
      this.carried.delete(offset);
      this.acknowledge(offset);
      return null;
    }
    const delivery = new Delivery(command, topicEnd, this, { offset, epoch: this.epoch, round: this.round });
    if (before?.isHandedOver || before?.isRedelivered || wasRefused) delivery.isRedelivered = true;
    this.carried.delete(offset);
    this.unsettled.set(offset, delivery);
    if (this.progressTimer === null) this.tellProgressLater();
    return delivery;
  }

  settle(delivery: Delivery, outcome: Outcome, { delayMs, reason }: NackOptions): boolean {
    if (delivery.isSettled || delivery.epoch !== this.epoch) return false;
    const { offset } = delivery;
    const current = this.unsettled.get(offset);
    if (current === undefined) return this.settleCarried(delivery, outcome);
    if (outcome === Outcome.NACK) {
      if (current !== delivery) return false; // it has come again already
      this.write(encodeNack(idOf(offset), delayMs ?? NACK_BACKOFF, reason ?? ''));
      this.refused.add(offset);
      for (const oldest of this.refused) {
        if (this.refused.size <= CARRIED_MAX) break;
        this.refused.delete(oldest);
      }
    } else if (outcome === Outcome.ACK) this.acknowledge(offset);
    else if (reason === undefined) this.write(encodeAck(idOf(offset), AckFlag.TERMINATE));
    else this.write(encodeNack(idOf(offset), NACK_NEVER, reason));
    delivery.isSettled = true;
    current.isSettled = true; // where that is another delivery of the same message, nobody needs to get it any more
    this.unsettled.delete(offset);
    this.onSettled();
    return true;
  }

  progress(delivery: Delivery): boolean {
    if (delivery.isSettled || this.unsettled.get(delivery.offset) !== delivery) return false;
    this.write(encodeAck(idOf(delivery.offset), AckFlag.PROGRESS));
    return true;
  }

  /** Sends the acknowledgements of this turn. */
  flush(): void {
    const { acks } = this;
    if (acks.length === 0) return;
    this.acks = [];
    if (acks.length === 1) return this.write(encodeAck(idOf(acks[0])));
    this.writeRanges(acks, 0);
  }

  /** The subscription is over. */
  end(): void {
    this.flush();
    this.send = null;
    this.stopProgress();
    this.unsettled.clear();
    this.carried.clear();
  }

  /** Of a message that came by a connection that is over: the broker hears of it when it still has it under this offset. */
  private settleCarried(delivery: Delivery, outcome: Outcome): boolean {
    if (this.carried.get(delivery.offset) !== delivery || outcome !== Outcome.ACK) return false;
    delivery.isSettled = true;
    if (this.send !== null) this.acknowledge(delivery.offset);
    return true;
  }

  private acknowledge(offset: number): void {
    if (this.acks.push(offset) > 1) return;
    const flush = () => this.flush();
    if (this.clock.atEndOfTick) this.clock.atEndOfTick(flush);
    else this.clock.soon(flush);
  }

  private writeRanges(offsets: number[], flags: number): void {
    offsets.sort((a, b) => a - b);
    let ranges: [first: number, count: number][] = [];
    let end = -1;
    for (const offset of offsets) {
      const last = ranges.at(-1);
      if (last !== undefined && offset === end && idOf(offset) !== 0) last[1]++;
      else if (offset !== end - 1) {
        if (ranges.length === ACK_RANGES_MAX) {
          this.write(encodeAckRanges(ranges, flags));
          ranges = [];
        }
        ranges.push([idOf(offset), 1]);
      }
      end = offset + 1;
    }
    this.write(encodeAckRanges(ranges, flags));
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
      if (worked.length > 0) this.writeRanges(worked, AckFlag.PROGRESS);
      if (this.unsettled.size > 0) this.tellProgressLater();
    });
  }

  private stopProgress(): void {
    if (this.progressTimer !== null) this.clock.clearTimer(this.progressTimer);
    this.progressTimer = null;
  }

  private write(command: Uint8Array): void {
    this.send?.(command);
  }
}

/** What the broker calls a message on the wire. */
function idOf(offset: number): number {
  return offset % 2 ** 32;
}

/** Progress is told this often within the time to acknowledge. */
const PROGRESS_PARTS = 3;
/** Messages of connections that are over that are remembered. */
const CARRIED_MAX = 65_536;
