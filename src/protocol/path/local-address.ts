import { addressFamily, isLinkLocal, isLoopback } from '../../base/ip-address.ts';

/** What is known of the address of this machine that a path begins at. */
export const LocalAddressState = {
  /** It was in no list: the system lists not all that it has, such as 127.0.0.2. Nothing follows from its absence. */
  UNLISTED: 0,
  PRESENT: 1,
  /** It is gone, and nothing else leads to the peer. */
  STRANDED: 2,
  /** It is gone, and the path is to begin elsewhere. */
  LEFT: 3,
} as const;
export type LocalAddressState = (typeof LocalAddressState)[keyof typeof LocalAddressState];

/**
 * Decides whether a path is to begin at another address of this machine, because its own is gone: a cable was pulled, a phone left its Wi-Fi. It is handed
 * the addresses that there are, whenever somebody has looked. What cannot carry a packet any more is left at once; where nothing else leads to the peer, as soon as
 * something does, unless the address comes back first. [CON-110]
 */
export class LocalAddress {
  private current: LocalAddressState = LocalAddressState.UNLISTED;
  private readonly host: string;
  private readonly remote: string;

  /**
   * @param host - where the path begins
   * @param remote - the peer's address; both in their normal form
   */
  constructor(host: string, remote: string) {
    this.host = host;
    this.remote = remote;
  }

  get state(): LocalAddressState {
    return this.current;
  }

  /** True once: the path is to move. Whoever has moved it begins with another {@link LocalAddress}. */
  onAddresses(addresses: readonly string[]): boolean {
    if (this.current === LocalAddressState.LEFT) return false;
    if (addresses.includes(this.host)) {
      this.current = LocalAddressState.PRESENT;
      return false;
    }
    if (this.current === LocalAddressState.UNLISTED) return false;
    const hasOther = addresses.some((address) => mayReach(address, this.remote));
    this.current = hasOther ? LocalAddressState.LEFT : LocalAddressState.STRANDED;
    return hasOther;
  }
}

/** Whether packets from one address may get to the other, as far as addresses tell. */
function mayReach(from: string, to: string): boolean {
  if (addressFamily(from) !== addressFamily(to)) return false;
  return isLoopback(from) === isLoopback(to) && (!isLinkLocal(from) || isLinkLocal(to));
}
