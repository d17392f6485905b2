import { describe, expect, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import { Identity } from '../../../src/protocol/crypto/identity.ts';
import { KeyRing } from '../../../src/protocol/crypto/key-ring.ts';
import type { PacketKeys } from '../../../src/protocol/crypto/packet-keys.ts';
import { CloseCode } from '../../../src/protocol/wire/close-code.ts';
import { FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { PacketSpace, PacketType } from '../../../src/protocol/wire/packet-header.ts';
import { handshakeOf } from './internals.ts';
import { AEAD, bytesOf, IDENTITY, Pair, PORT } from './pair.ts';
import { initialSealKeys, integers, sealLong } from './rogue.ts';

const OTHER = Identity.generate(new Prng(99));

describe('who may connect to whom', () => {
  test('a client with another pin gets no answer at all, and gives up with its handshake timeout [CON-5]', () => {
    const pair = new Pair({ pin: OTHER.fingerprint }).connect();
    const start = pair.now;
    pair.until(() => pair.client.closed !== null);
    expect(pair.client.closed).toMatchObject({ by: 'timeout', timeout: 'handshake' });
    expect(pair.now - start).toBe(10_000_000);
    expect(pair.server.sent).toEqual([]);
    const { droppedUnopened, datagramsReceived, connectionsOpen, handshakesStarted } =
      pair.server.endpoint.counters;
    expect(droppedUnopened).toBe(datagramsReceived);
    expect(droppedUnopened).toBeGreaterThan(4);
    expect({ connectionsOpen, handshakesStarted }).toEqual({ connectionsOpen: 0, handshakesStarted: 0 });
    pair.toTheEnd();
  });

  test('a client that does not pin gets no answer unless the server was told so [CON-2]', () => {
    const pair = new Pair({ pin: null }).connect();
    pair.until(() => pair.client.closed !== null);
    expect(pair.client.closed).toMatchObject({ by: 'timeout', timeout: 'handshake' });
    expect(pair.server.sent).toEqual([]);
    const { droppedUnpinned, datagramsReceived } = pair.server.endpoint.counters;
    expect(droppedUnpinned).toBe(datagramsReceived);
  });

  test('a server that was told so takes clients that pin and clients that do not [HS-14]', () => {
    for (const pin of [null, IDENTITY.fingerprint]) {
      const pair = new Pair({ pin, accept: { acceptUnpinned: true } }).connected().echo();
      expect(pair.client.core.handshake.peerFingerprint).toEqual(IDENTITY.fingerprint);
      for (const side of [pair.client, pair.server]) {
        for (const { type, unpinned } of side.packets) {
          expect(unpinned).toBe(pin === null && type === PacketType.INITIAL);
        }
      }
    }
  });

  test('a server that knows the pin but has another identity is refused with IDENTITY_MISMATCH [HS-10]', () => {
    // An attacker who read the pin somewhere: it can open and seal Initial packets, and no more.
    const impostor = {
      publicKey: OTHER.publicKey,
      fingerprint: IDENTITY.fingerprint,
      sign: OTHER.sign.bind(OTHER),
    } as unknown as Identity;
    const pair = new Pair({ accept: { identity: impostor } }).connect();
    pair.until(() => pair.client.closed !== null);
    expect(pair.client.closed).toMatchObject({
      by: 'local',
      scope: 'transport',
      code: CloseCode.IDENTITY_MISMATCH,
    });
    expect(pair.client.isConnected).toBe(false);
    expect(pair.client.core.handshake.peerFingerprint).toBeNull();
    pair.run(100);
    expect(pair.client.frames(FrameType.CONNECTION_CLOSE)[0]).toMatchObject({
      code: CloseCode.IDENTITY_MISMATCH,
      scope: 0,
    });
    expect(pair.server.endpoint.counters).toMatchObject({ handshakesFailed: 1, handshakesCompleted: 0 });
    expect(pair.server.events).toEqual([]);
    pair.toTheEnd();
  });
});

describe('ids in the parameters are those of the packets, or else TRANSPORT_PARAMETER_ERROR [FRM-15]', () => {
  test('the source id of the client', () => {
    const pair = new Pair().connect();
    // Its parameters were made with the id as it was; the table looks at the other bytes only.
    pair.client.halfOpen.ids.sourceId[7] ^= 1;
    pair.until(() => pair.client.closed !== null);
    expect(pair.client.closed).toMatchObject({ by: 'peer', code: CloseCode.TRANSPORT_PARAMETER_ERROR });
    expect(pair.server.isConnected).toBe(false);
    pair.toTheEnd();
  });

  test('the source id of the server', () => {
    const pair = new Pair();
    pair.server.node.pump = () => {
      pair.server.halfOpen.ids.sourceId[7] ^= 1;
      pair.server.node.pump = () => {};
    };
    // The first turn of a node comes before anything arrived.
    const { pump } = pair.server.node;
    pair.server.node.pump = () => {
      if (pair.server.node.arrivals.length > 0) pump(pair.now);
    };
    pair.connect().until(() => pair.client.closed !== null);
    expect(pair.client.closed).toMatchObject({ by: 'local', code: CloseCode.TRANSPORT_PARAMETER_ERROR });
  });

  test('the first destination id, as the server saw it', () => {
    const pair = new Pair().connect();
    pair.until(() => pair.server.sent.length > 0);
    pair.client.halfOpen.ids.firstDestinationId[3] ^= 1;
    pair.until(() => pair.client.closed !== null);
    expect(pair.client.closed).toMatchObject({ by: 'local', code: CloseCode.TRANSPORT_PARAMETER_ERROR });
  });

  test('a server whose id changes during the handshake is not listened to [CON-1]', () => {
    const pair = new Pair();
    // What comes behind the server's first Initial waits, so that the handshake stays where it is.
    pair.server.filter = (data, index) => (index === 0 ? [{ data }] : [{ data, afterMs: 20 }]);
    pair.connect().run(12);
    const { halfOpen } = pair.client;
    const scid = bytesOf(8, 66);
    const { firstDestinationId } = halfOpen.ids;
    const keys = KeyRing.ofServer(AEAD, firstDestinationId, IDENTITY.fingerprint, scid);
    const seal = keys.toSeal(PacketSpace.INITIAL) as PacketKeys;
    const ids = { dcid: halfOpen.ids.sourceId, scid };
    const before = halfOpen.counters.packetsUnopened;
    pair.server.inject(
      sealLong(seal, PacketType.INITIAL, ids, 40, integers(FrameType.CONNECTION_CLOSE, 0, 1, 0, 0)),
    );
    pair.run(6);
    expect(halfOpen.counters.packetsUnopened).toBe(before + 1);
    expect(Buffer.compare(halfOpen.ids.destinationId, pair.server.halfOpen.ids.sourceId)).toBe(0);
    pair.until(() => pair.client.isConnected);
    pair.echo();
  });
});

describe('handshake packets with handmade frames', () => {
  test.each([
    [
      'a string longer than is allowed [FRM-11]',
      [integers(FrameType.CRYPTO, 0, 16_385, 1, 7)],
      CloseCode.CRYPTO_ERROR,
    ],
    [
      'bytes beyond the end of a string [FRM-11]',
      [integers(FrameType.CRYPTO, 5, 5, 1, 7)],
      CloseCode.CRYPTO_ERROR,
    ],
    [
      'two totals for one string [FRM-11]',
      [integers(FrameType.CRYPTO, 0, 500, 1, 7), integers(FrameType.CRYPTO, 1, 501, 1, 7)],
      CloseCode.CRYPTO_ERROR,
    ],
    ['an empty string [FRM-11]', [integers(FrameType.CRYPTO, 0, 0, 0)], CloseCode.CRYPTO_ERROR],
    ['no CLIENT_HELLO at all [HS-2]', [integers(FrameType.CRYPTO, 0, 1, 1, 7)], CloseCode.CRYPTO_ERROR],
    [
      'a stream in an Initial packet [FRM-4]',
      [integers(FrameType.MAX_DATA, 5)],
      CloseCode.PROTOCOL_VIOLATION,
    ],
    [
      'HANDSHAKE_DONE in an Initial packet [FRM-4]',
      [integers(FrameType.HANDSHAKE_DONE)],
      CloseCode.PROTOCOL_VIOLATION,
    ],
    [
      'a heartbeat in an Initial packet [FRM-4]',
      [integers(FrameType.HEARTBEAT, 0, 0)],
      CloseCode.PROTOCOL_VIOLATION,
    ],
    ['an unknown frame [FRM-1]', [Uint8Array.of(0x37)], CloseCode.FRAME_ENCODING_ERROR],
    [
      'an ACK of what was not sent [FRM-9]',
      [integers(FrameType.ACK, 3, 0, 0, 0)],
      CloseCode.PROTOCOL_VIOLATION,
    ],
  ])('%s close the handshake', (_, frames, code) => {
    const pair = new Pair();
    const { answers } = handmade(pair, frames);
    expect(answers.length).toBeGreaterThan(0);
    expect(pair.server.frames(FrameType.CONNECTION_CLOSE)[0]).toMatchObject({ code, scope: 0 });
    expect(pair.server.events).toEqual([]);
    expect(pair.server.endpoint.counters.handshakesFailed).toBe(1);
    pair.until(() => pair.server.endpoint.counters.connectionsOpen === 0);
  });

  test('a reserved bit in an Initial packet [PKT-16]', () => {
    const pair = new Pair();
    handmade(pair, [integers(FrameType.PING)], 0x04);
    expect(pair.server.frames(FrameType.CONNECTION_CLOSE)[0]).toMatchObject({
      code: CloseCode.PROTOCOL_VIOLATION,
    });
  });

  test('CRYPTO strings in single bytes, backwards and twice, are put together', () => {
    const pair = new Pair();
    const hello = handshakeOf(pair.connect().client.halfOpen)?.hello ?? new Uint8Array(0);
    pair.client.node.remove();
    const bytes = [...hello.keys()].reverse().flatMap((offset) => {
      const one = Buffer.concat([
        integers(FrameType.CRYPTO, offset, hello.length, 1),
        hello.subarray(offset, offset + 1),
      ]);
      return offset % 5 === 0 ? [one, one] : [one];
    });
    const { firstDestinationId, sourceId } = pair.client.halfOpen.ids;
    sendInitials(pair, bytes, firstDestinationId, sourceId);
    expect(pair.server.packets.some(({ space }) => space === PacketSpace.HANDSHAKE)).toBe(true);
  });
});

/** Sends frames in Initial packets of a client of one's own. */
function handmade(pair: Pair, frames: readonly Uint8Array[], bits = 0) {
  return sendInitials(pair, frames, bytesOf(8, 1), bytesOf(8, 2), bits);
}

function sendInitials(
  pair: Pair,
  frames: readonly Uint8Array[],
  dcid: Uint8Array,
  scid: Uint8Array,
  bits = 0,
) {
  const keys = initialSealKeys(dcid);
  const answers: Uint8Array[] = [];
  const port = pair.world.network.open('stranger', PORT, ({ data }) => answers.push(data));
  for (let at = 0, number = 0; at < frames.length; number++) {
    let bytes = 0;
    const first = at;
    while (at < frames.length && bytes + frames[at].length <= 1_100) bytes += frames[at++].length;
    const payload = new Uint8Array(1_150);
    payload.set(Buffer.concat(frames.slice(first, at)));
    port.send(sealLong(keys, PacketType.INITIAL, { dcid, scid }, number, payload, bits), 'server', PORT);
  }
  pair.run(100);
  return { answers };
}
