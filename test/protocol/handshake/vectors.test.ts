import { describe, expect, test } from 'vitest';
import { MemoryBudget } from '../../../src/base/memory-budget.ts';
import { MILLISECOND } from '../../../src/base/time.ts';
import { type AeadProvider, chooseAead } from '../../../src/protocol/crypto/aead.ts';
import { nobleMlKem } from '../../../src/protocol/crypto/hybrid-kem.ts';
import { Identity } from '../../../src/protocol/crypto/identity.ts';
import { KeyRing } from '../../../src/protocol/crypto/key-ring.ts';
import { nobleMlDsa } from '../../../src/protocol/crypto/ml-dsa.ts';
import { PacketKeys } from '../../../src/protocol/crypto/packet-keys.ts';
import { ClientHandshake } from '../../../src/protocol/handshake/client.ts';
import { EarlyData } from '../../../src/protocol/handshake/handshake.ts';
import { ServerHandshake } from '../../../src/protocol/handshake/server.ts';
import { EARLY_LIMITS, type EarlyLimits, Tickets } from '../../../src/protocol/handshake/tickets.ts';
import { EndpointCounters } from '../../../src/protocol/trace/counters.ts';
import { PacketSpace, PacketType } from '../../../src/protocol/wire/packet-header.ts';
import {
  decodeParameters,
  type TransportParameters,
} from '../../../src/protocol/wire/transport-parameters.ts';
import { hex, joined, toHex } from '../crypto/bytes.ts';
import type { SlowTraffic } from '../crypto/slow-key-schedule.ts';
import { vectorCases } from '../crypto/vector-file.ts';
import {
  application,
  type Directions,
  handshake,
  initial,
  isOpenedBy,
  keysOf,
  present,
  run,
  withKeys,
} from './exchange.ts';
import { ScriptedRandom } from './scripted-random.ts';
import { EXPORTED, type SlowHandshakeInput, slowHandshake } from './slow-handshake.ts';
import { type SlowResumedInput, slowResumedHandshake } from './slow-resumed-handshake.ts';

const CASES = vectorCases('handshake.json', slowHandshake);
const RESUMED_CASES = vectorCases('resumed-handshake.json', slowResumedHandshake);
const provider: AeadProvider = chooseAead('auto');

describe.each(CASES)('the handshake of $name', ({ input, output }) => {
  test('is what the slow twin makes', () => {
    expect(slowHandshake(input)).toEqual(output);
  });

  test('is what the library makes, byte by byte [HS-1] [HS-4] [HS-5] [HS-8] [HS-16]', () => {
    const { client, server, clientRandom, serverRandom } = sidesOf(input);
    expect(toHex(client.hello)).toBe(output.clientHello);
    expect(server.receive(0, client.hello)).toBe(0);
    expect(toHex(present(server.hello))).toBe(output.serverHello);
    expect(toHex(present(server.flight))).toBe(output.serverFlight);
    expect(client.receive(0, hex(output.serverHello))).toBe(0);
    expect(client.receive(1, hex(output.serverFlight))).toBe(0);
    expect(toHex(present(client.flight))).toBe(output.clientFlight);
    expect(server.receive(1, hex(output.clientFlight))).toBe(0);
    expect(toHex(present(client.peerFingerprint))).toBe(output.fingerprint);
    expect(clientRandom.left + serverRandom.left).toBe(0);
  });

  test('ends with the packet keys that the slow twin derived, in all spaces [HS-20] [HS-22] [HS-23]', () => {
    const { client, server } = sidesOf(input);
    server.receive(0, client.hello);
    keysOf(client).expectFrom(hex(input.server.sourceId));
    client.receive(0, present(server.hello));
    client.receive(1, present(server.flight));
    server.receive(1, present(client.flight));
    const epochs: [Directions, Directions, SlowTraffic, SlowTraffic][] = [
      [initial(client), initial(server), output.initial.client, output.initial.server],
      [handshake(client), handshake(server), output.clientHandshake, output.serverHandshake],
      [application(client), application(server), output.clientApplication, output.serverApplication],
    ];
    for (const [ofClient, ofServer, clientTraffic, serverTraffic] of epochs) {
      expect(isOpenedBy(ofClient.seal, trafficKeys(clientTraffic))).toBe(true);
      expect(isOpenedBy(trafficKeys(clientTraffic), ofServer.open)).toBe(true);
      expect(isOpenedBy(ofServer.seal, trafficKeys(serverTraffic))).toBe(true);
      expect(isOpenedBy(trafficKeys(serverTraffic), ofClient.open)).toBe(true);
      expect(isOpenedBy(ofClient.seal, ofClient.open)).toBe(false);
    }
  });

  test('lets both ends export what the slow twin derived [HS-29]', () => {
    const { client, server } = sidesOf(input);
    expect(run(client, server)).toBe(0);
    const { name, context, length } = EXPORTED;
    for (const side of [client, server])
      expect(toHex(present(keysOf(side).exported(name, hex(context), length)))).toBe(output.exported);
  });
});

describe.each(RESUMED_CASES)('the resumed handshake of $name', ({ input, output }) => {
  test('is what the slow twin makes', () => {
    expect(slowResumedHandshake(input)).toEqual(output);
  });

  test('is what the library makes, byte by byte, from the sealed ticket on [HS-32] [HS-33] [HS-50] [HS-51] [HS-52]', () => {
    const { client, server, sealed, randoms } = resumedSidesOf(input, output);
    expect(toHex(sealed)).toBe(output.ticket);
    expect(toHex(client.hello)).toBe(output.clientHello);
    expect(server.receive(0, client.hello, shownAt(input))).toBe(0);
    expect(toHex(present(server.hello))).toBe(output.serverHello);
    expect(toHex(present(server.flight))).toBe(output.serverFlight);
    expect(client.receive(0, hex(output.serverHello))).toBe(0);
    expect(client.receive(1, hex(output.serverFlight))).toBe(0);
    expect(toHex(present(client.flight))).toBe(output.clientFlight);
    expect(server.receive(1, hex(output.clientFlight), shownAt(input))).toBe(0);
    expect([client.isResumed, server.isResumed]).toEqual([true, true]);
    expect(toHex(present(client.peerFingerprint))).toBe(output.fingerprint);
    const early = input.earlyData ? EarlyData.ACCEPTED : EarlyData.NONE;
    expect([client.earlyData, server.earlyData]).toEqual([early, early]);
    for (const random of randoms) expect(random.left).toBe(0);
  });

  test('has the packet keys that the slow twin derived, those of early data, too [HS-22] [HS-33] [HS-34]', () => {
    const { client, server } = resumedSidesOf(input, output);
    const sealsEarly = keysOf(client).toSeal(PacketSpace.APPLICATION);
    expect(sealsEarly !== null).toBe(input.earlyData);
    if (sealsEarly !== null) expect(isOpenedBy(sealsEarly, trafficKeys(output.clientEarly))).toBe(true);
    expect(server.receive(0, client.hello, shownAt(input))).toBe(0);
    if (input.earlyData)
      expect(isOpenedBy(trafficKeys(output.clientEarly), keysOf(server).toOpen(PacketType.ZERO_RTT))).toBe(
        true,
      );
    keysOf(client).expectFrom(hex(input.server.sourceId));
    client.receive(0, present(server.hello));
    client.receive(1, present(server.flight));
    server.receive(1, present(client.flight), shownAt(input));
    const epochs: [Directions, Directions, SlowTraffic, SlowTraffic][] = [
      [initial(client), initial(server), output.initial.client, output.initial.server],
      [handshake(client), handshake(server), output.clientHandshake, output.serverHandshake],
      [application(client), application(server), output.clientApplication, output.serverApplication],
    ];
    for (const [ofClient, ofServer, clientTraffic, serverTraffic] of epochs) {
      expect(isOpenedBy(ofClient.seal, trafficKeys(clientTraffic))).toBe(true);
      expect(isOpenedBy(trafficKeys(clientTraffic), ofServer.open)).toBe(true);
      expect(isOpenedBy(ofServer.seal, trafficKeys(serverTraffic))).toBe(true);
      expect(isOpenedBy(trafficKeys(serverTraffic), ofClient.open)).toBe(true);
    }
    const { name, context, length } = EXPORTED;
    for (const side of [client, server])
      expect(toHex(present(keysOf(side).exported(name, hex(context), length)))).toBe(output.exported);
  });
});

/** When the ticket is shown, by the server's clock: it began when the ticket was given. */
function shownAt({ ticket }: SlowResumedInput): number {
  return ticket.ageMs * MILLISECOND;
}

/** A client that shows the ticket of the vector to the server that gave it, which is one that has not used it. */
function resumedSidesOf(input: SlowResumedInput, { ticketKey }: { ticketKey: string }) {
  const { ticket } = input;
  const entry = joined(hex('010020'), hex(input.identitySeed));
  const identity = Identity.fromSecret(Buffer.from(entry).toString('base64url'));
  const { fingerprint } = identity;
  const firstDestinationId = hex(input.firstDestinationId);
  const pin = input.pinned ? fingerprint : null;
  const serverParameters = decoded(input.server.parameters, 'server');
  const ticketRandom = new ScriptedRandom([hex(ticket.issuer), hex(ticket.nonce), hex(NEXT_NONCE)]);
  const tickets = new Tickets(
    {
      keys: { current: hex(ticket.serverKey), previous: [] },
      ...{ lifetimeMs: 86_400_000, earlyDataBytesMax: 16_384, usedMax: 10, epochMs: ticket.issuedMs },
    },
    fingerprint,
    provider,
    ticketRandom,
    { memory: new MemoryBudget(2 ** 20), counters: new EndpointCounters() },
  );
  const limits = Object.fromEntries(
    EARLY_LIMITS.map((name, i) => [name, ticket.limits[i]]),
  ) as unknown as EarlyLimits;
  const content = {
    suite: 1,
    key: hex(ticketKey),
    provedAtMs: ticket.provedMs,
    limits,
    clientIdentity: null,
  };
  const { lifetimeSeconds, ticket: sealed } = tickets.give(tickets.nonce(), content, 0);
  const clientRandom = new ScriptedRandom([
    hex(input.client.random),
    hex(input.client.x25519Secret),
    parameterDraw(input.client.greasedParameter),
    hex(input.client.grease),
  ]);
  const serverRandom = new ScriptedRandom([
    hex(input.server.random),
    hex(input.server.x25519Secret),
    parameterDraw(input.server.greasedParameter),
  ]);
  const clientKeys = KeyRing.ofClient(provider, firstDestinationId, pin);
  const client = new ClientHandshake({
    keys: clientKeys,
    pin,
    suites: [{ aead: provider, costNs: 0 }],
    mlKem: nobleMlKem,
    mlDsa: nobleMlDsa,
    random: clientRandom,
    parameters: decoded(input.client.parameters, 'client'),
    firstDestinationId,
    largestDatagram: input.largestDatagram,
    resumption: {
      ticket: {
        ...{
          suite: 1,
          fingerprint,
          clientIdentity: null,
          key: hex(ticketKey),
          receivedAtMs: ticket.issuedMs,
        },
        ...{ lifetimeSeconds, parameters: serverParameters, ticket: sealed },
      },
      ageMs: ticket.ageMs,
      hasEarlyData: input.earlyData,
    },
  });
  const serverKeys = KeyRing.ofServer(provider, firstDestinationId, pin, hex(input.server.sourceId));
  const server = new ServerHandshake({
    keys: serverKeys,
    identity,
    suites: [{ aead: provider, costNs: 0 }],
    mlKem: nobleMlKem,
    mlDsa: nobleMlDsa,
    random: serverRandom,
    parameters: serverParameters,
    clientDestinationId: firstDestinationId,
    unpinned: !input.pinned,
    tickets,
  });
  withKeys(client, clientKeys);
  withKeys(server, serverKeys);
  return { client, server, sealed, randoms: [clientRandom, serverRandom, ticketRandom] };
}

/** Of the ticket that the server gives when the handshake is over, which is in no vector. */
const NEXT_NONCE = '0f'.repeat(16);

function sidesOf(input: SlowHandshakeInput) {
  const entry = joined(hex('010020'), hex(input.identitySeed));
  const identity = Identity.fromSecret(Buffer.from(entry).toString('base64url'));
  const firstDestinationId = hex(input.firstDestinationId);
  const clientRandom = new ScriptedRandom([
    hex(input.client.random),
    hex(input.client.x25519Secret + input.client.mlKemSeed),
    parameterDraw(input.client.greasedParameter),
    hex(input.client.grease),
  ]);
  const serverRandom = new ScriptedRandom([
    hex(input.server.random),
    hex(input.server.x25519Secret + input.server.mlKemMessage),
    parameterDraw(input.server.greasedParameter),
  ]);
  const pin = input.pinned ? identity.fingerprint : null;
  const clientKeys = KeyRing.ofClient(provider, firstDestinationId, pin);
  const client = new ClientHandshake({
    keys: clientKeys,
    pin,
    suites: [{ aead: provider, costNs: 0 }],
    mlKem: nobleMlKem,
    mlDsa: nobleMlDsa,
    random: clientRandom,
    parameters: decoded(input.client.parameters, 'client'),
    firstDestinationId,
    largestDatagram: input.largestDatagram,
  });
  const serverKeys = KeyRing.ofServer(provider, firstDestinationId, pin, hex(input.server.sourceId));
  const server = new ServerHandshake({
    keys: serverKeys,
    identity,
    suites: [{ aead: provider, costNs: 0 }],
    mlKem: nobleMlKem,
    mlDsa: nobleMlDsa,
    random: serverRandom,
    parameters: decoded(input.server.parameters, 'server'),
    clientDestinationId: firstDestinationId,
    unpinned: !input.pinned,
  });
  withKeys(client, clientKeys);
  withKeys(server, serverKeys);
  return { client, server, clientRandom, serverRandom };
}

/** The draw from which this greased parameter is made. */
function parameterDraw({ id, value }: { id: number; value: string }): Uint8Array {
  const draw = new Uint8Array(9);
  draw.set([(id - 0x1f) / 0x20, hex(value).length, ...hex(value)]);
  return draw;
}

function decoded(parameters: string, sender: 'client' | 'server'): TransportParameters {
  const result = decodeParameters(hex(parameters), sender);
  if (typeof result === 'number') throw new Error(`the vector's parameters do not decode: ${result}`);
  return result;
}

function trafficKeys({ keys }: SlowTraffic): PacketKeys {
  return new PacketKeys(
    provider.createKey(hex(keys.key)),
    hex(keys.iv),
    provider.createHeaderKey(hex(keys.hp)),
  );
}
