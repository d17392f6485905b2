/** Codes of a transport CONNECTION_CLOSE (spec/errors.md). */
export const CloseCode = {
  NO_ERROR: 0x00,
  INTERNAL_ERROR: 0x01,
  CONNECTION_REFUSED: 0x02,
  FLOW_CONTROL_ERROR: 0x03,
  STREAM_LIMIT_ERROR: 0x04,
  STREAM_STATE_ERROR: 0x05,
  FINAL_SIZE_ERROR: 0x06,
  FRAME_ENCODING_ERROR: 0x07,
  TRANSPORT_PARAMETER_ERROR: 0x08,
  CONNECTION_ID_LIMIT_ERROR: 0x09,
  PROTOCOL_VIOLATION: 0x0a,
  CRYPTO_ERROR: 0x0b,
  IDENTITY_MISMATCH: 0x0c,
  MESSAGE_TOO_LARGE: 0x0d,
  COMPRESSION_ERROR: 0x0e,
  AEAD_LIMIT_REACHED: 0x0f,
  SHUTTING_DOWN: 0x10,
  IDLE_TIMEOUT: 0x11,
  HEARTBEAT_TIMEOUT: 0x12,
  HANDSHAKE_TIMEOUT: 0x13,
  NOT_AUTHORIZED: 0x14,
  INVALID_TOKEN: 0x15,
  VERSION_NEGOTIATION_ERROR: 0x16,
  KEY_UPDATE_ERROR: 0x17,
  TICKET_REFUSED: 0x18,
  NOTHING_IN_COMMON: 0x19,
} as const;
export type CloseCode = (typeof CloseCode)[keyof typeof CloseCode];

/** The table's name for a code, or its number in hex. */
export function closeCodeName(code: number): string {
  for (const [name, value] of Object.entries(CloseCode)) if (value === code) return name;
  return `0x${code.toString(16)}`;
}
