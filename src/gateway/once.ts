/** Serves a request that may have an `Idempotency-Key`. */

import type { Exchange } from './exchange.ts';
import { nameOf, printOf } from './idempotency.ts';
import type { PublishItem } from './item.ts';
import { problemOfError } from './problem.ts';

/**
 * Does what a request asks for, unless it was done for an earlier one with its key: then answers as that was answered. [GW-23]
 *
 * @param body - as it came
 * @param serve - told what its messages are to be named by; null: it has no key
 */
export async function once(
  exchange: Exchange,
  body: Uint8Array,
  serve: (name: string | null) => Promise<void>,
): Promise<void> {
  const key = exchange.header('idempotency-key');
  if (key === undefined) {
    await serve(null);
    return;
  }
  const { proof, state } = exchange;
  await exchange.session(); // nobody gets an answer that was given to a caller whom he only claims to be
  const name = nameOf(proof, key);
  const earlier = state.keys.begin(name, printOf(exchange.asked, body));
  if (earlier !== null) {
    const { status, contentType, body: text, headers } = earlier;
    exchange.answer(status, contentType, text, { ...headers, 'idempotent-replayed': 'true' });
    return;
  }
  exchange.onAnswer = (answer) => state.keys.end(name, isOutcome(answer.status) ? answer : null);
  try {
    await serve(name);
  } catch (error) {
    const problem = problemOfError(error);
    if (problem.code === 'INTERNAL_ERROR') state.onFault(problem.cause ?? problem);
    exchange.problem(problem);
  }
}

/** A message that the broker knows again by its name. */
export function named(item: PublishItem, name: string | null, index: number): PublishItem {
  if (name === null || item.properties?.messageId !== undefined) return item;
  return { ...item, properties: { ...item.properties, messageId: `http/${name}/${index}` } };
}

/** Whether an answer says what has become of the request, for good: not that it was refused for now, or that nobody knows. */
function isOutcome(status: number): boolean {
  return status < 500 && !PASSING.has(status);
}

const PASSING: ReadonlySet<number> = new Set([401, 408, 409, 429]);
