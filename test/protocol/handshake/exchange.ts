import { Prng } from '../../../src/base/random.ts';
import { chooseAead } from '../../../src/protocol/crypto/aead.ts';
import { nobleMlKem } from '../../../src/protocol/crypto/hybrid-kem.ts';
import { Identity } from '../../../src/protocol/crypto/identity.ts';
import { KeyRing } from '../../../src/protocol/crypto/key-ring.ts';
import { nobleMlDsa } from '../../../src/protocol/crypto/ml-dsa.ts';
import type { PacketKeys } from '../../../src/protocol/crypto/packet-keys.ts';
import { openPacket, sealPacket, UnprotectedHeader } from '../../../src/protocol/crypto/packet-protection.ts';
import { ClientHandshake, type ClientHandshakeOptions } from '../../../src/protocol/handshake/client.ts';
import { ServerHandshake, type ServerHandshakeOptions } from '../../../src/protocol/handshake/server.ts';
import { PacketSpace, PacketType } from '../../../src/protocol/wire/packet-header.ts';
import { defaultParameters } from '../../../src/protocol/wire/transport-parameters.ts';

/** A client and a server that fit each other, and what the tests change about them. */

export const SERVER_IDENTITY = Identity.generate(new Prng(7));
export const FIRST_ID = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
const CLIENT_ID = Uint8Array.of(0xc1, 0xc2);
export const SERVER_ID = Uint8Array.of(0x51, 0x52, 0x53);
const provider = chooseAead('auto');

export function newClient(changes: Partial<ClientHandshakeOptions> = {}): ClientHandshake {
  const options = {
    pin: SERVER_IDENTITY.fingerprint,
    suites: [{ aead: provider, costNs: 0 }],
    mlKem: nobleMlKem,
    mlDsa: nobleMlDsa,
    random: new Prng(11),
    parameters: { ...defaultParameters(CLIENT_ID), initialMaxData: 1000 },
    firstDestinationId: FIRST_ID,
    largestDatagram: 1200,
    ...changes,
  };
  const keys = KeyRing.ofClient(provider, options.firstDestinationId, options.pin);
  return withKeys(new ClientHandshake({ keys, ...options }), keys);
}

export function newServer(changes: Partial<ServerHandshakeOptions> = {}): ServerHandshake {
  const options = {
    identity: SERVER_IDENTITY,
    suites: [{ aead: provider, costNs: 0 }],
    mlKem: nobleMlKem,
    mlDsa: nobleMlDsa,
    random: new Prng(12),
    parameters: { ...defaultParameters(SERVER_ID), originalDestinationId: FIRST_ID, initialMaxData: 2000 },
    clientDestinationId: FIRST_ID,
    unpinned: false,
    ...changes,
  };
  const fingerprint = options.unpinned ? null : options.identity.fingerprint;
  const { sourceId } = options.parameters;
  const keys = KeyRing.ofServer(provider, options.clientDestinationId, fingerprint, sourceId);
  return withKeys(new ServerHandshake({ keys, ...options }), keys);
}

type Side = ClientHandshake | ServerHandshake;

/** Notes where a side installs its keys, for {@link keysOf}. */
export function withKeys<T extends Side>(side: T, keys: KeyRing): T {
  RINGS.set(side, keys);
  return side;
}

export function keysOf(side: Side): KeyRing {
  return present(RINGS.get(side) ?? null);
}

/** The keys of both directions in one epoch, each null when it is not there. */
export function initial(side: Side): Directions {
  return { seal: keysOf(side).toSeal(PacketSpace.INITIAL), open: keysOf(side).toOpen(PacketType.INITIAL) };
}

export function handshake(side: Side): Directions {
  return {
    seal: keysOf(side).toSeal(PacketSpace.HANDSHAKE),
    open: keysOf(side).toOpen(PacketType.HANDSHAKE),
  };
}

export function application(side: Side): Directions {
  return {
    seal: keysOf(side).toSeal(PacketSpace.APPLICATION),
    open: keysOf(side).toOpen(PacketType.ONE_RTT),
  };
}

export interface Directions {
  readonly seal: PacketKeys | null;
  readonly open: PacketKeys | null;
}

/** Runs a handshake to its end, or to the first side that gives it up. Returns that side's code, or 0. */
export function run(client: ClientHandshake, server: ServerHandshake): number {
  return (
    server.receive(0, client.hello) ||
    client.receive(0, present(server.hello)) ||
    client.receive(1, present(server.flight)) ||
    server.receive(1, present(client.flight))
  );
}

export function present<T>(value: T | null): T {
  if (value === null) throw new Error('not there yet');
  return value;
}

/** True when what one side seals the other opens. */
export function isOpenedBy(seal: PacketKeys | null, open: PacketKeys | null): boolean {
  if (seal === null || open === null) throw new Error('not there yet');
  const packet = new Uint8Array(60);
  const end = sealPacket(seal, packet, 0, 9, 40, 0);
  const found = new UnprotectedHeader();
  return found.unprotect(open, packet, 0, 9, end, -1) && openPacket(open, packet, 0, end, found) === 40;
}

const RINGS = new WeakMap<Side, KeyRing>();
