import type { MemoryBudget } from '../../base/memory-budget.ts';
import type { RandomSource } from '../../base/random.ts';
import type { Micros } from '../../base/time.ts';
import type { AeadProvider } from '../crypto/aead.ts';
import { tokenSecretOf } from '../crypto/identity.ts';
import { AddressTokens, type TokenSecrets, TokenVerdict } from '../handshake/address-token.ts';
import { AddressState } from '../path/path.ts';
import type { EndpointCounters } from '../trace/counters.ts';
import type { RetryMode, ServerConfig } from './admission.ts';

/**
 * What a server knows of where its clients are before they have answered: what their tokens show, which it makes itself [HS-31]. Where no
 * tokens are used, they show nothing.
 */
export class AddressCheck {
  readonly mode: RetryMode;
  private readonly tokens: AddressTokens | null;
  private readonly counters: EndpointCounters;

  constructor(
    server: ServerConfig | null,
    aead: AeadProvider,
    random: RandomSource,
    memory: MemoryBudget,
    counters: EndpointCounters,
  ) {
    this.counters = counters;
    this.mode = server?.retry?.mode ?? 'never';
    this.tokens = server === null ? null : addressTokens(server, aead, random, memory);
  }

  /** Tokens are made with these secrets from now on; those of others are worth nothing. */
  useSecrets(secrets: TokenSecrets): void {
    this.tokens?.useSecrets(secrets);
  }

  /** What the token of a first packet shows. One that is made use of is to be {@link spend | spent}. */
  shownBy(token: Uint8Array, host: string, port: number, now: Micros): AddressProof | null {
    if (token.length === 0 || this.tokens === null) return NOTHING_SHOWN;
    const verdict = this.tokens.check(token, host, port, now);
    if (verdict === TokenVerdict.NONE || verdict === TokenVerdict.BAD_RETRY) this.counters.tokensRefused++;
    if (verdict === TokenVerdict.BAD_RETRY) return null;
    if (verdict === TokenVerdict.NONE) return NOTHING_SHOWN;
    const retriedId = verdict === TokenVerdict.RETRY ? this.tokens.retryOriginalId : null;
    return { address: AddressState.BY_TOKEN, retriedId };
  }

  spend(token: Uint8Array): void {
    this.tokens?.spend(token);
    this.counters.tokensAccepted++;
  }

  /** Nothing came of what it was spent on. */
  giveBack(token: Uint8Array): void {
    this.tokens?.giveBack(token);
  }

  /** The token of a Retry that answers a first packet from this address. */
  forRetry(host: string, port: number, originalId: Uint8Array, now: Micros): Uint8Array {
    return (this.tokens as AddressTokens).forRetry(host, port, originalId, now);
  }

  /** Gives clients something to show in their next connection; null where that is not done. [HS-37] */
  get newToken(): ((host: string, now: Micros) => Uint8Array) | null {
    const { tokens } = this;
    return tokens === null ? null : (host, now) => tokens.forNextConnection(host, now);
  }
}

/** Where a client is, as far as its first packet shows. */
export interface AddressProof {
  readonly address: AddressState;
  /** Destination id of its very first packet, when this one answers a Retry. */
  readonly retriedId: Uint8Array | null;
}

function addressTokens(
  server: ServerConfig,
  aead: AeadProvider,
  random: RandomSource,
  memory: MemoryBudget,
): AddressTokens | null {
  const { identity, retry } = server;
  const derived = retry === undefined ? null : tokenSecretOf(identity);
  const secrets = retry?.tokenSecrets ?? (derived === null ? null : { current: derived });
  if (retry === undefined || secrets === null) return null;
  return new AddressTokens({ aead, random, secrets, epochMs: retry.epochMs, memory });
}

const NOTHING_SHOWN: AddressProof = { address: AddressState.UNKNOWN, retriedId: null };
