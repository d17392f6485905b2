import type { Connection } from '../connection/connection.ts';
import { equalSecrets } from '../crypto/identity.ts';
import { RESET_TOKEN_BYTES } from '../crypto/reset-token.ts';
import { RESET_BYTES_MIN } from './stateless-answers.ts';

/** The connections of clients that were told what a stateless reset of theirs looks like. */
export class ResetWatch {
  private readonly connections = new Set<Connection>();

  add(connection: Connection): void {
    if (connection.resetToken !== null) this.connections.add(connection);
  }

  remove(connection: Connection): void {
    this.connections.delete(connection);
  }

  /** The connection that a short packet, which is for none of our ids, ends; null when it is no reset. [PKT-25] */
  ended(packet: Uint8Array): Connection | null {
    if (packet.length < RESET_BYTES_MIN || this.connections.size === 0) return null;
    const token = packet.subarray(packet.length - RESET_TOKEN_BYTES);
    for (const connection of this.connections)
      if (equalSecrets(token, connection.resetToken as Uint8Array)) return connection;
    return null;
  }
}
