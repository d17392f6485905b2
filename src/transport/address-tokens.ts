import type { OptionCheck } from '../base/options.ts';
import { type RetryConfig, TOKEN_SECRET_BYTES } from '../protocol/endpoint/index.ts';
import { type Clock, epochMs } from '../udp/clock.ts';
import type { ServerUrl } from './url.ts';

/**
 * Where a client keeps the tokens that servers give it: each shows a server once, in a later connection, that the client is at the address
 * where it was given, so that a server which is under attack lets it in without another round trip, and none waits for an answer before it
 * sends all it has. A store is asked in the middle of `connect` and must answer at once.
 */
export interface TokenStore {
  /** A token of this server, which is taken out, for it is good once; null when there is none. */
  take(server: string): Uint8Array | null;
  /** The server, `<fingerprint>@host:port`, gave a token. */
  put(server: string, token: Uint8Array): void;
}

/** Tokens in memory: the two newest of each of the 256 servers that gave one last. */
export class MemoryTokens implements TokenStore {
  private readonly servers = new Map<string, Uint8Array[]>();

  take(server: string): Uint8Array | null {
    const tokens = this.servers.get(server);
    const token = tokens?.pop() ?? null;
    if (tokens?.length === 0) this.servers.delete(server);
    return token;
  }

  put(server: string, token: Uint8Array): void {
    const tokens = this.servers.get(server) ?? [];
    this.servers.delete(server);
    this.servers.set(server, [...tokens.slice(1 - TOKENS_MAX), token]);
    if (this.servers.size <= SERVERS_MAX) return;
    for (const oldest of this.servers.keys()) {
      this.servers.delete(oldest);
      return;
    }
  }
}

/** Those of this process, for connections that are given no store. */
export const processTokens: TokenStore = new MemoryTokens();

/** By what a store knows a server; null for one that need not prove who it is. */
export function tokenServer({ fingerprint, host, port }: ServerUrl): string | null {
  return fingerprint === null ? null : `${Buffer.from(fingerprint).toString('base64url')}@${host}:${port}`;
}

export const tokenStore: OptionCheck = (value) => {
  const { take, put } = (value ?? {}) as Partial<TokenStore>;
  const isStore = typeof take === 'function' && typeof put === 'function';
  return value === false || isStore ? null : 'an object with take and put, or false for none';
};

/** Secrets of 32 bytes that a server's tokens are made with. */
export interface TokenKeys {
  /** Those that are given out from now on. */
  readonly current: Uint8Array;
  /** Those that were given out before, and are still taken. Default none. */
  readonly previous?: Uint8Array | undefined;
}

export const tokenKeys: OptionCheck = (value) => {
  const { current, previous } = (value ?? {}) as Partial<TokenKeys>;
  return isKey(current) && (previous === undefined || isKey(previous))
    ? null
    : `{ current, previous? }, each a Uint8Array of ${TOKEN_SECRET_BYTES} bytes`;
};

/** The server's part of it. */
export function retryConfig(
  options: {
    retry?: RetryConfig['mode'] | undefined;
    tokenKeys?: TokenKeys | undefined;
  },
  clock: Clock,
): RetryConfig {
  return { mode: options.retry ?? 'auto', tokenSecrets: options.tokenKeys, epochMs: epochMs(clock) };
}

function isKey(value: unknown): boolean {
  return value instanceof Uint8Array && value.length === TOKEN_SECRET_BYTES;
}

const SERVERS_MAX = 256;
const TOKENS_MAX = 2;
