import {
  checkOptions,
  chosenOptions,
  flag,
  number,
  type OptionCheck,
  type OptionTable,
} from '../base/options.ts';
import { MILLISECOND, type Micros } from '../base/time.ts';
import {
  ALERT_DEFAULTS,
  type Alert,
  type AlertSample,
  AlertStates,
  type Connection as CoreConnection,
  StallWatch,
} from '../protocol/endpoint/index.ts';
import type { Clock, TimerHandle } from '../udp/clock.ts';

/**
 * When a connection's `alert` event tells that something is not as it should be. All is judged over the latest {@link windowMs}; each alert is
 * raised once, and cleared once when the value has fallen well below its threshold or nothing is there to be judged.
 */
export interface AlertOptions {
  /**
   * `highLatency`: the median of round trips, once three were seen, in ms. Cleared below four fifths of it. Default 300, at which people begin to
   * talk at the same time. `Infinity` here and in the others: never.
   */
  highLatencyMs?: number | undefined;
  /**
   * `highLoss`: the share of packets that were lost, of at least 20 that were sent, and 3 that were lost. Cleared below half of it. Default 0.05, from
   * which on speech and `cubic` suffer.
   */
  highLossRate?: number | undefined;
  /**
   * `excessiveRetransmissions`: the share of packets that hold something sent again, with the same minimum. Cleared below half of it. Default 0.1.
   */
  retransmissionRate?: number | undefined;
  /**
   * `mtuChanged`: whether it is told that the datagrams in use became smaller, because the path carries no larger ones any more. Cleared when they
   * are as large again, or have not changed for a minute. That they grow at first is told by the event `mtu` alone. Default true.
   */
  mtuChanged?: boolean | undefined;
  /**
   * `streamsStalled`: for so long, in ms, a stream had something to send, or to have acknowledged, and got nothing through. Cleared once none
   * has waited for half as long. Default 5,000.
   */
  streamsStalledMs?: number | undefined;
  /** What is judged: the last so many ms, looked at ten times in it. Default 10,000; 1,000 to 600,000. */
  windowMs?: number | undefined;
}

/** Looks at one connection as long as somebody listens, and tells what changed. */
export class AlertWatch {
  private readonly core: CoreConnection;
  private readonly clock: Clock;
  private readonly states: AlertStates;
  private readonly stalls = new StallWatch();
  private readonly tell: (alert: Alert) => void;
  private timer: TimerHandle | null = null;
  private lookedAt: Micros = -1;

  constructor(core: CoreConnection, clock: Clock, options: AlertOptions, tell: (alert: Alert) => void) {
    this.core = core;
    this.clock = clock;
    this.states = new AlertStates({ ...ALERT_DEFAULTS, ...chosenOptions(options, ALERT_OPTIONS) });
    this.tell = tell;
  }

  start(): void {
    if (this.timer === null) this.look();
  }

  stop(): void {
    if (this.timer !== null) this.clock.clearTimer(this.timer);
    this.timer = null;
  }

  private readonly look = (): void => {
    const now = this.clock.now();
    this.timer = this.clock.setTimer(now + this.states.intervalMs * MILLISECOND, this.look);
    const sample = this.sampleOf(this.core, now);
    this.lookedAt = now;
    const atMs = (now - this.core.entry.startedAt) / MILLISECOND;
    for (const alert of this.states.look(sample, atMs)) {
      if (this.timer !== null) this.tell(alert); // who hears of one may end the connection
    }
  };

  private sampleOf({ counters, path, streams }: CoreConnection, now: Micros): AlertSample {
    const { rtt } = path;
    return {
      packetsSent: counters.packetsSent,
      packetsLost: counters.packetsLost - counters.packetsSpuriouslyLost,
      retransmittedPackets: streams.sendCounts.retransmittedPackets,
      rttMs: rtt.sampledAt > this.lookedAt ? rtt.adjusted / MILLISECOND : -1,
      mtu: path.mtu,
      stalledMs: this.stalls.look(streams.values(), now) / MILLISECOND,
    };
  }
}

const fromZero = number(0, Number.POSITIVE_INFINITY);

/** What the options may be. */
const ALERT_OPTIONS: OptionTable<AlertOptions> = {
  highLatencyMs: fromZero,
  highLossRate: fromZero,
  retransmissionRate: fromZero,
  mtuChanged: flag,
  streamsStalledMs: fromZero,
  windowMs: number(1_000, 600_000),
};

/** The check of the option `alerts`. Throws by itself what it has to say of members. */
export const alerts: OptionCheck = (value) => {
  if (typeof value !== 'object' || value === null) return 'an object';
  checkOptions('alerts', value as AlertOptions, ALERT_OPTIONS);
  return null;
};
