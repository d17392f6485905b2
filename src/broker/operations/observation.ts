/**
 * What a broker knows of itself, for those who run it: takes a snapshot each second, remembers those of the last 15 minutes and the last events, publishes both to whoever
 * subscribes to `$sys/feed` and `$sys/events`, and says whether the broker is ready. Requests of operators are answered by `AdminVerbs`. [OPS-2]
 */

import { statfs } from 'node:fs/promises';
import { hostname } from 'node:os';
import { Histogram } from '../../base/histogram.ts';
import { MILLISECOND } from '../../base/time.ts';
import type { Clock, TimerHandle } from '../../udp/clock.ts';
import type { Backplane } from '../backplane/backplane.ts';
import type { Inspection } from '../core/operations/inspection.ts';
import type { LatencySpan } from '../core/operations/latencies.ts';
import type { BrokerMetrics } from '../core/output.ts';
import type { StoreMetrics } from '../store/disk-store.ts';
import type { RecoveryReport } from '../store/open-store.ts';
import { nodeFiguresOf, nodeReports } from './cluster-report.ts';
import { EventLog, type Happening } from './event-log.ts';
import { HistoryRing } from './history.ts';
import { ProcessGauge } from './process-figures.ts';
import type {
  BrokerStatus,
  ClusterReport,
  Distribution,
  EventRecord,
  GatewayFigures,
  History,
  LatencyFigures,
  LogFigures,
  MetricsReport,
  MqttFigures,
  Snapshot,
  StatusReport,
} from './snapshot.ts';

/** The broker, as those who run it see it. */
export interface Operated {
  readonly clock: Clock;
  readonly wallMs: () => number;
  readonly url: string;
  readonly recovery: RecoveryReport | null;
  /** The engine behind it; null: it is alone. */
  readonly backplane: Backplane | null;
  /** It closes. */
  isDraining(): boolean;
  /** Clients are asked who they are. */
  readonly authenticates: boolean;
  metrics(): BrokerMetrics;
  storeMetrics(): StoreMetrics | null;
  /** Closes the connection with this number. False: there is none. */
  kick(client: number, by: string, reason: string): boolean;
  /** Closes the connection of a session that is on another node of the cluster. False: it is on none. */
  kickElsewhere(session: string, by: string, reason: string): Promise<boolean>;
  /** Calls `look`, and does what comes of it. */
  inspect<T>(look: (inspection: Inspection) => T): T;
  /** One of so many messages is timed. */
  timeMessages(oneOf: number): void;
  /** Hears each event that is kept. */
  onEvent(event: EventRecord): void;
}

/** Whether a broker is to be sent traffic, and why not. */
export interface Readiness {
  readonly ready: boolean;
  readonly state: BrokerStatus;
  /** A sentence each. */
  readonly reasons: readonly string[];
}

export class Observation {
  /** Figures of the gateway of this process; null: there is none. */
  gateway: (() => GatewayFigures) | null = null;
  /** Of each door for MQTT of this process. */
  readonly mqtt = new Set<() => MqttFigures>();
  /** Which release this is. */
  readonly version: string;
  readonly startedAt: number;
  private readonly broker: Operated;
  private readonly process = new ProcessGauge();
  private readonly history = new HistoryRing();
  private readonly eventLog: EventLog;
  private readonly totals: LatencySpan = {
    deliver: new Histogram(),
    commit: new Histogram(),
    group: new Histogram(),
  };
  private latest: Snapshot | null = null;
  private messagesInBefore = 0;
  private readonly oldest = new Map<string, { offset: number; at: number | null; lookedMs: number }>();
  private freeBytes: number | null = null;
  private freeLookedMs = Number.NEGATIVE_INFINITY;
  private secondMs = 0;
  /** Until when topics are counted, because somebody has asked for them. */
  private topicsUntilMs = Number.NEGATIVE_INFINITY;
  private timer: TimerHandle | null = null;

  constructor(broker: Operated, version: string) {
    this.broker = broker;
    this.version = version;
    this.startedAt = broker.wallMs();
    this.eventLog = new EventLog((event) => {
      this.tell(EVENTS_TOPIC, event);
      broker.onEvent(event);
    });
    this.secondMs = this.nowMs;
    this.later();
  }

  /** The snapshot of this second. */
  snapshot(): Snapshot {
    return this.latest ?? this.take();
  }

  /** The snapshot, with distributions of all since the start. */
  report(): MetricsReport {
    const { deliver, commit, group } = this.totals;
    return {
      ...this.snapshot(),
      distributions: {
        deliver: distributionOf(deliver, LATENCY_BOUNDS_MS, MICROS),
        commit: distributionOf(commit, LATENCY_BOUNDS_MS, MICROS),
        group: distributionOf(group, GROUP_BOUNDS, 1),
      },
    };
  }

  /** The cluster, as this node knows it. */
  cluster(): ClusterReport {
    const { backplane } = this.broker;
    return {
      at: Math.round(this.broker.wallMs()),
      cluster: backplane?.cluster ?? null,
      node: backplane?.port.node ?? null,
      figures: nodeFiguresOf(this.broker),
      nodes: backplane === null ? [] : nodeReports(backplane),
      logs: this.snapshot().logs,
    };
  }

  status(): StatusReport {
    const { broker } = this;
    const { state, reasons } = this.readiness();
    const { recovery } = broker;
    return {
      ...{ at: Math.round(broker.wallMs()), startedAt: this.startedAt, state, reasons: [...reasons] },
      ...{ version: this.version, node: process.version, url: broker.url },
      ...{ pid: process.pid, hostname: hostname() },
      recovery: recovery && {
        ...{ directory: recovery.directory, isNew: recovery.isNew, wasClosed: recovery.wasClosed },
        ...{ durationMs: recovery.durationMs, bytes: recovery.bytes, bytesVerified: recovery.bytesVerified },
        recordsDropped: recovery.recordsDropped,
        findings: recovery.findings.map((finding) => finding.message),
        logs: recovery.logs.map((log) => ({ ...log })),
        unused: [...recovery.unused],
      },
      limits: broker.inspect(({ limits }) => ({ ...limits })),
      authenticates: broker.authenticates,
    };
  }

  /** Whether it takes messages, and why not. [OPS-9] */
  readiness(): Readiness {
    const { broker } = this;
    const store = broker.storeMetrics();
    const reasons: string[] = [];
    for (const { name, life } of store?.logs ?? []) {
      if (life === 'full') reasons.push(`The log "${name}" takes nothing more: the disk is full.`);
      if (life === 'failed')
        reasons.push(`The log "${name}" has failed and takes nothing until the broker starts anew.`);
    }
    if (store?.stateLife === 'full') reasons.push('The state is not written any more: the disk is full.');
    if (store?.stateLife === 'failed')
      reasons.push('The state has failed: it is not written until the broker starts anew.');
    const state: BrokerStatus = broker.isDraining() ? 'draining' : reasons.length > 0 ? 'readOnly' : 'ready';
    if (broker.isDraining()) reasons.unshift('It is being closed: what is queued still goes out.');
    return { ready: state === 'ready', state, reasons };
  }

  /** The figures of the last so many seconds. */
  historyOf(seconds: number): History {
    return this.history.of(seconds);
  }

  /** Events after the one of this number. */
  eventsAfter(number: number, limit: number): EventRecord[] {
    return this.eventLog.after(number, limit);
  }

  /** Something has happened that those who run the broker want to know. */
  note(happening: Happening): void {
    this.eventLog.add(happening, Math.round(this.broker.wallMs()));
  }

  /** Logs, as of this second. */
  logs(): { logs: LogFigures[]; freeBytes: number | null } {
    const { logs, freeBytes } = this.snapshot();
    return { logs, freeBytes };
  }

  /** Somebody wants to know which topics have the most messages: they are counted for a while. [OPS-7] */
  watchTopics(): void {
    this.topicsUntilMs = this.nowMs + TOPICS_WATCHED_MS;
    this.broker.inspect((inspection) => inspection.countTopics(true));
  }

  close(): void {
    if (this.timer !== null) this.broker.clock.clearTimer(this.timer);
    this.timer = null;
    this.process.close();
  }

  private get nowMs(): number {
    return this.broker.clock.now() / MILLISECOND;
  }

  private later(): void {
    const { clock } = this.broker;
    this.timer = clock.setTimer(clock.now() + PERIOD_MS * MILLISECOND, () => {
      this.second();
      if (this.timer !== null) this.later();
    });
  }

  /** A second is over. */
  private second(): void {
    const { broker } = this;
    const { nowMs } = this;
    const seconds = (nowMs - this.secondMs) / 1_000;
    this.secondMs = nowMs;
    const snapshot = this.take();
    this.history.add(snapshot);
    this.eventLog.second(snapshot.at);
    const messages = snapshot.in.messages - this.messagesInBefore;
    this.messagesInBefore = snapshot.in.messages;
    broker.timeMessages(Math.max(1, Math.floor(messages / seconds / TIMED_A_SECOND)));
    broker.inspect((inspection) => {
      if (nowMs > this.topicsUntilMs) inspection.countTopics(false);
      inspection.fadeTopics(seconds);
    });
    this.lookAtDisk();
    this.tell(FEED_TOPIC, snapshot);
  }

  private tell(topic: string, value: object): void {
    this.broker.inspect((inspection) => {
      if (inspection.isHeard(topic)) inspection.tell(topic, Buffer.from(JSON.stringify(value)), JSON_TYPE);
    });
  }

  private take(): Snapshot {
    const { broker } = this;
    const metrics = broker.metrics();
    const latency = broker.inspect((inspection) => this.takeLatencies(inspection));
    const { memory, cpu, loopDelay } = this.process.take();
    const snapshot: Snapshot = {
      at: Math.round(broker.wallMs()),
      startedAt: this.startedAt,
      state: this.readiness().state,
      in: { messages: metrics.messagesIn, bytes: metrics.bytesIn },
      out: { messages: metrics.messagesOut, bytes: metrics.bytesOut },
      latency,
      queues: {
        messages: metrics.queuedMessages,
        bytes: metrics.queuedBytes,
        bytesMax: metrics.queuedBytesMax,
        stopped: metrics.publishersStopped,
        transportBytes: metrics.transportBytes,
      },
      drops: {
        oldest: metrics.droppedOldest,
        newest: metrics.droppedNewest,
        superseded: metrics.superseded,
        expired: metrics.droppedExpired,
        retention: metrics.droppedByRetention,
        tooLarge: metrics.droppedTooLarge,
        compressed: metrics.droppedCompressed,
        rejected: metrics.rejected,
        discarded: metrics.discarded,
        unauthorized: metrics.deliveriesWithheld,
      },
      expired: metrics.droppedExpired,
      deadLetters: metrics.deadLetters,
      redelivered: metrics.redelivered,
      unrouted: metrics.messagesUnrouted,
      refused: metrics.publishesRefused,
      denied: metrics.publishesDenied,
      duplicates: metrics.duplicates,
      stored: metrics.messagesStored,
      clientsFailed: metrics.clientsFailed,
      requestsRefused: metrics.requestsRefused,
      stalled: metrics.subscriptionsStalled,
      internalErrors: metrics.internalErrors,
      clients: metrics.clients,
      sessions: metrics.sessions,
      sessionsAway: metrics.sessionsAway,
      subscriptions: metrics.subscriptions,
      filters: metrics.filters,
      durables: metrics.durables,
      unsettled: metrics.unsettledMessages,
      retained: { messages: metrics.retainedMessages, bytes: metrics.retainedBytes },
      logs: broker.inspect((inspection) => this.logFigures(inspection)),
      freeBytes: this.freeBytes,
      memory,
      cpu,
      loopDelay,
      http: this.gateway?.() ?? null,
      mqtt: sumOf([...this.mqtt].map((figures) => figures())),
      cluster: nodeFiguresOf(broker),
    };
    this.latest = snapshot;
    return snapshot;
  }

  private takeLatencies(inspection: Inspection): Snapshot['latency'] {
    return inspection.takeLatencies((span) => {
      for (const kind of ['deliver', 'commit', 'group'] as const) {
        if (span[kind].count > 0) this.totals[kind].add(span[kind].counted);
      }
      return {
        deliver: figuresOf(span.deliver, MICROS),
        commit: figuresOf(span.commit, MICROS),
        group: figuresOf(span.group, 1),
      };
    });
  }

  private logFigures(inspection: Inspection): LogFigures[] {
    const onDisk = new Map(this.broker.storeMetrics()?.logs.map((log) => [log.name, log]));
    const ofCluster = new Map(this.broker.backplane?.metrics().logs.map((log) => [log.name, log]));
    return inspection.logs.map((log) => {
      const { name, isDurable: durable, epoch, earliest, head, synced, bytes } = log;
      const cluster = ofCluster.get(name) ?? null;
      const { segments = 0, life = 'open' } = (cluster === null ? onDisk.get(name) : undefined) ?? {};
      const state = cluster?.isReachable === false ? 'unreachable' : life;
      const oldestAt = this.oldestAt(inspection, log);
      const storedAt = inspection.storedAt(log);
      const lastSyncAt = storedAt === null ? null : Math.round(storedAt);
      const offsets = { earliest, head, synced, bytes, segments };
      return { name, durable, epoch, ...offsets, state, oldestAt, lastSyncAt, cluster };
    });
  }

  /** When the oldest record of a log was published, as far as that is known; looked at now and then. */
  private oldestAt(inspection: Inspection, log: Inspection['logs'][number]): number | null {
    const { name, earliest, synced } = log;
    if (earliest >= synced) return null;
    const known = this.oldest.get(name) ?? { offset: -1, at: null, lookedMs: Number.NEGATIVE_INFINITY };
    this.oldest.set(name, known);
    const isDue = this.nowMs - known.lookedMs >= OLDEST_LOOK_MS;
    if (known.offset !== earliest && (isDue || !log.isDurable)) {
      known.lookedMs = this.nowMs;
      inspection.readings.read(log, earliest, synced, 0, (records) => {
        const first = records?.[0];
        if (first === undefined) return;
        known.offset = earliest;
        known.at = first.publishedAt;
      });
    }
    return known.at;
  }

  private lookAtDisk(): void {
    const directory = this.broker.recovery?.directory;
    if (directory === undefined || this.nowMs - this.freeLookedMs < FREE_LOOK_MS) return;
    this.freeLookedMs = this.nowMs;
    statfs(directory).then(
      ({ bavail, bsize }) => {
        this.freeBytes = bavail * bsize;
      },
      () => {
        this.freeBytes = null; // the system does not say
      },
    );
  }
}

function figuresOf(histogram: Histogram, unit: number): LatencyFigures {
  const count = Math.round(histogram.count);
  if (count === 0) return { count, p50: null, p99: null, max: null };
  const at = (share: number) => Number((histogram.quantile(share) / unit).toFixed(4));
  return { count, p50: at(0.5), p99: at(0.99), max: at(1) };
}

function distributionOf(histogram: Histogram, bounds: readonly number[], unit: number): Distribution {
  return {
    bounds: [...bounds],
    counts: bounds.map((bound) => Math.round(histogram.countUpTo(bound * unit))),
    count: Math.round(histogram.count),
    sum: histogram.sum / unit,
  };
}

const FEED_TOPIC = '$sys/feed';
const EVENTS_TOPIC = '$sys/events';
const JSON_TYPE = { contentType: 'application/json' };
const PERIOD_MS = 1_000;
const MICROS = 1_000;
/** Messages of each second that are timed, about. */
const TIMED_A_SECOND = 200;
const TOPICS_WATCHED_MS = 30_000;
const FREE_LOOK_MS = 10_000;
const OLDEST_LOOK_MS = 5_000;
const LATENCY_BOUNDS_MS = [
  0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000,
];
const GROUP_BOUNDS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000];

/** Null: of nothing. */
function sumOf(all: readonly MqttFigures[]): MqttFigures | null {
  if (all.length === 0) return null;
  const sum: MqttFigures = { ...all[0] };
  for (const figures of all.slice(1)) {
    for (const name of Object.keys(sum) as (keyof MqttFigures)[]) sum[name] += figures[name];
  }
  return sum;
}
