import type { SecretLabel } from '../trace/trace.ts';
import type { AeadProvider } from './aead.ts';
import { nextTrafficSecret, type TrafficSecrets, updatedKeys } from './key-schedule.ts';
import type { PacketKeys } from './packet-protection.ts';

/** The part of a direction in key updates. */
interface Direction {
  /** Who sends in it. */
  readonly sender: 'CLIENT' | 'SERVER';
  /** Of the keys that are in use now: 0 for those of the handshake. */
  generation: number;
  /** What the next generation follows from. The secrets of this one and of those before are gone. */
  nextSecret: Uint8Array;
}

/**
 * Generations of 1-RTT keys, of which each follows from the one before, and none from one after it: whoever learns a key reads nothing that is
 * older. A sender begins a new one, the bit K in its headers says in which of two the packet is, and the receiver knows by the number
 * whether that is the one before or the one after its own. [HS-28] [PKT-18]
 *
 * Of the direction that is opened there are up to three: the one in use, that before it for as long as its packets may still be on their way,
 * and the next. That is made when a packet first asks for it and kept from then on, so that time tells whoever sends forgeries nothing more. [PKT-27]
 */
export class KeyGenerations {
  private readonly provider: AeadProvider;
  private readonly opening: Direction;
  private readonly sealing: Direction;
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
    const client = direction('CLIENT', secrets.client);
    const server = direction('SERVER', secrets.server);
    this.opening = isClient ? server : client;
    this.sealing = isClient ? client : server;
  }

  get openingGeneration(): number {
    return this.opening.generation;
  }

  get sealingGeneration(): number {
    return this.sealing.generation;
  }

  /**
   * What opens a packet whose phase is not that of `current`: the generation before, or the next. Null when it is too old.
   * @param number - of the packet
   */
  other(current: PacketKeys, number: number): PacketKeys | null {
    if (number < this.openedFrom) return this.previous;
    this.next ??= this.make(this.opening, current);
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
    const keys = this.next ?? this.make(this.opening, current);
    this.previous?.wipe(keys);
    this.previous = current;
    this.next = null;
    this.openedFrom = number;
    advance(this.opening, tell);
    return keys;
  }

  /** The next generation seals from now on. */
  advanceSealing(current: PacketKeys, tell: TellSecret): PacketKeys {
    const keys = this.make(this.sealing, current);
    this.retired?.wipe(keys);
    this.retired = current;
    advance(this.sealing, tell);
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
    for (const { nextSecret } of [this.opening, this.sealing]) nextSecret.fill(0);
    this.previous = null;
    this.next = null;
    this.retired = null;
  }

  private make({ nextSecret }: Direction, current: PacketKeys): PacketKeys {
    return updatedKeys(this.provider, nextSecret, current);
  }
}

/** Is told the secret of a generation that begins. */
export type TellSecret = (label: SecretLabel, secret: Uint8Array) => void;

function direction(sender: Direction['sender'], secret: Uint8Array): Direction {
  return { sender, generation: 0, nextSecret: nextTrafficSecret(secret) };
}

function advance(side: Direction, tell: TellSecret): void {
  side.generation++;
  tell(`${side.sender}_TRAFFIC_SECRET_${side.generation}`, side.nextSecret);
  const nextSecret = nextTrafficSecret(side.nextSecret);
  side.nextSecret.fill(0);
  side.nextSecret = nextSecret;
}
