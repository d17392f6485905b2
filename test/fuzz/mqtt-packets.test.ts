import fc from 'fast-check';
import { generate, type Packet } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import { MqttFault, MqttReason } from '../../src/gateway/mqtt/codes.ts';
import { connectRequestOf } from '../../src/gateway/mqtt/connect.ts';
import { decodeNote, encodeNote } from '../../src/gateway/mqtt/note.ts';
import { PacketReader } from '../../src/gateway/mqtt/packet-reader.ts';
import { type MqttVersion, readAnswer, readPacket } from '../../src/gateway/mqtt/packets.ts';
import { OutgoingProperties, writeVariable } from '../../src/gateway/mqtt/properties.ts';
import { IncomingPublish } from '../../src/gateway/mqtt/publish.ts';
import { CommandReader, ReasonCode, Side } from '../../src/pubsub/command.ts';
import { connectBytes } from '../gateway/mqtt/mqtt-peer.ts';

const BYTES_MAX = 70_000;

interface Cut {
  readonly head: number;
  readonly body: Buffer;
}

const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map((each) => Buffer.from(each));
const body = fc.oneof(
  { weight: 8, arbitrary: bytes(40) },
  { weight: 2, arbitrary: fc.constantFrom(126, 127, 128, 129, 300).map((length) => Buffer.alloc(length, 7)) },
  { weight: 1, arbitrary: fc.constantFrom(16_383, 16_384, 20_000).map((length) => Buffer.alloc(length, 9)) },
);
const cuts = fc.array(fc.record({ head: fc.nat(255), body }), { minLength: 1, maxLength: 8 });

function wireOf(packets: readonly Cut[]): Buffer {
  return Buffer.concat(packets.flatMap(({ head, body }) => [headerOf(head, body.length), body]));
}

function headerOf(head: number, length: number): Buffer {
  const header = Buffer.alloc(5);
  header[0] = head;
  return header.subarray(0, writeVariable(header, length, 1));
}

/** What a reader finds in these pieces; each is overwritten when all that it has was asked for, as a socket's memory may be. */
function readAll(pieces: readonly Buffer[], bytesMax = BYTES_MAX): Cut[] {
  const reader = new PacketReader(bytesMax);
  const found: Cut[] = [];
  for (const piece of pieces) {
    const chunk = Buffer.from(piece);
    reader.push(chunk);
    for (let next = reader.next(); next !== null; next = reader.next()) {
      found.push({ head: reader.head, body: Buffer.from(next) });
    }
    chunk.fill(0xff);
  }
  return found;
}

/** Compared as bytes, which costs far less than to compare them as values. */
function areSame(found: readonly Cut[], packets: readonly Cut[]): boolean {
  return (
    found.length === packets.length &&
    found.every(({ head, body }, i) => head === packets[i].head && body.equals(packets[i].body))
  );
}

function piecesOf(wire: Buffer, sizes: readonly number[]): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0, i = 0; at < wire.length; i++) {
    const end = Math.min(wire.length, at + (sizes[i % sizes.length] ?? wire.length));
    pieces.push(wire.subarray(at, end));
    at = end;
  }
  return pieces;
}

/** What it comes to; null where it is refused as MQTT has it. Anything else that is thrown is a fault of ours. */
function orFault<T>(make: () => T): T | null {
  try {
    return make();
  } catch (error) {
    if (error instanceof MqttFault && error.reason >= 0x80 && error.message !== '') return null;
    throw error;
  }
}

function faultOf(make: () => unknown): number {
  try {
    make();
  } catch (error) {
    if (error instanceof MqttFault) return error.reason;
    throw error;
  }
  throw new Error('it was taken');
}

describe('what cuts the bytes of a client into packets [MQT-3]', () => {
  test('finds the same packets in whatever pieces they come', () => {
    fc.assert(
      fc.property(
        cuts,
        fc.array(fc.integer({ min: 1, max: 5_000 }), { minLength: 1, maxLength: 6 }),
        (packets, sizes) => {
          return areSame(readAll(piecesOf(wireOf(packets), sizes)), packets);
        },
      ),
      { numRuns: 150 },
    );
  });

  test('finds them cut in two at every byte, and byte by byte', () => {
    const packets = [0, 1, 127, 128, 200].map((length, i) => ({
      head: 0x30 + i,
      body: Buffer.alloc(length, i),
    }));
    const wire = wireOf(packets);
    for (let at = 0; at <= wire.length; at++) {
      if (!areSame(readAll([wire.subarray(0, at), wire.subarray(at)]), packets)) expect.fail(`cut at ${at}`);
    }
    expect(areSame(readAll(piecesOf(wire, [1])), packets)).toBe(true);
  });

  test('a packet that would be too large is refused by its header alone, one byte less is taken', () => {
    const room = 1_000 - 3;
    for (const [length, isTaken] of [
      [room, true],
      [room + 1, false],
      [268_435_455, false],
    ] as const) {
      const header = headerOf(0x30, length);
      for (const sizes of [[header.length], [1]]) {
        const read = () => readAll(piecesOf(header, sizes), 1_000);
        if (isTaken) expect(read()).toEqual([]);
        else expect(faultOf(read)).toBe(MqttReason.PACKET_TOO_LARGE);
      }
    }
  });

  test('a length of more than four bytes is malformed as soon as that is seen', () => {
    const wire = Buffer.of(0x30, 0x80, 0x80, 0x80, 0x80);
    expect(faultOf(() => readAll([wire]))).toBe(MqttReason.MALFORMED);
    expect(faultOf(() => readAll(piecesOf(wire, [1])))).toBe(MqttReason.MALFORMED);
    expect(readAll([wire.subarray(0, 4)])).toEqual([]);
  });

  test('a packet that comes a byte at a time costs time in proportion to its bytes', () => {
    const wire = wireOf([{ head: 0x30, body: Buffer.alloc(60_000) }]);
    const reader = new PacketReader(BYTES_MAX);
    let copied = 0;
    let found: Buffer | null = null;
    const { set } = Uint8Array.prototype;
    const counted = function (this: Uint8Array, from: ArrayLike<number>, at?: number): void {
      copied += from.length;
      set.call(this, from, at);
    };
    Uint8Array.prototype.set = counted;
    try {
      for (let at = 0; at < wire.length; at++) {
        reader.push(wire.subarray(at, at + 1));
        found = reader.next();
        if (reader.keptBytes !== at + 1 && found === null)
          expect.fail(`${reader.keptBytes} kept of ${at + 1}`);
      }
    } finally {
      Uint8Array.prototype.set = set;
    }
    expect([found?.length, reader.keptBytes]).toEqual([60_000, 0]);
    expect(copied).toBeGreaterThanOrEqual(wire.length); // else it is counted elsewhere
    expect(copied).toBeLessThan(2 * wire.length);
  });
});

const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 12 }),
  fc.constantFrom('a/b', '$share/g/a', '#', 'é'),
);
const VERSIONS: readonly MqttVersion[] = [3, 4, 5];
const userProperties = fc.dictionary(fc.constantFrom('a', 'b', 'é'), text, { minKeys: 1, maxKeys: 3 });

/** Packets as a client writes them, of each kind. */
const written: fc.Arbitrary<{ version: MqttVersion; packet: Packet }> = fc.oneof(
  fc.record({
    version: fc.constantFrom(...VERSIONS),
    packet: fc.record({
      cmd: fc.constant('connect' as const),
      clientId: text.filter((id) => id !== ''),
      clean: fc.boolean(),
      keepalive: fc.nat(65_535),
      username: text.filter((name) => name !== ''),
      password: bytes(20).filter(({ length }) => length > 0),
      will: fc.record({
        topic: text.filter((topic) => topic !== ''),
        payload: bytes(20),
        qos: fc.constantFrom(0, 1, 2),
        retain: fc.boolean(),
      }),
      properties: fc.record({
        sessionExpiryInterval: fc.nat(),
        receiveMaximum: fc.integer({ min: 1, max: 65_535 }),
        userProperties,
      }),
    }),
  }),
  fc.record({
    version: fc.constantFrom(...VERSIONS),
    packet: fc.record({
      cmd: fc.constant('subscribe' as const),
      messageId: fc.integer({ min: 1, max: 65_535 }),
      subscriptions: fc.array(
        fc.record({
          topic: text.filter((topic) => topic !== ''),
          qos: fc.constantFrom(0, 1, 2),
          nl: fc.boolean(),
          rap: fc.boolean(),
          rh: fc.nat(2),
        }),
        { minLength: 1, maxLength: 4 },
      ),
      properties: fc.record({ subscriptionIdentifier: fc.integer({ min: 1, max: 268_435_455 }) }),
    }),
  }),
  fc.record({
    version: fc.constantFrom(...VERSIONS),
    packet: fc.record({
      cmd: fc.constant('unsubscribe' as const),
      messageId: fc.integer({ min: 1, max: 65_535 }),
      unsubscriptions: fc.array(
        text.filter((topic) => topic !== ''),
        { minLength: 1, maxLength: 4 },
      ),
    }),
  }),
  fc.record({
    version: fc.constant(5 as const),
    packet: fc.record({
      cmd: fc.constant('disconnect' as const),
      reasonCode: fc.constantFrom(0, 4),
      properties: fc.record({ sessionExpiryInterval: fc.nat(), reasonString: text }),
    }),
  }),
) as never;

function wireOfPacket(packet: Packet, version: MqttVersion): Cut {
  const wire =
    packet.cmd === 'connect'
      ? connectBytes({ ...packet, protocolVersion: version })
      : generate(packet, { protocolVersion: version });
  const [cut] = readAll([wire]);
  return cut;
}

/** Reads a packet as a connection does. */
function readAsConnection({ head, body }: Cut, version: MqttVersion): unknown {
  switch (head >> 4) {
    case 3: {
      const publish = new IncomingPublish();
      publish.read(head, body, version === 5);
      return publish;
    }
    case 4:
    case 6:
      return readAnswer(body, version === 5);
    default: {
      const packet = readPacket(head, body, version);
      return packet.cmd === 'connect' ? connectRequestOf(packet as never) : packet;
    }
  }
}

describe('what reads the packets of a client [MQT-4]', () => {
  test('reads what a client writes', () => {
    fc.assert(
      fc.property(written, ({ version, packet }) => {
        const { head, body } = wireOfPacket(packet, version);
        const read = orFault(() => readPacket(head, body, version)) as Record<string, unknown> | null;
        if (JSON.stringify(packet).includes('\\u0000')) return; // no text of MQTT has that
        expect(read?.cmd).toBe(packet.cmd);
        if (packet.cmd === 'connect')
          expect(read).toMatchObject({
            clientId: packet.clientId,
            clean: packet.clean,
            keepalive: packet.keepalive,
          });
        if (packet.cmd === 'subscribe') {
          const filters = packet.subscriptions.map(({ topic, qos }) =>
            expect.objectContaining({ topic, qos }),
          );
          expect(read?.subscriptions).toEqual(filters);
        }
        if (packet.cmd === 'unsubscribe') expect(read?.unsubscriptions).toEqual(packet.unsubscriptions);
      }),
      { numRuns: 150 },
    );
  });

  test('takes or refuses whatever comes in any packet, and never fails', () => {
    fc.assert(
      fc.property(fc.nat(255), bytes(60), fc.constantFrom(...VERSIONS), (head, body, version) => {
        orFault(() => readAsConnection({ head, body }, version));
      }),
      { numRuns: 1_500 },
    );
  });

  test('takes or refuses packets with some bytes that are others, are missing or are too many, and never fails', () => {
    const damage = fc.array(fc.tuple(fc.nat(200), fc.constantFrom('set', 'cut', 'add'), fc.nat(255)), {
      minLength: 1,
      maxLength: 3,
    });
    fc.assert(
      fc.property(written, damage, ({ version, packet }, changes) => {
        const { head, body } = wireOfPacket(packet, version);
        let damaged = Buffer.from(body);
        for (const [place, how, value] of changes) {
          const at = place % (damaged.length + 1);
          if (how === 'set' && at < damaged.length) damaged[at] = value;
          else if (how === 'cut') damaged = damaged.subarray(0, at);
          else if (how === 'add')
            damaged = Buffer.concat([damaged.subarray(0, at), Buffer.of(value), damaged.subarray(at)]);
        }
        orFault(() => readAsConnection({ head, body: damaged }, version));
      }),
      { numRuns: 500 },
    );
  });

  test('every beginning of a packet that is not all of it is refused', () => {
    const packet = {
      cmd: 'subscribe',
      messageId: 7,
      subscriptions: [{ topic: 'a/b', qos: 1, nl: false, rap: false, rh: 0 }],
    } as Packet;
    for (const version of VERSIONS) {
      const { head, body } = wireOfPacket(packet, version);
      for (let end = 0; end < body.length; end++) {
        const cut = body.subarray(0, end);
        const read = orFault(() => readPacket(head, cut, version)) as {
          subscriptions?: readonly unknown[];
        } | null;
        expect(read?.subscriptions ?? []).toEqual([]); // that has no filter, which is refused where it is looked at
      }
    }
  });
});

describe('messages of MQTT 5 and of the broker [MQT-20]', () => {
  const property = fc.oneof(
    fc.nat(1).map((value) => Buffer.of(0x01, value)),
    fc
      .integer({ min: 1, max: 4_294_967 })
      .map((seconds) => Buffer.concat([Buffer.of(0x02), uint32(seconds)])),
    text.map((value) => field(0x03, value)),
    fc.constantFrom('answers/here', 'é/x').map((value) => field(0x08, value)),
    bytes(40).map((value) => field(0x09, value)),
    fc
      .tuple(fc.constantFrom('a', 'b', '', 'é', 'jsp-other', '__proto__'), text)
      .map(([key, value]) => Buffer.concat([field(0x26, key), field(null, value)])),
  );
  const message = fc.record({
    topic: fc.constantFrom('a', 'a/b', 'ü/x'),
    qos: fc.nat(1),
    properties: fc.array(property, { maxLength: 8 }),
    payload: bytes(40),
  });

  test('what a client says of its message is there when the message comes to another, byte for byte, and in the order in which it was said', () => {
    fc.assert(
      fc.property(message, ({ topic, qos, properties, payload }) => {
        const publish = new IncomingPublish();
        const said = Buffer.concat(properties);
        const length = headerOf(0, said.length).subarray(1);
        const id = qos === 0 ? Buffer.alloc(0) : Buffer.of(0, 9);
        const body = Buffer.concat([field(null, topic), id, length, said, payload]);
        const isTaken = orFault(() => publish.read(0x30 | (qos << 1), body, true) ?? true);
        const isTwice = [1, 2, 3, 8, 9].some(
          (type) => properties.filter(([each]) => each === type).length > 1,
        );
        const isText = properties.every((each) => !textsOf(each).includes('\0'));
        if (isTwice || !isText) {
          expect(isTaken).toBe(null);
          return;
        }
        expect([isTaken, publish.fault]).toEqual([true, null]);
        const command = publish.command(null);
        if (qos === 1) command.writeUInt32BE(1, 4);
        const reader = new CommandReader(Side.BROKER);
        expect(reader.read(command)).toBe(ReasonCode.NO_ERROR);
        expect(command.subarray(reader.payloadStart).equals(payload)).toBe(true);
        const out = new OutgoingProperties();
        if (properties.length > 0) out.add(command, reader.topicEnd);
        expect(out.bytes.equals(said)).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  test('what is kept of a session can be read again, and whatever else is there says nothing', () => {
    const subscription = fc.record({
      filter: fc.constantFrom('a', '+/b', '#', '$share/g/a'),
      qos: fc.constantFrom(0 as const, 1 as const),
      ...{ noLocal: fc.boolean(), retainAsPublished: fc.boolean(), id: fc.nat(268_435_455) },
    });
    const note = fc.record({
      subscriptions: fc.array(subscription, { maxLength: 5 }),
      taken: fc.array(fc.nat(65_535), { maxLength: 5 }),
    });
    fc.assert(
      fc.property(note, (each) => void expect(decodeNote(encodeNote(each))).toEqual(each)),
      { numRuns: 100 },
    );
    fc.assert(
      fc.property(bytes(40), (each) => void decodeNote(Buffer.concat([Buffer.of(1), each]))),
      { numRuns: 500 },
    );
  });
});

function uint32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value);
  return out;
}

function field(type: number | null, value: string | Buffer): Buffer {
  const content = Buffer.from(value as string);
  return Buffer.concat([
    type === null ? Buffer.alloc(0) : Buffer.of(type),
    Buffer.of(content.length >> 8, content.length & 0xff),
    content,
  ]);
}

/** The texts of a property, without their lengths. */
function textsOf(property: Buffer): string {
  if (property[0] !== 0x26) return property[0] === 3 || property[0] === 8 ? property.toString('utf8', 3) : '';
  const keyEnd = 3 + property.readUInt16BE(1);
  return property.toString('utf8', 3, keyEnd) + property.toString('utf8', keyEnd + 2);
}
