/** Endpoints that are workers at one address, fed by hand: whose a packet is. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import { RoutableIds, ServerIdSource } from '../../../src/protocol/crypto/index.ts';
import { ReceiveBatch } from '../../../src/protocol/datagram/index.ts';
import { Endpoint, type WorkerPlace } from '../../../src/protocol/endpoint/index.ts';
import { config, IDENTITY, PORT } from '../connection/pair.ts';
import { drain, firstFlights, hand, serverEndpoint } from './first-flights.ts';

const SECRET = new Uint8Array(32).fill(7);

/** A worker's endpoint whose fellows have the seats `others`. */
function worker(seat: number, others: readonly number[], server = {}): Endpoint {
  const ids = RoutableIds.of(SECRET);
  const place: WorkerPlace = {
    fellowOf: (buffer, at) => {
      const found = ids.serverIdOf(buffer, at);
      return others.includes(found) ? found : -1;
    },
    connectionsElsewhere: 0,
    tellConnections: () => {},
  };
  return serverEndpoint(
    { ids: new ServerIdSource(SECRET, seat, new Prng(seat)), place, ...server },
    seat + 1,
  );
}

/** What the endpoint found to be others'. */
function foreignOf({ foreign }: Endpoint): { index: number; seat: number }[] {
  return Array.from({ length: foreign.count }, (_, i) => ({
    index: foreign.index[i],
    seat: foreign.seat[i],
  }));
}

/** What `from` got and is another's goes to `to`. */
function handOver(from: Endpoint, datagrams: readonly Uint8Array[], to: Endpoint, host: string): void {
  const batch = new ReceiveBatch({ isHandedOver: true });
  for (const { index } of foreignOf(from)) batch.push(datagrams[index].slice(), host, 1);
  to.receive(batch, 0);
}

/** A client whose first flight the worker has answered. */
function joining(server: Endpoint) {
  const client = new Endpoint({ connection: config(), random: new Prng(9), server: null });
  const connection = client.connect(
    { host: 'server', port: PORT, pin: IDENTITY.fingerprint, isLoopback: false },
    0,
  );
  hand(server, drain(client, 0), 0);
  hand(client, drain(server, 0), 0, 'server', PORT);
  return { client, connection };
}

test('a client whose later packets come to another worker gets through its handshake, and stays with the first [WRK-2] [WRK-3]', () => {
  const [first, second] = [worker(1, [2]), worker(2, [1])];
  const { client, connection } = joining(first);
  for (let round = 0; round < 4; round++) {
    const datagrams = drain(client, 0);
    hand(second, datagrams, 0);
    expect(foreignOf(second).map(({ seat }) => seat)).toEqual(datagrams.map(() => 1));
    handOver(second, datagrams, first, 'client');
    expect(first.foreign.count).toBe(0);
    hand(client, drain(first, 0), 0, 'server', PORT);
  }
  expect(connection.lifecycle.isEstablished).toBe(true);
  expect(first.counters).toMatchObject({ connectionsOpen: 1, handshakesCompleted: 1, droppedUnknownId: 0 });
  expect(second.counters).toMatchObject({ connectionsOpen: 0, handshakesStarted: 0, droppedUnknownId: 0 });
  expect(second.counters.datagramsForeign).toBeGreaterThan(0);
});

test('a first packet begins its connection where it comes, and one of a seat that nobody has any more is reset there [WRK-3]', () => {
  const [gone, left] = [worker(1, [2]), worker(2, [])];
  const [flight] = firstFlights(1);
  hand(left, flight, 0);
  expect(left.counters).toMatchObject({ handshakesStarted: 1, datagramsForeign: 0 });
  const { client } = joining(gone);
  hand(gone, drain(client, 0), 0);
  hand(client, drain(gone, 0), 0, 'server', PORT);
  drain(left, 0);
  hand(left, [shortPacketTo(gone)], 0);
  expect(left.counters).toMatchObject({ datagramsForeign: 0, droppedUnknownId: 1, statelessResetsSent: 1 });
});

test('what was handed over is not handed on, though its id is of a third worker [WRK-3]', () => {
  const [first, second] = [worker(1, [2, 3]), worker(3, [1, 2])];
  const batch = new ReceiveBatch({ isHandedOver: true });
  batch.push(shortPacketTo(second), 'client', 1);
  first.receive(batch, 0);
  expect(first.counters).toMatchObject({ datagramsForeign: 0, droppedUnknownId: 1 });
});

test('the bound on connections counts those of other workers [WRK-7]', () => {
  const place = { fellowOf: () => -1, connectionsElsewhere: 3, tellConnections: (n: number) => told.push(n) };
  const told: number[] = [];
  const server = serverEndpoint({ place, connectionsMax: 4 });
  for (const [i, flight] of firstFlights(2).entries()) hand(server, flight.slice(0, 1), 0, 'client', i + 1);
  expect(server.counters).toMatchObject({
    connectionsOpen: 1,
    droppedConnectionLimit: 1,
    connectionsRefused: 1,
  });
  expect(told).toEqual([1]);
});

test('whatever comes, no more of it is foreign than has an id of another worker, and that is left as it came [WRK-3]', () => {
  const ids = new ServerIdSource(SECRET, 2, new Prng(5));
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.uint8Array({ maxLength: 80 }), fc.boolean())), (datagrams) => {
      const server = worker(1, [2]);
      const sent = datagrams.map(([bytes, isForeign]) => {
        const data = Uint8Array.from(bytes);
        if (isForeign && data.length >= 29) {
          data[0] = 0x40;
          data.set(ids.next(), 1);
        }
        return data;
      });
      const batch = new ReceiveBatch();
      const copies = sent.map((data) => data.slice());
      for (const data of copies) batch.push(data, 'client', 1);
      server.receive(batch, 0);
      const foreign = foreignOf(server).map(({ index }) => index);
      const expected = datagrams.flatMap(([bytes, isForeign], i) =>
        isForeign && bytes.length >= 29 ? [i] : [],
      );
      expect(foreign).toEqual(expected);
      for (const i of foreign) expect(copies[i]).toEqual(sent[i]);
    }),
  );
});

/** A short packet under an id that the endpoint might have issued. */
function shortPacketTo(endpoint: Endpoint): Uint8Array {
  const data = new Uint8Array(100);
  data[0] = 0x40;
  const { byId, config } = endpoint as unknown as {
    byId: { issue(random: unknown): Uint8Array };
    config: { random: unknown };
  };
  data.set(byId.issue(config.random), 1);
  return data;
}
