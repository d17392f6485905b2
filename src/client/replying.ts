/** Services: handlers whose results are answers to requests. [CLT-35] */

import { JspError } from '../base/errors.ts';
import type { OptionTable } from '../base/options.ts';
import { text } from '../base/options.ts';
import { isThenable } from './handling.ts';
import type { Message, MessageHandler } from './message.ts';
import { SUBSCRIBE_OPTIONS, type SubscribeOptions } from './subscribe-options.ts';

/** Called with each request. What it returns, or its promise resolves with, is the answer; undefined: an empty one. */
export type ReplyHandler<T = unknown> = (request: Message<T>) => unknown;

export interface ReplyOptions<T = unknown> extends SubscribeOptions<T> {
  /** Those that answer in one group share the requests: each goes to one of them. */
  group?: string | undefined;
}

/**
 * What a handler throws to answer with a status and a reason of its own.
 *
 * @example
 * throw new ReplyError(404, 'no such sensor');
 */
export class ReplyError extends Error {
  override readonly name = 'ReplyError';
  /** 1 to 65,535, but not 503, which says that nobody is there to answer. */
  readonly status: number;

  constructor(status: number, reason: string) {
    super(reason);
    this.status = status;
  }
}

/** The filters of a service in a group. */
export function groupFilters(filters: readonly string[], group: string | undefined): readonly string[] {
  return group === undefined ? filters : filters.map((filter) => `$share/${group}/${filter}`);
}

/**
 * A handler that answers with what `handler` makes of a request. One that fails is answered, too: a {@link ReplyError} with its status and text, anything else
 * with 500 and no more, for the text may not be for strangers; that is then told as the errors of handlers are.
 */
export function answering(handler: ReplyHandler): MessageHandler {
  return (request) => {
    try {
      const result: unknown = handler(request);
      if (isThenable(result)) {
        return Promise.resolve(result)
          .then((answer) => void request.respond(answer))
          .catch((error) => fail(request, error));
      }
      request.respond(result);
    } catch (error) {
      fail(request, error);
    }
  };
}

/** The request is settled: who asked knows. */
function fail(request: Message, error: unknown): void {
  const isMeant = error instanceof ReplyError;
  try {
    if (isMeant) request.respond(error.message, { status: error.status });
    else request.respond('the responder failed', { status: STATUS_FAILED });
  } catch (fault) {
    // Its client is over: where that is all that failed, nobody has to hear of it.
    if (isMeant || fault === error || (isClosed(fault) && isClosed(error))) return;
  }
  request.ack();
  if (!isMeant) throw error;
}

function isClosed(error: unknown): boolean {
  return error instanceof JspError && error.code === 'ERR_JSP_CLOSED';
}

const STATUS_FAILED = 500;
export const REPLY_OPTIONS: OptionTable<ReplyOptions> = { ...SUBSCRIBE_OPTIONS, group: text };
