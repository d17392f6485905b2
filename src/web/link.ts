/** One connection of a client to a gateway, from its WebSocket to the welcome and to the end. A client that comes back has one after the other. [WEB-2] */

import { JspError } from '../base/errors.ts';
import { MILLISECOND } from '../base/time.ts';
import type { Lifeline } from '../client/life.ts';
import { utf8Bytes } from '../pubsub/topic.ts';
import type { TimerHandle } from '../udp/clock.ts';
import { countIn, endOf, errorOf, type Frame, frameOf, type Saying } from './frames.ts';
import { toBase64, toBytes } from './payload.ts';
import type { Socket, Surroundings } from './surroundings.ts';

/** What was asked is answered; or it is not, because the connection is over. */
export type Answered = (answer: Frame | null, error: JspError | null) => void;

/** Who hears of what the gateway says by itself. */
export interface LinkListener {
  /** With null where this side has left. */
  onEnded(link: WebLink, error: JspError | null): void;
  /** What concerns no subscription: `expiring`, `notice`, `goodbye`. */
  onTold(link: WebLink, frame: Frame): void;
}

/** What the gateway says of a subscription. */
export type FrameTaker = (frame: Frame) => void;

export class WebLink implements Lifeline {
  readonly connection = { destroy: () => this.end(closedHere()) };
  /** How the gateway welcomed the client; null before that. */
  welcome: Frame | null = null;
  failure: JspError | null = null;
  private readonly socket: Socket;
  private readonly around: Surroundings;
  private readonly listener: LinkListener;
  private readonly asked = new Map<number, Answered>();
  private readonly takers = new Map<number, FrameTaker>();
  private lastId = 0;
  /** Numbered alike by all clients: what is alike is encoded once for all of them. */
  private lastSub = 0;
  private goodbye: Frame | null = null;
  private isOpen = false;
  private hasHeard = true;
  private watch: TimerHandle | null = null;
  private onWelcome: (error: JspError | null) => void = () => {};
  private whenLeft: (() => void) | null = null;
  /** Resolves when it is over; null: nobody wants it to be. */
  private left: Promise<void> | null = null;

  /** Takes over a socket that was just made. */
  constructor(socket: Socket, around: Surroundings, listener: LinkListener) {
    this.socket = socket;
    this.around = around;
    this.listener = listener;
    socket.onmessage = ({ data }) => this.receive(data);
    socket.onclose = ({ code, reason }) => this.end(endOf(this.goodbye, code, reason, this.isOpen));
    socket.onerror = () => {}; // the close that follows tells
  }

  get isOver(): boolean {
    return this.failure !== null;
  }

  /** What was said and has not left. */
  get bufferedBytes(): number {
    return this.socket.bufferedAmount;
  }

  /** Says who the client is, as soon as it can, and resolves when it is welcome. */
  greet(auth: Saying): Promise<void> {
    return new Promise((resolve, reject) => {
      this.onWelcome = (error) => {
        if (error === null) resolve();
        else reject(error);
      };
      this.socket.onopen = () => {
        this.isOpen = true;
        this.send(auth);
      };
      if (this.failure !== null) reject(this.failure);
    });
  }

  /** @throws {JspError} `ERR_JSP_MESSAGE_TOO_LARGE` */
  send(saying: Saying): void {
    if (this.failure === null) this.socket.send(this.textOf(saying));
  }

  /** Says something that is answered. What is too large is so by this side, later, as if the gateway had. */
  ask(saying: Saying, answered: Answered): void {
    if (this.failure !== null) return answered(null, this.failure);
    const id = ++this.lastId;
    let text: string;
    try {
      text = this.textOf({ ...saying, id });
    } catch (error) {
      return queueMicrotask(() => answered(null, this.failure ?? (error as JspError)));
    }
    this.asked.set(id, answered);
    this.socket.send(text);
  }

  /** The same, as a promise; with the error that the gateway answers. */
  answer(saying: Saying): Promise<Frame> {
    return new Promise((resolve, reject) => {
      this.ask(saying, (answer, error) => {
        if (answer === null) reject(error);
        else resolve(answer);
      });
    });
  }

  /** Asks for a subscription, whose frames, the answer among them, go to `taker`, in order. Returns its name on this connection. */
  subscribe(saying: Saying, taker: FrameTaker): number {
    const sub = ++this.lastSub;
    this.takers.set(sub, taker);
    this.ask({ ...saying, sub }, (answer, error) => {
      if (answer !== null) taker(answer);
      else if (error !== null && this.failure === null) {
        this.takers.delete(sub);
        taker({ type: 'refused', error });
      }
    });
    return sub;
  }

  /** Nothing is taken for this subscription any more. */
  forget(sub: number): void {
    this.takers.delete(sub);
  }

  /** Somebody has reason to think that it is dead: unless something comes soon, it is. [WEB-4] */
  probe(): void {
    if (this.failure !== null || this.welcome === null) return;
    this.hasHeard = false;
    this.ask({ type: 'ping' }, () => {});
    this.stopWatch();
    this.watch = this.after(PROBE_MS, () => {
      if (this.hasHeard) this.watchOn();
      else this.end(silent());
    });
  }

  /** Closes the connection. What was said before arrives, unless the connection is lost meanwhile or nothing gets on for so long. */
  async leave(stallMs: number): Promise<void> {
    if (this.failure !== null) return;
    this.left ??= new Promise<void>((resolve) => {
      this.whenLeft = resolve;
    });
    this.socket.close(1000);
    const timer = this.after(Math.min(stallMs, LEAVE_MS_MAX), () => this.end(closedHere()));
    await this.left;
    this.around.clock.clearTimer(timer);
  }

  /**
   * A message to the gateway, no longer than that takes: for a longer one it would end the connection. A text that JSON would make too long goes as bytes. [WEB-10]
   *
   * @throws {JspError} `ERR_JSP_MESSAGE_TOO_LARGE`
   */
  private textOf(saying: Saying): string {
    const text = JSON.stringify(saying);
    const payloadMax = this.welcome === null ? null : countIn(this.welcome, 'messageBytesMax');
    // A UTF-16 unit is at most three bytes.
    if (payloadMax === null || text.length * 3 <= payloadMax) return text;
    const bytes = payloadBytes(saying);
    if (bytes > payloadMax) throw tooLarge(`A payload of ${bytes} bytes`, payloadMax);
    const bytesMax = 2 * payloadMax + ENVELOPE_BYTES;
    if (text.length * 3 <= bytesMax || utf8Bytes(text) <= bytesMax) return text;
    if (typeof saying.text !== 'string') throw tooLarge('A message with its headers', bytesMax);
    return this.textOf({ ...saying, text: undefined, base64: toBase64(toBytes(saying.text)) });
  }

  private receive(data: unknown): void {
    if (this.failure !== null) return;
    this.hasHeard = true;
    const frame = frameOf(data); // [WEB-8] whatever it says
    if (frame === null) return this.end(noProtocol());
    switch (frame.type) {
      case 'message':
      case 'position':
      case 'gap':
        return this.takers.get(frame.sub as number)?.(frame);
      case 'ended': {
        const taker = this.takers.get(frame.sub as number);
        this.takers.delete(frame.sub as number);
        return taker?.(frame);
      }
      case 'subscribed':
      case 'result':
        return this.settle(frame, null);
      case 'error':
        if (typeof frame.id === 'number') return this.settle(frame, errorOf(frame));
        return this.listener.onTold(this, frame);
      case 'welcome':
        return this.onWelcomed(frame);
      case 'goodbye':
        this.goodbye = frame;
        return this.listener.onTold(this, frame);
      default:
        return this.listener.onTold(this, frame);
    }
  }

  private settle(frame: Frame, error: JspError | null): void {
    const answered = this.asked.get(frame.id as number);
    this.asked.delete(frame.id as number);
    answered?.(error === null ? frame : null, error);
  }

  private onWelcomed(frame: Frame): void {
    if (this.welcome !== null) return;
    this.welcome = frame;
    this.watchOn();
    this.onWelcome(null);
  }

  /** The pings of a gateway are not seen in a browser: a connection on which nothing is heard is asked whether it is alive. */
  private watchOn(): void {
    const pingMs = this.welcome === null ? null : countIn(this.welcome, 'pingMs');
    this.hasHeard = false;
    this.stopWatch();
    this.watch = this.after(Math.max(PING_MS_MIN, pingMs ?? PING_MS), () => {
      if (this.hasHeard) this.watchOn();
      else this.probe();
    });
  }

  private end(error: JspError): void {
    if (this.failure !== null) return;
    this.failure = error;
    this.stopWatch();
    const { socket } = this;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(); // nothing, where it is closed
    const asked = [...this.asked.values()];
    this.asked.clear();
    this.takers.clear();
    for (const answered of asked) answered(null, error);
    this.onWelcome(error);
    this.whenLeft?.();
    this.listener.onEnded(this, this.left === null ? error : null);
  }

  private stopWatch(): void {
    if (this.watch !== null) this.around.clock.clearTimer(this.watch);
    this.watch = null;
  }

  private after(ms: number, callback: () => void): TimerHandle {
    const { clock } = this.around;
    return clock.setTimer(clock.now() + ms * MILLISECOND, callback);
  }
}

function closedHere(): JspError {
  return new JspError('ERR_JSP_CLOSED', 'The client is closed.');
}

function silent(): JspError {
  return new JspError(
    'ERR_JSP_HEARTBEAT_TIMEOUT',
    'The gateway says nothing any more: the connection is taken for lost.',
  );
}

/** Of what a saying carries; 0: nothing. */
function payloadBytes({ text, base64 }: Saying): number {
  if (typeof text === 'string') return utf8Bytes(text);
  return typeof base64 === 'string' ? Math.floor((base64.replace(/=+$/, '').length * 3) / 4) : 0;
}

function tooLarge(what: string, bytesMax: number): JspError {
  return new JspError(
    'ERR_JSP_MESSAGE_TOO_LARGE',
    `${what} is above the ${bytesMax} that the gateway takes; split it, or raise payloadBytesMax there`,
  );
}

function noProtocol(): JspError {
  return new JspError(
    'ERR_JSP_PROTOCOL',
    'The gateway said something that is no message of the protocol jsp.v1.json.',
  );
}

/** What a gateway takes of a message beside twice its payload. [GW-50] */
const ENVELOPE_BYTES = 64 * 1024;
const PING_MS = 25_000;
const PING_MS_MIN = 1_000;
/** From the question whether it is alive to any word. */
const PROBE_MS = 5_000;
/** A browser waits for the other side's close for long where it is gone. */
const LEAVE_MS_MAX = 2_000;
