import { ByteCursor } from './byte-cursor.ts';

/**
 * What the frame that was read last says. The fields that the frame's type has describe it; the others hold what an earlier
 * frame left there.
 */
export abstract class FrameFields extends ByteCursor {
  /** Type byte of the current frame. That of a MESSAGE includes its {@link flags}. */
  type = 0;
  stream = 0;
  /** MESSAGE, NEW_ and RETIRE_CONNECTION_ID; the first one of MESSAGES, ABANDON and DROPPED. */
  sequence = 0;
  /** MESSAGES, ABANDON and DROPPED: how many messages. PADDING: how many frames in a row. */
  count = 0;
  /** MESSAGE: its {@link MessageFlag}s. STREAM_OPEN: the byte as it came. */
  flags = 0;
  /** MESSAGE and CRYPTO: where the data belongs in the whole. */
  offset = 0;
  /** MESSAGE and CRYPTO: length of the whole. */
  total = 0;
  /** MESSAGE: the oldest sequence of its space that the sender has not settled; -1 without FRAGMENT. */
  oldest = -1;
  /** MESSAGE: microseconds until its deadline when the packet was made; -1 without LIFETIME. */
  remaining = -1;
  /** MESSAGE: its {@link EnvelopeFlag}s; 0 without ENVELOPE. */
  envelope = 0;
  /** MESSAGE: where the 8 bytes of the dictionary's hash begin; -1 without. */
  dictionaryStart = -1;
  /** MESSAGE: length before compression; -1 when not given. */
  originalLength = -1;
  /** STREAM_OPEN. */
  priority = 0;
  ordered = false;
  delivery = 0;
  /** STREAM_FIN and RESET_STREAM. */
  end = 0;
  /** RESET_STREAM, STOP_SENDING and CONNECTION_CLOSE: why. REPAIR: id of the erasure code. */
  code = 0;
  /** DROPPED: a {@link Space}. */
  space = 0;
  /** MAX_ and BLOCKED frames. */
  limit = 0;
  /** CONNECTION_CLOSE: 0 transport, 1 application. */
  scope = 0;
  /** CONNECTION_CLOSE: the type at fault, 0 when none is. */
  frameType = 0;
  /** HEARTBEAT and ACK_FREQUENCY. */
  number = 0;
  /** HEARTBEAT: milliseconds until the next one at the latest. */
  interval = 0;
  /** ACK_FREQUENCY: packets. */
  threshold = 0;
  /** ACK, and the most for ACK_FREQUENCY: microseconds. */
  delay = 0;
  /** TICKET: seconds. */
  lifetime = 0;
  /** TICKET: where the 16 bytes of its nonce begin. */
  nonceStart = 0;
  /** NEW_CONNECTION_ID. */
  retirePriorTo = 0;
  /** NEW_CONNECTION_ID: where the 16 bytes of the reset token begin. */
  resetTokenStart = 0;
  /** REPAIR. */
  group = 0;
  index = 0;
  k = 0;
  r = 0;
  /** ACK. */
  largest = 0;
  /** ACK: how many ranges were kept. */
  rangeCount = 0;
  /** ACK: the ranges, newest first: packets [ackRanges[2i], ackRanges[2i + 1]). */
  ackRanges: Float64Array = new Float64Array(2 * ACK_RANGES_AT_FIRST);
  /** ACK with recovered: packet numbers kept, as they came. 0 for the other ACKs. */
  recoveredCount = 0;
  recovered: Float64Array = EMPTY_NUMBERS;
  /** ACK with ECN: packets counted; -1 for the other ACKs. */
  ect0 = -1;
  ect1 = -1;
  ce = -1;
  /**
   * The frame's bytes are buffer[dataStart, dataStart + dataLength): message data, label, token, reason, connection id. Of
   * MESSAGES the (length, data) pairs, of ABANDON the lengths: checked, to be walked with `readVarint`.
   */
  dataStart = 0;
  dataLength = 0;
}

const ACK_RANGES_AT_FIRST = 8;
const EMPTY_NUMBERS = new Float64Array(0);
