/**
 * What a node has appended to a log of its cluster and has no answer to. The engine takes it in the order in which it is handed over, and what was placed is told in that order as well.
 *
 *     FLOWING ── the engine is down, or does not take something ──> STALLED ── it has answered a question, and has what it had ──> all without an answer is handed over again, FLOWING
 *     FLOWING ── it is silent ──> the same at once
 *     FLOWING, STALLED ── no answer has come for {@link WAIT_MS} ──> UNREACHABLE ── the engine has answered a question ──> FLOWING
 *
 * The engine knows what it has already by its name; so nothing is stored twice, and as all goes again in order, the order stays. One thing would change it: a message that was not
 * taken where one of the same sequence behind it was; that one is refused. [CLU-34]
 *
 * UNREACHABLE: what waits is refused, and so is what comes, at once. It may be in the log all the same where the engine could not say so any more.
 */

import { Ring } from '../../../base/ring.ts';
import { MILLISECOND } from '../../../base/time.ts';
import type { Clock, TimerHandle } from '../../../udp/clock.ts';
import { AppendFault, type LogRecord } from '../../core/store-port.ts';
import type { LogStream } from './log-stream.ts';
import { encodeRecord, recordName } from './record-form.ts';

const Flow = { FLOWING: 0, STALLED: 1, UNREACHABLE: 2 } as const;
type Flow = (typeof Flow)[keyof typeof Flow];

interface Append {
  readonly ticket: number;
  readonly name: string;
  /** Whose it is: of a session, and which sequence; 0: nobody's. */
  readonly lane: number;
  readonly record: LogRecord;
  readonly body: Uint8Array;
  /** It is known not to be in the log. */
  isRefused: boolean;
  /** Where it is, or a fault; 0: not known yet. */
  offset: number;
  isDuplicate: boolean;
}

export interface AppendsOwner {
  /** In the order of appends. */
  placed(record: LogRecord, ticket: number, offset: number, isDuplicate: boolean): void;
  /** The engine is to be asked whether it is there. */
  probe(): void;
}

export interface AppendsMetrics {
  /** Records on their way, and their bytes. */
  pending: number;
  pendingBytes: number;
  /** Handed over once more. */
  resent: number;
  /** In the log already. */
  duplicates: number;
  /** Refused because the log could not be reached. */
  unreachable: number;
}

export class Appends {
  lastTicket = 0;
  placedTicket = 0;
  readonly metrics: AppendsMetrics = {
    pending: 0,
    pendingBytes: 0,
    resent: 0,
    duplicates: 0,
    unreachable: 0,
  };
  private readonly stream: LogStream;
  private readonly clock: Clock;
  private readonly owner: AppendsOwner;
  /** Unlike any other of any node. */
  private readonly life: string;
  private readonly waiting = new Ring<Append>();
  private flow: Flow;
  /** When an answer came last, or what waits first was appended. */
  private heardAt = 0;
  private sentAt = 0;
  /** Since when the engine takes nothing. */
  private stalledAt = 0;
  private isClosed = false;
  private timer: TimerHandle | null = null;

  constructor(stream: LogStream, clock: Clock, life: string, owner: AppendsOwner) {
    this.stream = stream;
    this.clock = clock;
    this.life = life;
    this.owner = owner;
    this.flow = stream.isUp ? Flow.FLOWING : Flow.UNREACHABLE;
    this.watch();
  }

  get isReachable(): boolean {
    return this.flow !== Flow.UNREACHABLE;
  }

  append(record: LogRecord): number {
    if (this.flow === Flow.UNREACHABLE) {
      this.metrics.unreachable++;
      return AppendFault.UNREACHABLE;
    }
    const body = encodeRecord(record);
    if (body.length > this.stream.recordBytesMax) return AppendFault.TOO_LARGE;
    if (this.metrics.pendingBytes + body.length > PENDING_BYTES_MAX) return AppendFault.FULL;
    const ticket = ++this.lastTicket;
    const name = recordName(record, `${this.life}:${ticket}`);
    const lane =
      record.session === 0 || record.id === 0 ? 0 : record.session * SEQUENCES + record.sequence + 1;
    if (this.waiting.length === 0) {
      this.heardAt = this.clock.now();
      this.sentAt = this.heardAt;
    }
    this.waiting.push({ ticket, name, lane, record, body, isRefused: false, offset: 0, isDuplicate: false });
    this.metrics.pending++;
    this.metrics.pendingBytes += body.length;
    if (this.flow === Flow.FLOWING) this.stream.append(ticket, body, name);
    this.watch();
    return AppendFault.PENDING;
  }

  /** The record that is on its way under this ticket; undefined: there is none, or it has its answer. */
  recordOf(ticket: number): LogRecord | undefined {
    return this.find(ticket)?.record;
  }

  placed(ticket: number, offset: number, isDuplicate: boolean): void {
    const append = this.find(ticket);
    if (append === undefined) return;
    append.offset = offset;
    append.isDuplicate = isDuplicate;
    if (isDuplicate) this.metrics.duplicates++;
    this.heardAt = this.clock.now();
    this.tell();
  }

  /** @param fault - null: it is to be handed over again */
  refused(ticket: number, fault: AppendFault | null): void {
    const append = this.find(ticket);
    if (append === undefined) return;
    if (fault !== null) {
      append.offset = fault;
      this.heardAt = this.clock.now();
      this.tell();
      return;
    }
    append.isRefused = true;
    this.stall();
  }

  /** What is appended now would hide that the engine has lost something: it is asked before. [CLU-36] */
  up(): void {
    this.owner.probe();
  }

  down(): void {
    this.stall();
  }

  /** The engine has answered a question, and has all that it had acknowledged. */
  answered(): void {
    if (this.flow === Flow.UNREACHABLE) this.flow = Flow.FLOWING;
    else if (this.flow === Flow.STALLED && this.stream.isUp) this.handOver();
  }

  /** Nothing more is sent. What waits is refused. */
  close(): void {
    this.isClosed = true;
    this.giveUp();
    if (this.timer !== null) this.clock.clearTimer(this.timer);
  }

  /** One that has no answer yet. What was handed over twice is answered twice: the second time it is not here any more, or not without an answer. */
  private find(ticket: number): Append | undefined {
    const first = this.waiting.peek();
    const append = first === undefined ? undefined : this.waiting.peek(ticket - first.ticket);
    return append?.offset === 0 ? append : undefined;
  }

  private tell(): void {
    const { waiting, metrics } = this;
    for (let first = waiting.peek(); first !== undefined && first.offset !== 0; first = waiting.peek()) {
      waiting.shift();
      metrics.pending--;
      metrics.pendingBytes -= first.body.length;
      this.placedTicket = first.ticket;
      this.owner.placed(first.record, first.ticket, first.offset, first.isDuplicate);
    }
  }

  private stall(): void {
    if (this.flow !== Flow.FLOWING) return;
    this.flow = Flow.STALLED;
    this.stalledAt = this.clock.now();
    this.watch();
  }

  /** All that has no answer goes again, in order. */
  private handOver(): void {
    const { waiting } = this;
    this.flow = Flow.FLOWING;
    this.sentAt = this.clock.now();
    this.refuseOvertaken();
    const { recordBytesMax } = this.stream; // which may be less than it was
    for (let i = 0; i < waiting.length; i++) {
      const append = waiting.peek(i) as Append;
      if (append.offset === 0 && append.body.length > recordBytesMax) append.offset = AppendFault.TOO_LARGE;
      if (append.offset !== 0) continue;
      append.isRefused = false;
      this.metrics.resent++;
      this.stream.append(append.ticket, append.body, append.name);
    }
    this.tell();
  }

  /** What is not in the log does not come behind what its publisher has published after it. */
  private refuseOvertaken(): void {
    const { waiting } = this;
    const overtaking = new Set<number>();
    for (let i = waiting.length - 1; i >= 0; i--) {
      const append = waiting.peek(i) as Append;
      if (append.lane === 0) continue;
      if (append.offset > 0) overtaking.add(append.lane);
      else if (append.offset === 0 && append.isRefused && overtaking.has(append.lane))
        append.offset = AppendFault.UNREACHABLE;
    }
  }

  private giveUp(): void {
    const { waiting } = this;
    this.flow = Flow.UNREACHABLE;
    for (let i = 0; i < waiting.length; i++) {
      const append = waiting.peek(i) as Append;
      if (append.offset !== 0) continue;
      append.offset = AppendFault.UNREACHABLE;
      this.metrics.unreachable++;
    }
    this.tell();
  }

  /** Looks now and then whether answers come, as long as some are missing, or the engine takes nothing. */
  private watch(): void {
    if (this.timer !== null || this.isClosed) return;
    if (this.waiting.length === 0 && this.flow === Flow.FLOWING) return;
    this.timer = this.clock.setTimer(this.clock.now() + WATCH_MS * MILLISECOND, () => {
      this.timer = null;
      this.look();
      this.watch();
    });
  }

  private look(): void {
    const { stream, waiting, flow } = this;
    const now = this.clock.now();
    if (flow === Flow.UNREACHABLE) {
      if (stream.isUp) this.owner.probe();
      return;
    }
    const isWaiting = waiting.length > 0;
    const sinceAt = isWaiting ? this.heardAt : this.stalledAt;
    if (now - sinceAt >= WAIT_MS * MILLISECOND && (isWaiting || !stream.isUp)) {
      this.giveUp();
    } else if (stream.isUp) {
      const isSilent = isWaiting && now - Math.max(this.sentAt, this.heardAt) >= SILENT_MS * MILLISECOND;
      if (flow === Flow.STALLED) this.owner.probe();
      else if (isSilent) this.handOver();
    }
  }
}

const SEQUENCES = 4;
/** A publisher waits no longer for an engine that is gone. */
const WAIT_MS = 8_000;
/** An engine that has not answered for so long is handed everything once more. */
const SILENT_MS = 2_500;
const WATCH_MS = 250;
/** Of all that is on its way to one log. */
const PENDING_BYTES_MAX = 64 * 1024 * 1024;
