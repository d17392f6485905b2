/** A broker's place in a cluster on NATS: opens the lines and the parts, and tells the core when the lines go down and come back. */

import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { JspError } from '../../../base/errors.ts';
import { MILLISECOND } from '../../../base/time.ts';
import type { Clock, TimerHandle } from '../../../udp/clock.ts';
import { withDefaultLog } from '../../core/store/retention.ts';
import type {
  Backplane,
  BackplaneMetrics,
  BackplaneSurroundings,
  NodeRecord,
  OwnRecord,
} from '../backplane.ts';
import { ClusterStore, StoreNews } from '../cluster-store.ts';
import type { BackplaneOptions } from '../options.ts';
import { claimsBucket } from './claim-stream.ts';
import { JetStreamLogs } from './jetstream-logs.ts';
import { NatsLine } from './line.ts';
import { NatsLive } from './live.ts';
import { loadNats, type NatsModules } from './modules.ts';
import { NatsClaims } from './nats-claims.ts';
import { type NatsParts, NatsPort } from './nats-port.ts';
import { News } from './news.ts';
import { NodeMessages } from './node-messages.ts';
import { NatsNodes, nodesBucket } from './nodes.ts';
import { keepBy } from './replicas.ts';
import { streamName, valuesStream } from './stream-config.ts';
import { NatsValues } from './values.ts';

/** @throws {JspError} ERR_JSP_BACKPLANE_UNAVAILABLE, ERR_JSP_BACKPLANE_FAILED */
export async function openNats(
  options: BackplaneOptions,
  surroundings: BackplaneSurroundings,
): Promise<NatsBackplane> {
  const modules = await loadNats();
  const node = options.node ?? nodeName();
  const told = { ...options, node };
  const lines: NatsLine[] = [];
  /** What has gone wrong meanwhile: a fault of ours at something that came, or something that NATS refuses. */
  const early: unknown[] = [];
  const keep = (error: unknown) => void early.push(error);
  const open = async (purpose: string, noEcho: boolean) => {
    const line = await NatsLine.open(modules, told, { purpose, noEcho });
    line.listener = { up: () => {}, down: () => {}, refused: keep, fault: keep };
    lines.push(line);
    return line;
  };
  const openAll = async () => {
    // The first tells what is wrong with all.
    const live = await open('live', true);
    const payload = live.nats.info?.max_payload ?? PAYLOAD_BYTES_MIN;
    if (payload < PAYLOAD_BYTES_MIN) {
      const what = `NATS takes messages of at most ${payload} bytes, and brokers say more than that to each other: set its max_payload to ${PAYLOAD_BYTES_MIN} or more`;
      throw new JspError('ERR_JSP_BACKPLANE_FAILED', `${what}.`);
    }
    const [group, store, log] = await Promise.all([
      open('groups', false),
      open('store', false),
      open('logs', false),
    ]);
    return NatsBackplane.on(modules, told, surroundings, { live, group, store, log });
  };
  const opening = openAll();
  try {
    const backplane = await inTime(opening, surroundings.clock, early);
    for (const fault of early) backplane.tellFault(fault);
    return backplane;
  } catch (error) {
    opening.then(
      (late) => late.close(),
      () => {},
    );
    await Promise.all(lines.map((line) => line.close()));
    throw error;
  }
}

/** However NATS behaves, a start comes to an end. */
async function inTime<T>(opening: Promise<T>, clock: Clock, early: readonly unknown[]): Promise<T> {
  let timer: TimerHandle | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = clock.setTimer(clock.now() + OPEN_MS * MILLISECOND, () => {
      const [cause] = early;
      const why = cause instanceof Error ? `: ${cause.message}` : '; look at its log';
      const message = `NATS was reached, but what a broker asks it at its start was not done within ${OPEN_MS / 1_000} s${why}`;
      reject(new JspError('ERR_JSP_BACKPLANE_FAILED', message, { cause }));
    });
  });
  try {
    return await Promise.race([opening, late]);
  } finally {
    if (timer !== undefined) clock.clearTimer(timer);
  }
}

/** Connections to NATS: none waits behind what another carries. */
interface NatsLines {
  readonly live: NatsLine;
  readonly group: NatsLine;
  readonly store: NatsLine;
  readonly log: NatsLine;
}

/** What the broker's core stands on. */
interface StoreParts {
  readonly logs: JetStreamLogs;
  readonly store: ClusterStore;
  readonly storeNews: StoreNews;
}

export class NatsBackplane implements Backplane {
  readonly port: NatsPort;
  readonly cluster: string;
  readonly store: ClusterStore;
  onTrouble: Backplane['onTrouble'] = () => {};
  private readonly news: News;
  private readonly lines: NatsLines;
  private readonly live: NatsLive;
  private readonly messages: NodeMessages;
  private readonly nodes: NatsNodes;
  private readonly logs: JetStreamLogs;
  private readonly claims: NatsClaims;
  private readonly storeNews: StoreNews;
  private readonly values: NatsValues;
  private reconnects = 0;
  private isClosed = false;
  private hearFault: Backplane['onFault'] | null = null;
  /** Of the time before anybody listened. */
  private readonly untoldFaults: unknown[] = [];

  private constructor(
    cluster: string,
    port: NatsPort,
    news: News,
    lines: NatsLines,
    parts: Pick<NatsParts, 'live' | 'messages' | 'nodes'> &
      StoreParts & { readonly claims: NatsClaims; readonly values: NatsValues },
  ) {
    this.cluster = cluster;
    this.port = port;
    this.news = news;
    this.lines = lines;
    this.live = parts.live;
    this.messages = parts.messages;
    this.nodes = parts.nodes;
    this.logs = parts.logs;
    this.claims = parts.claims;
    this.store = parts.store;
    this.storeNews = parts.storeNews;
    this.values = parts.values;
    this.listen();
  }

  static async on(
    modules: NatsModules,
    options: BackplaneOptions & { node: string },
    { clock, wallMs, version, logs: configured }: BackplaneSurroundings,
    lines: NatsLines,
  ): Promise<NatsBackplane> {
    const { cluster = 'main', replicas = 1, duplicateWindowMs = DUPLICATE_WINDOW_MS, node } = options;
    const number = randomBytes(4).readUInt32BE();
    const prefix = `jsp.${cluster}.`;
    const news = new News();
    const nowMs = () => clock.now() / MILLISECOND;
    const nodes = await NatsNodes.open(modules, lines.store, {
      ...{ cluster, replicas, nowMs, node, number, version },
      startedAt: wallMs(),
    });
    const live = new NatsLive({
      ...{ line: lines.live, groupLine: lines.group, news, prefix, node, number, nowMs },
    });
    nodes.interest = () => live.interest;
    const messages = new NodeMessages(lines.live, news, prefix, node);
    const storeNews = new StoreNews();
    const troubles = { tell: (_: string) => {} };
    const logs = await JetStreamLogs.open(configured, {
      ...{ modules, line: lines.log, node, clock, cluster, replicas, duplicateWindowMs },
      onTrouble: (trouble) => troubles.tell(trouble),
      push: (tell) => storeNews.push(tell),
      onPlaced: (record) => storeNews.placed(record),
    });
    const values = await NatsValues.open({
      ...{ modules, line: lines.store, news, cluster, replicas, duplicateWindowMs },
      ...{ node, run: number, nowMs, wallMs },
      onTrouble: (trouble) => troubles.tell(trouble),
    });
    const claims = await NatsClaims.open({
      ...{ modules, line: lines.store, cluster, replicas, prefix, own: { node, number } },
      isAlive: (run) => nodes.hasRun(run.node, run.number),
      nodes: () => nodes.list.map(({ node: name }) => name),
      tell: (tell) => news.push(tell),
      onNews: () => storeNews.push(() => {}),
    });
    const streams = [
      `KV_${nodesBucket(cluster)}`,
      `KV_${claimsBucket(cluster)}`,
      valuesStream(cluster),
      ...withDefaultLog(configured).map(({ name }) => streamName(cluster, name)),
    ];
    await keepBy(await modules.jetstream.jetstreamManager(lines.store.nats), streams, replicas);
    const store = new ClusterStore(logs.logs, claims, storeNews);
    const parts = {
      ...{ live, messages, nodes, logs, store, storeNews },
      ...{ claims, values },
    };
    const backplane = new NatsBackplane(cluster, new NatsPort(node, news, parts), news, lines, parts);
    troubles.tell = (trouble) => backplane.onTrouble(trouble);
    return backplane;
  }

  set onFault(onFault: Backplane['onFault']) {
    this.hearFault = onFault;
    for (const fault of this.untoldFaults.splice(0)) onFault(fault);
  }

  tellFault(fault: unknown): void {
    if (this.hearFault === null) this.untoldFaults.push(fault);
    else this.hearFault(fault);
  }

  set onNews(onNews: () => void) {
    this.news.onNews = onNews;
    this.storeNews.onNews = onNews;
    if (this.store.hasNews) onNews();
  }

  /** What this node says of itself to the others. */
  set describe(describe: () => OwnRecord) {
    this.nodes.describe = describe;
    this.announce();
  }

  announce(): void {
    this.nodes.writeSoon();
  }

  get members(): readonly NodeRecord[] {
    return this.nodes.list;
  }

  metrics(): BackplaneMetrics {
    return {
      ...this.live.metrics,
      invalid: this.live.metrics.invalid + this.messages.invalid,
      isConnected: this.port.isConnected,
      reconnects: this.reconnects,
      nodes: this.nodes.list.length,
      interest: this.live.interest,
      lagMs: this.nodes.lagMs,
      nodeMessagesUnsent: this.messages.unsent,
      logs: this.store.logs.map((log) => log.figures),
    };
  }

  async close(): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    await this.claims.close();
    await this.values.close();
    await this.nodes.close();
    this.logs.close();
    const { live, group, store, log } = this.lines;
    await Promise.all([live.close(), group.close(), store.close(), log.close()]);
  }

  private listen(): void {
    const { lines, news, port } = this;
    const look = () => {
      const isConnected = lines.live.isUp && lines.group.isUp && lines.store.isUp;
      if (isConnected === port.isConnected || this.isClosed) return;
      port.isConnected = isConnected;
      if (isConnected) {
        this.reconnects++;
        this.live.resume();
        this.claims.resume();
        this.nodes.writeSoon();
      }
      this.onTrouble(isConnected ? null : 'NATS cannot be reached');
      news.push((events) => (isConnected ? events.connected() : events.disconnected()));
    };
    const refused = (error: Error) => this.onTrouble(`NATS refuses something: ${error.message}`);
    const fault = (error: unknown) => this.tellFault(error);
    const listener = { up: look, down: look, refused, fault };
    lines.log.listener = { up: () => this.logs.up(), down: () => this.logs.down(), refused, fault };
    lines.live.listener = listener;
    lines.group.listener = listener;
    lines.store.listener = {
      ...{ refused, fault },
      up: () => {
        look();
        this.values.lineChanged(true);
      },
      down: () => {
        look();
        this.values.lineChanged(false);
      },
    };
    this.nodes.listener = {
      came: () => {},
      gone: (node) => {
        news.push((events) => events.nodeGone(node));
        this.claims.nodeGone();
      },
      lapsed: (isLapsed) => {
        this.claims.lapsed(isLapsed);
        news.push((events) => events.cutOff(isLapsed));
        if (!isLapsed && lines.store.isUp) this.values.lineChanged(true);
        this.onTrouble(isLapsed ? 'the other nodes take this one for gone' : null);
      },
      replaced: ({ urls }) => {
        const where = urls.length === 0 ? '' : ` (${urls[0]})`;
        const what = `another broker of the cluster is called "${port.node}", too${where}: give each its own name`;
        this.onTrouble(what, new JspError('ERR_JSP_BACKPLANE_FAILED', `${what}.`));
      },
    };
  }
}

function nodeName(): string {
  const machine = hostname()
    .replace(/[^A-Za-z0-9_-]/g, '-')
    .slice(0, 48);
  return `${machine || 'broker'}-${randomBytes(3).toString('hex')}`;
}

/** A start takes no longer. */
const OPEN_MS = 30_000;
/** A part of a message from node to node has 512 KiB [CLU-50], what belongs to a session a will and a note. */
const PAYLOAD_BYTES_MIN = 640 * 1_024;
/** For so long a change that comes again is known. */
const DUPLICATE_WINDOW_MS = 120_000;
