import { type RandomSource, randomBytes } from '../../base/random.ts';
import type { AeadProvider } from '../crypto/aead.ts';
import { HybridKemKey, KEM_SEED_BYTES, type MlKem } from '../crypto/hybrid-kem.ts';
import { equalSecrets, fingerprintOf, verifyIdentity } from '../crypto/identity.ts';
import {
  applicationTraffic,
  finishedValue,
  handshakeSecret,
  handshakeTraffic,
  keyPair,
  masterSecret,
  type TrafficSecrets,
  wipeTraffic,
} from '../crypto/key-schedule.ts';
import type { KeyPair } from '../crypto/packet-protection.ts';
import { CloseCode } from '../wire/close-code.ts';
import { VERSION } from '../wire/packet-header.ts';
import type { TransportParameters } from '../wire/transport-parameters.ts';
import { ClientInitialKeys } from './initial-keys.ts';
import {
  decodeParametersMessage,
  decodeServerHello,
  encodeClientHello,
  encodeGreasedParameters,
  encodeMessage,
  GREASE_BYTES,
  KEM_X25519_ML_KEM_768,
  MessageType,
  RANDOM_BYTES,
  type ServerHello,
  SUITE_CHACHA20_POLY1305,
  splitMessages,
  Transcript,
} from './messages.ts';

export interface ClientHandshakeOptions {
  /** Fingerprint of the server's identity, 32 bytes; null to accept any server. */
  pin: Uint8Array | null;
  provider: AeadProvider;
  mlKem: MlKem;
  random: RandomSource;
  parameters: TransportParameters;
  /** The id the client chose for the server in its first packet. */
  firstDestinationId: Uint8Array;
  /** Largest datagram the client sends, in bytes. */
  largestDatagram: number;
}

/**
 * The client's side of the handshake, without packets: whole messages in, whole messages out.
 *
 * {@link hello} goes out in the Initial space at once. The server's hello, given to {@link receive}, brings
 * {@link handshakeKeys}; its flight in the Handshake space brings {@link flight}, {@link applicationKeys} and the end.
 */
export class ClientHandshake {
  readonly role = 'client';
  readonly initialKeys: ClientInitialKeys;
  /** What to send in the Initial space. */
  readonly hello: Uint8Array;
  handshakeKeys: KeyPair | null = null;
  /** What to send in the Handshake space, once the server proved itself. */
  flight: Uint8Array | null = null;
  applicationKeys: KeyPair | null = null;
  peerParameters: TransportParameters | null = null;
  /** Fingerprint of the server's identity, once it proved that it has the key. */
  peerFingerprint: Uint8Array | null = null;
  /** The server proved its identity, and application data may be sent. */
  complete = false;
  private readonly provider: AeadProvider;
  private readonly pin: Uint8Array | null;
  private transcript: Transcript | null;
  private kemKey: HybridKemKey | null;
  private master: Uint8Array | null = null;
  private traffic: TrafficSecrets | null = null;
  private failure = 0;

  constructor(options: ClientHandshakeOptions) {
    const { random, firstDestinationId, pin, provider } = options;
    this.provider = provider;
    this.pin = pin;
    this.initialKeys = new ClientInitialKeys(provider, firstDestinationId, pin);
    const helloRandom = randomBytes(random, RANDOM_BYTES);
    const seed = randomBytes(random, KEM_SEED_BYTES);
    this.kemKey = new HybridKemKey(seed, options.mlKem);
    seed.fill(0);
    const hello = {
      random: helloRandom,
      versions: [VERSION],
      suites: [SUITE_CHACHA20_POLY1305],
      share: this.kemKey.share,
      largestDatagram: options.largestDatagram,
      parameters: encodeGreasedParameters(options.parameters, random),
    };
    this.hello = encodeClientHello(hello, randomBytes(random, GREASE_BYTES));
    this.transcript = new Transcript(pin !== null, firstDestinationId).add(this.hello);
  }

  /**
   * Takes all the bytes that the server sent in a space: 0 Initial, 1 Handshake.
   * @returns 0, or the code to close the connection with
   */
  receive(space: 0 | 1, bytes: Uint8Array): number {
    if (this.failure !== 0) return this.failure;
    const { kemKey, traffic, transcript } = this;
    let code: number = CloseCode.PROTOCOL_VIOLATION;
    if (transcript !== null) {
      if (space === 0 && kemKey !== null) code = this.receiveHello(bytes, kemKey, transcript);
      else if (space === 1 && traffic !== null) code = this.receiveFlight(bytes, traffic, transcript);
    }
    this.failure = code;
    if (code !== 0 || this.complete) this.forget();
    return code;
  }

  private receiveHello(bytes: Uint8Array, kemKey: HybridKemKey, transcript: Transcript): number {
    const messages = splitMessages(bytes, SERVER_HELLO_ONLY);
    const hello = messages === null ? null : decodeServerHello(messages[0].body);
    if (hello === null || !isOffered(hello)) return CloseCode.CRYPTO_ERROR;
    const shared = kemKey.decapsulate(hello.ciphertext);
    if (shared === null) return CloseCode.CRYPTO_ERROR;
    kemKey.wipe();
    this.kemKey = null;
    transcript.add(bytes);
    const secret = handshakeSecret(shared);
    shared.fill(0);
    this.traffic = handshakeTraffic(secret, transcript.hash());
    this.master = masterSecret(secret);
    secret.fill(0);
    this.handshakeKeys = keyPair(this.provider, this.traffic, 'client');
    return 0;
  }

  private receiveFlight(bytes: Uint8Array, traffic: TrafficSecrets, transcript: Transcript): number {
    const messages = splitMessages(bytes, SERVER_FLIGHT);
    if (messages === null) return CloseCode.CRYPTO_ERROR;
    const [parameters, identity, signature, finished] = messages;
    const peerParameters = decodeParametersMessage(parameters.body);
    if (typeof peerParameters === 'number') return peerParameters;
    const fingerprint = fingerprintOf(identity.body);
    // [HS-10] the pin first: with another key there is nothing to prove.
    if (this.pin !== null && !equalSecrets(fingerprint, this.pin)) return CloseCode.IDENTITY_MISMATCH;
    transcript.add(parameters.whole).add(identity.whole);
    if (!verifyIdentity(identity.body, 'server', transcript.hash(), signature.body))
      return CloseCode.CRYPTO_ERROR;
    transcript.add(signature.whole);
    // [HS-13]
    if (!equalSecrets(finished.body, finishedValue(traffic.server, transcript.hash())))
      return CloseCode.CRYPTO_ERROR;
    transcript.add(finished.whole);
    this.peerParameters = peerParameters;
    this.peerFingerprint = fingerprint;
    this.finish(traffic, transcript.hash());
    return 0;
  }

  private finish(traffic: TrafficSecrets, transcriptHash: Uint8Array): void {
    const value = finishedValue(traffic.client, transcriptHash);
    this.flight = encodeMessage(MessageType.FINISHED, value);
    const application = applicationTraffic(this.master as Uint8Array, transcriptHash);
    this.applicationKeys = keyPair(this.provider, application, 'client');
    wipeTraffic(application);
    this.complete = true;
  }

  /** [HS-25] Zeroes what is not needed any more; the handshake cannot go on. */
  forget(): void {
    this.transcript = null;
    this.kemKey?.wipe();
    this.kemKey = null;
    this.master?.fill(0);
    this.master = null;
    if (this.traffic !== null) wipeTraffic(this.traffic);
    this.traffic = null;
  }
}

/** [HS-6] */
function isOffered(hello: ServerHello): boolean {
  const { version, suite, kem } = hello;
  return version === VERSION && suite === SUITE_CHACHA20_POLY1305 && kem === KEM_X25519_ML_KEM_768;
}

const SERVER_HELLO_ONLY: readonly MessageType[] = [MessageType.SERVER_HELLO];
const SERVER_FLIGHT: readonly MessageType[] = [
  MessageType.PARAMETERS,
  MessageType.IDENTITY,
  MessageType.SIGNATURE,
  MessageType.FINISHED,
];
