/**
 * What a client is told of the messages that it publishes: PUBACK for QoS 1 in the order in which they came (MQTT 3.1.1, section 4.6), and for QoS 2, which MQTT 3.1.1 cannot be
 * told it may not use, the whole exchange, so that each identifier is taken once until it is released. [MQT-12] [MQT-13]
 */

import { Ring } from '../../base/ring.ts';
import { type MqttReason, PacketType } from './codes.ts';
import { PacketIds } from './packet-ids.ts';
import { writeAnswer } from './packets.ts';

/** A message that the client awaits an answer to. */
export class Receipt {
  readonly packetId: number;
  readonly isExactlyOnce: boolean;
  /** Null: the broker has not answered. */
  reason: MqttReason | null = null;
  reasonString = '';

  constructor(packetId: number, isExactlyOnce: boolean) {
    this.packetId = packetId;
    this.isExactlyOnce = isExactlyOnce;
  }
}

export class Receipts {
  private readonly waiting = new Ring<Receipt>(4);
  /** Identifiers of QoS 2 that were taken and not released; null: no message of QoS 2 has come. */
  private unreleased: PacketIds | null = null;
  private readonly send: (packet: Buffer) => void;

  /** @param send - sends an answer to the client */
  constructor(send: (packet: Buffer) => void) {
    this.send = send;
  }

  /** Messages that are not answered. Those of QoS 2 that were, and wait to be released, are the client's turn: nobody may wait for them to read on. */
  get pending(): number {
    return this.waiting.length;
  }

  /** Of QoS 2: what was taken before a connection broke and may come again. */
  get taken(): readonly number[] {
    return this.unreleased?.all() ?? [];
  }

  /** An earlier connection of the session has taken these. */
  restore(taken: readonly number[]): void {
    if (taken.length === 0) return;
    this.unreleased = new PacketIds();
    for (const id of taken) this.unreleased.add(id);
  }

  /** A message has come. Null: it was taken before, and is answered again, or will be. */
  begin(packetId: number, isExactlyOnce: boolean): Receipt | null {
    if (isExactlyOnce) {
      this.unreleased ??= new PacketIds();
      if (this.unreleased.has(packetId)) {
        if (!this.isWaiting(packetId)) this.send(writeAnswer(PacketType.PUBREC, packetId));
        return null;
      }
      this.unreleased.add(packetId);
    }
    const receipt = new Receipt(packetId, isExactlyOnce);
    this.waiting.push(receipt);
    return receipt;
  }

  settle(receipt: Receipt, reason: MqttReason, reasonString = ''): void {
    receipt.reason = reason;
    receipt.reasonString = reasonString;
    for (
      let next = this.waiting.peek();
      next !== undefined && next.reason !== null;
      next = this.waiting.peek()
    ) {
      this.waiting.shift();
      const type = next.isExactlyOnce ? PacketType.PUBREC : PacketType.PUBACK;
      this.send(writeAnswer(type, next.packetId, next.reason, next.reasonString));
    }
  }

  /** The client has heard that a message of QoS 2 was taken. */
  release(packetId: number): void {
    this.unreleased?.delete(packetId);
    this.send(writeAnswer(PacketType.PUBCOMP, packetId));
  }

  private isWaiting(packetId: number): boolean {
    for (let i = 0; i < this.waiting.length; i++) {
      if (this.waiting.peek(i)?.packetId === packetId) return true;
    }
    return false;
  }
}
