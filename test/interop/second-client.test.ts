import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/random.ts';
import {
  COMPRESSION_OFF,
  CompressionMethod,
  CompressionMode,
  Dictionary,
  DictionarySet,
} from '../../src/protocol/compress/index.ts';
import { chooseAead } from '../../src/protocol/crypto/aead.ts';
import { loadAesGcm } from '../../src/protocol/crypto/aes-gcm.ts';
import { Identity } from '../../src/protocol/crypto/identity.ts';
import { PROTECTION_AUTO, ProtectionMode } from '../../src/protocol/fec/protection.ts';
import { CloseCode } from '../../src/protocol/wire/close-code.ts';
import type { LinkOptions } from '../../src/udp/link.ts';
import { connectionsOf } from '../protocol/connection/packet-log.ts';
import { INTEROP_IDENTITY } from '../sim/interop/interop-world.ts';
import { EchoWorld, type EchoWorldOptions } from './echo-world.ts';
import { SecondClient, type SecondClientOptions, type SecondResumption } from './second-client.ts';
import { counted, Fields, messageFrame, numbersFrame, streamOpenFrame, u8, u32 } from './second-codec.ts';
import { SecondIdentity } from './second-crypto.ts';

const PIN = Buffer.from(INTEROP_IDENTITY.fingerprint);

/** A second client whose handshake is complete, or that was told why not. */
function begin(options: Partial<SecondClientOptions> = {}, world: EchoWorldOptions = {}) {
  const echo = new EchoWorld(world);
  const client = new SecondClient({ pin: PIN, ...options });
  echo.client = client;
  return { echo, client };
}

function connected(options: Partial<SecondClientOptions> = {}, world: EchoWorldOptions = {}) {
  const { echo, client } = begin(options, world);
  echo.until(() => client.isConfirmed, 'the handshake');
  return { echo, client };
}

function contentOf(length: number, tag: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, i) => (i * 31 + tag * 7 + (i >> 8)) & 0xff));
}

/** Messages there and back on a stream, which both sides end. */
function exchange({ echo, client }: ReturnType<typeof begin>, messages: readonly Buffer[]): void {
  const stream = client.openStream('second');
  for (const message of messages) client.send(stream, message);
  client.end(stream);
  echo.until(() => stream.isEnded || client.fault !== null, 'what was sent back');
  expect(client.fault).toBeNull();
  expect(stream.messages).toEqual(messages);
}

describe('A client that was written from the specification alone', () => {
  test.each(['second-client', 'second-codec', 'second-crypto', 'second-envelope', 'second-repairs'])(
    'has nothing of src/ in %s',
    (name) => {
      const source = readFileSync(new URL(`${name}.ts`, import.meta.url), 'utf8');
      const imported = [...source.matchAll(/from '([^']+)'/g)].map(([, from]) => from);
      expect(
        imported.filter((from) => !/^(node:crypto|node:zlib|@noble\/.*|\.\/second-\w+\.ts)$/.test(from)),
      ).toEqual([]);
    },
  );

  test('connects, sends, is answered, and closes, by the rules that it read [HS-8] [HS-20] [PKT-12] [PKT-13] [CON-36]', () => {
    const { echo, client } = connected();
    exchange(
      { echo, client },
      ['hello', '', 'a second one'].map((text) => Buffer.from(text)),
    );
    const [connection] = connectionsOf(echo.server.endpoint);
    const ours = connection.handshake.exported('test', Buffer.from('context'), 40);
    expect(Buffer.from(ours ?? [])).toEqual(client.exported('test', Buffer.from('context'), 40)); // [HS-29]
    client.close(7);
    echo.until(() => echo.serverClosed !== null, 'the close');
    expect(echo.serverClosed).toMatchObject({ by: 'peer', scope: 'application', code: 7 });
    expect(client.packetsUnopened).toBe(0);
  });

  test.each<[string, LinkOptions]>([
    ['loses a fifth', { delayMs: 15, loss: 0.2 }],
    ['changes their order', { delayMs: 5, jitterMs: 40, jitterReorders: true }],
    ['doubles half of them', { delayMs: 5, duplicate: 0.5 }],
    ['damages a tenth', { delayMs: 5, corrupt: 0.1 }],
  ])('gets everything over a path that %s', (_, link) => {
    for (let seed = 1; seed <= 3; seed++) {
      const config = { handshakeTimeoutMs: 60_000 };
      const pair = connected({}, { seed, link, config });
      exchange(pair, [contentOf(3_000, 1), contentOf(10, 2), contentOf(1_200, 3)]);
    }
  });

  test('speaks AES-256-GCM with a server that takes it for the faster one [HS-60] [HS-61]', () => {
    const suites = [chooseAead('auto'), loadAesGcm()].flatMap((aead) =>
      aead === null ? [] : [{ aead, costNs: 5_000 }],
    );
    const { echo, client } = connected({ suites: [1, 2] }, { config: { suites } });
    expect(client.suite).toBe(2);
    exchange({ echo, client }, [contentOf(3_000, 1)]);
    expect(connected({ suites: [1] }, { config: { suites } }).client.suite).toBe(1);
  });

  test('verifies both signatures of a hybrid identity [HS-26]', () => {
    const identity = Identity.generate(new Prng(3), { hybrid: true });
    const pair = connected({ pin: Buffer.from(identity.fingerprint) }, { accept: { identity } });
    exchange(pair, [Buffer.from('post-quantum')]);
  });

  test('follows a Retry, and is given a token for the next time [HS-30] [HS-37] [FRM-15] [PKT-21]', () => {
    for (const mtu of [512, 1_200]) {
      const pair = connected({ mtu }, { accept: { retry: { mode: 'always', epochMs: 0 } } });
      expect(pair.client.hasFollowedRetry).toBe(true);
      // One for each datagram of the hello, of which the client follows the first.
      const { retriesSent, handshakesStarted } = pair.echo.server.endpoint.counters;
      expect(retriesSent).toBeGreaterThan(1);
      expect(handshakesStarted).toBe(1);
      exchange(pair, [contentOf(3_000, 1)]);
      expect(pair.client.heard.get(0x08)).toBeGreaterThan(0);
    }
  });

  test('is told which versions the server speaks when it speaks another [INV-5]', () => {
    const echo = new EchoWorld();
    const answers: Buffer[] = [];
    const port = echo.interop.stranger('older', 1_000, ({ data }) => answers.push(Buffer.from(data)));
    const [dcid, scid] = [Buffer.from('destination'), Buffer.from('mine')];
    const head = Buffer.concat([u8(0xc0), u32(0x5a1b2c3d), u8(dcid.length), dcid, u8(scid.length), scid]);
    port.send(Buffer.concat([head, Buffer.alloc(1_200 - head.length, 7)]), 'server', 4_577);
    echo.interop.run(200);
    expect(answers).toHaveLength(1);
    const fields = new Fields(answers[0]);
    expect(fields.u8() & 0xc0).toBe(0xc0);
    expect(fields.u32()).toBe(0);
    expect(fields.take(fields.u8())).toEqual(scid);
    expect(fields.take(fields.u8())).toEqual(dcid);
    const versions = Array.from({ length: fields.left / 4 }, () => fields.u32());
    expect(versions).toContain(0x4a535031);
    expect(versions.filter((version) => (version & 0x0f0f0f0f) === 0x0a0a0a0a)).toHaveLength(1);
  });

  test('updates its keys, and goes along when the server does [PKT-18] [PKT-27] [HS-28]', () => {
    const config = { keyUpdate: { packets: 10, ageMs: 3_600_000 } };
    const pair = connected(
      {},
      { config, link: { delayMs: 5, loss: 0.05, jitterMs: 10, jitterReorders: true } },
    );
    exchange(pair, [contentOf(40_000, 1)]);
    const [before] = pair.client.keyUpdates;
    expect(before).toBeGreaterThan(2);
    pair.client.updateKeys();
    exchange(pair, [contentOf(2_000, 2)]);
    expect(pair.client.keyUpdates[0]).toBeGreaterThan(before);
  });

  test.each<[string, Partial<SecondResumption>]>([
    ['a hybrid share', {}],
    ['X25519 alone [HS-50]', { kem: 2 }],
  ])('resumes with the ticket that it was given, and %s: nobody signs [HS-32] [HS-33] [HS-55]', (_, how) => {
    const { echo, client } = returning(how);
    echo.until(() => client.isConfirmed, 'the handshake');
    expect([client.isResumed, client.isEarlyTaken]).toEqual([true, false]);
    expect(echo.server.endpoint.counters).toMatchObject({ ticketsAccepted: 1 });
    exchange({ echo, client }, [contentOf(3_000, 1)]);
    echo.until(() => client.tickets.length > 0, 'the next ticket');
  });

  test('is heard before the handshake is complete, once [HS-34] [HS-52] [HS-53] [HS-59]', () => {
    const { echo, client, resumption } = returning({ isEarly: true, kem: 2 });
    sendEarly({ echo, client });
    expect([client.isResumed, client.isEarlyTaken]).toEqual([true, true]);
    expect(echo.server.endpoint.counters).toMatchObject({ earlyDataAccepted: 1 });
    client.close(0);
    echo.pump();
    // The same ticket again, as somebody would who captured it: with early data nobody takes it.
    const again = new SecondClient({ pin: PIN, resumption: { ...resumption, kem: 1 } });
    echo.client = again;
    sendEarly({ echo, client: again });
    expect([again.isResumed, again.isEarlyTaken]).toEqual([false, false]);
    expect(echo.server.endpoint.counters).toMatchObject({ earlyDataAccepted: 1 });
  });

  test.each<[string, (resumption: SecondResumption) => SecondResumption]>([
    [
      'an age that is another one [HS-52]',
      (resumption) => ({ ...resumption, ageMs: resumption.ageMs + 20_000 }),
    ],
    [
      'a ticket that nobody can read [HS-33]',
      (resumption) => ({ ...resumption, ticket: { ...resumption.ticket, ticket: Buffer.alloc(120, 7) } }),
    ],
  ])('sends in 1-RTT packets what was refused early, with %s [HS-58]', (_, change) => {
    const { echo, resumption } = returning({ isEarly: true });
    const client = new SecondClient({ pin: PIN, resumption: change(resumption) });
    echo.client = client;
    sendEarly({ echo, client });
    expect(client.isEarlyTaken).toBe(false);
    expect(echo.server.endpoint.counters).toMatchObject({ earlyDataAccepted: 0 });
  });

  test('shows its ticket again, with the same binder, after a Retry [HS-30] [HS-33]', () => {
    const retry = { mode: 'always', epochMs: 0 } as const;
    const { echo, client } = returning({ isEarly: true }, { retry });
    sendEarly({ echo, client });
    expect([client.hasFollowedRetry, client.isResumed]).toEqual([true, true]);
  });

  test('is told that a binder is wrong [HS-33]', () => {
    const { echo, resumption } = returning();
    const client = new SecondClient({
      pin: PIN,
      resumption,
      tamper: (hello) => withByte(hello, hello.length - 1, hello[hello.length - 1] ^ 1),
    });
    echo.client = client;
    echo.until(() => client.closed !== null, 'the end');
    expect(client.closed).toMatchObject({ scope: 0, code: CloseCode.CRYPTO_ERROR });
  });

  test.each([
    ['an identity', {}],
    ['a hybrid identity', { isHybrid: true }],
  ])(
    'proves %s to a server that asks, and shows none to one that does not [HS-26] [HS-27] [HS-42]',
    (_, how) => {
      const identity = new SecondIdentity(how);
      const fingerprints = [true, false].map((asksForIdentity) => {
        const access = { asksForIdentity, isDecided: false };
        const pair = connected({ identity }, { accept: { access } });
        expect(pair.client.isAskedWho).toBe(asksForIdentity);
        exchange(pair, [contentOf(3_000, 1)]);
        const [{ handshake }] = connectionsOf(pair.echo.server.endpoint);
        return handshake.peerFingerprint === null ? null : Buffer.from(handshake.peerFingerprint);
      });
      expect(fingerprints).toEqual([identity.fingerprint, null]);
      const nobody = connected({}, { accept: { access: { asksForIdentity: true, isDecided: false } } });
      exchange(nobody, [contentOf(10, 1)]);
    },
  );

  test.each<[string, Buffer, Buffer | null]>([
    ['nothing, which is answered with nothing', Buffer.alloc(0), null],
    ['a token, which is answered', Buffer.from('let me in'), Buffer.from('welcome')],
    [
      'all that it may, which is answered with as much as there may be',
      contentOf(8_192, 1),
      contentOf(1_024, 2),
    ],
  ])(
    'says %s, and is let in; nothing of it is seen before [HS-43] [HS-44] [FRM-18]',
    (_, payload, answer) => {
      const identity = new SecondIdentity();
      const accept = { access: { asksForIdentity: true, isDecided: true } };
      const { echo, client } = begin({ identity, payload }, { accept, link: { delayMs: 10, loss: 0.1 } });
      const asked: { payload: string; who: string }[] = [];
      echo.onAdmission = (connection) => {
        const { peerFingerprint, peerPayload } = connection.handshake;
        const [who, said] = [peerFingerprint, peerPayload].map((bytes) =>
          Buffer.from(bytes ?? []).toString('hex'),
        );
        asked.push({ payload: said, who });
        echo.interop.world.clock.schedule(echo.interop.now + 500_000, () => {
          expect(client.admitted).toBeUndefined();
          echo.server.endpoint.admit(connection, answer, echo.interop.now);
          echo.server.node.wake();
        });
      };
      echo.until(() => client.admitted !== undefined, 'the decision');
      expect(client.admitted).toEqual(answer);
      expect(asked).toEqual([
        { payload: payload.toString('hex'), who: identity.fingerprint.toString('hex') },
      ]);
      exchange({ echo, client }, [contentOf(2_000, 3)]);
    },
  );

  test('begins again without its ticket when the server wants that, and says what was early once [HS-50] [HS-58]', () => {
    for (const retry of ['never', 'always'] as const) {
      const { echo, resumption } = returning(
        { isEarly: true, kem: 2 },
        { retry: { mode: retry, epochMs: 0 } },
      );
      const unread = { ...resumption.ticket, ticket: Buffer.alloc(120, 7) };
      const client = new SecondClient({ pin: PIN, resumption: { ...resumption, ticket: unread } });
      echo.client = client;
      sendEarly({ echo, client });
      expect([client.hasBegunAgain, client.isResumed, client.isEarlyTaken]).toEqual([true, false, false]);
    }
  });

  test.each<[string, LinkOptions]>([
    ['good', { delayMs: 20 }],
    ['bad', { delayMs: 20, loss: 0.1, jitterMs: 20, jitterReorders: true }],
  ])(
    'moves to another address over a %s path, and is followed; nobody sees that it is the same [CON-80] [CON-83] [CON-84] [CON-89] [FRM-20]',
    (_, link) => {
      const pair = connected({}, { link });
      const { echo, client } = pair;
      echo.interop.link('elsewhere', 'server', link);
      const before = contentOf(20_000, 1);
      exchange(pair, [before]);
      echo.until(() => (client.heard.get(0x1a) ?? 0) > 0, 'an id for another path');
      client.beginMove();
      const stream = client.openStream('moving');
      client.send(stream, contentOf(30_000, 2));
      client.end(stream);
      const [{ path }] = connectionsOf(echo.server.endpoint);
      expect(path.host).toBe('second');
      echo.until(() => stream.isEnded && client.hasMoved, 'the move, and what was sent meanwhile');
      expect(stream.messages).toEqual([contentOf(30_000, 2)]);
      exchange(pair, [contentOf(3_000, 3)]);
      expect(connectionsOf(echo.server.endpoint)[0].path.host).toBe('elsewhere');
      const [here, there] = ['second', 'elsewhere'].map((host) => echo.idsAt.get(host) ?? new Set());
      expect([...here].filter((id) => there.has(id))).toEqual([]);
      expect([here.size, there.size]).toEqual([2, 2]);
    },
  );

  const PAGE = Buffer.from('a reading of 21.5 degrees, and another one of 21.6; '.repeat(40));
  test.each<[string, CompressionMethod, readonly Buffer[]]>([
    ['blocks', CompressionMethod.LZ4, []],
    ['blocks with a dictionary', CompressionMethod.LZ4, [PAGE.subarray(0, 400)]],
    ['DEFLATE data', CompressionMethod.DEFLATE, []],
    ['DEFLATE data with a dictionary', CompressionMethod.DEFLATE, [PAGE.subarray(0, 400)]],
  ])(
    'sends and opens compressed messages: %s [CMP-1] [CMP-2] [CMP-3] [CMP-4] [CMP-12]',
    (_, method, dictionaries) => {
      const compression = {
        ...COMPRESSION_OFF,
        ...{ inflates: true, mode: CompressionMode.ON, method },
        dictionaries: new DictionarySet(dictionaries.map((bytes) => new Dictionary(bytes))),
      };
      const pair = connected({ dictionaries }, { config: { compression } });
      const short = Buffer.from('a reading of 21.5 degrees, and another one of 21.6; and of 19.0');
      exchange(pair, [
        PAGE,
        short,
        contentOf(200, 1),
        Buffer.alloc(0),
        PAGE.subarray(7),
        Buffer.concat(Array(9).fill(PAGE)),
      ]);
      expect(pair.client.envelopesOpened).toBeGreaterThan(2);
      const [connection] = connectionsOf(pair.echo.server.endpoint);
      expect(connection.metrics(pair.echo.interop.now).messagesInflated).toBeGreaterThan(2);
    },
  );

  test('recovers what was lost from repairs, and says so: it is not sent again [FEC-20] [FEC-21] [FEC-22] [FEC-25] [FEC-42] [FEC-44] [FEC-46]', () => {
    const protection = { ...PROTECTION_AUTO, mode: ProtectionMode.BLOCK, data: 6, parity: 3 };
    const config = { protection, repairBytes: 65_536 };
    const pair = connected({ recovers: true }, { seed: 2, link: { delayMs: 20, loss: 0.1 }, config });
    exchange(
      pair,
      Array.from({ length: 60 }, (_, i) => contentOf(400 + 10 * i, i)),
    );
    expect(pair.client.heard.get(0x16)).toBeGreaterThan(5);
    expect(pair.client.packetsRecovered).toBeGreaterThan(0);
    const [connection] = connectionsOf(pair.echo.server.endpoint);
    expect(connection.metrics(pair.echo.interop.now).packetsRecoveredByPeer).toBeGreaterThan(0);
    // Without the parameter nothing is protected.
    const plain = connected({}, { config });
    exchange(plain, [contentOf(3_000, 1)]);
    expect(plain.client.heard.get(0x16)).toBeUndefined();
  });

  test('tells of each early message that the server has come to take no more, and sends the others [STR-36] [STR-46] [HS-58]', () => {
    const keys = { current: new Uint8Array(32).fill(1), previous: [] };
    const tickets = { ...TICKETS, keys };
    const before = connected({}, { accept: { tickets } });
    before.echo.until(() => before.client.tickets.length > 0, 'a ticket');
    for (const kem of [1, 2] as const) {
      const resumption: SecondResumption = {
        ticket: before.client.tickets[0],
        ageMs: 1_000,
        isEarly: true,
        kem,
      };
      const messageBytesMax = 1_000;
      const { echo, client } = begin({ resumption }, { accept: { tickets }, config: { messageBytesMax } });
      const stream = client.openStream('early');
      const messages = [
        contentOf(10, 1),
        contentOf(1_001, 2),
        contentOf(1_000, 3),
        contentOf(2_000, 4),
        contentOf(5, 5),
      ];
      for (const message of messages) client.send(stream, message);
      client.end(stream);
      echo.until(() => stream.isEnded || client.closed !== null, 'what was sent back');
      expect(client.closed).toBeNull();
      expect(client.tooLarge).toEqual([messages[1], messages[3]]);
      expect(stream.messages).toEqual([messages[0], messages[2], messages[4]]);
      expect(() => client.send(client.openStream('later'), messages[1])).toThrow('no message as long');
    }
  });

  test('believes who says that the server speaks another version when nothing else comes for a second [INV-5] [INV-7]', () => {
    /** A version packet in answer to the first datagram of a client that has sent one. */
    const answer = (first: Buffer, versions: readonly number[], isOfThem = true): Buffer => {
      const fields = new Fields(first.subarray(5));
      const [dcid, scid] = [fields.take(fields.u8()), fields.take(fields.u8())];
      const ids = isOfThem ? [scid, dcid] : [dcid, scid];
      return Buffer.concat([
        u8(0xc0),
        u32(0),
        ...ids.flatMap((id) => [u8(id.length), id]),
        ...versions.map(u32),
      ]);
    };
    const closedAfter = (versions: readonly number[], isOfThem = true): boolean => {
      const client = new SecondClient({ pin: PIN });
      const [first] = client.transmit(0);
      client.receive(answer(first, versions, isOfThem));
      for (const at of [100_000, 900_000, 1_099_999]) client.transmit(at);
      expect(client.closed).toBeNull();
      client.transmit(1_100_000);
      return client.closed !== null;
    };
    expect(closedAfter([0x12345678, 0x1a2a3a4a])).toBe(true);
    expect(closedAfter([0x12345678, 0x4a535031])).toBe(false);
    expect(closedAfter([])).toBe(false);
    expect(closedAfter([0x12345678], false)).toBe(false);
    // A forged one hinders nobody whose server answers.
    const { echo, client } = begin();
    const [first] = client.transmit(echo.interop.now);
    client.receive(answer(first, [0x12345678]));
    echo.interop.run(500);
    echo.until(() => client.isConfirmed, 'the handshake');
    exchange({ echo, client }, [contentOf(3_000, 1)]);
  });

  test('works with the smallest packets [PKT-20]', () => {
    exchange(connected({ mtu: 512 }, { config: { mtu: 512, mtuMax: 512 } }), [contentOf(2_000, 1)]);
  });

  test('sends and takes messages far above what credit it began with [STR-8] [STR-9] [STR-10] [STR-11]', () => {
    const config = { streamWindowStartBytes: 16_384, connectionWindowStartBytes: 32_768 };
    const pair = connected({ windowBytes: 8_192 }, { config });
    exchange(pair, [contentOf(30_000, 1), contentOf(9_000, 2), contentOf(5, 3), contentOf(20_000, 4)]);
  });

  test('connects without a pin where that is allowed, and nowhere else [HS-14] [CON-2]', () => {
    exchange(connected({ pin: null }, { accept: { acceptUnpinned: true } }), [Buffer.from('to anybody')]);
    const { echo, client } = begin({ pin: null });
    echo.pump();
    echo.interop.run(3_000);
    expect(client.isComplete).toBe(false);
    expect(echo.server.endpoint.counters.droppedUnpinned).toBeGreaterThan(0);
  });

  test('is not answered when it pins another identity [HS-20]', () => {
    const { echo, client } = begin({ pin: Buffer.alloc(32, 1) });
    echo.pump();
    echo.interop.run(3_000);
    expect(echo.server.endpoint.counters).toMatchObject({ datagramsSent: 0 });
    expect(client.isComplete).toBe(false);
  });

  test('is answered on its PATH_CHALLENGE, and its extension frames are passed over [FRM-2] [FRM-20]', () => {
    const { echo, client } = connected();
    client.sendFrames(Buffer.concat([u8(0x18), Buffer.from('a secret')]));
    client.sendFrames(Buffer.concat([u8(0x3b), counted(Buffer.from('nobody knows'))]));
    echo.until(() => client.pathResponses.length > 0, 'the answer');
    expect(client.pathResponses.map(String)).toEqual(['a secret']);
    exchange({ echo, client }, [Buffer.from('still here')]);
  });

  test.each<[string, number, (client: SecondClient) => Buffer]>([
    ['a frame that nobody knows [FRM-1]', CloseCode.FRAME_ENCODING_ERROR, () => u8(0x37)],
    ['HANDSHAKE_DONE, which only a server sends [FRM-4]', CloseCode.PROTOCOL_VIOLATION, () => u8(0x07)],
    [
      'a message of a stream that was not opened [STR-5]',
      CloseCode.STREAM_STATE_ERROR,
      () => messageFrame(400, 0, Buffer.from('x')),
    ],
    ['too many streams [STR-4]', CloseCode.STREAM_LIMIT_ERROR, () => streamOpenFrame(2 ** 20, 4, '')],
    ["a stream of the server's [STR-4]", CloseCode.STREAM_STATE_ERROR, () => streamOpenFrame(1, 4, '')],
    [
      'an acknowledgement of a packet that was never sent [FRM-9]',
      CloseCode.PROTOCOL_VIOLATION,
      () => numbersFrame(0x02, 1_000_000, 0, 0, 0),
    ],
    [
      'an end that changes [STR-6]',
      CloseCode.FINAL_SIZE_ERROR,
      () => Buffer.concat([streamOpenFrame(0, 6, ''), numbersFrame(0x0b, 0, 3), numbersFrame(0x0b, 0, 4)]),
    ],
  ])('is told what it did wrong: %s', (_, code, frames) => {
    const { echo, client } = connected();
    client.sendFrames(frames(client));
    echo.until(() => client.closed !== null, 'the end');
    expect(client.closed).toMatchObject({ scope: 0, code });
  });

  test.each<[string, (hello: Buffer) => Buffer]>([
    ['a hello cut short', (hello) => hello.subarray(0, hello.length - 1)],
    ['bytes behind its hello [HS-1]', (hello) => Buffer.concat([hello, u8(0)])],
    ['a list of no versions [HS-2]', (hello) => withByte(hello, 35, 0)],
    ['another share than it says [HS-18]', (hello) => withBytes(hello, 200, Buffer.alloc(600, 0xff))],
  ])('is told that it cannot begin with %s', (_, tamper) => {
    const { echo, client } = begin({ tamper });
    echo.until(() => client.closed !== null, 'the end');
    expect(client.closed).toMatchObject({ scope: 0, code: CloseCode.CRYPTO_ERROR });
  });
});

/** A second client that was there before, and has a ticket. */
function returning(how: Partial<SecondResumption> = {}, accept: EchoWorldOptions['accept'] = {}) {
  const { echo, client: first } = connected({}, { accept: { tickets: TICKETS, ...accept } });
  echo.until(() => first.tickets.length > 0, 'a ticket');
  first.close(0);
  echo.pump();
  echo.interop.run(1_000);
  const resumption: SecondResumption = { ticket: first.tickets[0], ageMs: 1_000, ...how };
  const client = new SecondClient({ pin: PIN, resumption });
  echo.client = client;
  return { echo, client, resumption };
}

/** Messages that are sent before the server has answered, and come back, once and in order. */
function sendEarly({ echo, client }: ReturnType<typeof begin>): void {
  const messages = ['early', 'and a second one'].map((text) => Buffer.from(text));
  const stream = client.openStream('early');
  for (const message of messages) client.send(stream, message);
  client.end(stream);
  echo.until(() => stream.isEnded || client.fault !== null || client.closed !== null, 'what was sent back');
  expect(client.fault).toBeNull();
  expect(stream.messages).toEqual(messages);
}

const TICKETS = { keys: null, lifetimeMs: 3_600_000, earlyDataBytesMax: 4_096, usedMax: 64, epochMs: 0 };

function withByte(bytes: Buffer, at: number, value: number): Buffer {
  return withBytes(bytes, at, Buffer.of(value));
}

function withBytes(bytes: Buffer, at: number, values: Buffer): Buffer {
  return Buffer.concat([bytes.subarray(0, at), values, bytes.subarray(at + values.length)]);
}
