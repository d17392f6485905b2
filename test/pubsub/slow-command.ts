/** A command decoder written from the tables of spec/broker.md, for reading and not for speed. Shares nothing with src/. */

export interface SlowCommand {
  name: string;
  flags: number;
  topic: Buffer;
  id: number;
  body: Buffer;
}

interface Row {
  name: string;
  from: 'client' | 'broker' | 'both';
  topic: 'one' | 'none' | 'alias' | 'maybe';
  id: 'any' | 'zero' | 'other';
  /** Flags that may be set. */
  flags: number;
  body: (body: Buffer, flags: number) => boolean;
}

const empty = (body: Buffer) => body.length === 0;
const between = (min: number, max: number) => (body: Buffer) => body.length >= min && body.length <= max;
const exactly =
  (...lengths: number[]) =>
  (body: Buffer) =>
    lengths.includes(body.length);
const plain = { topic: 'none', id: 'other', flags: 0 } as const;
const told = { topic: 'none', id: 'zero', flags: 0, from: 'broker' } as const;

const TABLE: Record<number, Row> = {
  2: {
    name: 'SUBSCRIBE',
    from: 'client',
    topic: 'one',
    id: 'other',
    flags: 0xff,
    body: (body, flags) => ((flags & 0x40) !== 0 ? body.length >= 8 : [0, 8].includes(body.length)),
  },
  3: { name: 'UNSUBSCRIBE', from: 'client', topic: 'one', id: 'other', flags: 0, body: empty },
  4: { ...plain, name: 'FLUSH', from: 'client', body: empty },
  5: { ...plain, name: 'PING', from: 'client', body: between(0, 1024) },
  6: {
    ...plain,
    name: 'ACK',
    from: 'client',
    id: 'any',
    flags: 7,
    body: (body, flags) =>
      [0, 1, 2, 4].includes(flags) && body.length % 8 === 0 && body.length <= (flags === 1 ? 0 : 2048),
  },
  7: { ...plain, name: 'NACK', from: 'client', id: 'any', body: between(4, 260) },
  8: { ...plain, name: 'HELLO', from: 'client', body: between(16, 16 + 256 + 8192) },
  9: { name: 'ALIAS', from: 'client', topic: 'one', id: 'other', flags: 0, body: empty },
  11: {
    name: 'WILL',
    from: 'client',
    topic: 'maybe',
    id: 'other',
    flags: 0x55,
    body: (body, flags) => body.length >= 4 && propertiesFit(body.subarray(4), flags),
  },
  12: { ...plain, name: 'RENEW', from: 'client', body: between(1, 16 + 256 + 8192) },
  14: { ...plain, name: 'MARKED', from: 'client', body: empty },
  16: { ...told, name: 'LEAVE', from: 'client', body: exactly(0, 4) },
  129: { ...plain, name: 'PUBLISHED', from: 'broker', flags: 1, body: exactly(1, 9) },
  130: { ...plain, name: 'SUBSCRIBED', from: 'broker', body: exactly(0, 41) },
  131: { ...plain, name: 'UNSUBSCRIBED', from: 'broker', body: empty },
  132: { ...plain, name: 'FLUSHED', from: 'broker', body: empty },
  133: { ...plain, name: 'PONG', from: 'broker', body: between(0, 1024) },
  134: { ...told, name: 'LANE', body: exactly(4) },
  135: { ...plain, name: 'MARK', from: 'broker', body: empty },
  136: { ...plain, name: 'WELCOME', from: 'broker', body: exactly(52) },
  138: { ...told, name: 'DROPPED', body: exactly(9) },
  139: { ...plain, name: 'WILL_SET', from: 'broker', body: empty },
  140: { ...plain, name: 'RENEWED', from: 'broker', body: exactly(4) },
  141: { ...told, name: 'NOTICE', body: between(10, 1034) },
  142: { ...told, name: 'POSITION', body: exactly(16) },
  143: { ...plain, name: 'REFUSED', from: 'broker', body: between(2, 514) },
};

/** A PUBLISH means different things on the two ways. */
function publishRow(flags: number, reader: 'broker' | 'client'): Row {
  const row = { name: 'PUBLISH', from: 'both', body: propertiesFit } as const;
  if (reader === 'broker') {
    const topic = (flags & 8) !== 0 ? 'alias' : 'one';
    return { ...row, topic, id: (flags & 1) !== 0 ? 'other' : 'zero', flags: 0x5d };
  }
  if ((flags & 1) === 0) return { ...row, topic: 'one', id: 'zero', flags: 0x54 };
  return { ...row, topic: 'one', id: 'any', flags: 0x75 };
}

/** The command, or the name of the code that closes the connection. */
export function slowDecode(bytes: Uint8Array, reader: 'broker' | 'client'): SlowCommand | string {
  const buffer = Buffer.from(bytes);
  if (buffer.length < 8) return 'COMMAND_ENCODING_ERROR';
  const flags = buffer.readUInt8(1);
  const row = buffer.readUInt8(0) === 1 ? publishRow(flags, reader) : TABLE[buffer.readUInt8(0)];
  if (row === undefined || row.from === reader) return 'UNKNOWN_COMMAND';
  if ((flags & ~row.flags) !== 0) return 'COMMAND_ENCODING_ERROR';
  const field = buffer.readUInt16BE(2);
  const id = buffer.readUInt32BE(4);
  if (row.id !== 'any' && (row.id === 'zero') !== (id === 0)) return 'COMMAND_ENCODING_ERROR';
  if (row.name === 'ALIAS' && id > 0xffff) return 'COMMAND_ENCODING_ERROR';
  const topicLength = row.topic === 'alias' ? 0 : field;
  if (row.topic === 'alias' && field === 0) return 'COMMAND_ENCODING_ERROR';
  if (buffer.length < 8 + topicLength || topicLength > 1024) return 'COMMAND_ENCODING_ERROR';
  if (row.topic === 'one' && topicLength === 0) return 'COMMAND_ENCODING_ERROR';
  if (row.topic === 'none' && topicLength !== 0) return 'COMMAND_ENCODING_ERROR';
  const body = buffer.subarray(8 + topicLength);
  const command = { name: row.name, flags, topic: buffer.subarray(8, 8 + topicLength), id, body };
  if (row.topic === 'maybe' && topicLength === 0) {
    return flags === 0 && body.length === 0 ? command : 'COMMAND_ENCODING_ERROR';
  }
  return row.body(body, flags) ? command : 'COMMAND_ENCODING_ERROR';
}

function propertiesFit(body: Buffer, flags: number): boolean {
  return (flags & 0x10) === 0 || slowProperties(body) !== null;
}

/** Type and value of each property, or null when they are malformed. Written from the table of properties. */
export function slowProperties(body: Buffer): [type: number, value: Buffer][] | null {
  if (body.length < 2 || body.length < 2 + body.readUInt16BE(0)) return null;
  let rest = body.subarray(2, 2 + body.readUInt16BE(0));
  const properties: [number, Buffer][] = [];
  while (rest.length > 0) {
    if (rest.length < 3 || rest.length < 3 + rest.readUInt16BE(1)) return null;
    const value = rest.subarray(3, 3 + rest.readUInt16BE(1));
    properties.push([rest[0], value]);
    rest = rest.subarray(3 + value.length);
  }
  const known = properties.map(([type]) => type).filter((type) => type <= 14);
  if (new Set(known).size !== known.length) return null;
  return properties.every(([type, value]) => propertyFits(type, value)) ? properties : null;
}

function propertyFits(type: number, value: Buffer): boolean {
  const text = () => {
    try {
      new TextDecoder('utf-8', { fatal: true }).decode(value);
      return true;
    } catch {
      return false;
    }
  };
  if (type === 0) return false;
  if (type === 1 || type === 9) return value.length === 4;
  if (type === 2) return value.length >= 1 && value.length <= 1024 && text();
  if (type === 3) return value.length <= 256;
  if (type === 4) return value.length === 1 && value[0] <= 3;
  if (type === 5 || type === 7 || type === 10) return value.length <= 256 && text();
  if (type === 6) return value.length >= 1 && value.length <= 256 && text();
  if (type === 8 || type === 12) return value.length === 2;
  if (type === 11) return value.length === 8 && value.readBigUInt64BE() < 2n ** 53n;
  if (type === 13) return originFits(value);
  if (type === 14) return value.length === 1 && value[0] <= 1;
  if (type < 64 || type > 127) return true;
  if (value.length < 1 || value.length < 1 + value[0]) return false;
  return propertyFits(5, value.subarray(1, 1 + value[0]));
}

function originFits(value: Buffer): boolean {
  if (value.length < 20) return false;
  const topicLength = value.readUInt16BE(18);
  if (topicLength > 1024 || value.length < 20 + topicLength) return false;
  if (value.readBigUInt64BE(0) >= 2n ** 53n || value.readBigUInt64BE(8) >= 2n ** 53n) return false;
  const texts = [value.subarray(20, 20 + topicLength), value.subarray(20 + topicLength)];
  return texts.every((bytes) => Buffer.from(bytes.toString()).equals(bytes));
}
