import { describe, expect, test } from 'vitest';
import type { Connection } from '../../../src/protocol/connection/connection.ts';
import { ReceiveBatch } from '../../../src/protocol/datagram/index.ts';
import { HalfOpenTable } from '../../../src/protocol/endpoint/admission.ts';
import { drain, firstFlights, pass, serverEndpoint } from './first-flights.ts';

/** As much of a connection as the table looks at. */
function from(host: string): Connection {
  return {
    path: { host, validation: { isValidated: false } },
    startedAt: 0,
    lastOpenedAt: 0,
  } as unknown as Connection;
}

function tableOf(connections: readonly Connection[]): HalfOpenTable {
  const table = new HalfOpenTable();
  for (const connection of connections) {
    table.add(connection);
    table.helloCame(connection);
  }
  return table;
}

function order(table: HalfOpenTable): Connection[] {
  const taken: Connection[] = [];
  for (let next = table.takeHello(); next !== null; next = table.takeHello()) taken.push(next);
  expect(table.hasHellos).toBe(false);
  return taken;
}

describe('hellos that wait are answered [CON-41]', () => {
  test('in the order in which they came', () => {
    const all = ['10.0.0.1', '10.0.1.1', '10.0.2.1'].map(from);
    expect(order(tableOf(all))).toEqual(all);
  });

  test('of networks with few handshakes under way before those of networks with many', () => {
    const many = Array.from({ length: 8 }, (_, i) => from(`10.0.0.${i}`));
    const few = [from('10.0.1.1'), from('10.0.1.2')];
    expect(order(tableOf([...many, ...few]))).toEqual([...few, ...many]);
  });

  test('of addresses that completed a handshake lately before all others', () => {
    const all = Array.from({ length: 6 }, (_, i) => from(`10.0.0.${i}`));
    const table = tableOf(all);
    table.remember('10.0.0.4');
    expect(order(table)[0]).toBe(all[4]);
  });

  test('newest first when more than 32 wait', () => {
    const all = Array.from({ length: 40 }, (_, i) => from(`10.0.${i}.1`));
    const taken = order(tableOf(all));
    expect(taken.slice(0, 8)).toEqual(all.slice(32).reverse());
    expect(taken.slice(8)).toEqual(all.slice(0, 32));
  });

  test('and never of a handshake that gave way meanwhile: they are bounded as those are', () => {
    const server = serverEndpoint({ halfOpenMax: 4 });
    for (const [i, flight] of firstFlights(12).entries()) {
      const batch = new ReceiveBatch();
      for (const data of flight) batch.push(data, `10.0.${i}.1`, i);
      server.receive(batch, i, 0);
    }
    let answered = 0;
    for (; server.hasHellos; answered++) server.answerHello(20);
    expect(answered).toBe(4);
    expect(server.counters).toMatchObject({ handshakesDisplaced: 8, connectionsOpen: 4 });
  });

  test('and wake their server for nothing until then', () => {
    const server = serverEndpoint();
    for (const flight of firstFlights(4)) {
      const batch = new ReceiveBatch();
      for (const data of flight) batch.push(data, '10.0.0.1', 1);
      server.receive(batch, 0, 0);
    }
    expect(drain(server, 0)).toEqual([]);
    pass(server, 5_000_000);
    expect(server.nextTimeout()).toBeGreaterThan(5_000_000);
    while (server.hasHellos) server.answerHello(5_000_000);
    expect(drain(server, 5_000_000).length).toBeGreaterThan(0);
  });

  test('among addresses that are remembered without bound in time, but 4,096 at most', () => {
    const table = new HalfOpenTable();
    for (let i = 0; i < 10_000; i++) table.remember(`10.${i >> 8}.${i & 255}.1`);
    expect((table as unknown as { known: Set<string> }).known.size).toBe(4_096);
  });
});
