/**
 * What goes between a front and the servers behind it [FRT-5, FRT-13]: each datagram of a client in an envelope that says where the client
 * is, and probes with their reports. All of it is tagged under keys that follow from the front secret; none of it has the fixed bit.
 */

import { NO_BYTES, u48 } from '../../base/bytes.ts';
import { addressBytes, formatAddress } from '../../base/ip-address.ts';
import { RecentMap } from '../../base/recent-map.ts';
import { equalSecrets } from '../crypto/identity.ts';
import { expandLabel, hmac } from '../crypto/key-schedule.ts';

/** The first byte. */
export const FrontKind = { TO_SERVER: 0x21, TO_CLIENT: 0x22, PROBE: 0x23, REPORT: 0x24 } as const;
export type FrontKind = (typeof FrontKind)[keyof typeof FrontKind];

/** Front secrets: what is new is made with the current one, what comes may be made with the previous one, too. [FRT-1] */
export interface FrontSecrets {
  readonly current: Uint8Array;
  readonly previous?: Uint8Array | undefined;
}

/** Whose datagram is in an envelope. */
export interface EnvelopeAddress {
  readonly host: string;
  readonly port: number;
}

/** How a server stands to new connections. */
export const ServerState = { ACCEPTING: 0, FULL: 1, LEAVING: 2 } as const;
export type ServerState = (typeof ServerState)[keyof typeof ServerState];

/** What a server says of itself. */
export interface ServerReport {
  readonly nonce: Uint8Array;
  readonly state: ServerState;
  readonly serverId: number;
  readonly connections: number;
}

/**
 * Makes and reads envelopes, at a front or at a server. A tag says nothing of the datagram, so that it is computed once for each client and
 * hour, and remembered for those that were seen lately.
 */
export class FrontEnvelopes {
  private readonly out: FrontKind;
  private readonly in: FrontKind;
  private readonly keyOut: Uint8Array;
  private readonly keysIn: readonly Uint8Array[];
  /** Headers that were made, by the client's address. */
  private readonly made = new RecentMap<string, Uint8Array>(REMEMBERED);
  /** Headers that were found good, by the first bits of their tags. */
  private readonly seen = new RecentMap<number, SeenHeader>(REMEMBERED);
  /** The header that was asked for last. */
  private lastHost = '';
  private lastPort = -1;
  private last: Uint8Array = NO_BYTES;
  private madeInHour = -1;

  constructor(side: 'front' | 'server', secrets: FrontSecrets) {
    const isFront = side === 'front';
    this.out = isFront ? FrontKind.TO_SERVER : FrontKind.TO_CLIENT;
    this.in = isFront ? FrontKind.TO_CLIENT : FrontKind.TO_SERVER;
    this.keyOut = keyFor(this.out, secrets.current);
    this.keysIn = keysFor(this.in, secrets);
  }

  /** What goes in front of a datagram from, or to, this client; null when its address cannot be said. Good until the next hour. */
  headerFor(host: string, port: number, hour: number): Uint8Array | null {
    if (hour !== this.madeInHour) {
      this.madeInHour = hour;
      this.made.clear();
      this.lastPort = -1;
    }
    if (host === this.lastHost && port === this.lastPort) return this.last;
    const key = `${host} ${port}`;
    let header = this.made.get(key);
    if (header === undefined) {
      const made = this.make(host, port, hour);
      if (made === null) return null;
      header = made;
      this.made.set(key, header);
    }
    this.lastHost = host;
    this.lastPort = port;
    this.last = header;
    return header;
  }

  /** Whose datagram is in this envelope; null when it is none, or is not to be believed. [FRT-6] */
  addressIn(envelope: Uint8Array, hour: number): EnvelopeAddress | null {
    if (envelope.length < ENVELOPE_BYTES || envelope[0] !== this.in) return null;
    const age = (hour - ((envelope[1] << 8) | envelope[2])) & 0xffff;
    if (age > 1 && age !== 0xffff) return null;
    const key = u48(envelope, TAG_AT);
    const known = this.seen.get(key);
    if (known !== undefined && isHeader(known.header, envelope)) return known;
    const header = envelope.slice(0, ENVELOPE_BYTES);
    if (!isTagged(header, this.keysIn)) return null;
    const seen = {
      header,
      host: formatAddress(header.subarray(5, TAG_AT)),
      port: (header[3] << 8) | header[4],
    };
    this.seen.set(key, seen);
    return seen;
  }

  private make(host: string, port: number, hour: number): Uint8Array | null {
    const address = host.includes('%') ? null : addressBytes(host); // a zone is this machine's own affair
    if (address === null) return null;
    const header = new Uint8Array(ENVELOPE_BYTES);
    header[0] = this.out;
    header[1] = hour >> 8;
    header[2] = hour;
    header[3] = port >> 8;
    header[4] = port;
    if (address.length === 4) header.fill(0xff, TAG_AT - 6, TAG_AT - 4);
    header.set(address, TAG_AT - address.length);
    return tagged(header, this.keyOut);
  }
}

/** Probes and reports, at a front or at a server. */
export class FrontProbes {
  private readonly toServer: readonly Uint8Array[];
  private readonly toFront: readonly Uint8Array[];

  constructor(secrets: FrontSecrets) {
    this.toServer = keysFor(FrontKind.PROBE, secrets);
    this.toFront = keysFor(FrontKind.REPORT, secrets);
  }

  probe(nonce: Uint8Array): Uint8Array {
    const probe = new Uint8Array(PROBE_BYTES);
    probe[0] = FrontKind.PROBE;
    probe.set(nonce, 1);
    return tagged(probe, this.toServer[0]);
  }

  /** The nonce of a probe; null when it is none of somebody who has the secret. */
  nonceIn(probe: Uint8Array): Uint8Array | null {
    const isProbe = probe.length === PROBE_BYTES && probe[0] === FrontKind.PROBE;
    return isProbe && isTagged(probe, this.toServer) ? probe.slice(1, 1 + PROBE_NONCE_BYTES) : null;
  }

  report({ nonce, state, serverId, connections }: ServerReport): Uint8Array {
    const report = new Uint8Array(PROBE_BYTES);
    const view = new DataView(report.buffer);
    report[0] = FrontKind.REPORT;
    report.set(nonce, 1);
    view.setUint32(STATE_AT, state * 2 ** 24 + serverId);
    view.setUint32(STATE_AT + 4, connections);
    return tagged(report, this.toFront[0]);
  }

  /** What a report says; null when it is none of somebody who has the secret. */
  reportIn(report: Uint8Array): ServerReport | null {
    const isReport = report.length === PROBE_BYTES && report[0] === FrontKind.REPORT;
    if (!isReport || report[STATE_AT] > ServerState.LEAVING || !isTagged(report, this.toFront)) return null;
    const view = new DataView(report.buffer, report.byteOffset);
    return {
      nonce: report.slice(1, 1 + PROBE_NONCE_BYTES),
      state: report[STATE_AT] as ServerState,
      serverId: view.getUint32(STATE_AT) & 0xff_ffff,
      connections: view.getUint32(STATE_AT + 4),
    };
  }
}

/** What hashes begin with by which fronts choose servers. [FRT-11] */
export function choiceSeed({ current }: FrontSecrets): number {
  const [a, b, c, d] = expandLabel(current, 'front choice', NO_BYTES, 4);
  return (a << 24) | (b << 16) | (c << 8) | d;
}

/** The hour of an envelope. */
export function envelopeHour(unixMs: number): number {
  return Math.floor(unixMs / HOUR_MS) & 0xffff;
}

interface SeenHeader extends EnvelopeAddress {
  readonly header: Uint8Array;
}

/** Whether the envelope begins with this header. */
function isHeader(header: Uint8Array, envelope: Uint8Array): boolean {
  for (let i = 0; i < ENVELOPE_BYTES; i++) if (header[i] !== envelope[i]) return false;
  return true;
}

function keysFor(kind: FrontKind, { current, previous }: FrontSecrets): Uint8Array[] {
  return [current, ...(previous === undefined ? [] : [previous])].map((secret) => keyFor(kind, secret));
}

function keyFor(kind: FrontKind, secret: Uint8Array): Uint8Array {
  const isToServer = kind === FrontKind.TO_SERVER || kind === FrontKind.PROBE;
  return expandLabel(
    secret,
    isToServer ? 'front to server' : 'front to client',
    NO_BYTES,
    MAC_KEY_BYTES,
  ).slice();
}

/** Writes the tag behind all that is before it. */
function tagged(bytes: Uint8Array, key: Uint8Array): Uint8Array {
  bytes.set(tagOf(bytes, key), bytes.length - FRONT_TAG_BYTES);
  return bytes;
}

function isTagged(bytes: Uint8Array, keys: readonly Uint8Array[]): boolean {
  const tag = bytes.subarray(bytes.length - FRONT_TAG_BYTES);
  return keys.some((key) => equalSecrets(tag, tagOf(bytes, key)));
}

function tagOf(bytes: Uint8Array, key: Uint8Array): Uint8Array {
  const covered = bytes.subarray(0, bytes.length - FRONT_TAG_BYTES);
  return hmac(key, covered).subarray(0, FRONT_TAG_BYTES);
}

/** Before each datagram between a front and a server. */
export const ENVELOPE_BYTES = 37;
/** Of a probe, and of a report, which is no longer. */
export const PROBE_BYTES = 33;
export const PROBE_NONCE_BYTES = 8;

const FRONT_TAG_BYTES = 16;
const TAG_AT = ENVELOPE_BYTES - FRONT_TAG_BYTES;
const STATE_AT = 1 + PROBE_NONCE_BYTES;
const MAC_KEY_BYTES = 32;
const HOUR_MS = 3_600_000;
/** Clients whose headers are remembered, twice. */
const REMEMBERED = 16_384;
