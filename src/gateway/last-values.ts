/**
 * Last values of topics, for callers who ask for one: the session subscribes to the topic and takes that back at once, and gets the value in between. [BRK-106] One stream
 * serves all who ask in the name of the session, and one subscription all who ask for the same topic at the same time.
 */

import type { CommandStream } from '../client/command-stream.ts';
import {
  type CommandReader,
  encodeSubscribe,
  encodeUnsubscribe,
  Overflow,
  SubscribeFlag,
  topicOf,
} from '../pubsub/command.ts';
import { type Delivered, deliveredOf } from './delivered.ts';
import { Problem } from './problem.ts';
import type { Session } from './session.ts';

/** A question that is under way. */
interface Asked {
  value: Delivered | null;
  /** It has come, and cannot be opened. */
  isClosed: boolean;
  /** Whoever else asks meanwhile waits for the same. */
  readonly answer: Promise<Delivered | null>;
}

export class LastValues {
  private readonly session: Session;
  private stream: CommandStream | null = null;
  private readonly asked = new Map<string, Asked>();

  constructor(session: Session) {
    this.session = session;
  }

  /** Topics whose value is under way. */
  get pending(): number {
    return this.asked.size;
  }

  /**
   * The last value of a topic, or null.
   *
   * @throws {JspError} what the broker refuses the subscription for
   */
  of(topic: string): Promise<Delivered | null> {
    const known = this.asked.get(topic);
    if (known !== undefined) return known.answer;
    const asked: Asked = {
      value: null,
      isClosed: false,
      answer: Promise.resolve()
        .then(() => this.find(topic, asked))
        .finally(() => this.asked.delete(topic)),
    };
    this.asked.set(topic, asked);
    return asked.answer;
  }

  private async find(topic: string, asked: Asked): Promise<Delivered | null> {
    const stream = this.open();
    await stream.request((id) => encodeSubscribe(id, topic, FLAGS, 0, 0));
    await stream.request((id) => encodeUnsubscribe(id, topic));
    if (asked.isClosed)
      throw new Problem('INTERNAL_ERROR', 'The value is compressed in a way that the gateway does not know.');
    return asked.value;
  }

  private open(): CommandStream {
    this.stream ??= this.session.openStream('chat', {
      onDelivery: (message, reader) => this.onDelivery(message, reader),
      onClosed: () => {
        this.stream = null;
      },
    });
    return this.stream;
  }

  /** What is published meanwhile is newer, and as good a value where it was kept, which nobody tells; the one that was kept before it has come by then. */
  private onDelivery(message: Buffer, reader: CommandReader): void {
    const asked = this.asked.get(topicOf(message));
    if (asked === undefined) return;
    const value = deliveredOf(message, reader);
    if (value === null) asked.isClosed = true;
    else if (value.isRetained) asked.value = value;
  }
}

/** Messages are dropped rather than that a publisher waits for what nobody wants. */
const FLAGS = SubscribeFlag.COMPRESSED | Overflow.DROP_OLDEST;
