/**
 * Address tokens: what a server gives a client to show that it was heard at its address, so that the server need keep nothing until the
 * client comes back with it [HS-31]. One of a Retry is for the same handshake, one of a NEW_TOKEN frame for another day:
 *
 *     kind u8, day u8, nonce bytes[12], sealed (expires u64, address bytes[16], Retry: port u16, id length u8, id), tag bytes[16]
 *
 * {@link AddressTokens} makes and checks them. Keys follow from a secret and the day, so that they change by themselves, and alike in all
 * processes that have the secret. {@link SpentTokens} remembers which were used, in bounded memory, and takes for used what it cannot know.
 */

import { createHash } from 'node:crypto';
import { NO_BYTES, u48 } from '../../base/bytes.ts';
import { addressBytes } from '../../base/ip-address.ts';
import { MemoryAccount, type MemoryBudget } from '../../base/memory-budget.ts';
import type { RandomSource } from '../../base/random.ts';
import { MILLISECOND, type Micros } from '../../base/time.ts';
import type { AeadProvider } from '../crypto/aead.ts';
import { expandLabel, HASH_BYTES } from '../crypto/key-schedule.ts';
import type { AeadKey } from '../crypto/packet-keys.ts';
import { TAG_BYTES } from '../wire/packet-header.ts';

export const TokenKind = { RETRY: 1, NEW_TOKEN: 2 } as const;
export type TokenKind = (typeof TokenKind)[keyof typeof TokenKind];

/** What {@link AddressTokens.check} found. */
export const TokenVerdict = {
  /** It says nothing: the client is as one without a token. */
  NONE: 0,
  /** The client answered a Retry of ours from this address: `retryOriginalId` has the id that it began with. */
  RETRY: 1,
  /** The client was at this address in an earlier connection. */
  NEW_TOKEN: 2,
  /** The client answered a Retry, but not with a token that is good here: its handshake cannot succeed. */
  BAD_RETRY: 3,
} as const;
export type TokenVerdict = (typeof TokenVerdict)[keyof typeof TokenVerdict];

/** The secrets that tokens' keys follow from, 32 bytes each: new ones are made with the current one, those of the previous one are still taken. */
export interface TokenSecrets {
  readonly current: Uint8Array;
  readonly previous?: Uint8Array | null | undefined;
}

export interface AddressTokenOptions {
  readonly aead: AeadProvider;
  readonly random: RandomSource;
  readonly secrets: TokenSecrets;
  /** The time since 1970, in ms, when the endpoint's clock was at 0. */
  readonly epochMs: number;
  /** Which the memory of used tokens is charged to. */
  readonly memory: MemoryBudget;
}

/** Makes and checks the address tokens of a server. */
export class AddressTokens {
  /** Of the token that was checked last, when it is that of a Retry: the destination id of the client's first packet. */
  retryOriginalId: Uint8Array = NO_BYTES;

  private readonly aead: AeadProvider;
  private readonly random: RandomSource;
  private readonly epochMs: number;
  private readonly spent: SpentTokens;
  private keys: DayKeys[] = [];
  private readonly nonce = new Uint8Array(NONCE_BYTES);
  private readonly work = new Uint8Array(TOKEN_BYTES_MAX);
  private issuedMs = 0;

  constructor(options: AddressTokenOptions) {
    this.aead = options.aead;
    this.random = options.random;
    this.epochMs = options.epochMs;
    this.spent = new SpentTokens(options.memory, SPENT_MAX);
    this.useSecrets(options.secrets);
  }

  /** From now on tokens are made with these, and those of others are worth nothing. */
  useSecrets({ current, previous }: TokenSecrets): void {
    for (const keys of this.keys) keys.wipe();
    this.keys = [current, ...(previous == null ? [] : [previous])].map(
      (secret) => new DayKeys(secret, this.aead),
    );
  }

  /** The token of a Retry to a client at this address, whose first packet went to `originalId`. */
  forRetry(host: string, port: number, originalId: Uint8Array, now: Micros): Uint8Array {
    const token = this.begin(TokenKind.RETRY, host, RETRY_BODY_BYTES + originalId.length, now);
    const at = BODY_START + NEXT_BODY_BYTES;
    token[at] = port >> 8;
    token[at + 1] = port;
    token[at + 2] = originalId.length;
    token.set(originalId, at + 3);
    return this.seal(token);
  }

  /** A token for a later connection of a client that is at this address. */
  forNextConnection(host: string, now: Micros): Uint8Array {
    return this.seal(this.begin(TokenKind.NEW_TOKEN, host, NEXT_BODY_BYTES, now));
  }

  /** What the token in a first packet from this address is worth. {@link spend} is to follow when it is made use of. */
  check(token: Uint8Array, host: string, port: number, now: Micros): TokenVerdict {
    const kind = token.length > 0 ? token[0] : 0;
    if (kind !== TokenKind.RETRY && kind !== TokenKind.NEW_TOKEN) return TokenVerdict.NONE;
    const isRetry = kind === TokenKind.RETRY;
    const refused = isRetry ? TokenVerdict.BAD_RETRY : TokenVerdict.NONE;
    if (token.length < BODY_START + NEXT_BODY_BYTES + TAG_BYTES || token.length > TOKEN_BYTES_MAX)
      return refused;
    const body = this.open(token, this.unixMs(now));
    if (body === null || !this.isCurrent(body, isRetry, now) || !isAddress(body, host)) return refused;
    if (this.spent.has(token, this.issuedMs)) return refused;
    if (!isRetry) return body.length === NEXT_BODY_BYTES ? TokenVerdict.NEW_TOKEN : refused;
    const idBytes = body[NEXT_BODY_BYTES + 2];
    const isWhole = body.length === RETRY_BODY_BYTES + idBytes;
    if (!isWhole || ((body[NEXT_BODY_BYTES] << 8) | body[NEXT_BODY_BYTES + 1]) !== port) return refused;
    this.retryOriginalId = body.slice(RETRY_BODY_BYTES);
    return TokenVerdict.RETRY;
  }

  /** The token, which was just checked, let its client in: it does not do so again. */
  spend(token: Uint8Array): void {
    this.spent.add(token, this.issuedMs);
  }

  /** It may let its client in once more: the handshake that it began was refused, and cost nothing. */
  giveBack(token: Uint8Array): void {
    this.spent.delete(token);
  }

  // ---- inside ----

  private unixMs(now: Micros): number {
    return this.epochMs + Math.floor(now / MILLISECOND);
  }

  private begin(kind: TokenKind, host: string, bodyBytes: number, now: Micros): Uint8Array {
    const token = new Uint8Array(BODY_START + bodyBytes + TAG_BYTES);
    const unixMs = this.unixMs(now);
    this.random.fill(this.nonce);
    token[0] = kind;
    token[1] = dayOf(unixMs);
    token.set(this.nonce, HEAD_BYTES);
    writeU64(token, BODY_START, unixMs + LIFETIME_MS[kind]);
    writeAddress(token, BODY_START + 8, host);
    return token;
  }

  private seal(token: Uint8Array): Uint8Array {
    const expires = readU64(token, BODY_START);
    const day = dayOf(expires - LIFETIME_MS[token[0] as TokenKind]);
    this.keys[0].of(day).seal(token, 0, BODY_START, token.length - TAG_BYTES, this.nonce);
    return token;
  }

  /** What is in a token; null when it is none of ours, or so old that its day has come again. */
  private open(token: Uint8Array, unixMs: number): Uint8Array | null {
    const today = dayOf(unixMs);
    const age = ((today - token[1] + 1) & 0xff) - 1; // another server's clock may be in tomorrow already
    if (age > DAYS_MAX) return null;
    const { nonce, work } = this;
    const end = token.length;
    nonce.set(token.subarray(HEAD_BYTES, BODY_START));
    for (const keys of this.keys) {
      work.set(token);
      if (keys.of(today - age).open(work, 0, BODY_START, end, nonce))
        return work.subarray(BODY_START, end - TAG_BYTES);
    }
    return null;
  }

  /** Neither has it expired, nor is it from a future that this clock has not seen. */
  private isCurrent(body: Uint8Array, isRetry: boolean, now: Micros): boolean {
    const lifetimeMs = LIFETIME_MS[isRetry ? TokenKind.RETRY : TokenKind.NEW_TOKEN];
    const left = readU64(body, 0) - this.unixMs(now);
    this.issuedMs = readU64(body, 0) - lifetimeMs;
    return left > 0 && left <= lifetimeMs + CLOCK_SLACK_MS;
  }
}

/**
 * Which tokens were used [HS-38]. Two generations of so many each; when the newer one is full the older one is forgotten, and every token that may
 * have been used in its time, for it was made before the next began, counts as used from then on: it fails closed, at the price of a round trip.
 */
export class SpentTokens {
  private readonly max: number;
  private newer = new Set<number>();
  private older = new Set<number>();
  /** Tokens made from then on were not used before the newer generation began. */
  private newerSinceMs = 0;
  /** Of tokens made before that it is not known whether they were used. */
  private knownSinceMs = 0;
  private newestMs = 0;
  private readonly memory: MemoryAccount;

  /** @param max - of a generation */
  constructor(memory: MemoryBudget, max: number) {
    this.max = max;
    this.memory = new MemoryAccount(memory, 0);
    this.memory.holder = this;
  }

  get heldBytes(): number {
    return this.memory.reserved;
  }

  /** It asks for no room. */
  onRoom(): void {}

  add(token: Uint8Array, issuedMs: number): void {
    this.newestMs = Math.max(this.newestMs, issuedMs);
    if (this.newer.size >= this.max) {
      this.knownSinceMs = this.newerSinceMs;
      this.newerSinceMs = this.newestMs + 1;
      this.memory.give(this.older.size * SPENT_BYTES);
      this.older = this.newer;
      this.newer = new Set();
    }
    if (!this.memory.admits(SPENT_BYTES)) return this.forgetAll();
    const before = this.newer.size;
    this.newer.add(keyOf(token));
    this.memory.take((this.newer.size - before) * SPENT_BYTES);
  }

  /** There is no memory to tell used tokens from others: all that were made until now count as used. [CON-50] */
  private forgetAll(): void {
    this.knownSinceMs = this.newestMs + 1;
    this.newerSinceMs = this.knownSinceMs;
    this.memory.give((this.newer.size + this.older.size) * SPENT_BYTES);
    this.newer.clear();
    this.older.clear();
  }

  delete(token: Uint8Array): void {
    const key = keyOf(token);
    for (const used of [this.newer, this.older]) if (used.delete(key)) this.memory.give(SPENT_BYTES);
  }

  has(token: Uint8Array, issuedMs: number): boolean {
    const key = keyOf(token);
    return issuedMs < this.knownSinceMs || this.newer.has(key) || this.older.has(key);
  }
}

/** The keys of one secret, one a day. [HS-31] */
class DayKeys {
  private readonly secret: Uint8Array;
  private readonly aead: AeadProvider;
  private readonly keys = new Map<number, AeadKey>();

  constructor(secret: Uint8Array, aead: AeadProvider) {
    this.secret = secret.slice();
    this.aead = aead;
  }

  of(day: number): AeadKey {
    const known = this.keys.get(day);
    if (known !== undefined) return known;
    const context = Uint8Array.of(day >>> 24, day >>> 16, day >>> 8, day);
    const secret = expandLabel(this.secret, 'token', context, HASH_BYTES);
    const key = this.aead.createKey(secret);
    secret.fill(0);
    this.keys.set(day, key);
    for (const old of this.keys.keys()) if (Math.abs(day - old) > DAYS_MAX) this.forget(old);
    return key;
  }

  wipe(): void {
    for (const day of this.keys.keys()) this.forget(day);
    this.secret.fill(0);
  }

  private forget(day: number): void {
    this.keys.get(day)?.wipe();
    this.keys.delete(day);
  }
}

function isAddress(body: Uint8Array, host: string): boolean {
  writeAddress(EXPECTED, 0, host);
  let difference = 0;
  for (let i = 0; i < ADDRESS_BYTES; i++) difference |= EXPECTED[i] ^ body[8 + i];
  return difference === 0;
}

/** 16 bytes: of an IPv4 address those of its IPv4-mapped form; of a name, as labs have them, the beginning of its hash. [HS-31] */
function writeAddress(out: Uint8Array, at: number, host: string): void {
  const bytes = addressBytes(host) ?? createHash('sha256').update(host).digest().subarray(0, ADDRESS_BYTES);
  out.fill(0, at, at + ADDRESS_BYTES);
  if (bytes.length < ADDRESS_BYTES) out.fill(0xff, at + 10, at + 12);
  out.set(bytes, at + ADDRESS_BYTES - bytes.length);
}

function dayOf(unixMs: number): number {
  return Math.floor(unixMs / DAY_MS);
}

function writeU64(out: Uint8Array, at: number, value: number): void {
  const high = Math.floor(value / 2 ** 32);
  for (let i = 0; i < 4; i++) {
    out[at + i] = high >>> (24 - 8 * i);
    out[at + 4 + i] = value >>> (24 - 8 * i);
  }
}

function readU64(from: Uint8Array, at: number): number {
  let value = 0;
  for (let i = 0; i < 8; i++) value = value * 256 + from[at + i];
  return value;
}

/** The first bits of a token's nonce. */
function keyOf(token: Uint8Array): number {
  return u48(token, HEAD_BYTES);
}

/** Longest token that a client takes. [PKT-21] */
export const TOKEN_BYTES_MAX = 256;
export const TOKEN_SECRET_BYTES = 32;

const DAY_MS = 24 * 60 * 60 * 1_000;
/** A day that began when a token was made, and as many as it may live. */
const DAYS_MAX = 8;
const LIFETIME_MS: Record<TokenKind, number> = {
  [TokenKind.RETRY]: 15_000,
  [TokenKind.NEW_TOKEN]: 7 * DAY_MS,
};
/** Clocks of servers that share keys may differ by so much. */
const CLOCK_SLACK_MS = 5_000;
/** Uses that are remembered, twice. */
const SPENT_MAX = 16_384;
/** What one takes: a number and its place in a set. */
const SPENT_BYTES = 48;

const HEAD_BYTES = 2;
const NONCE_BYTES = 12;
const BODY_START = HEAD_BYTES + NONCE_BYTES;
const ADDRESS_BYTES = 16;
/** Expiry and address. */
const NEXT_BODY_BYTES = 8 + ADDRESS_BYTES;
/** These, a port and the length of an id. */
const RETRY_BODY_BYTES = NEXT_BODY_BYTES + 3;
const EXPECTED = new Uint8Array(ADDRESS_BYTES);
