import { lookup } from 'node:dns/promises';
import { JspError } from '../base/errors.ts';
import { addressFamily, normalAddress } from '../base/ip-address.ts';

/**
 * The addresses of a host in normal form, in the order in which to try them: as the system sorts them, but the families take turns
 * (RFC 8305 section 4). An address is its own only one.
 *
 * @throws JspError ERR_JSP_SOCKET when the name cannot be resolved
 */
export async function resolveHost(host: string): Promise<string[]> {
  if (addressFamily(host) !== 0) return [normalAddress(host)];
  let found: { address: string }[];
  try {
    found = await lookup(host, { all: true, verbatim: true });
  } catch (error) {
    throw new JspError('ERR_JSP_SOCKET', `cannot resolve ${host}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  const addresses = [...new Set(found.map(({ address }) => normalAddress(address)))];
  if (addresses.length === 0)
    throw new JspError('ERR_JSP_SOCKET', `cannot resolve ${host}: it has no address`);
  return interleaved(addresses).slice(0, ADDRESSES_MAX);
}

/** Alternates the families, beginning with that of the first; within a family the order stays. */
function interleaved(addresses: readonly string[]): string[] {
  const family = addressFamily(addresses[0]);
  const first = addresses.filter((host) => addressFamily(host) === family);
  const second = addresses.filter((host) => addressFamily(host) !== family);
  return addresses
    .flatMap((_, i) => [first[i], second[i]])
    .filter((host): host is string => host !== undefined);
}

/** Who has more than these is reachable at one of them, or at none. */
const ADDRESSES_MAX = 16;
