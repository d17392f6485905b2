/** Whether a client has the key that it names: it has signed a secret that only the two ends of its connection can derive. [AUT-4, HS-29] */

import { fingerprintOf, thumbprintOf, verifyIdentity } from '../../protocol/crypto/index.ts';
import { decodeIdentityProof, IDENTITY_PROOF } from '../../pubsub/credentials.ts';
import type { ConnectionFacts } from '../../pubsub/message-stream.ts';

/** Who has proved to be at the other end. */
export interface ProvedIdentity {
  /** 43 characters of base64url. */
  readonly fingerprint: string;
  /** The same key as tokens name it (RFC 7638). */
  readonly thumbprint: string;
}

/** Null where nothing is proved: the signature is not right, or is of another connection, or this way to the broker has none. [AUT-5] */
export async function provedIdentity(
  credentials: Uint8Array,
  facts: ConnectionFacts,
): Promise<ProvedIdentity | null> {
  const proof = decodeIdentityProof(credentials);
  if (proof === null) return null;
  const { publicKey, signature } = proof;
  const exported = await facts.exporter(IDENTITY_PROOF.name, publicKey, IDENTITY_PROOF.length);
  if (exported === null || !verifyIdentity(publicKey, 'broker client', exported, signature)) return null;
  return {
    fingerprint: Buffer.from(fingerprintOf(publicKey)).toString('base64url'),
    thumbprint: thumbprintOf(publicKey),
  };
}
