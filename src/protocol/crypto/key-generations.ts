import type { SecretLabel } from '../trace/trace.ts';
import type { AeadProvider } from './aead.ts';
import { HASH_BYTES, nextTrafficSecret, type TrafficSecrets, updatedKeys } from './key-schedule.ts';
import type { PacketKeys } from './packet-keys.ts';

/**
 * Generations of 1-RTT keys, of which each follows from the one before, and none from one after it: whoever learns a key reads nothing that is
 * older. A sender begins a new one, the bit K in its headers says in which of two the packet is, and the receiver knows by the number
 * whether that is the one before or the one after its own. [HS-28] [PKT-18]
 *
 * Of the direction that is opened there are up to three: the one in use, that before it for as long as its packets may still be on their way,
 * and the next. That is made when a packet first asks for it and kept from then on, so that time tells whoever sends forgeries nothing more. [PKT-27]
 */
export class KeyGenerations {
  /** Of the keys that open now: 0 for those of the handshake. */
  openingGeneration = 0;
  /** Of the keys that seal now. */
  sealingGeneration = 0;
  private readonly provider: AeadProvider;
  private readonly isClient: boolean;
  /** What the next generations follow from: that which opens, and behind it that which seals. The secrets of those before are gone. */
  private readonly nextSecrets = new Uint8Array(2 * HASH_BYTES);
  /** Opens what was sent before the newest update, until {@link retire}. */
  private previous: PacketKeys | null = null;
  private next: PacketKeys | null = null;
  /** Number of the packet with which the generation in use began here: it is above all of the one before, and below all of the next. */
  private openedFrom = 0;
  /** Sealed until the newest update. Packets that were packed by then are sealed with it. */
  private retired: PacketKeys | null = null;

  /** @param secrets - of the keys of the handshake, which the caller wipes */
  constructor(provider: AeadProvider, isClient: boolean, secrets: TrafficSecrets) {
    this.provider = provider;
    this.isClient = isClient;
    this.follow(OPENING, isClient ? secrets.server : secrets.client);
    this.follow(SEALING, isClient ? secrets.client : secrets.server);
  }

  /**
   * What opens a packet whose phase is not that of `current`: the generation before, or the next. Null when it is too old.
   * @param number - of the packet
   */
  other(current: PacketKeys, number: number): PacketKeys | null {
    if (number < this.openedFrom) return this.previous;
    this.next ??= this.make(OPENING, current);
    return this.next;
  }

  /** True when these keys open the generation after the one in use: a packet that they opened has updated it. */
  isNext(keys: PacketKeys): boolean {
    return keys === this.next;
  }

  /**
   * The next generation opens from now on, and the one in use is the one before.
   * @param number - of the packet that it opened
   */
  advanceOpening(current: PacketKeys, number: number, tell: TellSecret): PacketKeys {
    const keys = this.next ?? this.make(OPENING, current);
    this.previous?.wipe(keys);
    this.previous = current;
    this.next = null;
    this.openedFrom = number;
    this.advance(OPENING, ++this.openingGeneration, tell);
    return keys;
  }

  /** The next generation seals from now on. */
  advanceSealing(current: PacketKeys, tell: TellSecret): PacketKeys {
    const keys = this.make(SEALING, current);
    this.retired?.wipe(keys);
    this.retired = current;
    this.advance(SEALING, ++this.sealingGeneration, tell);
    return keys;
  }

  /** What was sent before the newest update has come by now, or never will: zeroes what opened and sealed it, but for what is in use. */
  retire(opening: PacketKeys | null, sealing: PacketKeys | null): void {
    this.previous?.wipe(opening);
    this.previous = null;
    this.retired?.wipe(sealing);
    this.retired = null;
  }

  /** Zeroes all that there is beside the keys in use, header keys included, which those share. */
  wipe(): void {
    for (const keys of [this.previous, this.next, this.retired]) keys?.wipe();
    this.nextSecrets.fill(0);
    this.previous = null;
    this.next = null;
    this.retired = null;
  }

  private make(direction: Direction, current: PacketKeys): PacketKeys {
    const secret = this.nextSecretOf(direction);
    const keys = updatedKeys(this.provider, secret, current);
    secret.fill(0);
    return keys;
  }

  private advance(direction: Direction, generation: number, tell: TellSecret): void {
    const sender = this.isClient === (direction === SEALING) ? 'CLIENT' : 'SERVER';
    const secret = this.nextSecretOf(direction);
    tell(`${sender}_TRAFFIC_SECRET_${generation}`, secret);
    this.follow(direction, secret);
    secret.fill(0);
  }

  /** The next secret of the direction is what follows from `secret`. */
  private follow(direction: Direction, secret: Uint8Array): void {
    const next = nextTrafficSecret(secret);
    this.nextSecrets.set(next, direction);
    next.fill(0);
  }

  /** A copy, which the caller wipes: a view would make the engine move the secrets to memory of their own. */
  private nextSecretOf(direction: Direction): Uint8Array {
    return this.nextSecrets.slice(direction, direction + HASH_BYTES);
  }
}

/** Is told the secret of a generation that begins. */
export type TellSecret = (label: SecretLabel, secret: Uint8Array) => void;

/** Where the secret of a direction stands. */
type Direction = typeof OPENING | typeof SEALING;
const OPENING = 0;
const SEALING = HASH_BYTES;
