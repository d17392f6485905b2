/**
 * Members of shared groups of this node that are connected to other nodes. Each is a client without a connection: what goes to it goes by a stream to its node, and what
 * comes from there are its acknowledgements. Who it is, and what it may do, its own node looks after. [CLU-51]
 */

import { encodeSubscribed } from '../../../pubsub/acknowledgement.ts';
import { Command, Overflow, ReasonCode, SubscribeFlag } from '../../../pubsub/command.ts';
import { STREAM_PRIORITIES } from '../../../pubsub/message-stream.ts';
import { EVERYONE } from '../access/principal.ts';
import { type Channel, Client, Role } from '../delivery/client.ts';
import { ttlOfCommand } from '../delivery/expiry.ts';
import type { Subscription } from '../delivery/subscription.ts';
import { ack, nack } from '../handlers/ack.ts';
import { awaitsHead, readLog } from '../handlers/read-log.ts';
import type { BrokerState } from '../state.ts';
import { durableClaim } from './claim-keys.ts';
import {
  type NodeStream,
  type NodeStreams,
  STREAM_WINDOW_BYTES,
  StreamEnd,
  type StreamUser,
} from './node-stream.ts';
import { endFor, RelayEnd } from './relay.ts';
import { decodeRelayRequest, encodeSentAt, type RelayRequest } from './relay-request.ts';

export class Guests {
  private readonly broker: BrokerState;
  private readonly all = new Set<Guest>();

  constructor(broker: BrokerState, streams: NodeStreams) {
    this.broker = broker;
    streams.accept = (stream, body) => this.accept(stream, body);
  }

  /** This node is about to end: they go to another one now. */
  close(): void {
    for (const guest of [...this.all]) guest.dismiss(ReasonCode.SHUTTING_DOWN);
  }

  /** Another node has opened a stream for a member. Returns who hears of it, or why it ends. */
  private accept(stream: NodeStream, body: Uint8Array): StreamUser | number {
    const { broker } = this;
    const request = decodeRelayRequest(body);
    if (request === null) return endFor(ReasonCode.UNSUPPORTED);
    // It may just have gone to another node, or be about to.
    if (broker.shuttingDown || broker.claims?.holds(durableClaim(request.group)) !== true) {
      return endFor(ReasonCode.MOVED);
    }
    const guest = new Guest(broker, stream, request);
    guest.onOver = () => this.all.delete(guest);
    this.all.add(guest);
    const code = guest.begin(request);
    if (code === ReasonCode.NO_ERROR) return guest;
    guest.leave();
    return endFor(code);
  }
}

class Guest implements StreamUser {
  onOver: () => void = () => {};
  private readonly broker: BrokerState;
  private readonly stream: NodeStream;
  private readonly client: Client;
  private readonly channel: Channel;
  private subscription: Subscription | null = null;

  constructor(broker: BrokerState, stream: NodeStream, { messageBytesMax, owner }: RelayRequest) {
    this.broker = broker;
    this.stream = stream;
    const close = (code: number) => this.dismiss(code);
    this.client = new Client(new GuestPeer(close), broker.limits.queueBytesPerClientMax, broker.budget);
    this.client.principal = { ...EVERYONE, ...owner };
    this.client.greeted = true;
    this.client.connectedAt = broker.wallMs;
    this.channel = broker.open(
      this.client,
      new GuestLink(stream, messageBytesMax, broker, close),
      Role.SUBSCRIBING,
    );
  }

  /** Returns why the group is not for it, or NO_ERROR. */
  begin(request: RelayRequest): ReasonCode {
    const { broker, channel, client } = this;
    const { group, options, withoutSession, takesCompressed } = request;
    const isHeld =
      !broker.consumers.has(group) && awaitsHead(broker, group, options, () => this.goOn(request));
    if (isHeld) return ReasonCode.NO_ERROR;
    const flags = SubscribeFlag.QOS1 | (takesCompressed ? SubscribeFlag.COMPRESSED : 0);
    return readLog(broker, {
      ...{
        channel,
        filter: group,
        options,
        session: 0,
        withoutSession,
        takesCompressed,
        held: undefined,
        elsewhere: null,
      },
      principal: client.principal ?? EVERYONE,
      open: () => {
        const subscription = broker.subscribe(channel, POLICY, flags, {});
        // What is in no log its own node gives it.
        subscription.setOptions(true, EMPTY);
        this.subscription = subscription;
        return subscription;
      },
      answer: (start, answered) => {
        if (channel.closed || this.subscription === null) return;
        channel.delivery.answer(encodeSubscribed(0, start));
        answered?.();
      },
      claim: () => this.dismiss(ReasonCode.MOVED),
      refuse: (code) => this.dismiss(code),
    });
  }

  /** It may be known where the log ends. */
  private goOn(request: RelayRequest): void {
    if (this.client.closed) return;
    this.broker.actFor(this.client, () => {
      const code = this.begin(request);
      if (code !== ReasonCode.NO_ERROR) this.dismiss(code);
    });
  }

  received(message: Uint8Array): void {
    const { broker, channel, client, stream } = this;
    stream.taken(message.length);
    if (channel.closed) return;
    channel.commandsIn++;
    try {
      const code = broker.reader.read(message);
      if (code !== ReasonCode.NO_ERROR) this.dismiss(code);
      else if (broker.reader.command === Command.ACK) ack(broker, channel, message);
      else if (broker.reader.command === Command.NACK) nack(broker, channel, message);
      else this.dismiss(ReasonCode.UNSUPPORTED);
    } catch (error) {
      broker.failInternally(client, error);
    }
  }

  drained(): void {
    if (!this.channel.closed) this.channel.delivery.drained();
  }

  ended(code: number): void {
    const { broker, subscription } = this;
    if (
      code === RelayEnd.UNSUBSCRIBED &&
      subscription !== null &&
      broker.consumers.memberOf(subscription) !== null
    ) {
      broker.consumers.unsubscribe(subscription);
    }
    this.leave();
  }

  /** Its node is told why, and begins anew where the group is then. */
  dismiss(code: number): void {
    this.stream.end(endFor(code));
    this.leave();
  }

  /** It is not a member any more; what it has not settled is the others'. */
  leave(): void {
    if (this.subscription !== null) this.broker.consumers.awaitBack(this.subscription);
    this.onOver();
    if (!this.client.closed) this.broker.disconnect(this.client);
  }
}

/** A stream to the node of a guest, as the driver of the core knows those of clients (`CarryingLink`). */
class GuestLink {
  readonly id = 1;
  readonly priority = STREAM_PRIORITIES.indexOf('chat');
  readonly messageBytesMax: number;
  private readonly stream: NodeStream;
  private readonly time: { readonly evenMs: number };
  private readonly close: (code: number) => void;

  constructor(
    stream: NodeStream,
    messageBytesMax: number,
    time: { readonly evenMs: number },
    close: (code: number) => void,
  ) {
    this.stream = stream;
    this.messageBytesMax = messageBytesMax;
    this.time = time;
    this.close = close;
  }

  get queuedBytes(): number {
    return this.stream.queuedBytes;
  }

  get roomBytes(): number {
    return STREAM_WINDOW_BYTES - this.stream.queuedBytes;
  }

  send(bytes: Uint8Array): boolean {
    const { stream } = this;
    if (ttlOfCommand(bytes) > 0) stream.send(encodeSentAt(this.time.evenMs));
    return stream.send(bytes);
  }

  sendFor(bytes: Uint8Array): boolean {
    return this.send(bytes);
  }

  limit(): void {}

  pause(): void {
    this.stream.pause();
  }

  resume(): void {
    this.stream.resume();
  }

  end(): void {
    this.stream.end(StreamEnd.DONE);
  }

  reset(code: number): void {
    this.close(code);
  }
}

/** Its connection, as the driver knows those of clients (`CarryingPeer`). */
class GuestPeer {
  readonly openableStreams = 0;
  readonly close: (code: number) => void;

  constructor(close: (code: number) => void) {
    this.close = close;
  }

  open(): void {}
}

const EMPTY = new Uint8Array(0);
const POLICY = { overflow: Overflow.BLOCK, messages: 0, bytes: 0 };
