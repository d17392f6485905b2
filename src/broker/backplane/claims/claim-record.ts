/**
 * A claim as the engine keeps it: who has it, and the values of the state that belong to it. [CLU-25]
 *
 *     version u8 = 1   flags u8 (0x01: nobody has it)   number u32   write u32   node length u8   node   entries: key length u16, key, value length u32, value
 *
 * `node` is who has it, or had it last; `number` that of its run; `write` counts what this run writes of claims, so that it knows its own hand.
 */

import type { ClaimEntries } from '../../core/backplane/backplane-port.ts';
import { isNodeName } from '../node-name.ts';

/** A run of a node: one that begins anew has another number. */
export interface NodeRun {
  readonly node: string;
  readonly number: number;
}

export interface ClaimRecord {
  readonly holder: NodeRun;
  readonly isFree: boolean;
  readonly write: number;
  readonly entries: ClaimEntries;
}

export function encodeClaim({ holder, isFree, write, entries }: ClaimRecord): Uint8Array {
  const node = Buffer.from(holder.node);
  const head = Buffer.alloc(HEAD_BYTES);
  head[0] = VERSION;
  head[1] = isFree ? FREE : 0;
  head.writeUInt32BE(holder.number, 2);
  head.writeUInt32BE(write % 2 ** 32, 6);
  head[10] = node.length;
  const parts: Uint8Array[] = [head, node];
  for (const [name, value] of entries) {
    const key = Buffer.from(name);
    const lengths = Buffer.alloc(2);
    lengths.writeUInt16BE(key.length);
    const valueLength = Buffer.alloc(4);
    valueLength.writeUInt32BE(value.length);
    parts.push(lengths, key, valueLength, value);
  }
  return Buffer.concat(parts);
}

/** Null: it is none that this version can read. */
export function decodeClaim(bytes: Uint8Array): ClaimRecord | null {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.length < HEAD_BYTES || view[0] !== VERSION) return null;
  let at = HEAD_BYTES + view[10];
  if (view.length < at) return null;
  const holder = { node: view.toString('utf8', HEAD_BYTES, at), number: view.readUInt32BE(2) };
  if (!isNodeName(holder.node)) return null; // it is spoken to by that name
  const entries = new Map<string, Uint8Array>();
  while (at < view.length) {
    if (view.length < at + 2) return null;
    const keyEnd = at + 2 + view.readUInt16BE(at);
    if (view.length < keyEnd + 4) return null;
    const valueEnd = keyEnd + 4 + view.readUInt32BE(keyEnd);
    if (view.length < valueEnd) return null;
    // In memory of its own, of which it keeps nothing else alive.
    entries.set(view.toString('utf8', at + 2, keyEnd), Uint8Array.from(view.subarray(keyEnd + 4, valueEnd)));
    at = valueEnd;
  }
  return { holder, isFree: (view[1] & FREE) !== 0, write: view.readUInt32BE(6), entries };
}

const VERSION = 1;
const FREE = 0x01;
const HEAD_BYTES = 11;
