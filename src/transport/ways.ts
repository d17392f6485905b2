/** The ways to a server: each of its addresses with each identity that it may have, of which one has what a ticket says. */

import { addressFamily } from '../base/ip-address.ts';
import { resolveHost } from '../udp/addresses.ts';
import type { KeptTicket } from './tickets.ts';
import type { ServerUrl } from './url.ts';

/** Who is connected to, and with what. */
export interface WayToServer {
  /** With the identity that it has to prove. */
  readonly server: ServerUrl;
  /** Its address. */
  readonly host: string;
  readonly ticket: KeptTicket | null;
}

/** The addresses of the server that a socket bound to `localHost` can reach, in the order in which to try them. */
export async function hostsToTry(host: string, localHost: string | undefined): Promise<string[]> {
  const hosts = await resolveHost(host);
  if (hosts.length === 1 || localHost === undefined) return hosts;
  const [local] = await resolveHost(localHost);
  if (local === '::') return hosts;
  const reachable = hosts.filter((other) => addressFamily(other) === addressFamily(local));
  return reachable.length === 0 ? hosts : reachable;
}

/** Each address with each identity that the server may have. [CON-61] [URL-9] */
export function waysTo(
  server: ServerUrl,
  found: readonly string[],
  ticket: KeptTicket | null,
): WayToServer[] {
  const isThere = ticket !== null && found.includes(ticket.host);
  const hosts = isThere ? [ticket.host] : found;
  const pins = server.fingerprint === null ? [null] : pinsOf(server);
  const ways = hosts.flatMap((host) =>
    pins.map((fingerprint): WayToServer => ({ server: { ...server, fingerprint }, host, ticket: null })),
  );
  // A ticket is for one attempt, the first: at the address where its server was, if that is still one of its.
  if (ticket === null || hosts.length > 1) return ways;
  const first = ways.findIndex(({ server: { fingerprint } }) => isPinned(ticket.fingerprint, fingerprint));
  const [way] = ways.splice(first, 1);
  return [{ ...way, ticket }, ...ways];
}

/** The identities that the server may have; none where it may have any. */
export function pinsOf({ fingerprint, otherFingerprint }: ServerUrl): Uint8Array[] {
  return [fingerprint, otherFingerprint].filter((pin) => pin !== null);
}

function isPinned(fingerprint: Uint8Array, pin: Uint8Array | null): boolean {
  return pin === null || Buffer.compare(pin, fingerprint) === 0;
}
