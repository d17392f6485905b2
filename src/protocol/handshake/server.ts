import { assert } from '../../base/errors.ts';
import { type RandomSource, randomBytes } from '../../base/random.ts';
import type { AeadProvider } from '../crypto/aead.ts';
import { type Encapsulation, encapsulate, KEM_RANDOM_BYTES, type MlKem } from '../crypto/hybrid-kem.ts';
import { equalSecrets, type Identity } from '../crypto/identity.ts';
import type { KeyRing } from '../crypto/key-ring.ts';
import {
  applicationTraffic,
  exporterSecret,
  finishedValue,
  handshakeSecret,
  handshakeTraffic,
  masterSecret,
  packetKeys,
  type TrafficSecrets,
  wipeTraffic,
} from '../crypto/key-schedule.ts';
import type { MlDsa } from '../crypto/ml-dsa.ts';
import type { PacketKeys } from '../crypto/packet-protection.ts';
import { CloseCode } from '../wire/close-code.ts';
import { PacketSpace, PacketType, VERSION } from '../wire/packet-header.ts';
import { decodeParameters, type TransportParameters } from '../wire/transport-parameters.ts';
import { type Handshake, type HandshakeSpace, HandshakeState } from './handshake.ts';
import {
  type ClientHello,
  decodeClientHello,
  ExtensionId,
  encodeMessage,
  encodeParametersMessage,
  encodeServerHello,
  KEM_X25519_ML_KEM_768,
  MessageType,
  NO_EXTENSIONS,
  PAYLOAD_BYTES_MAX,
  RANDOM_BYTES,
  splitMessages,
  Transcript,
} from './messages.ts';
import { chooseSuite, decodeSuiteCosts, type OfferedSuite } from './suite-choice.ts';

export interface ServerHandshakeOptions {
  /** The connection's keys, where those that the handshake brings are installed. */
  keys: KeyRing;
  identity: Identity;
  /** Those that the server speaks, at least one; in order of preference between equals. */
  suites: readonly OfferedSuite[];
  mlKem: MlKem;
  mlDsa: MlDsa;
  random: RandomSource;
  /** With the ids that the client checks: `originalDestinationId` and `sourceId`. */
  parameters: TransportParameters;
  /** Destination id of the client's very first packet. */
  clientDestinationId: Uint8Array;
  /** Source id of the Retry with which that was answered; null when there was none. */
  retrySourceId?: Uint8Array | null;
  /** The U bit of the client's Initial: it does not pin our identity. */
  unpinned: boolean;
  /** Those that the server speaks, best first. Default {@link VERSION} alone. */
  versions?: readonly number[];
}

/**
 * The server's side of the handshake. The client's hello, given to {@link receive}, brings {@link hello}, {@link flight} and the keys of both
 * epochs; the client's flight in the Handshake space brings the end.
 */
export class ServerHandshake implements Handshake {
  hello: Uint8Array | null = null;
  flight: Uint8Array | null = null;
  peerParameters: TransportParameters | null = null;
  /** Always null: clients do not prove an identity yet. */
  readonly peerFingerprint: Uint8Array | null = null;
  peerLargestDatagram = 0;
  private readonly keys: KeyRing;
  private readonly identity: Identity;
  private readonly suites: readonly OfferedSuite[];
  private readonly mlKem: MlKem;
  private readonly mlDsa: MlDsa;
  private readonly random: RandomSource;
  private readonly parameters: TransportParameters;
  private readonly versions: readonly number[];
  private step: Step;

  constructor(options: ServerHandshakeOptions) {
    this.keys = options.keys;
    this.identity = options.identity;
    this.suites = options.suites;
    this.mlKem = options.mlKem;
    this.mlDsa = options.mlDsa;
    this.random = options.random;
    this.parameters = options.parameters;
    this.versions = options.versions ?? VERSIONS;
    const { clientDestinationId, retrySourceId = null, unpinned } = options;
    const transcript = new Transcript(!unpinned, clientDestinationId, retrySourceId);
    this.step = { state: HandshakeState.WAIT_CLIENT_HELLO, transcript };
  }

  get state(): HandshakeState {
    return this.step.state;
  }

  receive(space: HandshakeSpace, bytes: Uint8Array): number {
    const { step } = this;
    if (step.state === HandshakeState.FAILED) return step.code;
    let code: number = CloseCode.PROTOCOL_VIOLATION;
    if (space === PacketSpace.INITIAL && step.state === HandshakeState.WAIT_CLIENT_HELLO)
      code = this.receiveHello(bytes, step.transcript);
    else if (space === PacketSpace.HANDSHAKE && step.state === HandshakeState.WAIT_CLIENT_FINISHED)
      code = this.receiveFlight(bytes, step);
    if (code !== 0) this.fail(code);
    return code;
  }

  onRetry(): void {
    assert(false, 'only clients follow a Retry');
  }

  forget(): void {
    if (this.step.state !== HandshakeState.COMPLETE) this.fail(CloseCode.PROTOCOL_VIOLATION);
  }

  private receiveHello(bytes: Uint8Array, transcript: Transcript): number {
    const messages = splitMessages(bytes, CLIENT_HELLO_ONLY);
    const clientHello = messages === null ? null : decodeClientHello(messages[0].body);
    const provider = clientHello === null ? null : this.suiteFor(clientHello);
    if (clientHello === null || provider === null) return CloseCode.CRYPTO_ERROR;
    // [INV-8] Somebody made the client believe that its best version is not spoken here.
    const best = this.versions.find((version) => clientHello.versions.includes(version));
    if (best !== VERSION) return CloseCode.VERSION_NEGOTIATION_ERROR;
    const peerParameters = decodeParameters(clientHello.parameters, 'client');
    if (typeof peerParameters === 'number') return peerParameters;
    const serverRandom = randomBytes(this.random, RANDOM_BYTES);
    const encapsulation = this.encapsulate(clientHello.share as Uint8Array);
    if (encapsulation === null) return CloseCode.CRYPTO_ERROR;
    this.peerParameters = peerParameters;
    this.peerLargestDatagram = clientHello.largestDatagram;
    this.hello = encodeServerHello({
      random: serverRandom,
      version: VERSION,
      suite: provider.suite.id,
      kem: KEM_X25519_ML_KEM_768,
      ciphertext: encapsulation.ciphertext,
      extensions: NO_EXTENSIONS,
    });
    transcript.add(bytes).add(this.hello);
    const secret = handshakeSecret(encapsulation.secret);
    encapsulation.secret.fill(0);
    this.deriveAll(secret, provider, transcript);
    secret.fill(0);
    return 0;
  }

  private receiveFlight(bytes: Uint8Array, step: WaitClientFinished): number {
    const messages = splitMessages(bytes, CLIENT_FLIGHT, CLIENT_MAY_LEAVE_OUT);
    if (messages === null) return CloseCode.CRYPTO_ERROR;
    const [payload, finished] = messages;
    if (payload.body.length > PAYLOAD_BYTES_MAX) return CloseCode.CRYPTO_ERROR; // [HS-43] 8,192 bytes at most
    const { transcript } = step;
    transcript.add(payload.whole);
    // [HS-13] FINISHED proves that the client saw the same messages.
    if (!equalSecrets(finished.body, finishedValue(step.clientSecret, transcript.hash())))
      return CloseCode.CRYPTO_ERROR;
    step.clientSecret.fill(0);
    this.keys.installOpening(step.application);
    this.step = { state: HandshakeState.COMPLETE };
    return 0;
  }

  /** [HS-5] One of each that we know is enough; what we do not know is no fault. Null when something is missing, or says nonsense of costs. */
  private suiteFor({ versions, suites, share, extensions }: ClientHello): AeadProvider | null {
    if (!versions.includes(VERSION) || share === null) return null;
    const told = extensions.get(ExtensionId.SUITE_COSTS);
    const costs = told === undefined ? NO_COSTS : decodeSuiteCosts(told);
    return costs === null ? null : chooseSuite(this.suites, suites, costs);
  }

  private encapsulate(share: Uint8Array): Encapsulation | null {
    const random = randomBytes(this.random, KEM_RANDOM_BYTES);
    const encapsulation = encapsulate(share, random, this.mlKem);
    random.fill(0);
    return encapsulation;
  }

  /** Keys and flight follow now: but for what the client's FINISHED is made of no secret has to wait for it. */
  private deriveAll(secret: Uint8Array, provider: AeadProvider, transcript: Transcript): void {
    const { keys } = this;
    const traffic = handshakeTraffic(secret, transcript.hash());
    keys.onTraffic(PacketType.HANDSHAKE, traffic, provider);
    keys.installSealing(packetKeys(provider, traffic.server, PacketType.HANDSHAKE));
    keys.installOpening(packetKeys(provider, traffic.client, PacketType.HANDSHAKE));
    this.flight = this.encodeFlight(traffic, transcript);
    const transcriptHash = transcript.hash();
    traffic.server.fill(0);
    const master = masterSecret(secret);
    const application = applicationTraffic(master, transcriptHash);
    keys.installExporter(exporterSecret(master, transcriptHash));
    master.fill(0);
    keys.onTraffic(PacketType.ONE_RTT, application, provider);
    // [HS-15] Data may be sent at once, but none is opened before the client's FINISHED is there.
    keys.installSealing(packetKeys(provider, application.server, PacketType.ONE_RTT));
    const opening = packetKeys(provider, application.client, PacketType.ONE_RTT);
    wipeTraffic(application);
    this.step = {
      state: HandshakeState.WAIT_CLIENT_FINISHED,
      clientSecret: traffic.client,
      transcript,
      application: opening,
    };
  }

  private encodeFlight(traffic: TrafficSecrets, transcript: Transcript): Uint8Array {
    const { identity } = this;
    const parameters = encodeParametersMessage(
      { parameters: this.parameters, extensions: NO_EXTENSIONS },
      this.random,
    );
    const identityMessage = encodeMessage(MessageType.IDENTITY, identity.publicKey);
    transcript.add(parameters).add(identityMessage);
    const signed = identity.sign('server', transcript.hash(), this.mlDsa);
    const signature = encodeMessage(MessageType.SIGNATURE, signed);
    transcript.add(signature);
    const value = finishedValue(traffic.server, transcript.hash());
    const finished = encodeMessage(MessageType.FINISHED, value);
    transcript.add(finished);
    return Buffer.concat([parameters, identityMessage, signature, finished]);
  }

  /** [HS-25] Zeroes what is not needed any more. */
  private fail(code: number): void {
    const { step } = this;
    if (step.state === HandshakeState.WAIT_CLIENT_FINISHED) {
      step.clientSecret.fill(0);
      step.application.wipe();
    }
    this.step = { state: HandshakeState.FAILED, code };
  }
}

/** What is kept at each state, and no longer. */
type Step =
  | { state: typeof HandshakeState.WAIT_CLIENT_HELLO; transcript: Transcript }
  | WaitClientFinished
  | { state: typeof HandshakeState.COMPLETE }
  | { state: typeof HandshakeState.FAILED; code: number };

interface WaitClientFinished {
  state: typeof HandshakeState.WAIT_CLIENT_FINISHED;
  /** What the client's FINISHED is made of: its Handshake traffic secret, and all messages up to that one. */
  clientSecret: Uint8Array;
  transcript: Transcript;
  /** Opens the client's 1-RTT packets. */
  application: PacketKeys;
}

/** Those that a server speaks, best first. */
const VERSIONS: readonly number[] = [VERSION];
const CLIENT_HELLO_ONLY: readonly MessageType[] = [MessageType.CLIENT_HELLO];
const CLIENT_FLIGHT: readonly MessageType[] = [MessageType.PAYLOAD, MessageType.FINISHED];
const CLIENT_MAY_LEAVE_OUT: readonly MessageType[] = [MessageType.PAYLOAD];
const NO_COSTS: ReadonlyMap<number, number> = new Map();
