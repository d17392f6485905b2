/** How an application says what is compressed: on a connection, a stream and a message, in the same words. */

import { JspError } from '../base/errors.ts';
import { checkOptions, type OptionCheck, type OptionTable, oneOf, whole } from '../base/options.ts';
import { MILLISECOND, RateLimit, SECOND } from '../base/time.ts';
import {
  COMPRESSION_OFF,
  CompressionMethod,
  CompressionMode,
  type CompressionOptions,
  chooseLz4,
  DICTIONARIES_MAX,
  Dictionary,
  DictionarySet,
  type Lz4Preference,
} from '../protocol/compress/index.ts';
import type { Clock } from '../udp/clock.ts';

/**
 * Whether messages are compressed, each by itself. `true`: those that become smaller by it. `'auto'`: of those, the ones for which
 * the bytes saved would take longer on the way than compressing takes, harder where the way is slow. `false`: none.
 *
 * What is compressed tells by its length how much of it repeats itself: leave it off for messages that hold both a secret and text that
 * somebody else can choose.
 */
export type CompressionChoice = boolean | 'auto';

/**
 * What a connection does about compression. With `true`, `'auto'` or an object this side opens compressed messages, and compresses what it
 * sends where the peer opens them, too; with `false`, the default, neither, but for streams and messages that ask.
 */
export type Compression = CompressionChoice | CompressionSettings;

export interface CompressionSettings {
  /** Of streams and messages that do not say themselves. Default true; with `false` only those are compressed that ask. */
  readonly mode?: CompressionChoice | undefined;
  /**
   * Bytes that messages are likely to repeat, which make small messages small: at most 16 dictionaries of 1 to 65,535 bytes. One is used where
   * both sides have it; `jsp dict train` makes one out of samples.
   */
  readonly dictionaries?: readonly Uint8Array[] | undefined;
  /**
   * `'lz4'`: fast. `'deflate'`: a third to a half smaller again, in some five times the time, for messages up to 64 KiB, where the peer
   * opens it, which is what this library does; longer ones, and towards others, by LZ4. Not given: LZ4, and with `'auto'` whichever of the two has a message
   * there earlier, where all connections of the endpoint together spend at most a tenth of the time on DEFLATE.
   */
  readonly method?: 'lz4' | 'deflate' | undefined;
  /** Shorter messages are sent as they are, in bytes. Default 96, with a dictionary 24. */
  readonly bytesMin?: number | undefined;
}

/** Where the options can stand. */
interface Compressing {
  readonly compression?: Compression | undefined;
  readonly lz4?: Lz4Preference | undefined;
}

/** The check of a stream's and a message's option. */
export const compressionChoice: OptionCheck = (value) =>
  typeof value === 'boolean' || value === 'auto' ? null : 'true, false or auto';

/** The check of a connection's option. Throws by itself what it has to say of members. */
export const compression: OptionCheck = (value) => {
  if (compressionChoice(value) === null) return null;
  if (typeof value !== 'object' || value === null) return 'true, false, auto or an object';
  checkOptions('compression', value as CompressionSettings, SETTINGS);
  return null;
};

/** What the core makes of a stream's or a message's choice; null where it is not given. */
export function compressionModeOf(choice: CompressionChoice | undefined): CompressionMode | null {
  if (choice === undefined) return null;
  if (choice === 'auto') return CompressionMode.AUTO;
  return choice ? CompressionMode.ON : CompressionMode.OFF;
}

/**
 * What the core makes of a connection's options.
 *
 * @throws JspError ERR_JSP_LZ4_UNAVAILABLE when the native implementation is asked for and does not load here
 */
export function compressionOptions(options: Compressing, clock: Clock): CompressionOptions {
  const { compression: said = false } = options;
  const lz4 = options.lz4 ?? environmentLz4();
  const spareTime = new RateLimit(SPARE_SHARE * SECOND, SPARE_BURST);
  const base = { ...COMPRESSION_OFF, lz4, spareTime, clock: () => clock.now() };
  // Streams may ask for it all the same; until one does, or for good, what takes 20 ms to load is not loaded.
  if (said !== false || lz4 === 'native') chooseLz4(lz4);
  if (said === false) return base;
  const settings: CompressionSettings = typeof said === 'object' ? said : { mode: said };
  return {
    ...base,
    inflates: true,
    mode: compressionModeOf(settings.mode ?? true)!,
    bytesMin: settings.bytesMin ?? 0,
    method: settings.method === undefined ? null : METHODS[settings.method],
    dictionaries: dictionarySet(settings.dictionaries ?? []),
  };
}

function dictionarySet(all: readonly Uint8Array[]): DictionarySet {
  try {
    return new DictionarySet(all.map((bytes) => new Dictionary(bytes)));
  } catch (error) {
    throw new JspError('ERR_JSP_OPTION_INVALID', `compression: ${(error as Error).message}`);
  }
}

function environmentLz4(): Lz4Preference {
  const name = process.env.JSP_LZ4 ?? 'auto';
  if (name === 'auto' || name === 'native' || name === 'js') return name;
  throw new JspError('ERR_JSP_OPTION_INVALID', `JSP_LZ4 must be auto, native or js, not "${name}"`);
}

const dictionaries: OptionCheck = (value) =>
  Array.isArray(value) && value.every((bytes) => bytes instanceof Uint8Array)
    ? null
    : `an array of at most ${DICTIONARIES_MAX} Uint8Arrays`;

const METHODS = { lz4: CompressionMethod.LZ4, deflate: CompressionMethod.DEFLATE } as const;
/** What DEFLATE that nobody asked for may take of an endpoint's time, and in microseconds at once. */
const SPARE_SHARE = 0.1;
const SPARE_BURST = 20 * MILLISECOND;
const SETTINGS: OptionTable<CompressionSettings> = {
  mode: compressionChoice,
  dictionaries,
  method: oneOf(['lz4', 'deflate']),
  bytesMin: whole(1, 2 ** 30),
};
