import { createHash, type Hash } from 'node:crypto';

/**
 * The running SHA-256 over all that both sides must have seen alike: how the client's first packet looked, then every message,
 * with its type and length, in the order in which the handshake sends them. [HS-8]
 */
export class Transcript {
  private readonly running: Hash;

  /**
   * @param pinned - whether the client pins the server's identity
   * @param firstDestinationId - destination id of the client's first packet
   */
  constructor(pinned: boolean, firstDestinationId: Uint8Array) {
    this.running = createHash('sha256').update(LABEL);
    this.running.update(Uint8Array.of(pinned ? 1 : 0, firstDestinationId.length)).update(firstDestinationId);
    this.running.update(NO_RETRY);
  }

  /** Takes in a whole message. */
  add(message: Uint8Array): this {
    this.running.update(message);
    return this;
  }

  /** The hash up to here. */
  hash(): Uint8Array {
    return this.running.copy().digest();
  }
}

const LABEL = Buffer.from('jsp1 handshake');
/** Length of the Retry's source id: there was no Retry. */
const NO_RETRY = Uint8Array.of(0);
