import fc from 'fast-check';
import { calculateJwkThumbprint } from 'jose';
import { describe, expect, test } from 'vitest';
import { thumbprintOf } from '../../src/protocol/crypto/index.ts';
import {
  decodeIdentityProof,
  decodeToken,
  encodeIdentityProof,
  encodeToken,
} from '../../src/pubsub/credentials.ts';
import { generateIdentity } from '../../src/transport/system-crypto.ts';

const bytes = fc.uint8Array({ maxLength: 300 });

describe('credentials', () => {
  test('of an identity are laid out as the page has it, and read as they were written [AUT-4]', () => {
    fc.assert(
      fc.property(bytes, bytes, (publicKey, signature) => {
        const encoded = encodeIdentityProof({ publicKey, signature });
        expect([...encoded]).toEqual([
          publicKey.length >> 8,
          publicKey.length & 255,
          ...publicKey,
          ...signature,
        ]);
        const decoded = decodeIdentityProof(encoded);
        expect([decoded?.publicKey, decoded?.signature].map((each) => [...(each ?? [])])).toEqual([
          [...publicKey],
          [...signature],
        ]);
      }),
    );
  });

  test('of whatever bytes are read as something or nothing', () => {
    fc.assert(
      fc.property(bytes, (any) => {
        const proof = decodeIdentityProof(any);
        if (proof !== null) expect(encodeIdentityProof(proof)).toEqual(Buffer.from(any));
        const { token, proof: behind } = decodeToken(any);
        expect(Buffer.from(token, 'latin1').length + (behind === null ? 0 : 1 + behind.length)).toBe(
          any.length,
        );
      }),
    );
  });

  test('of a token have the proof of its key behind a zero [AUT-12]', () => {
    const proof = Buffer.of(1, 0, 2);
    expect(decodeToken(encodeToken('a.b.c', proof))).toEqual({ token: 'a.b.c', proof });
    expect(decodeToken(encodeToken('a.b.c', null))).toEqual({ token: 'a.b.c', proof: null });
  });

  test('name a key in tokens as others do [AUT-12]', async () => {
    const { publicKey } = generateIdentity();
    const x = Buffer.from(publicKey.subarray(3)).toString('base64url');
    expect(thumbprintOf(publicKey)).toBe(await calculateJwkThumbprint({ kty: 'OKP', crv: 'Ed25519', x }));
    expect(thumbprintOf(publicKey.subarray(1))).toBe('');
  });
});
