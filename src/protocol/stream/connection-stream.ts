import type { Micros } from '../../base/time.ts';
import type { Delivery, Priority } from '../wire/frame-type.ts';
import type { MessageLimits } from './limits.ts';
import type { ReceiveStream } from './receive/receive-stream.ts';
import { Schedulable } from './scheduler.ts';
import type { SendResult, SendStream } from './send/send-stream.ts';

/** What a stream is opened with. */
export interface StreamSettings {
  readonly priority: Priority;
  /** What its messages are unless they are sent as something less. */
  readonly delivery: Delivery;
  readonly ordered: boolean;
  /** At most 64 bytes of UTF-8. */
  readonly label: string;
}

/** What a stream needs of its connection. */
export interface StreamOwner {
  /** The application queued, ended or gave up something. */
  onSendTouched(stream: ConnectionStream): void;
  /** The application read something, or reads no more. */
  onReceiveTouched(stream: ConnectionStream): void;
  /** A number by which the outcome of a message of this stream will be told. */
  track(stream: ConnectionStream): number;
  /** The message with this number was not sent after all. */
  untrack(tracking: number): void;
  readonly messageLimits: MessageLimits;
}

/** A stream of one connection: its two halves, and what the application may do with them. */
export class ConnectionStream extends Schedulable {
  readonly id: number;
  readonly delivery: Delivery;
  readonly ordered: boolean;
  readonly label: string;
  readonly sender: SendStream;
  readonly receiver: ReceiveStream;
  /** Whatever the driver wants to find again with an event. */
  owner: unknown = null;
  /** A `readable` event is on its way, or the application has not read since. */
  isReadableTold = false;
  /** The application wants to know when messages are settled. */
  wantsSettled = false;
  isResetTold = false;
  /** The application was told that the peer's messages end here. */
  isEndTold = false;
  private readonly streams: StreamOwner;

  constructor(
    id: number,
    settings: StreamSettings,
    sender: SendStream,
    receiver: ReceiveStream,
    streams: StreamOwner,
  ) {
    super(settings.priority);
    this.id = id;
    this.delivery = settings.delivery;
    this.ordered = settings.ordered;
    this.label = settings.label;
    this.sender = sender;
    this.receiver = receiver;
    this.streams = streams;
  }

  /** The largest message that can be sent, in bytes. */
  get messageBytesMax(): number {
    return this.streams.messageLimits.peer;
  }

  /** Whether this side's application is at fault when a message of so many bytes is too large. [STR-36] */
  isOwnFault(bytes: number): boolean {
    return this.streams.messageLimits.isOwnFault(bytes);
  }

  /** Queues a message; see {@link SendStream.send}. */
  send(data: Uint8Array, delivery: Delivery, deadline: Micros, transfer: boolean, tracking = 0): SendResult {
    const result = this.sender.send(data, delivery, deadline, transfer, tracking);
    if (!this.active || deadline < this.deadline) this.streams.onSendTouched(this);
    return result;
  }

  /** A number to send a message with; an `outcome` event with it tells what became of the message. */
  track(): number {
    return this.streams.track(this);
  }

  /** The message with this number was not sent after all. */
  untrack(tracking: number): void {
    this.streams.untrack(tracking);
  }

  /** Takes the next message, or null. Call {@link onRead} when done reading for now. */
  read(now: Micros): Uint8Array | null {
    return this.receiver.read(now);
  }

  /** The application has read what it wants for now: credit may go back, and news is news again. */
  onRead(): void {
    this.isReadableTold = false;
    this.streams.onReceiveTouched(this);
  }

  /** Ends the stream behind the messages that are queued; the peer may go on. */
  finish(): void {
    this.sender.close();
    this.streams.onSendTouched(this);
  }

  /** Gives up both directions. */
  reset(code: number): void {
    this.sender.reset(code);
    this.receiver.stop(code);
    this.streams.onSendTouched(this);
    this.streams.onReceiveTouched(this);
  }
}
