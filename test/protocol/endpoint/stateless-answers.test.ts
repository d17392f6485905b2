import { describe, expect, test } from 'vitest';
import { SECOND } from '../../../src/base/time.ts';
import { KeyRing } from '../../../src/protocol/crypto/key-ring.ts';
import { CloseCode } from '../../../src/protocol/wire/close-code.ts';
import { FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { PacketHeader, PacketType, parsePacketHeader } from '../../../src/protocol/wire/packet-header.ts';
import { readPackets } from '../connection/packet-log.ts';
import { AEAD, bytesOf, IDENTITY, Pair } from '../connection/pair.ts';
import { drain, firstFlights, hand, serverEndpoint } from './first-flights.ts';

describe('a refusal [CON-40]', () => {
  test.each([
    ['has no room', { connectionsMax: 1 }, CloseCode.CONNECTION_REFUSED],
    ['is being closed', {}, CloseCode.SHUTTING_DOWN],
  ] as const)('tells a client that the server %s, within a round trip', (what, accept, code) => {
    const pair = new Pair({ accept }).connected();
    if (what === 'is being closed') pair.server.endpoint.stopAccepting(pair.now);
    const first = pair.client.core;
    pair.client.events.length = 0;
    const start = pair.now;
    pair.connect().until(() => pair.client.closed !== null, 1_000);
    expect(pair.client.closed).toMatchObject({ by: 'peer', scope: 'transport', code });
    expect(pair.now - start).toBeLessThan(15_000);
    expect(pair.server.endpoint.counters).toMatchObject({ connectionsOpen: 1, handshakesStarted: 1 });
    expect(first.lifecycle.takesStreams).toBe(true);
  });

  test('is told also when the half-open handshakes have no room', () => {
    const server = serverEndpoint({ halfOpenMax: 0 });
    const [flight] = firstFlights(1);
    hand(server, flight, 0);
    expect(server.counters).toMatchObject({
      connectionsOpen: 0,
      connectionsRefused: 2,
      droppedHalfOpenLimit: 2,
    });
    expect(closeOf(drain(server, 0)[0], flight[0])).toBe(CloseCode.CONNECTION_REFUSED);
  });

  test('is one small packet, to clients that know the fingerprint only, and each is sealed under other keys [HS-20]', () => {
    const server = serverEndpoint({ connectionsMax: 0 });
    const [flight] = firstFlights(1);
    const [stranger] = firstFlights(1, 3, bytesOf(32, 1));
    hand(server, [...stranger, flight[0], flight[0]], 0);
    const answers = drain(server, 0);
    expect(answers).toHaveLength(2);
    for (const answer of answers) {
      expect(answer.length).toBeLessThan(100);
      expect(closeOf(answer, flight[0])).toBe(CloseCode.CONNECTION_REFUSED);
    }
    expect(scidOf(answers[0])).not.toEqual(scidOf(answers[1]));
    expect(server.counters).toMatchObject({ droppedUnopened: 2, handshakesStarted: 0 });
    expect(server.nextTimeout()).toBe(Number.POSITIVE_INFINITY);
  });

  test('goes out so often a second and no more: the others are dropped before they cost anything', () => {
    const server = serverEndpoint({ connectionsMax: 0 });
    const [[first]] = firstFlights(1);
    let answers = 0;
    for (let i = 0; i < 3_000; i++) {
      hand(server, [first], i * 1_000, `client ${i}`);
      answers += drain(server, i * 1_000).length;
    }
    // 200 a second, and 100 at once at the beginning: both bounds are reached.
    expect(answers).toBeGreaterThan(650);
    expect(answers).toBeLessThan(710);
    expect(server.counters).toMatchObject({ connectionsRefused: answers, droppedConnectionLimit: 3_000 });
  });

  test('waits for nobody: what is not taken out is bounded', () => {
    const server = serverEndpoint({ connectionsMax: 0 });
    const [[first]] = firstFlights(1);
    for (let i = 0; i < 1_000; i++) hand(server, [first], i * SECOND);
    expect(drain(server, 1_000 * SECOND)).toHaveLength(64);
  });

  test('is not what a client in the middle of a handshake with a server listens to [CON-1]', () => {
    const pair = new Pair().connect().run(7);
    const [{ data }] = pair.client.sent;
    const full = serverEndpoint({ connectionsMax: 0 }, 9);
    hand(full, [data], 0);
    pair.run(7);
    pair.server.inject(drain(full, 0)[0]);
    pair.until(() => pair.client.isConnected).echo();
  });
});

function scidOf(packet: Uint8Array): Uint8Array {
  const header = new PacketHeader();
  parsePacketHeader(header, packet, 0, packet.length, 8);
  return packet.slice(header.scidStart, header.scidStart + header.scidLength);
}

/** The code of the CONNECTION_CLOSE that answers the first packet of a client. */
function closeOf(answer: Uint8Array, first: Uint8Array): number | undefined {
  const header = new PacketHeader();
  parsePacketHeader(header, first, 0, first.length, 8);
  const dcid = first.slice(header.dcidStart, header.dcidStart + header.dcidLength);
  const keys = KeyRing.ofClient(AEAD, dcid, IDENTITY.fingerprint);
  keys.expectFrom(scidOf(answer));
  const [{ frames }] = readPackets(answer, () => keys.toOpen(PacketType.INITIAL));
  return frames.find(({ type }) => type === FrameType.CONNECTION_CLOSE)?.code;
}
