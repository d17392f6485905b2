/**
 * Which member of a shared group has the messages of a key. A key is its member's as long as it has unsettled messages, whoever comes or goes meanwhile: what is new waits behind
 * them, or goes the same way. [BRK-75]
 */

import { HEADER_BYTES, PublishFlag } from '../../../pubsub/command.ts';
import { findProperty, PropertyType, valueLength } from '../../../pubsub/properties.ts';
import type { StoredRecord } from '../store-port.ts';

/** A key of which messages are unsettled. Keys of one hash are one. */
export interface HeldKey {
  readonly hash: number;
  /** Number of the member that has it. */
  owner: number;
  unsettled: number;
}

export class KeyOrder<T extends { readonly number: number }> {
  private readonly members: ReadonlyMap<number, T>;
  private readonly keys = new Map<number, HeldKey>();
  private readonly byOffset = new Map<number, HeldKey>();

  constructor(members: ReadonlyMap<number, T>) {
    this.members = members;
  }

  /** The key of an unsettled message. */
  of(offset: number): HeldKey | undefined {
    return this.byOffset.get(offset);
  }

  /** The key of a message; it has no unsettled ones if it is new. */
  find({ command, topicEnd }: StoredRecord): HeldKey {
    const hash = keyHashOf(command, topicEnd);
    return this.keys.get(hash) ?? { hash, owner: 0, unsettled: 0 };
  }

  /** The key of a message that `member` has been given. */
  claim(record: StoredRecord, { number }: T): HeldKey {
    const key = this.find(record);
    key.owner = number;
    return key;
  }

  /** The member that a message of `key` goes to. There is one. */
  ownerOf(key: HeldKey): T {
    const owner = this.members.get(key.owner);
    if (owner !== undefined && key.unsettled > 0) return owner;
    const chosen = ownerOf(key.hash, this.members.values(), numberOf);
    key.owner = chosen.number;
    return chosen;
  }

  /** The message at `offset` is unsettled from now on. */
  add(offset: number, key: HeldKey): HeldKey {
    key.unsettled++;
    this.keys.set(key.hash, key);
    this.byOffset.set(offset, key);
    return key;
  }

  settle(offset: number): void {
    const key = this.byOffset.get(offset);
    if (key === undefined) return;
    this.byOffset.delete(offset);
    if (--key.unsettled === 0) this.keys.delete(key.hash);
  }
}

function numberOf({ number }: { readonly number: number }): number {
  return number;
}

/** A hash of the key of a PUBLISH, or of its topic where it has none. */
export function keyHashOf(message: Uint8Array, topicEnd: number): number {
  const at =
    (message[1] & PublishFlag.PROPERTIES) === 0 ? -1 : findProperty(message, topicEnd, PropertyType.KEY);
  if (at < 0) return hashOf(message, HEADER_BYTES, topicEnd);
  return hashOf(message, at, at + valueLength(message, at));
}

/**
 * The member with the highest score for the key: so when one goes, only its keys go to others, and when one comes, it takes only those that are its own from then on.
 *
 * @param numberOf - of a member, which differs from that of each other
 */
export function ownerOf<T>(keyHash: number, members: Iterable<T>, numberOf: (member: T) => number): T {
  let best: T | undefined;
  let bestScore = -1;
  for (const member of members) {
    const score = mix(keyHash ^ Math.imul(numberOf(member), 0x9e3779b1)) >>> 0;
    if (score <= bestScore) continue;
    best = member;
    bestScore = score;
  }
  return best as T;
}

/** FNV-1a. */
function hashOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5 | 0;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i], 0x01000193);
  return mix(hash);
}

function mix(value: number): number {
  let hash = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
