/**
 * The figures of a broker in the format of Prometheus, made from its report. Series are bounded: nothing is labelled by topic, client, session or subscription; logs, of which there are 64 at
 * most, and reasons are. [OPS-10]
 */

import type { Registry } from 'prom-client';
import type { Distribution, MetricsReport } from './snapshot.ts';

/** A page for a scrape. */
export interface Exposition {
  readonly contentType: string;
  readonly text: string;
}

type Value = (report: MetricsReport) => number | null;
type Labelled = (report: MetricsReport) => readonly (readonly [label: string, value: number | null])[];

/** A figure of the report; what is null is left out. */
interface Series {
  readonly name: string;
  readonly help: string;
  readonly kind: 'counter' | 'gauge' | 'summary';
  /** One figure, or one for each value of a label. */
  readonly value: Value | { readonly label: string; readonly each: Labelled };
}

export class PrometheusExport {
  private readonly report: () => MetricsReport;
  private registry: Promise<Registry> | null = null;
  private current: MetricsReport | null = null;

  constructor(report: () => MetricsReport) {
    this.report = report;
  }

  /** What a scrape gets: the figures of this second. */
  async page(): Promise<Exposition> {
    this.registry ??= this.register();
    const registry = await this.registry;
    this.current = this.report();
    return { contentType: registry.contentType, text: await registry.metrics() };
  }

  /** Loaded with the first scrape: a broker that nobody scrapes does without. */
  private async register(): Promise<Registry> {
    const prometheus = await import('prom-client');
    const registry = new prometheus.Registry();
    const report = () => this.current as MetricsReport;
    for (const series of SERIES) registry.registerMetric(metricOf(series, report) as never);
    for (const { name, help, of, scale } of DISTRIBUTIONS) {
      registry.registerMetric(distribution(name, help, () => of(report()), scale) as never);
    }
    return registry;
  }
}

function metricOf({ name, help, kind, value }: Series, report: () => MetricsReport) {
  return metric(name, help, kind, () => {
    const figures =
      typeof value === 'function'
        ? [{ labels: {}, value: value(report()) }]
        : value
            .each(report())
            .map(([label, figure]) => ({ labels: { [value.label]: label }, value: figure }));
    return figures.filter((each) => each.value !== null); // what is not known is not 0, but not there
  });
}

function distribution(name: string, help: string, of: () => Distribution, scale: number) {
  return metric(name, help, 'histogram', () => {
    const { bounds, counts, count, sum } = of();
    const buckets = bounds.map((bound, i) => ({
      metricName: `${name}_bucket`,
      labels: { le: Number((bound * scale).toPrecision(12)) },
      value: counts[i],
    }));
    return [
      ...buckets,
      { metricName: `${name}_bucket`, labels: { le: '+Inf' }, value: count },
      { metricName: `${name}_sum`, labels: {}, value: sum * scale },
      { metricName: `${name}_count`, labels: {}, value: count },
    ];
  });
}

/** Figures that were counted elsewhere, as a registry wants them. */
function metric(name: string, help: string, type: string, values: () => readonly object[]) {
  const aggregator = 'sum';
  return {
    ...{ name, help, type, aggregator },
    reset: () => {},
    get: async () => ({ name, help, type, values: values(), aggregator }),
  };
}

function counter(name: string, help: string, value: Series['value']): Series {
  return { name, help, kind: 'counter', value };
}

function gauge(name: string, help: string, value: Series['value']): Series {
  return { name, help, kind: 'gauge', value };
}

/** A figure of each log. */
function ofLogs(figure: (log: MetricsReport['logs'][number], at: number) => number | null): Series['value'] {
  return { label: 'log', each: ({ logs, at }) => logs.map((log) => [log.name, figure(log, at)] as const) };
}

const S = 1_000;
const STATES = ['ready', 'draining', 'readOnly'] as const;
const SERIES: readonly Series[] = [
  gauge('jsp_start_time_seconds', 'When the broker began, since 1970.', ({ startedAt }) => startedAt / S),
  gauge('jsp_state', 'The state that the broker is in has 1.', {
    label: 'state',
    each: ({ state }) => STATES.map((each) => [each, each === state ? 1 : 0] as const),
  }),
  counter('jsp_messages_in_total', 'Messages taken from publishers.', (r) => r.in.messages),
  counter('jsp_bytes_in_total', 'Bytes of messages taken from publishers.', (r) => r.in.bytes),
  counter(
    'jsp_messages_out_total',
    'Messages handed to the transports of subscribers.',
    (r) => r.out.messages,
  ),
  counter(
    'jsp_bytes_out_total',
    'Bytes of messages handed to the transports of subscribers.',
    (r) => r.out.bytes,
  ),
  counter('jsp_messages_stored_total', 'Messages given to logs.', (r) => r.stored),
  counter('jsp_messages_unrouted_total', 'Messages that no subscription matched.', (r) => r.unrouted),
  counter('jsp_publishes_refused_total', 'Messages of QoS 1 that were refused.', (r) => r.refused),
  counter('jsp_publishes_denied_total', 'Messages that their publishers may not publish.', (r) => r.denied),
  counter('jsp_publishes_duplicate_total', 'Messages of QoS 1 that came again.', (r) => r.duplicates),
  counter('jsp_messages_dropped_total', 'Deliveries that did not happen, by why.', {
    label: 'reason',
    each: ({ drops }) => Object.entries(drops),
  }),
  counter('jsp_messages_redelivered_total', 'Messages delivered again.', (r) => r.redelivered),
  counter('jsp_dead_letters_total', 'Messages given up and stored as dead letters.', (r) => r.deadLetters),
  counter(
    'jsp_clients_failed_total',
    'Connections closed for what their client sent.',
    (r) => r.clientsFailed,
  ),
  counter('jsp_requests_refused_total', 'Requests of clients that were refused.', (r) => r.requestsRefused),
  counter(
    'jsp_subscriptions_stalled_total',
    'Subscriptions given up because nobody read them.',
    (r) => r.stalled,
  ),
  counter('jsp_internal_errors_total', 'Faults of the broker itself.', (r) => r.internalErrors),
  gauge('jsp_clients', 'Connected clients.', (r) => r.clients),
  gauge('jsp_sessions', 'Sessions with a name, by whether their client is connected.', {
    label: 'presence',
    each: (r) => [
      ['present', r.sessions - r.sessionsAway],
      ['away', r.sessionsAway],
    ],
  }),
  gauge(
    'jsp_subscriptions',
    'Filters, counted once for each stream that holds them.',
    (r) => r.subscriptions,
  ),
  gauge('jsp_filters', 'Different filters.', (r) => r.filters),
  gauge('jsp_durables', 'Durable subscriptions and shared groups.', (r) => r.durables),
  gauge(
    'jsp_messages_unsettled',
    'Messages of logs that were delivered and are not settled.',
    (r) => r.unsettled,
  ),
  gauge('jsp_queued_messages', 'Messages that wait in queues.', (r) => r.queues.messages),
  gauge('jsp_queued_bytes', 'Charged bytes in queues.', (r) => r.queues.bytes),
  gauge('jsp_queued_bytes_max', 'What jsp_queued_bytes may be at most.', (r) => r.queues.bytesMax),
  gauge(
    'jsp_publishers_stopped',
    'Publishing streams that are stopped by full queues.',
    (r) => r.queues.stopped,
  ),
  gauge('jsp_transport_bytes', 'Bytes in the transports of all clients.', (r) => r.queues.transportBytes),
  gauge('jsp_retained_messages', 'Last values of topics.', (r) => r.retained.messages),
  gauge('jsp_retained_bytes', 'Bytes of the last values of topics.', (r) => r.retained.bytes),
  gauge(
    'jsp_log_bytes',
    'Bytes of a log.',
    ofLogs(({ bytes }) => bytes),
  ),
  gauge(
    'jsp_log_earliest_offset',
    'Offset of the first record that a log has.',
    ofLogs(({ earliest }) => earliest),
  ),
  gauge(
    'jsp_log_head_offset',
    'Offset of the next record of a log.',
    ofLogs(({ head }) => head),
  ),
  gauge(
    'jsp_log_unsynced_messages',
    'Records that a log has not stored yet.',
    ofLogs(({ head, synced }) => head - synced),
  ),
  gauge(
    'jsp_log_writable',
    'Whether a log takes records.',
    ofLogs(({ state }) => (state === 'open' ? 1 : 0)),
  ),
  gauge(
    'jsp_log_pending_messages',
    'Records on their way to a log of the cluster.',
    ofLogs(({ cluster }) => cluster?.pending ?? null),
  ),
  counter(
    'jsp_log_resent_total',
    'Records handed once more to a log of the cluster.',
    ofLogs(({ cluster }) => cluster?.resent ?? null),
  ),
  counter(
    'jsp_log_unreachable_total',
    'Records refused because a log of the cluster could not be reached.',
    ofLogs(({ cluster }) => cluster?.unreachable ?? null),
  ),
  gauge(
    'jsp_log_oldest_age_seconds',
    'Age of the oldest record of a log.',
    ofLogs(({ oldestAt }, at) => (oldestAt === null ? null : Math.max(0, at - oldestAt) / S)),
  ),
  gauge('jsp_store_free_bytes', 'What the disk of the store has left.', (r) => r.freeBytes),
  counter(
    'jsp_http_requests_total',
    'Requests that the gateway has answered, by the first digit of their status.',
    {
      label: 'status',
      each: ({ http }) => Object.entries(http?.byStatus ?? {}),
    },
  ),
  counter(
    'jsp_http_overloaded_total',
    'Requests that the gateway has refused because there was too much to do, by what there was too much of.',
    {
      label: 'excess',
      each: ({ http }) => Object.entries(http?.refused ?? {}),
    },
  ),
  gauge('jsp_http_in_flight', 'Requests that the gateway is answering.', (r) => r.http?.inFlight ?? null),
  gauge('jsp_websockets', 'Open WebSocket connections.', (r) => r.http?.webSockets ?? null),
  gauge('jsp_event_streams', 'Open streams of server-sent events.', (r) => r.http?.eventStreams ?? null),
  gauge('jsp_mqtt_clients', 'Clients of MQTT that are connected.', (r) => r.mqtt?.connected ?? null),
  counter('jsp_mqtt_packets_total', 'Packets of MQTT.', {
    label: 'direction',
    each: ({ mqtt }) => [
      ['in', mqtt?.packetsIn ?? null],
      ['out', mqtt?.packetsOut ?? null],
    ],
  }),
  counter('jsp_mqtt_messages_total', 'Messages of clients of MQTT, by what became of them.', {
    label: 'what',
    each: ({ mqtt }) => [
      ['published', mqtt?.published ?? null],
      ['refused', mqtt?.refused ?? null],
      ['delivered', mqtt?.delivered ?? null],
      ['tooLarge', mqtt?.tooLarge ?? null],
    ],
  }),
  counter('jsp_mqtt_disconnects_total', 'Clients of MQTT that were not let in, or let go, by why.', {
    label: 'reason',
    each: ({ mqtt }) => [
      ['refused', mqtt?.refusedConnects ?? null],
      ['protocol', mqtt?.protocolErrors ?? null],
      ['keepAlive', mqtt?.keepAliveTimeouts ?? null],
    ],
  }),
  gauge('jsp_cluster_connected', 'Whether the engine behind the broker can be reached.', ({ cluster }) =>
    cluster === null ? null : Number(cluster.connected),
  ),
  counter(
    'jsp_cluster_reconnects_total',
    'How often it was reached again.',
    (r) => r.cluster?.reconnects ?? null,
  ),
  gauge('jsp_cluster_lag_seconds', 'How long it took to store something small.', ({ cluster }) =>
    cluster === null ? null : cluster.lagMs / S,
  ),
  gauge('jsp_cluster_nodes', 'Nodes of the cluster, this one among them.', (r) => r.cluster?.nodes ?? null),
  gauge(
    'jsp_cluster_interest',
    'Filters that messages of other nodes come for.',
    (r) => r.cluster?.interest ?? null,
  ),
  gauge(
    'jsp_cluster_claims',
    'Sessions, durable subscriptions and shared groups of this node.',
    (r) => r.cluster?.claims ?? null,
  ),
  counter('jsp_cluster_claims_left_total', 'Those that another node has now, by how they left this one.', {
    label: 'reason',
    each: ({ cluster }) => [
      ['handedOver', cluster?.handedOver ?? null],
      ['lost', cluster?.lost ?? null],
    ],
  }),
  counter('jsp_cluster_messages_total', 'Live messages between this node and others.', {
    label: 'direction',
    each: ({ cluster }) => [
      ['in', cluster?.in.messages ?? null],
      ['out', cluster?.out.messages ?? null],
    ],
  }),
  counter(
    'jsp_cluster_messages_lost_total',
    'Live messages that did not get from node to node, and what came and was none, by why.',
    {
      label: 'reason',
      each: ({ cluster }) => [
        ['unsent', cluster?.unsent ?? null],
        ['tooLarge', cluster?.tooLarge ?? null],
        ['missed', cluster?.missed ?? null],
        ['invalid', cluster?.invalid ?? null],
      ],
    },
  ),
  {
    name: 'jsp_event_loop_delay_seconds',
    help: 'How late the event loop was in the last second.',
    kind: 'summary', // the label quantile is that of summaries alone
    value: {
      label: 'quantile',
      each: ({ loopDelay }) => [
        ['0.5', seconds(loopDelay.p50)],
        ['0.99', seconds(loopDelay.p99)],
        ['1', seconds(loopDelay.max)],
      ],
    },
  },
  gauge('jsp_cpu_cores', 'Cores that the process took in the last second.', (r) => r.cpu),
  gauge('jsp_resident_memory_bytes', 'Memory of the process.', (r) => r.memory.rss),
  gauge('jsp_heap_used_bytes', 'Heap in use.', (r) => r.memory.heap),
];

const DISTRIBUTIONS = [
  {
    name: 'jsp_deliver_seconds',
    help: 'From taking a message to handing it to the transport of a subscriber.',
    of: ({ distributions }: MetricsReport) => distributions.deliver,
    scale: 1 / S,
  },
  {
    name: 'jsp_commit_seconds',
    help: 'From taking a message to its being stored on the disk.',
    of: ({ distributions }: MetricsReport) => distributions.commit,
    scale: 1 / S,
  },
  {
    name: 'jsp_commit_group_messages',
    help: 'Messages stored by one sync.',
    of: ({ distributions }: MetricsReport) => distributions.group,
    scale: 1,
  },
] as const;

function seconds(ms: number | null): number {
  return (ms ?? 0) / S;
}

/** Names of all series, without the suffixes of histograms: for those who check what stands on them. */
export const PROMETHEUS_NAMES: readonly string[] = [
  ...SERIES.map(({ name }) => name),
  ...DISTRIBUTIONS.map(({ name }) => name),
];
