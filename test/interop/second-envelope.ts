/**
 * Messages in envelopes, of a second implementation that was written from spec/compression.md alone, and for blocks from the LZ4 project's page
 * about its block format: it shares no code with `src/`.
 */
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { Fields, Malformed, u8, varint } from './second-codec.ts';
import { sha256 } from './second-crypto.ts';

/** The name of a dictionary. [CMP-4] */
export function dictionaryHash(dictionary: Buffer): Buffer {
  return sha256(dictionary).subarray(0, 8);
}

/** The value of `inflates`: blocks and DEFLATE data, and these dictionaries. [CMP-3] */
export function inflatesParameter(dictionaries: readonly Buffer[]): Buffer {
  return Buffer.concat([varint(3), ...dictionaries.map(dictionaryHash)]);
}

/** What a message in an envelope was. [CMP-2] [CMP-5] @param bytesMax - most that it may be */
export function openEnvelope(message: Buffer, dictionaries: readonly Buffer[], bytesMax: number): Buffer {
  const fields = new Fields(message);
  const first = fields.u8();
  if (first === 0x00) return fields.rest();
  const isDeflated = (first & 0x08) !== 0;
  const kind = first & ~0x08;
  let dictionary: Buffer | undefined = Buffer.alloc(0);
  if (kind === 0x03) {
    const hash = fields.take(8);
    dictionary = dictionaries.find((each) => dictionaryHash(each).equals(hash));
  } else if ((kind & 0x0f) === 0x05) dictionary = dictionaries[kind >> 4];
  else if (kind !== 0x01) throw new Malformed('a broken envelope');
  if (dictionary === undefined) throw new Malformed('a dictionary that was not named');
  const data = fields.rest();
  const opened = isDeflated ? inflated(data, dictionary) : unblocked(data, dictionary);
  if (opened.length > bytesMax) throw new Malformed('a message that is too long');
  return opened;
}

/** DEFLATE data in an envelope, for a peer that set bits 0 and 1. [CMP-3] [CMP-12] */
export function deflatedEnvelope(message: Buffer): Buffer {
  return Buffer.concat([u8(0x09), deflateRawSync(message)]);
}

function inflated(data: Buffer, dictionary: Buffer): Buffer {
  // DEFLATE reaches the last 32,768 bytes.
  const options = dictionary.length === 0 ? {} : { dictionary: dictionary.subarray(-32_768) };
  return inflateRawSync(data, { ...options, maxOutputLength: 65_536 });
}

/** A row of sequences: a token, literals, and but for the last an offset and the length of a match. [CMP-1] */
function unblocked(block: Buffer, dictionary: Buffer): Buffer {
  const fields = new Fields(block);
  const out: number[] = [...dictionary];
  const lengthOf = (nibble: number): number => {
    let length = nibble;
    if (nibble === 15) for (let more = 255; more === 255; length += more) more = fields.u8();
    return length;
  };
  for (;;) {
    const token = fields.u8();
    for (const literal of fields.take(lengthOf(token >> 4))) out.push(literal);
    if (fields.left === 0) return Buffer.from(out.slice(dictionary.length));
    const offset = fields.u8() | (fields.u8() << 8); // little endian
    if (offset === 0 || offset > out.length) throw new Malformed('an offset before the beginning');
    const length = lengthOf(token & 15) + 4;
    for (let i = 0; i < length; i++) out.push(out[out.length - offset]);
  }
}
