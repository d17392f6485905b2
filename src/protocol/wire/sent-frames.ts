/**
 * Where a frame that is written is recorded, with the packet being built. What comes back with the acknowledgement or loss of that packet
 * is the same five numbers; their meaning by kind:
 *
 *     MESSAGES, MESSAGES_BEST_EFFORT   stream, first sequence, count
 *     MESSAGE | BEST_EFFORT | FRAGMENT stream, sequence, offset, length
 *     STREAM_OPEN, STREAM_FIN, RESET_STREAM, STOP_SENDING   stream
 *     ABANDON                          stream, first sequence, count
 *     DROPPED                          stream, first sequence, count, space
 *     MAX_STREAM_DATA, STREAM_DATA_BLOCKED                  stream, limit
 *     MAX_DATA, MAX_STREAMS, DATA_BLOCKED, STREAMS_BLOCKED  0, limit
 *     CRYPTO                           0, offset, length
 *     ACK                              0, largest, lowest, number of the frame
 *     HEARTBEAT                        0, time
 */
export interface SentFrames {
  add(kind: number, id: number, a: number, b: number, c: number): void;
}
