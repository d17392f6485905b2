/**
 * What a node asks of the one that has a shared group, for a member that is connected to it: the first body of the stream between the two. [CLU-51]
 *
 *     version u8, flags u8 (1: it opens envelopes), number of the session whose messages are left out u48 (0: none), largest message u32,
 *     owner: length u16 and what spec/store.md has of owners, `$share/group/filter`: length u16 and text, options as SUBSCRIBE has them
 */

import {
  decodeSubscribeOptions,
  encodeSubscribeOptions,
  type SubscribeOptionValues,
} from '../../../pubsub/subscribe-options.ts';
import { filterFault, isShared } from '../../../pubsub/topic.ts';
import { decodeOwner, encodeOwner } from '../access/owner-record.ts';
import type { PrincipalId } from '../access/principal.ts';

export interface RelayRequest {
  /** `$share/group/filter` */
  readonly group: string;
  readonly options: SubscribeOptionValues;
  /** Number of the session whose messages are left out; 0: of none. */
  readonly withoutSession: number;
  readonly takesCompressed: boolean;
  readonly messageBytesMax: number;
  /** Who the member is; null: nobody in particular. */
  readonly owner: PrincipalId | null;
}

export function encodeRelayRequest(request: RelayRequest): Buffer {
  const owner = encodeOwner(request.owner);
  const group = Buffer.from(request.group);
  const options = encodeSubscribeOptions(request.options);
  const head = Buffer.alloc(HEAD_BYTES);
  head[0] = VERSION;
  head[1] = request.takesCompressed ? TAKES_COMPRESSED : 0;
  head.writeUIntBE(request.withoutSession, 2, 6);
  head.writeUInt32BE(Math.min(request.messageBytesMax, 0xffff_ffff), 8);
  return Buffer.concat([head, lengthOf(owner), owner, lengthOf(group), group, options]);
}

/** In front of a message with a time to live: when it was sent, by the wall clock, for the way to the member's node is part of that time. */
export function encodeSentAt(wallMs: number): Buffer {
  const bytes = Buffer.alloc(SENT_AT_BYTES);
  bytes.writeUIntBE(Math.max(0, Math.floor(wallMs)), 1, 6);
  return bytes;
}

/** Null: it is something else, a command. */
export function decodeSentAt(message: Uint8Array): number | null {
  if (message.length !== SENT_AT_BYTES || message[0] !== SENT_AT) return null;
  return Buffer.from(message.buffer, message.byteOffset, message.length).readUIntBE(1, 6);
}

/** Null: it is none that this version can read. */
export function decodeRelayRequest(bytes: Uint8Array): RelayRequest | null {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.length < HEAD_BYTES + 2 || view[0] !== VERSION) return null;
  const ownerAt = HEAD_BYTES + 2;
  const ownerEnd = ownerAt + view.readUInt16BE(HEAD_BYTES);
  if (view.length < ownerEnd + 2) return null;
  const groupEnd = ownerEnd + 2 + view.readUInt16BE(ownerEnd);
  if (view.length < groupEnd) return null;
  const owner = decodeOwner(view.subarray(ownerAt, ownerEnd));
  const group = view.toString('utf8', ownerEnd + 2, groupEnd);
  const options = decodeSubscribeOptions(view, groupEnd);
  if (owner === undefined || options === null || filterFault(group) !== null || !isShared(group)) return null;
  return {
    ...{ group, options, owner },
    withoutSession: view.readUIntBE(2, 6),
    takesCompressed: (view[1] & TAKES_COMPRESSED) !== 0,
    messageBytesMax: view.readUInt32BE(8),
  };
}

function lengthOf(bytes: Uint8Array): Buffer {
  return Buffer.of(bytes.length >> 8, bytes.length);
}

const VERSION = 1;
const HEAD_BYTES = 12;
const TAKES_COMPRESSED = 1;
/** Differs from all commands. */
const SENT_AT = 0;
const SENT_AT_BYTES = 7;
