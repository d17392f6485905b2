import { describe, expect, test } from 'vitest';
import { chooseAead } from '../../../src/protocol/crypto/aead.ts';
import { KeyRing } from '../../../src/protocol/crypto/key-ring.ts';
import { packetKeys } from '../../../src/protocol/crypto/key-schedule.ts';
import { PacketKeys } from '../../../src/protocol/crypto/packet-protection.ts';
import { PacketSpace, PacketType } from '../../../src/protocol/wire/packet-header.ts';
import { hex } from './bytes.ts';

const AEAD = chooseAead('auto');
const FIRST_ID = hex('0102030405060708');
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

  test('open either phase with the first generation, and each with its own once there is another [PKT-16]', () => {
    const keys = KeyRing.ofServer(AEAD, FIRST_ID, null, SERVER_ID);
    const first = keysOf(1, PacketType.ONE_RTT);
    keys.installOpening(first);
    expect([keys.toOpen(PacketType.ONE_RTT, 0), keys.toOpen(PacketType.ONE_RTT, 1)]).toEqual([first, first]);
    const second = new PacketKeys(first.aead, first.iv, first.header, PacketType.ONE_RTT, 1);
    keys.installOpening(second);
    keys.installSealing(second);
    expect(keys.toOpen(PacketType.ONE_RTT, 0)).toBe(first);
    expect(keys.toOpen(PacketType.ONE_RTT, 1)).toBe(second);
    expect(keys.toSeal(PacketSpace.APPLICATION)).toBe(second);
  });

  test('are zeroed when the next but one generation takes their place, all but the header key [PKT-18]', () => {
    const keys = KeyRing.ofServer(AEAD, FIRST_ID, null, SERVER_ID);
    const first = keysOf(1, PacketType.ONE_RTT);
    const next = (tag: number, phase: number): PacketKeys => {
      const { aead, iv } = keysOf(tag, PacketType.ONE_RTT);
      return new PacketKeys(aead, iv, first.header, PacketType.ONE_RTT, phase);
    };
    const [second, third] = [next(2, 1), next(3, 0)];
    keys.installOpening(first);
    keys.installOpening(second);
    sealWith(first);
    keys.installOpening(third);
    expect(() => sealWith(first)).toThrow();
    for (const phase of [0, 1]) sealWith(keys.toOpen(PacketType.ONE_RTT, phase));
    expect(keys.toOpen(PacketType.ONE_RTT, 0)).toBe(third);
    third.header.mask(new Uint8Array(16), 0, new Uint8Array(5));
    keys.discard(PacketType.ONE_RTT);
    for (const gone of [second, third]) expect(() => sealWith(gone)).toThrow();
    expect(() => third.header.mask(new Uint8Array(16), 0, new Uint8Array(5))).toThrow();
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

function keysOf(tag: number, epoch: PacketType): PacketKeys {
  return packetKeys(AEAD, new Uint8Array(32).fill(tag), epoch);
}

function sealWith(keys: PacketKeys | null): void {
  keys?.aead.seal(new Uint8Array(64), 0, 9, 40, new Uint8Array(12));
}
