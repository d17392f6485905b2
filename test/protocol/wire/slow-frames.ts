/** Frames as spec/vectors/frames.json writes them: plain values, bytes in hex. */

export interface SlowFragment {
  offset: number;
  total: number;
  oldest: number;
}

export interface SlowAck {
  type: 'ACK';
  delay: number;
  /** [lowest, largest], newest first. */
  ranges: [number, number][];
  ecn?: { ect0: number; ect1: number; ce: number };
  recovered?: number[];
}

export interface SlowMessage {
  type: 'MESSAGE';
  bestEffort: boolean;
  stream: number;
  sequence: number;
  fragment?: SlowFragment;
  remaining?: number;
  /** Its bytes begin with an envelope. */
  enveloped?: true;
  data: string;
}

export type SlowFrame =
  | SlowAck
  | SlowMessage
  | { type: 'PADDING'; count: number }
  | { type: 'PING' | 'HANDSHAKE_DONE' }
  | { type: 'CRYPTO' | 'ADMITTED'; offset: number; total: number; data: string }
  | { type: 'NEW_TOKEN' | 'PATH_CHALLENGE' | 'PATH_RESPONSE'; data: string }
  | { type: 'TICKET'; lifetime: number; nonce: string; data: string }
  | {
      type: 'STREAM_OPEN';
      stream: number;
      priority: number;
      ordered: boolean;
      delivery: number;
      label: string;
    }
  | { type: 'STREAM_FIN'; stream: number; end: number }
  | { type: 'RESET_STREAM'; stream: number; code: number; end: number }
  | { type: 'STOP_SENDING'; stream: number; code: number }
  | { type: 'ABANDON'; stream: number; first: number; lengths: number[] }
  | { type: 'DROPPED'; stream: number; space: number; first: number; count: number }
  | { type: 'MAX_DATA' | 'MAX_STREAMS' | 'DATA_BLOCKED' | 'STREAMS_BLOCKED'; limit: number }
  | { type: 'MAX_STREAM_DATA' | 'STREAM_DATA_BLOCKED'; stream: number; limit: number }
  | { type: 'REPAIR'; code: number; group: number; index: number; k: number; r: number; data: string }
  | { type: 'HEARTBEAT'; number: number; interval: number }
  | { type: 'NEW_CONNECTION_ID'; sequence: number; retirePriorTo: number; id: string; resetToken: string }
  | { type: 'RETIRE_CONNECTION_ID'; sequence: number }
  | { type: 'CONNECTION_CLOSE'; scope: number; code: number; frameType: number; reason: string }
  | { type: 'ACK_FREQUENCY'; number: number; threshold: number; delay: number }
  | { type: 'GOAWAY'; delay: number; url: string }
  | {
      type: 'MESSAGES';
      bestEffort: boolean;
      /** The bytes of each begin with an envelope. */
      enveloped?: true;
      stream: number;
      first: number;
      messages: string[];
    }
  | { type: 'EXTENSION'; id: number; data: string };

/** A payload that the slow decoder refuses. */
export class Malformed extends Error {
  readonly code: 'FRAME_ENCODING_ERROR' | 'PROTOCOL_VIOLATION';

  constructor(code: 'FRAME_ENCODING_ERROR' | 'PROTOCOL_VIOLATION', why: string) {
    super(`${code}: ${why}`);
    this.code = code;
  }
}
