import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import { NEVER } from '../../../src/base/time.ts';
import { Schedulable, Scheduler } from '../../../src/protocol/stream/scheduler.ts';
import { Priority } from '../../../src/protocol/wire/frame-type.ts';

const { SYSTEM, MEDIA, CHAT, BULK } = Priority;

/** With less room than this a stream waits rather than cut a message. */
const CUT_ROOM_MIN = 256;

/** A stream that always has messages of some length to send, which it cuts as streams do. */
class Source extends Schedulable {
  sent = 0;
  /** Longest run of bytes that others sent while it waited. */
  waitedMax = 0;
  waited = 0;
  /** Bytes of its next message that are left. */
  head: number;
  private readonly draw: () => number;

  constructor(priority: Priority, draw: () => number) {
    super(priority);
    this.draw = draw;
    this.head = draw();
  }

  /** Sends its next message, or what fits of it. Returns how many bytes; 0 when it rather waits. */
  send(room: number): number {
    const bytes = Math.min(this.head, room);
    if (bytes < this.head && bytes < CUT_ROOM_MIN) return 0;
    this.sent += bytes;
    this.head = bytes < this.head ? this.head - bytes : this.draw();
    return bytes;
  }
}

interface Load {
  packetBytes: number;
  rate: number;
}

/** Fills packets at `rate` until `bytes` were sent. Returns who sent, in order. */
function saturate(scheduler: Scheduler, sources: Source[], bytes: number, load: Load): Source[] {
  const picks: Source[] = [];
  let sent = 0;
  for (const source of sources) scheduler.activate(source);
  while (sent < bytes) {
    scheduler.beginPacket(Math.floor((sent / load.rate) * 1e6), load.rate);
    let room = load.packetBytes;
    for (;;) {
      const source = scheduler.next() as Source | null;
      if (source === null) break;
      const length = source.send(room);
      if (length === 0) {
        scheduler.skip(source);
        continue;
      }
      room -= length;
      sent += length;
      scheduler.charge(source, length);
      picks.push(source);
      for (const other of sources) {
        other.waited = other === source ? 0 : other.waited + length;
        other.waitedMax = Math.max(other.waitedMax, other.waited);
      }
    }
  }
  return picks;
}

const always = (bytes: number) => () => bytes;
const LOAD: Load = { packetBytes: 1_400, rate: 10_000_000 };

function shares(sources: Source[]): number[] {
  const total = sources.reduce((sum, source) => sum + source.sent, 0);
  return sources.map((source) => source.sent / total);
}

describe('Scheduler', () => {
  test('has nothing to say when nothing is active', () => {
    const scheduler = new Scheduler();
    scheduler.beginPacket(0, 1);
    expect(scheduler.idle).toBe(true);
    expect(scheduler.next()).toBeNull();
    const source = new Source(CHAT, always(10));
    scheduler.activate(source);
    scheduler.activate(source);
    expect(scheduler.idle).toBe(false);
    expect(scheduler.next()).toBe(source);
    scheduler.deactivate(source);
    scheduler.deactivate(source);
    expect(scheduler.next()).toBeNull();
    expect(scheduler.idle).toBe(true);
  });

  test('knows whether there is something urgent: of system, within its bucket [SCH-2] [SCH-7]', () => {
    const scheduler = new Scheduler();
    const system = new Source(SYSTEM, always(1_000));
    scheduler.activate(new Source(MEDIA, always(1_000)));
    expect(scheduler.hasUrgent).toBe(false);
    scheduler.activate(system);
    scheduler.beginPacket(0, 0);
    for (let sent = 0; sent < 4_096; sent += 1_000) {
      expect(scheduler.hasUrgent).toBe(true);
      scheduler.charge(scheduler.next()!, 1_000);
    }
    expect(scheduler.hasUrgent).toBe(false);
    scheduler.beginPacket(1_000_000, 50_000);
    expect(scheduler.hasUrgent).toBe(true);
    scheduler.deactivate(system);
    expect(scheduler.hasUrgent).toBe(false);
  });

  test('shares 4:2:1 between media, chat and bulk [SCH-3]', () => {
    const sources = [MEDIA, CHAT, BULK].map((priority) => new Source(priority, always(100)));
    saturate(new Scheduler(), sources, 10_000_000, LOAD);
    const [media, chat, bulk] = shares(sources);
    expect(media).toBeCloseTo(4 / 7, 2);
    expect(chat).toBeCloseTo(2 / 7, 2);
    expect(bulk).toBeCloseTo(1 / 7, 2);
  });

  test('serves what seldom sends before others go on with their turns, and lets it save up no more than a turn [SCH-3]', () => {
    const scheduler = new Scheduler();
    const bulk = new Source(BULK, always(1_000));
    saturate(scheduler, [bulk], 1_004_000, LOAD);
    const media = new Source(MEDIA, always(1_000));
    for (let i = 0; i < 8; i++) {
      scheduler.activate(media);
      scheduler.beginPacket(0, LOAD.rate);
      expect(scheduler.next()).toBe(media);
      scheduler.charge(media, 1_000);
      scheduler.deactivate(media);
      expect(scheduler.next()).toBe(bulk);
      scheduler.charge(bulk, 1_000);
    }
    const picks = saturate(scheduler, [media, bulk], 350_000, LOAD);
    const ofMedia = (from: number, to: number) =>
      picks.slice(from, to).filter((each) => each === media).length;
    for (let from = 70; from < 350; from += 70) expect(ofMedia(from, from + 70) / 70).toBeCloseTo(0.8, 1);
  });

  test('shares within 5 % whatever the lengths of messages and packets, and the number of streams [SCH-3] [SCH-4]', () => {
    fc.assert(
      fc.property(
        fc.integer(),
        fc.constantFrom(512, 1_400, 9_000, 16_384, 65_507),
        fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 3, maxLength: 3 }),
        (seed, packetBytes, counts) => {
          const random = new Prng(seed);
          const sources = [MEDIA, CHAT, BULK].flatMap((priority, c) =>
            Array.from({ length: counts[c] }, () => {
              const bytesMax = random.between(1, packetBytes);
              return new Source(priority, () => random.between(1, bytesMax));
            }),
          );
          // What a stream owes is bounded in bytes, some messages, so that shares show only over many of the largest of them.
          saturate(new Scheduler(), sources, Math.max(12_000_000, 1_000 * packetBytes), {
            ...LOAD,
            packetBytes,
          });
          const share = shares(sources);
          sources.forEach((source, i) => {
            const expected = [0, 4, 2, 1][source.priority] / 7 / counts[source.priority - 1];
            expect(Math.abs(share[i] - expected)).toBeLessThan(0.05 * expected + 0.002);
          });
        },
      ),
      { numRuns: 25, examples: [[-2147483628, 65_507, [2, 1, 4]]] },
    );
  });

  test('gives what a class does not use to the others, in proportion [SCH-3]', () => {
    const sources = [new Source(MEDIA, always(200)), new Source(BULK, always(900))];
    saturate(new Scheduler(), sources, 10_000_000, LOAD);
    expect(shares(sources)[0]).toBeCloseTo(4 / 5, 2);
  });

  test('lets a class that was idle save nothing up [SCH-3]', () => {
    const scheduler = new Scheduler();
    const bulk = new Source(BULK, always(700));
    saturate(scheduler, [bulk], 5_000_000, LOAD);
    const media = new Source(MEDIA, always(700));
    const picks = saturate(scheduler, [media, bulk], 1_000_000, LOAD);
    const firstTurn = picks.slice(0, 200).filter((source) => source === media).length * 700;
    expect(firstTurn).toBeLessThan(0.85 * 200 * 700);
    expect(shares([media])[0]).toBe(1);
  });

  test('starves nobody: each waits a bounded number of bytes [SCH-3] [SCH-4]', () => {
    const random = new Prng(5);
    const sources = [SYSTEM, MEDIA, MEDIA, CHAT, CHAT, BULK, BULK].map(
      (priority) => new Source(priority, () => random.between(1, 1_400)),
    );
    saturate(new Scheduler(), sources, 20_000_000, LOAD);
    for (const source of sources) expect(source.waitedMax).toBeLessThan(400_000);
  });

  test('serves a stream of a small class soon after it has something to send [SCH-3]', () => {
    const scheduler = new Scheduler();
    const media = new Source(MEDIA, always(1_400));
    const bulk = new Source(BULK, always(1_400));
    const chat = new Source(CHAT, always(100));
    saturate(scheduler, [media, bulk], 1_000_000, LOAD);
    const picks = saturate(scheduler, [chat, media, bulk], 200_000, LOAD);
    expect(picks.indexOf(chat)).toBeLessThan(100);
  });

  test('serves system first while it is within 10 % of the rate [SCH-2]', () => {
    const scheduler = new Scheduler();
    const system = new Source(SYSTEM, always(100));
    const bulk = new Source(BULK, always(1_000));
    scheduler.activate(bulk);
    scheduler.activate(system);
    let now = 0;
    for (let i = 0; i < 100; i++) {
      now += 10_000;
      scheduler.beginPacket(now, 1_000_000);
      const first = scheduler.next();
      expect(first).toBe(system);
      scheduler.charge(system, 100);
      scheduler.deactivate(system);
      const second = scheduler.next();
      expect(second).toBe(bulk);
      scheduler.charge(bulk, 1_000);
      scheduler.activate(system);
    }
  });

  test('serves system ahead of others with 10 % of the rate, and as one of media beyond that [SCH-2]', () => {
    const sources = [SYSTEM, MEDIA, CHAT, BULK].map((priority) => new Source(priority, always(100)));
    saturate(new Scheduler(), sources, 20_000_000, LOAD);
    const [system, media, chat, bulk] = shares(sources);
    expect(system).toBeCloseTo(0.1 + (0.9 * 2) / 7, 2);
    expect(media).toBeCloseTo((0.9 * 2) / 7, 2);
    expect(chat).toBeCloseTo((0.9 * 2) / 7, 2);
    expect(bulk).toBeCloseTo((0.9 * 1) / 7, 2);
  });

  test('counts streams of system beyond its share like those of media [SCH-2]', () => {
    const sources = [SYSTEM, MEDIA, MEDIA, MEDIA].map((priority) => new Source(priority, always(100)));
    saturate(new Scheduler(), sources, 20_000_000, LOAD);
    expect(shares(sources)[0]).toBeCloseTo(0.1 + 0.9 / 4, 2);
  });

  test('does not hold against system what it sent while nobody of media was there [SCH-2]', () => {
    const scheduler = new Scheduler();
    const [system, media] = [SYSTEM, MEDIA].map((priority) => new Source(priority, always(100)));
    saturate(scheduler, [system], 1_000_000, LOAD);
    const picks = saturate(scheduler, [system, media], 100_000, LOAD);
    expect(picks.filter((source) => source === media).length / picks.length).toBeCloseTo(0.5, 1);
  });

  test('gives system everything when nobody else wants it [SCH-2]', () => {
    const system = new Source(SYSTEM, always(100));
    expect(saturate(new Scheduler(), [system], 1_000_000, LOAD).length).toBeGreaterThanOrEqual(10_000);
  });

  test('does not let system save up more than 50 ms of its share [SCH-2]', () => {
    const scheduler = new Scheduler();
    const system = new Source(SYSTEM, always(1_000));
    const bulk = new Source(BULK, always(1_000));
    scheduler.beginPacket(1_000_000_000, 10_000_000);
    for (const source of [system, bulk]) scheduler.activate(source);
    let ahead = 0;
    while (scheduler.next() === system && ahead < 1_000) {
      scheduler.charge(system, 1_000);
      ahead++;
    }
    // 50 ms at 10 % of the rate, and then its turn in the share of media
    expect(ahead).toBeGreaterThanOrEqual(50);
    expect(ahead).toBeLessThan(50 + 70);
  });

  test('serves by turns of the same bytes the streams of a class, whatever their lengths [SCH-4]', () => {
    const sources = [64, 300, 1_400].map((bytes) => new Source(CHAT, always(bytes)));
    saturate(new Scheduler(), sources, 10_000_000, LOAD);
    for (const share of shares(sources)) expect(share).toBeCloseTo(1 / 3, 2);
  });

  test('does not reward a stream for pausing after each message [SCH-4]', () => {
    const scheduler = new Scheduler();
    const steady = new Source(CHAT, always(1_000));
    const pausing = new Source(CHAT, always(65_000));
    scheduler.activate(steady);
    for (let i = 0; i < 3_000; i++) {
      scheduler.beginPacket(i, 1_000_000);
      scheduler.activate(pausing);
      const source = scheduler.next() as Source;
      const bytes = source.send(65_507);
      scheduler.charge(source, bytes);
      if (source === pausing) scheduler.deactivate(pausing);
    }
    expect(pausing.sent / (pausing.sent + steady.sent)).toBeLessThan(0.6);
  });

  test('serves the earliest deadline first, with half of its class at most [SCH-5]', () => {
    const scheduler = new Scheduler();
    const plain = [new Source(CHAT, always(500)), new Source(CHAT, always(500))];
    const urgent = new Source(CHAT, always(500));
    const later = new Source(CHAT, always(500));
    scheduler.setDeadline(urgent, 1_000);
    scheduler.setDeadline(later, 2_000);
    const sources = [...plain, later, urgent];
    const picks = saturate(scheduler, sources, 10_000_000, LOAD);
    expect(picks[0]).toBe(urgent);
    const [first, second, third, fourth] = shares(sources);
    expect(fourth).toBeCloseTo(0.5, 1);
    for (const share of [first, second, third]) expect(share).toBeGreaterThan(0.14);
  });

  test('lets deadlines change the order within a class, not its share [SCH-5]', () => {
    const scheduler = new Scheduler();
    const media = new Source(MEDIA, always(500));
    const bulk = new Source(BULK, always(500));
    scheduler.setDeadline(bulk, 1);
    saturate(scheduler, [media, bulk], 10_000_000, LOAD);
    expect(shares([media, bulk])[0]).toBeCloseTo(4 / 5, 2);
  });

  test('serves by turns alone once the deadline is gone [SCH-5]', () => {
    const scheduler = new Scheduler();
    const sources = [new Source(CHAT, always(500)), new Source(CHAT, always(500))];
    scheduler.activate(sources[0]);
    scheduler.setDeadline(sources[0], 10);
    scheduler.setDeadline(sources[0], NEVER);
    saturate(scheduler, sources, 5_000_000, LOAD);
    expect(shares(sources)[0]).toBeCloseTo(0.5, 2);
  });

  test('lets a stream that was skipped keep its turn for the next packet [SCH-1]', () => {
    const scheduler = new Scheduler();
    const large = new Source(CHAT, always(1_000));
    const small = new Source(CHAT, always(10));
    for (const source of [large, small]) scheduler.activate(source);
    scheduler.beginPacket(0, 1_000_000);
    expect(scheduler.next()).toBe(large);
    scheduler.skip(large);
    expect(scheduler.next()).toBe(small);
    scheduler.charge(small, 10);
    scheduler.skip(small);
    expect(scheduler.next()).toBeNull();
    scheduler.beginPacket(10, 1_000_000);
    expect(scheduler.next()).toBe(large);
  });

  test('is fair to classes that share packets, when large messages rarely fit into what is left [SCH-1] [SCH-3]', () => {
    const sources = [new Source(MEDIA, always(1_300)), new Source(BULK, always(60))];
    saturate(new Scheduler(), sources, 10_000_000, LOAD);
    expect(shares(sources)[0]).toBeGreaterThan(0.75);
  });

  test('chooses the same way every time', () => {
    const run = () => {
      const random = new Prng(3);
      const sources = [SYSTEM, MEDIA, CHAT, CHAT, BULK].map(
        (priority) => new Source(priority, () => random.between(1, 1_400)),
      );
      const picks = saturate(new Scheduler(), sources, 1_000_000, LOAD);
      return picks.map((source) => sources.indexOf(source));
    };
    expect(run()).toEqual(run());
  });

  test('survives any order of calls, and forgets nobody', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(5), fc.nat(9)), { maxLength: 300 }), (calls) => {
        const scheduler = new Scheduler();
        const sources = Array.from({ length: 10 }, (_, i) => new Source((i % 4) as Priority, always(100)));
        calls.forEach(([call, index], step) => {
          const source = sources[index];
          if (call === 0) scheduler.activate(source);
          else if (call === 1) scheduler.deactivate(source);
          else if (call === 2) scheduler.setDeadline(source, step * 7);
          else if (call === 3) scheduler.setDeadline(source, NEVER);
          else if (call === 4) scheduler.beginPacket(step * 100, 1_000_000);
          else {
            const picked = scheduler.next();
            if (picked === null) return;
            expect(picked.active).toBe(true);
            if (index % 3 === 0) scheduler.skip(picked);
            else scheduler.charge(picked, 100 * index);
          }
        });
        scheduler.beginPacket(1e9, 1_000_000);
        const left = new Set<Schedulable>(sources.filter((source) => source.active));
        for (let item = scheduler.next(); item !== null; item = scheduler.next()) {
          expect(left.delete(item)).toBe(true);
          scheduler.skip(item);
        }
        expect(left.size).toBe(0);
      }),
      { numRuns: 200 },
    );
  });
});
