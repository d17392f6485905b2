import { describe, expect, test } from 'vitest';
import { FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { LONG_PACKET_LENGTH_MAX, PacketSpace, PacketType } from '../../../src/protocol/wire/packet-header.ts';
import { internalsOf } from './internals.ts';
import { eachSeed, Pair, PORT, type Side } from './pair.ts';

const { INITIAL, HANDSHAKE, APPLICATION } = PacketSpace;

describe('a handshake that nothing disturbs', () => {
  test('takes one round trip, and both sides hear of it once', () => {
    const pair = new Pair({ link: { delayMs: 20 } }).connect();
    const start = pair.now;
    pair.until(() => pair.client.isConnected);
    expect(pair.now - start).toBe(40_000);
    pair.until(() => pair.server.isConnected);
    expect(pair.now - start).toBe(60_000);
    pair.run(1_000);
    for (const side of [pair.client, pair.server]) {
      expect(side.events.map(({ type }) => type)).toEqual(['connected']);
      expect(side.endpoint.counters).toMatchObject({
        handshakesStarted: 1,
        handshakesCompleted: 1,
        handshakesFailed: 0,
        connectionsOpen: 1,
      });
      expect(side.core.counters).toMatchObject({ ptoCount: 0, packetsLost: 0, packetsUnopened: 0 });
    }
  });

  test('goes through the packets of the specification, in few datagrams', () => {
    const pair = new Pair().connected();
    expect(shapes(pair.client).slice(0, 3)).toEqual([
      'Initial(CRYPTO)',
      'Initial(CRYPTO PADDING)',
      'Handshake(ACK CRYPTO)',
    ]);
    expect(shapes(pair.server).slice(0, 3)).toEqual([
      'Initial(ACK CRYPTO)',
      'Initial(CRYPTO) + Handshake(CRYPTO)',
      '1-RTT(HANDSHAKE_DONE NEW_CONNECTION_ID)',
    ]);
  });

  test("[PKT-6] lets the first application data ride in the datagram of the client's FINISHED", () => {
    const pair = new Pair();
    pair.client.onEvent = ({ type }) => {
      if (type === 'connected') pair.client.send(pair.client.open(), 'early bird');
    };
    pair.connect().until(() => pair.server.texts(0).length > 0);
    expect(pair.client.sent[2].packets.map(({ type }) => type)).toEqual([
      PacketType.HANDSHAKE,
      PacketType.ONE_RTT,
    ]);
    expect(pair.server.events.map(({ type }) => type)).toEqual(['connected', 'stream', 'readable']);
  });

  test('[CON-14] leaves neither side with Initial or Handshake keys, and drops what still comes for them', () => {
    const pair = new Pair().connected();
    for (const { core } of [pair.client, pair.server]) {
      expect(internalsOf(core).spaces[INITIAL]).toBeNull();
      expect(internalsOf(core).spaces[HANDSHAKE]).toBeNull();
      expect([internalsOf(core).keys.toSeal(INITIAL), internalsOf(core).keys.toSeal(HANDSHAKE)]).toEqual([
        null,
        null,
      ]);
      expect(internalsOf(core).keys.toSeal(APPLICATION)).not.toBeNull();
    }
    expect(pair.server.frames(FrameType.HANDSHAKE_DONE)).toHaveLength(1);
    const before = pair.server.core.counters.packetsUnopened;
    pair.client.inject(pair.client.sent[2].data);
    pair.run(100);
    expect(pair.server.core.counters.packetsUnopened).toBe(before + 1);
  });

  test('[CON-14] the client drops its Initial keys when it sends its first Handshake packet, the server when it opens it', () => {
    const pair = new Pair({ link: { delayMs: 20 } }).connect();
    pair.until(() => pair.client.isConnected);
    expect(internalsOf(pair.client.halfOpen).spaces[INITIAL]).toBeNull();
    expect(internalsOf(pair.server.halfOpen).spaces[INITIAL]).not.toBeNull();
    pair.until(() => pair.server.isConnected);
    expect(internalsOf(pair.server.halfOpen).spaces[INITIAL]).toBeNull();
    expect(pair.client.packets.filter(({ type }) => type === PacketType.INITIAL)).toHaveLength(2);
  });

  test.each([512, 1_200, 1_472, 9_000])(
    "[PKT-19] every datagram with a client Initial has the client's mtu of %i",
    (mtu) => {
      const pair = new Pair({ client: { mtu, mtuMax: mtu } }).connected();
      const lengths = initialDatagrams(pair.client).map(({ data }) => data.length);
      expect(new Set(lengths)).toEqual(new Set([mtu]));
    },
  );

  test('[PKT-19] an Initial is padded no further than its Length can say', () => {
    const pair = new Pair({ client: { mtu: 30_000, mtuMax: 30_000 } }).connected();
    for (const { data } of initialDatagrams(pair.client)) {
      expect(data.length).toBeGreaterThanOrEqual(LONG_PACKET_LENGTH_MAX);
      expect(data.length).toBeLessThan(LONG_PACKET_LENGTH_MAX + 64);
    }
    pair.echo();
  });

  test('[PKT-20] works with the smallest mtu, where the hello takes several datagrams', () => {
    const small = { mtu: 512, mtuMax: 512 };
    const pair = new Pair({ client: small, server: small }).connected().echo();
    expect(initialDatagrams(pair.client).length).toBeGreaterThan(2);
    for (const side of [pair.client, pair.server]) {
      for (const { data } of side.sent) expect(data.length).toBeLessThanOrEqual(512);
    }
  });

  test('[PKT-20] works with the largest mtu', () => {
    const large = { mtu: 65_507, mtuMax: 65_507 };
    new Pair({ client: large, server: large }).connected().echo();
  });

  test.each(['sodium', 'node', 'noble'] as const)(
    'works between %s and the automatic choice of AEAD',
    async (name) => {
      const { chooseAead } = await import('../../../src/protocol/crypto/aead.ts');
      const aead = chooseAead(name);
      new Pair({ client: { aead } }).connected().echo();
      new Pair({ server: { aead } }).connected().echo();
    },
  );
});

describe('packet numbers', () => {
  test('[PKT-7] begin at 0 in each space and only grow, whatever is lost and however the connection ends', () => {
    eachSeed(1, 10, (seed) => {
      const pair = new Pair({ seed, link: { delayMs: 10, loss: 0.2 } }).connected().echo().echo();
      pair.client.close('application', 5, 'enough');
      pair.run(5_000);
      for (const side of [pair.client, pair.server]) {
        for (const space of [INITIAL, HANDSHAKE, APPLICATION]) {
          const numbers = side.packets.filter((packet) => packet.space === space).map(({ number }) => number);
          expect(numbers).toEqual([...numbers.keys()]);
        }
      }
    });
  });
});

describe('a server, before it knows that the client is where it says it is', () => {
  test('[CON-4] never sends more than three times what came, however often it has to repeat itself', () => {
    eachSeed(1, 20, (seed) => {
      const mtu = 512 + ((seed * 97) % 900);
      const pair = new Pair({
        seed,
        link: { delayMs: 10, loss: 0.3 },
        client: { mtu },
        server: { mtu: 1_400 },
      });
      let received = 0;
      let sent = 0;
      let validated = false;
      pair.server.filter = (data) => {
        // Runs when the server sends: all that arrived until now is counted.
        received = pair.server.arrived.reduce((sum, { data: { length } }) => sum + length, 0);
        validated ||= pair.server.halfOpen.path.validation.isValidated;
        sent += data.length;
        if (!validated) expect(sent).toBeLessThanOrEqual(3 * received);
        return [{ data }];
      };
      pair.connect();
      pair.run(2_000);
      expect(sent).toBeGreaterThan(0);
    });
  });

  test('[CON-4] spends no more than that on a client that is not there', () => {
    const pair = new Pair({ accept: { halfOpenMax: 1 } }).connect();
    pair.until(() => pair.client.sent.length >= 2);
    pair.client.node.remove();
    pair.run(9_000);
    const came = pair.server.arrived.reduce((sum, { data }) => sum + data.length, 0);
    expect(came).toBe(2_400);
    expect(pair.server.bytesSent).toBeGreaterThan(came);
    expect(pair.server.bytesSent).toBeLessThanOrEqual(3 * came);
    expect(pair.server.halfOpen.counters.ptoCount).toBeGreaterThan(0);
  });

  test('[CON-4] does not count what comes for the connection from other addresses', () => {
    const pair = new Pair().connect();
    pair.until(() => pair.server.sent.length > 0);
    const { ids, path } = pair.server.halfOpen;
    const { allowance } = path.validation;
    const other = pair.world.network.open('elsewhere', 9, () => {});
    for (let i = 0; i < 5; i++)
      other.send(Buffer.concat([Uint8Array.of(0x40), ids.sourceId, new Uint8Array(900)]), 'server', PORT);
    pair.run(6);
    expect(pair.server.halfOpen.counters.datagramsReceived).toBeGreaterThanOrEqual(7);
    expect(path.validation.allowance).toBe(allowance);
  });

  test('[PKT-19] sends no datagram larger than the largest that came', () => {
    const pair = new Pair({
      client: { mtu: 600, mtuMax: 600 },
      server: { mtu: 1_400, mtuMax: 1_400 },
    }).connect();
    pair.until(() => pair.server.isConnected);
    const before = pair.server.sent.filter(({ packets }) =>
      packets.some(({ space }) => space !== APPLICATION),
    );
    expect(before.length).toBeGreaterThan(2);
    for (const { data } of before) expect(data.length).toBeLessThanOrEqual(600);
  });

  test('[CON-4] a client whose answers were lost lifts the limit by asking again', () => {
    const pair = new Pair();
    // All that the server sends in its first two seconds is lost.
    pair.server.filter = (data) => (pair.now < 3_000_000 ? [] : [{ data }]);
    pair.connected().echo();
    expect(pair.client.core.counters.ptoCount).toBeGreaterThan(0);
  });
});

function initialDatagrams(side: Side) {
  return side.sent.filter(({ packets }) => packets.some(({ type }) => type === PacketType.INITIAL));
}

/** Datagrams in short: `Initial(ACK CRYPTO) + Handshake(CRYPTO)`. */
function shapes(side: Side): string[] {
  return side.sent.map(({ packets }) =>
    packets
      .map(
        ({ type, frames }) =>
          `${TYPE_NAMES[type]}(${frames.map((frame) => frameName(frame.type)).join(' ')})`,
      )
      .join(' + '),
  );
}

function frameName(type: number): string {
  return Object.entries(FrameType).find(([, value]) => value === type)?.[0] ?? String(type);
}

const TYPE_NAMES = ['Initial', '0-RTT', 'Handshake', 'Retry', '1-RTT'];
