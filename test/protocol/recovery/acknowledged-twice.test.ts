import { expect, test } from 'vitest';
import { acknowledge, PacketFates } from '../../../src/protocol/recovery/loss-detection.ts';
import { SentPackets } from '../../../src/protocol/recovery/sent-packets.ts';
import { pathOf } from '../path/path-of.ts';

test('acknowledgements that cover ever fewer of many packets that were acknowledged one by one cost little [REC-11]', () => {
  const sent = new SentPackets();
  const count = 60_000;
  for (let number = 0; number < count; number++) {
    sent.begin(number, 0);
    sent.commit(100, true, true);
  }
  const outcome = new PacketFates();
  for (let number = 1; number < count; number++) {
    outcome.clear(2);
    acknowledge(sent, Float64Array.of(number, number + 1), 1, pathOf(), outcome, 0);
  }
  let news = 0;
  const steps = countReads(sent.ring.ackedRun);
  Object.defineProperty(sent.ring, 'ackedRun', { value: steps.column });
  for (let end = count; end > count - 4_000; end--) {
    outcome.clear(2);
    acknowledge(sent, Float64Array.of(1, end), 1, pathOf(), outcome, 0);
    news += outcome.acked.count;
  }
  // Packet by packet these are 230 million steps.
  expect(steps.count()).toBeLessThan(200_000);
  expect(news).toBe(0);
});

/** The column of a ring that counts how often one of its places is read. */
function countReads(column: Uint16Array) {
  let count = 0;
  const counting = new Proxy(column, {
    get(target, key) {
      count++;
      return Reflect.get(target, key);
    },
    set: (target, key, value) => Reflect.set(target, key, value),
  });
  return { column: counting, count: () => count };
}
