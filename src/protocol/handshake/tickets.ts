/**
 * A server's tickets: how they are made and read, by nobody but who has the keys, and which it takes.
 *
 *     ticket     id bytes[16], sealed content, tag bytes[16]
 *     content    version u8, suite u8, issuer bytes[8], issued varint, proved varint (ms since 1970), key bytes[32],
 *                limits 6 x varint, length u8, fingerprint of the client's identity bytes[length]
 *
 * The id is the nonce of the TICKET frame. It is sealed under Label(a server's key, "ticket", id, 32), so that no nonce can come twice, with the
 * server's fingerprint as associated data: a ticket is worth nothing at another identity. [HS-51]
 */

import { copyOf, equalBytes, NO_BYTES } from '../../base/bytes.ts';
import type { MemoryBudget } from '../../base/memory-budget.ts';
import { type RandomSource, randomBytes } from '../../base/random.ts';
import { MILLISECOND, type Micros, SECOND } from '../../base/time.ts';
import type { AeadProvider } from '../crypto/aead.ts';
import { expandLabel, HASH_BYTES, ticketAgeMask } from '../crypto/key-schedule.ts';
import type { EndpointCounters } from '../trace/counters.ts';
import { TAG_BYTES } from '../wire/packet-header.ts';
import type { TransportParameters } from '../wire/transport-parameters.ts';
import { ByteCursor, writeVarint } from '../wire/varint.ts';
import { ReplayFilter, TicketUse } from './replay-filter.ts';

/** How a server hands tickets out and takes them. */
export interface TicketConfig {
  /** Keys of other processes, or of this one before it was started anew; null: made here, and gone with the process. */
  readonly keys: TicketKeys | null;
  readonly lifetimeMs: number;
  /** Bytes of early data that a client may send with a ticket; 0: none. */
  readonly earlyDataBytesMax: number;
  /** Used tickets that are remembered. */
  readonly usedMax: number;
  /** Wall-clock time at which the endpoint's time was 0, in ms since 1970: for tickets that others have made. */
  readonly epochMs: number;
}

/** Each of {@link TICKET_KEY_BYTES}. */
export interface TicketKeys {
  /** Seals new tickets. */
  readonly current: Uint8Array;
  /** Opens older ones. */
  readonly previous: readonly Uint8Array[];
}

/** What binds a client that sends early data: of the parameters that its server had when it gave the ticket. [HS-57] */
export interface EarlyLimits {
  readonly earlyDataBytes: number;
  readonly initialMaxData: number;
  readonly initialMaxStreamData: number;
  readonly initialMaxStreams: number;
  readonly maxMessageBytes: number;
  readonly bestEffortBytes: number;
}

/** What a ticket says, to the server that gave it. */
export interface TicketContent {
  readonly suite: number;
  /** What both sides have in common. */
  readonly key: Uint8Array;
  /** When the handshake was that proved identities, in ms since 1970: the first of a row of resumed ones. */
  readonly provedAtMs: number;
  readonly limits: EarlyLimits;
  /** The client's proved identity; null where it has none. */
  readonly clientIdentity: Uint8Array | null;
}

/** A ticket that can be read, and is not too old. */
export interface OpenedTicket extends TicketContent {
  readonly id: Uint8Array;
  readonly issuedAtMs: number;
  /** It was given out by this process, since it was started. */
  readonly isOwn: boolean;
}

/** What became of tickets, and of what came with them. */
export type TicketCounters = Pick<
  EndpointCounters,
  'ticketsAccepted' | 'ticketsRefused' | 'earlyDataAccepted' | 'earlyDataRefused'
>;

/** What TICKET carries. */
export interface GivenTicket {
  readonly lifetimeSeconds: number;
  readonly nonce: Uint8Array;
  readonly ticket: Uint8Array;
}

export class Tickets {
  private readonly config: TicketConfig;
  private readonly provider: AeadProvider;
  private readonly random: RandomSource;
  /** Label and the fingerprint of the server's identity. */
  private readonly associated: Uint8Array;
  /** Names this process among those that share its keys, until it ends: only it knows which of these tickets were used. */
  private readonly issuer: Uint8Array;
  private readonly filter: ReplayFilter;
  readonly counters: TicketCounters;
  private keys: TicketKeys;
  private keysSince: Micros = 0;

  constructor(
    config: TicketConfig,
    fingerprint: Uint8Array,
    provider: AeadProvider,
    random: RandomSource,
    { memory, counters }: { memory: MemoryBudget; counters: TicketCounters },
  ) {
    this.counters = counters;
    this.config = config;
    this.provider = provider;
    this.random = random;
    this.associated = Buffer.concat([LABEL, fingerprint]);
    this.issuer = randomBytes(random, ISSUER_BYTES);
    this.filter = new ReplayFilter(memory, config.usedMax, REMEMBERED_MS, config.lifetimeMs);
    this.keys = config.keys ?? { current: randomBytes(random, TICKET_KEY_BYTES), previous: [] };
  }

  /** New tickets are sealed with these from now on. For a server that was given keys. */
  useKeys(keys: TicketKeys): void {
    this.keys = keys;
  }

  /** The nonce of the next ticket, from which its key follows. */
  nonce(): Uint8Array {
    return randomBytes(this.random, TICKET_ID_BYTES);
  }

  give(nonce: Uint8Array, content: TicketContent, now: Micros): GivenTicket {
    this.rotate(now);
    const { associated, issuer } = this;
    const start = associated.length + TICKET_ID_BYTES;
    const out = new Uint8Array(start + CONTENT_BYTES_MAX + TAG_BYTES);
    out.set(associated);
    out.set(nonce, associated.length);
    let at = start;
    out[at++] = TICKET_VERSION;
    out[at++] = content.suite;
    out.set(issuer, at);
    at = writeVarint(out, at + ISSUER_BYTES, this.unixMs(now));
    at = writeVarint(out, at, content.provedAtMs);
    out.set(content.key, at);
    at += HASH_BYTES;
    for (const name of EARLY_LIMITS) at = writeVarint(out, at, content.limits[name]);
    const identity = content.clientIdentity ?? NO_BYTES;
    out[at++] = identity.length;
    out.set(identity, at);
    at += identity.length;
    const key = this.keyOf(this.keys.current, nonce);
    key.seal(out, 0, start, at, NO_NONCE);
    key.wipe();
    const ticket = out.slice(associated.length, at + TAG_BYTES);
    return { lifetimeSeconds: Math.floor(this.config.lifetimeMs / 1_000), nonce, ticket };
  }

  /** Reads a ticket; null for one that is not ours, or too old. It is not taken yet: who shows it has not proved to have its key. */
  open(ticket: Uint8Array, now: Micros): OpenedTicket | null {
    this.rotate(now);
    const { associated } = this;
    if (ticket.length < TICKET_ID_BYTES + TAG_BYTES || ticket.length > TICKET_BYTES_MAX) return null;
    const id = copyOf(ticket.subarray(0, TICKET_ID_BYTES));
    const start = associated.length + TICKET_ID_BYTES;
    for (const secret of [this.keys.current, ...this.keys.previous]) {
      const data = Buffer.concat([associated, ticket]);
      const key = this.keyOf(secret, id);
      const isOurs = key.open(data, 0, start, data.length, NO_NONCE);
      key.wipe();
      if (!isOurs) continue;
      const opened = decodeContent(data, start, data.length - TAG_BYTES, id, this.issuer);
      data.fill(0);
      return opened === null || this.isTooOld(opened, now) ? null : opened;
    }
    return null;
  }

  /**
   * The client has proved to have the ticket's key: takes it, once. [HS-53]
   *
   * @param age - what the client says of the ticket's age, masked [HS-52]
   * @returns `refused`: it was used before; `early`: what comes with it may be taken, too
   */
  take(ticket: OpenedTicket, age: number, now: Micros): 'refused' | 'taken' | 'early' {
    // Whether it was used at another process, or before this one was started, nobody here can know.
    if (!ticket.isOwn) return 'taken';
    const use = this.filter.use(ticket.id, now / MILLISECOND);
    if (use === TicketUse.AGAIN) return 'refused';
    const skewMs = this.unixMs(now) - ticket.issuedAtMs - unmaskedAge(ticket.key, age);
    return use === TicketUse.FIRST && Math.abs(skewMs) <= FRESH_MS ? 'early' : 'taken';
  }

  /** What came as early data with the hello that has this binder goes to the application. */
  tookEarly(ticket: OpenedTicket, binder: Uint8Array): void {
    this.filter.tookEarly(ticket.id, binder);
  }

  /** Of a ticket that is refused: early data of this very hello was taken, in a handshake that came to nothing. [HS-53] */
  hasTakenEarly(ticket: OpenedTicket, binder: Uint8Array): boolean {
    return ticket.isOwn && this.filter.hasTakenEarly(ticket.id, binder);
  }

  /** Whether early data that these limits allowed fits those that the server has for this connection. [HS-57] */
  allows(limits: EarlyLimits, now: TransportParameters): boolean {
    return limits.earlyDataBytes > 0 && EARLY_LIMITS.every((name) => limits[name] <= now[name]);
  }

  /** Wall-clock time, in ms since 1970. */
  unixMs(now: Micros): number {
    return this.config.epochMs + Math.floor(now / MILLISECOND);
  }

  private isTooOld({ issuedAtMs, provedAtMs }: OpenedTicket, now: Micros): boolean {
    const time = this.unixMs(now);
    const isOfFuture = issuedAtMs > time + FRESH_MS;
    return isOfFuture || time - issuedAtMs > this.config.lifetimeMs || time - provedAtMs > PROOF_MS_MAX;
  }

  private keyOf(secret: Uint8Array, id: Uint8Array) {
    const derived = expandLabel(secret, 'ticket', id, HASH_BYTES);
    const key = this.provider.createKey(derived);
    derived.fill(0);
    return key;
  }

  /** Keys that were made here live as long as the tickets that they sealed. */
  private rotate(now: Micros): void {
    if (this.config.keys !== null || now - this.keysSince < this.config.lifetimeMs * MILLISECOND) return;
    const { current, previous } = this.keys;
    for (const old of previous) old.fill(0);
    const isStale = now - this.keysSince >= 2 * this.config.lifetimeMs * MILLISECOND;
    if (isStale) current.fill(0);
    this.keys = { current: randomBytes(this.random, TICKET_KEY_BYTES), previous: isStale ? [] : [current] };
    this.keysSince = now;
  }
}

/** What a client says of the age of a ticket, so that nobody else can tell by it which connection it is from. [HS-52] */
export function maskedAge(key: Uint8Array, ageMs: number): number {
  return (Math.max(0, Math.floor(ageMs)) + ticketAgeMask(key)) % 2 ** 32;
}

function unmaskedAge(key: Uint8Array, age: number): number {
  return (age + 2 ** 32 - ticketAgeMask(key)) % 2 ** 32;
}

function decodeContent(
  data: Uint8Array,
  start: number,
  end: number,
  id: Uint8Array,
  issuer: Uint8Array,
): OpenedTicket | null {
  const cursor = new ByteCursor();
  cursor.reset(data, start, end);
  const version = cursor.u8();
  const suite = cursor.u8();
  const issuedBy = cursor.skip(ISSUER_BYTES);
  const issuedAtMs = cursor.varint();
  const provedAtMs = cursor.varint();
  const keyStart = cursor.skip(HASH_BYTES);
  const numbers = EARLY_LIMITS.map(() => cursor.varint());
  const identityBytes = cursor.u8();
  const identityStart = cursor.skip(identityBytes);
  // One of another version of this program, perhaps: of a process that shares the keys.
  if (cursor.failed || cursor.left > 0 || version !== TICKET_VERSION) return null;
  const isOwn = equalBytes(data.subarray(issuedBy, issuedBy + ISSUER_BYTES), issuer);
  const key = copyOf(data.subarray(keyStart, keyStart + HASH_BYTES));
  const limits = Object.fromEntries(
    EARLY_LIMITS.map((name, i) => [name, numbers[i]]),
  ) as unknown as EarlyLimits;
  const clientIdentity =
    identityBytes === 0 ? null : copyOf(data.subarray(identityStart, identityStart + identityBytes));
  return { id, suite, issuedAtMs, provedAtMs, key, limits, clientIdentity, isOwn };
}

/**
 * What binds early data of what a server says of itself. Of a window no more counts than early data may fill: how large windows are depends on
 * how much memory a server has left, and none that has a client more than before should refuse early data for that. [HS-57]
 */
export function earlyLimitsOf(parameters: TransportParameters): EarlyLimits {
  const { earlyDataBytes, initialMaxStreams, maxMessageBytes, bestEffortBytes } = parameters;
  const initialMaxData = Math.min(parameters.initialMaxData, earlyDataBytes);
  const initialMaxStreamData = Math.min(parameters.initialMaxStreamData, earlyDataBytes);
  return {
    earlyDataBytes,
    initialMaxData,
    initialMaxStreamData,
    initialMaxStreams,
    maxMessageBytes,
    bestEffortBytes,
  };
}

/** In the order in which a ticket has them. */
export const EARLY_LIMITS = [
  'earlyDataBytes',
  'initialMaxData',
  'initialMaxStreamData',
  'initialMaxStreams',
  'maxMessageBytes',
  'bestEffortBytes',
] as const satisfies readonly (keyof EarlyLimits & keyof TransportParameters)[];

export const TICKET_KEY_BYTES = 32;
export const TICKET_ID_BYTES = 16;
/** [HS-55] No client has to keep, and no server to read, a longer one. */
export const TICKET_BYTES_MAX = 512;
const ISSUER_BYTES = 8;
const TICKET_VERSION = 1;
const LABEL = Buffer.from('jsp1 ticket');
const NO_NONCE = new Uint8Array(12);
const CONTENT_BYTES_MAX = 2 + ISSUER_BYTES + 16 + HASH_BYTES + 8 * 6 + 1 + HASH_BYTES;
/** [HS-52] A hello is fresh when its ticket is as old as the client says, but for a round trip, and clocks that run apart. */
const FRESH_MS = 10_000;
/** A hello may be early by so much, and late by as much: who keeps its ticket's id for longer has seen it. */
const REMEMBERED_MS = 2 * FRESH_MS + SECOND / MILLISECOND;
/** [HS-54] Identities are proved anew after so long, whatever a row of tickets would allow. */
const PROOF_MS_MAX = 7 * 24 * 3_600_000;
