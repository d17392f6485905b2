/** The largest payload that the commands take, and that a broker they run passes on. */
export const PAYLOAD_BYTES_MAX = 16 * 1024 * 1024;

/** The same with room for what comes in front of it: the broker's header and the longest topic. */
export const MESSAGE_BYTES_MAX = PAYLOAD_BYTES_MAX + 8 + 1_024;
