import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { decodePublished, encodeAck, encodePublished } from '../../src/pubsub/acknowledgement.ts';
import {
  Command,
  CommandReader,
  encodeAlias,
  encodeDropped,
  encodeLane,
  encodePlain,
  encodeRefused,
  encodeSubscribe,
  encodeUnsubscribe,
  encodeWill,
  HEADER_BYTES,
  type Overflow,
  PUBLISHED_ALL,
  PublishFlag,
  publishPrefix,
  ReasonCode,
  reasonCodeName,
  Side,
} from '../../src/pubsub/command.ts';
import { slowDecode } from './slow-command.ts';

interface Valid {
  name: string;
  from: 'client' | 'broker' | 'both';
  command: keyof typeof Command;
  flags: number;
  topic: string;
  id: number;
  body: string;
  bytes: string;
}
interface Invalid {
  name: string;
  reader: 'broker' | 'client';
  code: string;
  bytes: string;
}
const path = new URL('../../spec/vectors/broker-commands.json', import.meta.url);
const vectors: { valid: Valid[]; invalid: Invalid[] } = JSON.parse(readFileSync(path, 'utf8'));

function encode({ command, flags, topic, id, body }: Valid): Uint8Array {
  const bytes = Buffer.from(body, 'hex');
  switch (command) {
    case 'PUBLISH':
      return Buffer.concat([publishPrefix(topic, flags, id), bytes]);
    case 'WILL':
      return bytes.length === 0
        ? encodePlain(Command.WILL, id)
        : encodeWill(id, topic, flags, bytes.readUInt32BE(0), bytes.subarray(4));
    case 'ALIAS':
      return encodeAlias(id, topic);
    case 'ACK':
      return Buffer.concat([encodeAck(id, flags), bytes]);
    case 'PUBLISHED': {
      const { result, offset } = decodePublished(Buffer.concat([Buffer.alloc(8), bytes]));
      return encodePublished(id, flags === PUBLISHED_ALL, result, offset);
    }
    case 'SUBSCRIBE':
      return encodeSubscribe(
        id,
        topic,
        flags as Overflow,
        bytes.length === 0 ? 0 : bytes.readUInt32BE(0),
        bytes.length === 0 ? 0 : bytes.readUInt32BE(4),
        bytes.subarray(8),
      );
    case 'UNSUBSCRIBE':
      return encodeUnsubscribe(id, topic);
    case 'LANE':
      return encodeLane(bytes.readUInt32BE(0));
    case 'DROPPED':
      return encodeDropped(Number(bytes.readBigUInt64BE(0)), bytes[8]);
    case 'REFUSED':
      return encodeRefused(id, bytes.readUInt16BE(0), bytes.toString('utf8', 2));
    default:
      return encodePlain(Command[command], id, bytes);
  }
}

describe('command vectors', () => {
  for (const vector of vectors.valid) {
    test(`reads and writes: ${vector.name}`, () => {
      const bytes = Buffer.from(vector.bytes, 'hex');
      for (const side of ['broker', 'client'] as const) {
        if (vector.from === side) continue;
        const reader = new CommandReader(side === 'broker' ? Side.BROKER : Side.CLIENT);
        expect(reasonCodeName(reader.read(bytes))).toBe('NO_ERROR');
        expect(reader.command).toBe(Command[vector.command]);
        expect(reader.flags).toBe(vector.flags);
        expect(reader.id).toBe(vector.id);
        expect(bytes.toString('utf8', HEADER_BYTES, reader.topicEnd)).toBe(vector.topic);
        if ((vector.flags & PublishFlag.ALIAS) !== 0 && vector.command === 'PUBLISH') {
          expect(reader.alias).toBe(bytes.readUInt16BE(2));
          continue;
        }
        expect(bytes.toString('hex', reader.topicEnd)).toBe(vector.body);
        expect(reader.bodyLength).toBe(vector.body.length / 2);
        const slow = slowDecode(bytes, side);
        expect(slow).toMatchObject({ name: vector.command, flags: vector.flags, id: vector.id });
      }
      if (vector.command === 'PUBLISH' && (vector.flags & PublishFlag.ALIAS) !== 0) return;
      expect(Buffer.from(encode(vector)).toString('hex')).toBe(vector.bytes);
    });
  }

  // [BRK-6] [BRK-8]
  for (const { name, reader: side, code, bytes } of vectors.invalid) {
    test(`refuses with ${code}: ${name}`, () => {
      const reader = new CommandReader(side === 'broker' ? Side.BROKER : Side.CLIENT);
      expect(reasonCodeName(reader.read(Buffer.from(bytes, 'hex')))).toBe(code);
      expect(slowDecode(Buffer.from(bytes, 'hex'), side)).toBe(code);
    });
  }
});

describe('commands', () => {
  test('cut a reason string that is too long at a character', () => {
    const reader = new CommandReader(Side.CLIENT);
    const bytes = encodeRefused(1, 10, '温'.repeat(200));
    expect(reader.read(bytes)).toBe(ReasonCode.NO_ERROR);
    expect(Buffer.from(bytes).toString('utf8', HEADER_BYTES + 2)).toBe('温'.repeat(170));
  });

  test('have reason codes whose names are those of the specification', () => {
    const page = readFileSync(new URL('../../spec/broker.md', import.meta.url), 'utf8');
    const rows = [...page.matchAll(/^\| (0x[0-9a-f]{2}) \| ([A-Z_]+) \| (?:connection|stream|request)/gm)];
    const listed = Object.fromEntries(rows.map(([, code, name]) => [name, Number(code)]));
    expect(listed).toEqual(ReasonCode);
  });
});
