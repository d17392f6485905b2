import { describe, expect, test } from 'vitest';
import { EcnCodepoint } from '../../../src/protocol/datagram/index.ts';
import { FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { bytesOf, eachSeed, Pair, type PairOptions, PORT } from './pair.ts';

const { NOT_ECT, ECT0, ECT1, CE } = EcnCodepoint;

/** Two endpoints whose sockets can set and read the ECN bits. */
function ecnPair(options: PairOptions = {}): Pair {
  return new Pair({ ...options, client: { usesEcn: true }, server: { usesEcn: true } });
}

/** The client sends `count` messages of 1,000 bytes, and has them acknowledged. */
function talk(pair: Pair, count: number): void {
  const stream = pair.client.open();
  for (let i = 0; i < count; i++) {
    pair.client.send(stream, bytesOf(1_000, i));
    pair.run(2);
  }
  pair.until(() => (pair.server.messages.get(stream.id) ?? []).length === count);
  pair.run(200);
}

function capable({ client, server }: Pair): number[] {
  return [client, server].map(({ core }) => core.metrics().ecnCapable);
}

describe('explicit congestion notification', () => {
  test('is neither said nor told where the socket cannot: not a byte differs [REC-80] [REC-81]', () => {
    const pair = new Pair().connected();
    talk(pair, 30);
    for (const side of [pair.client, pair.server]) {
      expect(new Set(side.codepoints)).toEqual(new Set([NOT_ECT]));
      expect(side.frames(FrameType.ACK_ECN)).toEqual([]);
      expect(side.core.metrics()).toMatchObject({ ecnCapable: 0, congestionMarks: 0 });
    }
  });

  test('is proved by the first packets, then used for all [REC-81]', () => {
    const pair = ecnPair().connected();
    talk(pair, 30);
    expect(capable(pair)).toEqual([1, 1]);
    for (const side of [pair.client, pair.server]) {
      expect(side.codepoints.slice(-10).every((ecn) => ecn === ECT0)).toBe(true);
      expect(side.frames(FrameType.ACK)).toEqual([]); // [REC-80] every packet came as ECT(0)
      expect(side.frames(FrameType.ACK_ECN).length).toBeGreaterThan(2);
    }
    pair.client.close();
    expect(pair.until(() => pair.server.closed !== null).client.codepoints.at(-1)).toBe(NOT_ECT);
  });

  test('stays proved while another path is tried, whose packets say nothing of this one [CON-88]', () => {
    const pair = ecnPair().connected();
    talk(pair, 30);
    const local = pair.client.node.addAddress('dead end', PORT);
    pair.world.network.connect('dead end', 'server', { delayMs: 5 }, { blackHole: true }); // nothing comes from there
    pair.client.core.device.migrate({ local, isOldGone: false, isSameHost: false }, pair.now);
    pair.client.node.wake();
    talk(pair, 30);
    expect(pair.server.core.metrics().pathChallengesSent).toBeGreaterThan(0);
    expect(capable(pair)).toEqual([1, 1]);
  });

  test('stays proved on links that lose, double, mark and reorder, in both directions [REC-82] [REC-84]', () => {
    let marks = 0;
    eachSeed(1, 25, (seed) => {
      const link = {
        delayMs: 10,
        jitterMs: 15,
        jitterReorders: true,
        loss: 0.05,
        duplicate: 0.05,
        bitsPerSecond: 20e6,
        ecnMarkBytes: 3_000,
      };
      const pair = ecnPair({ seed, link }).connected();
      const stream = pair.client.open();
      for (let i = 0; i < 60; i++) {
        pair.client.send(stream, bytesOf(5_000, i));
        pair.run(3);
      }
      pair.echo();
      pair.run(500);
      expect(capable(pair)).toEqual([1, 1]);
      marks += pair.client.core.metrics().congestionMarks;
      const received = pair.server.core.metrics().congestionMarksReceived;
      expect(pair.client.core.metrics().congestionMarks).toBeLessThanOrEqual(received);
    });
    expect(marks).toBeGreaterThan(100);
  });

  test.each([
    ['clears the bits', NOT_ECT],
    ['says ECT(1) instead', ECT1],
  ])('is given up on a path that %s, and nothing else is [REC-82]', (_, ecn) => {
    const pair = ecnPair();
    pair.client.filter = (data) => [{ data, ecn }];
    pair.connected();
    talk(pair, 30);
    expect(capable(pair)).toEqual([0, 1]);
    expect(pair.client.codepoints.filter((sent) => sent !== NOT_ECT).length).toBeLessThanOrEqual(12);
    expect(pair.client.core.metrics().congestionMarks).toBe(0);
    pair.echo();
  });

  test('is given up when the path begins to clear the bits later [REC-82]', () => {
    const pair = ecnPair().connected();
    talk(pair, 10);
    expect(capable(pair)).toEqual([1, 1]);
    pair.client.filter = (data) => [{ data, ecn: NOT_ECT }];
    talk(pair, 10);
    expect(capable(pair)).toEqual([0, 1]);
    pair.echo();
  });

  test('is given up on a path that drops what says ECT, and the handshake comes through [REC-83]', () => {
    const pair = ecnPair();
    pair.client.filter = (data, _, ecn) => (ecn === NOT_ECT ? [{ data }] : []);
    pair.connected();
    expect(pair.now).toBeLessThan(5_000_000);
    talk(pair, 5);
    expect(capable(pair)).toEqual([0, 1]);
  });

  test('brings a window down that no loss did, and at once an acknowledgement [REC-34] [REC-38]', () => {
    const pair = ecnPair().connected();
    talk(pair, 10);
    const before = pair.client.core.metrics().congestionWindowBytes;
    pair.client.filter = (data) => [{ data, ecn: CE }];
    talk(pair, 1);
    pair.client.filter = null;
    const after = pair.client.core.metrics();
    expect(after.congestionWindowBytes).toBeLessThan(0.8 * before);
    expect(after.congestionMarks).toBeGreaterThan(0);
    expect(after.packetsLost).toBe(0);
    expect(pair.server.core.metrics().congestionMarksReceived).toBe(after.congestionMarks);
  });
});
