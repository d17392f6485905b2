import { describe, expect, test } from 'vitest';
import { Pair } from './pair.ts';

const PATIENT = { handshakeTimeoutMs: 600_000 };

describe('a server whose answers get lost', () => {
  for (const mtu of [512, 1_200]) {
    test(`sends three times what came and stops, goes on when more comes, and completes (mtu ${mtu}) [CON-4] [REC-20]`, () => {
      const pair = new Pair({
        client: { ...PATIENT, mtu, mtuMax: mtu },
        server: PATIENT,
      });
      let isCut = true;
      let last = Number.POSITIVE_INFINITY;
      pair.server.filter = (data) => (isCut ? [] : [{ data }]);
      // The first flight comes, what the client sends afterwards does not.
      pair.client.filter = (data) => (pair.now <= last ? [{ data }] : []);
      pair.connect();
      pair.run(1);
      last = pair.now;
      pair.run(120_000);
      const came = received(pair);
      expect(came).toBeGreaterThanOrEqual(1_200);
      // It came to the bound: not even a packet that only acknowledges fits under it any more.
      expect(pair.server.bytesSent).toBeLessThanOrEqual(3 * came);
      expect(pair.server.bytesSent).toBeGreaterThan(3 * came - 64);
      const { length } = pair.server.sent;
      pair.run(60_000);
      expect(pair.server.sent.length).toBe(length);

      last = Number.POSITIVE_INFINITY;
      isCut = false;
      pair.until(() => pair.server.sent.length > length, 90_000, 'more of the server');
      expect(pair.server.bytesSent).toBeLessThanOrEqual(3 * received(pair));
      pair.connected().echo();
    });
  }
});

function received(pair: Pair): number {
  return pair.server.arrived.reduce((sum, { data }) => sum + data.length, 0);
}
