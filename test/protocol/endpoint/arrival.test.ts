import { expect, test } from 'vitest';
import { MILLISECOND, type Micros } from '../../../src/base/time.ts';
import { ReceiveBatch, TransmitBatch } from '../../../src/protocol/datagram/index.ts';
import type { Endpoint } from '../../../src/protocol/endpoint/index.ts';
import { bytesOf, Pair } from '../connection/pair.ts';

test('a round trip ends when the acknowledgement came, not when a busy process reads it [REC-2]', () => {
  for (const [waitedMs, roundTripMs] of [
    [0, 60],
    [40, 20],
    // The time of day was set: before it was sent it did not come.
    [5_000, 60],
  ]) {
    const pair = new Pair({}).connected();
    const { client, server } = pair;
    const stream = client.core.streams.open({ priority: 2, delivery: 0, ordered: true, label: '' });
    stream.send(bytesOf(100, 1), 0, Number.POSITIVE_INFINITY, false);
    const sentAt = pair.now + 1_000 * MILLISECOND;
    carry(client.endpoint, server.endpoint, 'client', sentAt, sentAt, 0);
    const readAt = sentAt + 60 * MILLISECOND;
    // Its acknowledgement is due by then.
    server.endpoint.timeout(readAt, false);
    carry(server.endpoint, client.endpoint, 'server', readAt, readAt, waitedMs * MILLISECOND);
    expect(client.core.metrics(readAt).rttLatestMs).toBe(roundTripMs);
  }
});

/** What one endpoint sends at a time comes to the other at another, and waits there before it is read. */
function carry(
  from: Endpoint,
  to: Endpoint,
  host: string,
  sentAt: Micros,
  readAt: Micros,
  waited: Micros,
): void {
  const batch = new TransmitBatch();
  const received = new ReceiveBatch();
  while (from.transmit(batch, sentAt) > 0) {
    for (let i = 0; i < batch.count; i++) {
      received.push(batch.arena.slice(batch.offset[i], batch.offset[i] + batch.length[i]), host, 4577);
      received.stamp(waited);
    }
    batch.clear();
  }
  expect(received.count).toBeGreaterThan(0);
  to.receive(received, readAt);
}
