/** What an operator lists: clients, sessions, durable subscriptions. A page is chosen by a look at each; all that costs more is found for the page alone. [OPS-3] */

import { OVERFLOW_NAMES } from '../../pubsub/command.ts';
import { EXPIRY_NEVER } from '../../pubsub/session-commands.ts';
import type { Client } from '../core/delivery/client.ts';
import type { DurableMetrics } from '../core/durable/consumers.ts';
import type { Inspection } from '../core/operations/inspection.ts';
import { type Session, SessionState } from '../core/session/session.ts';
import type { ClientFigures, DurableFigures, ListQuery, Page, SessionFigures } from './snapshot.ts';

/** A list cannot be sorted like that. */
export class SortFault extends Error {}

type Key<T> = (item: T) => number | string;

/** How fast something was, at the last two times that somebody looked and that lie apart. */
interface Pace {
  atMs: number;
  in: number;
  out: number;
  rateIn: number;
  rateOut: number;
}

/** A client as the list goes through it. */
interface ListedClient {
  readonly client: Client;
  readonly session: Session;
  readonly messagesIn: number;
  readonly messagesOut: number;
  readonly pace: Pace;
}

export class Lists {
  private readonly inspection: Inspection;
  private readonly paces = new WeakMap<Client, Pace>();
  /** Lag of durable subscriptions when somebody looked last, and since when what they are to read next was there. */
  private lags = new Map<
    string,
    { atMs: number; lag: number; change: number; position: number; publishedAt: number | null }
  >();

  constructor(inspection: Inspection) {
    this.inspection = inspection;
  }

  clients(query: ListQuery): Page<ClientFigures> {
    const all: ListedClient[] = [];
    for (const [client, session] of this.inspection.clients) all.push(this.listed(client, session));
    const search = query.search?.toLowerCase() ?? '';
    const found = all.filter(
      ({ client, session }) =>
        search === '' ||
        contains(
          search,
          session.name,
          client.principal?.name,
          client.peer.facts?.address,
          client.peer.facts?.door,
        ),
    );
    const items = pageOf(found, query, CLIENT_KEYS).map((each) => this.clientFigures(each));
    return { at: this.inspection.wallMs, total: all.length, matched: found.length, items };
  }

  sessions(query: ListQuery): Page<SessionFigures> {
    const all = [...this.inspection.sessions()];
    const search = query.search?.toLowerCase() ?? '';
    const found = search === '' ? all : all.filter(({ name }) => contains(search, name));
    const items = pageOf(found, query, SESSION_KEYS).map((session) => ({
      name: session.name ?? '',
      state: session.state === SessionState.PRESENT ? ('present' as const) : ('away' as const),
      principal: session.client?.principal?.name ?? '',
      client: session.client?.id ?? null,
      expiryMs: session.expiryMs === EXPIRY_NEVER ? null : session.expiryMs,
      expiresAt: this.inspection.sessionOverAt(session),
      subscriptions: session.filterCount,
    }));
    return { at: this.inspection.wallMs, total: all.length, matched: found.length, items };
  }

  /** Calls `done` with a page, when it is known how old is what each is to read next, or that this takes longer. */
  durables(query: ListQuery, done: (page: Page<DurableFigures>) => void): void {
    const all = [...this.inspection.durables()];
    const search = query.search?.toLowerCase() ?? '';
    const found = search === '' ? all : all.filter(({ name, log }) => contains(search, name, log));
    const page = pageOf(found, query, DURABLE_KEYS);
    const before = this.lags;
    this.lags = new Map();
    let open = page.length + 1;
    const close = () => {
      if (--open > 0) return;
      const items = page.map((durable) => this.durableFigures(durable));
      done({ at: this.inspection.wallMs, total: all.length, matched: found.length, items });
    };
    for (const durable of page) this.measure(durable, before.get(durable.name), close);
    close();
  }

  private listed(client: Client, session: Session): ListedClient {
    let messagesIn = client.commandsIn;
    let messagesOut = client.commandsOut;
    for (const channel of client.channels) {
      messagesIn += channel.commandsIn;
      messagesOut += channel.delivery.commandsOut;
    }
    return { client, session, messagesIn, messagesOut, pace: this.paceOf(client, messagesIn, messagesOut) };
  }

  private paceOf(client: Client, messagesIn: number, messagesOut: number): Pace {
    const { nowMs, wallMs } = this.inspection;
    let pace = this.paces.get(client);
    if (pace === undefined) {
      // Since it has connected, as long as nothing better is known.
      const atMs = nowMs - Math.max(1, wallMs - client.connectedAt);
      pace = { atMs, in: 0, out: 0, rateIn: 0, rateOut: 0 };
      this.paces.set(client, pace);
    }
    const seconds = (nowMs - pace.atMs) / 1_000;
    if (seconds < PACE_S_MIN) return pace;
    pace.rateIn = (messagesIn - pace.in) / seconds;
    pace.rateOut = (messagesOut - pace.out) / seconds;
    pace.atMs = nowMs;
    pace.in = messagesIn;
    pace.out = messagesOut;
    return pace;
  }

  private clientFigures({ client, session, messagesIn, messagesOut, pace }: ListedClient): ClientFigures {
    const { inspection } = this;
    const { principal } = client;
    const facts = client.peer.facts;
    let unacked = 0;
    let oldestMs = Number.POSITIVE_INFINITY;
    let overflow: ClientFigures['overflow'] = null;
    let mostQueued = -1;
    let stopped = 0;
    for (const channel of client.channels) if (channel.stopped) stopped++;
    for (const [{ main, policy }, member] of inspection.subscriptionsOf(client)) {
      const queued = main.delivery.queue.messageCount;
      if (queued > mostQueued) overflow = OVERFLOW_NAMES[policy.overflow];
      mostQueued = Math.max(mostQueued, queued);
      if (member === null) continue;
      unacked += member.unacked;
      const sinceMs = member.unacked === 0 ? null : member.consumer.oldestUnackedMs(member);
      if (sinceMs !== null) oldestMs = Math.min(oldestMs, sinceMs);
    }
    return {
      id: client.id,
      session: session.name,
      principal: principal?.name ?? '',
      kind: principal?.kind ?? 'unknown',
      door: facts?.door ?? 'native',
      address: facts?.address ?? '',
      connectedAt: client.connectedAt,
      messagesIn,
      messagesOut,
      rateIn: rounded(pace.rateIn),
      rateOut: rounded(pace.rateOut),
      subscriptions: session.filterCount,
      streams: client.channels.size,
      queuedMessages: client.queued.messages,
      queuedBytes: client.queued.bytes,
      transportBytes: client.transportBytes,
      stopped,
      overflow,
      unacked,
      oldestUnackedAt: Number.isFinite(oldestMs) ? inspection.wallMs - (inspection.nowMs - oldestMs) : null,
      link: facts?.link() ?? null,
    };
  }

  /** Notes how a durable subscription is, and finds how old is what it is to read next. */
  private measure(
    { name, log: logName, lag, position }: DurableMetrics,
    before:
      | { atMs: number; lag: number; change: number; position: number; publishedAt: number | null }
      | undefined,
    done: () => void,
  ): void {
    const { nowMs, logs, readings } = this.inspection;
    const seconds = before === undefined ? 0 : (nowMs - before.atMs) / 1_000;
    const isFresh = before === undefined || seconds >= PACE_S_MIN;
    const noted = {
      atMs: isFresh ? nowMs : before.atMs,
      lag: isFresh ? lag : before.lag,
      change: before === undefined ? 0 : isFresh ? (lag - before.lag) / seconds : before.change,
      position,
      publishedAt: before?.position === position ? before.publishedAt : null,
    };
    this.lags.set(name, noted);
    const log = logs.find((each) => each.name === logName);
    const isBehind = log !== undefined && position < log.synced;
    if (log === undefined || !isBehind || noted.publishedAt !== null) {
      done();
      return;
    }
    readings.read(log, position, log.synced, 0, (records) => {
      noted.publishedAt = records?.[0]?.publishedAt ?? null;
      done();
    });
  }

  private durableFigures(durable: DurableMetrics): DurableFigures {
    const { wallMs, logs } = this.inspection;
    const {
      name,
      log: logName,
      subscribers,
      position,
      lag,
      unsettled,
      unacked,
      redelivered,
      nextRetryInMs,
    } = durable;
    const noted = this.lags.get(name);
    const log = logs.find((each) => each.name === logName);
    const isBehind = log !== undefined && position < log.synced;
    const publishedAt = noted?.publishedAt ?? null;
    const lagMs = isBehind
      ? publishedAt === null
        ? null
        : Math.max(0, Math.round(wallMs - publishedAt))
      : 0;
    return {
      ...{ name, log: logName, subscribers, position, lag, lagChange: rounded(noted?.change ?? 0), lagMs },
      ...{ unsettled, unacked, redelivered },
      nextRetryAt: nextRetryInMs === null ? null : Math.round(wallMs + nextRetryInMs),
    };
  }
}

/** Items [offset, offset + limit) in the order that is asked for. */
function pageOf<T>(
  items: T[],
  { sort, offset = 0, limit = 100 }: ListQuery,
  keys: Readonly<Record<string, Key<T>>>,
): T[] {
  if (sort !== undefined && sort !== '') {
    const isDown = sort.startsWith('-');
    const name = isDown ? sort.slice(1) : sort;
    const key = Object.hasOwn(keys, name) ? keys[name] : undefined;
    if (key === undefined) {
      throw new SortFault(`cannot be sorted by "${name}"; by ${Object.keys(keys).join(', ')}`);
    }
    const sign = isDown ? -1 : 1;
    const keyed = items.map((item) => ({ item, key: key(item) }));
    keyed.sort((a, b) => (a.key < b.key ? -sign : a.key > b.key ? sign : 0));
    return keyed.slice(offset, offset + limit).map(({ item }) => item);
  }
  return items.slice(offset, offset + limit);
}

function contains(search: string, ...texts: (string | null | undefined)[]): boolean {
  return texts.some((text) => text?.toLowerCase().includes(search));
}

function rounded(rate: number): number {
  return Math.round(rate * 10) / 10;
}

const PACE_S_MIN = 0.9;
const CLIENT_KEYS: Readonly<Record<string, Key<ListedClient>>> = {
  id: ({ client }) => client.id,
  session: ({ session }) => session.name ?? '',
  principal: ({ client }) => client.principal?.name ?? '',
  door: ({ client }) => client.peer.facts?.door ?? '',
  address: ({ client }) => client.peer.facts?.address ?? '',
  connectedAt: ({ client }) => client.connectedAt,
  messagesIn: ({ messagesIn }) => messagesIn,
  messagesOut: ({ messagesOut }) => messagesOut,
  rateIn: ({ pace }) => pace.rateIn,
  rateOut: ({ pace }) => pace.rateOut,
  subscriptions: ({ session }) => session.filterCount,
  streams: ({ client }) => client.channels.size,
  queuedMessages: ({ client }) => client.queued.messages,
  queuedBytes: ({ client }) => client.queued.bytes,
  rttMs: ({ client }) => client.peer.facts?.link()?.rttMs ?? -1,
  loss: ({ client }) => client.peer.facts?.link()?.loss ?? -1,
  packetsRecovered: ({ client }) => client.peer.facts?.link()?.packetsRecovered ?? -1,
};
const SESSION_KEYS: Readonly<Record<string, Key<Session>>> = {
  name: ({ name }) => name ?? '',
  state: ({ state }) => state,
  subscriptions: ({ filterCount }) => filterCount,
  expiryMs: ({ expiryMs }) => expiryMs,
};
const DURABLE_KEYS: Readonly<Record<string, Key<DurableMetrics>>> = {
  name: ({ name }) => name,
  log: ({ log }) => log,
  subscribers: ({ subscribers }) => subscribers,
  lag: ({ lag }) => lag,
  unsettled: ({ unsettled }) => unsettled,
  unacked: ({ unacked }) => unacked,
  redelivered: ({ redelivered }) => redelivered,
};
