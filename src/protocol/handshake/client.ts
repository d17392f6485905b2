import { assert } from '../../base/errors.ts';
import { type RandomSource, randomBytes } from '../../base/random.ts';
import type { AeadProvider } from '../crypto/aead.ts';
import { HybridKemKey, KEM_SEED_BYTES, type KemKey, type MlKem, X25519_BYTES } from '../crypto/hybrid-kem.ts';
import { equalSecrets, fingerprintOf, type Identity, verifyIdentity } from '../crypto/identity.ts';
import type { KeyRing } from '../crypto/key-ring.ts';
import {
  applicationTraffic,
  earlySecret,
  exporterSecret,
  finishedValue,
  handshakeSecret,
  handshakeTraffic,
  initialSecret,
  masterSecret,
  packetKeys,
  resumptionSecret,
  type TrafficSecrets,
  wipeTraffic,
} from '../crypto/key-schedule.ts';
import type { MlDsa } from '../crypto/ml-dsa.ts';
import { X25519KemKey } from '../crypto/x25519-kem.ts';
import { CloseCode } from '../wire/close-code.ts';
import { FIRST_ID_BYTES, PacketSpace, PacketType, VERSION } from '../wire/packet-header.ts';
import type { TransportParameters } from '../wire/transport-parameters.ts';
import type { ClientTicket } from './client-ticket.ts';
import { EarlyData, type Handshake, type HandshakeSpace, HandshakeState } from './handshake.ts';
import {
  decodeParametersMessage,
  decodeServerHello,
  ExtensionId,
  type Extensions,
  encodeClientHello,
  encodeGreasedParameters,
  encodeMessage,
  GREASE_BYTES,
  KEM_X25519,
  KEM_X25519_ML_KEM_768,
  type Message,
  MessageType,
  NO_EXTENSIONS,
  proveIdentity,
  RANDOM_BYTES,
  type ServerHello,
  splitMessages,
  Transcript,
} from './messages.ts';
import { encodeSuiteCosts, type OfferedSuite } from './suite-choice.ts';
import { bindHello, earlyTrafficOf, offerExtensions, type Resumption } from './ticket-offer.ts';
import { earlyLimitsOf } from './tickets.ts';

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
  /** The ticket that is shown, if any. Default null. */
  resumption?: Resumption | null;
  /** The pinned identity is known to be hybrid: its proof is long. Default false. */
  pinsHybrid?: boolean | undefined;
  /** What the client says of itself, where it is asked. Default: nothing. */
  credentials?: ClientCredentials | undefined;
}

/** What a client tells a server that asks. */
export interface ClientCredentials {
  /** Which it proves to have; null: none. [HS-27] */
  readonly identity: Identity | null;
  /** What it has to say to the server's application, at most {@link PAYLOAD_BYTES_MAX} bytes; null: nothing. [HS-43] */
  readonly payload: Uint8Array | null;
}

/**
 * The client's side of the handshake. {@link hello} goes out in the Initial space at once. The server's hello, given to {@link receive},
 * brings the Handshake keys; its flight in the Handshake space brings {@link flight}, the 1-RTT keys and the end.
 */
export class ClientHandshake implements Handshake {
  hello: Uint8Array;
  flight: Uint8Array | null = null;
  peerParameters: TransportParameters | null = null;
  peerFingerprint: Uint8Array | null = null;
  readonly peerLargestDatagram = 0;
  isResumed = false;
  earlyData: EarlyData = EarlyData.NONE;
  readonly remembered: TransportParameters | null;
  readonly peerPayload = null;
  isAdmissionDue = false;
  ownFingerprint: Uint8Array | null = null;
  suite = 0;
  private readonly keys: KeyRing;
  private readonly suites: readonly OfferedSuite[];
  private readonly mlDsa: MlDsa;
  private readonly pin: Uint8Array | null;
  private readonly credentials: ClientCredentials;
  private readonly options: ClientHandshakeOptions;
  private firstDestinationId: Uint8Array;
  private step: Step;

  constructor(options: ClientHandshakeOptions) {
    const { firstDestinationId, pin, resumption = null } = options;
    this.options = options;
    this.keys = options.keys;
    this.suites = options.suites;
    this.mlDsa = options.mlDsa;
    this.pin = pin;
    this.credentials = options.credentials ?? NO_CREDENTIALS;
    this.firstDestinationId = firstDestinationId;
    const helloRandom = this.draw(RANDOM_BYTES);
    const kemKey = resumption === null ? this.hybridKey() : this.ticketKemKey();
    this.hello = this.encodeHello(helloRandom, kemKey, resumption);
    const early = resumption === null ? null : this.offerTicket(resumption);
    const transcript = new Transcript(pin !== null, firstDestinationId).add(this.hello);
    this.step = { state: HandshakeState.WAIT_SERVER_HELLO, kemKey, resumption, early, transcript };
    const { parameters } = resumption?.ticket ?? { parameters: null };
    const isPending = this.earlyData === EarlyData.PENDING && parameters !== null;
    this.remembered = isPending ? { ...parameters, ...earlyLimitsOf(parameters) } : null;
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

  get offersTicketOnly(): boolean {
    return this.step.state === HandshakeState.WAIT_SERVER_HELLO && this.step.resumption !== null;
  }

  get expectsLongAnswer(): boolean {
    return this.options.pinsHybrid === true && !this.offersTicketOnly;
  }

  beginAgain(): Uint8Array {
    const { pin } = this;
    wipeStep(this.step);
    if (this.earlyData === EarlyData.PENDING) this.earlyData = EarlyData.REFUSED;
    this.firstDestinationId = this.draw(FIRST_ID_BYTES);
    const kemKey = this.hybridKey();
    this.hello = this.encodeHello(this.draw(RANDOM_BYTES), kemKey, null);
    const transcript = new Transcript(pin !== null, this.firstDestinationId).add(this.hello);
    this.step = {
      state: HandshakeState.WAIT_SERVER_HELLO,
      kemKey,
      resumption: null,
      early: null,
      transcript,
    };
    this.keys.restartInitial(initialSecret(this.firstDestinationId, pin), this.firstDestinationId);
    return this.firstDestinationId;
  }

  takeTicket(): null {
    return null;
  }

  admit(): void {
    assert(false, 'it is servers that let clients in');
  }

  forget(): void {
    if (this.step.state !== HandshakeState.COMPLETE) this.fail(CloseCode.PROTOCOL_VIOLATION);
  }

  private draw(length: number): Uint8Array {
    return randomBytes(this.options.random, length);
  }

  private hybridKey(): KemKey {
    const seed = this.draw(KEM_SEED_BYTES);
    const key = new HybridKemKey(seed, this.options.mlKem);
    seed.fill(0);
    return key;
  }

  private ticketKemKey(): KemKey {
    const seed = this.draw(X25519_BYTES);
    const key = new X25519KemKey(seed);
    seed.fill(0);
    return key;
  }

  private encodeHello(helloRandom: Uint8Array, kemKey: KemKey, resumption: Resumption | null): Uint8Array {
    const { largestDatagram, parameters, random } = this.options;
    const costs = extensionsOf(this.suites);
    const hello = {
      random: helloRandom,
      versions: [VERSION],
      suites: this.suites.map(({ aead }) => aead.suite.id),
      share: resumption === null ? kemKey.share : null,
      ticketShare: resumption === null ? null : kemKey.share,
      largestDatagram,
      parameters: encodeGreasedParameters(parameters, random),
      extensions: resumption === null ? costs : new Map([...costs, ...offerExtensions(resumption)]),
    };
    return encodeClientHello(hello, randomBytes(random, GREASE_BYTES));
  }

  /** Binds the hello to the ticket, and makes the keys of early data. Returns the early secret. [HS-33] [HS-34] */
  private offerTicket({ ticket, hasEarlyData }: Resumption): Uint8Array {
    const { hello, keys, pin, firstDestinationId } = this;
    const context = { isPinned: pin !== null, firstDestinationId };
    const early = earlySecret(ticket.key);
    bindHello(hello, early, context);
    const provider = this.suites.find(({ aead }) => aead.suite.id === ticket.suite)?.aead;
    if (!hasEarlyData || provider === undefined) return early;
    const secret = earlyTrafficOf(hello, early, context);
    keys.onEarlyTraffic(secret);
    keys.installSealing(packetKeys(provider, secret, PacketType.ZERO_RTT));
    secret.fill(0);
    this.earlyData = EarlyData.PENDING;
    return early;
  }

  private receiveHello(
    bytes: Uint8Array,
    { kemKey, resumption, early, transcript }: WaitServerHello,
  ): number {
    const messages = splitMessages(bytes, SERVER_HELLO_ONLY);
    const hello = messages === null ? null : decodeServerHello(messages[0].body);
    const provider = hello === null ? null : this.chosenSuite(hello, resumption);
    if (hello === null || provider === null) return CloseCode.CRYPTO_ERROR;
    const isResumed = hello.extensions.has(ExtensionId.TICKET);
    const shared = kemKey.decapsulate(hello.ciphertext);
    if (shared === null) return CloseCode.CRYPTO_ERROR;
    kemKey.wipe();
    transcript.add(bytes);
    const secret = handshakeSecret(shared, isResumed ? early : null);
    shared.fill(0);
    early?.fill(0);
    const traffic = handshakeTraffic(secret, transcript.hash());
    const master = masterSecret(secret);
    secret.fill(0);
    this.isResumed = isResumed;
    this.suite = provider.suite.id;
    this.install(traffic, provider, PacketType.HANDSHAKE);
    this.step = {
      state: HandshakeState.WAIT_SERVER_FLIGHT,
      provider,
      traffic,
      master,
      transcript,
      ticket: resumption?.ticket ?? null,
    };
    return 0;
  }

  /** The suite of a server that chose of what was offered, else null. [HS-6] A KEM of a ticket goes with that alone. [HS-50] */
  private chosenSuite(
    { version, suite, kem, extensions }: ServerHello,
    resumption: Resumption | null,
  ): AeadProvider | null {
    const isTicketTaken = extensions.has(ExtensionId.TICKET);
    const isOffered =
      resumption === null
        ? kem === KEM_X25519_ML_KEM_768 && !isTicketTaken
        : kem === KEM_X25519 && extensions.get(ExtensionId.TICKET)?.length === 0;
    if (version !== VERSION || !isOffered) return null;
    return this.suites.find(({ aead }) => aead.suite.id === suite)?.aead ?? null;
  }

  /** Form, parameters, pin, signature, FINISHED: the first of them that is not right says how it ends. [HS-40] */
  private receiveFlight(bytes: Uint8Array, step: WaitServerFlight): number {
    const { traffic, transcript } = step;
    const messages = splitMessages(bytes, this.isResumed ? SERVER_FLIGHT_RESUMED : SERVER_FLIGHT);
    if (messages === null) return CloseCode.CRYPTO_ERROR;
    const [parameters] = messages;
    const finished = messages[messages.length - 1];
    const told = decodeParametersMessage(parameters.body);
    if (typeof told === 'number') return told;
    transcript.add(parameters.whole);
    const fingerprint = this.isResumed
      ? (step.ticket?.fingerprint as Uint8Array) // that had to be proved for the ticket's key
      : this.proveServer(messages, transcript);
    if (typeof fingerprint === 'number') return fingerprint;
    const isEarlyTaken = this.takesEarlyData(told.extensions, step);
    if (isEarlyTaken === null) return CloseCode.CRYPTO_ERROR;
    // [HS-13] FINISHED proves that the server saw the same messages.
    if (!equalSecrets(finished.body, finishedValue(traffic.server, transcript.hash())))
      return CloseCode.CRYPTO_ERROR;
    transcript.add(finished.whole);
    this.peerParameters = told.parameters;
    this.peerFingerprint = fingerprint;
    if (this.earlyData === EarlyData.PENDING)
      this.earlyData = isEarlyTaken ? EarlyData.ACCEPTED : EarlyData.REFUSED;
    if (this.isResumed) this.ownFingerprint = step.ticket?.clientIdentity ?? null;
    this.isAdmissionDue = told.extensions.has(ExtensionId.ADMISSION);
    this.complete(step, told.extensions.has(ExtensionId.CLIENT_IDENTITY));
    return 0;
  }

  /** The fingerprint of the server, which proves that it is who has it; else a close code. */
  private proveServer([, identity, signature]: Message[], transcript: Transcript): Uint8Array | CloseCode {
    const fingerprint = fingerprintOf(identity.body);
    // [HS-10] the pin first: with another key there is nothing to prove.
    if (this.pin !== null && !equalSecrets(fingerprint, this.pin)) return CloseCode.IDENTITY_MISMATCH;
    transcript.add(identity.whole);
    if (!verifyIdentity(identity.body, 'server', transcript.hash(), signature.body, this.mlDsa))
      return CloseCode.CRYPTO_ERROR;
    transcript.add(signature.whole);
    return fingerprint;
  }

  /** Whether PARAMETERS say that early data is taken; null where that cannot be. [HS-34] */
  private takesEarlyData(extensions: Extensions, { provider, ticket }: WaitServerFlight): boolean | null {
    const told = extensions.get(ExtensionId.EARLY_DATA);
    if (told === undefined) return false;
    const isPossible = this.isResumed && this.earlyData === EarlyData.PENDING;
    return isPossible && told.length === 0 && provider.suite.id === ticket?.suite ? true : null;
  }

  private complete(step: WaitServerFlight, asksForIdentity: boolean): void {
    const transcriptHash = step.transcript.hash();
    this.flight = this.encodeFlight(step, asksForIdentity);
    const application = applicationTraffic(step.master, transcriptHash);
    this.install(application, step.provider, PacketType.ONE_RTT);
    wipeTraffic(application);
    this.keys.installExporter(exporterSecret(step.master, transcriptHash));
    this.keys.installResumption(resumptionSecret(step.master, step.transcript.hash()));
    wipeStep(step);
    this.step = { state: HandshakeState.COMPLETE };
  }

  private encodeFlight({ traffic, transcript }: WaitServerFlight, asksForIdentity: boolean): Uint8Array {
    const { identity, payload } = this.credentials;
    const messages: Uint8Array[] = [];
    // [HS-27] Who asks is told, and nobody else.
    if (asksForIdentity && identity !== null) {
      messages.push(...proveIdentity(identity, 'client', transcript, this.mlDsa));
      this.ownFingerprint = identity.fingerprint;
    }
    // [HS-43] So is what the client has to say.
    if (this.isAdmissionDue && payload !== null) {
      const said = encodeMessage(MessageType.PAYLOAD, payload);
      transcript.add(said);
      messages.push(said);
    }
    const value = finishedValue(traffic.client, transcript.hash());
    const finished = encodeMessage(MessageType.FINISHED, value);
    transcript.add(finished);
    return Buffer.concat([...messages, finished]);
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

const NO_CREDENTIALS: ClientCredentials = { identity: null, payload: null };

/** What is kept at each state, and no longer. */
type Step =
  | WaitServerHello
  | WaitServerFlight
  | { state: typeof HandshakeState.COMPLETE }
  | { state: typeof HandshakeState.FAILED; code: number };

interface WaitServerHello {
  state: typeof HandshakeState.WAIT_SERVER_HELLO;
  kemKey: KemKey;
  /** The ticket that was offered. */
  readonly resumption: Resumption | null;
  /** Its early secret. */
  early: Uint8Array | null;
  transcript: Transcript;
}

interface WaitServerFlight {
  state: typeof HandshakeState.WAIT_SERVER_FLIGHT;
  /** Of the suite that the server chose. */
  provider: AeadProvider;
  traffic: TrafficSecrets;
  master: Uint8Array;
  transcript: Transcript;
  /** The ticket that was offered. */
  ticket: ClientTicket | null;
}

/** [HS-25] Zeroes the secrets of a state that is over. */
function wipeStep(step: Step): void {
  if (step.state === HandshakeState.WAIT_SERVER_HELLO) {
    step.kemKey.wipe();
    step.early?.fill(0);
  }
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
const SERVER_FLIGHT_RESUMED: readonly MessageType[] = [MessageType.PARAMETERS, MessageType.FINISHED];
