/**
 * So often that a command learns within a second that its broker was started anew, which answers the next packet with a stateless reset; and
 * so many that a broker that is silent for a while is not given up sooner than by the defaults.
 */
export const HEARTBEATS = { heartbeatMs: 750, heartbeatMisses: 20 } as const;

/** A command that has published nothing has nothing to wait for but its goodbye, and a person who has pressed Ctrl-C waits for it. */
export const GOODBYE = { timeoutMs: 1_000 } as const;
