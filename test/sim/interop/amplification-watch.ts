import type { LabDatagram } from '../../../src/testing/network.ts';

/**
 * Counts what a server was sent from each address and what it sent there, from outside: as long as nothing came that shows that the
 * client is where it says (a Handshake packet, a token, a short packet), the server sends no more than three times as much. [CON-4]
 */
export class AmplificationWatch {
  /** Addresses to which a server had sent all that it might, so nearly that no packet of the least size had room. */
  reached = 0;
  private readonly addresses = new Map<string, Exchanged>();

  received(datagrams: readonly LabDatagram[]): void {
    for (const { data, host, port } of datagrams) {
      const exchanged = this.of(host, port);
      exchanged.received += data.length;
      exchanged.isProved ||= proves(data);
    }
  }

  sent(host: string, port: number, data: Uint8Array, fail: (problem: string) => void): void {
    const exchanged = this.of(host, port);
    exchanged.sent += data.length;
    if (exchanged.isProved) return;
    if (exchanged.sent > FACTOR * exchanged.received)
      fail(`${exchanged.sent} bytes went to ${host}:${port}, from where ${exchanged.received} came`);
    const isReached = FACTOR * exchanged.received - exchanged.sent < SMALL_BYTES;
    if (isReached && !exchanged.isReached) this.reached++;
    exchanged.isReached ||= isReached;
  }

  private of(host: string, port: number): Exchanged {
    const key = `${host} ${port}`;
    let exchanged = this.addresses.get(key);
    if (exchanged === undefined) {
      exchanged = { received: 0, sent: 0, isProved: false, isReached: false };
      this.addresses.set(key, exchanged);
    }
    return exchanged;
  }
}

interface Exchanged {
  received: number;
  sent: number;
  isProved: boolean;
  isReached: boolean;
}

/** Whether a datagram may show where its sender is: anything but an Initial without a token, or 0-RTT behind one. */
function proves(data: Uint8Array): boolean {
  const type = (data[0] >> 4) & 0x3;
  if ((data[0] & 0x80) === 0 || type > 1) return true;
  if (type === 1) return false;
  const scidAt = 6 + data[5];
  const tokenAt = scidAt + 1 + data[scidAt];
  return data[tokenAt] !== 0;
}

const FACTOR = 3;
const SMALL_BYTES = 200;
