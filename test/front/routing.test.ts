import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/random.ts';
import { SECOND } from '../../src/base/time.ts';
import { Presence } from '../../src/front/health.ts';
import { Outgoing } from '../../src/front/outgoing.ts';
import { Routing } from '../../src/front/routing.ts';
import { RoutableIds } from '../../src/protocol/crypto/index.ts';
import { FrontProbes, ServerState, type TransmitBatch } from '../../src/protocol/datagram/index.ts';
import type { DatagramSocket } from '../../src/udp/datagram-socket.ts';

const SECRET = new Uint8Array(32).fill(7);
const ids = RoutableIds.of(SECRET);
const probes = new FrontProbes({ current: SECRET });

/** A front's table, with so many servers that have answered: number i has the id 100 + i. */
function table(servers: number, seed = 1): Routing {
  const routing = new Routing({
    secrets: { current: SECRET },
    random: new Prng(seed),
    servers,
    missesMax: 3,
    clientsMax: 1_000,
    idle: 60 * SECOND,
  });
  for (let i = 0; i < servers; i++) answer(routing, i);
  return routing;
}

function answer(
  routing: Routing,
  index: number,
  state: ServerState = ServerState.ACCEPTING,
  secret = SECRET,
): void {
  const probes = new FrontProbes({ current: secret });
  const nonce = probes.nonceIn(routing.probe(index, 0)) as Uint8Array;
  routing.onReport(index, probes.report({ nonce, state, serverId: 100 + index, connections: 0 }), 5_000);
}

function silence(routing: Routing, index: number): void {
  for (let i = 0; i < 4; i++) routing.probe(index, 0);
}

const random = new Prng(9);
const madeUpId = (): Buffer => {
  const id = Buffer.alloc(8);
  random.fill(id);
  return id;
};
const initial = (id: Uint8Array) =>
  Buffer.concat([Buffer.from([0xc0, 0x4a, 0x53, 0x50, 0x31, id.length]), id, Buffer.alloc(1_200)]);
const short = (id: Uint8Array) => Buffer.concat([Buffer.from([0x40]), id, Buffer.alloc(30)]);
/** From a client that sends nothing else. */
let clients = 0;
const route = (routing: Routing, data: Uint8Array) => routing.route(data, `192.0.2.${clients++}`, 1, 0, 0);

describe('new connections', () => {
  test('go to all servers alike, and with one that goes or comes only its own go elsewhere [FRT-11]', () => {
    const routing = table(3);
    const first = Array.from({ length: 600 }, madeUpId);
    const before = first.map((id) => route(routing, initial(id)));
    for (const server of [0, 1, 2]) expect(before.filter((to) => to === server).length).toBeGreaterThan(150);
    const other = table(3, 2); // another front
    expect(first.map((id) => route(other, initial(id)))).toEqual(before);
    silence(routing, 1);
    const without = first.map((id) => route(routing, initial(id)));
    for (const [i, to] of without.entries()) {
      if (before[i] === 1) expect(to).not.toBe(1);
      else expect(to).toBe(before[i]);
    }
    answer(routing, 1);
    expect(first.map((id) => route(routing, initial(id)))).toEqual(before);
  });

  test('are chosen for anew by who has another secret [FRT-11]', () => {
    const other = new Routing({
      secrets: { current: new Uint8Array(32).fill(1), previous: SECRET },
      random: new Prng(1),
      servers: 3,
      missesMax: 3,
      clientsMax: 10,
      idle: SECOND,
    });
    for (let i = 0; i < 3; i++) answer(other, i, ServerState.ACCEPTING, new Uint8Array(32).fill(1));
    const first = Array.from({ length: 300 }, madeUpId);
    const ours = table(3);
    const same = first.filter((id) => route(other, initial(id)) === route(ours, initial(id)));
    expect(same.length).toBeGreaterThan(60);
    expect(same.length).toBeLessThan(140);
  });

  test('of one client under one id stay where the first packet went, whoever comes meanwhile, unless that is gone [FRT-12]', () => {
    const routing = table(8);
    for (const late of [4, 5, 6, 7]) silence(routing, late);
    const id = madeUpId();
    const send = () => routing.route(initial(id), '198.51.100.1', 1, 0, 0);
    const chosen = send();
    for (const late of [4, 5, 6, 7]) answer(routing, late);
    expect(send()).toBe(chosen);
    answer(routing, chosen, ServerState.LEAVING);
    expect(send()).toBe(chosen);
    silence(routing, chosen);
    expect(send()).not.toBe(chosen);
  });

  test('go where nobody accepts to one that is full, else to one that leaves, which say so; else nowhere [FRT-10]', () => {
    const routing = table(3);
    answer(routing, 0, ServerState.LEAVING);
    answer(routing, 1, ServerState.FULL);
    silence(routing, 2);
    expect(route(routing, initial(madeUpId()))).toBe(1);
    silence(routing, 1);
    expect(route(routing, initial(madeUpId()))).toBe(0);
    silence(routing, 0);
    expect(route(routing, initial(madeUpId()))).toBe(-1);
    expect(routing.dropped.noServer).toBe(1);
  });
});

describe('packets of connections', () => {
  test('go by their id, long and short, at the second packet as at the first [FRT-10]', () => {
    const routing = table(3);
    for (const server of [0, 1, 2]) {
      const id = ids.encode(100 + server, 12_345);
      for (let i = 0; i < 2; i++) {
        expect(routing.route(short(id), '192.0.2.1', server, 0, 0)).toBe(server);
        expect(routing.route(initial(id), '192.0.2.1', server, 0, 0)).toBe(server);
      }
    }
  });

  test('whose server is gone, or was never known, go to one that is there; where none is, to their own [FRT-10]', () => {
    const routing = table(3);
    const id = ids.encode(101, 1);
    silence(routing, 1);
    expect([0, 2]).toContain(route(routing, short(id)));
    expect(route(routing, short(id))).toBe(route(routing, short(id)));
    silence(routing, 0);
    silence(routing, 2);
    expect(route(routing, short(id))).toBe(1);
    expect(route(routing, short(madeUpId()))).toBe(-1);
  });
});

describe('probes', () => {
  test('that go unanswered three times make a server gone, and one answer brings it back [FRT-14]', () => {
    const routing = table(1);
    const [server] = routing.servers;
    for (let i = 0; i < 3; i++) {
      expect(server.presence).toBe(Presence.ACCEPTING);
      routing.probe(0, 0);
    }
    routing.probe(0, 0);
    expect(server.presence).toBe(Presence.GONE);
    answer(routing, 0);
    expect(server).toMatchObject({ presence: Presence.ACCEPTING, rttMs: 5 });
    server.onRefused();
    expect(server.presence).toBe(Presence.GONE);
  });

  test('are answered by reports on the last two only [FRT-13]', () => {
    const routing = table(1);
    const nonces = [1, 2, 3].map(() => probes.nonceIn(routing.probe(0, 0)) as Uint8Array);
    const tell = (nonce: Uint8Array, state: ServerState) =>
      routing.onReport(0, probes.report({ nonce, state, serverId: 100, connections: 3 }), 0);
    tell(nonces[0], ServerState.LEAVING);
    expect(routing.servers[0].presence).toBe(Presence.ACCEPTING);
    expect(routing.dropped.unauthentic).toBe(1);
    tell(nonces[1], ServerState.LEAVING);
    expect(routing.servers[0]).toMatchObject({ presence: Presence.LEAVING, connections: 3 });
    tell(nonces[2], ServerState.FULL);
    expect(routing.servers[0].presence).toBe(Presence.FULL);
  });
});

test('whatever bytes come, they go to a server or are counted, and no more clients are kept than may be [FRT-9, FRT-16]', () => {
  const routing = table(2);
  let sent = 0;
  let routed = 0;
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 80 }),
    fc.uint8Array({ minLength: 40, maxLength: 80 }).map(packetLike),
  );
  fc.assert(
    fc.property(bytes, fc.nat(5_000), (data, port) => {
      const to = routing.route(data, '192.0.2.1', port, 0, 0);
      expect([-1, 0, 1]).toContain(to);
      sent++;
      if (to >= 0) routed++;
      const { malformed, noServer } = routing.dropped;
      expect(malformed + noServer + routed).toBe(sent);
      expect(routing.clients.size).toBeLessThanOrEqual(1_000);
    }),
    { numRuns: 1_500 },
  );
  expect(routed).toBeGreaterThan(100);
});

function packetLike(bytes: Uint8Array): Uint8Array {
  bytes[0] |= 0x40;
  if (bytes.length > 5) bytes[5] %= 24;
  return bytes;
}

test('a socket that takes nothing is given so many batches, and what comes beyond is dropped and counted [FRT-17]', () => {
  const held: TransmitBatch[] = [];
  const socket = {
    send: (batch: TransmitBatch) => {
      held.push(batch);
      return false;
    },
    onWritable: null as (() => void) | null,
  };
  const out = new Outgoing(socket as unknown as DatagramSocket);
  for (let i = 0; i < 20; i++) {
    out.push(null, Buffer.alloc(100, i), '192.0.2.1', 1);
    out.flush();
  }
  expect(held.map((batch) => batch.arena[0])).toEqual([0, 1, 2, 3]);
  expect(out.dropped).toBe(16);
  socket.onWritable?.();
  out.push(Buffer.from('head'), Buffer.from('body'), '192.0.2.1', 1);
  out.flush();
  expect(Buffer.from(held[4].arena.subarray(0, held[4].used)).toString()).toBe('headbody');
  out.push(null, Buffer.alloc(65_508), '192.0.2.1', 1);
  expect(out.dropped).toBe(17);
});
