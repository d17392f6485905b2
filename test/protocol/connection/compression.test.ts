import { describe, expect, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import { RateLimit } from '../../../src/base/time.ts';
import {
  COMPRESSION_OFF,
  CompressionMethod,
  CompressionMode,
  type CompressionOptions,
  chooseLz4,
  Dictionary,
  DictionarySet,
  EnvelopeWriter,
} from '../../../src/protocol/compress/index.ts';
import { PROTECTION_AUTO, ProtectionMode } from '../../../src/protocol/fec/protection.ts';
import type { ConnectionStream, MessageAsks } from '../../../src/protocol/stream/connection-stream.ts';
import { CloseCode } from '../../../src/protocol/wire/close-code.ts';
import { Delivery, FrameType, MessageFlag } from '../../../src/protocol/wire/frame-type.ts';
import { noise, reading } from '../compress/messages.ts';
import { Pair, type PairOptions, type Side } from './pair.ts';
import { integers, opening, Rogue, varint } from './rogue.ts';

const { MESSAGE, MESSAGES, MESSAGES_ENVELOPED, MESSAGES_ENVELOPED_BEST_EFFORT } = FrameType;
const prng = new Prng(11);
const readings = Array.from({ length: 300 }, () => reading(prng));
const dictionary = new Dictionary(Buffer.concat(readings.slice(0, 40)));
const other = new Dictionary(Buffer.from('something that no reading has'));
const page = Buffer.concat(readings.slice(100, 120));

const on = (changes: Partial<CompressionOptions> = {}): CompressionOptions => ({
  ...COMPRESSION_OFF,
  inflates: true,
  mode: CompressionMode.ON,
  ...changes,
});
const both = (compression: CompressionOptions, options: PairOptions = {}): Pair =>
  new Pair({
    ...options,
    client: { compression, ...options.client },
    server: { compression, ...options.server },
  }).connected();
const withDictionary = on({ dictionaries: new DictionarySet([other, dictionary]) });
const ASKED: MessageAsks = { protection: null, compression: CompressionMode.ON };

describe('a connection whose sides have agreed to compression', () => {
  test('delivers messages as they were given, in fewer bytes, of all deliveries and lengths [CMP-3] [STR-23]', () => {
    for (const delivery of [Delivery.RELIABLE, Delivery.BEST_EFFORT]) {
      const pair = both(withDictionary);
      const stream = pair.client.open({ delivery });
      const messages = [
        page,
        ...readings.slice(0, 30),
        noise(3_000),
        Buffer.concat(readings),
        Buffer.alloc(0),
        page,
      ];
      for (const message of messages) pair.client.send(stream, message);
      pair.run(500);
      expect(received(pair.server, stream)).toEqual(messages.map(hexOf));
      const ours = pair.client.core.metrics();
      const theirs = pair.server.core.metrics();
      expect(ours.messagesCompressed).toBe(33);
      expect(theirs.messagesInflated).toBe(33);
      expect(ours.compressionRatio).toBeGreaterThan(2.5);
      expect(ours.bytesAfterCompression).toBe(theirs.bytesBeforeInflation);
      expect(ours.bytesBeforeCompression).toBe(theirs.bytesAfterInflation);
      const bytes = messages.reduce((sum, { length }) => sum + length, 0);
      expect(ours.messageBytesSent).toBe(bytes);
      expect(theirs.messageBytesReceived).toBe(bytes);
      expect(ours.compressionSkippedIncompressible).toBe(1);
      expect(ours.compressionSkippedSmall).toBe(1);
    }
  });

  test('weighs by which method, where nobody has said that and the path is slow [CMP-10]', () => {
    const bytesOf = (changes: Partial<CompressionOptions>) => {
      const clock = () => 0; // compressing takes no time
      const pair = both(on({ mode: CompressionMode.AUTO, clock, ...changes }));
      const stream = pair.client.open();
      for (let i = 0; i < 20; i++) pair.client.send(stream, page);
      pair.run(500);
      expect(received(pair.server, stream)).toEqual(Array(20).fill(hexOf(page)));
      return pair.client.core.metrics().bytesAfterCompression;
    };
    const byLz4 = bytesOf({});
    expect(bytesOf({ method: CompressionMethod.LZ4, spareTime: new RateLimit(1, 1) })).toBe(byLz4);
    const byDeflate = bytesOf({ method: CompressionMethod.DEFLATE });
    expect(byDeflate).toBeLessThan(0.75 * byLz4);
    expect(bytesOf({ spareTime: new RateLimit(100_000, 20_000) })).toBe(byDeflate);
  });

  test('packs many small compressed messages into one frame, with one byte of envelope each [CMP-2]', () => {
    const pair = both(withDictionary);
    const stream = pair.client.open();
    pair.client.send(stream, readings[0]);
    pair.run(100);
    const packets = pair.client.sent.length;
    const few = readings.slice(50, 66);
    for (const message of few) stream.send(message, Delivery.RELIABLE, Number.POSITIVE_INFINITY, false);
    pair.client.node.wake();
    pair.run(100);
    const frames = pair.client.sent
      .slice(packets)
      .flatMap(({ packets }) => packets.flatMap(({ frames }) => frames));
    const runs = frames.filter(({ type }) => type === MESSAGES_ENVELOPED);
    expect(runs.length).toBeLessThanOrEqual(2);
    expect(runs.reduce((sum, { count }) => sum + count, 0)).toBe(few.length);
    const { codec } = new EnvelopeWriter(chooseLz4('js'));
    const blocks = few.map((message) => codec.deflate(message, new Uint8Array(500), 0, 500, dictionary));
    const pairs = blocks.reduce((sum, length) => sum + 1 + (1 + length < 64 ? 1 : 2) + length, 0);
    expect(runs.reduce((sum, { data }) => sum + data.length, 0)).toBe(pairs);
    expect(pairs).toBeLessThan(few.reduce((sum, { length }) => sum + length, 0) / 2);
    expect(received(pair.server, stream).slice(1)).toEqual(few.map(hexOf));
  });

  test('sends what does not become smaller exactly as a connection without compression does [CMP-8]', () => {
    const bytes = [COMPRESSION_OFF, on()].map((compression) => {
      const pair = new Pair({ client: { compression }, server: { compression: on() } }).connected();
      const stream = pair.client.open();
      const before = pair.client.bytesSent;
      for (let i = 0; i < 50; i++) pair.client.send(stream, noise(400, i));
      pair.run(300);
      expect(received(pair.server, stream).length).toBe(50);
      const types = new Set(pair.client.packets.flatMap(({ frames }) => frames.map(({ type }) => type)));
      expect([...types].filter((type) => type >= MESSAGES_ENVELOPED)).toEqual([]);
      return pair.client.bytesSent - before;
    });
    expect(bytes[0]).toBe(bytes[1]);
  });

  test('takes what does not become smaller along, among compressed messages, for a byte [CMP-8]', () => {
    const framed = (compression: CompressionOptions) => {
      const pair = both(compression);
      const stream = pair.client.open();
      const messages = readings.slice(0, 40).flatMap((message, i) => [message, noise(30, i)]);
      for (const message of messages)
        stream.send(message, Delivery.RELIABLE, Number.POSITIVE_INFINITY, false);
      pair.client.node.wake();
      pair.run(200);
      expect(received(pair.server, stream)).toEqual(messages.map(hexOf));
      const { messagesCompressed, messageBytesSent } = pair.client.core.metrics();
      const bytes = messages.reduce((sum, { length }) => sum + length, 0);
      expect(messageBytesSent).toBe(bytes);
      expect(pair.server.core.metrics().messageBytesReceived).toBe(bytes);
      expect(pair.server.core.metrics().messagesInflated).toBe(messagesCompressed);
      const frames = pair.client.packets
        .flatMap(({ frames }) => frames)
        .filter(({ type }) => type >= MESSAGE);
      return { messagesCompressed, frames: frames.length };
    };
    expect(framed(withDictionary)).toEqual({ messagesCompressed: 40, frames: expect.closeTo(4, -1) });
    expect(framed(on()).messagesCompressed).toBeLessThan(40);
  });

  test('goes on when compressed messages are lost, cut, repeated and joined to runs [STR-23]', () => {
    for (const protection of [PROTECTION_AUTO, { ...PROTECTION_AUTO, mode: ProtectionMode.OFF }]) {
      for (const delivery of [Delivery.RELIABLE, Delivery.BEST_EFFORT]) {
        const pair = both(withDictionary, {
          seed: 5,
          link: { delayMs: 20, loss: 0.15 },
          client: { protection },
        });
        const stream = pair.client.open({ delivery, ordered: delivery === Delivery.RELIABLE });
        const sent: string[] = [];
        for (let i = 0; i < 250; i++) {
          const message = i % 40 === 7 ? Buffer.concat(readings) : i % 3 === 0 ? noise(60, i) : readings[i];
          sent.push(hexOf(message));
          pair.client.send(stream, message);
          if (i % 2 === 0) pair.run(5);
        }
        pair.run(5_000);
        const came = received(pair.server, stream);
        if (delivery === Delivery.RELIABLE) expect(came).toEqual(sent);
        else {
          expect(came.length).toBeGreaterThan(100);
          expect(came.every((message) => sent.includes(message))).toBe(true);
        }
        const { messagesCompressed } = pair.client.core.metrics();
        expect(messagesCompressed).toBeGreaterThan(100);
        expect(pair.server.closed).toBeNull();
      }
    }
  });

  test('opens messages when they are read, and counts as memory what came until then [CMP-7]', () => {
    const pair = both(on());
    pair.server.readsAll = false;
    const stream = pair.client.open();
    const large = Buffer.alloc(2_000_000, page);
    pair.client.send(stream, large);
    pair.run(500);
    const waiting = pair.server.core.metrics();
    expect(waiting.messagesInflated).toBe(0);
    expect(waiting.memoryBytes).toBeLessThan(100_000);
    pair.server.read(pair.server.streams[0]);
    expect(received(pair.server, stream)).toEqual([hexOf(large)]);
  });

  test('uses only dictionaries that the peer has, by the peer’s numbers [CMP-3] [CMP-11]', () => {
    const pair = new Pair({
      client: { compression: on({ dictionaries: new DictionarySet([dictionary, other]) }) },
      server: {
        compression: on({ dictionaries: new DictionarySet([new Dictionary(noise(50)), dictionary]) }),
      },
    }).connected();
    const stream = pair.client.open();
    for (const message of readings.slice(0, 20)) pair.client.send(stream, message);
    pair.run(200);
    expect(received(pair.server, stream)).toEqual(readings.slice(0, 20).map(hexOf));
    const first = pair.client.packets
      .flatMap(({ frames }) => frames)
      .find(({ type }) => type >= MESSAGES_ENVELOPED)!;
    expect(first.data[first.data[0] < 64 ? 1 : 2]).toBe(0x15);
  });
});

describe('one side alone', () => {
  test.each([
    ['opens, and the other compresses what asks for it', on(), COMPRESSION_OFF, true],
    ['compresses, and the other has not said that it opens', COMPRESSION_OFF, on(), false],
    ['neither', COMPRESSION_OFF, COMPRESSION_OFF, false],
  ])('%s [CMP-3]', (_, server, client, isCompressed) => {
    const pair = new Pair({ client: { compression: client }, server: { compression: server } }).connected();
    const stream = pair.client.open();
    stream.send(page, Delivery.RELIABLE, Number.POSITIVE_INFINITY, false, 0, ASKED);
    pair.client.send(stream, page);
    pair.run(100);
    expect(received(pair.server, stream)).toEqual([hexOf(page), hexOf(page)]);
    const { messagesCompressed, compressionSkippedNotAgreed } = pair.client.core.metrics();
    expect(messagesCompressed).toBe(isCompressed ? 1 : 0);
    const isWanted = client.mode === CompressionMode.ON ? 2 : 1;
    expect(compressionSkippedNotAgreed).toBe(isCompressed ? 0 : isWanted);
  });

  test('says nothing of compression while it is off: the handshake is the one without it', () => {
    const bytes = (compression?: CompressionOptions) => {
      const pair = new Pair(compression === undefined ? {} : { client: { compression } }).connected();
      return hexOf(pair.client.sent[0].data);
    };
    expect(bytes(COMPRESSION_OFF)).toBe(bytes());
    expect(bytes({ ...COMPRESSION_OFF, mode: CompressionMode.ON, lz4: 'js' })).toBe(bytes());
  });

  test('a message of just the length that the peer takes goes without an envelope that would be too much [CMP-8]', () => {
    const pair = both(on(), { server: { messageBytesMax: 500 } });
    const stream = pair.client.open();
    for (let i = 0; i < 5; i++) {
      for (const message of [page.subarray(0, 500), noise(500), noise(499)])
        pair.client.send(stream, message);
    }
    pair.run(500);
    expect(pair.server.core.lifecycle.isOpen).toBe(true);
    expect(received(pair.server, stream).length).toBe(15);
  });

  test('a stream and a message say for themselves, and the stream goes on as it was', () => {
    const pair = both(on());
    const stream = pair.client.open({ compression: CompressionMode.OFF });
    const compressed = () => pair.client.core.metrics().messagesCompressed;
    pair.client.send(stream, page);
    expect(compressed()).toBe(0);
    stream.send(page, Delivery.RELIABLE, Number.POSITIVE_INFINITY, false, 0, ASKED);
    expect(compressed()).toBe(1);
    pair.client.send(stream, page);
    expect(compressed()).toBe(1);
    const another = pair.client.open();
    const not: MessageAsks = { protection: null, compression: CompressionMode.OFF };
    another.send(page, Delivery.RELIABLE, Number.POSITIVE_INFINITY, false, 0, not);
    pair.client.send(another, page);
    expect(compressed()).toBe(2);
    pair.run(100);
    expect(received(pair.server, stream).length).toBe(3);
    expect(received(pair.server, another).length).toBe(2);
  });
});

describe('a peer that sends what cannot be opened', () => {
  const block = new EnvelopeWriter(chooseLz4('js')).deflate(page, page.length)!.slice();
  const bomb = Buffer.concat([Buffer.of(1, 0x1f, 0, 1, 0), Buffer.alloc(1_000, 255), Buffer.of(0, 0x10, 0)]);
  const cases: readonly [string, Uint8Array, number][] = [
    ['no envelope at all', Buffer.alloc(0), CloseCode.COMPRESSION_ERROR],
    ['an unknown envelope', Buffer.of(2, 1), CloseCode.COMPRESSION_ERROR],
    ['a block cut short', block.subarray(0, block.length - 3), CloseCode.COMPRESSION_ERROR],
    ['a dictionary that was not agreed to', Buffer.of(0x25, 0), CloseCode.COMPRESSION_ERROR],
    ['a hash that nobody has', Buffer.of(3, 1, 2, 3, 4, 5, 6, 7, 8, 0), CloseCode.COMPRESSION_ERROR],
    ['a message that would be too long', bomb, CloseCode.MESSAGE_TOO_LARGE],
    [
      'a stored message that is too long',
      new EnvelopeWriter(chooseLz4('js')).store(new Uint8Array(1_000)),
      0,
    ],
  ];
  const spaces = [
    ['whole', MESSAGE | MessageFlag.ENVELOPE],
    ['best effort', MESSAGE | MessageFlag.ENVELOPE | MessageFlag.BEST_EFFORT],
    ['in a run', MESSAGES_ENVELOPED],
    ['in a best-effort run', MESSAGES_ENVELOPED_BEST_EFFORT],
  ] as const;

  test.each(cases.flatMap((row) => spaces.map((space) => [...row, ...space] as const)))(
    '%s is closed on, %#: code %s [CMP-7]',
    (_, bytes, code, __, type) => {
      const pair = both(withDictionary, { server: { messageBytesMax: 100_000 } });
      const rogue = new Rogue(pair);
      const counted = type >= MESSAGES ? [varint(1)] : [];
      rogue.send(opening(0), Buffer.concat([integers(type, 0, 0), ...counted, varint(bytes.length), bytes]));
      if (code === 0) return expect(rogue.victimClosed).toBeNull();
      expect(rogue.victimClosed).toMatchObject({ by: 'local', scope: 'transport', code });
      expect(pair.server.core.counters).toBeDefined();
    },
  );

  test('is not closed on while nobody reads, and is as soon as somebody does [CMP-7]', () => {
    const pair = both(withDictionary);
    pair.server.readsAll = false;
    const rogue = new Rogue(pair);
    rogue.send(
      opening(0),
      Buffer.concat([integers(MESSAGE | MessageFlag.ENVELOPE, 0, 0, 2), Buffer.of(2, 1)]),
    );
    expect(rogue.victimClosed).toBeNull();
    pair.server.read(pair.server.streams[0]);
    expect(pair.server.messages.size).toBe(0);
    pair.run(20);
    expect(rogue.victimClosed?.code).toBe(CloseCode.COMPRESSION_ERROR);
  });
});

function received(side: Side, { id }: ConnectionStream): string[] {
  return (side.messages.get(id) ?? []).map(hexOf);
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
