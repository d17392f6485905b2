/**
 * One stream of a client, as the broker's core needs it. None of its methods throws, nor calls the core before it returns; once paused, it
 * reports no message and no end, only a reset, until it is resumed.
 */
export interface Link {
  /** Takes `bytes` as one message and may keep them. False: enough for now; `drained` will follow. */
  send(bytes: Uint8Array): boolean;
  /** Stops reading: the client's messages stay in the transport, whose flow control then stops the client. */
  pause(): void;
  resume(): void;
  /** Finishes the broker's direction; what was sent is still delivered. */
  end(): void;
}

/** One client's connection, as the broker's core needs it. */
export interface Peer {
  /** Closes the connection at once, because of what the client did. */
  close(code: number, reason: string): void;
}
