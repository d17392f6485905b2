import { type Micros, NEVER } from '../base/time.ts';

/** Why and by whom a connection was closed. */
export interface CloseReason {
  /** Which side decided; `timeout` when the peer fell silent; `reset` when it does not know the connection any more. */
  by: 'local' | 'peer' | 'timeout' | 'reset';
  /** `transport` codes are those of spec/errors.md, `application` codes the application's own. */
  scope: 'transport' | 'application';
  code: number;
  /** A sentence for people. */
  reason: string;
  /** What fell silent, for `by: 'timeout'`. */
  timeout: 'none' | 'handshake' | 'idle' | 'heartbeat';
  /** The exception in our own code that ended the connection, with INTERNAL_ERROR; a JspError that says why we had to. */
  cause?: unknown;
}

/**
 * The end of a connection (RFC 9000 section 10.2). The side that closes sends CLOSE, twice again in case it was lost, and answers what
 * still comes with another one, ever more rarely; the other side falls silent. Both forget the connection after three probe timeouts.
 */
export class Closing {
  /** Null while the connection is open. */
  reason: CloseReason | null = null;
  /** A CLOSE frame is to be sent. */
  closeDue = false;
  /** Type of the frame at fault, for CLOSE; 0 when none is. */
  frameType = 0;
  private forgetAt: Micros = NEVER;
  private repeatAt: Micros = NEVER;
  private repeatEvery: Micros = 0;
  private received = 0;
  private answerAt = 1;

  get isOpen(): boolean {
    return this.reason === null;
  }

  get deadline(): Micros {
    return this.forgetAt;
  }

  /** When to call {@link onTimeout}, or to forget the connection. */
  get nextTimeout(): Micros {
    return Math.min(this.repeatAt, this.forgetAt);
  }

  /** An idle peer sends nothing that could be answered, so CLOSE is repeated unasked, too. [CON-9] */
  onTimeout(now: Micros): void {
    if (now < this.repeatAt) return;
    this.closeDue = true;
    this.repeatAt = now + this.repeatEvery;
  }

  /** We close: CLOSE goes out. Later calls are ignored. [CON-9] */
  close(reason: CloseReason, now: Micros, pto: Micros): boolean {
    if (!this.isOpen) return false;
    this.reason = reason;
    this.closeDue = reason.by === 'local';
    this.forgetAt = reason.by === 'timeout' ? now : now + 3 * pto;
    this.repeatEvery = pto;
    if (this.closeDue) this.repeatAt = now + pto;
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
    if (this.reason?.by !== 'local') return;
    this.received++;
    if (this.received < this.answerAt) return;
    this.answerAt *= 2;
    this.closeDue = true;
  }
}
