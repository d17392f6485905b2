import { expect, test } from 'vitest';
import { EventLog } from '../../../src/broker/operations/event-log.ts';
import type { EventRecord } from '../../../src/broker/operations/snapshot.ts';

test('a flood of one kind of events hides none of another, and how much of it is missing is told [OPS-5]', () => {
  const heard: EventRecord[] = [];
  const log = new EventLog((event) => heard.push(event));
  const countOf = (kind: string) => heard.filter(({ what }) => what === kind).length;
  for (let i = 0; i < 1_000; i++) log.add({ what: 'refused', detail: `${i}` }, 1);
  for (let i = 0; i < 300; i++) log.add({ what: 'denied' }, 1);
  log.add({ what: 'revoked', principal: 'anna' }, 1);
  expect([countOf('refused'), countOf('denied'), countOf('revoked')]).toEqual([100, 50, 1]);
  log.second(2);
  expect(heard.at(-1)).toMatchObject({
    what: 'suppressed',
    detail: 'more events in one second: 900 refused, 250 denied',
  });
  log.second(3);
  log.add({ what: 'refused' }, 3);
  expect(countOf('refused')).toBe(101);
  expect(countOf('suppressed')).toBe(1);
});
