import { describe, expect, test } from 'vitest';
import { MemoryBudget } from '../../../src/base/memory-budget.ts';
import { MILLISECOND, SECOND } from '../../../src/base/time.ts';
import { initialSecret } from '../../../src/protocol/crypto/key-schedule.ts';
import type { RetryConfig } from '../../../src/protocol/endpoint/index.ts';
import { AddressTokens } from '../../../src/protocol/handshake/address-token.ts';
import { retryPacket } from '../../../src/protocol/handshake/retry.ts';
import { AddressState } from '../../../src/protocol/path/path.ts';
import { FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { PacketHeader, PacketType, parsePacketHeader } from '../../../src/protocol/wire/packet-header.ts';
import { versionPacket } from '../../../src/protocol/wire/version-packet.ts';
import { internalsOf } from './internals.ts';
import { AEAD, bytesOf, eachSeed, IDENTITY, Pair, type PairOptions, type Side } from './pair.ts';
import { frame, integers, Rogue } from './rogue.ts';

const ALWAYS: RetryConfig = { mode: 'always', epochMs: 0 };
const NEVER: RetryConfig = { mode: 'never', epochMs: 0 };

const retried = (options: PairOptions = {}) => new Pair({ accept: { retry: ALWAYS }, ...options });

function headerOf(data: Uint8Array): PacketHeader {
  const header = new PacketHeader();
  parsePacketHeader(header, data, 0, data.length, 8);
  return header;
}

function retriesOf({ sent }: Side): Uint8Array[] {
  return sent.map(({ data }) => data).filter((data) => headerOf(data).type === PacketType.RETRY);
}

function tokenOf(data: Uint8Array): Uint8Array {
  const { tokenStart, tokenLength } = headerOf(data);
  return data.slice(tokenStart, tokenStart + tokenLength);
}

function dcidOf(data: Uint8Array): Uint8Array {
  const { dcidStart, dcidLength } = headerOf(data);
  return data.slice(dcidStart, dcidStart + dcidLength);
}

describe('a client that is asked for a token [HS-30]', () => {
  test('comes again with it, under numbers that go on, and both sides know both ids [FRM-15]', () => {
    const pair = retried().connected().echo();
    const [retry, ...more] = retriesOf(pair.server);
    expect(more).toHaveLength(1); // its hello came in two datagrams
    expect(pair.server.endpoint.counters).toMatchObject({
      handshakesStarted: 1,
      retriesSent: 2,
      tokensAccepted: 1,
      tokensRefused: 0,
    });
    const initials = pair.client.packets.filter(({ type }) => type === PacketType.INITIAL);
    expect(initials.map(({ number }) => number)).toEqual([...initials.keys()]);
    const again = pair.client.sent[2].data;
    expect(tokenOf(again)).toEqual(tokenOf(retry));
    const { scidStart, scidLength } = headerOf(retry);
    expect(dcidOf(again)).toEqual(retry.slice(scidStart, scidStart + scidLength));
    const { ids } = pair.server.core;
    expect(ids.originalDestinationId).toEqual(pair.client.core.ids.firstDestinationId);
    expect(ids.retrySourceId).toEqual(pair.client.core.ids.retrySourceId);
  });

  test('also when it does not pin, sends small datagrams, or is far away', () => {
    retried({ pin: null, accept: { retry: ALWAYS, acceptUnpinned: true } })
      .connected()
      .echo();
    const small = retried({ client: { mtu: 512, mtuMax: 512 } })
      .connected()
      .echo();
    expect(Math.max(...small.client.sent.map(({ data }) => data.length))).toBe(512);
    // [PKT-19] [HS-7] With a token as without one nothing larger comes before the client has answered.
    expect(Math.max(...small.server.sent.slice(0, 8).map(({ data }) => data.length))).toBeLessThanOrEqual(
      512,
    );
    retried({ link: { delayMs: 400 } })
      .connected()
      .echo();
  });

  test('knows the round trip time by the Retry, and nothing of what went before is in flight [HS-35]', () => {
    const pair = retried({ link: { delayMs: 30 } }).connect();
    pair.until(() => pair.client.core.ids.retrySourceId !== null);
    const { path } = pair.client.core;
    const window = path.congestion.window;
    expect(path.rtt.hasSample).toBe(true);
    expect(path.rtt.latest).toBeGreaterThanOrEqual(60 * MILLISECOND);
    expect(path.rtt.latest).toBeLessThan(63 * MILLISECOND);
    pair.run(1);
    const again = pair.client.sent.slice(2).reduce((sum, { data }) => sum + data.length, 0);
    expect(path.bytesInFlight).toBe(again);
    expect(path.congestion.window).toBe(window);
    expect(pair.client.core.counters.packetsLost).toBe(0);
  });

  test('takes no round-trip time from a Retry that may answer either of two packets [HS-35]', () => {
    const pair = retried({ link: { delayMs: 5 } });
    pair.client.filter = (data, index) => (index < 2 ? [] : [{ data }]);
    pair.connect().until(() => pair.client.core.ids.retrySourceId !== null);
    expect(pair.client.core.path.rtt.hasSample).toBe(false);
    expect(internalsOf(pair.client.core).recovery.ptoCount).toBe(0);
    pair.until(() => pair.client.isConnected);
  });

  test('follows one Retry only, though each of its packets gets one, with a token that is as good', () => {
    const pair = retried().connected();
    const ids = pair.client.core.ids.retrySourceId;
    expect(retriesOf(pair.server)).toHaveLength(2);
    expect(pair.client.core.counters.packetsUnopened).toBe(1);
    pair.client.node.wake();
    expect(pair.client.core.ids.retrySourceId).toEqual(ids);
  });

  test('completes its handshake over bad paths', () => {
    eachSeed(1, 40, (seed) => {
      const link = { delayMs: 20, jitterMs: 30, loss: 0.2, duplicate: 0.1, reorder: 0.1 };
      retried({ seed, link }).connected().echo();
    });
  });
});

describe('a Retry that is not what it seems [PKT-21]', () => {
  /** A client on the other side of which nobody answers but the test. */
  function waiting(): Pair {
    const pair = new Pair();
    pair.client.filter = () => [];
    pair.connect().run(1);
    return pair;
  }

  function forged(
    pair: Pair,
    changes: Partial<Record<'id' | 'dcid' | 'scid' | 'token', Uint8Array>>,
    pin?: Uint8Array,
  ) {
    const { ids } = pair.client.core;
    const {
      id = ids.firstDestinationId,
      dcid = ids.sourceId,
      scid = bytesOf(8, 9),
      token = bytesOf(40),
    } = changes;
    return retryPacket(initialSecret(id, pin ?? IDENTITY.fingerprint), dcid, scid, token);
  }

  const isFollowed = (pair: Pair, data: Uint8Array): boolean => {
    pair.server.inject(data);
    pair.run(20);
    return pair.client.core.ids.retrySourceId !== null;
  };

  test('is followed when its maker knows the first packet and the fingerprint', () => {
    const pair = waiting();
    expect(isFollowed(pair, forged(pair, {}))).toBe(true);
  });

  test.each([
    ['of somebody who saw another packet', { id: bytesOf(8, 3) }],
    ['to another client', { dcid: bytesOf(8, 3) }],
    ['whose id is too short to be hard to guess', { scid: bytesOf(7, 3) }],
    ['whose token takes the room of the hello', { token: bytesOf(257) }],
  ])('%s is dropped and counted', (_, changes) => {
    const pair = waiting();
    expect(isFollowed(pair, forged(pair, changes))).toBe(false);
    expect(isFollowed(pair, forged(pair, {}))).toBe(true);
  });

  test('of somebody who does not know the fingerprint, or with a changed bit or more behind it, is dropped and counted', () => {
    const pair = waiting();
    expect(isFollowed(pair, forged(pair, {}, bytesOf(32, 3)))).toBe(false);
    const genuine = forged(pair, {});
    for (let at = 0; at < genuine.length; at += 3) {
      const changed = genuine.slice();
      changed[at] ^= 0x04;
      expect(isFollowed(pair, changed)).toBe(false);
    }
    expect(isFollowed(pair, Buffer.concat([genuine, bytesOf(3)]))).toBe(false);
    expect(isFollowed(pair, forged(pair, { scid: pair.client.core.ids.destinationId }))).toBe(false);
    expect(pair.client.core.counters.packetsUnopened).toBeGreaterThan(20);
    expect(isFollowed(pair, genuine)).toBe(true);
  });

  test('is none once a packet of the server opened', () => {
    const pair = new Pair();
    pair.connect().until(() => pair.client.core.ids.isPeer(bytesOf(1)) !== null);
    expect(isFollowed(pair, forged(pair, {}))).toBe(false);
    pair.until(() => pair.client.isConnected);
  });
});

describe('a token for another connection [HS-37]', () => {
  const tokenEvents = ({ events }: Side) => events.filter(({ type }) => type === 'token');

  function tokenFrom(accept: RetryConfig = NEVER): Uint8Array {
    const pair = new Pair({ accept: { retry: accept } }).connected();
    pair.until(() => tokenEvents(pair.client).length > 0);
    const [event] = tokenEvents(pair.client);
    return event.type === 'token' ? event.token : new Uint8Array(0);
  }

  test('is given once, again while it is lost, and where tokens are not used not at all', () => {
    const pair = new Pair({ accept: { retry: NEVER }, link: { delayMs: 5 } });
    let lost = 0;
    pair.server.filter = (data) => {
      const { packets } = pair.server.sent[pair.server.sent.length - 1];
      const hasToken = packets.some(({ frames }) => frames.some(({ type }) => type === FrameType.NEW_TOKEN));
      return hasToken && lost++ < 2 ? [] : [{ data }];
    };
    pair.connected().until(() => tokenEvents(pair.client).length > 0);
    pair.run(2_000);
    expect(lost).toBeGreaterThanOrEqual(3);
    expect(tokenEvents(pair.client)).toHaveLength(1);
    const plain = new Pair().connected().run(2_000);
    expect(tokenEvents(plain.client)).toHaveLength(0);
  });

  test('spares its client the Retry, lifts the limit of three times, and spares the server the doubt', () => {
    const token = tokenFrom();
    const pair = retried({ token }).connect();
    pair.until(() => pair.server.endpoint.counters.handshakesStarted > 0);
    expect(pair.server.halfOpen.path.validation.state).toBe(AddressState.BY_TOKEN);
    expect(pair.server.halfOpen.path.validation.allowance).toBe(Number.POSITIVE_INFINITY);
    pair.until(() => pair.server.isConnected);
    expect(pair.server.core.path.validation.state).toBe(AddressState.VALIDATED);
    expect(pair.server.endpoint.counters).toMatchObject({ retriesSent: 0, tokensAccepted: 1 });
    expect(pair.client.core.ids.retrySourceId).toBeNull();
  });

  test('is good once [HS-38]', () => {
    const token = tokenFrom();
    const pair = retried({ token }).connected();
    pair.client.endpoint.connect(
      { host: 'server', port: 4577, pin: IDENTITY.fingerprint, isLoopback: false, token },
      pair.now,
    );
    pair.client.node.wake();
    pair.run(100);
    expect(pair.server.endpoint.counters).toMatchObject({
      tokensAccepted: 2,
      tokensRefused: 2,
      handshakesCompleted: 2,
    });
    expect(pair.server.endpoint.counters.retriesSent).toBeGreaterThan(0);
  });

  test('of nobody, or too long ago, is none: its client is asked for another, or let in as one without', () => {
    retried({ token: bytesOf(53) }).connected();
    const pair = new Pair({ token: bytesOf(53).fill(2) }).connected();
    expect(pair.server.endpoint.counters.tokensRefused).toBe(0); // this one has no tokens
  });

  test('that is empty closes the connection, from a client as well, and one that is too long is passed over', () => {
    const closedBy = (frames: Uint8Array, from: 'client' | 'server') => {
      const rogue = new Rogue(new Pair().connected(), from).send(frames);
      return rogue.victim.closed?.code ?? null;
    };
    expect(closedBy(integers(FrameType.NEW_TOKEN, 0), 'server')).toBe(0x07);
    expect(closedBy(Buffer.concat([integers(FrameType.NEW_TOKEN, 3), bytesOf(3)]), 'client')).toBe(0x0a);
    const rogue = new Rogue(new Pair().connected(), 'server');
    rogue.send(frame((w) => w.bytes(Buffer.concat([integers(FrameType.NEW_TOKEN, 257), bytesOf(257)]))));
    rogue.send(frame((w) => w.bytes(Buffer.concat([integers(FrameType.NEW_TOKEN, 256), bytesOf(256)]))));
    expect(rogue.victim.closed).toBeNull();
    expect(rogue.victim.events.filter(({ type }) => type === 'token')).toHaveLength(1);
  });

  test('that comes by the hundreds is kept 64 times, as is a ticket, which is told of once [HS-37] [HS-55]', () => {
    const rogue = new Rogue(new Pair().connected(), 'server');
    for (let n = 0; n < 200; n++) {
      const token = Buffer.concat([integers(FrameType.NEW_TOKEN, 9), bytesOf(9, n)]);
      const ticket = Buffer.concat([
        integers(FrameType.TICKET, 60),
        bytesOf(16, n),
        integers(9),
        bytesOf(9, n),
      ]);
      rogue.send(frame((w) => w.bytes(Buffer.concat([token, ticket, ticket]))));
    }
    const came = (type: string) => rogue.victim.events.filter((event) => event.type === type);
    expect([came('token').length, came('ticket').length]).toEqual([64, 64]);
    const nonces = came('ticket').map(
      (event) => event.type === 'ticket' && Buffer.from(event.ticket.key).toString('hex'),
    );
    expect(new Set(nonces).size).toBe(64);
    expect(rogue.victim.closed).toBeNull();
  });
});

describe('the token of a Retry that is not good any more [HS-36]', () => {
  test('tells its client to begin anew', () => {
    const pair = retried();
    const secrets = { current: bytesOf(32, 4) };
    pair.connect().until(() => pair.client.core.ids.retrySourceId !== null);
    pair.server.endpoint.addresses.useSecrets(secrets);
    pair.until(() => pair.client.closed !== null, 1_000);
    expect(pair.client.closed).toMatchObject({ by: 'peer', code: 0x15 });
    expect(pair.server.endpoint.counters).toMatchObject({ handshakesStarted: 0, connectionsRefused: 2 });
  });

  test('is that of another server, whose keys this one does not have', () => {
    const other = new AddressTokens({
      aead: AEAD,
      random: { fill: (bytes) => bytes.fill(7) },
      secrets: { current: bytesOf(32, 8) },
      epochMs: 0,
      memory: new MemoryBudget(2 ** 20),
    });
    const token = other.forRetry('client', 4577, bytesOf(8), 0);
    const pair = new Pair({ token, accept: { retry: NEVER } }).connect();
    pair.until(() => pair.client.closed !== null, 1_000);
    expect(pair.client.closed?.code).toBe(0x15);
    const shared = new Pair({
      token: other.forRetry('client', 4577, bytesOf(8), 0),
      accept: { retry: { ...NEVER, tokenSecrets: { current: bytesOf(32, 9), previous: bytesOf(32, 8) } } },
    }).connect();
    shared.until(() => shared.server.endpoint.counters.tokensAccepted === 1, 1_000);
  });
});

describe('a client that is told of other versions [INV-7]', () => {
  function told(
    versions: readonly number[],
    change: (packet: Uint8Array) => Uint8Array = (packet) => packet,
  ): Pair {
    const pair = new Pair();
    pair.client.filter = () => [];
    pair.connect().run(1);
    const { firstDestinationId, sourceId } = pair.client.core.ids;
    const packet = versionPacket(firstDestinationId, sourceId, new Uint8Array(5));
    const list = new DataView(packet.buffer, packet.length - 8);
    for (const [i, version] of versions.entries()) list.setUint32(4 * i, version);
    pair.server.inject(change(packet));
    return pair;
  }

  test('gives the handshake up after a second in which no packet of its server opened, and says why', () => {
    const pair = told([0x4a535032, 0x1a2a3a4a]).run(900);
    expect(pair.client.closed).toBeNull();
    pair.run(200);
    expect(pair.client.closed?.cause).toMatchObject({ code: 'ERR_JSP_VERSION_UNSUPPORTED' });
  });

  test('goes on when its server answers after all: the version packet was somebody else’s', () => {
    const pair = new Pair();
    pair.server.filter = (data) => [{ data, afterMs: 500 }];
    pair.connect().run(100);
    const { firstDestinationId, sourceId } = pair.client.core.ids;
    const packet = versionPacket(firstDestinationId, sourceId, new Uint8Array(5));
    packet.fill(0x1a, packet.length - 8);
    pair.server.inject(packet);
    pair.run(300);
    expect(pair.client.core.handshake.isVersionRefused).toBe(true);
    pair.until(() => pair.client.isConnected);
    pair.run(2_000).echo();
  });

  test.each([
    ['that names its own version', [0x4a535032, 0x4a535031], undefined],
    ['with other ids', [0x4a535032, 0x1a2a3a4a], (packet: Uint8Array) => packet.fill(1, 7, 8)],
    ['whose list is cut short', [0x4a535032, 0x1a2a3a4a], (packet: Uint8Array) => packet.subarray(0, -1)],
  ] as const)('takes no notice of a packet %s', (_, versions, change) => {
    const pair = told(versions, change).run(2_000);
    expect(pair.client.closed).toBeNull();
  });

  test('takes no notice of one that comes later', () => {
    const pair = new Pair().connected();
    const { firstDestinationId, sourceId } = pair.client.core.ids;
    pair.server.inject(versionPacket(firstDestinationId, sourceId, new Uint8Array(5)));
    pair.run(2 * (SECOND / MILLISECOND)).echo();
  });
});
