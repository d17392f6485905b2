import type { ConnectionConfig } from '../../../src/protocol/connection/config.ts';
import type { Connection } from '../../../src/protocol/connection/connection.ts';
import type { ControlFrames } from '../../../src/protocol/connection/control-frames.ts';
import { ConnectionState } from '../../../src/protocol/connection/lifecycle.ts';
import type { Liveness } from '../../../src/protocol/connection/liveness.ts';
import type { PacketNumberSpaces } from '../../../src/protocol/connection/packet-number-space.ts';
import type { KeyRing } from '../../../src/protocol/crypto/key-ring.ts';
import type { Handshake } from '../../../src/protocol/handshake/handshake.ts';
import type { Recovery } from '../../../src/protocol/recovery/recovery.ts';

/** What a connection keeps to itself, for tests that look under its skin. */
export interface ConnectionInternals {
  readonly config: ConnectionConfig;
  readonly control: ControlFrames;
  readonly keys: KeyRing;
  readonly liveness: Liveness;
  readonly recovery: Recovery;
  readonly spaces: PacketNumberSpaces;
}

export function internalsOf(connection: Connection): ConnectionInternals {
  return connection as unknown as ConnectionInternals;
}

/** The handshake under way, or null. */
export function handshakeOf({ handshake }: Connection): Handshake | null {
  return (handshake as unknown as { handshake: Handshake | null }).handshake;
}

/** Whether an open connection's handshake is confirmed. */
export function isConfirmed({ lifecycle }: Connection): boolean {
  return lifecycle.state === ConnectionState.CONFIRMED;
}
