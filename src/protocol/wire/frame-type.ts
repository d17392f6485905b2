/** Frame types of spec/frames.md. What a sent packet carried is recorded under the same numbers, without the flags that only a reader needs. */
export const FrameType = {
  PADDING: 0x00,
  PING: 0x01,
  ACK: 0x02,
  ACK_ECN: 0x03,
  ACK_RECOVERED: 0x04,
  ACK_ECN_RECOVERED: 0x05,
  CRYPTO: 0x06,
  HANDSHAKE_DONE: 0x07,
  NEW_TOKEN: 0x08,
  TICKET: 0x09,
  STREAM_OPEN: 0x0a,
  STREAM_FIN: 0x0b,
  RESET_STREAM: 0x0c,
  STOP_SENDING: 0x0d,
  ABANDON: 0x0e,
  DROPPED: 0x0f,
  MAX_DATA: 0x10,
  MAX_STREAM_DATA: 0x11,
  MAX_STREAMS: 0x12,
  DATA_BLOCKED: 0x13,
  STREAM_DATA_BLOCKED: 0x14,
  STREAMS_BLOCKED: 0x15,
  REPAIR: 0x16,
  HEARTBEAT: 0x17,
  PATH_CHALLENGE: 0x18,
  PATH_RESPONSE: 0x19,
  NEW_CONNECTION_ID: 0x1a,
  RETIRE_CONNECTION_ID: 0x1b,
  CONNECTION_CLOSE: 0x1c,
  ACK_FREQUENCY: 0x1d,
  ADMITTED: 0x1e,
  GOAWAY: 0x1f,
  /** 0x20 to 0x2f: the low four bits are {@link MessageFlag}s. */
  MESSAGE: 0x20,
  MESSAGES: 0x30,
  MESSAGES_BEST_EFFORT: 0x31,
  /** The same of messages in envelopes. */
  MESSAGES_ENVELOPED: 0x32,
  MESSAGES_ENVELOPED_BEST_EFFORT: 0x33,
  /** 0x38 to 0x3f: length-prefixed frames that a receiver may skip. */
  EXTENSION: 0x38,
} as const;

export const MessageFlag = { BEST_EFFORT: 0x1, FRAGMENT: 0x2, LIFETIME: 0x4, ENVELOPE: 0x8 } as const;

/** The low bits of the type of a MESSAGES. */
export const RunFlag = { BEST_EFFORT: 0x1, ENVELOPE: 0x2 } as const;

/** The two sequence spaces of a stream. */
export const Space = { RELIABLE: 0, BEST_EFFORT: 1 } as const;
export type Space = (typeof Space)[keyof typeof Space];

/** Priority classes, as STREAM_OPEN carries them. */
export const Priority = { SYSTEM: 0, MEDIA: 1, CHAT: 2, BULK: 3 } as const;
export type Priority = (typeof Priority)[keyof typeof Priority];
/** What they are called, by their numbers. */
export const PRIORITY_NAMES = ['system', 'media', 'chat', 'bulk'] as const;

/** Delivery modes, as STREAM_OPEN carries them. */
export const Delivery = { RELIABLE: 0, PARTIAL: 1, BEST_EFFORT: 2 } as const;
export type Delivery = (typeof Delivery)[keyof typeof Delivery];
