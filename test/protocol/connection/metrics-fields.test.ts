import { describe, expect, test } from 'vitest';
import {
  COMPRESSION_OFF,
  CompressionMode,
  type CompressionOptions,
} from '../../../src/protocol/compress/index.ts';
import type { ConnectionMetrics } from '../../../src/protocol/connection/metrics.ts';
import { EcnCodepoint } from '../../../src/protocol/datagram/index.ts';
import {
  PROTECTION_AUTO,
  ProtectionMode,
  type ProtectionOptions,
} from '../../../src/protocol/fec/protection.ts';
import { Delivery, FrameType, Priority, Space } from '../../../src/protocol/wire/frame-type.ts';
import { writeDropped } from '../../../src/protocol/wire/frames/message.ts';
import { SYMBOL_BIT } from '../../../src/protocol/wire/packet-header.ts';
import { bytesOf, Pair, PORT, type Side } from './pair.ts';
import { frame, integers, opening, Rogue, run } from './rogue.ts';

type Field = keyof ConnectionMetrics;

/** What happens, and which fields it moves: told by snapshots of the side before and after. */
interface Story {
  /** Makes the world up to the first snapshot. */
  readonly begin: () => Pair;
  readonly side: 'client' | 'server';
  readonly go: (pair: Pair) => void;
  readonly moves: readonly Field[];
}

/** Each field must be in one of them: a test below compares with what there is. */
const STORIES: Record<string, Story> = {
  'a handshake and messages both ways': {
    begin: () => new Pair({ link: { delayMs: 20, jitterMs: 4 } }).connect(),
    side: 'client',
    go: (pair) => {
      pair.until(() => pair.client.isConnected && pair.server.isConnected);
      for (let i = 0; i < 20; i++) {
        pair.echo(`message ${i}`);
        pair.run(20);
      }
    },
    moves: [
      'ageMs',
      'handshakeMs',
      'rttMs',
      'rttLatestMs',
      'rttMinMs',
      'rttVariationMs',
      'probeTimeoutMs',
      'datagramsSent',
      'datagramsReceived',
      'bytesSent',
      'bytesReceived',
      'packetsSent',
      'packetsReceived',
      'acksSent',
      'acksReceived',
      'messagesSent',
      'messagesReceived',
      'messageBytesSent',
      'messageBytesReceived',
      'pacingRate',
      'streamsOpen',
      'streamsOpened',
      'sendCreditBytes',
      'memoryBytes',
    ],
  },
  'streams of the peer whose messages nobody reads': {
    begin: () => new Pair().connected(),
    side: 'server',
    go: (pair) => {
      pair.server.readsAll = false;
      for (let i = 0; i < 5; i++) pair.client.send(pair.client.open(), bytesOf(10_000, i));
      pair.run(100);
    },
    moves: ['streamsAccepted', 'receiveCreditBytes', 'memoryBytes'],
  },
  'a transfer that the path slows down': {
    begin: () =>
      new Pair({ link: { delayMs: 20, bitsPerSecond: 5e6 }, client: { mtuMax: 1_452 } }).connected(),
    side: 'client',
    go: (pair) => {
      pair.client.send(pair.client.open({ priority: Priority.BULK }), bytesOf(1_000_000));
      pair.run(600);
    },
    moves: [
      'queue',
      'queueBytes',
      'queueMs',
      'bytesInFlight',
      'congestionWindowBytes',
      'congestionStateMs',
      'limitedBy',
      'limitedByMs',
      'mtu',
      'mtuMayFragment',
      'packetSizeProbes',
    ],
  },
  'messages that are compressed, and some that are not': {
    begin: () => {
      const compression = compressing(CompressionMode.AUTO);
      return new Pair({ client: { compression }, server: { compression } }).connected();
    },
    side: 'client',
    go: (pair) => {
      const stream = pair.client.open({ compression: CompressionMode.ON });
      for (const message of [TEXT, Buffer.of(1), bytesOf(500)]) pair.client.send(stream, message);
      pair.run(50);
      pair.server.send(pair.server.streams[0], TEXT);
      pair.run(50);
      const adaptive = pair.client.open();
      for (let i = 0; i < 500; i++) pair.client.send(adaptive, TEXT);
      pair.run(50);
    },
    moves: [
      'messagesCompressed',
      'bytesBeforeCompression',
      'bytesAfterCompression',
      'compressionRatio',
      'compressionSkippedSmall',
      'compressionSkippedIncompressible',
      'compressionSkippedCostly',
      'messagesInflated',
      'bytesBeforeInflation',
      'bytesAfterInflation',
      'deflateMs',
      'inflateMs',
    ],
  },
  'messages that the peer does not open': {
    begin: () => new Pair({ client: { compression: compressing(CompressionMode.ON) } }).connected(),
    side: 'client',
    go: (pair) => {
      pair.client.send(pair.client.open(), TEXT);
    },
    moves: ['compressionSkippedNotAgreed'],
  },
  'a silence after which a heartbeat comes': {
    begin: () => new Pair({ client: { heartbeatMs: 500 }, server: { heartbeatMs: 500 } }).connected(),
    side: 'client',
    go: (pair) => void pair.run(1_200),
    moves: ['heartbeatsSent'],
  },
  'a peer that is silent': {
    begin: () => new Pair({ client: { heartbeatMs: 0 }, server: { heartbeatMs: 300 } }).connected(),
    side: 'client',
    go: (pair) => {
      pair.run(700);
    },
    moves: ['heartbeatsReceived', 'silenceMs'],
  },
  'a telephone that goes into a pocket': {
    begin: () => new Pair().connected(),
    side: 'client',
    go: ({ client, now }) => {
      client.core.device.setNetworkType('cellular', now);
      client.core.device.setAppState('background', now);
    },
    moves: ['networkType', 'appState', 'heartbeatIntervalMs'],
  },
  'losses on the way out': {
    begin: () => new Pair({ link: { delayMs: 10 } }).connected(),
    side: 'client',
    go: (pair) => {
      pair.client.filter = (data, index) => (index % 7 === 3 ? [] : [{ data }]);
      const stream = pair.client.open();
      for (let i = 0; i < 40; i++) {
        pair.client.send(stream, bytesOf(1_500, i));
        pair.run(3);
      }
      pair.until(() => pair.client.core.metrics().congestionState === 'recovery');
    },
    moves: [
      'packetsLost',
      'bytesLost',
      'packetLossRate',
      'congestionEvents',
      'congestionState',
      'retransmittedMessages',
      'retransmittedBytes',
      'retransmittedPackets',
    ],
  },
  'a packet that is late, and one that is doubled': {
    begin: () => new Pair({ link: { delayMs: 10 } }).connected(),
    side: 'client',
    go: (pair) => {
      const first = pair.client.sent.length;
      pair.client.filter = (data, index) => [{ data, afterMs: index === first + 4 ? 35 : 0 }];
      pair.server.filter = (data) => [{ data }, { data }];
      const stream = pair.client.open();
      for (let i = 0; i < 20; i++) {
        pair.client.send(stream, bytesOf(900, i));
        pair.run(5);
      }
      pair.run(200);
    },
    moves: ['packetsSpuriouslyLost', 'packetsReplayed'],
  },
  'packets that come in another order': {
    begin: () => new Pair({ link: { delayMs: 10 } }).connected(),
    side: 'server',
    go: (pair) => {
      pair.client.filter = (data, index) => [{ data, afterMs: index % 2 === 0 ? 7 : 0 }];
      const stream = pair.client.open();
      for (let i = 0; i < 20; i++) {
        pair.client.send(stream, bytesOf(900, i));
        pair.run(5);
      }
      pair.run(200);
    },
    moves: ['packetsReordered'],
  },
  'nothing coming through, then damaged': {
    begin: () => new Pair({ link: { delayMs: 10 } }).connected(),
    side: 'client',
    go: (pair) => {
      pair.client.filter = () => [];
      pair.client.send(pair.client.open(), 'x');
      pair.run(300);
      pair.client.filter = null;
      pair.server.filter = (data) => {
        data[data.length - 1] ^= 1;
        return [{ data }];
      };
      pair.run(500);
    },
    moves: ['ptoCount', 'packetsUnopened'],
  },
  'keys that have sealed enough': {
    begin: () => new Pair({ client: { keyUpdate: { packets: 5, ageMs: 1e6 } } }).connected(),
    side: 'client',
    go: (pair) => {
      for (let i = 0; i < 10; i++) pair.echo();
    },
    moves: ['keyUpdates'],
  },
  'routers that mark packets, and a peer that is marked': {
    begin: () => new Pair({ client: { usesEcn: true }, server: { usesEcn: true } }).connect(),
    side: 'client',
    go: (pair) => {
      pair.until(() => pair.client.isConnected && pair.server.isConnected);
      pair.echo();
      const marked = (data: Uint8Array) => [{ data, ecn: EcnCodepoint.CE }];
      pair.client.filter = marked;
      pair.server.filter = marked;
      for (let i = 0; i < 5; i++) pair.echo(`message ${i}`);
    },
    moves: ['ecnCapable', 'congestionMarks', 'congestionMarksReceived', 'congestionEvents'],
  },
  'a path that carries no large packets any more': {
    begin: () => {
      const pair = new Pair({ link: { delayMs: 20 } }).connected();
      pair.client.send(pair.client.open(), bytesOf(50_000));
      pair.run(1_000);
      return pair;
    },
    side: 'client',
    go: (pair) => {
      pair.client.filter = (data) => (data.length > 700 ? [] : [{ data }]);
      pair.client.send(pair.client.open(), bytesOf(20_000));
      pair.run(20_000);
    },
    moves: ['mtu', 'mtuFalls', 'packetSizeProbesLost'],
  },
  'a peer that reads nothing': {
    begin: () => new Pair({ server: { connectionWindowBytes: 65_536, messageBytesMax: 4_096 } }).connected(),
    side: 'client',
    go: (pair) => {
      pair.server.readsAll = false;
      for (let k = 0; k < 30; k++) {
        const stream = pair.client.open();
        for (let i = 0; i < 20; i++) pair.client.send(stream, bytesOf(4_000, i));
      }
      pair.run(500);
    },
    moves: ['dataBlocked', 'sendCreditBytes', 'limitedBy'],
  },
  'more streams than the peer allows': {
    begin: () => new Pair({ server: { streamsMax: 3 } }).connected(),
    side: 'client',
    go: (pair) => {
      for (let i = 0; i < 6; i++) pair.client.send(pair.client.open(), 'x');
      pair.run(100);
    },
    moves: ['streamsBlocked', 'streamsWaiting'],
  },
  'repairs sent over a path that loses some': {
    begin: () => new Pair({ link: { delayMs: 25, loss: 0.1 } }).connected(),
    side: 'client',
    go: (pair) =>
      protect(pair, pair.client, { ...PROTECTION_AUTO, mode: ProtectionMode.BLOCK, data: 4, parity: 1 }),
    moves: [
      'packetsProtected',
      'packetsProtectedLost',
      'packetsRecoveredByPeer',
      'repairsSent',
      'repairBytesSent',
      'streamsRepaired',
      'residualLossRate',
    ],
  },
  'repairs received': {
    begin: () => new Pair({ link: { delayMs: 25, loss: 0.1 } }).connected(),
    side: 'client',
    go: (pair) =>
      protect(pair, pair.server, { ...PROTECTION_AUTO, mode: ProtectionMode.BLOCK, data: 4, parity: 1 }),
    moves: ['packetsRecovered', 'repairsReceived', 'repairsUseless'],
  },
  'repairs of a code that is not known': {
    begin: () => new Pair().connected(),
    side: 'server',
    go: (pair) => {
      const rogue = new Rogue(pair);
      rogue.sendRaw(opening(0), SYMBOL_BIT);
      rogue.send(integers(FrameType.REPAIR, 9, 1, 0, 1, 1, 1, 0));
    },
    moves: ['repairsIgnored'],
  },
  'messages of an unordered stream that go again': {
    begin: () => new Pair({ link: { delayMs: 25, loss: 0.1 } }).connected(),
    side: 'client',
    go: (pair) => protect(pair, pair.client, PROTECTION_AUTO, false),
    moves: ['repeatsSent', 'repeatsUsed', 'streamsRepeated', 'protectionBytes', 'protectionBytesMax'],
  },
  'bbr on a path that loses some whatever it is sent': {
    begin: () =>
      new Pair({
        link: { delayMs: 20, loss: 0.1, bitsPerSecond: 20e6 },
        client: { congestion: 'bbr' },
      }).connected(),
    side: 'client',
    go: (pair) => {
      pair.client.send(pair.client.open(), bytesOf(8_000_000));
      pair.until(() => pair.client.core.metrics().lossFloor > 0);
    },
    moves: ['lossFloor'],
  },
  'best-effort messages of which some are lost, and more than the path carries': {
    begin: () => new Pair({ link: { delayMs: 20, loss: 0.05, bitsPerSecond: 200_000 } }).connected(),
    side: 'client',
    go: (pair) => {
      const stream = pair.client.open({ delivery: Delivery.BEST_EFFORT });
      for (let i = 0; i < 300; i++) {
        pair.client.send(stream, bytesOf(1_000, i));
        pair.run(10);
      }
    },
    moves: ['messagesLost', 'messagesThinned'],
  },
  'a message that expires': {
    begin: () => new Pair({ link: { delayMs: 20 } }).connected(),
    side: 'client',
    go: (pair) => {
      const { client, now } = pair;
      const stream = client.open({ ordered: false });
      stream.send(bytesOf(100), Delivery.PARTIAL, now + 1_000, false);
      client.node.wake();
      pair.run(100);
    },
    moves: ['messagesExpired'],
  },
  'a peer that gives up a message': {
    begin: () => new Pair().connected(),
    side: 'server',
    go: (pair) => {
      const rogue = new Rogue(pair);
      rogue.send(opening(0));
      pair.server.send(pair.server.streams[0], 'x');
      pair.run(20);
      rogue.send(frame((w) => writeDropped(w, 0, Space.RELIABLE, 0, 1)));
    },
    moves: ['messagesDropped'],
  },
  'best-effort messages that come too late, and too many to be kept': {
    begin: () =>
      new Pair({
        link: { delayMs: 20, jitterMs: 15, jitterReorders: true },
        server: { bestEffortBytes: 20_000 },
      }).connected(),
    side: 'server',
    go: (pair) => {
      const stream = pair.client.open({ delivery: Delivery.BEST_EFFORT });
      for (let i = 0; i < 60; i++) {
        pair.client.send(stream, bytesOf(1_100, i));
        pair.run(3);
      }
      pair.server.readsAll = false;
      for (let i = 0; i < 60; i++) {
        pair.client.send(stream, bytesOf(1_100, i));
        pair.run(3);
      }
    },
    moves: ['messagesLate', 'messagesEvicted'],
  },
  'a NAT that gives the client another port': {
    begin: () => new Pair().connected().run(100),
    side: 'server',
    go: (pair) => {
      pair.client.node.port.rebind('client', PORT + 1);
      pair.echo();
      pair.run(100);
    },
    moves: ['pathChanges', 'pathChallengesSent', 'pathsValidated'],
  },
  'a move to an address from which nothing comes': {
    begin: () => new Pair().connected().run(100),
    side: 'client',
    go: (pair) => {
      const local = pair.client.node.addAddress('dead', PORT);
      pair.world.network.connect('dead', 'server', { blackHole: true });
      pair.client.core.device.migrate({ local, isOldGone: false, isSameHost: false }, pair.now);
      pair.client.node.wake();
      pair.run(5_000);
    },
    moves: ['pathsFailed'],
  },
  'application data before the handshake is over': {
    begin: () => {
      const pair = new Pair().connect();
      return pair.until(() => pair.server.sent.length > 0);
    },
    side: 'server',
    go: (pair) => {
      const { sourceId } = pair.server.halfOpen.ids;
      for (let i = 0; i < 20; i++)
        pair.client.inject(Buffer.concat([Uint8Array.of(0x40), sourceId, bytesOf(100, i)]));
      pair.run(6);
    },
    moves: ['packetsUnbuffered'],
  },
  'messages behind a gap, for which there is no memory': {
    begin: () => new Pair({ server: { memoryBytesMax: 180_000 } }).connected(),
    side: 'server',
    go: (pair) => {
      const rogue = new Rogue(pair);
      rogue.send(opening(0));
      for (let i = 1; i < 200; i++) rogue.post(run(0, i, 1));
      pair.run(100);
    },
    moves: ['packetsRefused', 'memoryReservedBytes'],
  },
};

describe('each field of metrics() moves with', () => {
  test.each(Object.entries(STORIES))('%s [CON-70]', (_, { begin, side, go, moves }) => {
    const pair = begin();
    const before = snapshot(pair, pair[side]);
    go(pair);
    const after = snapshot(pair, pair[side]);
    expect(moves.filter((field) => JSON.stringify(before[field]) === JSON.stringify(after[field]))).toEqual(
      [],
    );
  });

  test('no field is left out', () => {
    const there = Object.keys(snapshot(new Pair().connect(), null)).sort();
    const moved = new Set(Object.values(STORIES).flatMap(({ moves }) => moves as readonly string[]));
    expect([...moved].sort()).toEqual(there);
  });
});

/** Sends messages of a protected stream for four seconds. */
function protect(pair: Pair, side: Side, protection: ProtectionOptions, ordered = true): void {
  const stream = side.open({ protection, ordered });
  for (let i = 0; i < 400; i++) {
    side.send(stream, bytesOf(100, i));
    pair.run(10);
  }
}

function snapshot(pair: Pair, side: Side | null): ConnectionMetrics {
  const core = side === null ? pair.client.core : (side.connection ?? side.halfOpen);
  return structuredClone(core.metrics(pair.now));
}

/** Compression that takes half a second a look at the clock, which is more than any path takes. */
function compressing(mode: CompressionMode): CompressionOptions {
  let time = 0;
  const clock = () => {
    time += 500_000;
    return time;
  };
  return { ...COMPRESSION_OFF, inflates: true, mode, clock };
}

const TEXT = Buffer.alloc(1_000, 'the same words, again and again; ');
