import { MILLISECOND } from '../../base/time.ts';
import type { KeyRing } from '../crypto/key-ring.ts';
import { ReplayWindow } from '../crypto/packet-protection.ts';
import { AckTracker } from '../recovery/ack-tracker.ts';
import { PacketSpace } from '../wire/packet-header.ts';
import { IncomingFlight, OutgoingFlight } from '../handshake/crypto-flight.ts';

/** What a connection keeps for one packet number space. */
export class NumberSpace {
  readonly space: PacketSpace;
  /** Those of the connection. */
  readonly keys: KeyRing;
  /** Number of the next packet to send. [PKT-7] */
  nextNumber = 0;
  readonly replay = new ReplayWindow();
  readonly acks: AckTracker;
  /** The handshake messages of the space; null in the application space. */
  readonly outgoing: OutgoingFlight | null;
  readonly incoming: IncomingFlight | null;

  constructor(space: PacketSpace, keys: KeyRing, ackDelayMaxMs: number) {
    const isHandshake = space !== PacketSpace.APPLICATION;
    this.space = space;
    this.keys = keys;
    this.acks = new AckTracker({ isHandshake, maxDelay: ackDelayMaxMs * MILLISECOND });
    this.outgoing = isHandshake ? new OutgoingFlight() : null;
    this.incoming = isHandshake ? new IncomingFlight() : null;
  }
}
