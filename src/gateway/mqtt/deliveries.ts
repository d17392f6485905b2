/**
 * What a client is sent: each message as a PUBLISH, and those of QoS 1 by packet identifier until it has acknowledged them. The identifier of a message follows from its place in
 * the log, so that it is the same one when the message comes again after a reconnect, and an acknowledgement that was on its way names no other message. [MQT-16]
 */

import type { TopicAliases } from './aliases.ts';
import type { MqttCounters } from './limits.ts';
import type { OutgoingPublish } from './publish.ts';
import type { MqttDelivery, SettledSource } from './subscriptions.ts';

/** What holds for all messages to a client. */
export interface DeliveryTerms {
  readonly isV5: boolean;
  /** Messages of QoS 1 that it has before it acknowledges the first. */
  readonly receiveMaximum: number;
  readonly packetBytesMax: number;
  /** Null: there are none. */
  readonly aliases: TopicAliases | null;
}

interface InFlight {
  /** Null: a last value, which no log has. */
  readonly source: SettledSource | null;
  readonly offset: number;
}

export class Deliveries {
  private readonly terms: DeliveryTerms;
  private readonly outgoing: OutgoingPublish;
  private readonly counters: MqttCounters;
  private readonly send: (packet: Buffer) => void;
  /** Null: no message of QoS 1 has come. */
  private inFlight: Map<number, InFlight> | null = null;
  private lastId = 0;

  /**
   * @param around - writes and counts them
   * @param send - sends a packet to the client
   */
  constructor(
    terms: DeliveryTerms,
    around: { readonly outgoing: OutgoingPublish; readonly counters: MqttCounters },
    send: (packet: Buffer) => void,
  ) {
    this.terms = terms;
    this.outgoing = around.outgoing;
    this.counters = around.counters;
    this.send = send;
  }

  /**
   * Sends a message; of QoS 1 there is room for it.
   *
   * @returns whether that was the last one of QoS 1 for which there is room
   */
  deliver(delivery: MqttDelivery): boolean {
    const { isV5, aliases } = this.terms;
    const { message, topicEnd, payload, qos, isRetained, subscriptionIds, source, offset } = delivery;
    const topicAlias = aliases === null ? 0 : aliases.aliasFor(message, topicEnd);
    if (qos === 0 && topicAlias === 0 && subscriptionIds.length === 0) {
      this.sendMessage(this.outgoing.shared(message, topicEnd, payload, isRetained, isV5));
      return false;
    }
    const packetId = qos === 0 ? 0 : this.add(source, offset);
    const isAliasKnown = topicAlias > 0 && aliases?.isTold(topicAlias) === true;
    const isDuplicate = delivery.isRedelivered;
    const packet = this.outgoing.write(
      message,
      topicEnd,
      payload,
      { qos, isRetained, isDuplicate, packetId, topicAlias, isAliasKnown, subscriptionIds },
      isV5,
    );
    if (!this.sendMessage(packet)) {
      if (packetId > 0) this.settle(packetId);
      return false;
    }
    if (topicAlias > 0) aliases?.tell(topicAlias);
    if (packetId === 0) return false;
    this.counters.deliveredQos1++;
    return this.isFull;
  }

  /**
   * The client has acknowledged it. One of an earlier connection names nothing, and does nothing. [MQT-16]
   *
   * @returns whether there is room again where there was none
   */
  acknowledged(packetId: number): boolean {
    const wasFull = this.isFull;
    this.settle(packetId);
    return wasFull && !this.isFull;
  }

  clear(): void {
    this.inFlight = null;
  }

  private get isFull(): boolean {
    return this.inFlight !== null && this.inFlight.size >= this.terms.receiveMaximum;
  }

  /** Gives a message its identifier. */
  private add(source: SettledSource | null, offset: number): number {
    this.inFlight ??= new Map();
    let id = source === null ? (this.lastId % IDS) + 1 : (offset % IDS) + 1;
    while (this.inFlight.has(id)) id = (id % IDS) + 1;
    if (source === null) this.lastId = id;
    this.inFlight.set(id, { source, offset });
    return id;
  }

  private settle(packetId: number): void {
    const message = this.inFlight?.get(packetId);
    if (message === undefined) return;
    this.inFlight?.delete(packetId);
    message.source?.settle(message.offset);
  }

  /** False: it is larger than the client takes, and counts as taken. (MQTT 5, section 3.1.2.11.4) */
  private sendMessage(packet: Buffer): boolean {
    if (packet.length > this.terms.packetBytesMax) {
      this.counters.tooLarge++;
      return false;
    }
    this.counters.delivered++;
    this.send(packet);
    return true;
  }
}

/** Identifiers are 1 to 65,535. */
const IDS = 0xffff;
