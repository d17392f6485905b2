/** Topic aliases of one connection, both ways (MQTT 5, section 3.3.2.3.4): numbers that stand for topics. [MQT-17] */

import { HEADER_BYTES } from '../../pubsub/command.ts';

export class TopicAliases {
  /** Those of the client; null: it has none, as most. */
  private defined: Map<number, Buffer> | null = null;
  /** Ours: given to the topics that come first. */
  private given: Map<string, number> | null = null;
  private told: Set<number> | null = null;
  private readonly givenMax: number;

  /**
   * @param definedMax - that the client may define
   * @param takenMax - that it takes
   */
  constructor(definedMax: number, takenMax: number) {
    this.givenMax = Math.min(takenMax, Math.max(definedMax, GIVEN_MAX));
  }

  /** The client says what an alias stands for from now on. */
  define(alias: number, topic: Buffer): void {
    this.defined ??= new Map();
    const known = this.defined.get(alias);
    if (known?.equals(topic) === true) return;
    const own = Buffer.allocUnsafeSlow(topic.length); // kept for long, and nothing of Node's pool with it
    topic.copy(own);
    this.defined.set(alias, own);
  }

  topicOf(alias: number): Buffer | undefined {
    return this.defined?.get(alias);
  }

  /** The alias of the topic of a message to the client; 0: it has none. */
  aliasFor(message: Buffer, topicEnd: number): number {
    if (this.givenMax === 0 || topicEnd - HEADER_BYTES <= SHORT_BYTES) return 0;
    const topic = message.toString('latin1', HEADER_BYTES, topicEnd);
    this.given ??= new Map();
    const known = this.given.get(topic);
    if (known !== undefined) return known;
    if (this.given.size >= this.givenMax) return 0;
    const alias = this.given.size + 1;
    this.given.set(topic, alias);
    return alias;
  }

  isTold(alias: number): boolean {
    return this.told?.has(alias) === true;
  }

  /** A packet that says what it stands for was sent. */
  tell(alias: number): void {
    this.told ??= new Set();
    this.told.add(alias);
  }
}

/** An alias is three bytes. */
const SHORT_BYTES = 4;
const GIVEN_MAX = 64;
