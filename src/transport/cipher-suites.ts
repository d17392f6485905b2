import { JspError } from '../base/errors.ts';
import {
  anObject,
  checkOptions,
  number,
  type OptionCheck,
  type OptionTable,
  whole,
} from '../base/options.ts';
import {
  type AeadPreference,
  type AeadProvider,
  type CipherSuiteName,
  loadAesGcm,
  packetKeys,
  TAG_BYTES,
} from '../protocol/crypto/index.ts';
import { TransmitBatch } from '../protocol/datagram/index.ts';
import type { ConnectionConfig } from '../protocol/endpoint/index.ts';

/**
 * What a side seals with and for how long: the cipher suites that it offers, with what each costs this machine, and when their keys are
 * updated. Of the suites that both sides offer a connection has the one that is cheapest for the slower of them. [HS-61]
 */

/** When this side updates the keys of a connection. */
export interface KeyUpdateOptions {
  /** Packets sealed under one key until the next takes its place. Default 4,194,304. */
  packets?: number | undefined;
  /** Age of a key, in ms, at which it does with the next packet. Default 3,600,000, an hour. */
  ageMs?: number | undefined;
}

/** The preferred suite first, for peers that it costs as much. */
export const CIPHER_SUITE_NAMES: readonly CipherSuiteName[] = ['chacha20-poly1305', 'aes-256-gcm'];

export const cipherSuites: OptionCheck = (value) =>
  Array.isArray(value) &&
  value.length > 0 &&
  new Set(value).size === value.length &&
  value.every((name) => CIPHER_SUITE_NAMES.includes(name as CipherSuiteName))
    ? null
    : `a list of one or both of ${CIPHER_SUITE_NAMES.map((name) => `"${name}"`).join(', ')}`;

/**
 * The suites to offer, in the order of preference between equals.
 *
 * @param aead - of ChaCha20-Poly1305
 * @param chosen - what the options say; by default the environment variable JSP_CIPHER_SUITES, or all that there are
 * @param isSeeded - everything has to come out the same each time: nothing is measured, and nothing is chosen by speed
 * @throws JspError ERR_JSP_AEAD_UNAVAILABLE
 */
export function offeredSuites(
  aead: AeadProvider,
  preference: AeadPreference,
  chosen: readonly CipherSuiteName[] | undefined = environmentSuites(),
  isSeeded = false,
): ConnectionConfig['suites'] {
  const aes = loadAesGcm(aead.isNative);
  if (chosen === undefined) {
    // Whoever asks for an implementation of ChaCha20-Poly1305 asks for that.
    const isOpen = ['auto', 'native', 'node'].includes(preference) && !isSeeded;
    const both = isOpen && aes !== null ? [aead, aes] : [aead];
    return both.map((each) => ({ aead: each, costNs: both.length > 1 ? costOf(each) : 0 }));
  }
  return chosen.map((name) => {
    const provider = name === 'chacha20-poly1305' ? aead : aes;
    if (provider === null) throw unavailable(name);
    return { aead: provider, costNs: chosen.length > 1 && !isSeeded ? costOf(provider) : 0 };
  });
}

/** Nanoseconds for which this machine seals or opens a packet of 1,200 bytes; measured once, for some hundred microseconds. */
function costOf(aead: AeadProvider): number {
  let cost = COSTS.get(aead);
  if (cost === undefined) {
    cost = measured(aead);
    COSTS.set(aead, cost);
  }
  return cost;
}

/** The shortest of some rounds: what disturbs a machine only makes them longer. */
function measured(aead: AeadProvider): number {
  const secret = new Uint8Array(32);
  const round = aead.isNative ? nativeRound(aead, secret) : roundOf(aead.createKey(secret));
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < ROUNDS; i++) {
    const begin = process.hrtime.bigint();
    round();
    least = Math.min(least, Number(process.hrtime.bigint() - begin) / ROUND_PACKETS);
  }
  return least;
}

/** Seals packets as the native addon does it. */
function nativeRound(aead: AeadProvider, secret: Uint8Array): () => void {
  const batch = new TransmitBatch(ROUND_PACKETS * (HEADER_BYTES + PACKET_BYTES + TAG_BYTES), 1);
  const keys = packetKeys(aead, secret);
  return () => {
    for (let i = 0; i < ROUND_PACKETS; i++) {
      const at = i * (HEADER_BYTES + PACKET_BYTES + TAG_BYTES);
      batch.pushPacket(keys, at, at + HEADER_BYTES - 4, at + HEADER_BYTES + PACKET_BYTES, i, secret);
    }
    batch.seal((_, error) => {
      throw error;
    });
  };
}

/**
 * Seals packets one by one, which is native code from its first call: a mask of ChaCha20 would be JavaScript, which takes 100 times as long before it is
 * compiled as afterwards (0.2 us), and then AES was chosen, which costs four times as much.
 */
function roundOf(key: ReturnType<AeadProvider['createKey']>): () => void {
  const nonce = new Uint8Array(12);
  const packet = new Uint8Array(HEADER_BYTES + PACKET_BYTES + TAG_BYTES);
  return () => {
    for (let i = 0; i < ROUND_PACKETS; i++) {
      key.seal(packet, 0, HEADER_BYTES, HEADER_BYTES + PACKET_BYTES, nonce);
    }
  };
}

function environmentSuites(): CipherSuiteName[] | undefined {
  const text = process.env.JSP_CIPHER_SUITES;
  if (text === undefined || text === '') return undefined;
  const names = text.split(',').map((name) => name.trim());
  const must = cipherSuites(names);
  if (must !== null)
    throw new JspError('ERR_JSP_OPTION_INVALID', `JSP_CIPHER_SUITES must be ${must}, not "${text}"`);
  return names as CipherSuiteName[];
}

function unavailable(name: CipherSuiteName): JspError {
  return new JspError(
    'ERR_JSP_AEAD_UNAVAILABLE',
    `the cipher suite '${name}' is not available here: this Node was built without it; offer the other one`,
  );
}

// ---- key updates ----

const KEY_UPDATE_OPTIONS: OptionTable<KeyUpdateOptions> = {
  packets: whole(1, Number.MAX_SAFE_INTEGER),
  ageMs: number(1, 2 ** 40),
};

/** Throws by itself what it has to say of members. */
export const keyUpdate: OptionCheck = (value) => {
  if (value === false) return null;
  const must = anObject(value);
  if (must !== null) return `${must}, or false`;
  checkOptions('keyUpdate', value as KeyUpdateOptions, KEY_UPDATE_OPTIONS);
  return null;
};

/** @param defaults - of what the options do not say */
export function keyUpdateConfig(
  options: KeyUpdateOptions | false | undefined,
  defaults: ConnectionConfig['keyUpdate'],
): ConnectionConfig['keyUpdate'] {
  if (options === false || defaults === null) return null;
  return { packets: options?.packets ?? defaults.packets, ageMs: options?.ageMs ?? defaults.ageMs };
}

const COSTS = new Map<AeadProvider, number>();
const HEADER_BYTES = 12;
const PACKET_BYTES = 1_200;
const ROUNDS = 5;
const ROUND_PACKETS = 12;
