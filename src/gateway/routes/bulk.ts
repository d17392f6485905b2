/** `/v1/bulk`: many messages in one request. [GW-24] */

import { isUtf8 } from 'node:buffer';
import { EVENTS_TYPE, itemOfEvent, mediaTypeOf } from '../cloud-events.ts';
import type { Exchange } from '../exchange.ts';
import { bulkItemOf, type PublishItem, publishCommand } from '../item.ts';
import { named, once } from '../once.ts';
import { orProblem, Problem } from '../problem.ts';
import { flagOf, type Outcome } from '../publish-request.ts';
import type { Route } from '../router.ts';
import { published } from '../sending.ts';

export const bulkRoute: Route = { path: '/v1/bulk', methods: { POST: bulk } };

async function bulk(exchange: Exchange): Promise<void> {
  const { limits } = exchange.state;
  const isAtomic = flagOf('atomic', exchange.query.get('atomic') ?? 'false');
  const kind = KINDS.get(mediaTypeOf(exchange.header('content-type')));
  if (kind === undefined) {
    throw new Problem('MEDIA_TYPE_UNKNOWN', `A bulk must be one of ${[...KINDS.keys()].join(', ')}.`);
  }
  exchange.assertPlainBody();
  const body = await exchange.body(limits.bulkBytesMax);
  if (!isUtf8(body)) throw new Problem('REQUEST_INVALID', 'The body is not UTF-8.');
  const values = kind.parse(body.toString(), limits.bulkItemsMax);
  const items = values.map((value) => {
    const item = itemOrProblem(value, kind.itemOf, limits.payloadBytesMax);
    // What makes a message of it may find a fault as well, which has to be known before any of them is published.
    return isAtomic && !(item instanceof Problem) ? orProblem(() => publishCommand(item) && item) : item;
  });
  const faults = items.filter((item) => item instanceof Problem);
  if (isAtomic && faults.length > 0) {
    throw new Problem(
      'ITEMS_INVALID',
      `${faults.length} of ${items.length} cannot be published, so nothing was.`,
      {
        members: { problems: resultsOf(items.map((item) => (item instanceof Problem ? item : null))) },
      },
    );
  }
  return once(exchange, body, async (name) => {
    const good =
      faults.length === 0
        ? (items as PublishItem[])
        : items.filter((item): item is PublishItem => !(item instanceof Problem));
    const outcomes = await published(
      exchange,
      name === null ? good : good.map((item, i) => named(item, name, i)),
    );
    let next = 0;
    answer(
      exchange,
      faults.length === 0
        ? outcomes
        : items.map((item) => (item instanceof Problem ? item : outcomes[next++])),
    );
  });
}

/** 200 where all were taken, 202 where all are on their way, 207 where some were not; where none was, and all for the same reason, that. [GW-25] */
function answer(exchange: Exchange, outcomes: readonly Outcome[]): void {
  const [first] = outcomes;
  if (
    first instanceof Problem &&
    outcomes.every((each) => each instanceof Problem && each.code === first.code)
  ) {
    const members = { ...first.options.members, results: resultsOf(outcomes as Problem[]) };
    throw new Problem(first.code, first.message, { ...first.options, members });
  }
  const status = outcomes.every((each) => each.status === 200)
    ? 200
    : outcomes.every((each) => each.status === 202)
      ? 202
      : 207;
  let text = '[';
  for (let index = 0; index < outcomes.length; index++) {
    const outcome = outcomes[index];
    if (index > 0) text += ',';
    if (outcome instanceof Problem) text += JSON.stringify(resultOf(outcome, index));
    else text += `{"index":${index},"status":${outcome.status},${outcome.members}}`;
  }
  exchange.answer(status, 'application/json', `${text}]`);
}

function resultsOf(outcomes: readonly (Problem | null)[]): object[] {
  return outcomes.flatMap((outcome, index) => (outcome === null ? [] : [resultOf(outcome, index)]));
}

function resultOf({ status, code, message }: Problem, index: number): object {
  return { index, status, code, detail: message };
}

function itemOrProblem(
  value: unknown,
  itemOfValue: (value: unknown) => PublishItem,
  bytesMax: number,
): PublishItem | Problem {
  if (value instanceof Problem) return value;
  const item = orProblem(() => itemOfValue(value));
  return item instanceof Problem || Buffer.byteLength(item.payload) <= bytesMax
    ? item
    : new Problem('BODY_TOO_LARGE', `A payload is at most ${bytesMax} bytes.`);
}

function jsonArray(text: string, countMax: number): unknown[] {
  const value = parsed(text, 'The body');
  if (!Array.isArray(value)) throw new Problem('REQUEST_INVALID', 'The body must be an array of messages.');
  if (value.length > countMax) throw tooMany(countMax);
  return value;
}

/** An object a line; empty lines count for nothing. The lines that are too many are not read. */
function jsonLines(text: string, countMax: number): unknown[] {
  const values: unknown[] = [];
  let number = 0;
  for (let at = 0; at < text.length; ) {
    const newline = text.indexOf('\n', at);
    const end = newline < 0 ? text.length : newline;
    const line = text.slice(at, end);
    at = end + 1;
    number++;
    if (line.trim() === '') continue;
    if (values.length >= countMax) throw tooMany(countMax);
    values.push(orProblem(() => parsed(line, `Line ${number}`)));
  }
  return values;
}

function tooMany(countMax: number): Problem {
  return new Problem('BODY_TOO_LARGE', `A bulk has at most ${countMax} messages.`);
}

function parsed(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Problem('REQUEST_INVALID', `${what} is no JSON: ${(error as Error).message}`);
  }
}

interface Kind {
  /** @throws {Problem} where it is none, or of more messages than that */
  parse(text: string, countMax: number): unknown[];
  itemOf(value: unknown): PublishItem;
}

const KINDS: ReadonlyMap<string, Kind> = new Map([
  ['application/json', { parse: jsonArray, itemOf: bulkItemOf }],
  ['application/x-ndjson', { parse: jsonLines, itemOf: bulkItemOf }],
  [EVENTS_TYPE, { parse: jsonArray, itemOf: itemOfEvent }],
]);
