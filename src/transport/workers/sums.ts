/**
 * What the workers of a server counted together. A worker that is started anew begins at 0: what the thread before it counted stays in the sums, so that no
 * counter of a server ever falls, as whoever reads the difference of two looks relies on. [WRK-11]
 */

import { EndpointCounters } from '../../protocol/endpoint/index.ts';
import { addCounters, type SocketMetrics, socketCounters } from '../../udp/datagram-socket.ts';
import type { ListenerMetrics } from '../listen.ts';
import type { HandOverCounters } from './fellows.ts';

/** What one worker counted since it was started. */
export interface WorkerMetrics extends ListenerMetrics, HandOverCounters {}

export class WorkerSums {
  /** What the thread of each worker told last. */
  private readonly latest: (WorkerMetrics | null)[];
  /** Counted by threads that have ended. */
  private ended = sumOf([]);

  constructor(count: number) {
    this.latest = Array.from({ length: count }, () => null);
  }

  /** A worker told what it counted. */
  heard(worker: number, metrics: WorkerMetrics): void {
    this.latest[worker] = metrics;
  }

  /** The thread of a worker has ended. */
  onEnded(worker: number): void {
    const last = this.latest[worker];
    this.latest[worker] = null;
    if (last === null) return;
    const { socket, ...rest } = last;
    const counted = { ...rest, ...OF_NOW, socket: { ...socket, ...OF_A_SOCKET_NOW } };
    this.ended = sumOf([counted, this.ended]);
  }

  get total(): WorkerMetrics {
    return sumOf([...this.latest.filter((metrics) => metrics !== null), this.ended]);
  }
}

function sumOf(all: readonly WorkerMetrics[]): WorkerMetrics {
  const sum: Record<string, number> = { ...new EndpointCounters(), ...NO_HAND_OVERS, ...OF_NOW };
  const socket = { ...socketCounters(), ...OF_A_SOCKET_NOW };
  for (const metrics of all) {
    for (const [name, value] of Object.entries(metrics)) {
      if (typeof value === 'number') sum[name] += value;
    }
    const { path: _, ...counters } = metrics.socket;
    addCounters(socket, counters);
  }
  const path = all[0]?.socket.path ?? 'custom';
  return { ...sum, socket: { ...socket, path } satisfies SocketMetrics } as unknown as WorkerMetrics;
}

/** Figures that are of the moment, which a thread that has ended has none of; all others are counters. */
const OF_NOW = { connectionsOpen: 0, memoryBytes: 0, memoryReservedBytes: 0, memoryBytesMax: 0 };
const OF_A_SOCKET_NOW = { receiveBufferBytes: 0, sendBufferBytes: 0 };
const NO_HAND_OVERS: HandOverCounters = { handedOver: 0, handOversDropped: 0, takenOver: 0 };
