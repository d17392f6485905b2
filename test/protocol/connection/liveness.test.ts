import { describe, expect, test } from 'vitest';
import { MILLISECOND, NEVER, SECOND } from '../../../src/base/time.ts';
import { Liveness, LivenessOutcome } from '../../../src/protocol/connection/liveness.ts';
import { CloseCode } from '../../../src/protocol/wire/close-code.ts';
import { FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { internalsOf } from './internals.ts';
import type { LoggedFrame } from './packet-log.ts';
import { Pair } from './pair.ts';

const NO_HEARTBEAT = { heartbeatMs: 0 };

describe('heartbeats', () => {
  test('are sent on an idle connection once an interval, and answered by acknowledgements [CON-7]', () => {
    const pair = new Pair({ server: NO_HEARTBEAT }).connected();
    pair.run(60_000);
    const { counters } = pair.client.core;
    expect(counters.heartbeatsSent).toBeGreaterThanOrEqual(11);
    expect(counters.heartbeatsSent).toBeLessThanOrEqual(12);
    expect(pair.server.core.counters).toMatchObject({
      heartbeatsSent: 0,
      heartbeatsReceived: counters.heartbeatsSent,
    });
    const frames = pair.client.frames(FrameType.HEARTBEAT);
    expect(frames.map(({ number }) => number)).toEqual([...frames.keys()]);
    expect(pair.client.closed).toBeNull();
    // One packet of heartbeat and one of acknowledgement each, and nothing else.
    expect(pair.client.core.counters.packetsLost + pair.client.core.counters.ptoCount).toBe(0);
  });

  test('say again what is under way, and would not be said before the next one [CON-7]', () => {
    const client = { heartbeatMs: 1_000, heartbeatMisses: 20 };
    const pair = new Pair({ link: { delayMs: 100 }, client, server: NO_HEARTBEAT }).connected();
    pair.client.filter = () => [];
    pair.client.send(pair.client.open(), 'lost');
    pair.run(12_000);
    const asking = pair.client.packets.filter(({ frames }) => has(frames, FrameType.HEARTBEAT));
    expect(asking.length).toBeGreaterThan(8);
    expect(asking.every(({ frames }) => frames.some(({ type }) => type >= FrameType.MESSAGE))).toBe(true);
  });

  test('say the end of the handshake again, too, without which nothing else can be read [CON-7]', () => {
    const client = { heartbeatMs: 1_000, heartbeatMisses: 20 };
    const pair = new Pair({ link: { delayMs: 100 }, client, server: NO_HEARTBEAT });
    pair.client.filter = (data) => (pair.client.isConnected ? [] : [{ data }]);
    pair.connect().run(14_000);
    const asking = pair.client.sent.filter(({ packets }) =>
      packets.some(({ frames }) => has(frames, FrameType.HEARTBEAT)),
    );
    expect(asking.length).toBeGreaterThan(8);
    for (const { packets } of asking)
      expect(packets.some(({ frames }) => has(frames, FrameType.CRYPTO))).toBe(true);
  });

  test('are not sent while packets come in [CON-7]', () => {
    const pair = new Pair().connected();
    const stream = pair.client.open();
    for (let i = 0; i < 30; i++) {
      pair.client.send(stream, `${i}`);
      pair.run(1_000);
    }
    expect(pair.client.core.counters.heartbeatsSent + pair.server.core.counters.heartbeatsSent).toBe(0);
  });

  test('of both sides spare each other: what one hears, it need not ask for [CON-7]', () => {
    const pair = new Pair().connected();
    pair.run(60_000);
    const sent = pair.client.core.counters.heartbeatsSent + pair.server.core.counters.heartbeatsSent;
    expect(sent).toBeGreaterThanOrEqual(11);
    expect(sent).toBeLessThanOrEqual(24);
  });

  test('that nobody answers close the connection after the allowed misses, at the configured time [CON-8]', () => {
    for (const [heartbeatMs, heartbeatMisses] of [
      [5_000, 3],
      [1_000, 5],
      [200, 2],
      [50, 4],
    ]) {
      const pair = new Pair({ client: { heartbeatMs, heartbeatMisses }, server: NO_HEARTBEAT }).connected();
      pair.run(20_000);
      pair.world.network.cut('server');
      // What is under way may still come.
      pair.run(20);
      const silent = pair.client.node.arrivals[0]?.arrivedAt ?? pair.client.arrived.at(-1)?.arrivedAt ?? 0;
      pair.until(() => pair.client.closed !== null);
      expect(pair.client.closed).toEqual({
        by: 'timeout',
        timeout: 'heartbeat',
        scope: 'transport',
        code: CloseCode.HEARTBEAT_TIMEOUT,
        reason: '',
        incomplete: false,
      });
      const waited = pair.now - silent;
      expect(waited).toBeGreaterThanOrEqual(heartbeatMs * heartbeatMisses * MILLISECOND);
      expect(waited).toBeLessThanOrEqual(heartbeatMs * heartbeatMisses * MILLISECOND + 2 * MILLISECOND);
      pair.run(500);
      expect(pair.client.endpoint.counters.connectionsOpen).toBe(0);
      expect(pair.client.frames(FrameType.CONNECTION_CLOSE).length).toBeGreaterThan(0);
    }
  });

  test('that are lost now and then close nothing', () => {
    const pair = new Pair({
      seed: 7,
      link: { delayMs: 10, loss: 0.1 },
      client: { heartbeatMs: 500 },
      server: { heartbeatMs: 700 },
    });
    pair.connected().run(120_000);
    expect(pair.client.closed ?? pair.server.closed).toBeNull();
    expect(pair.client.core.counters.packetsLost).toBeGreaterThan(0);
  });

  test('keep a connection whose idle timeout is shorter than their default [CON-7]', () => {
    for (const side of ['client', 'server'] as const) {
      const pair = new Pair({ [side]: { idleTimeoutMs: 2_000 } }).connected();
      pair.run(60_000);
      expect(pair.client.closed ?? pair.server.closed).toBeNull();
      const frames = [...pair.client.frames(FrameType.HEARTBEAT), ...pair.server.frames(FrameType.HEARTBEAT)];
      for (const { interval } of frames) expect(interval).toBe(667);
      expect(frames.length).toBeGreaterThan(60);
      pair.world.network.cut('server');
      pair.until(() => pair.client.closed !== null, 3_000);
    }
  });

  test('that one side alone does not hear answered: it says so, and the other learns it within the time of a packet [CON-8]', () => {
    const pair = new Pair({ client: { heartbeatMs: 200 } }).connected().run(1_000);
    pair.server.filter = () => [];
    pair.until(() => pair.client.closed !== null, 2_000);
    const start = pair.now;
    pair.until(() => pair.server.closed !== null, 100);
    expect(pair.now - start).toBe(5_000);
    expect(pair.server.closed).toMatchObject({
      by: 'peer',
      scope: 'transport',
      code: CloseCode.HEARTBEAT_TIMEOUT,
    });
  });

  test('do not end a handshake that takes longer than they allow [CON-5]', () => {
    const quick = { heartbeatMs: 100, heartbeatMisses: 3, idleTimeoutMs: 500 };
    const pair = new Pair({ link: { delayMs: 400 }, client: quick, server: { heartbeatMs: 0 } });
    // The first flight of the server is lost, too, so that silence lasts for over a second.
    pair.server.filter = (data, index) => (index < 2 ? [] : [{ data }]);
    pair.connect();
    pair.until(() => pair.client.isConnected, 10_000);
    expect(pair.client.halfOpen.counters.heartbeatsSent).toBe(0);
  });
});

describe('the idle timeout', () => {
  test.each([
    [4_000, 9_000, 4_000],
    [9_000, 4_000, 4_000],
    [0, 3_000, 3_000],
    [3_000, 0, 3_000],
  ])('of %i ms here and %i ms there is %i ms on both sides [CON-6]', (client, server, effective) => {
    const pair = new Pair({
      client: { ...NO_HEARTBEAT, idleTimeoutMs: client },
      server: { ...NO_HEARTBEAT, idleTimeoutMs: server },
    }).connected();
    pair.run(1_000);
    const last = Math.max(
      ...[pair.client, pair.server].flatMap(({ arrived }) => arrived.map(({ arrivedAt }) => arrivedAt)),
    );
    const ends: number[] = [];
    for (const side of [pair.client, pair.server]) {
      side.onEvent = ({ type }) => type === 'closed' && ends.push(pair.now - last);
    }
    pair.until(() => pair.client.closed !== null && pair.server.closed !== null);
    // Whose time is over first tells the other, which is as far by then.
    const reasons = [pair.client.closed, pair.server.closed];
    expect(reasons.some((reason) => reason?.by === 'timeout')).toBe(true);
    for (const reason of reasons) expect(reason?.code).toBe(CloseCode.IDLE_TIMEOUT);
    for (const end of ends) {
      expect(end).toBeGreaterThan((effective - 100) * MILLISECOND);
      expect(end).toBeLessThanOrEqual((effective + 2) * MILLISECOND);
    }
    pair.run(500);
    expect(pair.server.endpoint.counters.connectionsOpen).toBe(0);
  });

  test('of 0 on both sides never comes', () => {
    const never = { ...NO_HEARTBEAT, idleTimeoutMs: 0 };
    const pair = new Pair({ client: never, server: never }).connected();
    expect(pair.world.run({ forMs: 1e9 })).toBe('quiet');
    expect(pair.client.closed).toBeNull();
    pair.echo();
  });

  test('starts anew with every packet that comes [CON-6]', () => {
    const idle = { ...NO_HEARTBEAT, idleTimeoutMs: 2_000 };
    const pair = new Pair({ client: idle, server: idle }).connected();
    for (let i = 0; i < 20; i++) {
      pair.run(1_500);
      pair.echo(`${i}`);
    }
    expect(pair.client.closed).toBeNull();
  });

  test('is kept away by heartbeats', () => {
    const pair = new Pair({
      client: { idleTimeoutMs: 8_000 },
      server: { ...NO_HEARTBEAT, idleTimeoutMs: 8_000 },
    }).connected();
    pair.run(100_000);
    expect(pair.client.closed ?? pair.server.closed).toBeNull();
  });

  test('is not shorter than three probe timeouts [CON-6]', () => {
    const idle = { ...NO_HEARTBEAT, idleTimeoutMs: 1 };
    const pair = new Pair({ link: { delayMs: 300 }, client: idle, server: idle }).connected();
    const pto = internalsOf(pair.client.core).recovery.probeTimeout(2);
    const start = pair.now;
    pair.until(() => pair.client.closed !== null);
    expect(pair.client.closed?.code).toBe(CloseCode.IDLE_TIMEOUT);
    expect(pair.now - start).toBeGreaterThan(2 * pto);
  });
});

describe('liveness', () => {
  test('sets its deadline to the earliest of what it waits for', () => {
    const liveness = new Liveness(5_000, 5, 16_000, 0);
    expect(liveness.deadline(0)).toBe(5 * SECOND);
    expect(liveness.onTimeout(5 * SECOND, 0)).toBe(LivenessOutcome.HEARTBEAT_DUE);
    expect(liveness.deadline(0)).toBe(10 * SECOND);
    expect(liveness.onTimeout(10 * SECOND, 0)).toBe(LivenessOutcome.HEARTBEAT_DUE);
    expect(liveness.onTimeout(15 * SECOND, 0)).toBe(LivenessOutcome.HEARTBEAT_DUE);
    expect(liveness.deadline(0)).toBe(16 * SECOND);
    expect(liveness.onTimeout(16 * SECOND, 0)).toBe(LivenessOutcome.IDLE_TIMEOUT);
  });

  test('asks three times in an idle timeout, but not more often than a probe timeout allows [CON-7]', () => {
    expect(new Liveness(5_000, 3, 2_000, 0).interval(0)).toBeCloseTo((2 * SECOND) / 3);
    expect(new Liveness(5_000, 3, 60_000, 0).interval(0)).toBe(5 * SECOND);
    expect(new Liveness(5_000, 3, 0, 0).interval(0)).toBe(5 * SECOND);
    expect(new Liveness(5_000, 3, 30, 0).interval(SECOND)).toBe(SECOND);
    expect(new Liveness(0, 3, 2_000, 0).interval(0)).toBe(NEVER);
    const liveness = new Liveness(5_000, 3, 0, 0);
    liveness.onPeerParameters(3_000, 0);
    expect(liveness.interval(0)).toBe(SECOND);
  });

  test('gives up nobody who was not asked for three probe timeouts, however late it is called [CON-8]', () => {
    const liveness = new Liveness(100, 3, 0, 0);
    expect(liveness.onTimeout(900_000, 50_000)).toBe(LivenessOutcome.HEARTBEAT_DUE);
    expect(liveness.onTimeout(1_049_000, 50_000)).toBe(LivenessOutcome.HEARTBEAT_DUE);
    expect(liveness.onTimeout(1_050_000, 50_000)).toBe(LivenessOutcome.HEARTBEAT_TIMEOUT);
  });

  test('counts silence anew after a sleep, unless something has just come [CON-16]', () => {
    const liveness = new Liveness(5_000, 3, 30_000, 0);
    expect(liveness.onTimeout(5 * SECOND, 0)).toBe(LivenessOutcome.HEARTBEAT_DUE);
    expect(liveness.onResumed(3_600 * SECOND)).toBe(true);
    expect(liveness.onTimeout(3_600 * SECOND, 0)).toBe(LivenessOutcome.NONE);
    expect(liveness.onTimeout(3_614.9 * SECOND, 0)).toBe(LivenessOutcome.HEARTBEAT_DUE);
    expect(liveness.onTimeout(3_615 * SECOND, 0)).toBe(LivenessOutcome.HEARTBEAT_TIMEOUT);
    liveness.onReceived(7_200 * SECOND);
    expect(liveness.onResumed(7_200 * SECOND)).toBe(false);
  });

  test('counts only the first packet sent since something came as activity [CON-6]', () => {
    const liveness = new Liveness(0, 3, 10_000, 0);
    liveness.onSent(4 * SECOND);
    liveness.onSent(8 * SECOND);
    expect(liveness.deadline(0)).toBe(14 * SECOND);
    liveness.onReceived(9 * SECOND);
    expect(liveness.deadline(0)).toBe(19 * SECOND);
    liveness.onSent(10 * SECOND);
    expect(liveness.deadline(0)).toBe(20 * SECOND);
  });

  test('takes the smaller of two idle timeouts, and none for 0 [CON-6]', () => {
    const idleFor = (mine: number, peer: number) => {
      const liveness = new Liveness(0, 1, mine, 0);
      liveness.onPeerParameters(peer, 0);
      return liveness.deadline(0);
    };
    expect(idleFor(7, 9)).toBe(7 * MILLISECOND);
    expect(idleFor(9, 7)).toBe(7 * MILLISECOND);
    expect(idleFor(0, 7)).toBe(7 * MILLISECOND);
    expect(idleFor(0, 0)).toBe(NEVER);
  });
});

const rest = (): number => 30 * SECOND;
const usual = (configured: number): number => configured;

describe('a side that wants to sleep', () => {
  test('has an interval above a third of the idle timeout, which follows it, up to the idle timeout itself [CON-63]', () => {
    const liveness = new Liveness(5_000, 3, 30_000, 0);
    expect(liveness.adapt(rest, 0)).toBe(true);
    expect(liveness.interval(0)).toBe(30 * SECOND);
    expect(liveness.intervalMs(0)).toBe(30_000);
    liveness.onReceived(0);
    expect(liveness.deadline(0)).toBe(30 * SECOND);
    expect(new Liveness(25_000, 3, 30_000, 0).interval(0)).toBe(25 * SECOND);
    expect(new Liveness(60_000, 3, 30_000, 0).interval(0)).toBe(30 * SECOND);
    // No wish to sleep, which 10 s at most are not, changes anything.
    expect(new Liveness(10_000, 3, 15_000, 0).interval(0)).toBe(5 * SECOND);
    expect(new Liveness(60_000, 3, 9_000, 0).interval(0)).toBe(3 * SECOND);
    expect(new Liveness(0, 3, 30_000, 0).adapt(rest, 0)).toBe(false);
  });

  test('asks as often as configured once it is not answered, and gives up as soon as others [CON-62] [CON-8]', () => {
    const liveness = new Liveness(5_000, 3, 30_000, 0);
    liveness.adapt(rest, 0);
    liveness.onReceived(0);
    const beats: number[] = [];
    let now = 0;
    for (;;) {
      now = liveness.deadline(0);
      const found = liveness.onTimeout(now, 0);
      if (found !== LivenessOutcome.HEARTBEAT_DUE) break;
      beats.push(now / SECOND);
    }
    expect(beats).toEqual([30, 35]);
    expect(now).toBe(40 * SECOND);
  });

  test('is left in peace for 5/4 of its interval, but no longer than eight times the own one, and not by one that sleeps itself [CON-64]', () => {
    const silence = (own: number, peer: number, idle = 120_000): number => {
      const liveness = new Liveness(own, 20, idle, 0);
      liveness.onPeerParameters(idle, 5_000);
      liveness.onHeartbeat(0, peer);
      return liveness.deadline(0) / SECOND;
    };
    expect(silence(5_000, 30_000)).toBe(37.5);
    expect(silence(1_000, 30_000)).toBe(8);
    expect(silence(750, 30_000)).toBe(6);
    expect(silence(5_000, 10_000)).toBe(5);
    expect(silence(5_000, 0)).toBe(5);
    expect(silence(5_000, 2 ** 50)).toBe(40);
    expect(silence(25_000, 30_000)).toBe(25);
    expect(silence(5_000, 2 ** 50, 8_000)).toBeCloseTo(8 / 3);
  });

  test('makes the other side wait for three of its intervals, and never for more than three idle timeouts [CON-63]', () => {
    const idleFor = (intervalMs: number): number => {
      const liveness = new Liveness(0, 3, 30_000, 0);
      liveness.onPeerParameters(60_000, intervalMs);
      return liveness.deadline(0) / SECOND;
    };
    expect(idleFor(10_000)).toBe(30);
    expect(idleFor(20_000)).toBe(60);
    expect(idleFor(30_000)).toBe(90);
    expect(idleFor(2 ** 52)).toBe(90);
  });

  test('is heeded by its newest heartbeat, whichever comes last [CON-62]', () => {
    const liveness = new Liveness(5_000, 3, 30_000, 0);
    liveness.onPeerParameters(30_000, 5_000);
    liveness.onHeartbeat(7, 5_000);
    liveness.onHeartbeat(6, 30_000);
    expect(liveness.deadline(0)).toBe(5 * SECOND);
    liveness.onHeartbeat(8, 30_000);
    expect(liveness.deadline(0)).toBe(37.5 * SECOND);
    liveness.onHeartbeat(9, 5_000);
    expect(liveness.deadline(0)).toBe(5 * SECOND);
  });

  test('asks together with what else is sent, in the second half of its interval, and once [CON-65]', () => {
    const liveness = new Liveness(5_000, 3, 30_000, 0);
    liveness.adapt(rest, 0);
    expect(liveness.joins(20 * SECOND)).toBe(false); // it has asked
    liveness.onReceived(0);
    expect([14.9, 15, 16].map((at) => liveness.joins(at * SECOND))).toEqual([false, true, false]);
    liveness.onReceived(15 * SECOND);
    expect(liveness.deadline(0)).toBe(45 * SECOND);
    expect(new Liveness(0, 3, 30_000, 0).joins(25 * SECOND)).toBe(false);
  });
});

describe('a check of liveness', () => {
  test('asks each second, and gives up after as many as misses are allowed [CON-66]', () => {
    const liveness = new Liveness(5_000, 3, 30_000, 0);
    liveness.check(20 * SECOND);
    expect(liveness.deadline(0)).toBe(21 * SECOND);
    expect(liveness.onTimeout(21 * SECOND, 0)).toBe(LivenessOutcome.HEARTBEAT_DUE);
    expect(liveness.onTimeout(22 * SECOND, 0)).toBe(LivenessOutcome.HEARTBEAT_DUE);
    expect(liveness.onTimeout(23 * SECOND, 0)).toBe(LivenessOutcome.HEARTBEAT_TIMEOUT);
  });

  test('is no more frequent than the probe timeout or a shorter interval, and waits for three probe timeouts [CON-66]', () => {
    const slow = new Liveness(5_000, 2, 30_000, 0);
    slow.check(0);
    expect(slow.deadline(1.5 * SECOND)).toBe(1.5 * SECOND);
    expect(slow.onTimeout(2 * SECOND, 1.5 * SECOND)).toBe(LivenessOutcome.HEARTBEAT_DUE);
    expect(slow.onTimeout(4.5 * SECOND, 1.5 * SECOND)).toBe(LivenessOutcome.HEARTBEAT_TIMEOUT);
    const quick = new Liveness(200, 3, 30_000, 0);
    quick.check(0);
    expect(quick.deadline(0)).toBe(SECOND / 5);
  });

  test('ends with the first packet, and means nothing without heartbeats [CON-66]', () => {
    const liveness = new Liveness(5_000, 3, 30_000, 0);
    liveness.check(0);
    liveness.onReceived(SECOND / 2);
    expect(liveness.deadline(0)).toBe(5.5 * SECOND);
    const without = new Liveness(0, 3, 30_000, 0);
    without.check(0);
    expect(without.deadline(0)).toBe(30 * SECOND);
    expect(without.adapt(usual, 0)).toBe(false);
  });
});

function has(frames: readonly LoggedFrame[], type: number): boolean {
  return frames.some((frame) => frame.type === type);
}
