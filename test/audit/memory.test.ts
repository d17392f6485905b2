import { expect, test } from 'vitest';
import { Pair } from '../connection/pair.ts';

test('a connection keeps no datagram alive, also where datagrams are Buffers, whose slices are views', () => {
  const pair = new Pair();
  const { endpoint } = pair.server;
  const receive = endpoint.receive.bind(endpoint);
  endpoint.receive = (batch, now) => {
    for (let i = 0; i < batch.count; i++) batch.data[i] = Buffer.from(Buffer.from(batch.data[i]));
    receive(batch, now);
  };
  // The client's FINISHED is late, so that its first application data has to wait.
  pair.client.filter = (data) => [{ data, afterMs: (data[0] & 0xb0) === 0xa0 ? 50 : 0 }];
  pair.connect().until(() => pair.client.isConnected);
  const stream = pair.client.open();
  pair.client.filter = null;
  pair.client.send(stream, 'early');
  pair.run(20);
  const { remoteId, firstDestinationId, waiting } = pair.server.halfOpen;
  expect(waiting.length).toBeGreaterThan(0);
  for (const { packet } of waiting) expect(packet.buffer.byteLength).toBe(packet.length);
  for (const id of [remoteId, firstDestinationId]) expect(id.buffer.byteLength).toBe(id.length);
  pair.until(() => pair.server.texts(stream.id).includes('early'));
});
