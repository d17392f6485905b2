/**
 * What the store keeps of a consumer that has a name, under `durable/<name>`: what was asked of it, and its cursor. [BRK-69]
 *
 * A cursor is an offset and the messages below it that are not settled. They are kept as runs (how far behind the one before, how many), so that a window of a
 * thousand messages that came one after another takes a few bytes.
 */

import { decodeOwner, encodeOwner, kindOf } from '../access/owner-record.ts';
import type { PrincipalId } from '../access/principal.ts';
import type { ConsumerOptions } from './consumer-options.ts';
import type { Run } from './in-flight.ts';

/** A dead letter that is about to be stored, or was. [BRK-68] */
export interface Burial {
  /** Of the message that it was. */
  readonly offset: number;
  /** How often that was delivered. */
  readonly attempts: number;
  /** By this number the log knows that it has it. */
  readonly id: number;
  readonly reason: string;
}

export interface DurableRecord {
  readonly log: string;
  readonly epoch: number;
  /** By which logs know its dead letters. */
  readonly number: number;
  readonly lastBurial: number;
  readonly options: ConsumerOptions;
  readonly filters: readonly string[];
  /** Wall clock, ms: since when nobody takes its messages; 0: somebody did when this was written. */
  readonly leftAt: number;
  /** Nothing from here on was delivered, as far as this knows, and nothing at all from {@link reservedBelow} on. */
  readonly position: number;
  readonly reservedBelow: number;
  /** In the order of their offsets, all below {@link position}. */
  readonly unsettled: readonly Run[];
  readonly burials: readonly Burial[];
  /** Number of the session with which it is over; 0: of none. */
  readonly session: number;
  /** Null: nobody's in particular. */
  readonly owner: PrincipalId | null;
}

export const DURABLE_KEYS = 'durable/';

export function encodeDurable(record: DurableRecord): Uint8Array {
  const { options } = record;
  const out = new Writer();
  out.number(VERSION);
  out.text(record.log);
  for (const value of [record.epoch, record.number, record.lastBurial]) out.number(value);
  out.number(options.unackedMax);
  out.number(options.ackWaitMs);
  out.list(options.backoffMs, (ms) => out.number(ms));
  out.number(options.deliveriesMax);
  out.text(options.deadLetter ?? '');
  out.number(options.expiryMs === Number.POSITIVE_INFINITY ? 0 : options.expiryMs + 1);
  out.number(options.keyOrder ? 1 : 0);
  out.list(record.filters, (filter) => out.text(filter));
  out.number(Math.max(0, Math.floor(record.leftAt)));
  out.number(record.position);
  out.number(record.reservedBelow);
  let behind = 0;
  out.list(record.unsettled, ({ offset, count, attempts }) => {
    out.number(offset - behind);
    out.number(count);
    out.number(attempts);
    behind = offset + count;
  });
  out.list(record.burials, ({ id, offset, attempts, reason }) => {
    out.number(id);
    out.number(offset);
    out.number(attempts);
    out.text(reason);
  });
  out.number(record.session);
  out.raw(encodeOwner(record.owner));
  return out.finish();
}

/** Null: it is none that this version can read. */
export function decodeDurable(bytes: Uint8Array): DurableRecord | null {
  const from = new Reader(bytes);
  const version = from.number();
  if (version < 1 || version > VERSION) return null;
  const log = from.text();
  const [epoch, number, lastBurial] = [from.number(), from.number(), from.number()];
  const unackedMax = from.number();
  const ackWaitMs = from.number();
  const backoffMs = from.list(() => from.number());
  const deliveriesMax = from.number();
  const deadLetter = from.text() || null;
  const expiry = from.number();
  const keyOrder = from.number() !== 0;
  const options: ConsumerOptions = {
    unackedMax,
    ackWaitMs,
    backoffMs,
    deliveriesMax,
    deadLetter,
    expiryMs: expiry === 0 ? Number.POSITIVE_INFINITY : expiry - 1,
    keyOrder,
  };
  const filters = from.list(() => from.text());
  const [leftAt, position, reservedBelow] = [from.number(), from.number(), from.number()];
  let behind = 0;
  let left = UNSETTLED_MAX;
  const unsettled = from.list(() => {
    const offset = behind + from.number();
    const count = from.number();
    const attempts = from.number();
    if (count > left) from.fail();
    left -= count;
    behind = offset + count;
    return { offset, count, attempts };
  });
  const burials = from.list(() => ({
    id: from.number(),
    offset: from.number(),
    attempts: from.number(),
    reason: from.text(),
  }));
  const session = version >= 3 ? from.number() : 0;
  const owner = version === 1 ? firstOwnerFrom(from) : decodeOwner(from.rest());
  if (from.failed || !from.isAtEnd || owner === undefined) return null;
  return {
    ...{ log, epoch, number, lastBurial, options, filters, leftAt, position, reservedBelow },
    ...{ unsettled, burials, session, owner },
  };
}

/** Of the first version, where nothing follows for what is nobody's. Undefined: it cannot be read. */
function firstOwnerFrom(from: Reader): PrincipalId | null | undefined {
  if (from.isAtEnd) return null;
  const kind = kindOf(from.number());
  const owner = { name: from.text(), id: from.text() };
  return kind === undefined ? undefined : { kind, ...owner };
}

/** Whole numbers below 2^53 in groups of seven bits, the lowest first; texts and lists with their length before them. */
class Writer {
  private bytes = Buffer.allocUnsafe(256);
  private length = 0;

  number(value: number): void {
    this.reserve(8);
    let rest = value;
    while (rest >= 128) {
      this.bytes[this.length++] = 128 | (rest % 128);
      rest = Math.floor(rest / 128);
    }
    this.bytes[this.length++] = rest;
  }

  text(value: string): void {
    const bytes = Buffer.from(value);
    this.number(bytes.length);
    this.reserve(bytes.length);
    this.length += bytes.copy(this.bytes, this.length);
  }

  /** What tells its own end. */
  raw(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  list<T>(items: readonly T[], write: (item: T) => void): void {
    this.number(items.length);
    for (const item of items) write(item);
  }

  /** Bytes of their own, which keep no pool alive. */
  finish(): Uint8Array {
    return Uint8Array.prototype.slice.call(this.bytes, 0, this.length);
  }

  private reserve(bytes: number): void {
    if (this.length + bytes <= this.bytes.length) return;
    const grown = Buffer.allocUnsafe(2 * (this.length + bytes));
    this.bytes.copy(grown, 0, 0, this.length);
    this.bytes = grown;
  }
}

class Reader {
  failed = false;
  private readonly bytes: Buffer;
  private at = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get isAtEnd(): boolean {
    return this.at === this.bytes.length;
  }

  number(): number {
    let value = 0;
    for (let weight = 1; weight <= Number.MAX_SAFE_INTEGER; weight *= 128) {
      if (this.at >= this.bytes.length) break;
      const byte = this.bytes[this.at++];
      value += (byte & 127) * weight;
      if (value > Number.MAX_SAFE_INTEGER) break;
      if (byte < 128) return value;
    }
    this.fail();
    return 0;
  }

  text(): string {
    const length = this.number();
    if (length > this.bytes.length - this.at) this.fail();
    if (this.failed) return '';
    this.at += length;
    return this.bytes.toString('utf8', this.at - length, this.at);
  }

  rest(): Uint8Array {
    const rest = this.bytes.subarray(this.at);
    this.at = this.bytes.length;
    return rest;
  }

  list<T>(read: () => T): T[] {
    const items: T[] = [];
    for (let left = this.number(); left > 0 && !this.failed; left--) items.push(read());
    return items;
  }

  fail(): void {
    this.failed = true;
  }
}

const VERSION = 3;
/** More than a broker lets a consumer have. */
const UNSETTLED_MAX = 1_000_000;
