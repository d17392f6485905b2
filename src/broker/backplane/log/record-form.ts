/**
 * A record of a log as the backplane keeps it: a head of 30 bytes, and the PUBLISH as it is delivered, whose id is 0. Its offset is the place that the backplane gives it. [CLU-31]
 *
 *     version u8 = 1   sequence u8   id u32   session u64   published u64 (ms)   expires u64 (ms, 0: never)   PUBLISH ..
 */

import { createHash } from 'node:crypto';
import {
  Command,
  CommandReader,
  PublishFlag,
  ReasonCode,
  Side,
  topicEndOf,
} from '../../../pubsub/command.ts';
import { keyOfMessage, nameIn } from '../../core/publishing/message-ids.ts';
import { type LogRecord, STORED_FLAGS, type StoredRecord } from '../../core/store-port.ts';

export const RECORD_HEAD_BYTES = 30;

/** As it is handed to the backplane. */
export function encodeRecord({ command, session, sequence, id, expiresAt, publishedAt }: LogRecord): Buffer {
  const bytes = Buffer.allocUnsafe(RECORD_HEAD_BYTES + command.length);
  bytes[0] = VERSION;
  bytes[1] = sequence;
  bytes.writeUInt32BE(id, 2);
  writeU64(bytes, session, 6);
  writeU64(bytes, publishedAt, 14);
  writeU64(bytes, expiresAt, 22);
  bytes.set(command, RECORD_HEAD_BYTES);
  bytes.writeUInt32BE(0, RECORD_HEAD_BYTES + 4);
  return bytes;
}

const reader = new CommandReader(Side.BROKER);

/** What the backplane has at `offset`, copied; null: it is no record of this version. */
export function decodeRecord(bytes: Uint8Array, offset: number): StoredRecord | null {
  if (bytes.length < RECORD_HEAD_BYTES + COMMAND_BYTES_MIN || bytes[0] !== VERSION || bytes[1] > SEQUENCE_MAX)
    return null;
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, RECORD_HEAD_BYTES);
  const session = readU64(head, 6);
  const publishedAt = readU64(head, 14);
  const expiresAt = readU64(head, 22);
  if (session < 0 || publishedAt < 0 || expiresAt < 0) return null;
  const size = bytes.length - RECORD_HEAD_BYTES;
  // A larger one has memory of its own, for out of Node's pool it would keep what others there have left.
  const command = size < POOLED_BYTES_MAX ? Buffer.allocUnsafe(size) : Buffer.allocUnsafeSlow(size);
  command.set(bytes.subarray(RECORD_HEAD_BYTES));
  // A PUBLISH of QoS 1 has an id, which is that of its offset from now on.
  command.writeUInt32BE(offset >>> 0 || 1, 4);
  const isRead = reader.read(command) === ReasonCode.NO_ERROR && reader.command === Command.PUBLISH;
  if (!isRead || (command[1] & ~STORED_FLAGS) !== PublishFlag.QOS1) return null;
  command.writeUInt32BE(offset >>> 0, 4);
  return {
    command,
    topicEnd: topicEndOf(command),
    session,
    sequence: head[1],
    id: head.readUInt32BE(2),
    expiresAt,
    publishedAt,
    offset,
  };
}

/**
 * By which the backplane knows a record that it is handed again: as its message names itself, else by whose it is, else by a name that no other has. [CLU-32]
 *
 * @param otherwise - unlike that of any other record of any node
 */
export function recordName(
  { command, topicEnd, session, sequence, id }: LogRecord,
  otherwise: string,
): string {
  const key = keyOfMessage(command, topicEnd);
  if (key !== null) return `n${createHash('sha256').update(nameIn(key), 'latin1').digest('base64url')}`;
  return session === 0 || id === 0 ? `a${otherwise}` : `${session}:${sequence}:${id}`;
}

function writeU64(bytes: Buffer, value: number, at: number): void {
  bytes.writeUInt32BE(Math.floor(value / 2 ** 32), at);
  bytes.writeUInt32BE(value >>> 0, at + 4);
}

/** -1 where it is 2^53 or more. */
function readU64(bytes: Buffer, at: number): number {
  const high = bytes.readUInt32BE(at);
  return high < 2 ** 21 ? high * 2 ** 32 + bytes.readUInt32BE(at + 4) : -1;
}

const VERSION = 1;
const SEQUENCE_MAX = 3;
const COMMAND_BYTES_MIN = 9;
const POOLED_BYTES_MAX = 1_024;
