import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SECOND } from '../../../src/base/time.ts';
import { PathMtuDiscovery } from '../../../src/protocol/path/mtu-discovery.ts';

const ANY = Number.POSITIVE_INFINITY;

/** Probes over a path that carries `carries` bytes, until the search is done; returns the sizes probed. */
function settle(search: PathMtuDiscovery, carries: number, now = 0): number[] {
  const probed: number[] = [];
  for (let probe = search.nextProbe(now, ANY); probe > 0; probe = search.nextProbe(now, ANY)) {
    probed.push(probe);
    expect(probed.length).toBeLessThan(100);
    search.onProbeSent(probe);
    expect(search.nextProbe(now, ANY)).toBe(0);
    if (probe <= carries) search.onProbeAcked(probe);
    else search.onProbeLost(probe, 0, now);
  }
  return probed;
}

describe('the packet size search', () => {
  test('starts with the configured size, never below 512 [REC-43]', () => {
    expect(new PathMtuDiscovery({ initial: 1_200, ceiling: 1_472 }).mtu).toBe(1_200);
    expect(new PathMtuDiscovery({ initial: 600, ceiling: 1_472 }).mtu).toBe(600);
    expect(new PathMtuDiscovery({ initial: 100, ceiling: 1_472 }).mtu).toBe(512);
  });

  test('takes the ceiling at once where the path carries it [REC-44]', () => {
    for (const ceiling of [1_472, 8_972, 32_768]) {
      const search = new PathMtuDiscovery({ initial: 1_200, ceiling });
      expect(settle(search, 65_507)).toEqual([ceiling]);
      expect(search.mtu).toBe(ceiling);
    }
  });

  test('steps down from the largest candidate, three tries each [REC-44] [REC-45]', () => {
    const search = new PathMtuDiscovery({ initial: 1_200, ceiling: 9_000 });
    const probed = settle(search, 1_430);
    expect(probed).toEqual(
      [9_000, 8_952, 4_096, 1_472, 1_452].flatMap((size) => [size, size, size]).concat(1_400),
    );
    expect(search.mtu).toBe(1_400);
  });

  test('tries no more than it may send at once, and the rest when it may send more [REC-44]', () => {
    const search = new PathMtuDiscovery({ initial: 1_200, ceiling: 20_000 });
    expect(search.nextProbe(0, 1_279)).toBe(0);
    expect(search.nextProbe(0, 12_000)).toBe(8_952);
    search.onProbeSent(8_952);
    search.onProbeAcked(8_952);
    expect(search.nextProbe(0, 12_000)).toBe(0);
    expect(search.nextProbe(0, 19_999)).toBe(16_384);
    expect(search.nextProbe(0, 20_000)).toBe(20_000);
  });

  test('does not probe when there is nothing above the size in use [REC-43]', () => {
    const search = new PathMtuDiscovery({ initial: 1_472, ceiling: 1_472 });
    expect(search.nextProbe(0, ANY)).toBe(0);
  });

  test('keeps below what the peer accepts [REC-43]', () => {
    const search = new PathMtuDiscovery({ initial: 1_400, ceiling: 32_768 });
    expect(search.limit(9_000)).toBe(false);
    expect(search.nextProbe(0, ANY)).toBe(9_000);
    expect(search.limit(1_300)).toBe(true);
    expect(search.mtu).toBe(1_300);
    expect(search.nextProbe(0, ANY)).toBe(0);
  });

  test('tries larger sizes again after ten minutes [REC-45]', () => {
    const search = new PathMtuDiscovery({ initial: 1_200, ceiling: 1_472 });
    settle(search, 1_400);
    expect(search.nextProbe(599 * SECOND, ANY)).toBe(0);
    expect(search.nextProbe(600 * SECOND, ANY)).toBe(1_472);
    expect(settle(search, 1_472, 600 * SECOND)).toEqual([1_472]);
    expect(search.mtu).toBe(1_472);
  });

  test('takes as many tries as tell a size that is too large from one that was unlucky, twelve at most [REC-45]', () => {
    const triesAt = (lossRate: number) => {
      const search = new PathMtuDiscovery({ initial: 1_200, ceiling: 1_472 });
      for (let tries = 1; ; tries++) {
        search.onProbeSent(1_472);
        if (search.onProbeLost(1_472, lossRate, 0)) return tries;
      }
    };
    expect([0, 0.01, 0.04, 0.05, 0.09, 0.2, 0.3, 0.46, 0.47, 1].map(triesAt)).toEqual([
      3, 3, 3, 4, 4, 6, 8, 12, 12, 12,
    ]);
  });

  test('takes a probe that arrives after it was given up [REC-44]', () => {
    const search = new PathMtuDiscovery({ initial: 1_200, ceiling: 1_472 });
    search.onProbeSent(1_472);
    search.onProbeLost(1_472, 0, 0);
    expect(search.onProbeAcked(1_472)).toBe(true);
    expect(search.mtu).toBe(1_472);
  });

  test('ignores probes of another size than the one on its way', () => {
    const search = new PathMtuDiscovery({ initial: 1_200, ceiling: 1_472 });
    search.onProbeSent(1_472);
    for (let i = 0; i < 5; i++) search.onProbeLost(1_452, 0, 0);
    expect(search.nextProbe(0, ANY)).toBe(0);
    search.onProbeAcked(1_472);
    expect(search.mtu).toBe(1_472);
  });

  test('begins with what is known to be carried, and looks for more from there [REC-43]', () => {
    const search = new PathMtuDiscovery({ initial: 1_200, ceiling: 1_452 });
    expect(search.startAt(1_200)).toBe(false);
    expect(search.startAt(600)).toBe(true);
    expect(search.mtu).toBe(600);
    expect(search.startAt(100)).toBe(true);
    expect(search.mtu).toBe(512);
    expect(search.falls).toBe(0);
    settle(search, 1_100);
    expect(search.mtu).toBe(1_024);
  });

  describe('when the path begins to swallow large packets [REC-46]', () => {
    const large = () => {
      const search = new PathMtuDiscovery({ initial: 1_200, ceiling: 1_472 });
      settle(search, 1_472);
      return search;
    };

    test('falls back to 1,200 after three passes that lost only large packets', () => {
      const search = large();
      expect(search.onLost(1_472)).toBe(false);
      expect(search.onLost(1_300)).toBe(false);
      expect(search.onLost(1_472)).toBe(true);
      expect(search.mtu).toBe(1_200);
      expect(search.falls).toBe(1);
    });

    test('falls back at once to 512 when smaller packets than 1,200 are swallowed as well', () => {
      const search = large();
      for (const bytes of [1_472, 800, 1_472]) search.onLost(bytes);
      expect(search.mtu).toBe(512);
    });

    test('falls further with the next such pass when the first step was too short', () => {
      const search = large();
      for (let i = 0; i < 3; i++) search.onLost(1_472);
      // What is still lost of the size given up tells nothing new.
      expect(search.onLost(1_472)).toBe(false);
      expect(search.mtu).toBe(1_200);
      expect(search.onLost(1_200)).toBe(true);
      expect(search.mtu).toBe(512);
    });

    test('falls from 1,200 and less, too', () => {
      const search = new PathMtuDiscovery({ initial: 1_200, ceiling: 1_200 });
      for (let i = 0; i < 2; i++) expect(search.onAck(100, 1_000)).toBe(false);
      expect(search.onAck(100, 1_000)).toBe(true);
      expect(search.mtu).toBe(512);
    });

    test('counts the probe timeouts before such a pass, and no others', () => {
      const search = large();
      search.onPto(false);
      search.onPto(false);
      expect(search.onAck(60, 1_472)).toBe(true);
      expect(search.mtu).toBe(1_200);
      const quiet = large();
      for (let i = 0; i < 10; i++) {
        quiet.onPto(false);
        quiet.onPto(false);
        quiet.onAck(60, 0);
      }
      expect(quiet.onAck(60, 1_472)).toBe(false);
      expect(quiet.mtu).toBe(1_472);
    });

    test('does not take an outage for one: nothing arrives, and then large packets do', () => {
      const search = large();
      for (let i = 0; i < 20; i++) expect(search.onPto(false)).toBe(false);
      search.onAck(1_472, 1_472);
      expect(search.mtu).toBe(1_472);
      expect(search.falls).toBe(0);
    });

    test('asks for a small probe beside a large one from the second probe timeout on, sooner in doubt [REC-51]', () => {
      const search = large();
      expect(search.secondProbeBytes).toBe(1_472);
      search.onPto(false);
      expect(search.secondProbeBytes).toBe(1_472);
      search.onPto(false);
      expect(search.secondProbeBytes).toBe(512);
      search.onAck(512, 0);
      expect(search.secondProbeBytes).toBe(1_472);
      search.onLost(1_472);
      search.onPto(false);
      expect(search.secondProbeBytes).toBe(512);
    });

    test('is not deceived by packets that still arrive and are smaller than those lost', () => {
      const search = large();
      for (let i = 0; i < 2; i++) expect(search.onAck(1_200, 1_472)).toBe(false);
      search.onAck(1_200, 0);
      expect(search.onAck(1_200, 1_472)).toBe(true);
    });

    test('is not alarmed by congestion: packets as large arrive in between, small ones are lost too', () => {
      const search = large();
      for (let i = 0; i < 100; i++) {
        search.onLost(1_472);
        search.onLost(1_472);
        search.onAck(1_472, 0);
        search.onAck(1_472, 1_472);
        search.onAck(1_472, 1_472);
        search.onAck(1_472, 600);
        search.onLost(600);
        search.onLost(1_472);
        search.onAck(600, 0);
      }
      expect(search.mtu).toBe(1_472);
    });

    test('does not fall while packets of 512 bytes and less are lost as well', () => {
      const search = large();
      search.onLost(400);
      for (let i = 0; i < 10; i++) expect(search.onLost(1_472)).toBe(false);
    });

    test('tries the size that failed first, then those below, and the failed again after ten minutes', () => {
      const search = new PathMtuDiscovery({ initial: 1_200, ceiling: 9_000 });
      settle(search, 1_472, 0);
      for (let i = 0; i < 3; i++) search.onLost(1_472);
      expect(settle(search, 1_400)).toEqual([1_472, 1_472, 1_472, 1_452, 1_452, 1_452, 1_400]);
      expect(search.nextProbe(600 * SECOND - 1, ANY)).toBe(0);
      expect(search.nextProbe(600 * SECOND, ANY)).toBe(9_000);
    });

    test('is back with one probe where the alarm was false', () => {
      const search = new PathMtuDiscovery({ initial: 1_300, ceiling: 9_000 });
      for (let i = 0; i < 3; i++) search.onLost(1_300);
      expect(search.nextProbe(0, ANY)).toBe(1_300);
      search.onProbeSent(1_300);
      expect(search.onProbeAcked(1_300)).toBe(true);
      expect(search.nextProbe(0, ANY)).toBe(9_000);
    });

    test('tells when a size is given up', () => {
      const search = new PathMtuDiscovery({ initial: 1_200, ceiling: 1_472 });
      const given = [1, 2, 3].map(() => {
        search.onProbeSent(1_472);
        return search.onProbeLost(1_472, 0, 0);
      });
      expect(given).toEqual([false, false, true]);
    });
  });

  describe('when nothing comes through [REC-47]', () => {
    test('shrinks after two probe timeouts of the handshake, twice', () => {
      const search = new PathMtuDiscovery({ initial: 1_400, ceiling: 1_400 });
      expect(search.onPto(true)).toBe(false);
      expect(search.onPto(true)).toBe(true);
      expect(search.mtu).toBe(1_200);
      search.onPto(true);
      expect(search.onPto(true)).toBe(true);
      expect(search.mtu).toBe(512);
      for (let i = 0; i < 10; i++) expect(search.onPto(true)).toBe(false);
    });

    test('does not shrink while acknowledgements come in between', () => {
      const search = new PathMtuDiscovery({ initial: 1_200, ceiling: 1_200 });
      for (let i = 0; i < 10; i++) {
        search.onPto(true);
        search.onAck(100, 0);
      }
      expect(search.mtu).toBe(1_200);
    });

    test('takes it back when a packet from before arrived after all', () => {
      const search = new PathMtuDiscovery({ initial: 1_200, ceiling: 1_200 });
      for (let i = 0; i < 2; i++) search.onPto(true);
      expect(search.mtu).toBe(512);
      expect(search.onAck(512, 0)).toBe(false);
      expect(search.onAck(1_200, 0)).toBe(true);
      expect(search.mtu).toBe(1_200);
      expect(search.nextProbe(0, ANY)).toBe(0);
    });

    test('takes no packet back that is larger than the peer allows', () => {
      const search = new PathMtuDiscovery({ initial: 1_200, ceiling: 1_200 });
      search.limit(700);
      expect(search.onAck(1_200, 0)).toBe(false);
      expect(search.mtu).toBe(700);
    });

    test('finds its way back up after the handshake', () => {
      const search = new PathMtuDiscovery({ initial: 1_200, ceiling: 1_472 });
      search.onPto(true);
      search.onPto(true);
      expect(search.mtu).toBe(512);
      settle(search, 1_472);
      expect(search.mtu).toBe(1_472);
    });
  });

  describe('when the system says that a datagram was too large for the path [REC-53]', () => {
    test('keeps to what is in use when that was a probe', () => {
      const search = new PathMtuDiscovery({ initial: 1_200, ceiling: 1_472 });
      search.onProbeSent(1_472);
      expect(search.onTooLarge()).toBe(false);
      expect(search.onProbeAcked(1_472)).toBe(false);
      expect(search.mtu).toBe(1_200);
      expect(search.nextProbe(1_000 * SECOND, ANY)).toBe(0);
    });

    test('gives up a size that it does not even take, and goes on below', () => {
      const search = new PathMtuDiscovery({ initial: 1_200, ceiling: 32_768 });
      search.onProbeSent(32_768);
      expect(search.onRefused(32_768, 0)).toBe(false);
      expect(settle(search, 9_000)).toEqual([16_384, 16_384, 16_384, 8_952]);
      expect(search.onRefused(8_952, 0)).toBe(true);
      expect(search.mtu).toBe(1_200);
      expect(settle(search, 9_000)).toEqual([4_096]);
      expect(search.onRefused(8_952, 0)).toBe(false);
    });

    test('goes back to 1,200 when that was in use', () => {
      const search = new PathMtuDiscovery({ initial: 1_200, ceiling: 1_472 });
      settle(search, 1_472);
      expect(search.onTooLarge()).toBe(true);
      expect(search.mtu).toBe(1_200);
      expect(search.nextProbe(0, ANY)).toBe(0);
    });
  });

  test('stays between floor and ceiling, and ends, whatever the path does', () => {
    const event = fc.record({
      kind: fc.constantFrom('probe', 'lost', 'acked', 'pto', 'handshakePto', 'limit', 'tooLarge'),
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
          const search = new PathMtuDiscovery({ initial, ceiling });
          let now = 0;
          for (const { kind, bytes, wait } of events) {
            now += wait;
            if (kind === 'probe') settle(search, bytes, now);
            else if (kind === 'lost') search.onLost(bytes);
            else if (kind === 'tooLarge') search.onTooLarge();
            else if (kind === 'acked') search.onAck(bytes, bytes ^ 1_000);
            else if (kind === 'limit') {
              ceiling = Math.max(512, bytes);
              search.limit(bytes);
            } else search.onPto(kind === 'handshakePto');
            expect(search.mtu).toBeGreaterThanOrEqual(512);
            expect(search.mtu).toBeLessThanOrEqual(ceiling);
          }
        },
      ),
    );
  });
});

describe('a size that is asked for', () => {
  test('is used at once where it is not larger, and nothing larger is looked for [REC-95]', () => {
    const search = new PathMtuDiscovery({ initial: 1_200, ceiling: 1_472 });
    settle(search, 65_507);
    expect(search.ask(700)).toBe(true);
    expect([search.mtu, search.isSought, settle(search, 65_507)]).toEqual([700, false, []]);
  });

  test('is probed where it is larger, above the ceiling, whatever was given up and whatever the window is [REC-95]', () => {
    const search = new PathMtuDiscovery({ initial: 1_200, ceiling: 1_472 });
    settle(search, 1_210);
    expect(search.ask(1_500)).toBe(false);
    expect(search.isSought).toBe(true);
    expect(search.nextProbe(0, 600)).toBe(1_500);
    expect(settle(search, 65_507)).toEqual([1_500]);
    expect([search.mtu, search.isSought]).toEqual([1_500, false]);
  });

  test('that is not carried, or that the peer does not take, leaves all as it was [REC-95]', () => {
    const search = new PathMtuDiscovery({ initial: 1_200, ceiling: 1_400 });
    search.limit(1_400, 2_000);
    search.ask(1_500);
    expect(settle(search, 1_300)).toEqual([1_500, 1_500, 1_500, 1_400, 1_400, 1_400, 1_280]);
    expect([search.mtu, search.isSought]).toEqual([1_280, false]);
    search.ask(2_001);
    expect([search.mtu, search.isSought, settle(search, 65_507)]).toEqual([1_280, false, [1_400]]);
  });

  test('that the system finds too large for the path is given up [REC-95] [REC-53]', () => {
    const search = new PathMtuDiscovery({ initial: 1_200, ceiling: 1_200 });
    search.ask(1_400);
    search.onProbeSent(search.nextProbe(0, ANY));
    search.onTooLarge();
    expect([search.mtu, search.isSought]).toEqual([1_200, false]);
  });
});
