/**
 * Tickets as applications see them: bytes that a client keeps, as secret as a password, and shows once to be back without a signature, and with what it
 * has to say in its first datagram. And what a server is told about those that it gives. [HS-33]
 */

import { JspError } from '../base/errors.ts';
import { checkOptions, flag, type OptionCheck, type OptionTable, whole } from '../base/options.ts';
import type { Identity } from '../protocol/crypto/index.ts';
import {
  type ClientTicket,
  decodeClientTicket,
  encodeClientTicket,
  isUsable,
  type Resumption,
  TICKET_KEY_BYTES,
  type TicketConfig,
} from '../protocol/endpoint/index.ts';
import { type Clock, epochMs, unixMs } from '../udp/clock.ts';

export interface TicketOptions {
  /**
   * Secrets of 32 bytes that several servers of one identity share, so that each takes the others' tickets: `current` seals new ones, `previous` opens
   * those of before a rotation. Early data is taken by the process alone that gave the ticket. Default: keys that the process makes for itself, and
   * changes.
   */
  keys?: { readonly current: Uint8Array; readonly previous?: readonly Uint8Array[] | undefined } | undefined;
  /** How long a ticket is good, in ms. Default 24 hours, at most 7 days. */
  lifetimeMs?: number | undefined;
  /** Bytes of early data that a client may send with a ticket; 0: none. Default 16,384. */
  earlyDataBytesMax?: number | undefined;
}

/** What a client resumes a connection with, and where its server was. */
export interface KeptTicket extends ClientTicket {
  readonly host: string;
}

/** What the application is given of a ticket that came. */
export function ticketBytes(ticket: ClientTicket, host: string, clock: Clock): Uint8Array {
  return encodeClientTicket({ ...ticket, receivedAtMs: unixMs(clock) }, host);
}

/**
 * The ticket in the bytes that an application kept, if it may be shown to the server with one of these fingerprints; else null: it has expired, or is
 * another server's, or of another identity of the client, for which the server would take it.
 *
 * @param pins - none: any server's may
 * @throws JspError ERR_JSP_OPTION_INVALID where these are no bytes that a `ticket` event gave
 */
export function usableTicket(
  bytes: Uint8Array,
  pins: readonly Uint8Array[],
  identity: Identity | undefined,
  clock: Clock,
): KeptTicket | null {
  const ticket = decodeClientTicket(bytes);
  if (ticket === null) {
    throw new JspError(
      'ERR_JSP_OPTION_INVALID',
      "connect: ticket must be the bytes that a connection's event 'ticket' gave",
    );
  }
  const { clientIdentity, fingerprint } = ticket;
  const isOfServer = pins.length === 0 || pins.some((pin) => Buffer.compare(pin, fingerprint) === 0);
  const isOurs =
    clientIdentity === null ||
    (identity !== undefined && Buffer.compare(clientIdentity, identity.fingerprint) === 0);
  return isOfServer && isOurs && isUsable(ticket, unixMs(clock)) ? ticket : null;
}

/** How a ticket is shown now. */
export function resumptionOf(ticket: KeptTicket, hasEarlyData: boolean, clock: Clock): Resumption {
  return { ticket, ageMs: unixMs(clock) - ticket.receivedAtMs, hasEarlyData };
}

/** What the endpoint of a server is told; null where it gives none. */
export function ticketConfig(option: boolean | TicketOptions | undefined, clock: Clock): TicketConfig | null {
  if (option === false) return null;
  const { keys, lifetimeMs, earlyDataBytesMax } = typeof option === 'object' ? option : ({} as TicketOptions);
  return {
    keys: keys === undefined ? null : { current: keys.current, previous: keys.previous ?? [] },
    lifetimeMs: lifetimeMs ?? LIFETIME_MS,
    earlyDataBytesMax: earlyDataBytesMax ?? EARLY_DATA_BYTES_MAX,
    usedMax: USED_MAX,
    epochMs: epochMs(clock),
  };
}

/** Throws by itself what it has to say of members. */
export const tickets: OptionCheck = (value) => {
  if (typeof value === 'boolean') return flag(value);
  if (typeof value !== 'object' || value === null) return 'true, false or an object';
  checkOptions('tickets', value as TicketOptions, TICKET_OPTIONS);
  return null;
};

export const ticketOption: OptionCheck = (value) =>
  value instanceof Uint8Array ? null : "the bytes that a connection's event 'ticket' gave";

function isKey(value: unknown): boolean {
  return value instanceof Uint8Array && value.length === TICKET_KEY_BYTES;
}

const TICKET_OPTIONS: OptionTable<TicketOptions> = {
  keys: (value) => {
    const { current, previous = [] } = (value ?? {}) as NonNullable<TicketOptions['keys']>;
    const isRight = isKey(current) && Array.isArray(previous) && previous.every(isKey);
    return isRight
      ? null
      : `{ current, previous? }: a Uint8Array of ${TICKET_KEY_BYTES} bytes, and a list of such`;
  },
  lifetimeMs: whole(1_000, 604_800_000),
  earlyDataBytesMax: whole(0, 2 ** 30),
};
export const LIFETIME_MS = 24 * 3_600_000;
const EARLY_DATA_BYTES_MAX = 16_384;
/** Used tickets that a server remembers: those of 3,000 resumptions a second, for as long as a captured hello could pass. */
const USED_MAX = 65_536;
