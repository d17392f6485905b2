/**
 * How a ticket is offered in a CLIENT_HELLO, and how a server reads that:
 *
 *     0x0001  ticket       age u32, ticket bytes ..
 *     0x0003  early data   empty
 *     0x0002  binder       bytes[32], the last extension
 *
 * The binder proves that the client has the ticket's key, and binds the rest of its hello to it. [HS-33]
 */

import { NO_BYTES } from '../../base/bytes.ts';
import { equalSecrets } from '../crypto/identity.ts';
import { binderValue, earlySecret, earlyTraffic, HASH_BYTES } from '../crypto/key-schedule.ts';
import type { ClientTicket } from './client-ticket.ts';
import { ExtensionId, type Extensions, Transcript } from './messages.ts';
import { maskedAge } from './tickets.ts';

/** What a client resumes a connection with. */
export interface Resumption {
  readonly ticket: ClientTicket;
  /** Since the ticket came. */
  readonly ageMs: number;
  /** It has something to say before the handshake is complete. */
  readonly hasEarlyData: boolean;
}

/** The extensions of a hello that offers a ticket, the binder not filled in yet. They come behind all others. */
export function offerExtensions({ ticket, ageMs, hasEarlyData }: Resumption): Extensions {
  const shown = new Uint8Array(AGE_BYTES + ticket.ticket.length);
  new DataView(shown.buffer).setUint32(0, maskedAge(ticket.key, ageMs));
  shown.set(ticket.ticket, AGE_BYTES);
  const extensions = new Map<number, Uint8Array>([[ExtensionId.TICKET, shown]]);
  if (hasEarlyData) extensions.set(ExtensionId.EARLY_DATA, NO_BYTES);
  return extensions.set(ExtensionId.BINDER, new Uint8Array(HASH_BYTES));
}

/** What is hashed of a first packet for binder and early data: no Retry changes it. */
export interface HelloContext {
  readonly isPinned: boolean;
  readonly firstDestinationId: Uint8Array;
}

/** Fills the binder of a hello in, which ends with it. */
export function bindHello(hello: Uint8Array, early: Uint8Array, context: HelloContext): void {
  hello.set(binderOf(hello, early, context), hello.length - HASH_BYTES);
}

/** The secret of the 0-RTT packets that follow a hello. [HS-34] */
export function earlyTrafficOf(hello: Uint8Array, early: Uint8Array, context: HelloContext): Uint8Array {
  return earlyTraffic(early, transcriptOf(context).add(hello).hash());
}

/** A ticket that a client shows. */
export interface TicketOffer {
  readonly age: number;
  readonly ticket: Uint8Array;
  readonly hasEarlyData: boolean;
  /** Of this hello and no other. */
  readonly binder: Uint8Array;
}

/** Reads what a hello offers: null when that is nothing, undefined when it makes no sense. */
export function readOffer(extensions: Extensions): TicketOffer | null | undefined {
  const shown = extensions.get(ExtensionId.TICKET);
  const binder = extensions.get(ExtensionId.BINDER);
  const early = extensions.get(ExtensionId.EARLY_DATA);
  if (shown === undefined) return binder === undefined && early === undefined ? null : undefined;
  const isWellFormed =
    shown.length > AGE_BYTES &&
    binder?.length === HASH_BYTES &&
    (early?.length ?? 0) === 0 &&
    [...extensions.keys()].at(-1) === ExtensionId.BINDER;
  if (!isWellFormed) return undefined;
  const age = new DataView(shown.buffer, shown.byteOffset).getUint32(0);
  return { age, ticket: shown.subarray(AGE_BYTES), hasEarlyData: early !== undefined, binder };
}

/** The early secret of a ticket with this key, when the hello, which ends with its binder, proves to have it; else null. */
export function provenEarlySecret(
  hello: Uint8Array,
  ticketKey: Uint8Array,
  context: HelloContext,
): Uint8Array | null {
  const early = earlySecret(ticketKey);
  const binder = hello.subarray(hello.length - HASH_BYTES);
  if (equalSecrets(binder, binderOf(hello, early, context))) return early;
  early.fill(0);
  return null;
}

function binderOf(hello: Uint8Array, early: Uint8Array, context: HelloContext): Uint8Array {
  const bound = hello.subarray(0, hello.length - HASH_BYTES);
  return binderValue(early, transcriptOf(context).add(bound).hash());
}

function transcriptOf({ isPinned, firstDestinationId }: HelloContext): Transcript {
  return new Transcript(isPinned, firstDestinationId);
}

const AGE_BYTES = 4;
