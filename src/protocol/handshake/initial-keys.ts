/**
 * The keys of Initial packets. [HS-20] Those that are used for every first packet are made at once; those for the other direction only
 * when they are needed: most of what pretends to be a first packet does not open, and a client does not know its server's source id
 * before it is answered.
 */

import { copyOf, equalBytes } from '../../base/bytes.ts';
import type { AeadProvider } from '../crypto/aead.ts';
import {
  clientInitialSecret,
  initialSecret,
  packetKeys,
  serverInitialSecret,
} from '../crypto/key-schedule.ts';
import type { KeyPair, PacketKeys } from '../crypto/packet-protection.ts';

/** The client's keys for Initial packets. */
export class ClientInitialKeys implements KeyPair {
  readonly seal: PacketKeys;
  private readonly provider: AeadProvider;
  private readonly initial: Uint8Array;
  private serverId: Uint8Array = NOTHING;
  private opening: PacketKeys | null = null;

  /**
   * @param firstDestinationId - the id it chose for the server in its first packet
   * @param pin - fingerprint of the server's identity; null when it does not pin [HS-14]
   */
  constructor(provider: AeadProvider, firstDestinationId: Uint8Array, pin: Uint8Array | null) {
    this.provider = provider;
    this.initial = initialSecret(firstDestinationId, pin);
    this.seal = keysOf(provider, clientInitialSecret(this.initial));
  }

  /** The packet to be opened next gives this as its source id. */
  expectFrom(serverId: Uint8Array): void {
    if (equalBytes(serverId, this.serverId)) return;
    this.opening?.wipe();
    this.opening = null;
    this.serverId = copyOf(serverId);
  }

  /** For packets from the id last given to {@link expectFrom}. */
  get open(): PacketKeys {
    this.opening ??= keysOf(this.provider, serverInitialSecret(this.initial, this.serverId));
    return this.opening;
  }

  wipe(): void {
    this.seal.wipe();
    this.opening?.wipe();
    this.initial.fill(0);
  }
}

/** The server's keys for Initial packets. */
export class ServerInitialKeys implements KeyPair {
  readonly open: PacketKeys;
  private readonly provider: AeadProvider;
  private readonly initial: Uint8Array;
  private readonly serverId: Uint8Array;
  private sealing: PacketKeys | null = null;

  /**
   * @param firstDestinationId - destination id of the client's first packet
   * @param fingerprint - of the server's own identity; null when the packet's U bit says that the client does not pin
   * @param serverId - the source id of the server's packets
   */
  constructor(
    provider: AeadProvider,
    firstDestinationId: Uint8Array,
    fingerprint: Uint8Array | null,
    serverId: Uint8Array,
  ) {
    this.provider = provider;
    this.initial = initialSecret(firstDestinationId, fingerprint);
    this.serverId = serverId;
    this.open = keysOf(provider, clientInitialSecret(this.initial));
  }

  get seal(): PacketKeys {
    this.sealing ??= keysOf(this.provider, serverInitialSecret(this.initial, this.serverId));
    return this.sealing;
  }

  wipe(): void {
    this.open.wipe();
    this.sealing?.wipe();
    this.initial.fill(0);
  }
}

function keysOf(provider: AeadProvider, secret: Uint8Array): PacketKeys {
  const keys = packetKeys(provider, secret);
  secret.fill(0);
  return keys;
}

const NOTHING = new Uint8Array(0);
