/**
 * The public keys of an issuer of tokens: given, in a file, or at a URL. From a URL they come again by and by, and when a token names a key that is not known; while it does not answer, the last ones that
 * came are kept. [AUT-10]
 */

import { readFileSync } from 'node:fs';
import {
  calculateJwkThumbprint,
  createLocalJWKSet,
  type JSONWebKeySet,
  type JWK,
  type LocalJWKSet,
} from 'jose';
import { JspError } from '../../base/errors.ts';
import { isLoopback } from '../../base/ip-address.ts';
import { MILLISECOND } from '../../base/time.ts';
import type { Clock, TimerHandle } from '../../udp/clock.ts';
import type { JwtOptions } from './options.ts';

export interface KeySetSurroundings {
  readonly clock: Clock;
  readonly fetch: typeof fetch;
}

export class KeySet {
  /** Finds the key of a token; null as long as there are none. */
  find: LocalJWKSet | null = null;
  /** Called when there are others than before. */
  onChange: () => void = () => {};
  /** Called when they could not be had, and when they can be again (null). */
  onTrouble: (reason: string | null) => void = () => {};
  private readonly url: string | null;
  private readonly coolDownUs: number;
  private readonly cacheUs: number;
  private readonly around: KeySetSurroundings;
  /** What came last, as text: the same keys may get other names, and be for something else. */
  private text = '';
  /** Names of the keys there are (RFC 7638). */
  private thumbprints: ReadonlySet<string> = new Set();
  private askedAt = Number.NEGATIVE_INFINITY;
  /** When they were had last. */
  private cameAt = Number.NEGATIVE_INFINITY;
  /** Names of keys that are not there, and when a token had each first; the one that came last is the last. */
  private readonly missing = new Map<string, number>();
  private asking: Promise<void> | null = null;
  private timer: TimerHandle | null = null;
  private failure: string | null = null;
  private isClosed = false;

  private constructor(url: string | null, options: JwtOptions, around: KeySetSurroundings) {
    this.url = url;
    this.coolDownUs = (options.coolDownMs ?? COOL_DOWN_MS) * MILLISECOND;
    this.cacheUs = (options.cacheMs ?? CACHE_MS) * MILLISECOND;
    this.around = around;
  }

  /**
   * Of a file or an object the keys are there then. A URL is asked; that it does not answer is told, and no fault: others come in meanwhile.
   *
   * @param before - the set of the same URL that was in use until now
   * @throws {JspError} ERR_JSP_OPTION_INVALID
   */
  static async open(
    where: string,
    options: JwtOptions,
    around: KeySetSurroundings,
    before: KeySet | undefined,
  ): Promise<KeySet> {
    const { jwks } = options;
    if (typeof jwks === 'string' && /^[a-z]+:\/\//i.test(jwks)) {
      assertSafeUrl(where, jwks);
      const set = new KeySet(jwks, options, around);
      if (before?.find != null) {
        set.find = before.find;
        set.text = before.text;
        set.thumbprints = before.thumbprints;
      }
      await set.ask();
      return set;
    }
    const set = new KeySet(null, options, around);
    const given = typeof jwks === 'string' ? readKeys(where, jwks) : jwks;
    await set.take(given).catch((error: Error) => {
      throw new JspError('ERR_JSP_OPTION_INVALID', `${where}.jwks: ${error.message}`, { cause: error });
    });
    return set;
  }

  /** Why they could not be had the last time; null: they could. */
  get trouble(): string | null {
    return this.failure;
  }

  /** The URL that it is asked for; null where it is given. */
  get source(): string | null {
    return this.url;
  }

  has(thumbprint: string): boolean {
    return this.thumbprints.has(thumbprint);
  }

  /** A token is of a key that is not known. True when others are there than before: it is worth another look. */
  async lookAgain(): Promise<boolean> {
    const { find } = this;
    const isDue = this.around.clock.now() - this.askedAt >= this.coolDownUs;
    if (this.url === null || (this.asking === null && !isDue)) return false;
    await this.ask();
    return this.find !== find;
  }

  /** A token is of a key that is not there. Returns when one was that first: now, if none was. */
  missedSince(name: string): number {
    const known = name.slice(0, NAME_CHARACTERS_MAX);
    const since = this.missing.get(known) ?? this.around.clock.now();
    this.missing.delete(known);
    this.missing.set(known, since);
    if (this.missing.size > MISSING_MAX) this.missing.delete(this.missing.keys().next().value as string);
    return since;
  }

  /** What is not there now was not there after that time either: it need not be waited for. */
  hasComeSince(since: number): boolean {
    return this.url === null || this.cameAt >= since;
  }

  close(): void {
    this.isClosed = true;
    if (this.timer !== null) this.around.clock.clearTimer(this.timer);
    this.timer = null;
  }

  /** Asks the URL, once for all who wait. */
  private ask(): Promise<void> {
    this.asking ??= this.askNow().finally(() => {
      this.asking = null;
    });
    return this.asking;
  }

  private async askNow(): Promise<void> {
    const { failure } = this;
    this.askedAt = this.around.clock.now();
    try {
      const { askedAt } = this;
      await this.take(await fetchKeys(this.url as string, this.around.fetch));
      this.cameAt = askedAt;
      this.failure = null;
    } catch (error) {
      this.failure = reasonOf(error);
    }
    if ((failure === null) !== (this.failure === null)) this.onTrouble(this.failure);
    this.askLater();
  }

  private askLater(): void {
    const { clock } = this.around;
    if (this.timer !== null) clock.clearTimer(this.timer);
    const waitUs = this.failure !== null ? Math.min(this.coolDownUs, this.cacheUs) : this.cacheUs;
    this.timer = this.isClosed ? null : clock.setTimer(clock.now() + waitUs, () => void this.ask());
  }

  private async take(given: unknown): Promise<void> {
    const set = checkedKeys(given);
    const text = JSON.stringify(set);
    if (text === this.text) return;
    const thumbprints = new Set<string>();
    for (const key of set.keys) {
      // One of a kind that is not known is somebody else's; the others are as good as before.
      await calculateJwkThumbprint(key).then(
        (name) => thumbprints.add(name),
        () => {},
      );
    }
    this.find = createLocalJWKSet(set);
    this.thumbprints = thumbprints;
    this.text = text;
    this.onChange();
  }
}

function readKeys(where: string, path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new JspError('ERR_JSP_OPTION_INVALID', `${where}.jwks: ${path}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** Whoever can answer for the URL can sign as the issuer. */
function assertSafeUrl(where: string, text: string): void {
  const url = URL.canParse(text) ? new URL(text) : null;
  const host = url?.hostname.replace(/^\[|\]$/g, '') ?? '';
  if (url?.protocol === 'https:' || (url?.protocol === 'http:' && (host === 'localhost' || isLoopback(host))))
    return;
  throw new JspError(
    'ERR_JSP_OPTION_INVALID',
    `${where}.jwks must be the URL of https, or of http on this machine, not ${text}`,
  );
}

/** Bounded in time and size, and without following to where somebody else is. */
async function fetchKeys(url: string, fetchIt: typeof fetch): Promise<unknown> {
  const signal = AbortSignal.timeout(FETCH_MS_MAX);
  const response = await fetchIt(url, { signal, redirect: 'error', headers: { accept: 'application/json' } });
  if (!response.ok || response.body === null) throw new Error(`it answers ${response.status}`);
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of response.body as unknown as AsyncIterable<Uint8Array>) {
    bytes += part.length;
    if (bytes > SET_BYTES_MAX) throw new Error(`it answers more than ${SET_BYTES_MAX} bytes`);
    parts.push(part);
  }
  return JSON.parse(Buffer.concat(parts).toString());
}

function checkedKeys(given: unknown): JSONWebKeySet {
  const keys = (given as { keys?: unknown } | null)?.keys;
  if (!Array.isArray(keys)) throw new Error('it is no JWK set: { "keys": [...] }');
  if (keys.length === 0 || keys.length > KEYS_MAX)
    throw new Error(`a JWK set has 1 to ${KEYS_MAX} keys, not ${keys.length}`);
  const isKey = (key: unknown): key is JWK => typeof key === 'object' && key !== null && 'kty' in key;
  if (!keys.every(isKey)) throw new Error('one of the keys is none');
  const secret = keys.find((key) => key.kty === 'oct' || 'd' in key);
  if (secret !== undefined)
    throw new Error(
      `the key ${JSON.stringify(secret.kid ?? '')} is a secret one: whoever can read it here can sign; give the public one`,
    );
  return { keys };
}

function reasonOf(error: unknown): string {
  const { message, cause } = error as Error;
  return cause instanceof Error ? `${message}: ${cause.message}` : message;
}

const COOL_DOWN_MS = 30_000;
const CACHE_MS = 600_000;
const FETCH_MS_MAX = 5_000;
const SET_BYTES_MAX = 256 * 1024;
const KEYS_MAX = 64;
/** Of keys that are not there. */
const MISSING_MAX = 256;
const NAME_CHARACTERS_MAX = 128;
