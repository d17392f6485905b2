/**
 * Alerts: what is not as it should be with a connection, over a window of time, told once when it begins and once when it is over. Without
 * I/O and without a clock: somebody looks at the connection now and then and hands in what he saw. [CON-71]
 *
 * Each kind is judged by itself. It is raised when its value reaches the threshold, and cleared when it has fallen well below, or when
 * nothing has happened any more that could be judged: a value that plays around the threshold raises once.
 */

/** What an alert is about. */
export type AlertKind =
  | 'highLatency'
  | 'highLoss'
  | 'excessiveRetransmissions'
  | 'mtuChanged'
  | 'streamsStalled';

/** Something that is not as it should be, or is again. */
export interface Alert {
  readonly kind: AlertKind;
  readonly state: 'raised' | 'cleared';
  /** What was found: ms of `highLatency` and `streamsStalled`, a share of the two that count packets, bytes of `mtuChanged`. */
  readonly value: number;
  /** What it reached, in the same unit; of `mtuChanged` the size before. */
  readonly threshold: number;
  /** When it was raised, in ms of the connection's age (`metrics().ageMs`). */
  readonly sinceMs: number;
  /** When it was told, in the same time. Of one that is cleared, `atMs - sinceMs` is how long it lasted. */
  readonly atMs: number;
  /** All this in a sentence. */
  readonly message: string;
}

export interface AlertThresholds {
  readonly highLatencyMs: number;
  readonly highLossRate: number;
  readonly retransmissionRate: number;
  readonly mtuChanged: boolean;
  readonly streamsStalledMs: number;
  readonly windowMs: number;
}

/** What is seen of a connection. Counts since it began. */
export interface AlertSample {
  readonly packetsSent: number;
  /** Without those that turned out to be late. */
  readonly packetsLost: number;
  readonly retransmittedPackets: number;
  /** The newest round trip without the peer's delay, where there is one since the last look; else -1. */
  readonly rttMs: number;
  readonly mtu: number;
  /** For how long the stream that has waited longest got nothing through; 0 when none waits. */
  readonly stalledMs: number;
}

/** Without options. [CON-71] */
export const ALERT_DEFAULTS: AlertThresholds = {
  highLatencyMs: 300,
  highLossRate: 0.05,
  retransmissionRate: 0.1,
  mtuChanged: true,
  streamsStalledMs: 5_000,
  windowMs: 10_000,
};

/** Which alerts of one connection are raised. */
export class AlertStates {
  private readonly thresholds: AlertThresholds;
  /** What was seen within the window; the first is what the others are compared with. */
  private readonly looks: (AlertSample & { readonly atMs: number })[] = [];
  private readonly raised = new Map<AlertKind, Raised>();
  private news: Alert[] = [];

  constructor(thresholds: AlertThresholds) {
    this.thresholds = thresholds;
  }

  /** How long it is until the next look is due. */
  get intervalMs(): number {
    return this.thresholds.windowMs / LOOKS_A_WINDOW;
  }

  /** Takes a look. Returns what there is to tell because of it. */
  look(sample: AlertSample, atMs: number): readonly Alert[] {
    const { looks, thresholds } = this;
    const before = looks.at(-1) ?? sample;
    while (looks.length > 1 && looks[1].atMs <= atMs - thresholds.windowMs) looks.shift();
    looks.push({ ...sample, atMs });
    const [first] = looks;
    const sent = sample.packetsSent - first.packetsSent;
    const lost = sample.packetsLost - first.packetsLost;
    const again = sample.retransmittedPackets - first.retransmittedPackets;
    this.news = [];
    this.judge('highLatency', this.latencyMs, thresholds.highLatencyMs, atMs);
    this.judge('highLoss', this.share('highLoss', lost, sent), thresholds.highLossRate, atMs);
    const share = this.share('excessiveRetransmissions', again, sent);
    this.judge('excessiveRetransmissions', share, thresholds.retransmissionRate, atMs);
    this.judge('streamsStalled', sample.stalledMs, thresholds.streamsStalledMs, atMs);
    if (thresholds.mtuChanged) this.judgeMtu(sample.mtu, before.mtu, atMs);
    return this.news;
  }

  /** The median of the round trips that were seen, of which some are always long; 0 where they are too few to tell. */
  private get latencyMs(): number {
    const seen: number[] = [];
    for (let i = 1; i < this.looks.length; i++) if (this.looks[i].rttMs >= 0) seen.push(this.looks[i].rttMs);
    if (seen.length < (this.raised.has('highLatency') ? 1 : ROUND_TRIPS_MIN)) return 0;
    return seen.sort((a, b) => a - b)[seen.length >> 1];
  }

  /** A share of packets; 0 where they are too few to tell: one of ten that is lost is no loss of ten percent. */
  private share(kind: AlertKind, count: number, of: number): number {
    const isEnough = this.raised.has(kind) ? of >= PACKETS_TO_STAY : of >= PACKETS_MIN && count >= COUNT_MIN;
    return isEnough ? Math.max(0, count) / of : 0;
  }

  private judge(kind: AlertKind, value: number, threshold: number, atMs: number): void {
    const raised = this.raised.get(kind);
    if (raised === undefined) {
      if (value > 0 && value >= threshold) this.raise(kind, value, threshold, atMs);
    } else if (value === 0 || value < threshold * CLEAR_SHARES[kind]) {
      this.clear(kind, raised, value, atMs);
    }
  }

  /** A size that fell stays raised until it is back, or has become what is usual. One that grew is none. */
  private judgeMtu(mtu: number, before: number, atMs: number): void {
    const raised = this.raised.get('mtuChanged');
    if (mtu < before) {
      if (raised === undefined) this.raise('mtuChanged', mtu, before, atMs);
      else raised.changedMs = atMs;
    } else if (raised !== undefined && (mtu >= raised.threshold || atMs - raised.changedMs >= MTU_USUAL_MS)) {
      this.clear('mtuChanged', raised, mtu, atMs);
    }
  }

  private raise(kind: AlertKind, value: number, threshold: number, atMs: number): void {
    this.raised.set(kind, { threshold, sinceMs: atMs, changedMs: atMs });
    const message = `${sentence(kind, value)} (${kind}: the threshold is ${shown(kind, threshold)})`;
    this.news.push({ kind, state: 'raised', value, threshold, sinceMs: atMs, atMs, message });
  }

  private clear(kind: AlertKind, { threshold, sinceMs }: Raised, value: number, atMs: number): void {
    this.raised.delete(kind);
    const seconds = Math.round((atMs - sinceMs) / 1_000);
    const message = `${kind} is over, after ${seconds} s: ${value === 0 ? 'nothing to tell of it' : sentence(kind, value)}`;
    this.news.push({ kind, state: 'cleared', value, threshold, sinceMs, atMs, message });
  }
}

/** One that is raised. */
interface Raised {
  readonly threshold: number;
  readonly sinceMs: number;
  /** When the value last became worse. */
  changedMs: number;
}

function sentence(kind: AlertKind, value: number): string {
  const figure = shown(kind, value);
  switch (kind) {
    case 'highLatency':
      return `a round trip takes ${figure}`;
    case 'highLoss':
      return `${figure} of the packets are lost`;
    case 'excessiveRetransmissions':
      return `${figure} of the packets send something again`;
    case 'mtuChanged':
      return `the path carries datagrams of ${figure}`;
    default:
      return `a stream has got nothing through for ${figure}`;
  }
}

function shown(kind: AlertKind, value: number): string {
  if (kind === 'mtuChanged') return `${value} bytes`;
  const isTime = kind === 'highLatency' || kind === 'streamsStalled';
  return isTime ? `${Math.round(value)} ms` : `${(100 * value).toFixed(1)} %`;
}

const LOOKS_A_WINDOW = 10;
/** Round trips that are seen before their median means something. */
const ROUND_TRIPS_MIN = 3;
/** Packets of a window before a share of them means something, those that count among them, and packets for it to stay so. */
const PACKETS_MIN = 20;
const COUNT_MIN = 3;
const PACKETS_TO_STAY = 5;
/** Below this share of the threshold an alert is over. */
const CLEAR_SHARES: Readonly<Record<AlertKind, number>> = {
  highLatency: 0.8,
  highLoss: 0.5,
  excessiveRetransmissions: 0.5,
  mtuChanged: 1,
  streamsStalled: 0.5,
};
/** A size that is in use for so long is the usual one. */
const MTU_USUAL_MS = 60_000;
