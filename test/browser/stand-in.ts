/**
 * A gateway that has only what the dashboard asks it, with figures that are made up: for how the page looks with thousands of clients, in trouble, and with
 * hostile names, at whatever pace. That the figures of a real broker come through is tested with a real one.
 */

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import {
  type AdminVerbs,
  type ClientFigures,
  type ClusterReport,
  type DeadLetterFigures,
  type DropFigures,
  type DurableFigures,
  type EventRecord,
  HISTORY_FIGURES,
  type HistoryFigure,
  type ListQuery,
  type Page,
  type SessionFigures,
  type Snapshot,
  type StatusReport,
  type TopicFigures,
} from '../../src/broker/operations/snapshot.ts';
import { ownPort } from '../own-port.ts';

/** What the gateway sends with the page: nothing of another host, no script and no style but its own. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:";

export interface World {
  clients: ClientFigures[];
  sessions: SessionFigures[];
  durables: DurableFigures[];
  deadLetters: DeadLetterFigures[];
  topics: TopicFigures[];
  events: EventRecord[];
  /** Last values by topic, for whoever subscribes. */
  retained: Map<string, string>;
  snapshot: Snapshot;
  /** Samples of the past that `history` has. */
  historyLength: number;
  /** So many requests of operators are answered that there is too much to do. */
  overloadedFor: number;
  /** What a request must bring; null: anybody may. */
  credential: string | null;
}

export class StandIn {
  readonly world: World;
  /** Requests that changed something. */
  readonly orders: { verb: string; body: unknown }[] = [];
  readonly published: { topic: string; body: string; query: URLSearchParams }[] = [];
  private server: Server | null = null;
  private readonly streams = new Set<{ response: ServerResponse; filters: string[] }>();
  private port = 0;

  constructor(world: World) {
    this.world = world;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/`;
  }

  async start(): Promise<void> {
    const server = createServer((request, response) => void this.answer(request, response));
    if (this.port === 0) this.port = await ownPort();
    await once(server.listen(this.port, '127.0.0.1'), 'listening');
    this.server = server;
  }

  /** As a gateway that is killed: the port refuses. */
  async stop(): Promise<void> {
    const { server } = this;
    this.server = null;
    this.streams.clear();
    server?.closeAllConnections();
    if (server !== null) await once(server.close(), 'close');
  }

  /** A second passes: `seconds` of it at once, as fast as the page takes them. */
  tell(seconds = 1): void {
    for (let i = 0; i < seconds; i++) {
      advance(this.world.snapshot);
      this.deliver('$sys/feed', this.world.snapshot);
    }
  }

  happen(event: Omit<EventRecord, 'number' | 'at'>): void {
    const { events, snapshot } = this.world;
    const record = { number: (events.at(-1)?.number ?? 0) + 1, at: snapshot.at, ...event };
    events.push(record);
    this.deliver('$sys/events', record);
  }

  /** A message comes to all who watch. */
  deliver(topic: string, json: unknown, more: object = {}): void {
    const data = JSON.stringify({ topic, json, ...more });
    for (const { filters, response } of this.streams) {
      const isSystem = topic.startsWith('$');
      if (filters.includes(topic) || (!isSystem && filters.includes('#'))) {
        response.write(`event: message\ndata: ${data}\n\n`);
      }
    }
  }

  get watchers(): number {
    return this.streams.size;
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.url);
    const { pathname, searchParams } = url;
    const file = FILES[pathname];
    if (file !== undefined) {
      response.setHeader('content-type', file.type).setHeader('content-security-policy', POLICY);
      response.end(readFileSync(new URL(file.name, BUILT)));
      return;
    }
    const { credential } = this.world;
    if (credential !== null && request.headers.authorization !== `Bearer ${credential}`) {
      const status = request.headers.authorization === undefined ? 401 : 403;
      problem(response, status, 'NOT_AUTHORIZED', 'you may not');
      return;
    }
    if (pathname.startsWith('/v1/admin/') && this.world.overloadedFor > 0) {
      this.world.overloadedFor--;
      problem(response, 503, 'OVERLOADED', 'There is too much to do.');
      return;
    }
    if (pathname === '/v1/events') this.openStream(response, searchParams.getAll('filter'));
    else if (pathname.startsWith('/v1/admin/')) {
      const verb = pathname.slice('/v1/admin/'.length) as keyof AdminVerbs;
      const body = request.method === 'POST' ? JSON.parse(await bodyOf(request)) : queryOf(searchParams);
      if (request.method === 'POST') this.orders.push({ verb, body });
      json(response, 200, this.admin(verb, body));
    } else if (pathname.startsWith('/v1/topics/') && request.method === 'POST') {
      const topic = pathname.slice('/v1/topics/'.length).split('/').map(decodeURIComponent).join('/');
      this.published.push({ topic, body: await bodyOf(request), query: searchParams });
      json(response, 200, { offset: this.published.length - 1, epoch: 1, duplicate: false });
    } else problem(response, 404, 'NOT_FOUND', 'there is nothing');
  }

  private openStream(response: ServerResponse, filters: string[]): void {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    response.write('retry: 1000\nevent: open\ndata: {}\n\n');
    const stream = { response, filters };
    this.streams.add(stream);
    response.on('close', () => this.streams.delete(stream));
    if (!filters.includes('#')) return;
    for (const [topic, text] of this.world.retained) {
      response.write(`event: message\ndata: ${JSON.stringify({ topic, text, retained: true })}\n\n`);
    }
  }

  private admin(verb: keyof AdminVerbs, request: ListQuery & { client?: number }): unknown {
    const { world } = this;
    const { at, freeBytes, logs } = world.snapshot;
    switch (verb) {
      case 'status':
        return statusOf(world.snapshot);
      case 'metrics':
        return world.snapshot;
      case 'history':
        return historyOf(world);
      case 'events':
        return { items: world.events };
      case 'clients':
        return pageOf(at, world.clients, request);
      case 'sessions':
        return pageOf(at, world.sessions, request);
      case 'durables':
        return pageOf(at, world.durables, request);
      case 'logs':
        return { at, logs, freeBytes };
      case 'topics':
        return { at, topics: world.topics.slice(0, request.limit ?? 100) };
      case 'cluster':
        return clusterOf(world.snapshot);
      case 'dead-letters':
        return { at, items: world.deadLetters, next: null };
      case 'redrive':
        return { redriven: 1, failed: [], next: null };
      case 'kick': {
        const before = world.clients.length;
        world.clients = world.clients.filter(({ id }) => id !== request.client);
        return { kicked: before - world.clients.length };
      }
    }
  }
}

/** A broker that has been busy for a while. */
export function busyWorld(clients = 40): World {
  const at = Date.now();
  const startedAt = at - 3 * 86_400_000 - 4 * 3_600_000;
  const names = ['kitchen', 'hall', 'cellar', 'roof', 'garage', 'pump', 'gate', 'lift'];
  return {
    clients: Array.from({ length: clients }, (_, i) => clientOf(i, at)),
    sessions: names.map((name, i) => ({
      name: `worker-${name}`,
      state: i % 4 === 3 ? 'away' : 'present',
      principal: i % 2 === 0 ? 'shop' : '',
      client: i % 4 === 3 ? null : i,
      expiryMs: 3_600_000,
      expiresAt: i % 4 === 3 ? at + 1_800_000 : null,
      subscriptions: 1 + (i % 3),
    })),
    durables: names.map((name, i) => ({
      name: i % 3 === 0 ? `$share/workers/${name}` : `orders-${name}`,
      log: i % 2 === 0 ? 'orders' : 'default',
      subscribers: i % 4,
      position: 1_000_000 + i * 1_000,
      lag: i === 2 ? 48_200 : i * 3,
      lagChange: i === 2 ? 120 : i === 3 ? -40 : 0,
      lagMs: i === 2 ? 402_000 : i * 40,
      unsettled: i * 5,
      unacked: i * 2,
      redelivered: i,
      nextRetryAt: i === 2 ? at + 4_000 : null,
    })),
    deadLetters: [
      {
        log: 'default',
        offset: 17,
        topic: 'dead/orders',
        originTopic: 'orders/table-7',
        originOffset: 991,
        certain: true,
        attempts: 5,
        reason: 'the printer is out of paper',
        at: at - 60_000,
        bytes: 22,
        preview: Buffer.from('{"coffee":2,"cake":1}').toString('base64'),
      },
    ],
    topics: names.map((name, i) => ({
      topic: `sensors/${name}/temperature`,
      rate: 4_000 / (i + 1) ** 1.5,
      bytesRate: 900_000 / (i + 1) ** 1.5,
      subscribers: 1 + (i % 4),
    })),
    events: EVENTS.map(([what, principal, detail], i) => ({
      number: i + 1,
      at: at - (EVENTS.length - i) * 47_000,
      what,
      principal,
      address: `192.0.2.${10 + i}`,
      door: i % 2 === 0 ? 'native' : 'websocket',
      detail,
    })),
    retained: new Map(
      names.flatMap((name, i) => [
        [`sensors/${name}/temperature`, String(18 + i / 2)],
        [`sensors/${name}/state`, '{"on":true,"since":"2026-11-25T08:00:00Z"}'],
      ]),
    ),
    snapshot: snapshotOf(at, startedAt, clients),
    historyLength: 900,
    overloadedFor: 0,
    credential: null,
  };
}

/** One that has just started, and that nobody uses. */
export function emptyWorld(): World {
  const at = Date.now();
  const snapshot = snapshotOf(at, at - 8_000, 0);
  const zero = { count: 0, p50: null, p99: null, max: null };
  Object.assign(snapshot, {
    in: { messages: 0, bytes: 0 },
    out: { messages: 0, bytes: 0 },
    latency: { deliver: zero, commit: zero, group: zero },
    queues: { messages: 0, bytes: 0, bytesMax: 256e6, stopped: 0, transportBytes: 0 },
    drops: NOTHING_DROPPED,
    expired: 0,
    deadLetters: 0,
    stored: 0,
    sessionsAway: 0,
    subscriptions: 0,
    durables: 0,
    unsettled: 0,
    retained: { messages: 0, bytes: 0 },
    logs: [],
    freeBytes: null,
  } satisfies Partial<Snapshot>);
  return {
    clients: [],
    sessions: [],
    durables: [],
    deadLetters: [],
    topics: [],
    events: [],
    retained: new Map(),
    snapshot,
    historyLength: 0,
    overloadedFor: 0,
    credential: null,
  };
}

export function clientOf(i: number, at: number): ClientFigures {
  const isNative = i % 3 !== 1;
  const queuedMessages = i % 17 === 3 ? 1_200 + i : i % 5;
  return {
    id: i,
    session: i % 4 === 0 ? `worker-${i}` : null,
    principal: i % 2 === 0 ? `sensor-${i}` : '',
    kind: i % 2 === 0 ? 'apiKey' : 'anonymous',
    door: isNative ? 'native' : 'websocket',
    address: `192.0.2.${i % 250}:${40_000 + i}`,
    connectedAt: at - 1_000 * (i * 37 + 5),
    messagesIn: i * 901,
    messagesOut: i * 1_703,
    rateIn: (i * 7919) % 400,
    rateOut: (i * 104_729) % 900,
    subscriptions: 1 + (i % 4),
    streams: 2,
    queuedMessages,
    queuedBytes: queuedMessages * 220,
    transportBytes: (i * 331) % 9_000,
    stopped: i === 20 ? 1 : 0,
    overflow: i % 2 === 0 ? 'block' : 'dropOldest',
    unacked: i % 9,
    oldestUnackedAt: i % 9 === 0 ? null : at - 1_200,
    link: isNative
      ? {
          rttMs: 0.4 + ((i * 7) % 90),
          loss: i % 11 === 2 ? 0.081 : 0.0004,
          packetsRecovered: i % 11 === 2 ? 412 : 0,
          packetsLost: i * 3,
          packetsSent: i * 1_900,
          packetsReceived: i * 1_700,
          bytesSent: i * 1_000_000,
          bytesReceived: i * 800_000,
          mtu: 1_452,
        }
      : null,
  };
}

/** Figures a second later, with some life in them. */
function advance(snapshot: Snapshot): void {
  snapshot.at += 1_000;
  const second = Math.round(snapshot.at / 1_000);
  const rate = Math.round(rateAt(second));
  snapshot.in.messages += rate;
  snapshot.in.bytes += rate * 260;
  snapshot.out.messages += rate * 3;
  snapshot.out.bytes += rate * 3 * 260;
  snapshot.stored += Math.round(rate / 4);
  const { deliver, commit, group } = snapshot.latency;
  if (deliver.p50 !== null) {
    Object.assign(deliver, {
      count: rate,
      p50: 0.11 + wave(second, 31) * 0.05,
      p99: 0.7 + wave(second, 13) * 0.6,
      max: 4,
    });
    Object.assign(commit, {
      count: rate / 4,
      p50: 1.1 + wave(second, 19) * 0.4,
      p99: 3.4 + wave(second, 7) * 2,
      max: 9,
    });
    Object.assign(group, { count: 900, p50: 2 + Math.round(wave(second, 23) * 9), p99: 24, max: 40 });
  }
  snapshot.queues.messages = Math.round(120 + 900 * wave(second, 41) ** 4);
  snapshot.queues.bytes = snapshot.queues.messages * 300;
  snapshot.drops.oldest += second % 60 < 8 ? 14 : 0;
  snapshot.expired += second % 45 < 3 ? 6 : 0;
  snapshot.memory.heap = 62e6 + 18e6 * ((second % 30) / 30);
  snapshot.memory.rss = 158e6 + 2e6 * wave(second, 300);
  snapshot.cpu = 0.24 + 0.1 * wave(second, 60);
}

function rateAt(second: number): number {
  return 9_000 + 5_000 * wave(second, 240) + 1_500 * wave(second, 17) + 400 * wave(second, 3);
}

function wave(second: number, period: number): number {
  return (1 + Math.sin((2 * Math.PI * second) / period)) / 2;
}

function snapshotOf(at: number, startedAt: number, clients: number): Snapshot {
  return {
    at,
    startedAt,
    state: 'ready',
    in: { messages: 2_403_991_227, bytes: 625e9 },
    out: { messages: 7_210_332_014, bytes: 1.87e12 },
    latency: {
      deliver: { count: 9_000, p50: 0.12, p99: 0.9, max: 3.1 },
      commit: { count: 2_000, p50: 1.2, p99: 4.4, max: 9.3 },
      group: { count: 800, p50: 4, p99: 24, max: 40 },
    },
    queues: { messages: 132, bytes: 40_120, bytesMax: 256e6, stopped: 0, transportBytes: 81_000 },
    drops: { ...NOTHING_DROPPED, oldest: 48_112, superseded: 2_104, expired: 311, tooLarge: 3 },
    expired: 311,
    deadLetters: 12,
    redelivered: 41,
    unrouted: 9_001,
    denied: 0,
    refused: 0,
    duplicates: 4,
    stored: 601_223_008,
    clientsFailed: 2,
    requestsRefused: 7,
    stalled: 1,
    internalErrors: 0,
    clients,
    sessions: 8,
    sessionsAway: 2,
    subscriptions: clients * 2,
    filters: 118,
    durables: 8,
    unsettled: 260,
    retained: { messages: 16, bytes: 2_400 },
    logs: [logOf('orders', at, 18_223_118, 9.2e9), logOf('default', at, 1_004_112, 4.1e8)],
    freeBytes: 182e9,
    memory: { rss: 160e6, heap: 70e6, heapTotal: 96e6 },
    cpu: 0.31,
    loopDelay: { p50: 0.4, p99: 2.1, max: 6.2 },
    http: {
      requests: 91_201,
      byStatus: { '2xx': 91_100, '4xx': 101 },
      webSockets: 12,
      eventStreams: 3,
      inFlight: 1,
      refused: { delay: 0, requests: 0, bytes: 0 },
    },
    mqtt: null,
    cluster: null,
  };
}

/** This broker and another one, which is closing; of one that is alone, nothing. */
function clusterOf({ at, cluster }: Snapshot): ClusterReport {
  const node = {
    ...{ node: 'north-1', isAsked: true, urls: ['jsp://AAAA@north.example:4433'], version: '0.1.0' },
    ...{
      startedAt: at - 7_200_000,
      clients: 40,
      sessions: 8,
      claims: 16,
      interest: 118,
      lagMs: 1.2,
      draining: false,
    },
  };
  const other = { ...node, node: 'south<b>1</b>', isAsked: false, clients: 3, draining: true };
  const nodes = cluster === null ? [] : [node, other];
  return { at, cluster: cluster && 'main', node: cluster && 'north-1', figures: cluster, nodes, logs: [] };
}

function logOf(name: string, at: number, messages: number, bytes: number): Snapshot['logs'][number] {
  return {
    name,
    durable: true,
    epoch: 1,
    earliest: 4_000,
    head: 4_000 + messages,
    synced: 3_998 + messages,
    bytes,
    segments: Math.ceil(bytes / 67e6),
    state: 'open',
    cluster: null,
    oldestAt: at - 86_400_000 * 2,
    lastSyncAt: at - 1_000,
  };
}

function statusOf({ at, startedAt, state }: Snapshot): StatusReport {
  return {
    at,
    startedAt,
    state,
    reasons: state === 'readOnly' ? ['The log “orders” has failed: EIO at fdatasync.'] : [],
    version: '0.1.0',
    node: 'v20.19.0',
    url: 'jsp://AAAA@127.0.0.1:4577',
    pid: 1,
    hostname: 'lab',
    recovery: {
      directory: '/var/lib/jsp',
      isNew: false,
      wasClosed: false,
      durationMs: 212,
      bytes: 9.6e9,
      bytesVerified: 9.6e9,
      recordsDropped: 3,
      findings: ['orders: a torn tail of 3 records that were never acknowledged'],
      logs: [],
      unused: [],
    },
    limits: {},
    authenticates: false,
  };
}

function historyOf({ historyLength, snapshot }: World): AdminVerbs['history']['answer'] {
  const at: number[] = [];
  const columns = Object.fromEntries(
    HISTORY_FIGURES.map((name) => [name, [] as (number | null)[]]),
  ) as Record<HistoryFigure, (number | null)[]>;
  const past = structuredClone(snapshot);
  past.at -= historyLength * 1_000;
  for (let i = 0; i < historyLength; i++) {
    const before = structuredClone(past);
    advance(past);
    at.push(past.at);
    const of: Partial<Record<HistoryFigure, number | null>> = {
      in: past.in.messages - before.in.messages,
      out: past.out.messages - before.out.messages,
      bytesIn: past.in.bytes - before.in.bytes,
      bytesOut: past.out.bytes - before.out.bytes,
      drops: past.drops.oldest - before.drops.oldest,
      expired: past.expired - before.expired,
      deadLetters: 0,
      refused: 0,
      deliverP50: past.latency.deliver.p50,
      deliverP99: past.latency.deliver.p99,
      commitP50: past.latency.commit.p50,
      commitP99: past.latency.commit.p99,
      group: past.latency.group.p50,
      queuedMessages: past.queues.messages,
      queuedBytes: past.queues.bytes,
      stopped: 0,
      clients: past.clients,
      sessionsAway: past.sessionsAway,
      rss: past.memory.rss,
      heap: past.memory.heap,
      cpu: past.cpu,
      loopDelayP99: past.loopDelay.p99,
    };
    for (const name of HISTORY_FIGURES) columns[name].push(of[name] ?? null);
  }
  return { periodMs: 1_000, at, columns };
}

function pageOf<T>(
  at: number,
  all: readonly T[],
  { limit = 100, offset = 0, search = '', sort = '' }: ListQuery,
): Page<T> {
  const wanted = search.toLowerCase();
  const matching = all.filter((each) =>
    Object.values(each as object).some(
      (value) => typeof value === 'string' && value.toLowerCase().includes(wanted),
    ),
  );
  const descending = sort.startsWith('-');
  const name = sort.replace(/^-/, '') as keyof T;
  const key = (of: T): number | string => {
    const value = of[name] ?? (of as { link?: Record<string, number> | null }).link?.[name as string];
    return (value ?? '') as number | string;
  };
  if (sort !== '') {
    matching.sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0) * (descending ? -1 : 1));
  }
  return {
    at,
    total: all.length,
    matched: matching.length,
    items: matching.slice(offset, offset + limit),
  };
}

function queryOf(query: URLSearchParams): ListQuery {
  return Object.fromEntries(
    [...query].map(([name, value]) => [
      name,
      /^\d+$/.test(value) && name !== 'search' ? Number(value) : value,
    ]),
  );
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

function problem(response: ServerResponse, status: number, code: string, detail: string): void {
  response
    .writeHead(status, { 'content-type': 'application/problem+json' })
    .end(JSON.stringify({ type: 'about:blank', status, code, detail }));
}

const FILES: Readonly<Record<string, { name: string; type: string }>> = {
  '/': { name: 'index.html', type: 'text/html; charset=utf-8' },
  '/app.js': { name: 'app.js', type: 'text/javascript; charset=utf-8' },
  '/app.css': { name: 'app.css', type: 'text/css; charset=utf-8' },
};
const NOTHING_DROPPED: DropFigures = {
  oldest: 0,
  newest: 0,
  superseded: 0,
  expired: 0,
  retention: 0,
  tooLarge: 0,
  compressed: 0,
  rejected: 0,
  discarded: 0,
  unauthorized: 0,
};
const BUILT = new URL('../../dist/gateway/dashboard/', import.meta.url);
const EVENTS: readonly [string, string, string][] = [
  ['ready', '', 'after 0.21 s'],
  ['authenticated', 'sensor-12', 'by API key “lab”'],
  ['denied', 'visitor', 'publish to orders/table-7'],
  ['limited', 'sensor-40', 'more than 500 messages a second'],
  ['takeover', 'worker-4', 'another connection has taken the session'],
  ['reload', '', 'auth, limits'],
  ['kicked', 'sensor-9', 'by admin'],
  ['authenticated', 'dashboard', 'by API key “ops”'],
];
