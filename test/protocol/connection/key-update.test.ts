import { describe, expect, test } from 'vitest';
import { MILLISECOND } from '../../../src/base/time.ts';
import type { ConnectionConfig } from '../../../src/protocol/connection/config.ts';
import type { Connection } from '../../../src/protocol/connection/connection.ts';
import { KeyState, type KeyUpdates } from '../../../src/protocol/connection/key-updates.ts';
import type { AeadProvider } from '../../../src/protocol/crypto/aead.ts';
import type { KeyGenerations } from '../../../src/protocol/crypto/key-generations.ts';
import type { KeyRing } from '../../../src/protocol/crypto/key-ring.ts';
import { CloseCode } from '../../../src/protocol/wire/close-code.ts';
import { PacketSpace } from '../../../src/protocol/wire/packet-header.ts';
import { internalsOf } from './internals.ts';
import { AEAD, bytesOf, Pair, type Side } from './pair.ts';

const NEVER = 2 ** 30;
const NAMES = Object.keys(KeyState);
/** Of a side that updates its keys by nothing but these packets. */
const every = (packets: number): Partial<ConnectionConfig> => ({ keyUpdate: { packets, ageMs: NEVER } });
const waiting = every(2 ** 40);

describe('a key update', () => {
  test.each([
    ['the client', every(10), waiting],
    ['the server', waiting, every(10)],
    ['both sides', every(10), every(10)],
  ])('takes both directions to the next keys when %s sealed enough packets [PKT-18]', (_, client, server) => {
    const pair = new Pair({ client, server }).connected();
    for (let i = 0; i < 60; i++) pair.echo(`message ${i}`);
    for (const { core } of [pair.client, pair.server]) {
      expect(core.counters.keyUpdates).toBeGreaterThanOrEqual(4);
      expect(core.counters).toMatchObject({ packetsUnopened: 0, packetsLost: 0 });
    }
    const { sealingGeneration, openingGeneration } = generationsOf(pair.client);
    expect(sealingGeneration).toBe(pair.client.core.counters.keyUpdates);
    expect(Math.abs(sealingGeneration - openingGeneration)).toBeLessThanOrEqual(1);
  });

  test('comes when the keys are old, with the next packet that is sent [PKT-18]', () => {
    const client = { keyUpdate: { packets: NEVER, ageMs: 2_000 }, heartbeatMs: 0 };
    const pair = new Pair({ client, server: { ...waiting, heartbeatMs: 0 } }).connected();
    pair.echo('young').run(1_500).echo('still young');
    expect(pair.client.core.counters.keyUpdates).toBe(0);
    pair.run(20_000);
    expect(pair.client.core.counters.keyUpdates).toBe(0);
    pair.echo('old');
    for (const { core } of [pair.client, pair.server]) expect(core.counters.keyUpdates).toBe(1);
    pair.run(1_000).echo('young again');
    expect(pair.client.core.counters.keyUpdates).toBe(1);
  });

  test('waits until the peer has acknowledged a packet of the keys in use, though each packet is one too many [PKT-18]', () => {
    const delayMs = 50;
    const pair = new Pair({ link: { delayMs }, client: every(1), server: waiting }).connected();
    const begunAt = pair.now;
    const stream = pair.client.open();
    for (let i = 0; i < 200; i++) pair.client.send(stream, bytesOf(1_000, i));
    pair.until(() => pair.server.texts(stream.id).length === 200);
    const trips = (pair.now - begunAt) / (2 * delayMs * MILLISECOND);
    const { keyUpdates } = pair.client.core.counters;
    expect(keyUpdates).toBeGreaterThanOrEqual(2);
    expect(keyUpdates).toBeLessThanOrEqual(trips + 1);
    expect(pair.server.core.counters.packetsUnopened).toBe(0);
  });

  test('begins within a batch: what was packed before it is sealed with the keys before it', () => {
    const pair = new Pair({ client: every(7), server: every(5) }).connected();
    const stream = pair.client.open();
    for (let i = 0; i < 300; i++) pair.client.send(stream, bytesOf(1_100, i));
    pair.until(() => pair.server.texts(stream.id).length === 300);
    expect(pair.client.core.counters.keyUpdates).toBeGreaterThan(3);
    for (const { core } of [pair.client, pair.server])
      expect(core.counters).toMatchObject({ packetsUnopened: 0, packetsLost: 0 });
  });

  test('does not begin before the handshake is confirmed [PKT-18]', () => {
    const pair = new Pair({ client: every(1), server: waiting });
    // HANDSHAKE_DONE and all other 1-RTT packets of the server are lost for a while.
    let isSilent = true;
    pair.server.filter = (data) => (isSilent && (data[0] & 0x80) === 0 ? [] : [{ data }]);
    pair.connect().until(() => pair.client.isConnected);
    const stream = pair.client.open();
    for (let i = 0; i < 20; i++) pair.client.send(stream, `message ${i}`);
    pair.run(2_000);
    expect(pair.client.core.counters.keyUpdates).toBe(0);
    isSilent = false;
    pair.until(() => pair.server.texts(stream.id).length === 20).echo();
    pair.echo();
    expect(pair.client.core.counters.keyUpdates).toBeGreaterThan(0);
  });

  test('leaves the keys before it for three probe timeouts, for packets that are late [PKT-27]', () => {
    for (const { afterMs, isTaken } of [
      { afterMs: 30, isTaken: true },
      { afterMs: 2_000, isTaken: false },
    ]) {
      const pair = new Pair({ client: waiting, server: waiting }).connected().echo().run(200);
      // One datagram of the old keys is late.
      pair.client.filter = (data, index) => (index === held ? [{ data, afterMs }] : [{ data }]);
      const held = pair.client.sent.length;
      const stream = pair.client.open();
      pair.client.send(stream, 'late');
      pair.run(1);
      keyUpdatesOf(pair.client.core).onForgeries();
      pair.client.send(stream, 'after it');
      pair.run(afterMs + 20);
      const { packetsReordered, packetsUnopened } = pair.server.core.counters;
      expect({ packetsReordered, packetsUnopened }).toEqual({
        packetsReordered: isTaken ? 1 : 0,
        packetsUnopened: isTaken ? 0 : 1,
      });
      expect(pair.server.texts(stream.id)).toEqual(['late', 'after it']);
      expect(pair.client.closed).toBeNull();
    }
  });

  test('is told to key log and metrics, generation by generation [TRC-10]', () => {
    const lines: string[] = [];
    const keyLog = (line: string): void => void lines.push(line);
    const pair = new Pair({ client: { ...every(10), keyLog }, server: waiting }).connected();
    for (let i = 0; i < 20; i++) pair.echo();
    const { keyUpdates } = pair.client.core.counters;
    expect(keyUpdates).toBeGreaterThanOrEqual(2);
    for (const sender of ['CLIENT', 'SERVER']) {
      const secrets = lines.filter((line) => line.startsWith(`JSP_${sender}_TRAFFIC_SECRET_`));
      expect(secrets.map((line) => line.split(' ')[0])).toEqual(
        Array.from({ length: keyUpdates + 1 }, (_, i) => `JSP_${sender}_TRAFFIC_SECRET_${i}`),
      );
      expect(new Set(secrets.map((line) => line.split(' ')[2])).size).toBe(keyUpdates + 1);
    }
    expect(pair.client.core.metrics().keyUpdates).toBe(keyUpdates);
  });
});

describe('the keys of a connection', () => {
  test('go through the states of an update, on both sides [PKT-18] [PKT-27]', () => {
    const pair = new Pair({ client: waiting, server: waiting });
    const states = (): string =>
      [pair.client, pair.server].map(({ core }) => NAMES[keyUpdatesOf(core).state]).join(' ');
    pair.connected().echo().run(200);
    expect(states()).toBe('SETTLED SETTLED');
    const stream = pair.client.open();
    keyUpdatesOf(pair.client.core).onForgeries();
    pair.client.send(stream, 'with the next keys');
    pair.run(1);
    expect(states()).toBe('UPDATING SETTLED');
    pair.run(5);
    expect(states()).toBe('UPDATING RETIRING');
    pair.until(() => states() === 'RETIRING RETIRING', 100, 'the answer');
    pair.run(1_000);
    expect(states()).toBe('SETTLED SETTLED');
  });

  test('stay those of the handshake where one side does not update [PKT-16]', () => {
    const pair = new Pair({ client: waiting, server: { keyUpdate: null } }).connected();
    for (const { core } of [pair.client, pair.server]) expect(keyUpdatesOf(core).state).toBe(KeyState.FIXED);
  });
});

describe('a peer that does not update keys', () => {
  test('is not asked to, and what is sealed is not more than one key may [PKT-26]', () => {
    const pair = new Pair({
      client: { ...every(10), ...weak(1_324) },
      server: { keyUpdate: null, ...weak(1_324) },
    });
    pair.connected();
    for (let i = 0; i < 30; i++) pair.echo();
    expect(pair.client.core.counters.keyUpdates).toBe(0);
    expect(pair.client.closed).toBeNull();
    const stream = pair.client.open();
    for (let i = 0; i < 500; i++) pair.client.send(stream, bytesOf(1_000));
    pair.until(() => pair.client.closed !== null);
    expect(pair.client.closed).toMatchObject({ by: 'local', code: CloseCode.AEAD_LIMIT_REACHED });
    const { packetsSent } = pair.client.core.counters;
    expect(packetsSent).toBeGreaterThan(290);
    expect(packetsSent).toBeLessThan(500);
  });

  test('closes with PROTOCOL_VIOLATION when it finds K set, which is a reserved bit for it [PKT-16]', () => {
    const pair = new Pair({ client: waiting, server: { keyUpdate: null } }).connected().run(200);
    const seal = internalsOf(pair.client.core).keys.toSeal(PacketSpace.APPLICATION);
    (seal as unknown as { phase: number }).phase = 1;
    pair.client.send(pair.client.open(), 'with another phase');
    pair.until(() => pair.client.closed !== null);
    expect(pair.client.closed).toMatchObject({ by: 'peer', code: CloseCode.PROTOCOL_VIOLATION });
  });
});

describe('keys near their limits', () => {
  test('are updated at half of what one key may seal, whatever the application asks for [PKT-26]', () => {
    const pair = new Pair({
      client: { ...waiting, ...weak(1_524) },
      server: { ...waiting, ...weak(1_524) },
    }).connected();
    const stream = pair.client.open();
    for (let i = 0; i < 700; i++) pair.client.send(stream, bytesOf(1_000));
    pair.until(() => pair.server.texts(stream.id).length === 700);
    const { keyUpdates, packetsSent } = pair.client.core.counters;
    expect(keyUpdates).toBeGreaterThanOrEqual(Math.floor(packetsSent / 300));
    expect(pair.client.closed).toBeNull();
  });

  test('are updated when half of the forgeries were tried that end a connection [PKT-15]', () => {
    const pair = new Pair({ client: waiting, server: { ...waiting, openFailuresMax: 100 } })
      .connected()
      .run(200);
    const forge = (i: number): Uint8Array =>
      Buffer.concat([Uint8Array.of(0x40), pair.server.core.ids.sourceId, bytesOf(60, i)]);
    for (let i = 0; i < 49; i++) pair.client.inject(forge(i));
    pair.run(20).echo();
    expect(pair.server.core.counters.keyUpdates).toBe(0);
    pair.client.inject(forge(49));
    pair.run(20).echo();
    for (const { core } of [pair.client, pair.server]) expect(core.counters.keyUpdates).toBe(1);
    expect(pair.server.core.counters.packetsUnopened).toBe(50);
  });
});

describe('a peer that breaks the rules of updates', () => {
  test('and updates again before it can know that we have its keys is closed on with KEY_UPDATE_ERROR [PKT-28]', () => {
    const pair = new Pair({ client: waiting, server: waiting }).connected().echo().run(200);
    const stream = pair.client.open();
    for (let i = 0; i < 2; i++) {
      update(pair.client);
      pair.client.send(stream, `with keys ${i}`);
      pair.run(1);
    }
    pair.until(() => pair.server.closed !== null);
    expect(pair.server.closed).toMatchObject({ by: 'local', code: CloseCode.KEY_UPDATE_ERROR });
  });

  test('and acknowledges packets of the new keys in packets of the old ones, too [PKT-28]', () => {
    const pair = new Pair({ client: every(10), server: waiting }).connected();
    const { keys } = internalsOf(pair.server.core);
    (keys as unknown as { updateSealing(): void }).updateSealing = () => {};
    const stream = pair.client.open();
    for (let i = 0; i < 40; i++) {
      pair.client.send(stream, `message ${i}`);
      pair.run(20);
    }
    expect(pair.client.closed).toMatchObject({ by: 'local', code: CloseCode.KEY_UPDATE_ERROR });
  });
});

/** A suite with a limit that a test can reach. */
function weak(sealedMax: number): Partial<ConnectionConfig> {
  const aead: AeadProvider = {
    name: AEAD.name,
    suite: { ...AEAD.suite, sealedMax },
    createKey: (key) => AEAD.createKey(key),
    createHeaderKey: (key) => AEAD.createHeaderKey(key),
  };
  return { suites: [{ aead, costNs: 0 }] };
}

/** Seals with the next keys from now on, whether that is allowed or not. */
function update({ core }: Side): void {
  internalsOf(core).keys.updateSealing();
}

function keyUpdatesOf(core: Connection): KeyUpdates {
  return (core as unknown as { keyUpdates: KeyUpdates }).keyUpdates;
}

function generationsOf({ core }: { readonly core: Connection }): KeyGenerations {
  const { generations } = internalsOf(core).keys as KeyRing;
  if (generations === null) throw new Error('no generations');
  return generations;
}
