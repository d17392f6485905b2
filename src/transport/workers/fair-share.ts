import { addressPrefix } from '../../base/ip-address.ts';
import { Ring } from '../../base/ring.ts';

interface Waiting {
  readonly network: string;
  readonly connectionId: number;
  readonly bytes: number;
}

/**
 * What one worker has handed to another and the other has not taken yet, by whose it is. [WRK-4] Up to half of the bound it is anybody's; beyond
 * that no network that sends, and no connection id that is sent to, may have more than its share, so that whoever fills it, from ports and
 * addresses that may be made up, leaves room for the others. Ids cannot be made up: those that lead to a worker are sealed.
 *
 * The other end tells only how much it has not taken; as it takes in order, that says what.
 */
export class FairShare {
  /** In order. At most the bound's bytes, each of a datagram with a head. */
  private readonly waiting = new Ring<Waiting>();
  private readonly byNetwork = new Map<string, number>();
  private readonly byId = new Map<number, number>();
  private bytes = 0;
  private latestHost = '';
  private latestNetwork = '';

  /** The other end has not taken so many bytes. */
  settle(untaken: number): void {
    for (let next = this.waiting.peek(); next !== undefined; next = this.waiting.peek()) {
      if (this.bytes - next.bytes < untaken) return;
      this.waiting.shift();
      this.bytes -= next.bytes;
      release(this.byNetwork, next.network, next.bytes);
      release(this.byId, next.connectionId, next.bytes);
    }
  }

  /** Whether a datagram may be handed over, which then counts. @param idAt - where in `data` the connection id begins */
  take(bytes: number, host: string, data: Uint8Array, idAt: number): boolean {
    if (this.bytes + bytes > WAITING_BYTES_MAX) return false;
    const network = this.networkOf(host);
    const connectionId = idKey(data, idAt);
    const ofNetwork = (this.byNetwork.get(network) ?? 0) + bytes;
    const ofId = (this.byId.get(connectionId) ?? 0) + bytes;
    const isScarce = this.bytes + bytes > WAITING_BYTES_MAX / 2;
    if (isScarce && Math.max(ofNetwork, ofId) > SHARE_BYTES_MAX) return false;
    this.byNetwork.set(network, ofNetwork);
    this.byId.set(connectionId, ofId);
    this.waiting.push({ network, connectionId, bytes });
    this.bytes += bytes;
    return true;
  }

  private networkOf(host: string): string {
    if (host !== this.latestHost) {
      this.latestHost = host;
      this.latestNetwork = addressPrefix(host, 24, 56);
    }
    return this.latestNetwork;
  }
}

function release<K>(counts: Map<K, number>, key: K, bytes: number): void {
  const left = (counts.get(key) as number) - bytes;
  if (left === 0) counts.delete(key);
  else counts.set(key, left);
}

/** The first 48 bits behind the octet that all ids of a server have in common; two that agree in them share a share. */
function idKey(data: Uint8Array, at: number): number {
  const high = ((data[at + 1] << 16) | (data[at + 2] << 8) | data[at + 3]) >>> 0;
  return high * 2 ** 24 + ((data[at + 4] << 16) | (data[at + 5] << 8) | data[at + 6]);
}

/** A worker that does nothing for a moment has as much in its socket. */
export const WAITING_BYTES_MAX = 1_048_576;
/** Some forty full packets. */
export const SHARE_BYTES_MAX = 65_536;
