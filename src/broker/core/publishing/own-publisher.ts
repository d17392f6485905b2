/**
 * What the broker itself publishes. Wills, and the leaving of those who are gone, go the way of a client's message, from a stream that nobody is at the other end of; so they
 * wait for a full queue as theirs do, up to a bound, and are stored where theirs are. What operators are told goes at once to those who are subscribed.
 *
 * The former is published when the core has nothing else to do in its turn: not in the middle of what it was doing when the message came to be.
 */

import { Ring } from '../../../base/ring.ts';
import { NEVER } from '../../../base/time.ts';
import { PublishFlag, publishPrefix } from '../../../pubsub/command.ts';
import { STREAM_PRIORITIES } from '../../../pubsub/message-stream.ts';
import { encodeProperties, type Properties } from '../../../pubsub/properties.ts';
import type { FilterEntry } from '../../../pubsub/router.ts';
import { Channel, Client, Role, type StreamServices } from '../delivery/client.ts';
import type { FanOut } from '../delivery/fan-out.ts';
import type { Subscription } from '../delivery/subscription.ts';
import type { Link } from '../output.ts';
import { Session } from '../session/session.ts';

/** What it needs of the broker. */
export interface OwnPublisherSurroundings extends StreamServices {
  readonly router: { matching(topic: string): readonly FilterEntry<Subscription>[] };
  readonly fanOut: Pick<FanOut, 'offer'>;
}

export class OwnPublisher {
  private readonly broker: OwnPublisherSurroundings;
  private readonly client: Client;
  private readonly session: Session;
  private readonly messages = new Ring<Uint8Array>();
  private stream: Channel;
  private lastId = 0;

  /** @param waitingBytesMax - of messages that wait for full queues; further ones are left out where they would have to */
  constructor(broker: OwnPublisherSurroundings, waitingBytesMax: number) {
    this.broker = broker;
    this.client = new Client({ openableStreams: 0 }, waitingBytesMax, {
      usedBytes: 0,
      messages: 0,
      bytesMax: 0,
    });
    this.client.closed = true; // nothing goes to it
    this.session = new Session(this.client);
    this.stream = this.open();
  }

  /** @param message - a PUBLISH, which is the broker's from now on; it is given an id if it needs one */
  push(message: Uint8Array): void {
    this.messages.push(message);
  }

  /** Publishes at once, at QoS 0, to those who are subscribed now. */
  tell(topic: string, payload: Uint8Array, properties: Properties): void {
    const { router, fanOut } = this.broker;
    const entries = router.matching(topic);
    if (entries.length === 0) return;
    const prefix = publishPrefix(topic, PublishFlag.PROPERTIES);
    const message = Buffer.concat([prefix, encodeProperties(properties), payload]);
    const { channel } = this;
    fanOut.offer(message, entries, channel, channel.priority, NEVER, 0);
  }

  /**
   * @param storesNamed - whether messages with a message id are taken now: one that is stored waits until they are, for in the meantime those behind it would get larger ids
   */
  hasNext(storesNamed: boolean): boolean {
    const next = this.messages.peek();
    return next !== undefined && (storesNamed || (next[1] & PublishFlag.QOS1) === 0);
  }

  next(): Uint8Array {
    const message = this.messages.shift() as Uint8Array;
    if ((message[1] & PublishFlag.QOS1) !== 0) this.setId(message);
    return message;
  }

  /** Where the next message is published: not where one still waits for a queue. */
  get channel(): Channel {
    if (this.stream.stopped) this.stream = this.open();
    return this.stream;
  }

  sessionOf(channel: Channel): Session | null {
    return channel.client === this.client ? this.session : null;
  }

  private setId(message: Uint8Array): void {
    this.lastId = this.lastId === ID_MAX ? 1 : this.lastId + 1;
    new DataView(message.buffer, message.byteOffset).setUint32(4, this.lastId);
  }

  private open(): Channel {
    const channel = new Channel(this.client, NOWHERE, this.broker);
    channel.role = Role.PUBLISHING;
    return channel;
  }
}

/** The stream of what the broker itself publishes. */
export const NOWHERE: Link = {
  id: -1,
  priority: STREAM_PRIORITIES.indexOf('chat'),
  messageBytesMax: Number.POSITIVE_INFINITY,
  queuedBytes: 0,
  roomBytes: 0,
};
const ID_MAX = 0xffff_ffff;
