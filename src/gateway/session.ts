/**
 * A caller of the gateway, as the broker knows him: a connection with a HELLO that carries his credentials, and what he does on it. It is a small client at the level of
 * commands; what a caller may do is the broker's to say. It ends with its connection, and does not come back: whoever wants another opens one.
 */

import { JspError } from '../base/errors.ts';
import { MILLISECOND, type Micros, NEVER } from '../base/time.ts';
import {
  type CommandListener,
  CommandStream,
  closedError,
  openCommandStream,
} from '../client/command-stream.ts';
import { ReasonCode, reasonCodeName } from '../pubsub/command.ts';
import { type MessageConnection, STREAM_PRIORITIES, type StreamPriority } from '../pubsub/message-stream.ts';
import {
  type AuthMethod,
  BROKER_PROTOCOL_VERSION,
  decodeNotice,
  decodeRenewed,
  decodeWelcome,
  encodeHello,
  encodeLeave,
  encodeRenew,
  type Hello,
  type Notice,
  type Welcome,
} from '../pubsub/session-commands.ts';
import { type Clock, systemClock, type TimerHandle } from '../udp/clock.ts';
import { PendingPublish, PublishingStream } from './publishing.ts';

/** What proves who a caller is, as a HELLO carries it. */
export interface Proof {
  readonly method: AuthMethod;
  readonly credentials: Uint8Array;
}

export interface SessionRequest {
  readonly proof: Proof;
  /** Empty: the session ends with its connection. */
  readonly name?: string | undefined;
  /** How long it outlives its connection, in ms. Default 0. */
  readonly expiryMs?: number | undefined;
  /** What an earlier session of that name held is not wanted. */
  readonly cleanStart?: boolean | undefined;
}

/** What a session tells its owner. */
export interface SessionListener {
  onNotice?(notice: Notice): void;
  /** The broker reads on what it publishes, of a class that was stopped, or what it asks for beside that. */
  onDrained?(): void;
  /** It is over: with the error that ended it, or null where its owner closed it. */
  onClosed?(error: Error | null): void;
}

export class Session {
  readonly name: string;
  readonly welcome: Welcome;
  private readonly connection: MessageConnection;
  private readonly control: CommandStream;
  private readonly clock: Clock;
  private readonly listener: SessionListener;
  /** By the number of its class. */
  private readonly publishing: (PublishingStream | null)[] = [null, null, null, null];
  private failure: Error | null = null;
  private over = false;

  /**
   * Says HELLO on a connection, and waits for the WELCOME. One that is refused closes the connection.
   *
   * @throws {JspError} what the broker refuses, such as ERR_JSP_NOT_AUTHORIZED, with its `applicationCode`; ERR_JSP_TIMEOUT when it does not answer
   */
  static async open(
    connection: MessageConnection,
    request: SessionRequest,
    listener: SessionListener = {},
    clock: Clock = systemClock,
  ): Promise<Session> {
    const { name = '', expiryMs = 0, cleanStart = false, proof } = request;
    const early: Notice[] = [];
    let ended: { readonly error: Error | null } | null = null;
    const heard: { session: Session | null } = { session: null };
    const control = new CommandStream(connection, openCommandStream(connection, 'system'), {
      onNotice: (bytes) => {
        const notice = decodeNotice(bytes);
        if (heard.session === null) early.push(notice);
        else listener.onNotice?.(notice);
      },
      onDrain: () => listener.onDrained?.(),
      onClosed: () => {},
    });
    connection.on('close', (error) => {
      ended = { error };
      heard.session?.end(error);
    });
    const timer = clock.setTimer(clock.now() + WELCOME_MS_MAX * MILLISECOND, () => {
      connection.destroy(ReasonCode.NO_ERROR);
    });
    try {
      const { method, credentials } = proof;
      // No member is spread into it: an object that begins so costs fifty times as much.
      const hello: Hello = {
        version: BROKER_PROTOCOL_VERSION,
        cleanStart,
        aliases: 0,
        capabilities: 0,
        expiryMs,
        method,
        session: name,
        credentials,
      };
      const welcome = decodeWelcome(await control.ask((id) => encodeHello(id, hello)));
      if (welcome === null)
        throw new JspError('ERR_JSP_PROTOCOL', 'the broker sent a WELCOME that cannot be read');
      const session = new Session(connection, control, clock, { name, welcome, listener });
      heard.session = session;
      for (const notice of early) listener.onNotice?.(notice);
      if (ended !== null) session.end((ended as { readonly error: Error | null }).error);
      return session;
    } catch (error) {
      connection.destroy(ReasonCode.NO_ERROR);
      // That the connection was closed says why the answer did not come.
      throw (ended as { readonly error: Error | null } | null)?.error ?? error;
    } finally {
      clock.clearTimer(timer);
    }
  }

  private constructor(
    connection: MessageConnection,
    control: CommandStream,
    clock: Clock,
    { name, welcome, listener }: { name: string; welcome: Welcome; listener: SessionListener },
  ) {
    this.clock = clock;
    this.connection = connection;
    this.control = control;
    this.name = name;
    this.welcome = welcome;
    this.listener = listener;
  }

  get isOver(): boolean {
    return this.over;
  }

  /** What it is over by; null: it is not, or its owner has closed it. */
  get endedBy(): Error | null {
    return this.failure;
  }

  /** The broker reads no more of what it publishes in this class at present. */
  isStopped(priority: StreamPriority): boolean {
    return this.publishing[STREAM_PRIORITIES.indexOf(priority)]?.isStopped ?? false;
  }

  /** The broker reads no more at present of what it asks for beside that: wills, and new credentials. */
  get isControlFull(): boolean {
    return !this.over && this.control.isFull;
  }

  /** Since when the first message waits that the broker has not answered; infinite: none does. */
  get waitingSince(): Micros {
    let first = NEVER;
    for (const stream of this.publishing) {
      if (stream !== null) first = Math.min(first, stream.waitingSince);
    }
    return first;
  }

  /** Messages that wait for the broker to read them, or to answer. */
  get pending(): number {
    return this.publishing.reduce((sum, stream) => sum + (stream?.pending ?? 0), 0);
  }

  /**
   * Publishes a whole PUBLISH, which is the session's from now on; its id, where it is of QoS 1, is given here.
   *
   * @param onSettled - called once, perhaps before this returns
   * @param index - which of its owner's messages it is
   */
  publish(
    command: Buffer,
    onSettled: (publish: PendingPublish) => void,
    priority: StreamPriority = 'chat',
    index = 0,
  ): PendingPublish {
    const publish = new PendingPublish(command, this.clock.now(), onSettled, index);
    this.publishingStream(STREAM_PRIORITIES.indexOf(priority), priority).publish(publish);
    return publish;
  }

  /**
   * Opens another stream of the session: for a subscription.
   *
   * @throws {JspError} ERR_JSP_CLOSED
   */
  openStream(priority: StreamPriority, listener: CommandListener): CommandStream {
    if (this.over) throw this.failure ?? closedError();
    return new CommandStream(this.connection, openCommandStream(this.connection, priority), listener);
  }

  /** Gives the broker new credentials. Resolves with how long they are good for, in ms; 0: without end. */
  async renew({ method, credentials }: Proof): Promise<number> {
    return decodeRenewed(await this.control.ask((id) => encodeRenew(id, method, credentials)));
  }

  /** Leaves the broker a message for when the session is gone, in the place of an earlier one. @param encode - the WILL with this id */
  async leaveWill(encode: (id: number) => Uint8Array): Promise<void> {
    await this.control.request(encode);
  }

  /** Resolves when the broker has read all that was published, or does not for so long. */
  async drain(msMax: number): Promise<void> {
    if (this.over) return;
    const { clock } = this;
    let timer: TimerHandle | null = null;
    const late = new Promise<void>((resolve) => {
      timer = clock.setTimer(clock.now() + msMax * MILLISECOND, resolve);
    });
    const flushed = this.publishing.map((stream) => stream?.flush());
    await Promise.race([Promise.allSettled(flushed), late]);
    if (timer !== null) clock.clearTimer(timer);
  }

  /** It outlives its connection for so long and no longer, whatever its HELLO has said. */
  keepFor(expiryMs: number): void {
    if (!this.over) this.control.stream.send(encodeLeave(expiryMs));
  }

  /** Ends it at once. */
  close(code: ReasonCode = ReasonCode.NO_ERROR): void {
    if (this.over) return;
    this.connection.destroy(code, reasonCodeName(code));
    this.end(null);
  }

  private publishingStream(index: number, priority: StreamPriority): PublishingStream {
    const known = this.publishing[index];
    if (known !== null) return known;
    const opened = new PublishingStream(
      (listener) => this.openStream(priority, listener),
      this.welcome.lastIds[index],
      // A stream that goes alone takes the connection with it: what comes behind it would be new to nobody.
      // Where the connection goes with it, that is told next, and why.
      () => this.clock.soon(() => this.close(ReasonCode.INTERNAL_ERROR)),
      () => this.listener.onDrained?.(),
    );
    this.publishing[index] = opened;
    if (this.over) opened.close();
    return opened;
  }

  private end(error: Error | null): void {
    if (this.over) return;
    this.over = true;
    this.failure = error;
    for (const stream of this.publishing) stream?.close();
    this.listener.onClosed?.(error);
  }
}

/** From the HELLO to the WELCOME. */
const WELCOME_MS_MAX = 10_000;
