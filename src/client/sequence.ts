/**
 * Messages with QoS 1 of one class, on their way to the broker's store. Each has a number, strictly rising for the session, by which the broker takes it once
 * however often it comes; the numbers are given as messages are first sent. What a connection leaves unanswered is sent again on the next, in the same order
 * and with the same numbers. [CLT-8, CLT-9]
 */

import { JspError } from '../base/errors.ts';
import { Ring } from '../base/ring.ts';
import { MILLISECOND, type Micros, NEVER } from '../base/time.ts';
import {
  decodePublished,
  idAfter,
  idBehindUnanswered,
  isAfter,
  PUBLISH_RESULT_NAMES,
} from '../pubsub/acknowledgement.ts';
import { ReasonCode, reasonCodeName } from '../pubsub/command.ts';
import { STREAM_PRIORITIES, type StreamPriority, sendCommand } from '../pubsub/message-stream.ts';
import type { Clock } from '../udp/clock.ts';
import { type Backlog, expiredError, type Lane, Outgoing } from './backlog.ts';
import type { CommandStream } from './command-stream.ts';
import type { Link } from './link.ts';

/** What became of a message with QoS 1. */
export interface PublishReceipt {
  /** Its place in the log; null where there is none, or it is not known any more. */
  readonly offset: number | null;
  /** The broker had it already: by an earlier attempt whose answer was lost, or by its `messageId`. It is stored once. */
  readonly duplicate: boolean;
  /**
   * `stored`: on disk. `inMemory`: the broker keeps its log in memory, or the message's class is in no log and it was handed on. `duplicate`: see there.
   * `noSubscriber`: it is in no log and nobody is subscribed, or it is a request that nobody is there to answer.
   */
  readonly result: 'stored' | 'duplicate' | 'noSubscriber' | 'inMemory';
}

/** A message until the broker has answered. */
export class AcknowledgedMessage extends Outgoing {
  /** 0 as long as it was never sent. */
  id = 0;
  isSettled = false;
  readonly receipt: Promise<PublishReceipt>;
  readonly command: Buffer;
  /** How long that is with its payload as it was before it was compressed. */
  readonly plainBytes: number;
  /** Where in it the time to live stands; negative for none. */
  private readonly ttlAt: number;
  private readonly onSettled: (message: AcknowledgedMessage, error: JspError | null) => void;
  private resolve: (receipt: PublishReceipt) => void = () => {};
  private reject: (error: JspError) => void = () => {};

  /** @param onSettled - told once, before whoever waits */
  constructor(
    topic: string,
    command: Buffer,
    plainBytes: number,
    ttlAt: number,
    now: Micros,
    onSettled: (message: AcknowledgedMessage, error: JspError | null) => void,
  ) {
    super(topic, command.length, ttlAt < 0 ? NEVER : now + command.readUInt32BE(ttlAt) * MILLISECOND);
    this.command = command;
    this.plainBytes = plainBytes;
    this.ttlAt = ttlAt;
    this.onSettled = onSettled;
    this.receipt = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }

  /** Writes its number, and what is left of its time to live. */
  prepare(now: Micros): void {
    this.command.writeUInt32BE(this.id, ID_AT);
    if (this.ttlAt < 0) return;
    const leftMs = Math.max(1, Math.floor((this.expiresAt - now) / MILLISECOND));
    this.command.writeUInt32BE(leftMs, this.ttlAt);
  }

  succeed(receipt: PublishReceipt): void {
    if (this.isSettled) return;
    this.isSettled = true;
    this.onSettled(this, null);
    this.resolve(receipt);
  }

  /** Nobody may wait for it: then the client's event tells, and nothing is unhandled. [CLT-11] */
  fail(error: JspError): void {
    if (this.isSettled) return;
    this.isSettled = true;
    this.receipt.catch(() => {});
    this.onSettled(this, error);
    this.reject(error);
  }
}

export class Sequence {
  private readonly priority: StreamPriority;
  private readonly backlog: Backlog;
  private readonly lane: Lane;
  private readonly clock: Clock;
  /** Whether one may be sent for the first time. */
  private readonly admits: () => boolean;
  /** Told when the broker has answered, and less is held. */
  private readonly onAnswered: () => void;
  /** Sent, on this or an earlier connection, and not answered, by their numbers. */
  private readonly unanswered = new Ring<AcknowledgedMessage>();
  /** How many of them were given to the present stream. */
  private handed = 0;
  private lastId = 0;
  /** The last number that the broker had taken when it welcomed the client. */
  private takenId = 0;
  /** Of the session that the numbers are given for. */
  private sessionEpoch = 0;
  private link: Link | null = null;
  private stream: CommandStream | null = null;
  private isFull = false;

  constructor(
    priority: StreamPriority,
    backlog: Backlog,
    clock: Clock,
    admits: () => boolean,
    onAnswered: () => void,
  ) {
    this.priority = priority;
    this.backlog = backlog;
    this.lane = backlog.newLane();
    this.clock = clock;
    this.admits = admits;
    this.onAnswered = onAnswered;
  }

  /** Messages that are not settled. */
  get unsettled(): number {
    let count = this.lane.length;
    for (let i = 0; i < this.unanswered.length; i++) if (!this.unanswered.peek(i)?.isSettled) count++;
    return count;
  }

  get queuedBytes(): number {
    return this.stream?.stream.queuedBytes ?? 0;
  }

  /** @throws {JspError} `ERR_JSP_BUFFER_FULL` */
  publish(message: AcknowledgedMessage): void {
    this.backlog.admit(message, this.lane);
    if (this.lane.first === null && this.canSend()) this.send(message);
    else this.backlog.enqueue(message, this.lane);
  }

  /** Nobody wants it any more; if it has left, nothing takes it back. [CLT-12] */
  abandon(message: AcknowledgedMessage, error: JspError): void {
    if (message.isSettled) return;
    if (message.lane !== null) this.backlog.release(message);
    message.fail(error);
    this.forgetSettled();
  }

  /** All that are not settled. */
  messages(): AcknowledgedMessage[] {
    const messages: AcknowledgedMessage[] = [];
    for (let i = 0; i < this.unanswered.length; i++) {
      const message = this.unanswered.peek(i);
      if (message !== undefined && !message.isSettled) messages.push(message);
    }
    for (let message = this.lane.first; message !== null; message = message.next) {
      messages.push(message as AcknowledgedMessage);
    }
    return messages;
  }

  online(link: Link): void {
    this.link = link;
    this.goOnBehind(link);
    this.pump();
  }

  offline(): void {
    this.link = null;
    this.stream = null;
    this.handed = 0;
    this.isFull = false;
  }

  /** Nothing will be answered any more. */
  failAll(error: JspError): void {
    this.offline();
    for (let message = this.unanswered.shift(); message !== undefined; message = this.unanswered.shift()) {
      this.backlog.release(message);
      message.fail(error);
    }
  }

  private canSend(): boolean {
    return (
      !this.isFull && this.handed === this.unanswered.length && this.openStream() !== null && this.admits()
    );
  }

  /**
   * Sees to it that the broker takes numbers for new that it was not sent, and for known that it was. They begin anew where it has another session than the one that
   * they were given for, and behind those of whoever else has had the session: well behind, for a broker that is cut off from its cluster may have taken more of them,
   * which the others do not know, and stores them later. [CLT-9]
   */
  private goOnBehind({ welcome }: Link): void {
    const taken = welcome?.lastIds[STREAM_PRIORITIES.indexOf(this.priority)] ?? 0;
    const isSame = welcome?.isPresent === true && welcome.epoch === this.sessionEpoch;
    this.sessionEpoch = welcome?.epoch ?? 0;
    this.takenId = taken;
    if (isSame && this.lastId !== 0 && (taken === 0 || !isAfter(taken, this.lastId))) return;
    const isOthers = welcome?.isPresent === true && (!isSame || taken !== 0);
    this.lastId = isOthers ? idBehindUnanswered(taken) : taken;
    for (let i = 0; i < this.unanswered.length; i++) {
      this.lastId = idAfter(this.lastId);
      (this.unanswered.peek(i) as AcknowledgedMessage).id = this.lastId;
    }
  }

  /** Sends what may be sent: what an earlier connection left first, then what has waited. */
  pump(): void {
    this.forgetSettled();
    while (!this.isFull && this.handed < this.unanswered.length && this.openStream() !== null) {
      const message = this.unanswered.peek(this.handed) as AcknowledgedMessage;
      this.handed++;
      if (message.isSettled) continue;
      if (this.isTooLate(message)) message.fail(expiredError());
      else this.write(message);
    }
    this.forgetSettled();
    while (this.lane.first !== null && this.canSend()) {
      const message = this.lane.first as AcknowledgedMessage;
      this.backlog.dequeue(message);
      this.send(message);
    }
  }

  /** Its time to live is over, and the broker does not have it: sent again, it would be delivered after its time. [CLT-9] */
  private isTooLate({ expiresAt, id }: AcknowledgedMessage): boolean {
    return expiresAt <= this.clock.now() && isAfter(id, this.takenId);
  }

  /** For the first time. */
  private send(message: AcknowledgedMessage): void {
    if (message.expiresAt <= this.clock.now()) {
      this.backlog.release(message);
      message.fail(expiredError());
      return;
    }
    this.lastId = idAfter(this.lastId);
    message.id = this.lastId;
    this.unanswered.push(message);
    this.handed++;
    this.write(message);
  }

  private write(message: AcknowledgedMessage): void {
    const stream = (this.stream as CommandStream).stream;
    const { command, plainBytes } = message;
    // One that fits only compressed could not be opened by its subscribers. [BRK-42]
    if (plainBytes > stream.messageBytesMax) {
      message.fail(tooLarge(plainBytes, stream.messageBytesMax));
      this.forgetSettled();
      return;
    }
    message.prepare(this.clock.now());
    try {
      this.isFull = !sendCommand(stream, command, false);
    } catch {
      this.offline(); // the connection is over, and will tell
    }
  }

  private openStream(): CommandStream | null {
    if (this.stream !== null || this.link === null) return this.stream;
    const { link } = this;
    try {
      const stream = link.open(this.priority, {
        onDrain: () => {
          if (this.stream !== stream) return;
          this.isFull = false;
          this.pump();
        },
        onPublished: (answer, id, isAll) => {
          if (this.stream === stream) this.onPublished(answer, id, isAll);
        },
        onRefused: (id, error) => {
          if (this.stream === stream) this.onRefused(id, error);
        },
        onClosed: () => {
          if (this.stream !== stream) return;
          // A stream that goes alone takes the connection with it: on the next everything is sent again.
          this.offline();
          if (!link.isOver)
            link.connection.destroy(ReasonCode.INTERNAL_ERROR, reasonCodeName(ReasonCode.INTERNAL_ERROR));
        },
      });
      this.stream = stream;
    } catch {
      this.offline(); // the connection is over, and will tell
    }
    return this.stream;
  }

  /** [BRK-81] With ALL it answers everything before as well, whose offsets are next to each other as their ids are. */
  private onPublished(answer: Buffer, id: number, isAll: boolean): void {
    const { result, offset } = decodePublished(answer);
    const name = PUBLISH_RESULT_NAMES[result] ?? 'inMemory';
    if (!isAll) {
      const message = this.find(id);
      if (message !== null) this.succeed(message, name, offset);
    } else {
      for (let i = 0; i < this.handed; i++) {
        const message = this.unanswered.peek(i) as AcknowledgedMessage;
        if (isAfter(message.id, id)) break;
        const before = id >= message.id ? id - message.id : id + 0xffff_ffff - message.id;
        this.succeed(message, name, offset < 0 ? -1 : offset - before);
      }
    }
    this.forgetSettled();
    this.onAnswered();
  }

  private onRefused(id: number, error: JspError): void {
    const message = this.find(id);
    if (message === null) return;
    message.fail(error);
    this.forgetSettled();
    this.onAnswered();
  }

  private succeed(message: AcknowledgedMessage, result: PublishReceipt['result'], offset: number): void {
    message.succeed({ offset: offset < 0 ? null : offset, duplicate: result === 'duplicate', result });
  }

  /** The message with this number that the present stream was given. */
  private find(id: number): AcknowledgedMessage | null {
    const first = this.unanswered.peek();
    if (first === undefined) return null;
    // Numbers are next to each other, but for 0.
    const index = id >= first.id ? id - first.id : id + 0xffff_ffff - first.id;
    const message = index < this.handed ? this.unanswered.peek(index) : undefined;
    return message?.id === id ? message : null;
  }

  /** Answered messages go in the order of their numbers; what was refused meanwhile with those before it. */
  private forgetSettled(): void {
    for (let first = this.unanswered.peek(); first?.isSettled; first = this.unanswered.peek()) {
      this.unanswered.shift();
      if (this.handed > 0) this.handed--;
      this.backlog.release(first);
    }
  }
}

function tooLarge(bytes: number, bytesMax: number): JspError {
  return new JspError(
    'ERR_JSP_MESSAGE_TOO_LARGE',
    `a message of ${bytes} bytes is above the ${bytesMax} that the broker takes; split it, or raise the broker's messageBytesMax`,
  );
}

/** In a command. */
const ID_AT = 4;
