/** What operators ask on `$sys/admin/<verb>`, with JSON in and out. Who may ask was decided before. [OPS-1] */

import { JspError } from '../../base/errors.ts';
import { checkOptions, flag, type OptionCheck, type OptionTable, text, whole } from '../../base/options.ts';
import { levelsOf, matches } from '../../pubsub/filters.ts';
import { payloadStartOf } from '../../pubsub/properties.ts';
import { filterFault } from '../../pubsub/topic.ts';
import type { DeadLetter, DeadLetterPage } from '../core/operations/dead-letter-box.ts';
import type { LogPort } from '../core/store-port.ts';
import { Lists, SortFault } from './lists.ts';
import type { Observation, Operated } from './observation.ts';
import type {
  AdminFault,
  AdminVerb,
  AdminVerbs,
  DeadLetterFigures,
  DeadLetterRequest,
  ListQuery,
} from './snapshot.ts';

/** Who asks, for those who look at what was done. */
export interface Asker {
  readonly principal: string;
  readonly address: string;
}

/** What comes of it: 0 and what was asked for, or a status as HTTP has it and why not. */
export interface Answer {
  readonly status: number;
  readonly body: object;
}

type Handlers = {
  readonly [V in AdminVerb]: {
    readonly options: OptionTable<AdminVerbs[V]['request']>;
    readonly answer: (
      request: AdminVerbs[V]['request'],
      asker: Asker,
    ) => AdminVerbs[V]['answer'] | Promise<AdminVerbs[V]['answer']>;
  };
};

/** A request that is refused. */
class Refusal extends Error {
  readonly status: number;
  readonly fault: AdminFault;

  constructor(status: number, code: string, detail: string) {
    super(detail);
    this.status = status;
    this.fault = { code, detail };
  }
}

export class OperatorRequests {
  private readonly observation: Observation;
  private readonly broker: Operated;
  private readonly lists: Lists;
  private readonly handlers: Handlers;

  constructor(observation: Observation, broker: Operated) {
    this.observation = observation;
    this.broker = broker;
    this.lists = broker.inspect((inspection) => new Lists(inspection));
    this.handlers = this.makeHandlers();
  }

  async answer(verb: string, payload: Uint8Array, asker: Asker): Promise<Answer> {
    try {
      return { status: 0, body: await this.handle(verb, payload, asker) };
    } catch (error) {
      if (error instanceof Refusal) return { status: error.status, body: error.fault };
      const isAskers =
        error instanceof SortFault || (error instanceof JspError && error.code === 'ERR_JSP_OPTION_INVALID');
      if (isAskers) return { status: 400, body: { code: 'BAD_REQUEST', detail: error.message } };
      throw error;
    }
  }

  private handle(verb: string, payload: Uint8Array, asker: Asker): object | Promise<object> {
    if (!Object.hasOwn(this.handlers, verb)) {
      throw new Refusal(
        404,
        'UNKNOWN_VERB',
        `There is no "${verb}"; there are ${Object.keys(this.handlers).join(', ')}.`,
      );
    }
    // Each handler checks its own request, which the compiler cannot see from here.
    const { options, answer } = this.handlers[verb as AdminVerb] as Handlers['clients'];
    const request = requestOf(payload);
    checkOptions(`$sys/admin/${verb}`, request, options);
    return answer(request, asker);
  }

  private makeHandlers(): Handlers {
    const { observation, broker, lists } = this;
    return {
      status: { options: {}, answer: () => observation.status() },
      metrics: { options: {}, answer: () => observation.report() },
      history: {
        options: { seconds: whole(1, 24 * 60 * 60) },
        answer: ({ seconds = HISTORY_S }) => observation.historyOf(seconds),
      },
      events: {
        options: { after: whole(0, Number.MAX_SAFE_INTEGER), limit: LIMIT },
        answer: ({ after = 0, limit = LIMIT_DEFAULT }) => ({ items: observation.eventsAfter(after, limit) }),
      },
      clients: { options: LIST, answer: (query) => broker.inspect(() => lists.clients(query)) },
      sessions: { options: LIST, answer: (query) => broker.inspect(() => lists.sessions(query)) },
      durables: {
        options: LIST,
        answer: (query) => soon((done) => broker.inspect(() => lists.durables(query, done))),
      },
      logs: { options: {}, answer: () => ({ at: observation.snapshot().at, ...observation.logs() }) },
      cluster: { options: {}, answer: () => observation.cluster() },
      topics: {
        options: { limit: whole(1, 512) },
        answer: ({ limit = 50 }) => {
          observation.watchTopics();
          const top = broker.inspect((inspection) => inspection.topTopics(limit));
          const topics = top.map(({ topic, messages, bytes, subscribers }) => ({
            topic,
            rate: Math.round(messages * 10) / 10,
            bytesRate: Math.round(bytes),
            subscribers,
          }));
          return { at: Math.round(broker.wallMs()), topics };
        },
      },
      'dead-letters': {
        options: { ...LETTERS, all: flag },
        answer: async (request) => {
          const log = this.logOf(request);
          const { letters, next } = await this.lettersOf(log, request, request.all === true);
          const items = letters.map((letter) => figuresOf(log, letter));
          return { at: Math.round(broker.wallMs()), items, next };
        },
      },
      redrive: {
        options: { ...LETTERS, offsets: offsets, force: flag },
        answer: (request, asker) => this.redrive(request, asker),
      },
      kick: {
        options: { client: whole(1, Number.MAX_SAFE_INTEGER), session: text, reason: text },
        answer: async (request, asker) => ({ kicked: await this.kick(request, asker) }),
      },
    };
  }

  private async kick(
    { client, session, reason = '' }: AdminVerbs['kick']['request'],
    { principal }: Asker,
  ): Promise<number> {
    if ((client === undefined) === (session === undefined)) {
      throw new Refusal(400, 'BAD_REQUEST', 'Name either a client, by its id, or a session.');
    }
    const id = client ?? this.clientOf(session as string);
    const isKicked =
      id === null
        ? await this.broker.kickElsewhere(session as string, principal, reason)
        : this.broker.kick(id, principal, reason);
    if (!isKicked) {
      throw new Refusal(
        404,
        'NOT_FOUND',
        `${client === undefined ? `The session "${session}"` : `The client ${client}`} is not connected.`,
      );
    }
    return 1;
  }

  private clientOf(session: string): number | null {
    return this.broker.inspect(({ clients }) => {
      for (const [client, { name }] of clients) if (name === session) return client.id;
      return null;
    });
  }

  private async redrive(
    request: AdminVerbs['redrive']['request'],
    asker: Asker,
  ): Promise<AdminVerbs['redrive']['answer']> {
    const log = this.logOf(request);
    const failed: { offset: number; reason: string }[] = [];
    let next: number | null = null;
    let letters: readonly DeadLetter[];
    if (request.offsets === undefined) {
      const page = await this.lettersOf(log, request, false);
      next = page.next;
      // Those that came first go first.
      letters = [...page.letters].reverse();
    } else {
      letters = await this.lettersAt(log, request.offsets, failed);
    }
    let redriven = 0;
    for (const letter of letters) {
      const { offset } = letter.record;
      const isTrusted = letter.isCertain || (request.force === true && request.offsets !== undefined);
      const reason = isTrusted
        ? this.broker.inspect(({ deadLetters }) => deadLetters.redrive(log, letter))
        : 'The broker has not made it: name its offset, with force.';
      if (reason === null) redriven++;
      else failed.push({ offset, reason });
    }
    if (redriven > 0) {
      this.observation.note({
        what: 'redriven',
        ...asker,
        detail: `${redriven} dead letters of the log "${log.name}"`,
      });
    }
    return { redriven, failed, next };
  }

  private async lettersAt(
    log: LogPort,
    offsets: readonly number[],
    failed: { offset: number; reason: string }[],
  ): Promise<DeadLetter[]> {
    const letters: DeadLetter[] = [];
    for (const offset of offsets) {
      const letter = await soon<DeadLetter | null>((done) =>
        this.broker.inspect(({ deadLetters }) => deadLetters.find(log, offset, done)),
      );
      if (letter === null) failed.push({ offset, reason: 'There is no dead letter at this offset.' });
      else letters.push(letter);
    }
    return letters;
  }

  private lettersOf(log: LogPort, request: DeadLetterRequest, all: boolean): Promise<DeadLetterPage> {
    const { topic, origin, before = Number.MAX_SAFE_INTEGER, limit = LIMIT_DEFAULT } = request;
    const query = {
      below: before,
      limit,
      all,
      isWanted: (on: string, from: { topic: string }) => isIn(topic, on) && isIn(origin, from.topic),
    };
    return soon((done) => this.broker.inspect(({ deadLetters }) => deadLetters.list(log, query, done)));
  }

  private logOf({ log = 'default' }: DeadLetterRequest): LogPort {
    const found = this.broker.inspect(({ logs }) => logs.find(({ name }) => name === log));
    if (found === undefined) throw new Refusal(404, 'NOT_FOUND', `There is no log "${log}".`);
    return found;
  }
}

function isIn(filter: string | undefined, topic: string): boolean {
  return filter === undefined || matches(levelsOf(filter), levelsOf(topic));
}

/** What `begin` calls back with; a refusal when that takes too long. */
function soon<T>(begin: (done: (result: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Refusal(503, 'BUSY', 'The disk takes too long. Try again.')),
      SOON_MS,
    );
    begin((result) => {
      clearTimeout(timer);
      resolve(result);
    });
  });
}

function requestOf(payload: Uint8Array): object {
  if (payload.length === 0) return {};
  if (payload.length > REQUEST_BYTES_MAX)
    throw new Refusal(413, 'TOO_LARGE', `A request has at most ${REQUEST_BYTES_MAX} bytes.`);
  let request: unknown;
  try {
    request = JSON.parse(Buffer.from(payload.buffer, payload.byteOffset, payload.length).toString());
  } catch {
    throw new Refusal(400, 'BAD_REQUEST', 'The payload is not JSON.');
  }
  if (typeof request !== 'object' || request === null || Array.isArray(request)) {
    throw new Refusal(400, 'BAD_REQUEST', 'The payload is not a JSON object.');
  }
  return request;
}

function figuresOf(log: LogPort, { record, topic, origin, isCertain }: DeadLetter): DeadLetterFigures {
  const payload = record.command.subarray(payloadStartOf(record.command, record.topicEnd));
  return {
    log: log.name,
    offset: record.offset,
    topic,
    originTopic: origin.topic,
    originOffset: origin.offset,
    certain: isCertain,
    attempts: origin.attempts,
    reason: origin.reason,
    at: Math.round(record.publishedAt),
    bytes: payload.length,
    preview: Buffer.from(payload.subarray(0, PREVIEW_BYTES)).toString('base64'),
  };
}

const aFilter: OptionCheck = (value) =>
  typeof value === 'string' && filterFault(value) === null ? null : 'a topic, or a filter';
const offsets: OptionCheck = (value) => {
  const isRight =
    Array.isArray(value) &&
    value.length <= OFFSETS_MAX &&
    value.every((each) => Number.isSafeInteger(each) && each >= 0);
  return isRight ? null : `a list of at most ${OFFSETS_MAX} offsets`;
};
const HISTORY_S = 15 * 60;
const LIMIT_DEFAULT = 100;
const LIMIT = whole(1, 1_000);
const OFFSETS_MAX = 1_000;
const PREVIEW_BYTES = 256;
const REQUEST_BYTES_MAX = 65_536;
const SOON_MS = 5_000;
const LIST: OptionTable<ListQuery> = {
  search: text,
  sort: text,
  offset: whole(0, Number.MAX_SAFE_INTEGER),
  limit: LIMIT,
};
const LETTERS: OptionTable<DeadLetterRequest> = {
  log: text,
  topic: aFilter,
  origin: aFilter,
  before: whole(0, Number.MAX_SAFE_INTEGER),
  limit: LIMIT,
};
