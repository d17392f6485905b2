import { expect, test } from 'vitest';
import { TransmitBatch } from '../../../src/protocol/datagram/index.ts';
import { Pair } from './pair.ts';

test('an endpoint that is woken late takes it for one probe timeout, not for many [REC-13]', () => {
  const pair = new Pair().connected().echo();
  const stream = pair.client.open();
  pair.client.filter = () => [];
  pair.client.send(stream, 'lost');
  pair.run(1);
  pair.client.node.remove();
  const { endpoint, core } = pair.client;
  const before = core.counters.ptoCount;
  const late = pair.now + 3_000_000;
  expect(endpoint.nextTimeout()).toBeLessThan(late);
  endpoint.timeout(late);
  expect(core.counters.ptoCount).toBe(before + 1);
  const batch = new TransmitBatch(65_536, 16);
  expect(endpoint.transmit(batch, late)).toBe(2);
  expect(endpoint.nextTimeout()).toBeGreaterThan(late);
});

test('heartbeats shorter than the round trip do not end a connection that lives [CON-8]', () => {
  const pair = new Pair({
    link: { delayMs: 400 },
    client: { heartbeatMs: 100, heartbeatMisses: 3 },
  }).connected();
  pair.run(20_000);
  expect(pair.client.closed).toBeNull();
  pair.server.node.remove();
  pair.until(() => pair.client.closed !== null, 10_000, 'the end');
  expect(pair.client.closed).toMatchObject({ by: 'timeout', timeout: 'heartbeat' });
});
