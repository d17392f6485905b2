/** What operators see of the cluster that a broker is a node of. */

import type { Backplane } from '../backplane/backplane.ts';
import type { BrokerMetrics } from '../core/output.ts';
import type { NodeFigures, NodeReport } from './snapshot.ts';

/** Figures of this node; null: it is alone. */
export function nodeFiguresOf({
  backplane,
  metrics,
}: {
  readonly backplane: Backplane | null;
  metrics(): BrokerMetrics;
}): NodeFigures | null {
  const { cluster } = metrics();
  if (backplane === null || cluster === null) return null;
  const engine = backplane.metrics();
  const { reconnects, lagMs, nodes, interest, tooLarge } = engine;
  const { missed, lateSubscriptions, claims, handedOver, lost } = cluster;
  return {
    ...{ connected: engine.isConnected, reconnects, lagMs, nodes, interest },
    ...{ claims, handedOver, lost },
    in: { messages: engine.messagesIn, bytes: engine.bytesIn },
    out: { messages: engine.messagesOut, bytes: engine.bytesOut },
    ...{
      unsent: engine.unsent,
      tooLarge,
      missed,
      invalid: engine.invalid + cluster.invalid,
      lateSubscriptions,
    },
  };
}

/** All nodes, by their names. */
export function nodeReports({ port, members }: Backplane): NodeReport[] {
  return members
    .map(({ number: _, urls, ...record }) => ({
      ...record,
      urls: [...urls],
      isAsked: record.node === port.node,
    }))
    .sort((a, b) => (a.node < b.node ? -1 : 1));
}
