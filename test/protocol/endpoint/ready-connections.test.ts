import { describe, expect, it as test } from 'vitest';
import type { Connection } from '../../../src/protocol/connection/connection.ts';
import { ConnectionState } from '../../../src/protocol/connection/lifecycle.ts';
import { TransmitBatch } from '../../../src/protocol/datagram/index.ts';
import { ReadyConnections } from '../../../src/protocol/endpoint/ready-connections.ts';

/** So many connections, which each have one datagram to send, and what is looked at of them. */
function crowd(count: number, hasMessages: (i: number) => boolean) {
  const packed: number[] = [];
  let looks = 0;
  const connections = Array.from({ length: count }, (_, i) => {
    const packer = {
      get hasMessages() {
        looks++;
        return hasMessages(i);
      },
    };
    const lifecycle = { state: ConnectionState.CONFIRMED };
    return { i, entry: { isReady: false }, lifecycle, streams: { packer } } as unknown as Connection & {
      i: number;
    };
  });
  const ready = new ReadyConnections(
    (connection, batch) => {
      packed.push((connection as (typeof connections)[0]).i);
      batch.push(40, '127.0.0.1', 1);
      return false;
    },
    (_, error) => {
      throw error;
    },
  );
  for (const connection of connections) ready.add(connection);
  const batch = new TransmitBatch();
  return {
    ready,
    packed,
    looksOfBatch: () => {
      looks = 0;
      batch.clear();
      ready.fill(batch, 0);
      return looks;
    },
  };
}

describe('connections that have something to send', () => {
  test('are not all looked at for each batch when thousands of them have only acknowledgements', () => {
    const { ready, packed, looksOfBatch } = crowd(10_000, () => false);
    while (ready.length > 0) expect(looksOfBatch()).toBeLessThanOrEqual(1_024);
    expect(new Set(packed).size).toBe(10_000);
    expect(packed.length).toBe(10_000);
  });

  test('go first where they have messages, as far as they are found in time, and each has its turn', () => {
    const { ready, packed, looksOfBatch } = crowd(3_000, (i) => i % 1_000 === 999);
    looksOfBatch();
    expect(packed).toEqual([999]);
    while (ready.length > 0) looksOfBatch();
    expect(new Set(packed).size).toBe(3_000);
    expect(packed.length).toBe(3_000);
  });
});
