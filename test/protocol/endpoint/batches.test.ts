import { describe, expect, test } from 'vitest';
import { ReceiveScratch } from '../../../src/protocol/connection/packet-opening.ts';
import { ReceiveBatch, TransmitBatch } from '../../../src/protocol/datagram/index.ts';
import { internalsOf, isConfirmed } from '../connection/internals.ts';
import { bytesOf, Pair } from '../connection/pair.ts';
import { expectAtRest } from './at-rest.ts';

describe('batches', () => {
  test('of any size carry the same bytes out, and the connection goes on where the batch was full', () => {
    for (const [arenaBytes, datagramsMax] of [
      [1_200, 1],
      [2_500, 10],
      [100_000, 3],
    ]) {
      const pair = new Pair().connected();
      const { endpoint } = pair.client;
      const stream = pair.client.core.streams.open({ priority: 2, delivery: 0, ordered: true, label: '' });
      stream.send(bytesOf(10_000), 0, Number.POSITIVE_INFINITY, false);
      const batch = new TransmitBatch(arenaBytes, datagramsMax);
      const received = new ReceiveBatch();
      let datagrams = 0;
      while (endpoint.transmit(batch, pair.now) > 0) {
        expect(batch.count).toBeLessThanOrEqual(datagramsMax);
        for (let i = 0; i < batch.count; i++) {
          received.push(
            batch.arena.slice(batch.offset[i], batch.offset[i] + batch.length[i]),
            'client',
            4577,
          );
        }
        datagrams += batch.count;
        batch.clear();
      }
      expect(datagrams).toBeGreaterThan(8);
      expect(endpoint.wantsTransmit).toBe(false);
      pair.server.endpoint.receive(received, pair.now);
      pair.server.node.wake();
      pair.run(1);
      expect(Buffer.compare(pair.server.messages.get(0)?.[0] ?? Buffer.alloc(0), bytesOf(10_000))).toBe(0);
    }
  });

  test('are shared: a connection that could fill them all does not keep others from sending', () => {
    const pair = new Pair({ link: { delayMs: 1 } });
    const busy = pair.connect().client.core;
    pair.until(() => isConfirmed(busy));
    const quiet = pair.connect().client.core;
    pair.until(() => isConfirmed(quiet));
    const open = (core: typeof busy, bytes: number) =>
      core.streams
        .open({ priority: 2, delivery: 0, ordered: true, label: '' })
        .send(bytesOf(bytes), 0, Number.POSITIVE_INFINITY, false);
    open(busy, 1_000_000);
    open(quiet, 10);
    const batch = new TransmitBatch(2_400, 2);
    const ids = new Set<string>();
    for (let i = 0; i < 3; i++) {
      pair.client.endpoint.transmit(batch, pair.now);
      for (let k = 0; k < batch.count; k++) {
        ids.add(Buffer.from(batch.arena.subarray(batch.offset[k] + 1, batch.offset[k] + 9)).toString('hex'));
      }
      batch.clear();
    }
    expect(ids).toContain(Buffer.from(quiet.ids.destinationId).toString('hex'));
  });

  test('hold messages first, alone, but messages that fill one after the other do not keep the rest away', () => {
    const pair = new Pair({ link: { delayMs: 1 } });
    const telling = pair.connect().client.core;
    pair.until(() => isConfirmed(telling));
    const sending = pair.connect().client.core;
    pair.until(() => isConfirmed(sending));
    const stream = sending.streams.open({ priority: 2, delivery: 0, ordered: true, label: '' });
    for (const bytes of [10, 1_000_000]) {
      internalsOf(telling).control.isHeartbeatDue = true;
      telling.touch();
      stream.send(bytesOf(bytes), 0, Number.POSITIVE_INFINITY, false);
      const ids: string[] = [];
      const batch = new TransmitBatch(2_400, 2);
      for (let i = 0; i < 2; i++) {
        pair.client.endpoint.transmit(batch, pair.now);
        for (let k = 0; k < batch.count; k++) {
          ids.push(
            Buffer.from(batch.arena.subarray(batch.offset[k] + 1, batch.offset[k] + 9)).toString('hex'),
          );
        }
        if (i === 0)
          expect(new Set(ids)).toEqual(new Set([Buffer.from(sending.ids.destinationId).toString('hex')]));
        batch.clear();
      }
      expect(ids).toContain(Buffer.from(telling.ids.destinationId).toString('hex'));
    }
  });

  test("hand packets over in order, those that open a connection's streams before those that use them", () => {
    const pair = new Pair().connected();
    const stream = pair.client.open();
    for (let i = 0; i < 200; i++) pair.client.send(stream, bytesOf(900, i));
    pair.until(() => pair.server.messages.get(stream.id)?.length === 200);
    expect(pair.server.core.counters).toMatchObject({ packetsReplayed: 0, packetsUnopened: 0 });
  });
});

describe('an endpoint', () => {
  test('rests when nothing is to be done, with no timeout but those of its connections', () => {
    const pair = new Pair({
      client: { heartbeatMs: 0, idleTimeoutMs: 0 },
      server: { heartbeatMs: 0, idleTimeoutMs: 0 },
    });
    pair.connected().echo();
    expect(pair.world.run({ forMs: 60_000 })).toBe('quiet');
    for (const { endpoint } of [pair.client, pair.server]) {
      expect(endpoint.nextTimeout()).toBe(Number.POSITIVE_INFINITY);
      expect(endpoint.wantsTransmit).toBe(false);
      expect(endpoint.pollEvent()).toBeNull();
    }
    pair.client.close();
    pair.toTheEnd();
    for (const { endpoint } of [pair.client, pair.server]) {
      expect(endpoint.nextTimeout()).toBe(Number.POSITIVE_INFINITY);
    }
  });

  test('forgets all of a connection, so that a hundred one after the other leave nothing behind', () => {
    const pair = new Pair({ link: { delayMs: 0 } });
    for (let i = 0; i < 100; i++) {
      pair.client.events.length = 0;
      pair.server.events.length = 0;
      pair.server.connection = null;
      pair.connected();
      pair.client.close();
      pair.toTheEnd();
    }
    for (const { endpoint } of [pair.client, pair.server]) expectAtRest(endpoint);
  });
});

describe('what a batch is received with', () => {
  test('is lent to one endpoint at a time, and to the next one when that is done', () => {
    const outer = ReceiveScratch.borrow();
    const inner = ReceiveScratch.borrow();
    expect(inner).not.toBe(outer);
    inner.giveBack();
    expect(ReceiveScratch.borrow()).toBe(inner);
    inner.giveBack();
    outer.giveBack();
  });
});
