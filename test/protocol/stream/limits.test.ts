import { describe, expect, test } from 'vitest';
import { StreamLimits } from '../../../src/protocol/stream/limits.ts';
import { CloseCode } from '../../../src/protocol/wire/close-code.ts';
import { FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { FrameWriter } from '../../../src/protocol/wire/frame-writer.ts';
import { eachSeed, Pair } from '../connection/pair.ts';
import { PacketRecord, recorded } from '../wire/recorded.ts';

describe('the number of streams', () => {
  test('that are open at once is bounded by the peer, but not how many there are in all [STR-4]', () => {
    eachSeed(1, 3, (seed) => {
      const pair = new Pair({ seed, link: { delayMs: 5, loss: seed === 1 ? 0 : 0.05 } }).connected();
      const { server, client } = pair;
      let most = 0;
      // The server ends each stream when the client did, which closes it.
      server.onEvent = (event) => {
        if (event.type === 'readable' && event.stream.receiver.ended) event.stream.finish();
        most = Math.max(most, server.core.streams.size);
      };
      for (let i = 0; i < 1_000; i++) {
        const stream = client.open();
        client.send(stream, `stream ${i}`);
        stream.finish();
      }
      pair.until(
        () => server.messages.size === 1_000 && client.core.streams.size === 0,
        120_000,
        'the last stream',
      );
      pair.run(1_000);
      expect(most).toBe(100);
      expect(client.frames(FrameType.STREAMS_BLOCKED).length).toBeGreaterThan(0);
      expect(client.events.filter(({ type }) => type === 'streamClosed')).toHaveLength(1_000);
      expect([...server.messages.keys()].sort((a, b) => a - b)).toEqual(
        Array.from({ length: 1_000 }, (_, i) => 2 * i),
      );
      expect(server.core.streams.size).toBe(0);
    });
  });

  test('is bounded in each direction by its own limit', () => {
    const pair = new Pair({ client: { streamsMax: 2 }, server: { streamsMax: 5 } }).connected();
    for (let i = 0; i < 10; i++) {
      pair.client.send(pair.client.open(), 'x');
      pair.server.send(pair.server.open(), 'x');
    }
    pair.run(1_000);
    expect(pair.server.streams.map(({ id }) => id)).toEqual([0, 2, 4, 6, 8]);
    expect(pair.client.streams.map(({ id }) => id)).toEqual([1, 3]);
  });

  test('may be 0: then the peer opens none, and its streams wait', () => {
    const pair = new Pair({ client: { streamsMax: 0 } }).connected();
    pair.server.send(pair.server.open(), 'never');
    pair.run(5_000);
    expect(pair.client.streams).toEqual([]);
    expect(pair.server.frames(FrameType.STREAMS_BLOCKED)).toHaveLength(1);
    pair.echo();
  });

  test('that is used up by streams that stay open leaves room for others as soon as one of them closes', () => {
    const pair = new Pair({ server: { streamsMax: 100 } }).connected();
    const streams = Array.from({ length: 100 }, () => pair.client.open());
    for (const stream of streams) pair.client.send(stream, 'stays');
    pair.until(() => pair.server.messages.size === 100);
    const one = streams[17];
    pair.client.end(one);
    pair.server.end(pair.server.streams[17]);
    pair.until(() => pair.client.core.streams.size === 99);
    pair.run(1_000);
    // Far from a quarter of the limit, but all that there is.
    const waiting = pair.client.open();
    pair.client.send(waiting, 'room at last');
    pair.until(() => pair.server.texts(waiting.id).length === 1, 1_000, 'the 101st stream');
  });

  test('that is used up when the peer asks for more grows when the next stream closes', () => {
    const pair = new Pair({ server: { streamsMax: 100 } }).connected();
    const streams = Array.from({ length: 101 }, () => pair.client.open());
    for (const stream of streams) pair.client.send(stream, 'hello');
    pair.until(() => pair.server.messages.size === 100);
    pair.run(1_000);
    expect(pair.server.texts(200)).toEqual([]);
    pair.client.reset(streams[3], 1);
    pair.server.reset(pair.server.streams[3], 1);
    pair.until(() => pair.server.texts(200).length === 1, 1_000, 'the 101st stream');
  });
});

describe('stream limits', () => {
  test('give even ids to the client and odd ones to the server [STR-4]', () => {
    const client = new StreamLimits(true, 10);
    const server = new StreamLimits(false, 10);
    expect([client.open(), client.open(), server.open(), server.open()]).toEqual([0, 2, 1, 3]);
    expect([0, 1, 2, 3].map((id) => client.isOurs(id))).toEqual([true, false, true, false]);
    expect([0, 1, 2, 3].map((id) => server.isOurs(id))).toEqual([false, true, false, true]);
  });

  test('know streams that are long closed from streams that never were [STR-5]', () => {
    const limits = new StreamLimits(true, 10);
    limits.open();
    expect(limits.accept(1)).toBe(0);
    expect(limits.accept(7)).toBe(0);
    forget(limits, 1);
    expect([0, 1, 2, 3, 5, 7, 9].map((id) => limits.wasOpen(id))).toEqual([
      true,
      true,
      false,
      false,
      false,
      true,
      false,
    ]);
  });

  test('take ids up to the limit in any order, and refuse those above [STR-4]', () => {
    const limits = new StreamLimits(false, 3);
    expect(limits.accept(4)).toBe(0);
    expect(limits.accept(0)).toBe(0);
    expect(limits.accept(6)).toBe(CloseCode.STREAM_LIMIT_ERROR);
    forget(limits, 4);
    expect(limits.due).toBe(true);
    written(limits);
    expect(limits.accept(6)).toBe(0);
    expect(limits.accept(8)).toBe(CloseCode.STREAM_LIMIT_ERROR);
  });

  test('are told again when the packet that told them is lost, but only the newest', () => {
    const limits = new StreamLimits(false, 4);
    const sent: [number, number][] = [];
    const write = () => sent.push(...written(limits));
    limits.accept(0);
    forget(limits, 0);
    write();
    limits.accept(2);
    forget(limits, 2);
    write();
    expect(sent).toEqual([
      [FrameType.MAX_STREAMS, 5],
      [FrameType.MAX_STREAMS, 6],
    ]);
    limits.onFrameLost(recorded((record) => record.limit(FrameType.MAX_STREAMS, 0, 5)));
    expect(limits.due).toBe(false);
    limits.onFrameLost(recorded((record) => record.limit(FrameType.MAX_STREAMS, 0, 6)));
    expect(limits.due).toBe(true);
    write();
    expect(sent.at(-1)).toEqual([FrameType.MAX_STREAMS, 6]);
  });
});

test('streams that wait for a peer which ends none are told of after 5 s, once until none waits [STR-39]', () => {
  const pair = new Pair({ server: { streamsMax: 2 } }).connected();
  const told = () => pair.client.events.filter(({ type }) => type === 'streamsBlocked');
  const streams = Array.from({ length: 4 }, () => pair.client.open());
  for (const stream of streams) pair.client.send(stream, 'x');
  pair.run(4_900);
  expect(told()).toEqual([]);
  pair.run(60_000);
  expect(told()).toMatchObject([{ waiting: 2 }]);
  for (const stream of streams) pair.client.end(stream);
  pair.until(() => pair.server.streams.length === 2);
  for (const stream of pair.server.streams) pair.server.end(stream);
  pair.until(() => pair.server.streams.length === 4);
  for (const stream of pair.server.streams) pair.server.end(stream);
  pair.run(1_000);
  for (let i = 0; i < 3; i++) pair.client.send(pair.client.open(), 'y');
  pair.run(10_000);
  expect(told()).toMatchObject([{ waiting: 2 }, { waiting: 1 }]);
});

/** Writes what is due. Returns types and limits of the frames. */
function written(limits: StreamLimits): [number, number][] {
  const w = new FrameWriter();
  const record = new PacketRecord();
  w.begin(new Uint8Array(200), 0, 200);
  w.sent = record;
  limits.write(w);
  return Array.from(record.frames(), ({ type, limit }) => [type, limit]);
}

test('streams of the peer that are held count as open when they are closed, and make room when they are held no more [STR-4]', () => {
  const limits = new StreamLimits(false, 4);
  for (const id of [0, 2, 4, 6]) {
    limits.accept(id);
    limits.makeRoom(-1);
    limits.makeRoom(1);
  }
  expect(limits.due).toBe(false);
  expect(limits.accept(8)).toBe(CloseCode.STREAM_LIMIT_ERROR);
  limits.makeRoom(4);
  expect(limits.due).toBe(true);
});

/** As `Streams` does when a stream is over. */
function forget(limits: StreamLimits, id: number): void {
  if (!limits.isOurs(id)) limits.makeRoom(1);
}
