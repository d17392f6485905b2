import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { chooseAead, nativeProvider } from '../../../src/protocol/crypto/aead.ts';
import { Identity, resetKeyOf, resetToken } from '../../../src/protocol/crypto/identity.ts';
import {
  applicationTraffic,
  binderValue,
  clientInitialSecret,
  earlySecret,
  earlyTraffic,
  expandLabel,
  exportedValue,
  exporterSecret,
  extract,
  finishedValue,
  handshakeSecret,
  handshakeTraffic,
  hmac,
  initialSecret,
  masterSecret,
  nextTrafficSecret,
  packetKeys,
  resumptionSecret,
  serverInitialSecret,
  ticketAgeMask,
  ticketKey,
  updatedKeys,
} from '../../../src/protocol/crypto/key-schedule.ts';
import { PacketKeys } from '../../../src/protocol/crypto/packet-keys.ts';
import { sealPacket } from '../../../src/protocol/crypto/packet-protection.ts';
import { hex, toHex } from './bytes.ts';
import { slowExpand, slowExpandLabel, slowExtract } from './slow-hkdf.ts';
import {
  type ChainInput,
  type InitialInput,
  type ResetInput,
  type SlowTraffic,
  slowChain,
  slowInitial,
  slowReset,
  slowTicket,
  slowTraffic,
  type TicketInput,
} from './slow-key-schedule.ts';
import { vectorCases } from './vector-file.ts';
import { withoutSodium } from './without-sodium.ts';

// RFC 5869 appendix A.1
const INPUT_KEY = hex('0b'.repeat(22));
const SALT = hex('000102030405060708090a0b0c');
const PSEUDORANDOM_KEY = '077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5';

type Input = InitialInput | ChainInput | ResetInput | TicketInput;
type Output = ReturnType<typeof slowInitial | typeof slowChain | typeof slowReset | typeof slowTicket>;

const CASES = vectorCases<Input, Output>('key-schedule.json', slowTwin);
const provider = chooseAead('auto');

describe.each(CASES)('the key schedule, case "$name"', ({ input, output }) => {
  test('is what the slow twin derives', () => {
    expect(slowTwin(input)).toEqual(output);
  });

  test('is what the library derives [HS-20] [HS-32] [HS-33] [HS-34] [HS-21] [HS-22] [HS-24] [HS-29] [PKT-22]', () => {
    expect(fastTwin(input)).toEqual(withoutKeys(output));
  });

  test('gives the packet keys of each secret [HS-23]', () => {
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

describe.each(CASES)('a key update, case "$name"', ({ output }) => {
  test('makes the next secret of each, and of that key and IV, but for the header key [HS-28]', () => {
    for (const traffic of Object.values(output)) {
      if (typeof traffic === 'string') continue;
      const { nextSecret, secret } = traffic as SlowTraffic;
      expect(toHex(nextTrafficSecret(hex(secret)))).toBe(nextSecret);
      const keys = packetKeys(provider, hex(secret));
      const next = updatedKeys(provider, hex(nextSecret), keys);
      const slow = slowTraffic(hex(nextSecret)).keys;
      const expected = new PacketKeys(
        provider.createKey(hex(slow.key)),
        hex(slow.iv),
        keys.header,
        keys.epoch,
        1,
      );
      expect(next.phase).toBe(1);
      expect(sealedWith(next)).toBe(sealedWith(expected));
      expect(updatedKeys(provider, hex(secret), next).phase).toBe(0);
    }
  });
});

describe('the key schedule', () => {
  test('is the same where libsodium is not there', async () => {
    const other = await withoutSodium(() => import('../../../src/protocol/crypto/key-schedule.ts'));
    const bytes = fc.uint8Array({ maxLength: 70 });
    fc.assert(
      fc.property(bytes, bytes, bytes, (key, one, two) => {
        expect(toHex(other.hmac(key, one, two))).toBe(toHex(hmac(key, one, two)));
        expect(toHex(other.expandLabel(key, 'some label', one, 32))).toBe(
          toHex(expandLabel(key, 'some label', one, 32)),
        );
      }),
    );
  });

  test('leaves packet keys that no longer work once they are wiped [HS-25]', () => {
    for (const each of [provider, chooseAead('noble')]) {
      const keys = packetKeys(each, new Uint8Array(32));
      const { iv } = keys;
      keys.wipe();
      expect(() => sealedWith(keys)).toThrow();
      expect(iv.every((byte) => byte === 0)).toBe(true);
    }
  });

  test('makes no keys beside the row for the native addon, where that serves, before a packet asks for them, and wipes them with it [HS-25]', () => {
    const native = nativeProvider(chooseAead('node'));
    if (native === null) return;
    const keys = packetKeys(native, new Uint8Array(32));
    const inside = keys as unknown as Record<'ownAead' | 'ownHeader' | 'ownIv', object | null>;
    const madeKeys = () => [inside.ownAead, inside.ownHeader, inside.ownIv];
    sealedWith(keys);
    expect(madeKeys()).toEqual([null, null, null]);
    const { aead, header, iv, native: row } = keys;
    expect(madeKeys()).toEqual([aead, header, iv]);
    keys.wipe();
    expect([...iv, ...(row?.ints ?? [1])].every((value) => value === 0)).toBe(true);
    expect(() => aead.seal(new Uint8Array(64), 0, 9, 40, new Uint8Array(12))).toThrow();
    expect(() => header.mask(new Uint8Array(16), 0, new Uint8Array(5))).toThrow();
    const untouched = packetKeys(native, new Uint8Array(32));
    untouched.wipe();
    expect(() => untouched.aead).toThrow('wiped keys were used');
  });
});

describe('HKDF', () => {
  test('extracts the key of RFC 5869 appendix A.1, as its slow twin does', () => {
    expect(toHex(extract(SALT, INPUT_KEY))).toBe(PSEUDORANDOM_KEY);
    expect(toHex(slowExtract(SALT, INPUT_KEY))).toBe(PSEUDORANDOM_KEY);
  });

  test('has a slow twin that expands to the bytes of RFC 5869 appendix A.1', () => {
    expect(toHex(slowExpand(hex(PSEUDORANDOM_KEY), hex('f0f1f2f3f4f5f6f7f8f9'), 42))).toBe(
      '3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865',
    );
  });

  test('has a slow twin that labels as TLS 1.3 does, shown by the QUIC keys of RFC 9001 appendix A.5', () => {
    const secret = hex('9ac312a7f877468ebe69422748ad00a15443f18203a07d6060f688f30f21632b');
    const label = (name: string, length: number) =>
      toHex(slowExpandLabel(secret, name, hex(''), length, 'tls13 '));
    expect(label('quic key', 32)).toBe('c6d98ff3441c3fe1b2182094f69caa2ed4b716b65488960a7a984979fb23e1c8');
    expect(label('quic iv', 12)).toBe('e0459b3474bdd0e44a41c144');
    expect(label('quic hp', 32)).toBe('25a282b9e82f06f21f488917a4fc8f1b73573685608597d0efcb076b0ab7a7a4');
    expect(label('quic ku', 32)).toBe('1223504755036d556342ee9361d253421a826c9ecdf3c7148684b36b714881f9');
  });

  test('expands a label to the bytes of the slow twin [HS-19]', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.string({ unit: fc.constantFrom('a', 'z', ' ', '0'), maxLength: 20 }),
        fc.uint8Array({ maxLength: 32 }),
        fc.integer({ min: 1, max: 32 }),
        (secret, label, context, length) => {
          expect(toHex(expandLabel(secret, label, context, length))).toBe(
            toHex(slowExpandLabel(secret, label, context, length)),
          );
        },
      ),
    );
  });
});

describe('HMAC', () => {
  test('gives what OpenSSL gives, for keys and data of all lengths', () => {
    const bytes = fc.uint8Array({ maxLength: 150 });
    fc.assert(
      fc.property(bytes, fc.array(bytes, { maxLength: 3 }), (key, parts) => {
        const expected = createHmac('sha256', key).update(Buffer.concat(parts)).digest('hex');
        expect(toHex(hmac(key, ...parts))).toBe(expected);
      }),
      { numRuns: 500 },
    );
  });
});

function slowTwin(input: Input): Output {
  if ('identitySecret' in input) return slowReset(input);
  if ('hashToBinder' in input) return slowTicket(input);
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
    const resetKey = resetKeyOf(identity) as Uint8Array;
    return { resetKey: toHex(resetKey), token: toHex(resetToken(resetKey, hex(input.connectionId))) };
  }
  if ('hashToBinder' in input) {
    const resumption = resumptionSecret(hex(input.masterSecret), hex(input.hashToClientFinished));
    const key = ticketKey(resumption, hex(input.nonce));
    const early = earlySecret(key);
    return {
      resumptionSecret: toHex(resumption),
      ticketKey: toHex(key),
      ageMask: ticketAgeMask(key).toString(16).padStart(8, '0'),
      earlySecret: toHex(early),
      binder: toHex(binderValue(early, hex(input.hashToBinder))),
      clientEarly: toHex(earlyTraffic(early, hex(input.hashToClientHello))),
      handshakeSecret: toHex(handshakeSecret(hex(input.resumedKemSecret), early)),
    };
  }
  const secret = handshakeSecret(hex(input.kemSecret));
  const master = masterSecret(secret);
  const handshake = handshakeTraffic(secret, hex(input.hashToServerHello));
  const application = applicationTraffic(master, hex(input.hashToServerFinished));
  const exporter = exporterSecret(master, hex(input.hashToServerFinished));
  const { name, context, length } = input.exported;
  return {
    exporterSecret: toHex(exporter),
    exported: toHex(exportedValue(exporter, name, hex(context), length)),
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
  sealPacket(keys, packet, 0, 9, 25, 0);
  return toHex(packet);
}
