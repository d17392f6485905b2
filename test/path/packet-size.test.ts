import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SECOND } from '../../src/base/time.ts';
import { PacketSizeSearch } from '../../src/path/packet-size.ts';

const ANY = Number.POSITIVE_INFINITY;

/** Probes over a path that carries `carries` bytes, until the search is done; returns the sizes probed. */
function settle(search: PacketSizeSearch, carries: number, now = 0): number[] {
  const probed: number[] = [];
  for (let probe = search.nextProbe(now, ANY); probe > 0; probe = search.nextProbe(now, ANY)) {
    probed.push(probe);
    expect(probed.length).toBeLessThan(100);
    search.onProbeSent(probe);
    expect(search.nextProbe(now, ANY)).toBe(0);
    if (probe <= carries) search.onProbeAcked(probe);
    else search.onProbeLost(probe, now);
  }
  return probed;
}

describe('the packet size search', () => {
  it('starts with the configured size, never below 512 [REC-43]', () => {
    expect(new PacketSizeSearch({ initial: 1_200, ceiling: 1_472 }).mtu).toBe(1_200);
    expect(new PacketSizeSearch({ initial: 600, ceiling: 1_472 }).mtu).toBe(600);
    expect(new PacketSizeSearch({ initial: 100, ceiling: 1_472 }).mtu).toBe(512);
  });

  it('takes the ceiling at once where the path carries it [REC-44]', () => {
    for (const ceiling of [1_472, 8_972, 32_768]) {
      const search = new PacketSizeSearch({ initial: 1_200, ceiling });
      expect(settle(search, 65_507)).toEqual([ceiling]);
      expect(search.mtu).toBe(ceiling);
    }
  });

  it('steps down from the largest candidate, three tries each [REC-44] [REC-45]', () => {
    const search = new PacketSizeSearch({ initial: 1_200, ceiling: 9_000 });
    const probed = settle(search, 1_430);
    expect(probed).toEqual(
      [9_000, 8_952, 4_096, 1_472, 1_452].flatMap((size) => [size, size, size]).concat(1_400),
    );
    expect(search.mtu).toBe(1_400);
  });

  it('tries no more than it may send at once, and the rest when it may send more [REC-44]', () => {
    const search = new PacketSizeSearch({ initial: 1_200, ceiling: 20_000 });
    expect(search.nextProbe(0, 1_279)).toBe(0);
    expect(search.nextProbe(0, 12_000)).toBe(8_952);
    search.onProbeSent(8_952);
    search.onProbeAcked(8_952);
    expect(search.nextProbe(0, 12_000)).toBe(0);
    expect(search.nextProbe(0, 19_999)).toBe(16_384);
    expect(search.nextProbe(0, 20_000)).toBe(20_000);
  });

  it('does not probe when there is nothing above the size in use [REC-43]', () => {
    const search = new PacketSizeSearch({ initial: 1_472, ceiling: 1_472 });
    expect(search.nextProbe(0, ANY)).toBe(0);
  });

  it('keeps below what the peer accepts [REC-43]', () => {
    const search = new PacketSizeSearch({ initial: 1_400, ceiling: 32_768 });
    expect(search.limit(9_000)).toBe(false);
    expect(search.nextProbe(0, ANY)).toBe(9_000);
    expect(search.limit(1_300)).toBe(true);
    expect(search.mtu).toBe(1_300);
    expect(search.nextProbe(0, ANY)).toBe(0);
  });

  it('tries larger sizes again after ten minutes [REC-45]', () => {
    const search = new PacketSizeSearch({ initial: 1_200, ceiling: 1_472 });
    settle(search, 1_400);
    expect(search.nextProbe(599 * SECOND, ANY)).toBe(0);
    expect(search.nextProbe(600 * SECOND, ANY)).toBe(1_472);
    expect(settle(search, 1_472, 600 * SECOND)).toEqual([1_472]);
    expect(search.mtu).toBe(1_472);
  });

  it('takes a probe that arrives after it was given up [REC-44]', () => {
    const search = new PacketSizeSearch({ initial: 1_200, ceiling: 1_472 });
    search.onProbeSent(1_472);
    search.onProbeLost(1_472, 0);
    expect(search.onProbeAcked(1_472)).toBe(true);
    expect(search.mtu).toBe(1_472);
  });

  it('ignores probes of another size than the one on its way', () => {
    const search = new PacketSizeSearch({ initial: 1_200, ceiling: 1_472 });
    search.onProbeSent(1_472);
    for (let i = 0; i < 5; i++) search.onProbeLost(1_452, 0);
    expect(search.nextProbe(0, ANY)).toBe(0);
    search.onProbeAcked(1_472);
    expect(search.mtu).toBe(1_472);
  });

  describe('when the path begins to swallow large packets [REC-46]', () => {
    const large = () => {
      const search = new PacketSizeSearch({ initial: 1_200, ceiling: 1_472 });
      settle(search, 1_472);
      return search;
    };

    it('falls back to 1,200 after three passes that lost only large packets', () => {
      const search = large();
      expect(search.onLost(1_472, 0)).toBe(false);
      expect(search.onLost(1_300, 0)).toBe(false);
      expect(search.onLost(1_472, 0)).toBe(true);
      expect(search.mtu).toBe(1_200);
    });

    it('counts probe timeouts like such passes', () => {
      const search = large();
      search.onPto(false, 0);
      search.onLost(1_472, 0);
      expect(search.onPto(false, 0)).toBe(true);
      expect(search.mtu).toBe(1_200);
    });

    it('is not deceived by small packets that still arrive', () => {
      const search = large();
      for (let i = 0; i < 2; i++) {
        search.onAcked(300);
        search.onLost(1_472, 0);
      }
      search.onAcked(1_200);
      expect(search.onLost(1_472, 0)).toBe(true);
    });

    it('is not alarmed by congestion: large packets arrive in between, small ones are lost too', () => {
      const search = large();
      for (let i = 0; i < 100; i++) {
        search.onLost(1_472, 0);
        search.onLost(1_472, 0);
        search.onLost(600, 0);
        search.onAcked(1_472);
      }
      expect(search.mtu).toBe(1_472);
    });

    it('searches below the size that failed, and again for it after ten minutes', () => {
      const search = large();
      for (let i = 0; i < 3; i++) search.onLost(1_472, 0);
      expect(settle(search, 1_400)).toEqual([1_452, 1_452, 1_452, 1_400]);
      expect(search.nextProbe(600 * SECOND, ANY)).toBe(1_472);
    });
  });

  describe('when nothing comes through [REC-47]', () => {
    it('shrinks after two probe timeouts of the handshake, twice', () => {
      const search = new PacketSizeSearch({ initial: 1_400, ceiling: 1_400 });
      expect(search.onPto(true, 0)).toBe(false);
      expect(search.onPto(true, 0)).toBe(true);
      expect(search.mtu).toBe(1_200);
      search.onPto(true, 0);
      expect(search.onPto(true, 0)).toBe(true);
      expect(search.mtu).toBe(512);
      for (let i = 0; i < 10; i++) expect(search.onPto(true, 0)).toBe(false);
    });

    it('does not shrink while acknowledgements come in between', () => {
      const search = new PacketSizeSearch({ initial: 1_200, ceiling: 1_200 });
      for (let i = 0; i < 10; i++) {
        search.onPto(true, 0);
        search.onAcked(100);
      }
      expect(search.mtu).toBe(1_200);
    });

    it('finds its way back up after the handshake', () => {
      const search = new PacketSizeSearch({ initial: 1_200, ceiling: 1_472 });
      search.onPto(true, 0);
      search.onPto(true, 0);
      expect(search.mtu).toBe(512);
      settle(search, 1_472);
      expect(search.mtu).toBe(1_472);
    });

    it('needs six timeouts after the handshake', () => {
      const search = new PacketSizeSearch({ initial: 1_200, ceiling: 1_200 });
      for (let i = 0; i < 5; i++) expect(search.onPto(false, 0)).toBe(false);
      expect(search.onPto(false, 0)).toBe(true);
      expect(search.mtu).toBe(512);
    });
  });

  it('stays between floor and ceiling, and ends, whatever the path does', () => {
    const event = fc.record({
      kind: fc.constantFrom('probe', 'lost', 'acked', 'pto', 'handshakePto', 'limit'),
      bytes: fc.integer({ min: 40, max: 65_507 }),
      wait: fc.integer({ min: 0, max: 700 * SECOND }),
    });
    fc.assert(
      fc.property(
        fc.integer({ min: 512, max: 65_507 }),
        fc.integer({ min: 512, max: 65_507 }),
        fc.array(event, { maxLength: 60 }),
        (initial, top, events) => {
          let ceiling = Math.max(initial, top);
          const search = new PacketSizeSearch({ initial, ceiling });
          let now = 0;
          for (const { kind, bytes, wait } of events) {
            now += wait;
            if (kind === 'probe') settle(search, bytes, now);
            else if (kind === 'lost') search.onLost(bytes, now);
            else if (kind === 'acked') search.onAcked(bytes);
            else if (kind === 'limit') {
              ceiling = Math.max(512, bytes);
              search.limit(bytes);
            } else search.onPto(kind === 'handshakePto', now);
            expect(search.mtu).toBeGreaterThanOrEqual(512);
            expect(search.mtu).toBeLessThanOrEqual(ceiling);
          }
        },
      ),
    );
  });
});
