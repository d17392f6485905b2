import { Overflow } from '../pubsub/command.ts';
import { encodeSubscribe, encodeUnsubscribe } from '../pubsub/command-writer.ts';
import type { MessageConnection, StreamPriority } from '../pubsub/message-stream.ts';
import { CommandStream } from './command-stream.ts';
import { Message } from './message.ts';
import { MessageBuffer } from './message-buffer.ts';
import type { TopicTexts } from './topic-texts.ts';

/** Called with each message. When it returns a promise, the next message waits until that settles. */
export type MessageHandler = (message: Message) => unknown;

export interface SubscribeOptions {
  /**
   * What the queues of this subscription do when they are full. `block` (default): its publishers wait, nothing is lost. `dropOldest`,
   * `dropNewest`: messages are dropped and counted, and nobody waits.
   */
  overflow?: 'block' | 'dropOldest' | 'dropNewest' | undefined;
  /** Bounds of its queue in the broker, within those of the broker, which are the default. */
  queueMessages?: number | undefined;
  queueBytes?: number | undefined;
  /** Class of the stream that carries it. Default `chat`. */
  priority?: StreamPriority | undefined;
  /** Ends the wait for the broker's answer. */
  signal?: AbortSignal | undefined;
}

/**
 * A subscription, on a stream of its own: a slow one holds up neither other subscriptions nor requests. Its messages go to its handler, or,
 * where it has none, to whoever iterates over it.
 *
 * @example
 * for await (const message of await client.subscribe('sensors/+/temperature')) console.log(message.topic, message.text());
 */
export class Subscription implements AsyncIterable<Message> {
  readonly filters: readonly string[];
  private readonly commands: CommandStream;
  private readonly handler: MessageHandler | null;
  private readonly buffer: MessageBuffer;
  private readonly topics: TopicTexts;
  private readonly onClosed: (subscription: Subscription) => void;
  private handling = false;
  private paused = false;
  private over = false;
  private failure: Error | null = null;
  /** The iterator that waits for a message, or for the end. */
  private wake: (() => void) | null = null;

  /** @internal Use `BrokerClient.subscribe`. */
  constructor(
    connection: MessageConnection,
    filters: readonly string[],
    handler: MessageHandler | null,
    options: SubscribeOptions,
    topics: TopicTexts,
    onClosed: (subscription: Subscription) => void,
  ) {
    this.filters = filters;
    this.topics = topics;
    this.handler = handler;
    this.onClosed = onClosed;
    this.buffer = new MessageBuffer(OVERFLOW[options.overflow ?? 'block']);
    this.commands = new CommandStream(connection, options.priority ?? 'chat', {
      onDrain: () => {},
      onDelivery: (message, topicEnd) => this.receive(message, topicEnd),
      onClosed: (error) => this.finish(error),
    });
  }

  /** Messages that this side dropped, because of a drop policy; the broker counts its own. */
  get dropped(): number {
    return this.buffer.dropped;
  }

  /**
   * Takes the subscription back. Messages that the broker has queued still come, and have all arrived when this resolves; then
   * iteration ends. A loop over the subscription has to go on meanwhile; {@link close} waits for nothing.
   */
  async unsubscribe(signal?: AbortSignal): Promise<void> {
    const request = (filter: string) => this.commands.request((id) => encodeUnsubscribe(id, filter), signal);
    await Promise.all(this.filters.map(request));
    this.commands.end();
  }

  /** Ends the subscription at once: no message comes any more, not even one that has arrived. */
  close(): void {
    this.buffer.clear();
    this.commands.reset();
  }

  /** @internal Resolves when the broker has acknowledged all filters. */
  async confirm(options: SubscribeOptions): Promise<void> {
    const overflow = OVERFLOW[options.overflow ?? 'block'];
    const messages = options.queueMessages ?? 0;
    const bytes = options.queueBytes ?? 0;
    const encode = (filter: string) => (id: number) => encodeSubscribe(id, filter, overflow, messages, bytes);
    try {
      await Promise.all(this.filters.map((filter) => this.commands.request(encode(filter), options.signal)));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** The messages as they come. Leaving the loop closes the subscription; an error of the connection is thrown. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Message, void, undefined> {
    if (this.handler !== null) throw new TypeError('This subscription gives its messages to a handler.');
    try {
      for (;;) {
        const message = this.buffer.shift();
        if (message !== undefined) {
          this.readOn();
          yield message;
        } else if (this.over) {
          if (this.failure !== null) throw this.failure;
          return;
        } else {
          await new Promise<void>((resolve) => {
            this.wake = resolve;
          });
        }
      }
    } finally {
      this.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }

  private receive(bytes: Buffer, topicEnd: number): void {
    this.buffer.push(new Message(this.topics.textOf(bytes, topicEnd), bytes.subarray(topicEnd)));
    if (this.handler === null) this.wakeIterator();
    else if (!this.handling) this.handleBuffered(this.handler);
    if (this.paused || !this.buffer.blocked) return;
    this.paused = true;
    this.commands.stream.pause();
  }

  private handleBuffered(handler: MessageHandler): void {
    try {
      while (!this.handling) {
        const message = this.buffer.shift();
        if (message === undefined) break;
        this.handle(handler, message);
      }
      this.readOn();
    } finally {
      // Only after a handler has thrown: its error goes its way, and the next message comes all the same.
      if (!this.handling && !this.buffer.empty) queueMicrotask(() => this.handleBuffered(handler));
    }
  }

  private handle(handler: MessageHandler, message: Message): void {
    const result = handler(message);
    if (!(result instanceof Promise)) return;
    this.handling = true;
    // A rejection stays unhandled on purpose: it is the application's error, as a throw is.
    void result.finally(() => {
      this.handling = false;
      this.handleBuffered(handler);
    });
  }

  private readOn(): void {
    if (!this.paused || this.over || !this.buffer.low) return;
    this.paused = false;
    this.commands.stream.resume();
  }

  private finish(error: Error | null): void {
    this.over = true;
    this.failure = error;
    this.wakeIterator();
    this.onClosed(this);
  }

  private wakeIterator(): void {
    const wake = this.wake;
    this.wake = null;
    wake?.();
  }
}

const OVERFLOW = {
  block: Overflow.BLOCK,
  dropOldest: Overflow.DROP_OLDEST,
  dropNewest: Overflow.DROP_NEWEST,
} as const;
