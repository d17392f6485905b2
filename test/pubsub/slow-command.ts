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
  topic: boolean;
  answered: boolean;
  planned: number;
  reserved: number;
  body: (length: number) => boolean;
}

const empty = (length: number) => length === 0;
const anyLength = () => true;
const plain = { topic: false, answered: true, planned: 0, reserved: 0xff };

const TABLE: Record<number, Row> = {
  1: {
    name: 'PUBLISH',
    from: 'both',
    topic: true,
    answered: false,
    planned: 0x3d,
    reserved: 0x82,
    body: anyLength,
  },
  2: {
    name: 'SUBSCRIBE',
    from: 'client',
    topic: true,
    answered: true,
    planned: 0,
    reserved: 0x40,
    body: (n) => n === 0 || n === 8,
  },
  3: {
    name: 'UNSUBSCRIBE',
    from: 'client',
    topic: true,
    answered: true,
    planned: 0,
    reserved: 0xff,
    body: empty,
  },
  4: { ...plain, name: 'FLUSH', from: 'client', body: empty },
  5: { ...plain, name: 'PING', from: 'client', body: (n) => n <= 1024 },
  14: { ...plain, name: 'MARKED', from: 'client', body: empty },
  130: { ...plain, name: 'SUBSCRIBED', from: 'broker', body: empty },
  131: { ...plain, name: 'UNSUBSCRIBED', from: 'broker', body: empty },
  132: { ...plain, name: 'FLUSHED', from: 'broker', body: empty },
  133: { ...plain, name: 'PONG', from: 'broker', body: (n) => n <= 1024 },
  134: { ...plain, name: 'LANE', from: 'broker', answered: false, body: (n) => n === 4 },
  135: { ...plain, name: 'MARK', from: 'broker', body: empty },
  138: { ...plain, name: 'DROPPED', from: 'broker', answered: false, body: (n) => n === 9 },
  143: { ...plain, name: 'REFUSED', from: 'broker', body: (n) => n >= 2 && n <= 514 },
};

/** The command, or the name of the code that closes the connection. */
export function slowDecode(bytes: Uint8Array, reader: 'broker' | 'client'): SlowCommand | string {
  const buffer = Buffer.from(bytes);
  if (buffer.length < 8) return 'COMMAND_ENCODING_ERROR';
  const row = TABLE[buffer.readUInt8(0)];
  if (row === undefined || row.from === reader) return 'UNKNOWN_COMMAND';
  const flags = buffer.readUInt8(1);
  if ((flags & row.reserved) !== 0) return 'COMMAND_ENCODING_ERROR';
  if ((flags & row.planned) !== 0) return 'UNSUPPORTED';
  const topicLength = buffer.readUInt16BE(2);
  const id = buffer.readUInt32BE(4);
  if (buffer.length < 8 + topicLength) return 'COMMAND_ENCODING_ERROR';
  if (row.topic !== (topicLength >= 1 && topicLength <= 1024)) return 'COMMAND_ENCODING_ERROR';
  if (!row.topic && topicLength !== 0) return 'COMMAND_ENCODING_ERROR';
  if (row.answered !== (id !== 0)) return 'COMMAND_ENCODING_ERROR';
  const body = buffer.subarray(8 + topicLength);
  if (!row.body(body.length)) return 'COMMAND_ENCODING_ERROR';
  return { name: row.name, flags, topic: buffer.subarray(8, 8 + topicLength), id, body };
}
