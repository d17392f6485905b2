import { domainToASCII } from 'node:url';
import { JspError } from '../base/errors.ts';
import { addressFamily, normalAddress } from '../base/ip-address.ts';

/** A server's address with the fingerprint of the identity that it must prove. */
export interface ServerUrl {
  /** A name in ASCII, or an IP address in its normal form, without brackets: `fe80::1%eth0`. */
  host: string;
  port: number;
  /** SHA-256 fingerprint of the identity that the server has, 32 bytes; null when the URL has none. */
  fingerprint: Uint8Array | null;
  /** Of the one that it has instead, or will have; null when the URL has only one. [URL-9] */
  otherFingerprint: Uint8Array | null;
  /** One of these identities is hybrid, as the URL says. [URL-10] */
  isHybrid: boolean;
}

/** Port used when a URL names none. [URL-6] */
export const DEFAULT_PORT = 4577;

/**
 * Parses `jsp://<fingerprint>@host:port`, which may have two fingerprints with a comma between them; spec/url.md says what belongs into it.
 *
 * @throws JspError ERR_JSP_URL_INVALID when it is no such URL
 */
export function parseServerUrl(text: string): ServerUrl {
  if (typeof text !== 'string') throw invalid(String(text), 'it is no string');
  const [scheme, rest] = splitAt(text.trim(), '://');
  if (rest === null || scheme.toLowerCase() !== 'jsp') throw invalid(text, 'it does not begin with jsp://');
  const at = rest.lastIndexOf('@');
  const authority = rest.slice(at + 1).replace(/\/$/, ''); // [URL-1] one slash, as people and programs add it
  if (/[/?#\\]/.test(authority)) throw invalid(text, 'nothing but a "/" may follow host and port');
  try {
    const pins = at < 0 ? [] : rest.slice(0, at).split(',');
    if (pins.length > 2) throw new Unreadable('it has more than two fingerprints');
    const [fingerprint = null, otherFingerprint = null] = pins.map(parsePin);
    const isHybrid = pins.some((pin) => pin.startsWith(HYBRID_MARK));
    const { host, port } = parseHostPort(authority);
    return { host, port: port ?? DEFAULT_PORT, fingerprint, otherFingerprint, isHybrid };
  } catch (error) {
    if (error instanceof Unreadable) throw invalid(text, error.message);
    throw error;
  }
}

/** A URL of a server that proves who it is: what may be told to somebody as the one to go to. */
export function isPinnedUrl(value: unknown): boolean {
  try {
    return parseServerUrl(value as string).fingerprint !== null;
  } catch {
    return false;
  }
}

/** True for a fingerprint in its one form: 43 characters, of which the last has its unused bits 0. [URL-2] */
export function isFingerprint(text: string): boolean {
  try {
    parseFingerprint(text);
    return true;
  } catch {
    return false;
  }
}

/**
 * The URL of a server with this fingerprint (32 bytes) at this address, in the one form that is printed. [URL-7]
 *
 * @param isHybrid - that of a hybrid identity, which clients are told so that they make room for what it takes to prove it [URL-10]
 * @throws JspError ERR_JSP_OPTION_INVALID when the host or the port cannot be connected to
 */
export function formatServerUrl(
  fingerprint: Uint8Array,
  host: string,
  port: number,
  isHybrid = false,
): string {
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new JspError('ERR_JSP_OPTION_INVALID', `a server's port is from 1 to 65535, not ${port}`);
  }
  const mark = isHybrid ? HYBRID_MARK : '';
  return `jsp://${mark}${Buffer.from(fingerprint).toString('base64url')}@${formatHost(host)}:${port}`;
}

/**
 * Parses what a server is to advertise: `host` or `host:port`, as in a URL; an IPv6 address needs brackets only before a port.
 *
 * @returns port null when there is none
 * @throws JspError ERR_JSP_OPTION_INVALID
 */
export function parseAdvertised(text: string): { host: string; port: number | null } {
  try {
    return addressFamily(text) === 6 ? { host: normalAddress(text), port: null } : parseHostPort(text);
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    throw new JspError(
      'ERR_JSP_OPTION_INVALID',
      `"${text}" cannot be advertised: ${error.message}. Pass host or host:port as clients are to use it, such as example.org:4577.`,
    );
  }
}

function formatHost(host: string): string {
  const normal = normalAddress(host);
  switch (addressFamily(normal)) {
    case 4:
      return normal;
    case 6: {
      const [address, zone] = splitAt(normal, '%');
      // [URL-4] %25 stands before a zone
      return zone === null ? `[${address}]` : `[${address}%25${encodeURIComponent(zone)}]`;
    }
    default:
      try {
        return parseName(host);
      } catch (error) {
        throw new JspError('ERR_JSP_OPTION_INVALID', `"${host}" is no host: ${(error as Error).message}`);
      }
  }
}

/** A fingerprint, with or without the mark of a hybrid identity. [URL-10] */
function parsePin(text: string): Uint8Array {
  return parseFingerprint(text.startsWith(HYBRID_MARK) ? text.slice(HYBRID_MARK.length) : text);
}

/** 32 bytes in base64url, 43 characters. [URL-2] */
function parseFingerprint(text: string): Uint8Array {
  if (text.length !== FINGERPRINT_CHARACTERS) {
    throw new Unreadable(
      `its fingerprint has ${text.length} characters instead of ${FINGERPRINT_CHARACTERS}: it was cut, or is not one`,
    );
  }
  if (!BASE64URL.test(text))
    throw new Unreadable('its fingerprint has characters that are not base64url (A-Z a-z 0-9 - _)');
  const bytes = Buffer.from(text, 'base64url');
  if (bytes.toString('base64url') !== text) {
    throw new Unreadable('the last character of its fingerprint cannot be right: unused bits are set');
  }
  return bytes;
}

function parseHostPort(text: string): { host: string; port: number | null } {
  const bracketed = /^\[([^\]]*)\](?::(.*))?$/s.exec(text);
  if (bracketed !== null) return { host: parseIpv6(bracketed[1]), port: parsePort(bracketed[2]) };
  const [host, port] = splitAt(text, ':');
  // [URL-3] brackets tell the colons of an address from that of the port
  if (port?.includes(':')) throw new Unreadable('an IPv6 address is written in brackets, as in [::1]:4577');
  if (host === '') throw new Unreadable('it names no host');
  return { host: parseName(host), port: parsePort(port ?? undefined) };
}

/** What is between the brackets. [URL-3, URL-4] */
function parseIpv6(text: string): string {
  const [address, zone] = splitAt(text, '%');
  const named = zone === null ? '' : `%${decoded(zone.replace(/^25(?=.)/, ''))}`;
  const host = address + named;
  if (!address.includes(':') || addressFamily(host) === 0)
    throw new Unreadable(`"${text}" is no IPv6 address`);
  return normalAddress(host);
}

/** A name, or an IPv4 address. [URL-3, URL-5] */
function parseName(text: string): string {
  if (addressFamily(text) === 4) return text;
  const unicode = decoded(text);
  const labels = unicode.split('.');
  const last = labels.at(-1) === '' ? labels.at(-2) : labels.at(-1);
  if (NUMBER.test(last ?? ''))
    throw new Unreadable(`"${text}" is neither a name nor four numbers from 0 to 255`);
  const ascii = domainToASCII(unicode);
  if (ascii.length > NAME_BYTES_MAX || !NAME.test(ascii)) throw new Unreadable(`"${text}" is no host name`);
  return ascii;
}

/** A decimal number from 1 to 65,535. [URL-6] */
function parsePort(text: string | undefined): number | null {
  if (text === undefined || text === '') return null;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 65_536;
  if (port > 65_535) throw new Unreadable(`"${text}" is no port`);
  if (port === 0) throw new Unreadable('port 0 cannot be connected to');
  return port;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Unreadable(`"${text}" has a "%" that begins no character`);
  }
}

/** What is before the first `separator` and what is behind it, or null when there is none. */
function splitAt(text: string, separator: string): [before: string, behind: string | null] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, null] : [text.slice(0, at), text.slice(at + separator.length)];
}

function invalid(text: string, reason: string): JspError {
  return new JspError(
    'ERR_JSP_URL_INVALID',
    `"${text}" is not a server URL: ${reason}. Pass jsp://<fingerprint>@host:port, as the server prints it.`,
  );
}

/** Why a part of a text cannot be read; the caller names the whole. */
class Unreadable extends Error {}

/** Before the fingerprint of a hybrid identity. */
const HYBRID_MARK = 'pq.';
const FINGERPRINT_CHARACTERS = 43;
const BASE64URL = /^[\w-]*$/;
/** What URLs of other schemes take for a part of an IPv4 address. */
const NUMBER = /^(?:\d+|0x[\da-f]*)$/i;
const NAME_BYTES_MAX = 253;
const NAME = /^(?!-)[a-z\d_-]{1,63}(?:\.[a-z\d_-]{1,63})*\.?$/;
