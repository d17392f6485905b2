import { NO_BYTES } from '../../base/bytes.ts';
import { type RandomSource, randomBytes } from '../../base/random.ts';
import type { AeadProvider } from '../crypto/aead.ts';
import { HybridKemKey, KEM_SEED_BYTES, type MlKem } from '../crypto/hybrid-kem.ts';
import { equalSecrets, fingerprintOf, verifyIdentity } from '../crypto/identity.ts';
import type { KeyRing } from '../crypto/key-ring.ts';
import {
  applicationTraffic,
  exporterSecret,
  finishedValue,
  handshakeSecret,
  handshakeTraffic,
  initialSecret,
  masterSecret,
  packetKeys,
  type TrafficSecrets,
  wipeTraffic,
} from '../crypto/key-schedule.ts';
import type { MlDsa } from '../crypto/ml-dsa.ts';
import { CloseCode } from '../wire/close-code.ts';
import { PacketSpace, PacketType, VERSION } from '../wire/packet-header.ts';
import type { TransportParameters } from '../wire/transport-parameters.ts';
import { type Handshake, type HandshakeSpace, HandshakeState } from './handshake.ts';
import {
  decodeParametersMessage,
  decodeServerHello,
  ExtensionId,
  type Extensions,
  encodeClientHello,
  encodeGreasedParameters,
  encodeMessage,
  GREASE_BYTES,
  KEM_X25519_ML_KEM_768,
  MessageType,
  NO_EXTENSIONS,
  RANDOM_BYTES,
  type ServerHello,
  splitMessages,
  Transcript,
} from './messages.ts';
import { encodeSuiteCosts, type OfferedSuite } from './suite-choice.ts';

export interface ClientHandshakeOptions {
  /** The connection's keys, where those that the handshake brings are installed. */
  keys: KeyRing;
  /** Fingerprint of the server's identity, 32 bytes; null to accept any server. */
  pin: Uint8Array | null;
  /** Those that the client speaks, at least one. */
  suites: readonly OfferedSuite[];
  mlKem: MlKem;
  mlDsa: MlDsa;
  random: RandomSource;
  parameters: TransportParameters;
  /** The id the client chose for the server in its first packet. */
  firstDestinationId: Uint8Array;
  /** Largest datagram the client sends, in bytes. */
  largestDatagram: number;
  /** What the client has to say to the server's application, at most {@link PAYLOAD_BYTES_MAX} bytes; null, the default: nothing. */
  payload?: Uint8Array | null;
}

/**
 * The client's side of the handshake. {@link hello} goes out in the Initial space at once. The server's hello, given to {@link receive},
 * brings the Handshake keys; its flight in the Handshake space brings {@link flight}, the 1-RTT keys and the end.
 */
export class ClientHandshake implements Handshake {
  readonly hello: Uint8Array;
  flight: Uint8Array | null = null;
  peerParameters: TransportParameters | null = null;
  peerFingerprint: Uint8Array | null = null;
  readonly peerLargestDatagram = 0;
  private readonly keys: KeyRing;
  private readonly suites: readonly OfferedSuite[];
  private readonly mlDsa: MlDsa;
  private readonly pin: Uint8Array | null;
  private readonly payload: Uint8Array | null;
  private readonly firstDestinationId: Uint8Array;
  private step: Step;

  constructor(options: ClientHandshakeOptions) {
    const { random, firstDestinationId, pin } = options;
    this.keys = options.keys;
    this.suites = options.suites;
    this.mlDsa = options.mlDsa;
    this.pin = pin;
    this.payload = options.payload ?? null;
    this.firstDestinationId = firstDestinationId;
    const helloRandom = randomBytes(random, RANDOM_BYTES);
    const seed = randomBytes(random, KEM_SEED_BYTES);
    const kemKey = new HybridKemKey(seed, options.mlKem);
    seed.fill(0);
    const hello = {
      random: helloRandom,
      versions: [VERSION],
      suites: options.suites.map(({ aead }) => aead.suite.id),
      share: kemKey.share,
      largestDatagram: options.largestDatagram,
      parameters: encodeGreasedParameters(options.parameters, random),
      extensions: extensionsOf(options.suites),
    };
    this.hello = encodeClientHello(hello, randomBytes(random, GREASE_BYTES));
    const transcript = new Transcript(pin !== null, firstDestinationId).add(this.hello);
    this.step = { state: HandshakeState.WAIT_SERVER_HELLO, kemKey, transcript };
  }

  get state(): HandshakeState {
    return this.step.state;
  }

  receive(space: HandshakeSpace, bytes: Uint8Array): number {
    const { step } = this;
    if (step.state === HandshakeState.FAILED) return step.code;
    let code: number = CloseCode.PROTOCOL_VIOLATION;
    if (space === PacketSpace.INITIAL && step.state === HandshakeState.WAIT_SERVER_HELLO)
      code = this.receiveHello(bytes, step);
    else if (space === PacketSpace.HANDSHAKE && step.state === HandshakeState.WAIT_SERVER_FLIGHT)
      code = this.receiveFlight(bytes, step);
    if (code !== 0) this.fail(code);
    return code;
  }

  onRetry(sourceId: Uint8Array): void {
    const { firstDestinationId, pin, step } = this;
    if (step.state !== HandshakeState.WAIT_SERVER_HELLO) return;
    step.transcript = new Transcript(pin !== null, firstDestinationId, sourceId).add(this.hello);
    this.keys.restartInitial(initialSecret(sourceId, pin));
  }

  forget(): void {
    if (this.step.state !== HandshakeState.COMPLETE) this.fail(CloseCode.PROTOCOL_VIOLATION);
  }

  private receiveHello(bytes: Uint8Array, { kemKey, transcript }: WaitServerHello): number {
    const messages = splitMessages(bytes, SERVER_HELLO_ONLY);
    const hello = messages === null ? null : decodeServerHello(messages[0].body);
    const provider = hello === null ? null : this.chosenSuite(hello);
    if (hello === null || provider === null) return CloseCode.CRYPTO_ERROR;
    const shared = kemKey.decapsulate(hello.ciphertext);
    if (shared === null) return CloseCode.CRYPTO_ERROR;
    kemKey.wipe();
    transcript.add(bytes);
    const secret = handshakeSecret(shared);
    shared.fill(0);
    const traffic = handshakeTraffic(secret, transcript.hash());
    const master = masterSecret(secret);
    secret.fill(0);
    this.install(traffic, provider, PacketType.HANDSHAKE);
    this.step = { state: HandshakeState.WAIT_SERVER_FLIGHT, provider, traffic, master, transcript };
    return 0;
  }

  /** The suite of a server that chose of what was offered, else null. [HS-6] */
  private chosenSuite({ version, suite, kem }: ServerHello): AeadProvider | null {
    if (version !== VERSION || kem !== KEM_X25519_ML_KEM_768) return null;
    return this.suites.find(({ aead }) => aead.suite.id === suite)?.aead ?? null;
  }

  /** Form, parameters, pin, signature, FINISHED: the first of them that is not right says how it ends. [HS-40] */
  private receiveFlight(bytes: Uint8Array, step: WaitServerFlight): number {
    const { traffic, transcript } = step;
    const messages = splitMessages(bytes, SERVER_FLIGHT);
    if (messages === null) return CloseCode.CRYPTO_ERROR;
    const [parameters, identity, signature, finished] = messages;
    const told = decodeParametersMessage(parameters.body);
    if (typeof told === 'number') return told;
    const fingerprint = fingerprintOf(identity.body);
    // [HS-10] the pin first: with another key there is nothing to prove.
    if (this.pin !== null && !equalSecrets(fingerprint, this.pin)) return CloseCode.IDENTITY_MISMATCH;
    transcript.add(parameters.whole).add(identity.whole);
    if (!verifyIdentity(identity.body, 'server', transcript.hash(), signature.body, this.mlDsa))
      return CloseCode.CRYPTO_ERROR;
    transcript.add(signature.whole);
    // [HS-13] FINISHED proves that the server saw the same messages.
    if (!equalSecrets(finished.body, finishedValue(traffic.server, transcript.hash())))
      return CloseCode.CRYPTO_ERROR;
    transcript.add(finished.whole);
    this.peerParameters = told.parameters;
    this.peerFingerprint = fingerprint;
    this.complete(step);
    return 0;
  }

  private complete(step: WaitServerFlight): void {
    const transcriptHash = step.transcript.hash();
    this.flight = this.encodeFlight(step);
    const application = applicationTraffic(step.master, transcriptHash);
    this.install(application, step.provider, PacketType.ONE_RTT);
    wipeTraffic(application);
    this.keys.installExporter(exporterSecret(step.master, transcriptHash));
    wipeStep(step);
    this.step = { state: HandshakeState.COMPLETE };
  }

  private encodeFlight({ traffic, transcript }: WaitServerFlight): Uint8Array {
    const { payload } = this;
    const said = payload === null ? NO_BYTES : encodeMessage(MessageType.PAYLOAD, payload);
    const value = finishedValue(traffic.client, transcript.add(said).hash());
    return Buffer.concat([said, encodeMessage(MessageType.FINISHED, value)]);
  }

  private install(
    traffic: TrafficSecrets,
    provider: AeadProvider,
    epoch: typeof PacketType.HANDSHAKE | typeof PacketType.ONE_RTT,
  ): void {
    this.keys.onTraffic(epoch, traffic, provider);
    this.keys.installSealing(packetKeys(provider, traffic.client, epoch));
    this.keys.installOpening(packetKeys(provider, traffic.server, epoch));
  }

  private fail(code: number): void {
    wipeStep(this.step);
    this.step = { state: HandshakeState.FAILED, code };
  }
}

/** What is kept at each state, and no longer. */
type Step =
  | WaitServerHello
  | WaitServerFlight
  | { state: typeof HandshakeState.COMPLETE }
  | { state: typeof HandshakeState.FAILED; code: number };

interface WaitServerHello {
  state: typeof HandshakeState.WAIT_SERVER_HELLO;
  kemKey: HybridKemKey;
  transcript: Transcript;
}

interface WaitServerFlight {
  state: typeof HandshakeState.WAIT_SERVER_FLIGHT;
  /** Of the suite that the server chose. */
  provider: AeadProvider;
  traffic: TrafficSecrets;
  master: Uint8Array;
  transcript: Transcript;
}

/** [HS-25] Zeroes the secrets of a state that is over. */
function wipeStep(step: Step): void {
  if (step.state === HandshakeState.WAIT_SERVER_HELLO) step.kemKey.wipe();
  if (step.state !== HandshakeState.WAIT_SERVER_FLIGHT) return;
  step.master.fill(0);
  wipeTraffic(step.traffic);
}

/** A client that has no choice has nothing to say about costs. [HS-61] */
function extensionsOf(suites: readonly OfferedSuite[]): Extensions {
  if (suites.length < 2) return NO_EXTENSIONS;
  return new Map([[ExtensionId.SUITE_COSTS, encodeSuiteCosts(suites)]]);
}

const SERVER_HELLO_ONLY: readonly MessageType[] = [MessageType.SERVER_HELLO];
const SERVER_FLIGHT: readonly MessageType[] = [
  MessageType.PARAMETERS,
  MessageType.IDENTITY,
  MessageType.SIGNATURE,
  MessageType.FINISHED,
];
