/** Tokens that were verified, until they expire: what costs a tenth of a millisecond and more is done once for all connections that show the same one. [AUT-11] */

import { AgingMap } from '../../base/aging-map.ts';

export class TokenCache<T extends { readonly expiresAt: number }> {
  /** By digest, the one that was used longest ago first. */
  private readonly tokens = new AgingMap<string, T | Promise<T>>();

  /** The token of this digest, or what `verify` makes of it; what it rejects with is not remembered. */
  async get(digest: string, wallMs: number, verify: () => Promise<T>): Promise<T> {
    const found = this.tokens.get(digest);
    const known = found === undefined ? undefined : await found; // the first one begins before another can ask
    if (known !== undefined && known.expiresAt > wallMs) {
      const now = this.tokens.get(digest);
      if (now === found || now === known) this.put(digest, known); // else it was forgotten meanwhile
      return known;
    }
    const verifying = verify();
    this.put(digest, verifying);
    try {
      const verified = await verifying;
      if (this.tokens.get(digest) === verifying) this.tokens.set(digest, verified);
      return verified;
    } catch (error) {
      if (this.tokens.get(digest) === verifying) this.tokens.delete(digest);
      throw error;
    }
  }

  /** What was verified until now counts for nothing any more; what is being verified is not remembered. */
  clear(): void {
    this.tokens.clear();
  }

  private put(digest: string, token: T | Promise<T>): void {
    const { tokens } = this;
    tokens.set(digest, token);
    if (tokens.size > TOKENS_MAX && tokens.oldest !== null) tokens.delete(tokens.oldest.key);
  }
}

const TOKENS_MAX = 10_000;
