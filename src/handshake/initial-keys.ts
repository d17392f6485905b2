import type { AeadProvider } from '../crypto/aead.ts';
import { initialSecrets, keyPair, packetKeys, type TrafficSecrets } from '../crypto/key-schedule.ts';
import type { KeyPair, PacketKeys } from '../crypto/packet-keys.ts';

/**
 * The client's keys for Initial packets. [HS-20]
 * @param firstDestinationId - the id it chose for the server in its first packet
 * @param pin - fingerprint of the server's identity; null when it does not pin [HS-14]
 */
export function clientInitialKeys(
  provider: AeadProvider,
  firstDestinationId: Uint8Array,
  pin: Uint8Array | null,
): KeyPair {
  return keyPair(provider, initialSecrets(firstDestinationId, pin), 'client');
}

/**
 * The server's keys for Initial packets. [HS-20]
 * @param firstDestinationId - destination id of the client's first packet
 * @param fingerprint - of the server's own identity; null when the packet's U bit says that the client does not pin
 */
export function serverInitialKeys(
  provider: AeadProvider,
  firstDestinationId: Uint8Array,
  fingerprint: Uint8Array | null,
): KeyPair {
  return new OpeningFirst(provider, initialSecrets(firstDestinationId, fingerprint));
}

/** Most of what pretends to be a first packet does not open: keys to answer with are made when there is an answer. */
class OpeningFirst implements KeyPair {
  readonly open: PacketKeys;
  private sealing: PacketKeys | null = null;
  private readonly provider: AeadProvider;
  private readonly secrets: TrafficSecrets;

  constructor(provider: AeadProvider, secrets: TrafficSecrets) {
    this.open = packetKeys(provider, secrets.client);
    this.provider = provider;
    this.secrets = secrets;
  }

  get seal(): PacketKeys {
    this.sealing ??= packetKeys(this.provider, this.secrets.server);
    return this.sealing;
  }
}
