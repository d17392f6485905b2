import { expect, test } from 'vitest';
import { MILLISECOND, NEVER } from '../../src/base/time.ts';
import { CutOff } from '../../src/gateway/cut-off.ts';
import { LabClock } from '../../src/testing/lab.ts';
import { VirtualClock } from '../../src/testing/virtual-clock.ts';

test('those who are left are cut off when the first of several times is over, and when nobody is left nothing waits any more [GW-6]', () => {
  const clock = new VirtualClock();
  const from = clock.now();
  const cuts: number[] = [];
  const cutOff = new CutOff(new LabClock(clock), () => cuts.push(clock.now() - from));
  cutOff.within(500);
  cutOff.within(200);
  cutOff.within(1_000);
  while (clock.runNext());
  expect(cuts).toEqual([200 * MILLISECOND]);
  const over = new CutOff(new LabClock(clock), () => cuts.push(-1));
  over.within(500);
  over.end();
  over.within(100);
  expect(clock.nextAt).toBe(NEVER);
  expect(cuts).toHaveLength(1);
});
