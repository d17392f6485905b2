/**
 * Live messages between the nodes of a cluster. What a client of this node publishes goes to its own subscribers and, by {@link LiveMessages.publish}, to the other nodes; what comes from
 * there goes to subscribers of this node and nowhere else. [CLU-7] A message for a shared group goes to one node of those that have members, this one perhaps. [CLU-9]
 */

import { NEVER } from '../../../base/time.ts';
import {
  Command,
  type CommandReader,
  DropReason,
  PublishFlag,
  ReasonCode,
  topicEndOf,
} from '../../../pubsub/command.ts';
import type { FilterEntry, Router } from '../../../pubsub/router.ts';
import { Channel, Client, Role, type StreamServices } from '../delivery/client.ts';
import type { FanOut } from '../delivery/fan-out.ts';
import type { Subscription } from '../delivery/subscription.ts';
import type { SharedGroups } from '../durable/shared-group.ts';
import { NOWHERE } from '../publishing/own-publisher.ts';
import type { Time } from '../timers.ts';
import type { BackplaneEvents, BackplanePort } from './backplane-port.ts';
import { OpenRequests } from './open-requests.ts';

/** What it needs of the broker. */
export interface LiveSurroundings extends StreamServices, Time {
  readonly reader: CommandReader;
  readonly router: Router<Subscription>;
  readonly groups: SharedGroups;
  readonly fanOut: FanOut;
  readonly retained: { readonly replays: number; onLive(message: Uint8Array): void };
}

export class LiveMessages implements Partial<BackplaneEvents> {
  /** What came from other nodes and was no message, and what did not come. */
  invalid = 0;
  missing = 0;
  readonly requests: OpenRequests;
  private readonly broker: LiveSurroundings;
  private readonly port: BackplanePort;
  /** Whom messages of other nodes are from: somebody who cannot be stopped. */
  private readonly publisher: Channel;

  constructor(broker: LiveSurroundings, port: BackplanePort) {
    this.broker = broker;
    this.port = port;
    this.publisher = unstoppable(broker);
    this.requests = new OpenRequests(broker, (message, priority, deadlineMs, number) =>
      port.publish(message, topicEndOf(message), priority, this.lifeOf(deadlineMs), number),
    );
  }

  /** Shared groups get their messages by the backplane, also those of this node. */
  get servesGroups(): boolean {
    return this.port.isConnected;
  }

  /** The other nodes cannot be given a message so large. [CLU-5] */
  isTooLarge(message: Uint8Array): boolean {
    return message.length > this.port.messageBytesMax;
  }

  /**
   * Hands a message, as subscribers of QoS 0 get it, to the other nodes.
   *
   * @param deadlineMs - when it is not to be delivered any more
   * @param marks - as `FanOut.offer` has them: QOS1, its readers on all nodes get it from its log; RETAIN, it was published so
   * @param unanswered - what is done when nobody anywhere wants it; null: nothing
   * @returns whether somebody elsewhere may want it
   */
  publish(
    message: Uint8Array,
    priority: number,
    deadlineMs: number,
    marks: number,
    unanswered: (() => void) | null,
  ): boolean {
    const { port, requests } = this;
    const { isConnected } = port;
    const isTooLarge = this.isTooLarge(message);
    const asks = unanswered !== null && isConnected && !isTooLarge;
    const request = asks ? requests.add(message, priority, deadlineMs, unanswered) : 0;
    const isStored = (marks & PublishFlag.QOS1) !== 0;
    // The port copies the bytes: nobody else sees them like this.
    message[1] |= marks;
    if (isStored) message[ID_END] = STORED_ID;
    port.publish(message, topicEndOf(message), priority, this.lifeOf(deadlineMs), request);
    message[1] &= ~marks;
    if (isStored) message[ID_END] = 0;
    if (isTooLarge) unanswered?.(); // nobody elsewhere hears of it
    return isConnected;
  }

  /** A message of another node, or one for a group. */
  message(message: Uint8Array, priority: number, deadlineMs: number, group: string | null): void {
    const { reader, router, groups, fanOut, retained, nowMs } = this.broker;
    const code = reader.read(message);
    const isWell =
      code === ReasonCode.NO_ERROR && reader.command === Command.PUBLISH && (message[1] & ~FLAGS) === 0;
    const entries = isWell ? router.route(message, topicEndOf(message)) : null;
    if (entries === null) {
      this.invalid++;
      return;
    }
    if (deadlineMs <= nowMs) return; // at most once, and not too late
    const marks = message[1] & MARKS;
    if ((marks & PublishFlag.QOS1) !== 0) message.fill(0, 4, 8);
    message[1] &= ~MARKS;
    if (retained.replays > 0 && group === null) retained.onLive(message); // [BRK-106] who gets it needs no last value
    const chosen = group === null ? entries : [groups.chosenIn(group, message)];
    fanOut.offer(message, chosen, this.publisher, priority, deadlineMs, marks);
  }

  /** [CLU-8] told to those who would have got them, but for readers of logs: those may have been stored. */
  missed(count: number, message: Uint8Array): void {
    const { reader, router } = this.broker;
    this.missing += count;
    if (reader.read(message) !== ReasonCode.NO_ERROR || reader.command !== Command.PUBLISH) return;
    const entries: readonly FilterEntry<Subscription>[] = router.route(message, topicEndOf(message)) ?? [];
    const told = new Set<Subscription>();
    for (const { subscribers } of entries) {
      for (const subscriber of subscribers) {
        if (told.has(subscriber) || subscriber.readsLog || subscriber.main.closed) continue;
        told.add(subscriber);
        subscriber.main.delivery.skip(DropReason.CLUSTER, count);
      }
    }
  }

  private lifeOf(deadlineMs: number): number {
    return deadlineMs === NEVER ? NEVER : Math.max(0, deadlineMs - this.broker.nowMs);
  }
}

/** A publisher whose messages do not wait for a full queue: they are left out there, which is told. */
function unstoppable(broker: StreamServices): Channel {
  const client = new Client({ openableStreams: 0 }, 0, { usedBytes: 0, messages: 0, bytesMax: 0 });
  client.closed = true; // nothing goes to it
  client.chargeWaiting(0); // as much as it may
  const channel = new Channel(client, NOWHERE, broker);
  channel.role = Role.PUBLISHING;
  return channel;
}

/** What a message has of its flags only on its way: QoS 1 if it is stored, RETAIN if it was published with that. */
const MARKS = PublishFlag.QOS1 | PublishFlag.RETAIN;
const FLAGS = PublishFlag.PROPERTIES | PublishFlag.COMPRESSED | MARKS;
/** Last byte of the id, and what it is of one that is stored, which has to have one. */
const ID_END = 7;
const STORED_ID = 1;
