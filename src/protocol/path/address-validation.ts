/**
 * The anti-amplification limit: before a client's address is validated, a server sends it at most three times
 * the bytes that came from it (RFC 9000 section 8.1).
 */
export class AmplificationLimit {
  private received = 0;
  private sent = 0;
  private largest = 0;
  validated: boolean;

  constructor(validated: boolean) {
    this.validated = validated;
  }

  onReceived(bytes: number): void {
    this.received += bytes;
    if (bytes > this.largest) this.largest = bytes;
  }

  onSent(bytes: number): void {
    this.sent += bytes;
  }

  /** Bytes that may be sent now; infinite once validated. */
  get allowance(): number {
    return this.validated ? Number.POSITIVE_INFINITY : AMPLIFICATION_FACTOR * this.received - this.sent;
  }

  /** The largest datagram that came from the address. */
  get datagramBytesLargest(): number {
    return this.largest;
  }

  /** The largest datagram that may be sent: before validation never larger than the largest received. [PKT-19] */
  get datagramBytesMax(): number {
    return this.validated ? Number.POSITIVE_INFINITY : this.largest;
  }
}

const AMPLIFICATION_FACTOR = 3;
