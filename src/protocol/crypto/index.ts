/** What the world above the sans-IO line sees of the cryptography: identities, ciphers, KEMs, and for benchmarks the packets. */

export { TAG_BYTES } from '../wire/packet-header.ts';
export { type AeadPreference, type AeadProvider, chooseAead } from './aead.ts';
export { loadAesGcm } from './aes-gcm.ts';
export type { CipherSuiteName } from './cipher-suite.ts';
export {
  type Encapsulation,
  type MlKem,
  type MlKemKeyPair,
  type MlKemName,
  nobleMlKem,
} from './hybrid-kem.ts';
export {
  fingerprintOf,
  Identity,
  RESET_KEY_BYTES,
  thumbprintOf,
  verifyIdentity,
} from './identity.ts';
export { packetKeys } from './key-schedule.ts';
export { type MlDsa, type MlDsaKeyPair, nobleMlDsa } from './ml-dsa.ts';
export { type RawKeys, rawKeys } from './native.ts';
export { PacketKeys } from './packet-keys.ts';
export {
  openPacket,
  ReplayWindow,
  sealPacket,
  UnprotectedHeader,
} from './packet-protection.ts';
export { FAILED, type KeyRow, LEFT, PacketTable } from './packet-table.ts';
export {
  type ConnectionIdSource,
  FRONT_SECRET_BYTES,
  ROUTABLE_ID_BYTES,
  RoutableIds,
  SERVER_IDS,
  ServerIdSource,
} from './routable-ids.ts';
