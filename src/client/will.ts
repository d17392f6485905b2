/** What the broker is to publish in the client's place, should it not come back: the will of its session. [CLT-37] */

import { anything, checkOptions, type OptionTable, text, whole } from '../base/options.ts';
import { Command, encodePlain, encodeWill, PublishFlag } from '../pubsub/command.ts';
import { assertTopic } from '../pubsub/topic.ts';
import { assertPayload, type Codec, encodeWith } from './codec.ts';
import { closedError } from './command-stream.ts';
import type { Link, LinkUser } from './link.ts';
import { PUBLISH_OPTIONS, type PublishOptions, propertiesOf } from './publish-options.ts';

/** A message that the broker publishes when the session of this client ends without a goodbye, or is without a connection for long enough. */
export interface Will<T = unknown>
  extends Pick<
    PublishOptions<T>,
    | 'qos'
    | 'retain'
    | 'ttlMs'
    | 'replyTo'
    | 'correlation'
    | 'contentType'
    | 'key'
    | 'headers'
    | 'class'
    | 'traceparent'
    | 'codec'
  > {
  readonly topic: string;
  readonly payload: T | Uint8Array | string;
  /** How long after the end of the connection, in ms, if the client is not back by then. Default 0. The end of the session does not wait for it. */
  readonly delayMs?: number | undefined;
}

/** The will of a client, told to the broker on each connection. */
export class WillKeeper implements LinkUser {
  /** Told when a broker does not take on a later connection what it was told before. */
  private readonly onRefused: (error: Error) => void;
  private link: Link | null = null;
  private encode: ((id: number) => Buffer) | null = null;
  private waiting: { resolve(): void; reject(error: Error): void }[] = [];

  constructor(onRefused: (error: Error) => void) {
    this.onRefused = onRefused;
  }

  /** Resolves when the broker has it; a client without a connection tells it when it is back. */
  async set(will: Will | null, codec: Codec<unknown> | null): Promise<void> {
    this.encode = will === null ? encodeNoWill : encoderOf(will, codec);
    const answered = new Promise<void>((resolve, reject) => this.waiting.push({ resolve, reject }));
    if (this.link !== null) void this.tell(this.link);
    await answered;
  }

  /** A client that goes of its own accord needs none: told in time for the end of the connection, which waits until it has arrived. */
  takeBack(): void {
    if (this.encode === null || this.link === null) return;
    this.encode = null;
    this.link.control.ask(encodeNoWill).catch(() => {});
  }

  online(link: Link): Promise<void> | void {
    this.link = link;
    if (this.encode !== null) return this.tell(link);
  }

  offline(): void {
    this.link = null;
  }

  closed(reason: Error | null): void {
    this.link = null;
    for (const { reject } of this.waiting.splice(0)) reject(reason ?? closedError());
  }

  /** It rejects never. What the connection has failed is told again on the next. */
  private async tell(link: Link): Promise<void> {
    const { encode } = this;
    const waiting = this.waiting.length;
    try {
      await link.control.ask(encode as (id: number) => Buffer);
    } catch (error) {
      if (this.link !== link || link.isOver) return;
      const refused = this.waiting.splice(0, waiting);
      for (const { reject } of refused) reject(error as Error);
      if (refused.length === 0) this.onRefused(error as Error);
      return;
    }
    for (const { resolve } of this.waiting.splice(0, waiting)) resolve();
  }
}

/** @throws {JspError} as a publish of the will would */
function encoderOf(will: Will, usualCodec: Codec<unknown> | null): (id: number) => Buffer {
  checkOptions('setWill', will, WILL_OPTIONS);
  const { topic, delayMs = 0, codec = usualCodec } = will;
  assertTopic(topic);
  const payload = codec === null ? will.payload : encodeWith(codec, will.payload);
  assertPayload(payload);
  const contentType = will.contentType ?? codec?.contentType;
  const properties = propertiesOf({ ...will, contentType });
  let flags = will.qos === 1 ? PublishFlag.QOS1 : 0;
  if (will.retain) flags |= PublishFlag.RETAIN;
  if (properties !== null) flags |= PublishFlag.PROPERTIES;
  const rest = Buffer.concat([properties ?? Buffer.alloc(0), Buffer.from(payload as Uint8Array)]);
  return (id) => encodeWill(id, topic, flags, delayMs, rest);
}

function encodeNoWill(id: number): Buffer {
  return encodePlain(Command.WILL, id);
}

const {
  priority: _,
  compression: __,
  signal: ___,
  messageId: ____,
  owned: _____,
  status: ______,
  ...OF_PUBLISH
} = PUBLISH_OPTIONS;
const WILL_OPTIONS: OptionTable<Will> = {
  ...OF_PUBLISH,
  topic: text,
  payload: anything,
  delayMs: whole(0, 2 ** 32 - 1),
};
