/** Serves a request that may have an `Idempotency-Key`. */

import type { Exchange } from './exchange.ts';
import { nameOf, printOf } from './idempotency.ts';
import { type PublishItem, withProperties } from './item.ts';

/** What the messages of a request are named by. */
export interface Naming {
  readonly name: string;
  readonly print: string;
}

/**
 * Does what a request asks for, unless it was done for an earlier one with its key: then answers as that was answered. [GW-23]
 *
 * @param body - as it came
 * @param serve - told what its messages are to be named by; null: it has no key
 */
export function once(
  exchange: Exchange,
  body: Uint8Array,
  serve: (named: Naming | null) => Promise<void>,
): Promise<void> {
  const key = exchange.header('idempotency-key');
  return key === undefined ? serve(null) : onceOfKey(exchange, body, key, serve);
}

async function onceOfKey(
  exchange: Exchange,
  body: Uint8Array,
  key: string,
  serve: (named: Naming) => Promise<void>,
): Promise<void> {
  const { proof, address, state } = exchange;
  await exchange.session(); // nobody gets an answer that was given to a caller whom he only claims to be
  const name = nameOf(proof, address, key);
  const print = printOf(exchange.asked, body);
  const earlier = state.keys.begin(name, print);
  if (earlier !== null) {
    const { status, contentType, body: text, headers } = earlier;
    exchange.answer(status, contentType, text, { ...headers, 'idempotent-replayed': 'true' });
    return;
  }
  exchange.onAnswer = (answer) => state.keys.end(name, isOutcome(answer.status) ? answer : null);
  await serve({ name, print }); // a problem is an answer as well
}

/** A message that the broker knows again by its name, and tells from another of that name by its print. [BRK-91] */
export function named(item: PublishItem, naming: Naming | null, index: number): PublishItem {
  if (naming === null || item.properties?.messageId !== undefined) return item;
  const messageId = `http/${naming.name}/${index}\x1f${naming.print}`;
  return withProperties(item, { messageId, ...item.properties });
}

/** Whether an answer says what has become of the request, for good: not that it was refused for now, or that nobody knows. */
function isOutcome(status: number): boolean {
  return status < 500 && !PASSING.has(status);
}

const PASSING: ReadonlySet<number> = new Set([401, 408, 409, 429]);
