/** What a gateway answers where it does not do what it was asked: problem details (RFC 9457), of which `code` is the stable part. [GW-3] */

import type { Duplex } from 'node:stream';
import type { JspError } from '../base/errors.ts';
import { ReasonCode, reasonCodeName } from '../pubsub/command.ts';

/** Codes of problems, with the status that each has and what it means in general. */
const PROBLEMS = {
  REQUEST_INVALID: [400, 'The request cannot be read'],
  TOPIC_INVALID: [400, 'This is no topic to publish to'],
  FILTER_INVALID: [400, 'This is no filter'],
  CREDENTIALS_MISSING: [401, 'Credentials are needed'],
  CREDENTIALS_REFUSED: [401, 'The credentials are not accepted'],
  NOT_AUTHORIZED: [403, 'The credentials do not allow this'],
  ORIGIN_REFUSED: [403, 'Pages of this origin may not do this'],
  NOT_FOUND: [404, 'There is nothing here'],
  NO_VALUE: [404, 'The topic has no last value'],
  METHOD_NOT_ALLOWED: [405, 'The method does not exist here'],
  REQUEST_TIMEOUT: [408, 'The request did not come in time'],
  KEY_IN_PROGRESS: [409, 'A request with this Idempotency-Key is under way'],
  BODY_TOO_LARGE: [413, 'The body is larger than is taken'],
  MEDIA_TYPE_UNKNOWN: [415, 'A body of this type is not taken here'],
  HOST_UNKNOWN: [421, 'This gateway is not known by that name'],
  ITEMS_INVALID: [422, 'Nothing was published, because some of it cannot be'],
  KEY_REUSED: [422, 'The Idempotency-Key was used for another request'],
  LIMITED: [429, 'A rate or a quota is used up'],
  HEADER_TOO_LARGE: [431, 'The header is longer than is taken'],
  INTERNAL_ERROR: [500, 'The gateway has failed at this'],
  RESPONDER_FAILED: [502, 'Whoever answers has answered with a failure'],
  OVERLOADED: [503, 'The gateway has too much to do'],
  SHUTTING_DOWN: [503, 'The gateway is going'],
  BROKER_UNREACHABLE: [503, 'The broker cannot be reached'],
  SUBSCRIBERS_SLOW: [503, 'Subscribers that make publishers wait do not read'],
  NO_RESPONDERS: [503, 'Nobody is there to answer'],
  STORE_FAILED: [503, 'The broker cannot store at present'],
  OUTCOME_UNKNOWN: [503, 'The broker went before it answered'],
  RESPONSE_TIMEOUT: [504, 'No answer came in time'],
  STORE_FULL: [507, 'The log of the topic is full'],
  QUOTA: [507, 'A bound on what the broker keeps is reached'],
} as const satisfies Readonly<Record<string, readonly [status: number, title: string]>>;

export type ProblemCode = keyof typeof PROBLEMS;

/** The codes that there are, for what describes the interface. */
export const PROBLEM_CODES = Object.keys(PROBLEMS) as readonly ProblemCode[];

export interface ProblemOptions {
  /** When it is worth trying again, in ms. */
  readonly retryAfterMs?: number | undefined;
  /** Further members of the answer. */
  readonly members?: Readonly<Record<string, unknown>> | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly cause?: unknown;
}

/** Thrown by what serves a request, to be its answer. */
export class Problem extends Error {
  readonly code: ProblemCode;
  readonly options: ProblemOptions;

  /** @param detail - what is wrong with this request in particular, and what to do about it */
  constructor(code: ProblemCode, detail: string, options: ProblemOptions = {}) {
    super(detail, { cause: options.cause });
    this.code = code;
    this.options = options;
  }

  get status(): number {
    return PROBLEMS[this.code][0];
  }

  get headers(): Record<string, string> {
    const { retryAfterMs, headers } = this.options;
    return {
      ...headers,
      ...(retryAfterMs === undefined
        ? {}
        : { 'retry-after': `${Math.max(1, Math.ceil(retryAfterMs / 1_000))}` }),
      ...(this.status === 401 ? { 'www-authenticate': this.challenge } : {}),
    };
  }

  /** As it is answered. */
  toJSON(): Record<string, unknown> {
    const [status, title] = PROBLEMS[this.code];
    const type = `urn:jetstream-proto:problem:${this.code}`;
    return { type, title, status, code: this.code, detail: this.message, ...this.options.members };
  }

  private get challenge(): string {
    const error = this.code === 'CREDENTIALS_REFUSED' ? ', error="invalid_token"' : '';
    return `Bearer realm="jsp"${error}`;
  }
}

/** What a refusal of the broker, or the end of a connection by it, is to the caller. */
export function problemOfReason(code: number, reason: string, retryAfterMs?: number): Problem {
  const known = OF_REASONS[code];
  const why = reason === '' ? `The broker says ${reasonCodeName(code)}.` : reason;
  return new Problem(known ?? 'INTERNAL_ERROR', why, {
    retryAfterMs: retryAfterMs ?? toldIn(reason) ?? (known === undefined ? undefined : RETRY_MS[known]),
    members: { reason: reasonCodeName(code) },
  });
}

/** What it is to a caller that the broker does not let him in, or not any more: that is about his credentials, and not about what he has asked for. */
export function problemOfEntry(error: unknown, isAnonymous: boolean): Problem {
  if (error instanceof Problem) return error;
  const { applicationCode, reason = '', message } = error as JspError;
  if (applicationCode !== ReasonCode.NOT_AUTHORIZED && applicationCode !== ReasonCode.TOKEN_EXPIRED) {
    return problemOfError(error);
  }
  return isAnonymous
    ? new Problem('CREDENTIALS_MISSING', 'Send an API key or a token as Authorization: Bearer.')
    : new Problem('CREDENTIALS_REFUSED', reason || message);
}

/** When to come again, where a reason says so. [BRK-121] */
export function toldIn(reason: string): number | undefined {
  const ms = /\bagain in (\d+) ms/.exec(reason)?.[1];
  return ms === undefined ? undefined : Number(ms);
}

/** What an error of the client's library, of a connection above all, is to the caller. */
export function problemOfError(error: unknown): Problem {
  if (error instanceof Problem) return error;
  const { applicationCode, reason = '', message, code } = error as JspError;
  if (applicationCode !== undefined && OF_REASONS[applicationCode] !== undefined) {
    return problemOfReason(applicationCode, reason || message);
  }
  if (typeof code === 'string' && code.startsWith('ERR_JSP_')) {
    return new Problem('BROKER_UNREACHABLE', message, {
      retryAfterMs: RETRY_MS.BROKER_UNREACHABLE,
      cause: error,
    });
  }
  return new Problem('INTERNAL_ERROR', 'The gateway has failed at this; its log says more.', {
    cause: error,
  });
}

/** What is wrong with one message is told of that one. */
export function orProblem<T>(make: () => T): T | Problem {
  try {
    return make();
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
}

/**
 * Answers on a socket that no request of Node's HTTP stands for, and ends it. Nothing else of the gateway knows of it any more, and Node does not look after it: so it is closed here,
 * whether the other end closes it or not, reads the answer or not. [GW-4]
 */
export function answerPlainly(socket: Duplex, problem: Problem): void {
  const body = JSON.stringify(problem);
  const head = [
    `HTTP/1.1 ${problem.status} ${problem.code}`,
    'content-type: application/problem+json',
    `content-length: ${Buffer.byteLength(body)}`,
    ...Object.entries(problem.headers).map(([name, value]) => `${name}: ${value}`),
    'connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
  socket.resume(); // to see the other end: what still comes is nobody's
  const timer = setTimeout(() => socket.destroy(), ANSWERED_MS_MAX).unref();
  socket.once('close', () => clearTimeout(timer));
}

/** From the answer to the end of the socket. */
const ANSWERED_MS_MAX = 3_000;
const OF_REASONS: Readonly<Record<number, ProblemCode>> = {
  [ReasonCode.NOT_AUTHORIZED]: 'NOT_AUTHORIZED',
  [ReasonCode.TOPIC_INVALID]: 'TOPIC_INVALID',
  [ReasonCode.FILTER_INVALID]: 'FILTER_INVALID',
  [ReasonCode.SHUTTING_DOWN]: 'SHUTTING_DOWN',
  [ReasonCode.STORE_FULL]: 'STORE_FULL',
  [ReasonCode.STORE_FAILED]: 'STORE_FAILED',
  [ReasonCode.QUOTA]: 'QUOTA',
  [ReasonCode.TOO_LARGE]: 'BODY_TOO_LARGE',
  [ReasonCode.LIMITED]: 'LIMITED',
  [ReasonCode.TOO_MANY_SUBSCRIPTIONS]: 'LIMITED',
  [ReasonCode.TOKEN_EXPIRED]: 'CREDENTIALS_REFUSED',
  [ReasonCode.BUSY]: 'OVERLOADED',
};
/** When it is worth trying again where nobody says. A broker that refuses because it shuts down drains for a while: that is longer than in a goodbye (goodbye.ts). */
const RETRY_MS: Partial<Record<ProblemCode, number>> = {
  SHUTTING_DOWN: 5_000,
  BROKER_UNREACHABLE: 1_000,
  STORE_FAILED: 5_000,
  STORE_FULL: 30_000,
  QUOTA: 5_000,
  LIMITED: 1_000,
  OVERLOADED: 1_000,
};
