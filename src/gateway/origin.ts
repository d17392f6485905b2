/**
 * What pages in browsers may do here. A browser sends requests for any page to any address that it can reach, this machine's own among them; what keeps a page out that is
 * none of ours is the name in `Host` [GW-13] and the page's `Origin` [GW-14]. Programs send no origin, and are let in.
 */

import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { JspError } from '../base/errors.ts';
import { Problem } from './problem.ts';

export class Origins {
  private readonly names: ReadonlySet<string>;
  /** Null: all. */
  private readonly listed: ReadonlySet<string> | null;
  /** Values of `Host` that were found to be ours. */
  private readonly known = new Set<string>();

  /** @throws {JspError} ERR_JSP_OPTION_INVALID where an origin is none */
  constructor(hosts: readonly string[], origins: readonly string[]) {
    this.names = new Set([hostname(), ...hosts].map((name) => name.toLowerCase()));
    this.listed = origins.includes('*') ? null : new Set(origins.map(normalOrigin));
  }

  /**
   * Looks whether a request may be served, whatever it asks for.
   *
   * @returns what its answer has to say to a page, where it is from one that may read it
   * @throws {Problem} HOST_UNKNOWN, ORIGIN_REFUSED
   */
  admit(request: IncomingMessage, changes: boolean): Readonly<Record<string, string>> | null {
    const { host, origin } = request.headers;
    if (host !== undefined && !this.known.has(host)) this.assertHost(host);
    if (origin === undefined) return null;
    if (this.isListed(origin)) {
      return {
        'access-control-allow-origin': this.listed === null ? '*' : origin,
        'access-control-expose-headers': EXPOSED,
        vary: 'origin',
      };
    }
    if (!isOwn(origin, host) && changes) {
      throw new Problem(
        'ORIGIN_REFUSED',
        `Pages of ${JSON.stringify(origin.slice(0, 256))} may not do this: add it to the gateway's origins, if they should.`,
      );
    }
    return null;
  }

  private isListed(origin: string): boolean {
    return this.listed === null || this.listed.has(origin);
  }

  private assertHost(host: string): void {
    const name = (NAME_OF_HOST.exec(host)?.[1] ?? '').toLowerCase().replace(/\.$/, '');
    const bare = name.replace(/^\[(.*)\]$/, '$1');
    const isOurs = isIP(bare) !== 0 || name === LOCAL || name.endsWith(`.${LOCAL}`) || this.names.has(name);
    if (!isOurs) {
      throw new Problem(
        'HOST_UNKNOWN',
        `This gateway is not ${JSON.stringify(host.slice(0, 256))}: add the name to its hosts, if it is.`,
      );
    }
    if (this.known.size < KNOWN_MAX) this.known.add(host);
  }
}

/** What a preflight is answered: which methods there are, and that headers may be sent. */
export function preflightHeaders(
  request: IncomingMessage,
  methods: readonly string[],
): Record<string, string> {
  const asked = request.headers['access-control-request-headers'];
  return {
    'access-control-allow-methods': methods.join(', '),
    ...(asked === undefined ? {} : { 'access-control-allow-headers': asked }),
    'access-control-max-age': '600',
  };
}

/** The page came from this very gateway. The scheme may be another: a proxy in front of it speaks TLS for it. */
function isOwn(origin: string, host: string | undefined): boolean {
  const at = origin.indexOf('://');
  return host !== undefined && at > 0 && origin.slice(at + 3).toLowerCase() === host.toLowerCase();
}

function normalOrigin(text: string): string {
  const { origin } = URL.canParse(text) ? new URL(text) : { origin: 'null' };
  if (origin !== 'null' && origin === text.toLowerCase().replace(/\/$/, '')) return origin;
  throw new JspError(
    'ERR_JSP_OPTION_INVALID',
    `origins must be such as https://app.example.org, or *, not ${JSON.stringify(text)}`,
  );
}

const LOCAL = 'localhost';
const NAME_OF_HOST = /^(\[[0-9a-fA-F:.%]+\]|[^:[\]]*)(?::\d*)?$/;
const KNOWN_MAX = 64;
const EXPOSED =
  'etag, location, retry-after, idempotent-replayed, traceparent, jsp-key, jsp-ttl, jsp-class, jsp-message-id, jsp-published-at, jsp-correlation, jsp-reply-to';
