/**
 * What client and server of a measurement say to each other, as JSON, a message each. On the control stream the client asks and the server
 * answers, in order; each request has a number that its answer repeats. A data connection begins with a {@link Join}. Both directions are
 * read by the shapes below: bounded, and nothing in them is believed further than its range.
 *
 *     hello     the version, and a nonce for the name of the host
 *     open      a run: what is to be sent, by whom and how; a data connection joins it
 *     mtu       the server is to send datagrams of exactly this size in the run; the answer says whether the path carried them
 *     start     the server begins to send, if it is to
 *     sample    what the server counted so far
 *     stop      the server stops sending
 *     finish    what came of the run, which is over
 */

import {
  flag,
  nullable,
  object,
  oneOf,
  real,
  type Shape,
  type Shaped,
  ShapeError,
  text,
  whole,
} from '../../base/shape.ts';
import { CONTROLLERS, DELIVERIES } from '../../transport/options.ts';
import type { Protection } from '../../transport/protection.ts';

/** A control message that cannot be taken. */
export class ControlError extends Error {}

export const VERSION = 1;
/** Labels of streams: requests and answers, the first message of a data connection, what is sent for the measurement, probes. */
export const LABELS = {
  control: 'jsp-bench/1 control',
  join: 'jsp-bench/1 join',
  load: 'jsp-bench/1 load',
  probe: 'jsp-bench/1 probe',
} as const;

export const CONTROL_BYTES_MAX = 16_384;

// ---- what may be asked for; a server asks no more of itself ----

export const STREAMS_MAX = 64;
export const MESSAGE_BYTES_MIN = 16;
export const MESSAGE_BYTES_MAX = 1024 * 1024;
export const BITS_PER_SECOND_MAX = 100e9;
/** Longest that a server sends for one run. */
export const RUN_SECONDS_MAX = 600;

const COUNT_MAX = Number.MAX_SAFE_INTEGER;
const count = whole(0, COUNT_MAX);
const figure = real(0, COUNT_MAX);

/** Ways to protect messages, as the transport's option has them; the transport checks what they ask for. */
const protectionShape: Shape<Protection> = (value, at) => {
  if (typeof value === 'string') return oneOf(['off', 'auto'])(value, at);
  if (typeof value === 'object' && value !== null && 'data' in value) {
    return object({ data: whole(1, 255), parity: whole(1, 255) })(value, at);
  }
  const { residual, latencyMs, overheadMax } = object({
    residual: nullable(real(0, 1)),
    latencyMs: nullable(real(0, 1e6)),
    overheadMax: nullable(real(1, 10)),
  })(value, at);
  return {
    ...(residual === null ? {} : { residual }),
    ...(latencyMs === null ? {} : { latencyMs }),
    ...(overheadMax === null ? {} : { overheadMax }),
  };
};

const directionShape = oneOf(['up', 'down', 'both']);

/** What is sent in a run, by the client (`up`), the server (`down`) or both. */
const planShape = object({
  direction: directionShape,
  delivery: oneOf(DELIVERIES),
  /** 0: as much as congestion control lets out. */
  bitsPerSecond: real(0, BITS_PER_SECOND_MAX),
  streams: whole(1, STREAMS_MAX),
  messageBytes: whole(MESSAGE_BYTES_MIN, MESSAGE_BYTES_MAX),
  congestion: oneOf(CONTROLLERS),
  protection: protectionShape,
  /** Of the server's clock before the client's, in microseconds; null when that is not known. */
  clockAheadMicros: nullable(real(-COUNT_MAX, COUNT_MAX)),
});

export type Plan = Shaped<typeof planShape>;
export type Direction = Plan['direction'];

const machineShape = object({
  version: text(64),
  node: text(64),
  platform: text(64),
  cpu: text(128),
  cores: whole(0, 65_536),
});

/** What a machine says of itself, for the report. */
export type Machine = Shaped<typeof machineShape>;

const sampleShape = object({
  /** Of the machine's clock. */
  atMicros: figure,
  cpuMicros: figure,
  /** Messages given to the transport, their bytes, and those that were due and held back because the transport had enough. */
  messagesSent: count,
  messageBytesSent: count,
  messagesHeld: count,
  messagesReceived: count,
  messageBytesReceived: count,
  datagramsSent: count,
  datagramsReceived: count,
  bytesSent: count,
  bytesReceived: count,
  packetsSent: count,
  packetsReceived: count,
  packetsReordered: count,
  packetsReplayed: count,
  packetsLost: count,
  packetsSpuriouslyLost: count,
  retransmittedBytes: count,
  bytesInFlight: figure,
  rttMs: figure,
  mtu: count,
  mtuFalls: count,
});

/** What one end of a run has counted so far. */
export type Sample = Shaped<typeof sampleShape>;

const quantilesShape = object({
  min: real(-COUNT_MAX, COUNT_MAX),
  p50: real(-COUNT_MAX, COUNT_MAX),
  p95: real(-COUNT_MAX, COUNT_MAX),
  p99: real(-COUNT_MAX, COUNT_MAX),
  max: real(-COUNT_MAX, COUNT_MAX),
});

/** In milliseconds. */
export type Quantiles = Shaped<typeof quantilesShape>;

const arrivalsShape = object({
  /** Best-effort messages that came, and those of them that came behind a later one. */
  arrived: count,
  outOfOrder: count,
  /** Runs of messages that never came, each of one or more. */
  lossRuns: count,
  /** RFC 3550 section 6.4.1. */
  jitterMs: nullable(figure),
  /** One way, by the clock that the plan tells; null where that is not known. */
  oneWayMs: nullable(quantilesShape),
});

/** What one end saw of the best-effort messages of the other. */
export type Arrivals = Shaped<typeof arrivalsShape>;

const requestShapes = {
  hello: object({ version: whole(0, 65_535), nonce: text(64) }),
  open: object({ run: whole(1, 2 ** 31), plan: planShape }),
  mtu: object({ run: whole(1, 2 ** 31), bytes: whole(512, 65_507) }),
  start: object({ run: whole(1, 2 ** 31), secondsMax: real(0, RUN_SECONDS_MAX) }),
  sample: object({ run: whole(1, 2 ** 31) }),
  stop: object({ run: whole(1, 2 ** 31) }),
  finish: object({ run: whole(1, 2 ** 31) }),
} as const;

export type Ask = keyof typeof requestShapes;
export type RequestBody<A extends Ask> = Shaped<(typeof requestShapes)[A]>;
export type Request = { [A in Ask]: { id: number; ask: A } & RequestBody<A> }[Ask];

const answerShapes = {
  hello: object({
    token: text(64),
    /** Hash of the nonce and what names this boot of the machine; empty where nothing does. */
    host: text(64),
    machine: machineShape,
    secondsMax: real(0, COUNT_MAX),
  }),
  open: object({}),
  mtu: object({
    carried: flag,
    routeMtu: nullable(whole(0, 2 ** 31)),
  }),
  start: object({}),
  sample: sampleShape,
  stop: object({}),
  finish: object({
    sample: sampleShape,
    arrivals: nullable(arrivalsShape),
    /** IP packet that the server's system sends to the client in one piece, as far as it knows. */
    routeMtu: nullable(whole(0, 2 ** 31)),
  }),
} as const;

export type AnswerBody<A extends Ask> = Shaped<(typeof answerShapes)[A]>;

/** Why a server does not do what it is asked. */
const REFUSALS = ['busy', 'version', 'limit', 'unknown-run', 'not-joined', 'invalid'] as const;
export type RefusalCode = (typeof REFUSALS)[number];

const refusalShape = object({ code: oneOf(REFUSALS), message: text(512), retrySeconds: nullable(figure) });
export type Refusal = Shaped<typeof refusalShape>;

const joinShape = object({ token: text(64), run: whole(1, 2 ** 31) });
/** The first message of a data connection, which the server repeats when it has taken it. */
export type Join = Shaped<typeof joinShape>;

/** @throws ControlError */
export function decodeRequest(message: Uint8Array): Request {
  const value = parse(message);
  return checked(() => {
    const { id, ask } = object({
      id: whole(0, COUNT_MAX),
      ask: oneOf(Object.keys(requestShapes) as Ask[]),
    })(value, 'request');
    return { id, ask, ...requestShapes[ask](value, ask) } as Request;
  });
}

export type Answer<A extends Ask> =
  | { readonly id: number; readonly ok: AnswerBody<A> }
  | { readonly id: number; readonly refusal: Refusal };

/**
 * The answer to a request of this kind.
 *
 * @throws ControlError
 */
export function decodeAnswer<A extends Ask>(message: Uint8Array, ask: A): Answer<A> {
  const value = parse(message);
  return checked(() => {
    const { id } = object({ id: whole(0, COUNT_MAX) })(value, 'answer');
    const { ok, refusal } = value as { ok?: unknown; refusal?: unknown };
    if (refusal !== undefined) return { id, refusal: refusalShape(refusal, 'refusal') };
    return { id, ok: answerShapes[ask](ok, ask) as AnswerBody<A> };
  });
}

/** @throws ControlError */
export function decodeJoin(message: Uint8Array): Join {
  const value = parse(message);
  return checked(() => joinShape(value, 'join'));
}

function parse(message: Uint8Array): unknown {
  if (message.length > CONTROL_BYTES_MAX) throw new ControlError('a control message is too long');
  try {
    return JSON.parse(Buffer.from(message.buffer, message.byteOffset, message.length).toString());
  } catch {
    throw new ControlError('a control message is no JSON');
  }
}

function checked<T>(decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    throw error instanceof ShapeError ? new ControlError(error.message) : error;
  }
}
