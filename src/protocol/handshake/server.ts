import { type RandomSource, randomBytes } from '../../base/random.ts';
import type { AeadProvider } from '../crypto/aead.ts';
import { type Encapsulation, encapsulate, KEM_RANDOM_BYTES, type MlKem } from '../crypto/hybrid-kem.ts';
import { equalSecrets, type Identity } from '../crypto/identity.ts';
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
import { decodeParameters, type TransportParameters } from '../wire/transport-parameters.ts';
import { ServerInitialKeys } from './initial-keys.ts';
import {
  type ClientHello,
  decodeClientHello,
  encodeMessage,
  encodeParametersMessage,
  encodeServerHello,
  KEM_X25519_ML_KEM_768,
  MessageType,
  RANDOM_BYTES,
  SUITE_CHACHA20_POLY1305,
  splitMessages,
  Transcript,
} from './messages.ts';

export interface ServerHandshakeOptions {
  identity: Identity;
  provider: AeadProvider;
  mlKem: MlKem;
  random: RandomSource;
  /** With the ids that the client checks: `originalDestinationId` and `sourceId`. */
  parameters: TransportParameters;
  /** Destination id of the client's first packet. */
  clientDestinationId: Uint8Array;
  /** Made already, to open the client's first packet with; else they are made here. */
  initialKeys?: ServerInitialKeys;
  /** The U bit of the client's Initial: it does not pin our identity. */
  unpinned: boolean;
}

/**
 * The server's side of the handshake, without packets: whole messages in, whole messages out.
 *
 * The client's hello, given to {@link receive}, brings {@link hello}, {@link flight} and both pairs of keys; the client's flight in
 * the Handshake space brings the end.
 */
export class ServerHandshake {
  readonly role = 'server';
  readonly initialKeys: KeyPair;
  /** What to send in the Initial space. */
  hello: Uint8Array | null = null;
  handshakeKeys: KeyPair | null = null;
  /** What to send in the Handshake space. */
  flight: Uint8Array | null = null;
  /** [HS-15] Data may be sent with these at once, but nothing is opened with them before {@link complete}. */
  applicationKeys: KeyPair | null = null;
  peerParameters: TransportParameters | null = null;
  /** Always null: clients do not prove an identity yet. */
  readonly peerFingerprint: Uint8Array | null = null;
  /** Largest datagram the client sends, in bytes, from its hello. */
  peerLargestDatagram = 0;
  /** The client has the same keys and saw the same messages. */
  complete = false;
  private readonly identity: Identity;
  private readonly provider: AeadProvider;
  private readonly mlKem: MlKem;
  private readonly random: RandomSource;
  private readonly parameters: TransportParameters;
  private transcript: Transcript | null;
  /** What the client's FINISHED must be; null before its hello and after the end. */
  private expectedFinished: Uint8Array | null = null;
  private failure = 0;

  constructor(options: ServerHandshakeOptions) {
    this.identity = options.identity;
    this.provider = options.provider;
    this.mlKem = options.mlKem;
    this.random = options.random;
    this.parameters = options.parameters;
    const fingerprint = options.unpinned ? null : options.identity.fingerprint;
    this.initialKeys =
      options.initialKeys ??
      new ServerInitialKeys(
        options.provider,
        options.clientDestinationId,
        fingerprint,
        options.parameters.sourceId,
      );
    this.transcript = new Transcript(!options.unpinned, options.clientDestinationId);
  }

  /**
   * Takes all the bytes that the client sent in a space: 0 Initial, 1 Handshake.
   * @returns 0, or the code to close the connection with
   */
  receive(space: 0 | 1, bytes: Uint8Array): number {
    if (this.failure !== 0) return this.failure;
    let code: number = CloseCode.PROTOCOL_VIOLATION;
    if (space === 0 && this.transcript !== null) code = this.receiveHello(bytes, this.transcript);
    else if (space === 1 && this.expectedFinished !== null)
      code = this.receiveFlight(bytes, this.expectedFinished);
    this.failure = code;
    if (code !== 0 || this.complete) this.forget();
    return code;
  }

  private receiveHello(bytes: Uint8Array, transcript: Transcript): number {
    const messages = splitMessages(bytes, CLIENT_HELLO_ONLY);
    const clientHello = messages === null ? null : decodeClientHello(messages[0].body);
    if (clientHello === null || !offersOurs(clientHello)) return CloseCode.CRYPTO_ERROR;
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
      suite: SUITE_CHACHA20_POLY1305,
      kem: KEM_X25519_ML_KEM_768,
      ciphertext: encapsulation.ciphertext,
    });
    transcript.add(bytes).add(this.hello);
    this.transcript = null;
    const secret = handshakeSecret(encapsulation.secret);
    encapsulation.secret.fill(0);
    this.deriveAll(secret, transcript);
    secret.fill(0);
    return 0;
  }

  private receiveFlight(bytes: Uint8Array, expectedFinished: Uint8Array): number {
    const messages = splitMessages(bytes, CLIENT_FLIGHT);
    if (messages === null || !equalSecrets(messages[0].body, expectedFinished)) return CloseCode.CRYPTO_ERROR; // [HS-13]
    this.complete = true;
    return 0;
  }

  private encapsulate(share: Uint8Array): Encapsulation | null {
    const random = randomBytes(this.random, KEM_RANDOM_BYTES);
    const encapsulation = encapsulate(share, random, this.mlKem);
    random.fill(0);
    return encapsulation;
  }

  /** Keys, flight and the FINISHED to expect: all follow now, so that no secret has to wait for the client. */
  private deriveAll(secret: Uint8Array, transcript: Transcript): void {
    const { provider } = this;
    const traffic = handshakeTraffic(secret, transcript.hash());
    this.handshakeKeys = keyPair(provider, traffic, 'server');
    this.flight = this.encodeFlight(traffic, transcript);
    const transcriptHash = transcript.hash();
    this.expectedFinished = finishedValue(traffic.client, transcriptHash);
    wipeTraffic(traffic);
    const master = masterSecret(secret);
    const application = applicationTraffic(master, transcriptHash);
    master.fill(0);
    this.applicationKeys = keyPair(provider, application, 'server');
    wipeTraffic(application);
  }

  private encodeFlight(traffic: TrafficSecrets, transcript: Transcript): Uint8Array {
    const { identity } = this;
    const parameters = encodeParametersMessage(this.parameters, this.random);
    const identityMessage = encodeMessage(MessageType.IDENTITY, identity.publicKey);
    transcript.add(parameters).add(identityMessage);
    const signed = identity.sign('server', transcript.hash());
    const signature = encodeMessage(MessageType.SIGNATURE, signed);
    transcript.add(signature);
    const value = finishedValue(traffic.server, transcript.hash());
    const finished = encodeMessage(MessageType.FINISHED, value);
    transcript.add(finished);
    return Buffer.concat([parameters, identityMessage, signature, finished]);
  }

  /** [HS-25] Zeroes what is not needed any more; the handshake cannot go on. */
  forget(): void {
    this.transcript = null;
    this.expectedFinished?.fill(0);
    this.expectedFinished = null;
  }
}

/** [HS-5] One of each that we know is enough; what we do not know is no fault. */
function offersOurs(hello: ClientHello): boolean {
  return (
    hello.versions.includes(VERSION) && hello.suites.includes(SUITE_CHACHA20_POLY1305) && hello.share !== null
  );
}

const CLIENT_HELLO_ONLY: readonly MessageType[] = [MessageType.CLIENT_HELLO];
const CLIENT_FLIGHT: readonly MessageType[] = [MessageType.FINISHED];
