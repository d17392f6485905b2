/**
 * One stream of a client, as the broker's core needs it. None of its methods throws, nor calls the core before it returns; once paused, it
 * reports no message and no end, only a reset, until it is resumed.
 */
export interface Link {
  /** The stream's number, by which the client knows it, too. */
  readonly id: number;
  /** The stream's class: its place in the list of priorities. */
  readonly priority: number;
  /** The largest message that the client takes; never send it a larger one. */
  readonly messageBytesMax: number;
  /** Bytes in the transport that have not left yet. */
  readonly queuedBytes: number;
  /** Unsent bytes above which {@link send} is to say enough. */
  limit(bytes: number): void;
  /** Takes `bytes` as one message and may keep them. False: enough for now; `drained` will follow. */
  send(bytes: Uint8Array): boolean;
  /** Stops reading: the client's messages stay in the transport, whose flow control then stops the client. */
  pause(): void;
  resume(): void;
  /** Finishes the broker's direction; what was sent is still delivered. */
  end(): void;
  /** Gives both directions up. */
  reset(code: number): void;
}

/** One client's connection, as the broker's core needs it. */
export interface Peer {
  /** Closes the connection at once, because of what the client did. */
  close(code: number, reason: string): void;
  /**
   * Opens a stream of this class to the client. `attach` makes its channel, which is told of what happens on it from then on. False when
   * the connection is closing, or the client allows no more streams now.
   */
  open(priority: number, attach: (link: Link) => unknown): boolean;
}
