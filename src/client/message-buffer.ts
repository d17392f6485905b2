import { Ring } from '../base/ring.ts';
import { Overflow } from '../pubsub/command.ts';
import type { Message } from './message.ts';

/**
 * Messages that wait for a slow handler or iterator. Under `block` it says when the stream should pause; under a drop policy it
 * drops, as the broker's queue does, so that reading never stops. [BRK-19]
 */
export class MessageBuffer {
  /** Messages dropped here. */
  dropped = 0;
  private readonly messages = new Ring<Message>();
  /** Of their payloads. */
  bytes = 0;
  private readonly overflow: Overflow;

  constructor(overflow: Overflow) {
    this.overflow = overflow;
  }

  get empty(): boolean {
    return this.messages.length === 0;
  }

  /** At a bound, and the stream should pause. Never true under a drop policy. */
  get blocked(): boolean {
    return this.overflow === Overflow.BLOCK && this.full;
  }

  private get full(): boolean {
    return this.messages.length >= MESSAGES_MAX || this.bytes >= BYTES_MAX;
  }

  /** Drained to half. */
  get low(): boolean {
    return this.messages.length * 2 <= MESSAGES_MAX && this.bytes * 2 <= BYTES_MAX;
  }

  push(message: Message): void {
    if (this.full && this.overflow !== Overflow.BLOCK) {
      this.dropped++;
      if (this.overflow === Overflow.DROP_NEWEST) return;
      this.shift();
    }
    this.messages.push(message);
    this.bytes += message.payload.length;
  }

  shift(): Message | undefined {
    const message = this.messages.shift();
    if (message !== undefined) this.bytes -= message.payload.length;
    return message;
  }

  clear(): void {
    this.messages.clear();
    this.bytes = 0;
  }
}

const MESSAGES_MAX = 256;
const BYTES_MAX = 1024 * 1024;
