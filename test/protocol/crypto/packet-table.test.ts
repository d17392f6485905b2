import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { nativeAddon, whyNotNative } from '../../../src/base/native-addon.ts';
import { Prng } from '../../../src/base/random.ts';
import type { PacketNumberSpace } from '../../../src/protocol/connection/packet-number-space.ts';
import {
  OpenResult,
  openInto,
  ReceiveScratch,
  takeOpened,
} from '../../../src/protocol/connection/packet-opening.ts';
import { type AeadProvider, chooseAead } from '../../../src/protocol/crypto/aead.ts';
import { loadAesGcm } from '../../../src/protocol/crypto/aes-gcm.ts';
import { KeyGenerations } from '../../../src/protocol/crypto/key-generations.ts';
import { nextTrafficSecret, packetKeys, updatedKeys } from '../../../src/protocol/crypto/key-schedule.ts';
import type { PacketKeys } from '../../../src/protocol/crypto/packet-keys.ts';
import { ReplayWindow, sealPacket } from '../../../src/protocol/crypto/packet-protection.ts';
import { FAILED, LEFT, PacketTable, SEALED } from '../../../src/protocol/crypto/packet-table.ts';
import { TransmitBatch } from '../../../src/protocol/datagram/index.ts';
import { PacketType, TAG_BYTES } from '../../../src/protocol/wire/packet-header.ts';

/** What the native addon makes of batches, beside what comes of the same packets one by one without it. */

if (nativeAddon() === null) console.error(`NOT TESTED: the native addon, for ${whyNotNative()}`);

/** With the addon, and the same suite without it. */
const SUITES: [string, AeadProvider, AeadProvider][] = [
  ['ChaCha20-Poly1305', chooseAead('auto'), chooseAead('node')],
  ['AES-256-GCM', loadAesGcm(true) as AeadProvider, loadAesGcm() as AeadProvider],
];
const ROOM = 8_192;

describe.skipIf(nativeAddon() === null).each(SUITES)('%s', (_, native, plain) => {
  test('a batch of any packets is sealed to the same bytes, whichever keys, headers, numbers and lengths they have [PKT-10] [PKT-12]', () => {
    const packet = fc.record({
      key: fc.nat(2),
      isLong: fc.boolean(),
      firstBits: fc.nat(0x3f),
      idBytes: fc.nat(20),
      payloadBytes: fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 1_500 })),
      number: NUMBER,
    });
    let sealed = 0;
    fc.assert(
      fc.property(fc.array(packet, { minLength: 1, maxLength: 20 }), (packets) => {
        const twins = [native, plain].map((provider) => {
          const keys = [0, 1, 2].map((i) => packetKeys(provider, secretOf(i)));
          const batch = new TransmitBatch(packets.length * 1_600, packets.length);
          for (const { key, isLong, firstBits, idBytes, payloadBytes, number } of packets) {
            const start = batch.used;
            const first = (isLong ? 0xc0 : 0x40) | firstBits;
            const numberStart = start + 1 + idBytes;
            // Some lack the padding that their sample needs: they are not sealed.
            const end = numberStart + (first & 3) + 1 + payloadBytes;
            batch.arena.fill(key + payloadBytes, start, end);
            batch.arena[start] = first;
            batch.pushPacket(keys[key], start, numberStart, end, number, Uint8Array.of(batch.count));
            batch.push(end + TAG_BYTES - start, 'host', 1);
          }
          const failed: number[] = [];
          batch.seal((id) => failed.push(id[0]));
          return { batch, failed };
        });
        const [ours, pure] = twins;
        expect(ours.failed).toEqual(pure.failed);
        expect(ours.batch.count).toBe(pure.batch.count);
        for (let i = 0; i < ours.batch.count; i++) {
          assert.deepEqual(datagramOf(ours.batch, i), datagramOf(pure.batch, i));
          sealed++;
        }
      }),
    );
    expect(sealed).toBeGreaterThan(100);
  });

  test('what cannot be a packet of the arena is left as it is', () => {
    const keys = packetKeys(native, secretOf(0));
    const offset = fc.oneof(fc.integer({ min: -40, max: 340 }), fc.integer(), fc.constant(2 ** 31 - 1));
    fc.assert(
      fc.property(offset, offset, offset, NUMBER, (start, numberStart, end, number) => {
        for (const way of ['seal', 'open'] as const) {
          const table = new PacketTable();
          const arena = new Uint8Array(300).fill(0x41);
          table.add(start, numberStart, end, keys.native, number);
          table[way](arena);
          const room = way === 'seal' ? 300 - TAG_BYTES : 300;
          const bytes = way === 'seal' ? 4 : 20;
          const lies = start >= 0 && numberStart > start && end - numberStart >= bytes && end <= room;
          if (lies) continue;
          expect(table.result(0)).toBe(LEFT);
          expect(arena.every((byte) => byte === 0x41)).toBe(true);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test('a packet without keys is left, among others that are sealed', () => {
    const keys = packetKeys(native, secretOf(0));
    const table = new PacketTable();
    const arena = new Uint8Array(300).fill(0x41);
    table.add(0, 9, 50, keys.native, 1);
    table.add(100, 109, 150, null, 2);
    table.add(200, 209, 250, keys.native, 3);
    table.seal(arena);
    expect([0, 1, 2].map((row) => table.result(row))).toEqual([SEALED, LEFT, SEALED]);
    expect(arena.subarray(100, 200).every((byte) => byte === 0x41)).toBe(true);
  });

  test('memory of several threads is left to JavaScript', () => {
    const keys = packetKeys(native, secretOf(0));
    const table = new PacketTable();
    const shared = new Uint8Array(new SharedArrayBuffer(100)).fill(0x41);
    table.add(0, 9, 50, keys.native, 1);
    table.seal(shared);
    expect(table.result(0)).toBe(LEFT);
    const own = shared.slice();
    sealPacket(keys, shared, 0, 9, 50, 1);
    sealPacket(packetKeys(plain, secretOf(0)), own, 0, 9, 50, 1);
    expect(shared).toEqual(own);
  });

  test('keys are zeroed when the table is cleared, and wiped ones seal nothing', () => {
    const keys = packetKeys(native, secretOf(0));
    const table = new PacketTable();
    table.add(0, 9, 50, keys.native, 1);
    table.seal(new Uint8Array(100));
    table.clear();
    const inside = table as unknown as { keys: Int32Array };
    expect(inside.keys.length).toBeGreaterThan(0);
    expect(inside.keys.every((word) => word === 0)).toBe(true);
    const row = keys.native;
    keys.wipe();
    expect(row?.ints.every((word) => word === 0)).toBe(true);
    expect(() => sealPacket(keys, new Uint8Array(100), 0, 9, 50, 1)).toThrow();
  });

  test('keys that stay set up from call to call take turns, fail and go as if there were no others', () => {
    const prng = new Prng(7);
    // More than find a place, some of which begin alike.
    const secrets = Array.from({ length: 60 }, (_, i) => secretOf(i));
    const keys = secrets.map((secret) => [packetKeys(native, secret), packetKeys(plain, secret)]);
    const seen = { opened: 0, failed: 0, wiped: 0 };
    for (let number = 0; number < 4_000; number++) {
      const i = prng.below(prng.chance(0.3) ? 60 : 3);
      const [ours, pure] = keys[i];
      const sealed = new Uint8Array(50 + TAG_BYTES).fill(0x41);
      sealed.set([number >> 8, number & 0xff], 9);
      const twin = sealed.slice();
      const table = new PacketTable();
      table.add(0, 9, 50, ours.native, number);
      table.seal(sealed);
      sealPacket(pure, twin, 0, 9, 50, number);
      assert.deepEqual(sealed, twin);
      const isForged = prng.chance(0.25);
      if (isForged) sealed[30 + prng.below(36)] ^= 1 << prng.below(8);
      table.clear();
      table.add(0, 9, sealed.length, ours.native, number - 1);
      table.open(sealed);
      table.clear();
      assert.equal(table.result(0) === FAILED, isForged);
      seen[isForged ? 'failed' : 'opened']++;
      if (!prng.chance(0.05)) continue;
      ours.wipe();
      keys[i][0] = packetKeys(native, secrets[i]);
      seen.wiped++;
    }
    expect(Math.min(seen.opened, seen.failed, seen.wiped)).toBeGreaterThan(100);
  });

  test('what comes is opened with the same results, in the same order, with all that a peer or anybody else may send [PKT-15] [PKT-16] [PKT-18] [PKT-27]', () => {
    const seen = new Map<string, number>();
    const count = (what: string) => seen.set(what, (seen.get(what) ?? 0) + 1);
    fc.assert(
      fc.property(
        fc.array(fc.array(ARRIVAL, { maxLength: 12 }), { maxLength: 4 }),
        NUMBER,
        fc.nat(),
        (batches, first, seed) => {
          const sender = new Sender(plain, first, new Prng(seed));
          const ours = new Receiver(native, first);
          const pure = new Receiver(plain, first);
          for (const arrivals of batches) {
            const datagrams = arrivals.flatMap((arrival) => sender.datagram(arrival));
            const found = ours.receiveBatch(datagrams, count);
            const expected = datagrams.map((datagram) => pure.receive(datagram.slice()));
            assert.deepEqual(found, expected);
            expect(ours.replay.largest).toBe(pure.replay.largest);
            for (const { result } of expected) count(result);
          }
        },
      ),
      { numRuns: 400 },
    );
    for (const what of ['native', 'left', 'OPENED', 'FAILED', 'REPLAYED', 'UPDATED'])
      expect({ what, times: (seen.get(what) ?? 0) > 5 }).toEqual({ what, times: true });
  });
});

const NUMBER = fc.oneof(
  fc.nat(300),
  fc.nat(),
  fc.integer({ min: 2 ** 32 - 200, max: 2 ** 32 + 200 }),
  fc.integer({ min: 2 ** 53 - 300, max: 2 ** 53 - 1 }),
  fc.maxSafeNat(),
);

/** What may come. */
interface Arrival {
  readonly kind:
    | 'honest'
    | 'again'
    | 'forged'
    | 'garbage'
    | 'short'
    | 'update'
    | 'old keys'
    | 'long'
    | 'reserved';
  readonly gap: number;
  readonly bytes: number;
  readonly bits: number;
}
const ARRIVAL: fc.Arbitrary<Arrival> = fc.record({
  kind: fc.oneof(
    { weight: 8, arbitrary: fc.constant('honest' as const) },
    {
      weight: 8,
      arbitrary: fc.constantFrom(
        'again',
        'forged',
        'garbage',
        'short',
        'update',
        'old keys',
        'long',
        'reserved',
      ),
    },
  ),
  gap: fc.oneof({ weight: 8, arbitrary: fc.nat(3) }, fc.nat(40_000), fc.nat(2 ** 31)),
  bytes: fc.nat(200),
  bits: fc.nat(0xff),
});

/** Seals what an honest peer sends, and makes what others send. */
class Sender {
  private keys: PacketKeys;
  private old: PacketKeys;
  private secret: Uint8Array;
  private readonly provider: AeadProvider;
  private readonly prng: Prng;
  private number: number;
  private last: Uint8Array = new Uint8Array(40);
  private readonly long: PacketKeys;

  constructor(provider: AeadProvider, first: number, prng: Prng) {
    this.provider = provider;
    this.prng = prng;
    this.number = first;
    this.secret = secretOf(0);
    this.keys = packetKeys(provider, this.secret);
    this.old = this.keys;
    this.long = packetKeys(provider, secretOf(9), PacketType.HANDSHAKE);
  }

  datagram({ kind, gap, bytes, bits }: Arrival): Uint8Array[] {
    if (kind === 'again') return [this.last.slice()];
    if (kind === 'forged') {
      const forged = this.sealed(this.keys, gap, bytes, 0);
      forged[bits % forged.length] ^= 1 << (bits & 7);
      return [forged];
    }
    if (kind === 'garbage' || kind === 'short') {
      const garbage = new Uint8Array(kind === 'short' ? 10 + (bytes % 19) : 29 + bytes);
      this.prng.fill(garbage);
      garbage[0] = (garbage[0] & 0x3f) | 0x40;
      return [garbage];
    }
    if (kind === 'update') {
      this.old = this.keys;
      this.secret = nextTrafficSecret(this.secret);
      this.keys = updatedKeys(this.provider, this.secret, this.keys);
    }
    const keys = kind === 'old keys' ? this.old : kind === 'long' ? this.long : this.keys;
    this.last = this.sealed(keys, gap, bytes, kind === 'reserved' ? bits & 0x38 : 0);
    return [this.last.slice()];
  }

  private sealed(keys: PacketKeys, gap: number, bytes: number, bits: number): Uint8Array {
    this.number = Math.min(this.number + 1 + gap, Number.MAX_SAFE_INTEGER);
    const numberBytes = gap < 100 ? 1 + (bytes & 3) : 4;
    const packet = new Uint8Array(9 + numberBytes + 4 + bytes + TAG_BYTES);
    this.prng.fill(packet);
    const form = keys === this.long ? 0xe0 : 0x40 | (keys.phase << 2);
    packet[0] = form | (bits & (keys === this.long ? 0x0c : 0x18)) | (numberBytes - 1);
    for (let i = 0; i < numberBytes; i++)
      packet[9 + i] = Math.floor(this.number / 256 ** (numberBytes - 1 - i));
    sealPacket(keys, packet, 0, 9, packet.length - TAG_BYTES, this.number);
    return packet;
  }
}

/** Opens what comes: in batches of one memory, or one by one. */
class Receiver {
  readonly replay = new ReplayWindow();
  private readonly scratch = new ReceiveScratch();
  private readonly generations: KeyGenerations;
  private readonly space: PacketNumberSpace;
  /** Of long headers. */
  private readonly handshake: PacketNumberSpace;
  private current: PacketKeys;
  private readonly table = new PacketTable();

  constructor(provider: AeadProvider, first: number) {
    const secret = secretOf(0);
    this.current = packetKeys(provider, secret);
    const long = packetKeys(provider, secretOf(9), PacketType.HANDSHAKE);
    this.generations = new KeyGenerations(provider, false, { client: secret, server: secretOf(1) });
    const generations = this.generations;
    this.space = { keys: { toOpen: () => this.current, generations }, replay: this.replay } as never;
    this.handshake = { keys: { toOpen: () => long, generations }, replay: new ReplayWindow() } as never;
    if (first > 0) this.replay.mark(first);
  }

  receiveBatch(datagrams: readonly Uint8Array[], count: (what: string) => void) {
    const { table } = this;
    const arena = new Uint8Array(ROOM);
    let used = 0;
    const rows = datagrams.map((datagram) => {
      const start = used + (datagram.length % 3);
      arena.set(datagram, start);
      used = start + datagram.length;
      const { keys, replay } = this.spaceOf(datagram);
      const key = keys.toOpen(PacketType.ONE_RTT)?.native ?? null;
      const row = table.add(start, start + 9, used, key, replay.largest);
      return { row, data: arena.subarray(start, used) };
    });
    table.open(arena);
    table.clear();
    return rows.map(({ row, data }, i) => {
      if (table.result(row) === LEFT) {
        assert.equal(Buffer.compare(data, datagrams[i]), 0);
        count('left');
        return this.receive(data);
      }
      count('native');
      return this.found(takeOpened(this.scratch, this.spaceOf(data), table, row, 0, data.length), data);
    });
  }

  receive(data: Uint8Array) {
    return this.found(openInto(this.scratch, this.spaceOf(data), data, 0, 9, data.length), data);
  }

  private spaceOf(datagram: Uint8Array): PacketNumberSpace {
    return (datagram[0] & 0x80) === 0 ? this.space : this.handshake;
  }

  private found(result: OpenResult, data: Uint8Array) {
    const { number, payloadStart, payloadEnd, headerBits } = this.scratch.opened;
    const name = Object.keys(OpenResult)[Object.values(OpenResult).indexOf(result)];
    if (result === OpenResult.UPDATED)
      this.current = this.generations.advanceOpening(this.current, number, () => {});
    if (result === OpenResult.FAILED || result === OpenResult.REPLAYED) return { result: name };
    return {
      result: name,
      number,
      payloadStart,
      headerBits,
      payload: data.slice(payloadStart, payloadEnd),
      first: data[0],
    };
  }
}

function secretOf(seed: number): Uint8Array {
  return new Uint8Array(32).map((_, i) => 7 * i + seed);
}

function datagramOf(batch: TransmitBatch, i: number): Uint8Array {
  return batch.arena.slice(batch.offset[i], batch.offset[i] + batch.length[i]);
}
