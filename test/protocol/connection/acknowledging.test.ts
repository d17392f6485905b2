import { describe, expect, test } from 'vitest';
import { Delivery, FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { writePing } from '../../../src/protocol/wire/frames/ping.ts';
import { PacketSpace, PacketType } from '../../../src/protocol/wire/packet-header.ts';
import { internalsOf } from './internals.ts';
import { bytesOf, Pair, SECONDS } from './pair.ts';
import { frame, integers, Rogue } from './rogue.ts';

describe('acknowledgements', () => {
  test('of a flow that only goes one way and loses packets stay short, for now and then one is acknowledged itself [REC-50]', () => {
    const pair = new Pair({ seed: 5, link: { delayMs: 20, loss: 0.02 } }).connected();
    const stream = pair.client.open({ delivery: Delivery.BEST_EFFORT });
    const from = pair.server.sent.length;
    const start = pair.now;
    for (let i = 0; i < 5_000; i++) {
      pair.client.send(stream, bytesOf(1_000, i));
      pair.run(2);
    }
    const packets = pair.server.sent.slice(from).flatMap((datagram) => datagram.packets);
    const acks = packets.flatMap(({ frames }) => frames.filter(({ type }) => type === FrameType.ACK));
    const ranges = acks.map((ack) => ack.ranges.length / 2);
    expect(Math.max(...ranges.slice(100))).toBeLessThanOrEqual(16);
    const pings = packets.filter(({ frames }) => frames.some(({ type }) => type === FrameType.PING));
    const roundTrips = (pair.now - start) / (0.04 * SECONDS);
    expect(pings.length).toBeGreaterThan(5);
    expect(pings.length).toBeLessThan(roundTrips);
  });

  test('of a flow that loses nothing elicit none [REC-50]', () => {
    const pair = new Pair({ seed: 2, link: { delayMs: 20 } }).connected();
    const stream = pair.client.open({ delivery: Delivery.BEST_EFFORT });
    pair.run(1_000);
    const from = pair.server.packets.length;
    for (let i = 0; i < 500; i++) {
      pair.client.send(stream, bytesOf(1_000, i));
      pair.run(2);
    }
    const packets = pair.server.packets.slice(from);
    expect(packets.length).toBeGreaterThan(50);
    expect(packets.filter(({ frames }) => frames.some(({ type }) => type !== FrameType.ACK))).toEqual([]);
  });

  test('tell later what had no room in a frame whose acknowledgement came [REC-39]', () => {
    const pair = new Pair().connected();
    const rogue = new Rogue(pair);
    // So many gaps that the newest 64 ranges are told, and of these only what fits.
    const ping = frame(writePing);
    for (let i = 0; i < 40; i++) {
      rogue.skip();
      rogue.post(ping);
    }
    pair.run(50);
    const { acks } = internalsOf(pair.server.core).spaces[PacketSpace.APPLICATION] ?? expect.fail();
    const { ranges } = acks;
    const lowest = ranges.start(0);
    expect(ranges.size).toBeGreaterThan(30);
    // The frame told the five newest.
    acks.onFrameAcked({
      largest: ranges.largest,
      lowest: ranges.start(ranges.size - 5),
      number: acks.onAckSent(pair.now),
    });
    rogue.send(ping);
    const newest = rogue.frames(FrameType.ACK).at(-1);
    expect(newest?.ranges.at(-2)).toBe(lowest);
    expect(newest?.ranges.length).toBeGreaterThan(2 * 30);
  });
});

test('a client discards its Initial keys with its first Handshake packet, also one that only acknowledges [CON-14]', () => {
  const pair = new Pair();
  // The server's last handshake datagram is cut behind its first Handshake packet's loss: the flight comes in two parts.
  pair.server.filter = (data, index) => (index === 1 ? [{ data, afterMs: 30 }] : [{ data }]);
  pair.connect();
  pair.until(() => pair.client.packets.some(({ type }) => type === PacketType.HANDSHAKE), 5_000);
  expect(internalsOf(pair.client.halfOpen).spaces[PacketSpace.INITIAL]).toBeNull();
  pair.connected().echo();
});

test('a packet whose every frame raises a limit has the streams look at it once [STR-9]', () => {
  const pair = new Pair().connected();
  const rogue = new Rogue(pair, 'server');
  const { streams } = pair.client.core;
  for (let i = 0; i < 100; i++) pair.client.send(pair.client.open(), 'x');
  pair.run(20);
  const { packer } = streams;
  let looks = 0;
  const looked = packer.onSendTouched.bind(packer);
  packer.onSendTouched = (stream) => {
    looks++;
    looked(stream);
  };
  const limit = 2 ** 40;
  const frames = Array.from({ length: 80 }, (_, i) => [
    integers(FrameType.MAX_DATA, limit + i),
    integers(FrameType.MAX_STREAMS, 1_000 + i),
  ]).flat();
  rogue.send(...frames);
  expect(rogue.victimClosed).toBeNull();
  expect(looks).toBe(streams.size);
  expect(streams.sendCounts.credit.limit).toBe(limit + 79);
});

test('counts of ECN marks where nothing was sent to be marked mean nothing [REC-82]', () => {
  const pair = new Pair().connected().echo();
  const rogue = new Rogue(pair, 'server');
  const { largestAcked } = internalsOf(pair.client.core).recovery.sentPackets(PacketSpace.APPLICATION);
  rogue.send(integers(FrameType.ACK_ECN, largestAcked, 0, 0, 0, 7, 8, 9));
  expect(rogue.victimClosed).toBeNull();
  expect(pair.client.core.metrics()).toMatchObject({ ecnCapable: 0, congestionMarks: 0 });
});
