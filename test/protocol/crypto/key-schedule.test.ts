import { describe, expect, it } from 'vitest';
import { chooseAead } from '../../../src/protocol/crypto/choose-aead.ts';
import { Identity } from '../../../src/protocol/crypto/identity.ts';
import {
  applicationTraffic,
  clientInitialSecret,
  finishedValue,
  handshakeSecret,
  handshakeTraffic,
  initialSecret,
  keyPair,
  masterSecret,
  packetKeys,
  serverInitialSecret,
} from '../../../src/protocol/crypto/key-schedule.ts';
import { PacketKeys } from '../../../src/protocol/crypto/packet-keys.ts';
import { sealPacket } from '../../../src/protocol/crypto/packet-protection.ts';
import { resetToken } from '../../../src/protocol/crypto/reset-token.ts';
import { hex, toHex } from './bytes.ts';
import {
  type ChainInput,
  type InitialInput,
  type ResetInput,
  type SlowTraffic,
  slowChain,
  slowInitial,
  slowReset,
  slowTraffic,
} from './slow-key-schedule.ts';
import { vectorCases } from './vector-file.ts';

type Input = InitialInput | ChainInput | ResetInput;
type Output = ReturnType<typeof slowInitial> | ReturnType<typeof slowChain> | ReturnType<typeof slowReset>;

const CASES = vectorCases<Input, Output>('key-schedule.json', slowTwin);
const provider = chooseAead('auto');

describe.each(CASES)('the key schedule, case "$name"', ({ input, output }) => {
  it('is what the slow twin derives', () => {
    expect(slowTwin(input)).toEqual(output);
  });

  it('is what the library derives [HS-20] [HS-21] [HS-22] [HS-24] [PKT-22]', () => {
    expect(fastTwin(input)).toEqual(withoutKeys(output));
  });

  it('gives the packet keys of each secret [HS-23]', () => {
    for (const traffic of Object.values(output)) {
      if (typeof traffic === 'string') continue;
      const { keys, secret } = traffic as SlowTraffic;
      const expected = new PacketKeys(
        provider.createKey(hex(keys.key)),
        hex(keys.iv),
        provider.createHeaderKey(hex(keys.hp)),
      );
      expect(sealedWith(packetKeys(provider, hex(secret)))).toBe(sealedWith(expected));
    }
  });
});

describe('the key schedule', () => {
  it('updates keys by the label "ku", for a rule that is laid down for later [HS-28]', () => {
    const next = slowTraffic(hex(slowTraffic(hex('11'.repeat(32))).nextSecret));
    expect(next.secret).toHaveLength(64);
    expect(next.keys).not.toEqual(slowTraffic(hex('11'.repeat(32))).keys);
  });

  it('gives both ends each other’s keys', () => {
    const secrets = handshakeTraffic(new Uint8Array(32), new Uint8Array(32));
    const client = keyPair(provider, secrets, 'client');
    const server = keyPair(provider, secrets, 'server');
    expect(sealedWith(client.seal)).toBe(sealedWith(server.open));
    expect(sealedWith(client.open)).toBe(sealedWith(server.seal));
    expect(sealedWith(client.seal)).not.toBe(sealedWith(client.open));
  });

  it('leaves packet keys that no longer work once they are wiped [HS-25]', () => {
    const keys = packetKeys(provider, new Uint8Array(32));
    keys.wipe();
    expect(() => sealedWith(keys)).toThrow();
    expect(keys.iv.every((byte) => byte === 0)).toBe(true);
  });
});

function slowTwin(input: Input): Output {
  if ('identitySecret' in input) return slowReset(input);
  return 'kemSecret' in input ? slowChain(input) : slowInitial(input);
}

function fastTwin(input: Input): Record<string, string> {
  if ('firstDestinationId' in input) {
    const fingerprint = input.fingerprint === null ? null : hex(input.fingerprint);
    const initial = initialSecret(hex(input.firstDestinationId), fingerprint);
    const server = serverInitialSecret(initial, hex(input.serverSourceId));
    return { client: toHex(clientInitialSecret(initial)), server: toHex(server) };
  }
  if ('identitySecret' in input) {
    const identity = Identity.fromSecret(Buffer.from(hex(input.identitySecret)).toString('base64url'));
    const resetKey = Identity.resetKeyOf(identity) as Uint8Array;
    return { resetKey: toHex(resetKey), token: toHex(resetToken(resetKey, hex(input.connectionId))) };
  }
  const secret = handshakeSecret(hex(input.kemSecret));
  const master = masterSecret(secret);
  const handshake = handshakeTraffic(secret, hex(input.hashToServerHello));
  const application = applicationTraffic(master, hex(input.hashToServerFinished));
  return {
    handshakeSecret: toHex(secret),
    masterSecret: toHex(master),
    clientHandshake: toHex(handshake.client),
    serverHandshake: toHex(handshake.server),
    clientApplication: toHex(application.client),
    serverApplication: toHex(application.server),
    serverFinished: toHex(finishedValue(handshake.server, hex(input.hashToSignature))),
    clientFinished: toHex(finishedValue(handshake.client, hex(input.hashToServerFinished))),
  };
}

function withoutKeys(output: Output): Record<string, string> {
  const entries = Object.entries(output).map(([name, value]) => {
    return [name, typeof value === 'string' ? value : (value as SlowTraffic).secret];
  });
  return Object.fromEntries(entries);
}

/** A packet of zeros under these keys: two keys are the same when it is. */
function sealedWith(keys: PacketKeys): string {
  const packet = new Uint8Array(41);
  sealPacket(keys, packet, 0, 9, 1, 25, 0);
  return toHex(packet);
}
