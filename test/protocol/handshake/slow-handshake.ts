import { ed25519, x25519 } from '@noble/curves/ed25519.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { ml_kem768 } from '@noble/post-quantum/ml-kem.js';
import { hex, joined, toHex } from '../crypto/bytes.ts';
import { slowChain, slowInitial } from '../crypto/slow-key-schedule.ts';

/** A whole handshake read off spec/handshake.md, hex in and hex out; it shares no code with src/. */

export interface SlowHandshakeInput {
  firstDestinationId: string;
  pinned: boolean;
  largestDatagram: number;
  /** Ed25519 seed of the server. */
  identitySeed: string;
  client: {
    random: string;
    x25519Secret: string;
    mlKemSeed: string;
    parameters: string;
    greasedParameter: { id: number; value: string };
    /** Version bytes[4], suite, KEM, the greased share's byte, length of the extension's value, its id bytes[2], its value. */
    grease: string;
  };
  server: {
    /** The one in its parameters. */
    sourceId: string;
    random: string;
    x25519Secret: string;
    mlKemMessage: string;
    parameters: string;
    greasedParameter: { id: number; value: string };
  };
}

export type SlowHandshakeOutput = ReturnType<typeof slowHandshake>;

export function slowHandshake(input: SlowHandshakeInput) {
  const { client, server } = input;
  const identity = joined(Uint8Array.of(1), vector(ed25519.getPublicKey(hex(input.identitySeed))));
  const fingerprint = toHex(sha256(identity));
  const kemKeys = ml_kem768.keygen(hex(client.mlKemSeed));
  const share = joined(x25519.getPublicKey(hex(client.x25519Secret)), kemKeys.publicKey);
  const clientHello = message(1, slowClientHelloBody(input, share));

  const encapsulation = ml_kem768.encapsulate(kemKeys.publicKey, hex(server.mlKemMessage));
  const serverPoint = x25519.getPublicKey(hex(server.x25519Secret));
  const kemSecret = joined(
    x25519.getSharedSecret(hex(client.x25519Secret), serverPoint),
    ml_kem768.decapsulate(encapsulation.cipherText, kemKeys.secretKey),
  );
  const ciphertext = joined(serverPoint, encapsulation.cipherText);
  const chosen = joined(hex('4a535031'), Uint8Array.of(1), Uint8Array.of(1), vector(ciphertext));
  const serverHello = message(2, joined(hex(server.random), chosen));

  const id = hex(input.firstDestinationId);
  const label = new TextEncoder().encode('jsp1 handshake');
  const prologue = joined(label, Uint8Array.of(input.pinned ? 1 : 0, id.length), id, Uint8Array.of(0));
  const toServerHello = joined(prologue, clientHello, serverHello);
  const parameters = message(3, vector(withGrease(server.parameters, server.greasedParameter)));
  const toIdentity = joined(toServerHello, parameters, message(4, identity));
  const context = new TextEncoder().encode(`${' '.repeat(64)}JetStreamProto 1 server identity\0`);
  const signed = ed25519.sign(joined(context, sha256(toIdentity)), hex(input.identitySeed));
  const toSignature = joined(toIdentity, message(5, joined(Uint8Array.of(1), vector(signed))));
  const hashes = {
    kemSecret: toHex(kemSecret),
    hashToServerHello: toHex(sha256(toServerHello)),
    hashToSignature: toHex(sha256(toSignature)),
    hashToServerFinished: '',
    exported: EXPORTED,
  };
  // The server's FINISHED does not depend on the hash that follows it.
  const finished = message(6, hex(slowChain(hashes).serverFinished));
  hashes.hashToServerFinished = toHex(sha256(joined(toSignature, finished)));
  const chain = slowChain(hashes);
  return {
    fingerprint,
    initial: slowInitial({
      firstDestinationId: input.firstDestinationId,
      fingerprint: input.pinned ? fingerprint : null,
      serverSourceId: server.sourceId,
    }),
    clientHello: toHex(clientHello),
    serverHello: toHex(serverHello),
    serverFlight: toHex(joined(toSignature, finished).slice(toServerHello.length)),
    clientFlight: toHex(message(6, hex(chain.clientFinished))),
    ...hashes,
    ...chain,
  };
}

/** What each of the handshakes exports. */
export const EXPORTED = { name: 'a use', context: '0102', length: 48 };

function slowClientHelloBody({ client, largestDatagram }: SlowHandshakeInput, share: Uint8Array): Uint8Array {
  const grease = hex(client.grease);
  const greased = (from: number, to: number) => grease.slice(from, to).map((byte) => (byte & 0xf0) + 0x0a);
  return joined(
    hex(client.random),
    joined(Uint8Array.of(2), greased(0, 4), hex('4a535031')),
    joined(Uint8Array.of(2), greased(4, 5), Uint8Array.of(1)),
    joined(Uint8Array.of(2), greased(5, 6), vector(grease.slice(6, 7)), Uint8Array.of(1), vector(share)),
    u16(largestDatagram),
    vector(withGrease(client.parameters, client.greasedParameter)),
    joined(greased(8, 10), vector(grease.slice(10, 10 + (grease[7] % 4)))),
  );
}

/** Ids here are below 2^14, values shorter than 64 bytes. */
export function withGrease(parameters: string, { id, value }: { id: number; value: string }): Uint8Array {
  const idBytes = id < 64 ? Uint8Array.of(id) : u16(0x4000 + id);
  return joined(hex(parameters), idBytes, Uint8Array.of(hex(value).length), hex(value));
}

export function message(type: number, body: Uint8Array): Uint8Array {
  return joined(Uint8Array.of(type), vector(body));
}

export function vector(bytes: Uint8Array): Uint8Array {
  return joined(u16(bytes.length), bytes);
}

export function u16(value: number): Uint8Array {
  return Uint8Array.of(Math.floor(value / 256), value % 256);
}
