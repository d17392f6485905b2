import { NO_BYTES } from '../../base/bytes.ts';
import { IncomingFlight, OutgoingFlight } from '../handshake/crypto-flight.ts';
import { CloseCode } from '../wire/close-code.ts';
import type { FrameReader } from '../wire/frame-reader.ts';
import { writeAdmittedHeader } from '../wire/frames/admitted.ts';

/**
 * Whether a client is let in, where the server's application decides that [HS-44]: between the handshake's last message and the moment at which
 * either application is told of the connection. The server holds the handshake open meanwhile, so that no packet of the client with
 * application data is opened; what it decided it says in ADMITTED, or by closing the connection.
 */
export const AdmissionState = {
  /** Nobody decides: whoever completes the handshake is let in. */
  NONE: 0,
  /** The server's application was asked, or is about to be. */
  UNDECIDED: 1,
  ADMITTED: 2,
} as const;
export type AdmissionState = (typeof AdmissionState)[keyof typeof AdmissionState];

/** The server's answer, as its parts go out. */
export function admittedAnswer(answer: Uint8Array | null): OutgoingFlight {
  const parts = new OutgoingFlight(writeAdmittedHeader);
  const whole = new Uint8Array(1 + (answer?.length ?? 0));
  whole[0] = answer === null ? 0 : 1;
  whole.set(answer ?? NO_BYTES, 1);
  parts.start(whole);
  return parts;
}

/** The server's answer at its client, as its parts come in. */
export class IncomingAnswer {
  /** What the server's application said; null: nothing, or not yet. */
  payload: Uint8Array | null = null;
  /** All of it has come. */
  isWhole = false;
  private readonly parts = new IncomingFlight();

  /** Takes a part. Returns 0 or a close code. */
  onFrame(frame: FrameReader): number {
    if (this.parts.onFrame(frame) !== 0) return CloseCode.PROTOCOL_VIOLATION; // [FRM-18] said otherwise before
    const whole = this.parts.take();
    if (whole === null) return 0;
    // [HS-44] There is an answer, or there is none.
    if (whole[0] > 1 || (whole[0] === 0 && whole.length > 1)) return CloseCode.PROTOCOL_VIOLATION;
    if (whole[0] === 1) this.payload = whole.subarray(1);
    this.isWhole = true;
    return 0;
  }
}
