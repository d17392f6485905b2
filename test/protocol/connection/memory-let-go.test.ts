import { expect, test } from 'vitest';
import type { UndecryptablePacket } from '../../../src/protocol/connection/packet-number-space.ts';
import { internalsOf } from './internals.ts';
import { Pair } from './pair.ts';

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
  const { ids, receiver } = pair.server.halfOpen;
  const { undecryptable: waiting } = receiver;
  expect(waiting.length).toBeGreaterThan(0);
  const { packets } = waiting as unknown as { packets: UndecryptablePacket[] };
  for (const { packet } of packets) expect(packet.buffer.byteLength).toBe(packet.length);
  for (const id of [ids.destinationId, ids.firstDestinationId]) expect(id.buffer.byteLength).toBe(id.length);
  pair.until(() => pair.server.texts(stream.id).includes('early'));
});

test('a connection that is forgotten has no keys any more, and none is used in vain [HS-25]', () => {
  const pair = new Pair().connected().echo();
  const keys = internalsOf(pair.server.core).keys.toSeal(2);
  const stream = pair.client.open();
  pair.client.close('application', 7, 'enough');
  // What still comes is answered until the end, so that some answer is due at the very moment of oblivion.
  for (let k = 0; k < 400; k++) {
    pair.server.send(pair.server.streams[0] ?? stream, 'late');
    pair.run(1);
  }
  pair.toTheEnd();
  expect(internalsOf(pair.client.core).spaces).toEqual([null, null, null]);
  expect(internalsOf(pair.server.core).spaces).toEqual([null, null, null]);
  expect(() => keys?.aead.seal(new Uint8Array(64), 0, 9, 40, new Uint8Array(12))).toThrow();
  expect(pair.client.core.handshake.peerFingerprint).not.toBeNull();
});

test('an idle connection gives the memory of its busy time back', () => {
  const pair = new Pair().connected();
  const stream = pair.client.open();
  for (let k = 0; k < 400; k++) pair.client.send(stream, new Uint8Array(5_000));
  pair.until(() => pair.server.texts(stream.id).length === 400);
  const sent = internalsOf(pair.client.core).recovery.sentPackets(2);
  expect(sent.ring.state.length).toBeGreaterThan(64);
  pair.run(12_000);
  expect(sent.ring.state.length).toBe(0);
  const { slabs } = pair.client.core.streams.sendCounts;
  expect({ free: slabs.freeBytes, inUse: slabs.inUse }).toEqual({ free: 0, inUse: 0 });
  const { reliable } = stream.sender as unknown as { reliable: { buffer: { records: { mask: number } } } };
  expect(reliable.buffer.records.mask).toBeLessThan(8);
  pair.echo();
});

test('a connection over which nothing came for a moment has no records of packets, and makes them again', () => {
  const pair = new Pair().connected().echo();
  for (const side of [pair.client, pair.server]) {
    const sent = internalsOf(side.core).recovery.sentPackets(2);
    expect(sent.ring.state.length).toBe(8);
  }
  pair.run(400); // a heartbeat comes after 5 s
  for (const side of [pair.client, pair.server]) {
    const { recovery } = internalsOf(side.core);
    expect(recovery.sentPackets(2).ring.state.length).toBe(0);
    expect(recovery.fates.acked.numbers.length).toBe(0);
  }
  pair.echo();
});
