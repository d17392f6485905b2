/**
 * What a process tells a monitor about its connections, and how that is taken from somebody else's text. Bounded: of thousands of connections
 * those with the most traffic are told whole, the others only counted. [CON-73]
 */

import { JspError } from '../base/errors.ts';
import { list, object, oneOf, real, type Shape, table, text } from '../base/shape.ts';
import type { ConnectionMetrics } from '../protocol/endpoint/index.ts';

/** A process, at one moment. */
export interface ProcessReport {
  readonly pid: number;
  /** What it runs. */
  readonly name: string;
  /** Time since some moment before it was first asked. */
  readonly atMs: number;
  /** Connections that are open, those that are not told included. */
  readonly connectionsOpen: number;
  /** Of all of its connections, those that are over included, as UDP payload. */
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** Those with the most traffic lately, in the order in which they were opened. */
  readonly connections: readonly ConnectionReport[];
}

export interface ConnectionReport {
  /** Counts up within a process. */
  readonly id: number;
  readonly role: 'client' | 'server';
  readonly remoteHost: string;
  readonly remotePort: number;
  readonly metrics: ConnectionMetrics;
}

/** A connection that can be told of. */
export interface Watchable {
  readonly role: 'client' | 'server';
  readonly remoteHost: string;
  readonly remotePort: number;
  metrics(): ConnectionMetrics;
}

/** What is counted of each connection, so that choosing the busiest needs no more. */
export interface Traffic {
  readonly bytesSent: number;
  readonly bytesReceived: number;
}

/** The open connections of this process. */
export class LiveConnections {
  private readonly live = new Map<Watchable, { readonly id: number; readonly traffic: Traffic }>();
  private nextId = 1;
  private sentBefore = 0;
  private receivedBefore = 0;

  get size(): number {
    return this.live.size;
  }

  add(connection: Watchable, traffic: Traffic): void {
    this.live.set(connection, { id: this.nextId++, traffic });
  }

  remove(connection: Watchable): void {
    const entry = this.live.get(connection);
    if (entry === undefined) return;
    this.live.delete(connection);
    this.sentBefore += entry.traffic.bytesSent;
    this.receivedBefore += entry.traffic.bytesReceived;
  }

  /**
   * Tells of the process and of its busiest connections.
   *
   * @param top - of how many; at most {@link TOP_MAX}
   * @param before - bytes of each at the last report to the same reader, by id; brought up to date
   */
  report(
    top: number,
    before: Map<number, number>,
    process: Pick<ProcessReport, 'pid' | 'name' | 'atMs'>,
  ): ProcessReport {
    let bytesSent = this.sentBefore;
    let bytesReceived = this.receivedBefore;
    const seen = new Map(before);
    before.clear();
    const busy: { connection: Watchable; id: number; bytes: number }[] = [];
    for (const [connection, { id, traffic }] of this.live) {
      const bytes = traffic.bytesSent + traffic.bytesReceived;
      bytesSent += traffic.bytesSent;
      bytesReceived += traffic.bytesReceived;
      before.set(id, bytes);
      busy.push({ connection, id, bytes: bytes - (seen.get(id) ?? 0) });
    }
    busy.sort((a, b) => b.bytes - a.bytes || a.id - b.id);
    const connections = busy
      .slice(0, Math.min(top, TOP_MAX))
      .sort((a, b) => a.id - b.id)
      .map(({ connection, id }) => reportOf(id, connection));
    return { ...process, connectionsOpen: this.live.size, bytesSent, bytesReceived, connections };
  }
}

export function reportOf(id: number, connection: Watchable): ConnectionReport {
  const { role, remoteHost, remotePort } = connection;
  return { id, role, remoteHost, remotePort, metrics: connection.metrics() };
}

/**
 * Reads what another process has told.
 *
 * @throws JspError ERR_JSP_MONITOR when it is no report
 */
export function parseReport(line: string): ProcessReport {
  try {
    const value: unknown = JSON.parse(line);
    reportShape(value, 'report');
    return value as ProcessReport; // whole: of another version there may be more
  } catch (error) {
    throw notOurs(error);
  }
}

function notOurs(cause: unknown): JspError {
  return new JspError(
    'ERR_JSP_MONITOR',
    'what answers there is no process of this version of jetstream-proto',
    { cause },
  );
}

/** Most connections of a report. */
export const TOP_MAX = 1_000;
const figure = real(-Number.MAX_VALUE, Number.MAX_VALUE);
const anyText = text(Number.POSITIVE_INFINITY); // the line is bounded
const queue = object({ bytes: figure, oldestMs: figure });

/** All figures that the screen shows: of another version there may be fewer. */
const metricsShape = object({
  queue: object({ system: queue, media: queue, chat: queue, bulk: queue }),
  limitedByMs: table(figure),
  congestionState: anyText,
  ageMs: figure,
  rttMs: figure,
  rttMinMs: figure,
  mtu: figure,
  congestionWindowBytes: figure,
  bytesInFlight: figure,
  pacingRate: figure,
  bytesSent: figure,
  bytesReceived: figure,
  packetsSent: figure,
  packetsLost: figure,
  packetsSpuriouslyLost: figure,
  retransmittedBytes: figure,
  repairsSent: figure,
  repeatsSent: figure,
  repeatsUsed: figure,
  packetsRecovered: figure,
  packetsRecoveredByPeer: figure,
  streamsOpen: figure,
  ptoCount: figure,
} satisfies Partial<Record<keyof ConnectionMetrics, Shape<unknown>>>);

const connectionShape = object({
  id: figure,
  role: oneOf(['client', 'server']),
  remoteHost: anyText,
  remotePort: figure,
  metrics: metricsShape,
});

const reportShape = object({
  pid: figure,
  name: anyText,
  atMs: figure,
  connectionsOpen: figure,
  bytesSent: figure,
  bytesReceived: figure,
  connections: list(connectionShape, TOP_MAX),
});
