/** Whose something is, as the store keeps it with what it is of: a session, a durable subscription. [BRK-118] */

import type { PrincipalId, PrincipalKind } from './principal.ts';

/** kind u8, 0 where it is nobody's and nothing follows; name length u16, name, id length u16, id. Cut anywhere it is none. */
export function encodeOwner(owner: PrincipalId | null): Uint8Array {
  if (owner === null) return NOBODY;
  const name = Buffer.from(owner.name);
  const id = Buffer.from(owner.id);
  return Buffer.concat([Buffer.of(kindNumber(owner.kind)), lengthOf(name), name, lengthOf(id), id]);
}

/** Undefined: it is none that this version can read. */
export function decodeOwner(bytes: Uint8Array): PrincipalId | null | undefined {
  if (bytes.length === 1 && bytes[0] === 0) return null;
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const kind = kindOf(text[0]);
  if (kind === undefined || text.length < NAME_AT) return undefined;
  const nameEnd = NAME_AT + text.readUInt16BE(NAME_AT - LENGTH_BYTES);
  const idAt = nameEnd + LENGTH_BYTES;
  if (text.length < idAt || text.length !== idAt + text.readUInt16BE(nameEnd)) return undefined;
  return { kind, name: text.toString('utf8', NAME_AT, nameEnd), id: text.toString('utf8', idAt) };
}

/** As the first records had it, which did not say where they end: nothing where it is nobody's; else kind u8, name length u16, name, id. */
export function decodeFirstOwner(bytes: Uint8Array): PrincipalId | null | undefined {
  if (bytes.length === 0) return null;
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const kind = kindOf(text[0]);
  if (kind === undefined || text.length < NAME_AT) return undefined;
  const nameEnd = NAME_AT + text.readUInt16BE(NAME_AT - LENGTH_BYTES);
  if (nameEnd > text.length) return undefined;
  return { kind, name: text.toString('utf8', NAME_AT, nameEnd), id: text.toString('utf8', nameEnd) };
}

function kindNumber(kind: PrincipalKind): number {
  return KINDS.indexOf(kind) + 1;
}

export function kindOf(number: number): PrincipalKind | undefined {
  return KINDS[number - 1];
}

function lengthOf(text: Buffer): Buffer {
  return Buffer.of(text.length >> 8, text.length);
}

const NOBODY = Uint8Array.of(0);
const LENGTH_BYTES = 2;
const NAME_AT = 1 + LENGTH_BYTES;
/** In the order of their numbers. */
const KINDS: readonly PrincipalKind[] = ['anonymous', 'identity', 'apiKey', 'jwt'];
