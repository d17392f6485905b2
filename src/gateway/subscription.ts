/**
 * A subscription of a caller, at the level of commands: asked for with all its filters or not at all [GW-42], told where it begins [GW-43], and then what comes on it, each
 * message with its place in the log. How that looks to the caller is the matter of his door.
 */

import type { JspError } from '../base/errors.ts';
import type { CommandListener, CommandStream } from '../client/command-stream.ts';
import {
  decodeSubscribed,
  encodeAck,
  encodeNack,
  MISSED_UNKNOWN,
  NACK_BACKOFF,
  NACK_NEVER,
  offsetOf,
  type ReaderStart,
} from '../pubsub/acknowledgement.ts';
import {
  AckFlag,
  Command,
  type CommandReader,
  DROP_REASON_NAMES,
  encodePlain,
  encodeSubscribe,
  encodeUnsubscribe,
  PublishFlag,
  ReasonCode,
} from '../pubsub/command.ts';
import type { StreamPriority } from '../pubsub/message-stream.ts';
import {
  encodeSubscribeOptions,
  StartKind,
  type SubscribeOptionValues,
} from '../pubsub/subscribe-options.ts';
import { acksOf } from './settling.ts';
import type { SubscriptionRequest } from './subscription-request.ts';

/** Where a subscription begins that reads a log, as its caller is told. */
export interface Begun {
  readonly epoch: number;
  /** The last message that is behind it, and the last that the log has. */
  readonly offset: number;
  readonly head: number;
  /** It goes on where it was, and nothing is missing. */
  readonly recovered: boolean;
  /** Offsets that the log does not have any more; null: nobody knows. */
  readonly missed: number | null;
  /** The position that it was to go on behind is not known any more. */
  readonly isReset: boolean;
}

/** Why something is missing. [GW-44] */
export type GapReason = (typeof DROP_REASON_NAMES)[number] | 'reset';

/** What a subscription tells its door. */
export interface SubscriptionSink {
  /** @param begun - null: it reads no log */
  onSubscribed(begun: Begun | null): void;
  /** It was refused as a whole, and is over. @param filter - the first that was refused */
  onRefused(error: JspError, filter: string): void;
  /** @param offset - negative: it is in no log */
  onDelivery(command: Buffer, reader: CommandReader, offset: number): void;
  /** Nothing up to this offset is still to come for the first time. */
  onPosition(epoch: number, offset: number): void;
  onGap(missed: number | null, reason: GapReason): void;
  /** The broker reads on what is said of it. */
  onDrained?(): void;
  /** The broker has ended it, by resetting its stream; what ends the connection is told by that. */
  onEnded(error: JspError): void;
}

/** Where its stream comes from. */
export interface StreamSource {
  openStream(priority: StreamPriority, listener: CommandListener): CommandStream;
}

/** Where a subscription is in its life. */
const Phase = { OPENING: 0, OPEN: 1, LEAVING: 2, OVER: 3 } as const;
type Phase = (typeof Phase)[keyof typeof Phase];

export class CallerSubscription implements CommandListener {
  private readonly request: SubscriptionRequest;
  private readonly sink: SubscriptionSink;
  private readonly stream: CommandStream;
  private phase: Phase = Phase.OPENING;
  /** Answers to SUBSCRIBEs that are still to come, and the first body among those that have. */
  private awaited = 0;
  private start: ReaderStart | null = null;
  private isReset = false;
  /** What came before the last answer: it is told behind it. */
  private held: (() => void)[] = [];
  private epoch = 0;
  /** The next offset that may come for the first time. */
  private next = 0;
  /** Of who settles by himself: what he has and has not settled. [GW-53] */
  private readonly unsettled = new Set<number>();
  /** Of who does not: the last that was given to his socket, to be acknowledged with all before it; negative: none. */
  private given = -1;
  private readonly acknowledge = () => this.acknowledgeGiven();

  /**
   * Asks for it.
   *
   * @throws {JspError} where the connection is over
   */
  constructor(source: StreamSource, request: SubscriptionRequest, sink: SubscriptionSink) {
    this.request = request;
    this.sink = sink;
    this.stream = source.openStream('chat', this);
    this.ask(request.options);
  }

  /** Where it is: what its caller may give back as `since`; null: it reads no log, or has not begun. [GW-40] */
  get position(): { epoch: number; offset: number } | null {
    return this.next === 0 ? null : { epoch: this.epoch, offset: this.next - 1 };
  }

  /** Reads no further; the broker keeps what comes. [GW-45] */
  pause(): void {
    this.stream.stream.pause();
  }

  resume(): void {
    this.stream.stream.resume();
  }

  /** The broker reads no more at present of what is said of it. */
  get isFull(): boolean {
    return this.phase !== Phase.OVER && this.stream.isFull;
  }

  onDrain(): void {
    this.sink.onDrained?.();
  }

  // ---- what its caller settles [GW-53] ----

  ack(offsets: readonly number[]): void {
    this.settleRanges(this.take(offsets), 0);
  }

  /** This one and all before it. */
  ackUpTo(upTo: number): void {
    const settled: number[] = [];
    for (const offset of this.unsettled) if (offset <= upTo) settled.push(offset);
    this.settleRanges(this.take(settled), 0);
  }

  /** They are still worked on. */
  progress(offsets: readonly number[]): void {
    this.settleRanges(
      offsets.filter((offset) => this.unsettled.has(offset)),
      AckFlag.PROGRESS,
    );
  }

  /** @param delayMs - null: the subscription's back-off */
  nack(offsets: readonly number[], delayMs: number | null, reason: string): void {
    for (const offset of this.take(offsets)) {
      this.send(encodeNack(offset % 2 ** 32, delayMs ?? NACK_BACKOFF, reason));
    }
  }

  /** They are never to be delivered again. */
  terminate(offsets: readonly number[], reason: string): void {
    if (reason === '') this.settleRanges(this.take(offsets), AckFlag.TERMINATE);
    else this.nack(offsets, NACK_NEVER, reason);
  }

  /** Resolves when the broker has read what was said before. */
  async confirm(): Promise<void> {
    this.acknowledgeGiven();
    await this.stream.request((id) => encodePlain(Command.PING, id));
  }

  // ---- its end ----

  /** Takes the filters back, and resolves behind its last message. [GW-54] */
  async unsubscribe(): Promise<void> {
    if (this.phase === Phase.OPEN) this.phase = Phase.LEAVING;
    await Promise.all(
      this.request.filters.map((filter) => this.stream.request((id) => encodeUnsubscribe(id, filter))),
    );
    this.close();
  }

  /** Lets go of it: of one that has a name the broker keeps where it is. */
  close(): void {
    if (this.phase === Phase.OVER) return;
    this.acknowledgeGiven();
    this.finish();
    this.stream.end();
  }

  // ---- what comes ----

  private ask(options: SubscribeOptionValues): void {
    const { filters, flags, queueMessages, queueBytes } = this.request;
    const encoded = encodeSubscribeOptions(options);
    this.awaited = filters.length;
    const answers = filters.map((filter) =>
      this.stream.ask((id) => encodeSubscribe(id, filter, flags, queueMessages, queueBytes, encoded)),
    );
    if (answers.length === 1) answers[0].catch((error: JspError) => this.refused(error, 0));
    else void this.hearRefusals(answers);
  }

  private async hearRefusals(answers: readonly Promise<unknown>[]): Promise<void> {
    const outcomes = await Promise.allSettled(answers);
    const first = outcomes.findIndex(({ status }) => status === 'rejected');
    if (first >= 0) this.refused((outcomes[first] as PromiseRejectedResult).reason, first);
  }

  /** All filters are answered. @param first - of those that were refused */
  private refused(error: JspError, first: number): void {
    if (this.phase !== Phase.OPENING) return;
    const count = this.request.filters.length;
    if (error.code === 'ERR_JSP_CLOSED') return; // it went with its connection
    if (error.applicationCode === ReasonCode.EPOCH_MISMATCH && this.awaited === count && !this.isReset) {
      this.isReset = true; // [GW-43] no such position any more
      const { options, reset } = this.request;
      const start = reset === 'new' ? StartKind.NEW : StartKind.EARLIEST;
      this.ask({ ...options, start, startValue: 0, epoch: undefined });
      return;
    }
    this.finish();
    this.stream.reset();
    this.sink.onRefused(error, this.request.filters[first]);
  }

  /** Called once for each SUBSCRIBED, before anything that comes behind it. */
  onSubscribed(answer: Buffer): void {
    if (this.phase !== Phase.OPENING) return;
    const start = this.request.readsLog ? decodeSubscribed(answer) : null;
    if (this.start === null && start !== null) {
      if (!Number.isSafeInteger(start.epoch) || !Number.isSafeInteger(start.next)) {
        this.stream.fail(ReasonCode.COMMAND_ENCODING_ERROR);
        return;
      }
      this.start = start;
      this.epoch = start.epoch;
      this.next = Math.max(1, start.next);
    }
    if (--this.awaited > 0) return;
    this.phase = Phase.OPEN;
    this.sink.onSubscribed(this.start === null ? null : this.begunAt(this.start));
    const { held } = this;
    this.held = [];
    for (const tell of held) tell();
  }

  private begunAt({ epoch, next, head, missed, isRecovered }: ReaderStart): Begun {
    const isUnknown = this.isReset || missed >= MISSED_UNKNOWN;
    return {
      epoch,
      offset: Math.max(1, next) - 1,
      head: Math.max(1, head) - 1,
      recovered: isRecovered && missed === 0 && !this.isReset,
      missed: isUnknown ? null : missed,
      isReset: this.isReset,
    };
  }

  onDelivery(command: Buffer, reader: CommandReader): void {
    if (this.phase === Phase.OVER) return;
    if ((reader.flags & PublishFlag.QOS1) === 0) return this.tell(command, reader, -1);
    const offset = offsetOf(reader.id, this.next);
    if (offset >= this.next) this.next = offset + 1;
    if (this.request.isExplicit) this.unsettled.add(offset);
    else {
      if (this.given < 0) void SETTLED.then(this.acknowledge); // costs a fraction of what queueMicrotask does
      if (offset > this.given) this.given = offset;
    }
    this.tell(command, reader, offset);
  }

  private tell(command: Buffer, reader: CommandReader, offset: number): void {
    if (this.phase !== Phase.OPENING) return this.sink.onDelivery(command, reader, offset);
    // The reader reads on before it is told.
    const { flags, topicEnd, payloadStart } = reader;
    this.hold(() =>
      this.sink.onDelivery(command, { flags, topicEnd, payloadStart } as CommandReader, offset),
    );
  }

  onPosition(epoch: number, offset: number): void {
    if (this.phase === Phase.OVER) return;
    if (!Number.isSafeInteger(epoch) || !Number.isSafeInteger(offset)) {
      this.stream.fail(ReasonCode.COMMAND_ENCODING_ERROR);
      return;
    }
    const isOther = this.epoch !== 0 && epoch !== this.epoch;
    const isNews = isOther || offset > this.next;
    this.epoch = epoch;
    if (isOther) this.unsettled.clear();
    if (isNews) this.next = offset;
    if (!isNews) return;
    this.hold(() => {
      this.sink.onPosition(epoch, Math.max(0, offset - 1));
      if (isOther) this.sink.onGap(null, 'reset');
    });
  }

  onDropped(count: number, reason: number): void {
    if (this.phase === Phase.OVER) return;
    this.hold(() => this.sink.onGap(count, DROP_REASON_NAMES[reason] ?? 'policy'));
  }

  /** Tells it now, or behind the answer that is still to come. */
  private hold(tell: () => void): void {
    if (this.phase !== Phase.OPENING) tell();
    else if (this.held.length < HELD_MAX) this.held.push(tell);
    else this.stream.fail(ReasonCode.INTERNAL_ERROR); // a broker that answers one filter and not the other
  }

  onClosed(error: Error | null): void {
    if (this.phase === Phase.OVER) return;
    this.finish();
    if ((error as JspError | null)?.code === 'ERR_JSP_STREAM_RESET') this.sink.onEnded(error as JspError);
  }

  private finish(): void {
    this.phase = Phase.OVER;
    this.held = [];
    this.unsettled.clear();
  }

  // ---- acknowledgements ----

  private acknowledgeGiven(): void {
    if (this.given < 0) return;
    const id = this.given % 2 ** 32;
    this.given = -1;
    this.send(encodeAck(id, AckFlag.ALL));
  }

  /** Those that are unsettled, which they are not any more. */
  private take(offsets: readonly number[]): number[] {
    return offsets.filter((offset) => this.unsettled.delete(offset));
  }

  private settleRanges(offsets: number[], flags: number): void {
    if (offsets.length === 0) return;
    for (const ack of acksOf(offsets, flags)) this.send(ack);
  }

  /** What cannot be sent any more goes with its connection. */
  private send(command: Uint8Array): void {
    if (this.phase === Phase.OVER) return;
    try {
      this.stream.stream.send(command);
    } catch {
      // which is told
    }
  }
}

/** Told before all filters are answered: as many as a turn of the connection brings, several times. */
const HELD_MAX = 16_384;
const SETTLED = Promise.resolve();
