import { describe, expect, test } from 'vitest';
import { MILLISECOND } from '../../src/base/time.ts';
import type { LossBasedController } from '../../src/protocol/congestion/loss-based.ts';
import { TransmitBatch } from '../../src/protocol/datagram/index.ts';
import { type Flow, Pressure } from './pressure.ts';

const MIB = 1024 * 1024;

/** Mbit/s of each flow in the next `ms`. */
function ratesOf(flows: readonly Flow[], pressure: Pressure, ms: number): number[] {
  pressure.restart();
  pressure.run(ms);
  return flows.map(({ receivedBytes }) => (8 * receivedBytes) / (1_000 * ms));
}

describe('Connections of one endpoint', () => {
  test('share the memory for what is received: one that took all of it gives way to those that come later [CON-50] [CON-52]', () => {
    const pressure = new Pressure({
      seed: 3,
      link: { delayMs: 100 },
      server: { memoryBytesMax: 2 * MIB },
    });
    const load = { bytes: 8_000 };
    const greedy = pressure.flow(load);
    pressure.run(3_000);
    const [alone] = ratesOf([greedy], pressure, 1_000);
    expect(alone).toBeGreaterThan(40);
    const flows = [greedy, ...[1, 2].map(() => pressure.flow(load, pressure.connect()))];
    pressure.run(4_000);
    const rates = ratesOf(flows, pressure, 2_000);
    const sum = rates.reduce((total, rate) => total + rate, 0);
    expect(sum).toBeGreaterThan(0.85 * alone);
    for (const rate of rates) expect(Math.abs(rate / sum - 1 / 3)).toBeLessThan(0.2 / 3);
    // and takes it back when they are gone
    pressure.flows.splice(1);
    for (const gone of pressure.connections.slice(1))
      gone.lifecycle.close('application', 0, '', pressure.world.now);
    pressure.run(4_000);
    expect(ratesOf([greedy], pressure, 1_000)[0]).toBeGreaterThan(0.9 * alone);
  });

  test('share a socket that takes less than they could send, and a message of another waits for no more than a batch [SCH-9]', () => {
    const datagramTime = 100;
    const pressure = new Pressure({ seed: 3, link: { delayMs: 5 }, datagramTime });
    const thin = pressure.flow({ bytes: 100, everyMs: 10 });
    // each connects while those before it fill every batch
    const flows = Array.from({ length: 8 }, () => pressure.flow({ bytes: 8_000 }, pressure.connect()));
    // the network is not what decides
    for (const { path } of pressure.connections) (path.congestion as LossBasedController).window = 1_000_000;
    pressure.run(500);
    const rates = ratesOf(flows, pressure, 2_000);
    const sum = rates.reduce((total, rate) => total + rate, 0);
    expect(sum).toBeGreaterThan(80);
    for (const rate of rates) expect(Math.abs(rate / sum - 1 / 8)).toBeLessThan(0.1 / 8);
    const batchMs = (new TransmitBatch().datagramsMax * datagramTime) / MILLISECOND;
    expect(thin.agesMs.length).toBeGreaterThan(150);
    expect(thin.ageMs(1)).toBeLessThan(5 + batchMs + 2);
  });

  test('find a window that a fast and long path needs as fast as slow start does, in ten round trips: 100 Mbit/s over 200 ms [STR-9]', () => {
    const link = { delayMs: 100, bitsPerSecond: 100e6, queueBytesMax: 2_500_000 };
    const pressure = new Pressure({ seed: 1, link });
    const flow = pressure.flow({ bytes: 16_000 });
    pressure.run(9 * 200);
    expect(ratesOf([flow], pressure, 400)[0]).toBeGreaterThan(90);
    expect(pressure.connections[0].metrics().dataBlocked).toBeLessThan(2);
  });
});
