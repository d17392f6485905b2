import { isCompressed } from './command.ts';

/** A stream of the transport, as broker and client use it. */
export interface MessageStream {
  /** The same at both ends. */
  readonly id: number;
  readonly label: string;
  readonly ordered: boolean;
  readonly delivery: string;
  readonly priority: StreamPriority;
  /** The largest message the peer takes. */
  readonly messageBytesMax: number;
  /** Bytes that `send` took and that have not left yet. */
  readonly queuedBytes: number;
  /** Unsent bytes above which `send` answers false. */
  highWaterMark: number;
  /** The peer has sent something best effort on it, which its delivery may or may not allow. */
  readonly hasReceivedBestEffort: boolean;
  /**
   * Takes `message`, as a copy unless it is given away with `transfer`. False above the high-water mark; `drain` follows. Throws when the
   * stream is closed. With `compression: false` it goes as it is, whatever the stream would do.
   */
  send(
    message: Uint8Array,
    options?: {
      transfer?: boolean;
      compression?: false;
      delivery?: 'bestEffort' | 'reliable';
      /** Not delivered later than this; 0: without such a bound. */
      lifetimeMs?: number;
    },
  ): boolean;
  /** No `message` and no `end` until {@link resume}; flow control stops the sender. */
  pause(): unknown;
  resume(): unknown;
  /** Finishes this direction behind what was sent. */
  end(): unknown;
  /** Gives both directions up. */
  reset(code: number): unknown;
  on(event: 'message', listener: (message: Buffer) => void): unknown;
  /** The peer finished its direction, and everything before was read. */
  on(event: 'end', listener: () => void): unknown;
  on(event: 'drain', listener: () => void): unknown;
  /** The stream was reset by the peer, or went with its connection; `close` follows. */
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'close', listener: () => void): unknown;
}

/**
 * Sends a command; one whose payload is compressed is not compressed again. [BRK-42]
 *
 * @param isGivenAway - its bytes are the stream's from now on
 */
export function sendCommand(stream: MessageStream, command: Uint8Array, isGivenAway: boolean): boolean {
  if (isCompressed(command)) return stream.send(command, isGivenAway ? TRANSFER_AS_IT_IS : AS_IT_IS);
  return isGivenAway ? stream.send(command, TRANSFER) : stream.send(command);
}

/** Classes of streams, in the order of their numbers. */
export const STREAM_PRIORITIES = ['system', 'media', 'chat', 'bulk'] as const;
export type StreamPriority = (typeof STREAM_PRIORITIES)[number];

/** Figures of the link below a connection. */
export interface LinkFigures {
  readonly rttMs: number;
  /** Share of the packets to the peer that were lost, 0 to 1. */
  readonly loss: number;
  /** Packets of the peer that repairs have brought back. */
  readonly packetsRecovered: number;
  readonly packetsLost: number;
  readonly packetsSent: number;
  readonly packetsReceived: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** The largest datagram that goes to the peer. */
  readonly mtu: number;
}

/** By which way somebody has come to a broker. */
export type Door = 'native' | 'http' | 'websocket' | 'sse' | 'mqtt';

/** What is known of a connection beside its streams. */
export interface ConnectionFacts {
  readonly door: Door;
  /** Of the peer; it may change. */
  readonly address: string;
  /** Whether what is above a rate waits, or is refused, for those who cannot be made to wait. */
  readonly overLimit: 'wait' | 'refuse';
  /** Fingerprint of the identity that the client proved in the handshake, 43 characters of base64url; null: none. [AUT-13] */
  readonly identity?: string | null | undefined;
  /** A secret of this connection alone, for what is to be bound to it; null where it has none. Where the connection is a worker's, that answers later. */
  exporter(
    label: string,
    context: Uint8Array,
    length: number,
  ): Uint8Array | null | Promise<Uint8Array | null>;
  /** Null: there is no link, or it is not known. */
  link(): LinkFigures | null;
}

/** A connection of the transport, as broker and client use it. */
export interface MessageConnection {
  /** Without: a native one of which nothing is known. */
  readonly facts?: ConnectionFacts | undefined;
  /** Streams that can be opened without waiting until the peer allows more. */
  readonly openableStreams: number;
  openStream(options: {
    label: string;
    priority: StreamPriority;
    delivery: 'reliable';
    ordered: true;
  }): MessageStream;
  on(event: 'stream', listener: (stream: MessageStream) => void): unknown;
  on(event: 'close', listener: (reason: Error | null) => void): unknown;
  /** Closes at once. */
  destroy(code?: number, reason?: string): unknown;
}

const TRANSFER = { transfer: true } as const;
const AS_IT_IS = { compression: false } as const;
const TRANSFER_AS_IT_IS = { transfer: true, compression: false } as const;
