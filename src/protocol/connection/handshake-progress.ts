/**
 * How a connection comes into being. Handshake messages come out of CRYPTO frames whole; the handshake answers with messages to send, then
 * with keys, then with its end; each is put in its place here.
 */

import { equalBytes, NO_BYTES } from '../../base/bytes.ts';
import { MILLISECOND, type Micros, NEVER, SECOND } from '../../base/time.ts';
import { CHACHA20_POLY1305, type CipherSuiteName } from '../crypto/cipher-suite.ts';
import type { KeyRing } from '../crypto/key-ring.ts';
import type { ClientTicket } from '../handshake/client-ticket.ts';
import { EarlyData, type Handshake, type HandshakeSpace, HandshakeState } from '../handshake/handshake.ts';
import { EARLY_LIMITS, type GivenTicket } from '../handshake/tickets.ts';
import type { Path } from '../path/path.ts';
import type { Recovery } from '../recovery/recovery.ts';
import type { QlogTrace } from '../trace/qlog-trace.ts';
import { CloseCode } from '../wire/close-code.ts';
import type { FrameReader } from '../wire/frame-reader.ts';
import { PacketSpace, PacketType } from '../wire/packet-header.ts';
import type { TransportParameters } from '../wire/transport-parameters.ts';
import { AdmissionState, admittedAnswer, IncomingAnswer } from './admission.ts';
import type { ConnectionConfig } from './config.ts';
import type { ConnectionIds } from './connection-ids.ts';
import type { ControlFrames } from './control-frames.ts';
import { extraInitials } from './hello-padding.ts';
import type { KeyUpdates } from './key-updates.ts';
import { ConnectionState, type Lifecycle } from './lifecycle.ts';
import type { Liveness } from './liveness.ts';
import type { PacketNumberSpaces } from './packet-number-space.ts';
import type { Paths } from './paths.ts';

/** The parts of a connection that the handshake brings to life. */
export interface HandshakeParts {
  readonly role: 'client' | 'server';
  readonly config: ConnectionConfig;
  readonly control: ControlFrames;
  readonly ids: ConnectionIds;
  readonly isLoopback: boolean;
  readonly keys: KeyRing;
  readonly keyUpdates: KeyUpdates;
  readonly lifecycle: Lifecycle;
  readonly liveness: Liveness;
  readonly path: Path;
  readonly paths: Paths;
  readonly recovery: Recovery;
  readonly spaces: PacketNumberSpaces;
  readonly streams: HandshakeStreams;
  /** Null when nobody looks on. */
  readonly trace: QlogTrace | null;
}

/** What the streams of a connection are told of its handshake. */
export interface HandshakeStreams {
  onPeerParameters(parameters: TransportParameters): void;
  beginEarly(remembered: TransportParameters): void;
  recall(): void;
}

/** What the handshake asks and tells its connection. */
export interface HandshakeHost {
  /** The peer broke the protocol. */
  fail(code: number, frameType: number, reason: string, now: Micros): void;
  discardSpace(space: HandshakeSpace, now: Micros): void;
  /** There may be something to send. */
  touch(): void;
  /** A client's hello is there to be answered. */
  onHello(): void;
  /** At a server: early data is taken, and flows; or the client is who it says it is, and the application is to decide about it. [HS-44] */
  tell(news: { readonly type: 'early' | 'admission' }): void;
  /** What was sent as early data was thrown away with the packet that it followed, and goes again. */
  onEarlyLost(now: Micros): void;
  /** The handshake is complete. */
  onComplete(now: Micros): void;
  /** The peer does not take, or the path does not carry, packets of the size that is to be used. [REC-52] */
  failExactMtu(now: Micros): void;
  /** The packet size in use changed. */
  onMtu(now: Micros): void;
}

/** What is worth knowing of a handshake when it is over. */
type HandshakeResults = Pick<
  Handshake,
  | 'earlyData'
  | 'isResumed'
  | 'ownFingerprint'
  | 'peerFingerprint'
  | 'peerParameters'
  | 'peerPayload'
  | 'suite'
>;

export class HandshakeProgress {
  /** A client's hello waits for its answer, which takes a while to compute; what is sent before it would be in vain. [CON-35] */
  isAnswerDue = false;
  /** When the handshake is given up. [CON-5] */
  deadline: Micros;
  admission: AdmissionState = AdmissionState.NONE;

  /** Until when a server that seems not to speak our version may show that it does. */
  private versionWaitEnd: Micros = NEVER;
  private readonly parts: HandshakeParts;
  private readonly host: HandshakeHost;
  /** Null once it is over, for it holds much memory. */
  private handshake: Handshake | null;
  /** What it came to: the handshake itself, and when that is gone what is kept of it. */
  private results: HandshakeResults;
  /** The server does not take the ticket that the hello is worth nothing without. [HS-58] */
  private isTicketRefused = false;
  /** At a client of a server whose application decides about it. */
  private answer: IncomingAnswer | null = null;

  constructor(parts: HandshakeParts, host: HandshakeHost, handshake: Handshake, deadline: Micros) {
    this.parts = parts;
    this.host = host;
    this.handshake = handshake;
    this.results = handshake;
    this.deadline = deadline;
    this.startFlights();
    this.padHello();
    if (handshake.remembered !== null) this.beginEarly(handshake.remembered);
  }

  /** The server took the client's ticket. */
  get isResumed(): boolean {
    return this.results.isResumed;
  }

  get earlyData(): EarlyData {
    return this.results.earlyData;
  }

  /** At a server: whether 0-RTT packets may be of use, now or once the hello is answered. [HS-59] */
  get takesEarlyData(): boolean {
    const { lifecycle, role } = this.parts;
    if (role === 'client' || this.handshake === null || lifecycle.isEstablished) return false;
    return this.handshake.state === HandshakeState.WAIT_CLIENT_HELLO || this.earlyData === EarlyData.ACCEPTED;
  }

  /** What the peer's application said before the connection was there: the client's payload, or the server's answer to it. */
  get peerPayload(): Uint8Array | null {
    return this.answer?.payload ?? this.results.peerPayload;
  }

  /** Fingerprint of the peer's identity, once it is proved; null where a client showed none. */
  get peerFingerprint(): Uint8Array | null {
    return this.results.peerFingerprint;
  }

  /** A value that only the two ends of this connection can derive, once it is established and until it is over. [HS-29] */
  exported(name: string, context: Uint8Array, length: number): Uint8Array | null {
    const { keys, lifecycle } = this.parts;
    return lifecycle.isEstablished ? keys.exported(name, context, length) : null;
  }

  /** Of the packets after the Initial ones, once the handshake has chosen it. [HS-60] */
  get cipherSuite(): CipherSuiteName {
    return (this.parts.keys.suite ?? CHACHA20_POLY1305).name;
  }

  /** At a server that knows where its client is: how large the largest datagram was that the client knows to leave it whole. [HS-7] */
  get peerLargestDatagram(): number | null {
    return this.parts.role === 'server' ? (this.handshake?.peerLargestDatagram ?? null) : null;
  }

  /** A CRYPTO frame came from the client: once its hello is whole, it asks for the answer. */
  onHelloBytes(): void {
    if (this.isAnswerDue || this.parts.spaces[PacketSpace.INITIAL]?.incoming?.isComplete !== true) return;
    this.isAnswerDue = true;
    this.host.onHello();
  }

  /** The client's first flight goes out again, before a timeout asks for it. */
  resendHello(): void {
    this.parts.spaces[PacketSpace.INITIAL]?.outgoing?.resend();
    this.host.touch();
  }

  /** A version packet said that the server does not speak our version, and nothing that came since says otherwise. */
  get isVersionRefused(): boolean {
    return this.versionWaitEnd !== NEVER && this.parts.ids.isPeer(NO_BYTES) === null;
  }

  /** When it is given up, for one reason or another. */
  get end(): Micros {
    return this.isVersionRefused ? Math.min(this.deadline, this.versionWaitEnd) : this.deadline;
  }

  /** A client that waits for its server's hello, and followed no Retry yet. [HS-30] */
  get takesRetry(): boolean {
    const { ids, lifecycle } = this.parts;
    const isWaiting = this.handshake?.state === HandshakeState.WAIT_SERVER_HELLO && lifecycle.isOpen;
    return isWaiting && ids.isPeer(NO_BYTES) === null && ids.retrySourceId === null;
  }

  /** The server, which keeps nothing yet, asks for the hello once more: with this token, to this id. [HS-30] */
  followRetry(sourceId: Uint8Array, token: Uint8Array, now: Micros): void {
    const { handshake } = this;
    const { ids, recovery, spaces, trace } = this.parts;
    if (handshake === null) return;
    ids.followRetry(sourceId, token);
    handshake.onRetry(sourceId);
    recovery.withdraw(PacketSpace.INITIAL, spaces[PacketSpace.INITIAL]?.nextNumber ?? 0, now);
    trace?.keys('updated', 'initial', now);
    trace?.metrics(this.parts.path, 0, now);
    this.host.onEarlyLost(now); // under the same keys, with other numbers [HS-33]
    if (handshake.hello !== null) spaces[PacketSpace.INITIAL]?.outgoing?.start(handshake.hello);
    this.host.touch();
  }

  /**
   * A version packet says that the server does not speak ours. Anybody who sees our packets can make one, so a server that does may still
   * answer, for a while. [INV-7]
   */
  onVersionsRefused(now: Micros): void {
    if (!this.takesRetry) return;
    this.versionWaitEnd = Math.min(this.versionWaitEnd, now + VERSION_REFUSED_WAIT);
    this.host.touch();
  }

  /** CONNECTION_CLOSE says that the ticket is not taken. False where that is no reason to begin again. [HS-58] */
  onTicketRefused(): boolean {
    this.isTicketRefused = this.handshake?.offersTicketOnly ?? false;
    return this.isTicketRefused;
  }

  /** Hands handshake messages that are complete over, and installs what comes of them. True when something new is there. */
  advance(now: Micros): boolean {
    let isNews = false;
    if (this.isTicketRefused) this.beginAgain(now);
    for (const space of HANDSHAKE_SPACES) {
      const message = this.parts.spaces[space]?.incoming?.take() ?? null;
      if (message === null) continue;
      const { handshake } = this;
      if (handshake === null) return false;
      const code = handshake.receive(space, message, now) || this.takeOver(handshake, now);
      if (code !== 0) {
        this.host.fail(code, 0, '', now);
        return false;
      }
      isNews = true;
    }
    return isNews;
  }

  /** At a server: its application lets the client in, with an answer or without. Returns 0 or a close code. [HS-44] */
  admit(answer: Uint8Array | null, now: Micros): number {
    const { handshake } = this;
    if (handshake === null || this.admission !== AdmissionState.UNDECIDED) return 0;
    this.admission = AdmissionState.ADMITTED;
    this.parts.control.admitted = admittedAnswer(answer);
    handshake.admit();
    return this.takeOver(handshake, now);
  }

  /** A part of ADMITTED came. Returns 0 or a close code. */
  onAdmitted(frame: FrameReader, now: Micros): number {
    if (this.answer === null) return CloseCode.PROTOCOL_VIOLATION; // [HS-44] of a server that did not say that it decides
    const code = this.answer.onFrame(frame);
    if (code !== 0 || !this.answer.isWhole || this.admission === AdmissionState.ADMITTED) return code;
    this.admission = AdmissionState.ADMITTED;
    this.host.onComplete(now);
    return 0;
  }

  /** The handshake is over for both sides: its keys go. [CON-14] */
  confirm(now: Micros): void {
    const { host, parts } = this;
    if (parts.lifecycle.state === ConnectionState.CONFIRMED) return;
    parts.lifecycle.advance(ConnectionState.CONFIRMED);
    parts.trace?.state('handshake_confirmed', now);
    const parameters = this.handshake?.peerParameters ?? null;
    parts.recovery.onHandshakeConfirmed(parameters?.maxAckDelayUs ?? 0, parameters?.minAckDelayUs ?? null);
    if (parameters !== null) {
      parts.ids.local.onPeerLimit(parameters.activeIdLimit); // [CON-80]
      parts.paths.isPinnedDown = parameters.noMigration;
    }
    this.endHandshake();
    parts.keys.discard(PacketType.ZERO_RTT);
    host.discardSpace(PacketSpace.INITIAL, now);
    host.discardSpace(PacketSpace.HANDSHAKE, now);
  }

  /** The connection is forgotten: its keys go, and what is left of the handshake. */
  forget(): void {
    const { handshake } = this;
    const { keys, spaces } = this.parts;
    this.endHandshake();
    spaces.fill(null);
    handshake?.forget();
    keys.discardAll();
  }

  /** Starts to send the messages that the handshake has made by now. */
  private startFlights(): void {
    if (this.handshake === null) return;
    const { hello, flight } = this.handshake;
    const [initial, handshake] = this.parts.spaces;
    if (hello !== null && initial?.outgoing?.isEmpty === true) initial.outgoing.start(hello);
    if (flight !== null && handshake?.outgoing?.isEmpty === true) handshake.outgoing.start(flight);
  }

  /** A client's first datagrams pay for what its server answers. [HS-41] */
  private padHello(): void {
    const { path, spaces } = this.parts;
    const outgoing = spaces[PacketSpace.INITIAL]?.outgoing ?? null;
    if (this.handshake?.expectsLongAnswer !== true || outgoing === null) return;
    outgoing.paddingDue = extraInitials(this.handshake.hello?.length ?? 0, path.mtu);
  }

  /** Takes what the handshake has come to: messages, parameters, its end. Returns 0 or a close code. */
  private takeOver(handshake: Handshake, now: Micros): number {
    this.startFlights();
    const { keys, lifecycle, recovery } = this.parts;
    if (keys.toSeal(PacketSpace.HANDSHAKE) !== null) {
      recovery.onHandshakeKeys();
      this.parts.trace?.handshakeKeys(now);
    }
    const { peerParameters } = handshake;
    if (
      this.parts.role === 'server' &&
      handshake.earlyData === EarlyData.ACCEPTED &&
      peerParameters !== null
    ) {
      const code = lifecycle.carriesData ? 0 : this.takeEarly(peerParameters, now);
      if (code !== 0) return code;
    }
    if (handshake.state === HandshakeState.WAIT_ADMISSION) this.askAdmission(now);
    if (handshake.state !== HandshakeState.COMPLETE || lifecycle.isEstablished) return 0;
    if (handshake.isAdmissionDue) {
      this.admission = AdmissionState.UNDECIDED;
      this.answer = new IncomingAnswer();
    }
    return peerParameters === null
      ? CloseCode.TRANSPORT_PARAMETER_ERROR
      : this.complete(handshake, peerParameters, now);
  }

  /** The client waits, and has proved where it is: it has as long as the application may take. [HS-45] */
  private askAdmission(now: Micros): void {
    if (this.admission !== AdmissionState.NONE) return;
    this.admission = AdmissionState.UNDECIDED;
    this.deadline = now + this.parts.config.admissionMs * MILLISECOND;
    this.host.tell({ type: 'admission' });
  }

  /** The handshake is over: what is worth knowing of it is kept. Tickets, for which its parameters are, come to a client only. */
  private endHandshake(): void {
    const { earlyData, isResumed, ownFingerprint, peerFingerprint, peerPayload, suite } = this.results;
    const peerParameters = this.parts.role === 'client' ? this.results.peerParameters : null;
    this.results = {
      earlyData,
      isResumed,
      ownFingerprint,
      peerFingerprint,
      peerParameters,
      peerPayload,
      suite,
    };
    this.handshake = null;
  }

  /** At a client: a ticket came; what it is as the application keeps it, but for the time. Null where that is not to be had. [HS-55] */
  clientTicket({ lifetimeSeconds, nonce, ticket }: GivenTicket): ClientTicket | null {
    const { ownFingerprint, peerFingerprint: fingerprint, peerParameters: parameters, suite } = this.results;
    const key = this.parts.keys.ticketKey(nonce);
    if (fingerprint === null || parameters === null || key === null) return null;
    const clientIdentity = ownFingerprint;
    return { clientIdentity, fingerprint, key, lifetimeSeconds, parameters, suite, ticket, receivedAtMs: 0 };
  }

  // ---- early data ----

  /** A client sends early data, under what it remembers of its server. [HS-57] */
  private beginEarly(remembered: TransportParameters): void {
    this.parts.lifecycle.advance(ConnectionState.EARLY);
    this.parts.streams.beginEarly(remembered);
  }

  /** A server takes early data, and may answer it before it knows that the client is there. [HS-59] */
  private takeEarly(parameters: TransportParameters, now: Micros): number {
    const code = this.applyParameters(parameters, now);
    if (code !== 0 || !this.parts.lifecycle.isOpen) return code;
    this.parts.lifecycle.advance(ConnectionState.EARLY);
    this.host.tell({ type: 'early' });
    return 0;
  }

  /** A client's early data was thrown away: what it held counts as never sent. [HS-58] */
  private recallEarly(): void {
    const { lifecycle, recovery, spaces, streams } = this.parts;
    if (lifecycle.state !== ConnectionState.EARLY) return;
    const application = spaces[PacketSpace.APPLICATION];
    if (application !== null) recovery.withdraw(PacketSpace.APPLICATION, application.nextNumber);
    lifecycle.advance(ConnectionState.HANDSHAKING);
    streams.recall();
  }

  /** The server wants another hello, without a ticket. [HS-58] */
  private beginAgain(now: Micros): void {
    this.isTicketRefused = false;
    const { handshake, host } = this;
    const { ids, keys, lifecycle, recovery, spaces, trace } = this.parts;
    if (handshake === null || !lifecycle.isOpen) return;
    this.recallEarly();
    const before = ids.restart(handshake.beginAgain());
    trace?.beganAgain(before, ids.firstDestinationId, now);
    keys.discard(PacketType.ZERO_RTT);
    recovery.withdraw(PacketSpace.INITIAL, spaces[PacketSpace.INITIAL]?.nextNumber ?? 0, now);
    spaces[PacketSpace.INITIAL] = spaces[PacketSpace.INITIAL]?.restarted() ?? null;
    trace?.keys('updated', 'initial', now);
    this.startFlights();
    this.padHello();
    host.touch();
  }

  // ---- the end ----

  /** The peer is who it should be: its parameters hold, and application data may flow. */
  private complete(handshake: Handshake, parameters: TransportParameters, now: Micros): number {
    const { lifecycle, role } = this.parts;
    if (role === 'client' && handshake.remembered !== null) {
      if (handshake.earlyData === EarlyData.REFUSED) this.recallEarly();
      else if (!holdsWhatIsRemembered(handshake.remembered, parameters))
        return CloseCode.TRANSPORT_PARAMETER_ERROR; // [HS-57] less than what was sent under
    }
    const code = lifecycle.carriesData && role === 'server' ? 0 : this.applyParameters(parameters, now);
    if (code !== 0 || !lifecycle.isOpen) return code;
    lifecycle.advance(ConnectionState.COMPLETE);
    this.parts.trace?.state('handshake_complete', now);
    if (this.admission !== AdmissionState.UNDECIDED) this.host.onComplete(now);
    if (role === 'server') {
      this.parts.control.isHandshakeDoneDue = true;
      const ticket = handshake.takeTicket(now);
      if (ticket !== null) this.parts.control.newTicket.offer(ticket);
      this.confirm(now);
    }
    return 0;
  }

  /** What the peer says of itself holds from now on. */
  private applyParameters(parameters: TransportParameters, now: Micros): number {
    const { role, config, ids, isLoopback, liveness, path, streams } = this.parts;
    const code = role === 'client' ? checkServerIds(parameters, ids) : checkClientIds(parameters, ids);
    if (code !== 0) return code;
    ids.peer.onResetToken(parameters.statelessResetToken);
    this.parts.trace?.parameters('remote', parameters, now, this.cipherSuite);
    this.parts.trace?.keys('updated', '1rtt', now);
    liveness.onPeerParameters(parameters.idleTimeoutMs, parameters.heartbeatMs);
    let bound = parameters.maxDatagramBytes;
    if (isLoopback && parameters.receiveBufferBytes > 0) {
      const window = Math.floor(parameters.receiveBufferBytes * BUFFER_SHARE);
      path.limitWindow(window);
      bound = Math.min(bound, Math.max(config.mtu, Math.floor(window / WINDOW_PACKETS_MIN)));
    }
    const ceiling = Math.min(config.mtuMax, bound);
    if (config.mtuIsExact && ceiling < config.mtu) {
      this.host.failExactMtu(now);
      return 0;
    }
    this.parts.keyUpdates.onComplete(parameters.keyUpdates, now);
    streams.onPeerParameters(parameters);
    if (path.mtuDiscovery.limit(ceiling, bound)) this.host.onMtu(now);
    return 0;
  }
}

/** Whether a server that took early data allows what it had allowed when it gave the ticket. [HS-57] */
function holdsWhatIsRemembered(remembered: TransportParameters, now: TransportParameters): boolean {
  return EARLY_LIMITS.every((name) => now[name] >= remembered[name]);
}

/** Whether the ids in the server's parameters are those of the packets that carried the handshake: 0 or a close code. [FRM-15] */
export function checkServerIds(parameters: TransportParameters, ids: ServerIds): number {
  const isRight =
    isSame(parameters.originalDestinationId, ids.firstDestinationId) &&
    isSame(parameters.retrySourceId, ids.retrySourceId) &&
    isSame(parameters.sourceId, ids.destinationId);
  return isRight ? 0 : CloseCode.TRANSPORT_PARAMETER_ERROR;
}

/** The same of the client's. [FRM-15] */
function checkClientIds(parameters: TransportParameters, ids: Pick<ServerIds, 'destinationId'>): number {
  return isSame(parameters.sourceId, ids.destinationId) ? 0 : CloseCode.TRANSPORT_PARAMETER_ERROR;
}

/** What a client knows of the ids that its server is to name. */
type ServerIds = Pick<ConnectionIds, 'firstDestinationId' | 'destinationId' | 'retrySourceId'>;

function isSame(id: Uint8Array | null, expected: Uint8Array | null): boolean {
  return id === null || expected === null ? id === expected : equalBytes(id, expected);
}

const HANDSHAKE_SPACES = [PacketSpace.INITIAL, PacketSpace.HANDSHAKE] as const;
/** How long a server that seems not to speak our version may take to show that it does. */
const VERSION_REFUSED_WAIT: Micros = SECOND;
/** Of a socket's buffer, what datagrams may fill: the rest is the kernel's bookkeeping for them. */
const BUFFER_SHARE = 0.35;
/** Packets on this machine grow only as far as so many fit into that: with fewer, sender and receiver wait for each other. */
const WINDOW_PACKETS_MIN = 4;
