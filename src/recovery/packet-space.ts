/** The three packet number spaces (spec/packets.md); 0-RTT packets are numbered in the application space. */
export const PacketSpace = { INITIAL: 0, HANDSHAKE: 1, APPLICATION: 2 } as const;
export type PacketSpace = (typeof PacketSpace)[keyof typeof PacketSpace];

export const PACKET_SPACES = 3;
