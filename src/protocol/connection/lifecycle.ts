import { type Micros, NEVER } from '../../base/time.ts';
import { CloseCode } from '../wire/close-code.ts';
import type { FrameReader } from '../wire/frame-reader.ts';

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
}

/**
 * The end of a connection (RFC 9000 section 10.2). The side that closes sends CONNECTION_CLOSE, again and again in case it was lost, and answers what
 * still comes with another one, ever more rarely; the other side falls silent. Both forget the connection after three probe timeouts.
 */
export class Closing {
  /** Null while the connection is open. */
  reason: CloseReason | null = null;
  /** A CONNECTION_CLOSE frame is to be sent. */
  closeDue = false;
  /** Type of the frame at fault, for CONNECTION_CLOSE; 0 when none is. */
  frameType = 0;
  private forgetAt: Micros = NEVER;
  private repeatAt: Micros = NEVER;
  private repeatEvery: Micros = 0;
  private received = 0;
  private answerAt = 1;

  get isOpen(): boolean {
    return this.reason === null;
  }

  /** We closed, and the peer may have to be told again. */
  get isTelling(): boolean {
    return this.reason?.by === 'local' || this.reason?.by === 'timeout';
  }

  get deadline(): Micros {
    return this.forgetAt;
  }

  /** When to call {@link onTimeout}, or to forget the connection. */
  get nextTimeout(): Micros {
    return Math.min(this.repeatAt, this.forgetAt);
  }

  /** An idle peer sends nothing that could be answered, so CONNECTION_CLOSE is repeated unasked, too. [CON-9] */
  onTimeout(now: Micros): void {
    if (now < this.repeatAt) return;
    this.closeDue = true;
    this.repeatAt = now + this.repeatEvery;
  }

  /** We close: CONNECTION_CLOSE goes out. Later calls are ignored. [CON-9] */
  close(reason: CloseReason, now: Micros, pto: Micros): boolean {
    if (!this.isOpen) return false;
    this.reason = reason;
    this.closeDue = true;
    // A handshake that failed takes a place that others want.
    this.forgetAt = reason.timeout === 'handshake' ? now : now + 3 * pto;
    this.repeatEvery = pto / 2;
    this.repeatAt = now + this.repeatEvery;
    return true;
  }

  /** The peer closed: nothing is sent any more. [CON-10] */
  drain(reason: CloseReason, now: Micros, pto: Micros): boolean {
    if (!this.isOpen) {
      this.closeDue = false;
      return false;
    }
    this.reason = reason;
    this.forgetAt = now + 3 * pto;
    return true;
  }

  /** A datagram came after we closed: answer the 1st, 2nd, 4th, 8th ... [CON-9] */
  onDatagram(): void {
    if (!this.isTelling) return;
    this.received++;
    if (this.received < this.answerAt) return;
    this.answerAt *= 2;
    this.closeDue = true;
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
    incomplete: frame.scope === 2, // [CON-17]
  };
}

/** The peer does not know the connection any more, nor what became of what it had sent. */
export const STATELESS_RESET: CloseReason = {
  by: 'reset',
  scope: 'transport',
  code: 0,
  reason: '',
  timeout: 'none',
  incomplete: true,
};
/** What a CONNECTION_CLOSE says when something fell silent. */
export const TIMEOUT_CODES = {
  handshake: CloseCode.HANDSHAKE_TIMEOUT,
  idle: CloseCode.IDLE_TIMEOUT,
  heartbeat: CloseCode.HEARTBEAT_TIMEOUT,
} as const;

const DECODER = new TextDecoder('utf-8', { ignoreBOM: true }); // a BOM is part of the text
