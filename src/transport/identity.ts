import { Identity } from '../protocol/crypto/identity.ts';
import { systemRandom } from './random.ts';

/** A new server identity from the system's secure random bytes. Keep what its `exportSecret()` gives. */
export function generateIdentity(): Identity {
  return Identity.generate(systemRandom);
}
