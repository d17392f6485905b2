/** How a client in a browser gets a connection: by one of its URLs after the other, and with what proves who it is. [WEB-1, WEB-3] */

import { JspError } from '../base/errors.ts';
import { MILLISECOND } from '../base/time.ts';
import { type Dialer, isDenial, isExpiry, isFinalEnd } from '../client/life.ts';
import { CREDENTIALS_BYTES_MAX } from '../pubsub/credentials.ts';
import { utf8Bytes } from '../pubsub/topic.ts';
import { onAbort, unlessAborted } from '../transport/abort.ts';
import { type Frame, PROTOCOL } from './frames.ts';
import { WebLink } from './link.ts';
import type { Surroundings } from './surroundings.ts';

/** What proves who the client is. */
export type Credentials = { readonly apiKey: string } | { readonly jwt: string };

/**
 * Credentials, or a function that is asked for them before each attempt to connect, and in time before those that the broker has expire. `signal` fires when the
 * attempt is given up. What it throws, or rejects with, fails the attempt.
 */
export type CredentialsSource =
  | Credentials
  | ((signal: AbortSignal) => Credentials | null | Promise<Credentials | null>);

/** The session that is asked for. */
export interface SessionRequest {
  readonly name: string;
  readonly expiryMs: number;
}

export class WebDialer implements Dialer<WebLink> {
  /** What the gateway tells of itself. */
  onTold: (link: WebLink, frame: Frame) => void = () => {};
  private readonly urls: readonly string[];
  private readonly source: CredentialsSource | undefined;
  private readonly session: SessionRequest;
  private readonly around: Surroundings;
  private next = 0;
  /** The token that the gateway has been shown last. */
  private shown: string | undefined;
  /** The gateway has not taken the credentials of the last attempt. */
  private wasDenied = false;
  private isDeniedForGood = false;
  /** What a broker has said of a token that has expired: it is not shown again. [CLT-40] */
  private expired: { readonly token: string | undefined; readonly error: JspError } | null = null;

  constructor(
    urls: readonly string[],
    source: CredentialsSource | undefined,
    session: SessionRequest,
    around: Surroundings,
  ) {
    this.urls = urls;
    this.source = source;
    this.session = session;
    this.around = around;
  }

  get ways(): number {
    return this.urls.length;
  }

  get canRenew(): boolean {
    return typeof this.source === 'function';
  }

  async dial(onEnded: (link: WebLink, error: Error | null) => void, signal: AbortSignal): Promise<WebLink> {
    const late = new AbortController();
    const { clock } = this.around;
    const timer = clock.setTimer(clock.now() + WELCOME_MS_MAX * MILLISECOND, () => late.abort());
    const forget = onAbort(signal, () => late.abort());
    let link: WebLink | null = null;
    try {
      const token = await unlessAborted(this.token(late.signal), late.signal);
      this.shown = token;
      const { name, expiryMs } = this.session;
      link = new WebLink(this.around.open(this.nextUrl(), [PROTOCOL]), this.around, {
        onEnded: (of, error) => {
          if (error !== null && isExpiry(error)) this.expired = { token: this.shown, error };
          onEnded(of, error);
        },
        onTold: (of, frame) => this.onTold(of, frame),
      });
      await unlessAborted(link.greet({ type: 'auth', token, session: name, expiryMs }), late.signal);
      this.wasDenied = false;
      return link;
    } catch (error) {
      link?.connection.destroy();
      if (late.signal.aborted && !signal.aborted) throw noWelcome(error);
      this.notice(error as JspError);
      throw error;
    } finally {
      clock.clearTimer(timer);
      forget();
    }
  }

  /** Gives the gateway what counts now, in the running connection. [WEB-3] */
  async renew(link: WebLink): Promise<void> {
    if (!this.canRenew) return; // the same would be worth the same
    const token = await this.token(new AbortController().signal);
    if (token === undefined) return;
    await link.answer({ type: 'refresh', token });
    this.shown = token;
  }

  /** [CLT-4] credentials that are not taken are asked for once more, then it is over; so it is where they cannot be asked for */
  isFinal(error: JspError): boolean {
    if (isFinalEnd(error) || FINAL_CODES.has(error.code)) return true;
    if (!isCredentialsEnd(error)) return false;
    return this.isDeniedForGood || !this.canRenew;
  }

  /** Those that a broker names are for clients of another transport. */
  suggest(): void {}

  private notice(error: JspError): void {
    if (!isDenial(error)) return;
    this.isDeniedForGood = this.wasDenied || !this.canRenew;
    this.wasDenied = true;
  }

  private async token(signal: AbortSignal): Promise<string | undefined> {
    const { source } = this;
    const given = typeof source === 'function' ? await source(signal) : (source ?? null);
    if (given === null) return undefined;
    const text: unknown = 'jwt' in given ? given.jwt : given.apiKey;
    if (text === this.expired?.token) throw this.expired?.error;
    if (typeof text === 'string' && text !== '' && utf8Bytes(text) <= CREDENTIALS_BYTES_MAX) return text;
    throw new JspError(
      'ERR_JSP_OPTION_INVALID',
      `credentials must be { apiKey } or { jwt }, with a string of at most ${CREDENTIALS_BYTES_MAX} bytes`,
    );
  }

  private nextUrl(): string {
    const url = this.urls[this.next];
    this.next = (this.next + 1) % this.urls.length;
    return url;
  }
}

/**
 * The address of the WebSocket of a gateway: `https://host/` and `wss://host/` are one, and so are `http://` and `ws://`; a path that is more than `/` stays. What is no whole
 * URL is looked for from where the page is.
 *
 * @throws {JspError} `ERR_JSP_URL_INVALID`
 */
export function socketUrl(given: string | { readonly href: string }): string {
  const text = typeof given === 'string' ? given : given.href;
  const { location } = globalThis as { location?: { readonly href: string } };
  let url: URL;
  try {
    url = new URL(text, location?.href);
  } catch {
    throw urlInvalid(text);
  }
  url.protocol = url.protocol.replace(/^http/, 'ws');
  if (!/^wss?:$/.test(url.protocol) || url.host === '') throw urlInvalid(text);
  if (url.username !== '' || url.password !== '') throw urlInvalid(text);
  url.hash = '';
  if (url.pathname === '/' || !isWhole(text)) {
    url.pathname = SOCKET_PATH;
    url.search = '';
  }
  return url.href;
}

/** Rather than a page of it. */
function isWhole(text: string): boolean {
  return /^wss?:/i.test(text);
}

/** It ended because of what proves who the client is: others are needed. */
function isCredentialsEnd(error: JspError): boolean {
  return isDenial(error) || error.code === 'ERR_JSP_NOT_AUTHORIZED';
}

function noWelcome(cause: unknown): JspError {
  return new JspError(
    'ERR_JSP_TIMEOUT',
    `The gateway, or the function for credentials, did not answer within ${WELCOME_MS_MAX / 1_000} s.`,
    { cause },
  );
}

function urlInvalid(text: string): JspError {
  return new JspError(
    'ERR_JSP_URL_INVALID',
    `${JSON.stringify(text)} is no URL of a gateway: https://host:port, http://host:port for this machine, or wss:// and ws:// with a path`,
  );
}

const FINAL_CODES: ReadonlySet<string> = new Set(['ERR_JSP_PROTOCOL', 'ERR_JSP_OPTION_INVALID']);
const SOCKET_PATH = '/v1/ws';
/** From the beginning of an attempt to the welcome. */
const WELCOME_MS_MAX = 10_000;
