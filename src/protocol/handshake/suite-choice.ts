import type { AeadProvider } from '../crypto/aead.ts';

/**
 * Which cipher suite a connection uses: a client lists those that it speaks and says what each costs it, the server takes the one that is
 * cheapest for the slower of both. [HS-61]
 */

/** A suite that an endpoint speaks, as it computes it, and what that costs it. */
export interface OfferedSuite {
  readonly aead: AeadProvider;
  /** Nanoseconds that a packet of 1,200 bytes takes here, as measured; 0 = not known. */
  readonly costNs: number;
}

/**
 * What a server takes of the suites that both sides speak: the one whose cost to the dearer side is smallest, for the slower end of a
 * connection is what it waits for. Its own order decides between equals. Null when there is none. [HS-61]
 *
 * @param own - in order of preference
 * @param listed - numbers of the suites that the client listed
 * @param clientCosts - by number, what it says of their costs; empty when it says nothing
 */
export function chooseSuite(
  own: readonly OfferedSuite[],
  listed: readonly number[],
  clientCosts: ReadonlyMap<number, number>,
): AeadProvider | null {
  let chosen: AeadProvider | null = null;
  let least = Number.POSITIVE_INFINITY;
  for (const { aead, costNs } of own) {
    const { id } = aead.suite;
    if (!listed.includes(id)) continue;
    const cost = Math.max(costNs, clientCosts.get(id) ?? 0);
    if (cost >= least) continue;
    chosen = aead;
    least = cost;
  }
  return chosen;
}

/** What a client says of the costs of its suites: `count u8, count x (suite u8, nanoseconds u16)`. [HS-61] */
export function encodeSuiteCosts(suites: readonly OfferedSuite[]): Uint8Array {
  const bytes = [suites.length];
  for (const { aead, costNs } of suites) {
    const cost = Math.min(COST_NS_MAX, Math.round(costNs));
    bytes.push(aead.suite.id, cost >> 8, cost & 0xff);
  }
  return Uint8Array.from(bytes);
}

/** The same, read. Null when it is malformed, or has a suite twice. */
export function decodeSuiteCosts(value: Uint8Array): Map<number, number> | null {
  const costs = new Map<number, number>();
  if (value.length === 0 || value.length !== 1 + COST_BYTES * value[0]) return null;
  for (let at = 1; at < value.length; at += COST_BYTES) {
    if (costs.has(value[at])) return null;
    costs.set(value[at], value[at + 1] * 2 ** 8 + value[at + 2]);
  }
  return costs;
}

/** Larger costs are told as this. */
const COST_NS_MAX = 65_535;
const COST_BYTES = 3;
