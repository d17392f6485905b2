/**
 * A change of a last value as a message of NATS. [CLU-44]
 *
 *     version u8, flags u8 (1: there is a record, else the topic has nothing; 2: in the place of one certain change only; 4: its message is in a log), node: length u8 and name,
 *     run of the node u32, number of the change in that u48, where there is one: name of the log length u8, name, epoch u64, offset u64; record
 */

import type { LogPlace } from '../../core/backplane/value-port.ts';
import { isNodeName } from '../node-name.ts';

/** Made by a node; the order of changes is not known from it. */
export interface PlacedChange {
  readonly node: string;
  /** Random, of each run of the node. */
  readonly run: number;
  /** Under which it has made it in that run. */
  readonly number: number;
  readonly isConditional: boolean;
  /** Where its message is; null: in no log. */
  readonly place: LogPlace | null;
  /** Null: the topic has nothing. */
  readonly record: Uint8Array | null;
}

export function encodeChange({ node, run, number, isConditional, place, record }: PlacedChange): Uint8Array {
  const name = Buffer.from(node);
  const at = encodePlace(place);
  const bytes = Buffer.alloc(HEAD_BYTES + name.length + at.length + (record?.length ?? 0));
  bytes[0] = VERSION;
  bytes[1] =
    (record === null ? 0 : Flag.RECORD) |
    (isConditional ? Flag.CONDITIONAL : 0) |
    (place === null ? 0 : Flag.PLACE);
  bytes[2] = name.length;
  name.copy(bytes, NAME_AT);
  const runAt = NAME_AT + name.length;
  bytes.writeUInt32BE(run, runAt);
  bytes.writeUIntBE(number, runAt + 4, 6);
  at.copy(bytes, HEAD_BYTES + name.length);
  if (record !== null) bytes.set(record, HEAD_BYTES + name.length + at.length);
  return bytes;
}

/** Null: it is none that this version can read. */
export function decodeChange(bytes: Uint8Array): PlacedChange | null {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.length < HEAD_BYTES || view[0] !== VERSION) return null;
  const at = NAME_AT + view[2];
  const placeAt = HEAD_BYTES + view[2];
  if (view.length < placeAt) return null;
  const node = view.toString('utf8', NAME_AT, at);
  const hasPlace = (view[1] & Flag.PLACE) !== 0;
  const recordAt = hasPlace ? placeAt + placeBytes(view, placeAt) : placeAt;
  const hasRecord = (view[1] & Flag.RECORD) !== 0;
  if (!isNodeName(node) || view.length < recordAt) return null;
  if (!hasRecord && view.length > recordAt) return null;
  const place = hasPlace ? decodePlace(view.subarray(placeAt, recordAt)) : null;
  if (hasPlace && place === null) return null;
  return {
    node,
    run: view.readUInt32BE(at),
    number: view.readUIntBE(at + 4, 6),
    isConditional: (view[1] & Flag.CONDITIONAL) !== 0,
    place,
    // Kept for long, and its surroundings are not.
    record: hasRecord ? Uint8Array.from(view.subarray(recordAt)) : null,
  };
}

function encodePlace(place: LogPlace | null): Buffer {
  if (place === null) return NO_PLACE;
  const name = Buffer.from(place.log);
  const bytes = Buffer.alloc(PLACE_BYTES + name.length);
  bytes[0] = name.length;
  name.copy(bytes, 1);
  bytes.writeBigUInt64BE(BigInt(place.epoch), 1 + name.length);
  bytes.writeBigUInt64BE(BigInt(place.offset), 9 + name.length);
  return bytes;
}

/** How many bytes a place takes there; more than there are where it is cut. */
function placeBytes(view: Buffer, at: number): number {
  return PLACE_BYTES + (view[at] ?? 0);
}

function decodePlace(bytes: Buffer): LogPlace | null {
  const at = 1 + bytes[0];
  const [epoch, offset] = [bytes.readBigUInt64BE(at), bytes.readBigUInt64BE(at + 8)];
  if (epoch > Number.MAX_SAFE_INTEGER || offset > Number.MAX_SAFE_INTEGER) return null;
  const log = bytes.toString('utf8', 1, at);
  if (!LOG_NAME.test(log)) return null;
  return { log, epoch: Number(epoch), offset: Number(offset) };
}

const VERSION = 1;
const NAME_AT = 3;
const HEAD_BYTES = NAME_AT + 10;
const Flag = { RECORD: 1, CONDITIONAL: 2, PLACE: 4 } as const;
const NO_PLACE = Buffer.alloc(0);
/** Beside the name of the log. */
const PLACE_BYTES = 17;
const LOG_NAME = /^[A-Za-z0-9._-]{1,64}$/;
