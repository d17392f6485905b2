/**
 * API keys: `jspk_<id>_<secret>`, with 256 random bits as 43 characters of base64url. The broker has a SHA-256 of that text and no more. What slow hashes are for, secrets that can be
 * guessed, is not there to be protected: nobody tries 2^256. [AUT-6]
 */

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { KeyEntry } from './options.ts';

/** A new key: its text, which is nowhere else, and what the broker is to know of it. */
export function makeApiKey(id: string = randomId()): {
  readonly text: string;
  readonly id: string;
  readonly hash: string;
} {
  const text = `jspk_${id}_${randomBytes(SECRET_BYTES).toString('base64url')}`;
  return { text, id, hash: hashOfApiKey(text) };
}

export function hashOfApiKey(text: string): string {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}

/** Its id; null of what is no key. */
function idOfApiKey(text: string): string | null {
  return KEY.exec(text)?.[1] ?? null;
}

/** The keys of a broker. */
export class ApiKeys {
  private readonly entries: ReadonlyMap<string, KeyEntry>;

  constructor(entries: ReadonlyMap<string, KeyEntry>) {
    this.entries = entries;
  }

  /** The entry of the key with this text, or null. Which of both was wrong, id or secret, the time it takes does not tell. [AUT-6] */
  find(text: string): KeyEntry | null {
    const id = idOfApiKey(text);
    if (id === null) return null;
    const entry = this.entries.get(id);
    const given = Buffer.from(hashOfApiKey(text));
    const isRight = timingSafeEqual(given, Buffer.from(entry?.hash ?? NOBODYS_HASH));
    return isRight && entry !== undefined ? entry : null;
  }
}

function randomId(): string {
  // No vowels and no digits that look like letters: it is read out and typed in.
  return [...randomBytes(ID_CHARACTERS)].map((byte) => ID_ALPHABET[byte % ID_ALPHABET.length]).join('');
}

const SECRET_BYTES = 32;
const KEY = /^jspk_([A-Za-z0-9-]{1,32})_[A-Za-z0-9_-]{43}$/;
const ID_CHARACTERS = 10;
const ID_ALPHABET = 'bcdfghjkmnpqrstvwxz23456789';
/** Of no key there is: a hash of zeros has no known text. */
const NOBODYS_HASH = `sha256:${'0'.repeat(64)}`;
