import { describe, expect, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import type { Connection } from '../../../src/protocol/connection/connection.ts';
import { Identity } from '../../../src/protocol/crypto/identity.ts';
import type { Refusal } from '../../../src/protocol/endpoint/index.ts';
import type { ClientCredentials } from '../../../src/protocol/handshake/client.ts';
import { CloseCode } from '../../../src/protocol/wire/close-code.ts';
import { FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { PacketType } from '../../../src/protocol/wire/packet-header.ts';
import { bytesOf, eachSeed, Pair, type PairOptions } from './pair.ts';
import { integers, Rogue } from './rogue.ts';

const DECIDES = { access: { asksForIdentity: true, isDecided: true } };
const ROBOT = Identity.generate(new Prng(5), { hybrid: true });
const BYE: Refusal = { scope: 'application', code: 403, reason: 'not today' };

/** A pair whose server's application decides after `afterMs`, by `decide`. */
function deciding(
  decide: ((pair: Pair, core: Connection) => void) | null,
  { afterMs = 0, ...options }: PairOptions & { afterMs?: number; credentials?: ClientCredentials } = {},
): Pair {
  const pair = new Pair({ ...options, accept: { ...DECIDES, ...options.accept } });
  pair.server.onEvent = (event) => {
    if (event.type !== 'admission' || decide === null) return;
    const { world } = pair;
    world.clock.schedule(world.now + afterMs * 1_000, () => {
      decide(pair, event.connection);
      pair.server.node.wake();
    });
  };
  return pair;
}

const letIn =
  (answer: Uint8Array | null) =>
  (pair: Pair, core: Connection): void =>
    pair.server.endpoint.admit(core, answer, pair.now);

const refuse =
  (refusal: Refusal) =>
  (pair: Pair, core: Connection): void =>
    pair.server.endpoint.refuse(core, refusal, pair.now);

describe('a server whose application decides', () => {
  test('knows who the client is and what it says when it is asked, and lets it in with an answer [HS-44] [HS-43]', () => {
    const credentials = { identity: ROBOT, payload: bytesOf(8_192, 3) };
    const pair = deciding(letIn(bytesOf(1_024, 4)), { credentials, afterMs: 50 });
    let asked: Connection | null = null;
    const { onEvent } = pair.server;
    pair.server.onEvent = (event) => {
      if (event.type === 'admission') {
        asked = event.connection;
        expect(event.connection.handshake.peerFingerprint).toEqual(ROBOT.fingerprint);
        expect(event.connection.handshake.peerPayload).toEqual(credentials.payload);
      }
      onEvent(event);
    };
    pair.connect().until(() => asked !== null);
    expect([pair.client.isConnected, pair.server.isConnected]).toEqual([false, false]);
    pair.until(() => pair.client.isConnected && pair.server.isConnected);
    expect(pair.client.core.handshake.peerPayload).toEqual(bytesOf(1_024, 4));
    expect(pair.server.core.handshake.peerPayload).toEqual(credentials.payload);
    expect(pair.server.events.map(({ type }) => type)).toEqual(['admission', 'connected']);
    pair.echo();
    expect(pair.server.core.handshake.peerFingerprint).toEqual(ROBOT.fingerprint);
  });

  test('sees nothing of what the client sends before that, and then all of it [HS-44] [CON-13]', () => {
    const pair = deciding(letIn(null), { afterMs: 300 });
    pair.connect().until(() => pair.client.core.lifecycle.isEstablished);
    expect(pair.client.isConnected).toBe(false);
    const stream = pair.client.open();
    for (let i = 0; i < 5; i++) pair.client.send(stream, `early ${i}`);
    pair.run(200);
    expect(pair.server.events.map(({ type }) => type)).toEqual(['admission']);
    expect(pair.server.halfOpen.receiver.undecryptable.length).toBeGreaterThan(0);
    pair.until(() => pair.server.texts(stream.id).length === 5);
    expect(pair.server.texts(stream.id)).toEqual([0, 1, 2, 3, 4].map((i) => `early ${i}`));
    expect(pair.server.events.findIndex(({ type }) => type === 'connected')).toBe(1);
  });

  test('acknowledges the client’s string meanwhile, so that it goes out once [HS-44]', () => {
    const pair = deciding(letIn(null), { afterMs: 3_000 });
    pair.connect().until(() => pair.client.isConnected);
    const flights = pair.client.packets.filter(
      ({ type, frames }) =>
        type === PacketType.HANDSHAKE && frames.some((frame) => frame.type === FrameType.CRYPTO),
    );
    expect(flights).toHaveLength(1);
    expect(pair.client.core.metrics(pair.now).handshakeMs).toBeGreaterThan(3_000);
  });

  test('tells a client that is refused why, in a packet that only it can open [HS-44] [CON-12]', () => {
    const pair = deciding(refuse(BYE));
    pair.connect().until(() => pair.client.closed !== null);
    expect(pair.client.closed).toMatchObject({ by: 'peer', isRefused: true, code: 403, reason: 'not today' });
    expect(pair.client.isConnected).toBe(false);
    const closes = pair.server.packets.filter(({ frames }) =>
      frames.some(({ type }) => type === FrameType.CONNECTION_CLOSE),
    );
    expect(new Set(closes.map(({ type }) => type))).toEqual(new Set([PacketType.ONE_RTT]));
    expect(pair.server.endpoint.counters).toMatchObject({ clientsRefused: 1, handshakesFailed: 1 });
    pair.toTheEnd();
  });

  test('says NOT_AUTHORIZED when nobody decides in time, and forgets the client [HS-45]', () => {
    const pair = deciding(null, { server: { admissionMs: 2_000 } });
    const startMs = pair.now / 1_000;
    pair.connect().until(() => pair.client.closed !== null);
    expect(pair.client.closed).toMatchObject({
      by: 'peer',
      scope: 'transport',
      code: CloseCode.NOT_AUTHORIZED,
    });
    const waitedMs = pair.now / 1_000 - startMs;
    expect(waitedMs).toBeGreaterThan(2_000);
    expect(waitedMs).toBeLessThan(2_100);
    expect(pair.server.events.map(({ type }) => type)).toEqual(['admission', 'closed']);
    pair.toTheEnd();
  });

  test('is told when a client about which it was asked has gone', () => {
    const pair = deciding(null);
    pair.connect().until(() => pair.server.events.length > 0);
    pair.client.close();
    pair.until(() => pair.server.closed !== null, 100);
    expect(pair.server.closed).toMatchObject({ by: 'peer' });
  });

  test('may decide when the connection is over, to no effect', () => {
    for (const decide of [letIn(null), refuse(BYE)]) {
      const pair = deciding(decide, { afterMs: 50 });
      pair.connect().until(() => pair.server.events.length > 0);
      pair.client.close();
      pair.run(100);
      expect(pair.server.isConnected).toBe(false);
      pair.toTheEnd();
    }
  });

  test('gets its decision through a path that loses, in small datagrams, too [HS-44] [FRM-5]', () => {
    const small = { mtu: 512, mtuMax: 512 };
    eachSeed(1, 30, (seed) => {
      const isLetIn = seed % 3 !== 0;
      const answer = bytesOf(1_024, seed);
      const pair = deciding(isLetIn ? letIn(answer) : refuse(BYE), {
        seed,
        link: { delayMs: 20, loss: 0.3 },
        client: small,
        server: small,
        credentials: { identity: seed % 2 === 0 ? ROBOT : null, payload: bytesOf(3_000, seed) },
      });
      pair.connect();
      pair.until(() => pair.client.isConnected || pair.client.closed !== null, 20_000);
      // A close may be lost as often as it is said, and so may a whole handshake.
      if (pair.client.closed?.by === 'timeout') return;
      expect(pair.client.isConnected).toBe(isLetIn);
      if (isLetIn) expect(pair.client.core.handshake.peerPayload).toEqual(answer);
      else expect(pair.client.closed).toMatchObject({ isRefused: true, code: 403 });
    });
  });
});

describe('a client that waits to be let in', () => {
  test('gives up when its handshake timeout comes, and says so [HS-44] [CON-5]', () => {
    const pair = deciding(null, { client: { handshakeTimeoutMs: 3_000 }, server: { admissionMs: 60_000 } });
    pair.connect().until(() => pair.client.closed !== null);
    expect(pair.client.closed).toMatchObject({ by: 'timeout', timeout: 'handshake' });
    pair.until(() => pair.server.closed !== null, 100);
  });

  test.each([['a server that did not say that it decides', [admitted(0, 1, [0])]]])(
    'takes no ADMITTED of %s [HS-44]',
    (_, frames) => {
      const rogue = new Rogue(new Pair().connected(), 'server');
      rogue.send(...frames);
      expect(rogue.victim.closed).toMatchObject({ by: 'local', code: CloseCode.PROTOCOL_VIOLATION });
    },
  );

  test('takes the same again, and nothing that was said otherwise [FRM-18]', () => {
    for (const [frames, code] of [
      [[admitted(0, 2, [1]), admitted(0, 2, [1]), admitted(1, 2, [7]), admitted(0, 2, [1, 7])], null],
      [[admitted(0, 3, [1, 7]), admitted(1, 3, [8])], CloseCode.PROTOCOL_VIOLATION],
      [[admitted(0, 3, [1, 7]), admitted(0, 2, [1, 7])], CloseCode.PROTOCOL_VIOLATION],
    ] as const) {
      const pair = deciding(null);
      pair.connect().until(() => pair.server.events.length > 0);
      pair.server.connection = pair.server.halfOpen;
      letIn(null)(pair, pair.server.core); // which does not go out: it is the rogue that speaks from now on
      const rogue = new Rogue(pair, 'server');
      for (const frame of frames) rogue.send(frame);
      expect(pair.client.closed?.code ?? null).toBe(code);
      expect(pair.client.isConnected).toBe(code === null);
      if (code === null) expect(pair.client.core.handshake.peerPayload).toEqual(Uint8Array.of(7));
    }
  });

  test('that says ADMITTED itself breaks the protocol [FRM-4]', () => {
    const rogue = new Rogue(new Pair().connected());
    rogue.send(admitted(0, 1, [0]));
    expect(rogue.victim.closed).toMatchObject({ by: 'local', code: CloseCode.PROTOCOL_VIOLATION });
  });
});

function admitted(offset: number, total: number, bytes: readonly number[]): Uint8Array {
  return Buffer.concat([integers(FrameType.ADMITTED, offset, total, bytes.length), Uint8Array.from(bytes)]);
}
