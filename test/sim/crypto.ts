import { type ConnectionConfig, defaultConnectionConfig } from '../../src/protocol/connection/config.ts';
import { chooseAead } from '../../src/protocol/crypto/aead.ts';
import { cheapKem } from './cheap-kem.ts';
import { nullAead } from './null-aead.ts';

/** The defaults with real encryption, or with a checksum in the place of the AEAD and a KEM that keeps no secret, which cost next to nothing. */
export function configOf(crypto: 'real' | 'null'): ConnectionConfig {
  if (crypto === 'real') return defaultConnectionConfig(REAL_AEAD);
  return { ...defaultConnectionConfig(nullAead), mlKem: cheapKem };
}

const REAL_AEAD = chooseAead('auto');
