/** Bits of {@link SentPackets.state}. A number without SENT was skipped. */
export const PacketState = {
  SENT: 0x01,
  ACK_ELICITING: 0x02,
  IN_FLIGHT: 0x04,
  ACKED: 0x08,
  LOST: 0x10,
  /** LOST was concluded from time, not from later packets. */
  LOST_BY_TIME: 0x20,
  /** A probe for a larger packet size: its loss says nothing about congestion. */
  SIZE_PROBE: 0x40,
} as const;
