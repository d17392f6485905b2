import type { ConnectionReport, ProcessReport } from '../../src/monitor/index.ts';
import type { ConnectionMetrics } from '../../src/protocol/endpoint/index.ts';
import { Pair } from '../protocol/connection/pair.ts';

/** Metrics of a connection that has not done anything, with some changed. */
export function metricsWith(changes: Partial<ConnectionMetrics> = {}): ConnectionMetrics {
  return { ...structuredClone(IDLE), ...changes };
}

export function connectionWith(
  id: number,
  metrics: Partial<ConnectionMetrics> = {},
  changes: Partial<ConnectionReport> = {},
): ConnectionReport {
  return {
    id,
    role: 'client',
    remoteHost: '192.0.2.7',
    remotePort: 4_577,
    metrics: metricsWith(metrics),
    ...changes,
  };
}

export function reportWith(
  atMs: number,
  connections: readonly ConnectionReport[],
  changes: Partial<ProcessReport> = {},
): ProcessReport {
  return {
    pid: 4_711,
    name: 'jsp broker',
    atMs,
    connectionsOpen: connections.length,
    bytesSent: 0,
    bytesReceived: 0,
    connections,
    ...changes,
  };
}

const IDLE = new Pair().connect().client.core.metrics();
