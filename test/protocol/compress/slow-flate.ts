import { inflateRawSync } from 'node:zlib';

/** What DEFLATE data inflates to, after zlib: null when it is none, goes on behind its end, or is longer than one message may be. [CMP-12] */
export function slowFlate(data: Uint8Array, dictionary: Uint8Array = new Uint8Array(0)): number[] | null {
  const options = dictionary.length === 0 ? {} : { dictionary };
  try {
    const { buffer, engine } = inflateRawSync(data, {
      ...options,
      maxOutputLength: 65_536,
      info: true,
    }) as unknown as { buffer: Buffer; engine: { bytesWritten: number } };
    return engine.bytesWritten === data.length ? [...buffer] : null;
  } catch {
    return null;
  }
}
