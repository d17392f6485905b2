import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Prng, type RandomSource } from '../../../src/base/random.ts';
import { ConnectionIdTable, LOCAL_ID_BYTES } from '../../../src/protocol/endpoint/routing.ts';
import { EndpointCounters } from '../../../src/protocol/trace/counters.ts';
import { VERSION } from '../../../src/protocol/wire/packet-header.ts';
import { isConfirmed } from '../connection/internals.ts';
import { bytesOf, Pair } from '../connection/pair.ts';
import { drain, firstFlights, hand, serverEndpoint } from './first-flights.ts';

describe("datagrams that are nobody's are dropped and counted by their reason", () => {
  const [flight] = firstFlights(1);
  const changed = (change: (data: Uint8Array) => void): Uint8Array => {
    const data = flight[0].slice();
    change(data);
    return data;
  };

  test.each([
    ['an empty one', new Uint8Array(0), 'droppedMalformed'],
    ['one byte', Uint8Array.of(0x40), 'droppedMalformed'],
    ['a short header without the rest', bytesOf(28).fill(0x40, 0, 1), 'droppedMalformed'],
    ['a short header without the fixed bit [INV-2]', bytesOf(100).fill(0, 0, 1), 'droppedMalformed'],
    [
      'a long header without the fixed bit [INV-2]',
      changed((data) => {
        data[0] &= ~0x40;
      }),
      'droppedMalformed',
    ],
    ['a long packet that is cut short [PKT-3]', flight[0].slice(0, 600), 'droppedMalformed'],
    ['a short header with an id of nobody [CON-1]', bytesOf(100).fill(0x40, 0, 1), 'droppedUnknownId'],
    [
      'a Handshake packet with an id of nobody [CON-1]',
      changed((data) => {
        data[0] = 0xe0;
      }),
      'droppedMalformed',
    ],
    [
      'another version [INV-6]',
      changed((data) => {
        data[1] ^= 0xff;
      }),
      'droppedVersion',
    ],
    [
      'version negotiation',
      changed((data) => {
        data.fill(0, 1, 5);
      }),
      'droppedVersion',
    ],
    [
      'an Initial for another server [CON-2]',
      changed((data) => {
        data[600] ^= 1;
      }),
      'droppedUnopened',
    ],
    [
      'an Initial with another destination id',
      changed((data) => {
        data[7] ^= 1;
      }),
      'droppedUnopened',
    ],
    [
      'an Initial of a client that does not pin',
      changed((data) => {
        data[0] |= 0x08;
      }),
      'droppedUnpinned',
    ],
    ['a 0-RTT packet', longPacket(0xd0), 'droppedUnsupported'],
    ['a Retry', longPacket(0xf0), 'droppedUnsupported'],
    ['a Handshake packet of no connection', longPacket(0xe0), 'droppedUnknownId'],
    ['an Initial in a datagram that is too small', smallInitial(), 'droppedShortInitial'],
  ] as const)('%s', (_, data, reason) => {
    const server = serverEndpoint();
    hand(server, [data], 0);
    const expected = {
      ...new EndpointCounters(),
      datagramsReceived: 1,
      bytesReceived: data.length,
      [reason]: 1,
    };
    const { statelessResetsSent, versionPacketsSent } = server.counters;
    expect({ ...server.counters, statelessResetsSent: 0, versionPacketsSent: 0 }).toEqual(expected);
    // [PKT-24] A short packet may be that of a connection which the server has forgotten.
    const isShort = (data[0] & 0xc0) === 0x40 && reason === 'droppedUnknownId';
    expect(statelessResetsSent).toBe(isShort && data.length > 37 ? 1 : 0);
    // [INV-5] Nobody answers a version packet, and each other packet of a version that is not spoken is.
    expect(versionPacketsSent).toBe(reason === 'droppedVersion' && data[1] !== 0 ? 1 : 0);
    expect(drain(server, 0)).toHaveLength(statelessResetsSent + versionPacketsSent);
    expect(server.nextTimeout()).toBe(Number.POSITIVE_INFINITY);
  });

  test('an Initial at an endpoint that is only a client', () => {
    const pair = new Pair().connected();
    const before = pair.client.endpoint.counters.droppedUnknownId;
    hand(pair.client.endpoint, flight, pair.now);
    expect(pair.client.endpoint.counters.droppedUnknownId).toBe(before + 2);
    expect(pair.client.endpoint.counters.connectionsOpen).toBe(1);
  });
});

describe('packets find their connection', () => {
  test('among many on one socket, whoever sends when [CON-1]', () => {
    const pairs = new Pair({ accept: { connectionsMax: 100, halfOpenMax: 100 } });
    const { client, server, world } = pairs;
    const target = { host: 'server', port: 4577, pin: null, isLoopback: false } as const;
    const cores = Array.from({ length: 40 }, () =>
      client.endpoint.connect({ ...target, pin: pin(pairs) }, world.now),
    );
    client.node.wake();
    pairs.until(() => cores.every(isConfirmed));
    for (const [i, core] of cores.entries()) {
      const stream = core.streams.open({ priority: 2, delivery: 0, ordered: true, label: `${i}` });
      stream.send(bytesOf(20_000, i), 0, Number.POSITIVE_INFINITY, false);
    }
    client.node.wake();
    pairs.until(
      () => server.streams.length === 40 && server.streams.every(({ receiver }) => receiver.readable === 0),
    );
    pairs.run(2_000);
    expect(server.endpoint.counters).toMatchObject({ connectionsOpen: 40, handshakesCompleted: 40 });
    const labels = server.streams.map(({ label }) => Number(label)).sort((a, b) => a - b);
    expect(labels).toEqual([...labels.keys()]);
    for (const core of cores) expect(core.counters.packetsUnopened).toBe(0);
  });

  test('with their own id only: a packet of one connection is not opened by another [PKT-6]', () => {
    const pair = new Pair();
    const one = pair.connect().client.core;
    pair.until(() => isConfirmed(one));
    const first = pair.client.sent.length;
    const two = pair.connect().client.core;
    pair.until(() => isConfirmed(two));
    const stranger = pair.client.sent
      .slice(first)
      .find(({ data }) => (data[0] & 0x80) === 0)
      ?.data.slice();
    if (stranger === undefined) throw new Error('a short packet was sent');
    stranger.set(one.ids.destinationId, 1);
    pair.client.inject(stranger);
    pair.run(50);
    const unopened = pair.server.events.flatMap((event) =>
      event.type === 'connected' ? [event.connection.counters.packetsUnopened] : [],
    );
    expect(unopened).toEqual([1, 0]);
  });

  test('a coalesced packet with another destination id than the first is dropped and counted [PKT-6]', () => {
    const pair = new Pair().connect();
    pair.server.filter = (data, index) => {
      const { packets } = pair.server.sent[index];
      if (packets.length < 2) return [{ data }];
      // The second packet's destination id, behind the first packet and 6 bytes.
      data[packets[0].bytes + 6] ^= 1;
      return [{ data }];
    };
    pair.run(12);
    expect(pair.client.halfOpen.counters.packetsUnopened).toBe(1);
    expect(pair.client.halfOpen.receiver.undecryptable).toHaveLength(0);
  });

  test('a packet that is no packet takes the rest of its datagram with it [PKT-3]', () => {
    const pair = new Pair().connected();
    const { sent } = pair.client;
    pair.echo();
    const short = sent.at(-1)?.data ?? new Uint8Array(0);
    const before = pair.server.core.counters.packetsUnopened;
    // A long header that announces more than there is, with the id of the connection.
    const head = longPacket(0xe0).slice(0, 40);
    head.set(pair.client.core.ids.destinationId, 6);
    pair.client.inject(Buffer.concat([head, short]));
    pair.run(50);
    expect(pair.server.core.counters.packetsUnopened).toBe(before);
    expect(pair.server.endpoint.counters.droppedMalformed).toBe(1);
  });
});

/** A long header of version 1 with two ids of 8 bytes, Length and random bytes behind. */
function longPacket(firstByte: number): Uint8Array {
  const data = bytesOf(700);
  data[0] = firstByte;
  new DataView(data.buffer).setUint32(1, VERSION);
  data[5] = 8;
  data[14] = 8;
  new DataView(data.buffer).setUint16(23, 0x4000 | (700 - 25));
  return data;
}

function smallInitial(): Uint8Array {
  const data = longPacket(0xc0).slice(0, 300);
  // No token, then Length.
  data[23] = 0;
  new DataView(data.buffer).setUint16(24, 0x4000 | (300 - 26));
  return data;
}

function pin(pair: Pair): Uint8Array {
  return (pair as unknown as { pin: Uint8Array }).pin;
}

describe('the table of connection ids', () => {
  test('finds an owner by its whole id, wherever it stands, and nobody else', () => {
    const table = new ConnectionIdTable<Owner>();
    const random = new Prng(1);
    const owners = Array.from({ length: 500 }, () => ownerOf(table.issue(random)));
    for (const owner of owners) table.add(owner.ids.sourceId, owner);
    expect(table.size).toBe(500);
    for (const owner of owners) {
      const buffer = new Uint8Array(20);
      buffer.set(owner.ids.sourceId, 5);
      expect(table.lookup(buffer, 5)).toBe(owner);
      for (let bit = 0; bit < 8 * LOCAL_ID_BYTES; bit++) {
        buffer[5 + (bit >> 3)] ^= 1 << (bit & 7);
        assert.equal(table.lookup(buffer, 5), null);
        buffer[5 + (bit >> 3)] ^= 1 << (bit & 7);
      }
    }
    for (const owner of owners) {
      table.release(owner.ids.sourceId);
      table.forget(owner);
    }
    expect(table.size).toBe(0);
    expect(table.lookup(owners[0].ids.sourceId, 0)).toBeNull();
  });

  test('answers as a map from texts would', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ minLength: 8, maxLength: 8 }), { maxLength: 50 }),
        fc.array(fc.uint8Array({ minLength: 8, maxLength: 8 }), { maxLength: 20 }),
        (ids, others) => {
          const table = new ConnectionIdTable<Owner>();
          const twin = new Map<string, Owner>();
          for (const localId of ids) {
            // Ids are issued so that their first 52 bits differ; those that do not are not used here.
            if ([...twin.values()].some((owner) => sharesKey(owner.ids.sourceId, localId))) continue;
            const owner = ownerOf(localId);
            table.add(owner.ids.sourceId, owner);
            twin.set(text(localId), owner);
          }
          for (const id of [...ids, ...others]) expect(table.lookup(id, 0)).toBe(twin.get(text(id)) ?? null);
        },
      ),
    );
  });

  test('issues no id twice, and none that another could be taken for', () => {
    const table = new ConnectionIdTable<Owner>();
    // Gives the same bytes three times, then others.
    const bytes = [1, 1, 1, 2];
    const stuck: RandomSource = { fill: (target) => target.fill(bytes.shift() ?? 3) };
    const first = ownerOf(table.issue(stuck));
    table.add(first.ids.sourceId, first);
    const second = ownerOf(table.issue(stuck));
    expect([...first.ids.sourceId]).toEqual(Array(8).fill(1));
    expect([...second.ids.sourceId]).toEqual(Array(8).fill(2));
  });
});

function sharesKey(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one.subarray(0, 6), other.subarray(0, 6)) === 0 && one[6] >> 4 === other[6] >> 4;
}

function text(id: Uint8Array): string {
  return Buffer.from(id).toString('hex');
}

interface Owner {
  readonly ids: { readonly sourceId: Uint8Array };
}

function ownerOf(sourceId: Uint8Array): Owner {
  return { ids: { sourceId } };
}
