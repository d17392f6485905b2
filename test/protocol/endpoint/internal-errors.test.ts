import { describe, expect, test } from 'vitest';
import { hexOf } from '../../../src/base/bytes.ts';
import type { Connection } from '../../../src/protocol/connection/connection.ts';
import { ReceiveBatch, TransmitBatch } from '../../../src/protocol/datagram/index.ts';
import type { ConnectionStream } from '../../../src/protocol/stream/connection-stream.ts';
import { CloseCode } from '../../../src/protocol/wire/close-code.ts';
import { Delivery, Priority } from '../../../src/protocol/wire/frame-type.ts';
import { type FaultKind, layTrips, wrap } from '../connection/faults.ts';
import { isConfirmed } from '../connection/internals.ts';
import { bytesOf, IDENTITY, Pair } from '../connection/pair.ts';
import { expectAtRest } from './at-rest.ts';
import { firstFlights } from './first-flights.ts';

const BUG = new Error('our bug');

describe('an exception in our own code [CON-33]', () => {
  // Where it is thrown, how many times that place is passed before, and whether the peer still hears of it.
  test.each<[FaultKind, string, number]>([
    ['packing', 'write', 1],
    ['packing', 'write', 2],
    ['packing', 'onSent', 1],
    ['packing', 'onSent', 2],
    ['packing', 'onSent', 7],
    ['packing', 'allowance', 1],
    ['packing', 'beforeTransmit', 1],
    ['packing', 'nextTimeout', 1],
    ['packing', 'nextTimeout', 2],
    ['packing', 'onAckSent', 1],
    ['sealing', 'seal', 1],
    ['sealing', 'seal', 4],
    ['receiving', 'onMessageFrame', 1],
    ['receiving', 'onMessageFrame', 2],
    ['receiving', 'onAck', 2],
    ['receiving', 'onPacket', 1],
    ['receiving', 'onDatagram', 1],
    ['receiving', 'open', 1],
    ['settling', 'onSettled', 1],
    ['settling', 'tell', 1],
    ['timeout', 'onTimeout', 1],
  ])(
    'on %s, in %s, stays with its connection: the others get all they were promised (%i)',
    (kind, name, at) => {
      const { pair, bad, good } = twoConnections();
      let passed = 0;
      layTrips(bad.server, [kind], (place) => {
        if (place === `${kind} ${name}` && ++passed === at) throw BUG;
      });
      const sent = Array.from({ length: 30 }, (_, i) => bytesOf(700 + i, i));
      const there = Array.from({ length: 30 }, (_, i) => bytesOf(900 + i, 100 + i));
      for (const { client, server } of [bad, good]) {
        const stream = open(client);
        for (const data of sent) stream.send(data, Delivery.RELIABLE, Number.POSITIVE_INFINITY, false);
        const back = open(server);
        for (const data of there) back.send(data, Delivery.RELIABLE, Number.POSITIVE_INFINITY, false);
      }
      pair.client.node.wake();
      pair.server.node.wake();
      pair.until(() => pair.server.endpoint.counters.internalErrors === 1, 20_000, 'the exception');
      pair.run(2_000);
      const closed = pair.server.events.filter(({ type }) => type === 'closed');
      expect(closed).toEqual([
        expect.objectContaining({
          connection: bad.server,
          reason: expect.objectContaining({ by: 'local', code: CloseCode.INTERNAL_ERROR, cause: BUG }),
        }),
      ]);
      const heard = bad.client.lifecycle.reason;
      expect(heard).toMatchObject(
        // What cannot be sealed cannot be told either.
        kind === 'sealing' && at === 1 ? { by: 'peer' } : { by: 'peer', code: CloseCode.INTERNAL_ERROR },
      );
      // As text, which is compared at once.
      expect(messagesOf(good.server).map(hexOf)).toEqual(sent.map(hexOf));
      expect(messagesOf(good.client).map(hexOf)).toEqual(there.map(hexOf));
      expect(pair.server.endpoint.counters).toMatchObject({ internalErrors: 1, connectionsOpen: 1 });
      expect(pair.client.endpoint.counters.internalErrors).toBe(0);
      expect(good.client.counters).toMatchObject({ packetsUnopened: 0, packetsLost: 0 });
      good.client.lifecycle.close('application', 0, '', pair.now);
      pair.client.node.wake();
      pair.toTheEnd();
      expectAtRest(pair.server.endpoint);
      // Nor in the batch that it filled.
      expect((pair.server.node as unknown as { batch: TransmitBatch }).batch.packets).toBe(0);
    },
  );

  test('that happens again while closing drops the connection without a CONNECTION_CLOSE', () => {
    const { pair, bad, good } = twoConnections();
    layTrips(bad.server, ['packing', 'sealing', 'receiving', 'timeout', 'closing'], () => {
      throw BUG;
    });
    open(bad.client).send(bytesOf(10), Delivery.RELIABLE, Number.POSITIVE_INFINITY, false);
    const stream = open(good.client);
    stream.send(bytesOf(20), Delivery.RELIABLE, Number.POSITIVE_INFINITY, false);
    pair.client.node.wake();
    pair.run(5_000);
    expect(pair.server.endpoint.counters.connectionsOpen).toBe(1);
    expect(pair.server.endpoint.counters.internalErrors).toBeLessThan(5);
    expect(pair.server.events.filter(({ type }) => type === 'closed')).toHaveLength(1);
    expect(messagesOf(good.server)).toHaveLength(1);
    // [PKT-24] The client hears at its next packet that nobody knows its connection.
    expect(bad.client.lifecycle.reason).toMatchObject({ by: 'reset' });
  });

  test('while a batch is sealed takes out that datagram only', () => {
    const { pair, bad, good } = twoConnections();
    for (const { server } of [bad, good]) {
      open(server).send(bytesOf(8_000), Delivery.RELIABLE, Number.POSITIVE_INFINITY, false);
    }
    const { endpoint } = pair.server;
    let sealed = 0;
    layTrips(bad.server, ['sealing'], () => {
      if (++sealed === 3) throw BUG;
    });
    const batch = new TransmitBatch(100_000, 100);
    const before = { ...endpoint.counters };
    endpoint.transmit(batch, pair.now);
    expect(endpoint.counters.internalErrors).toBe(1);
    expect(endpoint.counters.datagramsSent - before.datagramsSent).toBe(batch.count);
    const received = new ReceiveBatch();
    for (let i = 0; i < batch.count; i++) {
      received.push(batch.arena.slice(batch.offset[i], batch.offset[i] + batch.length[i]), 'server', 4577);
    }
    pair.client.endpoint.receive(received, pair.now);
    for (const { client } of [bad, good]) expect(client.counters.packetsUnopened).toBe(0);
    expect(bad.server.counters.packetsSent - bad.client.counters.packetsReceived).toBe(1);
    expect(good.server.counters.packetsSent).toBe(good.client.counters.packetsReceived);
  });

  test('before a client is answered leaves nothing behind, and its next attempt succeeds', () => {
    const sign = IDENTITY.sign.bind(IDENTITY);
    let failures = 2;
    const identity = Object.create(IDENTITY, {
      sign: {
        value: (...args: Parameters<typeof sign>) => {
          if (failures-- > 0) throw BUG;
          return sign(...args);
        },
      },
    });
    const pair = new Pair({ accept: { identity } }).connected().echo();
    expect(pair.server.endpoint.counters).toMatchObject({
      internalErrors: 2,
      handshakesFailed: 2,
      connectionsOpen: 1,
    });
    expect((pair.server.endpoint as unknown as { halfOpen: { size: number } }).halfOpen.size).toBe(0);
    expect(pair.server.closed).toBeNull();
  });

  test('over one first Initial costs that datagram, not those that came with it', () => {
    const pair = new Pair();
    const { endpoint } = pair.server;
    const server = endpoint as unknown as { byId: Record<string, unknown> };
    let issued = 0;
    wrap(server.byId, 'issue', () => {
      if (++issued === 3) throw BUG;
    });
    const batch = new ReceiveBatch();
    for (const [i, flight] of firstFlights(4).entries())
      for (const data of flight) batch.push(data, 'client', 1_000 + i);
    endpoint.receive(batch, 0);
    expect(endpoint.counters.internalErrors).toBe(1);
    const open = endpoint as unknown as { halfOpen: { size: number }; byFirstPacket: { size: number } };
    expect(endpoint.counters.connectionsOpen).toBe(open.halfOpen.size);
    expect(open.byFirstPacket.size).toBe(open.halfOpen.size);
    expect(open.halfOpen.size).toBeGreaterThanOrEqual(3);
  });
});

describe('the hellos of clients [CON-35]', () => {
  test('are answered one a call, the others wait, and nothing is sent to them before', () => {
    const pair = new Pair();
    const { endpoint } = pair.server;
    const batch = new ReceiveBatch();
    for (const [i, flight] of firstFlights(5).entries())
      for (const data of flight) batch.push(data, 'client', 1_000 + i);
    endpoint.receive(batch, 0, 0);
    expect(endpoint.hasHellos).toBe(true);
    const answered = (): number => {
      const out = new TransmitBatch(65_536, 64);
      const ports = new Set<number>();
      while (endpoint.transmit(out, 0) > 0) {
        for (let i = 0; i < out.count; i++) ports.add(out.port[i]);
        out.clear();
      }
      return ports.size;
    };
    expect(answered()).toBe(0);
    for (let i = 0; i < 5; i++) {
      expect(endpoint.hasHellos).toBe(true);
      endpoint.answerHello(0);
      expect(answered()).toBe(1);
    }
    expect(endpoint.hasHellos).toBe(false);
  });
});

/** Two connections between the same two endpoints. */
function twoConnections() {
  const pair = new Pair({ link: { delayMs: 5 } });
  const make = (): { client: Connection; server: Connection } => {
    const known = pair.server.events.length;
    const { core: client } = pair.connect().client;
    pair.client.connection = null;
    pair.until(() => isConfirmed(client));
    const event = pair.server.events.slice(known).find(({ type }) => type === 'connected');
    return { client, server: event?.connection as Connection };
  };
  const readers = { client: pair.client, server: pair.server };
  for (const side of Object.values(readers)) {
    side.readsAll = false;
    side.onEvent = (event) => {
      if (event.type !== 'readable') return;
      for (let data = event.stream.read(pair.now); data !== null; data = event.stream.read(pair.now)) {
        const list = READ.get(event.connection) ?? [];
        list.push(Buffer.from(data));
        READ.set(event.connection, list);
      }
      event.stream.onRead();
    };
  }
  const bad = make();
  const good = make();
  return { pair, bad, good };
}

const READ = new WeakMap<Connection, Buffer[]>();

function messagesOf(connection: Connection): Buffer[] {
  return READ.get(connection) ?? [];
}

function open(connection: Connection): ConnectionStream {
  return connection.streams.open({
    priority: Priority.CHAT,
    delivery: Delivery.RELIABLE,
    ordered: true,
    label: '',
  });
}
