/**
 * The life of a connection: its state, and every way in which it ends (RFC 9000 section 10).
 *
 * The side that closes sends CONNECTION_CLOSE, again and again in case it was lost, and answers what still comes with another one, ever
 * more rarely; the other side falls silent. Both forget the connection after three probe timeouts.
 */

import { assert } from '../../base/errors.ts';
import { type Micros, NEVER, SECOND } from '../../base/time.ts';
import { CloseCode } from '../wire/close-code.ts';
import type { FrameReader } from '../wire/frame-reader.ts';

/**
 * States follow each other in this order, but for EARLY, which few come through, and which a refusal leads back from; the end may come from any
 * of the first four: {@link NEXT_CONNECTION_STATES}.
 */
export const ConnectionState = {
  HANDSHAKING: 0,
  /** The handshake is not complete, and early data may flow: that of a client which hopes that it is taken, that of a server which took it. [HS-34] */
  EARLY: 1,
  /** The handshake is complete [CON-36]: the peer is who it should be, and application data may flow. */
  COMPLETE: 2,
  /** The handshake is confirmed [CON-36]: both sides know that it is complete, and its keys are gone. */
  CONFIRMED: 3,
  /** We closed: nothing but CONNECTION_CLOSE is sent. */
  CLOSING: 4,
  /** The peer closed, or does not know the connection any more: nothing is sent. */
  DRAINING: 5,
  /** Forgotten: nothing is kept. */
  CLOSED: 6,
} as const;
export type ConnectionState = (typeof ConnectionState)[keyof typeof ConnectionState];

/** Why and by whom a connection was closed. */
export interface CloseReason {
  /** Which side decided; `timeout` when the peer fell silent; `reset` when it does not know the connection any more. */
  by: 'local' | 'peer' | 'timeout' | 'reset';
  /** `transport` codes are those of spec/errors.md, `application` codes the application's own. */
  scope: 'transport' | 'application';
  code: number;
  /** A sentence for people. */
  reason: string;
  /** The exception in our own code that ended the connection, with INTERNAL_ERROR; a JspError that says why we had to. */
  cause?: unknown;
  /** What fell silent, for `by: 'timeout'`; `close` when a graceful close came to its time limit. */
  timeout: 'none' | 'handshake' | 'idle' | 'heartbeat' | 'close';
  /** Of what the side that closed had sent reliably, not all was acknowledged. */
  incomplete: boolean;
  /** At a client: the server's application did not let it in. [HS-44] */
  isRefused?: boolean;
}

/** What a lifecycle asks and tells its connection. */
export interface LifecycleHost {
  readonly probeTimeout: Micros;
  /** Nothing that was sent is unsettled. */
  readonly isSettled: boolean;
  /** All that was sent reliably is acknowledged. */
  readonly isDelivered: boolean;
  /** There may be something to send. */
  touch(): void;
  /** The connection is over, for this reason; called once. */
  onOver(reason: CloseReason, now: Micros): void;
}

export class Lifecycle {
  /** Null while the connection is open. */
  reason: CloseReason | null = null;
  /** Not all that was sent reliably was acknowledged when it was over. */
  wasCut = true;

  private readonly host: LifecycleHost;
  private readonly isServer: boolean;
  private current: ConnectionState = ConnectionState.HANDSHAKING;
  /** How far the handshake had come when it was over. */
  private reached: ConnectionState = ConnectionState.HANDSHAKING;
  private graceful: GracefulClose | null = null;
  private isEndTold = false;
  /** Made when the end begins, or is looked for. */
  private ownClosing: Closing | null = null;

  constructor(host: LifecycleHost, isServer: boolean) {
    this.host = host;
    this.isServer = isServer;
  }

  /** How the end is told. */
  get closing(): Closing {
    this.ownClosing ??= new Closing();
    return this.ownClosing;
  }

  get state(): ConnectionState {
    return this.current;
  }

  /** Packets are looked at, and all kinds of them are sent. */
  get isOpen(): boolean {
    return this.current <= ConnectionState.CONFIRMED;
  }

  /** The application may begin something new. */
  get takesStreams(): boolean {
    return this.isOpen && this.graceful === null;
  }

  /** The handshake is complete, or was before the connection was over. */
  get isEstablished(): boolean {
    return this.reached >= ConnectionState.COMPLETE;
  }

  /** Application data flows, or did before the connection was over. */
  get carriesData(): boolean {
    return this.reached >= ConnectionState.EARLY;
  }

  /** The connection may be forgotten. */
  isOver(now: Micros): boolean {
    return !this.isOpen && now >= this.closing.deadline;
  }

  /** When to call {@link onTimeout}, or to forget the connection. */
  get nextTimeout(): Micros {
    if (!this.isOpen) return this.closing.nextTimeout;
    return this.graceful === null ? NEVER : this.graceful.end;
  }

  /** The handshake came to this state; from EARLY back to HANDSHAKING where early data was refused. [HS-58] */
  advance(state: ConnectionState & (0 | 1 | 2 | 3)): void {
    if (this.isOpen) this.enter(state);
  }

  /** Closes at once. Later calls are ignored. [CON-9] */
  close(scope: CloseReason['scope'], code: number, reason: string, now: Micros): void {
    this.end({ by: 'local', scope, code, reason, timeout: 'none' }, now);
  }

  /** Closes with NO_ERROR for a reason of our own, which `cause` tells the application. */
  giveUp(cause: unknown, reason: string, now: Micros): void {
    const code = CloseCode.NO_ERROR;
    this.end({ by: 'local', scope: 'transport', code, reason, timeout: 'none', cause }, now);
  }

  /** Lets no stream begin, and closes when all that was sent is settled, or {@link GracefulClose} has waited enough. [CON-11] */
  finish(code: number, reason: string, deadline: Micros, stall: Micros, now: Micros): void {
    if (!this.isOpen) return;
    if (this.graceful === null) this.graceful = new GracefulClose(code, reason, deadline, stall, now);
    else this.graceful.shorten(deadline, stall);
    this.host.touch();
  }

  /** Something that was sent is settled: a graceful close gets on. */
  onProgress(now: Micros): void {
    this.graceful?.onProgress(now);
  }

  /** Packets are about to be packed: closes gracefully once there is nothing left to wait for. */
  beforeTransmit(now: Micros): void {
    const isWaiting = this.graceful !== null && this.current === ConnectionState.CONFIRMED;
    if (isWaiting && this.host.isSettled) this.endGracefully('none', now);
  }

  /** Gives up, and says so, for the peer may be there and only not be heard. [CON-6] [CON-8] */
  timeOut(timeout: 'handshake' | 'idle' | 'heartbeat', now: Micros): void {
    const code = TIMEOUT_CODES[timeout];
    this.end({ by: 'timeout', scope: 'transport', code, reason: '', timeout }, now);
    // Whose handshake it was, nobody knows: a word to everybody who began one is one too many.
    if (timeout === 'handshake' && this.isServer) this.closing.isDue = false;
  }

  /** The peer closed, or has forgotten the connection: nothing more is sent than one answer, to whom that closed. [CON-10] */
  drain(reason: CloseReason, now: Micros): void {
    if (!this.isOpen) return this.closing.onHeard();
    const pto = this.host.probeTimeout;
    this.reason = reason;
    this.enter(ConnectionState.DRAINING);
    this.closing.drain(now, pto, reason.by === 'peer' && this.isEstablished);
    this.tellEnd(now);
  }

  /**
   * An exception came out of our own code: closes with INTERNAL_ERROR and tells so, whatever state the parts are in. False when the
   * connection was closing already, so that it can only be forgotten. [CON-33]
   */
  crash(cause: unknown, now: Micros): boolean {
    const code = CloseCode.INTERNAL_ERROR;
    const incomplete = true; // what arrived of the rest, nobody can tell
    const reason: CloseReason = {
      by: 'local',
      scope: 'transport',
      code,
      reason: '',
      timeout: 'none',
      incomplete,
      cause,
    };
    let mayTell = false;
    try {
      mayTell = this.beginClosing(reason, now, Math.min(this.host.probeTimeout, CRASHED_PTO));
    } catch {
      this.reason ??= reason;
      if (this.isOpen) this.enter(ConnectionState.CLOSING);
    }
    try {
      this.tellEnd(now);
    } catch {
      // The end was told; of the parts nothing is needed any more.
    }
    return mayTell && this.closing.deadline >= now;
  }

  /** The endpoint forgets the connection. */
  forget(): void {
    this.enter(ConnectionState.CLOSED);
  }

  /** True when nothing else can be due: the connection is over, or its graceful close has waited enough. */
  onTimeout(now: Micros): boolean {
    if (!this.isOpen) {
      this.closing.onTimeout(now);
      return true;
    }
    if (this.graceful === null || now < this.graceful.end) return false;
    this.endGracefully('close', now);
    return true;
  }

  // ---- inside ----

  /** The one place where the state moves. */
  private enter(state: ConnectionState): void {
    assert(
      NEXT_CONNECTION_STATES[this.current].includes(state),
      'a connection moves as RFC 9000 section 10 says',
    );
    this.current = state;
    if (state <= ConnectionState.CONFIRMED) this.reached = state;
  }

  private endGracefully(timeout: 'none' | 'close', now: Micros): void {
    const { code, reason } = this.graceful ?? { code: 0, reason: '' };
    this.end({ by: 'local', scope: 'application', code, reason, timeout }, now);
  }

  private end(reason: Omit<CloseReason, 'incomplete'>, now: Micros): void {
    const incomplete = !this.host.isDelivered;
    if (this.beginClosing({ ...reason, incomplete }, now, this.host.probeTimeout)) this.tellEnd(now);
  }

  private beginClosing(reason: CloseReason, now: Micros, pto: Micros): boolean {
    if (!this.isOpen) return false;
    this.reason = reason;
    this.enter(ConnectionState.CLOSING);
    // A handshake that failed takes a place that others want; who shows a ticket in vain begins anew at once, or not at all. [HS-58]
    const isInVain = reason.code === CloseCode.TICKET_REFUSED || reason.code === CloseCode.HANDSHAKE_TIMEOUT;
    const isFutile = reason.timeout === 'handshake' || (isInVain && reason.scope === 'transport');
    this.closing.begin(now, pto, isFutile && !this.isEstablished ? 0 : 3 * pto);
    return true;
  }

  private tellEnd(now: Micros): void {
    const { host, reason } = this;
    if (this.isEndTold || reason === null) return;
    // First, so that it is told once whatever comes of the rest.
    this.isEndTold = true;
    try {
      host.onOver(reason, now);
    } finally {
      this.wasCut = !host.isDelivered;
    }
  }
}

/** When CONNECTION_CLOSE is sent, and for how long the connection is remembered. */
class Closing {
  /** A CONNECTION_CLOSE frame is to be sent. */
  isDue = false;
  /** Type of the frame at fault, for CONNECTION_CLOSE; 0 when none is. */
  frameType = 0;
  /** We closed, and the peer may have to be told again. */
  isTelling = false;
  /** When the connection may be forgotten. */
  deadline: Micros = NEVER;
  private repeatAt: Micros = NEVER;
  private repeatEvery: Micros = 0;
  private received = 0;
  private answerAt = 1;

  begin(now: Micros, pto: Micros, remembered: Micros): void {
    this.isDue = true;
    this.isTelling = true;
    this.deadline = now + remembered;
    this.repeatEvery = pto / 2;
    this.repeatAt = now + this.repeatEvery;
  }

  /** @param isAnswered - by one CONNECTION_CLOSE, so that the peer need not repeat its own [CON-10] */
  drain(now: Micros, pto: Micros, isAnswered: boolean): void {
    this.isDue = isAnswered;
    this.deadline = now + 3 * pto;
  }

  /** The peer knows that the connection is over. [CON-9] */
  onHeard(): void {
    this.isDue = false;
    this.isTelling = false;
    this.repeatAt = NEVER;
  }

  get nextTimeout(): Micros {
    return Math.min(this.repeatAt, this.deadline);
  }

  /** An idle peer sends nothing that could be answered, so CONNECTION_CLOSE is repeated unasked, too. [CON-9] */
  onTimeout(now: Micros): void {
    if (now < this.repeatAt) return;
    this.isDue = true;
    this.repeatAt = now + this.repeatEvery;
  }

  /** A datagram came: after we closed the 1st, 2nd, 4th, 8th ... is answered. [CON-9] */
  onDatagram(): void {
    if (!this.isTelling) return;
    this.received++;
    if (this.received < this.answerAt) return;
    this.answerAt *= 2;
    this.isDue = true;
  }
}

/**
 * A close that waits until what was sent is settled: as long as there is progress, that is messages or ends of streams acknowledged, and
 * until a deadline in any case. A peer that is there but does not read makes no progress, however many heartbeats it answers. [CON-11]
 */
class GracefulClose {
  readonly code: number;
  readonly reason: string;
  private deadline: Micros;
  /** Time without progress. */
  private stall: Micros;
  private progressAt: Micros;

  constructor(code: number, reason: string, deadline: Micros, stall: Micros, now: Micros) {
    this.code = code;
    this.reason = reason;
    this.deadline = deadline;
    this.stall = stall;
    this.progressAt = now;
  }

  /** When the wait is over, whatever is left. */
  get end(): Micros {
    return Math.min(this.deadline, this.progressAt + this.stall);
  }

  /** Another call asked for less patience; more is not given. */
  shorten(deadline: Micros, stall: Micros): void {
    this.deadline = Math.min(this.deadline, deadline);
    this.stall = Math.min(this.stall, stall);
  }

  onProgress(now: Micros): void {
    this.progressAt = now;
  }
}

/** What a CONNECTION_CLOSE of the peer says. */
export function closeReasonOf(frame: FrameReader): CloseReason {
  const text = frame.buffer.subarray(frame.dataStart, frame.dataStart + frame.dataLength);
  return {
    by: 'peer',
    scope: frame.scope === 0 ? 'transport' : 'application',
    code: frame.code,
    reason: DECODER.decode(text),
    timeout: 'none',
    incomplete: frame.scope === 2, // [CON-17] what the other side had sent was not all acknowledged
  };
}

/** The server does not know the connection any more, nor what became of what it had sent. [PKT-24] */
export const STATELESS_RESET: CloseReason = {
  by: 'reset',
  scope: 'transport',
  code: 0,
  reason: '',
  timeout: 'none',
  incomplete: true,
};
/** What a CONNECTION_CLOSE says when something fell silent. */
const TIMEOUT_CODES = {
  handshake: CloseCode.HANDSHAKE_TIMEOUT,
  idle: CloseCode.IDLE_TIMEOUT,
  heartbeat: CloseCode.HEARTBEAT_TIMEOUT,
} as const;
/** Probe timeout, at most, of a connection whose own measure cannot be trusted. */
const CRASHED_PTO: Micros = SECOND;
/** By {@link ConnectionState}; spec/state-machines.md says when. */
export const NEXT_CONNECTION_STATES: readonly (readonly ConnectionState[])[] = [
  [
    ConnectionState.EARLY,
    ConnectionState.COMPLETE,
    ConnectionState.CLOSING,
    ConnectionState.DRAINING,
    ConnectionState.CLOSED,
  ],
  [
    ConnectionState.HANDSHAKING,
    ConnectionState.COMPLETE,
    ConnectionState.CLOSING,
    ConnectionState.DRAINING,
    ConnectionState.CLOSED,
  ],
  [ConnectionState.CONFIRMED, ConnectionState.CLOSING, ConnectionState.DRAINING, ConnectionState.CLOSED],
  [ConnectionState.CLOSING, ConnectionState.DRAINING, ConnectionState.CLOSED],
  [ConnectionState.CLOSED],
  [ConnectionState.CLOSED],
  [],
];
const DECODER = new TextDecoder('utf-8', { ignoreBOM: true }); // a BOM is part of the text
