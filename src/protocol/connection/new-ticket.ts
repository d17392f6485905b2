import { copyOf, equalBytes, NO_BYTES } from '../../base/bytes.ts';
import { type GivenTicket, TICKET_BYTES_MAX, TICKET_ID_BYTES } from '../handshake/tickets.ts';
import type { FrameReader } from '../wire/frame-reader.ts';
import type { FrameWriter } from '../wire/frame-writer.ts';
import { ticketSize, writeTicket } from '../wire/frames/crypto.ts';

/** What a connection tells its application of tickets. */
export interface NewTicketHost {
  /** At a client: the server gave a ticket for another connection. */
  onTicket(ticket: GivenTicket): void;
}

/** The ticket that a server gives its client for its next connection: said until the client has it. [HS-55] */
export class NewTicket {
  /** The client does not have it yet. */
  isDue = false;
  private ticket: GivenTicket | null = null;
  /** At a client: the nonce of the one that came last, and how many came. */
  private lastNonce: Uint8Array = NO_BYTES;
  private told = 0;
  private readonly host: NewTicketHost;

  constructor(host: NewTicketHost) {
    this.host = host;
  }

  offer(ticket: GivenTicket): void {
    this.ticket = ticket;
    this.isDue = true;
  }

  /** Writes it, if it fits. */
  write(frames: FrameWriter): void {
    if (this.ticket === null) return;
    const { lifetimeSeconds, nonce, ticket } = this.ticket;
    if (frames.room < ticketSize(lifetimeSeconds, ticket)) return;
    this.isDue = false;
    writeTicket(frames, lifetimeSeconds, nonce, ticket);
  }

  onFrameLost(): void {
    this.isDue = this.ticket !== null;
  }

  /** The server said it, perhaps once more: by then it may have been shown, and is good for nothing. */
  onFrame({ buffer, dataStart, dataLength, lifetime, nonceStart }: FrameReader): void {
    if (dataLength === 0 || dataLength > TICKET_BYTES_MAX || this.told >= GIVEN_MAX) return;
    const nonce = buffer.subarray(nonceStart, nonceStart + TICKET_ID_BYTES);
    if (equalBytes(nonce, this.lastNonce)) return;
    this.lastNonce = copyOf(nonce);
    this.told++;
    this.host.onTicket({
      lifetimeSeconds: lifetime,
      nonce: this.lastNonce,
      ticket: copyOf(buffer.subarray(dataStart, dataStart + dataLength)),
    });
  }
}

/** What a client takes of one connection: each ticket, and each token, may be written to a disk. [HS-37] [HS-55] */
export const GIVEN_MAX = 64;
