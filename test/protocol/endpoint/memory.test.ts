import { describe, expect, test } from 'vitest';
import { LARGE_BUFFER_BYTES } from '../../../src/base/bytes.ts';
import { ReceiveBatch, TransmitBatch } from '../../../src/protocol/datagram/index.ts';
import { bytesOf, Pair } from '../connection/pair.ts';

describe('the memory of a large datagram', () => {
  test('is freed as soon as its fragments are copied', () => {
    const { received, datagrams } = deliver([bytesOf(100_000, 1)], true);
    expect(Buffer.compare(received[0], bytesOf(100_000, 1))).toBe(0);
    // Small ones, as the last one is here, are left to the collector.
    const kept = datagrams.filter((data) => data.length > 0);
    expect(kept.every((data) => data.length < LARGE_BUFFER_BYTES)).toBe(true);
    expect(kept.length).toBeLessThan(datagrams.length - 5);
  });

  test('lives on while a message in it does', () => {
    const messages = [1, 2, 3, 4, 5].map((i) => bytesOf(3_000, i));
    const { received, datagrams } = deliver(messages, true);
    expect(received.map((message, i) => Buffer.compare(message, messages[i]))).toEqual([0, 0, 0, 0, 0]);
    expect(datagrams.some((data) => data.length > 10_000)).toBe(true);
  });

  test('is left alone when it may have another owner', () => {
    const { datagrams } = deliver([bytesOf(100_000, 1)], false);
    expect(datagrams.every((data) => data.length > 0)).toBe(true);
  });

  test('that came together with others is not freed, and no message is a view of it [STR-32]', () => {
    const messages = [1, 2, 3, 4, 5, 6, 7, 8].map((i) => bytesOf(7_500, i));
    const { received, datagrams } = deliver(messages, true, true);
    expect(received.map((message, i) => Buffer.compare(message, messages[i]))).toEqual(messages.map(() => 0));
    expect(datagrams.length).toBeGreaterThan(2);
    expect(datagrams.every((data) => data.length > 0)).toBe(true);
    expect(received.some(({ buffer }) => datagrams.some((data) => data.buffer === buffer))).toBe(false);
  });
});

/**
 * Has a client send messages in packets of 16 KB, and hands its datagrams over as one batch.
 * @param isOneMemory - as the system does that puts datagrams of a peer together
 */
function deliver(messages: Uint8Array[], isExclusive: boolean, isOneMemory = false) {
  const size = { mtu: 16_384, mtuMax: 16_384, streamsMax: 1 };
  const pair = new Pair({ client: size, server: size }).connected();
  const stream = pair.client.core.streams.open({ priority: 2, delivery: 0, ordered: true, label: '' });
  for (const message of messages) stream.send(message, 0, Number.POSITIVE_INFINITY, false);
  const batch = new TransmitBatch(1_000_000, 100);
  const received = new ReceiveBatch({ isExclusive });
  const datagrams: Uint8Array[] = [];
  while (pair.client.endpoint.transmit(batch, pair.now) > 0) {
    for (let i = 0; i < batch.count; i++) {
      const start = batch.offset[i];
      const data = batch.arena.slice(start, start + batch.length[i]);
      if (isOneMemory) continue;
      datagrams.push(data);
      received.push(data, 'client', 4577);
    }
    if (isOneMemory) {
      const memory = batch.arena.slice(0, batch.used);
      for (let i = 0; i < batch.count; i++) {
        const start = batch.offset[i];
        received.push(memory.subarray(start, start + batch.length[i]), 'client', 4577, 0, true, start);
      }
      datagrams.push(...received.data);
    }
    batch.clear();
  }
  pair.server.endpoint.receive(received, pair.now);
  pair.server.node.wake();
  pair.run(1);
  return { received: pair.server.messages.get(stream.id) ?? [], datagrams };
}
