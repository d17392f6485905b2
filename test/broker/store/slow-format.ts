/** The bytes of a store, written out field by field by spec/store.md, with a checksum that is taken bit by bit. */

export function slowCrc(bytes: readonly number[], start = 0): number {
  let crc = ~start >>> 0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return ~crc >>> 0;
}

/** `value` in so many bytes, the highest first. */
export function number(value: number, bytes: number): number[] {
  const digits: number[] = [];
  for (let rest = BigInt(value), i = 0; i < bytes; i++, rest >>= 8n) digits.unshift(Number(rest & 0xffn));
  return digits;
}

export function ascii(text: string): number[] {
  return [...text].map((character) => character.charCodeAt(0));
}

export interface SlowHeader {
  kind: number;
  log: number;
  name: string;
  epoch: number;
  base: number;
  createdAt: number;
  salt: number;
}

export function slowSegmentHeader(header: SlowHeader): number[] {
  const { kind, log, name, epoch, base, createdAt, salt } = header;
  const fields = [
    ...ascii('JSPSTORE'),
    ...number(1, 2),
    ...number(kind, 1),
    0,
    ...number(log, 4),
    ...number(epoch, 8),
    ...number(base, 8),
    ...number(createdAt, 8),
    ...number(salt, 4),
    ...number(name.length, 1),
    ...ascii(name),
  ];
  while (fields.length < 124) fields.push(0);
  return [...fields, ...number(slowCrc(fields), 4)];
}

export interface SlowBatch {
  base: number;
  flags: number;
  syncedBefore: number;
  time: number;
  salt: number;
  /** Of each what follows its checksum. */
  records: number[][];
}

export function slowBatch({ base, flags, syncedBefore, time, salt, records }: SlowBatch): number[] {
  const whole = records.map((record) => [
    ...number(record.length + 8, 4),
    ...number(slowCrc(record, salt), 4),
    ...record,
  ]);
  const body = [...whole.flatMap((record) => number(record.length, 4)), ...whole.flat()];
  const header = [
    ...ascii('JSPB'),
    ...number(body.length, 4),
    ...number(base, 8),
    ...number(records.length, 4),
    ...number(flags, 4),
    ...number(syncedBefore, 8),
    ...number(time, 8),
    ...number(slowCrc(body, salt), 4),
  ];
  return [...header, ...number(slowCrc(header, salt), 4), ...body];
}

export interface SlowRecord {
  sequence: number;
  originLog: number;
  id: number;
  originId: number;
  hasGap: boolean;
  session: number;
  expiresAt: number;
  publishedAt: number;
  command: number[];
}

export function slowRecord(record: SlowRecord): number[] {
  const { sequence, originLog, id, originId, hasGap, session, expiresAt, publishedAt, command } = record;
  return [
    ...number(sequence, 1),
    hasGap ? 1 : 0,
    ...number(originLog, 2),
    ...number(id, 4),
    ...number(originId, 4),
    ...number(session, 8),
    ...number(expiresAt, 8),
    ...number(publishedAt, 8),
    ...command,
  ];
}

export function slowChange(key: string, value: number[] | null): number[] {
  const name = [...Buffer.from(key)];
  return [value === null ? 2 : 1, 0, ...number(name.length, 2), ...name, ...(value ?? [])];
}
