import type { RandomSource } from '../../base/random.ts';
import type { ConnectionConfig } from '../connection/config.ts';
import type { Identity } from '../crypto/identity.ts';

/** What makes an endpoint a server. */
export interface ServerConfig {
  readonly identity: Identity;
  /** Answers clients that do not pin the identity, too. */
  readonly acceptUnpinned: boolean;
  /** Handshakes under way at once. */
  readonly halfOpenMax: number;
  readonly connectionsMax: number;
  /** Of stateless resets, 32 bytes; default: what follows from the identity. [PKT-22] */
  readonly resetKey?: Uint8Array | undefined;
  /** Whether packets to this address stay on the machine. */
  readonly isLoopback: (host: string) => boolean;
}

export interface EndpointConfig {
  readonly connection: ConnectionConfig;
  readonly random: RandomSource;
  /** Null: the endpoint only connects. */
  readonly server: ServerConfig | null;
}

/** Where to connect to. */
export interface ConnectTarget {
  readonly host: string;
  readonly port: number;
  /** Fingerprint of the server's identity; null to accept any. */
  readonly pin: Uint8Array | null;
  readonly isLoopback: boolean;
}
