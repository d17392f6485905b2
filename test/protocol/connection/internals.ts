import type { Micros } from '../../../src/base/time.ts';
import type { ConnectionConfig } from '../../../src/protocol/connection/config.ts';
import type { Connection } from '../../../src/protocol/connection/connection.ts';
import type { ControlFrames } from '../../../src/protocol/connection/control-frames.ts';
import type { IncomingRepairs } from '../../../src/protocol/connection/incoming-repairs.ts';
import { ConnectionState } from '../../../src/protocol/connection/lifecycle.ts';
import type { Liveness } from '../../../src/protocol/connection/liveness.ts';
import type { PacketNumberSpaces } from '../../../src/protocol/connection/packet-number-space.ts';
import type { Paths } from '../../../src/protocol/connection/paths.ts';
import type { KeyRing } from '../../../src/protocol/crypto/key-ring.ts';
import type { StreamProtection } from '../../../src/protocol/fec/stream-protection.ts';
import type { Handshake } from '../../../src/protocol/handshake/handshake.ts';
import type { Recovery } from '../../../src/protocol/recovery/recovery.ts';
import { PacketState } from '../../../src/protocol/recovery/sent-packets.ts';
import { PacketSpace } from '../../../src/protocol/wire/packet-header.ts';

/** What a connection keeps to itself, for tests that look under its skin. */
export interface ConnectionInternals {
  readonly config: ConnectionConfig;
  readonly control: ControlFrames;
  readonly keys: KeyRing;
  readonly liveness: Liveness;
  readonly paths: Paths;
  readonly recovery: Recovery;
  readonly repairs: IncomingRepairs | null;
  readonly spaces: PacketNumberSpaces;
}

export function internalsOf(connection: Connection): ConnectionInternals {
  return connection as unknown as ConnectionInternals;
}

/** The protections of those streams of the connection that ask for any. */
export function protectedStreams({ streams }: Connection): Iterable<StreamProtection> {
  return (streams.packer.protection as unknown as { asking: Iterable<StreamProtection> }).asking;
}

/** Bytes of the packets that are in flight, one by one. */
export function bytesInFlightOf(connection: Connection): number {
  const { recovery } = internalsOf(connection);
  let bytes = 0;
  for (const space of [PacketSpace.INITIAL, PacketSpace.HANDSHAKE, PacketSpace.APPLICATION]) {
    if (recovery.isDiscarded(space)) continue;
    const { largestSent, ring } = recovery.sentPackets(space);
    for (let number = ring.base; number <= largestSent; number++) {
      const i = number & ring.mask;
      const isInFlight = (ring.state[i] & (SENT_IN_FLIGHT | SETTLED)) === SENT_IN_FLIGHT;
      if (isInFlight) bytes += ring.bytes[i];
    }
  }
  return bytes;
}

const SENT_IN_FLIGHT = PacketState.SENT | PacketState.IN_FLIGHT;
const SETTLED = PacketState.ACKED | PacketState.LOST;

/** The handshake under way, or null. */
export function handshakeOf({ handshake }: Connection): Handshake | null {
  return (handshake as unknown as { handshake: Handshake | null }).handshake;
}

/** Whether an open connection's handshake is confirmed. */
export function isConfirmed({ lifecycle }: Connection): boolean {
  return lifecycle.state === ConnectionState.CONFIRMED;
}

/** Records a packet in flight that is never acknowledged, and so many acknowledgements after it, as if all of them were sent. */
export function recordUnacknowledged(connection: Connection, acknowledgements: number, now: Micros): void {
  const { recovery, spaces } = internalsOf(connection);
  const sent = recovery.sentPackets(PacketSpace.APPLICATION);
  const state = spaces[PacketSpace.APPLICATION];
  if (state === null) throw new Error('no space');
  sent.begin(state.nextNumber++, now);
  sent.commit(50, true, true);
  for (const from = state.nextNumber; state.nextNumber < from + acknowledgements; state.nextNumber++) {
    sent.begin(state.nextNumber, now);
    sent.commit(40, false, false);
  }
}
