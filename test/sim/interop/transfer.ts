import type { Micros } from '../../../src/base/time.ts';
import type { ConnectionStream } from '../../../src/protocol/stream/connection-stream.ts';
import { SendResult } from '../../../src/protocol/stream/send/send-stream.ts';
import { Delivery, Priority } from '../../../src/protocol/wire/frame-type.ts';
import { contentOf } from '../content.ts';
import { Violation } from '../invariants.ts';

/** What a transfer sends: plain data, so that it can stand in a scenario's plan. */
export interface TransferPlan {
  /** Side by side, as far as the peer allows. */
  readonly streams: number;
  /** On each stream, one behind the other. */
  readonly messages: number;
  /** Of each message. */
  readonly bytes: number;
  /** `both`: the other side answers on each stream with as much. */
  readonly way: 'there' | 'back' | 'both';
  /** What the connecting side sends may go as early data. */
  readonly isEarly?: boolean;
}

/**
 * Reliable messages on ordered streams which the connecting side opens. What is checked of them: each comes once, whole, unchanged and in
 * order, and behind the last one its stream ends.
 */
export class Transfer {
  readonly plan: TransferPlan;
  readonly flows: readonly Flow[];
  /** When all had come. */
  doneAt: Micros = -1;
  /** Longest time in which nothing of it came, from its first message to its last. */
  longestGap: Micros = 0;
  private lastAt: Micros = -1;
  private received = 0;

  constructor(id: number, plan: TransferPlan) {
    this.plan = plan;
    this.flows = Array.from({ length: plan.streams }, (_, i) => new Flow(this, id, i));
  }

  /** All of it arrived. */
  get isDone(): boolean {
    return this.received === this.expected;
  }

  get receivedMessages(): number {
    return this.received;
  }

  get bytesExpected(): number {
    return this.expected * this.plan.bytes;
  }

  /** Messages that each side sends on a stream: first the one that opened it. */
  sends(side: 'opener' | 'other'): number {
    const { way, messages } = this.plan;
    return way === 'both' || (way === 'there') === (side === 'opener') ? messages : 0;
  }

  get missing(): string {
    return `${this.received} of ${this.expected} messages came`;
  }

  onMessage(now: Micros): void {
    if (this.lastAt >= 0) this.longestGap = Math.max(this.longestGap, now - this.lastAt);
    this.lastAt = now;
    this.received++;
    if (this.isDone) this.doneAt = now;
  }

  private get expected(): number {
    const { streams } = this.plan;
    return streams * (this.sends('opener') + this.sends('other'));
  }
}

/** One stream of a transfer, with both of its directions. */
export class Flow {
  readonly label: string;
  readonly opener: FlowEnd;
  readonly other: FlowEnd;

  constructor(transfer: Transfer, id: number, index: number) {
    this.label = `${id}.${index}`;
    const number = id * STREAMS_MAX + index;
    this.opener = new FlowEnd(transfer, 'opener', 2 * number);
    this.other = new FlowEnd(transfer, 'other', 2 * number + 1);
  }
}

/** What one side does on a stream of a transfer. */
export class FlowEnd {
  private readonly transfer: Transfer;
  private readonly side: 'opener' | 'other';
  private readonly id: number;
  private sent = 0;
  private received = 0;
  private isEnded = false;

  constructor(transfer: Transfer, side: 'opener' | 'other', id: number) {
    this.transfer = transfer;
    this.side = side;
    this.id = id;
  }

  /** Sends what there is room for. */
  send(stream: ConnectionStream): void {
    const { bytes } = this.transfer.plan;
    const count = this.transfer.sends(this.side);
    let result: SendResult = SendResult.ACCEPTED;
    while (this.sent < count && result === SendResult.ACCEPTED) {
      const data = contentOf(this.id, this.sent, bytes);
      result = stream.send(data, Delivery.RELIABLE, Number.POSITIVE_INFINITY, true);
      if (result !== SendResult.REFUSED) this.sent++;
    }
    if (this.sent < count || this.isEnded) return;
    this.isEnded = true;
    stream.finish();
  }

  /** Reads what is there, and checks it. */
  read(stream: ConnectionStream, now: Micros): void {
    const { plan } = this.transfer;
    const from = this.side === 'opener' ? 'other' : 'opener';
    const fromId = this.side === 'opener' ? this.id + 1 : this.id - 1;
    for (let data = stream.read(now); data !== null; data = stream.read(now)) {
      if (this.received === this.transfer.sends(from))
        throw new Violation(`stream ${stream.label} has a message more than was sent`);
      const expected = contentOf(fromId, this.received, plan.bytes);
      if (Buffer.compare(data, expected) !== 0)
        throw new Violation(`message ${this.received} of stream ${stream.label} is not what was sent`);
      this.received++;
      this.transfer.onMessage(now);
    }
    stream.onRead();
  }
}

export const TRANSFER_SETTINGS = {
  priority: Priority.CHAT,
  delivery: Delivery.RELIABLE,
  ordered: true,
} as const;
/** Of a transfer: their content is told apart by it. */
const STREAMS_MAX = 4_096;
