/**
 * The three kinds of failure: our own bug ({@link AssertionFailure}), the caller's fault or the network's ({@link JspError}, with a stable
 * code), and the peer's, which has no exception: it closes a connection with a code of spec/errors.md. And what may be shown of a
 * stranger's text in any message ({@link printable}).
 */

/** Stable codes of the errors an application can see; each is explained in spec/errors.md. */
export type JspErrorCode =
  | 'ERR_JSP_PIN_MISSING'
  | 'ERR_JSP_URL_INVALID'
  | 'ERR_JSP_IDENTITY_MISMATCH'
  | 'ERR_JSP_IDENTITY_INVALID'
  | 'ERR_JSP_HANDSHAKE_TIMEOUT'
  | 'ERR_JSP_HANDSHAKE_FAILED'
  | 'ERR_JSP_CONNECTION_REFUSED'
  | 'ERR_JSP_REFUSED'
  | 'ERR_JSP_SERVER_FULL'
  | 'ERR_JSP_SERVER_CLOSING'
  | 'ERR_JSP_VERSION_UNSUPPORTED'
  | 'ERR_JSP_NOTHING_IN_COMMON'
  | 'ERR_JSP_TOKEN_REFUSED'
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
  | 'ERR_JSP_PATH_FAILED'
  | 'ERR_JSP_MESSAGE_DETACHED'
  | 'ERR_JSP_QUEUE_FULL'
  | 'ERR_JSP_LABEL_TOO_LONG'
  | 'ERR_JSP_OPTION_INVALID'
  | 'ERR_JSP_AEAD_UNAVAILABLE'
  | 'ERR_JSP_LZ4_UNAVAILABLE'
  | 'ERR_JSP_SOCKET'
  | 'ERR_JSP_ABORTED'
  | 'ERR_JSP_TOPIC_INVALID'
  | 'ERR_JSP_FILTER_INVALID'
  | 'ERR_JSP_BROKER'
  | 'ERR_JSP_OFFLINE'
  | 'ERR_JSP_NOT_AUTHORIZED'
  | 'ERR_JSP_TOKEN_EXPIRED'
  | 'ERR_JSP_KICKED'
  | 'ERR_JSP_SESSION_TAKEN'
  | 'ERR_JSP_STORE_FULL'
  | 'ERR_JSP_STORE_FAILED'
  | 'ERR_JSP_QUOTA'
  | 'ERR_JSP_LIMITED'
  | 'ERR_JSP_BUFFER_FULL'
  | 'ERR_JSP_EXPIRED'
  | 'ERR_JSP_CIRCUIT_OPEN'
  | 'ERR_JSP_TIMEOUT'
  | 'ERR_JSP_NO_RESPONDERS'
  | 'ERR_JSP_REQUEST_FAILED'
  | 'ERR_JSP_PAYLOAD_INVALID'
  | 'ERR_JSP_STORE_DAMAGED'
  | 'ERR_JSP_STORE_IN_USE'
  | 'ERR_JSP_STORE_DIRECTORY'
  | 'ERR_JSP_STORE_VERSION'
  | 'ERR_JSP_CONFIG'
  | 'ERR_JSP_BACKPLANE_UNAVAILABLE'
  | 'ERR_JSP_BACKPLANE_FAILED'
  | 'ERR_JSP_FILES'
  | 'ERR_JSP_MONITOR'
  | 'ERR_JSP_WORKERS_UNAVAILABLE'
  | 'ERR_JSP_WORKER_FAILED';

export interface JspErrorOptions extends ErrorOptions {
  readonly applicationCode?: number | undefined;
  readonly reason?: string | undefined;
}

/**
 * Every error this library hands to an application: a sentence that says what to do next, and a stable `code`. What a message quotes, a
 * peer's reason say, is made printable in it.
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

/** Thrown when an invariant of this library is broken: always our bug, never bad input. */
export class AssertionFailure extends Error {
  override readonly name = 'AssertionFailure';
}

/** Throws {@link AssertionFailure} when `condition` is false. For our own invariants only, never for input. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionFailure(`jetstream-proto bug: ${message}`);
}

/**
 * `text` with everything that would do something on a terminal, or hide, written as an escape: control characters (`\n`, `\x1b`), marks that
 * turn the direction of writing (`\u202e`, "Trojan source"), line and paragraph separators, characters of no width, halves of surrogate pairs.
 *
 * All text of a peer passes through here before it becomes part of an error's message or of a line for people: a CONNECTION_CLOSE reason of the
 * peer must not be able to clear the screen, or forge a second line of a log. Backslashes stay, so it cannot be turned back.
 */
export function printable(text: string): string {
  return UNPRINTABLE.test(text) ? text.replace(UNPRINTABLE_ALL, escaped) : text;
}

/** The same in JSON text, where the escapes are JSON's own, so that nothing is lost. */
export function printableJson(json: string): string {
  return UNPRINTABLE.test(json) ? json.replace(UNPRINTABLE_ALL, jsonEscaped) : json;
}

/** False when {@link printable} would leave UTF-8 text with these bytes as it is: a quick look, which may say true for nothing. */
export function mayBeUnprintable(utf8: Uint8Array): boolean {
  for (let i = 0; i < utf8.length; i++) {
    const byte = utf8[i];
    if (byte < 0x20 ? byte !== TAB : byte === DELETE) return true;
    if (byte < FIRST_LEAD) continue;
    const next = utf8[i + 1];
    if (byte === 0xc2 && (next < 0xa0 || next === 0xad)) return true; // C1, soft hyphen
    if (byte === 0xd8 && next === 0x9c) return true; // Arabic letter mark
    if (byte === 0xe1 && next === 0xa0) return true; // Mongolian vowel separator, and its neighbours
    if (byte === 0xe2 && (next === 0x80 || next === 0x81)) return true; // general punctuation
    if (byte === 0xed || byte === 0xef || byte === 0xf3) return true; // surrogates, specials, tags
  }
  return false;
}

function escaped(character: string): string {
  const short = NAMED[character];
  if (short !== undefined) return short;
  const code = character.codePointAt(0) as number;
  if (code < 0x100) return `\\x${code.toString(16).padStart(2, '0')}`;
  return code < 0x10000 ? `\\u${code.toString(16).padStart(4, '0')}` : `\\u{${code.toString(16)}}`;
}

function jsonEscaped(character: string): string {
  let escapes = '';
  for (let i = 0; i < character.length; i++) {
    escapes += `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`;
  }
  return escapes;
}

/** All but the tab of `Cc`; format characters `Cf` but those that join letters of some scripts; separators; lone surrogates. */
const CLASS =
  '[\\u0000-\\u0008\\u000a-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb\\ud800-\\udfff\\u{e0000}-\\u{e007f}]';
const UNPRINTABLE = new RegExp(CLASS, 'u');
const UNPRINTABLE_ALL = new RegExp(CLASS, 'gu');
const NAMED: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r' };
const TAB = 0x09;
const DELETE = 0x7f;
/** Least first byte of a character outside ASCII. */
const FIRST_LEAD = 0xc2;
