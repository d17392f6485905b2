/**
 * Requests that may be made again: those with an `Idempotency-Key` do what they do once. [GW-23] Of the latest the answers are remembered, for two minutes and within a bound. And the
 * messages that such a request publishes have a message id that is made of its key, by which the broker knows them for as long [BRK-91], also when it or the gateway was started
 * anew, or the request came by another gateway.
 */

import { hash } from 'node:crypto';
import { AgingMap } from '../base/aging-map.ts';
import { MILLISECOND, type Micros } from '../base/time.ts';
import { AuthMethod } from '../pubsub/session-commands.ts';
import type { Clock } from '../udp/clock.ts';
import { keyOf, networkOf } from './caller.ts';
import { Problem } from './problem.ts';
import type { Proof } from './session.ts';

/** What a request was answered. */
export interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string | Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
}

/** A request with a key that was answered. */
interface Known {
  /** Of what it asks for. */
  readonly print: string;
  readonly answer: Answer;
  readonly until: Micros;
}

export class IdempotencyKeys {
  private readonly clock: Clock;
  private readonly known = new AgingMap<string, Known>();
  /** Requests that are under way, with what each asks for. */
  private readonly underWay = new Map<string, string>();
  private bytes = 0;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /**
   * Begins a request. Its answer, if it was made before; else null, and {@link end} is to be called with what it is answered.
   *
   * @param name - from {@link nameOf}
   * @param print - of all that it asks for
   * @throws {Problem} KEY_IN_PROGRESS, KEY_REUSED; OVERLOADED where too many are under way
   */
  begin(name: string, print: string): Answer | null {
    this.forgetOld();
    const known = this.known.get(name);
    const before = known?.print ?? this.underWay.get(name);
    if (before === undefined) {
      if (this.known.size + this.underWay.size >= KNOWN_MAX && !this.forgetFirst()) {
        throw new Problem('OVERLOADED', 'Too many requests with an Idempotency-Key are under way.', {
          retryAfterMs: 1_000,
        });
      }
      this.underWay.set(name, print);
      return null;
    }
    if (before !== print) {
      throw new Problem(
        'KEY_REUSED',
        'This Idempotency-Key was used for another request: each needs one of its own.',
      );
    }
    if (known !== undefined) return known.answer;
    throw new Problem('KEY_IN_PROGRESS', 'Wait for the answer of the first one.', { retryAfterMs: 1_000 });
  }

  /** The request was answered; with null, in a way that is no outcome: it can be made again, as if it had not been made. */
  end(name: string, answer: Answer | null): void {
    const print = this.underWay.get(name);
    if (print === undefined) return;
    this.underWay.delete(name);
    if (answer === null || answer.body.length > ANSWER_BYTES_MAX) return;
    const { body } = answer;
    // Bytes are copied out of the message that they came in.
    const own = typeof body === 'string' ? answer : { ...answer, body: Buffer.from(body) };
    this.known.set(name, { print, answer: own, until: this.clock.now() + WINDOW_MS * MILLISECOND });
    this.bytes += bytesOf(answer);
    while (this.bytes > BYTES_MAX && this.forgetFirst());
  }

  private forgetOld(): void {
    const now = this.clock.now();
    while ((this.known.oldest?.value.until ?? Number.POSITIVE_INFINITY) <= now) this.forgetFirst();
  }

  /** False: all of them are under way. */
  private forgetFirst(): boolean {
    const { oldest } = this.known;
    if (oldest === null) return false;
    this.bytes -= bytesOf(oldest.value.answer);
    return this.known.delete(oldest.key);
  }
}

/** Whoever replies to a request says what its answer has for headers: they count as its body does. */
function bytesOf({ contentType, body, headers }: Answer): number {
  let bytes = contentType.length + body.length;
  for (const name in headers) bytes += name.length + `${headers[name]}`.length;
  return bytes;
}

/**
 * What stands for a key of one caller, and for nobody else's of the same text. A caller whose token was renewed is the same: it is the name in it that counts.
 *
 * @param address - by which callers are told apart who prove nothing
 * @throws {Problem} REQUEST_INVALID, where the key is none
 */
export function nameOf(proof: Proof, address: string, key: string): string {
  if (!KEY.test(key)) {
    throw new Problem(
      'REQUEST_INVALID',
      'Idempotency-Key must be 1 to 255 characters of ASCII, such as a UUID.',
    );
  }
  return hash('sha256', `${scopeOf(proof, address)}\n${key}`, 'base64url');
}

/** What stands for what a request asks for. */
export function printOf(what: string, body: Uint8Array): string {
  return hash('sha256', Buffer.concat([Buffer.from(`${what}\n`), body]), 'base64url').slice(0, 22);
}

/** Whom a proof is about. It was accepted before this counts for anything: what a token says of itself is true then. */
function scopeOf(proof: Proof, address: string): string {
  if (proof.method === AuthMethod.NONE) return `anonymous ${networkOf(address)}`;
  const text = Buffer.from(proof.credentials).toString();
  if (proof.method === AuthMethod.API_KEY) return `key ${text.split('_')[1]}`;
  try {
    const { iss, sub } = JSON.parse(Buffer.from(text.split('.')[1], 'base64url').toString());
    if (typeof sub === 'string') return `jwt ${JSON.stringify([iss, sub])}`;
  } catch {
    // another kind of token, which stands for itself
  }
  return keyOf(proof);
}

const WINDOW_MS = 2 * 60 * 1_000;
const KNOWN_MAX = 100_000;
const BYTES_MAX = 32 * 1024 * 1024;
/** One that is longer is not remembered: the broker remembers its messages. */
const ANSWER_BYTES_MAX = 256 * 1024;
const KEY = /^[\x21-\x7e]{1,255}$/;
