import { printable } from './printable.ts';

/** Stable codes of the errors an application can see; each is explained in spec/errors.md. */
export type JspErrorCode =
  | 'ERR_JSP_PIN_MISSING'
  | 'ERR_JSP_URL_INVALID'
  | 'ERR_JSP_IDENTITY_MISMATCH'
  | 'ERR_JSP_IDENTITY_INVALID'
  | 'ERR_JSP_HANDSHAKE_TIMEOUT'
  | 'ERR_JSP_HANDSHAKE_FAILED'
  | 'ERR_JSP_CONNECTION_REFUSED'
  | 'ERR_JSP_SERVER_FULL'
  | 'ERR_JSP_SERVER_CLOSING'
  | 'ERR_JSP_STATELESS_RESET'
  | 'ERR_JSP_IDLE_TIMEOUT'
  | 'ERR_JSP_HEARTBEAT_TIMEOUT'
  | 'ERR_JSP_CLOSED'
  | 'ERR_JSP_CLOSED_BY_PEER'
  | 'ERR_JSP_CLOSE_INCOMPLETE'
  | 'ERR_JSP_PROTOCOL'
  | 'ERR_JSP_INTERNAL'
  | 'ERR_JSP_STREAM_CLOSED'
  | 'ERR_JSP_STREAM_RESET'
  | 'ERR_JSP_MESSAGE_TOO_LARGE'
  | 'ERR_JSP_MTU_NOT_CARRIED'
  | 'ERR_JSP_MESSAGE_DETACHED'
  | 'ERR_JSP_QUEUE_FULL'
  | 'ERR_JSP_LABEL_TOO_LONG'
  | 'ERR_JSP_OPTION_INVALID'
  | 'ERR_JSP_AEAD_UNAVAILABLE'
  | 'ERR_JSP_SOCKET'
  | 'ERR_JSP_ABORTED'
  | 'ERR_JSP_TOPIC_INVALID'
  | 'ERR_JSP_FILTER_INVALID'
  | 'ERR_JSP_BROKER';

export interface JspErrorOptions extends ErrorOptions {
  readonly applicationCode?: number | undefined;
  readonly reason?: string | undefined;
}

/**
 * Every error this library hands to an application: a sentence that says what to do next, and a stable `code`. What a message quotes, a
 * peer's reason say, is {@link printable} in it.
 */
export class JspError extends Error {
  override readonly name: string = 'JspError';
  readonly code: JspErrorCode;
  /** The application's own code with which the peer closed the connection or reset the stream; undefined where none came. */
  readonly applicationCode: number | undefined;
  /** What the peer's application gave as its reason for closing, as it came: text of a stranger. */
  readonly reason: string | undefined;

  constructor(code: JspErrorCode, message: string, options?: JspErrorOptions) {
    super(printable(message), options);
    this.code = code;
    this.applicationCode = options?.applicationCode;
    this.reason = options?.reason;
  }
}
