import { describe, expect, test } from 'vitest';
import { SECOND } from '../../../src/base/time.ts';
import { type CloseReason, ConnectionState, Lifecycle } from '../../../src/protocol/connection/lifecycle.ts';
import { Delivery, FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { PacketSpace } from '../../../src/protocol/wire/packet-header.ts';
import { internalsOf } from './internals.ts';
import { bytesOf, eachSeed, Pair } from './pair.ts';

describe('an immediate close', () => {
  test('tells the peer code and reason, and both sides forget the connection after three probe timeouts [CON-9] [CON-10]', () => {
    const pair = new Pair().connected().echo();
    const pto = internalsOf(pair.client.core).recovery.probeTimeout(PacketSpace.APPLICATION);
    const peerPto = internalsOf(pair.server.core).recovery.probeTimeout(PacketSpace.APPLICATION);
    pair.client.close('application', 42, 'a good reason: \u{1f44b}');
    const start = pair.now;
    pair.until(() => pair.server.closed !== null);
    expect(pair.now - start).toBe(5_000);
    expect(pair.server.closed).toEqual({
      by: 'peer',
      scope: 'application',
      code: 42,
      reason: 'a good reason: \u{1f44b}',
      timeout: 'none',
      incomplete: false,
    });
    expect(pair.client.closed).toMatchObject({ by: 'local', scope: 'application', code: 42 });
    pair.until(() => pair.client.endpoint.counters.connectionsOpen === 0);
    expect(pair.now - start).toBeGreaterThanOrEqual(3 * pto);
    expect(pair.now - start).toBeLessThanOrEqual(3 * pto + 1_000);
    pair.until(() => pair.server.endpoint.counters.connectionsOpen === 0);
    expect(pair.now - start).toBeGreaterThanOrEqual(3 * peerPto + 5_000);
    expect(pair.now - start).toBeLessThanOrEqual(3 * peerPto + 6_000);
    for (const side of [pair.client, pair.server]) {
      expect(side.events.filter(({ type }) => type === 'closed')).toHaveLength(1);
    }
    expect(pair.world.run({ forMs: 60_000 })).toBe('quiet');
  });

  test('drops what is not delivered', () => {
    const pair = new Pair().connected().run(100);
    const stream = pair.client.open();
    pair.client.send(stream, 'never seen');
    pair.client.close();
    pair.run(1_000);
    expect(pair.server.closed).not.toBeNull();
    expect(pair.server.messages.size).toBe(0);
    expect(pair.client.core.metrics().bytesInFlight).toBe(0);
  });

  test('cuts a reason that is too long between characters', () => {
    const pair = new Pair().connected();
    pair.client.close('application', 1, `x${'\u{20ac}'.repeat(400)}`);
    pair.until(() => pair.server.closed !== null);
    expect(pair.server.closed?.reason).toBe(`x${'\u{20ac}'.repeat(170)}`);
  });

  test('tells 512 bytes of a reason, and no more', () => {
    const pair = new Pair().connected();
    pair.client.close('application', 1, 'y'.repeat(600));
    pair.until(() => pair.server.closed !== null);
    expect(pair.server.closed?.reason).toBe('y'.repeat(512));
  });

  test('fits a reason into the smallest packets', () => {
    const small = { mtu: 512, mtuMax: 512 };
    const pair = new Pair({ client: small, server: small }).connected();
    pair.server.close('application', 2 ** 40, 'y'.repeat(512));
    pair.until(() => pair.client.closed !== null);
    expect(pair.client.closed?.code).toBe(2 ** 40);
    expect(pair.client.closed?.reason.length).toBeGreaterThan(400);
    for (const { data } of pair.server.sent) expect(data.length).toBeLessThanOrEqual(512);
  });

  test('is answered again on the 1st, 2nd, 4th, 8th ... datagram that still comes [CON-9]', () => {
    const pair = new Pair({ link: { delayMs: 0 } }).connected().run(500);
    pair.server.filter = () => [];
    pair.server.close('application', 3, 'gone');
    pair.run(1);
    const answered: number[] = [];
    for (let i = 1; i <= 20; i++) {
      const before = pair.server.sent.length;
      pair.client.inject(Buffer.concat([Uint8Array.of(0x40), pair.server.core.ids.sourceId, bytesOf(40, i)]));
      pair.run(0.5);
      if (pair.server.sent.length > before) answered.push(i);
    }
    expect(answered).toEqual([1, 2, 4, 8, 16]);
    const closes = pair.server.frames(FrameType.CONNECTION_CLOSE);
    expect(new Set(closes.map(({ code }) => code))).toEqual(new Set([3]));
  });

  test('is repeated every half probe timeout, for a peer that is idle [CON-9]', () => {
    for (const lost of [0, 1, 2, 5]) {
      const pair = new Pair().connected().run(500);
      const pto = internalsOf(pair.client.core).recovery.probeTimeout(PacketSpace.APPLICATION);
      const first = pair.client.sent.length;
      pair.client.filter = (data, index) => (index < first + lost ? [] : [{ data }]);
      const start = pair.now;
      pair.client.close('application', 3, 'gone');
      pair.until(() => pair.server.closed !== null, 1_000);
      expect(pair.now - start).toBeLessThanOrEqual(lost * (pto / 2 + 1_000) + 5_000);
      pair.toTheEnd();
      expect(pair.client.sent.length - first).toBe(lost + 1);
    }
  });

  test('is repeated until it is forgotten where the answer is lost [CON-9]', () => {
    const pair = new Pair().connected().run(500);
    const first = pair.client.sent.length;
    pair.server.filter = () => [];
    pair.client.close('application', 3, 'gone');
    pair.until(() => pair.server.closed !== null);
    pair.toTheEnd();
    expect(pair.client.sent.length - first).toBe(6);
  });

  test('is answered once, without a reason, and then neither side sends anything [CON-9] [CON-10]', () => {
    for (const [one, other] of [
      ['client', 'server'],
      ['server', 'client'],
    ] as const) {
      const pair = new Pair().connected().run(500);
      const { length } = pair[one].sent;
      pair[one].close('application', 3, 'gone');
      expect(pair[one].endpoint.answersUntil).toBeGreaterThan(pair.now);
      pair.until(() => pair[one].endpoint.answersUntil === 0);
      pair.toTheEnd();
      expect(pair[one].sent).toHaveLength(length + 1);
      const [answer, ...others] = pair[other].frames(FrameType.CONNECTION_CLOSE);
      expect(answer).toMatchObject({ scope: 0, code: 0 });
      expect(others).toEqual([]);
      expect(pair[one].closed).toMatchObject({ by: 'local', code: 3 });
      expect(pair[other].closed).toMatchObject({ by: 'peer', code: 3, reason: 'gone' });
    }
  });

  test('that is lost is repeated when the peer goes on', () => {
    const pair = new Pair().connected();
    pair.server.filter = (data, index) =>
      index === pair.server.sent.length - 1 && isFirst() ? [] : [{ data }];
    let lost = false;
    const isFirst = (): boolean => {
      const was = lost;
      lost = true;
      return !was;
    };
    pair.server.close('application', 3, 'gone');
    const stream = pair.client.open();
    pair.client.send(stream, 'are you there?');
    pair.until(() => pair.client.closed !== null, 100);
    expect(pair.client.closed).toMatchObject({ by: 'peer', code: 3 });
  });

  test('makes the side that was told silent but for its answer, whatever comes [CON-10]', () => {
    const pair = new Pair().connected().echo();
    pair.client.close();
    pair.until(() => pair.server.closed !== null);
    pair.run(1);
    const { length } = pair.server.sent;
    for (const { data } of pair.client.sent) pair.client.inject(data);
    pair.run(3_000);
    expect(pair.server.sent).toHaveLength(length);
    pair.toTheEnd();
  });

  test('of both sides at once ends well on both [CON-9]', () => {
    const pair = new Pair({ link: { delayMs: 20 } }).connected();
    pair.client.close('application', 1, 'client');
    pair.server.close('application', 2, 'server');
    pair.run(3_000);
    expect(pair.client.closed).toMatchObject({ by: 'local', code: 1 });
    expect(pair.server.closed).toMatchObject({ by: 'local', code: 2 });
    pair.toTheEnd();
    expect(pair.client.frames(FrameType.CONNECTION_CLOSE).length).toBeLessThanOrEqual(12);
    expect(pair.world.run({ forMs: 60_000 })).toBe('quiet');
  });

  test('a second time changes nothing', () => {
    const pair = new Pair().connected();
    pair.client.close('application', 1, 'first');
    pair.client.close('application', 2, 'second');
    pair.client.finish(3, 'third');
    pair.until(() => pair.server.closed !== null);
    expect(pair.server.closed?.code).toBe(1);
    expect(pair.client.events.filter(({ type }) => type === 'closed')).toHaveLength(1);
  });
});

describe('a graceful close', () => {
  test('delivers everything that was sent before it, over a path that loses a fifth, and then closes [CON-11]', () => {
    eachSeed(1, 12, (seed) => {
      const pair = new Pair({
        seed,
        link: { delayMs: 15, loss: 0.2, reorder: 0.1, duplicate: 0.05 },
      }).connected();
      const stream = pair.client.open();
      const other = pair.client.open({ ordered: false });
      const sent = Array.from({ length: 60 }, (_, i) => `${i} ${'x'.repeat((i * 53) % 3_000)}`);
      for (const text of sent) pair.client.send(stream, text);
      pair.client.send(other, bytesOf(100_000, seed));
      pair.client.finish(9, 'all said', 60_000);
      expect(pair.client.core.lifecycle.takesStreams).toBe(false);
      pair.until(() => pair.client.closed !== null, 60_000);
      expect(pair.server.texts(stream.id)).toEqual(sent);
      expect(
        Buffer.compare(pair.server.messages.get(other.id)?.[0] ?? Buffer.alloc(0), bytesOf(100_000, seed)),
      ).toBe(0);
      expect(pair.client.closed).toMatchObject({ by: 'local', code: 9 });
      pair.toTheEnd();
      // A CONNECTION_CLOSE that was lost each time may look like silence.
      if (pair.server.closed?.by === 'peer')
        expect(pair.server.closed).toMatchObject({ code: 9, reason: 'all said' });
    });
  });

  test('with nothing to wait for closes at once', () => {
    const pair = new Pair().connected().run(1_000);
    const start = pair.now;
    pair.client.finish(0, '');
    pair.until(() => pair.server.closed !== null);
    expect(pair.now - start).toBe(5_000);
  });

  test('waits no longer than its deadline for a peer that does not acknowledge', () => {
    const pair = new Pair().connected();
    const stream = pair.client.open();
    pair.client.send(stream, 'nobody hears this');
    pair.world.network.cut('server');
    const start = pair.now;
    pair.client.finish(4, 'impatient', 700);
    pair.until(() => pair.client.closed !== null);
    expect(pair.now - start).toBeGreaterThanOrEqual(700_000);
    expect(pair.now - start).toBeLessThanOrEqual(701_000);
    expect(pair.client.closed).toMatchObject({ by: 'local', code: 4 });
  });

  test('waits as long as there is progress, and is over soon after there is none any more [CON-11]', () => {
    const pair = new Pair({ link: { delayMs: 20, bitsPerSecond: 1_000_000 } }).connected();
    const stream = pair.client.open();
    for (let i = 0; i < 40; i++) pair.client.send(stream, bytesOf(50_000, i));
    pair.client.finish(0, '', 3_600_000, 2_000);
    const start = pair.now;
    pair.until(() => (pair.server.messages.get(stream.id)?.length ?? 0) === 30, 60_000);
    expect(pair.now - start).toBeGreaterThan(10 * SECOND);
    expect(pair.client.closed).toBeNull();
    pair.world.network.cut('server');
    const cutAt = pair.now;
    pair.until(() => pair.client.closed !== null);
    expect(pair.now - cutAt).toBeLessThan(3 * SECOND);
    expect(pair.client.closed).toMatchObject({ by: 'local', timeout: 'close', incomplete: true });
  });

  test('does not take for progress that a peer is there which does not read [CON-11]', () => {
    const pair = new Pair({ client: { heartbeatMs: 300 } }).connected();
    pair.server.readsAll = false;
    const stream = pair.client.open();
    for (let i = 0; i < 600; i++) pair.client.send(stream, bytesOf(50_000, i));
    pair.run(3_000);
    const start = pair.now;
    pair.client.finish(0, '', 3_600_000, 2_000);
    pair.until(() => pair.server.closed !== null);
    expect(pair.now - start).toBeLessThan(2.1 * SECOND);
    expect(pair.client.core.counters.heartbeatsSent).toBeGreaterThan(3);
    expect(pair.server.closed).toMatchObject({ by: 'peer', scope: 'application', code: 0, incomplete: true });
    expect(pair.client.core.lifecycle.wasCut).toBe(true);
  });

  test('is only shortened by another call [CON-11]', () => {
    const pair = new Pair().connected();
    pair.client.send(pair.client.open(), 'nobody hears this');
    pair.world.network.cut('server');
    const start = pair.now;
    pair.client.finish(1, 'first', 60_000, 60_000);
    pair.run(100);
    pair.client.finish(2, 'second', 500_000, 500_000);
    pair.run(100);
    pair.client.finish(3, 'third', 100, 60_000);
    pair.until(() => pair.client.closed !== null);
    expect(pair.now - start).toBeGreaterThanOrEqual(300_000);
    expect(pair.now - start).toBeLessThanOrEqual(302_000);
    expect(pair.client.closed).toMatchObject({ by: 'local', code: 1, reason: 'first' });
  });

  test('by the application, before all arrived, tells that messages are missing; best-effort ones do not count [CON-17]', () => {
    for (const delivery of [Delivery.RELIABLE, Delivery.BEST_EFFORT]) {
      const pair = new Pair().connected();
      const stream = pair.client.open({ delivery });
      pair.client.send(stream, 'first');
      pair.run(1_000);
      pair.client.send(stream, 'second');
      pair.client.close('application', 7, 'off');
      pair.until(() => pair.server.closed !== null);
      const incomplete = delivery === Delivery.RELIABLE;
      expect(pair.server.closed).toMatchObject({ scope: 'application', code: 7, reason: 'off', incomplete });
      expect(pair.client.closed?.incomplete).toBe(incomplete);
      expect(pair.client.frames(FrameType.CONNECTION_CLOSE)[0]).toMatchObject({ scope: incomplete ? 2 : 1 });
    }
  });

  test('waits for the end of a stream, and for a reset, to be known', () => {
    const pair = new Pair().connected();
    const ended = pair.client.open();
    pair.client.send(ended, 'last words');
    pair.client.end(ended);
    const reset = pair.client.open();
    pair.client.send(reset, 'forget it');
    pair.until(() => pair.server.streams.length === 2);
    pair.client.reset(reset, 5);
    pair.client.finish(0, '');
    pair.until(() => pair.server.closed !== null);
    const told = pair.server.events.filter(({ type }) => type === 'reset' || type === 'streamClosed');
    expect(told.some(({ type }) => type === 'reset')).toBe(true);
    expect(pair.server.streams[0].receiver.ended).toBe(true);
  });

  test('of both sides at once delivers what both sent', () => {
    const pair = new Pair({ seed: 3, link: { delayMs: 20, loss: 0.1 } }).connected();
    const there = pair.client.open();
    const back = pair.server.open();
    for (let i = 0; i < 50; i++) {
      pair.client.send(there, `${i}`);
      pair.server.send(back, `${i}`);
    }
    pair.client.finish(1, '');
    pair.server.finish(2, '');
    pair.until(() => pair.client.closed !== null && pair.server.closed !== null);
    const closedFirst = pair.client.closed?.by === 'local' ? pair.client : pair.server;
    const other = closedFirst === pair.client ? pair.server : pair.client;
    const numbers = Array.from({ length: 50 }, (_, i) => `${i}`);
    expect(other.texts(closedFirst === pair.client ? there.id : back.id)).toEqual(numbers);
  });
});

describe('the life of a connection', () => {
  const reason: CloseReason = {
    by: 'peer',
    scope: 'application',
    code: 0,
    reason: '',
    timeout: 'none',
    incomplete: false,
  };

  function lifecycleOf(isServer = false): Lifecycle {
    const host = {
      probeTimeout: SECOND,
      isSettled: true,
      isDelivered: true,
      touch() {},
      onOver() {},
    };
    return new Lifecycle(host, isServer);
  }

  test('that is over by a timeout is told like any other; after a failed handshake it is forgotten at once [CON-6] [CON-8] [CON-9]', () => {
    const idle = lifecycleOf();
    idle.timeOut('idle', 5 * SECOND);
    expect(idle.state).toBe(ConnectionState.CLOSING);
    expect(idle.closing).toMatchObject({ isDue: true, deadline: 8 * SECOND });
    const failed = lifecycleOf();
    failed.timeOut('handshake', 5 * SECOND);
    expect(failed.state).toBe(ConnectionState.CLOSING);
    expect(failed.closing).toMatchObject({ isDue: true, deadline: 5 * SECOND });
  });

  test('is never told to the side that told it first [CON-10]', () => {
    const lifecycle = lifecycleOf();
    lifecycle.drain(reason, 0);
    expect(lifecycle.state).toBe(ConnectionState.DRAINING);
    for (let i = 0; i < 10; i++) lifecycle.closing.onDatagram();
    expect(lifecycle.closing).toMatchObject({ isDue: false, deadline: 3 * SECOND });
    lifecycle.close('application', 0, '', 0);
    expect(lifecycle).toMatchObject({ state: ConnectionState.DRAINING, reason });
  });

  test('goes through its states in one direction, and remembers how far the handshake had come [CON-36]', () => {
    const lifecycle = lifecycleOf();
    expect([lifecycle.state, lifecycle.isOpen, lifecycle.isEstablished]).toEqual([0, true, false]);
    lifecycle.advance(ConnectionState.COMPLETE);
    lifecycle.advance(ConnectionState.CONFIRMED);
    lifecycle.finish(7, 'done', 10 * SECOND, SECOND, 0);
    expect([lifecycle.isOpen, lifecycle.takesStreams]).toEqual([true, false]);
    lifecycle.beforeTransmit(1);
    expect(lifecycle).toMatchObject({ state: ConnectionState.CLOSING, isOpen: false, isEstablished: true });
    lifecycle.advance(ConnectionState.CONFIRMED);
    expect(lifecycle).toMatchObject({ state: ConnectionState.CLOSING, reason: { code: 7, timeout: 'none' } });
    lifecycle.forget();
    expect(lifecycle).toMatchObject({ state: ConnectionState.CLOSED, isEstablished: true });
  });
});
