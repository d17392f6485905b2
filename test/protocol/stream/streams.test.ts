import { describe, expect, test } from 'vitest';
import type { ConnectionStream } from '../../../src/protocol/stream/connection-stream.ts';
import { Delivery, FrameType, Priority } from '../../../src/protocol/wire/frame-type.ts';
import { internalsOf } from '../connection/internals.ts';
import { bytesOf, eachSeed, Pair } from '../connection/pair.ts';
import { integers, opening, Rogue, run } from '../connection/rogue.ts';

describe('a stream', () => {
  test('has the same priority, delivery, order and label on both sides', () => {
    const pair = new Pair().connected();
    const opened: ConnectionStream[] = [];
    for (const priority of Object.values(Priority)) {
      for (const delivery of Object.values(Delivery)) {
        for (const ordered of [true, false]) {
          const side = ordered ? pair.client : pair.server;
          const stream = side.open({
            priority,
            delivery,
            ordered,
            label: `\ufeff${priority}/${delivery}/\u{1f984}`,
          });
          side.send(stream, 'x');
          opened.push(stream);
        }
      }
    }
    const other = (id: number) =>
      [...pair.client.streams, ...pair.server.streams].find((stream) => stream.id === id);
    pair.until(() => opened.every(({ id }) => other(id) !== undefined));
    for (const { id, priority, delivery, ordered, label } of opened) {
      expect(other(id)).toMatchObject({ priority, delivery, ordered, label });
    }
  });

  test('takes a label of 64 bytes and messages of no bytes', () => {
    const pair = new Pair().connected();
    const stream = pair.client.open({ label: '\u{1f984}'.repeat(16) });
    for (let i = 0; i < 3; i++) pair.client.send(stream, '');
    pair.until(() => pair.server.texts(stream.id).length === 3);
    expect(pair.server.streams[0].label).toBe('\u{1f984}'.repeat(16));
    expect(pair.server.texts(stream.id)).toEqual(['', '', '']);
  });

  test('is announced with everything it sends until the peer knows it, and never again [STR-3]', () => {
    const pair = new Pair({ link: { delayMs: 50 } }).connected();
    const stream = pair.client.open();
    for (let i = 0; i < 5; i++) {
      pair.client.send(stream, `${i}`);
      pair.run(10);
    }
    pair.run(500);
    const before = pair.client.frames(FrameType.STREAM_OPEN).length;
    expect(before).toBeGreaterThanOrEqual(5);
    pair.client.send(stream, 'later');
    pair.run(500);
    expect(pair.client.frames(FrameType.STREAM_OPEN)).toHaveLength(before);
    expect(pair.server.streams).toHaveLength(1);
    for (const { packets } of pair.client.sent) {
      for (const { frames } of packets) {
        const message = frames.findIndex(({ type }) => type >= FrameType.MESSAGE);
        const open = frames.findIndex(({ type }) => type === FrameType.STREAM_OPEN);
        if (open >= 0) expect(open).toBeLessThan(message);
      }
    }
  });

  test('carries messages of every size from 0 to several packets, in order, both ways', () => {
    const pair = new Pair({ seed: 4, link: { delayMs: 5, loss: 0.05, reorder: 0.05 } }).connected();
    const there = pair.client.open();
    const sizes = Array.from({ length: 200 }, (_, i) => (i * 37) % 4_000);
    for (const [i, size] of sizes.entries()) pair.client.send(there, bytesOf(size, i));
    pair.until(() => pair.server.messages.get(there.id)?.length === sizes.length);
    const back = pair.server.streams[0];
    for (const message of pair.server.messages.get(there.id) ?? []) pair.server.send(back, message);
    pair.until(() => pair.client.messages.get(there.id)?.length === sizes.length);
    for (const [i, size] of sizes.entries()) {
      expect(
        Buffer.compare(pair.client.messages.get(there.id)?.[i] ?? NOTHING, bytesOf(size, i)),
        `size ${size}`,
      ).toBe(0);
    }
  });

  test('carries a message of the largest size, and none larger [FRM-7]', () => {
    const limits = { messageBytesMax: 300_000, streamWindowBytes: 1, connectionWindowBytes: 1 };
    const pair = new Pair({ client: limits, server: limits }).connected();
    const stream = pair.client.open();
    for (let i = 0; i < 3; i++) pair.client.send(stream, bytesOf(300_000, i));
    pair.until(() => pair.server.messages.get(stream.id)?.length === 3);
    expect(stream.messageBytesMax).toBe(300_000);
    expect(Buffer.compare(pair.server.messages.get(stream.id)?.[2] ?? NOTHING, bytesOf(300_000, 2))).toBe(0);
  });
});

describe('the end of a stream', () => {
  test('is told once, behind all messages, and closes the stream when both directions ended [STR-30]', () => {
    eachSeed(1, 10, (seed) => {
      const pair = new Pair({ seed, link: { delayMs: 5, loss: 0.2 } }).connected();
      const stream = pair.client.open();
      for (let i = 0; i < 20; i++) pair.client.send(stream, `${i}`);
      pair.client.end(stream);
      pair.until(() => pair.server.streams[0]?.receiver.ended === true);
      expect(pair.server.texts(stream.id)).toHaveLength(20);
      expect(pair.server.core.streams.size).toBe(1);
      const back = pair.server.streams[0];
      pair.server.send(back, 'and back');
      pair.server.end(back);
      pair.until(() => pair.client.core.streams.size + pair.server.core.streams.size === 0);
      expect(pair.client.texts(stream.id)).toEqual(['and back']);
      for (const side of [pair.client, pair.server]) {
        expect(side.events.filter(({ type }) => type === 'streamClosed')).toHaveLength(1);
        expect(side.events.filter(({ type }) => type === 'reset')).toHaveLength(0);
      }
    });
  });

  test('is told even to an application that has read everything before it came', () => {
    const pair = new Pair().connected();
    const stream = pair.client.open();
    pair.client.send(stream, 'a');
    pair.until(() => pair.server.texts(stream.id).length === 1);
    pair.run(100);
    const before = pair.server.events.length;
    pair.client.end(stream);
    pair.run(100);
    expect(pair.server.events.slice(before).map(({ type }) => type)).toEqual(['readable']);
    expect(pair.server.streams[0].receiver.ended).toBe(true);
  });

  test('of a stream that carried nothing is told, too', () => {
    const pair = new Pair().connected();
    pair.client.end(pair.client.open());
    pair.until(() => pair.server.streams.length === 1);
    expect(pair.server.streams[0].receiver.ended).toBe(true);
    pair.server.end(pair.server.streams[0]);
    pair.until(() => pair.client.core.streams.size + pair.server.core.streams.size === 0);
  });
});

describe('a reset', () => {
  test('by the side that opened gives up both directions, with its code [STR-24] [STR-25]', () => {
    eachSeed(1, 10, (seed) => {
      const pair = new Pair({ seed, link: { delayMs: 10, loss: 0.2 } }).connected();
      const stream = pair.client.open();
      pair.client.send(stream, 'before');
      pair.until(() => pair.server.streams.length === 1);
      pair.server.readsAll = false;
      pair.server.send(pair.server.streams[0], 'on its way');
      pair.client.send(stream, bytesOf(100_000));
      pair.client.reset(stream, 77);
      pair.until(() => pair.server.events.some(({ type }) => type === 'reset'));
      expect(pair.server.events.find(({ type }) => type === 'reset')).toMatchObject({ code: 77 });
      pair.server.reset(pair.server.streams[0], 77);
      pair.until(() => pair.client.core.streams.size + pair.server.core.streams.size === 0);
      expect(pair.server.core.streams.receiveCounts.window.used).toBe(
        pair.server.core.streams.receiveCounts.window.freed,
      );
      pair.server.readsAll = true;
      pair.echo();
    });
  });

  test('by the side that did not open does the same', () => {
    const pair = new Pair().connected();
    const stream = pair.client.open();
    pair.client.send(stream, bytesOf(50_000));
    pair.until(() => pair.server.streams.length === 1);
    pair.server.reset(pair.server.streams[0], 5);
    pair.until(() => pair.client.events.some(({ type }) => type === 'reset'));
    expect(pair.client.events.find(({ type }) => type === 'reset')).toMatchObject({ code: 5 });
    expect(() => stream.send(bytesOf(1), Delivery.RELIABLE, Number.POSITIVE_INFINITY, false)).toThrow(
      expect.objectContaining({ code: 'ERR_JSP_STREAM_RESET' }),
    );
    pair.client.reset(stream, 5);
    pair.until(() => pair.client.core.streams.size + pair.server.core.streams.size === 0);
    pair.echo();
  });

  test('of a stream that the peer never heard of is no trouble', () => {
    const pair = new Pair().connected();
    const stream = pair.client.open();
    pair.client.send(stream, 'never mind');
    pair.client.reset(stream, 1);
    pair.run(500);
    expect(pair.client.closed ?? pair.server.closed).toBeNull();
    for (const { id } of pair.server.streams) expect(id).toBe(stream.id);
    pair.echo();
  });

  test('leaves the credit of both sides exact, however it crosses with data [STR-24]', () => {
    eachSeed(1, 15, (seed) => {
      const window = { messageBytesMax: 20_000, streamWindowBytes: 40_000, connectionWindowBytes: 80_000 };
      const pair = new Pair({
        seed,
        link: { delayMs: 10, loss: 0.15, reorder: 0.2 },
        client: window,
        server: window,
      });
      pair.connected();
      for (let i = 0; i < 30; i++) {
        const stream = pair.client.open({ ordered: i % 2 === 0 });
        for (let k = 0; k < 5; k++) pair.client.send(stream, bytesOf((seed * 701 + k * 997) % 20_000, k));
        pair.run((seed * 7) % 40);
        pair.client.reset(stream, i);
        const there = pair.server.streams.find(({ id }) => id === stream.id);
        if (there !== undefined) pair.server.reset(there, i);
        pair.run(20);
      }
      pair.run(5_000);
      for (const stream of pair.server.streams) pair.server.reset(stream, 0);
      pair.run(5_000);
      const { window: received } = pair.server.core.streams.receiveCounts;
      expect(received.used - received.freed).toBe(0);
      expect(pair.client.core.streams.sendCounts.credit.used).toBe(received.used);
      pair.echo();
    });
  });
});

describe('frames of streams that are closed', () => {
  test('are ignored, whatever they say [STR-5]', () => {
    const pair = new Pair().connected();
    const stream = pair.client.open();
    pair.client.send(stream, 'x');
    pair.client.end(stream);
    pair.until(() => pair.server.streams[0]?.receiver.ended === true);
    pair.server.end(pair.server.streams[0]);
    pair.until(() => pair.server.core.streams.size === 0 && pair.client.core.streams.size === 0);
    const rogue = new Rogue(pair);
    rogue.send(opening(0), run(0, 0, 5), run(0, 9, 1), integers(FrameType.STREAM_FIN, 0, 99));
    rogue.send(integers(FrameType.RESET_STREAM, 0, 1, 5), integers(FrameType.STOP_SENDING, 0, 1));
    rogue.send(integers(FrameType.MAX_STREAM_DATA, 0, 1), integers(FrameType.STREAM_DATA_BLOCKED, 0, 1));
    rogue.send(integers(FrameType.ABANDON, 0, 1, 1, 5));
    expect(pair.server.closed).toBeNull();
    expect(pair.server.core.streams.size).toBe(0);
    expect(pair.server.events.filter(({ type }) => type === 'stream')).toHaveLength(1);
  });
});

describe('flow control', () => {
  const WINDOW = { messageBytesMax: 10_000, streamWindowBytes: 75_536, connectionWindowBytes: 151_072 };

  test('stops a sender whose messages nobody reads, and lets it go on when they are read [STR-10] [STR-11]', () => {
    eachSeed(1, 5, (seed) => {
      const pair = new Pair({
        seed,
        link: { delayMs: 10, loss: seed > 1 ? 0.1 : 0 },
        server: WINDOW,
      }).connected();
      pair.server.readsAll = false;
      const stream = pair.client.open();
      for (let i = 0; i < 100; i++) pair.client.send(stream, bytesOf(10_000, i));
      pair.run(20_000);
      const unread = pair.server.streams[0].receiver.readable;
      // One fits into the window that a stream has before anybody reads. [STR-34]
      expect(unread).toBe(1);
      expect(pair.client.frames(FrameType.STREAM_DATA_BLOCKED).length).toBeGreaterThan(0);
      expect(stream.sender.queue.bytes).toBe(99 * 10_128);
      // Nothing goes on while nothing is read.
      const { sent } = pair.client;
      const before = sent.length;
      pair.run(2_000);
      expect(stream.sender.queue.bytes).toBe(99 * 10_128);
      // heartbeats, and probes of the packet size
      expect(sent.length - before).toBeLessThan(10);
      pair.server.readsAll = true;
      pair.server.read(pair.server.streams[0]);
      pair.until(() => pair.server.messages.get(0)?.length === 100);
      expect(
        pair.server.messages.get(0)?.every((data, i) => Buffer.compare(data, bytesOf(10_000, i)) === 0),
      ).toBe(true);
    });
  });

  test('lets other streams pass one that is not read', () => {
    const pair = new Pair({ server: WINDOW }).connected();
    pair.server.readsAll = false;
    const unread = pair.client.open();
    for (let i = 0; i < 50; i++) pair.client.send(unread, bytesOf(10_000, i));
    pair.run(1_000);
    const other = pair.client.open();
    pair.server.onEvent = (event) => {
      if (event.type === 'readable' && event.stream.id === other.id) pair.server.read(event.stream);
    };
    for (let i = 0; i < 50; i++) pair.client.send(other, bytesOf(9_000, i));
    pair.until(() => pair.server.messages.get(other.id)?.length === 50);
    expect(pair.server.messages.has(unread.id)).toBe(false);
  });

  test('bounds all streams together [STR-13]', () => {
    const pair = new Pair({ server: WINDOW }).connected();
    pair.server.readsAll = false;
    const streams = Array.from({ length: 40 }, () => pair.client.open());
    for (const stream of streams) for (let i = 0; i < 10; i++) pair.client.send(stream, bytesOf(9_000, i));
    pair.run(3_000);
    const { window } = pair.server.core.streams.receiveCounts;
    const { connectionWindowBytes, connectionWindowStartBytes } = internalsOf(pair.server.core).config;
    expect(window.used - window.freed).toBeLessThanOrEqual(connectionWindowBytes);
    // The last of the credit is for `system`. [STR-34]
    const reserve = Math.floor(connectionWindowStartBytes / 8);
    expect(window.used - window.freed).toBeGreaterThan(connectionWindowBytes - reserve - 9_128);
    expect(pair.client.frames(FrameType.DATA_BLOCKED).length).toBeGreaterThan(0);
    expect(pair.server.closed).toBeNull();
    pair.server.readsAll = true;
    for (const stream of pair.server.streams) pair.server.read(stream);
    pair.until(() => streams.every(({ id }) => pair.server.messages.get(id)?.length === 10));
  });

  test('is out of the way of best-effort messages', () => {
    const pair = new Pair({ server: WINDOW }).connected();
    pair.server.readsAll = false;
    const stream = pair.client.open({ delivery: Delivery.BEST_EFFORT, ordered: false });
    for (let i = 0; i < 20; i++) pair.client.send(stream, bytesOf(10_000, i));
    pair.until(() => pair.server.streams[0]?.receiver.readable === 20);
    expect(pair.server.core.streams.receiveCounts.window.used).toBe(0);
  });

  test('survives the loss of every first frame that raises a limit [STR-11] [FRM-5]', () => {
    const pair = new Pair({ server: WINDOW }).connected();
    const seen = new Set<string>();
    let lost = 0;
    pair.server.filter = (data, index) => {
      const raises = pair.server.sent[index].packets.flatMap(({ frames }) =>
        frames.filter(({ type }) => type === FrameType.MAX_DATA || type === FrameType.MAX_STREAM_DATA),
      );
      const news = raises.filter(({ type, stream, limit }) => !seen.has(`${type} ${stream} ${limit}`));
      for (const { type, stream, limit } of raises) seen.add(`${type} ${stream} ${limit}`);
      if (news.length === 0) return [{ data }];
      lost++;
      return [];
    };
    const stream = pair.client.open();
    for (let i = 0; i < 60; i++) pair.client.send(stream, bytesOf(10_000, i));
    pair.until(() => pair.server.messages.get(stream.id)?.length === 60, 120_000);
    expect(lost).toBeGreaterThan(3);
  });
});

const NOTHING = new Uint8Array(0);
