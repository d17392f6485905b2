import { expect, test } from 'vitest';
import type { Endpoint } from '../../../src/protocol/endpoint/endpoint.ts';
import { recordUnacknowledged } from './internals.ts';
import { Pair } from './pair.ts';
import { Rogue } from './rogue.ts';

/** Counts how often the endpoint is woken. */
function countTimeouts(endpoint: Endpoint): () => number {
  let count = 0;
  const timeout = endpoint.timeout.bind(endpoint);
  endpoint.timeout = (now) => {
    count++;
    timeout(now);
  };
  return () => count;
}

test('a sender that can record no more packets sleeps [REC-12]', () => {
  const pair = new Pair().connected();
  const rogue = new Rogue(pair);
  recordUnacknowledged(pair.server.core, 66_000, pair.now);
  rogue.skip();
  const timeouts = countTimeouts(pair.server.endpoint);
  const stream = pair.server.open();
  pair.server.send(stream, 'it has to wait');
  pair.run(900);
  expect(timeouts()).toBeLessThan(20);
});
