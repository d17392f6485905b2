import { NO_BYTES } from '../../base/bytes.ts';
import { assert } from '../../base/errors.ts';
import { type RandomSource, randomBytes } from '../../base/random.ts';
import type { Micros } from '../../base/time.ts';
import type { AeadProvider } from '../crypto/aead.ts';
import {
  type Encapsulation,
  encapsulate,
  KEM_RANDOM_BYTES,
  type MlKem,
  X25519_BYTES,
} from '../crypto/hybrid-kem.ts';
import { equalSecrets, fingerprintOf, type Identity, verifyIdentity } from '../crypto/identity.ts';
import type { KeyRing } from '../crypto/key-ring.ts';
import {
  applicationTraffic,
  exporterSecret,
  finishedValue,
  handshakeSecret,
  handshakeTraffic,
  masterSecret,
  packetKeys,
  resumptionSecret,
  type TrafficSecrets,
  ticketKey,
  wipeTraffic,
} from '../crypto/key-schedule.ts';
import type { MlDsa } from '../crypto/ml-dsa.ts';
import type { PacketKeys } from '../crypto/packet-keys.ts';
import { encapsulateX25519 } from '../crypto/x25519-kem.ts';
import { CloseCode } from '../wire/close-code.ts';
import { PacketSpace, PacketType, VERSION } from '../wire/packet-header.ts';
import { decodeParameters, type TransportParameters } from '../wire/transport-parameters.ts';
import { EarlyData, type Handshake, type HandshakeSpace, HandshakeState } from './handshake.ts';
import {
  ABSENT,
  type ClientHello,
  decodeClientHello,
  ExtensionId,
  type Extensions,
  encodeMessage,
  encodeParametersMessage,
  encodeServerHello,
  KEM_X25519,
  KEM_X25519_ML_KEM_768,
  type Message,
  MessageType,
  NO_EXTENSIONS,
  PAYLOAD_BYTES_MAX,
  proveIdentity,
  RANDOM_BYTES,
  splitMessages,
  Transcript,
} from './messages.ts';
import { chooseSuite, decodeSuiteCosts, type OfferedSuite } from './suite-choice.ts';
import { earlyTrafficOf, type HelloContext, provenEarlySecret, readOffer } from './ticket-offer.ts';
import { earlyLimitsOf, type GivenTicket, type Tickets } from './tickets.ts';

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
  /** Those that the server gives and takes. Default null: none. */
  tickets?: Tickets | null;
  /** Those that the server speaks, best first. Default {@link VERSION} alone. */
  versions?: readonly number[];
  /** What clients are asked. Default: nothing. */
  access?: AccessConfig | undefined;
}

/** What a server asks of clients before it lets them in. */
export interface AccessConfig {
  /** To prove an identity, if they have one. [HS-27] */
  readonly asksForIdentity: boolean;
  /** The application decides about each of them. [HS-44] */
  readonly isDecided: boolean;
}

/**
 * The server's side of the handshake. The client's hello, given to {@link receive}, brings {@link hello}, {@link flight} and the keys of both
 * epochs; the client's flight in the Handshake space brings the end.
 */
export class ServerHandshake implements Handshake {
  hello: Uint8Array | null = null;
  flight: Uint8Array | null = null;
  peerParameters: TransportParameters | null = null;
  /** Of the identity that the client proved, now or with its ticket; null where it showed none. */
  peerFingerprint: Uint8Array | null = null;
  peerPayload: Uint8Array | null = null;
  readonly isAdmissionDue = false;
  readonly ownFingerprint = null;
  readonly expectsLongAnswer = false;
  peerLargestDatagram = 0;
  isResumed = false;
  earlyData: EarlyData = EarlyData.NONE;
  readonly remembered = null;
  readonly offersTicketOnly = false;
  readonly suite = 0;
  private ticket: GivenTicket | null = null;
  /** What the client's ticket proves. */
  private ticketIdentity: Uint8Array | null = null;
  private readonly keys: KeyRing;
  private readonly identity: Identity;
  private readonly suites: readonly OfferedSuite[];
  private readonly mlKem: MlKem;
  private readonly mlDsa: MlDsa;
  private readonly random: RandomSource;
  private readonly parameters: TransportParameters;
  private readonly versions: readonly number[];
  private readonly tickets: Tickets | null;
  private readonly context: HelloContext;
  private readonly access: AccessConfig | null;
  private step: Step;

  constructor(options: ServerHandshakeOptions) {
    this.keys = options.keys;
    this.identity = options.identity;
    this.suites = options.suites;
    this.mlKem = options.mlKem;
    this.mlDsa = options.mlDsa;
    this.random = options.random;
    this.parameters = options.parameters;
    this.access = options.access ?? null;
    this.versions = options.versions ?? VERSIONS;
    this.tickets = options.tickets ?? null;
    const { clientDestinationId, retrySourceId = null, unpinned } = options;
    this.context = { isPinned: !unpinned, firstDestinationId: clientDestinationId };
    const transcript = new Transcript(!unpinned, clientDestinationId, retrySourceId);
    this.step = { state: HandshakeState.WAIT_CLIENT_HELLO, transcript };
  }

  get state(): HandshakeState {
    return this.step.state;
  }

  receive(space: HandshakeSpace, bytes: Uint8Array, now: Micros = 0): number {
    const { step } = this;
    if (step.state === HandshakeState.FAILED) return step.code;
    let code: number = CloseCode.PROTOCOL_VIOLATION;
    if (space === PacketSpace.INITIAL && step.state === HandshakeState.WAIT_CLIENT_HELLO)
      code = this.receiveHello(bytes, step.transcript, now);
    else if (space === PacketSpace.HANDSHAKE && step.state === HandshakeState.WAIT_CLIENT_FINISHED)
      code = this.receiveFlight(bytes, step, now);
    if (code !== 0) this.fail(code);
    return code;
  }

  onRetry(): void {
    assert(false, 'only clients follow a Retry');
  }

  beginAgain(): Uint8Array {
    assert(false, 'only clients begin again');
    return NO_BYTES;
  }

  takeTicket(): GivenTicket | null {
    const { ticket } = this;
    this.ticket = null;
    return ticket;
  }

  forget(): void {
    if (this.step.state !== HandshakeState.COMPLETE) this.fail(CloseCode.PROTOCOL_VIOLATION);
  }

  private receiveHello(bytes: Uint8Array, transcript: Transcript, now: Micros): number {
    const messages = splitMessages(bytes, CLIENT_HELLO_ONLY);
    const clientHello = messages === null ? null : decodeClientHello(messages[0].body);
    if (clientHello === null) return CloseCode.CRYPTO_ERROR;
    const usual = this.suiteFor(clientHello);
    if (typeof usual === 'number') return usual;
    // [INV-8] Somebody made the client believe that its best version is not spoken here.
    const best = this.versions.find((version) => clientHello.versions.includes(version));
    if (best !== VERSION) return CloseCode.VERSION_NEGOTIATION_ERROR;
    const peerParameters = decodeParameters(clientHello.parameters, 'client');
    if (typeof peerParameters === 'number') return peerParameters;
    const resumed = this.resume(bytes, clientHello, now);
    if (typeof resumed === 'number') return resumed;
    this.count(resumed, clientHello.extensions.has(ExtensionId.TICKET));
    // [HS-50] A hello with no other share than that of a ticket is worth nothing without the ticket.
    if (resumed === null && clientHello.share === null) return CloseCode.TICKET_REFUSED;
    const provider = resumed?.early?.provider ?? usual;
    const serverRandom = randomBytes(this.random, RANDOM_BYTES);
    const isByTicket = resumed !== null && clientHello.ticketShare !== null;
    const encapsulation = isByTicket
      ? this.encapsulateTicketShare(clientHello.ticketShare as Uint8Array)
      : this.encapsulate(clientHello.share as Uint8Array);
    if (encapsulation === null) {
      resumed?.secret.fill(0);
      return CloseCode.CRYPTO_ERROR;
    }
    this.peerParameters = peerParameters;
    this.peerLargestDatagram = clientHello.largestDatagram;
    this.hello = encodeServerHello({
      random: serverRandom,
      version: VERSION,
      suite: provider.suite.id,
      kem: isByTicket ? KEM_X25519 : KEM_X25519_ML_KEM_768,
      ciphertext: encapsulation.ciphertext,
      extensions: resumed === null ? NO_EXTENSIONS : TICKET_TAKEN,
    });
    transcript.add(bytes).add(this.hello);
    const secret = handshakeSecret(encapsulation.secret, resumed?.secret ?? null);
    encapsulation.secret.fill(0);
    this.isResumed = resumed !== null;
    if (resumed !== null) this.takeEarlyData(bytes, resumed);
    this.deriveAll(secret, provider, transcript, resumed?.provedAtMs ?? null);
    secret.fill(0);
    return 0;
  }

  /** What the client's ticket brings; null when it shows none that is taken, or a close code. [HS-33] */
  private resume(bytes: Uint8Array, hello: ClientHello, now: Micros): Resumed | null | CloseCode {
    const { tickets } = this;
    const offer = readOffer(hello.extensions);
    if (offer === undefined || (offer === null && hello.share === null)) return CloseCode.CRYPTO_ERROR;
    if (offer?.hasEarlyData) this.earlyData = EarlyData.REFUSED; // as long as it is not taken
    const ticket = offer === null ? null : (tickets?.open(offer.ticket, now) ?? null);
    if (tickets === null || offer === null || ticket === null) return null;
    const secret = provenEarlySecret(bytes, ticket.key, this.context);
    if (secret === null) {
      ticket.key.fill(0);
      return CloseCode.CRYPTO_ERROR;
    }
    const use = tickets.take(ticket, offer.age, now);
    ticket.key.fill(0);
    // [HS-53] A client that hears that its ticket is refused sends its early data again.
    if (use === 'refused') {
      secret.fill(0);
      if (!tickets.hasTakenEarly(ticket, offer.binder)) return null;
      this.count(null, true);
      return CloseCode.HANDSHAKE_TIMEOUT;
    }
    this.ticketIdentity = ticket.clientIdentity;
    this.peerFingerprint = ticket.clientIdentity;
    const { limits, provedAtMs, suite } = ticket;
    const isAllowed = !this.isDecided && tickets.allows(limits, this.parameters); // [HS-47] not before it is let in
    const isTaken = offer.hasEarlyData && use === 'early' && isAllowed;
    // [HS-34] It is in the ticket's suite, which the connection then has as well.
    const isListed = hello.suites.includes(suite);
    const provider = isListed ? this.suites.find(({ aead }) => aead.suite.id === suite)?.aead : undefined;
    if (!isTaken || provider === undefined) return { secret, provedAtMs, early: null };
    tickets.tookEarly(ticket, offer.binder);
    return { secret, provedAtMs, early: { provider } };
  }

  private count(resumed: Resumed | null, isOffered: boolean): void {
    const counters = this.tickets?.counters;
    if (counters === undefined || !isOffered) return;
    if (resumed === null) counters.ticketsRefused++;
    else counters.ticketsAccepted++;
    if (resumed?.early) counters.earlyDataAccepted++;
    else if (this.earlyData === EarlyData.REFUSED) counters.earlyDataRefused++;
  }

  /** Installs the keys of early data, where that is taken. */
  private takeEarlyData(hello: Uint8Array, { secret, early }: Resumed): void {
    if (early !== null) {
      const traffic = earlyTrafficOf(hello, secret, this.context);
      this.keys.onEarlyTraffic(traffic);
      this.keys.installOpening(packetKeys(early.provider, traffic, PacketType.ZERO_RTT));
      traffic.fill(0);
      this.earlyData = EarlyData.ACCEPTED;
    }
    secret.fill(0);
  }

  private receiveFlight(bytes: Uint8Array, step: WaitClientFinished, now: Micros): number {
    const messages = splitMessages(bytes, CLIENT_FLIGHT, CLIENT_MAY_LEAVE_OUT);
    if (messages === null) return CloseCode.CRYPTO_ERROR;
    const [identity, signature, payload, finished] = messages;
    const isShown = identity !== ABSENT;
    // [HS-42] Who is not asked shows no identity, and who shows one signs.
    if (isShown !== (signature !== ABSENT) || (isShown && !this.asksForIdentity))
      return CloseCode.CRYPTO_ERROR;
    if (payload.body.length > PAYLOAD_BYTES_MAX) return CloseCode.CRYPTO_ERROR; // [HS-43] 8,192 bytes at most
    const { transcript } = step;
    const signed = isShown ? transcript.add(identity.whole).hash() : NO_BYTES;
    transcript.add(signature.whole).add(payload.whole);
    // [HS-13] FINISHED proves that the client saw the same messages; it costs less than a signature, so it is looked at first.
    if (!equalSecrets(finished.body, finishedValue(step.clientSecret, transcript.hash())))
      return CloseCode.CRYPTO_ERROR;
    if (isShown && !verifyIdentity(identity.body, 'client', signed, signature.body, this.mlDsa))
      return CloseCode.CRYPTO_ERROR;
    step.clientSecret.fill(0);
    if (isShown) this.peerFingerprint = fingerprintOf(identity.body);
    if (this.tickets !== null) this.giveTicket(this.tickets, step, finished, now);
    step.master.fill(0);
    if (payload !== ABSENT) this.peerPayload = payload.body;
    const { application } = step;
    if (this.isDecided) this.step = { state: HandshakeState.WAIT_ADMISSION, application };
    else this.complete(application);
    return 0;
  }

  admit(): void {
    if (this.step.state === HandshakeState.WAIT_ADMISSION) this.complete(this.step.application);
  }

  private complete(application: PacketKeys): void {
    this.keys.installOpening(application);
    this.step = { state: HandshakeState.COMPLETE };
  }

  /** [HS-5] One of each that we know is enough; what we do not know is no fault. A close code when none is known, or the costs are nonsense. */
  private suiteFor(hello: ClientHello): AeadProvider | CloseCode {
    const { versions, suites, share, ticketShare, extensions } = hello;
    if (!versions.includes(VERSION) || (share === null && ticketShare === null))
      return CloseCode.NOTHING_IN_COMMON;
    const told = extensions.get(ExtensionId.SUITE_COSTS);
    const costs = told === undefined ? NO_COSTS : decodeSuiteCosts(told);
    if (costs === null) return CloseCode.CRYPTO_ERROR;
    return chooseSuite(this.suites, suites, costs) ?? CloseCode.NOTHING_IN_COMMON;
  }

  private encapsulate(share: Uint8Array): Encapsulation | null {
    const random = randomBytes(this.random, KEM_RANDOM_BYTES);
    const encapsulation = encapsulate(share, random, this.mlKem);
    random.fill(0);
    return encapsulation;
  }

  private encapsulateTicketShare(share: Uint8Array): Encapsulation | null {
    const random = randomBytes(this.random, X25519_BYTES);
    const encapsulation = encapsulateX25519(share, random);
    random.fill(0);
    return encapsulation;
  }

  /** The client has proved that it is there: it may come back with a ticket. [HS-55] */
  private giveTicket(
    tickets: Tickets,
    { master, provedAtMs, suite, transcript }: WaitClientFinished,
    finished: Message,
    now: Micros,
  ): void {
    const resumption = resumptionSecret(master, transcript.add(finished.whole).hash());
    const nonce = tickets.nonce();
    const key = ticketKey(resumption, nonce);
    const clientIdentity = this.peerFingerprint;
    const content = {
      suite,
      key,
      provedAtMs: provedAtMs ?? tickets.unixMs(now),
      clientIdentity,
      limits: earlyLimitsOf(this.parameters),
    };
    this.ticket = tickets.give(nonce, content, now);
    resumption.fill(0);
    key.fill(0);
  }

  /** Keys and flight follow now: but for what the client's FINISHED is made of no secret has to wait for it. */
  private deriveAll(
    secret: Uint8Array,
    provider: AeadProvider,
    transcript: Transcript,
    provedAtMs: number | null,
  ): void {
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
      suite: provider.suite.id,
      master,
      provedAtMs,
    };
  }

  private encodeFlight(traffic: TrafficSecrets, transcript: Transcript): Uint8Array {
    const extensions = this.questions();
    const parameters = encodeParametersMessage({ parameters: this.parameters, extensions }, this.random);
    transcript.add(parameters);
    const proof = this.isResumed ? [] : proveIdentity(this.identity, 'server', transcript, this.mlDsa);
    const value = finishedValue(traffic.server, transcript.hash());
    const finished = encodeMessage(MessageType.FINISHED, value);
    transcript.add(finished);
    return Buffer.concat([parameters, ...proof, finished]);
  }

  /** What the client is asked, in PARAMETERS. */
  private questions(): Extensions {
    const isEarlyTaken = this.earlyData === EarlyData.ACCEPTED;
    if (this.access === null) return isEarlyTaken ? EARLY_DATA_TAKEN : NO_EXTENSIONS;
    const extensions = new Map<number, Uint8Array>(isEarlyTaken ? EARLY_DATA_TAKEN : []);
    if (this.asksForIdentity) extensions.set(ExtensionId.CLIENT_IDENTITY, NO_BYTES);
    if (this.isDecided) extensions.set(ExtensionId.ADMISSION, NO_BYTES);
    return extensions;
  }

  /** Whether the client is to show its identity: one that its ticket proves is known. [HS-27] */
  private get asksForIdentity(): boolean {
    return this.access?.asksForIdentity === true && !(this.isResumed && this.ticketIdentity !== null);
  }

  private get isDecided(): boolean {
    return this.access?.isDecided === true;
  }

  /** [HS-25] Zeroes what is not needed any more. */
  private fail(code: number): void {
    const { step } = this;
    if (step.state === HandshakeState.WAIT_CLIENT_FINISHED) {
      step.clientSecret.fill(0);
      step.master.fill(0);
    }
    if (step.state === HandshakeState.WAIT_CLIENT_FINISHED || step.state === HandshakeState.WAIT_ADMISSION)
      step.application.wipe();
    this.step = { state: HandshakeState.FAILED, code };
  }
}

/** What is kept at each state, and no longer. */
type Step =
  | { state: typeof HandshakeState.WAIT_CLIENT_HELLO; transcript: Transcript }
  | WaitClientFinished
  | { state: typeof HandshakeState.WAIT_ADMISSION; application: PacketKeys }
  | { state: typeof HandshakeState.COMPLETE }
  | { state: typeof HandshakeState.FAILED; code: number };

interface WaitClientFinished {
  state: typeof HandshakeState.WAIT_CLIENT_FINISHED;
  /** What the client's FINISHED is made of: its Handshake traffic secret, and all messages up to that one. */
  clientSecret: Uint8Array;
  transcript: Transcript;
  /** Opens the client's 1-RTT packets. */
  application: PacketKeys;
  suite: number;
  /** What a ticket's key comes from. */
  master: Uint8Array;
  /** When identities were proved, in ms since 1970, if that was in another handshake. */
  provedAtMs: number | null;
}

/** What a ticket that is taken brings. */
interface Resumed {
  /** The early secret. */
  readonly secret: Uint8Array;
  readonly provedAtMs: number;
  /** Its suite, when early data is taken. */
  readonly early: { readonly provider: AeadProvider } | null;
}

/** Those that a server speaks, best first. */
const VERSIONS: readonly number[] = [VERSION];
const CLIENT_HELLO_ONLY: readonly MessageType[] = [MessageType.CLIENT_HELLO];
const CLIENT_FLIGHT: readonly MessageType[] = [
  MessageType.IDENTITY,
  MessageType.SIGNATURE,
  MessageType.PAYLOAD,
  MessageType.FINISHED,
];
const CLIENT_MAY_LEAVE_OUT: readonly MessageType[] = [
  MessageType.IDENTITY,
  MessageType.SIGNATURE,
  MessageType.PAYLOAD,
];
const TICKET_TAKEN: Extensions = new Map([[ExtensionId.TICKET, NO_BYTES]]);
const EARLY_DATA_TAKEN: Extensions = new Map([[ExtensionId.EARLY_DATA, NO_BYTES]]);
const NO_COSTS: ReadonlyMap<number, number> = new Map();
