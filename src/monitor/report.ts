/**
 * What a process tells a monitor about its connections, and how that is taken from somebody else's text. Bounded: of thousands of connections
 * those with the most traffic are told whole, the others only counted. [CON-73]
 */

import { JspError } from '../base/errors.ts';
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
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    throw notOurs(error);
  }
  const report = value as ProcessReport;
  const isWhole =
    isObject(value) &&
    ['pid', 'atMs', 'connectionsOpen', 'bytesSent', 'bytesReceived'].every((name) => isFigure(value[name])) &&
    typeof report.name === 'string' &&
    Array.isArray(report.connections) &&
    report.connections.length <= TOP_MAX &&
    report.connections.every(isConnection);
  if (!isWhole) throw notOurs(null);
  return report;
}

/** With all figures that the screen shows: of another version there may be fewer. */
function isConnection(value: unknown): boolean {
  if (!isObject(value) || !isFigure(value.id) || !isFigure(value.remotePort)) return false;
  if (typeof value.remoteHost !== 'string' || (value.role !== 'client' && value.role !== 'server'))
    return false;
  const { metrics } = value;
  if (!isObject(metrics) || !isObject(metrics.queue) || !isObject(metrics.limitedByMs)) return false;
  const { limitedByMs, queue } = metrics;
  if (!Object.values(limitedByMs).every(isFigure) || typeof metrics.congestionState !== 'string')
    return false;
  const hasQueues = ['system', 'media', 'chat', 'bulk'].every(
    (name) => isObject(queue[name]) && isFigure(queue[name].bytes),
  );
  return hasQueues && FIGURES.every((name) => isFigure(metrics[name]));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isFigure(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
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
const FIGURES = [
  'ageMs',
  'rttMs',
  'rttMinMs',
  'mtu',
  'congestionWindowBytes',
  'bytesInFlight',
  'pacingRate',
  'bytesSent',
  'bytesReceived',
  'packetsSent',
  'packetsLost',
  'packetsSpuriouslyLost',
  'retransmittedBytes',
  'repairsSent',
  'repeatsSent',
  'repeatsUsed',
  'packetsRecovered',
  'packetsRecoveredByPeer',
  'streamsOpen',
  'ptoCount',
] as const satisfies readonly (keyof ConnectionMetrics)[];
