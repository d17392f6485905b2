import { type AeadProvider, chooseAead } from '../../../src/protocol/crypto/aead.ts';
import { loadAesGcm } from '../../../src/protocol/crypto/aes-gcm.ts';
import { PacketKeys } from '../../../src/protocol/crypto/packet-keys.ts';
import { hex } from './bytes.ts';
import type { SealedPacketInput } from './slow-packet.ts';

/** The keys of a vector, of its suite. */
export function keysOf(input: SealedPacketInput): PacketKeys {
  const provider = providerOf(input);
  return new PacketKeys(
    provider.createKey(hex(input.key)),
    hex(input.iv),
    provider.createHeaderKey(hex(input.headerKey)),
  );
}

export function providerOf({ suite = 1 }: { suite?: number }): AeadProvider {
  const aes = loadAesGcm();
  if (suite === 2 && aes === null) throw new Error('this Node has no AES-256-GCM');
  return suite === 2 && aes !== null ? aes : chooseAead('auto');
}
