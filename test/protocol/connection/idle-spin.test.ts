import { expect, test } from 'vitest';
import type { Endpoint } from '../../../src/protocol/endpoint/endpoint.ts';
import { PacketSpace } from '../../../src/protocol/wire/packet-header.ts';
import { internalsOf } from './internals.ts';
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
  const { core } = pair.server;
  const sent = internalsOf(core).recovery.sentPackets(PacketSpace.APPLICATION);
  const state = internalsOf(core).spaces[PacketSpace.APPLICATION];
  if (state === null) throw new Error('no space');
  sent.begin(state.nextNumber++, pair.now);
  sent.commit(50, true, true);
  for (const from = state.nextNumber; state.nextNumber < from + 66_000; state.nextNumber++) {
    sent.begin(state.nextNumber, pair.now);
    sent.commit(40, false, false);
  }
  rogue.skip();
  const timeouts = countTimeouts(pair.server.endpoint);
  const stream = pair.server.open();
  pair.server.send(stream, 'it has to wait');
  pair.run(900);
  expect(timeouts()).toBeLessThan(20);
});
