import { describe, expect, test } from 'vitest';
import { MILLISECOND, type Micros } from '../../../src/base/time.ts';
import { Outcome } from '../../../src/protocol/stream/send/send-context.ts';
import { Delivery, FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { bytesOf, Pair } from '../connection/pair.ts';
import { integers, opening, Rogue, run } from '../connection/rogue.ts';

describe('messages with lifetimes', () => {
  test('expire while they wait for credit behind one that has none [STR-16] [STR-27]', () => {
    const limits = { messageBytesMax: 60_000, streamWindowBytes: 1 };
    const pair = new Pair({ server: limits }).connected();
    pair.server.readsAll = false;
    const stream = pair.client.open();
    for (let k = 0; k < 5; k++) pair.client.send(stream, bytesOf(50_000));
    pair.run(1_000);
    expect(stream.sender.queue.bytes).toBeGreaterThan(50_000);
    const tracking = stream.track();
    const deadline = pair.now + 100 * MILLISECOND;
    stream.send(bytesOf(10), Delivery.PARTIAL, deadline, false, tracking);
    pair.client.node.wake();
    const outcomes: number[] = [];
    pair.client.onEvent = (event) => {
      if (event.type === 'outcome' && event.tracking === tracking) outcomes.push(event.outcome, pair.now);
    };
    pair.run(300);
    expect(outcomes).toEqual([Outcome.EXPIRED, deadline]);
  });

  test('that would come too late are told as expired when they are not sent, though nothing else happens [STR-16] [STR-27]', () => {
    const pair = new Pair({ link: { delayMs: 50 } }).connected();
    const stream = pair.client.open();
    pair.client.send(stream, bytesOf(10));
    pair.run(1_000);
    const told: Micros[] = [];
    pair.client.onEvent = ({ type }) => {
      if (type === 'outcome') told.push(pair.now);
    };
    const { now } = pair;
    stream.send(bytesOf(10), Delivery.PARTIAL, now + 40 * MILLISECOND, false, stream.track());
    pair.client.node.wake();
    pair.run(30);
    expect(told).toEqual([now]);
  });
});

describe('a stream is forgotten', () => {
  test('when the last message of it comes that nobody will read [STR-30]', () => {
    const pair = new Pair().connected();
    pair.server.readsAll = false;
    const rogue = new Rogue(pair);
    rogue.send(opening(0), integers(FrameType.STREAM_FIN, 0, 1));
    const [stream] = pair.server.streams;
    stream.reset(7);
    pair.server.node.wake();
    pair.run(20);
    // The rogue acknowledges all that was sent, so that the sending half is finished.
    const largest = Math.max(...rogue.heard.map(({ number }) => number));
    rogue.send(integers(FrameType.ACK, largest, 0, 0, largest));
    expect(pair.server.core.streams.size).toBe(1);
    rogue.send(run(0, 0, 5));
    expect(rogue.victimClosed).toBeNull();
    expect(pair.server.core.streams.size).toBe(0);
    expect(pair.server.events.some(({ type }) => type === 'streamClosed')).toBe(true);
  });
});

test('of hundreds of streams, none of whose next messages fits, only a few are asked for each packet [SCH-1]', () => {
  const streams = 300;
  const pair = new Pair({ server: { streamsMax: streams }, link: { delayMs: 5 } }).connected();
  const opened = Array.from({ length: streams }, () => pair.client.open({ delivery: Delivery.BEST_EFFORT }));
  let asked = 0;
  for (const { sender } of opened) {
    const write = sender.write.bind(sender);
    sender.write = (...parameters) => {
      asked++;
      return write(...parameters);
    };
  }
  for (const stream of opened) for (let k = 0; k < 4; k++) pair.client.send(stream, bytesOf(500));
  const before = pair.client.packets.length;
  pair.run(2_000);
  expect(asked).toBeLessThan(20 * (pair.client.packets.length - before));
});

test('of many streams none is asked what time it is for before the earliest deadline of all', () => {
  const pair = new Pair({ server: { streamsMax: 100 } }).connected();
  const { streams } = pair.client.core;
  let asked = 0;
  for (let i = 0; i < 100; i++) {
    const { sender } = pair.client.open();
    const nextTimeout = sender.nextTimeout.bind(sender);
    sender.nextTimeout = () => {
      asked++;
      return nextTimeout();
    };
  }
  pair.run(1_000);
  asked = 0;
  for (let i = 0; i < 10; i++) expect(streams.onTimeout(pair.now + i, pair.now, 0)).toBe(0);
  expect(asked).toBe(0);
});
