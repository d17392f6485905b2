import type { Link, Peer } from '../../src/broker/link.ts';
import { type SlowCommand, slowDecode } from '../pubsub/slow-command.ts';

/** A stream whose transport takes `mark` messages before it says enough, and gives them on only when told. */
export class FakeLink implements Link {
  paused = false;
  ended = false;
  /** Has said enough, and not drained since. */
  full = false;
  /** In the transport, on the way to the client. */
  readonly outbox: Uint8Array[] = [];
  /** What the client has received. */
  readonly delivered: Uint8Array[] = [];
  private readonly mark: number;

  constructor(mark = Number.POSITIVE_INFINITY) {
    this.mark = mark;
  }

  send(bytes: Uint8Array): boolean {
    if (this.ended) throw new Error('sent after the end');
    this.outbox.push(bytes);
    if (this.outbox.length >= this.mark) this.full = true;
    return !this.full;
  }

  pause(): void {
    if (this.paused) throw new Error('paused twice');
    this.paused = true;
  }

  resume(): void {
    if (!this.paused) throw new Error('resumed without a pause');
    this.paused = false;
  }

  end(): void {
    if (this.ended) throw new Error('ended twice');
    this.ended = true;
  }

  /** The client receives up to `count` messages. True when the transport is to report that it drained. */
  carry(count = Number.POSITIVE_INFINITY): boolean {
    this.delivered.push(...this.outbox.splice(0, Math.min(count, this.outbox.length)));
    if (!this.full || this.outbox.length >= this.mark) return false;
    this.full = false;
    return true;
  }

  /** What the client has received, decoded. */
  get commands(): SlowCommand[] {
    return this.delivered.map((bytes) => {
      const command = slowDecode(bytes, 'client');
      if (typeof command === 'string') throw new Error(`the broker sent a bad command: ${command}`);
      return command;
    });
  }

  /** What the client has received, as text: `topic=payload` or `NAME id`. */
  get lines(): string[] {
    return this.commands.map(({ name, topic, id, body }) => {
      if (name === 'PUBLISH') return `${topic}=${body}`;
      return name === 'REFUSED' ? `REFUSED ${id} ${body.readUInt16BE(0)}` : `${name} ${id}`;
    });
  }
}

export class FakePeer implements Peer {
  closedWith: number | null = null;

  close(code: number): void {
    if (this.closedWith !== null) throw new Error('closed twice');
    this.closedWith = code;
  }
}
