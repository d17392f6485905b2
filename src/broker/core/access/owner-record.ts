/** Whose something is, as the store keeps it with what it is of: a session, a durable subscription. [BRK-118] */

import { NO_BYTES } from '../../../base/bytes.ts';
import type { PrincipalId, PrincipalKind } from './principal.ts';

/** Nothing where it is nobody's; else kind u8, name length u16, name, id. */
export function encodeOwner(owner: PrincipalId | null): Uint8Array {
  if (owner === null) return NO_BYTES;
  const name = Buffer.from(owner.name);
  return Buffer.concat([
    Buffer.of(kindNumber(owner.kind), name.length >> 8, name.length),
    name,
    Buffer.from(owner.id),
  ]);
}

/** Undefined: it is none that this version can read. */
export function decodeOwner(bytes: Uint8Array): PrincipalId | null | undefined {
  if (bytes.length === 0) return null;
  const kind = kindOf(bytes[0]);
  const nameEnd = HEAD_BYTES + ((bytes[1] << 8) | bytes[2]);
  if (kind === undefined || bytes.length < HEAD_BYTES || nameEnd > bytes.length) return undefined;
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return { kind, name: text.toString('utf8', HEAD_BYTES, nameEnd), id: text.toString('utf8', nameEnd) };
}

export function kindNumber(kind: PrincipalKind): number {
  return KINDS.indexOf(kind) + 1;
}

export function kindOf(number: number): PrincipalKind | undefined {
  return KINDS[number - 1];
}

const HEAD_BYTES = 3;
/** In the order of their numbers. */
const KINDS: readonly PrincipalKind[] = ['anonymous', 'identity', 'apiKey', 'jwt'];
