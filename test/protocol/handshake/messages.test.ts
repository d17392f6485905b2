import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import {
  ABSENT,
  type ClientHello,
  decodeClientHello,
  decodeServerHello,
  encodeClientHello,
  encodeMessage,
  MessageType,
  MessageWriter,
  splitMessages,
} from '../../../src/protocol/handshake/messages.ts';
import { CloseCode } from '../../../src/protocol/wire/close-code.ts';
import { VERSION } from '../../../src/protocol/wire/packet-header.ts';
import { hex, joined, toHex } from '../crypto/bytes.ts';
import { newClient, newServer, present } from './exchange.ts';

const NO_BODIES = new Array(6).fill(new Uint8Array(0));
const RANDOM = new Uint8Array(32).fill(0x11);

describe('a client hello', () => {
  test('comes back as it was written, with its greased values around it [HS-4] [HS-5]', () => {
    const random = new Prng(3);
    for (let i = 0; i < 50; i++) {
      const grease = new Uint8Array(16);
      random.fill(grease);
      const hello = {
        extensions: new Map([[0x0007, Uint8Array.of(1, 2)]]),
        random: RANDOM,
        versions: [VERSION],
        suites: [1],
        share: new Uint8Array(1216).fill(5),
        ticketShare: new Uint8Array(32).fill(6),
        largestDatagram: 1200,
        parameters: hex('090101'),
      };
      const decoded = decodeClientHello(encodeClientHello(hello, grease).subarray(3)) as ClientHello;
      expect(decoded).toMatchObject({
        ...hello,
        versions: [expect.any(Number), VERSION],
        suites: [expect.any(Number), 1],
        extensions: expect.any(Map),
      });
      expect([...decoded.extensions].at(-1)).toEqual([0x0007, Uint8Array.of(1, 2)]);
      expect(decoded.versions[0].toString(16)).toMatch(/^(.?a){4}$/);
      expect(decoded.suites[0].toString(16)).toMatch(/^.?a$/);
    }
  });

  test('is taken when it lists what nobody knows, in front and behind [HS-3] [HS-5]', () => {
    const own = decodeClientHello(newClient().hello.subarray(3)) as ClientHello;
    const message = rawHello({
      versions: '03 7a8a9aaa 4a535031 00000000',
      suites: '03 fe 01 fd',
      shares: joined(hex('03 fa 0000 01'), vector(present(own.share)), hex('fb 0002 ffff')),
      parameters: own.parameters,
      extensions: '0101 0000 fafa 0003 010203 ffff 0000',
    });
    expect(newServer().receive(0, message)).toBe(0);
  });

  test('ends with NOTHING_IN_COMMON when no version, no suite or no KEM in it is known [HS-5]', () => {
    const own = decodeClientHello(newClient().hello.subarray(3)) as ClientHello;
    const good = { shares: joined(hex('01 01'), vector(present(own.share))), parameters: own.parameters };
    expect(newServer().receive(0, rawHello(good))).toBe(0);
    for (const bad of [
      { versions: '01 4a535032' },
      { suites: '02 0a 02' },
      { shares: joined(hex('01 09'), vector(present(own.share))) },
    ]) {
      expect(newServer().receive(0, rawHello({ ...good, ...bad }))).toBe(CloseCode.NOTHING_IN_COMMON);
    }
    const withoutTicket = { shares: joined(hex('01 02'), vector(present(own.share))) };
    expect(newServer().receive(0, rawHello({ ...good, ...withoutTicket }))).toBe(CloseCode.CRYPTO_ERROR); // [HS-50]
  });

  test('ends with CRYPTO_ERROR when its share is too short, or not a key [HS-16] [HS-17] [HS-18]', () => {
    const own = decodeClientHello(newClient().hello.subarray(3)) as ClientHello;
    const share = present(own.share);
    const zeroPoint = joined(new Uint8Array(32), share.slice(32));
    const unreduced = share.slice();
    unreduced.fill(0xff, 40, 60);
    for (const bad of [share.slice(1), joined(share, hex('00')), new Uint8Array(0), zeroPoint, unreduced]) {
      const message = rawHello({ shares: joined(hex('01 01'), vector(bad)), parameters: own.parameters });
      expect(newServer().receive(0, message)).toBe(CloseCode.CRYPTO_ERROR);
    }
  });

  test.each([
    ['an empty list of versions', { versions: '00' }],
    ['more versions than there may be', { versions: `11 ${'4a535031'.repeat(17)}` }],
    ['fewer versions than it says', { versions: '0f 4a535031' }],
    ['an empty list of suites', { suites: '00' }],
    ['an empty list of shares', { shares: hex('00') }],
    ['a KEM twice', { shares: hex('02 02 0001 ff 02 0001 ff') }],
    ['a share that runs over the end', { shares: hex('01 01 ffff ff') }],
    ['an extension twice', { extensions: '1a1a 0000 1a1a 0001 00' }],
    ['an extension that is cut short', { extensions: '1a1a 0002 00' }],
    ['half an extension id', { extensions: '1a' }],
    ['a largest datagram below 512', { largestDatagram: 511 }],
    ['a largest datagram above 65,507', { largestDatagram: 65_508 }],
  ])('is malformed with %s [HS-2] [HS-3] [HS-4] [HS-7]', (_, fields) => {
    const message = rawHello(fields);
    expect(decodeClientHello(message.subarray(3))).toBeNull();
    expect(newServer().receive(0, message)).toBe(CloseCode.CRYPTO_ERROR);
  });

  test('is malformed when it is cut at any place but before an extension [HS-2]', () => {
    const { hello } = newClient();
    let taken = 0;
    for (let end = 0; end < hello.length - 3; end++) {
      if (decodeClientHello(hello.subarray(3, 3 + end)) !== null) taken++;
    }
    expect(taken).toBe(1);
  });
});

describe('a server hello', () => {
  test('comes back as it was written, and is malformed when it is cut [HS-2] [HS-6]', () => {
    const server = newServer();
    server.receive(0, newClient().hello);
    const hello = present(server.hello);
    expect(decodeServerHello(hello.subarray(3))).toMatchObject({ version: VERSION, suite: 1, kem: 1 });
    for (let end = 3; end < hello.length; end++) expect(decodeServerHello(hello.subarray(3, end))).toBeNull();
  });

  test('may have extensions that the client does not know, each once [HS-3]', () => {
    const server = newServer();
    server.receive(0, newClient().hello);
    const body = present(server.hello).subarray(3);
    expect(decodeServerHello(joined(body, hex('1234 0001 00')))).not.toBeNull();
    expect(decodeServerHello(joined(body, hex('1234 0001 00 1234 0000')))).toBeNull();
  });
});

describe('a string of messages', () => {
  const { PARAMETERS, IDENTITY, SIGNATURE, FINISHED } = MessageType;
  const ORDER = [PARAMETERS, IDENTITY, SIGNATURE, FINISHED];
  const MAY_BE_MISSING = [IDENTITY, SIGNATURE];

  test('may leave out what is optional, and nothing else, and keeps the order [HS-1] [HS-2]', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(...ORDER, MessageType.PAYLOAD), { maxLength: 6 }),
        fc.array(fc.uint8Array({ maxLength: 5 }), { minLength: 6, maxLength: 6 }),
        (types, bodies) => {
          const wholes = types.map((type, i) => encodeMessage(type, bodies[i]));
          const messages = splitMessages(joined(...wholes), ORDER, MAY_BE_MISSING);
          // The slow twin: what there may be, written down.
          const isGood = [
            [PARAMETERS, IDENTITY, SIGNATURE, FINISHED],
            [PARAMETERS, SIGNATURE, FINISHED],
            [PARAMETERS, IDENTITY, FINISHED],
            [PARAMETERS, FINISHED],
          ].some((good) => good.join() === types.join());
          expect(messages !== null).toBe(isGood);
          if (messages === null) return;
          for (const [i, type] of ORDER.entries()) {
            const at = types.indexOf(type);
            expect(messages[i].whole).toEqual(at < 0 ? new Uint8Array(0) : wholes[at]);
            expect(messages[i] === ABSENT).toBe(at < 0);
          }
        },
      ),
      {
        numRuns: 300,
        examples: [
          [ORDER, NO_BODIES],
          [[PARAMETERS, FINISHED], NO_BODIES],
        ],
      },
    );
  });
});

describe('a message', () => {
  test('begins with its type and the length of its body', () => {
    expect(toHex(new MessageWriter().u8(1).u16(0x203).u32(0x4050607).vector(hex('08')).finish(6))).toBe(
      '06000a01020304050607000108',
    );
  });
});

interface RawHello {
  versions: string;
  suites: string;
  shares: Uint8Array;
  largestDatagram: number;
  parameters: Uint8Array;
  extensions: string;
}

/** A CLIENT_HELLO with any fields. */
function rawHello(fields: Partial<RawHello>): Uint8Array {
  const {
    versions = '01 4a535031',
    suites = '01 01',
    shares = hex('01 01 0001 00'),
    extensions = '',
  } = fields;
  const { largestDatagram = 1200, parameters = hex('0900') } = fields;
  return new MessageWriter()
    .bytes(RANDOM)
    .bytes(hex(versions))
    .bytes(hex(suites))
    .bytes(shares)
    .u16(largestDatagram)
    .vector(parameters)
    .bytes(hex(extensions))
    .finish(1);
}

function vector(bytes: Uint8Array): Uint8Array {
  return joined(Uint8Array.of(bytes.length >> 8, bytes.length), bytes);
}
