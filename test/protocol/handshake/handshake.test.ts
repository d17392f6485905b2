import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import { Identity, verifyIdentity } from '../../../src/protocol/crypto/identity.ts';
import { PacketKeys } from '../../../src/protocol/crypto/packet-keys.ts';
import type { ClientHandshake } from '../../../src/protocol/handshake/client.ts';
import { HandshakeState } from '../../../src/protocol/handshake/handshake.ts';
import type { ServerHandshake } from '../../../src/protocol/handshake/server.ts';
import { CloseCode } from '../../../src/protocol/wire/close-code.ts';
import { defaultParameters } from '../../../src/protocol/wire/transport-parameters.ts';
import { joined, toHex } from '../crypto/bytes.ts';
import {
  application,
  FIRST_ID,
  handshake,
  initial,
  isOpenedBy,
  keysOf,
  newClient,
  newServer,
  present,
  run,
  SERVER_ID,
  SERVER_IDENTITY,
} from './exchange.ts';

const HYBRID = Identity.generate(new Prng(21), { hybrid: true });

describe('the handshake', () => {
  test('completes on both sides in one round trip, with keys that fit [HS-1]', () => {
    const client = newClient();
    const server = newServer();
    expect(run(client, server)).toBe(0);
    expect([client.state, server.state]).toEqual([HandshakeState.COMPLETE, HandshakeState.COMPLETE]);
    keysOf(client).expectFrom(SERVER_ID);
    for (const epoch of [initial, handshake, application]) {
      expect(isOpenedBy(epoch(client).seal, epoch(server).open)).toBe(true);
      expect(isOpenedBy(epoch(server).seal, epoch(client).open)).toBe(true);
      expect(isOpenedBy(epoch(client).seal, epoch(client).open)).toBe(false);
    }
    expect(isOpenedBy(handshake(client).seal, application(server).open)).toBe(false);
    expect(isOpenedBy(initial(client).seal, handshake(server).open)).toBe(false);
  });

  test('tells each side the other’s parameters, and the client whom it talks to', () => {
    const client = newClient();
    const server = newServer();
    run(client, server);
    expect(client.peerParameters?.initialMaxData).toBe(2000);
    expect(toHex(present(client.peerParameters?.originalDestinationId ?? null))).toBe(toHex(FIRST_ID));
    expect(server.peerParameters?.initialMaxData).toBe(1000);
    expect(server.peerLargestDatagram).toBe(1200);
    expect(toHex(present(client.peerFingerprint))).toBe(toHex(SERVER_IDENTITY.fingerprint));
    expect(server.peerFingerprint).toBeNull();
  });

  test('gives each key when its message came, and not before [HS-15]', () => {
    const client = newClient();
    const server = newServer();
    expect([handshake(client), application(client), client.flight]).toEqual([NONE, NONE, null]);
    expect([handshake(server), application(server), server.flight, server.hello]).toEqual([
      NONE,
      NONE,
      null,
      null,
    ]);
    server.receive(0, client.hello);
    expect(server.flight).not.toBeNull();
    expect(handshake(server)).toEqual({ seal: expect.any(PacketKeys), open: expect.any(PacketKeys) });
    expect(application(server)).toEqual({ seal: expect.any(PacketKeys), open: null });
    expect(server.state).toBe(HandshakeState.WAIT_CLIENT_FINISHED);
    client.receive(0, present(server.hello));
    expect(handshake(client)).toEqual({ seal: expect.any(PacketKeys), open: expect.any(PacketKeys) });
    expect(application(client)).toEqual(NONE);
    expect([client.peerFingerprint, client.peerParameters]).toEqual([null, null]);
    expect(client.state).toBe(HandshakeState.WAIT_SERVER_FLIGHT);
    client.receive(1, present(server.flight));
    expect(application(client)).toEqual({ seal: expect.any(PacketKeys), open: expect.any(PacketKeys) });
    expect([client.state, server.state]).toEqual([
      HandshakeState.COMPLETE,
      HandshakeState.WAIT_CLIENT_FINISHED,
    ]);
    server.receive(1, present(client.flight));
    expect(application(server).open).toEqual(expect.any(PacketKeys));
    expect(server.state).toBe(HandshakeState.COMPLETE);
  });

  test('never repeats keys, however alike the sides are [HS-16]', () => {
    const first = newClient();
    const second = newClient({ random: new Prng(99) });
    run(first, newServer());
    run(second, newServer({ random: new Prng(98) }));
    expect(isOpenedBy(application(first).seal, application(second).seal)).toBe(false);
    expect(first.hello).not.toEqual(second.hello);
  });

  test('has no secrets left when it is over [HS-25]', () => {
    const client = newClient();
    const server = newServer();
    run(client, server);
    for (const side of [client, server])
      expect(side).toHaveProperty('step', { state: HandshakeState.COMPLETE });
    const failed = newClient();
    failed.receive(0, newServerHello());
    failed.receive(1, new Uint8Array(0));
    expect(failed).toHaveProperty('step', { state: HandshakeState.FAILED, code: CloseCode.CRYPTO_ERROR });
  });

  test('fits a hello into two datagrams of the smallest internet size', () => {
    const client = newClient();
    const server = newServer();
    run(client, server);
    expect(client.hello.length).toBeLessThan(1400);
    expect(present(server.hello).length).toBeLessThan(1200);
    expect(present(server.flight).length).toBeLessThan(400);
  });
});

describe('the Initial keys', () => {
  test('fit only a server whose fingerprint the client pins [HS-20]', () => {
    const stranger = Identity.generate(new Prng(8));
    const client = newClient({ pin: stranger.fingerprint });
    expect(isOpenedBy(initial(client).seal, initial(newServer()).open)).toBe(false);
    expect(isOpenedBy(initial(client).seal, initial(newServer({ unpinned: true })).open)).toBe(false);
    expect(isOpenedBy(initial(client).seal, initial(newServer({ identity: stranger })).open)).toBe(true);
  });

  test('of a client that does not pin fit any server that is told so by the U bit [HS-14] [HS-20]', () => {
    const client = newClient({ pin: null });
    expect(isOpenedBy(initial(client).seal, initial(newServer()).open)).toBe(false);
    expect(isOpenedBy(initial(client).seal, initial(newServer({ unpinned: true })).open)).toBe(true);
  });

  test('of a server depend on its source id, so that no two answers are sealed alike [HS-20]', () => {
    const client = newClient();
    const parameters = {
      ...defaultParameters(Uint8Array.of(0x51, 0x52, 0x54)),
      originalDestinationId: FIRST_ID,
    };
    const [one, other] = [newServer(), newServer({ parameters })];
    expect(isOpenedBy(initial(one).seal, initial(other).seal)).toBe(false);
    keysOf(client).expectFrom(SERVER_ID);
    expect(isOpenedBy(initial(one).seal, initial(client).open)).toBe(true);
    expect(isOpenedBy(initial(other).seal, initial(client).open)).toBe(false);
    keysOf(client).expectFrom(parameters.sourceId);
    expect(isOpenedBy(initial(other).seal, initial(client).open)).toBe(true);
  });

  test('depend on the destination id [HS-20]', () => {
    const other = newServer({ clientDestinationId: Uint8Array.of(9) });
    expect(isOpenedBy(initial(newClient()).seal, initial(other).open)).toBe(false);
  });
});

describe('a client', () => {
  test('takes any identity when it does not pin, and says whose it was [HS-14]', () => {
    const stranger = Identity.generate(new Prng(8));
    const client = newClient({ pin: null });
    expect(run(client, newServer({ identity: stranger, unpinned: true }))).toBe(0);
    expect(toHex(present(client.peerFingerprint))).toBe(toHex(stranger.fingerprint));
  });

  test('that pins ends with IDENTITY_MISMATCH when another server proves another identity [HS-10]', () => {
    const client = newClient();
    const stranger = Identity.generate(new Prng(8));
    expect(run(client, newServer({ identity: stranger }))).toBe(CloseCode.IDENTITY_MISMATCH);
    expect(client.state).not.toBe(HandshakeState.COMPLETE);
    expect([application(client), client.peerFingerprint, client.peerParameters]).toEqual([NONE, null, null]);
  });

  test('ends with CRYPTO_ERROR when a server shows the pinned key and cannot sign with it [HS-12]', () => {
    const stranger = Identity.generate(new Prng(8));
    const impostor = Object.create(stranger, {
      publicKey: { value: SERVER_IDENTITY.publicKey },
      fingerprint: { value: SERVER_IDENTITY.fingerprint },
      sign: { value: stranger.sign.bind(stranger) },
    }) as Identity;
    expect(run(newClient(), newServer({ identity: impostor }))).toBe(CloseCode.CRYPTO_ERROR);
  });

  test('tells of the first fault in the order of the rule, whatever else is wrong [HS-40]', () => {
    const wrongParameters = { parameters: defaultParameters(Uint8Array.of(1)) };
    const stranger = { identity: Identity.generate(new Prng(8)) };
    const unsigned = { identity: signingNonsense(SERVER_IDENTITY) };
    const strangerUnsigned = { identity: signingNonsense(stranger.identity) };
    const { CRYPTO_ERROR, IDENTITY_MISMATCH, TRANSPORT_PARAMETER_ERROR } = CloseCode;
    const cut = (flight: Uint8Array) => flight.slice(0, -1);
    const unfinished = (flight: Uint8Array) => changedAt(flight, flight.length - 1);
    for (const [changes, change, code] of [
      [{ ...wrongParameters, ...strangerUnsigned }, cut, CRYPTO_ERROR],
      [{ ...wrongParameters, ...strangerUnsigned }, unfinished, TRANSPORT_PARAMETER_ERROR],
      [strangerUnsigned, unfinished, IDENTITY_MISMATCH],
      [unsigned, unfinished, CRYPTO_ERROR],
      [unsigned, (flight: Uint8Array) => flight, CRYPTO_ERROR],
      [{}, unfinished, CRYPTO_ERROR],
    ] as const) {
      const client = newClient();
      const server = newServer(changes);
      server.receive(0, client.hello);
      client.receive(0, present(server.hello));
      expect(client.receive(1, change(present(server.flight)))).toBe(code);
    }
  });

  test('takes a hybrid identity as any other, and only with both of its signatures [HS-26] [HS-12]', () => {
    expect(run(newClient({ pin: HYBRID.fingerprint }), newServer({ identity: HYBRID }))).toBe(0);
    for (const at of [SIGNATURE_AT + 3 + 10, SIGNATURE_AT + 67 + 3 + 2_000]) {
      const client = newClient({ pin: HYBRID.fingerprint });
      const server = newServer({ identity: HYBRID });
      server.receive(0, client.hello);
      client.receive(0, present(server.hello));
      const flight = present(server.flight);
      const signature = flight.length - 35 - 3_379 - 3;
      expect(client.receive(1, changedAt(flight, signature + at))).toBe(CloseCode.CRYPTO_ERROR);
    }
  });

  test('ends with CRYPTO_ERROR when the FINISHED is not right, even without a pin [HS-13] [HS-14]', () => {
    for (const pin of [SERVER_IDENTITY.fingerprint, null]) {
      const client = newClient({ pin });
      const server = newServer({ unpinned: pin === null });
      server.receive(0, client.hello);
      client.receive(0, present(server.hello));
      const flight = present(server.flight).slice();
      flight[flight.length - 1] ^= 1;
      expect(client.receive(1, flight)).toBe(CloseCode.CRYPTO_ERROR);
      expect(application(client)).toEqual(NONE);
    }
  });

  test('refuses a version, a suite or a KEM that it did not list [HS-6]', () => {
    for (const [at, value] of [
      [3 + 32 + 3, 0x32],
      [3 + 32 + 4, 0x02],
      [3 + 32 + 5, 0x02],
    ]) {
      const client = newClient();
      const hello = newServerHello();
      hello[at] = value;
      expect(client.receive(0, hello)).toBe(CloseCode.CRYPTO_ERROR);
    }
  });

  test('refuses a server that sends its X25519 key as zero [HS-17]', () => {
    const hello = newServerHello();
    hello.fill(0, 3 + 32 + 6 + 2, 3 + 32 + 6 + 2 + 32);
    expect(newClient().receive(0, hello)).toBe(CloseCode.CRYPTO_ERROR);
  });

  test('ends with TRANSPORT_PARAMETER_ERROR when the server leaves out the original id [HS-2]', () => {
    const server = newServer({ parameters: defaultParameters(Uint8Array.of(1)) });
    expect(run(newClient(), server)).toBe(CloseCode.TRANSPORT_PARAMETER_ERROR);
  });
});

describe('a server', () => {
  test('ends with CRYPTO_ERROR when the client’s FINISHED is not right [HS-13]', () => {
    const client = newClient();
    const server = newServer();
    server.receive(0, client.hello);
    client.receive(0, present(server.hello));
    client.receive(1, present(server.flight));
    const flight = present(client.flight).slice();
    flight[10] ^= 0x80;
    expect(server.receive(1, flight)).toBe(CloseCode.CRYPTO_ERROR);
    expect(server.state).not.toBe(HandshakeState.COMPLETE);
    expect(server.receive(1, present(client.flight))).toBe(CloseCode.CRYPTO_ERROR);
  });

  test('takes what a client says to its application, up to 8,192 bytes [HS-43]', () => {
    for (const bytes of [0, 1, 8_192])
      expect(run(saying(new Uint8Array(bytes)), newServer({ access: DECIDED }))).toBe(0);
    expect(run(saying(new Uint8Array(8_193)), newServer({ access: DECIDED }))).toBe(CloseCode.CRYPTO_ERROR);
  });

  test('ends with CRYPTO_ERROR when what the client says was changed, or taken out [HS-8] [HS-13]', () => {
    for (const change of [changed, withoutPayload]) {
      const client = saying(Uint8Array.of(1, 2, 3));
      const server = newServer({ access: DECIDED });
      server.receive(0, client.hello);
      client.receive(0, present(server.hello));
      client.receive(1, present(server.flight));
      expect(server.receive(1, change(present(client.flight)))).toBe(CloseCode.CRYPTO_ERROR);
    }
  });

  test('ends with TRANSPORT_PARAMETER_ERROR when the client sends what only servers send', () => {
    const parameters = { ...defaultParameters(Uint8Array.of(1)), originalDestinationId: FIRST_ID };
    expect(run(newClient({ parameters }), newServer())).toBe(CloseCode.TRANSPORT_PARAMETER_ERROR);
  });
});

describe('a client that is asked', () => {
  const ASKS = { asksForIdentity: true, isDecided: false };
  const credentials = (identity: Identity) => ({ credentials: { identity, payload: null } });

  test.each([
    ['Ed25519', Identity.generate(new Prng(31))],
    ['a hybrid one', HYBRID],
  ])(
    'proves its identity, %s, over all of the server’s messages and its own key [HS-27] [HS-11]',
    (_, identity) => {
      const client = newClient(credentials(identity));
      const server = newServer({ access: ASKS });
      expect(run(client, server)).toBe(0);
      expect(server.state).toBe(HandshakeState.COMPLETE);
      expect(toHex(present(server.peerFingerprint))).toBe(toHex(identity.fingerprint));
      // The same, read off the specification.
      const flight = present(client.flight);
      const shown = flight.subarray(0, 3 + identity.publicKey.length);
      const label = new TextEncoder().encode('jsp1 handshake');
      const prologue = joined(label, Uint8Array.of(1, FIRST_ID.length), FIRST_ID, Uint8Array.of(0));
      const before = joined(client.hello, present(server.hello), present(server.flight));
      const hash = createHash('sha256')
        .update(joined(prologue, before, shown))
        .digest();
      const signature = flight.subarray(shown.length + 3, flight.length - 35);
      expect(verifyIdentity(identity.publicKey, 'client', hash, signature)).toBe(true);
      expect(verifyIdentity(identity.publicKey, 'server', hash, signature)).toBe(false);
    },
  );

  test('shows no identity when it has none, or is not asked [HS-27]', () => {
    const nobody = newServer({ access: ASKS });
    expect(run(newClient(), nobody)).toBe(0);
    expect(nobody.peerFingerprint).toBeNull();
    const client = newClient(credentials(HYBRID));
    expect(run(client, newServer())).toBe(0);
    expect(client.flight).toHaveLength(35);
  });

  test('is not believed when it shows a key that is not its own, or half of it, or none was asked for [HS-42]', () => {
    const other = Identity.generate(new Prng(32));
    const impostor = Object.create(other, {
      publicKey: { value: SERVER_IDENTITY.publicKey },
      sign: { value: other.sign.bind(other) },
    }) as Identity;
    const server = newServer({ access: ASKS });
    expect(run(newClient(credentials(impostor)), server)).toBe(CloseCode.CRYPTO_ERROR);
    expect([server.peerFingerprint, server.state]).toEqual([null, HandshakeState.FAILED]);
    for (const types of [[4], [5]]) {
      const half = (flight: Uint8Array) => withoutMessages(flight, types);
      expect(runChanging(newClient(credentials(other)), newServer({ access: ASKS }), half)).toBe(
        CloseCode.CRYPTO_ERROR,
      );
    }
    // Of a server that forgot that it asked both sides have the same transcript, so that only the rule can refuse it.
    const forgetful = newServer({ access: ASKS });
    const asked = newClient(credentials(other));
    forgetful.receive(0, asked.hello);
    asked.receive(0, present(forgetful.hello));
    asked.receive(1, present(forgetful.flight));
    Object.assign(forgetful, { access: null });
    expect(forgetful.receive(1, present(asked.flight))).toBe(CloseCode.CRYPTO_ERROR);
  });

  test('says what it has to say only to a server whose application decides, which then waits for that [HS-43] [HS-44]', () => {
    const silent = saying(Uint8Array.of(7));
    expect(run(silent, newServer())).toBe(0);
    expect([silent.flight?.length, silent.isAdmissionDue]).toEqual([35, false]);
    const client = saying(Uint8Array.of(7));
    const server = newServer({ access: DECIDED });
    expect(run(client, server)).toBe(0);
    expect([client.isAdmissionDue, client.state]).toEqual([true, HandshakeState.COMPLETE]);
    expect(server.state).toBe(HandshakeState.WAIT_ADMISSION);
    expect(toHex(present(server.peerPayload))).toBe('07');
    expect(application(server).open).toBeNull();
    server.admit();
    expect(server.state).toBe(HandshakeState.COMPLETE);
    expect(isOpenedBy(application(client).seal, application(server).open)).toBe(true);
  });
});

describe('the transcript', () => {
  test('makes the sides disagree when they saw another first id or another U bit [HS-8]', () => {
    const otherId = newServer({ clientDestinationId: Uint8Array.of(9, 9) });
    expect(run(newClient(), otherId)).toBe(CloseCode.CRYPTO_ERROR);
    expect(run(newClient(), newServer({ unpinned: true }))).toBe(CloseCode.CRYPTO_ERROR);
    expect(run(newClient({ pin: null }), newServer())).toBe(CloseCode.CRYPTO_ERROR);
  });

  test('makes them disagree when any byte of a hello was changed on the way [HS-8]', () => {
    for (let at = 3; at < 1294; at += 37) {
      const client = newClient();
      const server = newServer();
      const hello = client.hello.slice();
      hello[at] ^= 0x10;
      if (server.receive(0, hello) !== 0) continue;
      client.receive(0, present(server.hello));
      expect(client.receive(1, present(server.flight))).not.toBe(0);
      expect(client.state).not.toBe(HandshakeState.COMPLETE);
    }
  });
});

describe('messages out of turn', () => {
  test('end with PROTOCOL_VIOLATION: twice in a space, or the Handshake space first [HS-1]', () => {
    const finishedTwice = completed();
    expect(finishedTwice.server.receive(1, present(finishedTwice.client.flight))).toBe(
      CloseCode.PROTOCOL_VIOLATION,
    );
    expect(finishedTwice.client.receive(1, present(finishedTwice.server.flight))).toBe(
      CloseCode.PROTOCOL_VIOLATION,
    );
    const helloTwice = completed();
    expect(helloTwice.server.receive(0, helloTwice.client.hello)).toBe(CloseCode.PROTOCOL_VIOLATION);
    expect(helloTwice.client.receive(0, present(helloTwice.server.hello))).toBe(CloseCode.PROTOCOL_VIOLATION);
    expect(newClient().receive(1, present(helloTwice.server.flight))).toBe(CloseCode.PROTOCOL_VIOLATION);
    expect(newServer().receive(1, present(helloTwice.client.flight))).toBe(CloseCode.PROTOCOL_VIOLATION);
  });

  test('end with CRYPTO_ERROR when messages are missing, doubled or followed by more bytes [HS-1] [HS-2]', () => {
    const { client, server } = completed();
    const flight = present(server.flight);
    for (const bytes of [
      flight.slice(0, -35),
      joined(flight, flight.slice(-35)),
      joined(flight, new Uint8Array(1)),
    ]) {
      const other = newClient();
      other.receive(0, newServerHello());
      expect(other.receive(1, bytes)).toBe(CloseCode.CRYPTO_ERROR);
    }
    expect(newServer().receive(0, joined(client.hello, new Uint8Array(1)))).toBe(CloseCode.CRYPTO_ERROR);
    expect(newServer().receive(0, present(server.hello))).toBe(CloseCode.CRYPTO_ERROR);
    expect(newServer().receive(0, new Uint8Array(0))).toBe(CloseCode.CRYPTO_ERROR);
    expect(newClient().receive(0, new Uint8Array(20_000))).toBe(CloseCode.CRYPTO_ERROR);
  });
});

function changed(flight: Uint8Array): Uint8Array {
  return changedAt(flight, 4);
}

function changedAt(flight: Uint8Array, at: number): Uint8Array {
  const bytes = flight.slice();
  bytes[at] ^= 1;
  return bytes;
}

/** One that shows this key and signs what is no signature of it. */
function signingNonsense(identity: Identity): Identity {
  return Object.create(identity, {
    publicKey: { value: identity.publicKey },
    fingerprint: { value: identity.fingerprint },
    sign: { value: () => joined(Uint8Array.of(1, 0, 64), new Uint8Array(64)) },
  }) as Identity;
}

function saying(payload: Uint8Array): ClientHandshake {
  return newClient({ credentials: { identity: null, payload } });
}

/** A handshake in which the client's string is changed on its way. */
function runChanging(
  client: ClientHandshake,
  server: ServerHandshake,
  change: (flight: Uint8Array) => Uint8Array,
): number {
  server.receive(0, client.hello);
  client.receive(0, present(server.hello));
  client.receive(1, present(server.flight));
  return server.receive(1, change(present(client.flight)));
}

function withoutMessages(flight: Uint8Array, types: readonly number[]): Uint8Array {
  const kept: Uint8Array[] = [];
  for (let at = 0; at < flight.length; ) {
    const end = at + 3 + flight[at + 1] * 256 + flight[at + 2];
    if (!types.includes(flight[at])) kept.push(flight.slice(at, end));
    at = end;
  }
  return joined(...kept);
}

function withoutPayload(flight: Uint8Array): Uint8Array {
  return flight.slice(3 + 3);
}

/** The hello with which {@link newServer} answers {@link newClient}. */
function newServerHello(): Uint8Array {
  const server = newServer();
  server.receive(0, newClient().hello);
  return present(server.hello).slice();
}

function completed(): { client: ClientHandshake; server: ServerHandshake } {
  const client = newClient();
  const server = newServer();
  if (run(client, server) !== 0) throw new Error('the handshake failed');
  return { client, server };
}

/** Behind the header of the message. */
const SIGNATURE_AT = 3;
const DECIDED = { asksForIdentity: false, isDecided: true };
const NONE = { seal: null, open: null };
