import { JspError } from '../base/errors.ts';

/** A server's address with the fingerprint of the identity that it must prove. */
export interface ServerUrl {
  host: string;
  port: number;
  /** SHA-256 fingerprint, 32 bytes; null when the URL has none. */
  fingerprint: Uint8Array | null;
}

/** Port used when a URL names none. */
export const DEFAULT_PORT = 4577;

/**
 * Parses `jsp://<fingerprint>@host:port`.
 *
 * @throws JspError ERR_JSP_URL_INVALID when it is no such URL
 */
export function parseServerUrl(text: string): ServerUrl {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw invalid(text, 'it is not a URL');
  }
  if (url.protocol !== 'jsp:') throw invalid(text, 'it does not begin with jsp://');
  if (url.hostname === '') throw invalid(text, 'it names no host');
  if (
    url.password !== '' ||
    (url.pathname !== '' && url.pathname !== '/') ||
    url.search !== '' ||
    url.hash !== ''
  ) {
    throw invalid(text, 'only a fingerprint, a host and a port belong into it');
  }
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const port = url.port === '' ? DEFAULT_PORT : Number(url.port);
  if (port === 0) throw invalid(text, 'port 0 cannot be connected to');
  return { host, port, fingerprint: url.username === '' ? null : parseFingerprint(text, url.username) };
}

/** The URL of a server with this fingerprint (32 bytes) at this address. */
export function formatServerUrl(fingerprint: Uint8Array, host: string, port: number): string {
  const literal = host.includes(':') ? `[${host}]` : host;
  return `jsp://${Buffer.from(fingerprint).toString('base64url')}@${literal}:${port}`;
}

function parseFingerprint(url: string, text: string): Uint8Array {
  const bytes = Buffer.from(text, 'base64url');
  if (bytes.length !== 32 || bytes.toString('base64url') !== text) {
    throw invalid(url, 'its fingerprint is not 43 characters of base64url');
  }
  return bytes;
}

function invalid(text: string, reason: string): JspError {
  return new JspError(
    'ERR_JSP_URL_INVALID',
    `"${text}" is not a server URL: ${reason}. Pass jsp://<fingerprint>@host:port, as the server prints it.`,
  );
}
