import { assert } from '../../base/errors.ts';
import { MILLISECOND, type Micros, NEVER } from '../../base/time.ts';
import type { KeyRing } from '../crypto/key-ring.ts';
import type { ConnectionCounters } from '../trace/counters.ts';
import type { QlogTrace } from '../trace/qlog-trace.ts';
import { CloseCode } from '../wire/close-code.ts';
import { PacketSpace, PacketType } from '../wire/packet-header.ts';

/** When the keys of a connection are updated by this side's will; the peer may do so at any time. */
export interface KeyUpdateConfig {
  /** Packets sealed under one key until it gives way to the next. */
  readonly packets: number;
  /** Age of the keys, in ms, at which they do. */
  readonly ageMs: number;
}

/** What a connection has of keys for 1-RTT packets; they follow each other as {@link NEXT_KEY_STATES} has it. */
export const KeyState = {
  /** Those of the handshake: it is not complete, or one of both sides does not update keys. */
  FIXED: 0,
  /** One generation for both directions. */
  SETTLED: 1,
  /** We seal with the next generation, and the peer has not answered. */
  UPDATING: 2,
  /** Both directions are at the new generation; the one before opens what is still on its way. */
  RETIRING: 3,
} as const;
export type KeyState = (typeof KeyState)[keyof typeof KeyState];

/** What it asks and tells its connection. */
export interface KeyUpdateHost {
  readonly probeTimeout: Micros;
  fail(code: number, frameType: number, reason: string, now: Micros): void;
}

/**
 * When 1-RTT keys are updated (RFC 9001 section 6). Both directions go to the next generation together: whoever wants to, because its keys have
 * sealed enough packets, are old enough, or were tried by too many forgeries, seals with the next one; the other does the same when such a
 * packet opens, before it acknowledges it. [PKT-18]
 *
 * Numbers grow with each packet, so what generation a packet of ours was sealed in follows from its number: the next update may begin once
 * the peer has acknowledged one from {@link sealedFrom} on.
 */
export class KeyUpdates {
  /** When nothing sealed before the newest update can come any more; NEVER when none is kept. [PKT-27] */
  retireAt: Micros = NEVER;

  /** From this packet number on, and from this time on, the keys are to be updated. */
  private dueFrom = Number.POSITIVE_INFINITY;
  private dueAt: Micros = NEVER;
  private readonly config: KeyUpdateConfig | null;
  private readonly keys: KeyRing;
  private readonly counters: ConnectionCounters;
  private readonly trace: QlogTrace | null;
  private readonly host: KeyUpdateHost;
  private current: KeyState = KeyState.FIXED;
  /** Packets that one key may seal at most. */
  private sealedMax = Number.POSITIVE_INFINITY;
  /** The number from which on our packets are of the generation in use. */
  private sealedFrom = 0;

  constructor(
    config: KeyUpdateConfig | null,
    keys: KeyRing,
    counters: ConnectionCounters,
    trace: QlogTrace | null,
    host: KeyUpdateHost,
  ) {
    this.config = config;
    this.keys = keys;
    this.counters = counters;
    this.trace = trace;
    this.host = host;
    keys.hasGenerations = config !== null;
  }

  get state(): KeyState {
    return this.current;
  }

  /**
   * The handshake is complete.
   * @param isUnderstood - the peer announced that it understands updates
   */
  onComplete(isUnderstood: boolean, now: Micros): void {
    if (isUnderstood && this.config !== null) this.enter(KeyState.SETTLED);
    this.sealedMax = (this.keys.suite?.sealedMax ?? Number.POSITIVE_INFINITY) - SEALED_MARGIN;
    this.schedule(now);
  }

  /** Asked for each packet that is to be sealed; then {@link onDue}. */
  isDue(nextNumber: number, now: Micros): boolean {
    return nextNumber >= this.dueFrom || now >= this.dueAt;
  }

  /**
   * The keys have sealed enough, or are old: updates them, if the peer is known to have those in use.
   *
   * @param nextNumber - of our next packet, which is sealed with what is there afterwards
   * @param largestAcked - largest number of ours that was acknowledged, or -1
   * @param isConfirmed - the handshake is
   */
  onDue(nextNumber: number, largestAcked: number, isConfirmed: boolean, now: Micros): void {
    if (this.mayBegin && isConfirmed && largestAcked >= this.sealedFrom) {
      this.counters.keyUpdates++;
      this.enter(KeyState.UPDATING);
      this.seal(nextNumber, 'local', now);
    } else if (nextNumber - this.sealedFrom >= this.sealedMax) {
      this.host.fail(CloseCode.AEAD_LIMIT_REACHED, 0, 'too many packets were sealed under one key', now); // [PKT-26]
    }
  }

  /** So many packets failed to open that the keys had better change. [PKT-15] */
  onForgeries(): void {
    if (this.current !== KeyState.FIXED) this.dueAt = 0;
  }

  /**
   * A packet opened with the next generation: the peer has updated its keys.
   * @param number - of the packet
   * @param nextNumber - of our next packet
   */
  onPeerUpdate(number: number, nextNumber: number, now: Micros): void {
    const { generations } = this.keys;
    if (generations === null) return;
    if (this.current !== KeyState.UPDATING) {
      if (nextNumber <= this.sealedFrom) {
        // [PKT-28] It cannot have heard that we have the keys in use, for nothing was sealed with them yet.
        this.host.fail(CloseCode.KEY_UPDATE_ERROR, 0, 'keys were updated too early', now);
        return;
      }
      this.counters.keyUpdates++;
      this.seal(nextNumber, 'remote', now);
    }
    this.keys.updateOpening(number);
    if (this.current !== KeyState.RETIRING) this.enter(KeyState.RETIRING);
    this.retireAt = now + RETIRED_PTOS * this.host.probeTimeout;
  }

  /**
   * Whether an acknowledgement may say what it says: one of packets of the generation in use comes in packets of that generation. [PKT-28]
   * @param isOld - it came in a packet of the generation before the one that opens
   */
  mayAcknowledge(largest: number, isOld: boolean): boolean {
    const { generations } = this.keys;
    if (generations === null || largest < this.sealedFrom) return true;
    const generation = generations.openingGeneration - (isOld ? 1 : 0);
    return generation >= generations.sealingGeneration;
  }

  /** A deadline passed. */
  onTimeout(now: Micros): void {
    if (now < this.retireAt) return;
    const { keys } = this;
    keys.generations?.retire(keys.toOpen(PacketType.ONE_RTT), keys.toSeal(PacketSpace.APPLICATION));
    this.retireAt = NEVER;
    if (this.current === KeyState.RETIRING) this.enter(KeyState.SETTLED);
  }

  private get mayBegin(): boolean {
    return this.current === KeyState.SETTLED || this.current === KeyState.RETIRING;
  }

  private enter(state: KeyState): void {
    assert(NEXT_KEY_STATES[this.current].includes(state), 'keys are updated as RFC 9001 section 6 says');
    this.current = state;
  }

  private seal(nextNumber: number, trigger: 'local' | 'remote', now: Micros): void {
    this.keys.updateSealing();
    this.sealedFrom = nextNumber;
    this.schedule(now);
    this.trace?.keyUpdate(trigger, this.keys.generations?.sealingGeneration ?? 0, now);
  }

  private schedule(now: Micros): void {
    const { config, sealedMax } = this;
    const isAgreed = this.current !== KeyState.FIXED;
    // Half of what is allowed leaves time to hear that the peer has the keys in use.
    const packets = isAgreed && config !== null ? Math.min(config.packets, sealedMax / 2) : sealedMax;
    this.dueFrom = this.sealedFrom + packets;
    this.dueAt = isAgreed && config !== null ? now + config.ageMs * MILLISECOND : NEVER;
  }
}

/** By state: where it may go to. */
export const NEXT_KEY_STATES: readonly (readonly KeyState[])[] = [
  [KeyState.SETTLED],
  [KeyState.UPDATING, KeyState.RETIRING],
  [KeyState.RETIRING],
  [KeyState.SETTLED, KeyState.UPDATING],
];
/** What is left under a key for saying that the connection is over. */
const SEALED_MARGIN = 1_024;
/** Probe timeouts for which keys are kept after an update. */
const RETIRED_PTOS = 3;
