/**
 * A change of a last value as a message of NATS. [CLU-44]
 *
 *     version u8, flags u8 (1: there is a record, else the topic has nothing; 2: in the place of one certain change only), node: length u8 and name,
 *     run of the node u32, number of the change in that u48, record
 */

import { isNodeName } from '../node-name.ts';

/** Made by a node; the order of changes is not known from it. */
export interface PlacedChange {
  readonly node: string;
  /** Random, of each run of the node. */
  readonly run: number;
  /** Under which it has made it in that run. */
  readonly number: number;
  readonly isConditional: boolean;
  /** Null: the topic has nothing. */
  readonly record: Uint8Array | null;
}

export function encodeChange({ node, run, number, isConditional, record }: PlacedChange): Uint8Array {
  const name = Buffer.from(node);
  const bytes = Buffer.alloc(HEAD_BYTES + name.length + (record?.length ?? 0));
  bytes[0] = VERSION;
  bytes[1] = (record === null ? 0 : HAS_RECORD) | (isConditional ? IS_CONDITIONAL : 0);
  bytes[2] = name.length;
  name.copy(bytes, NAME_AT);
  const at = NAME_AT + name.length;
  bytes.writeUInt32BE(run, at);
  bytes.writeUIntBE(number, at + 4, 6);
  if (record !== null) bytes.set(record, HEAD_BYTES + name.length);
  return bytes;
}

/** Null: it is none that this version can read. */
export function decodeChange(bytes: Uint8Array): PlacedChange | null {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.length < HEAD_BYTES || view[0] !== VERSION) return null;
  const at = NAME_AT + view[2];
  const recordAt = HEAD_BYTES + view[2];
  if (view.length < recordAt) return null;
  const node = view.toString('utf8', NAME_AT, at);
  const hasRecord = (view[1] & HAS_RECORD) !== 0;
  if (!isNodeName(node)) return null;
  if (!hasRecord && view.length > recordAt) return null;
  return {
    node,
    run: view.readUInt32BE(at),
    number: view.readUIntBE(at + 4, 6),
    isConditional: (view[1] & IS_CONDITIONAL) !== 0,
    // Kept for long, and its surroundings are not.
    record: hasRecord ? Uint8Array.from(view.subarray(recordAt)) : null,
  };
}

const VERSION = 1;
const NAME_AT = 3;
const HEAD_BYTES = NAME_AT + 10;
const HAS_RECORD = 1;
const IS_CONDITIONAL = 2;
