/**
 * A conversation with one WebSocket client (spec/gateway.md), whatever its socket is: what it says becomes requests of its session, and what the broker says becomes
 * messages to it. It is one file because it is one protocol, seen from one end.
 *
 *     WAITING ── credentials, another message, or 5 s ──> GREETING ── WELCOME ──> OPEN ──> OVER
 */

import type { JspError } from '../base/errors.ts';
import { Command, encodePlain, encodeWill, reasonCodeName, topicEndOf } from '../pubsub/command.ts';
import { type Notice, NoticeCode } from '../pubsub/session-commands.ts';
import type { Clock } from '../udp/clock.ts';
import { Asking, askingName } from './asking.ts';
import { ANONYMOUS, proofFromText } from './caller.ts';
import { answerMembers, type DeliveryTexts } from './delivery-text.ts';
import { CloseCode, type Goodbye, goodbye, goodbyeOf } from './goodbye.ts';
import { type PublishItem, publishCommand } from './item.ts';
import { LiveSubscription, type SubscriptionHost } from './live-subscription.ts';
import { type Name, RequestFault } from './members.ts';
import { Problem, type ProblemCode, toldIn } from './problem.ts';
import { receiptOf, TAKEN } from './publish-request.ts';
import { type PendingPublish, PublishState } from './publishing.ts';
import type { Proof, Session, SessionListener, SessionRequest } from './session.ts';
import { CallerSubscription } from './subscription.ts';
import type { Position } from './subscription-request.ts';
import { TEXT_FRAME, wholeFrame } from './wire-form.ts';
import { type ClientMessage, NoObjectFault, parseClientMessage } from './ws-protocol.ts';

/** The client's socket. */
export interface Wire {
  /** Takes a whole frame. */
  send(frame: Buffer): void;
  /** Whether what the client says is read. */
  setReading(isReading: boolean): void;
  /** Closes it behind what was sent. */
  end(closeCode: number, reason: string): void;
}

/** What all conversations of a gateway have in common. */
export interface ConversationSurroundings {
  readonly clock: Clock;
  readonly texts: DeliveryTexts;
  readonly payloadBytesMax: number;
  readonly pingMs: number;
  /** A new connection to the broker that says HELLO. */
  open(request: SessionRequest, listener: SessionListener): Promise<Session>;
  /** A fault of the gateway itself. */
  onFault(error: unknown): void;
}

const State = { WAITING: 0, GREETING: 1, OPEN: 2, OVER: 3 } as const;
type State = (typeof State)[keyof typeof State];

export class Conversation implements SubscriptionHost {
  private readonly wire: Wire;
  private readonly around: ConversationSurroundings;
  private state: State = State.WAITING;
  private session: Session | null = null;
  private readonly subscriptions = new Map<Name, LiveSubscription>();
  /** What came before the WELCOME. */
  private early: string[] = [];
  /** The client's socket has enough. */
  private isSlow = false;
  /** The broker reads no more of what the client publishes. */
  private isStopped = false;
  /** What it has proved last. */
  private proof: Proof = ANONYMOUS;
  /** What asks for it, once it has made a request, and the session of that, where it is another. */
  private asking: Promise<Asking> | null = null;
  private askingSession: Session | null = null;
  /** Requests that are not answered yet. */
  private asked = 0;
  /** New credentials are being looked at. */
  private isRefreshing = false;

  constructor(wire: Wire, around: ConversationSurroundings) {
    this.wire = wire;
    this.around = around;
  }

  get isWaiting(): boolean {
    return this.state === State.WAITING;
  }

  /** The client has shown who it is in the header of its request. [GW-52] */
  greet(request: SessionRequest): void {
    this.state = State.GREETING;
    this.proof = request.proof;
    this.readOn();
    const listener: SessionListener = {
      onNotice: (notice) => this.onNotice(notice),
      onClosed: (error) => this.onClosed(error),
      onDrained: () => this.onDrained(),
    };
    this.around.open(request, listener).then(
      (session) => this.onWelcome(session),
      (error: Error) => this.leave(goodbyeOf(error, true)),
    );
  }

  /** It has said nothing for so long that nobody can be meant but anybody. [GW-52] */
  greetAnonymously(): void {
    if (this.state === State.WAITING) this.greet({ proof: ANONYMOUS });
  }

  /** A text frame has come. */
  received(text: string): void {
    if (this.state === State.OVER) return;
    if (this.state === State.GREETING) {
      this.early.push(text); // reading has stopped: these were read in the same go
      return;
    }
    let message: ClientMessage;
    try {
      message = parseClientMessage(text);
    } catch (error) {
      this.onFault(error);
      return;
    }
    if (this.state === State.WAITING) this.begin(message, text);
    else this.take(message);
  }

  /** The socket has enough. [GW-45] */
  slow(): void {
    this.isSlow = true;
    this.readOn();
    for (const { subscription } of this.subscriptions.values()) subscription?.pause();
  }

  ready(): void {
    this.isSlow = false;
    this.readOn();
    for (const { subscription } of this.subscriptions.values()) subscription?.resume();
  }

  /** The socket has taken nothing for too long. [GW-45] */
  stalled(): void {
    const known: [name: string, position: Position][] = [];
    for (const { name, subscription } of this.subscriptions.values()) {
      const position = subscription?.position ?? null;
      if (position !== null) known.push([String(name), position]);
    }
    const positions = Object.fromEntries(known); // whatever a client calls its subscriptions
    const why = 'The connection takes messages too slowly; come back, and go on behind your positions.';
    this.leave(goodbye('STALLED', why, 0, CloseCode.STALLED), { positions });
  }

  /** Lets the client go. */
  leave(why: Goodbye, more: object = NOTHING): void {
    if (this.state === State.OVER) return;
    const { code, message, retryAfterMs, closeCode } = why;
    this.tell({ type: 'goodbye', code, message, retryAfterMs, ...more });
    this.end();
    this.wire.end(closeCode, code);
  }

  /** The socket is gone. */
  end(): void {
    if (this.state === State.OVER) return;
    this.state = State.OVER;
    this.early = [];
    const { session } = this;
    this.session = null;
    this.subscriptions.clear(); // they go with the connection
    session?.close();
    this.askingSession?.close();
  }

  // ---- what the client says ----

  /** Its first message. */
  private begin(message: ClientMessage, text: string): void {
    if (message.type !== 'auth') {
      this.greet({ proof: ANONYMOUS });
      this.early.push(text);
      return;
    }
    const { token, session: name, expiryMs, cleanStart } = message;
    let proof: Proof = ANONYMOUS;
    try {
      if (token !== null) proof = proofFromText(token);
    } catch (error) {
      this.leave(goodbye('NOT_AUTHORIZED', (error as Error).message, null, CloseCode.NOT_AUTHENTICATED));
      return;
    }
    this.greet({ proof, name, expiryMs, cleanStart });
  }

  private take(message: ClientMessage): void {
    try {
      this.carryOut(message, this.session as Session);
    } catch (error) {
      if (error instanceof RequestFault) this.refuse(message.id, error.code, error.message);
      else this.fail(message.id, error);
    }
    if (this.session?.isControlFull) this.stop();
    if ('sub' in message && this.subscriptions.get(message.sub)?.subscription?.isFull) this.stop();
  }

  /** [GW-56] while the broker takes no more, nothing is read */
  private stop(): void {
    if (this.isStopped) return;
    this.isStopped = true;
    this.readOn();
  }

  private carryOut(message: ClientMessage, session: Session): void {
    switch (message.type) {
      case 'publish':
        return this.publish(message.id, message.message, session);
      case 'ack': {
        const subscription = this.subscriptionOf(message);
        if (message.offsets === null) subscription?.ackUpTo(message.upTo);
        else subscription?.ack(message.offsets);
        return this.confirm(message.id, subscription);
      }
      case 'nack': {
        const subscription = this.subscriptionOf(message);
        subscription?.nack(message.offsets, message.delayMs, message.reason);
        return this.confirm(message.id, subscription);
      }
      case 'terminate': {
        const subscription = this.subscriptionOf(message);
        subscription?.terminate(message.offsets, message.reason);
        return this.confirm(message.id, subscription);
      }
      case 'progress': {
        const subscription = this.subscriptionOf(message);
        subscription?.progress(message.offsets);
        return this.confirm(message.id, subscription);
      }
      case 'subscribe':
        return this.subscribe(message, session);
      case 'unsubscribe': {
        const subscription = this.subscriptionOf(message);
        if (subscription === null) return;
        void this.answer(
          message.id,
          subscription.unsubscribe().then(() => this.forget(message.sub)),
        );
        return;
      }
      case 'close': {
        const subscription = this.subscriptionOf(message);
        if (subscription === null) return;
        subscription.close();
        this.forget(message.sub);
        return this.result(message.id);
      }
      case 'refresh':
        return this.refresh(message.id, message.token, session);
      case 'ping':
        return this.result(message.id);
      case 'auth':
        throw new RequestFault('auth is the first message; refresh renews credentials');
      case 'request':
        return this.ask(message.id, message.message, message.timeoutMs, session);
      case 'will': {
        const { id, message: will, delayMs } = message;
        void this.answer(
          id,
          session.leaveWill((wire) => willCommand(wire, will, delayMs)),
        );
        return;
      }
    }
  }

  private subscribe(message: ClientMessage & { type: 'subscribe' }, session: Session): void {
    const { id, sub, request } = message;
    if (this.subscriptions.has(sub))
      return this.refuse(id, 'SUB_IN_USE', 'There is a subscription of this name.', { sub });
    if (this.subscriptions.size >= SUBSCRIPTIONS_MAX) {
      return this.refuse(id, 'TOO_MANY_SUBSCRIPTIONS', `A connection has at most ${SUBSCRIPTIONS_MAX}.`, {
        sub,
      });
    }
    const live = new LiveSubscription(this, sub, id);
    this.subscriptions.set(sub, live);
    try {
      live.subscription = new CallerSubscription(session, request, live);
    } catch (error) {
      this.subscriptions.delete(sub);
      throw error;
    }
    if (this.isSlow) live.subscription.pause();
  }

  private publish(id: Name | null, message: PublishItem, session: Session): void {
    const { payload, qos, priority } = message;
    const bytes = typeof payload === 'string' ? Buffer.byteLength(payload) : payload.length;
    if (bytes > this.around.payloadBytesMax) {
      return this.refuse(id, 'TOO_LARGE', `A payload is at most ${this.around.payloadBytesMax} bytes.`);
    }
    const command = publishCommand(message);
    session.publish(command, (publish) => this.onPublished(id, publish, qos), priority);
    if (session.isStopped(priority)) this.stop();
  }

  /** [GW-55] a publish is answered when the message is safe */
  private onPublished(id: Name | null, publish: PendingPublish, qos: 0 | 1): void {
    if (this.state !== State.OPEN) return;
    if (publish.state === PublishState.TAKEN) {
      if (id !== null) this.result(id, qos === 0 ? TAKEN : receiptOf(publish));
    } else if (publish.state === PublishState.REFUSED) {
      const retryAfterMs = toldIn(publish.reason);
      const more = retryAfterMs === undefined ? NOTHING : { retryAfterMs };
      this.refuse(id, reasonCodeName(publish.code), publish.reason, more);
    } else {
      this.refuse(id, 'OUTCOME_UNKNOWN', 'The broker went before it answered.');
    }
  }

  /** [GW-55] a request is answered with the reply */
  private ask(id: Name, item: PublishItem, timeoutMs: number, session: Session): void {
    if (this.asked >= ASKED_MAX)
      return this.refuse(id, 'LIMITED', `At most ${ASKED_MAX} requests are under way.`);
    this.asked++;
    if ((this.askingSession ?? session).isStopped(item.priority)) this.stop();
    this.asking ??= this.openAsking(session);
    this.asking
      .then((asking) => asking.ask(item, timeoutMs))
      .finally(() => this.asked--)
      .then(
        (answer) => {
          if (this.state !== State.OPEN) return;
          const result = `{"type":"result","id":${JSON.stringify(id)},${answerMembers(answer)}}`;
          this.wire.send(wholeFrame(TEXT_FRAME, result));
        },
        (error: unknown) => this.fail(id, error),
      );
  }

  /** Answers come to an inbox, which is of a session with a name: one that has none gets another beside it. */
  private async openAsking(session: Session): Promise<Asking> {
    if (session.name !== '') return new Asking(session, this.around.clock);
    const forget = (): void => {
      this.asking = null; // the next request opens another
      this.askingSession = null;
      this.onDrained();
    };
    const listener: SessionListener = { onClosed: forget, onDrained: () => this.onDrained() };
    const own = await this.around
      .open({ proof: this.proof, name: askingName() }, listener)
      .catch((error: unknown) => {
        forget();
        throw error;
      });
    if (this.state === State.OVER) own.close();
    this.askingSession = own;
    return new Asking(own, this.around.clock);
  }

  /** The broker takes more, or what it did not take is over. */
  onDrained(): void {
    if (!this.isStopped) return;
    this.isStopped = false;
    this.readOn();
  }

  /** [GW-57] new credentials interrupt nothing */
  private refresh(id: Name | null, token: string, session: Session): void {
    const proof = proofFromText(token);
    this.isRefreshing = true;
    session
      .renew(proof)
      .finally(() => {
        this.isRefreshing = false;
      })
      .then(
        (expiresMs) => {
          this.proof = proof;
          this.result(id, { expiresMs: expiresMs === 0 ? null : expiresMs });
        },
        (error: unknown) => this.fail(id, error),
      );
  }

  /** Answers when the broker has read what was said before. */
  private confirm(id: Name | null, subscription: CallerSubscription | null): void {
    if (id !== null && subscription !== null) void this.answer(id, subscription.confirm());
  }

  private async answer(id: Name | null, done: Promise<unknown>): Promise<void> {
    try {
      await done;
      this.result(id);
    } catch (error) {
      this.fail(id, error);
    }
  }

  /** Null: there is none of this name, which is told. */
  private subscriptionOf({ id, sub }: { id: Name | null; sub: Name }): CallerSubscription | null {
    const { subscription = null } = this.subscriptions.get(sub) ?? {};
    if (subscription === null)
      this.refuse(id, 'UNKNOWN_SUB', 'There is no subscription of this name.', { sub });
    return subscription;
  }

  // ---- what the broker says ----

  private onWelcome(session: Session): void {
    if (this.state !== State.GREETING) {
      session.close(); // the client has gone meanwhile
      return;
    }
    this.state = State.OPEN;
    this.session = session;
    const { isPresent, credentialsMs, serverTimeMs } = session.welcome;
    const name = session.name === '' ? null : JSON.stringify(session.name);
    const expiresMs = credentialsMs === 0 ? null : credentialsMs;
    const { payloadBytesMax, pingMs } = this.around;
    // Put together here: each client is told this, and JSON.stringify costs several times as much.
    this.tellText(
      `{"type":"welcome","session":${name},"present":${isPresent},"expiresMs":${expiresMs},"serverTimeMs":${serverTimeMs},"messageBytesMax":${payloadBytesMax},"pingMs":${pingMs}}`,
    );
    this.readOn();
    const { early } = this;
    this.early = [];
    for (const text of early) this.received(text);
  }

  /** [GW-47] that credentials are about to expire is told */
  private onNotice({ code, value, text }: Notice): void {
    if (code === NoticeCode.CREDENTIALS_EXPIRE) this.tell({ type: 'expiring', inMs: value });
    else this.tell({ type: 'notice', code: NOTICES[code] ?? code, value, text });
  }

  private onClosed(error: Error | null): void {
    if (this.state === State.OPEN) this.leave(goodbyeOf(error, this.isRefreshing));
  }

  // ---- for its subscriptions ----

  get texts(): DeliveryTexts {
    return this.around.texts;
  }

  sendFrame(frame: Buffer): void {
    this.wire.send(frame);
  }

  tell(message: object): void {
    if (this.state !== State.OVER) this.tellText(JSON.stringify(message));
  }

  tellText(message: string): void {
    if (this.state !== State.OVER) this.wire.send(wholeFrame(TEXT_FRAME, message));
  }

  forget(sub: Name): void {
    this.subscriptions.delete(sub);
    this.onDrained();
  }

  refuse(id: Name | null, code: string, message: string, more: object = NOTHING): void {
    this.tell({ type: 'error', id, code, message, ...more });
  }

  // ---- inside ----

  private result(id: Name | null, more: object = NOTHING): void {
    if (id !== null) this.tell({ type: 'result', id, ...more });
  }

  /** Something failed that was asked for. */
  private fail(id: Name | null, error: unknown): void {
    const { applicationCode, reason, code, message } = error as JspError;
    if (error instanceof Problem) return this.refuse(id, PROBLEMS[error.code] ?? error.code, error.message);
    if (applicationCode !== undefined) this.refuse(id, reasonCodeName(applicationCode), reason ?? message);
    else if (code === 'ERR_JSP_CLOSED')
      return; // the session is over, and says so
    else if (code === 'ERR_JSP_QUEUE_FULL') this.refuse(id, 'LIMITED', message);
    else if (typeof code === 'string') this.refuse(id, code, message);
    else {
      this.refuse(id, 'INTERNAL_ERROR', 'The gateway has failed at this; its log says more.');
      this.around.onFault(error);
    }
  }

  private onFault(error: unknown): void {
    if (error instanceof RequestFault) this.refuse(error.id, error.code, error.message);
    else if (error instanceof NoObjectFault) {
      this.leave(goodbye('BAD_REQUEST', error.message, null, CloseCode.INVALID_DATA)); // [GW-50] no JSON object: 1007
    } else this.fail(null, error);
  }

  private readOn(): void {
    if (this.state === State.OVER) return;
    this.wire.setReading(this.state !== State.GREETING && !this.isSlow && !this.isStopped);
  }
}

const NOTHING = {};
const PROBLEMS: Partial<Record<ProblemCode, string>> = {
  REQUEST_INVALID: 'BAD_REQUEST',
  RESPONSE_TIMEOUT: 'TIMEOUT',
};
const ASKED_MAX = 1_024;
const SUBSCRIPTIONS_MAX = 1_000;
const NOTICES: Readonly<Record<number, string>> = {
  [NoticeCode.SHUTTING_DOWN]: 'SHUTTING_DOWN',
  [NoticeCode.REVOKED]: 'REVOKED',
  [NoticeCode.LIMITED]: 'LIMITED',
  [NoticeCode.STORE_READ_ONLY]: 'STORE_READ_ONLY',
  [NoticeCode.NOT_AUTHORIZED]: 'NOT_AUTHORIZED',
};

/** @param will - null: none any more */
function willCommand(id: number, will: PublishItem | null, delayMs: number): Buffer {
  if (will === null) return encodePlain(Command.WILL, id);
  const publish = publishCommand(will);
  return encodeWill(id, will.topic, publish[1], delayMs, publish.subarray(topicEndOf(publish)));
}
