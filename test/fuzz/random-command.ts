import type { Prng } from '../../src/base/random.ts';
import { encodeAck, encodeAckRanges, encodeNack, NACK_BACKOFF } from '../../src/pubsub/acknowledgement.ts';
import {
  Command,
  encodeAlias,
  encodePlain,
  encodeSubscribe,
  encodeUnsubscribe,
  encodeWill,
  PublishFlag,
  publishPrefix,
  SubscribeFlag,
} from '../../src/pubsub/command.ts';
import { type DeliveryClass, encodeProperties, type Properties } from '../../src/pubsub/properties.ts';
import {
  BROKER_PROTOCOL_VERSION,
  EXPIRY_NEVER,
  encodeHello,
  encodeRenew,
} from '../../src/pubsub/session-commands.ts';
import {
  encodeSubscribeOptions,
  type RetainedHandling,
  type StartKind,
} from '../../src/pubsub/subscribe-options.ts';

export type StreamRole = 'control' | 'publishing' | 'subscribing';

/**
 * Well-formed commands of a client, of all kinds, with names and numbers out of small pools, so that they meet each other: sessions and durables are taken over,
 * what is acknowledged was delivered, aliases were defined. What they ask for is often wrong all the same.
 */
export class RandomCommands {
  private readonly random: Prng;
  /** The ids rise, most of the time. */
  private id = 1;

  constructor(random: Prng) {
    this.random = random;
  }

  /** One for a stream of that role, most of the time. */
  next(role: StreamRole): Uint8Array {
    const id = this.small();
    switch (this.random.chance(0.99) ? role : this.pick(ROLES)) {
      case 'control':
        return this.control(id);
      case 'publishing':
        return this.publishing(id);
      case 'subscribing':
        return this.subscribing(id);
    }
  }

  private control(id: number): Uint8Array {
    const { random } = this;
    switch (random.below(5)) {
      case 0:
      case 1: {
        const flags = random.chance(0.3) ? PublishFlag.RETAIN : 0;
        return encodeWill(id, this.pick(TOPICS), flags, this.pick([0, 100, 60_000]), Buffer.from('gone'));
      }
      case 2:
        return encodePlain(Command.WILL, id);
      case 3:
        return encodePlain(Command.PING, id);
      default:
        return random.chance(0.8)
          ? encodeRenew(id, this.pick([0, 1, 2, 3]), new Uint8Array(random.between(1, 30)))
          : this.hello(this.pick(SESSIONS));
    }
  }

  private publishing(id: number): Uint8Array {
    const { random } = this;
    switch (random.below(8)) {
      case 0:
        return encodeAlias(random.between(1, random.chance(0.95) ? 256 : 300), this.pick(TOPICS));
      case 1:
        return encodePlain(this.pick([Command.FLUSH, Command.PING]), id);
      default:
        return this.publish();
    }
  }

  private subscribing(id: number): Uint8Array {
    const { random } = this;
    switch (random.below(9)) {
      case 0:
      case 1:
      case 2:
        return this.subscribe();
      case 3:
        return encodeUnsubscribe(id, this.pick(FILTERS));
      case 4:
      case 5:
        return encodeAck(random.below(40), this.pick([0, 0, 1, 2, 4]));
      case 6: {
        const ranges = Array.from(
          { length: random.between(1, 4) },
          () => [this.number(), this.number()] as const,
        );
        return encodeAckRanges(ranges, this.pick([0, 2, 4]));
      }
      case 7: {
        const reason = this.pick(['', 'why', 'x'.repeat(300)]);
        return encodeNack(random.below(40), this.pick([0, 10, 5_000, NACK_BACKOFF]), reason);
      }
      default:
        return encodePlain(Command.MARKED, id);
    }
  }

  hello(session: string): Uint8Array {
    const { random } = this;
    return encodeHello(this.small(), {
      version: random.chance(0.95) ? BROKER_PROTOCOL_VERSION : random.below(256),
      cleanStart: random.chance(0.2),
      aliases: this.pick([0, 16, 65_535]),
      capabilities: random.chance(0.95) ? 0 : 1,
      expiryMs: this.pick([0, 100, 60_000, EXPIRY_NEVER]),
      method: random.chance(0.9) ? 0 : this.pick([1, 2, 3]),
      session,
      credentials: new Uint8Array(random.chance(0.9) ? 0 : 40),
    });
  }

  private publish(): Uint8Array {
    const { random } = this;
    const isQos1 = random.chance(0.5);
    const hasProperties = random.chance(0.5);
    const isAliased = random.chance(0.1);
    if (isQos1 && random.chance(0.9)) this.id++;
    const flags =
      (isQos1 ? PublishFlag.QOS1 : 0) |
      (random.chance(0.2) ? PublishFlag.RETAIN : 0) |
      (hasProperties ? PublishFlag.PROPERTIES : 0) |
      (random.chance(0.05) ? PublishFlag.COMPRESSED : 0);
    const id = isQos1 ? this.pick([this.id, this.id, this.id, 1, 0xffff_ffff]) : 0;
    const prefix = publishPrefix(isAliased ? 'x' : this.pick(TOPICS), flags, id);
    if (isAliased) {
      prefix[1] |= PublishFlag.ALIAS;
      prefix.writeUInt16BE(random.between(1, 300), 2);
    }
    const properties = hasProperties ? encodeProperties(this.properties()) : Buffer.alloc(0);
    const start = isAliased ? prefix.subarray(0, 8) : prefix;
    return Buffer.concat([start, properties, Buffer.alloc(random.chance(0.2) ? 0 : random.below(60))]);
  }

  private properties(): Properties {
    const { random } = this;
    return {
      ttlMs: random.chance(0.3) ? this.pick([0, 1, 500, 100_000]) : undefined,
      replyTopic: random.chance(0.2)
        ? this.pick([...TOPICS, '$inbox/s0/1', '$inbox/other/2', '+'])
        : undefined,
      correlation: random.chance(0.2) ? Buffer.of(1, 2) : undefined,
      deliveryClass: random.chance(0.3) ? (random.below(4) as DeliveryClass) : undefined,
      messageId: random.chance(0.2) ? this.pick(['m1', 'm2']) : undefined,
      status: random.chance(0.1) ? 503 : undefined,
      owned: random.chance(0.2) ? this.pick([0, 100, 10_000]) : undefined,
      key: random.chance(0.3) ? this.pick(['k1', 'k2']) : undefined,
      publishedAt: random.chance(0.1) ? 5 : undefined,
      attempt: random.chance(0.1) ? 9 : undefined,
      headers: random.chance(0.2) ? { __proto__x: 'y', constructor: 'z' } : undefined,
    };
  }

  private subscribe(): Uint8Array {
    const { random } = this;
    const flags =
      random.below(4) |
      (random.chance(0.5) ? SubscribeFlag.QOS1 : 0) |
      (random.chance(0.2) ? SubscribeFlag.NO_RETAINED : 0) |
      (random.chance(0.2) ? SubscribeFlag.NO_LOCAL : 0) |
      (random.chance(0.2) ? SubscribeFlag.LANES : 0);
    const options = random.chance(0.4)
      ? new Uint8Array(0)
      : encodeSubscribeOptions({
          name: random.chance(0.6) ? this.pick(['d1', 'd2', 'd3']) : undefined,
          start: random.chance(0.5) ? (random.below(6) as StartKind) : undefined,
          startValue: this.pick([0, 1, 30, 2 ** 40]),
          epoch: random.chance(0.1) ? 7 : undefined,
          unackedMax: random.chance(0.4) ? this.pick([0, 1, 5, 0xffff_ffff]) : undefined,
          ackWaitMs: random.chance(0.4) ? this.pick([0, 50, 5_000]) : undefined,
          backoffMs: random.chance(0.3) ? [10, 0, 5_000] : undefined,
          deliveriesMax: random.chance(0.3) ? this.pick([0, 1, 2]) : undefined,
          deadLetter: random.chance(0.2) ? this.pick([...TOPICS, '+']) : undefined,
          rateMax: random.chance(0.1) ? this.pick([0, 1, 100]) : undefined,
          expiryMs: random.chance(0.3) ? this.pick([0, 100, 100_000]) : undefined,
          keyOrder: random.chance(0.2),
          retained: random.chance(0.2) ? (random.below(3) as RetainedHandling) : undefined,
          deliveryClass: random.chance(0.2) ? (random.below(4) as DeliveryClass) : undefined,
        });
    return encodeSubscribe(
      this.small(),
      this.pick(FILTERS),
      flags,
      random.below(3),
      random.below(2) * 2_000,
      options,
    );
  }

  private small(): number {
    return this.random.between(1, 5);
  }

  /** Of an offset or a count. */
  private number(): number {
    return this.random.chance(0.9) ? this.random.below(30) : 0xffff_ffff - this.random.below(3);
  }

  private pick<T>(choices: readonly T[]): T {
    return choices[this.random.below(choices.length)];
  }
}

const ROLES = ['control', 'publishing', 'subscribing'] as const;
const SESSIONS = ['', 's0', 's1', 's2'];
const TOPICS = ['a', 'a/b', 'b', 'b/c', 'dead', 'a', 'b', 'a/b', '$inbox/s0/1'];
const FILTERS = [
  'a',
  'a/b',
  '+',
  '#',
  'a/#',
  'b/+',
  '$share/g/a/#',
  '$share/g/#',
  '$share/g',
  '$inbox/s0/#',
  '$x',
];
