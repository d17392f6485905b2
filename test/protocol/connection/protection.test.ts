import { describe, expect, test } from 'vitest';
import { MILLISECOND } from '../../../src/base/time.ts';
import {
  PROTECTION_AUTO,
  PROTECTION_OFF,
  type ProtectionOptions,
} from '../../../src/protocol/fec/protection.ts';
import type { DefaultProtection } from '../../../src/protocol/fec/stream-protection.ts';
import { Delivery, FrameType, Priority } from '../../../src/protocol/wire/frame-type.ts';
import type { LinkOptions } from '../../../src/udp/link.ts';
import { bytesOf, Pair } from './pair.ts';

interface Trickle {
  readonly protection: ProtectionOptions;
  readonly link?: LinkOptions;
  readonly ordered?: boolean;
  readonly delivery?: Delivery;
  readonly priority?: Priority;
  readonly everyMs?: number;
  readonly count?: number;
}

/** A client that sends a small message now and then; all have time to arrive. */
function trickle(of: Trickle): Pair {
  const { count = 600, everyMs = 10 } = of;
  const pair = new Pair({
    seed: 5,
    link: of.link ?? CLEAN,
    client: { protection: of.protection },
  }).connected();
  const stream = pair.client.open({
    ordered: of.ordered ?? false,
    delivery: of.delivery ?? Delivery.RELIABLE,
    priority: of.priority ?? Priority.MEDIA,
  });
  for (let i = 0; i < count; i++) {
    pair.client.send(stream, bytesOf(64, i));
    pair.run(everyMs);
  }
  return pair.run(2_000);
}

const CLEAN: LinkOptions = { delayMs: 25 };
const LOSSY: LinkOptions = { delayMs: 25, loss: 0.1 };

describe('protection [FEC-8]', () => {
  test.each([true, false])('adds nothing to a clean path, not a byte (ordered: %s)', (ordered) => {
    const sent = [PROTECTION_AUTO, PROTECTION_OFF].map((protection) =>
      trickle({ protection, ordered, count: 200 }).client.sent.map(
        ({ data, at }) => `${at} ${Buffer.from(data).toString('hex')}`,
      ),
    );
    expect(sent[0].length).toBeGreaterThan(200);
    expect(sent[0]).toEqual(sent[1]);
  });

  test('is off where nobody asks, on a path that loses, too', () => {
    const { core } = trickle({ protection: PROTECTION_OFF, link: LOSSY, count: 200 }).client;
    expect(core.metrics()).toMatchObject({ repeatsSent: 0, protectionBytes: 0, protectionBytesMax: 0 });
  });
});

describe('on a path that loses', () => {
  test('messages of an unordered stream go again, and few wait for a retransmission [FEC-2]', () => {
    const protectedBy = (protection: ProtectionOptions) =>
      trickle({ protection, link: LOSSY }).client.core.metrics();
    const off = protectedBy(PROTECTION_OFF);
    const auto = protectedBy(PROTECTION_AUTO);
    expect(auto.repeatsSent).toBeGreaterThan(500);
    expect(auto.repeatsUsed).toBeGreaterThan(30);
    expect(auto.streamsRepeated).toBe(1);
    expect(auto.protectionBytes).toBeLessThanOrEqual(auto.protectionBytesMax + 2_400);
    expect(auto.retransmittedBytes).toBeLessThan(off.retransmittedBytes / 3);
  });

  test('some messages of an ordered stream go without a repair, which follows in a packet of its own [FEC-52]', () => {
    const { sent } = trickle({ protection: PROTECTION_AUTO, link: LOSSY, ordered: true }).client;
    const has = (i: number, type: number): boolean =>
      sent[i].packets.some(({ frames }) => frames.some((frame) => frame.type === type));
    let [apart, riding] = [0, 0];
    for (let i = 1; i < sent.length; i++) {
      if (!has(i, FrameType.REPAIR)) continue;
      if (has(i, FrameType.MESSAGES)) riding++;
      else if (sent[i].at - sent[i - 1].at === 2 * MILLISECOND && !has(i - 1, FrameType.REPAIR)) apart++;
    }
    expect(apart).toBeGreaterThan(200);
    expect(riding / apart).toBeCloseTo(1, 1);
  });

  test('best-effort messages arrive that would not [FEC-6]', () => {
    const arrived = (protection: ProtectionOptions): number => {
      const pair = trickle({ protection, link: LOSSY, delivery: Delivery.BEST_EFFORT });
      return pair.server.messages.get(0)?.length ?? 0;
    };
    expect(arrived(PROTECTION_OFF)).toBeLessThan(560);
    expect(arrived(PROTECTION_AUTO)).toBeGreaterThan(580);
    expect(arrived(PROTECTION_AUTO)).toBeLessThanOrEqual(600);
  });

  test('bulk transfers have none of it [FEC-2]', () => {
    const pair = trickle({ protection: PROTECTION_AUTO, link: LOSSY, priority: Priority.BULK });
    expect(pair.client.core.metrics().repeatsSent).toBe(0);
  });

  test('messages that nothing follows have a packet of their own behind them [FEC-7]', () => {
    const asked = { ...PROTECTION_AUTO, overheadMax: 2 };
    const times = { everyMs: 100, count: 150, link: LOSSY };
    const plain = trickle({ ...times, protection: PROTECTION_OFF }).client.core.metrics();
    const flushed = trickle({ ...times, protection: asked }).client.core.metrics();
    expect(flushed.repeatsSent).toBeGreaterThan(100);
    expect(flushed.packetsSent).toBeGreaterThan(plain.packetsSent + 80);
    expect(flushed.retransmittedBytes).toBeLessThan(plain.retransmittedBytes);
  });

  test('nothing goes again when the path has stopped to lose [FEC-2]', () => {
    const pair = trickle({ protection: PROTECTION_AUTO, link: LOSSY, count: 300 });
    pair.world.network.link('client', 'server').change({ loss: 0 }, pair.now);
    pair.world.network.link('server', 'client').change({ loss: 0 }, pair.now);
    const [stream] = [...pair.client.core.streams.values()];
    const send = (count: number): number => {
      const before = pair.client.core.metrics().repeatsSent;
      for (let i = 0; i < count; i++) {
        pair.client.send(stream, bytesOf(64, i));
        pair.run(10);
      }
      return pair.client.core.metrics().repeatsSent - before;
    };
    send(1_600);
    expect(send(100)).toBe(0);
  });

  test('what window and pacer hold back is not made more [FEC-4]', () => {
    const narrow = { ...LOSSY, bitsPerSecond: 64_000, queueBytesMax: 8_192 };
    const pair = trickle({ protection: PROTECTION_AUTO, link: narrow, everyMs: 5, count: 600 });
    const { repeatsSent } = pair.client.core.metrics();
    expect(repeatsSent).toBeLessThan(250);
  });
});

test.each([
  ['asked for it', PROTECTION_AUTO],
  ['would have had it when all are to have it', PROTECTION_OFF],
])('nothing is protected any more once the last stream that %s is over', (_, asked) => {
  const pair = new Pair({ client: { protection: asked } }).connected();
  const { streams } = pair.client.core;
  const stream = pair.client.open();
  pair.client.send(stream, 'hello');
  pair.client.end(stream);
  pair.until(() => pair.server.streams.length === 1);
  pair.server.end(pair.server.streams[0]);
  pair.until(() => streams.size === 0);
  (Reflect.get(streams, 'defaultProtection') as DefaultProtection).change(PROTECTION_AUTO);
  expect(streams.packer.protection.isAsked).toBe(false);
});
