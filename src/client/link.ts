/**
 * One connection of a client to its broker, from the handshake to the end, and what belongs to it alone: its streams, and which of them a
 * lane is for. A client that comes back has one after the other; what outlives them is a {@link LinkUser} and is told of each.
 */

import type { JspError } from '../base/errors.ts';
import { Command, encodePlain, ReasonCode, STREAM_LABEL } from '../pubsub/command.ts';
import type { MessageConnection, MessageStream, StreamPriority } from '../pubsub/message-stream.ts';
import { decodeNotice, type Notice, type Welcome } from '../pubsub/session-commands.ts';
import type { AppState, Connection, NetworkType } from '../transport/connection.ts';
import { type CommandListener, CommandStream, openCommandStream } from './command-stream.ts';

/** A connection of the transport, as a client uses it. */
export interface ClientConnection extends MessageConnection {
  /** Closes when everything sent has arrived, or when nothing has got on for `stallMs`. */
  close(options?: { stallMs?: number | undefined }): Promise<unknown>;
  /** Lets the process end although the connection is open, and the opposite. */
  unref?(): unknown;
  ref?(): unknown;
  /** What is known of the machine and the application that the connection belongs to. */
  setNetworkType?(type: NetworkType): unknown;
  setAppState?(state: AppState): unknown;
  metrics?(): ReturnType<Connection['metrics']>;
  /** A secret of this very connection, by which an identity is proved. */
  exportKeyingMaterial?(length: number, name: string, context: Uint8Array): Uint8Array;
}

/** A part of a client that outlives connections. [CLT-1] */
export interface LinkUser<L = Link> {
  /**
   * The broker has welcomed the client. What is published meanwhile waits until this is done, for all that are told before whoever publishes;
   * it may not reject.
   */
  online(link: L): void | Promise<void>;
  /** The connection is over, and there will be another. Its streams have ended already. */
  offline(reason: JspError): void;
  /** There will be no other: null when this side wanted that. */
  closed(reason: JspError | null): void;
}

/** Whoever takes the streams that the broker opens for a subscribing stream. [BRK-39] */
export interface LaneTaker {
  addLane(lane: CommandStream): void;
}

/** One connection to the broker. */
export class Link {
  readonly connection: ClientConnection;
  /** The broker may open as many streams as it may want to. [BRK-39] */
  readonly takesLanes: boolean;
  /** What the broker told of the session; null where this client has none that outlives the connection. */
  welcome: Welcome | null = null;
  /** Nobody can come back to the session: it is to end with this connection when the client leaves. */
  endsSession = false;
  /** What the broker tells without having been asked. */
  onNotice: (notice: Notice) => void = () => {};
  private readonly laneTakers = new Map<number, LaneTaker>();
  private controlStream: CommandStream | null = null;
  private readonly onEnded: (error: Error | null) => void;
  private ended = false;
  private endedBy: Error | null = null;

  /** @param onEnded - told once, with null for an end without an error */
  constructor(
    connection: ClientConnection,
    takesLanes: boolean,
    onEnded: (link: Link, error: Error | null) => void,
  ) {
    this.connection = connection;
    this.takesLanes = takesLanes;
    this.onEnded = (error) => {
      this.ended = true;
      this.endedBy = error;
      onEnded(this, error);
    };
    connection.on('close', this.onEnded);
    connection.on('stream', (stream) => this.onStream(stream));
  }

  get isOver(): boolean {
    return this.ended;
  }

  /** What it is over by. */
  get failure(): Error | null {
    return this.endedBy;
  }

  /** The stream for what is of the whole connection: HELLO, WILL, PING, and what the broker tells. */
  get control(): CommandStream {
    this.controlStream ??= this.open('system', {
      onNotice: (notice) => this.onNotice(decodeNotice(notice)),
      onClosed: () => {
        this.controlStream = null;
      },
    });
    return this.controlStream;
  }

  /** Closes the connection when everything sent has arrived, or nothing has got on for `stallMs`; and the session, if nobody comes back to it. [CLT-7] */
  async leave(stallMs: number): Promise<void> {
    if (this.endsSession) this.control.stream.send(encodePlain(Command.LEAVE, 0));
    await this.connection.close({ stallMs });
  }

  /** Opens a stream for commands. */
  open(priority: StreamPriority, listener: CommandListener): CommandStream {
    return new CommandStream(this.connection, openCommandStream(this.connection, priority), listener);
  }

  /** Lanes of this subscribing stream are for `taker`; null: for nobody any more. */
  giveLanes(streamId: number, taker: LaneTaker | null): void {
    if (taker === null) this.laneTakers.delete(streamId);
    else this.laneTakers.set(streamId, taker);
  }

  /** A stream that the broker has opened: its first command says for which subscription. [BRK-39] */
  private onStream(stream: MessageStream): void {
    if (stream.label !== STREAM_LABEL || !stream.ordered || stream.delivery !== 'reliable') {
      stream.on('error', () => {});
      stream.reset(ReasonCode.UNKNOWN_PROTOCOL);
      return;
    }
    const lane: CommandStream = new CommandStream(this.connection, stream, {
      onLane: (id) => {
        const taker = this.laneTakers.get(id);
        if (taker === undefined) lane.reset();
        else taker.addLane(lane);
      },
      onClosed: () => {},
    });
  }
}
