/**
 * LZ4 blocks, of which there are two implementations: `lz4-napi`, where it is installed and has a binary for this machine, and one in
 * TypeScript. Blocks of either are inflated by both, to the same bytes, and they refuse the same ones. [CMP-1] The native one is two to four
 * times as fast on long messages; on short ones the call costs more than it saves, and with a dictionary, which it indexes anew for each
 * message, much more. So the default is both, by length.
 */

import { Buffer } from 'node:buffer';
import { createRequire } from 'node:module';
import { NO_BYTES, shortLivedBuffer } from '../../base/bytes.ts';
import { JspError } from '../../base/errors.ts';
import type { Dictionary } from './dictionary.ts';
import { BlockDeflater, inflateBlock } from './lz4-block.ts';

/** One implementation. */
export interface Lz4Codec {
  readonly name: Lz4Name;
  /** Deflates `data` to out[at, limit). Returns where the block ends; 0 when it does not fit. */
  deflate(
    data: Uint8Array,
    out: Uint8Array,
    at: number,
    limit: number,
    dictionary: Dictionary | null,
  ): number;
  /**
   * Inflates block[start, end), of which `inflatedLength` has said that it becomes `length` bytes. They are in memory of their own. Null
   * when it cannot after all.
   */
  inflate(
    block: Uint8Array,
    start: number,
    end: number,
    length: number,
    dictionary: Dictionary | null,
  ): Buffer | null;
}

export type Lz4Name = 'native' | 'js';
export type Lz4Preference = 'auto' | Lz4Name;

/**
 * The implementation to use: the named one, or with `'auto'` both, by length, as far as the native one loads.
 * @throws {@link JspError} `ERR_JSP_LZ4_UNAVAILABLE` when the native one is asked for and does not load here
 */
export function chooseLz4(preference: Lz4Preference = 'auto'): Lz4Codec {
  if (preference === 'js') return JS;
  const native = loadNative();
  if (preference === 'auto') {
    auto ??= native === null ? JS : lz4ByLength(JS, native);
    return auto;
  }
  if (preference !== 'native')
    throw new TypeError(`lz4 must be 'auto', 'native' or 'js', not '${preference}'`);
  if (native !== null) return native;
  throw new JspError(
    'ERR_JSP_LZ4_UNAVAILABLE',
    "the LZ4 implementation 'native' is not available here: install lz4-napi, or choose auto",
  );
}

/** In TypeScript. */
function jsLz4(): Lz4Codec {
  const deflater = new BlockDeflater();
  return {
    name: 'js',
    deflate(data, out, at, limit, dictionary) {
      return deflater.deflate(data, out, at, limit, dictionary === null ? null : dictionary.index);
    },
    inflate(block, start, end, length, dictionary) {
      // Not zeroed: all of it is written, for its length is what the block was counted to give.
      const out = shortLivedBuffer(length);
      inflateBlock(block, start, end, out, dictionary === null ? NO_BYTES : dictionary.bytes);
      return out;
    },
  };
}

/** `lz4-napi` puts the inflated length, little-endian, in front of a block, and believes what it finds there. */
function nativeLz4(library: Lz4Library): Lz4Codec {
  /** A length and a block, to be inflated. */
  let kept = Buffer.alloc(4_096);
  return {
    name: 'native',
    deflate(data, out, at, limit, dictionary) {
      const bytes = Buffer.isBuffer(data) ? data : Buffer.from(data.buffer, data.byteOffset, data.length);
      const made = library.compressSync(bytes, dictionary?.bytes);
      const end = at + made.length - PREFIX_BYTES;
      if (end > limit) return 0;
      out.set(made.subarray(PREFIX_BYTES), at);
      return end;
    },
    inflate(block, start, end, length, dictionary) {
      const bytes = PREFIX_BYTES + end - start;
      let joined = kept;
      if (bytes > joined.length) {
        joined = Buffer.allocUnsafeSlow(bytes);
        if (bytes <= JOINED_BYTES_MAX) kept = joined;
      }
      joined.writeUInt32LE(length, 0);
      joined.set(block.subarray(start, end), PREFIX_BYTES);
      try {
        const out = library.uncompressSync(joined.subarray(0, bytes), dictionary?.bytes);
        return out.length === length ? out : null;
      } catch {
        return null;
      }
    },
  };
}

/** Short messages in TypeScript, long ones natively. */
function lz4ByLength(short: Lz4Codec, long: Lz4Codec): Lz4Codec {
  return {
    name: 'native',
    deflate(data, out, at, limit, dictionary) {
      const cost = dictionary === null ? 0 : dictionary.bytes.length * INDEX_SHARE;
      const codec = data.length < NATIVE_DEFLATE_BYTES + cost ? short : long;
      return codec.deflate(data, out, at, limit, dictionary);
    },
    inflate(block, start, end, length, dictionary) {
      const codec = length < NATIVE_INFLATE_BYTES ? short : long;
      return codec.inflate(block, start, end, length, dictionary);
    },
  };
}

/** Null where `lz4-napi` is not installed, has no binary for this machine, or answers wrongly: it makes and opens a known block first. */
function loadNative(): Lz4Codec | null {
  if (loaded === undefined) {
    try {
      const library = createRequire(import.meta.url)('lz4-napi') as Lz4Library;
      const codec = nativeLz4(library);
      loaded = works(codec) ? codec : null;
    } catch {
      loaded = null;
    }
  }
  return loaded;
}

function works(codec: Lz4Codec): boolean {
  const out = new Uint8Array(PROBE.length);
  const end = codec.deflate(PROBE, out, 0, out.length, null);
  return end > 0 && codec.inflate(out, 0, end, PROBE.length, null)?.equals(PROBE) === true;
}

/** What is used of `lz4-napi`. */
interface Lz4Library {
  compressSync(data: Buffer, dictionary?: Buffer): Buffer;
  /** Throws when it is no block, or not of that length. */
  uncompressSync(data: Buffer, dictionary?: Buffer): Buffer;
}

const JS: Lz4Codec = jsLz4();
const PREFIX_BYTES = 4;
const PROBE = Buffer.alloc(64, 'probe');
let loaded: Lz4Codec | null | undefined;
let auto: Lz4Codec | undefined;
/** Joined blocks up to this length share memory. */
const JOINED_BYTES_MAX = 65_536;
/** From so many bytes on the native one is faster. */
const NATIVE_DEFLATE_BYTES = 1_536;
const NATIVE_INFLATE_BYTES = 768;
/** Indexing a byte of dictionary takes it as long as it gains in compressing so many. */
const INDEX_SHARE = 0.2;
