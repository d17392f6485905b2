import { describe, expect, test } from 'vitest';
import { MemoryBudget } from '../../../src/base/memory-budget.ts';
import { Prng } from '../../../src/base/random.ts';
import { chooseAead } from '../../../src/protocol/crypto/aead.ts';
import { initialSecret, retryKey } from '../../../src/protocol/crypto/key-schedule.ts';
import { AddressTokens } from '../../../src/protocol/handshake/address-token.ts';
import {
  type ClientHello,
  decodeClientHello,
  encodeClientHello,
} from '../../../src/protocol/handshake/messages.ts';
import { isRetryGenuine, retryPacket } from '../../../src/protocol/handshake/retry.ts';
import { CloseCode } from '../../../src/protocol/wire/close-code.ts';
import { offeredVersions, versionPacket } from '../../../src/protocol/wire/version-packet.ts';
import { hex, toHex } from '../crypto/bytes.ts';
import { vectorCases } from '../crypto/vector-file.ts';
import { newClient, newServer, present, run } from './exchange.ts';
import { ScriptedRandom } from './scripted-random.ts';
import {
  type SlowRetryInput,
  type SlowTokenInput,
  type SlowVersionInput,
  slowRetry,
  slowToken,
  slowVersionPacket,
} from './slow-retry.ts';

type Input =
  | ({ what: 'retry' } & SlowRetryInput)
  | ({ what: 'token' } & SlowTokenInput)
  | ({ what: 'versions' } & SlowVersionInput);

function slow(input: Input): { bytes: string } {
  if (input.what === 'retry') return { bytes: slowRetry(input) };
  return { bytes: input.what === 'token' ? slowToken(input) : slowVersionPacket(input) };
}

const CASES = vectorCases('retry.json', slow);

describe.each(CASES)('$name', ({ input, output }) => {
  test('is what the slow twin makes', () => expect(slow(input)).toEqual(output));

  test('is what the library makes [PKT-21] [HS-31] [INV-5]', () => {
    expect(toHex(made(input))).toBe(output.bytes);
  });
});

function made(input: Input): Uint8Array {
  if (input.what === 'retry') {
    const pin = input.fingerprint === null ? null : hex(input.fingerprint);
    const initial = initialSecret(hex(input.originalDestinationId), pin);
    return retryPacket(initial, hex(input.clientSourceId), hex(input.retrySourceId), hex(input.token));
  }
  if (input.what === 'versions') {
    const [other] = input.versions.filter((version) => version !== '4a535031');
    const bits = Number.parseInt(input.firstByte, 16) & 0x3f;
    const order = input.versions[0] === other ? 0x40 : 0;
    const grease = hex(other + (bits | order).toString(16).padStart(2, '0'));
    return versionPacket(hex(input.destinationId), hex(input.sourceId), grease);
  }
  const tokens = new AddressTokens({
    aead: chooseAead('auto'),
    random: new ScriptedRandom([hex(input.nonce)]),
    secrets: { current: hex(input.secret) },
    epochMs: input.issuedMs,
    memory: new MemoryBudget(2 ** 20),
  });
  const rest = hex(input.rest);
  return input.kind === 1
    ? tokens.forRetry('192.0.2.7', rest[0] * 256 + rest[1], rest.slice(3), 0)
    : tokens.forNextConnection('2001:db8::7', 0);
}

describe('the tag of a Retry [PKT-21]', () => {
  const [id, scid, pin] = [hex('0102030405060708'), hex('1112131415161718'), new Uint8Array(32).fill(9)];
  const packet = retryPacket(initialSecret(id, pin), hex('aa'), scid, hex('0badcafe'));

  test('is right only for who knows the packet that it answers, and the fingerprint', () => {
    const isGenuine = (of: Uint8Array, fingerprint: Uint8Array | null, source: Uint8Array) =>
      isRetryGenuine(retryKey(initialSecret(of, fingerprint), source), packet);
    expect(isGenuine(id, pin, scid)).toBe(true);
    expect(isGenuine(scid, pin, scid)).toBe(false);
    expect(isGenuine(id, null, scid)).toBe(false);
    expect(isGenuine(id, pin, id)).toBe(false);
  });

  test('is wrong when any bit of the packet changes', () => {
    const key = retryKey(initialSecret(id, pin), scid);
    let taken = 0;
    for (let bit = 0; bit < 8 * packet.length; bit++) {
      const forged = packet.slice();
      forged[bit >> 3] ^= 1 << (bit & 7);
      if (isRetryGenuine(key, forged)) taken++;
    }
    expect(taken).toBe(0);
  });
});

describe('the handshake behind a Retry [HS-30]', () => {
  const scid = hex('5152535455565758');

  test('has its id in the transcript of both sides, or it fails', () => {
    const follow = (clientsId: Uint8Array | null, serversId: Uint8Array | null) => {
      const client = newClient();
      const { hello } = client;
      if (clientsId !== null) client.onRetry(clientsId);
      expect(client.hello).toEqual(hello);
      return run(client, newServer({ retrySourceId: serversId }));
    };
    expect(follow(scid, scid)).toBe(0);
    expect(follow(null, null)).toBe(0);
    expect(follow(scid, null)).not.toBe(0);
    expect(follow(null, scid)).not.toBe(0);
    expect(follow(scid, hex('00'))).not.toBe(0);
  });
});

describe('the versions of a hello [INV-8]', () => {
  const ours = 0x4a535031;
  const next = 0x4a535032;
  const hello = (versions: number[]) => {
    const own = decodeClientHello(newClient().hello.subarray(3)) as ClientHello;
    return encodeClientHello({ ...own, versions, share: present(own.share) }, new Uint8Array(16));
  };

  test('are none that the server would rather have chosen than the one in use', () => {
    const code = (listed: number[], spoken: number[]) =>
      newServer({ versions: spoken }).receive(0, hello(listed));
    expect(code([ours, next], [ours])).toBe(0);
    expect(code([next, ours], [ours, next])).toBe(0);
    expect(code([ours], [next, ours])).toBe(0);
    expect(code([ours, next], [next, ours])).toBe(CloseCode.VERSION_NEGOTIATION_ERROR);
  });
});

describe('a version packet [INV-5]', () => {
  const dcid = hex('0102030405060708');
  const scid = hex('1112');

  test('offers our version and one that there will never be, in either order', () => {
    const random = new Prng(1);
    const firsts = new Set<number>();
    for (let i = 0; i < 50; i++) {
      const grease = new Uint8Array(5);
      random.fill(grease);
      const packet = versionPacket(dcid, scid, grease);
      expect(packet[0] & 0xc0).toBe(0xc0);
      const versions = offeredVersions(packet, dcid, scid) ?? [];
      expect(versions).toHaveLength(2);
      expect(versions).toContain(0x4a535031);
      const [other] = versions.filter((version) => version !== 0x4a535031);
      expect((other & 0x0f0f0f0f) >>> 0).toBe(0x0a0a0a0a);
      firsts.add(versions.indexOf(other));
    }
    expect(firsts).toEqual(new Set([0, 1]));
  });

  test('has ids of up to 20 bytes', () => {
    for (const length of [0, 8, 20]) {
      const [to, from] = [dcid, scid].map((id) => Buffer.alloc(length, id));
      expect(offeredVersions(versionPacket(to, from, new Uint8Array(5)), to, from), `${length}`).toHaveLength(
        2,
      );
    }
    const long = Buffer.alloc(21, dcid);
    expect(offeredVersions(versionPacket(long, scid, new Uint8Array(5)), long, scid)).toBeNull();
    expect(offeredVersions(versionPacket(dcid, long, new Uint8Array(5)), dcid, long)).toBeNull();
  });

  test('says nothing to whoever sent no packet with these ids, or when it is malformed', () => {
    const packet = versionPacket(dcid, scid, new Uint8Array(5));
    expect(offeredVersions(packet, scid, dcid)).toBeNull();
    expect(offeredVersions(packet, dcid, hex('1113'))).toBeNull();
    for (let end = 7; end < packet.length; end++) {
      const isList = end === packet.length - 4;
      expect(offeredVersions(packet.subarray(0, end), dcid, scid) !== null, `${end}`).toBe(isList);
    }
  });
});
