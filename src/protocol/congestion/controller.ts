import type { Micros } from '../../base/time.ts';

/** What a controller sees of the path's round-trip time, in microseconds. */
export interface RoundTripTime {
  /** The newest sample, unadjusted. */
  readonly latest: Micros;
  readonly smoothed: Micros;
}

/** What decides how many bytes may be in flight. All windows are in bytes. */
export interface CongestionController {
  readonly name: CongestionName;
  /** Bytes that may be in flight. */
  readonly window: number;
  readonly isSlowStart: boolean;
  /** When the current or last recovery period began; -1 before the first. Packets sent until then do not grow the window. */
  readonly recoveryStart: Micros;

  /** A packet goes out; `bytesInFlight` does not include it yet. */
  onSent(bytes: number, bytesInFlight: number, now: Micros): void;
  /**
   * `bytes` sent after {@link recoveryStart} are newly acknowledged; `sentTime` is that of the newest acknowledged packet.
   * `isApplicationLimited`: the window was not what limited the sender, so it must not grow.
   */
  onAcked(
    bytes: number,
    sentTime: Micros,
    now: Micros,
    rtt: RoundTripTime,
    isApplicationLimited: boolean,
  ): void;
  /** Packets were declared lost, the newest sent at `sentTime`. True when this began a recovery period. */
  onLost(bytes: number, sentTime: Micros, now: Micros): boolean;
  /** All losses of the last recovery period turned out to be late, not lost. */
  onSpuriousLoss(now: Micros): void;
  onPersistentCongestion(now: Micros): void;
  /** The packet size in use changed. */
  onPacketSize(mtu: number): void;
  /** The window never grows above `bytes` from now on, nor above a bound set before. */
  limitWindow(bytes: number): void;
}

export type CongestionName = 'cubic' | 'newreno';

export interface CongestionOptions {
  /** Packet size in bytes at the start. */
  readonly mtu: number;
  /** The window never grows above this. */
  readonly windowBytesMax: number;
}
