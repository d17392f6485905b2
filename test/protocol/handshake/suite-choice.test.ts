import { describe, expect, test } from 'vitest';
import { chooseAead } from '../../../src/protocol/crypto/aead.ts';
import { loadAesGcm } from '../../../src/protocol/crypto/aes-gcm.ts';
import type { CipherSuite } from '../../../src/protocol/crypto/cipher-suite.ts';
import type { PacketKeys } from '../../../src/protocol/crypto/packet-keys.ts';
import {
  chooseSuite,
  decodeSuiteCosts,
  encodeSuiteCosts,
  type OfferedSuite,
} from '../../../src/protocol/handshake/suite-choice.ts';
import { CloseCode } from '../../../src/protocol/wire/close-code.ts';
import { hex, toHex } from '../crypto/bytes.ts';
import { application, handshake, isOpenedBy, newClient, newServer, present, run } from './exchange.ts';

const CHACHA = chooseAead('auto');
const AES = loadAesGcm();
if (AES === null) throw new Error('this Node has no AES-256-GCM');
const offer = (chachaNs: number, aesNs: number): OfferedSuite[] => [
  { aead: CHACHA, costNs: chachaNs },
  { aead: AES, costNs: aesNs },
];

describe('the suite of a connection', () => {
  test.each([
    // A client's costs of both, a server's costs of both, what comes of it.
    { client: [1_000, 5_000], server: [1_000, 5_000], id: 1 },
    { client: [9_000, 5_000], server: [1_000, 5_000], id: 2 },
    { client: [9_000, 5_000], server: [1_000, 9_500], id: 1 },
    { client: [1_000, 5_000], server: [9_000, 5_000], id: 2 },
    { client: [0, 0], server: [9_000, 5_000], id: 2 },
    { client: [7_000, 7_000], server: [0, 0], id: 1 },
    { client: [65_535, 1e6], server: [0, 0], id: 1 },
  ])('is the cheaper one for the slower side: $client against $server [HS-61]', (costs) => {
    const client = newClient({ suites: offer(costs.client[0], costs.client[1]) });
    const server = newServer({ suites: offer(costs.server[0], costs.server[1]) });
    expect(run(client, server)).toBe(0);
    for (const epoch of [handshake, application]) {
      const [from, to] = [epoch(client), epoch(server)];
      expect(isOpenedBy(from.seal, to.open)).toBe(true);
      expect(isOpenedBy(to.seal, from.open)).toBe(true);
      for (const keys of [from.seal, to.seal]) expect(suiteOf(keys)).toBe(costs.id);
    }
  });

  test.each([[0], [1]])('is the only one that both speak, whatever it costs [HS-61]', (i) => {
    const both = offer(9_000, 9_000);
    const only = [both[i]];
    for (const [client, server] of [
      [newClient({ suites: only }), newServer({ suites: both })],
      [newClient({ suites: both }), newServer({ suites: only })],
    ] as const) {
      expect(run(client, server)).toBe(0);
      expect(suiteOf(application(client).seal)).toBe(i + 1);
    }
  });

  test('is none, and the handshake over, when they have none in common [HS-60]', () => {
    const [chacha, aes] = offer(0, 0);
    expect(run(newClient({ suites: [chacha] }), newServer({ suites: [aes] }))).toBe(
      CloseCode.NOTHING_IN_COMMON,
    );
    const client = newClient({ suites: [chacha] });
    const server = newServer({ suites: [chacha] });
    server.receive(0, client.hello);
    const hello = present(server.hello).slice();
    hello[3 + 32 + 4] = 0x02;
    expect(client.receive(0, hello)).toBe(CloseCode.CRYPTO_ERROR);
  });

  test('is decided by the server alone where the client says nothing of costs [HS-61]', () => {
    const none = new Map<number, number>();
    expect(chooseSuite(offer(2, 1), [0x2a, 1, 2], none)).toBe(AES);
    expect(chooseSuite(offer(2, 1), [1], none)).toBe(CHACHA);
    expect(chooseSuite(offer(2, 1), [3], none)).toBeNull();
  });
});

describe('what a client says of costs', () => {
  test('is a number of nanoseconds for each suite, at most 65,535 [HS-61]', () => {
    expect(toHex(encodeSuiteCosts(offer(1_350.4, 1e6)))).toBe('0201054602ffff');
    expect(decodeSuiteCosts(hex('0201054602ffff'))).toEqual(
      new Map([
        [1, 1_350],
        [2, 65_535],
      ]),
    );
  });

  test.each(['', '01', '010100', '02010001', '0201000101ffff', '0101000100'])(
    'ends the handshake when it is %s [HS-61]',
    (value) => {
      expect(decodeSuiteCosts(hex(value))).toBeNull();
    },
  );
});

/** Numbers of the suites that keys are of, by what they are made of. */
function suiteOf(keys: PacketKeys | null): number {
  const made: [CipherSuite, object][] = [CHACHA, present(AES)].map((aead) => [
    aead.suite,
    aead.createHeaderKey(new Uint8Array(32)),
  ]);
  return present(made.find(([, key]) => key.constructor === keys?.header.constructor) ?? null)[0].id;
}
