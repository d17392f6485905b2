import type { AeadKey, AeadName, AeadProvider, HeaderKey } from './aead.ts';

/** One provider for short packets, and one for those of `longBytes` and more. Both give the same bytes. */
export class AeadBySize implements AeadProvider {
  readonly name: AeadName;
  private readonly short: AeadProvider;
  private readonly long: AeadProvider;
  private readonly longBytes: number;

  constructor(short: AeadProvider, long: AeadProvider, longBytes: number) {
    this.name = short.name;
    this.short = short;
    this.long = long;
    this.longBytes = longBytes;
  }

  createKey(key: Uint8Array): AeadKey {
    return new KeyBySize(this.short.createKey(key), this.long.createKey(key), this.longBytes);
  }

  createHeaderKey(key: Uint8Array): HeaderKey {
    return this.short.createHeaderKey(key);
  }
}

class KeyBySize implements AeadKey {
  private readonly short: AeadKey;
  private readonly long: AeadKey;
  private readonly longBytes: number;

  constructor(short: AeadKey, long: AeadKey, longBytes: number) {
    this.short = short;
    this.long = long;
    this.longBytes = longBytes;
  }

  seal(buffer: Uint8Array, adStart: number, start: number, end: number, nonce: Uint8Array): void {
    const key = end - start < this.longBytes ? this.short : this.long;
    key.seal(buffer, adStart, start, end, nonce);
  }

  open(buffer: Uint8Array, adStart: number, start: number, end: number, nonce: Uint8Array): boolean {
    const key = end - start < this.longBytes ? this.short : this.long;
    return key.open(buffer, adStart, start, end, nonce);
  }

  wipe(): void {
    this.short.wipe();
    this.long.wipe();
  }
}
