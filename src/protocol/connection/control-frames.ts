import { copyOf } from '../../base/bytes.ts';
import { assert } from '../../base/errors.ts';
import type { OutgoingFlight } from '../handshake/crypto-flight.ts';
import type { AckFrequencyRequest } from '../recovery/ack-frequency.ts';
import type { Recovery } from '../recovery/recovery.ts';
import type { ConnectionCounters } from '../trace/counters.ts';
import { CloseCode } from '../wire/close-code.ts';
import type { FrameReader } from '../wire/frame-reader.ts';
import { FrameType } from '../wire/frame-type.ts';
import type { FrameWriter } from '../wire/frame-writer.ts';
import { writeHandshakeDone } from '../wire/frames/crypto.ts';
import { writePathResponse } from '../wire/frames/path.ts';
import { writeHeartbeat, writePing } from '../wire/frames/ping.ts';
import type { SentFrame } from '../wire/frames/sent-frames.ts';
import { PacketSpace } from '../wire/packet-header.ts';
import type { ConnectionIds } from './connection-ids.ts';
import { GoAway, type GoAwayNews } from './go-away.ts';
import type { Liveness } from './liveness.ts';
import { NewTicket, type NewTicketHost } from './new-ticket.ts';
import { NewToken, type NewTokenNews } from './new-token.ts';

/** The parts of a connection that these frames are of. */
export interface ControlParts {
  readonly role: 'client' | 'server';
  readonly acks: AckFrequencyRequest;
  readonly counters: ConnectionCounters;
  readonly ids: ConnectionIds;
  readonly liveness: Liveness;
  readonly recovery: Recovery;
}

/** What the application hears of these frames: each is an event of the endpoint, with its connection. */
export type ControlNews = GoAwayNews | NewTokenNews;

/** What follows for the connection. */
export interface ControlHost extends NewTicketHost {
  /** There is something to send. */
  touch(): void;
  /** The peer has something to say to the application. */
  tell(news: ControlNews): void;
}

/**
 * What a connection says and hears for itself in 1-RTT packets, beside its streams: which frames wait to be sent, how they are written, which
 * of them are said again when they are lost, and what those of the peer do. A frame that belongs to no stream, no handshake message and no
 * acknowledgement is sent and taken here.
 * Whoever makes one due lets the connection be asked for packets, by `touch` or because a packet came or a deadline passed.
 */
export class ControlFrames {
  /** The server's handshake is complete: HANDSHAKE_DONE is sent until the client has it. */
  isHandshakeDoneDue = false;
  isHeartbeatDue = false;
  /** The peer is to hear something. */
  isPingDue = false;
  /**
   * Bytes of UDP payload that what is sent next is padded to: it may be the first that the server hears from another address, and allows no
   * answer of more than three times its size.
   */
  paddedBytes = 0;
  /** What the server's application says to the client that it let in; null where it is not asked. [HS-44] */
  admitted: OutgoingFlight | null = null;
  /** Answers the peer's newest PATH_CHALLENGE, with the next packet. [FRM-20] */
  private pathResponse: Uint8Array | null = null;

  // Made when they are first needed, which few connections do for long.
  private ownNewToken: NewToken | null = null;
  private ownNewTicket: NewTicket | null = null;
  private ownGoAway: GoAway | null = null;
  private readonly host: ControlHost;
  private readonly isClient: boolean;
  private readonly counters: ConnectionCounters;
  private readonly liveness: Liveness;
  private readonly recovery: Recovery;
  private readonly acks: AckFrequencyRequest;
  private readonly ids: ConnectionIds;

  constructor(parts: ControlParts, host: ControlHost) {
    this.isClient = parts.role === 'client';
    this.counters = parts.counters;
    this.liveness = parts.liveness;
    this.recovery = parts.recovery;
    this.acks = parts.acks;
    this.ids = parts.ids;
    this.host = host;
  }

  get newToken(): NewToken {
    this.ownNewToken ??= new NewToken(this.host);
    return this.ownNewToken;
  }

  get newTicket(): NewTicket {
    this.ownNewTicket ??= new NewTicket(this.host);
    return this.ownNewTicket;
  }

  get goAway(): GoAway {
    this.ownGoAway ??= new GoAway(this.host);
    return this.ownGoAway;
  }

  /** Whether {@link write} has something to write. */
  get isDue(): boolean {
    return (
      this.isHandshakeDoneDue ||
      this.isHeartbeatDue ||
      this.isPingDue ||
      this.pathResponse !== null ||
      this.acks.isDue ||
      this.admitted?.pending === true ||
      this.ownGoAway?.isDue === true ||
      this.ownNewToken?.isDue === true ||
      this.ownNewTicket?.isDue === true ||
      this.ids.isDue
    );
  }

  /** Writes what is due, as far as there is room for it; the next packet has the rest. */
  write(frames: FrameWriter): void {
    if (this.isHandshakeDoneDue && frames.hasControlRoom) {
      this.isHandshakeDoneDue = false;
      writeHandshakeDone(frames);
    }
    if (this.pathResponse !== null && frames.hasControlRoom) {
      writePathResponse(frames, this.pathResponse);
      this.pathResponse = null;
    }
    if (this.acks.isDue && frames.hasControlRoom) this.acks.write(frames);
    if (this.isHeartbeatDue && frames.hasControlRoom) {
      this.isHeartbeatDue = false;
      const intervalMs = this.liveness.intervalMs(this.recovery.probeTimeout(PacketSpace.APPLICATION));
      writeHeartbeat(frames, this.counters.heartbeatsSent++, intervalMs);
    }
    if (this.isPingDue && frames.hasControlRoom) {
      this.isPingDue = false;
      writePing(frames);
    }
    this.admitted?.write(frames); // as much as fits
    if (this.ids.isDue) this.ids.write(frames);
    if (this.ownGoAway?.isDue === true) this.ownGoAway.write(frames);
    if (this.ownNewToken?.isDue === true) this.ownNewToken.write(frames);
    if (this.ownNewTicket?.isDue === true) this.ownNewTicket.write(frames);
  }

  /** The server is asked whether it is there, and shown where this side is, in a packet of so many bytes at least. */
  ask(bytes: number): void {
    this.isPingDue = true;
    this.paddedBytes = Math.max(this.paddedBytes, bytes);
  }

  /** A challenge that came another way is to be answered on the path in use, which is that way now. */
  answer(challenge: Uint8Array): void {
    this.pathResponse = challenge;
  }

  /** Takes a frame that is for no other part of the connection. Returns 0 or a close code. */
  onFrame(frame: FrameReader): number {
    const { buffer, dataStart, dataLength, type } = frame;
    switch (type) {
      case FrameType.HEARTBEAT:
        this.counters.heartbeatsReceived++;
        this.liveness.onHeartbeat(frame.number, frame.interval);
        return 0;
      case FrameType.PATH_CHALLENGE:
        this.pathResponse = copyOf(buffer.subarray(dataStart, dataStart + dataLength));
        return 0;
      case FrameType.GOAWAY:
        if (!this.isClient) return CloseCode.PROTOCOL_VIOLATION; // [FRM-4] nobody asks a client where to go
        this.goAway.onFrame(frame);
        return 0;
      case FrameType.PATH_RESPONSE: // [FRM-20] one that is late is to a challenge that does not matter any more
        return this.counters.pathChallengesSent > 0 ? 0 : CloseCode.PROTOCOL_VIOLATION;
      case FrameType.NEW_CONNECTION_ID:
        return this.ids.peer.onNew(frame);
      case FrameType.NEW_TOKEN:
        return this.isClient ? this.newToken.onFrame(frame) : CloseCode.PROTOCOL_VIOLATION;
      case FrameType.TICKET:
        if (!this.isClient) return CloseCode.PROTOCOL_VIOLATION;
        this.newTicket.onFrame(frame);
        return 0;
      default:
        return type >= FrameType.EXTENSION ? 0 : CloseCode.PROTOCOL_VIOLATION; // [FRM-2] extensions
    }
  }

  /** A packet with one of these frames arrived. */
  onFrameAcked(frame: SentFrame): void {
    switch (frame.type) {
      case FrameType.ACK_FREQUENCY:
        this.acks.onFrameAcked(frame.limit);
        break;
      case FrameType.NEW_TOKEN:
        this.ownNewToken = null; // a server gives one
        break;
      case FrameType.TICKET:
        this.ownNewTicket = null;
        break;
      case FrameType.NEW_CONNECTION_ID:
        this.ids.local.onTold(frame.limit);
        break;
      case FrameType.RETIRE_CONNECTION_ID:
        this.ids.peer.onRetireAcked(frame.limit);
        break;
      case FrameType.ADMITTED:
        this.admitted?.onFrameAcked(frame);
        if (this.admitted?.settled === true) this.admitted = null;
        break;
      default: // of the others nothing is kept once they are sent
    }
  }

  /** A packet with one of these frames is lost, or late: a probe says its frames again. */
  onFrameLost(frame: SentFrame): void {
    switch (frame.type) {
      case FrameType.ACK_FREQUENCY:
        this.acks.onFrameLost(frame.limit);
        break;
      case FrameType.HANDSHAKE_DONE:
        this.isHandshakeDoneDue = true;
        break;
      case FrameType.GOAWAY:
        this.goAway.onFrameLost();
        break;
      case FrameType.NEW_TOKEN:
        this.ownNewToken?.onFrameLost();
        break;
      case FrameType.TICKET:
        this.ownNewTicket?.onFrameLost();
        break;
      case FrameType.NEW_CONNECTION_ID:
        this.ids.local.onLost(frame.limit);
        break;
      case FrameType.RETIRE_CONNECTION_ID:
        this.ids.peer.onRetireLost(frame.limit);
        break;
      case FrameType.ADMITTED:
        this.admitted?.onFrameLost(frame);
        break;
      case FrameType.HEARTBEAT: // the next one says the same, unless there is news [CON-62]
        if (this.liveness.isHeartbeatNews) this.isHeartbeatDue = true;
        break;
      default:
        assert(false, 'a frame that is recorded has a part that is told when it is lost');
    }
  }
}
