import { describe, expect, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import { MILLISECOND, RateLimit } from '../../../src/base/time.ts';
import {
  COMPRESSION_OFF,
  CompressionMode,
  type CompressionOptions,
  ConnectionCompression,
  compressionParameter,
} from '../../../src/protocol/compress/compression.ts';
import {
  CompressionMethod,
  Dictionary,
  DictionarySet,
  type NetworkType,
} from '../../../src/protocol/compress/index.ts';
import { StreamCompression } from '../../../src/protocol/compress/stream-compression.ts';
import { noise, reading } from './messages.ts';

const { AUTO, ON } = CompressionMode;
const readings = Array.from({ length: 200 }, (_, seed) => reading(new Prng(seed)));
const page = Buffer.concat(readings.slice(0, 8));
const trained = new Dictionary(Buffer.concat(readings.slice(100)).subarray(0, 8_000));
const KILOBIT = 1_000 / 8 / 1_000_000;

/** A sender whose peer opens all that it makes; compressing takes what the test says. */
class Sender {
  readonly path = pathOf();
  /** Microseconds that pass with each look at the clock. */
  pace = 0;
  readonly connection: ConnectionCompression;
  private readonly stream: StreamCompression;

  constructor(options: Partial<CompressionOptions> = {}, time = { now: 0 }) {
    const all = { ...COMPRESSION_OFF, inflates: true, clock: () => (time.now += this.pace), ...options };
    this.connection = new ConnectionCompression(all, this.path);
    this.connection.onPeerParameter(compressionParameter(all));
    this.stream = new StreamCompression(this.connection);
  }

  /** How many of `count` such messages are compressed. */
  send(message: Uint8Array, count = 1, mode: CompressionMode = ON): number {
    let compressed = 0;
    for (let i = 0; i < count; i++) if (this.stream.deflate(message, mode) !== null) compressed++;
    return compressed;
  }

  make(message: Uint8Array): Uint8Array | null {
    return this.stream.deflate(message, ON);
  }
}

describe('what is compressed', () => {
  test('is not what is short: below 96 bytes, with a dictionary 24, or below what was said [CMP-8]', () => {
    const like = (length: number) => Buffer.alloc(length, 'ab');
    expect(new Sender().send(like(95))).toBe(0);
    expect(new Sender().send(like(96))).toBe(1);
    const dictionaries = new DictionarySet([trained]);
    expect(new Sender({ dictionaries }).send(like(23))).toBe(0);
    expect(new Sender({ dictionaries }).send(like(24))).toBe(1);
    expect(new Sender({ bytesMin: 500 }).send(like(499))).toBe(0);
    expect(new Sender({ bytesMin: 500 }).send(like(500))).toBe(1);
  });

  test('is not what becomes smaller by less than a sixteenth [CMP-8]', () => {
    const mixed = (repeated: number) => Buffer.concat([noise(1_000), noise(1_000).subarray(0, repeated)]);
    expect(new Sender().send(mixed(40))).toBe(0);
    expect(new Sender().send(mixed(100))).toBe(1);
  });

  test('is not what the peer does not open [CMP-3]', () => {
    for (const value of [null, Uint8Array.of(0), Uint8Array.of(2)]) {
      const connection = new ConnectionCompression({ ...COMPRESSION_OFF, inflates: true }, pathOf());
      connection.onPeerParameter(value);
      expect(new StreamCompression(connection).deflate(page, ON)).toBeNull();
      expect(connection.counts.skippedNotAgreed).toBe(1);
    }
    const connection = new ConnectionCompression(COMPRESSION_OFF, pathOf());
    connection.onPeerParameter(Uint8Array.of(0x41, 0x03));
    expect(new StreamCompression(connection).deflate(page, ON)).not.toBeNull();
  });
});

describe('what cannot be compressed', () => {
  test('is tried ever more rarely, one in 255 in the end, and all again after one that can [CMP-9]', () => {
    const sender = new Sender();
    const tried: number[] = [];
    const counts = sender.connection.counting;
    const { deflate } = sender.connection;
    sender.connection.deflate = (...args) => {
      tried.push(counts.skippedIncompressible);
      return deflate.apply(sender.connection, args);
    };
    expect(sender.send(noise(400), 2_000)).toBe(0);
    expect(tried.slice(0, 9)).toEqual([0, 1, 4, 11, 26, 57, 120, 247, 502]);
    expect(tried[10] - tried[9]).toBe(255);
    expect(counts.skippedIncompressible).toBe(2_000);
    expect(sender.send(page, 300)).toBeGreaterThan(40);
    expect(sender.send(page, 10)).toBe(10);
  });

  test('is found by a sample where it is long, and is not compressed as a whole [CMP-9]', () => {
    const sender = new Sender();
    const lengths: number[] = [];
    const { deflate } = sender.connection;
    sender.connection.deflate = (data, ...rest) => {
      lengths.push(data.length);
      return deflate.call(sender.connection, data, ...rest);
    };
    expect(sender.send(noise(100_000))).toBe(0);
    expect(lengths).toEqual([4_096]);
    expect(sender.send(Buffer.alloc(100_000, page))).toBe(1);
    expect(lengths).toEqual([4_096, 4_096, 100_000]);
  });
});

describe('with auto', () => {
  /** How many of 100 pages are compressed on such a path, where compressing a page takes so many microseconds. */
  const compressed = (
    kbit: number,
    costUs: number,
    changes: { lossRate?: number; network?: NetworkType } = {},
  ) => {
    const sender = new Sender();
    sender.path.rtt.hasSample = kbit > 0;
    sender.path.congestion.pacingRate = kbit * KILOBIT;
    sender.path.loss.rate = changes.lossRate ?? 0;
    sender.connection.networkType = changes.network ?? 'unknown';
    sender.pace = costUs;
    sender.send(page, 100, AUTO);
    const before = sender.connection.counts.messages + sender.connection.counts.skippedCostly;
    const made = sender.send(page, 100, AUTO);
    expect(sender.connection.counts.skippedCostly).toBeGreaterThanOrEqual(before === 0 ? 0 : 100 - made);
    return made;
  };

  test('a message is compressed where the bytes saved take longer than compressing [CMP-10]', () => {
    expect(page.length).toBeGreaterThan(700);
    expect(compressed(1_000, 100)).toBe(100);
    expect(compressed(100_000, 5)).toBe(100);
    expect(compressed(100_000, 500)).toBeLessThan(5);
    expect(compressed(10_000_000, 5)).toBeLessThan(5);
  });

  test('loss and long round trips speak for it, and so does a network where bytes are paid for [CMP-10]', () => {
    expect(compressed(300_000, 100)).toBeLessThan(5);
    expect(compressed(300_000, 100, { lossRate: 0.05 })).toBe(100);
    expect(compressed(40_000, 200)).toBeLessThan(5);
    expect(compressed(40_000, 200, { network: 'wifi' })).toBeLessThan(5);
    expect(compressed(40_000, 200, { network: 'cellular' })).toBe(100);
  });

  test('one message whose time was that of something else does not end it for long [CMP-10]', () => {
    const sender = new Sender();
    sender.path.rtt.hasSample = true;
    sender.path.congestion.pacingRate = 100_000 * KILOBIT;
    sender.pace = 2;
    expect(sender.send(page, 100, AUTO)).toBe(100);
    sender.pace = 50_000;
    sender.send(page, 8, AUTO); // of which one is measured
    sender.pace = 2;
    sender.send(page, 1_000, AUTO);
    expect(sender.send(page, 100, AUTO)).toBe(100);
  });

  test('all are compressed while nobody knows the path', () => {
    expect(compressed(0, 1_000)).toBe(100);
  });

  test('one in 64 goes compressed all the same, so that a path that became slow is noticed [CMP-10]', () => {
    const sender = new Sender();
    sender.path.rtt.hasSample = true;
    sender.path.congestion.pacingRate = 10_000_000 * KILOBIT;
    sender.pace = 50;
    sender.send(page, 64, AUTO);
    expect(sender.send(page, 640, AUTO)).toBe(10);
    expect(sender.connection.counts.skippedCostly).toBeGreaterThan(600);
    sender.path.congestion.pacingRate = 500 * KILOBIT;
    expect(sender.send(page, 100, AUTO)).toBe(100);
  });
});

describe('with auto, and no method said', () => {
  const { LZ4, DEFLATE } = CompressionMethod;

  /** A sender on such a path whose methods take so many microseconds a page; what it has made by each, and when. */
  class Weighing extends Sender {
    readonly made = [0, 0];
    readonly time: { now: number };
    /** Microseconds a message, by method. */
    readonly costs = [5, 25];

    constructor(
      kbit: number,
      time = { now: 0 },
      spareTime = new RateLimit(100_000, 20 * MILLISECOND), // a tenth of the time, and so much at once
    ) {
      super({ spareTime }, time);
      this.time = time;
      this.path.rtt.hasSample = kbit > 0;
      this.path.congestion.pacingRate = kbit * KILOBIT;
      const { deflate } = this.connection;
      this.connection.deflate = (data, bytesMax, agreed, method = LZ4) => {
        this.made[method]++;
        this.pace = this.costs[method];
        const made = deflate.call(this.connection, data, bytesMax, agreed, method);
        this.pace = 0;
        return made;
      };
    }

    /** Of so many pages, those that were tried by LZ4 and by DEFLATE. */
    tried(count: number, message: Uint8Array = page): number[] {
      const [lz4, deflate] = this.made;
      for (let i = 0; i < count; i++) {
        this.time.now += 10 * MILLISECOND;
        this.send(message, 1, AUTO);
      }
      return [this.made[LZ4] - lz4, this.made[DEFLATE] - deflate];
    }
  }

  test('a message goes by DEFLATE where the bytes that it saves beside LZ4 take longer than it does, and one in 256 by the other [CMP-10]', () => {
    expect(new Weighing(1_000).tried(2_560)).toEqual([10, 2_550]);
    expect(new Weighing(100_000).tried(2_560)).toEqual([2_550, 10]);
    const [lz4, deflate] = new Weighing(10_000_000).tried(2_560);
    expect(lz4).toBeLessThan(50);
    expect(deflate).toBe(0);
  });

  test('the other is found when the path changes [CMP-10]', () => {
    const sender = new Weighing(100_000);
    sender.tried(100);
    sender.path.congestion.pacingRate = 1_000 * KILOBIT;
    expect(sender.tried(100)).toEqual([0, 100]);
  });

  test('while nobody knows the path it is LZ4 [CMP-10]', () => {
    expect(new Weighing(0).tried(200)).toEqual([200, 0]);
  });

  test('what is too long for DEFLATE goes by LZ4, and so does all towards who does not open it [CMP-12]', () => {
    const long = Buffer.alloc(70_000, page);
    expect(new Weighing(100).tried(10, long)).toEqual([20, 0]); // a sample of each, too
    const towards = new Weighing(100);
    const { connection } = towards;
    connection.weighsMethods = false;
    connection.onPeerParameter(Uint8Array.of(1));
    expect(towards.tried(10)).toEqual([10, 0]);
  });

  test('DEFLATE takes at most a tenth of the time of all connections of an endpoint [CMP-10]', () => {
    const time = { now: 0 };
    const spareTime = new RateLimit(100_000, 20 * MILLISECOND);
    const [one, another] = [1, 2].map(() => new Weighing(1_000, time, spareTime));
    for (const sender of [one, another]) sender.costs[DEFLATE] = 200;
    for (let i = 0; i < 4_000; i++) {
      time.now += 500;
      for (const sender of [one, another]) sender.send(page, 1, AUTO);
    }
    const elapsed = time.now;
    const spent = 200 * (one.made[DEFLATE] + another.made[DEFLATE]);
    expect(spent).toBeLessThan(1.2 * (0.1 * elapsed + 20 * MILLISECOND));
    expect(spent).toBeGreaterThan(0.08 * elapsed);
    expect(one.made[LZ4] + one.made[DEFLATE]).toBe(4_000);
  });
});

describe('of several dictionaries', () => {
  const others = [1, 2, 3].map((seed) => new Dictionary(noise(500, seed)));

  test('the one that makes messages smallest is used [CMP-11]', () => {
    const alone = new Sender({ dictionaries: new DictionarySet([trained]) }).make(readings[3])!.length;
    const sender = new Sender({ dictionaries: new DictionarySet([...others, trained]) });
    const made = sender.make(readings[3])!;
    expect(made.length).toBe(alone);
    expect(made[0]).toBe(0x05 + 16 * 3);
    expect(sender.make(readings[4])![0]).toBe(0x05 + 16 * 3);
  });

  test('another is found when what is sent changes [CMP-11]', () => {
    const sender = new Sender({ dictionaries: new DictionarySet([...others, trained]) });
    sender.send(readings[3], 10);
    const like = Buffer.concat([others[1].bytes.subarray(100, 300), noise(60, 99)]);
    sender.send(like, 300);
    expect(sender.make(like)![0]).toBe(0x05 + 16);
  });
});

test.each([
  [3, CompressionMethod.DEFLATE, 0x09],
  [1, CompressionMethod.DEFLATE, 0x01],
  [2, CompressionMethod.DEFLATE, null],
  [3, CompressionMethod.LZ4, 0x01],
])(
  'to a peer that opens %i, who wants method %i makes envelope %i [CMP-3] [CMP-12]',
  (methods, method, first) => {
    const connection = new ConnectionCompression({ ...COMPRESSION_OFF, inflates: true, method }, pathOf());
    connection.onPeerParameter(Uint8Array.of(methods));
    const made = new StreamCompression(connection).deflate(page, CompressionMode.ON);
    expect(made === null ? null : made[0]).toBe(first);
  },
);

test('what is sent by both sides of an agreement is what either has named first', () => {
  const dictionaries = new DictionarySet([trained]);
  expect(compressionParameter({ ...COMPRESSION_OFF, dictionaries })).toBeNull();
  expect(compressionParameter({ ...COMPRESSION_OFF, inflates: true })).toEqual(Uint8Array.of(3)); // LZ4 and DEFLATE
  const value = compressionParameter({ ...COMPRESSION_OFF, inflates: true, dictionaries })!;
  expect([...value]).toEqual([3, ...trained.hash]);
});

test('time is measured for long messages one by one, for short ones by one in eight', () => {
  const sender = new Sender();
  sender.pace = 3;
  sender.send(Buffer.alloc(2_000, page), 10);
  expect(sender.connection.counts.deflateTime).toBe(30);
  sender.send(page.subarray(0, 300), 80);
  expect(sender.connection.counts.deflateTime).toBe(30 + 80 * 3);
});

/** A path of which nothing is known yet. */
function pathOf() {
  return {
    mtu: 1_200,
    rtt: { hasSample: false, smoothed: 50_000 },
    congestion: { pacingRate: 0 },
    loss: { rate: 0 },
  };
}
