import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/random.ts';
import { RoutableIds, ServerIdSource } from '../../src/protocol/crypto/index.ts';
import {
  envelopeHour,
  FrontEnvelopes,
  FrontProbes,
  type ServerState,
} from '../../src/protocol/datagram/index.ts';
import { hex, toHex } from '../protocol/crypto/bytes.ts';
import { vectorCases } from '../protocol/crypto/vector-file.ts';
import { type FrontInput, slowFront } from './slow-front.ts';

const SECRET = new Uint8Array(32).fill(1);
const OTHER = new Uint8Array(32).fill(2);
const HOUR = envelopeHour(1_785_000_000_000);

describe('vectors', () => {
  test.each(vectorCases<FrontInput, { bytes: string }>('front.json', slowFront))(
    '$name [FRT-1, FRT-2, FRT-5, FRT-13]',
    ({ input, output }) => {
      expect(slowFront(input)).toEqual(output);
      expect(fast(input)).toBe(output.bytes);
    },
  );

  test('the worked example of the draft is what the draft says [FRT-2]', () => {
    const ids = new RoutableIds(hex('fdf726a9893ec05c0632d3956680baf0'), 0);
    expect(toHex(ids.encode(0x31441a, 0x9c69c275))).toBe('0767947d29be054a');
    expect(ids.serverIdOf(hex('ff 0767947d29be054a ff'), 1)).toBe(0x31441a);
  });
});

describe('connection ids that can be routed', () => {
  test('say whose they are to who has the secret, whatever server and nonce [FRT-2]', () => {
    const input = fc.record({
      secret: fc.uint8Array({ minLength: 32, maxLength: 32 }),
      serverId: fc.nat(2 ** 24 - 1),
      nonce: fc.nat(2 ** 32 - 1),
    });
    fc.assert(
      fc.property(input, ({ secret, serverId, nonce }) => {
        const ids = RoutableIds.of(secret);
        const id = ids.encode(serverId, nonce);
        expect(ids.serverIdOf(id, 0)).toBe(serverId);
        expect(toHex(id)).toBe(slowFront({ what: 'id', secret: toHex(secret), serverId, nonce }).bytes);
      }),
      { numRuns: 100 },
    );
  });

  test('look alike for one server and for many: half of their bits differ from one to the next [FRT-2]', () => {
    const source = new ServerIdSource(SECRET, 5, new Prng(1));
    let bits = 0;
    let before = source.next();
    for (let i = 0; i < 500; i++) {
      const id = source.next();
      for (let at = 1; at < 8; at++) bits += popcount(id[at] ^ before[at]);
      before = id;
    }
    expect(bits / 500).toBeGreaterThan(26);
    expect(bits / 500).toBeLessThan(30);
  });

  test('of one process are all different, and begin anywhere [FRT-3]', () => {
    const source = new ServerIdSource(SECRET, 5, new Prng(1));
    const ids = new Set(Array.from({ length: 1_000 }, () => toHex(source.next())));
    expect(ids.size).toBe(1_000);
    const other = new ServerIdSource(SECRET, 5, new Prng(2));
    expect(ids.has(toHex(other.next()))).toBe(false);
  });
});

describe('envelopes', () => {
  test('bring any address of a client to the other side, in both directions [FRT-5]', () => {
    const front = new FrontEnvelopes('front', { current: SECRET });
    const server = new FrontEnvelopes('server', { current: SECRET });
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), fc.integer({ min: 1, max: 65_535 }), (text, port) => {
        const there = front.headerFor(text, port, HOUR) as Uint8Array;
        const { host } = server.addressIn(there, HOUR) as { host: string };
        expect(server.addressIn(there, HOUR)).toMatchObject({ port });
        const back = server.headerFor(host, port, HOUR) as Uint8Array;
        expect(front.addressIn(back, HOUR)).toMatchObject({ host, port });
        // Neither side takes its own for the other's.
        expect(front.addressIn(there, HOUR)).toBeNull();
        expect(server.addressIn(back, HOUR)).toBeNull();
      }),
      { numRuns: 100 },
    );
  });

  test('with any bit changed are nobody’s, also when the same was found good before [FRT-6]', () => {
    const front = new FrontEnvelopes('front', { current: SECRET });
    const server = new FrontEnvelopes('server', { current: SECRET });
    const header = front.headerFor('192.0.2.1', 7, HOUR) as Uint8Array;
    expect(server.addressIn(header, HOUR)).not.toBeNull();
    for (let bit = 0; bit < 8 * header.length; bit++) {
      const forged = header.slice();
      forged[bit >> 3] ^= 1 << (bit & 7);
      expect(server.addressIn(forged, HOUR)).toBeNull();
    }
    for (let length = 0; length < header.length; length++)
      expect(server.addressIn(header.subarray(0, length), HOUR)).toBeNull();
  });

  test('are good in their hour, and in the ones beside it, also where hours begin again [FRT-6]', () => {
    for (const hour of [HOUR, 0, 65_535]) {
      const front = new FrontEnvelopes('front', { current: SECRET });
      const server = new FrontEnvelopes('server', { current: SECRET });
      const header = front.headerFor('192.0.2.1', 7, hour) as Uint8Array;
      const taken = [-2, -1, 0, 1, 2].map(
        (later) => server.addressIn(header, (hour + later) & 0xffff) !== null,
      );
      expect(taken).toEqual([false, true, true, true, false]);
    }
  });

  test('under the previous secret are taken; what is made is under the current one [FRT-1]', () => {
    const old = new FrontEnvelopes('front', { current: OTHER });
    const server = new FrontEnvelopes('server', { current: SECRET, previous: OTHER });
    expect(server.addressIn(old.headerFor('192.0.2.1', 7, HOUR) as Uint8Array, HOUR)).not.toBeNull();
    const back = server.headerFor('192.0.2.1', 7, HOUR) as Uint8Array;
    expect(old.addressIn(back, HOUR)).toBeNull();
    const both = new FrontEnvelopes('front', { current: OTHER, previous: SECRET });
    expect(both.addressIn(back, HOUR)).not.toBeNull();
  });

  test('cannot say an address that means something on one machine only', () => {
    expect(new FrontEnvelopes('front', { current: SECRET }).headerFor('fe80::1%eth0', 7, HOUR)).toBeNull();
  });
});

test('nothing that is thrown at a reader of envelopes, probes or reports is taken, or throws [FRT-6, FRT-13]', () => {
  const readers = (['front', 'server'] as const).map((side) => new FrontEnvelopes(side, { current: SECRET }));
  const probes = new FrontProbes({ current: SECRET });
  const bytes = fc.tuple(fc.integer({ min: 0x20, max: 0x25 }), fc.uint8Array({ maxLength: 80 }));
  fc.assert(
    fc.property(bytes, ([kind, rest]) => {
      const data = Uint8Array.of(kind, ...rest);
      for (const reader of readers) expect(reader.addressIn(data, HOUR)).toBeNull();
      expect(probes.nonceIn(data)).toBeNull();
      expect(probes.reportIn(data)).toBeNull();
    }),
    { numRuns: 500 },
  );
});

function fast(input: FrontInput): string {
  switch (input.what) {
    case 'id': {
      const { configuration = 0, key, nonce, secret = '', serverId } = input;
      const ids = key === undefined ? RoutableIds.of(hex(secret)) : new RoutableIds(hex(key), configuration);
      return toHex(ids.encode(serverId, nonce));
    }
    case 'envelope': {
      const envelopes = new FrontEnvelopes(input.side, { current: hex(input.secret) });
      return toHex(envelopes.headerFor(input.host, input.port, input.hour) as Uint8Array);
    }
    case 'probe':
      return toHex(new FrontProbes({ current: hex(input.secret) }).probe(hex(input.nonce)));
    case 'report': {
      const probes = new FrontProbes({ current: hex(input.secret) });
      const report = probes.report({
        nonce: hex(input.nonce),
        state: input.state as ServerState,
        serverId: input.serverId,
        connections: input.connections,
      });
      expect(probes.reportIn(report)).toMatchObject({
        state: input.state,
        serverId: input.serverId,
        connections: input.connections,
      });
      return toHex(report);
    }
  }
}

function popcount(byte: number): number {
  return byte.toString(2).replaceAll('0', '').length;
}
