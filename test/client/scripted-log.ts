import { Link } from '../../src/client/link.ts';
import type { Message, MessageHandler } from '../../src/client/message.ts';
import { OpenSubscription } from '../../src/client/open-subscription.ts';
import { type MessageReading, TopicTexts } from '../../src/client/reading.ts';
import type { SubscribeOptions } from '../../src/client/subscribe-options.ts';
import {
  decodeNack,
  encodePosition,
  encodeSubscribed,
  NACK_NEVER,
  type ReaderStart,
  visitAckRanges,
} from '../../src/pubsub/acknowledgement.ts';
import {
  AckFlag,
  Command,
  CommandReader,
  encodeDropped,
  encodePlain,
  encodeRefused,
  PublishFlag,
  publishPrefix,
  Side,
} from '../../src/pubsub/command.ts';
import { encodeProperties, type Properties } from '../../src/pubsub/properties.ts';
import { decodeSubscribeOptions, type SubscribeOptionValues } from '../../src/pubsub/subscribe-options.ts';
import { type FakeConnection, FakeNetwork, type FakeStream } from './fake-transport.ts';
import { ManualClock } from './manual-clock.ts';

/** What a delivery is, beside its topic and payload. */
export interface DeliveryShape {
  readonly topic?: string;
  readonly payload?: string;
  readonly redelivered?: boolean;
  readonly properties?: Properties;
  readonly flags?: number;
}

/** A SUBSCRIBE that came. */
export interface Asked {
  readonly filter: string;
  readonly flags: number;
  readonly options: SubscribeOptionValues;
}

/** A broker that delivers from a log what the test says, and writes down what it is answered. */
export class ScriptedLog {
  readonly network = new FakeNetwork();
  readonly asked: Asked[] = [];
  /** Offsets as they were acknowledged, each command a list; those of PROGRESS and TERMINATE apart. */
  readonly acks: number[][] = [];
  readonly progress: number[][] = [];
  readonly terminated: number[][] = [];
  readonly nacks: { id: number; delayMs: number; reason: string }[] = [];
  unsubscribed = 0;
  /** How the next SUBSCRIBEs are answered: with a place in the log, REFUSED with a code, or, null, not at all. */
  start: Partial<ReaderStart> | number | null = {};
  /** The client's stream on the last connection. */
  stream: FakeStream | null = null;
  far: FakeConnection | null = null;
  private readonly reader = new CommandReader(Side.BROKER);

  /** Connects a client anew. */
  connect(): Link {
    const [near, far] = this.network.connect();
    this.far = far;
    far.on('stream', (stream: FakeStream) => {
      this.stream = stream;
      stream.on('message', (message: Buffer) => this.receive(stream, message));
    });
    return new Link(near, false, () => {});
  }

  deliver(
    offset: number,
    { topic = 't', payload = '', redelivered, properties, flags = 0 }: DeliveryShape = {},
  ): void {
    let allFlags = flags | PublishFlag.QOS1;
    if (redelivered) allFlags |= PublishFlag.REDELIVERED;
    if (properties !== undefined) allFlags |= PublishFlag.PROPERTIES;
    const head = publishPrefix(topic, allFlags, offset % 2 ** 32);
    const between = properties === undefined ? Buffer.alloc(0) : encodeProperties(properties);
    this.stream?.send(Buffer.concat([head, between, Buffer.from(payload)]));
  }

  position(epoch: number, offset: number): void {
    this.stream?.send(encodePosition(epoch, offset));
  }

  dropped(count: number, reason: number): void {
    this.stream?.send(encodeDropped(count, reason));
  }

  private receive(stream: FakeStream, message: Buffer): void {
    const { reader } = this;
    reader.read(message);
    const { command, flags, id, topicEnd } = reader;
    const offsets: number[] = [];
    switch (command) {
      case Command.SUBSCRIBE: {
        const filter = message.toString('utf8', 8, topicEnd);
        const options = decodeSubscribeOptions(message, Math.min(message.length, topicEnd + 8));
        this.asked.push({ filter, flags, options: options as SubscribeOptionValues });
        const { start } = this;
        if (typeof start === 'number') stream.send(encodeRefused(id, start, 'no'));
        else if (start !== null) {
          stream.send(
            encodeSubscribed(id, {
              epoch: 7,
              next: 1,
              earliest: 1,
              head: 1,
              missed: 0,
              isRecovered: false,
              ...start,
            }),
          );
        }
        break;
      }
      case Command.ACK:
        visitAckRanges(message, (first, count) => {
          for (let i = 0; i < count; i++) offsets.push(first + i);
        });
        if (flags === AckFlag.PROGRESS) this.progress.push(offsets);
        else if (flags === AckFlag.TERMINATE) this.terminated.push(offsets);
        else this.acks.push(offsets);
        break;
      case Command.NACK: {
        const nack = { id, ...decodeNack(message) };
        if (nack.delayMs === NACK_NEVER) this.terminated.push([id]);
        else this.nacks.push(nack);
        break;
      }
      case Command.PING:
        stream.send(encodePlain(Command.PONG, id));
        break;
      case Command.UNSUBSCRIBE:
        this.unsubscribed++;
        stream.send(encodePlain(Command.UNSUBSCRIBED, id));
        break;
    }
  }
}

/** A subscription to a log that the test writes, and what is told of it. */
export function subscribed(
  options: SubscribeOptions = {},
  handler: MessageHandler | null = null,
  codec: MessageReading['codec'] = null,
) {
  const log = new ScriptedLog();
  const clock = new ManualClock();
  const told: unknown[] = [];
  const reading = { topics: new TopicTexts(), inflater: null, codec: options.codec ?? codec, clock };
  const subscription = new OpenSubscription(['#'], handler, { qos: 1, ...options }, reading, {
    onClosed: (_, error) => told.push(['closed', (error as { code?: string } | null)?.code ?? null]),
    onMissed: (_, count, reason) => told.push(['missed', count, reason]),
    onUnopened: (_, { reason }) => told.push(['unopened', reason]),
    onGap: (_, { missed }) => told.push(['gap', missed]),
    onResumed: (_, { recovered }) => told.push(['resumed', recovered]),
    onHandlerError: (_, error) => {
      told.push(['handlerError', error]);
      return true;
    },
    onUndecodable: (_, { topic, reason }) => told.push(['undecodable', topic, reason]),
    publish: () => false,
  });
  /** Lets everything that is on its way arrive, and what waits for the end of a turn happen. */
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 40; i++) {
      await new Promise((resolve) => setImmediate(resolve));
      clock.advance(0);
    }
  };
  const goOnline = async (): Promise<void> => {
    void subscription.linkUser.online(log.connect());
    await settle();
  };
  /** The connection breaks, and the client hears of it. */
  const breakOff = (): void => {
    log.far?.peer?.break();
    subscription.linkUser.offline(new Error('gone') as never);
  };
  return { log, clock, told, subscription, settle, goOnline, breakOff };
}

/** A handler that takes what it gets, and is done with each when the test says so. */
export function held() {
  const got: Message[] = [];
  const done: ((error?: unknown) => void)[] = [];
  const handler: MessageHandler = (message) => {
    got.push(message);
    return new Promise<void>((resolve, reject) => {
      done.push((error) => (error === undefined ? resolve() : reject(error)));
    });
  };
  return { got, done, handler };
}
