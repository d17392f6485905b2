/** Requests of a client in a browser, which the gateway publishes and whose answers it brings. [WEB-7] */

import { JspError } from '../base/errors.ts';
import { type OptionTable, whole } from '../base/options.ts';
import { MILLISECOND } from '../base/time.ts';
import { codecOption } from '../client/codec.ts';
import type { LinkUser } from '../client/link.ts';
import { abortError, onAbort } from '../transport/abort.ts';
import type { Clock } from '../udp/clock.ts';
import { closedError } from './closing.ts';
import { countIn, type Frame } from './frames.ts';
import type { WebLink } from './link.ts';
import { Message } from './message.ts';
import { type Codec, payloadOf } from './payload.ts';
import { checkLengths, messageMembers, PUBLISH_OPTIONS, type PublishOptions } from './publish-options.ts';

/** Those of a publish, without what a request itself needs. */
export interface RequestOptions<T = unknown>
  extends Omit<PublishOptions, 'replyTo' | 'owned' | 'retain' | 'codec' | 'qos' | 'messageId'> {
  /** How long to wait for the answer, in ms. Default 5,000. */
  timeoutMs?: number | undefined;
  /** What makes a payload of the request's value, and a value of the answer's. Default: that of the client. */
  codec?: Codec<T> | undefined;
}

/** A request that waits for a connection or for its answer. */
interface Pending {
  send(link: WebLink): void;
  /** The connection is over. */
  lose(): void;
  end(error: JspError): void;
}

export class Requests implements LinkUser<WebLink> {
  /** Answers for which nobody waited any more. */
  late = 0;
  private readonly clock: Clock;
  private readonly usual: Codec<unknown> | null;
  private readonly pending = new Set<Pending>();
  private link: WebLink | null = null;

  constructor(usual: Codec<unknown> | null, clock: Clock) {
    this.usual = usual;
    this.clock = clock;
  }

  get waiting(): number {
    return this.pending.size;
  }

  /** Rejects with ERR_JSP_OFFLINE when the connection is lost meanwhile: nobody knows whether it was handled. One that is made without a connection waits for it. */
  async request(topic: string, value: unknown, options: RequestOptions): Promise<Message> {
    const { timeoutMs = TIMEOUT_MS, signal, codec: own, ...said } = options;
    const codec = (own ?? this.usual) as Codec<unknown> | null;
    checkLengths('request', said);
    const payload = payloadOf(value, codec);
    const contentType = options.contentType ?? codec?.contentType;
    const members = messageMembers(topic, payload, { ...said, contentType });
    const endsAt = this.clock.now() + timeoutMs * MILLISECOND;
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(abortError(signal));
      let isSent = false;
      const over = (): void => {
        this.pending.delete(pending);
        this.clock.clearTimer(timer);
        forget();
      };
      const fail = (error: JspError): void => {
        over();
        reject(error);
      };
      const pending: Pending = {
        send: (link) => {
          isSent = true;
          const leftMs = Math.max(1, Math.ceil((endsAt - this.clock.now()) / MILLISECOND));
          link.ask(
            { type: 'request', ...members, ttlMs: options.ttlMs, timeoutMs: leftMs },
            (answer, error) => {
              if (!this.pending.has(pending)) this.late += answer === null ? 0 : 1;
              else if (answer !== null) this.settle(answer, codec, over, resolve, fail);
              else if (link.failure === null) fail(error as JspError);
            },
          );
        },
        lose: () => {
          if (isSent) fail(lostError());
        },
        end: fail,
      };
      const timer = this.clock.setTimer(endsAt + LATE_MS * MILLISECOND, () => fail(timeoutError(timeoutMs)));
      const forget = onAbort(signal, () => fail(abortError(signal as AbortSignal)));
      this.pending.add(pending);
      if (this.link !== null) pending.send(this.link);
    });
  }

  online(link: WebLink): void {
    this.link = link;
    for (const each of [...this.pending]) each.send(link);
  }

  offline(): void {
    this.link = null;
    for (const each of [...this.pending]) each.lose();
  }

  closed(reason: JspError | null): void {
    this.link = null;
    for (const each of [...this.pending]) each.end(reason ?? closedError());
  }

  private settle(
    answer: Frame,
    codec: Codec<unknown> | null,
    over: () => void,
    resolve: (message: Message) => void,
    fail: (error: JspError) => void,
  ): void {
    const message = new Message(answer, null, NOBODY, codec);
    const status = countIn(answer, 'status') ?? 0;
    if (status !== 0) return fail(failedError(status, message.text()));
    try {
      void message.value; // decoded here, so that what cannot be fails the request
    } catch (error) {
      return fail(error as JspError);
    }
    over();
    resolve(message);
  }
}

function failedError(status: number, reason: string): JspError {
  return new JspError('ERR_JSP_REQUEST_FAILED', `The responder says ${status}: ${reason}`, {
    applicationCode: status,
    reason,
  });
}

function lostError(): JspError {
  return new JspError(
    'ERR_JSP_OFFLINE',
    'The connection was lost before the answer came: the request may have been handled, or not.',
  );
}

function timeoutError(timeoutMs: number): JspError {
  return new JspError('ERR_JSP_TIMEOUT', `No answer came within ${timeoutMs} ms.`);
}

const NOBODY = { respond: () => false };
const {
  replyTo: _replyTo,
  owned: _owned,
  retain: _retain,
  qos: _qos,
  messageId: _messageId,
  ...KEPT
} = PUBLISH_OPTIONS;
export const REQUEST_OPTIONS: OptionTable<RequestOptions> = {
  ...KEPT,
  codec: codecOption,
  timeoutMs: whole(1, 2 ** 31 - 1),
};
const TIMEOUT_MS = 5_000;
/** For the gateway, which says by itself that the time is over. */
const LATE_MS = 1_000;
