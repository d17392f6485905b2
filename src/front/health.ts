import type { RandomSource } from '../base/random.ts';
import { randomBytes } from '../base/random.ts';
import { MILLISECOND, type Micros } from '../base/time.ts';
import { PROBE_NONCE_BYTES, type ServerReport, ServerState } from '../protocol/datagram/index.ts';

/** Whether a server is there, as far as a front knows. [FRT-14] */
export const Presence = {
  /** It was asked, and has not answered yet. */
  UNKNOWN: 'unknown',
  ACCEPTING: 'accepting',
  /** It has as many connections as it may have. */
  FULL: 'full',
  /** It keeps its connections, and gets no new ones. */
  LEAVING: 'leaving',
  /** It does not answer. */
  GONE: 'gone',
  /** It answers, under an id that another server has. [FRT-15] */
  DOUBLE: 'double',
} as const;
export type Presence = (typeof Presence)[keyof typeof Presence];

/** What a front knows of one server, by its probes. */
export class ServerHealth {
  presence: Presence = Presence.UNKNOWN;
  /** By which connection ids name it; -1 until it answered. */
  serverId = -1;
  connections = 0;
  /** Of the last probe that was answered; null before. */
  rttMs: number | null = null;
  private readonly missesMax: number;
  private unanswered = 0;
  private latest: Probe | null = null;
  private before: Probe | null = null;

  /** @param missesMax - probes that may go unanswered before it counts as gone */
  constructor(missesMax: number) {
    this.missesMax = missesMax;
  }

  /** Packets for its connections are passed on to it. */
  get isThere(): boolean {
    const { presence } = this;
    return presence === Presence.ACCEPTING || presence === Presence.FULL || presence === Presence.LEAVING;
  }

  /** Another probe is due: what it has as its nonce. Whoever left too many unanswered is gone. */
  probe(random: RandomSource, now: Micros): Uint8Array {
    if (this.unanswered >= this.missesMax) this.presence = Presence.GONE;
    this.unanswered++;
    this.before = this.latest;
    this.latest = { nonce: randomBytes(random, PROBE_NONCE_BYTES), sentAt: now };
    return this.latest.nonce;
  }

  /**
   * An answer came. False when it is to none of the last two probes. [FRT-13]
   *
   * @param isDouble - whether another server that is there has this id
   */
  onReport(report: ServerReport, isDouble: (serverId: number) => boolean, now: Micros): boolean {
    const probe = [this.latest, this.before].find(
      (sent) => sent !== null && isSame(sent.nonce, report.nonce),
    );
    if (probe == null) return false;
    this.unanswered = 0;
    this.serverId = report.serverId;
    this.connections = report.connections;
    this.rttMs = (now - probe.sentAt) / MILLISECOND;
    this.presence = isDouble(report.serverId) ? Presence.DOUBLE : PRESENCES[report.state];
    return true;
  }

  /** The system says that nobody listens at its port. */
  onRefused(): void {
    this.presence = Presence.GONE;
  }
}

interface Probe {
  readonly nonce: Uint8Array;
  readonly sentAt: Micros;
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.every((byte, i) => byte === b[i]);
}

const PRESENCES: Readonly<Record<ServerState, Presence>> = {
  [ServerState.ACCEPTING]: Presence.ACCEPTING,
  [ServerState.FULL]: Presence.FULL,
  [ServerState.LEAVING]: Presence.LEAVING,
};
