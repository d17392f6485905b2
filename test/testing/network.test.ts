import { beforeEach, describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/random.ts';
import { EcnCodepoint } from '../../src/protocol/datagram/index.ts';
import { type LabDatagram, Network } from '../../src/testing/network.ts';
import { VirtualClock } from '../../src/testing/virtual-clock.ts';

describe('network', () => {
  let clock: VirtualClock;
  let network: Network;
  let received: LabDatagram[];

  beforeEach(() => {
    clock = new VirtualClock(0);
    network = new Network(clock, new Prng(1), { delayMs: 10 });
    received = [];
  });

  test('a datagram arrives with its source, and with when it was sent and arrived', () => {
    const a = open('a', 1);
    open('b', 2);
    a.send(Uint8Array.of(9), 'b', 2);
    drain();
    expect(received).toEqual([
      { data: Uint8Array.of(9), host: 'a', port: 1, sentAt: 0, arrivedAt: 10_000, ecn: EcnCodepoint.NOT_ECT },
    ]);
  });

  test('the directions of a path have links of their own', () => {
    const a = open('a', 1);
    const b = open('b', 2);
    network.connect('a', 'b', { delayMs: 1 }, { blackHole: true });
    a.send(Uint8Array.of(1), 'b', 2);
    b.send(Uint8Array.of(2), 'a', 1);
    drain();
    expect(received.map(({ data, arrivedAt }) => [data[0], arrivedAt])).toEqual([[1, 1_000]]);
    expect(network.link('b', 'a').counters.droppedBlackHole).toBe(1);
  });

  test('a datagram to an address that nobody has when it arrives is dropped and counted', () => {
    const a = open('a', 1);
    const b = open('b', 2);
    a.send(Uint8Array.of(1), 'b', 3);
    a.send(Uint8Array.of(2), 'b', 2);
    b.close();
    drain();
    expect(received).toEqual([]);
    expect(network.counters.droppedUnreachable).toBe(2);
  });

  test('a rebound port is seen under its new address, keeps its links and loses what goes to the old one', () => {
    const a = open('a', 1);
    const b = open('b', 2);
    network.connect('a', 'b', { delayMs: 3 });
    a.rebind('nat', 0);
    expect(a.port).toBeGreaterThanOrEqual(49_152);
    a.send(Uint8Array.of(1), 'b', 2);
    b.send(Uint8Array.of(2), 'a', 1);
    b.send(Uint8Array.of(3), 'nat', a.port);
    drain();
    expect(received).toMatchObject([
      { data: Uint8Array.of(1), host: 'nat', port: a.port, arrivedAt: 3_000 },
      { data: Uint8Array.of(3), host: 'b', arrivedAt: 3_000 },
    ]);
    expect(network.counters.droppedUnreachable).toBe(1);
  });

  test('a cut lets nothing through between its sides, and all within them, until it is mended', () => {
    const ports = ['a', 'b', 'c', 'd'].map((host) => open(host, 1));
    network.cut('a', 'b');
    ports[0].send(Uint8Array.of(1), 'b', 1);
    ports[0].send(Uint8Array.of(2), 'c', 1);
    ports[2].send(Uint8Array.of(3), 'a', 1);
    ports[2].send(Uint8Array.of(4), 'd', 1);
    network.mend();
    ports[2].send(Uint8Array.of(5), 'a', 1);
    drain();
    expect(received.map(({ data }) => data[0])).toEqual([1, 4, 5]);
    expect(network.counters).toEqual({ sent: 5, delivered: 3, droppedUnreachable: 0, droppedCut: 2 });
  });

  test('a tap sees every datagram before the links do', () => {
    const a = open('a', 1);
    network.connect('a', 'b', { loss: 1 });
    const seen: string[] = [];
    network.tap = (data, from, host, port, now) =>
      seen.push(`${from.host}:${from.port}>${host}:${port} ${data.length}B @${now}`);
    a.send(new Uint8Array(7), 'b', 2);
    expect(seen).toEqual(['a:1>b:2 7B @0']);
  });

  test('an address in use is refused', () => {
    open('a', 1);
    expect(() => open('a', 1)).toThrow('a:1 is in use');
    expect(() => open('b', 1).rebind('a', 1)).toThrow('a:1 is in use');
  });

  function open(host: string, port: number) {
    return network.open(host, port, (datagram) => received.push(datagram));
  }

  function drain(): void {
    while (clock.runNext());
  }
});
