import { describe, expect, test } from 'vitest';
import { CloseCode } from '../../../src/protocol/wire/close-code.ts';
import { FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { PacketSpace, PacketType } from '../../../src/protocol/wire/packet-header.ts';
import { internalsOf } from './internals.ts';
import { bytesOf, Pair } from './pair.ts';
import { integers, sealLong, sealShort } from './rogue.ts';

describe('closing during the handshake', () => {
  test('a client that closes at once says so in an Initial packet, without its reason [CON-12]', () => {
    const pair = new Pair().connect();
    pair.client.close('application', 42, 'none of your business');
    pair.run(100);
    const [close] = pair.client.frames(FrameType.CONNECTION_CLOSE);
    expect(close).toMatchObject({ scope: 0, code: CloseCode.NO_ERROR });
    expect(close.data).toHaveLength(0);
    expect(pair.client.sent[0].data.length).toBe(1_200);
    expect(pair.server.events).toEqual([]);
    expect(pair.server.endpoint.counters).toMatchObject({ handshakesFailed: 1 });
    pair.toTheEnd();
  });

  test("a client that closes while the server's answer is under way is heard", () => {
    const pair = new Pair().connect();
    pair.until(() => pair.server.sent.length > 0);
    pair.client.close('application', 42, 'none of your business');
    pair.run(200);
    for (const close of pair.client.frames(FrameType.CONNECTION_CLOSE)) {
      expect(close).toMatchObject({ scope: 0, code: CloseCode.NO_ERROR });
    }
    expect(pair.server.endpoint.counters).toMatchObject({ handshakesFailed: 1, handshakesCompleted: 0 });
    pair.toTheEnd();
  });

  test('a server that closes while it waits for the client says so in both spaces that the client may open [CON-9]', () => {
    const pair = new Pair();
    let isClosed = false;
    const { pump } = pair.server.node;
    pair.server.node.pump = (now) => {
      pump(now);
      if (isClosed || pair.server.endpoint.counters.handshakesStarted === 0) return;
      isClosed = true;
      pair.server.halfOpen.lifecycle.close('application', 42, 'none of your business', now);
    };
    pair.connect().until(() => pair.client.closed !== null);
    expect(pair.client.closed).toMatchObject({
      by: 'peer',
      scope: 'transport',
      code: CloseCode.NO_ERROR,
      reason: '',
    });
    expect(pair.server.packets.map(({ type }) => type)).toEqual([PacketType.INITIAL, PacketType.HANDSHAKE]);
    pair.toTheEnd();
  });

  test('once the client is connected it says its reason in a 1-RTT packet only [CON-9] [CON-12]', () => {
    const pair = new Pair();
    pair.client.onEvent = ({ type }) => {
      if (type === 'connected') pair.client.close('application', 42, 'changed my mind');
    };
    pair.connect().run(100);
    const closes = pair.client.packets.flatMap(({ type, frames }) =>
      frames.filter((frame) => frame.type === FrameType.CONNECTION_CLOSE).map((frame) => ({ type, frame })),
    );
    expect(closes.map(({ type }) => type)).toContain(PacketType.HANDSHAKE);
    for (const { type, frame } of closes) {
      if (type === PacketType.ONE_RTT) expect(frame).toMatchObject({ scope: 1, code: 42 });
      else expect(frame).toMatchObject({ scope: 0, code: CloseCode.NO_ERROR, data: new Uint8Array(0) });
    }
    pair.toTheEnd();
  });

  test('a graceful close that begins during the handshake waits for it [CON-11]', () => {
    const pair = new Pair().connect();
    pair.client.finish(7, 'done');
    pair.until(() => pair.server.closed !== null);
    expect(pair.client.isConnected).toBe(true);
    expect(pair.server.closed).toMatchObject({ by: 'peer', scope: 'application', code: 7, reason: 'done' });
    pair.toTheEnd();
  });

  test('a handshake that the other side stopped answering is given up after its timeout, on both sides [CON-5]', () => {
    const pair = new Pair({
      client: { handshakeTimeoutMs: 3_000 },
      server: { handshakeTimeoutMs: 2_000 },
    }).connect();
    const start = pair.now;
    pair.server.filter = () => [];
    pair.until(() => pair.server.endpoint.counters.handshakesFailed === 1);
    expect(pair.now - start).toBeLessThanOrEqual(2_006_000);
    pair.until(() => pair.client.closed !== null);
    expect(pair.now - start).toBeLessThanOrEqual(3_001_000);
    expect(pair.client.closed).toMatchObject({ by: 'timeout', timeout: 'handshake' });
    expect(pair.server.events).toEqual([]);
    pair.toTheEnd();
  });
});

describe('1-RTT packets that come before the handshake is over', () => {
  test("wait until the client's FINISHED has verified, and are handled then [CON-13] [HS-15] [PKT-17]", () => {
    const pair = new Pair();
    let held: Uint8Array | null = null;
    pair.client.onEvent = ({ type }) => {
      if (type === 'connected') pair.client.send(pair.client.open(), 'early');
    };
    pair.client.filter = (data, index) => {
      if (index !== 2) return [{ data }];
      // The Handshake packet of this datagram is held back, the 1-RTT packet behind it is not.
      const split = pair.client.sent[2].packets[0].bytes;
      held = data.subarray(0, split);
      return [{ data: data.subarray(split) }];
    };
    pair.connect().run(20);
    const { halfOpen } = pair.server;
    expect(halfOpen.lifecycle.isEstablished).toBe(false);
    expect(halfOpen.receiver.undecryptable).toHaveLength(1);
    expect(pair.server.events).toEqual([]);
    pair.client.inject(held ?? new Uint8Array(0));
    pair.until(() => pair.server.texts(0).length > 0);
    expect(pair.server.events.map(({ type }) => type)).toEqual(['connected', 'stream', 'readable']);
    expect(pair.server.texts(0)).toEqual(['early']);
  });

  test('a server sends no application data before [CON-13]', () => {
    const pair = new Pair();
    pair.connect();
    pair.until(() => pair.server.sent.length > 0);
    const core = pair.server.halfOpen;
    expect(internalsOf(core).keys.toSeal(PacketSpace.APPLICATION)).not.toBeNull();
    const stream = core.streams.open({ priority: 2, delivery: 0, ordered: true, label: '' });
    stream.send(bytesOf(10), 0, Number.POSITIVE_INFINITY, false);
    pair.client.node.remove();
    pair.run(2_000);
    expect(pair.server.packets.some(({ space }) => space === PacketSpace.APPLICATION)).toBe(false);
  });

  test('of more than ten the oldest are dropped and counted [PKT-17]', () => {
    const pair = new Pair().connect();
    pair.until(() => pair.server.sent.length > 0);
    const server = pair.server.halfOpen;
    const keys = internalsOf(server).keys.toSeal(PacketSpace.APPLICATION);
    if (keys === null) throw new Error('the server has its keys by now');
    const packets = Array.from({ length: 25 }, (_, number) =>
      // Sealed by the wrong side, so none of them will open; but that nobody knows yet.
      sealShort(keys, server.ids.sourceId, number, integers(FrameType.PING)),
    );
    pair.world.network.connect('client', 'server', { delayMs: 0 });
    for (const packet of packets) pair.client.inject(packet);
    pair.run(1);
    expect(server.receiver.undecryptable.length).toBe(10);
    expect(server.counters.packetsUnbuffered).toBe(15);
    pair.run(2_000);
    expect(pair.server.isConnected).toBe(true);
    expect(server.receiver.undecryptable).toHaveLength(0);
    expect(server.counters.packetsUnopened).toBe(10);
    pair.echo();
  });

  test('of large ones only as many wait as make 64 KiB', () => {
    const pair = new Pair().connect();
    pair.until(() => pair.server.sent.length > 0);
    const server = pair.server.halfOpen;
    for (let i = 0; i < 10; i++) {
      pair.client.inject(Buffer.concat([Uint8Array.of(0x40), server.ids.sourceId, bytesOf(20_000, i)]));
    }
    pair.run(5);
    expect(server.receiver.undecryptable).toHaveLength(3);
    expect(server.counters.packetsUnbuffered).toBe(7);
    pair.until(() => pair.server.isConnected);
  });

  test('a Handshake packet that overtakes the Initial before it is opened after it [PKT-17]', () => {
    const pair = new Pair();
    pair.server.filter = (data, index) => (index === 0 ? [{ data, afterMs: 30 }] : [{ data }]);
    pair.connect().run(20);
    expect(pair.client.halfOpen.receiver.undecryptable).toHaveLength(1);
    pair.until(() => pair.client.isConnected, 40);
    expect(pair.client.halfOpen.counters.ptoCount).toBe(0);
  });

  test('packets with keys that nobody will ever have do not keep a handshake from its end', () => {
    const pair = new Pair().connect();
    const { ids } = pair.client.halfOpen;
    const seal = internalsOf(pair.client.halfOpen).keys.toSeal(PacketSpace.INITIAL);
    if (seal === null) throw new Error('the client has its Initial keys');
    for (let number = 0; number < 40; number++) {
      pair.client.inject(
        sealLong(
          seal,
          PacketType.HANDSHAKE,
          { dcid: ids.destinationId, scid: ids.sourceId },
          number,
          bytesOf(100),
        ),
      );
    }
    pair.until(() => pair.server.isConnected);
    pair.echo();
  });
});
