import { type AgreedDictionary, CompressionMode, type ConnectionCompression } from './compression.ts';
import { DEFLATE_BYTES_MAX } from './deflate.ts';
import { CompressionMethod } from './envelope.ts';

/**
 * Which messages of a stream are compressed, of those that are to be, and by which method. Skipped is, in this order, what
 *
 *  1. comes soon after messages that proved incompressible: a stream of those is looked at ever more rarely; [CMP-9]
 *  2. the peer has not said it opens;
 *  3. is short: there is nothing in it to repeat; [CMP-8]
 *  4. by `auto`, arrives later than without, by what compressing costs here and what the path carries; [CMP-10]
 *  5. is long and of which a sample does not become smaller; [CMP-9]
 *  6. does not become smaller by enough. [CMP-8]
 */
export class StreamCompression {
  private readonly connection: ConnectionCompression;
  /** Messages that are not looked at, and how often in a row one was looked at in vain. */
  private skips = 0;
  private failures = 0;
  /** What messages are left with by each method, as a share of their bytes. */
  private readonly shares: Record<CompressionMethod, number> = {
    [CompressionMethod.LZ4]: LZ4_SHARE_AT_FIRST,
    [CompressionMethod.DEFLATE]: DEFLATE_SHARE_AT_FIRST,
  };
  /** Messages until the method is tried that does not seem to be the better one. */
  private untilOther = OTHER_EVERY;
  /** Messages skipped in a row because compressing them cost too much. */
  private costly = 0;
  /** Which of the dictionaries is best; `agreed.length` stands for none. */
  private best = 0;
  private untilTrial = 0;

  constructor(connection: ConnectionCompression) {
    this.connection = connection;
  }

  /** The message in its envelope, good until the next one; null when it is to be sent as it is. */
  deflate(data: Uint8Array, mode: CompressionMode): Uint8Array | null {
    const { connection } = this;
    const { agreed, counting: counts } = connection;
    if (this.skips > 0) {
      this.skips--;
      counts.skippedIncompressible++;
      return null;
    }
    const { length } = data;
    if (!connection.isAgreed) {
      counts.skippedNotAgreed++;
      return null;
    }
    const bytesMin = connection.options.bytesMin || (agreed.length > 0 ? SHORT_WITH_DICTIONARY : SHORT);
    if (length < bytesMin) {
      counts.skippedSmall++;
      return null;
    }
    const method = mode === CompressionMode.AUTO ? this.weigh(length) : connection.method;
    if (method === NEITHER) {
      counts.skippedCostly++;
      return null;
    }
    const bytesMax = length - Math.max(GAIN_BYTES_MIN, Math.floor(length * GAIN_SHARE_MIN));
    const made = this.looksCompressible(data, method) ? this.deflateBest(data, bytesMax, method) : null;
    if (made === null) {
      this.failures = Math.min(this.failures + 1, FAILURES_MAX);
      this.skips = 2 ** this.failures - 2;
      this.untilTrial = 0;
      counts.skippedIncompressible++;
      return null;
    }
    this.failures = 0;
    this.shares[method] += (made.length / length - this.shares[method]) * SHARE_GAIN;
    return made;
  }

  /**
   * By which method a message arrives earliest; {@link NEITHER} where that is as it is. What a byte saved is worth is the time that it would take on the way: by
   * the rate of the path, and by the round trips that those of their packets cost which would be lost. Bytes count for more where they are paid for. [CMP-10]
   */
  private weigh(length: number): CompressionMethod | typeof NEITHER {
    const { connection } = this;
    const { congestion, loss, mtu, rtt } = connection.path;
    const onTheWay = rtt.hasSample ? 1 / congestion.pacingRate : Number.POSITIVE_INFINITY;
    const again = (loss.rate * rtt.smoothed) / mtu;
    const worth = (onTheWay + again) * WEIGHTS[connection.networkType];
    const { method } = connection;
    const gain = this.gainOf(method, worth);
    if (connection.weighsMethods && this.prefersDeflate(length, worth, gain)) {
      this.costly = 0;
      return CompressionMethod.DEFLATE;
    }
    // Now and then one is compressed all the same, so that what is known of messages and cost stays true.
    this.costly = gain > 0 || this.costly === COSTLY_MAX ? 0 : this.costly + 1;
    return this.costly === 0 ? method : NEITHER;
  }

  /** More is gained by DEFLATE than by LZ4, for one message in so many the other way round, and there is time for it. */
  private prefersDeflate(length: number, worth: number, gainOfLz4: number): boolean {
    if (length > DEFLATE_BYTES_MAX) return false;
    const gain = this.gainOf(CompressionMethod.DEFLATE, worth);
    if (gain <= 0 && gainOfLz4 <= 0) return false;
    const isBetter = gain > gainOfLz4;
    const isTurnOfOther = --this.untilOther === 0;
    if (isTurnOfOther) this.untilOther = OTHER_EVERY;
    return isBetter !== isTurnOfOther && this.connection.spendOnDeflate(length);
  }

  /** Microseconds a byte of message by which it arrives earlier, where a byte saved is worth so many. */
  private gainOf(method: CompressionMethod, worth: number): number {
    return worth * (1 - this.shares[method]) - this.connection.costPerByte[method];
  }

  /** The middle of a long message, compressed by itself: it becomes smaller by less than the whole would. */
  private looksCompressible(data: Uint8Array, method: CompressionMethod): boolean {
    const { length } = data;
    if (length < SAMPLED_BYTES_MIN) return true;
    const middle = (length - SAMPLE_BYTES) >>> 1;
    const sample = data.subarray(middle, middle + SAMPLE_BYTES);
    return this.connection.deflate(sample, SAMPLE_BYTES - SAMPLE_GAIN_MIN, null, method) !== null;
  }

  /** With the dictionary that did best when all of them were tried, which is done at first and now and then. [CMP-11] */
  private deflateBest(data: Uint8Array, bytesMax: number, method: CompressionMethod): Uint8Array | null {
    const { connection } = this;
    const { agreed } = connection;
    if (agreed.length === 0 || data.length > DICTIONARY_USED_MAX)
      return connection.deflate(data, bytesMax, null, method);
    if (this.untilTrial === 0) this.tryAll(data, bytesMax, method);
    else this.untilTrial--;
    const best: AgreedDictionary | null = this.best < agreed.length ? agreed[this.best] : null;
    return connection.deflate(data, bytesMax, best, method);
  }

  private tryAll(data: Uint8Array, bytesMax: number, method: CompressionMethod): void {
    const { agreed } = this.connection;
    this.untilTrial = TRIAL_EVERY;
    if (agreed.length === 1) return;
    let least = bytesMax + 1;
    for (const [i, candidate] of agreed.entries()) {
      const made = this.connection.deflate(data, least - 1, candidate, method);
      if (made === null) continue;
      least = made.length;
      this.best = i;
    }
  }
}

/** What a byte saved counts, beside the time that it would take: on a cellular network it costs money and the battery's energy. */
const WEIGHTS = { unknown: 1, ethernet: 1, wifi: 1, cellular: 8 } as const;
/** Shorter messages hold too little that repeats itself. */
const SHORT = 96;
const SHORT_WITH_DICTIONARY = 24;
/** What a message must become smaller by, in bytes and as a share of it: less does not pay for opening it. */
const GAIN_BYTES_MIN = 6;
const GAIN_SHARE_MIN = 1 / 16;
/** After eight messages in a row in vain, one of 255 is looked at. */
const FAILURES_MAX = 8;
const LZ4_SHARE_AT_FIRST = 0.5;
const DEFLATE_SHARE_AT_FIRST = 0.4;
const SHARE_GAIN = 1 / 8;
const COSTLY_MAX = 63;
/** From so many bytes on so many of the middle are tried first, and must become smaller by so many. */
const SAMPLED_BYTES_MIN = 16_384;
const SAMPLE_BYTES = 4_096;
const SAMPLE_GAIN_MIN = 192;
/** To a longer message a dictionary gives little. */
const DICTIONARY_USED_MAX = 32_768;
/** The method that does not seem to be the better one is tried for one message in so many. */
const OTHER_EVERY = 256;
/** No method. */
const NEITHER = -1;
/** All dictionaries are tried once in so many messages. */
const TRIAL_EVERY = 256;
