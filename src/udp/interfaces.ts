import { addressesIfTold, localAddresses } from './addresses.ts';

/** What a watch over interfaces asks of its machine; tests answer themselves. */
export interface InterfaceSurroundings {
  /** The addresses of the interfaces, in normal form. */
  readonly addresses: () => readonly string[];
  /** How often they are looked at, in ms. */
  readonly pollMs: number;
}

/**
 * Watches the addresses of this machine: Node is not told of changes, so they are looked at once a second, as long as somebody wants to know, and up to a second
 * longer, so that connections that come and go do not look each for itself. A look takes 50 to 150 us, and keeps no process alive.
 */
export class InterfaceWatch {
  private readonly surroundings: InterfaceSurroundings;
  private readonly listeners = new Set<(addresses: readonly string[]) => void>();
  private poll: NodeJS.Timeout | undefined;
  /** As of the last look. */
  private addresses: readonly string[] = [];

  constructor(surroundings: InterfaceSurroundings = MACHINE) {
    this.surroundings = surroundings;
  }

  /**
   * Tells `listener` the addresses that there are: now, and whenever others are found.
   *
   * @returns ends this
   */
  watch(listener: (addresses: readonly string[]) => void): () => void {
    if (this.poll === undefined) {
      this.addresses = this.found() ?? [];
      this.poll = setInterval(() => this.lookAgain(), this.surroundings.pollMs).unref();
    }
    // Each call has a place of its own, also where two have the same listener.
    const told = (addresses: readonly string[]): void => listener(addresses);
    this.listeners.add(told);
    told(this.addresses);
    return () => {
      this.listeners.delete(told);
    };
  }

  /** Looks now rather than with the next second: something else says that there may be news, such as a send that failed with ENETUNREACH. */
  look(): void {
    const addresses = this.listeners.size === 0 ? null : this.found();
    if (addresses === null || isSame(addresses, this.addresses)) return;
    this.addresses = addresses;
    for (const listener of [...this.listeners]) if (this.listeners.has(listener)) listener(addresses);
  }

  private lookAgain(): void {
    if (this.listeners.size > 0) return this.look();
    clearInterval(this.poll);
    this.poll = undefined;
  }

  /** Null where the system does not tell, which is no change. */
  private found(): readonly string[] | null {
    return addressesIfTold(this.surroundings.addresses);
  }
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((address) => b.includes(address));
}

const MACHINE: InterfaceSurroundings = { addresses: localAddresses, pollMs: 1_000 };

/** Of this machine. */
export const interfaces = new InterfaceWatch();
