/**
 * A ticket as a client keeps it: what its server gave, the secret that goes with it, and what is remembered of that server. To applications it is
 * bytes, which are to be kept as secret as a password, and are used once.
 *
 *     version u8 = 1, suite u8, fingerprint bytes[32], key bytes[32], received u64 (ms since 1970), lifetime u32 (seconds),
 *     fingerprint of the client's identity bytes[32] (zeros: it showed none), parameters (length u16, transport parameters), ticket (length u16, bytes), address of the server (UTF-8 ..)
 */

import { copyOf, equalBytes, NO_BYTES } from '../../base/bytes.ts';
import { HASH_BYTES } from '../crypto/key-schedule.ts';
import {
  decodeParameters,
  encodeParameters,
  type TransportParameters,
} from '../wire/transport-parameters.ts';
import { TICKET_BYTES_MAX } from './tickets.ts';

export interface ClientTicket {
  readonly suite: number;
  /** Of the server's identity, which it proved when the ticket was given, or before. */
  readonly fingerprint: Uint8Array;
  /** Of the client's, for which the server takes whoever shows the ticket; null where it showed none. [HS-47] */
  readonly clientIdentity: Uint8Array | null;
  readonly key: Uint8Array;
  readonly receivedAtMs: number;
  readonly lifetimeSeconds: number;
  /** What the server told of itself; its ids and tokens are not among it. */
  readonly parameters: TransportParameters;
  /** What the server is shown. */
  readonly ticket: Uint8Array;
}

/** Whether a ticket may still be shown, `now` in ms since 1970. [HS-54] */
export function isUsable({ receivedAtMs, lifetimeSeconds }: ClientTicket, nowMs: number): boolean {
  const ageMs = nowMs - receivedAtMs;
  return ageMs >= 0 && ageMs <= Math.min(lifetimeSeconds, LIFETIME_SECONDS_MAX) * 1_000;
}

/** @param host - the address at which the server was */
export function encodeClientTicket(ticket: ClientTicket, host: string): Uint8Array {
  const kept: TransportParameters = {
    ...ticket.parameters,
    originalDestinationId: NO_BYTES,
    sourceId: NO_BYTES,
    retrySourceId: null,
    statelessResetToken: null,
  };
  const parameters = encodeParameters(kept, null);
  const hostBytes = Buffer.from(host);
  const out = Buffer.alloc(FIXED_BYTES + parameters.length + ticket.ticket.length + hostBytes.length);
  out[0] = VERSION;
  out[1] = ticket.suite;
  out.set(ticket.fingerprint, 2);
  out.set(ticket.key, 2 + HASH_BYTES);
  let at = out.writeBigUInt64BE(BigInt(ticket.receivedAtMs), 2 + 2 * HASH_BYTES);
  at = out.writeUInt32BE(Math.min(ticket.lifetimeSeconds, LIFETIME_SECONDS_MAX), at);
  out.set(ticket.clientIdentity ?? NOBODY, at);
  at = out.writeUInt16BE(parameters.length, at + HASH_BYTES);
  out.set(parameters, at);
  at = out.writeUInt16BE(ticket.ticket.length, at + parameters.length);
  out.set(ticket.ticket, at);
  out.set(hostBytes, at + ticket.ticket.length);
  return new Uint8Array(out);
}

/** Null when these are no bytes that {@link encodeClientTicket} made. */
export function decodeClientTicket(bytes: Uint8Array): (ClientTicket & { host: string }) | null {
  if (bytes.length < FIXED_BYTES || bytes[0] !== VERSION) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const receivedAtMs = Number(view.getBigUint64(2 + 2 * HASH_BYTES));
  const lifetimeSeconds = view.getUint32(10 + 2 * HASH_BYTES);
  const parametersBytes = view.getUint16(PARAMETERS_AT - 2);
  const ticketAt = PARAMETERS_AT + parametersBytes + 2;
  if (ticketAt > bytes.length) return null;
  const ticketBytes = view.getUint16(ticketAt - 2);
  const end = ticketAt + ticketBytes;
  if (end > bytes.length || ticketBytes > TICKET_BYTES_MAX || bytes.length - end > HOST_BYTES_MAX)
    return null;
  const parameters = decodeParameters(bytes.subarray(PARAMETERS_AT, ticketAt - 2), 'server');
  if (typeof parameters === 'number' || !Number.isSafeInteger(receivedAtMs)) return null;
  const clientIdentity = copyOf(bytes.subarray(CLIENT_IDENTITY_AT, CLIENT_IDENTITY_AT + HASH_BYTES));
  return {
    suite: bytes[1],
    fingerprint: copyOf(bytes.subarray(2, 2 + HASH_BYTES)),
    clientIdentity: equalBytes(clientIdentity, NOBODY) ? null : clientIdentity,
    key: copyOf(bytes.subarray(2 + HASH_BYTES, 2 + 2 * HASH_BYTES)),
    receivedAtMs,
    lifetimeSeconds,
    parameters,
    ticket: copyOf(bytes.subarray(ticketAt, end)),
    host: Buffer.from(bytes.subarray(end)).toString(),
  };
}

const VERSION = 1;
const NOBODY = new Uint8Array(HASH_BYTES);
/** Behind version, suite, fingerprint, key and two times. */
const CLIENT_IDENTITY_AT = 2 + 2 * HASH_BYTES + 8 + 4;
/** And the length of the parameters. */
const PARAMETERS_AT = CLIENT_IDENTITY_AT + HASH_BYTES + 2;
const FIXED_BYTES = PARAMETERS_AT + 2;
/** The longest form of an address, with a zone. */
const HOST_BYTES_MAX = 128;
/** [HS-54] As RFC 8446 section 4.6.1 has it: 7 days. */
const LIFETIME_SECONDS_MAX = 604_800;
