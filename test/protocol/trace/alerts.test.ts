import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  ALERT_DEFAULTS,
  type Alert,
  type AlertSample,
  AlertStates,
} from '../../../src/protocol/trace/alerts.ts';

/** A connection that is looked at each second: what a test does not say goes well. */
class Watched {
  readonly told: Alert[] = [];
  readonly states = new AlertStates(ALERT_DEFAULTS);
  private atMs = 0;
  private sample: AlertSample = {
    packetsSent: 0,
    packetsLost: 0,
    retransmittedPackets: 0,
    rttMs: -1,
    mtu: 1_452,
    stalledMs: 0,
  };

  /** So many seconds, in each of which so many packets are sent and lost, and so on. */
  run(seconds: number, { sent = 0, lost = 0, again = 0, ...now }: Second = {}): this {
    for (let i = 0; i < seconds; i++) {
      this.sample = {
        ...this.sample,
        rttMs: sent > 0 ? 50 : -1,
        stalledMs: 0,
        ...now,
        packetsSent: this.sample.packetsSent + sent,
        packetsLost: this.sample.packetsLost + lost,
        retransmittedPackets: this.sample.retransmittedPackets + again,
      };
      this.told.push(...this.states.look(this.sample, this.atMs));
      this.atMs += this.states.intervalMs;
    }
    return this;
  }

  get story(): string[] {
    return this.told.map(({ kind, state }) => `${kind} ${state}`);
  }
}

type Second = Partial<AlertSample> & { sent?: number; lost?: number; again?: number };

describe('alerts [CON-71]', () => {
  test('are none on a connection that does well', () => {
    expect(new Watched().run(60, { sent: 100, lost: 2, again: 2 }).story).toEqual([]);
  });

  test('of loss are raised once, and cleared once when it is gone', () => {
    const watched = new Watched().run(20, { sent: 100 });
    watched.run(30, { sent: 100, lost: 10 });
    expect(watched.story).toEqual(['highLoss raised']);
    const [raised] = watched.told;
    expect(raised).toMatchObject({ threshold: 0.05, sinceMs: raised.atMs });
    expect(raised.value).toBeGreaterThanOrEqual(0.05);
    expect(raised.atMs).toBeLessThan(27_000); // half of the window is enough for twice the threshold
    watched.run(30, { sent: 100 });
    expect(watched.story).toEqual(['highLoss raised', 'highLoss cleared']);
    const cleared = watched.told[1];
    expect(cleared.sinceMs).toBe(raised.atMs);
    expect(cleared.value).toBeLessThan(0.025);
    expect(cleared.message).toMatch(/^highLoss is over, after \d+ s: /);
    expect(raised.message).toMatch(/^5\.0 % of the packets are lost \(highLoss: the threshold is 5\.0 %\)$/);
  });

  test('that play around the threshold are raised once', () => {
    const watched = new Watched().run(20, { sent: 100 });
    for (let i = 0; i < 40; i++) watched.run(12, { sent: 100, lost: i % 2 === 0 ? 6 : 4, again: 0 });
    expect(watched.story).toEqual(['highLoss raised']);
    for (let i = 0; i < 20; i++) watched.run(2, { sent: 100, rttMs: i % 2 === 0 ? 270 : 340, lost: 4 });
    expect(watched.story).toEqual(['highLoss raised', 'highLatency raised']);
  });

  test('need enough packets to tell: one of ten that is lost is none', () => {
    expect(
      new Watched().run(60, { sent: 1, lost: 0 }).run(1, { sent: 1, lost: 1 }).run(9, { sent: 1 }).story,
    ).toEqual([]);
    expect(new Watched().run(60, { sent: 4, lost: 1 }).story).toEqual(['highLoss raised']);
  });

  test('of a connection that goes quiet clear, all of them', () => {
    const watched = new Watched().run(30, { sent: 50, lost: 10, again: 12, rttMs: 500, stalledMs: 6_000 });
    expect(watched.story.sort()).toEqual([
      'excessiveRetransmissions raised',
      'highLatency raised',
      'highLoss raised',
      'streamsStalled raised',
    ]);
    watched.told.length = 0;
    watched.run(30);
    expect(watched.story.sort()).toEqual([
      'excessiveRetransmissions cleared',
      'highLatency cleared',
      'highLoss cleared',
      'streamsStalled cleared',
    ]);
  });

  test('of latency go by the median of the window, and not by one round trip', () => {
    const watched = new Watched().run(20, { sent: 10 });
    for (let i = 0; i < 10; i++) watched.run(1, { sent: 10, rttMs: 1_500 }).run(9, { sent: 10 });
    expect(watched.story).toEqual([]);
    expect(new Watched().run(2, { sent: 10, rttMs: 900 }).run(8, { sent: 10 }).story).toEqual([]);
    watched.run(20, { sent: 10, rttMs: 400 });
    expect(watched.story).toEqual(['highLatency raised']);
    watched.run(3, { sent: 10, rttMs: 250 });
    expect(watched.story).toEqual(['highLatency raised']);
    watched.run(8, { sent: 10, rttMs: 200 });
    expect(watched.story).toEqual(['highLatency raised', 'highLatency cleared']);
  });

  test('of the packet size are raised when it falls, and cleared when it is back or usual', () => {
    const watched = new Watched().run(5, { mtu: 1_200 }).run(5, { mtu: 1_452 });
    expect(watched.story).toEqual([]);
    watched.run(1, { mtu: 1_200 });
    expect(watched.told).toMatchObject([
      { kind: 'mtuChanged', state: 'raised', value: 1_200, threshold: 1_452 },
    ]);
    watched.run(5, { mtu: 1_400 });
    expect(watched.story).toHaveLength(1);
    watched.run(1, { mtu: 1_452 });
    expect(watched.told[1]).toMatchObject({ kind: 'mtuChanged', state: 'cleared', value: 1_452 });
    watched.run(40, { mtu: 1_200 }).run(40, { mtu: 800 });
    expect(watched.story.slice(2)).toEqual(['mtuChanged raised']);
    watched.run(21, { mtu: 800 });
    expect(watched.story.slice(2)).toEqual(['mtuChanged raised', 'mtuChanged cleared']);
  });

  test('that are switched off are none', () => {
    const states = new AlertStates({
      highLatencyMs: Number.POSITIVE_INFINITY,
      highLossRate: Number.POSITIVE_INFINITY,
      retransmissionRate: Number.POSITIVE_INFINITY,
      mtuChanged: false,
      streamsStalledMs: Number.POSITIVE_INFINITY,
      windowMs: 1_000,
    });
    expect(states.intervalMs).toBe(100);
    for (let i = 1; i < 50; i++) {
      const sample = { packetsSent: 100 * i, packetsLost: 90 * i, retransmittedPackets: 90 * i };
      expect(states.look({ ...sample, rttMs: 9_000, mtu: 1_200 - i, stalledMs: 1e6 }, i * 100)).toEqual([]);
    }
  });

  test('whatever happens, each kind is raised and cleared in turn', () => {
    const second = fc.record({
      sent: fc.integer({ min: 0, max: 60 }),
      lost: fc.integer({ min: -3, max: 12 }),
      again: fc.integer({ min: 0, max: 12 }),
      rttMs: fc.oneof(fc.constant(-1), fc.integer({ min: 1, max: 900 })),
      mtu: fc.constantFrom(600, 1_200, 1_452),
      stalledMs: fc.integer({ min: 0, max: 9_000 }),
    });
    fc.assert(
      fc.property(fc.array(second, { maxLength: 120 }), (seconds) => {
        const watched = new Watched();
        for (const each of seconds) watched.run(1, each);
        const open = new Map<string, Alert>();
        for (const alert of watched.told) {
          const { kind, state } = alert;
          expect(open.has(kind)).toBe(state === 'cleared');
          if (state === 'raised') {
            open.set(kind, alert);
            expect(
              kind === 'mtuChanged' ? alert.threshold >= alert.value : alert.value >= alert.threshold,
            ).toBe(true);
          } else {
            expect(alert.sinceMs).toBe(open.get(kind)?.atMs);
            expect(alert.threshold).toBe(open.get(kind)?.threshold);
            open.delete(kind);
          }
        }
      }),
    );
  });
});
