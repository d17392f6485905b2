/** What a packet is: the `T T` of a long header, or a short header. */
export const PacketType = { INITIAL: 0, ZERO_RTT: 1, HANDSHAKE: 2, RETRY: 3, ONE_RTT: 4 } as const;
export type PacketType = (typeof PacketType)[keyof typeof PacketType];

/** What a packet is, by its first byte. Header protection leaves these bits as they are. */
export function packetTypeOf(firstByte: number): PacketType {
  return ((firstByte & FORM_LONG) === 0 ? PacketType.ONE_RTT : (firstByte >> 4) & 0x3) as PacketType;
}

/** The packet number spaces; 0-RTT packets are numbered in the application space. [PKT-7] */
export const PacketSpace = { INITIAL: 0, HANDSHAKE: 1, APPLICATION: 2 } as const;
export type PacketSpace = (typeof PacketSpace)[keyof typeof PacketSpace];
export const PACKET_SPACES = 3;

/** The space that numbers packets of this type; a Retry has no number. */
export function packetSpaceOf(type: number): PacketSpace {
  if (type === PacketType.INITIAL) return PacketSpace.INITIAL;
  return type === PacketType.HANDSHAKE ? PacketSpace.HANDSHAKE : PacketSpace.APPLICATION;
}

const FORM_LONG = 0x80;
