import type { BrokerCore } from '../../../src/broker/core/broker-core.ts';
import type { Channel, Client } from '../../../src/broker/core/delivery/client.ts';
import {
  Command,
  encodePlain,
  encodeSubscribe,
  encodeUnsubscribe,
  Overflow,
  publishPrefix,
} from '../../../src/pubsub/command.ts';
import type { ConnectionFacts } from '../../../src/pubsub/message-stream.ts';
import { FakeLink, FakePeer } from './fake-link.ts';

/** What the client's transport says of a stream. */
interface LinkOptions {
  priority?: number;
  messageBytesMax?: number;
}

/** One stream of a {@link FakeClient}. What the client sends waits here while the broker does not read. */
export class FakeStream {
  readonly link: FakeLink;
  readonly channel: Channel;
  readonly inbox: Uint8Array[] = [];
  private readonly core: BrokerCore;

  constructor(core: BrokerCore, end: Client, mark: number, options: LinkOptions) {
    this.core = core;
    this.link = new FakeLink(mark, options);
    this.channel = core.opened(end, this.link);
  }

  send(command: Uint8Array): void {
    this.inbox.push(command);
    this.pump();
  }

  publish(topic: string, payload: string): Uint8Array {
    const message = Buffer.concat([publishPrefix(topic), Buffer.from(payload)]);
    this.send(message);
    return message;
  }

  subscribe(id: number, filter: string, overflow: Overflow = Overflow.BLOCK, messages = 0, bytes = 0): void {
    this.send(encodeSubscribe(id, filter, overflow, messages, bytes));
  }

  unsubscribe(id: number, filter: string): void {
    this.send(encodeUnsubscribe(id, filter));
  }

  flush(id: number): void {
    this.send(encodePlain(Command.FLUSH, id));
  }

  ping(id: number, body = ''): void {
    this.send(encodePlain(Command.PING, id, Buffer.from(body)));
  }

  /** Gives the broker what waits, as long as it reads. */
  pump(): void {
    while (this.inbox.length > 0 && !this.link.paused) {
      this.core.received(this.channel, this.inbox.shift() as Uint8Array);
    }
  }

  /** The client receives up to `count` messages. */
  carry(count?: number): void {
    if (this.link.carry(count)) this.core.drained(this.channel);
  }

  end(): void {
    this.core.ended(this.channel);
  }
}

export class FakeClient {
  readonly peer: FakePeer;
  /** Its end in the broker. */
  readonly end: Client;
  private readonly core: BrokerCore;

  constructor(core: BrokerCore, facts?: ConnectionFacts) {
    this.core = core;
    this.peer = new FakePeer(core, facts);
    this.end = core.connected(this.peer);
  }

  /** @param mark - messages the stream's transport takes towards the client before it says enough */
  open(mark = Number.POSITIVE_INFINITY, options: LinkOptions = {}): FakeStream {
    return new FakeStream(this.core, this.end, mark, options);
  }

  disconnect(): void {
    this.core.disconnected(this.end);
  }
}
