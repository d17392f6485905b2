/** The streams of one subscription on one connection: the one that it asks on, and lanes that the broker opens beside it. [BRK-39] */

import { Command, type CommandReader, encodePlain, ReasonCode } from '../pubsub/command.ts';
import type { StreamPriority } from '../pubsub/message-stream.ts';
import type { CommandListener, CommandStream } from './command-stream.ts';
import type { LaneTaker, Link } from './link.ts';

/** What comes on them. */
export interface SubscriptionListener {
  /** A delivery, as `reader` has just read it. */
  readonly onDelivery: (message: Buffer, reader: CommandReader) => void;
  readonly onDropped: (count: number, reason: number) => void;
  readonly onSubscribed: (answer: Buffer) => void;
  readonly onPosition: (epoch: number, offset: number) => void;
  /** One of the streams is over, and not by this side; the others go with it. */
  onClosed(error: Error | null): void;
}

export class SubscriptionStreams implements LaneTaker {
  private readonly link: Link;
  private readonly main: CommandStream;
  private readonly lanes = new Set<CommandStream>();
  private readonly listener: SubscriptionListener;
  private paused = false;
  private isOver = false;

  constructor(link: Link, priority: StreamPriority, listener: SubscriptionListener) {
    this.link = link;
    this.listener = listener;
    this.main = link.open(
      priority,
      this.listenerOf((error) => this.onEnded(error)),
    );
    link.giveLanes(this.main.stream.id, this);
  }

  /** The broker may open lanes. */
  get takesLanes(): boolean {
    return this.link.takesLanes;
  }

  /** The largest command that the broker takes. */
  get commandBytesMax(): number {
    return this.main.stream.messageBytesMax;
  }

  get isPaused(): boolean {
    return this.paused;
  }

  request(encode: (id: number) => Uint8Array): Promise<void> {
    return this.main.request(encode);
  }

  /** Resolves when the broker has read what was sent before. [BRK-34] */
  ping(): Promise<void> {
    return this.main.request((id) => encodePlain(Command.PING, id));
  }

  /** Sends what has no answer. What cannot be sent any more goes with its connection. */
  send(command: Uint8Array): void {
    if (this.isOver) return;
    try {
      this.main.stream.send(command);
    } catch {
      // the stream is over, which is told
    }
  }

  /** The broker said what it cannot mean. */
  fail(): void {
    this.main.fail(ReasonCode.COMMAND_ENCODING_ERROR);
  }

  addLane(lane: CommandStream): void {
    lane.giveTo(
      this.listenerOf((error) => {
        this.lanes.delete(lane);
        // Its messages are lost, as those of the main stream would be.
        if (error !== null) this.onEnded(error);
      }),
    );
    this.lanes.add(lane);
    if (this.paused) lane.stream.pause();
  }

  pause(): void {
    this.paused = true;
    this.main.stream.pause();
    for (const lane of this.lanes) lane.stream.pause();
  }

  resume(): void {
    this.paused = false;
    this.main.stream.resume();
    for (const lane of this.lanes) lane.stream.resume();
  }

  /** Gives them up, behind what was sent. [BRK-5] */
  end(): void {
    if (this.leave()) this.main.end();
  }

  /** Gives them up at once. */
  reset(): void {
    if (this.leave()) this.main.reset();
  }

  private leave(): boolean {
    if (this.isOver) return false;
    this.isOver = true;
    this.link.giveLanes(this.main.stream.id, null);
    for (const lane of [...this.lanes]) lane.reset();
    return true;
  }

  private onEnded(error: Error | null): void {
    if (!this.leave()) return;
    this.main.reset();
    this.listener.onClosed(error);
  }

  private listenerOf(onClosed: (error: Error | null) => void): CommandListener {
    const { listener } = this;
    return {
      onDelivery: listener.onDelivery,
      onDropped: listener.onDropped,
      onSubscribed: listener.onSubscribed,
      onPosition: listener.onPosition,
      onClosed,
    };
  }
}
