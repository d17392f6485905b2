import { copyOf, equalBytes } from '../../base/bytes.ts';
import type { SecretLabel, SecretLog } from '../trace/trace.ts';
import { PACKET_SPACES, PacketSpace, PacketType, packetSpaceOf } from '../wire/packet-header.ts';
import type { AeadProvider } from './aead.ts';
import type { CipherSuite } from './cipher-suite.ts';
import { KeyGenerations } from './key-generations.ts';
import {
  clientInitialSecret,
  exportedValue,
  initialSecret,
  packetKeys,
  retryKey,
  serverInitialSecret,
  type TrafficSecrets,
  ticketKey,
} from './key-schedule.ts';
import type { PacketKeys } from './packet-keys.ts';

/**
 * All keys that a connection has now. Those of packets are by epoch: Initial, 0-RTT, Handshake and 1-RTT (RFC 9001 says encryption levels),
 * the last of which has {@link generations} that the phase bit tells apart. Whoever receives asks for the key of a packet's type, or where
 * its phase is another one asks the generations; whoever sends asks for the key that a space seals with now. What is not there is null. Keys
 * come one direction at a time, and are zeroed when others take their place, or their epoch is over. [HS-25]
 *
 * Initial keys follow from what the first packets show, so the ring makes them itself [HS-20]: those that every first packet needs at once,
 * those of the other direction only when asked for. Most of what pretends to be a first packet does not open, and a client does not know its
 * server's source id before it is answered.
 *
 * And the secret of what applications export, for as long as the connection lasts. [HS-29]
 */
export class KeyRing {
  /** Opening keys by packet type, those of the newest generation. */
  private readonly opening: (PacketKeys | null)[] = new Array(OPENING_ROWS).fill(null);
  /** Sealing keys by packet number space: those of its newest epoch and generation. */
  private readonly sealing: (PacketKeys | null)[] = new Array(PACKET_SPACES).fill(null);
  /** What comes before and after the 1-RTT keys in use; null before the handshake has made those. */
  generations: KeyGenerations | null = null;
  /** Of the packets after the Initial ones; null before the handshake has chosen it. [HS-60] */
  suite: CipherSuite | null = null;
  /** Keys are updated: {@link generations} are made. */
  hasGenerations = true;
  private readonly provider: AeadProvider;
  private readonly isClient: boolean;
  /** What both directions of the Initial packets follow from; null once these are over. */
  private initial: Uint8Array | null;
  /** Source id of the server's Initial packets; null while a client does not know it. */
  private serverId: Uint8Array | null;
  /** What is exported follows from this; null before the handshake has made it, and when all is over. */
  private exporter: Uint8Array | null = null;
  /** At a client: what the keys of its tickets follow from; null before the handshake has made it, and when all is over. */
  private resumption: Uint8Array | null = null;
  /** What early data is sealed with, until it is told or of no use any more. */
  private untoldEarly: Uint8Array | null = null;
  /** Null when nobody asked for the secrets. */
  private secretLog: SecretLog | null = null;
  /** Server ids that a client may still be told of: anybody can make one up. */
  private serverIdsToLog = SERVER_IDS_LOGGED;

  private constructor(provider: AeadProvider, initial: Uint8Array, serverId: Uint8Array | null) {
    this.provider = provider;
    this.isClient = serverId === null;
    this.initial = initial;
    this.serverId = serverId;
  }

  /**
   * A client's keys, with which it can seal its first packet.
   *
   * @param firstDestinationId - the id it chose for the server in its first packet
   * @param pin - fingerprint of the server's identity; null when it does not pin [HS-14]
   */
  static ofClient(provider: AeadProvider, firstDestinationId: Uint8Array, pin: Uint8Array | null): KeyRing {
    const initial = initialSecret(firstDestinationId, pin);
    const keys = new KeyRing(provider, initial, null);
    keys.installSealing(keys.initialKeys(clientInitialSecret(initial)));
    return keys;
  }

  /**
   * A server's keys, with which it can open a client's first packet.
   *
   * @param firstDestinationId - destination id of the client's first packet
   * @param fingerprint - of the server's own identity; null when the packet's U bit says that the client does not pin
   * @param serverId - the source id of the server's packets
   */
  static ofServer(
    provider: AeadProvider,
    firstDestinationId: Uint8Array,
    fingerprint: Uint8Array | null,
    serverId: Uint8Array,
  ): KeyRing {
    const initial = initialSecret(firstDestinationId, fingerprint);
    const keys = new KeyRing(provider, initial, serverId);
    keys.installOpening(keys.initialKeys(clientInitialSecret(initial)));
    return keys;
  }

  /** The key that opens packets of this {@link PacketType}, and of those with a short header the newest that came. */
  toOpen(type: number): PacketKeys | null {
    return this.opening[type];
  }

  /** The key that seals what is sent in this space now. */
  toSeal(space: PacketSpace): PacketKeys | null {
    const keys = this.sealing[space];
    return keys === null && space === PacketSpace.INITIAL ? this.makeServerSealing() : keys;
  }

  /** At a client: the Initial packet to be opened next gives this as its source id. */
  expectFrom(serverId: Uint8Array): void {
    const { initial } = this;
    if (initial === null || (this.serverId !== null && equalBytes(serverId, this.serverId))) return;
    this.serverId = copyOf(serverId);
    this.installOpening(this.initialKeys(this.serverSecret(initial, serverId)));
  }

  /**
   * At a client that follows a Retry, or begins again: its Initial keys, and its server's, follow from this from now on. [HS-30] [HS-58]
   * @param firstDestinationId - of the first packet of the handshake that it begins again; null when it goes on with the one there is
   */
  restartInitial(initial: Uint8Array, firstDestinationId: Uint8Array | null = null): void {
    if (firstDestinationId !== null) this.secretLog?.restart(firstDestinationId);
    this.discard(PacketType.INITIAL);
    this.initial = initial;
    this.serverId = null;
    this.installSealing(this.initialKeys(clientInitialSecret(initial)));
    this.tell('CLIENT_INITIAL_SECRET', clientInitialSecret(initial));
  }

  /** From now on the secrets that keys are made of are told; that of the client's Initial packets was used already. [TRC-10] */
  logSecrets(log: SecretLog): void {
    this.secretLog = log;
    if (this.initial !== null) this.tell('CLIENT_INITIAL_SECRET', clientInitialSecret(this.initial));
    if (this.untoldEarly !== null) this.tell('CLIENT_EARLY_TRAFFIC_SECRET', this.untoldEarly);
    this.forgetEarly();
  }

  /**
   * The handshake made these, from which it goes on to make keys.
   * @param provider - of the suite that it chose
   */
  onTraffic(
    epoch: typeof PacketType.HANDSHAKE | typeof PacketType.ONE_RTT,
    secrets: TrafficSecrets,
    provider: AeadProvider,
  ): void {
    this.suite = provider.suite;
    if (epoch === PacketType.ONE_RTT && this.hasGenerations)
      this.generations = new KeyGenerations(provider, this.isClient, secrets);
    if (this.secretLog === null) return;
    const isHandshake = epoch === PacketType.HANDSHAKE;
    this.tell(isHandshake ? 'CLIENT_HANDSHAKE_TRAFFIC_SECRET' : 'CLIENT_TRAFFIC_SECRET_0', secrets.client);
    this.tell(isHandshake ? 'SERVER_HANDSHAKE_TRAFFIC_SECRET' : 'SERVER_TRAFFIC_SECRET_0', secrets.server);
  }

  /** At a client: what the tag of a Retry with this source id is made with; null once Initial packets are over. [PKT-21] */
  retryKey(sourceId: Uint8Array): Uint8Array | null {
    return this.initial === null ? null : retryKey(this.initial, sourceId);
  }

  /** Early data is sealed with keys from this. A client makes them before anybody can ask for secrets. */
  onEarlyTraffic(secret: Uint8Array): void {
    if (this.secretLog === null) this.untoldEarly = copyOf(secret);
    else this.tell('CLIENT_EARLY_TRAFFIC_SECRET', secret);
  }

  private forgetEarly(): void {
    this.untoldEarly?.fill(0);
    this.untoldEarly = null;
  }

  /** From now on packets of this epoch open. */
  installOpening(keys: PacketKeys): void {
    this.opening[keys.epoch]?.wipe(keys);
    this.opening[keys.epoch] = keys;
  }

  /** From now on the space of this epoch is sealed with these. */
  installSealing(keys: PacketKeys): void {
    const space = packetSpaceOf(keys.epoch);
    this.sealing[space]?.wipe(keys);
    this.sealing[space] = keys;
  }

  /** A packet with this number opened with the next generation: from now on that opens. [PKT-27] */
  updateOpening(number: number): void {
    const current = this.opening[PacketType.ONE_RTT];
    if (current === null || this.generations === null) return;
    this.opening[PacketType.ONE_RTT] = this.generations.advanceOpening(current, number, (label, secret) =>
      this.tell(label, secret),
    );
  }

  /** From now on the next generation seals. [PKT-18] */
  updateSealing(): void {
    const current = this.sealing[PacketSpace.APPLICATION];
    if (current === null || this.generations === null) return;
    this.sealing[PacketSpace.APPLICATION] = this.generations.advanceSealing(current, (label, secret) =>
      this.tell(label, secret),
    );
  }

  /** From now on values can be exported. */
  installExporter(secret: Uint8Array): void {
    this.exporter = secret;
  }

  /** At a client: keys of tickets follow from this from now on. [HS-32] */
  installResumption(secret: Uint8Array): void {
    this.resumption = secret;
  }

  /** At a client: the key of the ticket with this nonce; null before the handshake is complete, and when all is over. */
  ticketKey(nonce: Uint8Array): Uint8Array | null {
    return this.resumption === null ? null : ticketKey(this.resumption, nonce);
  }

  /** A value that only the two ends of this connection can derive; null before and after it. [HS-29] */
  exported(name: string, context: Uint8Array, length: number): Uint8Array | null {
    return this.exporter === null ? null : exportedValue(this.exporter, name, context, length);
  }

  /** Zeroes all keys of an epoch: its packets are neither opened nor sent any more. */
  discard(epoch: PacketType): void {
    for (const keys of [this.opening, this.sealing]) {
      for (let row = 0; row < keys.length; row++) {
        if (keys[row]?.epoch !== epoch) continue;
        keys[row]?.wipe();
        keys[row] = null;
      }
    }
    if (epoch === PacketType.ONE_RTT) {
      this.generations?.wipe();
      this.generations = null;
    }
    if (epoch === PacketType.ZERO_RTT) this.forgetEarly();
    if (epoch !== PacketType.INITIAL) return;
    this.initial?.fill(0);
    this.initial = null;
  }

  /** Zeroes all keys there are. */
  discardAll(): void {
    for (const epoch of EPOCHS) this.discard(epoch);
    this.exporter?.fill(0);
    this.exporter = null;
    this.resumption?.fill(0);
    this.resumption = null;
  }

  private makeServerSealing(): PacketKeys | null {
    const { initial, serverId } = this;
    if (initial === null || serverId === null) return null;
    this.installSealing(this.initialKeys(this.serverSecret(initial, serverId)));
    return this.sealing[PacketSpace.INITIAL];
  }

  private serverSecret(initial: Uint8Array, serverId: Uint8Array): Uint8Array {
    const secret = serverInitialSecret(initial, serverId);
    if (this.secretLog !== null && this.serverIdsToLog-- > 0) this.tell('SERVER_INITIAL_SECRET', secret);
    return secret;
  }

  private tell(label: SecretLabel, secret: Uint8Array): void {
    this.secretLog?.tell(label, secret);
  }

  private initialKeys(secret: Uint8Array): PacketKeys {
    const keys = packetKeys(this.provider, secret, PacketType.INITIAL);
    secret.fill(0);
    return keys;
  }
}

const EPOCHS = [PacketType.INITIAL, PacketType.ZERO_RTT, PacketType.HANDSHAKE, PacketType.ONE_RTT] as const;
const SERVER_IDS_LOGGED = 4;
const OPENING_ROWS = PacketType.ONE_RTT + 1;
