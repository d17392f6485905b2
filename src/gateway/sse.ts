/** A subscription that somebody reads as server-sent events: its connection to the broker, its answer, and what becomes of both. [GW-60] */

import type { ServerResponse } from 'node:http';
import type { JspError } from '../base/errors.ts';
import type { CommandReader } from '../pubsub/command.ts';
import { NoticeCode } from '../pubsub/session-commands.ts';
import { ANONYMOUS, factsOf } from './caller.ts';
import type { EventStreams, LookedAfter } from './event-streams.ts';
import type { Exchange } from './exchange.ts';
import { CloseCode, type Goodbye, goodbye, goodbyeOf, goodbyeOfGateway } from './goodbye.ts';
import { type ByteSink, Outgoing, type OutgoingListener } from './outgoing.ts';
import { Problem, problemOfEntry, problemOfError } from './problem.ts';
import { Session } from './session.ts';
import type { Guest } from './state.ts';
import { type Begun, CallerSubscription, type GapReason, type SubscriptionSink } from './subscription.ts';
import type { SubscriptionRequest } from './subscription-request.ts';
import { COMMENT, eventOf, positionOnly, retryAfter } from './wire-form.ts';

/** Whether anything is still sent; LEAVING: only what was. */
const State = { OPEN: 0, LEAVING: 1, OVER: 2 } as const;
type State = (typeof State)[keyof typeof State];

export class EventStream implements SubscriptionSink, OutgoingListener, Guest, ByteSink, LookedAfter {
  private readonly exchange: Exchange;
  private readonly streams: EventStreams;
  private readonly response: ServerResponse;
  private readonly outgoing: Outgoing;
  private readonly isLost: boolean;
  private session: Session | null = null;
  private subscription: CallerSubscription | null = null;
  private epoch = 0;
  /** Seconds since something was sent. */
  private quietS = 0;
  /** From its goodbye until its connection has closed. */
  private ending: NodeJS.Timeout | undefined = undefined;
  private state: State = State.OPEN;
  /** Of {@link open}: the answer has begun, or is a problem. */
  private begun: { resolve(): void; reject(error: unknown): void } | null = null;

  /**
   * Subscribes, and answers when the broker has taken that. The stream lives on by itself.
   *
   * @param isLost - the caller was to go on behind something that is not known
   * @throws {Problem}
   */
  static async open(exchange: Exchange, request: SubscriptionRequest, isLost: boolean): Promise<void> {
    if (exchange.response.socket === null) {
      throw new Problem(
        'REQUEST_INVALID',
        'A stream of events has its connection alone: ask for it when all else is answered.',
      );
    }
    const stream = new EventStream(exchange, isLost);
    exchange.onClose(() => stream.end());
    try {
      await stream.subscribe(request);
    } catch (error) {
      stream.end();
      throw problemOfError(error);
    }
  }

  private constructor(exchange: Exchange, isLost: boolean) {
    const { eventStreams } = exchange.state;
    this.exchange = exchange;
    this.streams = eventStreams;
    this.response = exchange.response;
    this.isLost = isLost;
    this.outgoing = new Outgoing(eventStreams.turn, this, this);
  }

  private async subscribe(request: SubscriptionRequest): Promise<void> {
    const { state, address, proof } = this.exchange;
    const connection = await state.backend.connect(factsOf('sse', address));
    const session = await Session.open(
      connection,
      { proof },
      {
        onNotice: ({ code, value }) => {
          if (code === NoticeCode.CREDENTIALS_EXPIRE) this.tell('expiring', { inMs: value });
        },
        onClosed: (error) => this.onSessionClosed(error),
      },
      state.clock,
    ).catch((error: unknown) => {
      throw problemOfEntry(error, proof === ANONYMOUS);
    });
    if (this.state !== State.OPEN) return session.close(); // the caller has gone
    this.session = session;
    await new Promise<void>((resolve, reject) => {
      this.begun = { resolve, reject };
      this.subscription = new CallerSubscription(session, request, this);
    });
  }

  // ---- as who is told what comes ----

  onSubscribed(begun: Begun | null): void {
    this.beginAnswer();
    if (begun === null) this.tell('open', {});
    else {
      const { epoch, offset, head, missed } = begun;
      this.epoch = epoch;
      const isReset = begun.isReset || this.isLost;
      const said = { epoch, offset, head, recovered: begun.recovered, missed: this.isLost ? null : missed };
      this.tell('open', said, offset);
      if (isReset)
        this.tell('reset', said, offset); // [GW-62] the position is not known any more
      else if (missed !== 0) this.tell('gap', { missed, reason: 'retention' });
    }
    this.begun?.resolve();
    this.begun = null;
    if (this.exchange.state.isDraining) this.goodbye();
  }

  onRefused(error: JspError): void {
    this.begun?.reject(error);
    this.begun = null;
  }

  onDelivery(command: Buffer, parts: CommandReader, offset: number): void {
    const event = this.streams.texts.event(command, parts, this.epoch, offset);
    if (event === null) this.onGap(1, 'compressed');
    else this.send(event);
  }

  onPosition(epoch: number, offset: number): void {
    this.epoch = epoch;
    this.send(Buffer.from(positionOnly({ epoch, offset })));
  }

  onGap(missed: number | null, reason: GapReason): void {
    this.tell(reason === 'reset' ? 'reset' : 'gap', { missed, reason });
  }

  onEnded(error: JspError): void {
    this.onSessionClosed(error);
  }

  // ---- as somebody who is sent to ----

  get writableLength(): number {
    return this.response.writableLength;
  }

  write(bytes: Uint8Array, done: () => void): void {
    this.response.write(bytes, done);
  }

  onSlow(): void {
    this.subscription?.pause();
  }

  onReady(): void {
    this.subscription?.resume();
  }

  /** A second has passed. */
  tick(): void {
    if (this.outgoing.isStalled) {
      const why = 'The connection takes messages too slowly; come back, and go on behind your last event.';
      this.leave(goodbye('STALLED', why, 0, CloseCode.STALLED));
    } else if (++this.quietS >= COMMENT_EVERY_S && !this.outgoing.isSlow) {
      this.send(COMMENT_BYTES); // [GW-63] nothing else has gone out for 15 s
    }
  }

  // ---- its end ----

  goodbye(): void {
    this.leave(goodbyeOfGateway());
  }

  /** Its caller is gone, or is let go. */
  end(): void {
    if (this.state === State.OVER) return;
    this.state = State.OVER;
    clearTimeout(this.ending);
    this.outgoing.end();
    this.leaveBroker();
    this.begun?.resolve(); // nobody is there to be answered
    this.begun = null;
  }

  private onSessionClosed(error: Error | null): void {
    if (this.begun !== null) {
      this.begun.reject(error);
      this.begun = null;
    } else this.leave(goodbyeOf(error, false));
  }

  /** [GW-64] goodbye is the last event */
  private leave({ code, message, retryAfterMs }: Goodbye): void {
    if (this.state !== State.OPEN) return;
    if (!this.response.headersSent) return this.end();
    this.state = State.LEAVING;
    this.tell('goodbye', { code, message, retryAfterMs }); // behind which nothing is sent
    this.leaveBroker();
    this.outgoing.finish(() => this.response.end());
    this.ending = setTimeout(() => this.response.destroy(), END_MS_MAX).unref();
  }

  private leaveBroker(): void {
    this.streams.delete(this);
    this.exchange.state.guests.delete(this);
    const { session, subscription } = this;
    this.session = null;
    this.subscription = null;
    subscription?.close();
    session?.close();
  }

  private beginAnswer(): void {
    const { response, exchange } = this;
    response.shouldKeepAlive = false;
    // It ends with its connection: so its bytes need no chunks around them.
    response.removeHeader('transfer-encoding');
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store, no-transform',
      'x-accel-buffering': 'no',
      ...exchange.pageHeaders,
      connection: 'close',
    });
    response.flushHeaders();
    exchange.state.guests.add(this);
    this.streams.add(this);
    this.send(Buffer.from(retryAfter(RETRY_MS_MIN + Math.floor(Math.random() * RETRY_MS_RANGE))));
  }

  private tell(event: string, data: object, offset = -1): void {
    const position = offset < 0 ? null : { epoch: this.epoch, offset };
    this.send(Buffer.from(eventOf(event, JSON.stringify(data), position)));
  }

  private send(bytes: Uint8Array): void {
    if (!this.response.headersSent) return; // it has not begun
    this.quietS = 0;
    this.outgoing.send(bytes);
  }
}

const COMMENT_EVERY_S = 15;
const COMMENT_BYTES = Buffer.from(COMMENT);
/** [GW-63] random, so that they do not come back together */
const RETRY_MS_MIN = 1_000;
const RETRY_MS_RANGE = 4_000;
const END_MS_MAX = 3_000;
