/**
 * So often that a command learns within a second that its broker was started anew, which answers the next packet with a stateless reset; and
 * so many that a broker that is silent for a while is not given up sooner than by the defaults.
 */
export const HEARTBEATS = { heartbeatMs: 750, heartbeatMisses: 20 } as const;
