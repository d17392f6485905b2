/**
 * Messages of QoS 1 that a client has and has not acknowledged, by packet identifier. That of a message follows from its place in the log, so that it is the same one when the
 * message comes again after a reconnect, and an acknowledgement that was on its way names no other message. [MQT-16]
 */

import type { SettledSource } from './subscriptions.ts';

interface InFlight {
  /** Null: a last value, which no log has. */
  readonly source: SettledSource | null;
  readonly offset: number;
}

export class InFlightMessages {
  /** Null: no message of QoS 1 has come. */
  private messages: Map<number, InFlight> | null = null;
  private readonly max: number;
  private last = 0;

  /** @param max - that the client takes: its receive maximum */
  constructor(max: number) {
    this.max = max;
  }

  get count(): number {
    return this.messages?.size ?? 0;
  }

  get isFull(): boolean {
    return this.count >= this.max;
  }

  /** Gives a message its identifier. There is room for it. */
  add(source: SettledSource | null, offset: number): number {
    this.messages ??= new Map();
    let id = source === null ? (this.last % IDS) + 1 : (offset % IDS) + 1;
    while (this.messages.has(id)) id = (id % IDS) + 1;
    if (source === null) this.last = id;
    this.messages.set(id, { source, offset });
    return id;
  }

  /** The client has acknowledged it. False: there is none of this identifier. */
  settle(packetId: number): boolean {
    const message = this.messages?.get(packetId);
    if (message === undefined) return false;
    this.messages?.delete(packetId);
    message.source?.settle(message.offset);
    return true;
  }

  clear(): void {
    this.messages = null;
  }
}

/** Identifiers are 1 to 65,535. */
const IDS = 0xffff;
