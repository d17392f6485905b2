import type { AeadProvider } from '../crypto/aead.ts';
import { initialSecrets, keyPair } from '../crypto/key-schedule.ts';
import type { KeyPair } from '../crypto/packet-keys.ts';

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
  return keyPair(provider, initialSecrets(firstDestinationId, fingerprint), 'server');
}
