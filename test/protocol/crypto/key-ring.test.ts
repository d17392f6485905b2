import { describe, expect, test } from 'vitest';
import { chooseAead } from '../../../src/protocol/crypto/aead.ts';
import { KeyRing } from '../../../src/protocol/crypto/key-ring.ts';
import { packetKeys } from '../../../src/protocol/crypto/key-schedule.ts';
import { PacketKeys } from '../../../src/protocol/crypto/packet-keys.ts';
import { PacketSpace, PacketType } from '../../../src/protocol/wire/packet-header.ts';
import { hex } from './bytes.ts';

const AEAD = chooseAead('auto');
const FIRST_ID = hex('0102030405060708');
const NONCE = hex('000102030405060708090a0b');
const SERVER_ID = hex('515253');

describe('the keys of a connection', () => {
  test('begin with those of the first packet, and no others', () => {
    const client = KeyRing.ofClient(AEAD, FIRST_ID, null);
    expect(client.toSeal(PacketSpace.INITIAL)).toBeInstanceOf(PacketKeys);
    expect(client.toOpen(PacketType.INITIAL)).toBeNull();
    const server = KeyRing.ofServer(AEAD, FIRST_ID, null, SERVER_ID);
    expect(server.toOpen(PacketType.INITIAL)).toBeInstanceOf(PacketKeys);
    for (const keys of [client, server]) {
      for (const space of [PacketSpace.HANDSHAKE, PacketSpace.APPLICATION])
        expect(keys.toSeal(space)).toBeNull();
      for (const type of [PacketType.ZERO_RTT, PacketType.HANDSHAKE, PacketType.RETRY, PacketType.ONE_RTT])
        expect(keys.toOpen(type)).toBeNull();
    }
  });

  test('open a server’s Initial packets by the source id that the last one gives [HS-20]', () => {
    const client = KeyRing.ofClient(AEAD, FIRST_ID, null);
    client.expectFrom(SERVER_ID);
    const first = client.toOpen(PacketType.INITIAL);
    client.expectFrom(SERVER_ID.slice());
    expect(client.toOpen(PacketType.INITIAL)).toBe(first);
    client.expectFrom(hex('515254'));
    expect(client.toOpen(PacketType.INITIAL)).not.toBe(first);
    expect(() => sealWith(first)).toThrow();
    client.expectFrom(new Uint8Array(0));
    expect(client.toOpen(PacketType.INITIAL)).not.toBeNull();
  });

  test('are there one direction at a time [HS-15]', () => {
    const keys = KeyRing.ofServer(AEAD, FIRST_ID, null, SERVER_ID);
    const [sealing, opening] = [keysOf(1, PacketType.ONE_RTT), keysOf(2, PacketType.ONE_RTT)];
    keys.installSealing(sealing);
    expect(keys.toSeal(PacketSpace.APPLICATION)).toBe(sealing);
    expect(keys.toOpen(PacketType.ONE_RTT)).toBeNull();
    keys.installOpening(opening);
    expect(keys.toOpen(PacketType.ONE_RTT)).toBe(opening);
    expect(keys.toOpen(PacketType.HANDSHAKE)).toBeNull();
  });

  test('open by number the generation before, the one in use and the next, whose phases are in turn [PKT-18] [PKT-27]', () => {
    const [client, server] = updatable();
    const first = client.toSeal(PacketSpace.APPLICATION);
    client.updateSealing();
    const second = client.toSeal(PacketSpace.APPLICATION);
    expect([first?.phase, second?.phase]).toEqual([0, 1]);
    expect(maskWith(second)).toEqual(maskWith(first));
    const [early, late] = [sealedWith(first), sealedWith(second)];
    expect(opens(server, 0, early)).toBe('in use');
    expect(opens(server, 7, late)).toBe('next');
    server.updateOpening(7);
    expect(opens(server, 8, late)).toBe('in use');
    expect(opens(server, 5, late)).toBe('in use');
    expect(opens(server, 6, early)).toBe('before');
    expect(opens(server, 9, early)).toBe('none');
    client.updateSealing();
    expect(opens(server, 9, sealedWith(client.toSeal(PacketSpace.APPLICATION)))).toBe('next');
    server.generations?.retire(server.toOpen(PacketType.ONE_RTT), server.toSeal(PacketSpace.APPLICATION));
    expect(opens(server, 6, early)).toBe('none');
    expect(opens(server, 8, late)).toBe('in use');
  });

  test('are none but the first generation where keys are not updated [PKT-16]', () => {
    const [, server] = updatable(false);
    expect(server.generations).toBeNull();
    server.updateOpening(3);
    server.updateSealing();
    expect([server.toOpen(PacketType.ONE_RTT)?.phase, server.toSeal(PacketSpace.APPLICATION)?.phase]).toEqual(
      [0, 0],
    );
  });

  test('are zeroed when the next but one generation takes their place, all but the header key [PKT-27]', () => {
    const [client] = updatable();
    const opened: (PacketKeys | null)[] = [];
    const sealed: (PacketKeys | null)[] = [];
    for (let i = 0; i < 3; i++) {
      opened.push(client.toOpen(PacketType.ONE_RTT));
      sealed.push(client.toSeal(PacketSpace.APPLICATION));
      client.updateOpening(10 * i);
      client.updateSealing();
    }
    for (const [first, second, third] of [opened, sealed]) {
      for (const gone of [first, second]) expect(() => sealWith(gone)).toThrow();
      sealWith(third);
    }
    const inUse = client.toSeal(PacketSpace.APPLICATION);
    maskWith(inUse);
    client.discard(PacketType.ONE_RTT);
    for (const gone of [opened[2], sealed[2], inUse]) expect(() => sealWith(gone)).toThrow();
    expect(() => maskWith(inUse)).toThrow();
  });

  test('are zeroed when others seal from now on', () => {
    const keys = KeyRing.ofClient(AEAD, FIRST_ID, null);
    const [early, first] = [keysOf(1, PacketType.ZERO_RTT), keysOf(2, PacketType.ONE_RTT)];
    keys.installSealing(early);
    expect(keys.toSeal(PacketSpace.APPLICATION)).toBe(early);
    keys.installSealing(first);
    expect(keys.toSeal(PacketSpace.APPLICATION)).toBe(first);
    expect(() => sealWith(early)).toThrow();
  });

  test('are zeroed and gone when an epoch is discarded, and the other epochs stay [HS-25] [CON-14]', () => {
    const keys = KeyRing.ofServer(AEAD, FIRST_ID, null, SERVER_ID);
    const initial = [keys.toSeal(PacketSpace.INITIAL), keys.toOpen(PacketType.INITIAL)];
    const handshake = [keysOf(1, PacketType.HANDSHAKE), keysOf(2, PacketType.HANDSHAKE)];
    keys.installSealing(handshake[0]);
    keys.installOpening(handshake[1]);
    keys.discard(PacketType.INITIAL);
    expect([keys.toSeal(PacketSpace.INITIAL), keys.toOpen(PacketType.INITIAL)]).toEqual([null, null]);
    for (const gone of initial) expect(() => sealWith(gone)).toThrow();
    expect(keys.toSeal(PacketSpace.HANDSHAKE)).toBe(handshake[0]);
    expect(keys.toOpen(PacketType.HANDSHAKE)).toBe(handshake[1]);
    keys.discardAll();
    expect([keys.toSeal(PacketSpace.HANDSHAKE), keys.toOpen(PacketType.HANDSHAKE)]).toEqual([null, null]);
    for (const gone of handshake) expect(() => sealWith(gone)).toThrow();
  });

  test('give exported values from the end of the handshake until all is over, and none before and after [HS-29]', () => {
    const keys = KeyRing.ofClient(AEAD, FIRST_ID, null);
    expect(keys.exported('a use', FIRST_ID, 16)).toBeNull();
    const secret = new Uint8Array(32).fill(7);
    keys.installExporter(secret);
    expect(keys.exported('a use', FIRST_ID, 16)).toHaveLength(16);
    keys.discard(PacketType.HANDSHAKE);
    expect(keys.exported('a use', FIRST_ID, 16)).toEqual(keys.exported('a use', FIRST_ID, 16));
    expect(keys.exported('a use', SERVER_ID, 16)).not.toEqual(keys.exported('a use', FIRST_ID, 16));
    expect(keys.exported('another', FIRST_ID, 16)).not.toEqual(keys.exported('a use', FIRST_ID, 16));
    keys.discardAll();
    expect(keys.exported('a use', FIRST_ID, 16)).toBeNull();
    expect(secret.every((byte) => byte === 0)).toBe(true);
  });

  test('do not come back: Initial keys are not made again once they are over', () => {
    for (const keys of [
      KeyRing.ofServer(AEAD, FIRST_ID, null, SERVER_ID),
      KeyRing.ofClient(AEAD, FIRST_ID, null),
    ]) {
      keys.discard(PacketType.INITIAL);
      keys.expectFrom(SERVER_ID);
      expect([keys.toSeal(PacketSpace.INITIAL), keys.toOpen(PacketType.INITIAL)]).toEqual([null, null]);
    }
  });
});

/** Both ends with 1-RTT keys of the same secrets. */
function updatable(hasGenerations = true): readonly [KeyRing, KeyRing] {
  const client = KeyRing.ofClient(AEAD, FIRST_ID, null);
  const server = KeyRing.ofServer(AEAD, FIRST_ID, null, SERVER_ID);
  const secrets = { client: new Uint8Array(32).fill(1), server: new Uint8Array(32).fill(2) };
  for (const keys of [client, server]) {
    keys.hasGenerations = hasGenerations;
    keys.onTraffic(PacketType.ONE_RTT, secrets, AEAD);
    keys.installSealing(packetKeys(AEAD, keys === client ? secrets.client : secrets.server));
    keys.installOpening(packetKeys(AEAD, keys === client ? secrets.server : secrets.client));
  }
  return [client, server];
}

interface Sealed {
  readonly phase: number;
  readonly packet: Uint8Array;
}

function sealedWith(keys: PacketKeys | null): Sealed {
  if (keys === null) throw new Error('not there yet');
  const packet = new Uint8Array(56);
  keys.aead.seal(packet, 0, 9, 40, NONCE);
  return { phase: keys.phase, packet };
}

/** Which generation of `keys` opens a packet, if it has this number. */
function opens(
  keys: KeyRing,
  number: number,
  { phase, packet }: Sealed,
): 'before' | 'in use' | 'next' | 'none' {
  const { generations } = keys;
  const inUse = keys.toOpen(PacketType.ONE_RTT);
  if (inUse === null || generations === null) throw new Error('not there yet');
  const opening = phase === inUse.phase ? inUse : generations.other(inUse, number);
  if (opening === null || !opening.aead.open(packet.slice(), 0, 9, 56, NONCE)) return 'none';
  if (opening === inUse) return 'in use';
  return generations.isNext(opening) ? 'next' : 'before';
}

function maskWith(keys: PacketKeys | null): Uint8Array {
  const mask = new Uint8Array(5);
  keys?.header.mask(new Uint8Array(16), 0, mask);
  return mask;
}

function keysOf(tag: number, epoch: PacketType): PacketKeys {
  return packetKeys(AEAD, new Uint8Array(32).fill(tag), epoch);
}

function sealWith(keys: PacketKeys | null): void {
  keys?.aead.seal(new Uint8Array(64), 0, 9, 40, new Uint8Array(12));
}
