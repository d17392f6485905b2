/** What a session publishes: one stream a class, on which the broker takes messages in order, and those that it has not answered yet. [BRK-27, BRK-80] */

import type { JspError } from '../base/errors.ts';
import { Ring } from '../base/ring.ts';
import { type Micros, NEVER } from '../base/time.ts';
import type { CommandListener, CommandStream } from '../client/command-stream.ts';
import { decodePublished, idAfter, type PublishResult } from '../pubsub/acknowledgement.ts';
import { Command, encodePlain, PublishFlag, ReasonCode } from '../pubsub/command.ts';

/** The life of a message that is published. The last four are its end. */
export const PublishState = {
  /** It has not left: the broker reads no more at present. */
  WAITING: 0,
  /** It is with the broker, which has not answered. */
  SENT: 1,
  /** It was taken: with QoS 1 as {@link PendingPublish.result} says. */
  TAKEN: 2,
  /** The broker has not taken it, for the reason {@link PendingPublish.code}. */
  REFUSED: 3,
  /** The connection went before the answer came: whether it was taken is not known. */
  LOST: 4,
  /** It has never left, and does not any more. */
  WITHDRAWN: 5,
} as const;
export type PublishState = (typeof PublishState)[keyof typeof PublishState];

/** One message on its way to the broker. */
export class PendingPublish {
  state: PublishState = PublishState.WAITING;
  result: PublishResult = 0;
  /** In its log; negative: it is in none. */
  offset = -1;
  code: ReasonCode = ReasonCode.NO_ERROR;
  reason = '';
  /** Of QoS 1, while it waits for the answer. */
  id = 0;
  /** Until it is sent. */
  command: Buffer | null;
  /** Since when it is on its way. */
  readonly at: Micros;
  /** Which of its owner's messages it is. */
  readonly index: number;
  private readonly onSettled: (publish: PendingPublish) => void;

  constructor(command: Buffer, at: Micros, onSettled: (publish: PendingPublish) => void, index = 0) {
    this.at = at;
    this.index = index;
    this.command = command;
    this.onSettled = onSettled;
  }

  get isSettled(): boolean {
    return this.state >= PublishState.TAKEN;
  }

  /** Takes it back, if it has not left. False: it has, and may be taken. */
  withdraw(): boolean {
    if (this.state === PublishState.WAITING) this.settle(PublishState.WITHDRAWN);
    return this.state === PublishState.WITHDRAWN;
  }

  /** Comes to its end, once. */
  settle(state: PublishState): void {
    if (this.isSettled) return;
    this.state = state;
    this.command = null;
    this.onSettled(this);
  }
}

/** The messages of one class that a session publishes. */
export class PublishingStream {
  private readonly open: (listener: CommandListener) => CommandStream;
  private stream: CommandStream | null = null;
  private readonly waiting = new Ring<PendingPublish>(16);
  private readonly unanswered = new Ring<PendingPublish>(16);
  private lastId: number;
  private isFull = false;
  private isOver = false;
  private readonly onGone: () => void;
  private readonly onDrained: () => void;

  /**
   * @param lastId - the last one that the broker has taken of the session's in this class
   * @param onGone - the stream is over, and with it what was published on it
   * @param onDrained - it was stopped, and is not any more
   */
  constructor(
    open: (listener: CommandListener) => CommandStream,
    lastId: number,
    onGone: () => void,
    onDrained: () => void,
  ) {
    this.open = open;
    this.lastId = lastId;
    this.onGone = onGone;
    this.onDrained = onDrained;
  }

  /** The broker reads no more of it at present: as a rule because a subscriber makes publishers wait. */
  get isStopped(): boolean {
    return this.isFull;
  }

  /** Since when the first message waits that the broker has not answered; infinite: none does. */
  get waitingSince(): Micros {
    return (this.unanswered.peek() ?? this.waiting.peek())?.at ?? NEVER;
  }

  /** Messages that wait for the broker to read them, or to answer. */
  get pending(): number {
    return this.waiting.length + this.unanswered.length;
  }

  publish(publish: PendingPublish): void {
    if (this.isOver) publish.settle(PublishState.WITHDRAWN);
    else if (this.isFull) this.waiting.push(publish);
    else this.send(publish);
  }

  /** Resolves when the broker has read all that was published; it rejects where the stream is over before. */
  async flush(): Promise<void> {
    if (this.stream === null || this.isOver) return;
    await this.stream.request((id) => encodePlain(Command.FLUSH, id));
  }

  /** Nothing is answered any more. */
  close(): void {
    this.isOver = true;
    for (let next = this.unanswered.shift(); next !== undefined; next = this.unanswered.shift())
      next.settle(PublishState.LOST);
    for (let next = this.waiting.shift(); next !== undefined; next = this.waiting.shift())
      next.settle(PublishState.WITHDRAWN);
  }

  private send(publish: PendingPublish): void {
    const command = publish.command as Buffer;
    publish.command = null;
    const isAcknowledged = (command[1] & PublishFlag.QOS) !== 0;
    try {
      this.stream ??= this.open({
        onPublished: (answer, id, isAll) => this.onPublished(answer, id, isAll),
        onRefused: (id, error) => this.onRefused(id, error),
        onDrain: () => this.onDrain(),
        onClosed: () => {
          this.close();
          this.onGone();
        },
      });
      if (isAcknowledged) {
        this.lastId = idAfter(this.lastId);
        publish.id = this.lastId;
        command.writeUInt32BE(this.lastId, ID_AT);
      }
      this.isFull = !this.stream.stream.send(command, TRANSFER);
    } catch {
      publish.settle(PublishState.WITHDRAWN); // the connection is over, and will tell
      return;
    }
    if (!isAcknowledged) {
      publish.settle(PublishState.TAKEN);
      return;
    }
    publish.state = PublishState.SENT;
    this.unanswered.push(publish);
  }

  private onDrain(): void {
    this.isFull = false;
    while (!this.isFull && !this.isOver) {
      const next = this.waiting.shift();
      if (next === undefined) {
        this.onDrained();
        return;
      }
      if (!next.isSettled) this.send(next);
    }
  }

  /** [BRK-81] With ALL it answers everything before as well, whose offsets are next to each other as their ids are. */
  private onPublished(answer: Buffer, id: number, isAll: boolean): void {
    const { result, offset } = decodePublished(answer);
    const last = this.distanceTo(id);
    for (let i = isAll ? 0 : last; i <= last; i++) {
      const publish = this.unanswered.peek(i);
      if (publish === undefined || publish.isSettled) continue;
      publish.result = result;
      publish.offset = offset < 0 ? -1 : offset - (last - i);
      publish.settle(PublishState.TAKEN);
    }
    this.forgetSettled();
  }

  private onRefused(id: number, { applicationCode, reason = '' }: JspError): void {
    const publish = this.unanswered.peek(this.distanceTo(id));
    if (publish === undefined) return;
    publish.code = (applicationCode ?? ReasonCode.INTERNAL_ERROR) as ReasonCode;
    publish.reason = reason;
    publish.settle(PublishState.REFUSED);
    this.forgetSettled();
  }

  /** How many are between the first one that is not answered and that with this id; they are next to each other, but for 0. */
  private distanceTo(id: number): number {
    const first = this.unanswered.peek();
    if (first === undefined) return 0;
    return id >= first.id ? id - first.id : id + 0xffff_ffff - first.id;
  }

  private forgetSettled(): void {
    while (this.unanswered.peek()?.isSettled === true) this.unanswered.shift();
  }
}

const TRANSFER = { transfer: true } as const;
/** In a command. */
const ID_AT = 4;
