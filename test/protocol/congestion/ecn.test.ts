import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Cubic } from '../../../src/protocol/congestion/cubic.ts';
import { NewReno } from '../../../src/protocol/congestion/loss-based.ts';
import { RttEstimator } from '../../../src/protocol/path/rtt.ts';
import { Driven } from './driven.ts';

const MTU = 1_200;

describe('an ECN congestion mark is a signal like a loss [REC-34]', () => {
  test('it halves the window of NewReno, and leaves CUBIC 0.7 of it, once a recovery period', () => {
    for (const [controller, share] of [
      [new Driven(new NewReno(), MTU), 0.5],
      [new Driven(new Cubic(), MTU), 0.7],
    ] as const) {
      const before = controller.window;
      controller.onEcnCongestion(100, 1, 200);
      expect(controller.window).toBeCloseTo(share * before);
      expect(controller.isSlowStart).toBe(false);
      controller.onEcnCongestion(200, 5, 250);
      expect(controller.onLost(MTU, 150, 260)).toBe(false);
      expect(controller.window).toBeCloseTo(share * before);
      controller.onEcnCongestion(201, 1, 300);
      expect(controller.window).toBeLessThan(share * before);
    }
  });

  test('the acknowledgement that brings it does not grow the window again', () => {
    const reno = new Driven(new NewReno(), MTU);
    const rtt = new RttEstimator();
    rtt.update(40_000, 0, 0);
    reno.onEcnCongestion(100, 1, 200);
    reno.onAcked(6_000, 150, 200, rtt, false);
    expect(reno.window).toBe(6_000);
  });

  test('its reduction stands, whatever losses of the same period turn out to be late arrivals', () => {
    const reno = new Driven(new NewReno(), MTU);
    reno.onLost(MTU, 100, 200);
    reno.onEcnCongestion(150, 1, 300);
    reno.onAllSpurious();
    expect(reno.window).toBe(6_000);
  });

  test('whatever comes, a run of marks does to the window what the same run of losses does', () => {
    const events = fc.array(fc.record({ age: fc.nat(3_000), wait: fc.nat(2_000) }), { maxLength: 60 });
    fc.assert(
      fc.property(fc.constantFrom('reno', 'cubic'), events, (name, moments) => {
        const [marked, lossy] = [0, 1].map(
          () => new Driven(name === 'reno' ? new NewReno() : new Cubic(), MTU),
        );
        let now = 10_000;
        for (const { age, wait } of moments) {
          now += wait;
          marked.onEcnCongestion(now - age, 1, now);
          lossy.onLost(MTU, now - age, now);
          expect(marked.window).toBe(lossy.window);
        }
      }),
    );
  });
});
