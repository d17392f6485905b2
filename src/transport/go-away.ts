/** The end of a server that is announced, on both sides: what the server is told, and what its clients are. [CON-100] */

import { JspError } from '../base/errors.ts';
import { number, type OptionTable, text } from '../base/options.ts';
import { ANNOUNCED_URL_BYTES_MAX } from '../protocol/endpoint/index.ts';
import { abortSignal } from './abort.ts';
import { isPinnedUrl } from './url.ts';

export interface GoAwayOptions {
  /** Where clients are to go, with the fingerprint of the server there. Default: to the same address, where another server will listen, or does already. */
  url?: string | undefined;
  /** When the connections that are left are closed, in ms from now. Default 10,000. */
  withinMs?: number | undefined;
  /** Closes at once when it fires. */
  signal?: AbortSignal | undefined;
}

/** What a server has said of its end. */
export interface GoAwayNotice {
  /** Where to go; null: to the same address. */
  readonly url: string | null;
  /** When it closes at the latest, in ms from now. */
  readonly withinMs: number;
}

/** What the server's word, as it came, means to its client: a URL that nobody could trust counts as none. [FRM-22] */
export function goAwayNotice(withinMs: number, url: string): GoAwayNotice {
  return { withinMs, url: isPinnedUrl(url) ? url : null };
}

/**
 * The URL as GOAWAY carries it; empty where there is none.
 *
 * @throws JspError ERR_JSP_OPTION_INVALID
 */
export function announcedUrl(url: string | undefined): Uint8Array {
  if (url === undefined) return Buffer.alloc(0);
  const bytes = Buffer.from(url);
  if (isPinnedUrl(url) && bytes.length <= ANNOUNCED_URL_BYTES_MAX) return bytes;
  throw new JspError(
    'ERR_JSP_OPTION_INVALID',
    `goAway: url must be jsp://<fingerprint>@host:port of at most ${ANNOUNCED_URL_BYTES_MAX} bytes, as the other server prints it`,
  );
}

/** What the options of `Listener.goAway` may be. */
export const GO_AWAY_OPTIONS: OptionTable<GoAwayOptions> = {
  url: text,
  withinMs: number(0, Number.MAX_SAFE_INTEGER),
  signal: abortSignal,
};

export const GO_AWAY_WITHIN_MS = 10_000;
