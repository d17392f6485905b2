import { describe, expect, test } from 'vitest';
import { SECOND } from '../../src/base/time.ts';
import { FrameType } from '../../src/protocol/wire/frame-type.ts';
import { bytesOf, Pair } from '../protocol/connection/pair.ts';
import { drain, hand, pass } from '../protocol/endpoint/first-flights.ts';
import { Lockstep, stateOf } from './lockstep.ts';

describe('the datagrams of a whole session, sent again', () => {
  test('change nothing in the running connection but counters, in any order and from any address', () => {
    for (const host of ['client', 'elsewhere']) {
      const pair = session();
      const replays = [...pair.record, ...pair.record.toReversed()];
      for (const [from, to] of [
        ['client', pair.server],
        ['server', pair.client],
      ] as const) {
        const before = JSON.stringify(stateOf(to).slice(0, 1));
        const { connectionsOpen } = to.counters;
        for (const { data } of replays.filter((entry) => entry.from === from)) {
          hand(
            to,
            [data],
            pair.now,
            host === 'client' ? (from === 'client' ? 'client' : 'server') : host,
            4577,
          );
        }
        expect(JSON.stringify(stateOf(to).slice(0, 1))).toBe(before);
        // [CON-1] From another address the first flight begins nothing: its id is taken.
        expect(to.counters.connectionsOpen - connectionsOpen).toBe(0);
        expect(drain(to, pair.now)).toEqual([]);
      }
      const { packetsReplayed } = pair.serverCore.counters;
      expect(packetsReplayed).toBeGreaterThan(20);
      expect(pair.serverCore.lifecycle.isOpen && pair.clientCore.lifecycle.isOpen).toBe(true);
    }
  });

  test('do not keep a dead connection alive [CON-8]', () => {
    const pair = new Pair({ client: { heartbeatMs: 500 }, server: { heartbeatMs: 500 } }).connected().echo();
    pair.run(100);
    pair.client.node.remove();
    const { sent } = pair.client;
    const start = pair.now;
    for (let i = 0; pair.server.closed === null && i < 100; i++) {
      pair.client.inject(sent[i % sent.length].data);
      pair.run(50);
    }
    expect(pair.server.closed).toMatchObject({ by: 'timeout', timeout: 'heartbeat' });
    expect(pair.now - start).toBeLessThan(1_700_000);
  });

  test('open and close nothing at a server that has forgotten the connection but half-open handshakes, within their bound', () => {
    const pair = session();
    pair.clientCore.lifecycle.close('application', 1, '', pair.now);
    pair.run();
    pass(pair.server, pair.now + 60 * SECOND);
    expect(pair.server.counters.connectionsOpen).toBe(0);
    while (pair.server.pollEvent() !== null);
    const completed = pair.server.counters.handshakesCompleted;
    let sent = 0;
    let received = 0;
    for (let port = 0; port < 100; port++) {
      for (const { data, from } of pair.record) {
        if (from === 'server') continue;
        hand(pair.server, [data], pair.now + 60 * SECOND, 'thief', port);
        received += data.length;
      }
    }
    for (const { length } of drain(pair.server, pair.now + 60 * SECOND)) sent += length;
    // [CON-1] Two datagrams of one first flight are one handshake, from wherever they come.
    expect(pair.server.counters).toMatchObject({ connectionsOpen: 1, handshakesCompleted: completed });
    expect(pair.server.counters.droppedRepeatedInitial).toBeGreaterThan(190);
    expect(pair.server.pollEvent()).toBeNull();
    expect(sent).toBeLessThan(received);
    pass(pair.server, pair.now + 80 * SECOND);
    expect(pair.server.counters.connectionsOpen).toBe(0);
    expect(pair.server.pollEvent()).toBeNull();
  });

  test('are told apart over thousands of packets [PKT-9]', () => {
    const pair = new Pair({ link: { delayMs: 1 } }).connected();
    const stream = pair.client.open();
    for (let i = 0; i < 3_000; i++) {
      pair.client.send(stream, `${i}`);
      if (i % 3 === 0) pair.run(1);
    }
    pair.until(() => pair.server.texts(stream.id).length === 3_000);
    const short = pair.client.sent.filter(({ data }) => (data[0] & 0x80) === 0);
    expect(short.length).toBeGreaterThan(900);
    const { packetsReceived } = pair.server.core.counters;
    for (const { data } of short) pair.client.inject(data);
    pair.run(100);
    expect(pair.server.core.counters.packetsReceived).toBeLessThan(packetsReceived + 5);
    // A short number is taken for one near the newest, which then does not open; nearer ones are known.
    const { packetsReplayed, packetsUnopened } = pair.server.core.counters;
    expect(packetsReplayed).toBeGreaterThan(100);
    expect(packetsReplayed + packetsUnopened).toBe(short.length);
    expect(pair.server.texts(stream.id)).toHaveLength(3_000);
  });

  test('of one connection are worth nothing on another', () => {
    const one = session(1);
    const other = new Pair().connected().run(500);
    const before = other.server.core.counters.packetsReceived;
    for (const { data, from } of one.record) {
      if (from !== 'client' || (data[0] & 0x80) !== 0) continue;
      const forged = data.slice();
      forged.set(other.client.core.ids.destinationId, 1);
      other.client.inject(forged);
    }
    other.run(100);
    expect(other.server.core.counters.packetsReceived).toBe(before);
    expect(other.server.frames(FrameType.CONNECTION_CLOSE)).toEqual([]);
    other.echo();
  });
});

/** A session with traffic both ways that is still open. */
function session(seed = 1): Lockstep {
  const pair = new Lockstep(seed);
  pair.run();
  for (let i = 0; i < 30; i++) {
    const settings = { priority: 2, delivery: 0, ordered: true, label: `${i}` } as const;
    const core = i % 2 === 0 ? pair.clientCore : pair.serverCore;
    core.streams.open(settings).send(bytesOf(i * 50, i), 0, Number.POSITIVE_INFINITY, false);
    pair.pass(30_000);
    pair.run();
  }
  pair.pass(30_000);
  pair.run();
  while (pair.server.pollEvent() !== null);
  while (pair.client.pollEvent() !== null);
  return pair;
}
