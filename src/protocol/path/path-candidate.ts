import { equalBytes } from '../../base/bytes.ts';
import { assert } from '../../base/errors.ts';
import { type RandomSource, randomBytes } from '../../base/random.ts';
import { type Micros, SECOND } from '../../base/time.ts';
import type { PacketAddress } from '../wire/packet-header.ts';
import { SIZE_BASE, SIZE_FLOOR } from './mtu-discovery.ts';
import { AddressState, AddressValidation, type Way } from './path.ts';

export const CandidateState = {
  /** It is not known whether the peer is there. */
  VALIDATING: 0,
  /** The peer is there: it answered a challenge from there. */
  VALIDATED: 1,
  /** No answer came in time. */
  FAILED: 2,
} as const;
export type CandidateState = (typeof CandidateState)[keyof typeof CandidateState];

export interface CandidateOptions {
  readonly way: Way;
  /** An id of the peer that is for this path alone; null: the one of the path in use. */
  readonly ownId: Uint8Array | null;
  /** What the headers of packets there say. */
  readonly address: PacketAddress;
  /** The peer is known to be at the address, as a server is whose address we looked up. */
  readonly isAddressKnown: boolean;
}

/**
 * A path that is not in use and is being tried (RFC 9000 section 8.2): challenges go there until one is answered, or for so long in vain.
 * What goes there is no more than three times what came from there, and says nothing about the path in use.
 */
export class PathCandidate {
  readonly host: string;
  readonly port: number;
  local: number;
  readonly ownId: Uint8Array | null;
  readonly address: PacketAddress;
  readonly validation: AddressValidation;
  /** Only a port is another one than on the path in use: packets take the same way. */
  isSameWay = false;
  /** Number of the newest packet from there that was more than a probe, or -1. */
  newest = -1;
  /** A challenge is to be sent. */
  isChallengeDue = true;
  /** The peer's newest challenge from there that is to be answered. */
  response: Uint8Array | null = null;
  /** When something is to be done: another challenge sent, or the path given up. */
  deadline: Micros;
  /** Size of a datagram that is known to have been carried there; 0 for none. */
  provedBytes = 0;
  /** Time that a challenge and its answer took; 0 before that. */
  rtt: Micros = 0;

  private current: CandidateState = CandidateState.VALIDATING;
  private readonly challenges: Challenge[] = [];
  private tries = 0;
  /** [CON-85] */
  private readonly givenUpAt: Micros;

  constructor(options: CandidateOptions, probeTimeout: Micros, now: Micros) {
    const { way } = options;
    this.givenUpAt = now + Math.max(GIVEN_UP_PTOS * probeTimeout, GIVEN_UP_MIN);
    this.deadline = this.givenUpAt;
    this.host = way.host;
    this.port = way.port;
    this.local = way.local;
    this.ownId = options.ownId;
    this.address = options.address;
    this.validation = new AddressValidation(
      options.isAddressKnown ? AddressState.VALIDATED : AddressState.UNKNOWN,
    );
  }

  get state(): CandidateState {
    return this.current;
  }

  /** Something is to be sent there, and may be. */
  get isDue(): boolean {
    return (this.isChallengeDue || this.response !== null) && this.validation.allowance >= PROBE_BYTES_MIN;
  }

  /**
   * The most that the next datagram there takes, and what one with a challenge is padded to. Large ones first, so that the answer proves a
   * size, too; a path that carries small ones only is one all the same. What came from there may not allow that: then half of what it allows,
   * for one may be lost. [CON-91]
   */
  probeBytes(mtu: number): number {
    const { allowance } = this.validation;
    if (allowance < LARGE_TRIES * SIZE_BASE)
      return Math.min(allowance, mtu, Math.max(PROBE_BYTES_SMALL, Math.floor(allowance / 2)));
    return this.tries < LARGE_TRIES ? Math.min(mtu, SIZE_BASE) : SIZE_FLOOR;
  }

  /** The challenge to send now, in a datagram of so many bytes. */
  challenge(random: RandomSource, bytes: number, probeTimeout: Micros, now: Micros): Uint8Array {
    const data = randomBytes(random, CHALLENGE_BYTES);
    if (this.challenges.length === CHALLENGES_MAX) this.challenges.shift();
    this.challenges.push({ data, bytes, sentAt: now });
    this.isChallengeDue = false;
    this.deadline = Math.min(now + probeTimeout * 2 ** this.tries++, this.givenUpAt);
    return data;
  }

  /** PATH_RESPONSE came from there. True when it proves that the peer is there. */
  onResponse(data: Uint8Array, now: Micros): boolean {
    const answered = this.challenges.find((challenge) => equalBytes(challenge.data, data));
    if (answered === undefined || this.current !== CandidateState.VALIDATING) return false;
    this.moveTo(CandidateState.VALIDATED);
    this.validation.state = AddressState.VALIDATED;
    this.provedBytes = answered.bytes;
    this.rtt = now - answered.sentAt;
    this.isChallengeDue = false;
    this.challenges.length = 0;
    // What is proved now need not be later: one that is not used is forgotten.
    this.deadline = now + KEPT;
    return true;
  }

  /** Nothing is sent there any more. */
  leave(): void {
    this.isChallengeDue = false;
    this.response = null;
  }

  /** {@link deadline} passed. */
  onTimeout(now: Micros): void {
    if (this.current === CandidateState.VALIDATED || now >= this.givenUpAt)
      this.moveTo(CandidateState.FAILED);
    else this.isChallengeDue = true;
    this.deadline = this.givenUpAt; // what came from there may not allow another one
  }

  /** The only way from one state to another. */
  private moveTo(state: CandidateState): void {
    assert(NEXT_CANDIDATE_STATES[this.current].includes(state), 'a path is proved before it is not needed');
    this.current = state;
  }
}

interface Challenge {
  readonly data: Uint8Array;
  readonly bytes: number;
  readonly sentAt: Micros;
}

/** By {@link CandidateState}. spec/state-machines.md says when. */
export const NEXT_CANDIDATE_STATES: readonly (readonly CandidateState[])[] = [
  [CandidateState.VALIDATED, CandidateState.FAILED],
  [CandidateState.FAILED],
  [],
];

const CHALLENGE_BYTES = 8;
/** Header, challenge, response and tag. */
const PROBE_BYTES_MIN = 48;
/** With an acknowledgement of a few ranges. */
const PROBE_BYTES_SMALL = 64;
/** Challenges in datagrams of the larger size. */
const LARGE_TRIES = 2;
/** Challenges that an answer may be to. */
const CHALLENGES_MAX = 4;
/** [CON-85] How long the peer may take: three probe timeouts, and no less than three of a path that nothing is known of. */
const GIVEN_UP_PTOS = 3;
const GIVEN_UP_MIN: Micros = 3 * SECOND;
const KEPT: Micros = 10 * SECOND;
