/**
 * What a measurement of a link comes to: one document, of which the table, the JSON, the recommendation and the page are made. Times are in
 * milliseconds, rates in bits a second, shares from 0 to 1; what was not measured, or cannot be known, is null.
 */
import type { Delivery, TransportOptions } from '../../transport/options.ts';
import type { ProfileName } from '../../transport/profiles.ts';
import type { Protection } from '../../transport/protection.ts';
import type { Direction, Machine, Quantiles } from './control.ts';

export type Congestion = NonNullable<TransportOptions['congestion']>;

/** What was asked for. */
export interface LinkSettings {
  readonly direction: Direction;
  readonly mtus: readonly MtuChoice[];
  /** 0: as fast as congestion control lets it. */
  readonly bitsPerSecond: number;
  readonly streams: number;
  readonly delivery: Delivery;
  /** 0: what fits, by delivery and size of datagrams. */
  readonly messageBytes: number;
  /** `auto`: what suits the losses that were found. */
  readonly congestion: readonly Congestion[] | 'auto';
  readonly protection: Protection;
  /** Of each size, after {@link omitSeconds} of warm-up. */
  readonly seconds: number;
  readonly omitSeconds: number | null;
  /** Longest that datagrams are counted to know the loss; 0 for not at all. */
  readonly lossSeconds: number;
}

/** Bytes of UDP payload, or what the library finds. */
export type MtuChoice = number | 'auto';

/** Which way, of a run that goes one way or of one way of a run that goes both. */
export type OneWay = 'up' | 'down';

export interface LinkReport {
  readonly type: 'report';
  readonly version: 1;
  /** When it began, ISO 8601. */
  readonly startedAt: string;
  /** Host and port that were measured. */
  readonly target: string;
  /** IP version of the path. */
  readonly ipVersion: 4 | 6;
  readonly client: Machine;
  readonly server: Machine;
  readonly settings: LinkSettings;
  /** Why it ended before all was measured, in words; null when it did not. */
  readonly endedEarly: string | null;
  readonly clocks: Clocks;
  /** Round trips of small datagrams before anything else was sent. */
  readonly idle: RoundTrips | null;
  /** What a first transfer made of the path, to know what rate leaves room. */
  readonly soundedBitsPerSecond: number | null;
  /** Small datagrams at a fixed rate that leaves room: what is lost of them the link loses, not a queue. */
  readonly datagrams: readonly DatagramLoss[];
  readonly rows: readonly LinkRow[];
  readonly pathMtu: PathMtu | null;
  readonly recommendation: Recommendation;
}

/** Whether times of both ends can be compared. */
export type Clocks =
  | { readonly kind: 'same' }
  | {
      /** By the exchange with the shortest round trip: true within half of that, if both ways take as long. */
      readonly kind: 'estimated';
      readonly serverAheadMs: number;
      readonly uncertaintyMs: number;
    }
  | { readonly kind: 'unknown' };

export interface RoundTrips extends Quantiles {
  readonly sent: number;
  readonly returned: number;
  readonly jitterMs: number;
  /** One way, where the clocks allow. */
  readonly upMs: Quantiles | null;
  readonly downMs: Quantiles | null;
}

/** A share of so many, with its interval of confidence (Wilson, 95 %). */
export interface Share {
  readonly of: number;
  readonly count: number;
  readonly share: number;
  readonly low: number;
  readonly high: number;
}

export interface DatagramLoss {
  readonly direction: OneWay;
  /** What was offered. */
  readonly bitsPerSecond: number;
  readonly datagramBytes: number;
  readonly datagramsPerSecond: number;
  readonly seconds: number;
  /** Counted where they arrive: sent, and never came. */
  readonly loss: Share;
  readonly reordered: Share;
  /** Came twice or more. */
  readonly duplicated: number;
  /** Lost one behind the other, on average; 1 is each by itself. Null where nothing is lost. */
  readonly lossRunMean: number | null;
  readonly jitterMs: number | null;
  readonly oneWayMs: Quantiles | null;
}

/** How the path takes datagrams of a size. */
export type Carried =
  /** In one piece, as far as the systems of both ends know. */
  | 'whole'
  /** IP takes them apart on the way. */
  | 'fragments'
  /** They arrive; whether in one piece the system does not tell. */
  | 'unknown'
  /** They do not arrive. */
  | 'no';

export interface LinkRow {
  readonly asked: MtuChoice;
  /** UDP payload of the datagrams that were used; 0 where none arrived. */
  readonly mtu: number;
  readonly direction: OneWay;
  readonly congestion: Congestion;
  readonly carried: Carried;
  /** Round trips of datagrams of this size while nothing else was sent. */
  readonly idle: RoundTrips | null;
  readonly load: LoadFigures | null;
  /** Why there are no figures. */
  readonly failure: string | null;
}

/** One way of a run, from the end of its warm-up on. */
export interface LoadFigures {
  readonly seconds: number;
  /** Message bytes that arrived, once each. */
  readonly goodputBitsPerSecond: number;
  /** The same datagrams as IP packets. */
  readonly wireBitsPerSecond: number;
  /** Share of the bytes on the wire that was not messages. */
  readonly overhead: number;
  readonly datagramsPerSecond: number;
  readonly messagesPerSecond: number;
  /** Packets of the whole run that were sent and never came. */
  readonly loss: Share;
  readonly reordered: Share;
  readonly duplicated: number;
  /** Declared lost by the sender and arrived later. */
  readonly late: number;
  readonly retransmittedBytes: number;
  /** Messages that were due and that congestion control held back, as a share; of a fixed rate. */
  readonly heldBack: number;
  /** Round trips of probes on a connection of their own meanwhile. */
  readonly loaded: RoundTrips | null;
  /** Of best-effort messages. */
  readonly jitterMs: number | null;
  readonly oneWayMs: Quantiles | null;
  readonly outOfOrder: number | null;
  /** Share of one core. */
  readonly cpuSender: number;
  readonly cpuReceiver: number;
  /** How often the size in use was found not to be carried. */
  readonly mtuFalls: number;
  readonly intervals: readonly Interval[];
}

export interface Interval {
  /** Seconds from the end of the warm-up to that of the interval. */
  readonly at: number;
  readonly isWarmUp: boolean;
  readonly seconds: number;
  readonly goodputBitsPerSecond: number;
  readonly rttMs: number | null;
  /** Share of the packets sent in it that the sender has found lost in it. */
  readonly loss: number;
}

export interface PathMtu {
  /** The largest datagram, as UDP payload, that arrives (in one piece, where that is known). */
  readonly bytes: number;
  /** The smallest that is known not to. */
  readonly notBytes: number;
  readonly direction: OneWay;
  /** Larger ones vanish without a word, or IP takes them apart. */
  readonly larger: 'vanish' | 'fragment';
}

/** What to choose. */
export interface Recommendation {
  /** UDP payload; null where nothing was measured that says. */
  readonly mtu: number | null;
  readonly congestion: Congestion | null;
  readonly profile: ProfileName | null;
  /** For messages that must not wait for what is sent again. */
  readonly protection: 'off' | 'auto' | null;
  /** Most delay that this side should add in queues, in ms; null: as it comes. */
  readonly queueDelayMaxMs: number | null;
  /** A sentence for each of them, and for what else was found. */
  readonly reasons: readonly string[];
  /** What is wrong with the link, or with the measurement. */
  readonly warnings: readonly string[];
}

/** The ways that a run in this direction sends. */
export function waysOf(direction: Direction): readonly OneWay[] {
  return direction === 'both' ? ['up', 'down'] : [direction];
}

/** Interval of confidence of Wilson, at 95 %: good also where little or nothing was counted. */
export function shareOf(count: number, of: number): Share {
  if (of <= 0) return { of: 0, count: 0, share: 0, low: 0, high: 1 };
  const share = count / of;
  const z2 = Z * Z;
  const middle = (share + z2 / (2 * of)) / (1 + z2 / of);
  const half = (Z / (1 + z2 / of)) * Math.sqrt((share * (1 - share)) / of + z2 / (4 * of * of));
  return {
    of,
    count,
    share,
    low: count === 0 ? 0 : Math.max(0, middle - half),
    high: Math.min(1, middle + half),
  };
}

/** Bytes of IP and UDP headers in front of a datagram. */
export function ipUdpBytes(ipVersion: 4 | 6): number {
  return ipVersion === 4 ? 28 : 48;
}

/** Message bytes in a full datagram of a long transfer: what is not header, tag, or frame header [PKT] [FRM]. */
export function messageBytesIn(mtu: number): number {
  return Math.max(1, mtu - PACKET_OVERHEAD);
}

/**
 * What a row's goodput could have been: of the most that any row has shown its way of the link to carry, what headers and tags of full datagrams
 * of its size leave. Not by the row's own rate: one that a busy machine or a timid controller held down would seem to be all that there is.
 */
export function possibleBitsPerSecond(
  { ipVersion, rows }: Pick<LinkReport, 'ipVersion' | 'rows'>,
  row: LinkRow,
): number {
  const shown = rows.map(({ direction, load }) =>
    direction === row.direction ? (load?.wireBitsPerSecond ?? 0) : 0,
  );
  return (Math.max(0, ...shown) * messageBytesIn(row.mtu)) / (row.mtu + ipUdpBytes(ipVersion));
}

/** Whether its datagrams arrive as they should, in one piece as far as that is known. */
export function isCarriedWell(row: LinkRow): boolean {
  return row.load !== null && (row.carried === 'whole' || row.carried === 'unknown');
}

const Z = 1.96;
/** First byte, connection id, packet number, tag; of a MESSAGE frame with a fragment type, stream, sequence, offset, total, oldest, length. */
const PACKET_OVERHEAD = 1 + 8 + 2 + 16 + (1 + 1 + 2 + 2 + 2 + 1 + 2);
