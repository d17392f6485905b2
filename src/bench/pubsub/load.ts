/** What `jsp bench pubsub` puts on a broker: which messages there are, when each is due, and how its subscribers know it again. */

export interface PubsubLoad {
  /** All topics of the run begin with it. */
  readonly prefix: string;
  readonly topics: number;
  /** Bytes of a message. */
  readonly size: number;
  readonly publishers: number;
  readonly subscribers: number;
  /** Each message goes to one of the subscribers, which are a shared group, not to all. */
  readonly shared: boolean;
  readonly overflow: 'block' | 'dropOldest' | 'dropNewest';
  readonly qos: 0 | 1;
  /** With QoS 1: messages of a publisher that the broker has not acknowledged, at most. */
  readonly window: number;
  /** With QoS 1: the broker keeps where each subscriber is. */
  readonly durable: boolean;
  /** Messages a second of all publishers together; 0 for as many as the broker takes. */
  readonly rate: number;
  readonly warmUpSeconds: number;
  readonly seconds: number;
}

/** The topic of a publisher's message: they take turns. */
export function topicOf({ prefix, topics }: PubsubLoad, number: number): string {
  return `${prefix}/${number % topics}`;
}

/**
 * When the messages of one publisher are due: those of all publishers are evenly spaced, and the publishers take turns. A message is due then whatever
 * became of those before it, so that what holds the broker up is in the latency of all that it has held up (no coordinated omission).
 */
export class Schedule {
  /** Messages of the warm-up, then those that are measured. */
  readonly warmUp: number;
  readonly measured: number;
  private readonly start: number;
  private readonly period: number;
  private readonly publishers: number;
  private readonly publisher: number;

  /**
   * @param publisher - its number, from 0 on
   * @param startMicros - when the first publisher's first message is due
   */
  constructor(load: PubsubLoad, publisher: number, startMicros: number) {
    const { publishers, rate, warmUpSeconds, seconds } = load;
    const upTo = (messages: number): number => Math.max(0, Math.ceil((messages - publisher) / publishers));
    const warmUp = Math.round(rate * warmUpSeconds);
    this.warmUp = upTo(warmUp);
    this.measured = upTo(warmUp + Math.round(rate * seconds)) - this.warmUp;
    this.start = startMicros;
    this.period = 1e6 / rate;
    this.publishers = publishers;
    this.publisher = publisher;
  }

  /** Of its message `index`, counted from the first of the warm-up on. */
  dueMicros(index: number): number {
    return this.start + (index * this.publishers + this.publisher) * this.period;
  }
}

/**
 * What each message begins with:
 *
 *     0   f64   when it was due, in microseconds of the clock that the machine's processes share
 *     8   u32   its publisher, from 0 on
 *    12   u32   its number there, from 1 on; 0 in the warm-up
 */
export const STAMP_BYTES = 16;

export function stamp(message: Buffer, dueMicros: number, publisher: number, number: number): void {
  message.writeDoubleBE(dueMicros, 0);
  message.writeUInt32BE(publisher, 8);
  message.writeUInt32BE(number, 12);
}

export function dueMicrosOf(message: Buffer): number {
  return message.readDoubleBE(0);
}

export function publisherOf(message: Buffer): number {
  return message.readUInt32BE(8);
}

export function numberOf(message: Buffer): number {
  return message.readUInt32BE(12);
}
