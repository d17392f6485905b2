import { describe, expect, test } from 'vitest';
import { Acknowledged, acknowledge } from '../../src/recovery/acknowledge.ts';
import { SentLedger } from '../../src/recovery/sent-ledger.ts';
import { FrameType, MessageFlag } from '../../src/wire/frame-type.ts';
import { Pair } from '../connection/pair.ts';
import { fragment, integers, opening, Rogue } from '../connection/rogue.ts';

/** Milliseconds that `work` takes. */
function duration(work: () => void): number {
  const start = performance.now();
  work();
  return performance.now() - start;
}

describe('what a peer can make us compute is bounded by what it sends', () => {
  test('acknowledgements that cover ever fewer of many packets that were acknowledged one by one [REC-11]', () => {
    const ledger = new SentLedger();
    const count = 60_000;
    for (let number = 0; number < count; number++) {
      ledger.begin(number, 0);
      ledger.commit(100, true, true);
    }
    const outcome = new Acknowledged();
    for (let number = 1; number < count; number++) {
      outcome.clear();
      acknowledge(ledger, Float64Array.of(number, number + 1), 1, -1, outcome);
    }
    const elapsed = duration(() => {
      for (let end = count; end > count - 4_000; end--) {
        outcome.clear();
        expect(acknowledge(ledger, Float64Array.of(1, end), 1, -1, outcome)).toBe(0);
        expect(outcome.acked.count).toBe(0);
      }
    });
    expect(elapsed).toBeLessThan(600);
  });

  test('STREAM_FIN again and again, with many messages incomplete [STR-6]', () => {
    const pair = new Pair().connected();
    const rogue = new Rogue(pair);
    rogue.send(opening(0));
    const incomplete = 20_000;
    for (let sequence = 0; sequence < incomplete; ) {
      const frames: Uint8Array[] = [];
      for (let k = 0; k < 70; k++) frames.push(fragment(0, sequence++, 0, 200, 1));
      rogue.post(...frames);
      if (sequence % 700 === 0) pair.run(1);
    }
    pair.run(10);
    const fins = Array.from({ length: 150 }, () => integers(FrameType.STREAM_FIN, 0, 2 ** 20));
    const elapsed = duration(() => {
      for (let k = 0; k < 20; k++) rogue.send(...fins);
    });
    expect(rogue.victimClosed).toBeNull();
    expect(elapsed).toBeLessThan(200);
  });

  test('incomplete messages whose deadlines come one after the other [STR-26]', () => {
    const pair = new Pair().connected();
    const rogue = new Rogue(pair);
    rogue.send(opening(0));
    const type = FrameType.MESSAGE | MessageFlag.FRAGMENT | MessageFlag.LIFETIME;
    const incomplete = 20_000;
    for (let sequence = 0; sequence < incomplete; ) {
      const frames: Uint8Array[] = [];
      for (let k = 0; k < 50; k++, sequence++) {
        const remaining = 1_000_000 + sequence * 200;
        frames.push(Buffer.concat([integers(type, 0, sequence, 0, 200, 0, remaining, 1), new Uint8Array(1)]));
      }
      rogue.post(...frames);
      if (sequence % 500 === 0) pair.run(1);
    }
    const elapsed = duration(() => pair.run(3_000));
    expect(rogue.victimClosed).toBeNull();
    expect(elapsed).toBeLessThan(450);
  });
});
