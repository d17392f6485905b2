/**
 * Messages that name themselves (property `message id`), for those who send without a session: of two with the same topic and name the second is not taken. Remembered
 * are those of the last two minutes, as far as they are among the latest 100,000; after a start the broker finds them in its logs. [BRK-91]
 */

import { Ring } from '../../../base/ring.ts';
import { PublishFlag, topicKey } from '../../../pubsub/command.ts';
import { findProperty, PropertyType, valueLength } from '../../../pubsub/properties.ts';
import type { Channel } from '../delivery/client.ts';
import type { Awaited } from '../delivery/delivery.ts';
import type { LogPort, LogRecord, StoreEvents } from '../store-port.ts';

/** Where the message with a name is. */
export interface Named {
  readonly key: string;
  /** Null: it was not stored. */
  readonly log: LogPort | null;
  readonly offset: number;
  /** When the broker took it, by the clock on the wall. */
  readonly atMs: number;
}

export class MessageIds implements Partial<StoreEvents>, Awaited {
  private readonly named = new Map<string, Named>();
  /** The oldest first. */
  private readonly order = new Ring<Named>();
  private bytes = 0;
  /** Logs that are still looked through. */
  private searches: NamesOfLog[] = [];
  /** Publishers that are stopped until all are, each with what it does then. */
  private readonly waiting = new Map<Channel, () => void>();

  /** After a start: looks through these logs. */
  restore(logs: readonly LogPort[], wallMs: number): void {
    // A log that is kept elsewhere knows itself which names it has.
    const own = logs.filter((log) => log.isDurable && log.elsewhere === undefined);
    this.searches = own.map((log) => new NamesOfLog(log, this, wallMs));
    this.loaded();
  }

  /** False: it is not known yet what the logs have. */
  get isComplete(): boolean {
    return this.searches.length === 0;
  }

  /** Stops `publisher`, of which a message of so many bytes waits until all logs are looked through. */
  stop(publisher: Channel, bytes: number, goOn: () => void): void {
    this.waiting.set(publisher, goOn);
    publisher.waitFor(this, bytes);
  }

  forget(publisher: Channel): void {
    this.waiting.delete(publisher);
  }

  loaded(): void {
    if (this.searches.length === 0) return;
    this.searches = this.searches.filter((search) => !search.goOn());
    if (this.searches.length > 0) return;
    for (const [publisher, goOn] of this.waiting) {
      this.waiting.delete(publisher);
      publisher.goOn(this);
      goOn();
    }
  }

  /** What was taken as the message with this key, if that is not too long ago. */
  find(key: string, wallMs: number): Named | undefined {
    const named = this.named.get(nameIn(key));
    return named !== undefined && wallMs - named.atMs < WINDOW_MS ? named : undefined;
  }

  add(named: Named): void {
    const { order } = this;
    this.named.set(nameIn(named.key), named);
    order.push(named);
    this.bytes += named.key.length + NAMED_BYTES;
    for (let first = order.peek(); first !== undefined; first = order.peek()) {
      const isOver = named.atMs - first.atMs >= WINDOW_MS;
      if (!isOver && order.length <= NAMED_MAX && this.bytes <= BYTES_MAX) return;
      order.shift();
      this.bytes -= first.key.length + NAMED_BYTES;
      this.drop(first);
    }
  }

  /** What the log had taken and not stored is gone. */
  storeFailed(log: LogPort | null): void {
    if (log === null) return;
    for (const named of this.named.values()) {
      if (named.log === log && named.offset >= log.synced) this.drop(named);
    }
  }

  private drop(named: Named): void {
    const name = nameIn(named.key);
    if (this.named.get(name) === named) this.named.delete(name);
  }
}

/** By what a PUBLISH that names itself is remembered; null: it does not. */
export function keyOfMessage(publish: Uint8Array, topicEnd: number): string | null {
  if ((publish[1] & PublishFlag.PROPERTIES) === 0) return null;
  const at = findProperty(publish, topicEnd, PropertyType.MESSAGE_ID);
  if (at < 0) return null;
  const id = Buffer.from(publish.buffer, publish.byteOffset + at, valueLength(publish, at));
  return `${topicKey(publish)}\n${id.toString('latin1')}`;
}

/** A key without the print of the message that its name may end with. */
export function nameIn(key: string): string {
  const end = key.indexOf(PRINT);
  return end < 0 ? key : key.slice(0, end);
}

/** Names that begin with $ are the broker's: a client that could take them could keep the wills of others from being published. [BRK-91] */
export function isReservedName(key: string): boolean {
  return key[key.indexOf('\n') + 1] === '$';
}

/** Finds in a log, after a start, which messages it has of the time that is remembered. */
class NamesOfLog {
  private readonly log: LogPort;
  private readonly ids: MessageIds;
  private readonly wallMs: number;
  private next = -1;

  constructor(log: LogPort, ids: MessageIds, wallMs: number) {
    this.log = log;
    this.ids = ids;
    this.wallMs = wallMs;
  }

  /** Reads on. False: what it needs is being loaded. */
  goOn(): boolean {
    const { log } = this;
    if (this.next < 0) {
      const first = log.firstAt(this.wallMs - WINDOW_MS);
      if (first === null) return false;
      this.next = Math.max(first, log.synced - NAMED_MAX, log.earliest);
    }
    while (this.next < log.synced) {
      if (this.next < log.earliest) this.next = log.earliest;
      const records = log.read(this.next, log.synced, READ_BYTES);
      if (records === null) return false;
      if (records.length === 0) return true;
      for (const record of records) this.take(record, record.offset);
      this.next = records[records.length - 1].offset + 1;
    }
    return true;
  }

  private take(record: LogRecord, offset: number): void {
    const key = keyOfMessage(record.command, record.topicEnd);
    if (key !== null) this.ids.add({ key, log: this.log, offset, atMs: record.publishedAt });
  }
}

/** Behind it a name has a print of its message. */
const PRINT = '\x1f';
const WINDOW_MS = 2 * 60 * 1_000;
const NAMED_MAX = 100_000;
const NAMED_BYTES = 160;
/** Of keys, which may be long. */
const BYTES_MAX = 32 * 1024 * 1024;
const READ_BYTES = 1024 * 1024;
